"""One row of what a tokenizer returns: its tokens, and the characters and words that they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from glassbert.errors import InputError
from glassbert.text.arrays import Padding
from glassbert.text.checks import place_of
from glassbert.text.encoding import Encoding, Offset

T = TypeVar("T")
# Rows, or what gives them.
Rest = Sequence["RowEncoding"] | Callable[[], Sequence["RowEncoding"]]


class RowEncoding:
    """One row as it stands in its batch, padding too, under the names of `tokenizers.Encoding`.

    Args:
        encoding: the row without padding, with offsets and words.
        padding: how the rows of the batch are filled up.
        tokens: of the row, without padding.
        filler: the token of the padding.
        rest: the further windows over the row's texts, or what gives them.
    """

    def __init__(
        self,
        encoding: Encoding,
        padding: Padding,
        tokens: Sequence[str],
        filler: str,
        rest: Rest = (),
    ) -> None:
        """Keep the row."""
        missing = max(0, padding.length - len(encoding))
        self._encoding = encoding
        self._padding = padding
        self._before, self._after = (missing, 0) if padding.left else (0, missing)
        self._tokens = tokens
        self._filler = filler
        self._rest = rest

    def __len__(self) -> int:
        """Number of tokens, padding too."""
        return self._before + len(self._encoding) + self._after

    def __repr__(self) -> str:
        """Name the size."""
        return f"RowEncoding({len(self)} tokens, {self._before + self._after} of them padding)"

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what would encode the texts again."""
        return self.__dict__ | {"_rest": _left_behind if callable(self._rest) else self._rest}

    def _filled(self, values: Sequence[T], filler: T) -> list[T]:
        return [filler] * self._before + list(values) + [filler] * self._after

    # -- one value for each token -------------------------------------------------------------------------

    @property
    def ids(self) -> list[int]:
        """The token ids."""
        return self._filled(self._encoding.ids, self._padding.ids)

    @property
    def type_ids(self) -> list[int]:
        """0 for the first text with its special tokens, 1 for the second, 0 for padding."""
        return self._filled(self._encoding.types, 0)

    @property
    def attention_mask(self) -> list[int]:
        """1 at tokens, 0 at padding."""
        return self._filled([1] * len(self._encoding), 0)

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 at the special tokens round the texts and at padding."""
        return self._filled(self._encoding.special, 1)

    @property
    def tokens(self) -> list[str]:
        """The tokens."""
        return self._filled(self._tokens, self._filler)

    @property
    def offsets(self) -> list[Offset]:
        """Begin and end of each token in its text, (0, 0) for special tokens."""
        return self._filled(self._encoding.offsets or (), (0, 0))

    @property
    def word_ids(self) -> list[int | None]:
        """The number of each token's word in its text, None for special tokens."""
        return self._filled(self._encoding.words or (), None)

    @property
    def sequence_ids(self) -> list[int | None]:
        """Which text each token is of, 0 or 1, None for special tokens."""
        return self._filled(self._encoding.texts, None)

    # -- the row as a whole -------------------------------------------------------------------------------

    @property
    def n_sequences(self) -> int:
        """Of how many texts the row is: 1, or 2 for a pair."""
        return 1 if self._encoding.second is None else 2

    @property
    def overflowing(self) -> list[RowEncoding]:
        """The windows over what did not fit into this row; none at a row that is such a window itself.

        Raises:
            InputError: the row came out of a pickle, which left the rest behind.
        """
        return list(self._rest() if callable(self._rest) else self._rest)

    # -- from tokens, characters and words to each other --------------------------------------------------

    def token_to_chars(self, token_index: int) -> Offset | None:
        """Return begin and end of a token in its text; None for special tokens."""
        return None if self.token_to_sequence(token_index) is None else self.offsets[token_index]

    def token_to_word(self, token_index: int) -> int | None:
        """Return the number of a token's word; None for special tokens."""
        return self._at(self.word_ids, token_index)

    def token_to_sequence(self, token_index: int) -> int | None:
        """Return which text a token is of; None for special tokens."""
        return self._at(self.sequence_ids, token_index)

    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Return the token that a character is in; None where it is in none, such as a space."""
        char_pos = place_of("the number of a character", char_pos)
        places = enumerate(zip(self.offsets, self.sequence_ids, strict=True))
        return next(
            (token for token, ((start, stop), text) in places if text == sequence_index and start <= char_pos < stop),
            None,
        )

    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Return the number of the word that a character is in; None where it is in none."""
        token = self.char_to_token(char_pos, sequence_index)
        return None if token is None else self.word_ids[token]

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> Offset | None:
        """Return the first token of a word and the one after its last; None where the word has none here."""
        word_index = place_of("the number of a word", word_index)
        pairs = enumerate(zip(self.word_ids, self.sequence_ids, strict=True))
        found = [token for token, (number, text) in pairs if number == word_index and text == sequence_index]
        return (found[0], found[-1] + 1) if found else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> Offset | None:
        """Return begin and end of a word in its text."""
        tokens = self.word_to_tokens(word_index, sequence_index)
        return None if tokens is None else (self.offsets[tokens[0]][0], self.offsets[tokens[1] - 1][1])

    def _at(self, values: Sequence[int | None], place: int) -> int | None:
        place = place_of("the number of a token", place)
        if not -len(values) <= place < len(values):
            raise InputError(f"token {place} is asked for, but the row has {len(values)}")
        return values[place]


def _left_behind() -> Sequence[RowEncoding]:
    raise InputError(
        "this row came out of a pickle, which leaves behind what did not fit; return_overflowing_tokens=True gives it "
        "rows of its own"
    )
