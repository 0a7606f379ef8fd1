"""Strings ↔ token ids. No torch here: tensors are made in one function that imports it when asked."""

from glassbert.text.added import AddedToken
from glassbert.text.basic import BasicTokenizer
from glassbert.text.encoding import BatchEncoding, Encoding
from glassbert.text.tokenizer import BertTokenizer, BertTokenizerFast
from glassbert.text.vocabulary import SPECIAL_TOKENS, learn_vocabulary, load_vocabulary, save_vocabulary
from glassbert.text.wordpiece import WordpieceTokenizer

__all__ = [
    "SPECIAL_TOKENS",
    "AddedToken",
    "BasicTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "Encoding",
    "WordpieceTokenizer",
    "learn_vocabulary",
    "load_vocabulary",
    "save_vocabulary",
]
