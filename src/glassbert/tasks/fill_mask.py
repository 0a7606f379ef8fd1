"""Which words fit where a text has `[MASK]`.

A text that is longer than the model takes is read in windows, and each mask is answered in the one that shows most on
both of its sides.

Source: arXiv 1810.04805, section 3.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import ClassVar, Self

import torch
from torch import Tensor

from glassbert.errors import ConfigError, InputError
from glassbert.model import BertConfig, BertForMaskedLM, BertForPreTraining, ModelOutput
from glassbert.tasks.results import Result
from glassbert.tasks.spans import windows_over, with_most_context
from glassbert.tasks.task import Answering, Columns, Example, Record, counted
from glassbert.tasks.text_classification import finite
from glassbert.tasks.texts import AT_ONCE, brief, encode_all
from glassbert.text import BertTokenizer, Encoding

# How a piece begins that goes on with a word.
_INSIDE = "##"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FillMaskExample(Example):
    """A text with one mask or several.

    Attributes:
        text: not empty.
        candidates: the tokens that are compared; None for those of the call, or all.
    """

    text: str
    candidates: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskFeatures:
    """A window with the masks that are answered in it.

    Attributes:
        encoding: its tokens.
        masks: of each its number in the text, from 0.
        places: of each its token in the window.
        offsets: of each its begin and end in the text, in characters.
        candidates: ids of the tokens that are compared; None for all.
        tokens: the vocabulary, by id; a model may have more rows.
        example: the number of its example.
    """

    encoding: Encoding
    masks: tuple[int, ...]
    places: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    candidates: tuple[int, ...] | None
    tokens: Sequence[str]
    example: int = 0

    def __len__(self) -> int:
        """Length in tokens."""
        return len(self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fill(Result):
    """A token that may stand for a mask.

    Attributes:
        token: as the vocabulary has it; one with ## in front goes on with the word before.
        id: its number.
        score: its probability among all tokens, also where only some are compared.
    """

    token: str
    id: int
    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilledMask(Result):
    """What may stand for one mask.

    Attributes:
        start, end: where the mask stands in the text, in characters.
        fills: the best, best first.
    """

    start: int
    end: int
    fills: tuple[Fill, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilledText(Result):
    """The answer for one text.

    Attributes:
        text: the text with the best token for each mask; each is the best by itself, not together with the others.
        given: the text as it was given.
        masks: in order.
    """

    text: str
    given: str
    masks: tuple[FilledMask, ...]

    @property
    def fills(self) -> tuple[Fill, ...]:
        """What may stand for the first mask, best first."""
        return self.masks[0].fills

    def with_tokens(self, tokens: Sequence[str]) -> str:
        """Return the text with one token for each mask.

        Raises:
            InputError: more or fewer tokens than masks.
        """
        return filled(self.given, self.masks, tokens)


@dataclasses.dataclass(frozen=True)
class FillMask(Answering[FillMaskExample, MaskFeatures, FilledText]):
    """The most probable tokens for each mask of a text.

    Attributes:
        top_k: how many are given.
        candidates: the tokens that are compared, where a record names none; None for all. Each is one token of the
            vocabulary.

    Raises:
        ConfigError: a `top_k` below 1, or candidates that are no strings, or none.
    """

    top_k: int = 5
    candidates: tuple[str, ...] | None = None
    name: ClassVar[str] = "fill-mask"
    model_class = BertForMaskedLM
    model_classes = (BertForMaskedLM, BertForPreTraining)
    roles: ClassVar = {"text": True, "candidates": False}
    answer_options: ClassVar[tuple[str, ...]] = ("top_k", "candidates")

    def __post_init__(self) -> None:
        """Check both settings; lists become tuples."""
        if type(self.top_k) is not int or self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k!r}, expected a whole number from 1")
        given = self.candidates
        if given is None:
            return
        if not isinstance(given, list | tuple) or not given or not all(isinstance(one, str) and one for one in given):
            raise ConfigError(f"candidates is {given!r}, expected a list of tokens, or None for all")
        object.__setattr__(self, "candidates", tuple(given))

    @classmethod
    def of_model(cls, config: BertConfig) -> Self:
        """Make it; nothing about it is stored."""
        return cls()

    def examples(
        self, records: Iterable[Record], columns: Columns, *, labelled: bool = True
    ) -> Iterator[FillMaskExample]:
        """Take texts and candidates out of rows."""
        for record in records:
            candidates = tuple(record.strings(columns["candidates"], split=True)) if "candidates" in columns else None
            yield FillMaskExample(
                text=record.get(columns["text"]),
                candidates=candidates,
                file=record.file,
                line=record.line,
                position=record.position,
            )

    def features(
        self,
        examples: Iterable[FillMaskExample],
        tokenizer: BertTokenizer,
        *,
        max_length: int,
        labelled: bool = True,
    ) -> Iterator[MaskFeatures]:
        """Turn texts into tokens, in windows where it takes several; windows without a mask are left out.

        Raises:
            DataError: an empty text, or one without a mask, with file and line.
            InputError: more answers asked for than there are tokens, or a candidate that is no token.
        """
        if self.top_k > len(tokenizer):
            raise InputError(f"top_k is {self.top_k}, but the vocabulary has {len(tokenizer)} tokens")
        words = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        common = None if self.candidates is None else _ids(self.candidates, tokenizer)
        numbered = enumerate(examples)
        while some := list(islice(numbered, AT_ONCE)):
            for _, example in some:
                if not example.text.strip():
                    raise example.error("the text is empty")
            encodings = encode_all(
                [example for _, example in some],
                lambda some: tokenizer.encodings(
                    [example.text for example in some], add_special_tokens=False, details=True
                ),
            )
            for (number, example), encoding in zip(some, encodings, strict=True):
                candidates = common
                if example.candidates is not None:
                    try:
                        candidates = _ids(example.candidates, tokenizer)
                    except InputError as error:
                        raise example.error(str(error)) from None
                for feature in _windows(example, encoding, tokenizer, max_length):
                    yield dataclasses.replace(feature, example=number, candidates=candidates, tokens=words)

    def collate(self, features: Sequence[MaskFeatures], tokenizer: BertTokenizer) -> dict[str, Tensor]:
        """Make (B, S) ids, types and mask, and the places whose words are asked for."""
        encodings = [feature.encoding for feature in features]
        # On the right whatever the tokenizer says, so that places are the same with padding and without.
        batch = dict(tokenizer.pad_encodings(encodings, padding_side="right", return_tensors="pt"))
        batch["asked"] = torch.zeros(batch["input_ids"].shape, dtype=torch.bool)
        for row, feature in zip(batch["asked"], features, strict=True):
            row[list(feature.places)] = True
        return batch

    def rows(self, output: ModelOutput, features: Sequence[MaskFeatures]) -> list[Tensor]:
        """Return probability and id of the best tokens of each window's masks, (masks, k, 2) in float64."""
        scores = output["logits" if "logits" in output else "prediction_logits"]
        if scores.dim() == 3:  # of all places, from a model that cannot be asked for some
            scores = torch.cat([row[list(one.places)] for row, one in zip(scores, features, strict=True)])
        found = []
        for feature, of_masks in zip(features, scores.split([len(one.places) for one in features]), strict=True):
            probabilities = of_masks.float().softmax(dim=-1)
            ids = torch.arange(len(feature.tokens)) if feature.candidates is None else torch.tensor(feature.candidates)
            best = probabilities[:, ids.to(probabilities.device)].topk(min(self.top_k, len(ids)), dim=-1)
            found.append(torch.stack((best.values.cpu().double(), ids[best.indices.cpu()].double()), dim=-1))
        return found

    def answers(
        self, examples: Sequence[FillMaskExample], features: Sequence[MaskFeatures], rows: Sequence[Tensor]
    ) -> list[FilledText]:
        """Bring the masks of all windows together, in the order of the text."""
        masks: list[dict[int, FilledMask]] = [{} for _ in examples]
        for feature, row in zip(features, finite(rows), strict=True):
            for number, (start, end), best in zip(feature.masks, feature.offsets, row.tolist(), strict=True):
                fills = tuple(Fill(token=feature.tokens[int(one)], id=int(one), score=score) for score, one in best)
                masks[feature.example][number] = FilledMask(start=start, end=end, fills=fills)
        results = []
        for example, found in zip(examples, masks, strict=True):
            ordered = tuple(found[number] for number in sorted(found))
            best = [mask.fills[0].token for mask in ordered]
            results.append(FilledText(text=filled(example.text, ordered, best), given=example.text, masks=ordered))
        return results


