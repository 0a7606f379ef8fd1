"""BERT itself, bottom-up: embeddings, attention, feed-forward, layer, encoder, pooler, model.

Module and parameter names are those of transformers, so its checkpoints load without a mapping; so are the arguments
of the modules' calls. One thing is wider: where a module takes `attention_mask`, it also takes a `Layout`, which says
where tokens lie, who sees whom, and which function attends. `BertModel` makes one layout for a call and hands it down.

Shape legend: B batch, S sequence, T tokens in the stream, H hidden, A heads, D = H / A head size, I
intermediate, V vocabulary, L layers, Q queries, K keys, E encoder's states. Where a shape reads `(…, H)` it is
`(B, S, H)` in the padded layout and `(T, H)` in the packed one.

Source: arXiv 1810.04805; post-norm layers as in google-research/bert.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from glassbert.errors import ConfigError, InputError
from glassbert.model.activations import activation
from glassbert.model.attention import ATTENTION, Relative, backend_for
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.config import BertConfig, PositionEmbeddingType
from glassbert.model.dropout import Dropout
from glassbert.model.inputs import Cache, Inputs, is_tracing
from glassbert.model.layout import Layout, Packed, Padded
from glassbert.model.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    BaseModelOutputWithPoolingAndCrossAttentions,
)
from glassbert.model.pruning import find_pruneable_heads_and_indices, prune_linear_layer

# Who sees whom: a layout, a mask for the scores (bool, or added to them) broadcastable to (B, A, Q, K), or None.
Mask = Tensor | Layout | None


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
    """Word + position + segment, then LayerNorm and dropout; with relative positions word + segment alone."""

    def __init__(self, config: BertConfig) -> None:
        """Make the three tables: (V, H), (max positions, H), (segment kinds, H)."""
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.position_embedding_type: PositionEmbeddingType = config.position_embedding_type

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> Tensor:
        """Look tokens up: (…, H).

        Args:
            input_ids: (…) ids of tokens, in any layout; or give `inputs_embeds`.
            token_type_ids: (…) segment of each; None means 0.
            position_ids: (…) place of each; None counts along the last dimension.
            inputs_embeds: (…, H) word vectors in place of the look-up.
            past_key_values_length: where that count begins.
        """
        if inputs_embeds is None:
            if input_ids is None:
                raise InputError("give either input_ids or inputs_embeds")
            inputs_embeds = self.word_embeddings(input_ids)
        shape, device = inputs_embeds.shape[:-1], inputs_embeds.device
        if token_type_ids is None:
            token_type_ids = torch.zeros(shape, dtype=torch.int64, device=device)
        embedded: Tensor = inputs_embeds + self.token_type_embeddings(token_type_ids)
        if self.position_embedding_type == "absolute":
            if position_ids is None:
                position_ids = torch.arange(past_key_values_length, past_key_values_length + shape[-1], device=device)
            embedded = embedded + self.position_embeddings(position_ids)
        return cast(Tensor, self.dropout(self.LayerNorm(embedded)))


class Attended(NamedTuple):
    """What attention, and a layer, gives.

    Attributes:
        hidden: (…, H) the rows of the layout's queries.
        weights: (B, A, Q, K) softmax weights after dropout and head mask, where asked for.
        present: keys and values (B, A, K, D) of all tokens so far, from a padded layout.
        cross_weights: (B, A, Q, E), where asked for and the layer attends to an encoder.
    """

    hidden: Tensor
    weights: Tensor | None = None
    present: tuple[Tensor, ...] | None = None
    cross_weights: Tensor | None = None


class BertSelfAttention(nn.Module):
    """Queries, keys and values of all heads: rows a·D to (a+1)·D of each weight belong to head a."""

    def __init__(self, config: BertConfig, position_embedding_type: PositionEmbeddingType | None = None) -> None:
        """Make the three H x H projections, and the distances' vectors (2P - 1, D) where positions are relative."""
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)
        self.position_embedding_type = position_embedding_type or config.position_embedding_type
        self.distance_embedding: nn.Embedding | None = None
        if self.position_embedding_type != "absolute":
            self.distance_embedding = nn.Embedding(2 * config.max_position_embeddings - 1, self.attention_head_size)

    def split_heads(self, states: Tensor) -> Tensor:
        """(…, A·D) -> (…, A, D)."""
        heads: Tensor = states.unflatten(-1, (self.num_attention_heads, self.attention_head_size))
        return heads

    def transpose_for_scores(self, states: Tensor) -> Tensor:
        """(B, S, A·D) -> (B, A, S, D)."""
        return self.split_heads(states).transpose(1, 2)

    def _dropout_rate(self) -> float:
        """Return the rate of dropout of the weights; the functions that attend apply it themselves."""
        if isinstance(self.dropout, nn.Identity):
            return 0.0
        if not isinstance(self.dropout, nn.Dropout):
            raise InputError(f"attention.self.dropout is a {type(self.dropout).__name__}, expected Dropout or Identity")
        return self.dropout.p if self.dropout.training else 0.0

    def relative(self) -> Relative | None:
        """Return the vectors of distances; None where positions are absolute."""
        if self.distance_embedding is None:
            return None
        return Relative(self.distance_embedding.weight, self.position_embedding_type == "relative_key_query")

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Mask = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Mask = None,
        past_key_value: tuple[Tensor, ...] | None = None,
        output_attentions: bool = False,
    ) -> Attended:
        """Attend, all heads at once.

        Args:
            hidden_states: (…, H).
            attention_mask: a layout, or a mask for the scores.
            head_mask: (A,), or (1, A, 1, 1), factors of the heads.
            encoder_hidden_states: (B, E, H): keys and values come from them, and `encoder_attention_mask` holds.
            encoder_attention_mask: a layout, or a mask for the scores, over the encoder's states.
            past_key_value: keys and values (B, A, K, D): of the tokens before these, or of the encoder's states.
            output_attentions: return the weights.

        Returns:
            `hidden` (…, A·D): the contexts of the heads, side by side.
        """
        cross = encoder_hidden_states is not None
        # In a padded layout keys and values may come from a cache, and go into one.
        if cross and past_key_value is not None:
            key, value = (states.transpose(1, 2) for states in past_key_value)  # (B, A, E, D) -> (B, E, A, D)
        else:
            source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
            key, value = self.split_heads(self.key(source)), self.split_heads(self.value(source))  # (…, A, D)
            if past_key_value is not None:
                past = (states.transpose(1, 2) for states in past_key_value)
                key, value = (torch.cat(pair, dim=1) for pair in zip(past, (key, value), strict=True))
        mask = encoder_attention_mask if cross else attention_mask
        layout = _layout(mask, hidden_states.shape, key.shape[1], weights=output_attentions)
        present = (key.transpose(1, 2), value.transpose(1, 2)) if isinstance(layout, Padded) else None
        context, weights = ATTENTION[layout.backend](
            self.split_heads(self.query(layout.queries(hidden_states))),
            key,
            value,
            layout,
            dropout=self._dropout_rate(),
            relative=self.relative(),
        )
        if head_mask is not None:
            factors = head_mask.reshape(-1, 1).to(context.dtype)  # (A, 1)
            # A factor of a head's weights is a factor of its context.
            context = context * factors
            weights = None if weights is None else weights * factors[:, :, None]
        return Attended(context.flatten(-2), weights if output_attentions else None, present)


