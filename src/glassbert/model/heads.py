"""Heads for tasks: what turns BERT's vectors into the answer.

Letters: B batch, S sequence, H hidden, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from glassbert.errors import InputError
from glassbert.model import losses
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.dropout import Dropout
from glassbert.model.inputs import Inputs
from glassbert.model.outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

# Heads of pretraining, which a model for a task has no use for.
_PRETRAINING: tuple[str, ...] = (r"^cls\.",)
_WITHOUT_POOLER: tuple[str, ...] = (r"^bert\.pooler\.", *_PRETRAINING)


def _dropout(config: BertConfig) -> nn.Dropout:
    """Return the dropout before a classifier."""
    return Dropout(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)


class BertForSequenceClassification(BertPreTrainedModel):
    """One label, several labels or a number for a whole text: pooler, dropout, Linear(H, C)."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^classifier\.", r"^bert\.pooler\.")
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = _PRETRAINING

    def __init__(self, config: BertConfig) -> None:
        """Make BERT and a classifier of `config.num_labels` outputs."""
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config)
        self.dropout = _dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Score whole sequences; the last layer computes first tokens only, unless all states are asked for.

        Beside the arguments of `BertModel.forward`:
            labels: (B,) class ids (-100: does not count), or floats (B,) or (B, C), as `problem_type` in the config
                says; where it says nothing, one output means regression, floats several labels, and ids classes.
            class_weights: (C,) how much each class counts in the loss.
            label_smoothing: share of each label that is spread over all classes.

        Raises:
            InputError: as `BertModel`, and for labels that do not fit.
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
            output_hidden_states=output_hidden_states,
        )
        losses.check_choices(label_smoothing, class_weights, self.config.num_labels)
        if labels is not None:
            labels = losses.check_sequence_labels(labels, inputs.shape[0], self.config)
        encoded = self.bert.encode(inputs, rows="first")
        logits = self.classifier(self.dropout(self.bert.pooled(encoded)))
        loss = None
        if labels is not None:
            loss = losses.sequence_classification(
                logits, labels, self.config, class_weights=class_weights, label_smoothing=label_smoothing
            )
        output = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )
        return self.as_asked(output, return_dict)


