"""Which tokens are chosen and what becomes of them: Google's numbers, and a rule that is written out plainly here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from glassbert.data.masking import IGNORED, Masked, Masking, mask
from glassbert.data.sampling import hashed

CLS, SEP, MASK, SIZE = 2, 3, 4, 1000
# From here on ids go on with a word.
INSIDE_FROM = 700


def _masking(share: float = 0.15, most: int | None = None, *, words: bool = False) -> Masking:
    special = np.zeros(SIZE, dtype=bool)
    special[[0, CLS, SEP]] = True
    inside = np.arange(SIZE) >= INSIDE_FROM if words else None
    return Masking(share, most, special, MASK, inside)


def _sequences(count: int, seed: int, longest: int = 128) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return sequences of [CLS], words, [SEP], words, [SEP], one after the other, and their lengths."""
    rng = np.random.default_rng(seed)
    parts, lengths = [], []
    for _ in range(count):
        length = int(rng.integers(5, longest + 1))
        ids = rng.integers(5, SIZE, length)
        ids[0], ids[-1], ids[rng.integers(2, length - 2)] = CLS, SEP, SEP
        parts.append(ids)
        lengths.append(length)
    return np.concatenate(parts), np.array(lengths, np.int64)


def _each(values: NDArray[Any], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
    return np.split(values, np.cumsum(lengths)[:-1])


def _keys(count: int, epoch: int = 0) -> NDArray[np.uint64]:
    return hashed(11, epoch, np.arange(count))


def _same(one: Masked, other: Masked) -> bool:
    return np.array_equal(one.ids, other.ids) and np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize(("share", "most"), [(0.15, None), (0.15, 20), (0.15, 3), (0.5, None), (0.01, None), (0.9, 7)])
def test_as_many_as_google_chooses(share: float, most: int | None) -> None:
    ids, lengths = _sequences(400, 0)
    found = mask(ids, lengths, _keys(400), _masking(share, most))
    for length, before, labels in zip(lengths.tolist(), _each(ids, lengths), _each(found.labels, lengths), strict=True):
        wanted = min(max(1, round(length * share)), length if most is None else most)
        assert (labels != IGNORED).sum() == min(wanted, length - 3)
        assert (labels[labels != IGNORED] == before[labels != IGNORED]).all()


@pytest.mark.parametrize("words", [False, True])
def test_special_tokens_are_never_chosen(words: bool) -> None:
    ids, lengths = _sequences(300, 1)
    found = mask(ids, lengths, _keys(300), _masking(0.9, words=words))
    special = (ids == CLS) | (ids == SEP)
    assert (found.labels[special] == IGNORED).all()
    assert (found.ids[special] == ids[special]).all()


def test_what_is_not_chosen_stays() -> None:
    ids, lengths = _sequences(300, 2)
    before = ids.copy()
    found = mask(ids, lengths, _keys(300), _masking())
    assert (ids == before).all()
    kept = found.labels == IGNORED
    assert (found.ids[kept] == ids[kept]).all()
    assert found.ids.dtype == found.labels.dtype == np.int64


def test_eighty_ten_ten() -> None:
    ids, lengths = _sequences(3000, 3)
    found = mask(ids, lengths, _keys(3000), _masking())
    chosen = found.labels != IGNORED
    count = int(chosen.sum())
    assert count > 25_000
    masked = (found.ids[chosen] == MASK).sum()
    kept = (found.ids[chosen] == ids[chosen]).sum()
    others = count - masked - kept
    for seen, share in ((masked, 0.8), (kept, 0.1), (others, 0.1)):
        # A random token may be [MASK] or the same one, once in a thousand each.
        assert abs(seen - count * share) < 4 * (count * share * (1 - share)) ** 0.5 + count * 0.0005


def test_random_tokens_are_of_the_whole_vocabulary() -> None:
    ids, lengths = np.full(400_000, 5), np.full(4000, 100)
    found = mask(ids, lengths, _keys(4000), _masking(0.9))
    others = found.ids[(found.ids != 5) & (found.ids != MASK)]
    counts = np.delete(np.bincount(others, minlength=SIZE), [5, MASK])
    assert len(counts) == SIZE - 2
    assert counts.min() > 0
    expected = counts.mean()
    assert abs(((counts - expected) ** 2 / expected).sum() - len(counts)) < 5 * (2 * len(counts)) ** 0.5


def test_every_place_is_chosen_equally_often() -> None:
    lengths = np.full(20_000, 42)
    ids = np.tile(np.r_[CLS, np.arange(5, 45), SEP], 20_000)
    found = mask(ids, lengths, _keys(20_000), _masking())
    counts = (found.labels.reshape(20_000, 42) != IGNORED).sum(0)
    assert counts[0] == counts[-1] == 0
    expected = 20_000 * 6 / 40
    assert abs(counts[1:-1].sum() - 20_000 * 6) == 0
    # Each sequence has exactly 6, so that the variance is that of a hypergeometric.
    assert (abs(counts[1:-1] - expected) < 4.5 * (expected * (1 - 6 / 40)) ** 0.5).all()


@pytest.mark.parametrize("words", [False, True])
def test_a_sequence_is_masked_alike_in_any_company(words: bool) -> None:
    ids, lengths = _sequences(60, 4)
    keys = _keys(60)
    masking = _masking(words=words)
    together = mask(ids, lengths, keys, masking)
    apart = [
        mask(one, np.array([len(one)]), keys[place : place + 1], masking)
        for place, one in enumerate(_each(ids, lengths))
    ]
    assert _same(together, Masked(*(np.concatenate(parts) for parts in zip(*apart, strict=True))))
    order = np.random.default_rng(0).permutation(60)
    parts = _each(ids, lengths)
    shuffled = mask(np.concatenate([parts[place] for place in order]), lengths[order], keys[order], masking)
    mine = _each(together.labels, lengths)
    assert np.array_equal(shuffled.labels, np.concatenate([mine[place] for place in order]))


def test_ids_of_any_type_are_masked_alike() -> None:
    ids, lengths = _sequences(20, 5)
    expected = mask(ids, lengths, _keys(20), _masking())
    for kind in (np.uint16, np.uint32, np.int32):
        assert _same(mask(ids.astype(kind), lengths, _keys(20), _masking()), expected)


def test_another_epoch_chooses_others() -> None:
    ids, lengths = _sequences(500, 6)
    one, other = (mask(ids, lengths, _keys(500, epoch), _masking()).labels != IGNORED for epoch in (0, 1))
    assert one.sum() == other.sum()
    assert 0.1 < (one & other).sum() / one.sum() < 0.2


def test_nothing_to_choose_from() -> None:
    ids, lengths = np.array([CLS, SEP, CLS, 9, SEP]), np.array([2, 3])
    for words in (False, True):
        found = mask(ids, lengths, _keys(2), _masking(words=words))
        assert found.labels.tolist() == [IGNORED] * 3 + [9, IGNORED]
    empty = mask(np.array([], np.int64), np.array([], np.int64), _keys(0), _masking())
    assert len(empty.ids) == len(empty.labels) == 0


def _google(ids: list[int], inside: list[bool], noise: dict[int, int], wanted: int) -> tuple[set[int], list[list[int]]]:
    """Choose whole words one after the other, as create_pretraining_data.py does; its shuffle is the order by noise."""
    words: list[list[int]] = []
    for place, index in enumerate(ids):
        if index in (CLS, SEP):
            continue
        if inside[place] and words and words[-1][-1] == place - 1:
            words[-1].append(place)
        else:
            words.append([place])
    chosen: set[int] = set()
    for word in sorted(words, key=lambda word: noise[word[0]]):
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(word) <= wanted:
            chosen.update(word)
    return chosen, words


def _noise(key: np.uint64, length: int) -> dict[int, int]:
    """Return what decides the order of places: 32 bits of chance, and the place where those are equal."""
    bits = hashed(hashed(key, 0), np.arange(length)) >> np.uint64(32)
    return {place: (int(bits[place]) << 16) + place for place in range(length)}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("given", [False, True])
def test_whole_words_are_chosen_as_google_does(seed: int, given: bool) -> None:
    rng = np.random.default_rng(seed)
    share, most = float(rng.choice([0.05, 0.15, 0.4])), [None, 5, 20][seed % 3]
    ids, lengths = _sequences(80, seed, longest=int(rng.choice([12, 60, 200])))
    # Segments of their own, longer ones too, with marks where they make no sense: at special tokens and behind them.
    inside = rng.random(len(ids)) < 0.6 if given else ids >= INSIDE_FROM
    keys = _keys(80, seed)
    found = mask(ids, lengths, keys, _masking(share, most, words=True), inside if given else None)
    rows = zip(_each(ids, lengths), _each(inside, lengths), _each(found.labels, lengths), keys, strict=True)
    for row, own, labels, key in rows:
        wanted = min(max(1, round(len(row) * share)), most or len(row))
        expected, words = _google(row.tolist(), own.tolist(), _noise(key, len(row)), wanted)
        chosen = set(np.flatnonzero(labels != IGNORED).tolist())
        assert chosen == expected
        assert all(chosen.issuperset(word) or chosen.isdisjoint(word) for word in words)
        assert len(chosen) <= wanted


def test_single_tokens_are_chosen_in_the_same_order() -> None:
    ids, lengths = _sequences(50, 9)
    keys = _keys(50)
    found = mask(ids, lengths, keys, _masking())
    for row, labels, key in zip(_each(ids, lengths), _each(found.labels, lengths), keys, strict=True):
        wanted = max(1, round(len(row) * 0.15))
        expected, _ = _google(row.tolist(), [False] * len(row), _noise(key, len(row)), wanted)
        assert set(np.flatnonzero(labels != IGNORED).tolist()) == expected


def test_given_segments_count_whatever_the_vocabulary_says() -> None:
    # Four segments of two tokens each, in which the vocabulary sees no words.
    ids, lengths = np.array([CLS, *range(10, 18), SEP]), np.array([10])
    inside = np.array([False, *[False, True] * 4, False])
    for key in range(50):
        labels = mask(ids, lengths, hashed([key]), _masking(0.2), inside).labels[1:-1].reshape(4, 2) != IGNORED
        assert sorted(labels.sum(1).tolist()) == [0, 0, 0, 2]


def test_a_word_that_does_not_fit_is_passed_over() -> None:
    ids, lengths = np.array([CLS, 10, *[800] * 9, SEP]), np.array([12])
    chosen = [
        np.flatnonzero(mask(ids, lengths, hashed([key]), _masking(0.2, words=True)).labels != IGNORED).tolist()
        for key in range(20)
    ]
    # Ten pieces are one word, which is too long for two places.
    assert chosen == [[]] * 20


def test_the_longest_sequence_and_the_most() -> None:
    ids = np.full(65_536, 9)
    assert (mask(ids, np.array([65_536]), _keys(1), _masking()).labels != IGNORED).sum() == 9830
    found = mask(ids, np.ones(65_536, np.int64), _keys(65_536), _masking())
    assert (found.labels == 9).all()
