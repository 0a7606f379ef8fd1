"""Which tokens a model is to guess, and what it sees in their place.

As in BERT (arXiv 1810.04805, 3.1): some share of a sequence's tokens is chosen; of these 80% become `[MASK]`, 10% a
random token, 10% stay. Choices are hashes of seed, epoch, sequence and place (see `sampling`), so a sequence is masked
anew in every epoch, and in one epoch the same way however it is batched.

Letters: T tokens of all sequences, one after the other; N sequences; V vocabulary.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glassbert.data.sampling import followed, fractions, hashed

IGNORED: Final = -100
_MASKED: Final = 0.8
_KEPT: Final = 0.9
# The streams of chance of one sequence in one epoch.
_WHICH, _HOW, _WHAT = range(3)
# Sequences of a call, and tokens of a sequence, that fit into a key for sorting.
_MOST: Final = 1 << 16
_COLUMNS: Final = np.uint64(_MOST - 1)


class Masking(NamedTuple):
    """How tokens are chosen and replaced.

    Attributes:
        share: of a sequence's tokens, special ones counted, as in Google's code.
        most: most tokens of a sequence; None for no limit.
        special: (V,) bool, true at ids that are never chosen: `[CLS]`, `[SEP]`, `[PAD]`.
        mask_id: what is put in the place of most chosen tokens.
        inside: (V,) bool, true at ids that go on with a word; None chooses single tokens, not whole words.
    """

    share: float
    most: int | None
    special: NDArray[np.bool_]
    mask_id: int
    inside: NDArray[np.bool_] | None = None


class Masked(NamedTuple):
    """Sequences with tokens to guess.

    Attributes:
        ids: (T,) int64, as the model sees them.
        labels: (T,) int64, what stood at the chosen places, -100 elsewhere.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]


def mask(
    ids: NDArray[Any],
    lengths: NDArray[np.int64],
    keys: NDArray[np.uint64],
    masking: Masking,
    inside: NDArray[np.bool_] | None = None,
) -> Masked:
    """Choose tokens of some sequences and replace them.

    Args:
        ids: (T,) of the sequences, one after the other.
        lengths: (N,) of each, at most 65,536 tokens; and N is at most as much.
        keys: (N,) the chance of each: a hash of what tells this reading of it from others.
        masking: how.
        inside: (T,) true at tokens that go on with the word before; None takes it from `masking`, where whole words are
            chosen.
    """
    ids = ids.astype(np.int64)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    column = np.arange(len(ids)) - starts[sequence]
    free = ~masking.special[ids]
    wanted = np.maximum(1, np.rint(lengths * masking.share).astype(np.int64))
    if masking.most is not None:
        wanted = np.minimum(wanted, masking.most)
    if inside is None and masking.inside is not None:
        inside = masking.inside[ids]
    noise = followed(hashed(hashed(keys, _WHICH))[sequence], column)
    # The 16 lowest bits tell equal noise apart, so that an order is the same on every machine.
    noise = (noise & ~_COLUMNS) | column.astype(np.uint64)
    chosen = _tokens(sequence, free, noise, wanted, inside)
    labels = np.full(len(ids), IGNORED, dtype=np.int64)
    labels[chosen] = ids[chosen]
    own, places = keys[sequence[chosen]], column[chosen]
    how = fractions(hashed(own, _HOW, places))
    what = (hashed(own, _WHAT, places) % np.uint64(len(masking.special))).astype(np.int64)
    ids[chosen] = np.where(how < _MASKED, masking.mask_id, np.where(how < _KEPT, ids[chosen], what))
    return Masked(ids, labels)


def _tokens(
    sequence: NDArray[np.int64],
    free: NDArray[np.bool_],
    noise: NDArray[np.uint64],
    wanted: NDArray[np.int64],
    inside: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """Return the places in (T,) of the tokens with the least noise, as many of each sequence as are wanted."""
    if inside is not None:
        return _words(sequence, free, noise, wanted, inside)
    places = np.flatnonzero(free)
    order = places[_by_sequence(sequence[places], noise[places])]
    counts = np.bincount(sequence[places], minlength=len(wanted))
    chosen = np.minimum(wanted, counts)
    # The first of each sequence: its begin among the sorted, and 0, 1, … from there.
    begins = np.repeat(np.cumsum(counts) - counts - (np.cumsum(chosen) - chosen), chosen)
    found: NDArray[np.int64] = order[begins + np.arange(len(begins))]
    return found


def _words(
    sequence: NDArray[np.int64],
    free: NDArray[np.bool_],
    noise: NDArray[np.uint64],
    wanted: NDArray[np.int64],
    inside: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Likewise for whole words: in random order, passing over those that are longer than what is still wanted."""
    # A sequence's first token, and what stands behind a special one, begins a word whatever it is.
    begins = ~inside
    begins[0:1] = True
    begins[1:] |= (sequence[1:] != sequence[:-1]) | ~free[1:] | ~free[:-1]
    word = np.cumsum(begins) - 1  # (T,)
    first = np.flatnonzero(begins)  # (W,)
    sizes = np.bincount(word, minlength=len(first))
    words = np.flatnonzero(free[first])
    words = words[_by_sequence(sequence[first[words]], noise[first[words]])]
    left = wanted.copy()
    taken = np.zeros(len(first), dtype=bool)
    while len(words):
        own = sequence[first[words]]
        words = words[sizes[words] <= left[own]]
        own = sequence[first[words]]
        if not len(words):
            break
        # All up to the first one that does not fit any more; that one is passed over, and the rest looked at again.
        total = np.cumsum(sizes[words])
        new = np.r_[True, own[1:] != own[:-1]]
        before = np.maximum.accumulate(np.where(new, total - sizes[words], 0))
        fits = total - before <= left[own]
        took = words[fits]
        taken[took] = True
        left -= np.bincount(sequence[first[took]], weights=sizes[took], minlength=len(left)).astype(np.int64)
        words = words[~fits]
    return np.flatnonzero(taken[word])


def _by_sequence(sequence: NDArray[np.int64], noise: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the order by sequence, and by noise within it."""
    # One key of 64 bits, which is sorted several times as fast as two: sequence, 32 bits of noise, column.
    high = (noise >> np.uint64(32)) << np.uint64(16)
    return np.argsort((sequence.astype(np.uint64) << np.uint64(48)) | high | (noise & _COLUMNS))
