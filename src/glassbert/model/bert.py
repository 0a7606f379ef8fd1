"""BERT itself, bottom-up: embeddings, attention, feed-forward, layer, encoder, pooler, model.

Module and parameter names are those of transformers, so its checkpoints load without a mapping.

Shape legend: B batch, S sequence, T tokens in the stream, H hidden, A heads, D = H / A head size, I
intermediate, V vocabulary, L layers. Where a shape reads `(…, H)` it is `(B, S, H)` in the padded layout and
`(T, H)` in the packed one.

Source: arXiv 1810.04805; post-norm layers as in google-research/bert.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glassbert.errors import InputError
from glassbert.model.activations import ACT2FN
from glassbert.model.attention import ATTENTION, AttentionBackend
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.config import BertConfig
from glassbert.model.inputs import Inputs, is_tracing
from glassbert.model.layout import Layout, Packed, Padded
from glassbert.model.outputs import BaseModelOutputWithPoolingAndCrossAttentions


def apply_chunking_to_forward(
    forward_fn: Callable[..., Tensor], chunk_size: int, chunk_dim: int, *input_tensors: Tensor
) -> Tensor:
    """Run `forward_fn` on pieces of `chunk_size` along `chunk_dim` and join what it returns.

    Right for functions that act on each place of that dimension alone; saves the memory of intermediate
    results. 0 runs all at once. The last piece may be shorter.
    """
    if chunk_size <= 0:
        return forward_fn(*input_tensors)
    pieces = zip(*(tensor.split(chunk_size, dim=chunk_dim) for tensor in input_tensors), strict=True)
    return torch.cat([forward_fn(*piece) for piece in pieces], dim=chunk_dim)


class BertEmbeddings(nn.Module):
    """Word + position + segment, then LayerNorm and dropout."""

    def __init__(self, config: BertConfig) -> None:
        """Make the three tables: (V, H), (max positions, H), (segment kinds, H)."""
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inputs: Inputs, layout: Layout) -> Tensor:
        """Look up all tokens of `inputs` in `layout`: (…, H)."""
        words = inputs.embeds if inputs.ids is None else inputs.ids
        assert words is not None
        words = layout.enter(words)
        if inputs.ids is not None:
            words = self.word_embeddings(words)
        positions = self.position_embeddings(layout.enter(inputs.positions))
        types = self.token_type_embeddings(layout.enter(inputs.types))
        embedded: Tensor = self.dropout(self.LayerNorm(words + types + positions))
        return embedded


class BertSelfAttention(nn.Module):
    """Queries, keys and values of all heads: rows a·D to (a+1)·D of each weight belong to head a."""

    def __init__(self, config: BertConfig) -> None:
        """Make the three H x H projections."""
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def split_heads(self, states: Tensor) -> Tensor:
        """(…, H) -> (…, A, D)."""
        heads: Tensor = states.unflatten(-1, (self.num_attention_heads, self.attention_head_size))
        return heads

    def forward(self, hidden: Tensor, layout: Layout, backend: AttentionBackend) -> tuple[Tensor, Tensor | None]:
        """Attend; returns the context of the layout's queries (…, H) and the weights (B, A, S, S) or None."""
        context, weights = ATTENTION[backend](
            self.split_heads(self.query(layout.queries(hidden))),
            self.split_heads(self.key(hidden)),
            self.split_heads(self.value(hidden)),
            layout,
            dropout=self.dropout.p if self.training else 0.0,
        )
        return context.flatten(-2), weights  # (…, A, D) -> (…, H)


class BertSelfOutput(nn.Module):
    """The projection that mixes the heads, then residual and LayerNorm."""

    def __init__(self, config: BertConfig) -> None:
        """Make the H x H projection."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """(…, H), (…, H) -> (…, H)."""
        normed: Tensor = self.LayerNorm(self.dropout(self.dense(hidden)) + residual)
        return normed


class BertAttention(nn.Module):
    """Self-attention and its output projection."""

    def __init__(self, config: BertConfig) -> None:
        """Make both parts."""
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertSelfOutput(config)

    def forward(self, hidden: Tensor, layout: Layout, backend: AttentionBackend) -> tuple[Tensor, Tensor | None]:
        """Return (…, H) for the layout's queries, and the weights or None."""
        context, weights = self.self(hidden, layout, backend)
        return self.output(context, layout.queries(hidden)), weights


class BertIntermediate(nn.Module):
    """The first half of the feed-forward: H to I, then the activation."""

    def __init__(self, config: BertConfig) -> None:
        """Make the I x H projection."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = ACT2FN[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, H) -> (…, I)."""
        activated: Tensor = self.intermediate_act_fn(self.dense(hidden))
        return activated


class BertOutput(nn.Module):
    """The second half of the feed-forward: I to H, then residual and LayerNorm."""

    def __init__(self, config: BertConfig) -> None:
        """Make the H x I projection."""
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """(…, I), (…, H) -> (…, H)."""
        normed: Tensor = self.LayerNorm(self.dropout(self.dense(hidden)) + residual)
        return normed


