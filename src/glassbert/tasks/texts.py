"""One text or a pair → tokens: what the tasks about whole texts share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from glassbert.errors import ConfigError, InputError
from glassbert.model import BertConfig
from glassbert.tasks.task import TASK, Columns, Example, ExampleT, Record
from glassbert.text import BertTokenizer, Encoding

# Texts that are encoded in one call: enough for all cores.
AT_ONCE: Final = 512
# Characters that a person reads of an example.
_READ: Final = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextExample(Example):
    """A text, or a pair of texts.

    Attributes:
        text: not empty.
        pair: the second text, not empty either; None where there is none.
    """

    text: str
    pair: str | None = None


TextExampleT = TypeVar("TextExampleT", bound=TextExample)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFeatures:
    """One example as the model takes it.

    Attributes:
        encoding: its tokens.
        label: what is to be learned, as a number or several; None without a label.
        example: its number.
    """

    encoding: Encoding
    label: Any = None
    example: int = 0

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.encoding)

    @property
    def cut(self) -> int:
        """Tokens left out because the text is longer than the model takes."""
        return self.encoding.cut


def texts_of(record: Record, columns: Columns) -> dict[str, Any]:
    """Return the arguments of a `TextExample` that a record holds."""
    return {
        "text": record.get(columns["text"]),
        "pair": record.get(columns["pair"]) if "pair" in columns else None,
        "file": record.file,
        "line": record.line,
        "position": record.position,
    }


def known_pairs(config: BertConfig) -> bool | None:
    """Return whether a model has learned pairs of texts, as its config says; None where it does not.

    Raises:
        ConfigError: another value.
    """
    pairs = config.extra.get(TASK, {}).get("pairs")
    if not isinstance(pairs, bool | None):
        raise ConfigError(f"{TASK}.pairs is {pairs!r}, expected true or false")
    return pairs


def encoded(
    examples: Iterable[TextExampleT], tokenizer: BertTokenizer, max_length: int, *, pairs: bool | None = None
) -> Iterator[tuple[int, TextExampleT, Encoding]]:
    """Give each example with its number and its tokens; longer texts are cut, as `encoding.cut` tells.

    Args:
        examples: any number.
        tokenizer: belongs to the model.
        max_length: most tokens of one or both texts.
        pairs: whether the texts must come in pairs; None takes both.

    Raises:
        DataError: an empty text, one that is no text, pairs beside single texts, or what `pairs` does not allow, with
            file and line.
        InputError: the latter, of what did not come from a file.
    """
    rest = iter(examples)
    number = 0
    paired: bool | None = None
    while some := list(islice(rest, AT_ONCE)):
        for example in some:
            for name, text in (("text", example.text), ("second text (pair)", example.pair)):
                if text is not None and not isinstance(text, str):
                    raise InputError(f"the {name} is of type {type(text).__name__}, expected str")
                if text is not None and not text.strip():
                    raise example.error(f"the {name} is empty")
            if paired is None:
                paired = example.pair is not None
            if paired != (example.pair is not None):
                raise example.error("a second text stands here but not in the examples before, or the reverse")
            if pairs is not None and pairs != paired:
                learned, here = ("pairs of texts", "no second text") if pairs else ("single texts", "a second text")
                fault = example.error(f"the model has learned {learned}, but here is {here} (pair)")
                raise InputError(str(fault)) if example.file is None else fault
        for example, encoding in zip(some, _encode(some, tokenizer, max_length), strict=True):
            yield number, example, encoding
            number += 1


def _encode(examples: Sequence[TextExampleT], tokenizer: BertTokenizer, max_length: int) -> list[Encoding]:
    def encode(some: Sequence[TextExampleT]) -> list[Encoding]:
        texts = [example.text for example in some]
        pairs = [example.pair for example in some if example.pair is not None] or None
        return tokenizer.encodings(texts, pairs, truncation=True, max_length=max_length)

    return encode_all(examples, encode)


def encode_all(examples: Sequence[ExampleT], encode: Callable[[Sequence[ExampleT]], list[Encoding]]) -> list[Encoding]:
    """Encode examples in one call.

    Raises:
        DataError: what `encode` refuses of several, with the file and line of the one that is to blame.
        InputError: what it refuses of a single one.
    """
    try:
        return encode(examples)
    except InputError:
        if len(examples) == 1:
            raise
        for example in examples:  # which one is it?
            try:
                encode([example])
            except InputError as error:
                raise example.error(str(error)) from None
        raise


def collate_texts(
    features: Sequence[TextFeatures], tokenizer: BertTokenizer, dtype: torch.dtype = torch.int64
) -> dict[str, Tensor]:
    """Make the keyword arguments of a forward call.

    Args:
        features: one a row.
        tokenizer: knows the padding.
        dtype: of the labels.

    Returns:
        (B, S) ids, types and mask; (B,) or (B, C) labels where all have one.
    """
    batch = dict(tokenizer.pad_encodings([feature.encoding for feature in features], return_tensors="pt"))
    if all(feature.label is not None for feature in features):
        batch["labels"] = torch.tensor([feature.label for feature in features], dtype=dtype)
    return batch


def brief(*texts: str | None) -> str:
    """Return texts as one line of some hundred characters; None is left out.

    Short texts leave their room to the long ones, which end with "…".
    """
    parts = [" ".join(text.split()) for text in texts if text is not None]
    room = _READ
    by_length = sorted(range(len(parts)), key=lambda place: len(parts[place]))
    for done, place in enumerate(by_length):
        share = room // (len(parts) - done)
        if len(parts[place]) > share:
            parts[place] = parts[place][: share - 1].rstrip() + "…"
        room -= len(parts[place])
    return " ‖ ".join(parts)


def crop(features: TextFeatures, length: int) -> TextFeatures:
    """Keep a window of at most `length` tokens, special ones included, at a random place of one text.

    Draws from torch's own random state, once for every text that is longer. A pair stays whole.
    """
    encoding = features.encoding
    left_out = len(encoding) - length
    if left_out <= 0 or encoding.second is not None:
        return features
    begin = 1 + int(torch.randint(left_out + 1, ()))  # [CLS] stays where it is
    kept = [0, *range(begin, begin + length - 2), len(encoding) - 1]
    window = Encoding(ids=[encoding.ids[place] for place in kept], first=length - 2, cut=encoding.cut + left_out)
    return dataclasses.replace(features, encoding=window)
