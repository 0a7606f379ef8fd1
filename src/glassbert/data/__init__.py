"""Files → records, and files → token ids."""

from glassbert.data.encoding import EncodedTexts, encode_files
from glassbert.data.languages import LANGUAGES, Sentence, load_sentences
from glassbert.data.readers import FORMATS, Record, read_records

__all__ = [
    "FORMATS",
    "LANGUAGES",
    "EncodedTexts",
    "Record",
    "Sentence",
    "encode_files",
    "load_sentences",
    "read_records",
]
