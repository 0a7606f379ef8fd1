"""`BertTokenizer` and `BertTokenizerFast`: strings → ids and back."""

from __future__ import annotations

import bisect
import functools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Final, Self

from glassbert.errors import InputError
from glassbert.text.added import AddedToken
from glassbert.text.arrays import Padding, Tensors, as_arrays, as_lists, as_vectors
from glassbert.text.basic import BasicTokenizer
from glassbert.text.batch import BatchEncoding, FoundRows, Rows
from glassbert.text.calls import NO_LIMIT, Basis, Call, PaddingWay, call_of, filling_of, frame_of
from glassbert.text.characters import Rules
from glassbert.text.checks import (
    all_strings,
    check_flags,
    check_string,
    check_strings,
    count_of,
    place_of,
    shown,
    words_of,
)
from glassbert.text.core import Core, Pieces, PlainCore
from glassbert.text.encoding import Encoding, Offset
from glassbert.text.framing import Frame
from glassbert.text.inputs import (
    ABOUT_TOKENS,
    Text,
    as_texts,
    check_characters,
    check_each,
    length_of,
    rows_by_name,
    whole_numbers,
)
from glassbert.text.rows import Rest, RowEncoding
from glassbert.text.tokens import ADDITIONAL, SPECIAL, TokenTable
from glassbert.text.windows import Side, Truncation, check_way, windows
from glassbert.text.wordpiece import WordpieceTokenizer

# Characters of the longest word that is split, unless it is said. Google's program allows longer ones.
LONGEST_WORD: Final[dict[str, int]] = {"hf": 100, "google": 200}
# Settings by which words are split, and splits remembered.
_FIXED: Final = (
    "do_lower_case",
    "do_basic_tokenize",
    "tokenize_chinese_chars",
    "strip_accents",
    "clean_text",
    "rules",
)
# Made when they are first needed, and again where what they are made of has changed.
_MADE: Final = ("core", "_basis")


