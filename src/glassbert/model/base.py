"""What all models share: their config, fresh weights, the choice of attention, loading and saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

from torch import nn

from glassbert.errors import ConfigError
from glassbert.model.attention import AttentionBackend
from glassbert.model.config import BertConfig
from glassbert.model.outputs import ModelOutput

OutputT = TypeVar("OutputT", bound=ModelOutput)


def initialize_weights(module: nn.Module, deviation: float) -> None:
    """Give one module fresh weights as BERT has them; the only place that does.

    Linear and Embedding weights are normal with `deviation` (`initializer_range`), biases 0, LayerNorm 1 and 0, the
    padding row of an Embedding 0.
    """
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=deviation)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=deviation)
        if module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


class BertPreTrainedModel(nn.Module):
    """Base of all models, and of yours: build the parts in `__init__`, then call `self.init_weights()`.

    Attributes:
        config: the settings, checked when the model is built.
        loading_info: what `from_pretrained` found, or None for a fresh model.
    """

    base_model_prefix: ClassVar[str] = "bert"
    # Patterns (re.search) of keys that loading may miss or meet: a new head, a part that is not wanted.
    _keys_to_ignore_on_load_missing: ClassVar[tuple[str, ...]] = ()
    _keys_to_ignore_on_load_unexpected: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: BertConfig) -> None:
        """Check `config` and keep it."""
        if not isinstance(config, BertConfig):
            raise ConfigError(f"{type(self).__name__} needs a BertConfig, not {type(config).__name__}")
        config.validate()
        super().__init__()
        self.config = config
        self.loading_info: Any = None
        self._attention_backend: AttentionBackend = "packed"

    @property
    def attention_backend(self) -> AttentionBackend:
        """How attention is computed: "packed" (the default: nothing is spent on padding), "sdpa" or "eager"."""
        return self._attention_backend

    @attention_backend.setter
    def attention_backend(self, name: AttentionBackend) -> None:
        if name not in get_args(AttentionBackend):
            raise ConfigError(f"attention_backend is {name!r}, expected one of {', '.join(get_args(AttentionBackend))}")
        for module in self.modules():
            if isinstance(module, BertPreTrainedModel):
                module._attention_backend = name

    def init_weights(self) -> None:
        """Give every module of this model fresh weights."""
        for module in self.modules():
            initialize_weights(module, self.config.initializer_range)

    def as_asked(self, output: OutputT, return_dict: bool | None) -> OutputT | tuple[Any, ...]:
        """Return `output`, or its plain tuple where `return_dict` says so (None asks the config)."""
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> Self:
        """Load this class from a model folder; see `glassbert.checkpoint.load_model`."""
        from glassbert.checkpoint import load_model

        return load_model(cls, folder, **settings)

    def save_pretrained(self, folder: str | Path, **settings: Any) -> None:
        """Save config and weights; see `glassbert.checkpoint.save_model`."""
        from glassbert.checkpoint import save_model

        save_model(self, folder, **settings)
