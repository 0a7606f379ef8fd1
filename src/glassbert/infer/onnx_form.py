"""The form of BERT that onnxruntime knows: what of a written graph is put in other words, for its optimizer to find.

onnxruntime's optimizer (`onnxruntime.transformers.optimizer`) makes one operator each of attention, of the embeddings,
and of a sum with the LayerNorm after it. It goes by the exact operators that BERT's first program was written with:
a mask that is a sum of its own, shapes that are constants, places that are cut from a table. Each rule here replaces
what torch writes by that, and gives the same numbers at every real token.

A rule is three functions: the pattern, whether it holds for what was found, and what stands there instead. `op` makes
operators by their names in ONNX; all other arguments are values of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import torch

# What is added to the score of a place that is not seen: added to any score, it is the lowest number again.
_LOWEST: Final = torch.finfo(torch.float32).min
_FLOAT: Final = 1  # TensorProto.FLOAT


class Rule(NamedTuple):
    """What is replaced, and by what.

    Attributes:
        pattern: the operators that are looked for.
        replacement: those that stand there instead.
        holds: whether values that match are what they have to be.
    """

    pattern: Callable[..., Any]
    replacement: Callable[..., Any]
    holds: Callable[..., bool]


def _chosen(op: Any, scores: Any, hidden: Any, seen: Any, lowest: Any) -> Any:
    """Match `eager`: the lowest number where a key is hidden, softmax, and zeros there again."""
    return op.Mul(op.Softmax(op.Where(hidden, lowest, scores), axis=-1), seen)


def _added(op: Any, scores: Any, hidden: Any, **_: Any) -> Any:
    """Softmax of scores and a mask: (1 - seen) times the lowest number, (B, 1, 1, K)."""
    real = _before(_before(hidden, "Not"), "Unsqueeze")
    # The optimizer knows two steps from (B, K) to (B, 1, 1, K), not one.
    column = op.Unsqueeze(op.Unsqueeze(real, op.Constant(value_ints=[1])), op.Constant(value_ints=[2]))
    unseen = op.Sub(op.Constant(value_float=1.0), op.Cast(column, to=_FLOAT))
    return op.Softmax(op.Add(scores, op.Mul(unseen, op.Constant(value_float=_LOWEST))), axis=-1)


def _is_of_keys(_: Any, *, hidden: Any, seen: Any, lowest: Any, **__: Any) -> bool:
    """Whether all queries of a text see the same keys: not so in a decoder, where rows without a key stay zeros."""
    mask = _before(hidden, "Not")
    real = _before(mask, "Unsqueeze")
    return (
        real is not None
        and real.shape is not None
        and len(real.shape) == 2
        and _before(seen, "Cast") is mask
        and _number(lowest) == _LOWEST
    )


def _reshaped(op: Any, states: Any, shape: Any) -> Any:
    """Match a view by sizes that are computed."""
    return op.Reshape(states, shape, _outputs=["viewed"])


def _kept(op: Any, states: Any, viewed: Any, **_: Any) -> Any:
    """View by constants; 0 keeps an axis as long as it is."""
    return op.Reshape(states, op.Constant(value_ints=[0, 0, *(int(size) for size in list(viewed.shape)[2:])]))


def _keeps_axes(_: Any, *, states: Any, shape: Any, viewed: Any) -> bool:
    """Whether the first two axes stay as they are and all others are known."""
    if shape.const_value is not None or states.shape is None or viewed.shape is None:
        return False
    before, after = list(states.shape), list(viewed.shape)
    return before[:2] == after[:2] and len(after) > 2 and all(isinstance(size, int) for size in after[2:])


def _counted(
    op: Any, words: Any, ids: Any, kinds: Any, types: Any, table: Any, zero: Any, length: Any, one: Any, shape: Any
) -> Any:
    """Match the sum of the three embeddings, places counted."""
    places = op.Expand(op.Range(zero, length, one), shape, _outputs=["places"])
    return op.Add(op.Add(op.Gather(words, ids, axis=0), op.Gather(kinds, types, axis=0)), op.Gather(table, places, axis=0))


def _cut(op: Any, words: Any, ids: Any, kinds: Any, types: Any, table: Any, **_: Any) -> Any:
    """Cut the places off a row of all that there are, (1, S)."""
    import onnx_ir as ir

    row = op.Constant(value=ir.tensor([list(range(table.shape[0]))], dtype=ir.DataType.INT64))
    length = op.Gather(op.Shape(ids), op.Constant(value_int=1), axis=0)
    end = op.Unsqueeze(length, op.Constant(value_ints=[0]))
    first, axis, step = (op.Constant(value_ints=[number]) for number in (0, 1, 1))
    places = op.Slice(row, first, end, axis, step)
    return op.Add(op.Add(op.Gather(words, ids, axis=0), op.Gather(kinds, types, axis=0)), op.Gather(table, places, axis=0))


def _is_by_text(_: Any, *, ids: Any, zero: Any, one: Any, places: Any, **__: Any) -> bool:
    """Whether places are counted from 0, one for each token."""
    same = ids.shape is not None and places.shape is not None and list(ids.shape) == list(places.shape)
    return same and _number(zero) == 0 and _number(one) == 1


def _length(op: Any, vectors: Any, axes: Any) -> Any:
    """Match the lengths of vectors."""
    return op.ReduceL2(vectors, axes, keepdims=1, _outputs=["length"])


def _rooted(op: Any, vectors: Any, axes: Any, **_: Any) -> Any:
    """Take the root of a sum of squares: of `ReduceL2` the optimizer does not know what shape it gives."""
    return op.Sqrt(op.ReduceSum(op.Mul(vectors, vectors), axes, keepdims=1))


def _before(value: Any, operator: str) -> Any:
    """Return the first argument of the operator that made `value`; None where it is another one."""
    node = None if value is None else value.producer()
    return node.inputs[0] if node is not None and node.op_type == operator else None


def _number(value: Any) -> float | None:
    """Return a constant's only number."""
    tensor = value.const_value
    return None if tensor is None or tensor.size != 1 else float(tensor.numpy().item())


RULES: Final[Sequence[Rule]] = (
    Rule(_chosen, _added, _is_of_keys),
    Rule(_reshaped, _kept, _keeps_axes),
    Rule(_counted, _cut, _is_by_text),
    Rule(_length, _rooted, lambda *_, **__: True),
)
