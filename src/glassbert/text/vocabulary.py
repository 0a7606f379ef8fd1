"""The vocabulary, read and written. The id of a token is its line, from 0."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from glassbert.errors import VocabularyError

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def load_vocabulary(path: str | Path) -> dict[str, int]:
    """Read `vocab.txt`.

    Lines end at LF (a CR before it is dropped) and nowhere else: U+2028 is a token of bert-base-chinese.

    Raises:
        VocabularyError: no such file, not UTF-8, empty, or the same token on two lines.
    """
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise VocabularyError(f"{path}: no such file") from None
    except OSError as error:
        raise VocabularyError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: byte {error.start} is not UTF-8") from None
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


def save_vocabulary(vocabulary: dict[str, int], path: str | Path) -> None:
    """Write one token a line, in the order of the ids, which must run from 0 without a gap."""
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise VocabularyError("the ids of the vocabulary do not run from 0 without a gap; a vocab.txt cannot hold it")
    Path(path).write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))
