"""The core of `BertTokenizerFast`: the library `tokenizers`, which is imported here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, cast

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from glassbert.errors import VocabularyError
from glassbert.text.added import AddedToken
from glassbert.text.basic import BasicTokenizer
from glassbert.text.core import Pieces, PlainCore, check_text
from glassbert.text.wordpiece import WordpieceTokenizer

# When the library is quicker than the plain core, which remembers words and so takes as much text in a second as some
# five threads of the library, and has none to wake: with more cores than this, and more characters in a call.
_CORES: Final = 4
_CHARACTERS: Final = 1 << 16


class LibraryCore:
    """The rules `hf` as `tokenizers` has them, on all cores.

    Without details, one text alone (which the library gives to one thread), little text, and any on few cores, goes
    through the plain core, which is quicker then and gives the same.

    Args:
        vocab: pieces and ids.
        wordpiece: its settings.
        basic: its settings; None splits at white space alone.
        added: tokens that are found in a text as a whole, and their ids, in rising order.
        plain: the same in plain Python.

    Raises:
        VocabularyError: ids that the library would give otherwise.
    """

    def __init__(
        self,
        vocab: dict[str, int],
        wordpiece: WordpieceTokenizer,
        basic: BasicTokenizer | None,
        added: Sequence[tuple[AddedToken, int]],
        plain: PlainCore,
    ) -> None:
        """Build the library's tokenizer."""
        library = tokenizers.Tokenizer(
            models.WordPiece(
                vocab,
                unk_token=wordpiece.unk_token,
                max_input_chars_per_word=wordpiece.max_input_chars_per_word,
                continuing_subword_prefix="##",
            )
        )
        if basic is None:
            library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        else:
            library.normalizer = normalizers.BertNormalizer(
                clean_text=basic.clean_text,
                handle_chinese_chars=basic.tokenize_chinese_chars,
                strip_accents=basic.strip_accents,
                lowercase=basic.do_lower_case,
            )
            library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        for token, index in added:
            library.add_tokens(
                [
                    tokenizers.AddedToken(
                        token.content,
                        single_word=token.single_word,
                        lstrip=token.lstrip,
                        rstrip=token.rstrip,
                        normalized=token.is_normalized,
                    )
                ]
            )
            if library.token_to_id(token.content) != index:
                raise VocabularyError(
                    f"the added token {token.content!r} has the id {index}, but by the vocabulary it comes as "
                    f"{library.token_to_id(token.content)}; ids have to run on from the vocabulary's without a gap"
                )
        self._library = library
        self._plain = plain
        self._cores = os.cpu_count() or 1

    def encode(self, texts: Sequence[str], *, details: bool) -> list[Pieces]:
        """Return the pieces of each text; with `details` their offsets and words too."""
        much = self._cores > _CORES and len(texts) > 1 and sum(map(len, texts)) > _CHARACTERS
        if not details and not much:
            return self._plain.encode(texts, details=False)
        encode = self._library.encode_batch if details else self._library.encode_batch_fast
        try:
            found = encode(texts, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            for text in texts:
                check_text(text)
            raise
        if details:
            return [Pieces(one.ids, one.offsets, cast(list[int], one.word_ids)) for one in found]
        return [Pieces(one.ids) for one in found]
