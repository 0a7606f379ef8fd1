"""The vocabulary: read, written, and learned from text. The id of a token is its line, from 0."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from glassbert.errors import VocabularyError
from glassbert.text.basic import BasicTokenizer

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def load_vocabulary(path: str | Path) -> dict[str, int]:
    """Read `vocab.txt`.

    Lines end at LF (a CR before it is dropped) and nowhere else: U+2028 is a token of bert-base-chinese.

    Raises:
        VocabularyError: no such file, not UTF-8, empty, or the same token on two lines.
    """
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise VocabularyError(f"{path}: no such file") from None
    except OSError as error:
        raise VocabularyError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: byte {error.start} is not UTF-8") from None
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    vocabulary: dict[str, int] = {}
    for index, line in enumerate(lines):
        token = line.removesuffix("\r")
        if token in vocabulary:
            raise VocabularyError(f"{path}:{index + 1}: {token!r} stands on line {vocabulary[token] + 1} already")
        vocabulary[token] = index
    if not vocabulary:
        raise VocabularyError(f"{path}: the vocabulary is empty")
    return vocabulary


def checked(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Return a vocabulary as a dict.

    Raises:
        VocabularyError: a token that is no text, an id that is no whole number from 0 on, or one id twice.
    """
    by_id: dict[int, str] = {}
    for token, index in vocabulary.items():
        if not isinstance(token, str) or type(index) is not int or index < 0:
            raise VocabularyError(f"the vocabulary gives {token!r} the id {index!r}, expected a whole number from 0 on")
        if by_id.setdefault(index, token) is not token:
            raise VocabularyError(f"the vocabulary gives the id {index} to {by_id[index]!r} and to {token!r}")
    try:
        "".join(vocabulary).encode()
    except UnicodeEncodeError:
        token = next(token for token in vocabulary if any(0xD800 <= ord(char) < 0xE000 for char in token))
        raise VocabularyError(f"the vocabulary's {token!r} holds a lone surrogate, which is no character") from None
    return dict(vocabulary)


def save_vocabulary(vocabulary: dict[str, int], path: str | Path) -> None:
    """Write one token a line, in the order of the ids.

    Raises:
        VocabularyError: the ids do not run from 0 without a gap, or a token would not be read as it is.
    """
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise VocabularyError("the ids of the vocabulary do not run from 0 without a gap; a vocab.txt cannot hold it")
    for index, token in enumerate(tokens):
        if "\n" in token or token.endswith("\r") or (index == 0 and token.startswith("\ufeff")):
            raise VocabularyError(f"the token {token!r} is no line of its own; a vocab.txt cannot hold it")
    Path(path).write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))


def learn_vocabulary(
    texts: Iterable[str], *, size: int, basic: BasicTokenizer | None = None, min_frequency: int = 2
) -> dict[str, int]:
    """Learn a WordPiece vocabulary of at most `size` tokens from `texts`.

    Begins with the characters and joins the most frequent pair of neighbouring pieces, again and again, as
    the trainer of Hugging Face's `tokenizers` does. Ties are broken by the pieces themselves, so the same
    text always gives the same vocabulary.

    Args:
        texts: raw text, any number of strings of any length.
        size: most tokens, the five special ones included.
        basic: how text becomes words; None takes the uncased default.
        min_frequency: characters and pairs seen less often are left out.

    Raises:
        VocabularyError: no words in `texts`, or `size` leaves no room for the characters.
    """
    if isinstance(texts, str):
        raise VocabularyError("texts is one string, expected several; pass [text]")
    if min_frequency < 1:
        raise VocabularyError(f"min_frequency is {min_frequency}, expected 1 or more")
    basic = basic or BasicTokenizer()
    words = Counter(word for text in texts for word in basic.tokenize(text))
    if not words:
        raise VocabularyError("the text to learn a vocabulary from holds no words")
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for piece in _characters(word):
            characters[piece] += count
            if piece.startswith("##"):
                # As it stands alone too: some day a word will begin with it.
                characters[piece[2:]] += count
    alphabet = sorted(piece for piece, count in characters.items() if count >= min_frequency)
    if len(SPECIAL_TOKENS) + len(alphabet) > size:
        raise VocabularyError(
            f"size {size} is too small: {len(SPECIAL_TOKENS)} special tokens and {len(alphabet)} characters come first"
        )
    known = dict.fromkeys((*SPECIAL_TOKENS, *alphabet))
    spelled = sorted((word, count) for word, count in words.items())
    for piece in _merges(
        [list(_characters(word)) for word, _ in spelled], [count for _, count in spelled], min_frequency
    ):
        if len(known) >= size:
            break
        known[piece] = None
    return {token: index for index, token in enumerate(known)}


def _characters(word: str) -> Iterator[str]:
    yield word[0]
    for char in word[1:]:
        yield "##" + char


def _join(pair: tuple[str, str]) -> str:
    return pair[0] + pair[1].removeprefix("##")


def _merges(words: list[list[str]], counts: list[int], min_frequency: int) -> Iterator[str]:
    """Give the joined pieces, most frequent pair first, rewriting `words` on the way."""
    totals: Counter[tuple[str, str]] = Counter()
    places: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for index, pieces in enumerate(words):
        for pair in itertools.pairwise(pieces):
            totals[pair] += counts[index]
            places[pair].add(index)
    queue = [(-count, pair) for pair, count in totals.items()]
    heapq.heapify(queue)
    while queue:
        count, pair = heapq.heappop(queue)
        if -count != totals[pair]:
            # An outdated entry: the count fell since. Entries never promise too little, since a pair whose
            # count grows is entered anew.
            if totals[pair] >= min_frequency:
                heapq.heappush(queue, (-totals[pair], pair))
            continue
        if -count < min_frequency:
            return
        joined = _join(pair)
        changed: set[tuple[str, str]] = set()
        for index in sorted(places.pop(pair)):
            pieces = words[index]
            for neighbours in itertools.pairwise(pieces):
                totals[neighbours] -= counts[index]
            words[index] = pieces = _replace(pieces, pair, joined)
            for neighbours in itertools.pairwise(pieces):
                totals[neighbours] += counts[index]
                places[neighbours].add(index)
                if joined in neighbours:
                    changed.add(neighbours)
        del totals[pair]
        for grown in changed:
            heapq.heappush(queue, (-totals[grown], grown))
        yield joined


def _replace(pieces: list[str], pair: tuple[str, str], joined: str) -> list[str]:
    result: list[str] = []
    index = 0
    while index < len(pieces):
        if index + 1 < len(pieces) and (pieces[index], pieces[index + 1]) == pair:
            result.append(joined)
            index += 2
        else:
            result.append(pieces[index])
            index += 1
    return result