def filled(text: str, masks: Sequence[FilledMask], tokens: Sequence[str]) -> str:
    """Return a text with a token in place of each mask; one that goes on with a word joins the text before it.

    Raises:
        InputError: more or fewer tokens than masks.
    """
    if len(tokens) != len(masks):
        raise InputError(f"{counted(len(tokens), 'token')} for {counted(len(masks), 'mask')}")
    parts: list[str] = []
    end = 0
    for mask, token in zip(masks, tokens, strict=True):
        before = text[end : mask.start]
        inside = token.startswith(_INSIDE) and len(token) > len(_INSIDE)
        parts += [before.rstrip(), token[len(_INSIDE) :]] if inside else [before, token]
        end = mask.end
    return "".join((*parts, text[end:]))


def _ids(candidates: Sequence[str], tokenizer: BertTokenizer) -> tuple[int, ...]:
    """Return the ids of candidates, each once.

    Raises:
        InputError: none, or one that is not a single token of the vocabulary.
    """
    if not candidates:
        raise InputError("candidates is empty; leave it out to compare all tokens")
    vocabulary = tokenizer.get_vocab()
    ids = []
    for one in candidates:
        pieces = [one] if one in vocabulary else tokenizer.tokenize(one)
        if len(pieces) != 1 or (pieces[0] == tokenizer.unk_token and one != tokenizer.unk_token):
            known = "the vocabulary does not know it"
            if len(pieces) > 1:
                known = f"it is the {len(pieces)} tokens {brief(' '.join(pieces))}"
            raise InputError(f"the candidate {one!r} cannot stand for a mask, which is one token: {known}")
        ids.append(vocabulary[pieces[0]])
    return tuple(dict.fromkeys(ids))


def _windows(
    example: FillMaskExample, encoding: Encoding, tokenizer: BertTokenizer, max_length: int
) -> Iterator[MaskFeatures]:
    """Give the windows of a text that have masks to answer.

    Raises:
        DataError: there is none.
    """
    mask = tokenizer.mask_token_id
    where = [place for place, token in enumerate(encoding.ids) if token == mask]
    if not where:
        raise example.error(f"there is no {tokenizer.mask_token} in the text {brief(example.text)!r}")
    numbers = {place: number for number, place in enumerate(where)}
    room = max_length - 2
    parts = windows_over(len(encoding), room, max(1, room // 2))
    for part, most in zip(parts, with_most_context(parts, len(encoding)), strict=True):
        here = [place for place in where if part.start <= place < part.stop and most[place - part.start]]
        if here:
            ids = [tokenizer.cls_token_id, *encoding.ids[part], tokenizer.sep_token_id]
            yield MaskFeatures(
                encoding=Encoding(ids=ids, first=part.stop - part.start),
                masks=tuple(numbers[place] for place in here),
                places=tuple(place - part.start + 1 for place in here),
                offsets=tuple((encoding.offsets or [])[place] for place in here),
                candidates=None,
                tokens=(),
            )
