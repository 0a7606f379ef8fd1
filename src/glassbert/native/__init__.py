"""Kernels in C for a CPU: embeddings and layers for inference; GELU, dropout and attention for training; int8; NaN.

They are built when the package is installed, where there is a C compiler, and are never needed: without them the model
computes the same with torch's own functions, only slower, and drops other numbers for the same seed. This module alone
knows whether they are there. `GLASSBERT_NATIVE=0` in the environment leaves them aside.

All take float32 on the CPU, the look for NaN any floats, and share torch's threads; how many there are changes no
result.

Letters: B sequences, T tokens in the stream, A heads, D head size.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

try:
    if os.environ.get("GLASSBERT_NATIVE") == "0":
        raise ImportError
    from glassbert.native import _kernels  # after torch, whose OpenMP runtime it uses
except ImportError:
    available = False
else:
    available = True


class Dropping(NamedTuple):
    """What is dropped, decided by 16 bits for each number.

    Attributes:
        seed: of 64 bits; it decides about every number of a call.
        dropped: how many of 65,536 are; 0 drops none.
        scale: factor of what is kept.
    """

    seed: int
    dropped: int
    scale: float


# Outputs that stand side by side in a packed weight.
PANEL: Final = 32

KEEP_ALL = Dropping(0, 0, 1.0)


class Sequences(NamedTuple):
    """Where sequences lie in a stream, the shortest first.

    Attributes:
        starts: (B + 1,) int64, the first token of each, and T.
        longest: tokens of the longest.
        first_only: the queries are the first tokens.
    """

    starts: Tensor
    longest: int
    first_only: bool


# The bits of the exponents in 64 bits of numbers.
_EXPONENTS: Final = {
    torch.float64: 0x7FF0_0000_0000_0000,
    torch.float32: 0x7F80_0000_7F80_0000,
    torch.bfloat16: 0x7F80_7F80_7F80_7F80,
    torch.float16: 0x7C00_7C00_7C00_7C00,
}


def takes(*tensors: Tensor) -> bool:
    """Whether the kernels are there and can work on these tensors, now: nobody else wants to see what is computed."""
    return _unwatched() and all(map(readable, tensors))


def takes_floats(tensors: Sequence[Tensor]) -> bool:
    """Whether `finite` can look at these tensors, now."""
    return _unwatched() and all(tensor.dtype in _EXPONENTS and _in_a_row(tensor) for tensor in tensors)


def _unwatched() -> bool:
    return (
        available
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
    )


def readable(tensor: Tensor) -> bool:
    """Whether a tensor is float32 numbers in a row in memory."""
    return tensor.dtype == torch.float32 and _in_a_row(tensor)


def _in_a_row(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and tensor.is_contiguous()
        and not tensor.is_neg()
        and torch._C._has_storage(tensor)  # which a batch of gradients lacks
        and tensor.data_ptr() != 0  # neither empty nor one of autograd's zeros without memory
    )


def gelu(values: Tensor) -> Tensor:
    """Return x·Φ(x) of each number; any shape."""
    result = torch.empty_like(values)
    _kernels.gelu(values.data_ptr(), result.data_ptr(), values.numel(), torch.get_num_threads())
    return result


def gelu_backward(values: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of `gelu`'s argument from that of its result."""
    result = torch.empty_like(values)
    addresses = values.data_ptr(), gradient.data_ptr(), result.data_ptr()
    _kernels.gelu_backward(*addresses, values.numel(), torch.get_num_threads())
    return result


def dropout(values: Tensor, dropping: Dropping) -> Tensor:
    """Set some numbers to zero and scale the others; any shape. The gradient of the result takes the same call."""
    result = torch.empty_like(values)
    _kernels.dropout(values.data_ptr(), result.data_ptr(), values.numel(), *dropping, torch.get_num_threads())
    return result


def attend(
    query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, dropping: Dropping
) -> tuple[Tensor, Tensor]:
    """Return softmax(QKᵀ / √D), with dropout, times V, within each sequence, and what the backward pass needs beside.

    Args:
        query: (T, A, D), or (B, A, D) where the first tokens alone ask.
        key: (T, A, D).
        value: (T, A, D).
        sequences: where they lie.
        dropping: of the weights.

    Returns:
        The context, in the shape of `query`, and two numbers for each row of each head.
    """
    context = torch.empty_like(query)
    rows = query.new_empty(2, query.shape[1], query.shape[0])
    _attention(_kernels.attend, (query, key, value, context, *rows), sequences, dropping)
    return context, rows


def attend_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rows: Tensor,
    sequences: Sequences,
    dropping: Dropping,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value from that of the context."""
    by_query, by_key, by_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
    tensors = (query, key, value, None, *rows, gradient, by_query, by_key, by_value)
    _attention(_kernels.attend_backward, tensors, sequences, dropping)
    return by_query, by_key, by_value


def quantize(values: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `glassbert.infer.quantized.quantize` does, (T, H) with H > 0, in two passes and without other memory."""
    tokens, size = values.shape
    rounded, least, steps = values.new_empty(tokens, size, dtype=torch.uint8), *values.new_empty(2, tokens, 1)
    addresses = values.data_ptr(), rounded.data_ptr(), least.data_ptr(), steps.data_ptr()
    _kernels.quantize(*addresses, tokens, size, levels, torch.get_num_threads())
    return rounded, least, steps


