"""The form in which onnxruntime knows BERT: what of a written graph is put into other operators.

onnxruntime's optimizer (`onnxruntime.transformers.optimizer`) makes one operator of a whole attention, of the three
embeddings, and of a sum with the LayerNorm after it. It goes by the very operators that BERT's first exports had: a
mask that is added, views by constant sizes, places that are cut from a row. Each rule here brings what torch writes
into that form. At real tokens the numbers are the same.

`op` makes operators by their names in ONNX; all other arguments of a rule's functions are values of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch

# What the attention written out puts in the place of a hidden score; added to any score, it is this number again.
_LOWEST: Final = torch.finfo(torch.float32).min
_FLOAT: Final = 1  # in ONNX's numbers of types


class Rule(NamedTuple):
    """What is replaced, and by what.

    Attributes:
        pattern: makes the operators that are looked for.
        replacement: makes those that take their place.
        holds: whether values that fit the pattern are what they have to be.
    """

    pattern: Callable[..., Any]
    replacement: Callable[..., Any]
    holds: Callable[..., bool]


# The mask


def _chosen(op: Any, scores: Any, hidden: Any, seen: Any, lowest: Any) -> Any:
    """Match what `eager` does: the lowest number at hidden keys, softmax, and zeros at hidden keys."""
    return op.Mul(op.Softmax(op.Where(hidden, lowest, scores), axis=-1), seen)


def _added(op: Any, scores: Any, hidden: Any, **_: Any) -> Any:
    """Add the lowest number at hidden keys. A text without a real token then attends to all of its padding."""
    real = _source(_source(hidden, "Not"), "Unsqueeze")
    # (B, K) -> (B, 1, 1, K), in the two steps that the optimizer knows
    real = op.Unsqueeze(op.Unsqueeze(real, op.Constant(value_ints=[1])), op.Constant(value_ints=[2]))
    unseen = op.Sub(op.Constant(value_float=1.0), op.Cast(real, to=_FLOAT))
    return op.Softmax(op.Add(scores, op.Mul(unseen, op.Constant(value_float=_LOWEST))), axis=-1)


def _is_of_keys(_: Any, *, hidden: Any, seen: Any, lowest: Any, **__: Any) -> bool:
    """Whether the mask is one of keys, the same for all queries, which a decoder's is not."""
    mask = _source(hidden, "Not")
    real = _source(mask, "Unsqueeze")
    by_key = real is not None and real.shape is not None and len(real.shape) == 2
    return by_key and _source(seen, "Cast") is mask and _number(lowest) == _LOWEST


# The views


def _viewed(op: Any, states: Any, sizes: Any) -> Any:
    """Match a view by sizes that are computed."""
    return op.Reshape(states, sizes, _outputs=["view"])


def _viewed_by_constants(op: Any, states: Any, view: Any, **_: Any) -> Any:
    """View by constants, of which 0 keeps an axis as it is: (B, S, H) -> (B, S, A, D) and back."""
    return op.Reshape(states, op.Constant(value_ints=[0, 0, *(int(size) for size in view.shape[2:])]))


def _keeps_two_axes(_: Any, *, states: Any, sizes: Any, view: Any) -> bool:
    """Whether the first two axes stay as they are and the sizes of all others are known."""
    if sizes.const_value is not None or states.shape is None or view.shape is None:
        return False
    last = view.shape[2:]
    return bool(states.shape[:2] == view.shape[:2]) and len(last) > 0 and all(isinstance(size, int) for size in last)


# The embeddings


def _embedded(
    op: Any, words: Any, ids: Any, kinds: Any, types: Any, table: Any, first: Any, length: Any, step: Any, sizes: Any
) -> Any:
    """Match the sum of three embeddings, with places that are counted."""
    places = op.Expand(op.Range(first, length, step), sizes, _outputs=["places"])
    return _sum(op, (words, ids), (kinds, types), (table, places))


def _embedded_by_row(op: Any, words: Any, ids: Any, kinds: Any, types: Any, table: Any, **_: Any) -> Any:
    """Cut the places (1, S) from the row of all that there are."""
    import onnx_ir

    row = onnx_ir.tensor([list(range(table.shape[0]))], dtype=onnx_ir.DataType.INT64)
    zero, one = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    length = op.Unsqueeze(op.Gather(op.Shape(ids), op.Constant(value_int=1), axis=0), zero)
    places = op.Slice(op.Constant(value=row), zero, length, one, one)
    return _sum(op, (words, ids), (kinds, types), (table, places))


def _sum(op: Any, *looked_up: tuple[Any, Any]) -> Any:
    """Add up what stands in each table at its places."""
    one, two, three = (op.Gather(table, places, axis=0) for table, places in looked_up)
    return op.Add(op.Add(one, two), three)


def _is_counted_by_token(_: Any, *, ids: Any, first: Any, step: Any, places: Any, **__: Any) -> bool:
    """Whether places are counted from 0 in steps of 1, one for each token."""
    same = ids.shape is not None and places.shape is not None and ids.shape == places.shape
    return bool(same) and _number(first) == 0 and _number(step) == 1


# The length of vectors


def _length(op: Any, vectors: Any, axes: Any) -> Any:
    """Match the length of vectors."""
    return op.ReduceL2(vectors, axes, keepdims=1)


def _root(op: Any, vectors: Any, axes: Any) -> Any:
    """Take the root of the sum of squares: at `ReduceL2` the optimizer loses all shapes, and joins no sums then."""
    return op.Sqrt(op.ReduceSum(op.Mul(vectors, vectors), axes, keepdims=1))


def _always(*_: Any, **__: Any) -> bool:
    return True


def _source(value: Any, operator: str) -> Any:
    """Return the first input of the operator that gives `value`; None where that is another operator."""
    node = None if value is None else value.producer()
    return node.inputs[0] if node is not None and node.op_type == operator else None


def _number(value: Any) -> float | None:
    """Return the only number of a constant; None where it is none."""
    tensor = value.const_value
    return float(tensor.numpy().item()) if tensor is not None and tensor.size == 1 else None


RULES: Final = (
    Rule(_chosen, _added, _is_of_keys),
    Rule(_viewed, _viewed_by_constants, _keeps_two_axes),
    Rule(_embedded, _embedded_by_row, _is_counted_by_token),
    Rule(_length, _root, _always),
)
