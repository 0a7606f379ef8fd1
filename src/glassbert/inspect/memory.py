"""What memory a step takes: a formula, and beside it what torch's allocator hands out while the model runs.

Letters: B batch, S sequence, T = B·S tokens, H hidden, A heads, D head size, I intermediate, L layers, V vocabulary, N
labelled places. Texts have no padding.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import profiler

from glassbert import native
from glassbert.errors import ConfigError, InputError
from glassbert.model import (
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
    SentenceEncoder,
    losses,
)
from glassbert.model.bert import BertLayer
from glassbert.train.optimizer import make_optimizer

OptimizerKind = Literal["adamw", "lamb", "momentum", "sgd"]

MOMENTS: Final[dict[OptimizerKind, int]] = {"adamw": 2, "lamb": 2, "momentum": 1, "sgd": 0}
"""How many numbers each optimizer remembers of a parameter."""

CHUNK: Final = 64
"""Tokens of a piece of the feed-forward, where the model does not say."""

# Of the tokens that pretraining hides, and so scores.
LABELLED: Final = 0.15

# Bytes of the state of torch's generator, which is kept to draw the same dropout again.
_RANDOM_STATE: Final = 5056

# What a measurement may take: bytes beside the weights and what follows from them, multiplications of a step, and all.
_MOST_ACTIVATIONS: Final = 600e6
_MOST_FLOPS: Final = 7e10
_MOST_BYTES: Final = 4e9
_ROUNDS: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Growth:
    """A number that follows from batch B and length S: fixed + text·B + token·B·S + pair·B·S² + square·S².

    Attributes:
        fixed: whatever the batch is.
        text: for each text.
        token: for each token.
        pair: for each pair of tokens of a text.
        square: for each pair of places, however many texts there are: a mask.
    """

    fixed: float = 0.0
    text: float = 0.0
    token: float = 0.0
    pair: float = 0.0
    square: float = 0.0

    def __add__(self, other: Growth) -> Growth:
        """Return the sum of both."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Growth(**dict(zip(_TERMS, (one + two for one, two in pairs), strict=True)))

    def __mul__(self, factor: float) -> Growth:
        """Return it so many times."""
        return Growth(**{name: value * factor for name, value in zip(_TERMS, dataclasses.astuple(self), strict=True)})

    def at(self, batch: int, length: int) -> int:
        """Return the number, rounded to a whole one."""
        tokens = batch * length
        squares = self.pair * tokens * length + self.square * length * length
        return int(self.fixed + self.text * batch + self.token * tokens + squares + 0.5)


