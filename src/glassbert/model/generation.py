"""Writing on: greedy, sampling and beam search for a decoder.

Every way asks one question again and again: given these tokens, how likely is each next one? `_Continuation` answers
it, with the cache or without; what it answers is the same either way.

Letters: B texts, W beams of a text, S sequence, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from glassbert.errors import InputError
from glassbert.model.inputs import Cache, Inputs, has_values

if TYPE_CHECKING:
    from glassbert.model.language import BertLMHeadModel

# Added to the score of what must not be chosen, small enough to lose and large enough to stay finite.
_NEVER = -1e9


@torch.no_grad()
def generate(
    self: BertLMHeadModel,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int | None = None,
    max_length: int | None = None,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    num_beams: int = 1,
    num_return_sequences: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool = False,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
    use_cache: bool = True,
    encoder_hidden_states: Tensor | None = None,
    encoder_attention_mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Write on from `input_ids`: the likeliest token each time, drawn tokens, or the best of several beams.

    Prompts of different lengths are padded on the left, and places count from each one's first real token, so that no
    text depends on its neighbours. Put the model into eval mode first: dropout acts here as anywhere.

    Args:
        self: the decoder.
        input_ids: (B, S) the prompts.
        attention_mask: (B, S), 0 at padding on the left; None takes all as real.
        max_new_tokens: how many tokens to write at most; 20 where `max_length` is not given either.
        max_length: the same, counted with the prompt.
        do_sample: draw each token from the model's distribution, as temperature, top_k, top_p form it, in this order.
        temperature: the scores are divided by it: below 1 the likely gets likelier.
        top_k: draw from the k likeliest tokens; 0 from all.
        top_p: draw from the likeliest tokens that together have this probability (arXiv 1904.09751).
        num_beams: W beginnings that are followed at once; 1 is no beam search.
        num_return_sequences: texts for each prompt: drawn ones, or the best beams.
        length_penalty: beams are compared by the sum of their tokens' log-probabilities, divided by the count of
            written tokens to this power.
        early_stopping: stop as soon as W beams have ended, though others might still become better.
        eos_token_id: token, or tokens, that end a text; None goes on to the limit.
        pad_token_id: what fills up after the end; None takes the config's.
        use_cache: keep keys and values in place of computing them again; the result is the same.
        encoder_hidden_states: (B, E, H), for cross-attention.
        encoder_attention_mask: (B, E), 1 where they may be seen.
        generator: source of the draws; None takes torch's own.

    Returns:
        (B · num_return_sequences, S + written) int64: prompts and what was written.

    Raises:
        InputError: a model that is no decoder, a setting outside its range, padding on the right, or more tokens than
            the model has positions.
    """
    config = self.config
    if not config.is_decoder:
        raise InputError("generate needs is_decoder in the config: an encoder does not predict next words")
    # The checks of a forward call hold for what it is given here too.
    prompt = Inputs.check(
        config,
        input_ids=input_ids,
        attention_mask=attention_mask,
        encoder_hidden_states=encoder_hidden_states,
        encoder_attention_mask=encoder_attention_mask,
    )
    ends = _ends(eos_token_id, config.vocab_size)
    padding = config.pad_token_id if pad_token_id is None else pad_token_id
    if type(padding) is not int or not 0 <= padding < config.vocab_size:
        raise InputError(f"pad_token_id is {padding!r}, expected an id from 0 to {config.vocab_size - 1}")
    _check_settings(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        num_beams=num_beams,
        num_return_sequences=num_return_sequences,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        use_cache=use_cache,
        do_sample=do_sample,
        drawing=temperature != 1.0 or top_k != 0 or top_p != 1.0 or generator is not None,
    )
    count = _count(input_ids.shape[1], max_new_tokens, max_length, config.max_position_embeddings)
    copies = max(num_beams, num_return_sequences) if num_beams > 1 or do_sample else 1
    state = _Continuation(
        self,
        input_ids.long(),
        prompt.mask,
        encoder_hidden_states,
        encoder_attention_mask,
        copies=copies,
        use_cache=use_cache,
    )
    if num_beams > 1:
        return _beam_search(
            state, count, ends, padding, num_beams, num_return_sequences, length_penalty, early_stopping
        )
    done = torch.zeros(len(state.ids), dtype=torch.bool, device=input_ids.device)
    for _ in range(count):
        scores = state.scores()
        if do_sample:
            shares = shaped(scores, temperature, top_k, top_p).softmax(dim=-1)
            tokens = torch.multinomial(shares, 1, generator=generator)[:, 0]
        else:
            tokens = scores.argmax(dim=-1)
        tokens = tokens.masked_fill(done, padding)
        state.append(tokens)
        done |= torch.isin(tokens, torch.tensor(ends, device=tokens.device, dtype=tokens.dtype))
        if ends and bool(done.all()):
            break
    return state.ids


