"""Whatever is drawn: backends agree, padding changes nothing, all stays finite, labels that do not count do not count.

A case (a class, a config, a batch) is drawn from its seed alone, and the seed stands in the name of a failing test. For
a long campaign: GLASSBERT_PROPERTY_CASES=1000.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import random
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert.errors import InputError
from glassbert.model import (
    BertConfig,
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
from tests.model.oracle import BACKENDS, seeded

# 60 meet each class with each kind of mask once.
CASES = int(os.environ.get("GLASSBERT_PROPERTY_CASES", "60"))

CLASSES: tuple[type[BertPreTrainedModel], ...] = (
    BertModel,
    BertForPreTraining,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertForQuestionAnswering,
    SentenceEncoder,
)
HEADS = tuple(one for one in CLASSES if one not in (BertModel, SentenceEncoder))
MASKS = ("none", "right", "left", "holes", "nothing real", "pairs")
# What these give as logits has a row for each token; other logits have one for each sequence.
TOKEN_LOGITS = (BertForMaskedLM, BertLMHeadModel, BertForTokenClassification)
TOKEN_OUTPUTS = ("last_hidden_state", "prediction_logits", "start_logits", "end_logits")
# As far as two orders of the same sums may lie apart, in shares of the largest number: for outputs, and for gradients.
TOLERANCES = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-10, 1e-9)}

every_seed = pytest.mark.parametrize("seed", range(CASES))


def squared_relu(values: Tensor) -> Tensor:
    """Apply an activation that has no name."""
    return values.relu().square()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What was drawn.

    Attributes:
        config: without dropout.
        arguments: of the forward call, labels left out.
        labels: and what a loss may be told; empty where a class has none.
        real: (rows, S) bool, true at tokens whose rows are owed; a question's choices are rows of their own.
        choices: rows to a member of the batch.
        dtype: of the weights.
    """

    seed: int
    model_class: type[BertPreTrainedModel]
    config: BertConfig
    arguments: dict[str, Any]
    labels: dict[str, Any]
    real: Tensor
    choices: int
    dtype: torch.dtype

    def model(self, **changes: Any) -> BertPreTrainedModel:
        """Build the model in eval mode, with changes to its config."""
        return seeded(dataclasses.replace(self.config, **changes), self.model_class, self.seed).to(self.dtype)

    @property
    def batch(self) -> int:
        """Members of the batch: sequences, or questions."""
        return self.real.shape[0] // self.choices

    def rows(self, member: int) -> slice:
        """Return the rows of one member of the batch."""
        return slice(member * self.choices, (member + 1) * self.choices)


