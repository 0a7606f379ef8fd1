"""A model's embeddings and layers for the kernels in C: weights laid out in panels, sequences in bundles.

Tokens of different sequences never meet before a head reads them. So a stream is cut into bundles of whole sequences,
and each thread takes a bundle through all layers: what it works on stays in its own cache, nothing is allocated
between, and nobody waits. One text alone is shared by all threads.

Letters: B sequences, T tokens in the stream, H hidden, P rows that are picked, L layers.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from glassbert import native
from glassbert.errors import InputError
from glassbert.infer.body import Body
from glassbert.model.bert import BertLayer, BertModel, Encoded
from glassbert.model.inputs import Inputs

# Activations by the numbers that the kernels know them by.
_ACTIVATIONS: Final = ("gelu", "gelu_new", "relu", "silu")
# Tokens of a bundle: enough that reading the weights costs little beside computing with them; and of the last ones.
_TOKENS: Final = 192
_FEWEST: Final = 32
# How much longer than a fair share a thread may take; else the threads share each bundle.
_UNEVEN: Final = 1.1


class _Place(int):
    """Where a weight begins, among all that are packed."""


# A field of a struct of the kernels: a number, or the address of a tensor or of a packed weight.
_Field = Tensor | _Place | int | float


@final
class NativeBert(Body):
    """Stands in the place of a `BertModel` inside a head: one call of a kernel, on the CPU.

    Attributes:
        rounding: whether the layers' products are those of bfloat16.
    """

    def __init__(self, bert: BertModel, *, bfloat16: bool = False) -> None:
        """Lay out copies of the layers' weights; tables and LayerNorms stay the model's own.

        Args:
            bert: one that it `takes`.
            bfloat16: round the weights to it; and what they are multiplied with, where the processor multiplies
                bfloat16 faster than float32. Elsewhere the rounded weights are kept in float32.
        """
        super().__init__(bert)
        config, embeddings = bert.config, bert.embeddings
        layers = [cast(BertLayer, layer) for layer in bert.encoder.layer]
        attentions = [layer.attention.self for layer in layers]
        self.rounding = bfloat16 and native.rounds()
        linears = [linear for layer in layers for linear in _linears(layer)]
        self._weights, places = native.pack([linear.weight.detach() for linear in linears], bfloat16=bfloat16)
        rest = iter(places)
        self._layers = [list(_layer_fields(layer, rest)) for layer in layers]
        self._model: list[_Field] = [
            embeddings.word_embeddings.weight.detach(),
            embeddings.position_embeddings.weight.detach(),
            embeddings.token_type_embeddings.weight.detach(),
            *_norm_fields(embeddings.LayerNorm),
            len(self._layers),
            config.hidden_size,
            attentions[0].attention_head_size,
            config.intermediate_size,
            max(attention.all_head_size for attention in attentions),
            _ACTIVATIONS.index(config.hidden_act),
            config.layer_norm_eps,
        ]
        self._structs = self._joined()

    @classmethod
    def takes(cls, bert: BertModel) -> bool:
        """Whether the kernels are there and can compute this model."""
        config = bert.config
        return (
            native.takes(*bert.parameters())
            and len(bert.encoder.layer) > 0
            and config.hidden_act in _ACTIVATIONS
            and config.position_embedding_type == "absolute"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the structs out: a copy's tensors lie elsewhere."""
        return {name: value for name, value in self.__dict__.items() if name != "_structs"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make them again."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._structs = self._joined()

    def _moved(self) -> bool:
        """Whether memory was moved, as `share_memory` does for processes, all of it or what is the model's own."""
        return self._addresses != [self._weights.data_ptr(), cast(Tensor, self._model[0]).data_ptr()]

    def _joined(self) -> tuple[Tensor, Tensor]:
        """Return the structs of the layers and of the model, whose first field is the layers' address."""
        self._addresses = [self._weights.data_ptr(), cast(Tensor, self._model[0]).data_ptr()]
        rows = [[self._number(field) for field in fields] for fields in self._layers]
        layers = torch.tensor(rows, device="cpu")
        return layers, torch.tensor([layers.data_ptr(), *map(self._number, self._model)], device="cpu")

    def _number(self, field: _Field) -> int:
        """Return the 8 bytes of a field, as a whole number."""
        if isinstance(field, Tensor):
            return field.data_ptr()
        if isinstance(field, _Place):
            return self._weights.data_ptr() + field
        (number,) = struct.unpack("q", struct.pack("d" if isinstance(field, float) else "q", field))
        return int(number)

    @property
    def nbytes(self) -> int:
        """Bytes of the layers' weights."""
        others = sum(field.nbytes for fields in self._layers for field in fields if isinstance(field, Tensor))
        return self._weights.nbytes + others

    def encode(
        self, inputs: Inputs, *, rows: Literal["all", "first", "asked"] = "all", asked: Tensor | None = None
    ) -> Encoded:
        """Do what `BertModel.encode` does.

        Raises:
            InputError: as there, for tokens that are not on the CPU, and where the caller asks for what the engine does
                not keep or compute.
        """
        # The kernels read memory as it is: nothing below may depend on a default device or dtype of the caller's.
        if inputs.device.type != "cpu":
            raise InputError(f"the tokens are on {inputs.device}, and the engine is on the CPU; move them there")
        layout, last = self.layouts(inputs, rows=rows, asked=asked)
        starts, longest, _ = layout.in_stream
        bundles, together = plan(
            layout.lengths, torch.get_num_threads(), self.config.hidden_size, self.config.intermediate_size
        )
        picked: tuple[Tensor, Tensor] | None = None
        order = None
        if last.picked is not None:
            # The kernel goes through the stream once; the layout may name places in any order, and twice.
            places, order = last.picked.unique(return_inverse=True)
            picked = places, torch.searchsorted(places, starts)
        elif last.first_only:
            picked = starts[:-1], torch.arange(len(starts), device="cpu")
        tokens = native.Tokens(
            None if inputs.ids is None else layout.enter(inputs.ids).long(),
            layout.enter(inputs.types).long(),
            layout.enter(inputs.positions).long(),
            None if inputs.embeds is None else layout.enter(inputs.embeds).float(),
            layout.keys,
        )
        if self._moved():
            self._structs = self._joined()
        width = self.config.hidden_size
        count = len(layout.rows) if picked is None else len(picked[0])
        hidden = torch.empty(count, width, dtype=torch.float32, device="cpu")
        states = None
        if inputs.want_states:
            states = hidden.new_empty(len(self._layers) + 1, len(layout.rows), width)
        native.encode(
            self._structs[1].data_ptr(),
            tokens,
            starts,
            torch.tensor(bundles, device="cpu"),
            picked,
            hidden,
            states,
            most_tokens=max(sum(layout.lengths[begin:end]) for begin, end in itertools.pairwise(bundles)),
            longest=longest,
            together=together,
            rounding=self.rounding,
        )
        return Encoded(
            hidden=hidden if order is None else hidden.index_select(0, order),
            layout=last,
            hidden_states=None if states is None else tuple(map(layout.leave, states)),
        )


def _linears(layer: BertLayer) -> tuple[nn.Linear, ...]:
    attention = layer.attention.self
    mixing, inner, output = layer.attention.output.dense, layer.intermediate.dense, layer.output.dense
    return attention.query, attention.key, attention.value, mixing, inner, output


def _layer_fields(layer: BertLayer, places: Iterator[int]) -> Iterator[_Field]:
    """Give the fields of the struct `Layer`, whose weights begin at the next `places`."""
    for linear in _linears(layer):
        columns, depth = linear.weight.shape
        yield _Place(next(places))
        yield nn.functional.pad(linear.bias.detach(), (0, -columns % native.PANEL))
        yield from (columns, depth)
    for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm):
        yield from _norm_fields(norm)
    yield layer.attention.self.num_attention_heads