class BertForMultipleChoice(BertPreTrainedModel):
    """Which of several continuations: each is scored by itself, the scores of one question are compared.

    Questions with fewer choices than others of a batch are filled up with choices of padding alone, which take no part.
    """

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^classifier\.", r"^bert\.pooler\.")
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = _PRETRAINING

    def __init__(self, config: BertConfig) -> None:
        """Make BERT and a classifier of one output."""
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = _dropout(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> MultipleChoiceModelOutput | tuple[Any, ...]:
        """Score choices; the last layer computes first tokens only, unless all states are asked for.

        The arguments are those of `BertModel.forward`, some with one more dimension, and:
            input_ids: (B, choices, S).
            attention_mask: (B, choices, S). A choice without a real token is none: its score is the lowest number, so
                that a question's answer and loss do not depend on how many choices others have.
            token_type_ids: (B, choices, S).
            position_ids: (B, choices, S).
            inputs_embeds: (B, choices, S, H).
            labels: (B,) the number of the right choice, or -100; one that names no choice does not count.
            label_smoothing: share of each label that is spread over all choices.

        Raises:
            InputError: as `BertModel`, and for labels that do not fit.
        """
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        dimensions = 3 if inputs_embeds is None else 4
        if isinstance(tokens, Tensor) and tokens.dim() != dimensions:
            name = "input_ids" if inputs_embeds is None else "inputs_embeds"
            wanted = "(batch, choices, sequence" + ("" if inputs_embeds is None else ", hidden") + ")"
            raise InputError(f"{name} has the shape {tuple(tokens.shape)}, expected {wanted}")
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        for name, value in given.items():
            if isinstance(value, Tensor) and isinstance(tokens, Tensor) and value.shape[:3] != tokens.shape[:3]:
                raise InputError(f"{name} has the shape {tuple(value.shape)}, expected {tuple(tokens.shape[:3])}")
        # (B, choices, S, …) -> (B·choices, S, …)
        flat = {name: value.flatten(0, 1) if isinstance(value, Tensor) else value for name, value in given.items()}
        inputs = Inputs.check(
            self.config,
            input_ids=flat["input_ids"],
            attention_mask=flat["attention_mask"],
            token_type_ids=flat["token_type_ids"],
            position_ids=flat["position_ids"],
            inputs_embeds=flat["inputs_embeds"],
            head_mask=head_mask,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        assert isinstance(tokens, Tensor)
        batch, choices = tokens.shape[:2]
        losses.check_choices(label_smoothing, None, choices)
        if labels is not None:
            labels = losses.check_classes("labels", labels, (batch,), choices)
        encoded = self.bert.encode(inputs, rows="first")
        scores = self.classifier(self.dropout(self.bert.pooled(encoded)))  # (B·choices, 1)
        logits = scores.view(batch, choices)
        real = inputs.real()
        present = None if real is None else real.any(dim=1).view(batch, choices)
        if present is not None:
            # Tokens may have come from the CPU to an engine on a GPU.
            present = present.to(logits.device)
            logits = logits.masked_fill(~present, torch.finfo(logits.dtype).min)
        loss = None
        if labels is not None:
            loss = losses.multiple_choice(logits, labels, present, label_smoothing=label_smoothing)
        output = MultipleChoiceModelOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)


class BertForTokenClassification(BertPreTrainedModel):
    """A label for every token: dropout, Linear(H, C); no pooler."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^classifier\.",)
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = _WITHOUT_POOLER

    def __init__(self, config: BertConfig) -> None:
        """Make BERT and a classifier of `config.num_labels` outputs."""
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = _dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """Score tokens.

        Beside the arguments of `BertModel.forward`:
            labels: (B, S) class ids; those of masked tokens do not count, nor does -100.
            class_weights: (C,) how much each class counts in the loss.
            label_smoothing: share of each label that is spread over all classes.

        Raises:
            InputError: as `BertModel`, and for labels that do not fit.
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
            output_hidden_states=output_hidden_states,
        )
        losses.check_choices(label_smoothing, class_weights, self.config.num_labels)
        if labels is not None:
            labels = losses.check_classes("labels", labels, inputs.shape, self.config.num_labels)
            real = inputs.real()
            labels = labels if real is None else labels.masked_fill(~real, losses.IGNORED)
        encoded = self.bert.encode(inputs)
        logits = self.classifier(self.dropout(encoded.padded()))
        loss = None
        if labels is not None:
            loss = losses.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), class_weights=class_weights, label_smoothing=label_smoothing
            )
        output = TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )
        return self.as_asked(output, return_dict)


class BertForQuestionAnswering(BertPreTrainedModel):
    """Where in the text the answer begins and ends: Linear(H, 2) over tokens; no pooler."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^qa_outputs\.",)
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = _WITHOUT_POOLER

    def __init__(self, config: BertConfig) -> None:
        """Make BERT and the two scores of each token."""
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """Score every real token as the answer's first and as its last.

        Padding takes no part: its scores are the lowest number, so how far a text was padded changes neither answer nor
        loss, as it does in transformers.

        Beside the arguments of `BertModel.forward`:
            start_positions: (B,) place of the answer's first token. One below 0 counts as 0; one past the end, or at a
                masked token, does not count.
            end_positions: (B,) place of its last token, likewise.

        Returns:
            `loss` is the mean of both losses, where both positions are given.

        Raises:
            InputError: as `BertModel`, for positions that do not fit, and for one kind of positions without the other.
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
            output_hidden_states=output_hidden_states,
        )
        batch, length = inputs.shape
        real = inputs.real()
        if (start_positions is None) != (end_positions is None):
            raise InputError("start_positions and end_positions come together")
        labels = []
        for name, given in (("start_positions", start_positions), ("end_positions", end_positions)):
            if given is not None:
                label = losses.clamped_position(name, given, batch, length)
                if real is not None:
                    masked = ~real.gather(1, label.clamp(min=0)[:, None])[:, 0]
                    label = label.masked_fill(masked, losses.IGNORED)
                labels.append(label)
        encoded = self.bert.encode(inputs)
        scores = self.qa_outputs(encoded.padded())  # (B, S, 2)
        if real is not None:
            # Tokens may have come from the CPU to an engine on a GPU.
            scores = scores.masked_fill(~real[:, :, None].to(scores.device), torch.finfo(scores.dtype).min)
        start, end = scores.unbind(-1)
        loss = None
        if labels:
            loss = (losses.cross_entropy(start, labels[0]) + losses.cross_entropy(end, labels[1])) / 2
        output = QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start,
            end_logits=end,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)
