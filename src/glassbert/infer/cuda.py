"""A model's body on a GPU: variable-length attention, and calls recorded once and played again.

On a GPU the time of a small kernel is less than what Python needs to start it, so a call of many small kernels is
recorded as a CUDA graph, which starts as one. A graph has fixed shapes and addresses. So a stream is filled up to a
bucket (`Bucket`): of tokens, of sequences, of the longest sequence. Sequences of padding take the fill, and nobody
reads what they give. What a call is given lies in one buffer, which one transfer fills: where sequences begin is a
matter of numbers in it, not of shapes.

What no graph can hold is started from Python: floats that the kernel for sequences of different lengths does not take
(float32), relative positions, hidden states of all layers, masked first tokens, word vectors in place of ids. So is a
bucket that is met for the first time, since recording pays only where a bucket comes again.

Tokens come from the CPU, where they are checked and laid out, and vectors stay on the GPU for the head to read.

Letters: B sequences, T tokens in the stream, H hidden, A heads, D head size, P rows that are picked.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from importlib import util
from typing import Any, Final, Literal, NamedTuple, Protocol, final

import torch
from torch import Tensor, nn

from glassbert.infer.body import Body
from glassbert.infer.linear import PreparedLinear
from glassbert.model.attention import ATTENTION, Relative
from glassbert.model.bert import BertLayer, BertModel, Encoded
from glassbert.model.config import HiddenAct
from glassbert.model.inputs import Inputs
from glassbert.model.layout import Packed, PackedBackend

# Most tokens of a call, chosen without a GPU to measure on: enough to keep one busy, little enough for its memory.
TOKENS_PER_CALL: Final = 16_384
# Most graphs that are kept; each has a buffer of numbers and shares the memory between.
GRAPHS: Final = 32
# The least bucket of tokens, of sequences and of the longest sequence.
_LEAST: Final = 16
# Steps of the buckets of tokens from one power of two to the next: the fill is at most an eighth.
_STEPS: Final = 8
# What the kernel for sequences of different lengths takes.
_LARGEST_HEAD: Final = 256
# Calls before one is recorded.
_WARM_UP: Final = 2
_HALVES: Final = (torch.float16, torch.bfloat16)

Rows = Literal["all", "first", "asked"]
# Records a computation that takes and returns nothing but tensors at fixed places; the result computes it again.
Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


class Bucket(NamedTuple):
    """The shapes of a call.

    Attributes:
        tokens: T.
        sequences: B.
        longest: no sequence has more tokens.
        rows: which rows the last layer computes.
        picked: P, of "asked".
    """

    tokens: int
    sequences: int
    longest: int
    rows: Rows
    picked: int

    @classmethod
    def exact(cls, layout: Packed, rows: Rows) -> Bucket:
        """Return the shapes of a call as they are."""
        count = 0 if layout.picked is None else len(layout.picked)
        return cls(len(layout.rows), layout.shape[0], layout.groups[-1].length, rows, count)

    def rounded(self) -> Bucket:
        """Return the bucket that a call of these shapes is filled up to."""
        tokens, longest = _stepped(self.tokens), _power_of_two(self.longest)
        fillers = -(-(tokens - self.tokens) // longest)
        picked = _power_of_two(self.picked) if self.picked else 0
        return Bucket(tokens, _power_of_two(self.sequences + fillers), longest, self.rows, picked)

    @property
    def sections(self) -> list[int]:
        """Lengths of the parts of the buffer: ids, segments, places; first tokens and T; rows that are picked."""
        return [self.tokens, self.tokens, self.tokens, self.sequences + 1, self.picked]


def _power_of_two(count: int) -> int:
    return max(_LEAST, 1 << (count - 1).bit_length())


def _stepped(count: int) -> int:
    step = max(_LEAST, _power_of_two(count) // (2 * _STEPS))
    return -(-count // step) * step


def filled(layout: Packed, inputs: Inputs, bucket: Bucket) -> Tensor:
    """Return what a call is given, as the numbers of its buffer, int64 on the CPU.

    Args:
        layout: narrowed to the rows of the bucket, on the CPU.
        inputs: with ids.
        bucket: the layout's shapes, or what they were rounded to.
    """
    assert inputs.ids is not None
    numbers = torch.zeros(sum(bucket.sections), dtype=torch.int64)
    ids, types, positions, starts, picked = numbers.split(bucket.sections)
    count = len(layout.rows)
    for part, values in ((ids, inputs.ids), (types, inputs.types), (positions, inputs.positions)):
        part[:count] = layout.enter(values.cpu())
    # (B,) of the real sequences; then fillers, none longer than the longest; then sequences of nothing.
    real = layout.shape[0]
    starts[:real] = layout.starts.sort().values
    starts[real:] = torch.arange(len(starts) - real).mul_(bucket.longest).add_(count).clamp_(max=bucket.tokens)
    if layout.picked is not None:
        picked[: len(layout.picked)] = layout.picked
    return numbers


class Stream(Protocol):
    """Where sequences lie, for a layer."""

    def queries(self, stream: Tensor) -> Tensor:
        """Return the rows that attend."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, relative: Relative | None) -> Tensor:
        """Return the contexts of the queries."""

    def pick(self, attended: Tensor) -> Tensor:
        """Return the rows, of those that attended, that the rest of a layer computes."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Spans:
    """Sequences by the numbers of a buffer; nothing here looks at them.

    Attributes:
        ends: (B + 1,) int32, first tokens and T.
        longest: no sequence has more tokens.
        first: (B,) int64, rows that attend where the first tokens alone do; else None.
        picked: (P,) int64, or None.
    """

    ends: Tensor
    longest: int
    first: Tensor | None = None
    picked: Tensor | None = None

    def queries(self, stream: Tensor) -> Tensor:
        return stream if self.first is None else stream.index_select(0, self.first)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, relative: Relative | None) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        assert relative is None
        query_ends, longest = self.ends, self.longest
        if self.first is not None:
            query_ends, longest = torch.arange(len(self.ends), dtype=torch.int32, device=query.device), 1
        context = varlen_attn(query, key, value, query_ends, self.ends, longest, self.longest)
        assert isinstance(context, Tensor)
        return context

    def pick(self, attended: Tensor) -> Tensor:
        return attended if self.picked is None else attended.index_select(0, self.picked)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _InLayout:
    """Sequences by their layout, on the GPU."""

    layout: Packed

    def queries(self, stream: Tensor) -> Tensor:
        return self.layout.queries(stream)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, relative: Relative | None) -> Tensor:
        return ATTENTION[self.layout.backend](query, key, value, self.layout, dropout=0.0, relative=relative)[0]

    def pick(self, attended: Tensor) -> Tensor:
        return self.layout.pick(attended)


class CudaLayer(nn.Module):
    """One layer in one kind of floats: queries, keys and values in one product."""

    def __init__(
        self, layer: nn.Module, activation: HiddenAct | Callable[[Tensor], Tensor], dtype: torch.dtype
    ) -> None:
        """Take the weights of a `BertLayer`."""
        super().__init__()
        assert isinstance(layer, BertLayer)
        attention, projection = layer.attention.self, layer.attention.output
        joined = (attention.query, attention.key, attention.value)
        self.heads = attention.num_attention_heads
        relative = attention.relative()
        self.relative = None if relative is None else relative._replace(table=relative.table.detach().to(dtype))

        def linear(
            weights: list[Tensor], biases: list[Tensor], act: HiddenAct | Callable[[Tensor], Tensor] | None = None
        ) -> PreparedLinear:
            return PreparedLinear(torch.cat(weights).to(dtype), torch.cat(biases).to(dtype), act)

        # (H, H) three times -> (3H, H)
        self.query_key_value = linear([one.weight for one in joined], [one.bias for one in joined])
        self.projection = linear([projection.dense.weight], [projection.dense.bias])
        self.attention_norm = _in_floats(projection.LayerNorm, dtype)
        inner = layer.intermediate.dense
        floats = inner.weight.dtype
        # A function of the user's may hold weights of its own, in the floats of the model.
        act = (lambda values: activation(values.to(floats)).to(dtype)) if callable(activation) else activation
        self.intermediate = linear([inner.weight], [inner.bias], act)
        self.output = linear([layer.output.dense.weight], [layer.output.dense.bias])
        self.output_norm = _in_floats(layer.output.LayerNorm, dtype)

    def forward(self, hidden: Tensor, stream: Stream) -> Tensor:
        """(T, H) -> (T, H), or the rows of a narrowed stream."""
        # (T, 3H) -> 3 times (T, A, D)
        query, key, value = self.query_key_value(hidden).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        context = stream.pick(stream.attend(stream.queries(query), key, value, self.relative).flatten(-2))
        attended = self.attention_norm(self.projection(context).add_(stream.pick(stream.queries(hidden))))
        normed: Tensor = self.output_norm(self.output(self.intermediate(attended)).add_(attended))
        return normed


def _in_floats(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return the module itself where it has these floats, else a copy in them."""
    return module if next(module.parameters()).dtype == dtype else copy.deepcopy(module).to(dtype)


