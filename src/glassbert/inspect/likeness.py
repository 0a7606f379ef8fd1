"""How alike the representations of two models are: linear CKA of all layers of one with all layers of the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Literal

import torch
from torch import Tensor

from glassbert.inspect.running import Subject, quietly
from glassbert.model.sentence import pool
from glassbert.tasks.task import counted
from glassbert.text import BertTokenizer, Encoding

# Texts that the representations are compared on, vectors of theirs, and texts in one call.
_TEXTS: Final = 200
_POINTS: Final = 1000
_AT_ONCE: Final = 16
# With fewer there is no unbiased estimate.
_FEWEST: Final = 4

# What representations are compared on where no file is given.
SENTENCES: Final = (
    "The cat slept on the warm windowsill all afternoon.",
    "Two engineers argued about the colour of the bridge.",
    "It has not rained here since the end of March.",
    "Could you please send me the report before Friday?",
    "The soup was cold, but nobody wanted to complain.",
    "Prices rose by four percent in the last quarter.",
    "She learned to play the violin when she was six.",
    "The train to the coast leaves from platform nine.",
    "He opened the letter with shaking hands.",
    "A small boat drifted slowly towards the harbour.",
    "This phone is slow, heavy and far too expensive.",
    "What a wonderful evening, thank you all for coming!",
    "The court will hear the case again next month.",
    "Plants turn sunlight, water and air into sugar.",
    "My grandmother bakes bread every Sunday morning.",
    "The team lost both games without scoring once.",
    "Why is the sky blue and the sunset red?",
    "The new law protects the bank of the river.",
    "Her bank account was empty after the holiday.",
    "Turn left at the church and follow the road.",
    "The film is a quiet story about two brothers.",
    "Scientists found ice beneath the dust of the moon.",
    "He fixed the old radio with a paper clip.",
    "The museum is closed on Mondays and on holidays.",
    "Children ran through the garden with paper kites.",
    "The doctor told him to sleep more and worry less.",
    "A storm broke three windows of the school.",
    "I never read the instructions before I begin.",
    "The company sold its oldest factory in Ohio.",
    "Nobody knew who had painted the blue door.",
    "The recipe needs two eggs and a cup of flour.",
    "In winter the lake freezes from shore to shore.",
    "The speech was long, dull and badly prepared.",
    "They built a house of stone above the village.",
    "The dog barked at the postman, as it always did.",
    "Water boils at a lower temperature in the mountains.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Likeness:
    """Linear CKA of the states of all layers, each of one model with each of the other.

    The estimate is the unbiased one, of which unrelated representations have about 0 however few vectors there are;
    it may be a little below 0.

    Attributes:
        of: "tokens" compares the vectors of tokens, "texts" the means of each text's.
        points: how many vectors.
        texts: of how many texts.
        matrix: rows are the first model's states, from the embeddings (0) to the last layer, columns the second's; 1 is
            the same but for rotation and scale. None where all vectors of a layer are one.
    """

    of: Literal["tokens", "texts"]
    points: int
    texts: int
    matrix: tuple[tuple[float | None, ...], ...]


def likeness(one: Subject, two: Subject, texts: Sequence[str], notes: list[str]) -> Likeness | None:
    """Compare what two models make of texts, layer by layer.

    Args:
        one: the first model.
        two: the second.
        texts: of more than some hundred a part is taken; ends that are longer than a model takes are cut.
        notes: gets what is to be known: what was cut or left out.

    Returns:
        None where there is too little to compare, which `notes` say, or a tokenizer is missing.
    """
    if one.tokenizer is None or two.tokenizer is None:
        return None
    texts = [texts[number * len(texts) // _TEXTS] for number in range(_TEXTS)] if len(texts) > _TEXTS else texts
    limit = min(one.limit, two.limit)
    both = [each.encodings(texts, truncation=True, max_length=limit) for each in (one.tokenizer, two.tokenizer)]
    # A text of which a tokenizer leaves nothing has no vector to compare.
    kept = [place for place in range(len(texts)) if all(each[place].first for each in both)]
    if len(kept) < len(texts):
        notes.append(f"{counted(len(texts) - len(kept), 'text')} without tokens left out.")
    both = [[each[place] for place in kept] for each in both]
    cut = sum(any(encoding.cut for encoding in pair) for pair in zip(*both, strict=True))
    if cut:
        notes.append(f"{cut} of {counted(len(kept), 'text')} cut to {limit} tokens to compare representations.")
    aligned = all(
        _tokens(first, one.tokenizer) == _tokens(second, two.tokenizer) for first, second in zip(*both, strict=True)
    )
    total = sum(encoding.first for encoding in both[0]) if aligned else len(kept)
    if total < _FEWEST:
        notes.append(
            f"Representations are not compared: there are {counted(total, 'vector')}, expected {_FEWEST} or more; give "
            "more texts."
        )
        return None
    if not aligned:
        notes.append(
            "The tokenizers part the texts differently, so that tokens have no counterparts: representations are "
            "compared text by text."
        )
    points = min(total, _POINTS)
    picked = [number * total // points for number in range(points)]
    sides = [
        _states(subject, encodings, picked, tokens=aligned) for subject, encodings in zip((one, two), both, strict=True)
    ]
    return Likeness(
        of="tokens" if aligned else "texts",
        points=points,
        texts=len(kept),
        matrix=cka(*sides),
    )


def _tokens(encoding: Encoding, tokenizer: BertTokenizer) -> list[str]:
    return tokenizer.convert_ids_to_tokens(encoding.ids)


def _states(subject: Subject, encodings: Sequence[Encoding], picked: Sequence[int], *, tokens: bool) -> list[Tensor]:
    """Return the chosen vectors of each layer, (N, H), special tokens left out.

    Args:
        subject: whose.
        encodings: of the texts.
        picked: numbers of the vectors, counted over all texts, in order.
        tokens: of each token a vector; else the mean of each text's.
    """
    bert = subject.bert
    chosen = torch.tensor(picked)
    found: list[list[Tensor]] = [[] for _ in range(len(bert.encoder.layer) + 1)]
    begin = 0
    with quietly(bert):
        for start in range(0, len(encodings), _AT_ONCE):
            some = encodings[start : start + _AT_ONCE]
            batch = subject.batch(some)
            longest = batch.input_ids.shape[1]
            words = torch.tensor([[not mark for mark in one.special] + [False] * (longest - len(one)) for one in some])
            states = bert(
                **batch.arguments(),
                output_hidden_states=True,
                output_attentions=False,
                return_dict=True,
            ).hidden_states
            count = int(words.sum()) if tokens else len(some)
            here = chosen[(chosen >= begin) & (chosen < begin + count)] - begin
            begin += count
            for rows, layer in zip(found, states, strict=True):
                layer = layer.float().cpu()
                vectors = layer[words] if tokens else pool(layer, words, "mean")
                rows.append(vectors[here])
    return [torch.cat(rows) for rows in found]


def cka(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> tuple[tuple[float | None, ...], ...]:
    """Return the linear CKA of each of `ours` with each of `theirs`, by the unbiased estimate.

    The plain estimate is high for any two representations as soon as they are wider than there are points; this one has
    0 in the mean for unrelated ones. It does not mind rotation, scale and shift.

    Source: Kornblith et al., arXiv 1905.00414, with the estimate of dependence of Song et al., Feature Selection via
    Dependence Maximization, JMLR 2012, as in arXiv 2010.15327.

    Args:
        ours: representations (N, H) of the same N points, 4 or more; H may differ.
        theirs: of these points, too.

    Returns:
        from a little below 0 to 1; None where all points of a representation are one.
    """
    first, second = ([_centred(points) for points in side] for side in (ours, theirs))
    return tuple(tuple(_cosine(one, other) for other in second) for one in first)


def _centred(points: Tensor) -> Tensor | None:
    """Return what the unbiased CKA is the cosine of: (N, H) -> (N²,), of length 1; None where all points are one.

    That is the matrix of products of all pairs, without those of a point with itself, so centred that its rows sum to 0
    (Székely and Rizzo's U-centring).
    """
    points = points.double()
    points = points - points.mean(dim=0)
    count = len(points)
    products = points @ points.T
    scale = float(products.diagonal().amax())
    if not scale > 0.0 or scale == float("inf"):
        return None
    products = (products / scale).fill_diagonal_(0.0)
    rows = products.sum(dim=1) / (count - 2)
    centred = products - rows[:, None] - rows[None] + rows.sum() / (count - 1)
    centred.fill_diagonal_(0.0)
    length = float(torch.linalg.vector_norm(centred))
    # Rounding alone makes no likeness.
    return None if length < 1e-9 else (centred / length).flatten().float()


def _cosine(one: Tensor | None, other: Tensor | None) -> float | None:
    return None if one is None or other is None else min(1.0, float(one @ other))
