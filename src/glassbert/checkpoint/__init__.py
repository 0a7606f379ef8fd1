"""Model and tokenizer ↔ files."""

from glassbert.checkpoint.conversion import convert
from glassbert.checkpoint.filling import LoadingInfo
from glassbert.checkpoint.folder import load, load_config, load_model, model_fingerprint
from glassbert.checkpoint.hub import push_to_hub
from glassbert.checkpoint.place import model_folder
from glassbert.checkpoint.saving import push_saved, save_model, save_pretrained
from glassbert.checkpoint.tokenizer_files import check_vocabulary, load_tokenizer, save_tokenizer
from glassbert.checkpoint.torch_encoder import from_torch_encoder, to_torch_encoder

__all__ = [
    "LoadingInfo",
    "check_vocabulary",
    "convert",
    "from_torch_encoder",
    "load",
    "load_config",
    "load_model",
    "load_tokenizer",
    "model_fingerprint",
    "model_folder",
    "push_saved",
    "push_to_hub",
    "save_model",
    "save_pretrained",
    "save_tokenizer",
    "to_torch_encoder",
]
