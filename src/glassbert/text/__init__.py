"""Strings ↔ token ids. No torch here: tensors are made in one function that imports it when asked."""

from glassbert.text.added import AddedToken
from glassbert.text.basic import BasicTokenizer
from glassbert.text.batch import BatchEncoding
from glassbert.text.coverage import Coverage, measure_coverage, missing_characters
from glassbert.text.encoding import Encoding
from glassbert.text.learning import learn_from_counts, learn_vocabulary
from glassbert.text.rows import RowEncoding
from glassbert.text.tokenizer import BertTokenizer, BertTokenizerFast
from glassbert.text.vocabulary import SPECIAL_TOKENS, load_vocabulary, save_vocabulary
from glassbert.text.wordpiece import WordpieceTokenizer

__all__ = [
    "SPECIAL_TOKENS",
    "AddedToken",
    "BasicTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "Coverage",
    "Encoding",
    "RowEncoding",
    "WordpieceTokenizer",
    "learn_from_counts",
    "learn_vocabulary",
    "load_vocabulary",
    "measure_coverage",
    "missing_characters",
    "save_vocabulary",
]
