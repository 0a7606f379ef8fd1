"""Files → records and words."""

from glassbert.data.languages import LANGUAGES, Sentence, load_sentences
from glassbert.data.readers import FORMATS, Record, read_records
from glassbert.data.words import LONGEST_WORD, CountedText, WordCounts, count_words, text_files

__all__ = [
    "FORMATS",
    "LANGUAGES",
    "LONGEST_WORD",
    "CountedText",
    "Record",
    "Sentence",
    "WordCounts",
    "count_words",
    "load_sentences",
    "read_records",
    "text_files",
]
