"""Text → vocabulary: the trainer of WordPiece.

Words are spelled in pieces, at first one a character, and the most frequent pair of neighbouring pieces is joined to
one, again and again. A word is kept as a string with one character for each piece, so that joining a pair is
`str.replace`; which character stands for which piece is known only here.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from glassbert.errors import VocabularyError
from glassbert.text.basic import BasicTokenizer
from glassbert.text.checks import check_counts, check_string, count_of, shown, words_of
from glassbert.text.vocabulary import SPECIAL_TOKENS

# Each piece is written as a character, and there are not many more of them.
_LARGEST: Final = 1_000_000


def learn_vocabulary(
    texts: Iterable[str], *, size: int, basic: BasicTokenizer | None = None, min_frequency: int = 2
) -> dict[str, int]:
    """Learn a WordPiece vocabulary of at most `size` tokens from `texts`.

    For text that does not fit in memory, or to use all cores, count the words with `glassbert.data.count_words` and
    call `learn_from_counts`.

    Args:
        texts: raw text, any number of strings of any length.
        size: most tokens (V), the five special ones included.
        basic: how text becomes words; None takes the uncased default.
        min_frequency: characters and pairs seen less often are left out.

    Raises:
        VocabularyError: no strings, no words in them, `size` leaves no room for the characters, or a setting is out of
            range.
    """
    if isinstance(texts, str):
        raise VocabularyError("texts is one string, expected several; pass [text]")
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise VocabularyError(f"texts is {shown(texts)}, expected several strings")
    if basic is None:
        basic = BasicTokenizer()
    elif not isinstance(basic, BasicTokenizer):
        raise VocabularyError(f"basic is {shown(basic)}, expected a BasicTokenizer")
    check_settings(size, min_frequency, SPECIAL_TOKENS, None)
    check_room(size, SPECIAL_TOKENS)
    counts: Counter[str] = Counter()
    for place, text in enumerate(texts):
        check_string(f"texts[{place}]", text, VocabularyError)
        counts.update(basic.tokenize(text))
    return learn_from_counts(counts, size=size, min_frequency=min_frequency)


def learn_from_counts(
    counts: Mapping[str, int],
    *,
    size: int,
    min_frequency: int = 2,
    special_tokens: Sequence[str] = SPECIAL_TOKENS,
    alphabet_size: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Learn a WordPiece vocabulary of at most `size` tokens from words and how often each occurs.

    First come the special tokens, then the characters in the order of their code points, then joined pieces, the most
    frequent first, as the trainer of Hugging Face's `tokenizers` finds them. Ties are broken by the pieces themselves,
    so the same counts, in any order, give the same vocabulary everywhere.

    Args:
        counts: occurrences by word, as a `BasicTokenizer` splits words. Words that are special tokens are passed over.
        size: most tokens (V). There are fewer where no pair is left that occurs `min_frequency` times.
        min_frequency: characters and pairs seen less often are left out.
        special_tokens: take the first ids, in this order.
        alphabet_size: keep the most frequent characters only, so many; None keeps all. A character counts once, though
            it may take two tokens: as the beginning of a word, and after `##`. A word with a character that is left
            out cannot be written in pieces; `measure_coverage` counts such words.
        on_progress: called with the tokens so far and `size`, first before any pieces are joined.

    Returns:
        The id of each token, in the order of the ids.

    Raises:
        VocabularyError: no words, `size` leaves no room for the characters, or a setting is out of range.
    """
    special_tokens = words_of("special_tokens", special_tokens, VocabularyError)
    check_settings(size, min_frequency, special_tokens, alphabet_size)
    check_counts(counts)
    if on_progress is not None and not callable(on_progress):
        raise VocabularyError(f"on_progress is {shown(on_progress)}, expected a function")
    special = set(special_tokens)
    words = [(word, count) for word, count in counts.items() if word and count > 0 and word not in special]
    if not words:
        raise VocabularyError("the text to learn a vocabulary from holds no words")
    characters = _characters(words, min_frequency)[:alphabet_size]
    alphabet = sorted(piece for forms in characters for piece in forms)
    room = size - len(special_tokens)
    if len(alphabet) > room:
        fitting = bisect.bisect_right(list(itertools.accumulate(map(len, characters))), room)
        raise VocabularyError(
            f"size {size} is too small: {len(special_tokens)} special tokens and {len(alphabet)} characters come "
            f"first; use {len(special_tokens) + len(alphabet)} or more"
            + (f", or an alphabet of the {fitting} most frequent characters" if fitting > 0 else "")
        )
    tokens = dict.fromkeys((*special_tokens, *alphabet))
    if on_progress is not None:
        on_progress(len(tokens), size)
    if len(tokens) < size:
        for piece in _joined_pieces(words, alphabet, min_frequency):
            # The same piece may be joined twice, as ab+c and a+bc.
            if piece not in tokens:
                tokens[piece] = None
                if on_progress is not None:
                    on_progress(len(tokens), size)
                if len(tokens) == size:
                    break
    return {token: index for index, token in enumerate(tokens)}


def check_settings(size: int, min_frequency: int, special_tokens: Sequence[str], alphabet_size: int | None) -> None:
    """Refuse settings that no text can be learned from with.

    Raises:
        VocabularyError: one is out of range, or of another type.
    """
    if count_of("size", size, refusal=VocabularyError) > _LARGEST:
        raise VocabularyError(f"size is {size}, expected at most {_LARGEST}")
    count_of("min_frequency", min_frequency, least=1, refusal=VocabularyError)
    if alphabet_size is not None:
        count_of("alphabet_size", alphabet_size, least=1, refusal=VocabularyError)
    special_tokens = words_of("special_tokens", special_tokens, VocabularyError)
    for index, token in enumerate(special_tokens):
        if token in special_tokens[:index]:
            raise VocabularyError(f"the special token {token!r} is named twice")
        if not token or any(char.isspace() for char in token):
            raise VocabularyError(f"a special token is {token!r}, expected characters without white space")


