"""What all models share: their config, fresh weights, the choice of attention, loading and saving."""

from __future__ import annotations

import contextvars
import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from glassbert.errors import ConfigError, InputError
from glassbert.model.attention import AttentionBackend
from glassbert.model.config import BertConfig
from glassbert.model.layout import Padded
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
        zero_padding_row(module)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def zero_padding_row(embedding: nn.Embedding) -> None:
    """Set the row of the padding token to 0, if there is one."""
    if embedding.padding_idx is not None:
        nn.init.zeros_(embedding.weight[embedding.padding_idx].detach())


def _resized(old: Tensor, rows: int, deviation: float) -> nn.Parameter:
    """Return a parameter of `rows` rows: those of `old`, then fresh ones."""
    kept = old.detach()[:rows]
    more = torch.empty(max(0, rows - len(old)), *old.shape[1:], dtype=old.dtype, device=old.device)
    return nn.Parameter(torch.cat((kept, more.normal_(std=deviation))), requires_grad=old.requires_grad)


class _OwnConfig(type):
    """Gives each model a config of its own, shared with the models inside it and with nobody else.

    What a model changes in its config (pruned heads, the size of the vocabulary) is then not told to the caller's
    object, nor to another model that is made from it.
    """

    _inside: ClassVar[contextvars.ContextVar[bool]] = contextvars.ContextVar("inside", default=False)

    @property
    def __signature__(cls) -> inspect.Signature:
        """What the constructor takes, for `inspect` and editors."""
        whole = inspect.signature(cls.__init__)  # type: ignore[misc]
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    def __call__(cls, *arguments: Any, **settings: Any) -> Any:
        if _OwnConfig._inside.get():
            return super().__call__(*arguments, **settings)
        token = _OwnConfig._inside.set(True)
        try:
            return super().__call__(*map(_own, arguments), **{name: _own(value) for name, value in settings.items()})
        finally:
            _OwnConfig._inside.reset(token)


def _own(value: Any) -> Any:
    return value.copy() if isinstance(value, BertConfig) else value


