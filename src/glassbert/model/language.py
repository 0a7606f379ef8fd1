"""Heads that predict words: pretraining, masked language model, next sentence, and the decoder's next word.

The vocabulary projection is most of such a head's work. `labelled_only=True` computes it, and the last layer, at the
labelled places alone: the same loss for about 15% of the products.

Letters: B batch, S sequence, H hidden, V vocabulary, N labelled places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from glassbert.errors import ConfigError, InputError
from glassbert.model import losses
from glassbert.model.activations import activation
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.generation import generate
from glassbert.model.inputs import Cache, Inputs
from glassbert.model.outputs import (
    BertForPreTrainingOutput,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    NextSentencePredictorOutput,
)


class BertPredictionHeadTransform(nn.Module):
    """Linear, activation and LayerNorm before the projection to the vocabulary."""

    def __init__(self, config: BertConfig) -> None:
        """Make the H x H projection."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(…, H) -> (…, H)."""
        transformed: Tensor = self.LayerNorm(self.transform_act_fn(self.dense(hidden_states)))
        return transformed


class BertLMPredictionHead(nn.Module):
    """From vectors to scores of all words."""

    def __init__(self, config: BertConfig) -> None:
        """Make the transform and the V x H projection; its bias also stands beside it, as in published checkpoints."""
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(…, H) -> (…, V), before softmax."""
        scores: Tensor = self.decoder(self.transform(hidden_states))
        return scores

    def set_decoder(self, decoder: nn.Linear) -> None:
        """Replace the projection and its bias."""
        self.decoder = decoder
        self.bias = decoder.bias


class BertOnlyMLMHead(nn.Module):
    """The masked-language-model head alone."""

    def __init__(self, config: BertConfig) -> None:
        """Make the prediction head."""
        super().__init__()
        self.predictions = BertLMPredictionHead(config)

    def forward(self, sequence_output: Tensor) -> Tensor:
        """(…, H) -> (…, V)."""
        return cast(Tensor, self.predictions(sequence_output))


class BertOnlyNSPHead(nn.Module):
    """The next-sentence head alone."""

    def __init__(self, config: BertConfig) -> None:
        """Make the 2 x H projection."""
        super().__init__()
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled_output: Tensor) -> Tensor:
        """(B, H) -> (B, 2): "B follows A" (0) and "B is random" (1)."""
        return cast(Tensor, self.seq_relationship(pooled_output))


class BertPreTrainingHeads(nn.Module):
    """Both heads of pretraining."""

    def __init__(self, config: BertConfig) -> None:
        """Make both."""
        super().__init__()
        self.predictions = BertLMPredictionHead(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, sequence_output: Tensor, pooled_output: Tensor) -> tuple[Tensor, Tensor]:
        """(…, H), (B, H) -> (…, V), (B, 2)."""
        return self.predictions(sequence_output), self.seq_relationship(pooled_output)


class _PredictsWords(BertPreTrainedModel):
    """What the three heads with a vocabulary projection share."""

    bert: BertModel
    cls: BertPreTrainingHeads | BertOnlyMLMHead

    def get_output_embeddings(self) -> nn.Linear:
        """Return the projection to the vocabulary, (V, H)."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the projection to the vocabulary, and its bias."""
        if not isinstance(new_embeddings, nn.Linear) or new_embeddings.bias is None:
            raise ConfigError(
                f"the projection to the vocabulary is {new_embeddings!r}, expected an nn.Linear with a bias"
            )
        self.cls.predictions.set_decoder(new_embeddings)

    def tie_weights(self) -> None:
        """Share the word embeddings' weight, where the config says so; the bias is one under two names always."""
        super().tie_weights()
        self._link()

    def pretraining_losses(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        token_type_ids: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return what pretraining learns from, without keeping a score of any word.

        The losses are those of `forward`; the last layer and the projection to the vocabulary are computed at labelled
        places alone. Hooks of the projection itself are not called.

        Args:
            input_ids: (B, S).
            attention_mask: (B, S).
            labels: (B, S) ids of the words that were masked, -100 elsewhere.
            token_type_ids: (B, S).
            next_sentence_label: (B,) 0 where the second sentence follows the first, 1 where it does not; for a model
                that has a head for it.

        Returns:
            `masked_lm_loss` and `masked_lm_accuracy`, means over the labelled places, 0 where there are none; for pairs
            also `next_sentence_loss` and `next_sentence_accuracy`. Each of shape (); accuracies have no gradient.

        Raises:
            InputError: as `forward`.
        """
        inputs = Inputs.check(
            self.config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            use_cache=False,
            output_attentions=False,
            output_hidden_states=False,
        )
        labels = losses.check_classes("labels", labels, inputs.shape, self.config.vocab_size)
        asked = labels != losses.IGNORED
        encoded = self.bert.encode(inputs, rows="asked", asked=asked)
        head = self.cls.predictions
        loss, guessed = losses.projected_cross_entropy(
            head.transform(encoded.asked(asked)), head.decoder.weight, head.decoder.bias, labels[asked]
        )
        found = {"masked_lm_loss": loss, "masked_lm_accuracy": guessed / asked.sum().clamp(min=1)}
        if next_sentence_label is not None:
            if not isinstance(self.cls, BertPreTrainingHeads):
                raise InputError(f"{type(self).__name__} has no head for next_sentence_label")
            wanted = _pair_labels("next_sentence_label", next_sentence_label, inputs.shape[0])
            scores = self.cls.seq_relationship(self.bert.pooled(encoded))
            found["next_sentence_loss"] = losses.cross_entropy(scores, wanted)
            counts = wanted != losses.IGNORED
            right = (scores.detach().argmax(dim=-1) == wanted) & counts
            found["next_sentence_accuracy"] = right.sum() / counts.sum().clamp(min=1)
        return found

    def _link(self) -> None:
        self.cls.predictions.bias = self.cls.predictions.decoder.bias


def _places(
    labels: Tensor | None, labelled_only: bool, asked: Tensor | None, shape: tuple[int, int]
) -> tuple[Tensor | None, bool]:
    """Return places (B, S) that count, None without labels, and whether words are scored there alone."""
    if asked is None:
        return _labelled(labels, labelled_only), labelled_only
    if labels is not None or labelled_only:
        raise InputError("asked is for scores without labels; with labels, labelled_only scores theirs alone")
    if not isinstance(asked, Tensor) or asked.dtype != torch.bool or tuple(asked.shape) != shape:
        raise InputError(f"asked is {_described(asked)}, expected a bool tensor of the shape {shape}")
    return asked, True


def _described(value: object) -> str:
    return f"a {value.dtype} tensor of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)


def _labelled(labels: Tensor | None, only: bool) -> Tensor | None:
    """(B, S) bool, true at labels that count; None without labels."""
    if type(only) is not bool:
        raise InputError(f"labelled_only is {only!r}, expected True or False")
    if labels is None:
        if only:
            raise InputError("labelled_only needs labels")
        return None
    return labels != losses.IGNORED


class BertForPreTraining(_PredictsWords):
    """BERT with the two heads it was pretrained with: masked words and next sentence."""

    def __init__(self, config: BertConfig) -> None:
        """Make BERT with a pooler, and both heads."""
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertPreTrainingHeads(config)
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
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        labelled_only: bool = False,
        asked: Tensor | None = None,
    ) -> BertForPreTrainingOutput | tuple[Any, ...]:
        """Score words and the pair of sentences.

        Beside the arguments of `BertModel.forward`:
            labels: (B, S) ids of the words that were masked, -100 elsewhere.
            next_sentence_label: (B,) 0 where the second sentence follows the first, 1 where it is random.
            labelled_only: compute words at labelled places alone; `prediction_logits` is (N, V) then, in their order.
            asked: (B, S) bool: compute words at its true places alone, without labels; likewise (N, V).

        Returns:
            `loss` is the sum of the losses whose labels are given.

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
        if labels is not None:
            labels = losses.check_classes("labels", labels, inputs.shape, self.config.vocab_size)
        if next_sentence_label is not None:
            next_sentence_label = _pair_labels("next_sentence_label", next_sentence_label, inputs.shape[0])
        places, few = _places(labels, labelled_only, asked, inputs.shape)
        encoded = self.bert.encode(inputs, rows="asked" if few else "all", asked=places)
        read = encoded.padded() if places is None or not few else encoded.asked(places)
        words, pair = self.cls(read, self.bert.pooled(encoded))
        parts = []
        if labels is not None:
            parts.append(_word_loss(words, labels, labelled_only))
        if next_sentence_label is not None:
            parts.append(losses.cross_entropy(pair, next_sentence_label))
        output = BertForPreTrainingOutput(
            loss=torch.stack(parts).sum() if parts else None,
            prediction_logits=words,
            seq_relationship_logits=pair,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)


def _word_loss(scores: Tensor, labels: Tensor, labelled_only: bool, label_smoothing: float = 0.0) -> Tensor:
    """Mean loss of the labelled words; `scores` are (B, S, V), or (N, V) at labelled places alone."""
    wanted = labels[labels != losses.IGNORED] if labelled_only else labels.flatten()
    return losses.cross_entropy(scores.reshape(-1, scores.shape[-1]), wanted, label_smoothing=label_smoothing)


def _pair_labels(name: str, labels: Tensor, batch: int) -> Tensor:
    """Return labels of pairs, (B,); (B, 1) is taken too, as in transformers."""
    if isinstance(labels, Tensor) and tuple(labels.shape) == (batch, 1):
        labels = labels[:, 0]
    return losses.check_classes(name, labels, (batch,), 2)


class BertForMaskedLM(_PredictsWords):
    """BERT that predicts masked words."""

    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = (r"^bert\.pooler\.", r"^cls\.seq_relationship\.")

    def __init__(self, config: BertConfig) -> None:
        """Make BERT without a pooler, and the head."""
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        labelled_only: bool = False,
        asked: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """Score words.

        Beside the arguments of `BertModel.forward`:
            labels: (B, S) ids of the words that were masked, -100 elsewhere.
            labelled_only: compute words at labelled places alone; `logits` is (N, V) then, in their order.
            asked: (B, S) bool: compute words at its true places alone, without labels; likewise (N, V).
            label_smoothing: share of each label that is spread over all words.

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
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        losses.check_choices(label_smoothing, None, self.config.vocab_size)
        if labels is not None:
            labels = losses.check_classes("labels", labels, inputs.shape, self.config.vocab_size)
        places, few = _places(labels, labelled_only, asked, inputs.shape)
        encoded = self.bert.encode(inputs, rows="asked" if few else "all", asked=places)
        words = self.cls(encoded.padded() if places is None or not few else encoded.asked(places))
        output = MaskedLMOutput(
            loss=None if labels is None else _word_loss(words, labels, labelled_only, label_smoothing),
            logits=words,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)


class BertLMHeadModel(_PredictsWords):
    """BERT as a decoder, which predicts each next word; `is_decoder` in the config."""

    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = (r"^bert\.pooler\.", r"^cls\.seq_relationship\.")

    def __init__(self, config: BertConfig) -> None:
        """Make BERT without a pooler, and the head."""
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> CausalLMOutputWithCrossAttentions | tuple[Any, ...]:
        """Score the word after each place.

        Beside the arguments of `BertModel.forward`:
            labels: (B, S) the ids themselves, -100 where one does not count; they are shifted here, so that each place
                is held against the one after it.
            use_cache: return `past_key_values`; None asks the config, and without labels only.
            label_smoothing: share of each label that is spread over all words.

        Raises:
            InputError: as `BertModel`, for labels that do not fit, and for labels in a model that is no decoder and so
                sees the word it is to predict.
        """
        if labels is not None and not self.config.is_decoder:
            raise InputError("labels of next words need is_decoder in the config: an encoder sees the word it predicts")
        inputs = Inputs.check(
            self.config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=past_key_values,
            use_cache=False if labels is not None and use_cache is None else use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        losses.check_choices(label_smoothing, None, self.config.vocab_size)
        if labels is not None:
            labels = losses.check_classes("labels", labels, inputs.shape, self.config.vocab_size)
            labels = losses.causal_labels(labels, inputs.real())
        encoded = self.bert.encode(inputs, asked=_labelled(labels, only=False))
        words = self.cls(encoded.padded())
        output = CausalLMOutputWithCrossAttentions(
            loss=None if labels is None else _word_loss(words, labels, False, label_smoothing),
            logits=words,
            past_key_values=encoded.past_key_values,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
            cross_attentions=encoded.cross_attentions,
        )
        return self.as_asked(output, return_dict)

    generate = generate


class BertForNextSentencePrediction(BertPreTrainedModel):
    """BERT that says whether the second sentence follows the first."""

    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = (r"^cls\.predictions\.",)

    def __init__(self, config: BertConfig) -> None:
        """Make BERT with a pooler, and the head."""
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertOnlyNSPHead(config)
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
    ) -> NextSentencePredictorOutput | tuple[Any, ...]:
        """Score pairs; the last layer computes first tokens only, unless all states are asked for.

        Beside the arguments of `BertModel.forward`:
            labels: (B,) 0 where the second sentence follows the first, 1 where it is random.

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
        if labels is not None:
            labels = _pair_labels("labels", labels, inputs.shape[0])
        encoded = self.bert.encode(inputs, rows="first")
        logits = self.cls(self.bert.pooled(encoded))
        output = NextSentencePredictorOutput(
            loss=None if labels is None else losses.cross_entropy(logits, labels),
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)