def _norm_fields(norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return norm.weight.detach(), norm.bias.detach()


class Plan(NamedTuple):
    """How sequences are shared out.

    Attributes:
        bundles: the first sequence of each bundle, and B.
        together: all threads compute each bundle; else each bundle is one thread's, and the last is taken first.
    """

    bundles: list[int]
    together: bool


def plan(lengths: Sequence[int], threads: int, width: int, inner: int) -> Plan:
    """Cut sequences into bundles.

    Towards the end of the work, which is at the beginning of the stream, bundles become smaller, so that threads end at
    about the same time. Where they could not, they share each bundle.

    Args:
        lengths: of the sequences in the order of the stream: the shortest first.
        threads: that will compute them.
        width: H of the model.
        inner: I of the model.
    """
    if len(lengths) == 1:
        return Plan([0, 1], together=threads > 1)
    # Work in tokens, of which one that attends to nothing is 1.
    costs = [tokens * (1.0 + tokens / (2 * width + inner)) for tokens in lengths]
    starts = list(itertools.accumulate(costs, initial=0.0))
    middles = [start + cost / 2 for start, cost in zip(starts, costs, strict=False)]
    total = rest = starts[-1]
    corners = []
    while rest > _FEWEST:
        rest -= max(_FEWEST, min(_TOKENS, rest / (2 * threads)))
        corners.append(rest)
    bundles = _cut(middles, corners)
    if threads == 1:
        return Plan(bundles, together=False)
    ends = [0.0] * threads
    for begin, end in reversed(list(itertools.pairwise(bundles))):
        heapq.heapreplace(ends, ends[0] + starts[end] - starts[begin])
    if max(ends) * threads <= _UNEVEN * total:
        return Plan(bundles, together=False)
    size = _TOKENS * threads
    return Plan(_cut(middles, [float(corner) for corner in range(size, int(total), size)]), together=True)


def _cut(middles: Sequence[float], corners: Sequence[float]) -> list[int]:
    """Put each sequence into the bundle that its middle falls into; return where bundles begin, and B."""
    return sorted({0, len(middles), *(bisect.bisect_left(middles, corner) for corner in corners)})