_TERMS: Final = tuple(field.name for field in dataclasses.fields(Growth))
_TEXTS: Final = Growth(text=1.0)
_TOKENS: Final = Growth(token=1.0)
_PAIRS: Final = Growth(pair=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """A way to run the model.

    Attributes:
        training: a step forward, back, and of the optimizer; else a call without gradients.
        checkpointing: each layer is computed anew on the way back, and only what goes into it is kept.
        chunk: tokens of a piece of the feed-forward; 0 takes all at once. In a padded layout, tokens of each text.
    """

    training: bool
    checkpointing: bool = False
    chunk: int = 0

    @property
    def name(self) -> str:
        """What it is called."""
        with_ = [
            *(["checkpointing"] if self.checkpointing else []),
            *([f"chunks of {self.chunk}"] if self.chunk else []),
        ]
        return f"{'training' if self.training else 'inference'}{', ' if with_ else ''}{' and '.join(with_)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What memory a setting takes, in bytes, as a formula of batch and length.

    Attributes:
        setting: the way to run.
        kept: what autograd keeps of the forward pass for the way back; nothing in inference.
        moments: what lives, all in all, at moments that may be the highest; the peak is the highest of them.
        without_chunks: the same moments with whole feed-forwards, which a batch smaller than a chunk has; empty where
            there are no chunks.
    """

    setting: Setting
    kept: Growth
    moments: tuple[Growth, ...]
    without_chunks: tuple[Growth, ...] = ()

    def peak(self, batch: int, length: int) -> int:
        """Return the most bytes that live at once: weights, gradients, optimizer state, activations."""
        peak = max(one.at(batch, length) for one in self.moments)
        if self.without_chunks:
            return min(peak, max(one.at(batch, length) for one in self.without_chunks))
        return peak


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What a setting took on this machine.

    Attributes:
        setting: the way to run.
        kept: bytes that lived when the forward pass had ended, weights and optimizer state left out.
        peak: most bytes that lived at once.
        seconds: median of a step.
    """

    setting: Setting
    kept: int
    peak: int
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measurement of settings, in turns.

    Attributes:
        batch: texts of the batch that was run.
        length: tokens of each.
        weights: bytes.
        gradients: bytes after the way back; None where training was not measured.
        optimizer: bytes of the optimizer's state; None likewise.
        rounds: how many steps each setting was timed for.
        threads: of torch.
        settings: each with what it took.
    """

    batch: int
    length: int
    weights: int
    gradients: int | None
    optimizer: int | None
    rounds: int
    threads: int
    settings: tuple[Measured, ...]


def settings_of(model: BertPreTrainedModel) -> tuple[Setting, ...]:
    """Return the settings to compare: training with and without checkpointing and chunks, and inference."""
    chunk = model.config.chunk_size_feed_forward or CHUNK
    training = (Setting(training=True, checkpointing=c, chunk=n) for n in (0, chunk) for c in (False, True))
    inference = (Setting(training=False, chunk=n) for n in (0, chunk))
    return (*(training if any(p.requires_grad for p in model.parameters()) else ()), *inference)


# The formula


class Path(NamedTuple):
    """Which code computes a step, as far as memory knows it.

    Attributes:
        kernels: the kernels in C train: what is dropped, and the attention weights, are made again on the way back.
        pairs: numbers for each head and pair of tokens that a layer keeps.
        training_pairs: how many more live at the highest moment of training.
        inference_pairs: how many live in inference.
        mask: bytes for each pair of places of a mask of the future.
        joined: attention's result is kept twice, as the kernel gave it and joined into the stream.
        padded: the layout has a place for keys and values of a cache, which hold them until the next layer has run.
    """

    kernels: bool
    pairs: float
    training_pairs: float
    inference_pairs: float
    mask: float
    joined: bool
    padded: bool = False


def path_of(model: BertPreTrainedModel) -> Path:
    """Say which code computes: of the table in `glassbert.model.attention`, as it is on a CPU.

    The numbers for each pair of tokens are those of the tensors (B, A, S, S) that the functions there make and keep:
    none by the kernels in C and by torch's fused kernel; the weights, and with dropout which of them are kept and what
    is left, by the formula written out; with relative positions also what distances add, before and after each look-up.
    """
    config, backend = model.config, model.attention_backend
    dropped = config.attention_probs_dropout_prob > 0.0
    kernels = native.available and model.dtype == torch.float32 and model.device.type in ("cpu", "meta")
    relative = {"absolute": 0, "relative_key": 1, "relative_key_query": 2}[config.position_embedding_type]
    packed = backend in ("packed", "varlen")
    mask = 7.0 if config.is_decoder else 0.0
    if relative:
        kept = (2.0 if packed else 1.5) + 2.0 * relative + 2.0 * dropped
        return Path(
            kernels,
            kept,
            3.25 if packed else 2.25,
            (3.0 if backend == "sdpa" else 4.0) + relative,
            mask,
            packed,
            not packed,
        )
    if backend == "eager":
        causal = float(config.is_decoder)
        return Path(kernels, 3.0 if dropped else 1.0 + causal, 1.0 if dropped else 2.0, 2.0 + causal, mask, False, True)
    if backend == "sdpa" or config.is_decoder:
        # torch's fused kernel for a CPU has no dropout, so with it the formula is computed step by step.
        return Path(kernels, 3.0 * dropped, 1.0 * dropped, 0.0, mask, packed, not packed)
    if kernels:
        return Path(True, 0.0, 0.0, 0.0, 0.0, False)
    return Path(False, 1.0 * dropped, 1.0 * dropped, 0.0, 0.0, not dropped)


class _Part(NamedTuple):
    """A layer in the formula, in bytes.

    Attributes:
        entered: what comes into it.
        kept: what it keeps beside.
        back: what lives in addition on the way back through its feed-forward, taken at once; and in chunks.
        attended: what more, or less, lives on the way back through its attention.
        weights: bytes of its parameters that are trained.
        full: it computes all rows.
    """

    entered: Growth
    kept: Growth
    back: Growth
    back_in_chunks: Growth
    attended: Growth
    weights: float
    full: bool


def predictions(
    model: BertPreTrainedModel, settings: Sequence[Setting], optimizer: OptimizerKind = "adamw"
) -> tuple[Prediction, ...]:
    """Say what memory each setting takes.

    The numbers that autograd keeps in a training step, each of as many bytes as the model's floats have:

        embeddings      T·H + 2·T                       what LayerNorm read, its means and deviations
        each layer      4·T·H                           its input; what the first LayerNorm read and gave; the second's
                        + 4·T·A·D                       query, key, value and context, A the heads that are left
                        + 2·T·I                         before and after the activation (relu: after it alone)
                        + 2·T·A + 4·T                   two numbers a row of attention; means and deviations
        words' scores   4·N·H + N·V                     pretraining, N = 0.15·T labelled places, and all T of a decoder
        other heads     T·H + T·C, or about 3·B·H       of each token, or of the first tokens

    and 16 bytes a token for segments and places. A last layer that computes the first tokens alone (a classifier's) has
    B rows in place of T, but for its input, key and value; one that computes labelled places has B + N after attention.
    Without the kernels in C, dropout keeps 2 bytes more for each number that it looks at, and attention the tensors of
    `path_of`. With checkpointing only the layers' inputs are kept, T·H each, and the state of torch's generator, 5,056
    bytes a layer; one layer's rest while it is computed anew. Chunks of the feed-forward change nothing of what is
    kept.

    The peak is the highest of these moments, to which weights and optimizer state are added, and on the way back the
    gradients of all layers above:

        after the forward pass                  kept + 2·T·H, or the head's own
        back in a layer's feed-forward          kept up to there + T·I + T·H (relu: 2·T·I); in chunks of c 2·T·H + 2·c·I
        back in a layer's attention             kept up to there - 2·T·I - 4·T·H + 5·T·H, and what attention makes of
                                                each pair
        at the embeddings                       all gradients + 2·T·H, and once more V·H where the projection is tied
        in inference, feed-forward              3·T·H + 2·T·I; in chunks 5·T·H + 2·c·I
        in inference, attention                 7·T·H, and what attention makes of each pair

    Tests hold it to within 10% of what is measured, kept and peak, on the path that trains on a CPU. Without the
    kernels in C, with relative positions, in a decoder and in a padded layout, where some tensors come and go within a
    layer, they hold it to within 25%.

    Args:
        model: of a class of glassbert; also on the meta device.
        settings: ways to run it.
        optimizer: which remembers `MOMENTS` numbers of each parameter that is trained, float32 at least.
    """
    return tuple(_prediction(model, setting, optimizer) for setting in settings)


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, shared ones once."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def gradient_bytes(model: BertPreTrainedModel) -> int:
    """Return the bytes of the gradients of what is trained."""
    return sum(parameter.nbytes for parameter in trained_of(model))


def trained_of(model: BertPreTrainedModel) -> list[nn.Parameter]:
    """Return the parameters that get a gradient; relative positions leave the table of places unread."""
    relative = model.config.position_embedding_type != "absolute"
    unread = _bert(model).embeddings.position_embeddings.weight if relative else None
    return [p for p in model.parameters() if p.requires_grad and p is not unread]


def optimizer_bytes(model: BertPreTrainedModel, optimizer: OptimizerKind) -> int:
    """Return the bytes of the optimizer's state: its moments, and in AdamW and LAMB a step for each parameter."""
    trained = trained_of(model)
    if optimizer in ("momentum", "sgd"):
        return MOMENTS[optimizer] * sum(p.nbytes for p in trained)
    return MOMENTS[optimizer] * sum(p.numel() * max(4, p.element_size()) for p in trained)


def _prediction(model: BertPreTrainedModel, setting: Setting, optimizer: OptimizerKind) -> Prediction:
    if not setting.training:
        moments = _inference_moments(model, setting.chunk)
        whole = _inference_moments(model, 0) if setting.chunk else ()
        return Prediction(setting=setting, kept=Growth(), moments=moments, without_chunks=whole)
    kept, moments = _training_moments(model, setting, optimizer)
    whole = _training_moments(model, dataclasses.replace(setting, chunk=0), optimizer)[1] if setting.chunk else ()
    return Prediction(setting=setting, kept=kept, moments=moments, without_chunks=whole)


def _bert(model: BertPreTrainedModel) -> BertModel:
    bert = model.base_model
    if not isinstance(bert, BertModel):
        raise InputError(f"a {type(model).__name__} has no BertModel under 'bert', so its costs are not known")
    return bert


def _rows(model: BertPreTrainedModel) -> Growth:
    """Return how many rows of the last layer a training step computes after attention."""
    if _reads_first(model):
        return _TEXTS
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        return _TEXTS + _TOKENS * LABELLED
    return _TOKENS


def _reads_first(model: BertPreTrainedModel) -> bool:
    """Whether the last layer computes the first tokens alone."""
    if isinstance(model, SentenceEncoder):
        return model.pooling == "cls" and model.layers == 1
    return isinstance(model, BertForSequenceClassification | BertForMultipleChoice | BertForNextSentencePrediction)


def _parts(model: BertPreTrainedModel) -> list[_Part]:
    """Return the layers in the formula, those that nothing below is trained in keeping nothing."""
    config, size, path = model.config, model.dtype.itemsize, path_of(model)
    bert = _bert(model)
    width, drops = float(config.hidden_size), config.hidden_dropout_prob > 0.0
    trains = any(p.requires_grad for p in bert.embeddings.parameters())
    parts: list[_Part] = []
    for place, layer in enumerate(bert.encoder.layer):
        assert isinstance(layer, BertLayer)
        trained = sum(p.nbytes for p in layer.parameters() if p.requires_grad)
        trains = trains or trained > 0
        last = place == len(bert.encoder.layer) - 1
        rows = _rows(model) if last else _TOKENS
        heads = layer.attention.self.num_attention_heads
        heads_width = float(layer.attention.self.all_head_size)
        inner = float(layer.intermediate.dense.out_features)
        asked = _TEXTS if rows == _TEXTS else _TOKENS  # that attend
        kept = _TOKENS * (2.0 * heads_width) + (asked + rows) * heads_width  # key, value; query; context
        kept += asked * ((2.0 if path.kernels else 1.0) * heads + heads_width * path.joined)
        kept += rows * (3.0 * width + 4.0 + (1.0 if config.hidden_act == "relu" else 2.0) * inner)
        by_pair = (_TOKENS if rows == _TEXTS else _PAIRS) * heads
        kept += by_pair * path.pairs
        held = kept * size + Growth(square=4.0 if path.mask and not path.pairs else 0.0)
        if drops and not path.kernels:
            held += rows * (2.0 * 2.0 * width)
        # relu: the gradients of what it gave and of what it took; else what it gave has gone by then.
        relu = config.hidden_act == "relu"
        back = rows * (2.0 * inner if relu else inner + width * drops)
        chunk = Growth(token=2.0 * width)
        # What the feed-forward kept is gone; the gradients of query, key, value, context and input are there.
        freed = rows * (-(1.0 if relu else 2.0) * inner - 3.0 * width - heads_width)
        freed += (asked + _TOKENS) * (2.0 * heads_width) + _TOKENS * (width if rows == _TOKENS else 2.0 * width)
        parts.append(
            _Part(
                entered=(_TOKENS * (width * size)) if trains else Growth(),
                kept=held if trains else Growth(),
                back=back * size,
                back_in_chunks=chunk * size,
                attended=(freed + by_pair * path.training_pairs) * size,
                weights=float(trained),
                full=asked == _TOKENS,
            )
        )
    return parts


def _training_moments(
    model: BertPreTrainedModel, setting: Setting, optimizer: OptimizerKind
) -> tuple[Growth, tuple[Growth, ...]]:
    """Return what is kept, and what lives at each moment."""
    config, size, path = model.config, model.dtype.itemsize, path_of(model)
    width, inner = float(config.hidden_size), float(config.intermediate_size)
    parts = _parts(model)
    embeddings = Growth(token=16.0, text=16.0)
    if any(p.requires_grad for p in _bert(model).embeddings.parameters()):
        embeddings += _TOKENS * ((width + 2.0) * size)
        if config.hidden_dropout_prob > 0.0 and not path.kernels:
            embeddings += _TOKENS * (2.0 * width)
    head, at_head = _head(model)
    entered = [sum((one.entered for one in parts[: place + 1]), Growth()) for place in range(len(parts))]
    inside = [sum((one.kept for one in parts[: place + 1]), Growth()) for place in range(len(parts))]
    if setting.checkpointing:
        state = Growth(fixed=float(_RANDOM_STATE))
        inside = [state * sum(one.kept != Growth() for one in parts[: place + 1]) for place in range(len(parts))]
    below = [embeddings + one + two for one, two in zip(entered, inside, strict=True)]
    kept = (below[-1] if below else embeddings) + head
    if setting.checkpointing and path.padded and not _reads_first(model):
        kept += _TOKENS * (width * size)
    always = Growth(fixed=float(weight_bytes(model) + optimizer_bytes(model, optimizer)))
    moments = [always + kept + at_head]
    above = float(gradient_bytes(model) - sum(one.weights for one in parts)) - _table_bytes(model)
    for place in reversed(range(len(parts))):
        part = parts[place]
        if part.kept == Growth():
            break
        here = always + below[place] + Growth(fixed=above + size * width * inner)
        if setting.checkpointing:
            here += part.kept
        if setting.chunk:
            moments.append(here + part.back_in_chunks + Growth(fixed=2.0 * setting.chunk * inner * size))
        else:
            moments.append(here + part.back)
        moments += [here + part.back_in_chunks, here + part.attended]
        above += part.weights
    tied = _table_bytes(model, words=True) if model._is_tied() else 0
    end = Growth(fixed=float(gradient_bytes(model) + tied)) + _TOKENS * (2.0 * width * size)
    return kept, (*moments, always + end + Growth(token=16.0))


def _table_bytes(model: BertPreTrainedModel, *, words: bool = False) -> float:
    """Return the bytes of the embeddings' gradients that come last; of the words' alone, or without tied words."""
    embeddings = _bert(model).embeddings
    known = {id(p) for p in trained_of(model)}
    tables = [p for p in embeddings.parameters() if id(p) in known]
    word = embeddings.word_embeddings.weight
    if words:
        return float(word.nbytes) if word.requires_grad else 0.0
    # A tied table has its gradient from the head on.
    return float(sum(p.nbytes for p in tables if not (p is word and model._is_tied())))


def _head(model: BertPreTrainedModel) -> tuple[Growth, Growth]:
    """Return what a head keeps, and what lives beside at the highest moment around it, in bytes."""
    config, size = model.config, model.dtype.itemsize
    width, words, classes = float(config.hidden_size), float(config.vocab_size), float(config.num_labels)
    mean = _TOKENS * (2.0 * width * size)
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        places = _TOKENS * LABELLED
        kept = (_TEXTS + places * 5.0) * width + places * words
        weight = model.get_output_embeddings().weight
        scaled = places * (3.0 * width) + Growth(fixed=words * width if weight.requires_grad else 0.0)
        return kept * size, scaled * size
    if isinstance(model, BertLMHeadModel):
        return _TOKENS * ((4.0 * width + words) * size), _TOKENS * (2.0 * words * size)
    if isinstance(model, BertForTokenClassification):
        return _TOKENS * ((width + classes) * size), _TOKENS * (2.0 * classes * size)
    if isinstance(model, BertForQuestionAnswering):
        return _TOKENS * ((width + 4.0) * size), _TOKENS * (4.0 * size)
    if _reads_first(model):
        return _TEXTS * (3.0 * width * size), Growth()
    if isinstance(model, SentenceEncoder):
        kept = _TEXTS * (3.0 * width * size)
        if model.pooling == "max":
            kept += _TOKENS * (width * size)
        return kept, mean
    return _TEXTS * (3.0 * width * size), mean


def _inference_moments(model: BertPreTrainedModel, chunk: int) -> tuple[Growth, ...]:
    config, size, path = model.config, model.dtype.itemsize, path_of(model)
    bert = _bert(model)
    layers = [layer for layer in bert.encoder.layer if isinstance(layer, BertLayer)]
    width, inner, words = float(config.hidden_size), float(config.intermediate_size), float(config.vocab_size)
    heads = max((layer.attention.self.num_attention_heads for layer in layers), default=0)
    heads_width = max((layer.attention.self.all_head_size for layer in layers), default=0)
    first = _reads_first(model)
    full = len(layers) - first
    # What came out of the embeddings lives to the end, beside what goes into a layer.
    before = (2.0 if full > 1 else 1.0) * width
    moments = [_TOKENS * (4.0 * width)]
    if isinstance(model, SentenceEncoder) and model.layers > 1:
        before = len(layers) * width
        moments.append(_TOKENS * ((len(layers) + 1.0 + model.layers) * width))
    mask = Growth(square=path.mask / size)
    if full > 0:
        cache = 2.0 * heads_width * path.padded  # of the layer before
        moments.append(_TOKENS * (before + 5.0 * heads_width + cache) + mask)
        moments.append(_TOKENS * (before + 3.0 * heads_width + cache) + _PAIRS * (heads * path.inference_pairs) + mask)
        before += 2.0 * cache
        if chunk:
            moments.append(_TOKENS * (before + 3.0 * width))
            moments.append(_TOKENS * (before + 2.0 * width) + Growth(fixed=2.0 * chunk * inner))
        else:
            moments.append(_TOKENS * (before + width + 2.0 * inner))
    if first and layers:
        moments.append(_TOKENS * ((2.0 if full else 1.0) * width + 2.0 * heads_width) + _TEXTS * (2.0 * inner))
    if isinstance(model, BertForPreTraining | BertForMaskedLM | BertLMHeadModel):
        moments += [_TOKENS * (3.0 * width), _TOKENS * (2.0 * width + words)]
    weights = Growth(fixed=float(weight_bytes(model)), token=24.0)
    return tuple(weights + one * size for one in moments)


# The measurement


def costed(model: BertPreTrainedModel) -> BertPreTrainedModel:
    """Return the model whose steps are looked at: of a class of your own, the BERT in it."""
    known = type(model) in _SCORES or isinstance(model, BertForPreTraining | BertForMaskedLM)
    return model if known else _bert(model)


def twin(model: BertPreTrainedModel, *, meta: bool = False) -> BertPreTrainedModel:
    """Return a copy that nobody watches, in which everything may be changed.

    Args:
        model: any.
        meta: the copy's tensors have shapes alone.
    """
    known: dict[int, Any] = {}
    if meta:
        for parameter in model.parameters():
            known[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
        known |= {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    made = copy.deepcopy(model, known)
    for module in made.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            hooks.clear()
        module._backward_pre_hooks.clear()
    for config in (made.config, _bert(made).config):
        config.output_attentions = config.output_hidden_states = config.use_cache = False
    return made


def scores(model: BertPreTrainedModel, ids: Tensor) -> list[Tensor]:
    """Run the model and return what it scores, or its vectors.

    Args:
        model: whose class `costed` knows.
        ids: (B, S).
    """
    asked = ids[None] if isinstance(model, BertForMultipleChoice) else ids
    output = model(input_ids=asked, return_dict=True)
    # A class of a user's own gives what the one it derives from does.
    names = next(_SCORES[one] for one in type(model).__mro__ if one in _SCORES)
    return [found for name in names if (found := getattr(output, name, None)) is not None]


# What each class gives.
_SCORES: Final[dict[type[BertPreTrainedModel], tuple[str, ...]]] = {
    BertModel: ("last_hidden_state", "pooler_output"),
    SentenceEncoder: ("sentence_embedding",),
    BertForPreTraining: ("prediction_logits", "seq_relationship_logits"),
    BertForMaskedLM: ("logits",),
    BertLMHeadModel: ("logits",),
    BertForNextSentencePrediction: ("logits",),
    BertForSequenceClassification: ("logits",),
    BertForMultipleChoice: ("logits",),
    BertForTokenClassification: ("logits",),
    BertForQuestionAnswering: ("start_logits", "end_logits"),
}


def loss_of(model: BertPreTrainedModel, ids: Tensor) -> Tensor:
    """Return a loss as training has it: cross-entropy of scores, in pretraining of 15% of the words.

    Of vectors it is their mean, since what they are compared with is the trainer's.

    Args:
        model: whose class `costed` knows.
        ids: (B, S).
    """
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        labels = torch.full_like(ids, losses.IGNORED)
        count = max(1, round(LABELLED * ids.shape[1]))
        labels[:, :count] = ids[:, :count]
        following = torch.zeros_like(ids[:, 0]) if isinstance(model, BertForPreTraining) else None
        found = model.pretraining_losses(ids, torch.ones_like(ids), labels, None, following)
        return torch.stack([one for name, one in found.items() if name.endswith("loss")]).sum()
    parts = []
    for one in scores(model, ids):
        if isinstance(model, BertModel | SentenceEncoder):
            parts.append(one.mean())
        else:
            rows = one.flatten(0, -2)
            parts.append(losses.cross_entropy(rows, torch.zeros(len(rows), dtype=torch.int64, device=rows.device)))
    return torch.stack(parts).sum()


def small_enough(model: BertPreTrainedModel, found: Sequence[Prediction]) -> list[Prediction]:
    """Return those settings that may be measured here: what even one token takes is left out where it is too much."""
    if model.device.type != "cpu":
        return []
    copied = weight_bytes(model)
    return [one for one in found if one.peak(1, 1) + copied <= _MOST_BYTES]


def size_to_measure(
    found: Sequence[Prediction],
    flops: Callable[[int, int], float],
    batch: int,
    length: int,
) -> tuple[int, int]:
    """Return batch and length that can be measured in seconds: those asked for, or smaller ones, the batch first.

    Args:
        found: predictions of the settings that are measured, those of `small_enough`.
        flops: of a step, by batch and length.
        batch: B.
        length: S.
    """
    while True:
        more = max(one.peak(batch, length) for one in found) - max(one.peak(1, 1) for one in found)
        if more <= _MOST_ACTIVATIONS and flops(batch, length) <= _MOST_FLOPS:
            return batch, length
        if batch > 1:
            batch = (batch + 1) // 2
        elif length > 1:
            length = (length + 1) // 2
        else:
            return batch, length


def measured(
    model: BertPreTrainedModel,
    settings: Sequence[Setting],
    *,
    batch: int,
    length: int,
    optimizer: OptimizerKind = "adamw",
    rounds: int = _ROUNDS,
) -> Measurement:
    """Run each setting on a copy of the model, count the bytes, and take the time in turns.

    Bytes are those that torch's allocator hands out and takes back during one step that begins with weights and the
    optimizer's state, from its own record. Nothing else watches, so what runs is what runs in training: the packed
    layout and, where they were built, the kernels in C.

    Args:
        model: on a CPU; stays as it is.
        settings: ways to run it.
        batch: B.
        length: S.
        optimizer: that makes the steps.
        rounds: how many steps of each setting are timed, beside the one whose bytes are counted.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (batch, length), generator=generator)
    training = any(setting.training for setting in settings)
    gradients = state = None
    with torch.random.fork_rng(devices=[]), _without_collection():
        with _record() as weights:
            copied = twin(model)
        stepper = _optimizer(copied, optimizer) if training else None
        if stepper is not None:
            copied.train()
            with _record() as made:
                loss_of(copied, ids[:1, :1]).backward()
            gradients = made.live
            with _record() as made:
                stepper.step()
            state = made.live
            stepper.zero_grad(set_to_none=True)
        fixed = weights.live
        found: list[tuple[Setting, int, int]] = []
        for setting in settings:
            with _record() as one:
                _step(copied, setting, ids, stepper, mark=True)
            held = fixed + ((state or 0) if setting.training else 0)
            found.append((setting, one.marked, held + one.peak))
        times: dict[Setting, list[float]] = {setting: [] for setting in settings}
        for _ in range(rounds):
            for setting in settings:
                begin = time.perf_counter()
                _step(copied, setting, ids, stepper)
                times[setting].append(time.perf_counter() - begin)
    return Measurement(
        batch=batch,
        length=length,
        weights=fixed,
        gradients=gradients,
        optimizer=state,
        rounds=rounds,
        threads=torch.get_num_threads(),
        settings=tuple(
            Measured(setting=setting, kept=kept, peak=peak, seconds=statistics.median(times[setting]))
            for setting, kept, peak in found
        ),
    )


def _optimizer(model: nn.Module, kind: OptimizerKind) -> torch.optim.Optimizer:
    # At rate 0 the weights stay finite however often they are trained on the same random words.
    if kind in ("adamw", "lamb"):
        name: Literal["torch", "lamb"] = "torch" if kind == "adamw" else "lamb"
        return make_optimizer(model, learning_rate=0.0, weight_decay=0.0, optimizer=name)
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(trained, lr=0.0, momentum=0.9 if kind == "momentum" else 0.0)


def _step(
    model: BertPreTrainedModel,
    setting: Setting,
    ids: Tensor,
    stepper: torch.optim.Optimizer | None,
    *,
    mark: bool = False,
) -> None:
    """Make a step, or a call without gradients, in a setting."""
    model.train(setting.training)
    model._set_gradient_checkpointing(setting.checkpointing)
    for module in model.modules():
        if isinstance(module, BertLayer):
            module.chunk_size_feed_forward = setting.chunk
    if not setting.training:
        with torch.no_grad():
            scores(model, ids)
        return
    assert stepper is not None
    loss = loss_of(model, ids)
    if mark:
        with profiler.record_function(_MARK):
            pass
    loss.backward()
    stepper.step()
    stepper.zero_grad(set_to_none=True)


_MARK: Final = "glassbert: forward ends"


@dataclasses.dataclass
class _Record:
    """Bytes that were handed out since a record began: at its end, at most, and at a mark."""

    live: int = 0
    peak: int = 0
    marked: int = 0


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Keep what is garbage already from being freed within the block, where it would be counted."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _record() -> Iterator[_Record]:
    """Keep a record of what torch's allocator for the CPU hands out and takes back within the block.

    It is the older of torch's two profilers, since the newer takes seconds to begin and may write on stdout.
    """
    record = _Record()
    autograd: Any = torch.autograd
    more = torch._C._profiler._ExperimentalConfig()
    # Of what may be recorded, memory alone.
    options = autograd.ProfilerConfig(autograd.ProfilerState.CPU, False, True, False, False, False, more)
    autograd._enable_profiler_legacy(options)
    try:
        yield record
    finally:
        events = autograd._disable_profiler_legacy()
    for event in (event for thread in events for event in thread):
        if event.kind() == "memory_alloc":
            record.live += event.cpu_memory_usage()
            record.peak = max(record.peak, record.live)
        elif event.kind() == "push" and event.name() == _MARK:
            record.marked = record.live


def check_optimizer(name: str) -> OptimizerKind:
    """Return an optimizer's name as it is known.

    Raises:
        ConfigError: there is none of that name.
    """
    for known in MOMENTS:
        if name == known:
            return known
    raise ConfigError(f"optimizer is {name!r}, expected one of {', '.join(MOMENTS)}")