def _layout(mask: Mask, hidden: torch.Size, keys: int, *, weights: bool) -> Padded | Packed:
    """Return the layout that a module was given, or make one for `hidden` (B, Q, H) and K keys."""
    if isinstance(mask, Padded):
        layout: Padded | Packed = mask
    elif isinstance(mask, Packed):
        layout = mask
    elif mask is None:
        layout = Padded.from_mask(None, shape=(hidden[0], hidden[1]), keys=keys)
    else:
        layout = Padded.from_extended(cast(Tensor, mask), shape=(hidden[0], hidden[1]), keys=keys)
    if weights and layout.backend != "eager":
        if isinstance(layout, Packed):
            raise InputError("a packed layout gives no attention weights; call the model, or use a padded layout")
        layout = dataclasses.replace(layout, backend="eager")
    return layout


class BertSelfOutput(nn.Module):
    """The projection that mixes the heads, then residual and LayerNorm."""

    def __init__(self, config: BertConfig) -> None:
        """Make the H x H projection."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """(…, A·D), residual (…, H) -> (…, H)."""
        normed: Tensor = self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)
        return normed


class BertAttention(nn.Module):
    """Attention and its output projection."""

    def __init__(self, config: BertConfig, position_embedding_type: PositionEmbeddingType | None = None) -> None:
        """Make both parts."""
        super().__init__()
        self.self = BertSelfAttention(config, position_embedding_type)
        self.output = BertSelfOutput(config)
        self.pruned_heads: set[int] = set()

    def prune_heads(self, heads: Collection[int]) -> None:
        """Cut heads out of the four weights; they are counted as in the whole layer, whatever is gone already.

        Optimizers made before hold the old parameters.

        Raises:
            ConfigError: a head that the layer never had, or the last one.
        """
        attention = self.self
        total = attention.num_attention_heads + len(self.pruned_heads)
        if not all(type(head) is int and 0 <= head < total for head in heads):
            raise ConfigError(f"heads to prune are {sorted(heads)}, expected numbers from 0 to {total - 1}")
        going, index = find_pruneable_heads_and_indices(
            heads, attention.num_attention_heads, attention.attention_head_size, self.pruned_heads
        )
        if not going:
            return
        if len(going) == attention.num_attention_heads:
            raise ConfigError("that would prune every head of a layer; at least one has to stay")
        attention.query = prune_linear_layer(attention.query, index)
        attention.key = prune_linear_layer(attention.key, index)
        attention.value = prune_linear_layer(attention.value, index)
        self.output.dense = prune_linear_layer(self.output.dense, index, dim=1)
        attention.num_attention_heads -= len(going)
        attention.all_head_size = attention.attention_head_size * attention.num_attention_heads
        self.pruned_heads |= going

    def remaining(self, head_mask: Tensor | None) -> Tensor | None:
        """Return the factors of the heads that are left, from those of all heads or of these alone."""
        left = self.self.num_attention_heads
        if head_mask is None or (head_mask.numel() == left and not self.pruned_heads):
            return head_mask
        total = left + len(self.pruned_heads)
        if head_mask.numel() != total:
            raise InputError(f"head_mask has the shape {tuple(head_mask.shape)}, expected one factor for {total} heads")
        stays = [head for head in range(total) if head not in self.pruned_heads]
        return head_mask.reshape(-1)[stays]

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Mask = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Mask = None,
        past_key_value: tuple[Tensor, ...] | None = None,
        output_attentions: bool = False,
    ) -> Attended:
        """Attend and mix the heads; the arguments are those of `BertSelfAttention`, `head_mask` counting pruned heads.

        Returns:
            `hidden` (…, H), for the layout's queries.
        """
        attended = self.self(
            hidden_states,
            attention_mask,
            self.remaining(head_mask),
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_value,
            output_attentions,
        )
        context, residual = attended.hidden, hidden_states
        layout = attention_mask if encoder_hidden_states is None else encoder_attention_mask
        if isinstance(layout, Layout):
            context, residual = layout.pick(context), layout.pick(layout.queries(residual))
        return cast(Attended, attended._replace(hidden=self.output(context, residual)))


class BertIntermediate(nn.Module):
    """The first half of the feed-forward: H to I, then the activation."""

    def __init__(self, config: BertConfig) -> None:
        """Make the I x H projection."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(…, H) -> (…, I)."""
        return self.intermediate_act_fn(self.dense(hidden_states))


