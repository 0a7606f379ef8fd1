"""Typed results of the models: a dict, an object with attributes and a tuple, in one."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, NoReturn, Self

from torch import Tensor
from torch.utils import _pytree


@dataclasses.dataclass(eq=False)
class ModelOutput(OrderedDict[str, Any]):
    """Base of the results: `out.logits`, `out["logits"]`, `out[0]`, `out[:2]` and `out.to_tuple()`.

    Fields that are None are left out of keys, indices and tuples, as in transformers. A field can be
    set by attribute or key; none is added or removed.
    """

    def __init_subclass__(cls, **settings: Any) -> None:
        """Tell torch how to take a result apart and put it together, for `torch.export`."""
        super().__init_subclass__(**settings)
        _pytree.register_pytree_node(
            cls, cls._values, cls._from_values, serialized_type_name=f"{cls.__module__}.{cls.__qualname__}"
        )

    def _values(self) -> tuple[list[Any], list[str]]:
        return list(self.values()), list(self.keys())

    @classmethod
    def _from_values(cls, values: Any, names: list[str]) -> Self:
        return cls(**dict(zip(names, values, strict=True)))

    def __getitem__(self, key: Any) -> Any:
        """Look up by name, or by place among the fields that are not None (an int or a slice)."""
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a field by name; the attribute follows."""
        self.__setattr__(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field by attribute; the key follows.

        Raises:
            AttributeError: the result has no such field.
        """
        if name not in self.__dataclass_fields__:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        object.__setattr__(self, name, value)
        # The dict holds what is not None; the dataclass's own __init__ comes through here too.
        if value is not None:
            super().__setitem__(name, value)
        elif name in self:
            super().__delitem__(name)

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the fields that are not None, in their order."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return tuple(value for value in values if value is not None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields, since a dict's own way would go through integer look-ups."""
        return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    def _fixed(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(f"the fields of a {type(self).__name__} are fixed")

    __delitem__ = pop = popitem = clear = setdefault = update = _fixed
    __or__ = __ror__ = __ior__ = _fixed

    def copy(self) -> Self:
        """Return another result with the same fields."""
        return dataclasses.replace(self)


@dataclasses.dataclass(eq=False)
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """What `BertEncoder` returns.

    Attributes:
        last_hidden_state: (B, S, H) the last layer's vectors; where the encoder is given a layout, in that layout.
        past_key_values: L times keys and values (B, A, S, D), and with cross-attention those of the encoder's states;
            None unless a cache is used.
        hidden_states: L + 1 times as `last_hidden_state`, embeddings first; None unless asked for.
        attentions: L times (B, A, Q, K); None unless asked for.
        cross_attentions: L times (B, A, Q, E); None unless asked for.
    """

    last_hidden_state: Tensor | None = None
    past_key_values: tuple[tuple[Tensor, ...], ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """What `BertModel` returns.

    Attributes:
        last_hidden_state: (B, S, H) the last layer's vectors; rows of padding hold nothing of use.
        pooler_output: (B, H) the first token's last vector through Linear and tanh: trained for
            next-sentence prediction, not a summary of the text; None without a pooler.
        past_key_values: L times keys and values (B, A, S, D) of all tokens so far, and with cross-attention those of
            the encoder's states behind them; None unless a decoder uses its cache.
        hidden_states: L + 1 times (B, S, H), embeddings first; None unless asked for.
        attentions: L times (B, A, Q, K), softmax weights after dropout and head mask; None unless asked for.
        cross_attentions: L times (B, A, Q, E), the same over the encoder's states; None unless asked for.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    past_key_values: tuple[tuple[Tensor, ...], ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class BertForPreTrainingOutput(ModelOutput):
    """What `BertForPreTraining` returns.

    Attributes:
        loss: () the sum of the losses whose labels are given; None without labels.
        prediction_logits: (B, S, V) scores of tokens before softmax, or (N, V) for the N labelled places alone.
        seq_relationship_logits: (B, 2) scores of "B follows A" (0) and "B is random" (1).
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, S, S); None unless asked for.
    """

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class MaskedLMOutput(ModelOutput):
    """What `BertForMaskedLM` returns.

    Attributes:
        loss: () mean over the labelled places; None without labels.
        logits: (B, S, V) scores of tokens before softmax, or (N, V) for the N labelled places alone.
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, S, S); None unless asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """What `BertLMHeadModel` returns.

    Attributes:
        loss: () mean over the labelled places, each predicted from what is before it; None without labels.
        logits: (B, S, V) scores of the token that follows each place, before softmax.
        past_key_values: as in `BaseModelOutputWithPoolingAndCrossAttentions`; not returned with labels.
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, Q, K); None unless asked for.
        cross_attentions: L times (B, A, Q, E); None unless asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: tuple[tuple[Tensor, ...], ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class NextSentencePredictorOutput(ModelOutput):
    """What `BertForNextSentencePrediction` returns.

    Attributes:
        loss: () mean over the labels; None without labels.
        logits: (B, 2) scores of "B follows A" (0) and "B is random" (1).
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, S, S); None unless asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class SequenceClassifierOutput(ModelOutput):
    """What `BertForSequenceClassification` returns.

    Attributes:
        loss: () mean over the labels; None without labels.
        logits: (B, C) scores before softmax, not probabilities.
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, S, S); None unless asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class MultipleChoiceModelOutput(ModelOutput):
    """What `BertForMultipleChoice` returns.

    Attributes:
        loss: () mean over the labels; None without labels.
        logits: (B, choices) scores before softmax.
        hidden_states: L + 1 times (B·choices, S, H); None unless asked for.
        attentions: L times (B·choices, A, S, S); None unless asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class TokenClassifierOutput(ModelOutput):
    """What `BertForTokenClassification` returns.

    Attributes:
        loss: () mean over the labelled real tokens; None without labels.
        logits: (B, S, C) scores before softmax; rows of padding hold nothing of use.
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, S, S); None unless asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class QuestionAnsweringModelOutput(ModelOutput):
    """What `BertForQuestionAnswering` returns.

    Attributes:
        loss: () mean of the losses of start and end; None without positions.
        start_logits: (B, S) scores of each place as the answer's first token; the lowest number at padding.
        end_logits: (B, S) scores of each place as the answer's last token; the lowest number at padding.
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, S, S); None unless asked for.
    """

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclasses.dataclass(eq=False)
class SentenceEncoderOutput(ModelOutput):
    """What `SentenceEncoder` returns.

    Attributes:
        sentence_embedding: (B, H) one vector for each text, of length 1 where the model normalizes.
        hidden_states: L + 1 times (B, S, H); None unless asked for.
        attentions: L times (B, A, S, S); None unless asked for.
    """

    sentence_embedding: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
