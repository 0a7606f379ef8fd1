"""Files → records."""

from glassbert.data.languages import LANGUAGES, Sentence, load_sentences
from glassbert.data.readers import FORMATS, Record, read_records

__all__ = ["FORMATS", "LANGUAGES", "Record", "Sentence", "load_sentences", "read_records"]