class BertLayer(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, config: BertConfig) -> None:
        """Make the three parts."""
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(self, hidden: Tensor, layout: Layout, backend: AttentionBackend) -> tuple[Tensor, Tensor | None]:
        """Return (…, H) for the layout's queries, and the attention weights or None."""
        attended, weights = self.attention(hidden, layout, backend)
        # The tokens' dimension is the last but one in both layouts.
        return apply_chunking_to_forward(self.feed_forward_chunk, self.chunk_size_feed_forward, -2, attended), weights

    def feed_forward_chunk(self, attended: Tensor) -> Tensor:
        """(…, H) -> (…, H), each token alone."""
        chunk: Tensor = self.output(self.intermediate(attended), attended)
        return chunk


class BertEncoder(nn.Module):
    """The layers, one after the other: each works on what the one before it made."""

    def __init__(self, config: BertConfig) -> None:
        """Make L layers."""
        super().__init__()
        self.gradient_checkpointing = config.gradient_checkpointing
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self, hidden: Tensor, layout: Layout, backend: AttentionBackend, *, first_only: bool
    ) -> tuple[Layout, list[Tensor], list[Tensor | None]]:
        """Run all layers; with `first_only` the last one computes the first tokens alone.

        Returns:
            Where the last layer's rows lie; the input of the first layer and the output of each, L + 1 times (…, H);
            the attention weights of each, L times (B, A, S, S) from `eager`, else L times None.
        """
        states, attentions = [hidden], []
        for index, layer in enumerate(self.layer):
            if first_only and index == len(self.layer) - 1:
                layout = layout.narrow()
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                hidden, weights = checkpoint(layer, hidden, layout, backend, use_reentrant=False)
            else:
                hidden, weights = layer(hidden, layout, backend)
            states.append(hidden)
            attentions.append(weights)
        return layout, states, attentions


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """What the body made, still in its layout; a head takes from it the rows that it needs.

    Attributes:
        hidden: the last layer's rows, (…, H).
        layout: where they lie.
        hidden_states: L + 1 times (B, S, H), where asked for.
        attentions: L times (B, A, S, S), where asked for.
    """

    hidden: Tensor
    layout: Layout
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    def first(self) -> Tensor:
        """Return the first token's last vectors, (B, 1, H)."""
        return self.layout.first(self.hidden)

    def padded(self) -> Tensor:
        """Return all last vectors as (B, S, H), zeros in rows that were not computed."""
        return self.layout.leave(self.hidden)


class BertPooler(nn.Module):
    """The first token's vector through Linear and tanh."""

    def __init__(self, config: BertConfig) -> None:
        """Make the H x H projection."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, S, H) -> (B, H); only place 0 of S is read."""
        pooled: Tensor = self.activation(self.dense(hidden[:, 0]))
        return pooled


class BertModel(BertPreTrainedModel):
    """Embeddings, encoder and, unless left out, the pooler."""

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        """Make the parts with fresh weights.

        Args:
            config: checked once more here.
            add_pooling_layer: False leaves the pooler out; `pooler_output` is None then.
        """
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.init_weights()

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings, (V, H)."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.embeddings.word_embeddings = value

    def encode(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        first_only: bool = False,
    ) -> Encoded:
        """Check the inputs and run embeddings and encoder; heads call this and take the rows that they need.

        The arguments are those of `forward`. Attention weights are formed by `eager`, whatever backend is set. With
        `first_only` the caller will read nothing but the first token of each sequence, so the last layer computes no
        other row, unless states or weights are asked for.

        Raises:
            InputError: as `forward`.
        """
        want_weights = self.config.output_attentions if output_attentions is None else output_attentions
        want_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        backend: AttentionBackend = "eager" if want_weights else self.attention_backend
        if backend == "packed" and is_tracing():
            raise InputError("the packed layout cannot be traced; set model.attention_backend = 'sdpa' first")
        inputs = Inputs.check(
            self.config,
            ids=input_ids,
            embeds=inputs_embeds,
            mask=attention_mask,
            types=token_type_ids,
            positions=position_ids,
        )
        layout: Layout
        if backend == "packed":
            layout = Packed.from_mask(inputs.mask_or_ones())
        else:
            layout = Padded.from_mask(inputs.mask, length=inputs.shape[1])
        first_only = first_only and not want_states and not want_weights
        hidden = self.embeddings(inputs, layout)
        layout, states, attentions = self.encoder(hidden, layout, backend, first_only=first_only)
        return Encoded(
            hidden=states[-1],
            layout=layout,
            hidden_states=tuple(map(layout.leave, states)) if want_states else None,
            attentions=tuple(weights for weights in attentions if weights is not None) if want_weights else None,
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions | tuple[Tensor | tuple[Tensor, ...], ...]:
        """Turn tokens into vectors.

        Args:
            input_ids: (B, S) ids of tokens; or give `inputs_embeds`.
            attention_mask: (B, S), nonzero at real tokens; None takes all as real.
            token_type_ids: (B, S) segment of each token; None means 0.
            position_ids: (B, S) or (1, S) place of each token; None counts from 0.
            inputs_embeds: (B, S, H) in place of the look-up of `input_ids`.
            output_attentions: return the weights of every layer; None asks the config.
            output_hidden_states: return the states of every layer; None asks the config.
            return_dict: False returns a plain tuple; None asks the config.

        Raises:
            InputError: shapes that disagree, ids out of range, more tokens than there are positions.
        """
        encoded = self.encode(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=encoded.padded(),
            pooler_output=None if self.pooler is None else self.pooler(encoded.first()),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)
