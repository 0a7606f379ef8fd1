"""Documents of token ids → the sequences that BERT is pretrained with.

Three ways, after three papers: pairs whose second part follows the first or is from elsewhere (BERT, arXiv 1810.04805,
A.1), pairs in their own order or swapped (ALBERT, arXiv 1909.11942, 3.1), and single stretches of one document
(RoBERTa's DOC-SENTENCES, arXiv 1907.11692, 4.2).

`sentence_pairs` asks its random generator for the same numbers in the same order as Google's
`create_pretraining_data.py`, so the same documents and seed give the same pairs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

# The ids of a sentence, and the sentences of a document.
Sentence = list[int]
Document = Sequence[Sentence]
# How often another document is looked for.
_TRIES: Final = 10


class Example(NamedTuple):
    """What goes into one sequence, without special tokens.

    Attributes:
        first: ids of the first part.
        second: ids of the second part; None where there is none.
        label: 0 where the second part follows the first one, 1 where it does not.
    """

    first: Sentence
    second: Sentence | None
    label: int


def sentence_pairs(
    documents: Sequence[Document], place: int, rng: random.Random, *, room: int, short: float
) -> Iterator[Example]:
    """Give the pairs of one document, about half of them with a second part from another document.

    Sentences that a random second part displaces are used again, so all of the document is read.

    Args:
        documents: all from which second parts may come.
        place: of the document among them.
        rng: what is drawn from.
        room: most ids of a pair, without special tokens.
        short: share of documents that are cut for a random shorter length.
    """
    document = documents[place]
    aim = rng.randint(2, room) if rng.random() < short else room
    begin = end = length = 0
    while end < len(document):
        length += len(document[end])
        end += 1
        if end < len(document) and length < aim:
            continue
        cut = begin + (rng.randint(1, end - begin - 1) if end - begin > 1 else 1)
        first = list(chain.from_iterable(document[begin:cut]))
        label = 0
        if end - begin == 1 or rng.random() < 0.5:
            label = 1
            second = _from_elsewhere(documents, place, rng, aim - len(first))
            end = cut
        else:
            second = list(chain.from_iterable(document[cut:end]))
        first, second = _fitted(first, second, room, rng)
        yield Example(first, second, label)
        begin, length = end, 0


def _from_elsewhere(documents: Sequence[Document], place: int, rng: random.Random, wanted: int) -> Sentence:
    """Return sentences from a random place of another document, at least one."""
    for _ in range(_TRIES):
        other = rng.randint(0, len(documents) - 1)
        if other != place:
            break
    found: Sentence = []
    for sentence in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
        found.extend(sentence)
        if len(found) >= wanted:
            break
    return found


def _fitted(first: Sentence, second: Sentence, room: int, rng: random.Random) -> tuple[Sentence, Sentence]:
    """Cut the longer one, id by id, at its front or back by chance, until both fit together."""
    parts = [[0, len(first)], [0, len(second)]]
    for _ in range(len(first) + len(second) - room):
        longer = parts[0] if parts[0][1] - parts[0][0] > parts[1][1] - parts[1][0] else parts[1]
        if rng.random() < 0.5:
            longer[0] += 1
        else:
            longer[1] -= 1
    return first[slice(*parts[0])], second[slice(*parts[1])]


def ordered_pairs(document: Document, rng: random.Random, *, room: int, short: float) -> Iterator[Example]:
    """Give the pairs of one document, each two neighbouring stretches of it, half of them swapped.

    A stretch of one sentence is cut within it; one of a single id is left out, since there is no pair in it.

    Args:
        document: its sentences.
        rng: what is drawn from.
        room: most ids of a pair, without special tokens.
        short: share of documents that are cut for a random shorter length.
    """
    aim = rng.randint(2, room) if rng.random() < short else room
    begin = length = 0
    for end in range(1, len(document) + 1):
        length += len(document[end - 1])
        if end < len(document) and length < aim:
            continue
        if end - begin > 1:
            cut = begin + rng.randint(1, end - begin - 1)
            first = list(chain.from_iterable(document[begin:cut]))
            second = list(chain.from_iterable(document[cut:end]))
        else:
            middle = rng.randint(1, max(1, length - 1))
            first, second = document[begin][:middle], document[begin][middle:]
        begin, length = end, 0
        if not second:
            continue
        first, second = _fitted(first, second, room, rng)
        yield Example(second, first, 1) if rng.random() < 0.5 else Example(first, second, 0)


def stretches(document: Document, rng: random.Random, *, room: int, short: float) -> Iterator[Example]:
    """Give the ids of one document in stretches that are as long as there is room, or now and then shorter.

    Args:
        document: its sentences.
        rng: what is drawn from.
        room: most ids of a stretch, without special tokens.
        short: share of stretches of a random shorter length.
    """
    ids = list(chain.from_iterable(document))
    begin = 0
    while begin < len(ids):
        end = begin + (rng.randint(2, room) if rng.random() < short else room)
        yield Example(ids[begin:end], None, 0)
        begin = end
