"""`BertTokenizer`: strings → ids and back, in plain Python that one can read."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, overload

from glassbert.errors import InputError, VocabularyError
from glassbert.text.basic import BasicTokenizer
from glassbert.text.encoding import BatchEncoding, Encoding, Tensors, as_arrays
from glassbert.text.vocabulary import load_vocabulary
from glassbert.text.wordpiece import WordpieceTokenizer

Padding = bool | Literal["longest", "max_length"]
Truncation = bool | Literal["longest_first", "only_first", "only_second"]


class BertTokenizer:
    """Words, then pieces, then ids: `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`.

    Args:
        vocab: tokens and ids, or the path of a `vocab.txt`.
        do_lower_case: lower the text; must agree with the checkpoint.
        never_split: words that are passed through as they stand.
        tokenize_chinese_chars: make each Chinese character a word of its own.
        strip_accents: drop combining marks; None does so when lowering.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens; taken as they stand wherever they
            occur in a text.
        model_max_length: most tokens that the model takes; where truncation cuts.
        padding_side: where padding goes.

    Raises:
        VocabularyError: a special token is not in the vocabulary.
    """

    def __init__(
        self,
        vocab: dict[str, int] | str | Path,
        *,
        do_lower_case: bool = True,
        never_split: Iterable[str] = (),
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        model_max_length: int = 512,
        padding_side: Literal["right", "left"] = "right",
    ) -> None:
        """Keep the settings and look up the special tokens."""
        self.vocab = vocab if isinstance(vocab, dict) else load_vocabulary(vocab)
        self.tokens = {index: token for token, index in self.vocab.items()}
        self.do_lower_case = do_lower_case
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.unk_token, self.sep_token, self.pad_token = unk_token, sep_token, pad_token
        self.cls_token, self.mask_token = cls_token, mask_token
        for token in self.all_special_tokens:
            if token not in self.vocab:
                raise VocabularyError(f"the vocabulary of {len(self.vocab)} tokens has no {token}")
        if padding_side not in ("right", "left"):
            raise InputError(f"padding_side is {padding_side!r}, expected 'right' or 'left'")
        self.unk_token_id, self.sep_token_id = self.vocab[unk_token], self.vocab[sep_token]
        self.pad_token_id, self.cls_token_id = self.vocab[pad_token], self.vocab[cls_token]
        self.mask_token_id = self.vocab[mask_token]
        self.model_max_length = model_max_length
        self.padding_side = padding_side
        self.basic_tokenizer = BasicTokenizer(do_lower_case, never_split, tokenize_chinese_chars, strip_accents)
        self.wordpiece_tokenizer = WordpieceTokenizer(self.vocab, unk_token)
        longest_first = sorted(self.all_special_tokens, key=len, reverse=True)
        self._special = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        # Most words come again; the pieces of a word depend on nothing else.
        self._pieces = functools.lru_cache(maxsize=1 << 16)(self.wordpiece_tokenizer.split)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache of pieces out; it fills again."""
        return {name: value for name, value in self.__dict__.items() if name != "_pieces"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with an empty cache."""
        self.__dict__.update(state)
        self._pieces = functools.lru_cache(maxsize=1 << 16)(self.wordpiece_tokenizer.split)

    @property
    def all_special_tokens(self) -> list[str]:
        """The five special tokens."""
        return [self.unk_token, self.sep_token, self.pad_token, self.cls_token, self.mask_token]

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self.vocab[token] for token in self.all_special_tokens]

    @property
    def vocab_size(self) -> int:
        """Number of tokens (V)."""
        return len(self.vocab)

    def __len__(self) -> int:
        """Number of tokens (V)."""
        return len(self.vocab)

    def get_vocab(self) -> dict[str, int]:
        """Return a copy of the vocabulary."""
        return dict(self.vocab)

    # -- text and tokens ------------------------------------------------------------------------------

    def tokenize(self, text: str) -> list[str]:
        """Return the pieces of `text`; special tokens written in it are taken as such."""
        if not isinstance(text, str):
            raise InputError(f"the text is of type {type(text).__name__}, expected str")
        pieces: list[str] = []
        for place, part in enumerate(self._special.split(text)):
            if place % 2:  # the pattern's group stands at odd places
                pieces.append(part)
            else:
                for word in self.basic_tokenizer.tokenize(part):
                    pieces.extend([word] if word in self.basic_tokenizer.never_split else self._pieces(word))
        return pieces

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | list[int]:
        """Look up ids; an unknown token gets the id of `unk_token`."""
        if isinstance(tokens, str):
            return self.vocab.get(tokens, self.unk_token_id)
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = ...) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Sequence[int], skip_special_tokens: bool = ...) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Sequence[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Look up tokens.

        Raises:
            InputError: an id outside the vocabulary.
        """
        if isinstance(ids, int):
            return self._token(ids)
        special = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(int(index)) for index in ids if int(index) not in special]

    def _token(self, index: int) -> str:
        try:
            return self.tokens[index]
        except KeyError:
            raise InputError(f"id {index} is not in the vocabulary of {len(self.vocab)} tokens") from None

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join pieces: `##` glues to what stands before it."""
        return " ".join(tokens).replace(" ##", "").strip()

    # -- one text ------------------------------------------------------------------------------------

    def encode_text(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: Truncation = False,
        max_length: int | None = None,
    ) -> Encoding:
        """Encode one text or pair, without padding.

        Args:
            text: the first text.
            text_pair: the second.
            add_special_tokens: add `[CLS]` and `[SEP]`.
            truncation: True or "longest_first" cuts the longer text token by token; "only_first" and
                "only_second" cut that one; False cuts nothing.
            max_length: most tokens; None means `model_max_length`.

        Raises:
            InputError: the text is no string, or truncation cannot reach `max_length`.
        """
        if truncation not in (True, False, "longest_first", "only_first", "only_second"):
            raise InputError(
                f"truncation is {truncation!r}, expected True, False, longest_first, only_first, only_second"
            )
        first = self.convert_tokens_to_ids(self.tokenize(text))
        second = [] if text_pair is None else self.convert_tokens_to_ids(self.tokenize(text_pair))
        extra = self.num_special_tokens_to_add(pair=text_pair is not None) if add_special_tokens else 0
        limit = self.model_max_length if max_length is None else max_length
        excess = max(0, len(first) + len(second) + extra - limit) if truncation else 0
        if excess:
            first, second = _cut(first, second, excess, truncation, limit)
        types = self.create_token_type_ids_from_sequences(first, second if text_pair is not None else None)
        if add_special_tokens:
            ids = self.build_inputs_with_special_tokens(first, second if text_pair is not None else None)
            special = [1, *[0] * len(first), 1] + ([*[0] * len(second), 1] if text_pair is not None else [])
        else:
            ids, types = first + second, [0] * len(first) + [1] * len(second)
            special = [0] * len(ids)
        return Encoding(ids=ids, types=types, special=special, cut=excess)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens go round one text or a pair."""
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Put `[CLS]` and `[SEP]` round one or two lists of ids."""
        first = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Segment of each token, special ones included: 0 up to the first `[SEP]`, then 1."""
        first = [0] * (len(token_ids_0) + 2)
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + 1)

    def encode(self, text: str, text_pair: str | None = None, **settings: Any) -> list[int]:
        """Return the ids of one text or pair; the settings are those of `encode_text`."""
        return self.encode_text(text, text_pair, **settings).ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Return ids as a string: pieces joined, a space before each word and mark."""
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(list(map(int, ids)), skip_special_tokens))

    def batch_decode(self, sequences: Iterable[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        """Decode each of several sequences."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    # -- many texts ------------------------------------------------------------------------------------

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: Padding = False,
        truncation: Truncation = False,
        max_length: int | None = None,
        return_tensors: Tensors | None = None,
        return_special_tokens_mask: bool = False,
    ) -> BatchEncoding:
        """Encode one text, a pair, or a batch of either.

        Args:
            text: one text or a list of them.
            text_pair: the second text of each pair; a string for a string, a list of equal length for a list.
            add_special_tokens: add `[CLS]` and `[SEP]`.
            padding: True or "longest" fills up to the longest of the batch, "max_length" to `max_length`.
            truncation: see `encode_text`; `cut` of the result tells what was left out.
            max_length: most tokens; None means `model_max_length`.
            return_tensors: "np" or "pt" for arrays (B, S) in place of lists.
            return_special_tokens_mask: add `special_tokens_mask`.

        Raises:
            InputError: lists of different lengths, or arrays asked for from sequences of different lengths.
        """
        if isinstance(text, str):
            if text_pair is not None and not isinstance(text_pair, str):
                raise InputError("text is one string, so text_pair must be one string too")
            pairs = [(text, text_pair)]
        else:
            if not isinstance(text, Sequence):
                raise InputError(f"text is of type {type(text).__name__}, expected a string or a list of strings")
            texts = list(text)
            seconds = [None] * len(texts) if text_pair is None else list(text_pair)
            if isinstance(text_pair, str) or len(seconds) != len(texts):
                raise InputError(f"text is a list of {len(texts)}, so text_pair must be a list of {len(texts)} too")
            pairs = list(zip(texts, seconds, strict=True))
        encodings = [
            self.encode_text(
                first, second, add_special_tokens=add_special_tokens, truncation=truncation, max_length=max_length
            )
            for first, second in pairs
        ]
        values = self.pad_encodings(encodings, padding=padding, max_length=max_length)
        if not return_special_tokens_mask:
            del values["special_tokens_mask"]
        cut = [encoding.cut for encoding in encodings]
        if return_tensors is not None:
            if len({len(row) for row in values["input_ids"]}) > 1:
                raise InputError("the sequences differ in length; pass padding=True to get arrays")
            return BatchEncoding(as_arrays(values, return_tensors), cut=cut)
        single = isinstance(text, str)
        return BatchEncoding({name: rows[0] if single else rows for name, rows in values.items()}, cut=cut)

    def pad_encodings(
        self, encodings: Sequence[Encoding], *, padding: Padding = True, max_length: int | None = None
    ) -> dict[str, list[list[int]]]:
        """Fill encodings up to one length and return the lists that a model takes."""
        if padding not in (True, False, "longest", "max_length"):
            raise InputError(f"padding is {padding!r}, expected True, False, longest or max_length")
        limit = self.model_max_length if max_length is None else max_length
        lengths = [len(encoding) for encoding in encodings]
        target = 0 if padding is False else limit if padding == "max_length" else max(lengths, default=0)
        values: dict[str, list[list[int]]] = {
            "input_ids": [],
            "token_type_ids": [],
            "attention_mask": [],
            "special_tokens_mask": [],
        }
        for encoding in encodings:
            missing = max(0, target - len(encoding))
            for name, row, filler in (
                ("input_ids", encoding.ids, self.pad_token_id),
                ("token_type_ids", encoding.types, 0),
                ("attention_mask", [1] * len(encoding), 0),
                ("special_tokens_mask", encoding.special, 1),
            ):
                fill = [filler] * missing
                values[name].append(row + fill if self.padding_side == "right" else fill + row)
        return values

    # -- files --------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> Self:
        """Load from a model folder; see `glassbert.checkpoint.load_tokenizer`."""
        from glassbert.checkpoint import load_tokenizer

        return load_tokenizer(cls, folder, **settings)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `vocab.txt` and `tokenizer_config.json`; see `glassbert.checkpoint.save_tokenizer`."""
        from glassbert.checkpoint import save_tokenizer

        save_tokenizer(self, folder)

    def push_to_hub(self, repo: str, **settings: Any) -> str:
        """Upload the files to a repo of the hub; return the URL of the commit. See `glassbert.push_to_hub`."""
        from glassbert.checkpoint import push_saved

        return push_saved(self, repo, **settings)


def _cut(
    first: list[int],
    second: list[int],
    excess: int,
    way: Truncation,
    limit: int,
) -> tuple[list[int], list[int]]:
    """Drop `excess` ids from the ends."""
    if way is True or way == "longest_first":
        if excess > len(first) + len(second):
            raise InputError(f"max_length {limit} leaves no room for the special tokens")
        # Of an odd number of places the spare one goes to the longer text, between equals to the second, as in
        # `tokenizers`.
        keep_first, keep_second = len(first), len(second)
        first_is_longer = keep_first > keep_second
        for _ in range(excess):
            if keep_first > keep_second or (keep_first == keep_second and not first_is_longer):
                keep_first -= 1
            else:
                keep_second -= 1
        return first[:keep_first], second[:keep_second]
    chosen = first if way == "only_first" else second
    if excess > len(chosen):
        raise InputError(f"truncation={way!r} cannot reach max_length {limit}: that text has {len(chosen)} tokens only")
    kept = chosen[: len(chosen) - excess]
    return (kept, second) if way == "only_first" else (first, kept)
