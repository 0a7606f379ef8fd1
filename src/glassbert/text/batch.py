"""What calling a tokenizer returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, SupportsIndex, overload

from glassbert.errors import InputError
from glassbert.text.checks import place_of, shown
from glassbert.text.encoding import Offset
from glassbert.text.rows import RowEncoding


class Rows(Protocol):
    """The rows of a batch, which may be found only when they are looked at."""

    def __len__(self) -> int:
        """Number of rows (B)."""

    def look(self, rows: Sequence[int]) -> list[RowEncoding]:
        """Return the rows of these numbers."""

    def at_hand(self) -> Rows | None:
        """Return the rows without what they would have to be encoded from; None where that is still to be done."""


class BatchEncoding(dict[str, Any]):
    """The result of calling a tokenizer: `input_ids`, `token_type_ids`, `attention_mask`, by key or attribute.

    `batch[2]` is row 2 with its tokens, words and places; a slice gives several. The methods tell of characters, words
    and tokens. A batch has them by the number of its row: `word_ids(2)`; for one text the number may be left out.
    Places in padding are None.

    A pickle takes words and places along where `return_offsets_mapping=True` asked for them; without it they would have
    to be found for every row, and it holds the values and `cut` alone.

    Attributes:
        cut: for each row, how many tokens of its texts were left out to keep the maximum length.
    """

    def __init__(self, values: Mapping[str, Any], *, cut: Sequence[int] = (), rows: Rows | None = None) -> None:
        """Hold `values` and the report of what was cut.

        Args:
            values: rows by name.
            cut: see the class.
            rows: the same rows with their words and places; None where nothing is known of them.

        Raises:
            InputError: no values by name.
        """
        if not isinstance(values, dict | Mapping):
            raise InputError(f"a batch is made of values by name, not of what is {shown(values)}")
        super().__init__(values)
        self.cut = list(cut)
        self._rows = rows

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: SupportsIndex) -> RowEncoding: ...
    @overload
    def __getitem__(self, key: slice) -> list[RowEncoding]: ...
    def __getitem__(self, key: str | SupportsIndex | slice) -> Any:
        """Look up values by name, or rows by number.

        Raises:
            KeyError: no such name.
            InputError: no such row, or nothing is known of the rows.
        """
        if isinstance(key, str):
            return super().__getitem__(key)
        if isinstance(key, slice):
            rows = self._known()
            return rows.look(range(*key.indices(len(rows))))
        return self._row(key)

    def __getattr__(self, name: str) -> Any:
        """Look up a key as an attribute."""
        if name in self:
            return self[name]
        raise AttributeError(f"this BatchEncoding has no {name!r}; it has {', '.join(self)}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the tokenizer behind; see the class."""
        return _copied, (dict(self), self.cut, None if self._rows is None else self._rows.at_hand())

    def copy(self) -> Self:
        """Return a batch of the same values."""
        return type(self)(self, cut=self.cut, rows=self._rows)

    __copy__ = copy

    def to(self, device: Any, **settings: Any) -> Self:
        """Move the tensors to a device, in place; `settings` are those of `torch.Tensor.to`.

        Raises:
            InputError: a dtype: ids and masks are whole numbers.
        """
        if type(device).__name__ == "dtype" or "dtype" in settings:
            raise InputError("ids and masks stay whole numbers: to() takes a device, not a dtype")
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device, **settings)
        return self

    # -- under the names of transformers -----------------------------------------------------------------

    @property
    def data(self) -> dict[str, Any]:
        """The values by name: this dict itself."""
        return self

    @property
    def encodings(self) -> list[RowEncoding] | None:
        """All rows; None where nothing is known of their words and places."""
        return None if self._rows is None else self._rows.look(range(len(self._rows)))

    @property
    def is_fast(self) -> bool:
        """Whether words and places are known."""
        return self._rows is not None

    @property
    def n_sequences(self) -> int | None:
        """Of how many texts a row is: 1, or 2 for a pair; None where that is not known, or there is no row."""
        return None if self._rows is None or not len(self._rows) else self._row(0).n_sequences

    # -- tokens, words, characters: arguments as in transformers, a batch's row first ------------------------

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row, padding too."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return for each token the number of its word in its text, None for special tokens."""
        return self._row(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return for each token which text it is of, 0 or 1, None for special tokens."""
        return self._row(batch_index).sequence_ids

    def offsets(self, batch_index: int = 0) -> list[Offset]:
        """Return for each token its begin and end in its text, (0, 0) for special tokens."""
        return self._row(batch_index).offsets

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> Offset | None:
        """Return begin and end of a token in its text; None for special tokens."""
        row, token = self._row_and_place(batch_or_token_index, token_index)
        return row.token_to_chars(token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the number of a token's word; None for special tokens."""
        row, token = self._row_and_place(batch_or_token_index, token_index)
        return row.token_to_word(token)

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return which text a token is of; None for special tokens."""
        row, token = self._row_and_place(batch_or_token_index, token_index)
        return row.token_to_sequence(token)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the token that a character is in; None where it is in none, such as a space."""
        row, char = self._row_and_place(batch_or_char_index, char_index)
        return row.char_to_token(char, sequence_index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> Offset | None:
        """Return the first token of a word and the one after its last; None where the word has none here."""
        row, word = self._row_and_place(batch_or_word_index, word_index)
        return row.word_to_tokens(word, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> Offset | None:
        """Return begin and end of a word in its text."""
        row, word = self._row_and_place(batch_or_word_index, word_index)
        return row.word_to_chars(word, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the number of the word that a character is in; None where it is in none."""
        row, char = self._row_and_place(batch_or_char_index, char_index)
        return row.char_to_word(char, sequence_index)

    def _row_and_place(self, one: int, other: int | None) -> tuple[RowEncoding, int]:
        """Tell the row of a batch from a place in it; one number alone is a place in the first row."""
        return (self._row(0), one) if other is None else (self._row(one), other)

    def _row(self, given: SupportsIndex) -> RowEncoding:
        rows, row = self._known(), place_of("the number of a row", given)
        if not -len(rows) <= row < len(rows):
            raise InputError(f"row {row} is asked for, but there are {len(rows)}")
        return rows.look([row % len(rows)])[0]

    def _known(self) -> Rows:
        if self._rows is None:
            raise InputError(
                "this BatchEncoding knows no words or places: it came out of a pickle, which takes them along where "
                "return_offsets_mapping=True asks for them, or was not made by calling a tokenizer"
            )
        return self._rows


class FoundRows:
    """Rows that are all at hand."""

    def __init__(self, rows: Sequence[RowEncoding]) -> None:
        """Keep them."""
        self._rows = rows

    def __len__(self) -> int:
        """Number of rows (B)."""
        return len(self._rows)

    def look(self, rows: Sequence[int]) -> list[RowEncoding]:
        """Return the rows of these numbers."""
        return [self._rows[row] for row in rows]

    def at_hand(self) -> Rows:
        """Return these rows."""
        return self


def _copied(values: dict[str, Any], cut: list[int], rows: Rows | None) -> BatchEncoding:
    return BatchEncoding(values, cut=cut, rows=rows)
