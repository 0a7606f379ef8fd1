"""The embedded data set: sentences in English, German, French, Spanish and Chinese, written for this project."""

from __future__ import annotations

import json
from importlib import resources
from typing import Final, Literal, NamedTuple

LANGUAGES: Final = ("de", "en", "es", "fr", "zh")


class Sentence(NamedTuple):
    """A sentence and the ISO 639-1 code of its language."""

    text: str
    language: str


def load_sentences(part: Literal["train", "test"]) -> list[Sentence]:
    """Return the sentences of one part, language by language."""
    content = resources.files("glassbert.data").joinpath(f"languages.{part}.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in content.split("\n") if line]
    return [Sentence(text=row["text"], language=row["label"]) for row in rows]
