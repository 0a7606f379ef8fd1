"""The arguments of a forward call, checked and completed before any kernel sees them.

Values are looked at only where they lie in the CPU's memory: a look at a device's memory would wait for the device.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import torch
from torch import Tensor

from glassbert.errors import InputError
from glassbert.model.config import BertConfig

_INTEGERS: Final = (torch.int64, torch.int32)

# For each layer: keys and values (B, A, K, D), and with cross-attention those of the encoder's states behind them.
Cache = tuple[tuple[Tensor, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What goes into a model, which tokens are real, and what the caller wants back.

    Attributes:
        ids: (B, S) token ids, or None where `embeds` stands for them.
        embeds: (B, S, H) word vectors, or None.
        mask: bool, true at what may be seen: (B, K) with K counting cached tokens too, or (B, S, K); None where all is.
        types: (B, S) segments.
        positions: (B, S) places.
        head_mask: (L, A) factors of the heads' weights, or None.
        encoder_states: (B, E, H) for cross-attention, or None.
        encoder_mask: bool (B, E) or (B, S, E), or None.
        past: keys and values of tokens before these, or None.
        past_length: how many those are.
        use_cache: give back the keys and values.
        want_weights: give back attention weights.
        want_states: give back hidden states.
    """

    ids: Tensor | None
    embeds: Tensor | None
    mask: Tensor | None
    types: Tensor
    positions: Tensor
    head_mask: Tensor | None
    encoder_states: Tensor | None
    encoder_mask: Tensor | None
    past: Cache | None
    past_length: int
    use_cache: bool
    want_weights: bool
    want_states: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(B, S)."""
        batch, length = self.positions.shape
        return batch, length

    @property
    def device(self) -> torch.device:
        """Where the tokens are."""
        return self.positions.device

    @property
    def padded_only(self) -> bool:
        """Whether the call has what only the padded layout holds: a 3-D mask, a cache or cross-attention."""
        three = self.mask is not None and self.mask.dim() == 3
        return three or self.use_cache or self.past is not None or self.encoder_states is not None

    def mask_or_ones(self) -> Tensor:
        """(B, S) bool, made where all tokens are real."""
        return torch.ones_like(self.positions, dtype=torch.bool) if self.mask is None else self.mask

    def real(self) -> Tensor | None:
        """(B, S) bool, true at the real tokens of this call; None where all are, or where the mask is of pairs."""
        if self.mask is None or self.mask.dim() == 3:
            return None
        return self.mask[:, self.past_length :]

    @classmethod
    def check(
        cls,
        config: BertConfig,
        *,
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
    ) -> Inputs:
        """Check and complete the arguments of a forward call; what they are, `BertModel.forward` says.

        Raises:
            InputError: by name, with what was found and what was expected.
        """
        for name, value in (
            ("input_ids", input_ids),
            ("attention_mask", attention_mask),
            ("token_type_ids", token_type_ids),
            ("position_ids", position_ids),
            ("head_mask", head_mask),
            ("inputs_embeds", inputs_embeds),
            ("encoder_hidden_states", encoder_hidden_states),
            ("encoder_attention_mask", encoder_attention_mask),
        ):
            if value is not None and not isinstance(value, Tensor):
                raise InputError(f"{name} is of type {type(value).__name__}, expected a torch.Tensor")
        for name, flag in (
            ("use_cache", use_cache),
            ("output_attentions", output_attentions),
            ("output_hidden_states", output_hidden_states),
        ):
            if flag is not None and type(flag) is not bool:
                raise InputError(f"{name} is {flag!r}, expected True or False")
        batch, length, device = _check_tokens(config, input_ids, inputs_embeds)
        shape = (batch, length)
        past_length = 0
        if past_key_values is not None:
            past_length = _check_past(config, past_key_values, batch)
            _check_crossed(config, past_key_values, encoder_hidden_states)
        keys = past_length + length
        if keys > config.max_position_embeddings:
            cached = f" ({past_length} of them cached)" if past_length else ""
            raise InputError(
                f"sequences of {keys} tokens{cached}, but the model has {config.max_position_embeddings} positions; "
                "cut the text (truncation=True) or split it"
            )
        if token_type_ids is None:
            types = torch.zeros(shape, dtype=torch.int64, device=device)
        elif tuple(token_type_ids.shape) != shape:
            raise InputError(f"token_type_ids has the shape {tuple(token_type_ids.shape)}, expected {shape}")
        else:
            _check_range("token_type_ids", token_type_ids, config.type_vocab_size, "type_vocab_size")
            types = token_type_ids
        if use_cache and not config.is_decoder:
            raise InputError(
                "use_cache needs a decoder (is_decoder in the config): an encoder sees the whole text at once"
            )
        return cls(
            ids=input_ids,
            embeds=inputs_embeds,
            mask=None if attention_mask is None else _check_mask("attention_mask", attention_mask, batch, length, keys),
            types=types,
            positions=_positions(config, position_ids, shape, past_length, device),
            head_mask=None if head_mask is None else _check_head_mask(config, head_mask),
            encoder_states=encoder_hidden_states,
            encoder_mask=_check_encoder(config, encoder_hidden_states, encoder_attention_mask, shape),
            past=past_key_values,
            past_length=past_length,
            use_cache=config.is_decoder and config.use_cache if use_cache is None else use_cache,
            want_weights=config.output_attentions if output_attentions is None else output_attentions,
            want_states=config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        )


def is_tracing() -> bool:
    """Whether `torch.jit.trace` or `torch.export` is watching: shapes are known, values are not."""
    return torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None


def has_values(tensor: Tensor) -> bool:
    """Whether a look at the values of `tensor` costs nothing: it is on the CPU, and nobody records the program."""
    return (
        tensor.device.type == "cpu" and bool(tensor.numel()) and not torch.compiler.is_compiling() and not is_tracing()
    )


def _check_tokens(
    config: BertConfig, input_ids: Tensor | None, inputs_embeds: Tensor | None
) -> tuple[int, int, torch.device]:
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("give either input_ids or inputs_embeds" + ("" if input_ids is None else ", not both"))
    if input_ids is not None:
        if input_ids.dim() != 2:
            raise InputError(f"input_ids has the shape {tuple(input_ids.shape)}, expected (batch, sequence)")
        batch, length = input_ids.shape
        device = input_ids.device
    else:
        assert inputs_embeds is not None
        if inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != config.hidden_size:
            expected = f"(batch, sequence, {config.hidden_size})"
            raise InputError(f"inputs_embeds has the shape {tuple(inputs_embeds.shape)}, expected {expected}")
        if not inputs_embeds.is_floating_point():
            raise InputError(f"inputs_embeds has the dtype {inputs_embeds.dtype}, expected floats")
        batch, length = inputs_embeds.shape[:2]
        device = inputs_embeds.device
    if batch == 0 or length == 0:
        raise InputError(f"the batch is empty: {batch} sequences of {length} tokens")
    if input_ids is not None:
        _check_range("input_ids", input_ids, config.vocab_size, "vocab_size")
    return batch, length, device


def _positions(
    config: BertConfig, positions: Tensor | None, shape: tuple[int, int], past_length: int, device: torch.device
) -> Tensor:
    length = shape[1]
    if positions is None:
        return torch.arange(past_length, past_length + length, device=device).expand(shape)
    if config.position_embedding_type != "absolute":
        raise InputError(
            f"position_ids have no effect with position_embedding_type {config.position_embedding_type!r}: "
            "distances are counted along the sequence"
        )
    if tuple(positions.shape) not in (shape, (1, length)):
        raise InputError(f"position_ids has the shape {tuple(positions.shape)}, expected {shape} or (1, {length})")
    _check_range("position_ids", positions, config.max_position_embeddings, "max_position_embeddings")
    return positions.expand(shape)


def _check_mask(name: str, mask: Tensor, batch: int, queries: int, keys: int) -> Tensor:
    """Return `mask` as bool, (B, K) or (B, Q, K)."""
    if tuple(mask.shape) not in ((batch, keys), (batch, queries, keys)):
        raise InputError(
            f"{name} has the shape {tuple(mask.shape)}, expected {(batch, keys)} or {(batch, queries, keys)}"
        )
    if mask.dtype == torch.bool:
        return mask
    if mask.is_complex():
        raise InputError(f"{name} has the dtype {mask.dtype}, expected whole numbers, floats or bool")
    real = mask != 0
    # A mask that is meant to be added to scores (0 and -10,000) would say the opposite here.
    if has_values(mask) and not bool((mask == real).all()):
        other = float(mask[mask != real][0])
        raise InputError(f"{name} holds {other:g}, expected 1 at real tokens and 0 at padding")
    return real


def _check_encoder(
    config: BertConfig, states: Tensor | None, mask: Tensor | None, shape: tuple[int, int]
) -> Tensor | None:
    """Return the encoder's mask as bool."""
    if states is None:
        if mask is not None:
            raise InputError("encoder_attention_mask is given without encoder_hidden_states")
        return None
    if not config.add_cross_attention:
        raise InputError("encoder_hidden_states need a model with cross-attention (add_cross_attention in the config)")
    batch, length = shape
    if states.dim() != 3 or states.shape[0] != batch or states.shape[2] != config.hidden_size:
        expected = f"({batch}, encoder's length, {config.hidden_size})"
        raise InputError(f"encoder_hidden_states has the shape {tuple(states.shape)}, expected {expected}")
    return None if mask is None else _check_mask("encoder_attention_mask", mask, batch, length, states.shape[1])