def shaped(scores: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Form the scores (B, V) that tokens are drawn by, in float32: -inf at tokens that are out."""
    scores = scores.float()
    # Only differences count, and those below the largest cannot overflow.
    scores = (scores - scores.amax(dim=-1, keepdim=True)) / temperature
    if 0 < top_k < scores.shape[-1]:
        least = scores.topk(top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if top_p < 1.0:
        ordered, order = scores.sort(dim=-1, descending=True)
        shares = ordered.softmax(dim=-1)
        # A token stays while the likelier ones have less than top_p together, so the likeliest always does.
        out = shares.cumsum(dim=-1) - shares >= top_p
        out[:, 0] = False
        scores = scores.masked_fill(torch.zeros_like(out).scatter(-1, order, out), -torch.inf)
    return scores


class _Continuation:
    """The texts so far, and what the model says comes next."""

    def __init__(
        self,
        model: BertLMHeadModel,
        ids: Tensor,
        mask: Tensor | None,
        encoder_states: Tensor | None,
        encoder_mask: Tensor | None,
        *,
        copies: int,
        use_cache: bool,
    ) -> None:
        """Begin with each prompt `copies` times."""
        if mask is not None:
            if mask.dim() != 2:
                raise InputError(f"attention_mask has the shape {tuple(mask.shape)}, expected {tuple(ids.shape)}")
            if has_values(mask) and not bool(mask[:, -1].all() and (mask[:, 1:] >= mask[:, :-1]).all()):
                raise InputError("attention_mask has padding on the right or inside; prompts are padded on the left")
        # Without layers there is nothing to keep, and what is kept would say nothing of how much was read.
        self.model, self.use_cache = model, use_cache and model.config.num_hidden_layers > 0
        self.ids = ids.repeat_interleave(copies, dim=0)
        self.mask = (
            torch.ones_like(self.ids, dtype=torch.bool) if mask is None else mask.repeat_interleave(copies, dim=0)
        )
        self.encoder_states = None if encoder_states is None else encoder_states.repeat_interleave(copies, dim=0)
        self.encoder_mask = None if encoder_mask is None else encoder_mask.repeat_interleave(copies, dim=0)
        self.past: Cache | None = None

    def scores(self) -> Tensor:
        """Return the scores (B·W, V) of the token that follows each text."""
        read = self.ids if self.past is None else self.ids[:, -1:]
        positions = None
        if self.model.config.position_embedding_type == "absolute":
            # Places count from the first real token of each text.
            positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -read.shape[1] :]
        result = self.model.bert(
            read,
            self.mask,
            position_ids=positions,
            encoder_hidden_states=self.encoder_states,
            encoder_attention_mask=self.encoder_mask,
            past_key_values=self.past,
            use_cache=self.use_cache,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        self.past = result.past_key_values
        scores: Tensor = self.model.cls(result.last_hidden_state[:, -1])
        return scores

    def append(self, tokens: Tensor) -> None:
        """Write one token (B·W,) at the end of each text."""
        self.ids = torch.cat((self.ids, tokens[:, None]), dim=1)
        self.mask = torch.cat((self.mask, torch.ones_like(self.mask[:, :1])), dim=1)

    def choose(self, rows: Tensor) -> None:
        """Go on with these texts (B·W,), some perhaps more than once."""
        self.ids, self.mask = self.ids[rows], self.mask[rows]
        if self.past is not None:
            self.past = tuple(tuple(states.index_select(0, rows) for states in layer) for layer in self.past)


class _Ended(NamedTuple):
    score: float
    tokens: Tensor


def _beam_search(
    state: _Continuation,
    count: int,
    ends: tuple[int, ...],
    padding: int,
    beams: int,
    wanted: int,
    length_penalty: float,
    early_stopping: bool,
) -> Tensor:
    """Follow the W best beginnings of each text; return the `wanted` best texts of each."""
    prompt = state.ids.shape[1]
    texts = len(state.ids) // beams
    device = state.ids.device
    # All beams begin alike, so the first step takes its W tokens from the first one.
    totals = torch.zeros(texts, beams, device=device)
    totals[:, 1:] = _NEVER
    ended: list[list[_Ended]] = [[] for _ in range(texts)]
    done = [count == 0] * texts
    for step in range(1, count + 1):
        likely = state.scores().float().log_softmax(dim=-1)
        vocabulary = likely.shape[-1]
        candidates = (likely.view(texts, beams, vocabulary) + totals[:, :, None]).flatten(1)
        # Among so many there are W that do not end here.
        some = min((1 + max(1, len(ends))) * beams, candidates.shape[1])
        best, places = candidates.topk(some, dim=1)
        rows = torch.zeros(texts, beams, dtype=torch.int64)
        tokens = torch.full((texts, beams), padding, dtype=torch.int64)
        next_totals = torch.full((texts, beams), _NEVER)
        values, choices = best.tolist(), places.tolist()
        for text in range(texts):
            first = text * beams
            rows[text] = first
            if done[text]:
                continue
            kept = 0
            for rank, (value, choice) in enumerate(zip(values[text], choices[text], strict=True)):
                if value < _NEVER / 2:
                    break  # beams that there are not yet, where the vocabulary is smaller than their number
                beam, token = divmod(choice, vocabulary)
                if token in ends or step == count:
                    if rank < beams:
                        whole = torch.cat((state.ids[first + beam], torch.tensor([token], device=device)))
                        ended[text].append(_Ended(value / step**length_penalty, whole))
                elif kept < beams:
                    rows[text, kept], tokens[text, kept], next_totals[text, kept] = first + beam, token, value
                    kept += 1
            ended[text] = sorted(ended[text], key=lambda one: -one.score)[:beams]
            if len(ended[text]) == beams:
                # What is still open can at best keep its sum.
                hope = float(next_totals[text].max()) / step**length_penalty
                done[text] = early_stopping or ended[text][-1].score >= hope
        if all(done) or step == count:
            break
        state.choose(rows.flatten().to(device))
        state.append(tokens.flatten().to(device))
        totals = next_totals.to(device)
    if count == 0:
        return state.ids.view(texts, beams, -1)[:, :wanted].flatten(0, 1)
    results = [one.tokens for text in ended for one in text[:wanted]]
    longest = max(map(len, results))
    padded = torch.full((len(results), max(longest, prompt)), padding, dtype=torch.int64, device=device)
    for row, tokens_of_one in enumerate(results):
        padded[row, : len(tokens_of_one)] = tokens_of_one
    return padded


def _ends(given: int | Sequence[int] | None, vocabulary: int) -> tuple[int, ...]:
    """Return the tokens that end a text."""
    ends = () if given is None else tuple(given) if isinstance(given, Sequence) else (given,)
    if not all(type(end) is int and 0 <= end < vocabulary for end in ends):
        raise InputError(f"eos_token_id is {given!r}, expected ids from 0 to {vocabulary - 1}")
    return ends


def _count(length: int, max_new_tokens: int | None, max_length: int | None, positions: int) -> int:
    """Return how many tokens may be written after `length`."""
    if max_new_tokens is not None and max_length is not None:
        raise InputError("give max_new_tokens or max_length, not both")
    for name, value, least in (("max_new_tokens", max_new_tokens, 0), ("max_length", max_length, length)):
        if value is not None and (type(value) is not int or value < least):
            raise InputError(f"{name} is {value!r}, expected a whole number from {least}")
    count = max_length - length if max_length is not None else 20 if max_new_tokens is None else max_new_tokens
    # The last token that is written is not read, so it needs no position.
    if length + count - 1 > positions:
        raise InputError(f"{length} tokens and {count} new ones, but the model has {positions} positions")
    return count


def _check_settings(
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    num_beams: int,
    num_return_sequences: int,
    length_penalty: float,
    early_stopping: bool,
    use_cache: bool,
    do_sample: bool,
    drawing: bool,
) -> None:
    numbers = (int, float)
    for name, value, sound, expected in (
        # Below that a float32 is 0.
        ("temperature", temperature, type(temperature) in numbers and 1e-30 <= temperature < 1e30, "a number above 0"),
        ("top_k", top_k, type(top_k) is int and top_k >= 0, "a whole number from 0"),
        ("top_p", top_p, type(top_p) in numbers and 0.0 < top_p <= 1.0, "a number above 0, up to 1"),
        ("num_beams", num_beams, type(num_beams) is int and num_beams >= 1, "a whole number from 1"),
        (
            "num_return_sequences",
            num_return_sequences,
            type(num_return_sequences) is int and num_return_sequences >= 1,
            "a whole number from 1",
        ),
        (
            "length_penalty",
            length_penalty,
            type(length_penalty) in numbers and -100.0 <= length_penalty <= 100.0,
            "a number from -100 to 100",
        ),
        ("early_stopping", early_stopping, type(early_stopping) is bool, "True or False"),
        ("use_cache", use_cache, type(use_cache) is bool, "True or False"),
        ("do_sample", do_sample, type(do_sample) is bool, "True or False"),
    ):
        if not sound:
            raise InputError(f"{name} is {value!r}, expected {expected}")
    if drawing and not do_sample:
        raise InputError("temperature, top_k, top_p and generator act on drawn tokens only; set do_sample=True")
    if do_sample and num_beams > 1:
        raise InputError("do_sample and num_beams exclude each other: beams are searched, not drawn")
    if num_beams == 1 and (length_penalty != 1.0 or early_stopping):
        raise InputError("length_penalty and early_stopping compare beams; set num_beams above 1")
    if num_return_sequences > 1 and not do_sample and num_return_sequences > num_beams:
        raise InputError(f"num_return_sequences is {num_return_sequences}, but there are only {num_beams} beams")