class BertTokenizer(TokenTable):
    """Words, then pieces, then ids: `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`, in plain Python.

    `BertTokenizerFast` gives the same, many texts on many cores faster, and offsets.

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
        vocab_file: what other libraries call `vocab`; refused, with a word on what to call.

    Raises:
        VocabularyError: a special token is not in the vocabulary, or an added one has an id that is taken.
        InputError: an unknown side or set of rules.
    """

    is_fast = False

    def __init__(
        self,
        vocab: Mapping[str, int] | str | Path | None = None,
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
        vocab_file: None = None,
    ) -> None:
        """Keep the settings and look up the special tokens."""
        if vocab_file is not None:
            kind, path = type(self).__name__, shown(vocab_file if vocab is None else vocab)
            raise InputError(f"vocab_file is called vocab here: {kind}({path}); {kind}.from_pretrained reads a folder")
        special = {
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        super().__init__(vocab, special, additional_special_tokens, added_tokens)
        check_flags(do_basic_tokenize=do_basic_tokenize)
        if max_input_chars_per_word is not None:
            count_of("max_input_chars_per_word", max_input_chars_per_word)
        self.do_lower_case = do_lower_case
        self.do_basic_tokenize = do_basic_tokenize
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.clean_text = clean_text
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
        longest = LONGEST_WORD[rules] if max_input_chars_per_word is None else max_input_chars_per_word
        self.wordpiece_tokenizer = WordpieceTokenizer(self.vocab, unk_token, longest)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set what may change; the rest is fixed, since words were split by it already.

        Raises:
            InputError: a value that the setting cannot have, or a setting that is fixed or unknown.
        """
        if name in ("padding_side", "truncation_side") and not (isinstance(value, str) and value in ("right", "left")):
            raise InputError(f"{name} is {shown(value)}, expected 'right' or 'left'")
        if name == "model_max_length":
            if not (isinstance(value, int | float) and value >= 3):
                raise InputError(f"{name} is {shown(value)}, expected a whole number from 3 on")
            value = int(min(value, NO_LIMIT))  # files say 1e30 where there is no limit
        if name in _FIXED and name in self.__dict__:
            raise InputError(f"{name} is fixed when the tokenizer is made; make another one to have another {name}")
        if name in SPECIAL and name in self.__dict__:
            if not isinstance(value, str) or (value not in self.vocab and value not in self._added):
                raise InputError(f"{name} is {shown(value)}, which is no token; add_special_tokens adds it")
            self._changed()
        elif name.endswith("_token") and name not in SPECIAL:
            raise InputError(f"BERT has no {name}; there are {', '.join(SPECIAL)}")
        if name == ADDITIONAL:
            for token in words_of(name, value):
                if token not in self.vocab and token not in self._added:
                    raise InputError(f"{name} has {shown(token)}, which is no token; add_special_tokens adds it")
        super().__setattr__(name, value)
        self.__dict__.pop("_basis", None)

    def _changed(self) -> None:
        for made in _MADE:
            self.__dict__.pop(made, None)
        if hasattr(self, "wordpiece_tokenizer"):
            self.wordpiece_tokenizer.unk_token = self.unk_token

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is built again when it is needed."""
        return {name: value for name, value in self.__dict__.items() if name not in _MADE}

    def __repr__(self) -> str:
        """Name the settings that matter most."""
        case = "uncased" if self.do_lower_case else "cased"
        return f"{type(self).__name__}({len(self):,} tokens, {case}, rules={self.rules!r})"

    @functools.cached_property
    def core(self) -> Core:
        """What splits texts into pieces."""
        return self.plain_core()

    @functools.cached_property
    def _basis(self) -> Basis:
        return Basis(
            begin=self.cls_token_id,
            end=self.sep_token_id,
            filler=self.pad_token_id,
            longest=self.model_max_length,
            truncation_side=self.truncation_side,
            padding_side=self.padding_side,
        )

    def plain_core(self) -> PlainCore:
        """Return a new core in plain Python, which can be asked for each of its steps."""
        return PlainCore(
            self.vocab,
            self.wordpiece_tokenizer,
            self.basic_tokenizer if self.do_basic_tokenize else None,
            self._whole_tokens(),
            self.rules,
        )

    def _whole_tokens(self) -> list[tuple[AddedToken, int]]:
        """List what is to be found in a text before it is split into words: special ones first, then by their ids.

        Of two that read the same in the normalized text the first is found. That goes by ids, which files keep, not by
        when they were added, which they do not.
        """
        # Google's program knows no special tokens in a text: it splits them as it does any other word.
        special = () if self.rules == "google" else dict.fromkeys(self.all_special_tokens)
        plain = {token: (AddedToken(token, special=True), self._id(token)) for token in special}
        return sorted((plain | self._added).values(), key=lambda pair: (not pair[0].special, pair[1]))

    # -- text and tokens ------------------------------------------------------------------------------

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """Return the pieces of `text`, then those of `pair`.

        A word that `never_split` keeps stands as it is, even where the vocabulary has no such token.

        Raises:
            InputError: no string, or a lone surrogate.
        """
        check_flags(add_special_tokens=add_special_tokens)
        parts = [self._pieces_by_name(one) for one in ((text,) if pair is None else (text, pair))]
        if not add_special_tokens:
            return [piece for part in parts for piece in part]
        return [self.cls_token, *(piece for part in parts for piece in (*part, self.sep_token))]

    def _pieces_by_name(self, text: str) -> list[str]:
        check_string("text", text)
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
        check_flags(pair=pair)
        return 3 if pair else 2

    @property
    def model_input_names(self) -> list[str]:
        """What a call returns unless told otherwise, and a model takes."""
        return ["input_ids", "token_type_ids", "attention_mask"]

    @property
    def max_len_single_sentence(self) -> int:
        """Most tokens of one text, without the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """Most tokens of two texts together, without the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Put `[CLS]` and `[SEP]` round one or two lists of ids.

        Raises:
            InputError: no ids.
        """
        first = [self.cls_token_id, *whole_numbers(token_ids_0), self.sep_token_id]
        return first if token_ids_1 is None else [*first, *whole_numbers(token_ids_1), self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Segment of each token, special ones included: 0 up to the first `[SEP]`, then 1.

        Raises:
            InputError: no ids.
        """
        first = [0] * (length_of("token_ids_0", token_ids_0) + 2)
        return first if token_ids_1 is None else first + [1] * (length_of("token_ids_1", token_ids_1) + 1)

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
            InputError: no ids, or a whole sequence and a second text.
        """
        check_flags(already_has_special_tokens=already_has_special_tokens)
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise InputError("a sequence that has its special tokens is one list; leave out token_ids_1")
            special = self._special_ids()
            return [int(index in special) for index in whole_numbers(token_ids_0)]
        second = [] if token_ids_1 is None else [*[0] * length_of("token_ids_1", token_ids_1), 1]
        return [1, *[0] * length_of("token_ids_0", token_ids_0), 1, *second]

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
        num_tokens_to_remove = place_of("num_tokens_to_remove", num_tokens_to_remove)
        stride = count_of("stride", stride)
        ids, pair_ids = whole_numbers(ids), None if pair_ids is None else whole_numbers(pair_ids)
        second = None if pair_ids is None else len(pair_ids)
        room = len(ids) + (second or 0) - num_tokens_to_remove
        (kept,) = windows(len(ids), second, room, way=check_way(truncation_strategy), side=self.truncation_side)
        cut_second = pair_ids is not None and truncation_strategy == "only_second"
        left_out: list[int] = []
        if num_tokens_to_remove > 0 and (pair_ids is None or truncation_strategy in ("only_first", "only_second")):
            whole, part = (pair_ids or [], kept.second) if cut_second else (ids, kept.first)
            right = self.truncation_side == "right"
            left_out = whole[max(0, part.stop - stride) :] if right else whole[: part.start + stride]
        return ids[kept.first], None if pair_ids is None else pair_ids[kept.second], left_out

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
        check_each(texts, "texts")
        if text_pairs is not None:
            check_each(text_pairs, "text_pairs")
            if len(text_pairs) != len(texts):
                raise InputError(f"there are {len(texts)} texts, but {len(text_pairs)} second ones")
        check_flags(details=details)
        frame = frame_of(self._basis, add_special_tokens, truncation, max_length)
        return [rows[0] for rows in self._encoded(texts, text_pairs, frame, self.core, details=details)]

    def _encoded(
        self, firsts: Sequence[Text], seconds: Sequence[Text] | None, frame: Frame, core: Core, *, details: bool
    ) -> list[list[Encoding]]:
        """Encode each text or pair to its windows."""
        try:
            pieces = self.pieces(firsts, core, details=details)
            others = None if seconds is None else self.pieces(seconds, core, details=details)
        except InputError:
            check_characters(firsts, seconds)  # which one is it?
            raise
        if others is None:
            return [frame.sequences(one, None) for one in pieces]
        return list(map(frame.sequences, pieces, others))

    def pieces(self, texts: Sequence[Text], core: Core | None = None, *, details: bool = False) -> list[Pieces]:
        """Split each text into pieces, in one call of the core: nothing is put round them, cut or checked.

        Args:
            texts: strings, or lists of words.
            core: what splits; the tokenizer's own if not given.
            details: with offsets and words.
        """
        core = self.core if core is None else core
        if not self.basic_tokenizer.never_split and all_strings(texts):
            return core.encode(texts, details=details)  # type: ignore[arg-type]  # all are strings
        # Each text is cut into parts that are encoded by themselves: given words, and what stands between words that
        # are kept whole.
        parts: list[str] = []
        plans: list[list[_Part]] = []
        for text in texts:
            plan = list(self._plan(text))
            parts.extend(part.text for part in plan if not part.whole)
            plans.append(plan)
        found = iter(core.encode(parts, details=details))
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
                index = self.convert_tokens_to_ids(part.text)
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
        settings = (
            self._basis,
            add_special_tokens,
            padding,
            truncation,
            max_length,
            stride,
            overlap,
            is_split_into_words,
            pad_to_multiple_of,
            padding_side,
            return_tensors,
            return_token_type_ids,
            return_attention_mask,
            return_overflowing_tokens,
            return_special_tokens_mask,
            return_offsets_mapping,
            return_length,
        )
        try:
            call = call_of(*settings)
        except TypeError:  # lists and the like cannot be remembered; none of them is a setting
            call = call_of.__wrapped__(*settings)
        firsts, seconds, single = as_texts(text, text_pair, is_split_into_words)
        core = self.core
        found = self._encoded(firsts, seconds, call.frame, core, details=call.details)
        encodings = list(chain.from_iterable(found))
        filling = call.filling.of([len(encoding.ids) for encoding in encodings])
        values: dict[str, Any]
        if call.kind is None:
            values = dict(as_lists(encodings, filling, call.names))
        else:
            values = as_arrays(encodings, filling, call.names, call.kind)
        if call.windows or call.lengths:
            more: dict[str, list[int]] = {}
            if call.windows:
                more["overflow_to_sample_mapping"] = [place for place, rows in enumerate(found) for _ in rows]
            if call.lengths:
                more["length"] = [max(len(encoding), filling.length) for encoding in encodings]
            values |= more if call.kind is None else as_vectors(more, call.kind)
        if single and call.kind is None and not call.windows:
            values = {name: rows[0] for name, rows in values.items()}
        rows = _Rows(self, core, firsts, seconds, call, filling, found)
        return BatchEncoding(values, cut=[encoding.cut for encoding in encodings], rows=rows)

    def encode(self, text: Text | Sequence[Text], text_pair: Text | None = None, **settings: Any) -> Any:
        """Return the `input_ids` of one text or pair; the settings are those of `__call__`.

        Of a list or tuple of strings (without `is_split_into_words`) the first two are a pair; further ones are left
        out, with a warning.
        """
        if not settings.get("is_split_into_words"):
            several: list[Any] = [text] if text_pair is None else [text, text_pair]
            if isinstance(text, list | tuple) and text_pair is None:
                several = list(text)
            if not several:
                raise InputError("text is empty, expected a string or two")
            check_strings(several)
            if len(several) > 2:
                warnings.warn(f"encode takes two texts; {len(several) - 2} more are left out", stacklevel=2)
            text, text_pair = several[0], several[1] if len(several) > 1 else None
        return self(text, text_pair, **settings)["input_ids"]

    def encode_plus(self, text: Text, text_pair: Text | None = None, **settings: Any) -> BatchEncoding:
        """Encode one text or pair, as calling the tokenizer does."""
        return self(text, text_pair, **settings)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Text] | Sequence[tuple[str, str]], **settings: Any
    ) -> BatchEncoding:
        """Encode a batch of texts, or of pairs as tuples, as calling the tokenizer does."""
        if isinstance(batch_text_or_text_pairs, str):
            raise InputError("batch_text_or_text_pairs is one string, expected several; encode_plus takes one")
        if isinstance(batch_text_or_text_pairs, bytes) or not isinstance(batch_text_or_text_pairs, Iterable):
            raise InputError(f"batch_text_or_text_pairs is {shown(batch_text_or_text_pairs)}, expected several texts")
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
            InputError: no ids, or one outside the vocabulary; see `__call__`.
        """
        frame = frame_of(self._basis, add_special_tokens, truncation, max_length, padding)
        first = Pieces(self._known(ids))
        second = None if pair_ids is None else Pieces(self._known(pair_ids))
        encodings = frame.sequences(first, second)
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
        """Fill encodings up to one length and return what a model takes; the settings are those of `__call__`."""
        check_flags(return_special_tokens_mask=return_special_tokens_mask)
        if isinstance(encodings, str | bytes) or not isinstance(encodings, Sequence):
            raise InputError(f"encodings is {shown(encodings)}, expected a list of encodings")
        for place, encoding in enumerate(encodings):
            if not isinstance(encoding, Encoding):
                raise InputError(f"encodings[{place}] is {shown(encoding)}, expected an Encoding")
        names = ["input_ids", "token_type_ids", "attention_mask"]
        names += ["special_tokens_mask"] * return_special_tokens_mask
        filling = filling_of(self._basis, padding, max_length, None, padding_side).of(map(len, encodings))
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
        check_flags(return_attention_mask=return_attention_mask)
        values, single = rows_by_name(encoded_inputs)
        ids = values["input_ids"]
        if return_attention_mask and "attention_mask" not in values:
            values["attention_mask"] = [[1] * len(row) for row in ids]
        filling = filling_of(self._basis, padding, max_length, pad_to_multiple_of, None).of(map(len, ids))
        fillers: dict[str, Any] = {
            "input_ids": self.pad_token_id,
            "token_type_ids": 0,
            "attention_mask": 0,
            "special_tokens_mask": 1,
            "offset_mapping": (0, 0),
        }
        for name in filter(values.__contains__, ABOUT_TOKENS):
            fill = [[fillers[name]] * max(0, filling.length - len(row)) for row in ids]
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
    """The same as `BertTokenizer`, with the library `tokenizers` to split texts on all cores where it is quicker.

    It is for many texts on more than four cores, and for any whose offsets or words are asked for. The library has the
    rules `hf` alone; under `google` texts are split as by `BertTokenizer`.
    """

    is_fast = True

    @functools.cached_property
    def core(self) -> Core:
        """What splits texts into pieces."""
        from glassbert.text.fast import LibraryCore, can_find

        plain = self.plain_core()
        whole = self._whole_tokens()
        basic = self.basic_tokenizer if self.do_basic_tokenize else None
        if self.rules != "hf" or not can_find(whole, basic):
            return plain
        return LibraryCore(self.vocab, self.wordpiece_tokenizer, basic, whole, plain)


class _Part:
    """A part of a text that is encoded by itself: where it begins, which word it is of, whether it stays whole."""

    def __init__(self, text: str, start: int, word: int | None, whole: bool) -> None:
        self.text, self.start, self.word, self.whole = text, start, word, whole


class _Rows:
    """The rows of a call. Each is encoded again, with its words and places, when it is first looked at."""

    def __init__(
        self,
        tokenizer: BertTokenizer,
        core: Core,
        firsts: Sequence[Text],
        seconds: Sequence[Text] | None,
        call: Call,
        padding: Padding,
        found: list[list[Encoding]],
    ) -> None:
        self._tokenizer, self._core = tokenizer, core
        self._firsts, self._seconds = firsts, seconds
        self._call, self._padding = call, padding
        self._found = found  # the windows of each text, as the call gave them
        self._seen: dict[int, list[RowEncoding]] = {}  # by the number of the text

    @functools.cached_property
    def _begins(self) -> list[int]:
        """The first row of each text, and how many rows there are."""
        return [0, *accumulate(map(len, self._found))]

    def __len__(self) -> int:
        return self._begins[-1]

    def look(self, rows: Sequence[int]) -> list[RowEncoding]:
        texts = [bisect.bisect_right(self._begins, row) - 1 for row in rows]
        new = [text for text in dict.fromkeys(texts) if text not in self._seen]
        if new:
            windows_of = zip(new, self._with_details(new), strict=True)
            self._seen |= {text: self._rows_of(text, found) for text, found in windows_of}
        return [self._seen[text][row - self._begins[text]] for text, row in zip(texts, rows, strict=True)]

    def at_hand(self) -> Rows | None:
        return FoundRows(self.look(range(len(self)))) if self._call.details else None

    def _with_details(self, texts: Sequence[int]) -> list[list[Encoding]]:
        if self._call.details:
            return [self._found[text] for text in texts]
        return self._encoded(texts, self._call.frame)

    def _encoded(self, texts: Sequence[int], frame: Frame) -> list[list[Encoding]]:
        firsts = [self._firsts[text] for text in texts]
        seconds = None if self._seconds is None else [self._seconds[text] for text in texts]
        return self._tokenizer._encoded(firsts, seconds, frame, self._core, details=True)

    def _rows_of(self, text: int, windows: Sequence[Encoding]) -> list[RowEncoding]:
        first, *more = windows
        later = [self._row(window) for window in more]
        return [self._row(first, functools.partial(self._left_out, text) if first.cut else later), *later]

    def _left_out(self, text: int) -> list[RowEncoding]:
        (windows,) = self._encoded([text], self._call.frame._replace(overflow=True))
        return [self._row(window) for window in windows[1:]]

    def _row(self, window: Encoding, rest: Rest = ()) -> RowEncoding:
        tokens = self._tokenizer._tokens
        return RowEncoding(
            window, self._padding, [tokens[index] for index in window.ids], tokens[self._padding.ids], rest
        )
