"""Typed results of the models: a dict, an object with attributes and a tuple, in one."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, NoReturn

from torch import Tensor


@dataclasses.dataclass(eq=False)
class ModelOutput(OrderedDict[str, Any]):
    """Base of the results: `out.logits`, `out["logits"]`, `out[0]`, `out[:2]` and `out.to_tuple()`.

    Fields that are None are left out of keys, indices and tuples, as in transformers. A field can be
    set by attribute or key; nothing can be removed.
    """

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
        raise TypeError(f"nothing can be removed from a {type(self).__name__}")

    __delitem__ = pop = popitem = clear = setdefault = update = _fixed


@dataclasses.dataclass(eq=False)
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """What `BertModel` returns.

    Attributes:
        last_hidden_state: (B, S, H) the last layer's vectors; rows of padding hold nothing of use.
        pooler_output: (B, H) the first token's last vector through Linear and tanh: trained for
            next-sentence prediction, not a summary of the text; None without a pooler.
        hidden_states: L + 1 times (B, S, H), embeddings first; None unless asked for.
        attentions: L times (B, A, S, S), softmax weights after dropout; None unless asked for.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
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
