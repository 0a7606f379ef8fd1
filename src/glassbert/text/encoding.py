"""One sequence as the model takes it, before it is filled up to the length of others."""

from __future__ import annotations

import dataclasses

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
