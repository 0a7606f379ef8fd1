"""A text's vector: BERT, pooling, and normalization to length 1.

Source: arXiv 1908.10084 (Sentence-BERT).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import ConfigError
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.heads import _WITHOUT_POOLER
from glassbert.model.inputs import Inputs
from glassbert.model.outputs import SentenceEncoderOutput

Pooling = Literal["cls", "mean", "max"]


def pool(states: Tensor, real: Tensor | None, pooling: Pooling) -> Tensor:
    """Make one vector of each text's vectors.

    Args:
        states: (B, S, H).
        real: (B, S) bool, true at real tokens; None where all are.
        pooling: "cls" takes the first token, "mean" the mean and "max" the largest of each coordinate over real tokens.

    Returns:
        (B, H); zeros for a text without real tokens.
    """
    if pooling == "cls":
        return states[:, 0]
    if real is None:
        return states.mean(dim=1) if pooling == "mean" else states.amax(dim=1)
    real = real[:, :, None]
    if pooling == "mean":
        # Padding may hold anything, also what 0 does not extinguish.
        return states.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)
    largest = states.masked_fill(~real, torch.finfo(states.dtype).min).amax(dim=1)
    return largest.masked_fill(~real.any(dim=1), 0.0)


class SentenceEncoder(BertPreTrainedModel):
    """One vector for a text.

    `pooling`, `layers` and `normalize` stand in the config's `extra` under "sentence_encoder", so that a saved folder
    knows them.
    """

    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = _WITHOUT_POOLER

    def __init__(
        self,
        config: BertConfig,
        pooling: Pooling | None = None,
        layers: int | None = None,
        normalize: bool | None = None,
    ) -> None:
        """Make BERT without a pooler.

        Args:
            config: of the BERT; what it says of "sentence_encoder" holds where an argument is not given.
            pooling: "mean" (the default), "cls" or "max".
            layers: the states that are pooled are the mean of the last so many layers; 1 where nothing is said.
            normalize: bring each vector to length 1; true where nothing is said.

        Raises:
            ConfigError: a pooling that does not exist, or more layers than there are.
        """
        super().__init__(config)
        stored = config.extra.get("sentence_encoder", {})
        stored = stored if isinstance(stored, dict) else {}
        self.pooling: Pooling = stored.get("pooling", "mean") if pooling is None else pooling
        self.layers: int = stored.get("layers", 1) if layers is None else layers
        self.normalize: bool = stored.get("normalize", True) if normalize is None else normalize
        if self.pooling not in get_args(Pooling):
            raise ConfigError(f"pooling is {self.pooling!r}, expected one of {', '.join(get_args(Pooling))}")
        if type(self.layers) is not int or not 1 <= self.layers <= config.num_hidden_layers + 1:
            raise ConfigError(f"layers is {self.layers!r}, expected 1 to {config.num_hidden_layers + 1}")
        if type(self.normalize) is not bool:
            raise ConfigError(f"normalize is {self.normalize!r}, expected true or false")
        settings = {"pooling": self.pooling, "layers": self.layers, "normalize": self.normalize}
        # A config of its own, so that another model made from the caller's is not told.
        config = self.config = dataclasses.replace(config, extra={**config.extra, "sentence_encoder": settings})
        self.bert = BertModel(config, add_pooling_layer=False)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SentenceEncoderOutput | tuple[Any, ...]:
        """Encode texts; the arguments are those of `BertModel.forward`.

        Raises:
            InputError: as `BertModel`.
        """
        inputs = Inputs.check(
            self.config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=True if self.layers > 1 else output_hidden_states,
        )
        encoded = self.bert.encode(inputs, rows="first" if self.pooling == "cls" else "all")
        if self.layers > 1:
            assert encoded.hidden_states is not None
            states = torch.stack(encoded.hidden_states[-self.layers :]).mean(dim=0)
        else:
            states = encoded.first() if self.pooling == "cls" else encoded.padded()
        vectors = pool(states, inputs.real(), self.pooling)
        if self.normalize:
            vectors = F.normalize(vectors, dim=-1)
        asked = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = SentenceEncoderOutput(
            sentence_embedding=vectors,
            hidden_states=encoded.hidden_states if asked else None,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)
