"""The vocabulary, read and written. The id of a token is its line, from 0."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from glassbert.errors import VocabularyError
from glassbert.text.checks import check_path, shown

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def load_vocabulary(path: str | Path) -> dict[str, int]:
    """Read `vocab.txt`.

    Lines end at LF (a CR before it is dropped) and nowhere else: U+2028 is a token of bert-base-chinese.

    Raises:
        VocabularyError: no such file, not UTF-8, empty, or the same token on two lines.
    """
    check_path("the path", path)
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise VocabularyError(f"{path}: no such file") from None
    except OSError as error:
        raise VocabularyError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: byte {error.start} is not UTF-8") from None
    except ValueError:
        raise VocabularyError(f"{str(path)!a} can be no path of a file") from None
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    vocabulary: dict[str, int] = {}
    for index, line in enumerate(lines):
        token = line.removesuffix("\r")
        if token in vocabulary:
            raise VocabularyError(f"{path}:{index + 1}: {token!r} stands on line {vocabulary[token] + 1} already")
        vocabulary[token] = index
    if not vocabulary:
        raise VocabularyError(f"{path}: the vocabulary is empty")
    return vocabulary


def checked(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Return a vocabulary as a dict.

    Raises:
        VocabularyError: a token that is no text, an id that is no whole number from 0 on, or one id twice.
    """
    if not isinstance(vocabulary, Mapping):
        raise VocabularyError(f"the vocabulary is {shown(vocabulary)}, expected tokens and their ids")
    by_id: dict[int, str] = {}
    for token, index in vocabulary.items():
        if not isinstance(token, str) or type(index) is not int or index < 0:
            raise VocabularyError(
                f"the vocabulary gives {shown(token)} the id {shown(index)}, expected a whole number from 0 on"
            )
        if by_id.setdefault(index, token) is not token:
            raise VocabularyError(f"the vocabulary gives the id {index} to {by_id[index]!r} and to {token!r}")
    try:
        "".join(vocabulary).encode()
    except UnicodeEncodeError:
        token = next(token for token in vocabulary if any(0xD800 <= ord(char) < 0xE000 for char in token))
        raise VocabularyError(f"the vocabulary's {token!r} holds a lone surrogate, which is no character") from None
    return dict(vocabulary)


def save_vocabulary(vocabulary: Mapping[str, int], path: str | Path) -> None:
    """Write one token a line, in the order of the ids.

    Raises:
        VocabularyError: no tokens with ids, ids that do not run from 0 without a gap, or a token that would not be read
            as it is.
    """
    check_path("the path", path)
    vocabulary = checked(vocabulary)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise VocabularyError("the ids of the vocabulary do not run from 0 without a gap; a vocab.txt cannot hold it")
    for index, token in enumerate(tokens):
        if "\n" in token or token.endswith("\r") or (index == 0 and token.startswith("\ufeff")):
            raise VocabularyError(f"the token {token!r} is no line of its own; a vocab.txt cannot hold it")
    Path(path).write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))


def vocabulary_hash(vocabulary: Mapping[str, int]) -> str:
    """Return the SHA-256 of the lines "id, tab, token", the lowest id first."""
    lines = (f"{index}\t{token}\n" for token, index in sorted(vocabulary.items(), key=lambda pair: pair[1]))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
