"""What a tokenizer returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple, Self

from glassbert.errors import InputError

Tensors = Literal["np", "pt"]
# Begin and end of a token in its text, in characters.
Offset = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoding:
    """One text, or a pair, or a window of one, as the model takes it.

    Attributes:
        ids: token ids, special tokens included.
        first: how many of them are of the first text.
        second: how many are of the second text; None where there is none.
        framed: whether special tokens stand round the texts: `[CLS] first [SEP]`, and `second [SEP]` for a pair.
        cut: how many tokens of the texts were left out to keep the maximum length; 0 where they fit, and where windows
            hold the rest.
        offsets: for each token its place in its text, (0, 0) for special ones; None where they were not asked for.
        words: for each token the number of its word in its text, None for special ones.
    """

    ids: list[int]
    first: int
    second: int | None = None
    framed: bool = True
    cut: int = 0
    offsets: list[Offset] | None = None
    words: list[int | None] | None = None

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.ids)

    @property
    def types(self) -> list[int]:
        """0 for the first text with its special tokens, 1 for the second."""
        ones = 0 if self.second is None else self.second + self.framed
        return [0] * (len(self.ids) - ones) + [1] * ones

    @property
    def special(self) -> list[int]:
        """1 at the special tokens round the texts."""
        return [int(text is None) for text in self.texts]

    @property
    def texts(self) -> list[int | None]:
        """Which text each token is of, 0 or 1; None for special ones."""
        frame: list[None] = [None] * self.framed
        second = [] if self.second is None else [*[1] * self.second, *frame]
        return [*frame, *[0] * self.first, *frame, *second]


class BatchEncoding(dict[str, Any]):
    """The result of calling a tokenizer: `input_ids`, `token_type_ids`, `attention_mask`, by key or attribute.

    The methods tell of characters, words and tokens. A batch has them by the number of its row: `word_ids(2)`; for one
    text the number may be left out. Places in padding are None.

    Attributes:
        cut: for each row, how many tokens of its texts were left out to keep the maximum length.
    """

    def __init__(
        self,
        values: dict[str, Any],
        *,
        cut: Sequence[int] = (),
        detailed: Callable[[], Sequence[tuple[Encoding, list[str], int, int]]] | None = None,
    ) -> None:
        """Hold `values` and the report of what was cut.

        Args:
            values: rows by name.
            cut: see the class.
            detailed: gives for each row its encoding with offsets and words, its tokens, and how much padding stands
                before and after; called when it is first needed.
        """
        super().__init__(values)
        self.cut = list(cut)
        self._detailed = detailed
        self._rows: Sequence[tuple[Encoding, list[str], int, int]] | None = None

    def __getattr__(self, name: str) -> Any:
        """Look up a key as an attribute."""
        if name in self:
            return self[name]
        raise AttributeError(f"this BatchEncoding has no {name!r}; it has {', '.join(self)}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the tokenizer behind: what comes out of a pickle has the values and `cut`."""
        return _plain_batch, (dict(self), self.cut)

    def to(self, device: Any) -> Self:
        """Move the tensors to a device, in place."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device)
        return self

    # -- tokens, words, characters ------------------------------------------------------------------------

    def tokens(self, row: int = 0) -> list[str]:
        """Return the tokens of a row, padding too."""
        return self._row(row)[1]

    def word_ids(self, row: int = 0) -> list[int | None]:
        """Return for each token the number of its word in its text, None for special tokens."""
        encoding, _, before, after = self._row(row)
        return [None] * before + (encoding.words or []) + [None] * after

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        """Return for each token which text it is of, 0 or 1, None for special tokens."""
        encoding, _, before, after = self._row(row)
        return [None] * before + encoding.texts + [None] * after

    def offsets(self, row: int = 0) -> list[Offset]:
        """Return for each token its begin and end in its text, (0, 0) for special tokens."""
        encoding, _, before, after = self._row(row)
        return [(0, 0)] * before + (encoding.offsets or []) + [(0, 0)] * after

    def token_to_chars(self, token: int, row: int = 0) -> Offset | None:
        """Return begin and end of a token in its text; None for special tokens."""
        return None if self.sequence_ids(row)[token] is None else self.offsets(row)[token]

    def token_to_word(self, token: int, row: int = 0) -> int | None:
        """Return the number of a token's word."""
        return self.word_ids(row)[token]

    def token_to_sequence(self, token: int, row: int = 0) -> int | None:
        """Return which text a token is of."""
        return self.sequence_ids(row)[token]

    def char_to_token(self, char: int, row: int = 0, sequence_index: int = 0) -> int | None:
        """Return the token that a character is in; None where it is in none, such as a space."""
        places = zip(self.offsets(row), self.sequence_ids(row), strict=True)
        return next(
            (
                token
                for token, ((start, stop), text) in enumerate(places)
                if text == sequence_index and start <= char < stop
            ),
            None,
        )

    def word_to_tokens(self, word: int, row: int = 0, sequence_index: int = 0) -> Offset | None:
        """Return the first token of a word and the one after its last; None where the word has none here."""
        pairs = enumerate(zip(self.word_ids(row), self.sequence_ids(row), strict=True))
        found = [token for token, (number, text) in pairs if number == word and text == sequence_index]
        return (found[0], found[-1] + 1) if found else None

    def word_to_chars(self, word: int, row: int = 0, sequence_index: int = 0) -> Offset | None:
        """Return begin and end of a word in its text."""
        tokens = self.word_to_tokens(word, row, sequence_index)
        return None if tokens is None else (self.offsets(row)[tokens[0]][0], self.offsets(row)[tokens[1] - 1][1])

    def char_to_word(self, char: int, row: int = 0, sequence_index: int = 0) -> int | None:
        """Return the number of the word that a character is in."""
        token = self.char_to_token(char, row, sequence_index)
        return None if token is None else self.word_ids(row)[token]

    def _row(self, row: int) -> tuple[Encoding, list[str], int, int]:
        if self._rows is None:
            if self._detailed is None:
                raise InputError(
                    "this BatchEncoding was not made by calling a tokenizer, so it knows no words or places"
                )
            self._rows = self._detailed()
        if not -len(self._rows) <= row < len(self._rows):
            raise InputError(f"row {row} is asked for, but there are {len(self._rows)}")
        return self._rows[row]


