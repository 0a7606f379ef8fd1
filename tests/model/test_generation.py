"""The decoder: cache, causality, prefixes; and how it writes on."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert import InputError
from glassbert.model import ATTENTION, AttentionBackend, BertConfig, BertLayer, BertLMHeadModel, BertModel
from glassbert.model.generation import shaped
from tests.model.oracle import BACKENDS, seeded

CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=30,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    pad_token_id=1,
    is_decoder=True,
)
POSITIONS = ("absolute", "relative_key", "relative_key_query")
LENGTHS = torch.tensor([[9], [2], [5], [1]])
MASKS = {
    "no padding": torch.ones(4, 9, dtype=torch.int64),
    "right": (torch.arange(9) < LENGTHS).long(),
    "left": (torch.arange(9) >= 9 - LENGTHS).long(),
    "holes": torch.tensor(
        [[1, 0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 1, 1, 1, 1, 1, 1, 0], [1] * 9, [1, 1, 0, 0, 0, 0, 0, 0, 1]]
    ),
    "nothing real": torch.tensor([[0] * 9, [1] * 9, [1, 1, 1] + [0] * 6, [0] * 9]),
}
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 3, "num_return_sequences": 3},
    "sampling": {"do_sample": True, "temperature": 1.5, "top_p": 0.95, "num_return_sequences": 2},
}


def decoder(seed: int = 0, **changes: Any) -> BertLMHeadModel:
    model = seeded(dataclasses.replace(CONFIG, **changes), BertLMHeadModel, seed)
    assert isinstance(model, BertLMHeadModel)
    return model


def writer(seed: int = 0, sharpness: float = 1.0, **changes: Any) -> BertLMHeadModel:
    """Build a decoder whose next word hangs on all words before, so that texts are not one word again and again."""
    model = decoder(seed, **changes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # What is the same for all texts counts less, what words and places make of each other more.
            if parameter.dim() == 2:
                parameter.mul_(3.0)
            elif name.endswith("bias"):
                parameter.mul_(0.1)
            else:
                parameter.add_(1.0)
        words = model.get_input_embeddings().weight
        words.copy_(F.normalize(words) * 5.0)
        model.bert.embeddings.token_type_embeddings.weight.mul_(0.1)
        model.cls.predictions.transform.LayerNorm.weight.mul_(sharpness)
    return model


def tokens(*shape: int, seed: int = 1, low: int = 2, high: int = 40) -> Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def encoder_output(batch: int, seed: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(batch, 6, generator=generator) < 0.6).long()
    mask[:, 0] = 1
    return {
        "encoder_hidden_states": torch.randn(batch, 6, 24, generator=generator),
        "encoder_attention_mask": mask,
    }


def constant(probabilities: list[float]) -> BertLMHeadModel:
    """Build a decoder that gives every text the same next words."""
    model = decoder(vocab_size=len(probabilities), tie_word_embeddings=False)
    with torch.no_grad():
        model.cls.predictions.decoder.weight.zero_()
        model.cls.predictions.decoder.bias.copy_(torch.tensor(probabilities).log())
    return model


# The cache


@pytest.mark.parametrize("padding", ["no padding", "left"])
@pytest.mark.parametrize("cross", [False, True], ids=["alone", "cross"])
@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("way", WAYS)
def test_the_cache_changes_nothing_of_what_is_written(way: str, kind: str, cross: bool, padding: str) -> None:
    model = writer(position_embedding_type=kind, add_cross_attention=cross)
    arguments = {**WAYS[way], **(encoder_output(4) if cross else {}), "max_new_tokens": 8}
    results = []
    for use_cache in (True, False):
        if way == "sampling":
            arguments["generator"] = torch.Generator().manual_seed(5)
        results.append(model.generate(tokens(4, 9), MASKS[padding], use_cache=use_cache, **arguments))
    assert torch.equal(results[0], results[1])
    written = results[0][:, 9:]
    assert results[0].shape == (4 * WAYS[way].get("num_return_sequences", 1), 17)
    assert torch.equal(results[0][:, :9], tokens(4, 9).repeat_interleave(len(written) // 4, dim=0))
    assert len(written.unique()) >= 4  # so that a wrong cache would show


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_writes_the_same(backend: AttentionBackend) -> None:
    expected = writer().generate(tokens(4, 9), MASKS["left"], num_beams=3, max_new_tokens=8)
    model = writer(output_attentions=True, output_hidden_states=True, return_dict=False)
    model.attention_backend = backend
    for use_cache in (True, False):
        found = model.generate(tokens(4, 9), MASKS["left"], num_beams=3, max_new_tokens=8, use_cache=use_cache)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("steps", [(1,) * 9, (4, 1, 1, 3), (2, 7)], ids=str)
@pytest.mark.parametrize("cross", [False, True], ids=["alone", "cross"])
@pytest.mark.parametrize("kind", POSITIONS)
def test_steps_with_a_cache_give_what_one_call_gives(kind: str, cross: bool, steps: tuple[int, ...]) -> None:
    model = decoder(position_embedding_type=kind, add_cross_attention=cross)
    encoded = encoder_output(4) if cross else {}
    ids = tokens(4, 9)
    for mask in (None, *MASKS.values()):
        with torch.inference_mode():
            full = model(ids, mask, **encoded, use_cache=False).logits
            states = model.bert(ids, mask, **encoded, use_cache=True)
            past, logits, hidden, end = None, [], [], 0
            for step in steps:
                start, end = end, end + step
                piece: dict[str, Any] = {
                    "input_ids": ids[:, start:end],
                    "attention_mask": None if mask is None else mask[:, :end],
                    "past_key_values": past,
                    **encoded,
                }
                hidden.append(model.bert(**piece).last_hidden_state)
                result = model(**piece)
                logits.append(result.logits)
                past = result.past_key_values
                assert past is not None
                assert len(past) == 2
                for layer in past:
                    shapes = [(4, 3, end, 8)] * 2 + [(4, 3, 6, 8)] * 2 * cross
                    assert [tuple(part.shape) for part in layer] == shapes
        # A padded row is nobody's answer.
        real = torch.ones(4, 9, dtype=torch.bool) if mask is None else mask.bool()
        assert (torch.cat(logits, dim=1) - full)[real].abs().max() < 1e-5
        assert (torch.cat(hidden, dim=1) - states.last_hidden_state)[real].abs().max() < 1e-5
        assert past is not None
        for found, expected in zip(past, states.past_key_values, strict=True):
            for one, other in zip(found[:2], expected[:2], strict=True):
                assert (one - other).transpose(1, 2)[real].abs().max() < 1e-5


def test_a_mask_of_pairs_for_a_step_counts_the_cached_tokens() -> None:
    model = decoder()
    ids = tokens(2, 9)
    sees = torch.ones(2, 9, 9, dtype=torch.int64).tril()
    sees[1, :, 2] = 0  # nobody sees the third token of the second text
    with torch.inference_mode():
        full = model(ids, sees, use_cache=False).logits
        first = model(ids[:, :5], sees[:, :5, :5])
        second = model(ids[:, 5:], sees[:, 5:], past_key_values=first.past_key_values)
        plain = model(ids, use_cache=False).logits
    assert (torch.cat((first.logits, second.logits), dim=1) - full).abs().max() < 1e-5
    assert (full[0] - plain[0]).abs().max() < 1e-5
    assert (full[1] - plain[1]).abs().max() > 1e-2


def test_cached_keys_of_an_encoder_are_not_computed_again() -> None:
    model = decoder(add_cross_attention=True)
    encoded = encoder_output(2)
    ids = tokens(2, 5)
    with torch.inference_mode():
        past = model(ids[:, :4], **encoded).past_key_values
        expected = model(ids[:, 4:], past_key_values=past, **encoded)
        other = {**encoded, "encoder_hidden_states": torch.zeros(2, 6, 24)}
        found = model(ids[:, 4:], past_key_values=past, **other)
    assert torch.equal(found.logits, expected.logits)
    for one, two in zip(found.past_key_values, past, strict=True):
        assert torch.equal(one[2], two[2])
        assert torch.equal(one[3], two[3])


def test_masked_states_of_an_encoder_are_not_read() -> None:
    model = writer(add_cross_attention=True)
    encoded = encoder_output(4)
    hidden = encoded["encoder_attention_mask"] == 0
    expected = model.generate(tokens(4, 5), max_new_tokens=6, num_beams=2, **encoded)
    encoded["encoder_hidden_states"] = encoded["encoder_hidden_states"].masked_fill(hidden[:, :, None], 50.0)
    assert torch.equal(model.generate(tokens(4, 5), max_new_tokens=6, num_beams=2, **encoded), expected)
    del encoded["encoder_attention_mask"]
    assert not torch.equal(model.generate(tokens(4, 5), max_new_tokens=6, num_beams=2, **encoded), expected)


# Padding


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", POSITIONS)
def test_prompts_padded_on_the_left_are_written_on_as_if_alone(kind: str, beams: int, use_cache: bool) -> None:
    model = writer(position_embedding_type=kind, add_cross_attention=True)
    ids, mask, encoded = tokens(4, 9), MASKS["left"], encoder_output(4)
    free = model.generate(ids, mask, max_new_tokens=7, num_beams=beams, **encoded)
    # With an end that some texts meet early and others do not.
    end = int(free[0, 13])
    settings: dict[str, Any] = {
        "max_new_tokens": 7,
        "num_beams": beams,
        "num_return_sequences": beams,
        "eos_token_id": end,
        "use_cache": use_cache,
    }
    together = model.generate(ids, mask, **settings, **encoded).view(4, beams, -1)
    lengths = set()
    for row, length in enumerate(LENGTHS.flatten().tolist()):
        prompt = ids[row : row + 1, 9 - length :]
        alone = model.generate(prompt, **settings, **{name: part[row : row + 1] for name, part in encoded.items()})
        written = alone.shape[1] - length
        lengths.add(written)
        assert torch.equal(together[row, :, 9 - length : 9 + written], alone)
        assert (together[row, :, 9 + written :] == 1).all()
    assert max(lengths) == together.shape[2] - 9
    assert len(lengths) > 1
    # What stands at the padding says nothing.
    noise = torch.where(mask == 0, tokens(4, 9, seed=9), ids)
    assert torch.equal(model.generate(noise, mask, **settings, **encoded)[:, 9:], together.flatten(0, 1)[:, 9:])


def test_after_its_end_a_text_is_filled_up_with_padding() -> None:
    model = constant([0.01, 0.01, 0.01, 0.97])
    prompts = torch.tensor([[0, 1], [2, 0]])
    assert model.generate(prompts, eos_token_id=3, max_new_tokens=5)[:, 2:].tolist() == [[3], [3]]
    model = constant([0.1, 0.2, 0.3, 0.4])
    for given, padding in ((None, 1), (0, 0)):
        texts = model.generate(
            prompts,
            eos_token_id=[3, 2],
            pad_token_id=given,
            max_new_tokens=9,
            do_sample=True,
            num_return_sequences=30,
            generator=torch.Generator().manual_seed(0),
        )
        ends = [min(i for i, token in enumerate([*text, 2]) if token in (2, 3)) for text in texts[:, 2:].tolist()]
        assert len(set(ends)) > 3
        for text, end in zip(texts[:, 2:], ends, strict=True):
            assert (text[end + 1 :] == padding).all()
        assert texts.shape[1] == 2 + min(9, max(ends) + 1)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_limit_counts_new_tokens_or_all_of_them(way: dict[str, Any]) -> None:
    model = writer()
    prompts = tokens(2, 5)
    rows = 2 * way.get("num_return_sequences", 1)

    def write(**limit: Any) -> Tensor:
        generator = torch.Generator().manual_seed(0) if "do_sample" in way else None
        return model.generate(prompts, **way, **limit, generator=generator)

    assert torch.equal(write(max_length=8), write(max_new_tokens=3))
    assert write(max_new_tokens=3).shape == (rows, 8)
    assert write().shape == (rows, 25)
    assert torch.equal(write(max_new_tokens=0), prompts.repeat_interleave(rows // 2, dim=0))
    # All positions may be used; the last token is not read, and so needs none.
    assert write(max_length=31).shape == (rows, 31)
    with pytest.raises(InputError, match="5 tokens and 27 new ones, but the model has 30 positions"):
        write(max_length=32)


# Beams


def scores_of(model: BertLMHeadModel, texts: Tensor, prompt: int) -> Tensor:
    """Sum the log-probabilities of what follows the prompt."""
    with torch.inference_mode():
        likely = model(texts, use_cache=False).logits.log_softmax(dim=-1)
    each: Tensor = likely[:, prompt - 1 : -1].gather(2, texts[:, prompt:, None])[:, :, 0]
    return each.sum(dim=1)


def test_enough_beams_find_the_best_of_all_texts() -> None:
    model = writer(7, vocab_size=4, tie_word_embeddings=False)
    prompt = tokens(1, 3, low=0, high=4)
    written = torch.tensor(list(itertools.product(range(4), repeat=3)))
    every = torch.cat((prompt.expand(64, -1), written), dim=1)
    order = scores_of(model, every, 3).argsort(descending=True)
    found = model.generate(prompt, num_beams=16, num_return_sequences=16, max_new_tokens=3)
    assert torch.equal(found, every[order[:16]])
    assert not torch.equal(found[0], model.generate(prompt, max_new_tokens=3)[0])  # one beam misses it


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0, 2.0])
def test_texts_come_best_first_by_their_penalized_score(penalty: float) -> None:
    model = writer(vocab_size=12)
    prompt = tokens(1, 3, high=12)
    settings: dict[str, Any] = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 6}
    texts = model.generate(prompt, eos_token_id=[2, 3, 4], length_penalty=penalty, **settings)
    values, lengths = [], []
    for text in texts:
        ends = [place for place in range(3, len(text)) if int(text[place]) in (2, 3, 4)]
        length = ends[0] + 1 if ends else len(text)
        lengths.append(length - 3)
        values.append(float(scores_of(model, text[None, :length], 3)) / (length - 3) ** penalty)
    assert values == sorted(values, reverse=True)
    assert len({tuple(text.tolist()) for text in texts}) == 4
    assert len(set(lengths)) > 1


def test_a_length_penalty_draws_to_longer_or_shorter_texts() -> None:
    # Ending costs log 0.4 at once, each token more log 0.6, and there is no way but these two.
    model = constant([0.6, 0.4])
    prompt = torch.zeros(1, 1, dtype=torch.int64)
    settings: dict[str, Any] = {"num_beams": 2, "eos_token_id": 1, "max_new_tokens": 4, "pad_token_id": 0}
    # Sums: end -0.916; one more, then the end: -1.427; four tokens without an end -2.043, which is -0.511 a token.
    assert model.generate(prompt, length_penalty=0.0, **settings)[0].tolist() == [0, 1]
    assert model.generate(prompt, length_penalty=1.0, **settings)[0].tolist() == [0, 0, 0, 0, 0]


def test_early_stopping_takes_the_first_beams_that_end() -> None:
    model = constant([0.6, 0.4])
    prompt = torch.zeros(1, 1, dtype=torch.int64)
    settings: dict[str, Any] = {"num_beams": 2, "eos_token_id": 1, "max_new_tokens": 4, "num_return_sequences": 2}
    early = model.generate(prompt, early_stopping=True, pad_token_id=0, **settings)
    # Both end after two tokens: -0.916 / 1 and (-0.511 - 0.916) / 2, which is better.
    assert early.tolist() == [[0, 0, 1], [0, 1, 0]]
    late = model.generate(prompt, early_stopping=False, pad_token_id=0, **settings)
    assert late.tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


# Against transformers


def peer_of(model: BertLMHeadModel) -> Any:
    transformers = pytest.importorskip("transformers", reason="the peer is not installed")
    names = {field.name for field in dataclasses.fields(CONFIG)} - {
        *("position_embedding_type", "pruned_heads", "gradient_checkpointing", "extra", "architectures", "torchscript"),
        *("id2label", "label2id", "num_labels", "problem_type", "return_dict"),
    }
    values = {name: getattr(model.config, name) for name in names}
    peer = transformers.BertLMHeadModel(transformers.BertConfig(**values)).to(model.dtype).eval()
    loaded = peer.load_state_dict(model.state_dict(), strict=False)
    assert not loaded.missing_keys
    assert not loaded.unexpected_keys
    return peer


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("penalty", [-1.0, 0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("beams", [2, 3, 4])
def test_beams_equal_those_of_transformers(beams: int, penalty: float, early_stopping: bool) -> None:
    settings = {"num_beams": beams, "length_penalty": penalty, "early_stopping": early_stopping}
    compare_with_peer(beams + 3 * early_stopping, {**settings, "num_return_sequences": beams - (penalty == 1.0)})


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(("words", "beams"), [(3, 4), (4, 4)])
def test_beams_equal_those_of_transformers_where_there_are_fewer_words(
    words: int, beams: int, early_stopping: bool
) -> None:
    for seed in range(4):
        model = writer(seed, 0.2, vocab_size=words).double()
        settings: dict[str, Any] = {
            "num_beams": beams,
            "num_return_sequences": beams,
            "max_new_tokens": 4,
            "eos_token_id": 2,
            "early_stopping": early_stopping,
        }
        prompt = torch.tensor([[0, 1]])
        found = model.generate(prompt, pad_token_id=1, **settings)
        expected = peer_of(model).generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=1, **settings
        )
        assert len({tuple(text) for text in found.tolist()}) == beams
        assert torch.equal(found, expected)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_texts_equal_those_of_transformers(seed: int) -> None:
    compare_with_peer(seed, {})


def compare_with_peer(seed: int, settings: dict[str, Any]) -> None:
    # Doubles, so that no two sums lie so near that rounding ranks them; both sides rank them as float32.
    model = writer(seed, (0.1, 0.2, 1.0)[seed % 3], vocab_size=(12, 24, 40)[seed % 3]).double()
    mask = MASKS["left"]
    ids = tokens(4, 9, seed=seed, high=12).masked_fill(mask == 0, 1)
    free = model.generate(ids, mask, max_new_tokens=7, **settings)
    met = free[:, 9:-1].unique()
    order = torch.randperm(len(met), generator=torch.Generator().manual_seed(seed))
    ends = [int(token) for token in met[order[: 1 + seed % 2]]]
    settings = {"max_new_tokens": 7, "eos_token_id": ends, "pad_token_id": 1, **settings}
    found = model.generate(ids, mask, **settings)
    expected = peer_of(model).generate(ids, attention_mask=mask, do_sample=False, **settings)
    assert found.shape == expected.shape
    assert torch.equal(found, expected)
    # Some text really came to an end before the limit; without early stopping longer ones may turn out better.
    if settings.get("early_stopping", True):
        assert (found[:, 9:-1, None] == torch.tensor(ends)).any()


@pytest.mark.parametrize("beams", [1, 3])
def test_ids_equal_those_of_transformers_with_cross_attention(beams: int) -> None:
    model = writer(add_cross_attention=True).double()
    encoded = encoder_output(4)
    encoded["encoder_hidden_states"] = encoded["encoder_hidden_states"].double()
    settings: dict[str, Any] = {"max_new_tokens": 9, "num_beams": beams, **encoded}
    found = model.generate(tokens(4, 9), MASKS["left"], **settings)
    # Its cache of a lone decoder has no room for the encoder's keys.
    expected = peer_of(model).generate(tokens(4, 9), attention_mask=MASKS["left"], use_cache=False, **settings)
    assert torch.equal(found, expected)


def test_beams_are_filled_up_with_padding_even_where_it_is_0() -> None:
    # transformers takes an id 0 for none there, and fills beams (not greedy texts) up with the first end.
    model = writer(pad_token_id=0).double()
    ids = tokens(2, 5)
    settings: dict[str, Any] = {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 3, "pad_token_id": 0}
    end = int(model.generate(ids, **settings)[0, 6])
    found = model.generate(ids, eos_token_id=end, **settings)
    expected = peer_of(model).generate(ids, eos_token_id=end, do_sample=False, **settings)
    ends = (found[:, 5:] == end).long()
    over = ends.cumsum(dim=1) - ends > 0
    assert over.any()
    assert not found[:, 5:][over].any()
    assert (expected[:, 5:][over] == end).all()
    assert torch.equal(found[:, 5:].masked_fill(over, end), expected[:, 5:])


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.5, 0, 1.0), (1.0, 7, 1.0), (1.0, 0, 0.8), (2.0, 9, 0.6)]
)
def test_scores_are_formed_as_in_transformers(temperature: float, top_k: int, top_p: float) -> None:
    transformers = pytest.importorskip("transformers", reason="the peer is not installed")
    scores = torch.randn(50, 40, generator=torch.Generator().manual_seed(0)) * 2
    expected = transformers.TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        expected = transformers.TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1.0:
        expected = transformers.TopPLogitsWarper(top_p)(None, expected)
    found = shaped(scores, temperature, top_k, top_p)
    assert torch.equal(found == -math.inf, expected == -math.inf)
    assert torch.allclose(found.softmax(dim=-1), expected.softmax(dim=-1))


# Sampling


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "expected"),
    [
        (1.0, 0, 1.0, [0.1, 0.4, 0.2, 0.3]),
        (0.5, 0, 1.0, [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]),  # squares
        (1.0, 1, 1.0, [0.0, 1.0, 0.0, 0.0]),
        (1.0, 2, 1.0, [0.0, 4 / 7, 0.0, 3 / 7]),
        (1.0, 4, 1.0, [0.1, 0.4, 0.2, 0.3]),
        (1.0, 99, 1.0, [0.1, 0.4, 0.2, 0.3]),
        (1.0, 0, 0.35, [0.0, 1.0, 0.0, 0.0]),
        (1.0, 0, 0.45, [0.0, 4 / 7, 0.0, 3 / 7]),  # 0.4 is not yet 0.45, so one more stays
        (1.0, 0, 0.75, [0.0, 4 / 9, 2 / 9, 3 / 9]),
        (1.0, 0, 0.95, [0.1, 0.4, 0.2, 0.3]),
        (1.0, 0, 0.01, [0.0, 1.0, 0.0, 0.0]),
        (1.0, 3, 0.75, [0.0, 4 / 7, 0.0, 3 / 7]),  # of 4/9 + 3/9 + 2/9 the first two have 0.78
        (0.5, 0, 0.8, [0.0, 16 / 25, 0.0, 9 / 25]),  # 0.53 + 0.30 once it is colder
    ],
)
def test_shares_by_hand(temperature: float, top_k: int, top_p: float, expected: list[float]) -> None:
    scores = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.4, 0.3, 0.2, 0.1]]).log() + 5.0
    shares = shaped(scores, temperature, top_k, top_p).softmax(dim=-1)
    assert torch.allclose(shares[0], torch.tensor(expected), atol=1e-6)
    # The other row has the same shares in another order.
    assert torch.allclose(shares[1].sort().values, shares[0].sort().values, atol=1e-6)
    assert shares[1].tolist() == sorted(shares[1].tolist(), reverse=True)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0.5}, [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]),
        ({"top_k": 2}, [0.0, 4 / 7, 0.0, 3 / 7]),
        ({"top_p": 0.75}, [0.0, 4 / 9, 2 / 9, 3 / 9]),
        ({"temperature": 0.5, "top_k": 3, "top_p": 0.8}, [0.0, 16 / 25, 0.0, 9 / 25]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(settings: dict[str, Any], expected: list[float]) -> None:
    model = constant([0.1, 0.4, 0.2, 0.3])
    generator = torch.Generator().manual_seed(0)
    count = 2000
    drawn = model.generate(
        torch.zeros(1, 1, dtype=torch.int64),
        max_new_tokens=2,
        do_sample=True,
        num_return_sequences=count,
        generator=generator,
        **settings,
    )
    for column in drawn[:, 1:].T:
        shares = column.bincount(minlength=4) / count
        for share, probability in zip(shares.tolist(), expected, strict=True):
            assert abs(share - probability) <= 4 * math.sqrt(probability * (1 - probability) / count)


def test_drawing_from_one_token_is_greedy() -> None:
    model = writer()
    greedy = model.generate(tokens(4, 9), MASKS["left"], max_new_tokens=10)
    for settings in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}):
        drawn: Any = {"do_sample": True, **settings}
        assert torch.equal(model.generate(tokens(4, 9), MASKS["left"], max_new_tokens=10, **drawn), greedy)
    assert not torch.equal(
        model.generate(tokens(4, 9), MASKS["left"], max_new_tokens=10, do_sample=True, temperature=3.0), greedy
    )


def test_the_same_seed_draws_the_same_texts_and_another_one_others() -> None:
    model = writer()
    first, second, third = (
        model.generate(
            tokens(2, 5),
            do_sample=True,
            temperature=2.0,
            num_return_sequences=3,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert len({tuple(text.tolist()) for text in first}) == 6
    torch.manual_seed(4)
    global_first = model.generate(tokens(2, 5), do_sample=True, temperature=2.0)
    torch.manual_seed(4)
    assert torch.equal(global_first, model.generate(tokens(2, 5), do_sample=True, temperature=2.0))


@pytest.mark.parametrize("top_p", [1e-40, 1e-300])
def test_the_likeliest_token_stays_however_small_top_p_is(top_p: float) -> None:
    scores = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    assert shaped(scores, 1.0, 0, top_p).softmax(dim=-1).tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_the_colder_the_surer_without_an_end() -> None:
    scores = torch.tensor([[1.0, 4.0, 2.0, -3.0], [-8.0, -9.0, -7.0, -8.0]])
    for temperature in (1e-3, 1e-20, 1e-38):
        shares = shaped(scores, temperature, 0, 1.0).softmax(dim=-1)
        assert shares.tolist() == [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_leaves_out_the_tokens_that_full_precision_leaves_out(dtype: torch.dtype) -> None:
    # As many words as BERT has: their shares are small, and sums of them in half precision are far off.
    scores = (torch.randn(2, 30_522, generator=torch.Generator().manual_seed(0)) * 2).to(dtype)
    found, expected = shaped(scores, 1.0, 0, 0.95), shaped(scores.float(), 1.0, 0, 0.95)
    assert torch.equal(found == -math.inf, expected == -math.inf)


# What cannot be


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0, "do_sample": True}, "temperature is 0.0, expected a number above 0"),
        ({"temperature": -1.0, "do_sample": True}, "temperature is -1.0"),
        ({"temperature": math.nan, "do_sample": True}, "temperature is nan"),
        ({"top_k": -1, "do_sample": True}, "top_k is -1, expected a whole number from 0"),
        ({"top_p": 0.0, "do_sample": True}, "top_p is 0.0, expected a number above 0, up to 1"),
        ({"top_p": 1.5, "do_sample": True}, "top_p is 1.5"),
        ({"top_p": math.nan, "do_sample": True}, "top_p is nan"),
        ({"num_beams": 0}, "num_beams is 0, expected a whole number from 1"),
        ({"num_return_sequences": 0}, "num_return_sequences is 0, expected a whole number from 1"),
        ({"temperature": 0.5}, "temperature, .* set do_sample=True"),
        ({"top_k": 5}, "top_k, .* set do_sample=True"),
        ({"top_p": 0.5}, "top_p .* set do_sample=True"),
        ({"generator": torch.Generator()}, "generator .* set do_sample=True"),
        ({"do_sample": True, "num_beams": 2}, "do_sample and num_beams"),
        ({"num_return_sequences": 2}, "num_return_sequences is 2, but there are only 1 beams"),
        ({"num_return_sequences": 4, "num_beams": 3}, "num_return_sequences is 4, but .* 3 beams"),
        ({"eos_token_id": 40}, "eos_token_id is 40, expected ids from 0 to 39"),
        ({"eos_token_id": [3, -1]}, r"eos_token_id is \[3, -1\]"),
        ({"eos_token_id": [3.0]}, "eos_token_id"),
        ({"eos_token_id": True}, "eos_token_id"),
        ({"pad_token_id": 40}, "pad_token_id is 40, expected an id from 0 to 39"),
        ({"pad_token_id": -1}, "pad_token_id"),
        ({"max_new_tokens": 3, "max_length": 9}, "max_new_tokens or max_length, not both"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1"),
        ({"max_length": 4}, "max_length is 4"),
        ({"max_new_tokens": 27}, "5 tokens and 27 new ones, but the model has 30 positions"),
        ({"attention_mask": torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])}, "attention_mask has padding on the rig"),
        ({"attention_mask": torch.tensor([[1, 0, 1, 1, 1], [1, 1, 1, 1, 1]])}, "attention_mask .* or inside"),
        ({"attention_mask": torch.zeros(2, 5)}, "attention_mask"),
        ({"attention_mask": torch.ones(2, 4)}, r"attention_mask has the shape \(2, 4\), expected \(2, 5\)"),
        ({"input_ids": torch.arange(5)}, r"input_ids has the shape \(5,\)"),
        ({"input_ids": torch.zeros(2, 0, dtype=torch.int64)}, "the batch is empty"),
        ({"input_ids": [[1, 2]]}, "input_ids is of type list"),
        ({"input_ids": torch.full((2, 5), 40)}, "input_ids holds 40"),
        ({"encoder_hidden_states": torch.zeros(2, 6, 24)}, "encoder_hidden_states need a model with cross-attention"),
        ({"encoder_attention_mask": torch.ones(2, 6)}, "encoder_attention_mask"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        decoder().generate(**{"input_ids": tokens(2, 5), **settings})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("num_beams", {"num_beams": 2.5}),
        ("num_return_sequences", {"num_return_sequences": 1.5, "do_sample": True}),
        ("top_k", {"top_k": 1.5, "do_sample": True}),
        ("max_new_tokens", {"max_new_tokens": 2.5}),
        ("max_length", {"max_length": 7.5}),
        ("eos_token_id", {"eos_token_id": 1.5}),
        ("temperature", {"temperature": "1", "do_sample": True}),
        ("length_penalty", {"length_penalty": math.nan, "num_beams": 2}),
        ("length_penalty", {"length_penalty": math.inf, "num_beams": 2}),
        ("length_penalty", {"length_penalty": "1", "num_beams": 2}),
        ("early_stopping", {"early_stopping": "never", "num_beams": 2}),
    ],
)
def test_settings_of_the_wrong_kind_are_named(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=name):
        decoder().generate(tokens(2, 5), **settings)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("input_ids", tokens(2, 5) + 0.5),
        ("attention_mask", [[1] * 5] * 2),
        ("attention_mask", torch.full((2, 5), -10_000.0)),  # to be added to scores: nothing is seen
        ("attention_mask", torch.full((2, 5), math.nan)),
        ("encoder_hidden_states", [0.0]),
    ],
)
def test_what_a_forward_call_refuses_is_refused_before_writing(name: str, values: Any) -> None:
    model = decoder(add_cross_attention=True)
    arguments = {"input_ids": tokens(2, 5), name: values}
    with pytest.raises(InputError, match=name):
        model(**arguments)
    with pytest.raises(InputError, match=name):
        model.generate(**arguments)


def test_an_encoder_writes_nothing_keeps_no_cache_and_learns_no_next_words() -> None:
    model = seeded(dataclasses.replace(CONFIG, is_decoder=False), BertLMHeadModel)
    assert isinstance(model, BertLMHeadModel)
    ids = tokens(2, 5)
    with pytest.raises(InputError, match="generate needs is_decoder"):
        model.generate(ids)
    with pytest.raises(InputError, match="labels of next words need is_decoder"):
        model(ids, labels=ids)
    for part in (model, model.bert):
        with pytest.raises(InputError, match="use_cache needs a decoder"):
            part(ids, use_cache=True)
        assert part(ids).past_key_values is None


# Causality


def count_calls(monkeypatch: pytest.MonkeyPatch, backend: AttentionBackend) -> list[str]:
    """Return a list that grows by one with each call of a backend."""
    calls: list[str] = []
    function = ATTENTION[backend]

    def counted(*arguments: Any, **named: Any) -> tuple[Tensor, Tensor | None]:
        calls.append(backend)
        return function(*arguments, **named)

    monkeypatch.setitem(ATTENTION, backend, counted)
    return calls


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", POSITIONS)
def test_a_later_token_changes_no_earlier_row(
    kind: str, backend: AttentionBackend, mask: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoder(position_embedding_type=kind)
    model.attention_backend = backend
    calls = count_calls(monkeypatch, backend)
    ids, real = tokens(4, 9), mask.bool()
    others = ids.repeat(9, 1, 1)
    for place in range(9):
        others[place, :, place] = (ids[:, place] + 11) % 40
    with torch.inference_mode():
        before = model(ids, mask, use_cache=False).logits
        after = model(others.flatten(0, 1), mask.repeat(9, 1), use_cache=False).logits
    for place, changed in enumerate(after.unflatten(0, (9, 4))):
        moved = (changed - before).abs().amax(dim=-1)
        seen = real[:, place]
        assert not (moved[:, :place][real[:, :place]] > 1e-5).any()
        # And each later row sees it, where it is real.
        assert (moved[:, place:][real[:, place:] & seen[:, None]] > 1e-4).all()
        assert not (moved[:, place + 1 :][real[:, place + 1 :] & ~seen[:, None]] > 1e-5).any()
    assert len(calls) == 2 * 2  # two layers


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_is_what_its_text_gives_up_to_there(backend: AttentionBackend) -> None:
    model = decoder()
    model.attention_backend = backend
    ids = tokens(4, 9)
    with torch.inference_mode():
        full = model(ids, use_cache=False).logits
        for end in range(1, 10):
            assert (model(ids[:, :end], use_cache=False).logits[:, -1] - full[:, end - 1]).abs().max() < 1e-5
        model.bert.config.is_decoder = False
        assert (model(ids).logits - full).abs().max() > 1e-2


@pytest.mark.parametrize("everywhere", [False, True], ids=["real labels", "labels at padding too"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("kind", POSITIONS)
def test_backends_agree_in_loss_and_gradients_of_next_words(
    kind: str, mask: Tensor, everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoder(position_embedding_type=kind).train()
    calls = count_calls(monkeypatch, "packed")
    ids = tokens(4, 9)
    labels = ids if everywhere else ids.masked_fill(mask == 0, -100)
    losses, gradients = [], []
    for backend in BACKENDS:
        model.attention_backend = backend
        model.zero_grad()
        result = model(ids, mask, labels=labels)
        assert result.past_key_values is None
        result.loss.backward()
        losses.append(float(result.loss.detach()))
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert len(calls) == 2
    assert losses[0] > 0.1
    assert losses[1:] == pytest.approx([losses[0]] * 2, abs=1e-5)
    unused = {name for name, _ in model.named_parameters()} - gradients[0].keys()
    assert unused == (set() if kind == "absolute" else {"bert.embeddings.position_embeddings.weight"})
    for other in gradients[1:]:
        assert other.keys() == gradients[0].keys()
        for name, expected in gradients[0].items():
            assert torch.isfinite(expected).all(), name
            assert (other[name] - expected).abs().max() < 1e-4 * max(1.0, float(expected.abs().max())), name


def test_each_label_is_held_against_the_place_before_it() -> None:
    model = decoder()
    ids = tokens(4, 9)
    labels = ids.masked_fill(MASKS["right"] == 0, -100)
    with torch.inference_mode():
        result = model(ids, MASKS["right"], labels=labels)
        likely = result.logits.log_softmax(dim=-1)
    terms = [-likely[b, s - 1, ids[b, s]] for b in range(4) for s in range(1, int(LENGTHS[b]))]
    assert len(terms) == 8 + 1 + 4
    assert float(result.loss) == pytest.approx(float(torch.stack(terms).mean()), abs=1e-5)


# An encoder with a prefix


def by_hand(model: BertModel, ids: Tensor, past: tuple[tuple[Tensor, ...], ...], real: Tensor) -> Tensor:
    """Compute the last states of an encoder that also attends to a prefix, one head at a time, from its weights."""
    weights = model.state_dict()

    def linear(name: str, states: Tensor) -> Tensor:
        return F.linear(states, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, states: Tensor) -> Tensor:
        return F.layer_norm(states, (24,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    before = past[0][0].shape[2]
    hidden = (
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][before : before + ids.shape[1]]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    hidden = norm("embeddings.LayerNorm", hidden)
    for number, (keys, values) in enumerate(past):
        layer = f"encoder.layer.{number}"
        contexts = []
        for head in range(3):
            rows = slice(8 * head, 8 * head + 8)
            query, key, value = (
                linear(f"{layer}.attention.self.{name}", hidden)[..., rows] for name in ("query", "key", "value")
            )
            key = torch.cat((keys[:, head], key), dim=1)
            value = torch.cat((values[:, head], value), dim=1)
            scores = torch.einsum("bqd,bkd->bqk", query, key) / math.sqrt(8)
            scores = scores.masked_fill(~real[:, None, :], -math.inf)
            contexts.append(scores.softmax(dim=-1) @ value)
        attended = linear(f"{layer}.attention.output.dense", torch.cat(contexts, dim=-1))
        hidden = norm(f"{layer}.attention.output.LayerNorm", attended + hidden)
        inner = F.gelu(linear(f"{layer}.intermediate.dense", hidden))
        hidden = norm(f"{layer}.output.LayerNorm", linear(f"{layer}.output.dense", inner) + hidden)
    return hidden


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_encoder_attends_to_a_prefix(backend: AttentionBackend) -> None:
    model = seeded(dataclasses.replace(CONFIG, is_decoder=False), BertModel)
    assert isinstance(model, BertModel)
    model.attention_backend = backend
    generator = torch.Generator().manual_seed(0)
    prefix = [torch.randn(4, 3, 5, 8, generator=generator, requires_grad=True) for _ in range(4)]
    past = ((prefix[0], prefix[1]), (prefix[2], prefix[3]))
    ids = tokens(4, 9)
    for name, tail in MASKS.items():
        if name == "nothing real":
            continue
        head = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 1]])
        mask = torch.cat((head, tail), dim=1)
        result = model(ids, mask, past_key_values=past)
        expected = by_hand(model, ids, past, mask.bool())
        assert (result.last_hidden_state - expected)[tail.bool()].abs().max() < 1e-5
        assert result.past_key_values is None
        # Tuning trains the prefix: its gradient is that of the formula, and 0 where it is masked.
        found = torch.autograd.grad(result.last_hidden_state[tail.bool()].square().sum(), prefix)
        wanted = torch.autograd.grad(expected[tail.bool()].square().sum(), prefix)
        for one, other in zip(found, wanted, strict=True):
            assert (one - other).abs().max() < 1e-4 * max(1.0, float(other.abs().max()))
            assert not one.transpose(1, 2)[head == 0].any()
    with torch.inference_mode():
        plain = model(ids, past_key_values=past).last_hidden_state
    assert (plain - by_hand(model, ids, past, torch.ones(4, 14, dtype=torch.bool))).abs().max() < 1e-5


@pytest.mark.parametrize("kind", POSITIONS)
def test_a_prefix_made_of_words_is_those_words(kind: str) -> None:
    # In one layer keys and values come from the embeddings, which see no other words.
    model = decoder(is_decoder=False, num_hidden_layers=1, position_embedding_type=kind)
    ids, mask = tokens(4, 9), MASKS["left"]
    with torch.inference_mode():
        embedded = model.bert.embeddings(ids[:, :4])
        layer = model.bert.encoder.layer[0]
        assert isinstance(layer, BertLayer)
        attention = layer.attention.self
        past = tuple(attention.transpose_for_scores(part(embedded)) for part in (attention.key, attention.value))
        full = model(ids, mask).logits
        found = model(ids[:, 4:], mask, past_key_values=(past,)).logits
        without = model(ids[:, 4:]).logits
    assert (found - full[:, 4:])[mask[:, 4:].bool()].abs().max() < 1e-5
    assert (without - full[:, 4:])[0].abs().max() > 1e-2
