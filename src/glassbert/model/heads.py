"""BERT with a head: what turns vectors into the answer to a task."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from glassbert.model import losses
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.outputs import SequenceClassifierOutput


class BertForSequenceClassification(BertPreTrainedModel):
    """One label, several labels or a number for a whole text: pooler, dropout, Linear(H, C)."""

    _keys_to_ignore_on_load_missing: ClassVar[tuple[str, ...]] = (r"^classifier\.", r"^bert\.pooler\.")
    _keys_to_ignore_on_load_unexpected: ClassVar[tuple[str, ...]] = (r"^cls\.",)

    def __init__(self, config: BertConfig) -> None:
        """Make BERT and a classifier of `config.num_labels` outputs."""
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config)
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(rate)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor | tuple[Tensor, ...], ...]:
        """Score whole sequences; the last layer computes first tokens only, unless all states are asked for.

        Args:
            input_ids: (B, S) ids of tokens; or give `inputs_embeds`.
            attention_mask: (B, S), nonzero at real tokens; None takes all as real.
            token_type_ids: (B, S) segment of each token; None means 0.
            position_ids: (B, S) or (1, S) place of each token; None counts from 0.
            inputs_embeds: (B, S, H) in place of the look-up of `input_ids`.
            labels: (B,) class ids, or floats (B,) or (B, C); with them a loss is returned.
            output_attentions: return the weights of every layer; None asks the config.
            output_hidden_states: return the states of every layer; None asks the config.
            return_dict: False returns a plain tuple; None asks the config.

        Raises:
            InputError: as `BertModel`, and for labels that do not fit.
        """
        encoded = self.bert.encode(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            first_only=True,
        )
        assert self.bert.pooler is not None
        logits = self.classifier(self.dropout(self.bert.pooler(encoded.first())))
        output = SequenceClassifierOutput(
            loss=None if labels is None else losses.sequence_classification(logits, labels, self.config),
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)