class BertPreTrainedModel(nn.Module, metaclass=_OwnConfig):
    """Base of all models, and of yours: build the parts in `__init__`, then call `self.init_weights()`.

    A subclass keeps its `BertModel` under the name `bert`. Whatever is done to a whole model (choosing attention,
    pruning heads, resizing the vocabulary, gradient checkpointing, loading, saving) then works on it as on ours.

    Attributes:
        config: the settings, checked when the model is built.
        loading_info: what `from_pretrained` found, or None for a fresh model.
    """

    config_class: ClassVar[type[BertConfig]] = BertConfig
    base_model_prefix: ClassVar[str] = "bert"
    # Patterns (re.search) of keys that loading may miss or meet: a new head, a part that is not wanted.
    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = ()
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = ()

    def __init__(self, config: BertConfig) -> None:
        """Check `config` and keep it."""
        if not isinstance(config, BertConfig):
            raise ConfigError(f"{type(self).__name__} needs a BertConfig, not {type(config).__name__}")
        config.validate()
        super().__init__()
        self.config = config
        self.loading_info: Any = None
        self._attention_backend: AttentionBackend = "sdpa" if config.torchscript else "packed"

    @property
    def attention_backend(self) -> AttentionBackend:
        """How attention is computed: "packed" (nothing is spent on padding), "sdpa", "eager" or, on CUDA, "varlen".

        Fresh models say "packed", with `torchscript` in the config "sdpa". What it cannot, another one computes for
        that call: attention weights "eager"; masks of three dimensions, caches and cross-attention "sdpa". A decoder
        gives back its cache unless told otherwise. `glassbert.model.attention.backend_for` is the rule.
        """
        return self._attention_backend

    @attention_backend.setter
    def attention_backend(self, name: AttentionBackend) -> None:
        if name not in get_args(AttentionBackend):
            raise ConfigError(f"attention_backend is {name!r}, expected one of {', '.join(get_args(AttentionBackend))}")
        for module in self.modules():
            if isinstance(module, BertPreTrainedModel):
                module._attention_backend = name

    @property
    def base_model(self) -> BertPreTrainedModel:
        """The model without its head: what stands under `base_model_prefix`, or the model itself."""
        base = self._modules.get(self.base_model_prefix)
        return base if isinstance(base, BertPreTrainedModel) else self

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What floats the parameters are."""
        return next(self.parameters()).dtype

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Count the numbers in all parameters, shared ones once."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    def init_weights(self) -> None:
        """Give every module of this model fresh weights, cut out pruned heads, and tie what is shared."""
        # A model on the meta device has no numbers to give, and telling each of its modules so takes milliseconds.
        if any(not parameter.is_meta for parameter in self.parameters()):
            for module in self.modules():
                self._init_weights(module)
            for module in self.modules():
                if isinstance(module, nn.Embedding):
                    zero_padding_row(module)  # once more, since a tied projection draws into the same weight
        if self.config.pruned_heads:
            self.base_model._prune_heads(self.config.pruned_heads)
        self.tie_weights()

    def _init_weights(self, module: nn.Module) -> None:
        """Give one module fresh weights; a subclass with modules of its own may do otherwise."""
        initialize_weights(module, self.config.initializer_range)

    def _change_config(self, **changes: Any) -> None:
        """Change the config of this model and of the BERT in it: one object, unless you gave each its own."""
        for config in (self.config, self.base_model.config):
            for name, value in changes.items():
                setattr(config, name, value)
            config.validate()

    # Words in, words out

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings, (V, H).

        Raises:
            ConfigError: a model without a BERT under `base_model_prefix` has to say where they are.
        """
        if self.base_model is self:
            raise ConfigError(f"{type(self).__name__} has no model under {self.base_model_prefix!r}")
        return self.base_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings."""
        if self.base_model is self:
            raise ConfigError(f"{type(self).__name__} has no model under {self.base_model_prefix!r}")
        self.base_model.set_input_embeddings(value)
        self._change_config(vocab_size=value.num_embeddings)

    def get_output_embeddings(self) -> nn.Linear | None:
        """Return the projection to the vocabulary, (V, H), or None in a model that predicts no words."""
        return None

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the projection to the vocabulary."""
        raise ConfigError(f"{type(self).__name__} predicts no words")

    def tie_weights(self) -> None:
        """Let the projection to the vocabulary share the word embeddings' weight, where the config says so.

        Where other embeddings were set, with more or fewer words, the projection's bias follows.
        """
        output = self.get_output_embeddings()
        if output is None or not self.config.tie_word_embeddings:
            return
        words = self.get_input_embeddings()
        output.weight = words.weight
        if output.out_features != words.num_embeddings:
            output.out_features = words.num_embeddings
            if output.bias is not None:
                output.bias = _resized(output.bias, words.num_embeddings, 0.0)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Tie again what moving to a device or from meta tensors has made two of."""
        tied = self._is_tied()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if tied:
            self.tie_weights()
        self._link()
        return self

    def _is_tied(self) -> bool:
        output = self.get_output_embeddings()
        return output is not None and output.weight is self.get_input_embeddings().weight

    def _link(self) -> None:
        """Make one again of a tensor that always stands under two names."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Do what torch does, and tie again what `assign` has made two of.

        The constant `embeddings.position_ids`, which transformers wrote until 2022, is passed over.
        """
        known = self.state_dict()
        passed = {key for key in state_dict if key not in known and re.search(r"(^|\.)embeddings\.position_ids$", key)}
        if passed:
            state_dict = {key: value for key, value in state_dict.items() if key not in passed}
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self.tie_weights()
        return result

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Embedding:
        """Change how many words the model knows, at the end of the vocabulary; return the word embeddings.

        New rows are fresh; the projection to the vocabulary and its bias follow, tied or not, and so does
        `config.vocab_size`. Optimizers made before hold the old parameters.

        Args:
            new_num_tokens: rows from now on; None changes nothing.

        Raises:
            ConfigError: a size that no vocabulary has, or one that cuts the padding token off.
        """
        old = self.get_input_embeddings()
        if new_num_tokens is None or new_num_tokens == old.num_embeddings:
            return old
        if type(new_num_tokens) is not int or new_num_tokens <= self.config.pad_token_id:
            raise ConfigError(
                f"new_num_tokens is {new_num_tokens!r}, expected a whole number above pad_token_id "
                f"{self.config.pad_token_id}"
            )
        output = self.get_output_embeddings()
        tied = output is not None and output.weight is old.weight
        deviation = self.config.initializer_range
        embeddings = nn.Embedding(new_num_tokens, old.embedding_dim, padding_idx=old.padding_idx, device="meta")
        embeddings.weight = _resized(old.weight, new_num_tokens, deviation)
        self.set_input_embeddings(embeddings.train(old.training))
        if output is not None:
            projection = nn.Linear(output.in_features, new_num_tokens, bias=output.bias is not None, device="meta")
            projection.weight = embeddings.weight if tied else _resized(output.weight, new_num_tokens, deviation)
            if output.bias is not None:
                projection.bias = _resized(output.bias, new_num_tokens, 0.0)
            self.set_output_embeddings(projection.train(output.training))
        self._change_config(vocab_size=new_num_tokens)
        return embeddings

    # Heads

    def prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Cut heads out of the weights, for good; `config.pruned_heads` remembers them.

        Args:
            heads_to_prune: heads by layer, both counted from 0, heads as in the whole layer; a negative layer counts
                from the last one.

        Raises:
            ConfigError: a layer or head that is not there, or all heads of a layer.
        """
        layers = self.config.num_hidden_layers
        if not isinstance(heads_to_prune, dict) or not all(isinstance(v, Collection) for v in heads_to_prune.values()):
            raise ConfigError(f"heads_to_prune is {heads_to_prune!r}, expected lists of heads by layer: {{0: [1, 3]}}")
        known = dict(self.base_model.pruned_heads())
        asked: dict[int, list[int]] = {}
        for layer, heads in heads_to_prune.items():
            if not all(type(head) is int for head in heads):
                raise ConfigError(
                    f"heads {list(heads)!r} to prune, expected 0 to {self.config.num_attention_heads - 1}"
                )
            if type(layer) is not int or not -layers <= layer < layers:
                raise ConfigError(f"layer {layer!r} to prune, expected {-layers} to {layers - 1}")
            asked[layer % layers] = sorted({*asked.get(layer % layers, ()), *heads})
        for layer, heads in asked.items():
            gone = {*known.get(layer, ()), *heads}
            if not all(type(head) is int and 0 <= head < self.config.num_attention_heads for head in heads):
                raise ConfigError(f"heads {heads} to prune, expected 0 to {self.config.num_attention_heads - 1}")
            if len(gone) == self.config.num_attention_heads:
                raise ConfigError(f"that would prune every head of layer {layer}; at least one has to stay")
            known[layer] = sorted(gone)
        self.base_model._prune_heads(asked)
        self._change_config(pruned_heads=known)

    def pruned_heads(self) -> dict[int, list[int]]:
        """Return the heads that are cut out of each layer."""
        raise ConfigError(f"{type(self).__name__} has no model under {self.base_model_prefix!r}")

    def _prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        raise ConfigError(f"{type(self).__name__} has no model under {self.base_model_prefix!r}")

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """Bring a head mask into the shape of attention weights.

        Args:
            head_mask: (A,) or (L, A), or None.
            num_hidden_layers: L.
            is_attention_chunked: add one more dimension at the end.

        Returns:
            (L, 1, A, 1, 1), or L times None.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        if head_mask.dim() not in (1, 2):
            raise InputError(f"head_mask has the shape {tuple(head_mask.shape)}, expected (heads,) or (layers, heads)")
        full = head_mask.expand(num_hidden_layers, -1)[:, None, :, None, None].to(self.dtype)
        return full.unsqueeze(-1) if is_attention_chunked else full

    # Masks in the form that is added to scores, for those who call the modules by themselves

    def get_extended_attention_mask(
        self, attention_mask: Tensor, input_shape: Sequence[int], device: torch.device | None = None
    ) -> Tensor:
        """Turn a mask of ones and zeros into what is added to attention scores: 0 where a key is seen, else the lowest.

        Adding before the softmax takes the key out: e^(score - huge) is 0. Multiplying scores with 0 would not: e^0
        is 1, so a masked key would still get its share.

        Args:
            attention_mask: (B, K) or (B, Q, K).
            input_shape: (B, Q).
            device: where the result goes; None leaves it where the mask is.

        Returns:
            (B, 1, 1, K), or (B, 1, Q, K) for a mask of pairs and for a decoder.

        Raises:
            InputError: a mask of another number of dimensions.
        """
        if attention_mask.dim() not in (2, 3):
            raise InputError(f"attention_mask has the shape {tuple(attention_mask.shape)}, expected 2 or 3 dimensions")
        layout = Padded.from_mask(
            attention_mask != 0,
            shape=(input_shape[0], input_shape[1]),
            keys=attention_mask.shape[-1],
            causal=self.config.is_decoder,
        )
        return self._added(cast(Tensor, layout.mask)).to(device)

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """Do the same for a mask over an encoder's states, (B, E) or (B, Q, E), never causal."""
        mask = encoder_attention_mask != 0
        return self._added(mask[:, None, None, :] if mask.dim() == 2 else mask[:, None])

    def _added(self, seen: Tensor) -> Tensor:
        lowest = torch.finfo(self.dtype).min
        return torch.zeros(seen.shape, dtype=self.dtype, device=seen.device).masked_fill(~seen, lowest)

    # Training

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each layer in the backward pass in place of keeping its activations."""
        self._set_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep the activations of each layer."""
        self._set_gradient_checkpointing(False)

    def _set_gradient_checkpointing(self, value: bool) -> None:
        self._change_config(gradient_checkpointing=value)
        for module in self.modules():
            if isinstance(getattr(module, "gradient_checkpointing", None), bool):
                module.gradient_checkpointing = value  # type: ignore[assignment]

    def as_asked(self, output: OutputT, return_dict: bool | None) -> OutputT | tuple[Any, ...]:
        """Return `output`, or its plain tuple where `return_dict` says so (None asks the config)."""
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        if type(as_dict) is not bool:
            raise InputError(f"return_dict is {as_dict!r}, expected True or False")
        return output if as_dict else output.to_tuple()

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> Self:
        """Load this class from a model folder, in eval mode; see `glassbert.checkpoint.load_model`.

        `settings` may name fields of the config that shall differ (`num_labels=3`), further arguments of `__init__`
        (`add_pooling_layer=False`), and `fresh`, `ignore`, `dtype`, `device` and `attention_backend`; anything else is
        a `TypeError`. A head that the files do not have is fresh, and `loading_info` says so.
        """
        from glassbert.checkpoint import load_model

        return load_model(cls, folder, **settings)

    def save_pretrained(self, folder: str | Path, **settings: Any) -> None:
        """Save config and weights; the settings and errors are those of `glassbert.checkpoint.save_model`."""
        from glassbert.checkpoint import save_pretrained

        save_pretrained(self, folder, **settings)

    def push_to_hub(self, repo: str, **settings: Any) -> str:
        """Upload config and weights to a repo of the hub; return the URL of the commit.

        `settings` are those of `glassbert.push_to_hub`, which uploads a whole folder, tokenizer included.
        """
        from glassbert.checkpoint import push_saved

        return push_saved(self, repo, **settings)


PreTrainedModel = BertPreTrainedModel