def draw(seed: int, model_class: type[BertPreTrainedModel] | None = None, kind: str | None = None) -> Case:
    """Draw a case; seeds go through the classes, and with each round to the next kind of mask."""
    chance = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    model_class = CLASSES[seed % len(CLASSES)] if model_class is None else model_class
    kind = MASKS[(seed // len(CLASSES)) % len(MASKS)] if kind is None else kind
    length = chance.randint(1, 12)
    config = draw_config(chance, model_class, length)
    dtype = chance.choice(list(TOLERANCES))
    several = model_class is BertForMultipleChoice
    choices = chance.randint(1, 3) if several else 1
    batch = chance.randint(1, 5)
    rows = batch * choices
    mask = draw_mask(kind, rows, length, generator)
    arguments: dict[str, Any] = {"output_hidden_states": chance.random() < 0.4}
    if chance.random() < 0.25:
        arguments["inputs_embeds"] = torch.randn(rows, length, config.hidden_size, generator=generator, dtype=dtype)
    else:
        arguments["input_ids"] = torch.randint(0, config.vocab_size, (rows, length), generator=generator)
    if kind != "none" or chance.random() < 0.5:
        arguments["attention_mask"] = mask.to(chance.choice([torch.bool, torch.int64, torch.float32]))
    if chance.random() < 0.7:
        arguments["token_type_ids"] = torch.randint(0, config.type_vocab_size, (rows, length), generator=generator)
    if config.position_embedding_type == "absolute" and chance.random() < 0.4:
        shape = (1 if not several and chance.random() < 0.4 else rows, length)
        arguments["position_ids"] = torch.randint(0, config.max_position_embeddings, shape, generator=generator)
    if several:
        arguments = {
            name: value.unflatten(0, (batch, choices)) if isinstance(value, Tensor) else value
            for name, value in arguments.items()
        }
    if chance.random() < 0.4:
        two = (config.num_hidden_layers,) if chance.random() < 0.6 else ()
        factors = torch.rand(*two, config.num_attention_heads, generator=generator, dtype=dtype)
        arguments["head_mask"] = factors * (torch.rand(factors.shape, generator=generator) < 0.8)
    return Case(
        seed=seed,
        model_class=model_class,
        config=config,
        arguments=arguments,
        labels=draw_labels(chance, model_class, config, batch, choices, length, generator),
        real=mask if mask.dim() == 2 else torch.ones(rows, length, dtype=torch.bool),
        choices=choices,
        dtype=dtype,
    )


def draw_config(chance: random.Random, model_class: type[BertPreTrainedModel], length: int) -> BertConfig:
    heads, layers = chance.choice([1, 2, 3, 4]), chance.randint(0, 4)
    pruned = {}
    if heads > 1 and chance.random() < 0.4:
        pruned = {
            layer: chance.sample(range(heads), chance.randint(1, heads - 1))
            for layer in range(layers)
            if chance.random() < 0.6
        }
    problem = None
    if model_class is BertForSequenceClassification:
        problem = chance.choice([None, "regression", "single_label_classification", "multi_label_classification"])
    extra: dict[str, Any] = {}
    if model_class is SentenceEncoder:
        extra["sentence_encoder"] = {
            "pooling": chance.choice(["mean", "cls", "max"]),
            "layers": chance.randint(1, layers + 1),
            "normalize": chance.random() < 0.5,
        }
    vocabulary = chance.randint(5, 40)
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=heads * chance.choice([8, 11, 16]),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=chance.randint(5, 40),
        hidden_act=chance.choice(["gelu", "gelu_new", "relu", "silu", squared_relu, nn.Softplus()]),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=length + chance.randint(0, 6),
        type_vocab_size=chance.randint(1, 3),
        layer_norm_eps=chance.choice([1e-12, 1e-5]),
        pad_token_id=chance.randrange(vocabulary),
        position_embedding_type=chance.choice(["absolute", "absolute", "relative_key", "relative_key_query"]),
        is_decoder=chance.random() < (0.9 if model_class is BertLMHeadModel else 0.25),
        use_cache=chance.random() < 0.3,
        tie_word_embeddings=chance.random() < 0.5,
        pruned_heads=pruned,
        gradient_checkpointing=chance.random() < 0.3,
        chunk_size_feed_forward=chance.choice([0, 0, 1, 3, 100]),
        num_labels=chance.randint(1, 5),
        problem_type=cast(Any, problem),
        extra=extra,
    )


def draw_mask(kind: str, rows: int, length: int, generator: torch.Generator) -> Tensor:
    """Return what is seen, (rows, S) or, of pairs, (rows, S, S), bool."""
    at = torch.arange(length)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    if kind == "none":
        return torch.ones(rows, length, dtype=torch.bool)
    if kind == "right":
        return at < lengths
    if kind == "left":
        return at >= length - lengths
    if kind == "holes":
        return torch.rand(rows, length, generator=generator) < 0.6
    if kind == "nothing real":
        mask = torch.rand(rows, length, generator=generator) < 0.6
        mask[torch.rand(rows, generator=generator) < 0.5] = False
        mask[int(torch.randint(0, rows, (), generator=generator))] = False
        return mask
    mask = torch.rand(rows, length, length, generator=generator) < 0.6
    mask[torch.rand(rows, length, generator=generator) < 0.2] = False  # queries that see nothing
    return mask


def draw_labels(
    chance: random.Random,
    model_class: type[BertPreTrainedModel],
    config: BertConfig,
    batch: int,
    choices: int,
    length: int,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Return labels, some of which do not count, and what else the loss may be told."""

    def classes(count: int, *shape: int, counting: float) -> Tensor:
        drawn = torch.randint(0, count, shape, generator=generator)
        return drawn.masked_fill(torch.rand(shape, generator=generator) >= counting, losses.IGNORED)

    def told(**values: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if chance.random() < 0.3}

    smoothing, words = chance.uniform(0.0, 0.5), config.vocab_size
    weights = torch.rand(config.num_labels, generator=generator) + 0.1
    if model_class is BertForPreTraining:
        both = {
            "labels": classes(words, batch, length, counting=0.4),
            "next_sentence_label": classes(2, batch, counting=0.8),
        }
        return chance.choice([both, both, {"labels": both["labels"]}])
    if model_class is BertForMaskedLM or (model_class is BertLMHeadModel and config.is_decoder):
        return {"labels": classes(words, batch, length, counting=0.4), **told(label_smoothing=smoothing)}
    if model_class is BertForNextSentencePrediction:
        return {"labels": classes(2, batch, counting=0.8)}
    if model_class is BertForMultipleChoice:
        return {"labels": classes(choices, batch, counting=0.8), **told(label_smoothing=smoothing)}
    if model_class is BertForQuestionAnswering:
        both = {name: torch.randint(-2, length + 2, (batch,), generator=generator) for name in ("start", "end")}
        return {f"{name}_positions": value for name, value in both.items()}
    if model_class is BertForTokenClassification:
        labels = classes(config.num_labels, batch, length, counting=0.8)
        return {"labels": labels, **told(class_weights=weights, label_smoothing=smoothing)}
    if model_class is BertForSequenceClassification:
        kind = config.problem_type
        if kind is None:
            kind = "regression" if config.num_labels == 1 else "single_label_classification"
        if kind == "regression":
            return {"labels": torch.randn(batch, config.num_labels, generator=generator)}
        if kind == "multi_label_classification":
            labels = (torch.rand(batch, config.num_labels, generator=generator) < 0.5).float()
        else:
            labels = classes(config.num_labels, batch, counting=0.8)
        return {"labels": labels, **told(class_weights=weights, label_smoothing=smoothing)}
    return {}


def owed(case: Case, output: Any, real: Tensor, member: int | None = None) -> dict[str, Tensor]:
    """Return the numbers that a backend owes, by name: of real tokens, and of sequences.

    Args:
        case: says what the outputs mean.
        output: what the model gave for the rows of `real`.
        real: (rows, S).
        member: leave out all others of the batch, and the loss.
    """
    rows = slice(None) if member is None else case.rows(member)
    found: dict[str, Tensor] = {}
    for name, value in output.items():
        if name == "loss":
            if member is None:
                found[name] = value
        elif name == "hidden_states":
            found |= {f"{name}.{index}": states[rows][real[rows]] for index, states in enumerate(value)}
        elif name in TOKEN_OUTPUTS or (name == "logits" and case.model_class in TOKEN_LOGITS):
            found[name] = value[rows][real[rows]]
        elif name != "past_key_values":
            found[name] = value if member is None else value[member : member + 1]
    return found


def of_sequences(name: str, case: Case) -> bool:
    """Say whether an output is read off first tokens, which may be masked."""
    if case.model_class is SentenceEncoder and name == "sentence_embedding":
        return bool(case.config.extra["sentence_encoder"]["pooling"] == "cls")
    in_tokens = name in TOKEN_OUTPUTS or name.startswith("hidden_states") or name == "sentence_embedding"
    return not in_tokens and not (case.model_class in TOKEN_LOGITS or case.model_class is BertForQuestionAnswering)


def agree(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Hold numbers against each other, each by the size of the largest one of its name."""
    assert found.keys() == expected.keys()
    for name, other in expected.items():
        assert found[name].shape == other.shape, name
        if other.numel():
            difference = float((found[name] - other).detach().abs().max())
            assert difference <= tolerance * max(1.0, float(other.detach().abs().max())), (name, difference)


def leaves(case: Case, model: BertPreTrainedModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what takes a gradient, by name, and the arguments with those leaves among them."""
    named: dict[str, Tensor] = dict(model.named_parameters())
    arguments = dict(case.arguments)
    for name in ("head_mask", "inputs_embeds"):
        if name in arguments:
            named[name] = arguments[name] = arguments[name].clone().requires_grad_()
    return named, arguments


def objective(case: Case, output: Any) -> Tensor:
    """Return one number of what is owed: the loss, and a random sum of whatever else is no function of it."""
    generator = torch.Generator().manual_seed(case.seed)
    total = torch.zeros((), dtype=case.dtype)
    if output.get("loss") is not None:
        total = output.loss
        output = {name: value for name, value in output.items() if name == "hidden_states"}
    for value in owed(case, output, case.real).values():
        factors = torch.randn(value.shape, generator=generator, dtype=case.dtype)
        total = total + (value * factors).sum() / max(1, value.numel())
    return total


def gradients(case: Case, model: BertPreTrainedModel, **more: Any) -> tuple[Any, dict[str, Tensor | None]]:
    """Run forward and backward; return the output and the gradients."""
    named, arguments = leaves(case, model)
    model.zero_grad()
    output = model(**{**arguments, **more})
    objective(case, output).backward()
    return output, {name: None if one.grad is None else one.grad.clone() for name, one in named.items()}


def on_each_backend(model: BertPreTrainedModel) -> Iterator[str]:
    for backend in BACKENDS:
        model.attention_backend = backend
        yield backend


def test_the_cases_meet_every_setting() -> None:
    cases = [draw(seed) for seed in range(60)]
    met = {(case.model_class, MASKS[(case.seed // len(CLASSES)) % len(MASKS)]) for case in cases}
    assert met == {(one, kind) for one in CLASSES for kind in MASKS}
    configs = [case.config for case in cases]
    assert {config.num_hidden_layers for config in configs} == {0, 1, 2, 3, 4}
    assert {config.position_embedding_type for config in configs} == {"absolute", "relative_key", "relative_key_query"}
    for name in ("is_decoder", "use_cache", "tie_word_embeddings", "gradient_checkpointing", "pruned_heads"):
        assert {bool(getattr(config, name)) for config in configs} == {False, True}, name
    assert {config.chunk_size_feed_forward for config in configs} == {0, 1, 3, 100}
    acts = {config.hidden_act if isinstance(config.hidden_act, str) else "callable" for config in configs}
    assert acts == {"gelu", "gelu_new", "relu", "silu", "callable"}
    given = {name for case in cases for name in case.arguments}
    assert given >= {"input_ids", "inputs_embeds", "attention_mask", "token_type_ids", "position_ids", "head_mask"}
    assert {case.arguments["head_mask"].dim() for case in cases if "head_mask" in case.arguments} == {1, 2}


@every_seed
def test_backends_agree_in_outputs_states_and_losses(seed: int) -> None:
    case = draw(seed)
    model = case.model()
    results = []
    for _ in on_each_backend(model):
        with torch.inference_mode():
            output = model(**case.arguments, **case.labels)
        assert ("loss" in output) == bool(case.labels)
        assert ("hidden_states" in output) == case.arguments["output_hidden_states"]
        results.append(owed(case, output, case.real))
    for other in results[1:]:
        agree(other, results[0], TOLERANCES[case.dtype][0])


@every_seed
def test_backends_agree_in_all_gradients(seed: int) -> None:
    case = draw(seed)
    model = case.model().train()
    results = [gradients(case, model, **case.labels)[1] for _ in on_each_backend(model)]
    scale = max(float(one.abs().max()) for one in results[0].values() if one is not None and one.numel())
    for found in results[1:]:
        for name, expected in results[0].items():
            one = found[name]
            assert (one is None) == (expected is None), name
            if one is not None and expected is not None and one.numel():
                difference = float((one - expected).abs().max())
                assert difference <= TOLERANCES[case.dtype][1] * max(scale, 1e-2), (name, difference, scale)


def alone(case: Case, member: int, columns: Tensor | None) -> tuple[dict[str, Any], Tensor]:
    """Return the arguments of one member of the batch, its tokens at `columns` only, and which of those are real."""
    rows = case.rows(member)
    real = case.real[rows]
    arguments = dict(case.arguments)
    if columns is not None and case.config.position_embedding_type == "absolute":
        # What stays keeps its place.
        length = real.shape[1]
        places = torch.arange(length).expand(*case.real.shape)
        if case.model_class is BertForMultipleChoice:
            places = places.unflatten(0, (case.batch, case.choices))
        arguments.setdefault("position_ids", places)
    for name in ("input_ids", "inputs_embeds", "attention_mask", "token_type_ids", "position_ids"):
        if name in arguments:
            value = arguments[name]
            value = value if len(value) < case.batch else value[member : member + 1]
            if columns is not None:
                value = value.index_select(-2 if name == "inputs_embeds" else -1, columns)
            arguments[name] = value
    return arguments, real if columns is None else real[:, columns]


def unpadded(case: Case, member: int) -> Tensor | None:
    """Return the columns that are left of a member without its padding; None where they are all or none."""
    kept = case.real[case.rows(member)].any(dim=0).nonzero().flatten()
    if kept.numel() and case.config.position_embedding_type != "absolute":
        kept = torch.arange(int(kept[0]), int(kept[-1]) + 1)  # a hole keeps others apart
    return kept if 0 < kept.numel() < case.real.shape[1] else None


@every_seed
def test_padding_and_batch_mates_change_nothing(seed: int) -> None:
    case = draw(seed)
    model = case.model()
    for _ in on_each_backend(model):
        with torch.inference_mode():
            together = model(**case.arguments)
            for member in range(case.batch):
                expected = owed(case, together, case.real, member)
                for columns in (None, unpadded(case, member)):
                    arguments, real = alone(case, member, columns)
                    found = owed(case, model(**arguments), real)
                    if columns is not None and int(columns[0]) > 0:
                        # Another token is the first one now.
                        found = {name: value for name, value in found.items() if not of_sequences(name, case)}
                        expected = {name: value for name, value in expected.items() if name in found}
                    agree(found, expected, TOLERANCES[case.dtype][0])


def labels_alone(case: Case, member: int, columns: Tensor) -> dict[str, Any]:
    """Return the labels of one member of the batch, none of which stands at padding, for `columns` only."""
    labels = dict(case.labels)
    real = case.real[case.rows(member)]
    for name, value in case.labels.items():
        if name not in ("labels", "next_sentence_label", "start_positions", "end_positions"):
            continue
        value = value[member : member + 1]
        if name.endswith("positions"):
            places = real[0].nonzero().flatten()  # an answer in the text, if there is one
            value = places[int(value) % len(places)][None] if len(places) else value
            value = (columns == value).nonzero()[0]
        elif name == "labels" and value.shape == real.shape and case.model_class in (*TOKEN_LOGITS, BertForPreTraining):
            value = value.masked_fill(~real, losses.IGNORED)
            if case.model_class is BertLMHeadModel:
                # A next word is predicted at the place before it, which may be masked as well. Padding on the left
                # sees nothing and predicts nothing by itself.
                hole = ~real & (real.cumsum(dim=1) > 0)
                value[:, 1:] = value[:, 1:].masked_fill(hole[:, :-1], losses.IGNORED)
            value = value[:, columns]
        labels[name] = value
    return labels


@every_seed
def test_padding_changes_no_loss(seed: int) -> None:
    # Seeds with padding that can go and a class that has a loss.
    case = draw(seed, HEADS[seed % len(HEADS)], ("right", "left", "holes")[seed % 3])
    if case.model_class is BertLMHeadModel and not case.config.is_decoder:
        with pytest.raises(InputError, match="is_decoder"):
            case.model()(**case.arguments, labels=case.arguments.get("input_ids", torch.zeros(1)))
        return
    model = case.model()
    for _ in on_each_backend(model):
        for member in range(case.batch):
            columns = unpadded(case, member)
            read = case.model_class in (*TOKEN_LOGITS, BertForQuestionAnswering)
            if columns is None or (int(columns[0]) > 0 and not read):
                continue
            with torch.inference_mode():
                padded = labels_alone(case, member, torch.arange(case.real.shape[1]))
                expected = model(**alone(case, member, None)[0], **padded).loss
                loss = model(**alone(case, member, columns)[0], **labels_alone(case, member, columns)).loss
            agree({"loss": loss}, {"loss": expected}, TOLERANCES[case.dtype][0])


@every_seed
def test_what_stands_at_padding_changes_nothing(seed: int) -> None:
    case = draw(seed, kind=("right", "left", "holes", "nothing real")[seed // len(CLASSES) % 4])
    model = case.model()
    generator = torch.Generator().manual_seed(seed)
    padding = ~case.real
    padding[:, 0] = False  # the first token is read even where it is masked
    arguments = dict(case.arguments)
    for name, end in (("input_ids", case.config.vocab_size), ("token_type_ids", case.config.type_vocab_size)):
        if name in arguments:
            flat = arguments[name].view(padding.shape)
            other = torch.where(padding, torch.randint(0, end, padding.shape, generator=generator), flat)
            arguments[name] = other.view(arguments[name].shape)
    if "inputs_embeds" in arguments:
        flat = arguments["inputs_embeds"].view(*padding.shape, -1)
        other = torch.where(padding[:, :, None], 9.0 * flat + 1.0, flat)
        arguments["inputs_embeds"] = other.view(arguments["inputs_embeds"].shape)
    labels = {} if case.model_class in (BertForMaskedLM, BertForPreTraining, BertLMHeadModel) else case.labels
    for _ in on_each_backend(model):
        with torch.inference_mode():
            expected = owed(case, model(**case.arguments, **labels), case.real)
            found = owed(case, model(**arguments, **labels), case.real)
        agree(found, expected, TOLERANCES[case.dtype][0])


@every_seed
def test_a_pruned_head_is_a_head_whose_factor_is_zero(seed: int) -> None:
    case = draw(seed)
    heads, layers = case.config.num_attention_heads, case.config.num_hidden_layers
    chance = random.Random(seed)
    pruned = {layer: chance.sample(range(heads), chance.randint(0, heads - 1)) for layer in range(layers)}
    factors = case.arguments.get("head_mask", torch.ones(heads, dtype=case.dtype)).expand(layers, heads).clone()
    for layer, gone in pruned.items():
        factors[layer, gone] = 0.0
    model = case.model(pruned_heads={})
    for _ in on_each_backend(model):
        with torch.inference_mode():
            expected = owed(case, model(**{**case.arguments, "head_mask": factors}), case.real)
            few = copy.deepcopy(model)
            few.prune_heads(pruned)
            found = owed(case, few(**case.arguments), case.real)
        agree(found, expected, TOLERANCES[case.dtype][0])


@every_seed
def test_a_sentences_vector_is_pooled_from_its_real_tokens(seed: int) -> None:
    case = draw(seed, SentenceEncoder, MASKS[seed % len(MASKS)])
    stored: dict[str, Any] = case.config.extra["sentence_encoder"]
    case.arguments["output_hidden_states"] = True
    model = case.model()
    for _ in on_each_backend(model):
        with torch.inference_mode():
            output = model(**case.arguments)
        states = sum(output.hidden_states[-stored["layers"] :]) / stored["layers"]
        for found, tokens, real in zip(output.sentence_embedding, states, case.real, strict=True):
            expected = torch.zeros_like(found)
            if stored["pooling"] == "cls":
                expected = tokens[0]
            elif real.any():
                expected = tokens[real].mean(dim=0) if stored["pooling"] == "mean" else tokens[real].amax(dim=0)
            if stored["normalize"] and expected.any():
                expected = expected / expected.square().sum().sqrt()
            agree({"vector": found}, {"vector": expected}, TOLERANCES[case.dtype][0])


@every_seed
def test_everything_is_finite_where_nothing_is_real(seed: int) -> None:
    case = draw(seed, kind=("nothing real", "nothing real", "pairs")[seed // len(CLASSES) % 3])
    rate = (0.0, 0.3)[seed % 2]
    model = case.model(hidden_dropout_prob=rate, attention_probs_dropout_prob=rate).train()
    torch.manual_seed(seed)
    for _ in on_each_backend(model):
        output, found = gradients(case, model, **case.labels)
        # All of it, also what is owed to none.
        for name, value in owed(case, output, torch.ones_like(case.real)).items():
            assert value.isfinite().all(), name
        for name, gradient in found.items():
            assert gradient is None or gradient.isfinite().all(), name


@every_seed
def test_computing_labelled_words_alone_gives_the_same(seed: int) -> None:
    counting = ("anywhere", "at masked places", "nowhere")[seed // 12 % 3]
    case = draw(seed, (BertForMaskedLM, BertForPreTraining)[seed % 2], MASKS[seed // 2 % len(MASKS)])
    labels = case.labels["labels"]
    if counting == "nowhere":
        labels = torch.full_like(labels, losses.IGNORED)
    elif counting == "at masked places":
        labels = labels.masked_fill(case.real, losses.IGNORED)
    given = {**case.labels, "labels": labels}
    if counting == "nowhere":
        given.pop("next_sentence_label", None)
    case.arguments["output_hidden_states"] = seed % 5 == 0 and counting != "nowhere"
    name = "logits" if case.model_class is BertForMaskedLM else "prediction_logits"
    counted = labels != losses.IGNORED
    model = case.model().train()
    everything = None
    for _ in on_each_backend(model):
        full, expected = gradients(case, model, **given)
        few, found = gradients(case, model, **given, labelled_only=True)
        assert few[name].shape == (int(counted.sum()), case.config.vocab_size)
        rows = {"loss": few.loss, "logits": few[name]}
        agree(rows, {"loss": full.loss, "logits": full[name][counted]}, TOLERANCES[case.dtype][0])
        everything = rows if everything is None else everything
        agree(rows, everything, TOLERANCES[case.dtype][0])  # as on the first backend
        scale = max(float(one.abs().max()) for one in expected.values() if one is not None and one.numel())
        for key, other in expected.items():
            one = found[key]
            # None for what takes no part: the pooler, without a label for the pair.
            one = torch.zeros(1, dtype=case.dtype) if one is None else one
            other = torch.zeros_like(one) if other is None else other
            assert one.isfinite().all(), key
            if one.numel():
                assert float((one - other).abs().max()) <= TOLERANCES[case.dtype][1] * max(scale, 1e-2), key
        if counting == "nowhere":
            for output, given_gradients in ((full, expected), (few, found)):
                assert float(output.loss.detach()) == 0.0
                present = [one for one in given_gradients.values() if one is not None]
                assert present
                assert not any(one.any() for one in present)


@every_seed
def test_dropout_acts_in_training_and_only_there(seed: int) -> None:
    case = draw(seed, kind="none")
    name = ("hidden_dropout_prob", "attention_probs_dropout_prob")[seed % 2]
    if case.model_class in (BertForSequenceClassification, BertForMultipleChoice, BertForTokenClassification):
        name = chance_of(seed, (name, "classifier_dropout"))
    case.arguments.pop("head_mask", None)  # it may hold zeros alone
    case.arguments["output_hidden_states"] = False
    model = case.model(**{name: 0.5}, num_hidden_layers=max(1, case.config.num_hidden_layers))
    for _ in on_each_backend(model):
        with torch.no_grad():
            model.eval()
            first, second = (model(**case.arguments)[0] for _ in range(2))
            assert torch.equal(first, second)
            model.train()
            torch.manual_seed(seed)
            # One weight of one head is kept every other time.
            draws = [model(**case.arguments)[0] for _ in range(16)]
            assert any(not torch.allclose(draws[0], other, rtol=1e-4) for other in draws[1:])
            torch.manual_seed(seed)
            assert torch.equal(draws[0], model(**case.arguments)[0])


def chance_of(seed: int, values: tuple[str, ...]) -> str:
    return random.Random(f"of {seed}").choice(values)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_that_of_torch(weighted: bool, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(1)
    for ignored in (0.0, 0.3, 0.9):
        logits = torch.randn(20, 5, generator=generator, dtype=torch.float64).mul(3).requires_grad_()
        labels = torch.randint(0, 5, (20,), generator=generator)
        labels[1:] = labels[1:].masked_fill(torch.rand(19, generator=generator) < ignored, losses.IGNORED)
        weights = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1 if weighted else None
        loss = losses.cross_entropy(logits, labels, class_weights=weights, label_smoothing=smoothing)
        (gradient,) = torch.autograd.grad(loss, logits)
        peer = nn.CrossEntropyLoss(weight=weights, ignore_index=-100, label_smoothing=smoothing)(logits, labels)
        (expected,) = torch.autograd.grad(peer, logits)
        assert float(loss.detach()) == pytest.approx(float(peer.detach()), rel=1e-12)
        assert torch.allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_nothing_is_zero(weighted: bool, smoothing: float) -> None:
    for rows in (0, 6):
        logits = torch.randn(rows, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
        labels = torch.full((rows,), losses.IGNORED)
        weights = torch.arange(1.0, 6.0) if weighted else None
        loss = losses.cross_entropy(logits, labels, class_weights=weights, label_smoothing=smoothing)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert float(loss.detach()) == 0.0
        assert gradient.shape == logits.shape
        assert not gradient.any()


def peer_loss(case: Case, output: Any) -> Tensor:
    """Compute the loss of the logits by torch's own modules and the rule in words."""
    told = dict(case.labels)
    labels = told.pop("labels", None)
    weight = told.get("class_weights")
    weight = None if weight is None else weight.to(case.dtype)
    smoothing = told.get("label_smoothing", 0.0)
    cross_entropy = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    if case.model_class is BertForPreTraining:
        total = nn.CrossEntropyLoss()(output.prediction_logits.flatten(0, 1), labels.flatten())
        if "next_sentence_label" in told:
            total = total + nn.CrossEntropyLoss()(output.seq_relationship_logits, told["next_sentence_label"])
        return cast(Tensor, total)
    if case.model_class is BertForQuestionAnswering:
        parts = []
        for name in ("start", "end"):
            # Each row alone, of its real tokens alone.
            each = []
            for logits, label, real in zip(output[f"{name}_logits"], told[f"{name}_positions"], case.real, strict=True):
                place = max(0, int(label))
                if place < len(real) and real[place]:
                    each.append(F.cross_entropy(logits[real], real[:place].sum()))
            parts.append(torch.stack(each).mean() if each else torch.zeros((), dtype=case.dtype))
        return torch.stack(parts).mean()
    logits = output.logits
    if case.model_class is BertLMHeadModel:
        sees = case.real.cumsum(dim=1)[:, :-1] > 0
        logits, labels = logits[:, :-1], labels[:, 1:].masked_fill(~sees, losses.IGNORED)
    if case.model_class is BertForTokenClassification:
        labels = labels.masked_fill(~case.real, losses.IGNORED)
    if case.model_class in TOKEN_LOGITS:
        return cast(Tensor, cross_entropy(logits.flatten(0, 1), labels.flatten()))
    if labels.is_floating_point():
        labels = labels.to(case.dtype)
        if losses.problem_type(case.config, labels) == "regression":
            return cast(Tensor, nn.MSELoss()(logits, labels))
        labels = labels * (1 - smoothing) + smoothing / 2
        return cast(Tensor, nn.BCEWithLogitsLoss(weight=weight)(logits, labels))
    return cast(Tensor, cross_entropy(logits, labels))


@every_seed
def test_a_heads_loss_is_torchs_loss_of_its_logits(seed: int) -> None:
    case = draw(seed, HEADS[seed % len(HEADS)])
    model = case.model()
    if not case.labels:  # a language model that is no decoder
        assert "loss" not in model(**case.arguments)
        return
    labels = {name: value for name, value in case.labels.items() if isinstance(value, Tensor) and name != "labels"}
    for _ in on_each_backend(model):
        with torch.inference_mode():
            output = model(**case.arguments, **case.labels)
            expected = peer_loss(case, output)
        # torch gives NaN where none counts.
        if not bool(expected.isnan()):
            agree({"loss": output.loss}, {"loss": expected}, TOLERANCES[case.dtype][0])
        elif "next_sentence_label" not in labels:
            assert float(output.loss) == 0.0


NOTHING: dict[type[BertPreTrainedModel], Callable[[int, int], dict[str, Tensor]]] = {
    BertForPreTraining: lambda batch, length: {
        "labels": torch.full((batch, length), losses.IGNORED),
        "next_sentence_label": torch.full((batch,), losses.IGNORED),
    },
    BertForMaskedLM: lambda batch, length: {"labels": torch.full((batch, length), losses.IGNORED)},
    BertLMHeadModel: lambda batch, length: {"labels": torch.full((batch, length), losses.IGNORED)},
    BertForNextSentencePrediction: lambda batch, length: {"labels": torch.full((batch,), losses.IGNORED)},
    BertForSequenceClassification: lambda batch, length: {"labels": torch.full((batch,), losses.IGNORED)},
    BertForMultipleChoice: lambda batch, length: {"labels": torch.full((batch,), losses.IGNORED)},
    BertForTokenClassification: lambda batch, length: {"labels": torch.full((batch, length), losses.IGNORED)},
    BertForQuestionAnswering: lambda batch, length: {
        "start_positions": torch.full((batch,), length),
        "end_positions": torch.full((batch,), length + 3),
    },
}


@pytest.mark.parametrize("model_class", HEADS)
@pytest.mark.parametrize("seed", range(3))
def test_a_loss_without_labels_that_count_is_zero(seed: int, model_class: type[BertPreTrainedModel]) -> None:
    case = draw(seed, model_class, ("none", "holes", "nothing real")[seed])
    case.arguments["output_hidden_states"] = False
    model = case.model(is_decoder=True, num_labels=3, problem_type="single_label_classification").train()
    for _ in on_each_backend(model):
        output, found = gradients(case, model, **NOTHING[model_class](case.batch, case.real.shape[1]))
        assert float(output.loss.detach()) == 0.0
        present = [one for one in found.values() if one is not None]
        assert present
        assert not any(one.any() for one in present)  # NaN would count as something