def _plain_batch(values: dict[str, Any], cut: list[int]) -> BatchEncoding:
    return BatchEncoding(values, cut=cut)


class Padding(NamedTuple):
    """How rows are filled up.

    Attributes:
        length: tokens a row has at least.
        left: whether the filling stands on the left.
        ids: its token.
        types: its `token_type_ids`.
    """

    length: int
    left: bool
    ids: int
    types: int = 0


def as_lists(encodings: Sequence[Encoding], padding: Padding, names: Iterable[str]) -> dict[str, list[list[Any]]]:
    """Return rows by name as lists.

    Args:
        encodings: one a row.
        padding: fills up the rows that are shorter.
        names: of `input_ids`, `token_type_ids`, `attention_mask`, `special_tokens_mask`, `offset_mapping`, `length`.
    """
    values: dict[str, list[list[Any]]] = {name: [] for name in names}
    for encoding in encodings:
        missing = max(0, padding.length - len(encoding))
        for name, rows in values.items():
            row, filler = _row_of(encoding, name, padding)
            fill = [filler] * missing
            rows.append(fill + row if padding.left else row + fill)
    return values


def _row_of(encoding: Encoding, name: str, padding: Padding) -> tuple[list[Any], Any]:
    if name == "input_ids":
        return encoding.ids, padding.ids
    if name == "token_type_ids":
        return encoding.types, padding.types
    if name == "attention_mask":
        return [1] * len(encoding), 0
    if name == "special_tokens_mask":
        return encoding.special, 1
    return encoding.offsets or [], (0, 0)


def as_arrays(encodings: Sequence[Encoding], padding: Padding, names: Iterable[str], kind: Tensors) -> dict[str, Any]:
    """Return rows by name as numpy arrays or torch tensors, int64, (B, S), offsets (B, S, 2).

    torch is imported only when asked for.

    Raises:
        InputError: rows that differ in length, or another kind.
    """
    if kind not in ("np", "pt"):
        raise InputError(f"return_tensors is {kind!r}, expected 'np' or 'pt'")
    import numpy as np

    lengths = [len(encoding.ids) for encoding in encodings]
    longest = max(lengths, default=0)
    if padding.length < longest and min(lengths) < longest:
        raise InputError("the sequences differ in length; pass padding=True to get arrays")
    tokens, shape = sum(lengths), (len(lengths), max(longest, padding.length))
    real: Any = None  # where the tokens stand, (B, S); None: they fill the rows
    if tokens < shape[0] * shape[1]:
        places, filled = np.arange(shape[1]), np.array(lengths)[:, None]
        real = places >= shape[1] - filled if padding.left else places < filled

    def rows(flat: Any, filler: int) -> Any:
        """Lay the values of all tokens out in rows."""
        each = flat.shape[1:]
        if real is None:
            return flat.reshape(shape + each)
        array = np.full(shape + each, filler, dtype=np.int64)
        array[real] = flat
        return array

    paired = any(encoding.second is not None for encoding in encodings)
    arrays: dict[str, Any] = {}
    for name in names:
        if name == "attention_mask":
            arrays[name] = np.ones(shape, dtype=np.int64) if real is None else real.astype(np.int64)
        elif name == "token_type_ids" and not paired:
            arrays[name] = rows(np.zeros(tokens, dtype=np.int64), padding.types)
        elif name == "offset_mapping":
            pairs = chain.from_iterable(encoding.offsets or () for encoding in encodings)
            flat = np.fromiter(chain.from_iterable(pairs), dtype=np.int64, count=2 * tokens)
            arrays[name] = rows(flat.reshape(-1, 2), 0)
        else:
            found = [_row_of(encoding, name, padding) for encoding in encodings]
            flat = np.fromiter(chain.from_iterable([row for row, _ in found]), dtype=np.int64, count=tokens)
            arrays[name] = rows(flat, found[0][1] if found else 0)
    return arrays if kind == "np" else as_tensors(arrays)


def as_tensors(arrays: dict[str, Any]) -> dict[str, Any]:
    """Turn numpy arrays into torch tensors that share their memory."""
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}
