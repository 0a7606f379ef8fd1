"""What stands in the place of a `BertModel` inside a head: the same `encode`, made ready for a machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, cast

from torch import Tensor, nn

from glassbert.errors import InputError
from glassbert.model.bert import BertModel, Encoded
from glassbert.model.inputs import Inputs
from glassbert.model.layout import Packed
from glassbert.model.outputs import BaseModelOutputWithPoolingAndCrossAttentions


class Body(nn.Module, ABC):
    """Embeddings and pooler of a model, and layers of one's own.

    Attributes:
        config, embeddings, pooler: the model's.
    """

    def __init__(self, bert: BertModel) -> None:
        """Take over the embeddings and the pooler."""
        super().__init__()
        self.config = bert.config
        self.embeddings = bert.embeddings
        self.pooler = bert.pooler

    @abstractmethod
    def encode(
        self, inputs: Inputs, *, rows: Literal["all", "first", "asked"] = "all", asked: Tensor | None = None
    ) -> Encoded:
        """Do what `BertModel.encode` does.

        Raises:
            InputError: as there, and where the caller asks for what the engine does not keep or compute.
        """

    def check_taken(self, inputs: Inputs) -> None:
        """Refuse what no engine keeps or computes.

        Raises:
            InputError: by name.
        """
        if inputs.want_weights:
            raise InputError("the engine keeps no attentions; ask the model itself for them")
        if inputs.padded_only or inputs.head_mask is not None:
            raise InputError("the engine takes no head masks, no masks of pairs and no caches; ask the model itself")

    def layouts(
        self, inputs: Inputs, *, rows: Literal["all", "first", "asked"], asked: Tensor | None
    ) -> tuple[Packed, Packed]:
        """Return the layout of a call, and that of the last layer's rows.

        Raises:
            InputError: as `check_taken`.
        """
        self.check_taken(inputs)
        if inputs.mask is None:
            layout = Packed.whole(inputs.shape, device=inputs.device)
        else:
            layout = Packed.from_mask(inputs.mask, asked=asked)
        if rows == "all" or inputs.want_states or not self.config.num_hidden_layers:
            return layout, layout
        return layout, layout.narrow_to_first() if rows == "first" or asked is None else layout.narrow_to(asked)

    def pooled(self, encoded: Encoded) -> Tensor:
        """Do what `BertModel.pooled` does, which reads nothing of a model but its pooler."""
        return BertModel.pooled(cast(BertModel, self), encoded)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """Do what `BertModel.forward` does, of a text's tokens.

        Raises:
            InputError: as there.
        """
        inputs = Inputs.check(
            self.config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            use_cache=False,
            output_attentions=False,
            output_hidden_states=output_hidden_states,
        )
        encoded = self.encode(inputs)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=encoded.padded(),
            pooler_output=None if self.pooler is None else self.pooled(encoded),
            hidden_states=encoded.hidden_states,
        )