class BertOutput(nn.Module):
    """The second half of the feed-forward: I to H, then residual and LayerNorm."""

    def __init__(self, config: BertConfig) -> None:
        """Make the H x I projection."""
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """(…, I), residual (…, H) -> (…, H)."""
        normed: Tensor = self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)
        return normed


class BertLayer(nn.Module):
    """Attention, in a decoder attention to an encoder's states too, then feed-forward."""

    def __init__(self, config: BertConfig) -> None:
        """Make the three parts, or four."""
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.seq_len_dim = -2  # of the tokens, in both layouts
        self.attention = BertAttention(config)
        self.crossattention: BertAttention | None = None
        if config.add_cross_attention:
            # Places of two different texts have no distance.
            self.crossattention = BertAttention(config, position_embedding_type="absolute")
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Mask = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Mask = None,
        past_key_value: tuple[Tensor, ...] | None = None,
        output_attentions: bool = False,
    ) -> Attended:
        """Run one layer; the arguments are those of `BertSelfAttention`.

        `past_key_value` holds keys and values of the tokens before, and behind them those of the encoder's states.
        """
        attended = self.attention(
            hidden_states,
            attention_mask,
            head_mask,
            past_key_value=None if past_key_value is None else past_key_value[:2],
            output_attentions=output_attentions,
        )
        hidden, weights, present, cross_weights = attended
        if encoder_hidden_states is not None:
            if self.crossattention is None:
                raise InputError("encoder_hidden_states need a layer with cross-attention (add_cross_attention)")
            # Without a cache from before, an empty rest means that the encoder's keys are still to be made.
            crossed = self.crossattention(
                hidden,
                None,
                head_mask,
                encoder_hidden_states,
                encoder_attention_mask,
                None if past_key_value is None else past_key_value[2:] or None,
                output_attentions,
            )
            hidden, cross_weights = crossed.hidden, crossed.weights
            if present is not None and crossed.present is not None:
                present = (*present, *crossed.present)
        hidden = apply_chunking_to_forward(
            self.feed_forward_chunk, self.chunk_size_feed_forward, self.seq_len_dim, hidden
        )
        return Attended(hidden, weights, present, cross_weights)

    def feed_forward_chunk(self, attention_output: Tensor) -> Tensor:
        """(…, H) -> (…, H), each token alone."""
        chunk: Tensor = self.output(self.intermediate(attention_output), attention_output)
        return chunk


