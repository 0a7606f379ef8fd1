"""Outputs, losses, gradients and training runs equal those of transformers 4.4.2."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from glassbert.model import AttentionBackend
from glassbert.model.losses import IGNORED, cross_entropy
from glassbert.train import clip_gradients, get_linear_schedule_with_warmup, make_optimizer
from tests.model.oracle import BACKENDS, FORWARD, GRADIENTS, TRAINING, Case, case, compare, largest_difference, train


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FORWARD)
def test_outputs(name: str, backend: AttentionBackend) -> None:
    golden = case(name)
    differences = compare(golden, backend)
    for output in ours_is_right(name):
        assert differences.pop(output) > golden.values["tolerance"]
    assert max(differences.values()) <= golden.values["tolerance"], differences


def ours_is_right(name: str) -> list[str]:
    """Name the outputs that differ on purpose; each has a test of its own below."""
    return {"question_answering": ["loss"], "decoder_left_padding": ["pooler_output"]}.get(name, [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_label_of_pretraining_gives_its_own_loss(backend: AttentionBackend) -> None:
    # 4.4.2 gives none; its own scores tell what it would be.
    golden = case("pretraining_one_label")
    arguments = golden.arguments()
    result = golden.model(backend)(**arguments)
    expected = cross_entropy(golden.outputs()["prediction_logits"].flatten(0, 1), arguments["labels"].flatten())
    assert abs(float((result.loss - expected).detach())) <= golden.values["tolerance"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_is_no_answer_to_a_question(backend: AttentionBackend) -> None:
    # 4.4.2's softmax runs over padding too. Over its own scores of real tokens alone, its loss is ours.
    golden = case("question_answering")
    arguments, outputs = golden.arguments(), golden.outputs()
    real = arguments["attention_mask"].bool()
    expected = torch.stack(
        [
            cross_entropy(outputs[f"{end}_logits"].masked_fill(~real, -torch.inf), arguments[f"{end}_positions"])
            for end in ("start", "end")
        ]
    ).mean()
    result = golden.model(backend)(**arguments)
    assert abs(float((result.loss - expected).detach())) <= golden.values["tolerance"]
    assert (result.start_logits[~real] == torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_that_sees_nothing_differs_alone(backend: AttentionBackend) -> None:
    # 4.4.2 lets a row whose keys are all masked attend to all of them; the other rows are equal.
    golden = case("decoder_left_padding")
    arguments, outputs = golden.arguments(), golden.outputs()
    with torch.inference_mode():
        result = golden.model(backend)(**arguments)
    whole = arguments["attention_mask"].bool().all(dim=1)
    assert whole.any()
    difference = (result.pooler_output - outputs["pooler_output"])[whole].abs().max()
    assert difference <= golden.values["tolerance"]


@pytest.mark.parametrize("name", ["question_answering_outside", "question_answering"])
def test_the_callers_positions_stay_as_they_are(name: str) -> None:
    golden = case(name)
    arguments = golden.arguments()
    before = {key: value.clone() for key, value in arguments.items()}
    golden.model("packed")(**arguments)
    assert all(torch.equal(arguments[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", ["tuple_output", "model_all_outputs", "lm_head_cross", "decoder_steps"])
def test_plain_tuples_have_the_order_of_4_4_2(name: str) -> None:
    golden = case(name)
    with torch.inference_mode():
        model = golden.model("packed")
        by_name = model(**golden.arguments())
        plain = model(**golden.arguments(), return_dict=False)
    assert isinstance(plain, tuple)
    for found, key in zip(plain, golden.values["calls"][0]["output_order"], strict=True):
        assert largest_difference(found, by_name[key], None) == 0.0


def test_the_weights_after_pruning() -> None:
    golden = case("model_pruned")
    state = golden.model("packed").state_dict()
    expected = {name.removeprefix("pruned."): t for name, t in golden.tensors.items() if name.startswith("pruned.")}
    expected.pop("embeddings.position_ids")
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str, backend: AttentionBackend) -> None:
    golden = case(name)
    model = golden.model(backend)
    result = model(**golden.arguments())
    result.loss.backward()
    assert abs(float(result.loss.detach()) - float(golden.outputs()["loss"])) <= golden.values["tolerance"]
    assert_gradients(golden, dict(model.named_parameters()))


def assert_gradients(golden: Case, parameters: dict[str, Tensor]) -> None:
    # With relative positions the table of absolute ones is there, as in 4.4.2, and has no part in anything.
    assert {name for name, parameter in parameters.items() if parameter.grad is not None} == set(
        golden.values["gradients"]
    )
    for name, where in golden.values["gradients"].items():
        gradient = parameters[name].grad
        assert gradient is not None
        assert largest_difference(gradient, golden.tensors[where], None) <= golden.values["tolerance"], name


@pytest.mark.parametrize("name", ["gradient_masked_lm", "gradient_masked_lm_relative"])
def test_gradients_where_only_labelled_words_are_computed(name: str) -> None:
    golden = case(name)
    model = golden.model("packed")
    arguments = golden.arguments()
    result = model(**arguments, labelled_only=True)
    counted = int((arguments["labels"] != IGNORED).sum())
    assert result.logits.shape == (counted, model.config.vocab_size)
    result.loss.backward()
    assert abs(float(result.loss.detach()) - float(golden.outputs()["loss"])) <= golden.values["tolerance"]
    assert_gradients(golden, dict(model.named_parameters()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TRAINING)
def test_twenty_steps_of_training(name: str, backend: AttentionBackend) -> None:
    golden = case(name)
    differences = train(golden, backend)
    assert differences["rates"] == 0.0
    assert differences["losses"] <= golden.values["tolerance"]
    assert differences["norms"] <= golden.values["tolerance"]
    assert differences["weights"] <= golden.values["weight_tolerance"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_twenty_steps_with_torchs_optimizer(backend: AttentionBackend) -> None:
    golden = case("training_sequence_classification")
    values = golden.values
    model = golden.model(backend).train()
    settings = values["optimizer"]
    optimizer = make_optimizer(model, learning_rate=settings["lr"], weight_decay=settings["weight_decay"])
    schedule = get_linear_schedule_with_warmup(optimizer, values["schedule"]["num_warmup_steps"], values["steps"])
    for step in range(values["steps"]):
        loss = model(**golden.step(step)).loss
        assert float(loss.detach()) == pytest.approx(values["torch_adamw"]["losses"][step], abs=2e-5)
        loss.backward()
        clip_gradients(model, values["clip_grad_norm"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