def rescale(products: Tensor, least: Tensor, steps: Tensor, sums: Tensor, bias: Tensor) -> None:
    """Replace products by step · product + least · sum + bias.

    Args:
        products: (T, N), N > 0.
        least: (T, 1), as are the steps.
        steps: what 1 stands for.
        sums: (N,), as is the bias.
        bias: is added.
    """
    tokens, size = products.shape
    ranges = least.data_ptr(), steps.data_ptr()
    outputs = sums.data_ptr(), bias.data_ptr()
    _kernels.rescale(products.data_ptr(), *ranges, *outputs, tokens, size, torch.get_num_threads())


def rounds() -> bool:
    """Return whether this processor multiplies bfloat16 faster than float32."""
    return available and _kernels.rounds()


def pack(weights: Sequence[Tensor], *, bfloat16: bool = False) -> tuple[Tensor, list[int]]:
    """Lay out weights (out, in) for `encode`, each filled up to whole panels of outputs, side by side in memory.

    Args:
        weights: float32.
        bfloat16: round them to it; they are kept in it, in half the memory, where this processor `rounds`.

    Returns:
        The memory, bytes, and where in it each weight begins.
    """
    rounding, threads = bfloat16 and rounds(), torch.get_num_threads()
    shapes = [(len(weight), weight.shape[1]) for weight in weights]
    sizes = [_kernels.pack(0, 0, columns, depth, rounding, threads) for columns, depth in shapes]
    starts = [0, *itertools.accumulate(sizes)]
    memory = torch.empty(starts.pop(), dtype=torch.uint8, device="cpu")
    _kernels.enlarge_pages(memory.data_ptr(), memory.nbytes)
    for weight, (columns, depth), start in zip(weights, shapes, starts, strict=True):
        given = weight.bfloat16().float() if bfloat16 and not rounding else weight
        _kernels.pack(given.data_ptr(), memory.data_ptr() + start, columns, depth, rounding, threads)
    return memory, starts


class Tokens(NamedTuple):
    """What comes into `encode`, of each token of a stream.

    Attributes:
        ids: (T,) int64; None where there are word vectors.
        segments: (T,) int64.
        places: (T,) int64.
        vectors: (T, H) in place of ids, or None.
        seen: (T,) bool, false at tokens that none attends to; None where all are seen.
    """

    ids: Tensor | None
    segments: Tensor
    places: Tensor
    vectors: Tensor | None = None
    seen: Tensor | None = None


def encode(
    model: int,
    tokens: Tokens,
    starts: Tensor,
    bundles: Tensor,
    picked: tuple[Tensor, Tensor] | None,
    result: Tensor,
    states: Tensor | None,
    *,
    most_tokens: int,
    longest: int,
    together: bool,
    rounding: bool = False,
) -> None:
    """Take sequences through embeddings and layers.

    Args:
        model: address of the struct `Model` of kernels.h.
        tokens: of the stream.
        starts: (B + 1,) int64, the first token of each sequence, and T.
        bundles: (N + 1,) int64, the first sequence of each bundle, and B.
        picked: places in the stream that alone are asked for, (P,) int64 in rising order, and (B + 1,) how many of them
            lie before each sequence; None asks for all.
        result: (T, H), or (P, H); is written.
        states: (L + 1, T, H), is written: what came into each layer, and out of the last.
        most_tokens: of a bundle.
        longest: tokens of the longest sequence.
        together: all threads compute each bundle; else each bundle is one thread's, and the last is taken first.
        rounding: weights were packed as bfloat16, and what they are multiplied with is rounded to it.
    """
    tensors = (*tokens, starts, bundles, *(picked or (None, None)), result, states)
    addresses = tuple(0 if tensor is None else tensor.data_ptr() for tensor in tensors)
    sizes = len(starts) - 1, len(bundles) - 1, most_tokens, longest, together
    threads = torch.get_num_threads()
    size = _kernels.encode(model, addresses, sizes, 0, rounding, threads)
    memory = torch.empty(size, dtype=torch.float32, device="cpu")
    _kernels.encode(model, addresses, sizes, memory.data_ptr(), rounding, threads)


def finite(tensors: Sequence[Tensor]) -> list[bool]:
    """Return of each tensor whether all its numbers are finite; any shapes, one pass for all."""
    arrays = [(tensor.data_ptr(), tensor.nbytes, _EXPONENTS[tensor.dtype], 0) for tensor in tensors]
    # As the struct Array in C. A device that the caller has made the default has no part in it.
    rows = torch.tensor(arrays, dtype=torch.int64, device="cpu").reshape(-1, 4)
    found = torch.ones(len(arrays), dtype=torch.uint8, device="cpu")
    _kernels.finite(rows.data_ptr(), found.data_ptr(), len(arrays), torch.get_num_threads())
    return [number == 1 for number in found.tolist()]


def _attention(
    kernel: _kernels.Kernel, tensors: tuple[Tensor | None, ...], sequences: Sequences, dropping: Dropping
) -> None:
    assert tensors[0] is not None
    _, heads, size = tensors[0].shape
    threads = torch.get_num_threads()
    scratch = torch.empty(threads * _kernels.scratch(sequences.longest, size), dtype=torch.float32, device="cpu")
    kernel(
        tuple(0 if tensor is None else tensor.data_ptr() for tensor in tensors) + (0,) * (10 - len(tensors)),
        sequences.starts.data_ptr(),
        (len(sequences.starts) - 1, heads, size, sequences.longest),
        sequences.first_only,
        *dropping,
        scratch.data_ptr(),
        threads,
    )
