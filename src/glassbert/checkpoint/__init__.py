"""Model and tokenizer ↔ files."""

from glassbert.checkpoint.folder import (
    LoadingInfo,
    check_vocabulary,
    load,
    load_model,
    load_tokenizer,
    model_folder,
    save_model,
    save_tokenizer,
)

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
