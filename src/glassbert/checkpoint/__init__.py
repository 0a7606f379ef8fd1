"""Model and tokenizer ↔ files."""

from glassbert.checkpoint.folder import LoadingInfo, load, load_model
from glassbert.checkpoint.place import model_folder
from glassbert.checkpoint.saving import save_model
from glassbert.checkpoint.tokenizer_files import check_vocabulary, load_tokenizer, save_tokenizer

__all__ = [
    "LoadingInfo",
    "check_vocabulary",
    "load",
    "load_model",
    "load_tokenizer",
    "model_folder",
    "save_model",
    "save_tokenizer",
]
