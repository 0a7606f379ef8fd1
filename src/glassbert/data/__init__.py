"""Files → records, words and token ids."""

from glassbert.data.encoding import EncodedTexts, encode_files
from glassbert.data.languages import LANGUAGES, Sentence, load_sentences
from glassbert.data.readers import FORMATS, Record, read_records
from glassbert.data.words import LONGEST_WORD, CountedText, WordCounts, count_words, text_files

__all__ = [
    "FORMATS",
    "LANGUAGES",
    "LONGEST_WORD",
    "CountedText",
    "EncodedTexts",
    "Record",
    "Sentence",
    "WordCounts",
    "count_words",
    "encode_files",
    "load_sentences",
    "read_records",
    "text_files",
]