class BertEncoder(nn.Module):
    """The layers, one after the other: each works on what the one before it made."""

    def __init__(self, config: BertConfig) -> None:
        """Make L layers."""
        super().__init__()
        self.gradient_checkpointing = config.gradient_checkpointing
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Mask = None,
        head_mask: Tensor | list[Tensor | None] | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Mask = None,
        past_key_values: Cache | None = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        *,
        last_layout: Layout | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions | tuple[Any, ...]:
        """Run all layers.

        Args:
            hidden_states: (…, H) the embeddings.
            attention_mask: a layout, or a mask for the scores.
            head_mask: (L, A) or a list, one item a layer.
            encoder_hidden_states: (B, E, H) for cross-attention.
            encoder_attention_mask: a layout, or a mask for the scores, over the encoder's states.
            past_key_values: one item a layer, as returned.
            use_cache: return keys and values.
            output_attentions: return the weights of every layer.
            output_hidden_states: return the states of every layer.
            return_dict: False returns a plain tuple.
            last_layout: where the last layer shall compute fewer rows: the narrowed layout.
        """
        states, weights, cross_weights, presents = [hidden_states], [], [], []
        for index, layer in enumerate(self.layer):
            if last_layout is not None and index == len(self.layer) - 1:
                attention_mask = last_layout
            arguments = (
                hidden_states,
                attention_mask,
                None if head_mask is None else head_mask[index],
                encoder_hidden_states,
                encoder_attention_mask,
                None if past_key_values is None else past_key_values[index],
                output_attentions,
            )
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                attended = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                attended = layer(*arguments)
            hidden_states = attended.hidden
            if output_hidden_states:
                states.append(hidden_states)
            if output_attentions:
                weights.append(attended.weights)
                cross_weights.append(attended.cross_weights)
            if use_cache:
                presents.append(attended.present)
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states,
            past_key_values=tuple(presents) if use_cache else None,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(weights) if output_attentions else None,
            cross_attentions=tuple(cross_weights) if output_attentions and encoder_hidden_states is not None else None,
        )
        return output if return_dict else output.to_tuple()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """What the body made, still in its layout; a head takes from it the rows that it needs.

    Attributes:
        hidden: the last layer's rows, (…, H).
        layout: where they lie.
        past_key_values: keys and values of each layer, where a cache is used.
        hidden_states: L + 1 times (B, S, H), where asked for.
        attentions: L times (B, A, Q, K), where asked for.
        cross_attentions: L times (B, A, Q, E), where asked for.
    """

    hidden: Tensor
    layout: Layout
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None

    def first(self) -> Tensor:
        """Return the first token's last vectors, (B, 1, H)."""
        return self.layout.first(self.hidden)

    def asked(self, places: Tensor) -> Tensor:
        """Return the last vectors (N, H) at the true places of `places` (B, S), which `encode` was asked for."""
        return self.layout.asked(self.hidden, places)

    def padded(self) -> Tensor:
        """Return all last vectors as (B, S, H), zeros in rows that were not computed."""
        return self.layout.leave(self.hidden)