@final
class CudaBert(Body):
    """The same `encode` on a GPU, of inputs on the CPU.

    Several threads may call it at once; those that play graphs wait for one another.

    Attributes:
        dtype: floats of the layers.
        graphs: what was recorded; None where nothing can be.
    """

    def __init__(self, bert: BertModel, dtype: torch.dtype, recorder: Recorder | None = None) -> None:
        """Take over the embeddings and the pooler, and make every layer in `dtype`.

        Args:
            bert: on the device where it shall compute.
            dtype: floats of the layers; what comes out has those of the model.
            recorder: makes a computation one that can be played again. None takes CUDA graphs, where the kernel for
                sequences of different lengths takes these floats and heads.
        """
        super().__init__(bert)
        act = bert.config.hidden_act
        self.dtype = dtype
        self._device, self._floats = bert.device, bert.dtype
        self.layers = nn.ModuleList(CudaLayer(layer, act, dtype) for layer in bert.encoder.layer)
        relative = any(layer.relative is not None for layer in self.layers)
        takes = not relative and takes_lengths(bert, dtype)
        self._backend: PackedBackend = "varlen" if takes else "packed"
        if recorder is None and takes:
            recorder = CudaGraphs(self._device)
        # A function of the user's may do what no graph can hold.
        recordable = recorder is not None and not relative and not callable(act)
        self.graphs = Graphs(self._compute, recorder, self._device) if recorder and recordable else None

    def encode(self, inputs: Inputs, *, rows: Rows = "all", asked: Tensor | None = None) -> Encoded:
        """Do what `BertModel.encode` does; the layout and the vectors that are returned lie on the GPU.

        Raises:
            InputError: as there, and where the caller asks for what the engine does not keep or compute.
        """
        self.check_taken(inputs)
        # On the CPU, so that nobody waits for the GPU to tell where tokens lie.
        asked = None if asked is None else asked.cpu()
        layout = Packed.from_mask(inputs.mask_or_ones().cpu(), asked=asked, backend=self._backend)
        last, kind = layout, rows
        if rows == "all" or inputs.want_states or not len(self.layers):
            kind = "all"
        elif rows == "first" or asked is None:
            last, kind = layout.narrow_to_first(), "first"
        else:
            last = layout.narrow_to(asked)
        moved = _moved(last, self._device)
        states: list[Tensor] = []
        if self.graphs is None or inputs.want_states or layout.keys is not None or inputs.ids is None:
            states = self._started(inputs, layout, moved)
            hidden = states[-1]
        else:
            hidden = self.graphs.run(last, inputs, kind)
        states = [one.to(self._floats) for one in states] if inputs.want_states else []
        return Encoded(
            hidden=hidden.to(self._floats),
            layout=moved,
            hidden_states=tuple(map(moved.leave, states)) if inputs.want_states else None,
        )

    def _started(self, inputs: Inputs, layout: Packed, last: Packed) -> list[Tensor]:
        """Start every kernel from Python; return the states of all layers.

        Args:
            inputs: of any kind.
            layout: on the CPU.
            last: narrowed, on the GPU.
        """
        on_gpu = _moved(layout, self._device)
        ids, types, positions = (
            None if values is None else _sent(layout.enter(values.cpu()), self._device)
            for values in (inputs.ids, inputs.types, inputs.positions)
        )
        embeds = None if inputs.embeds is None else on_gpu.enter(inputs.embeds.to(self._device))
        states = [self.embeddings(ids, types, positions, embeds).to(self.dtype)]
        for index, layer in enumerate(self.layers):
            states.append(layer(states[-1], _InLayout(on_gpu if index < len(self.layers) - 1 else last)))
            if not inputs.want_states:
                del states[0]
        return states

    def _compute(self, bucket: Bucket, numbers: Tensor) -> Tensor:
        """Return the last layer's rows in the floats of the layers, from the numbers of a buffer."""
        ids, types, positions, starts, picked = numbers.split(bucket.sections)
        spans = _Spans(starts.to(torch.int32), bucket.longest)
        last = spans
        if bucket.rows == "first":
            # Sequences of nothing have no first token; what stands in its place is read by nobody.
            last = dataclasses.replace(spans, first=starts[:-1].clamp(max=bucket.tokens - 1))
        elif bucket.rows == "asked":
            last = dataclasses.replace(spans, picked=picked)
        hidden: Tensor = self.embeddings(ids, types, positions).to(self.dtype)
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, spans if index < len(self.layers) - 1 else last)
        return hidden