def _check_past(config: BertConfig, past: Cache, batch: int) -> int:
    """Return how many tokens are cached."""
    wanted = "a tuple of (key, value) for each layer, as returned in past_key_values"
    if not isinstance(past, tuple | list) or len(past) != config.num_hidden_layers:
        found = f"{len(past)} entries" if isinstance(past, tuple | list) else type(past).__name__
        raise InputError(f"past_key_values holds {found} for {config.num_hidden_layers} layers, expected {wanted}")
    length = None
    for layer in past:
        if not isinstance(layer, tuple | list) or len(layer) not in (2, 4) or any(t.dim() != 4 for t in layer):
            raise InputError(f"past_key_values holds other things than four-dimensional tensors, expected {wanted}")
        key, value = layer[:2]
        size = config.hidden_size // config.num_attention_heads
        wrong = key.shape != value.shape or key.shape[0] != batch or key.shape[3] != size
        if wrong or key.shape[1] > config.num_attention_heads or length not in (None, key.shape[2]):
            raise InputError(
                f"past_key_values holds keys {tuple(key.shape)} and values {tuple(value.shape)}, expected "
                f"({batch}, {config.num_attention_heads}, cached tokens, {size}) alike in all layers"
            )
        length = key.shape[2]
    return length or 0


def _check_crossed(config: BertConfig, past: Cache, states: Tensor | None) -> None:
    """Hold a cache against the encoder's states: it has their keys exactly where they are given."""
    crossed = any(len(layer) == 4 for layer in past)
    if crossed and not config.add_cross_attention:
        raise InputError("past_key_values hold keys of an encoder, but the model has no cross-attention")
    if crossed != (states is not None) and past:
        had = "with" if crossed else "without"
        raise InputError(f"past_key_values come from a call {had} encoder_hidden_states; give them again, or neither")
    if states is None:
        return
    for layer in past:
        shapes = [tuple(tensor.shape) for tensor in layer[2:]]
        # Pruning may have left a layer fewer heads of its own than for the encoder.
        wanted = (states.shape[0], states.shape[1], layer[0].shape[3])
        fits = all((shape[0], shape[2], shape[3]) == wanted for shape in shapes)
        if len(shapes) != 2 or not fits or shapes[0] != shapes[1]:
            raise InputError(
                f"past_key_values hold {shapes} of an encoder's states, expected keys and values of "
                f"({wanted[0]}, heads, {wanted[1]}, {wanted[2]}), as encoder_hidden_states are"
            )


def _check_head_mask(config: BertConfig, head_mask: Tensor) -> Tensor:
    """Return `head_mask` as (L, A)."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if tuple(head_mask.shape) not in ((heads,), (layers, heads)):
        raise InputError(
            f"head_mask has the shape {tuple(head_mask.shape)}, expected ({heads},) or ({layers}, {heads})"
        )
    if has_values(head_mask) and not bool(head_mask.isfinite().all()):
        raise InputError("head_mask holds numbers that are not finite")
    return head_mask.expand(layers, heads)


def _check_range(name: str, values: Tensor, end: int, end_name: str) -> None:
    if values.dtype not in _INTEGERS:
        raise InputError(f"{name} has the dtype {values.dtype}, expected torch.int64")
    if has_values(values):
        low, high = (int(value) for value in values.aminmax())
        if low < 0 or high >= end:
            raise InputError(f"{name} holds {low if low < 0 else high}, expected 0 to {end - 1} ({end_name} {end})")