def _check_linear(module: nn.Module, name: str) -> None:
    if not isinstance(module, nn.Linear):
        raise ConfigError(f"{name} is a {type(module).__name__}; heads can be cut out of an nn.Linear only")


class BertPooler(nn.Module):
    """The first token's vector through Linear and tanh."""

    def __init__(self, config: BertConfig) -> None:
        """Make the H x H projection."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, S, H) -> (B, H); only place 0 of S is read."""
        pooled: Tensor = self.activation(self.dense(hidden_states[:, 0]))
        return pooled


class BertModel(BertPreTrainedModel):
    """Embeddings, encoder and, unless left out, the pooler; with `is_decoder` in the config, a decoder."""

    # Heads of the models that hold a BERT, and a pooler that is not wanted.
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = (
        r"^cls\.",
        r"^classifier\.",
        r"^qa_outputs\.",
        r"^pooler\.",
    )

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
        """Replace the word embeddings; `config.vocab_size`, by which ids are checked, follows."""
        width = self.config.hidden_size
        if not isinstance(value, nn.Embedding) or value.embedding_dim != width:
            raise ConfigError(f"word embeddings are {value!r}, expected an nn.Embedding of width {width}")
        if value.num_embeddings <= self.config.pad_token_id:
            raise ConfigError(
                f"word embeddings have {value.num_embeddings} rows, too few for pad_token_id {self.config.pad_token_id}"
            )
        self.embeddings.word_embeddings = value
        self._change_config(vocab_size=value.num_embeddings)

    def _prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Cut heads out of layers, by the layers' numbers; `config.pruned_heads` follows."""
        for index in heads_to_prune:
            # Before anything is cut, so that a refusal leaves the model as it was.
            attention = self._layer(index).attention
            if not isinstance(attention, BertAttention) or not isinstance(attention.self, BertSelfAttention):
                raise ConfigError(
                    f"encoder.layer.{index}.attention was replaced; heads can be cut out of BERT's own only"
                )
            for name in ("query", "key", "value"):
                _check_linear(getattr(attention.self, name), f"encoder.layer.{index}.attention.self.{name}")
            _check_linear(attention.output.dense, f"encoder.layer.{index}.attention.output.dense")
        for index, heads in heads_to_prune.items():
            self._layer(index).attention.prune_heads(heads)
        self._change_config(pruned_heads=self.pruned_heads())

    def pruned_heads(self) -> dict[int, list[int]]:
        """Return the heads that are cut out of each layer."""
        # A layer that was put into something else is not looked into.
        layers = [(index, layer) for index, layer in enumerate(self.encoder.layer) if isinstance(layer, BertLayer)]
        gone = {
            index: sorted(layer.attention.pruned_heads)
            for index, layer in layers
            if isinstance(layer.attention, BertAttention)
        }
        return {index: heads for index, heads in gone.items() if heads}

    def _layer(self, index: int) -> BertLayer:
        layer = self.encoder.layer[index]
        if not isinstance(layer, BertLayer):
            raise ConfigError(f"encoder.layer.{index} is a {type(layer).__name__}, expected a BertLayer")
        return layer

    def encode(
        self, inputs: Inputs, *, rows: Literal["all", "first", "asked"] = "all", asked: Tensor | None = None
    ) -> Encoded:
        """Run embeddings and encoder on checked inputs; heads call this and take the rows that they need.

        Which function attends, `attention.backend_for` says: attention weights are formed by `eager`, whatever backend
        is set, and what only the padded layout holds is computed by `sdpa` where a packed backend is set.

        Args:
            inputs: the arguments of the forward call.
            rows: what the caller will read: all rows; "first", the first token of each sequence alone; "asked", those
                and the true places of `asked`. The last layer computes no others, unless states or weights are
                asked for.
            asked: (B, S) bool, places that are computed even where they are masked.

        Raises:
            InputError: the packed layout is asked to be traced.
        """
        backend = backend_for(self.attention_backend, weights=inputs.want_weights, padded=inputs.padded_only)
        layout: Padded | Packed
        encoder_layout = None
        if backend == "packed" or backend == "varlen":
            if is_tracing():
                raise InputError("the packed layout cannot be traced; set model.attention_backend = 'sdpa' first")
            layout = Packed.from_mask(
                inputs.mask_or_ones(), asked=asked, causal=self.config.is_decoder, backend=backend
            )
        else:
            layout = Padded.from_mask(
                inputs.mask,
                shape=inputs.shape,
                keys=inputs.past_length + inputs.shape[1],
                causal=self.config.is_decoder,
                backend=backend,
                device=inputs.device,
            )
            if inputs.encoder_states is not None:
                encoder_layout = Padded.from_mask(
                    inputs.encoder_mask, shape=inputs.shape, keys=inputs.encoder_states.shape[1], backend=backend
                )
        # Cross-attention reads all rows of the attention before it.
        few = rows != "all" and not inputs.want_states and not inputs.want_weights and encoder_layout is None
        last = layout
        if few and len(self.encoder.layer):
            last = layout.narrow_to_first() if rows == "first" or asked is None else layout.narrow_to(asked)
        encoded = self.encoder(
            self.embeddings(
                None if inputs.ids is None else layout.enter(inputs.ids),
                layout.enter(inputs.types),
                layout.enter(inputs.positions),
                None if inputs.embeds is None else layout.enter(inputs.embeds),
            ),
            layout,
            inputs.head_mask,
            inputs.encoder_states,
            encoder_layout,
            inputs.past,
            inputs.use_cache,
            inputs.want_weights,
            inputs.want_states,
            last_layout=last,
        )
        return Encoded(
            hidden=encoded.last_hidden_state,
            layout=last,
            past_key_values=encoded.past_key_values,
            hidden_states=tuple(map(layout.leave, encoded.hidden_states)) if inputs.want_states else None,
            attentions=encoded.attentions,
            cross_attentions=encoded.cross_attentions,
        )

    def pooled(self, encoded: Encoded) -> Tensor:
        """Return the pooler's vectors (B, H), for a head that reads them.

        Raises:
            ConfigError: there is no pooler.
        """
        if self.pooler is None:
            raise ConfigError("this head reads the pooler, but the BertModel was made with add_pooling_layer=False")
        vectors: Tensor = self.pooler(encoded.first())
        return vectors

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
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions | tuple[Any, ...]:
        """Turn tokens into vectors.

        Args:
            input_ids: (B, S) ids of tokens; or give `inputs_embeds`.
            attention_mask: (B, K), 1 at real tokens and 0 at padding, K counting cached tokens too; or (B, S, K), 1
                where a query sees a key, taken as it is, also by a decoder. None takes all as real.
            token_type_ids: (B, S) segment of each token; None means 0.
            position_ids: (B, S) or (1, S) place of each token; None counts from 0, or from the end of the cache.
            head_mask: (A,) or (L, A) factors of the heads' attention weights, over all heads that the layer ever had.
            inputs_embeds: (B, S, H) in place of the look-up of `input_ids`.
            encoder_hidden_states: (B, E, H), which a decoder with cross-attention attends to.
            encoder_attention_mask: (B, E) or (B, S, E), 1 where they may be seen; None takes all as real.
            past_key_values: what a call on the tokens before these returned. An encoder takes them too, as prefixes.
            use_cache: return `past_key_values`; None asks the config in a decoder.
            output_attentions: return the weights of every layer; None asks the config.
            output_hidden_states: return the states of every layer; None asks the config.
            return_dict: False returns a plain tuple; None asks the config.

        Raises:
            InputError: shapes that disagree, ids out of range, more tokens than there are positions.
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
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        encoded = self.encode(inputs)
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=encoded.padded(),
            pooler_output=None if self.pooler is None else self.pooler(encoded.first()),
            past_key_values=encoded.past_key_values,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
            cross_attentions=encoded.cross_attentions,
        )
        result = self.as_asked(output, return_dict)
        if isinstance(result, tuple) and self.pooler is None and not is_tracing():
            return (result[0], None, *result[1:])  # the pooler keeps its place, as in 4.4.2; a trace holds no None
        return result