def takes_lengths(bert: BertModel, dtype: torch.dtype) -> bool:
    """Return whether torch's kernel for sequences of different lengths is there and takes these floats and heads."""
    size = bert.config.hidden_size // bert.config.num_attention_heads
    return (
        bert.device.type == "cuda"
        and dtype in _HALVES
        and size % 8 == 0
        and size <= _LARGEST_HEAD
        and util.find_spec("torch.nn.attention.varlen") is not None
        and torch.cuda.get_device_capability(bert.device) >= (8, 0)
    )


class _Recorded(NamedTuple):
    """A computation that can be played again.

    Attributes:
        buffer: what it reads, int64.
        play: computes; the result is overwritten by the next time.
    """

    buffer: Tensor
    play: Callable[[], Tensor]


@final
class Graphs:
    """Computations that were recorded, by their buckets; those that were not played for the longest time go first.

    Attributes:
        kept: by bucket, the one that was played last at the end.
    """

    def __init__(
        self, compute: Callable[[Bucket, Tensor], Tensor], recorder: Recorder, device: torch.device, most: int = GRAPHS
    ) -> None:
        """Begin with none.

        Args:
            compute: makes the rows of a bucket from the numbers of its buffer.
            recorder: makes a computation one that can be played again.
            device: where it computes.
            most: graphs that are kept, at least 1.
        """
        self.kept: OrderedDict[Bucket, _Recorded] = OrderedDict()
        # The body holds this object; held by it in turn, a body that nobody needs would wait for the garbage collector.
        self._compute = weakref.WeakMethod(compute)
        self._recorder = recorder
        self._device = device
        self._most = most
        self._met: set[Bucket] = set()
        self._turn = threading.Lock()
        # What was started last may run in the stream of another thread.
        self._done = torch.cuda.Event() if device.type == "cuda" else None

    @torch.no_grad()
    def run(self, layout: Packed, inputs: Inputs, rows: Rows) -> Tensor:
        """Return the rows of a layout on the CPU, narrowed to `rows`; the result is the caller's."""
        exact = Bucket.exact(layout, rows)
        bucket = exact.rounded()
        compute = self._compute()
        assert compute is not None
        if bucket not in self._met:
            self._met.add(bucket)
            return compute(exact, _sent(filled(layout, inputs, exact), self._device))
        numbers = filled(layout, inputs, bucket)
        if self._device.type == "cuda":
            numbers = numbers.pin_memory()
        count = {"all": exact.tokens, "first": exact.sequences, "asked": exact.picked}[rows]
        with self._turn, torch.cuda.device(self._device) if self._done else contextlib.nullcontext():
            if self._done is not None:
                self._done.wait()
            recorded = self.kept.get(bucket)
            if recorded is None:
                recorded = self.kept[bucket] = self._record(compute, bucket, numbers)
                # Now, and not before: their common memory goes with the last graph. Recording has waited for all
                # that was started, so that the graph that goes is not at work.
                while len(self.kept) > self._most:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(bucket)
            recorded.buffer.copy_(numbers, non_blocking=True)
            result = recorded.play()[:count].clone()
            if self._done is not None:
                self._done.record()
        return result

    def _record(self, compute: Callable[[Bucket, Tensor], Tensor], bucket: Bucket, numbers: Tensor) -> _Recorded:
        # Not a tensor of inference mode, which could be written to in that mode alone.
        with torch.inference_mode(False):
            buffer = torch.empty(len(numbers), dtype=torch.int64, device=self._device)
        buffer.copy_(numbers)
        return _Recorded(buffer, self._recorder(lambda: compute(bucket, buffer)))


@final
class CudaGraphs:
    """Records CUDA graphs that share their memory; they may be played one after the other alone."""

    def __init__(self, device: torch.device) -> None:
        """Take no memory yet."""
        self._device = device
        self._pool: Any = None

    def __call__(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record `function`; what is returned plays it and returns the same tensor each time."""
        with torch.cuda.device(self._device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                # What libraries make ready at their first call must not be recorded.
                for _ in range(_WARM_UP):
                    function()
            graph = torch.cuda.CUDAGraph()
            # Other threads may ask for memory meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                result = function()
            torch.cuda.current_stream().wait_stream(side)
        self._pool = graph.pool()

        def play() -> Tensor:
            graph.replay()
            return result

        return play


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """Return `values` of the CPU on the device; on a GPU nobody waits for them to arrive."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _moved(layout: Packed, device: torch.device) -> Packed:
    """Return a layout of the CPU on the device."""
    rows, starts, keys, picked = (
        None if values is None else _sent(values, device)
        for values in (layout.rows, layout.starts, layout.keys, layout.picked)
    )
    assert rows is not None
    assert starts is not None
    return dataclasses.replace(layout, rows=rows, starts=starts, keys=keys, picked=picked)
