"""A model's embeddings and layers for the kernels in C: weights laid out in panels, sequences in bundles.

Tokens of different sequences never meet before a head reads them. So a stream is cut into bundles of whole sequences,
and each thread takes a bundle through all layers: what it works on stays in its own cache, nothing is allocated
between, and nobody waits. One text alone is shared by all threads.

Letters: B sequences, T tokens in the stream, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from glassbert import native
from glassbert.model.bert import BertLayer, BertModel
from glassbert.model.layout import Packed

# Activations by the number that the kernels know them by.
_ACTIVATIONS: Final = ("gelu", "gelu_new", "relu", "silu")
# Tokens of a bundle: so many that reading the weights costs little beside computing with them.
_TOKENS: Final = 128
# How much longer the largest bundle may take than a fair share of all, before threads share it.
_UNEVEN: Final = 1.25


class NativeEncoder(nn.Module):
    """Embeddings and layers of a `BertModel`, run by one call of a kernel."""

    def __init__(self, bert: BertModel) -> None:
        """Lay out copies of the layers' weights; tables of the embeddings stay the model's own."""
        super().__init__()
        config, embeddings = bert.config, bert.embeddings
        self.width = config.hidden_size
        self.layer_count = len(bert.encoder.layer)
        # Work of a token: without attention, and for each token that it attends to.
        self.costs = 8 * config.hidden_size**2 + 4 * config.hidden_size * config.intermediate_size, 4 * config.hidden_size
        self.kept: list[Tensor] = []  # everything that the kernels read
        layers = [self._layer(layer) for layer in bert.encoder.layer]
        self.layers = torch.tensor(layers, dtype=torch.int64)
        tables = (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings)
        epsilon = torch.tensor([embeddings.LayerNorm.eps], dtype=torch.float64).view(torch.int64)
        heads = [layer.attention.self for layer in bert.encoder.layer]
        self.struct = torch.tensor(
            [
                self.layers.data_ptr(),
                *(self._keep(table.weight) for table in tables),
                *self._norm(embeddings.LayerNorm),
                self.layer_count,
                self.width,
                heads[0].attention_head_size,
                config.intermediate_size,
                max(one.all_head_size for one in heads),
                _ACTIVATIONS.index(config.hidden_act),
                int(epsilon),
            ],
            dtype=torch.int64,
        )

    @classmethod
    def takes(cls, bert: BertModel) -> bool:
        """Whether the kernels are there and can compute this model."""
        config = bert.config
        return (
            native.takes(*bert.parameters())
            and config.num_hidden_layers > 0
            and config.hidden_act in _ACTIVATIONS
            and config.position_embedding_type == "absolute"
        )

    def _keep(self, tensor: Tensor) -> int:
        self.kept.append(tensor.detach())
        return tensor.data_ptr()

    def _norm(self, norm: nn.LayerNorm) -> tuple[int, int]:
        return self._keep(norm.weight), self._keep(norm.bias)

    def _linear(self, linear: nn.Linear) -> tuple[int, ...]:
        columns, depth = linear.weight.shape
        bias = nn.functional.pad(linear.bias.detach(), (0, -columns % native.PANEL))
        return self._keep(native.pack(linear.weight.detach())), self._keep(bias), columns, depth

    def _layer(self, layer: nn.Module) -> list[int]:
        """Return the fields of the struct `Layer`."""
        assert isinstance(layer, BertLayer)
        attention, projection, output = layer.attention.self, layer.attention.output, layer.output
        linears = attention.query, attention.key, attention.value, projection.dense, layer.intermediate.dense, output.dense
        norms = projection.LayerNorm, output.LayerNorm
        return [
            *(field for linear in linears for field in self._linear(linear)),
            *(field for norm in norms for field in self._norm(norm)),
            attention.num_attention_heads,
        ]

    def forward(
        self,
        layout: Packed,
        inputs: tuple[Tensor | None, Tensor, Tensor, Tensor | None],
        *,
        picked: Tensor | None = None,
        states: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute a stream.

        Args:
            layout: of the stream.
            inputs: of each token its id, segment and place, (T,), or in place of ids word vectors (T, H).
            picked: (P,) places in the stream, in rising order: the last layer's rows that are asked for.
            states: whether all layers' states are.

        Returns:
            (T, H), or (P, H); and (L + 1, T, H), or None.
        """
        starts, longest, _ = layout.in_stream
        tokens = int(starts[-1])
        bundles = plan(starts.diff().tolist(), torch.get_num_threads(), self.costs)
        ends = starts[bundles]
        result = torch.empty(tokens if picked is None else len(picked), self.width)
        kept = torch.empty(self.layer_count + 1, tokens, self.width) if states else None
        native.encode(
            self.struct.data_ptr(),
            inputs,
            starts,
            bundles,
            None if picked is None else (picked, torch.searchsorted(picked, starts)),
            result,
            kept,
            most_tokens=int(ends.diff().max()),
            longest=longest,
        )
        return result, kept


def plan(lengths: Sequence[int], threads: int, costs: tuple[int, int]) -> Tensor:
    """Cut sequences into bundles.

    Args:
        lengths: of the sequences, in the order of the stream.
        threads: that will compute them.
        costs: of a token, and of each token that it attends to.

    Returns:
        (N + 1,) int64, the first sequence of each bundle, and B: bundles that cost about the same, as many as threads or
        a multiple; or one bundle where that would leave threads idle.
    """
    fixed, each = costs
    cost = torch.tensor([length * (fixed + each * length) for length in lengths], dtype=torch.float64)
    total, tokens = float(cost.sum()), sum(lengths)
    rounds = max(1, round(tokens / (_TOKENS * threads)))
    # Each sequence belongs to the bundle that its middle falls into.
    middle = cost.cumsum(0) - cost / 2
    bundle = (middle * (rounds * threads / total)).long().clamp_(max=rounds * threads - 1)
    counts = bundle.bincount()
    counts = counts[counts > 0]
    heaviest = float(torch.zeros(len(counts), dtype=torch.float64).index_add_(0, bundle.unique_consecutive(return_inverse=True)[1], cost).max())
    if len(counts) < threads or heaviest * threads > _UNEVEN * total:
        counts = torch.tensor([len(lengths)])
    return nn.functional.pad(counts.cumsum(0), (1, 0))
