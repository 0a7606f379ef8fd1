"""Pairs are Google's, draw for draw; and all three ways of reading a document keep what they promise."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import pytest

from glassbert.data.pairs import Document, Example, ordered_pairs, sentence_pairs, stretches

from .google_pairs import GOLDEN, SHORT, documents_of

CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text("utf-8"))["cases"]


def _documents(seed: int, room: int, most: int = 30) -> list[list[list[int]]]:
    """Documents whose ids are all different, so that each tells where it is from."""
    rng = random.Random(seed)
    ids = iter(range(10**9))
    return [
        [
            [next(ids) for _ in range(min(room, rng.randint(1, rng.choice([3, 12, 40]))))]
            for _ in range(rng.randint(1, most))
        ]
        for _ in range(rng.randint(1, 12))
    ]


def _pairs(documents: Sequence[Document], rng: random.Random, room: int, short: float = 0.1) -> Iterator[Example]:
    for place in range(len(documents)):
        yield from sentence_pairs(documents, place, rng, room=room, short=short)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['seed']}-{case['length']}")
def test_pairs_are_those_of_google(case: dict[str, Any]) -> None:
    room = case["length"] - 3
    documents = documents_of(case["seed"], room)
    rng = random.Random(case["seed"])
    found = [
        [place, example.first, example.second, example.label]
        for place in range(len(documents))
        for example in sentence_pairs(documents, place, rng, room=room, short=SHORT)
    ]
    assert found == case["pairs"]
    assert rng.random() == case["next draw"]


def test_the_golden_pairs_have_both_labels_and_cuts() -> None:
    pairs = [(*pair, case["length"] - 3) for case in CASES for pair in case["pairs"]]
    assert {label for *_, label, _ in pairs} == {0, 1}
    assert sum(len(first) + len(second) == room for _, first, second, _, room in pairs) > 20
    assert len(pairs) > 100


@pytest.mark.parametrize("seed", range(40))
def test_pairs_fit_and_are_pieces_of_documents(seed: int) -> None:
    room = random.Random(seed).choice([2, 3, 5, 13, 29, 61, 125])
    documents = _documents(seed, room)
    owner = {index: place for place, document in enumerate(documents) for index in chain(*document)}
    rng = random.Random(seed)
    for place in range(len(documents)):
        examples = list(sentence_pairs(documents, place, rng, room=room, short=0.1))
        for first, second, label in examples:
            assert second is not None
            assert 2 <= len(first) + len(second) <= room
            assert min(len(first), len(second)) >= 1
            for part in (first, second):
                assert part == list(range(part[0], part[-1] + 1))  # in one piece
            assert {owner[index] for index in first} == {place}
            if label == 0:
                assert {owner[index] for index in second} == {place}
                assert second[0] > first[-1]
            elif len(documents) > 1:
                assert {owner[index] for index in second} <= set(range(len(documents)))
        assert examples


def test_displaced_sentences_are_put_back() -> None:
    # Room for all of a document and a random second part: nothing is cut, so first parts and true second parts are
    # the document itself.
    rng = random.Random(1)
    documents = [[[document * 100 + sentence] for sentence in range(9)] for document in range(5)]
    for place, document in enumerate(documents):
        for _ in range(20):
            read: list[int] = []
            for first, second, label in sentence_pairs(documents, place, rng, room=30, short=0.0):
                assert second is not None
                read += first if label else first + second
            assert read == list(chain(*document))


def test_about_half_of_the_pairs_are_from_elsewhere() -> None:
    rng = random.Random(0)
    documents = [[[index] * 10 for index in range(place * 100, place * 100 + 60)] for place in range(60)]
    found = [
        (place, example)
        for place in range(len(documents))
        for example in sentence_pairs(documents, place, rng, room=60, short=0.0)
    ]
    share = sum(example.label for _, example in found) / len(found)
    # One sentence alone has no other choice; so it is a little more than half.
    assert 0.48 < share < 0.62
    for place, (_, second, label) in found:
        assert second is not None
        assert (second[0] // 100 != place) == (label == 1)


def test_a_corpus_of_one_document_pairs_it_with_itself() -> None:
    examples = list(_pairs([[[1, 2, 3]]], random.Random(0), room=20))
    assert examples == [Example([1, 2, 3], [1, 2, 3], 1)]


@pytest.mark.parametrize("seed", range(40))
def test_ordered_pairs(seed: int) -> None:
    room = random.Random(seed).choice([2, 3, 5, 13, 29, 61, 125])
    rng = random.Random(seed)
    for document in _documents(seed, room):
        for first, second, label in ordered_pairs(document, rng, room=room, short=0.1):
            assert second is not None
            assert 2 <= len(first) + len(second) <= room
            assert min(len(first), len(second)) >= 1
            for part in (first, second):
                assert part == list(range(part[0], part[-1] + 1))
            assert (second[-1] < first[0]) if label else (first[-1] < second[0])


def test_ordered_pairs_read_all_and_half_are_swapped() -> None:
    document = [[index] for index in range(20_000)]
    examples = list(ordered_pairs(document, random.Random(0), room=10, short=0.0))
    read = [first + (second or []) if not label else (second or []) + first for first, second, label in examples]
    assert list(chain(*read)) == list(range(20_000))
    assert 0.46 < sum(example.label for example in examples) / len(examples) < 0.54


def test_ordered_pairs_of_one_sentence() -> None:
    assert list(ordered_pairs([[5]], random.Random(0), room=10, short=0.0)) == []
    (pair,) = ordered_pairs([[5, 6]], random.Random(0), room=10, short=0.0)
    assert sorted(pair.first + (pair.second or [])) == [5, 6]


@pytest.mark.parametrize("seed", range(20))
def test_stretches_are_the_document(seed: int) -> None:
    rng = random.Random(seed)
    room = rng.choice([2, 3, 14, 62, 126])
    for document in _documents(seed, room):
        examples = list(stretches(document, rng, room=room, short=0.2))
        assert list(chain(*(example.first for example in examples))) == list(chain(*document))
        assert all(1 <= len(example.first) <= room for example in examples)
        assert all(example.second is None and example.label == 0 for example in examples)


@pytest.mark.parametrize("make", [ordered_pairs, stretches])
def test_without_short_ones_sequences_are_full(make: Callable[..., Iterator[Example]]) -> None:
    document = [[index] for index in range(1000)]
    examples = list(make(document, random.Random(0), room=10, short=0.0))
    assert [len(first) + len(second or ()) for first, second, _ in examples] == [10] * 100


@pytest.mark.parametrize("make", [ordered_pairs, stretches])
def test_short_ones(make: Callable[..., Iterator[Example]]) -> None:
    rng = random.Random(0)
    document = [[index] for index in range(40)]
    lengths = [
        len(first) + len(second or ())
        for _ in range(300)
        for first, second, _ in make(document, rng, room=40, short=0.5)
    ]
    assert set(lengths) >= set(range(2, 41))


def test_the_same_seed_gives_the_same() -> None:
    documents = _documents(3, 29)
    one, same, other = (list(_pairs(documents, random.Random(seed), 29)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