def check_room(size: int, special_tokens: Sequence[str]) -> None:
    """Refuse a size that is too small for any text, before one is read.

    Raises:
        VocabularyError: there is no room for a character.
    """
    if size <= len(special_tokens):
        raise VocabularyError(
            f"size {size} is too small: {len(special_tokens)} special tokens come first, and every character of the "
            f"text takes one more; use {len(special_tokens) + 1} at the very least"
        )


def _characters(words: list[tuple[str, int]], min_frequency: int) -> list[tuple[str, ...]]:
    """Return the pieces that each character is, the most frequent one first: `x` and, where it is seen, `##x`."""
    anywhere: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for word, count in words:
        for char in word:
            anywhere[char] += count
        for char in word[1:]:
            inside[char] += count
    # One that is only seen inside words stands alone too: some day a word will begin with it.
    kept = sorted((-count, char) for char, count in anywhere.items() if count >= min_frequency)
    return [(char, "##" + char) if inside[char] >= min_frequency else (char,) for _, char in kept]


def _joined_pieces(words: list[tuple[str, int]], alphabet: list[str], min_frequency: int) -> Iterator[str]:
    """Give the joined pieces, the most frequent pair first, until no pair occurs `min_frequency` times."""
    pieces = ["", *alphabet]  # the letter of a piece is the character with this place as its code point
    letters = {piece: chr(place) for place, piece in enumerate(pieces)}
    spelled, counts = _spell(words, letters)
    totals: dict[str, int] = {}
    places: dict[str, array[int]] = {}
    for index, word in enumerate(spelled):
        count = counts[index]
        for pair in map(str.__add__, word, word[1:]):
            if pair in totals:
                totals[pair] += count
                places[pair].append(index)
            else:
                totals[pair] = count
                places[pair] = array("I", (index,))
    for pair in [pair for pair, total in totals.items() if total < min_frequency]:
        del totals[pair], places[pair]  # pairs of characters never become more frequent
    queue = [(-total, pieces[ord(pair[0])], pieces[ord(pair[1])], pair) for pair, total in totals.items()]
    heapq.heapify(queue)
    while queue:
        promised, first, second, pair = heapq.heappop(queue)
        total = totals.get(pair, 0)
        if total != -promised:
            # An outdated entry: the pair has become rarer. None promises too little, since a pair that becomes more
            # frequent is entered anew.
            if total >= min_frequency:
                heapq.heappush(queue, (-total, first, second, pair))
            continue
        piece = first + second.removeprefix("##")
        if piece not in letters:
            letters[piece] = chr(len(pieces))
            pieces.append(piece)
        for grown in _join(pair, letters[piece], spelled, counts, totals, places):
            total = totals.get(grown, 0)
            if total >= min_frequency:
                heapq.heappush(queue, (-total, pieces[ord(grown[0])], pieces[ord(grown[1])], grown))
        yield piece


def _spell(words: list[tuple[str, int]], letters: dict[str, str]) -> tuple[list[str], array[int]]:
    """Write the words in letters; a character that is left out of the alphabet parts a word in two."""
    gap = letters[""]
    begins = {piece: letter for piece, letter in letters.items() if len(piece) == 1}
    follows = {piece[2:]: letter for piece, letter in letters.items() if len(piece) == 3}
    spelled: list[str] = []
    counts = array("Q")
    for word, count in words:
        line = begins.get(word[0], gap) + "".join([follows.get(char, gap) for char in word[1:]])
        for part in line.split(gap):
            if len(part) > 1:
                spelled.append(part)
                counts.append(count)
    return spelled, counts


def _join(
    pair: str,
    letter: str,
    words: list[str],
    counts: Sequence[int],
    totals: dict[str, int],
    places: dict[str, array[int]],
) -> set[str]:
    """Write `letter` for `pair` in all words, keep `totals` and `places` true, return the pairs that may have grown."""
    first, second = pair[0], pair[1]
    # For each piece that stood before or behind the pair: how often, and in which words.
    before: defaultdict[str, int] = defaultdict(int)
    behind: defaultdict[str, int] = defaultdict(int)
    before_in: defaultdict[str, list[int]] = defaultdict(list)
    behind_in: defaultdict[str, list[int]] = defaultdict(list)
    del totals[pair]
    for index in places.pop(pair):
        word = words[index]
        place = word.find(pair)
        if place < 0:
            continue  # the word is entered twice, or another pair has taken a piece of this one
        count = counts[index]
        words[index] = word.replace(pair, letter)
        end = 0
        while place >= 0:
            if place:
                neighbour = word[place - 1] if place > end else letter
                before[neighbour] += count
                before_in[neighbour].append(index)
            end = place + 2
            if end < len(word):
                neighbour = word[end]
                behind[neighbour] += count
                behind_in[neighbour].append(index)
            place = word.find(pair, end)
    # Those behind go first: where the pair stood twice in a row, joining the second takes back what the first entered.
    changes = [(second + piece, letter + piece, count, behind_in[piece]) for piece, count in behind.items()]
    changes += [(piece + first, piece + letter, count, before_in[piece]) for piece, count in before.items()]
    for old, new, count, indices in changes:
        if old in totals:
            totals[old] -= count
            if not totals[old]:
                del totals[old], places[old]
        if new in totals:
            totals[new] += count
            places[new].extend(indices)
        else:
            totals[new] = count
            places[new] = array("I", indices)
    return {new for _, new, _, _ in changes}
