"""Files → records, words and token ids; corpora → shards for pretraining."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from glassbert.data.columns import Guess, guess_columns
from glassbert.data.encoding import EncodedTexts, encode_files
from glassbert.data.languages import LANGUAGES, Sentence, load_sentences
from glassbert.data.readers import FORMATS, Source, as_records, data_hash, read_records
from glassbert.data.records import Record, Skipped
from glassbert.data.splitting import split
from glassbert.data.squad import to_questions
from glassbert.data.words import LONGEST_WORD, CountedText, WordCounts, count_words, text_files
from glassbert.settings import PrepareSettings

if TYPE_CHECKING:
    from glassbert.data.preparing import prepare
    from glassbert.data.shards import Sequences, Shards

# What needs numpy, and is loaded when it is asked for: reading records and words does not wait for it.
_LATER: Final = {"Sequences": "shards", "Shards": "shards", "prepare": "preparing"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)


__all__ = [
    "FORMATS",
    "LANGUAGES",
    "LONGEST_WORD",
    "CountedText",
    "EncodedTexts",
    "Guess",
    "PrepareSettings",
    "Record",
    "Sentence",
    "Sequences",
    "Shards",
    "Skipped",
    "Source",
    "WordCounts",
    "as_records",
    "count_words",
    "data_hash",
    "encode_files",
    "guess_columns",
    "load_sentences",
    "prepare",
    "read_records",
    "split",
    "text_files",
    "to_questions",
]
