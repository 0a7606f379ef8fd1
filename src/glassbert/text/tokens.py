"""The tokens that a tokenizer knows, and their ids: vocabulary, special tokens, added tokens; ids → text."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, overload

from glassbert.errors import InputError, VocabularyError
from glassbert.text.added import AddedToken, as_tokens
from glassbert.text.checks import check_flags, check_string, shown, words_of
from glassbert.text.inputs import is_number, whole_number, whole_numbers
from glassbert.text.vocabulary import checked, load_vocabulary

# What `decode` puts right, in this order.
_SPACES: Final = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
SPECIAL: Final = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL: Final = "additional_special_tokens"


class TokenTable:
    """Tokens ↔ ids.

    Args:
        vocab: tokens and ids, or the path of a `vocab.txt`.
        special: the five special tokens, by the names of their attributes.
        additional_special_tokens: further ones; those that the vocabulary lacks are added to it.
        added_tokens: tokens beside the vocabulary, with their ids.

    Raises:
        VocabularyError: a special token is not in the vocabulary, or an added one has an id that is taken.
    """

    unk_token: str
    sep_token: str
    pad_token: str
    cls_token: str
    mask_token: str

    def __init__(
        self,
        vocab: Mapping[str, int] | str | Path | None,
        special: Mapping[str, str],
        additional_special_tokens: Iterable[str | AddedToken],
        added_tokens: Sequence[tuple[AddedToken, int]],
    ) -> None:
        """Enter all tokens."""
        if not isinstance(vocab, Mapping | str | os.PathLike):
            raise VocabularyError(f"vocab is {shown(vocab)}, expected tokens and their ids, or the path of a vocab.txt")
        self.vocab = checked(vocab) if isinstance(vocab, Mapping) else load_vocabulary(vocab)
        self._added: dict[str, tuple[AddedToken, int]] = {}
        self._tokens = {index: token for token, index in self.vocab.items()}
        self._next = max(self._tokens, default=-1) + 1
        self._additional: dict[str, None] = {}  # in order, and quick to look into
        _check_added(added_tokens)
        try:
            for token, index in sorted(added_tokens, key=lambda pair: pair[1]):
                as_tokens(token, special=False)
                self._register(token, index)
        except InputError as error:
            raise VocabularyError(str(error)) from None
        for name in SPECIAL:
            check_string(name, special[name], VocabularyError)
            if special[name] not in self.vocab and (special[name] not in self._added or name == "unk_token"):
                raise VocabularyError(f"the vocabulary of {len(self.vocab)} tokens has no {special[name]}")
            setattr(self, name, special[name])
        self.add_special_tokens({ADDITIONAL: additional_special_tokens})

    def _changed(self) -> None:
        """Forget what was made from the tokens that were there before."""

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens beside the five; `add_special_tokens` adds to them, setting them replaces them."""
        return list(self._additional)

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[str]) -> None:
        self._additional = dict.fromkeys(tokens)

    @property
    def all_special_tokens(self) -> list[str]:
        """The five special tokens and the additional ones."""
        return [*(getattr(self, name) for name in SPECIAL), *self._additional]

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self._id(token) for token in self.all_special_tokens]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """The special tokens by the names that files give them."""
        more = {"additional_special_tokens": list(self.additional_special_tokens)}
        return {**{name: getattr(self, name) for name in SPECIAL}, **(more if self.additional_special_tokens else {})}

    @property
    def unk_token_id(self) -> int:
        """The id of `unk_token`."""
        return self._id(self.unk_token)

    @property
    def sep_token_id(self) -> int:
        """The id of `sep_token`."""
        return self._id(self.sep_token)

    @property
    def pad_token_id(self) -> int:
        """The id of `pad_token`."""
        return self._id(self.pad_token)

    @property
    def cls_token_id(self) -> int:
        """The id of `cls_token`."""
        return self._id(self.cls_token)

    @property
    def mask_token_id(self) -> int:
        """The id of `mask_token`."""
        return self._id(self.mask_token)

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary, without those that were added to it."""
        return len(self.vocab)

    def __len__(self) -> int:
        """Number of all tokens: rows that a model needs (V)."""
        return len(self._tokens)

    def get_vocab(self) -> dict[str, int]:
        """Return all tokens and their ids, added ones too."""
        return self.vocab | {token: index for token, (_, index) in self._added.items()}

    @property
    def ids_to_tokens(self) -> dict[int, str]:
        """All tokens by their ids, added ones too, the lowest id first."""
        return dict(sorted(self._tokens.items()))

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """What is found in a text as a whole, by its id, the lowest first: special and added tokens."""
        special = {self._id(token): AddedToken(token, special=True) for token in self.all_special_tokens}
        return dict(sorted((special | {index: token for token, index in self._added.values()}).items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of what is found in a text as a whole, the lowest first."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Return the tokens that were added to the vocabulary, and their ids."""
        return {token: index for token, (_, index) in self._added.items() if token not in self.vocab}

    @property
    def added_tokens(self) -> list[tuple[AddedToken, int]]:
        """The tokens that were added, with their settings and ids, the lowest id first."""
        return sorted(self._added.values(), key=lambda pair: pair[1])

    def add_tokens(
        self, new_tokens: str | AddedToken | Iterable[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens that are taken as a whole wherever they stand in a text; return how many are new.

        A model needs a row for each: `model.resize_token_embeddings(len(tokenizer))`. One that the vocabulary has keeps
        its id and is from now on found as a whole. One that was added before gets the settings of an `AddedToken`.

        Args:
            new_tokens: one or several. A string is looked for in the normalized text, so that an uncased tokenizer
                finds it in any case; `AddedToken` says more.
            special_tokens: whether they are special: looked for as they are written, and left out by
                `skip_special_tokens`.

        Raises:
            InputError: no tokens.
        """
        check_flags(special_tokens=special_tokens)
        count = 0
        for token in as_tokens(new_tokens, special=special_tokens):
            known = token.content in self._added or self._is_special(token.content)
            self._add(token)
            count += not known
        return count

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """Set special tokens by name, adding those that the vocabulary lacks; return how many these are.

        Args:
            special_tokens_dict: `{"cls_token": "<s>", "additional_special_tokens": ["<user>"]}`; additional ones come
                beside those that are there.

        Raises:
            InputError: a name that no special token has, or no token.
            VocabularyError: an `unk_token` that the vocabulary lacks.
        """
        if not isinstance(special_tokens_dict, Mapping):
            raise InputError(f"special tokens to add are {shown(special_tokens_dict)}, expected them by name")
        before = len(self)
        given: dict[str, list[AddedToken]] = {}
        for name, value in special_tokens_dict.items():
            if name not in (*SPECIAL, ADDITIONAL):
                known_names = ", ".join((*SPECIAL, ADDITIONAL))
                raise InputError(f"no special token is called {name!r}; there are {known_names}")
            given[name] = as_tokens(value, special=True)
            if name != ADDITIONAL and len(given[name]) != 1:
                raise InputError(f"{name} is {shown(value)}, expected one token")
        unknown = given.get("unk_token", [])
        if any(token.content not in self.vocab for token in unknown):
            raise VocabularyError(f"unk_token is {unknown[0].content!r}, which has to be in the vocabulary itself")
        for name, tokens in given.items():
            for token in tokens:
                if (
                    token.content not in self.vocab
                    or name == ADDITIONAL
                    or isinstance(special_tokens_dict[name], AddedToken)
                ):
                    self._add(token)
                if name != ADDITIONAL:
                    setattr(self, name, token.content)
                elif not self._is_special(token.content):
                    self._additional[token.content] = None
        self._changed()
        return len(self) - before

    def _add(self, token: AddedToken) -> None:
        """Enter a token under the id that it has, or the next one.

        One that is there gets the settings that it is given; a string gives none but that it is special.
        """
        if self._is_special(token.content):
            token = dataclasses.replace(token, special=True)
            there: AddedToken | None = AddedToken(token.content, special=True)
        else:
            there = None
        if token.content in self._added:
            there = self._added[token.content][0]
        bare = token == AddedToken(token.content, special=token.special)
        if there is None or not bare or (token.special and not there.special):
            known = self._find(token.content)
            self._register(token, self._next if known is None else known)

    def _register(self, token: AddedToken, index: int) -> None:
        there = self._tokens.get(index)
        if there not in (None, token.content):
            raise VocabularyError(f"the added token {token.content!r} has the id {index}, which is that of {there!r}")
        known = self._find(token.content)
        if known not in (None, index):
            raise VocabularyError(f"the added token {token.content!r} has the id {index}, but it is {known} already")
        self._added[token.content] = (token, index)
        self._tokens[index] = token.content
        self._next = max(self._next, index + 1)
        self._changed()

    def _is_special(self, token: str) -> bool:
        return token in self._additional or any(token == getattr(self, name) for name in SPECIAL)

    def _find(self, token: str) -> int | None:
        return self._added[token][1] if token in self._added else self.vocab.get(token)

    def _id(self, token: str) -> int:
        index = self._find(token)
        if index is None:
            raise VocabularyError(f"{token!r} is not among the {len(self)} tokens; add_special_tokens adds it")
        return index

    # -- tokens and ids -------------------------------------------------------------------------------

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | list[int]:
        """Look up ids; an unknown token gets the id of `unk_token`.

        Raises:
            InputError: no token, and no tokens.
        """
        if isinstance(tokens, bytes) or not isinstance(tokens, Iterable):
            raise InputError(f"a token is {shown(tokens)}, expected a string, or several")
        if isinstance(tokens, str):
            return self._id(tokens) if tokens in self._added else self.vocab.get(tokens, self.unk_token_id)
        return [self.convert_tokens_to_ids(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = ...) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = ...) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Look up tokens.

        Raises:
            InputError: an id outside the vocabulary.
        """
        if is_number(ids):
            return self._token(whole_number(ids))
        assert not isinstance(ids, int)
        special = self._special_ids() if skip_special_tokens else set()
        return [self._token(index) for index in map(whole_number, ids) if index not in special]

    def _special_ids(self) -> set[int]:
        return {*self.all_special_ids, *(index for token, index in self._added.values() if token.special)}

    def _token(self, index: int) -> str:
        try:
            return self._tokens[index]
        except KeyError:
            raise InputError(f"id {index} is not in the vocabulary of {len(self)} tokens") from None

    def _known(self, ids: Iterable[int]) -> list[int]:
        """Return ids as a list, having made sure that there are tokens of these ids."""
        found = whole_numbers(ids)
        for index in found:
            self._token(index)
        return found

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Join pieces: `##` glues to what stands before it.

        Raises:
            InputError: no strings.
        """
        return " ".join(words_of("tokens", tokens)).replace(" ##", "").strip()

    def decode(
        self,
        token_ids: int | Iterable[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = True,
    ) -> str:
        """Return ids as a string.

        Args:
            token_ids: one id or several: a list, an array or tensor of one dimension.
            skip_special_tokens: leave the special tokens out.
            clean_up_tokenization_spaces: leave out the space before `.`, `?`, `!` and `,` and in English contractions.

        Raises:
            InputError: an id outside the vocabulary.
        """
        ids: Any = [token_ids] if is_number(token_ids) else token_ids
        text = self.convert_tokens_to_string(self.convert_ids_to_tokens(ids, skip_special_tokens))
        if clean_up_tokenization_spaces:
            for spaced, joined in _SPACES:
                text = text.replace(spaced, joined)
        return text

    def batch_decode(
        self,
        sequences: Iterable[Iterable[int]],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = True,
    ) -> list[str]:
        """Decode each of several sequences, or rows of an array or tensor.

        Raises:
            InputError: these are not several, or hold an id outside the vocabulary.
        """
        if is_number(sequences):
            raise InputError(f"the sequences are {shown(sequences)}, expected several")
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in sequences]


def _check_added(given: Any) -> None:
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise VocabularyError(f"added_tokens is {shown(given)}, expected tokens, each with its id")
    for place, pair in enumerate(given):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise VocabularyError(f"added_tokens[{place}] is {shown(pair)}, expected a token and its id")
        token, index = pair
        if not isinstance(token, AddedToken) or type(index) is not int or index < 0:
            raise VocabularyError(
                f"added_tokens[{place}] is {shown(token)} with the id {shown(index)}, expected an AddedToken "
                "with a whole number from 0 on"
            )
