"""The core of `BertTokenizerFast`: the library `tokenizers`, which is imported here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, cast

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from glassbert.text.added import AddedToken, by_form
from glassbert.text.basic import BasicTokenizer
from glassbert.text.characters import check_text
from glassbert.text.core import Pieces, PlainCore
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
        added: tokens that are found in a text as a whole, and their ids.
        plain: the same in plain Python.
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
        # The library gives added tokens the ids that follow the vocabulary's; where ours are others, its own are
        # translated.
        whole = set(vocab.values()) == set(range(len(vocab)))
        own = vocab if whole else {token: number for number, token in enumerate(vocab)}
        library = tokenizers.Tokenizer(
            models.WordPiece(
                own,
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
        normalize = None if basic is None else basic.normalizer.normalize
        raw = by_form(((token, index) for token, index in added if not token.is_normalized), None)
        normalized = by_form(((token, index) for token, index in added if token.is_normalized), normalize)
        # Of two that read the same the library would find either, as it happens.
        findable = [*raw.values(), *normalized.values()]
        library.add_tokens(
            [
                tokenizers.AddedToken(
                    token.content,
                    single_word=token.single_word,
                    lstrip=token.lstrip,
                    rstrip=token.rstrip,
                    normalized=token.is_normalized,
                )
                for token, _ in findable
            ]
        )
        self._library = library
        self._plain = plain
        self._cores = os.cpu_count() or 1
        ours = {own[token]: index for token, index in vocab.items()}
        ours |= {cast(int, library.token_to_id(token.content)): index for token, index in findable}
        self._ours = None if all(index == other for index, other in ours.items()) else ours

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
        ids = [one.ids if self._ours is None else [self._ours[index] for index in one.ids] for one in found]
        if not details:
            return list(map(Pieces, ids))
        return [Pieces(own, one.offsets, cast(list[int], one.word_ids)) for own, one in zip(ids, found, strict=True)]


def can_find(added: Sequence[tuple[AddedToken, int]], basic: BasicTokenizer | None) -> bool:
    """Whether the library can look for these added tokens.

    One of white space alone that takes more of it along may come to stand in what the token before took; there the
    library breaks down.
    """
    normalize = None if basic is None else basic.normalizer.normalize
    greedy = [(token, index) for token, index in added if token.lstrip]
    forms = [*by_form(greedy, None), *by_form(greedy, normalize)]
    return all(form.strip() for form in forms)
