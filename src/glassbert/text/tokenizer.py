"""`BertTokenizer` and `BertTokenizerFast`: strings → ids and back."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

from glassbert.errors import InputError
from glassbert.text.added import AddedToken
from glassbert.text.basic import BasicTokenizer
from glassbert.text.characters import Rules
from glassbert.text.core import Core, Pieces, PlainCore
from glassbert.text.encoding import BatchEncoding, Encoding, Offset, Padding, Tensors, as_arrays, as_lists
from glassbert.text.framing import Frame
from glassbert.text.inputs import Text, as_pairs, as_vectors, check_strings, rows_by_name, whole_number
from glassbert.text.tokens import TokenTable
from glassbert.text.windows import WAYS, Side, Truncation, windows
from glassbert.text.wordpiece import WordpieceTokenizer

PaddingWay = bool | Literal["longest", "max_length", "do_not_pad"]

# Google's program allows longer words.
_LONGEST_WORD: Final[dict[str, int]] = {"hf": 100, "google": 200}
_PADDINGS: Final = (True, False, "longest", "max_length", "do_not_pad")


class BertTokenizer(TokenTable):
    """Words, then pieces, then ids: `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`, in plain Python.

    `BertTokenizerFast` gives the same, faster.

    Args:
        vocab: tokens and ids, or the path of a `vocab.txt`.
        do_lower_case: lower the text; must agree with the checkpoint.
        do_basic_tokenize: False splits texts at white space alone, and changes no character.
        never_split: words, set off by white space, that are passed through as they stand.
        tokenize_chinese_chars: make each Chinese character a word of its own.
        strip_accents: drop combining marks; None does so when lowering.
        clean_text: drop control characters and make every white space a plain one.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens. With the rules `hf` they are taken
            as such wherever they stand in a text.
        additional_special_tokens: further ones; those that the vocabulary lacks are added to it.
        added_tokens: tokens beside the vocabulary, with their ids; see `add_tokens`.
        model_max_length: most tokens that the model takes; where truncation cuts.
        padding_side: where padding goes.
        truncation_side: where tokens are cut off.
        rules: "hf", those of Hugging Face's `tokenizers`, or "google", those of google-research/bert, which differ on
            thousands of rare characters and take no special tokens out of a text.
        max_input_chars_per_word: a longer word is `unk_token`; None means 100, and 200 under `google`.

    Raises:
        VocabularyError: a special token is not in the vocabulary, or an added one has an id that is taken.
        InputError: an unknown side or set of rules.
    """

    is_fast = False

    def __init__(
        self,
        vocab: Mapping[str, int] | str | Path,
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = (),
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        clean_text: bool = True,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        added_tokens: Sequence[tuple[AddedToken, int]] = (),
        model_max_length: int = 512,
        padding_side: Side = "right",
        truncation_side: Side = "right",
        rules: Rules = "hf",
        max_input_chars_per_word: int | None = None,
    ) -> None:
        """Keep the settings and look up the special tokens."""
        special = {
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        super().__init__(vocab, special, additional_special_tokens, added_tokens)
        self.do_lower_case = do_lower_case
        self.do_basic_tokenize = do_basic_tokenize
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.clean_text = clean_text
        for name, side in (("padding_side", padding_side), ("truncation_side", truncation_side)):
            if side not in ("right", "left"):
                raise InputError(f"{name} is {side!r}, expected 'right' or 'left'")
        self.model_max_length = model_max_length
        self.padding_side = padding_side
        self.truncation_side = truncation_side
        self.rules = rules
        self.basic_tokenizer = BasicTokenizer(
            do_lower_case,
            never_split,
            tokenize_chinese_chars,
            strip_accents,
            clean_text=clean_text,
            rules=rules,
        )
        longest = _LONGEST_WORD[rules] if max_input_chars_per_word is None else max_input_chars_per_word
        self.wordpiece_tokenizer = WordpieceTokenizer(self.vocab, unk_token, longest)

    def _changed(self) -> None:
        self.__dict__.pop("core", None)
        if hasattr(self, "wordpiece_tokenizer"):
            self.wordpiece_tokenizer.unk_token = self.unk_token

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is built again when it is needed."""
        return {name: value for name, value in self.__dict__.items() if name != "core"}

    def __repr__(self) -> str:
        """Name the settings that matter most."""
        case = "uncased" if self.do_lower_case else "cased"
        return f"{type(self).__name__}({len(self):,} tokens, {case}, rules={self.rules!r})"

    @functools.cached_property
    def core(self) -> Core:
        """What splits texts into pieces."""
        return self._plain_core()

    def _plain_core(self) -> PlainCore:
        return PlainCore(
            self.vocab,
            self.wordpiece_tokenizer,
            self.basic_tokenizer if self.do_basic_tokenize else None,
            self._whole_tokens(),
            self.rules,
        )

    def _whole_tokens(self) -> list[tuple[AddedToken, int]]:
        """List what is to be found in a text before it is split into words, the lowest id first."""
        # Google's program knows no special tokens in a text: it splits them as it does any other word.
        special = () if self.rules == "google" else dict.fromkeys(self.all_special_tokens)
        plain = {token: (AddedToken(token, special=True), self._id(token)) for token in special}
        return sorted((plain | self._added).values(), key=lambda pair: pair[1])

    # -- text and tokens ------------------------------------------------------------------------------

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """Return the pieces of `text`, then those of `pair`.

        A word that `never_split` keeps stands as it is, even where the vocabulary has no such token.
        """
        parts = [self._pieces_by_name(one) for one in (text, pair) if one is not None]
        if not add_special_tokens:
            return [piece for part in parts for piece in part]
        return [self.cls_token, *(piece for part in parts for piece in (*part, self.sep_token))]

    def _pieces_by_name(self, text: str) -> list[str]:
        check_strings([text])
        pieces: list[str] = []
        for start, stop, whole in self._around(text):
            part = text[start:stop]
            pieces.extend(
                [part] if whole else map(self._tokens.__getitem__, self.core.encode([part], details=False)[0].ids)
            )
        return pieces

    def _around(self, text: str) -> Iterator[tuple[int, int, bool]]:
        if self.basic_tokenizer.never_split and self.do_basic_tokenize:
            yield from self.basic_tokenizer.around(text)
        else:
            yield 0, len(text), False

    # -- special tokens round a text ------------------------------------------------------------------

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens go round one text or a pair."""
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Put `[CLS]` and `[SEP]` round one or two lists of ids."""
        first = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Segment of each token, special ones included: 0 up to the first `[SEP]`, then 1."""
        first = [0] * (len(token_ids_0) + 2)
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + 1)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Tell special tokens (1) from others (0).

        Args:
            token_ids_0: ids of the text; with `already_has_special_tokens` of the whole sequence.
            token_ids_1: ids of the second text.
            already_has_special_tokens: whether the special tokens are among them.

        Raises:
            InputError: a whole sequence and a second text.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise InputError("a sequence that has its special tokens is one list; leave out token_ids_1")
            special = set(self.all_special_ids)
            return [int(index in special) for index in map(whole_number, token_ids_0)]
        second = [] if token_ids_1 is None else [*[0] * len(token_ids_1), 1]
        return [1, *[0] * len(token_ids_0), 1, *second]

    def truncate_sequences(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: Truncation = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Cut ids off one list, or a pair of lists.

        Returns:
            what is kept of both, and what was cut off with `stride` ids before it; nothing of that where both of a pair
            may be cut.

        Raises:
            InputError: see `__call__`.
        """
        second = None if pair_ids is None else len(pair_ids)
        room = len(ids) + (second or 0) - num_tokens_to_remove
        (kept,) = windows(len(ids), second, room, way=_way(truncation_strategy), side=self.truncation_side)
        cut_second = pair_ids is not None and truncation_strategy == "only_second"
        left_out: Sequence[int] = []
        if num_tokens_to_remove > 0 and (pair_ids is None or truncation_strategy in ("only_first", "only_second")):
            whole, part = (pair_ids or [], kept.second) if cut_second else (ids, kept.first)
            right = self.truncation_side == "right"
            left_out = whole[max(0, part.stop - stride) :] if right else whole[: part.start + stride]
        return list(ids[kept.first]), None if pair_ids is None else list(pair_ids[kept.second]), list(left_out)

    # -- texts → sequences ----------------------------------------------------------------------------

    def encodings(
        self,
        texts: Sequence[Text],
        text_pairs: Sequence[Text] | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: Truncation = False,
        max_length: int | None = None,
        details: bool = False,
    ) -> list[Encoding]:
        """Encode texts or pairs, one sequence each, without padding.

        Args:
            texts: strings, or lists of words.
            text_pairs: the second text of each; None where there are none.
            add_special_tokens: put `[CLS]` and `[SEP]` round them.
            truncation: see `__call__`.
            max_length: most tokens; None means `model_max_length`.
            details: with offsets and words.

        Raises:
            InputError: see `__call__`.
        """
        pairs = list(zip(texts, [None] * len(texts) if text_pairs is None else text_pairs, strict=True))
        frame = self._frame(add_special_tokens, truncation, max_length)
        return [rows[0] for rows in self._encoded(pairs, frame, details=details)]

    def _encoded(
        self, pairs: Sequence[tuple[Text, Text | None]], frame: Frame, *, details: bool
    ) -> list[list[Encoding]]:
        """Encode each text or pair to its windows."""
        firsts = self._pieces([first for first, _ in pairs], details)
        known = [second for _, second in pairs if second is not None]
        seconds = iter(self._pieces(known, details)) if known else iter(())
        return [
            frame.sequences(pieces, None if second is None else next(seconds))
            for pieces, (_, second) in zip(firsts, pairs, strict=True)
        ]

    def _pieces(self, texts: Sequence[Text], details: bool) -> list[Pieces]:
        """Split each text into pieces, in one call of the core."""
        if not self.basic_tokenizer.never_split and all(type(text) is str for text in texts):
            return self.core.encode(texts, details=details)  # type: ignore[arg-type]  # all are strings
        # Each text is cut into parts that are encoded by themselves: given words, and what stands between words that
        # are kept whole.
        parts: list[str] = []
        plans: list[list[_Part]] = []
        for text in texts:
            plan = list(self._plan(text))
            parts.extend(part.text for part in plan if not part.whole)
            plans.append(plan)
        found = iter(self.core.encode(parts, details=details))
        return [self._joined(plan, found, details) for plan in plans]

    def _plan(self, text: Text) -> Iterator[_Part]:
        given = isinstance(text, str)
        for number, word in enumerate([text] if isinstance(text, str) else text):
            for start, stop, whole in self._around(word):
                yield _Part(word[start:stop], start, None if given else number, whole)

    def _joined(self, plan: Sequence[_Part], found: Iterator[Pieces], details: bool) -> Pieces:
        ids: list[int] = []
        offsets: list[Offset] = []
        words: list[int] = []
        for part in plan:
            if part.whole:
                index = self.vocab.get(part.text, self.unk_token_id)
                pieces = Pieces([index], [(0, len(part.text))], [0])
            else:
                pieces = next(found)
            ids.extend(pieces.ids)
            if details:
                offsets.extend((part.start + start, part.start + stop) for start, stop in pieces.offsets or ())
                before = words[-1] + 1 if words else 0
                numbers = pieces.words or []
                words.extend([part.word] * len(numbers) if part.word is not None else (before + one for one in numbers))
        return Pieces(ids, offsets, words) if details else Pieces(ids)

    def _frame(
        self, special: bool, truncation: Truncation, max_length: int | None, *, overflow: bool = False, stride: int = 0
    ) -> Frame:
        return Frame(
            begin=[self.cls_token_id] * special,
            end=[self.sep_token_id] * special,
            limit=self._limit(max_length),
            way=_way(truncation),
            side=self.truncation_side,
            overflow=overflow,
            stride=stride,
        )

    def _limit(self, max_length: int | None) -> int:
        if max_length is None:
            return self.model_max_length
        if type(max_length) is not int or max_length < 0:
            raise InputError(f"max_length is {max_length!r}, expected a whole number")
        return max_length

    def __call__(
        self,
        text: Text | Sequence[Text] | Sequence[tuple[str, str]],
        text_pair: Text | Sequence[Text] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: PaddingWay = False,
        truncation: Truncation = False,
        max_length: int | None = None,
        stride: int = 0,
        overlap: int | None = None,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: Tensors | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Encode one text, a pair, or a batch of either.

        Args:
            text: a string, a list of strings, or a list of tuples (first, second); with `is_split_into_words` a list of
                words, or a list of such lists.
            text_pair: the second text of each pair, in the same form.
            add_special_tokens: put `[CLS]` and `[SEP]` round the texts.
            padding: True or "longest" fills up to the longest row, "max_length" to `max_length`; False or "do_not_pad".
            truncation: True or "longest_first" cuts the longer text until both are equal, then both; "only_first" and
                "only_second" cut that one; False or "do_not_truncate". `cut` of the result tells what was left out.
            max_length: most tokens of a row, special ones included; None means `model_max_length`.
            stride: with `return_overflowing_tokens`, tokens by which neighbouring windows overlap.
            overlap: another name for `stride`.
            is_split_into_words: the texts are lists of words. Offsets then count within each word.
            pad_to_multiple_of: fill up further, to a multiple of this.
            padding_side: in place of the tokenizer's own.
            return_tensors: "np" or "pt" for arrays (B, S) in place of lists.
            return_token_type_ids: give `token_type_ids`.
            return_attention_mask: give `attention_mask`: 1 at tokens, 0 at padding.
            return_overflowing_tokens: give the rest of a text in further rows, and `overflow_to_sample_mapping`: the
                text that each row is of.
            return_special_tokens_mask: give `special_tokens_mask`: 1 at the special tokens round the texts and padding.
            return_offsets_mapping: give `offset_mapping`: begin and end of each token in its text, in characters.
            return_length: give `length`: tokens of each row, padding too.

        Returns:
            rows by name; for one text, without `return_tensors` and `return_overflowing_tokens`, its only row.

        Raises:
            InputError: what is no text, by its place; a lone surrogate; lists of different length; a length that cannot
                be reached; settings that mean nothing together.
        """
        pairs, single = as_pairs(text, text_pair, is_split_into_words)
        if overlap is not None and stride not in (0, overlap):
            raise InputError(f"overlap={overlap} and stride={stride} are two names for one setting; give one")
        stride = stride if overlap is None else overlap
        if type(stride) is not int or stride < 0:
            raise InputError(f"stride is {stride!r}, expected a whole number from 0 on")
        way = _way(truncation)
        if stride and not return_overflowing_tokens:
            raise InputError("stride has an effect with return_overflowing_tokens=True")
        if max_length is not None and way is False and padding != "max_length":
            raise InputError(f"max_length={max_length} has an effect with truncation=True or padding='max_length'")
        frame = self._frame(add_special_tokens, way, max_length, overflow=return_overflowing_tokens, stride=stride)
        windows_of = self._encoded(pairs, frame, details=return_offsets_mapping)
        encodings = [encoding for rows in windows_of for encoding in rows]
        names = ["input_ids"]
        names += ["token_type_ids"] * return_token_type_ids + ["attention_mask"] * return_attention_mask
        names += ["special_tokens_mask"] * return_special_tokens_mask + ["offset_mapping"] * return_offsets_mapping
        filling = self._filling(encodings, padding, max_length, pad_to_multiple_of, padding_side)

        def detailed() -> list[tuple[Encoding, list[str], int, int]]:
            again = self._encoded(pairs, frame, details=True)
            return [self._row(encoding, filling) for rows in again for encoding in rows]

        values: dict[str, Any]
        if return_tensors is None:
            values = dict(as_lists(encodings, filling, names))
        else:
            values = as_arrays(encodings, filling, names, return_tensors)
        more: dict[str, list[int]] = {}
        if return_overflowing_tokens:
            more["overflow_to_sample_mapping"] = [place for place, rows in enumerate(windows_of) for _ in rows]
        if return_length:
            more["length"] = [max(len(encoding), filling.length) for encoding in encodings]
        values |= more if return_tensors is None else as_vectors(more, return_tensors)
        if single and return_tensors is None and not return_overflowing_tokens:
            values = {name: rows[0] for name, rows in values.items()}
        return BatchEncoding(values, cut=[encoding.cut for encoding in encodings], detailed=detailed)

    def _filling(
        self,
        encodings: Sequence[Encoding],
        padding: PaddingWay,
        max_length: int | None,
        multiple: int | None,
        side: Side | None,
    ) -> Padding:
        if padding not in _PADDINGS:
            raise InputError(f"padding is {padding!r}, expected True, False, longest, max_length or do_not_pad")
        if side not in (None, "right", "left"):
            raise InputError(f"padding_side is {side!r}, expected 'right' or 'left'")
        length = 0
        if padding == "max_length":
            length = self._limit(max_length)
        elif padding in (True, "longest"):
            length = max(map(len, encodings), default=0)
        if multiple is not None:
            if type(multiple) is not int or multiple < 1:
                raise InputError(f"pad_to_multiple_of is {multiple!r}, expected a whole number from 1 on")
            if padding in (False, "do_not_pad"):
                raise InputError("pad_to_multiple_of has an effect with padding=True or padding='max_length'")
            length = -(-length // multiple) * multiple
        return Padding(length=length, left=(side or self.padding_side) == "left", ids=self.pad_token_id)

    def _row(self, encoding: Encoding, filling: Padding) -> tuple[Encoding, list[str], int, int]:
        missing = max(0, filling.length - len(encoding))
        before, after = (missing, 0) if filling.left else (0, missing)
        tokens = [self._tokens[index] for index in encoding.ids]
        return encoding, [self.pad_token] * before + tokens + [self.pad_token] * after, before, after

    def encode(self, text: Text | Sequence[Text], text_pair: Text | None = None, **settings: Any) -> Any:
        """Return the `input_ids` of one text or pair; the settings are those of `__call__`.

        Of a list or tuple of strings (without `is_split_into_words`) the first two are a pair; further ones are left
        out, with a warning.
        """
        if not isinstance(text, str) and text_pair is None and not settings.get("is_split_into_words"):
            several = list(text)
            if len(several) > 2:
                warnings.warn(f"encode takes two texts; {len(several) - 2} more are left out", stacklevel=2)
            if not several:
                raise InputError("text is empty, expected a string or two")
            text, text_pair = several[0], several[1] if len(several) > 1 else None
        return self(text, text_pair, **settings)["input_ids"]

    def encode_plus(self, text: Text, text_pair: Text | None = None, **settings: Any) -> BatchEncoding:
        """Encode one text or pair, as calling the tokenizer does."""
        return self(text, text_pair, **settings)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Text] | Sequence[tuple[str, str]], **settings: Any
    ) -> BatchEncoding:
        """Encode a batch of texts, or of pairs as tuples, as calling the tokenizer does."""
        return self(list(batch_text_or_text_pairs), **settings)

    # -- ids → sequences --------------------------------------------------------------------------------

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: PaddingWay = False,
        truncation: Truncation = False,
        max_length: int | None = None,
        return_tensors: Tensors | None = None,
        return_special_tokens_mask: bool = False,
    ) -> BatchEncoding:
        """Do with ids what calling the tokenizer does with texts.

        Args:
            ids: of one text, without special tokens.
            pair_ids: of the second.
            add_special_tokens: see `__call__`, as for those that follow.
            padding: …
            truncation: …
            max_length: …
            return_tensors: …
            return_special_tokens_mask: …

        Raises:
            InputError: see `__call__`.
        """
        first = Pieces(list(map(whole_number, ids)))
        second = None if pair_ids is None else Pieces(list(map(whole_number, pair_ids)))
        encodings = self._frame(add_special_tokens, truncation, max_length).sequences(first, second)
        batch = self.pad_encodings(
            encodings,
            padding=padding,
            max_length=max_length,
            return_tensors=return_tensors,
            return_special_tokens_mask=return_special_tokens_mask,
        )
        values = dict(batch) if return_tensors else {name: rows[0] for name, rows in batch.items()}
        return BatchEncoding(values, cut=[encoding.cut for encoding in encodings])

    def pad_encodings(
        self,
        encodings: Sequence[Encoding],
        *,
        padding: PaddingWay = True,
        max_length: int | None = None,
        padding_side: Side | None = None,
        return_tensors: Tensors | None = None,
        return_special_tokens_mask: bool = False,
    ) -> BatchEncoding:
        """Fill encodings up to one length and return what a model takes."""
        names = ["input_ids", "token_type_ids", "attention_mask"]
        names += ["special_tokens_mask"] * return_special_tokens_mask
        filling = self._filling(encodings, padding, max_length, None, padding_side)
        cut = [encoding.cut for encoding in encodings]
        if return_tensors is None:
            return BatchEncoding(dict(as_lists(encodings, filling, names)), cut=cut)
        return BatchEncoding(as_arrays(encodings, filling, names, return_tensors), cut=cut)

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: PaddingWay = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool = True,
        return_tensors: Tensors | None = None,
    ) -> BatchEncoding:
        """Fill up rows that a tokenizer gave.

        Args:
            encoded_inputs: one row, rows by name, or a list of rows, each with `input_ids`; lists, arrays or tensors.
                What is not about tokens (labels) is passed through.
            padding: see `__call__`.
            max_length: see `__call__`.
            pad_to_multiple_of: see `__call__`.
            return_attention_mask: give `attention_mask` where the rows have none.
            return_tensors: "np" or "pt".

        Raises:
            InputError: rows without `input_ids`, or of different names.
        """
        values, single = rows_by_name(encoded_inputs)
        ids = values["input_ids"]
        if return_attention_mask and "attention_mask" not in values:
            values["attention_mask"] = [[1] * len(row) for row in ids]
        filling = self._filling(
            [Encoding(ids=row, first=len(row), framed=False) for row in ids],
            padding,
            max_length,
            pad_to_multiple_of,
            None,
        )
        fillers: dict[str, Any] = {
            "input_ids": self.pad_token_id,
            "token_type_ids": 0,
            "attention_mask": 0,
            "special_tokens_mask": 1,
            "offset_mapping": (0, 0),
        }
        for name, filler in fillers.items():
            if name in values:
                fill = [[filler] * max(0, filling.length - len(row)) for row in ids]
                rows = zip(values[name], fill, strict=True)
                values[name] = [more + row if filling.left else row + more for row, more in rows]
        if return_tensors is not None:
            return BatchEncoding(as_vectors(values, return_tensors))
        return BatchEncoding({name: rows[0] for name, rows in values.items()} if single else values)

    # -- files ----------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> Self:
        """Load from a model folder; see `glassbert.checkpoint.load_tokenizer`."""
        from glassbert.checkpoint import load_tokenizer

        return load_tokenizer(cls, folder, **settings)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the tokenizer's files into a model folder; see `glassbert.checkpoint.save_tokenizer`."""
        from glassbert.checkpoint import save_tokenizer

        save_tokenizer(self, folder, overwrite=overwrite)

    def push_to_hub(self, repo: str, **settings: Any) -> str:
        """Upload the files to a repo of the hub; return the URL of the commit. See `glassbert.push_to_hub`."""
        from glassbert.checkpoint import push_saved

        return push_saved(self, repo, **settings)


class BertTokenizerFast(BertTokenizer):
    """The same as `BertTokenizer`, several times faster: the library `tokenizers` splits the texts, on all cores.

    The library has the rules `hf` alone; under `google` texts are split as by `BertTokenizer`.
    """

    is_fast = True

    @functools.cached_property
    def core(self) -> Core:
        """What splits texts into pieces."""
        if self.rules != "hf":
            return self._plain_core()
        from glassbert.text.fast import LibraryCore

        basic = self.basic_tokenizer if self.do_basic_tokenize else None
        return LibraryCore(self.vocab, self.wordpiece_tokenizer, basic, self._whole_tokens())


class _Part:
    """A part of a text that is encoded by itself: where it begins, which word it is of, whether it stays whole."""

    def __init__(self, text: str, start: int, word: int | None, whole: bool) -> None:
        self.text, self.start, self.word, self.whole = text, start, word, whole


def _way(truncation: Truncation) -> Truncation:
    if truncation not in WAYS:
        raise InputError(
            f"truncation is {truncation!r}, expected True, False, longest_first, only_first, only_second or "
            "do_not_truncate"
        )
    return False if truncation == "do_not_truncate" else truncation
