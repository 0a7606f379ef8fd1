"""The engine gives what the model gives."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glassbert import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertPreTrainedModel,
    ConfigError,
    Engine,
    InputError,
    native,
)
from glassbert.infer import linear
from glassbert.infer.bundles import NativeBert
from glassbert.infer.engine import FusedBert
from glassbert.infer.linear import BFloat16Linear, PreparedLinear, bfloat16_linear, has_tiles
from glassbert.infer.quantized import QuantizedLinear
from glassbert.model import ACT2FN
from glassbert.model.config import HiddenAct
from tests.model.oracle import seeded

CONFIG = BertConfig(
    vocab_size=60,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=30,
    num_labels=4,
)


def sequences(count: int = 20) -> list[list[int]]:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 31, (count,), generator=generator).tolist()
    return [torch.randint(0, 60, (n,), generator=generator).tolist() for n in lengths]


def collate(batch: Any) -> dict[str, Tensor]:
    rows = [torch.tensor(ids) for ids in batch]
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return {"input_ids": nn.utils.rnn.pad_sequence(rows, batch_first=True), "attention_mask": mask}


@pytest.mark.parametrize("tokens_per_call", [1, 40, 10_000])
def test_hidden_states(tokens_per_call: int) -> None:
    model = seeded(CONFIG, BertModel)
    found = Engine(model, tokens_per_call=tokens_per_call).hidden_states(sequences())
    with torch.inference_mode():
        for ids, states in zip(sequences(), found, strict=True):
            assert (model(torch.tensor([ids])).last_hidden_state[0] - states).abs().max() < 1e-5


@pytest.mark.parametrize("tokens_per_call", [1, 40, 10_000])
def test_logits(tokens_per_call: int) -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    found = Engine(model, tokens_per_call=tokens_per_call).logits(sequences(), collate)
    with torch.inference_mode():
        expected = torch.cat([model(**collate([ids])).logits for ids in sequences()])
    assert (found - expected).abs().max() < 1e-5


def test_the_model_itself_is_left_alone() -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    names = list(model.state_dict())
    Engine(model)
    assert list(model.state_dict()) == names
    assert isinstance(model.bert, BertModel)
    model.train()
    assert model.bert.training
    first = Engine(model).logits(sequences(), collate)
    assert torch.equal(first, Engine(model).logits(sequences(), collate))
    assert model.training


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_the_weights_of_the_layers_go_with_the_model(dtype: Any) -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    assert isinstance(model, BertForSequenceClassification)
    layer = model.bert.encoder.layer[1]
    gone = [weakref.ref(layer.get_submodule(name).weight) for name in ("output.dense", "attention.self.query")]
    kept = weakref.ref(model.bert.embeddings.word_embeddings.weight)
    engine = Engine(model, dtype=dtype)
    del model, layer
    gc.collect()
    assert [one() for one in gone] == [None, None]
    assert kept() is not None
    assert engine.logits(sequences(3), collate).shape == (3, 4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_pickled_engine_stands_for_itself(dtype: Any) -> None:
    model: Any = seeded(CONFIG, BertForSequenceClassification)
    engine = Engine(model, dtype=dtype)
    other = pickle.loads(pickle.dumps(engine))
    expected = engine.logits(sequences(), collate)
    with torch.no_grad():
        model.classifier.bias.add_(1)
    assert torch.equal(other.logits(sequences(), collate), expected)


def test_no_texts() -> None:
    assert Engine(seeded(CONFIG, BertModel)).hidden_states([]) == []


@pytest.mark.parametrize("ids", [[], [60], [1] * 31])
def test_bad_sequences_are_named(ids: list[int]) -> None:
    with pytest.raises(InputError):
        Engine(seeded(CONFIG, BertModel)).hidden_states([[1, 2], ids])


def test_what_it_cannot_do_it_says() -> None:
    with pytest.raises(InputError, match="hidden_states"):
        Engine(seeded(CONFIG, BertModel)).logits(sequences(), collate)
    engine = Engine(seeded(CONFIG, BertForSequenceClassification))
    assert engine.head is not None
    with pytest.raises(InputError, match="ask the model itself"):
        engine.head(torch.tensor([[1]]), output_attentions=True)

    for model in (None, "a folder", nn.Linear(2, 2)):
        with pytest.raises(InputError, match=f"takes a model such as BertModel, not {type(model).__name__}"):
            Engine(model)  # type: ignore[arg-type]
    for count in (0, -5, 1.5, "a"):
        with pytest.raises(ConfigError, match="expected a whole number above 0"):
            Engine(seeded(CONFIG, BertModel), tokens_per_call=count)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"dtype is \['float32'\]"):
        Engine(seeded(CONFIG, BertModel), dtype=["float32"])  # type: ignore[arg-type]

    class Other(BertPreTrainedModel):
        pass

    with pytest.raises(InputError, match="Other"):
        Engine(Other(CONFIG))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prepared_linear_equals_the_plain_one(activation: HiddenAct, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, bias, values = torch.randn(13, 7), torch.randn(13), torch.randn(5, 7)
    linear = PreparedLinear(weight.to(dtype), bias.to(dtype), activation)
    assert linear.prepared is (dtype == torch.float32 and torch.backends.mkldnn.is_available())
    with torch.inference_mode():
        expected = ACT2FN[activation](nn.functional.linear(values.double(), weight.double(), bias.double()))
        assert (linear(values.to(dtype)).double() - expected).abs().max() < 1e-5
        plain = PreparedLinear(weight, bias)
        assert (plain(values) - nn.functional.linear(values, weight, bias)).abs().max() < 1e-5


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_every_activation(activation: HiddenAct) -> None:
    model = seeded(dataclasses.replace(CONFIG, hidden_act=activation), BertModel)
    found = Engine(model).hidden_states(sequences(4))
    with torch.inference_mode():
        for ids, states in zip(sequences(4), found, strict=True):
            assert (model(torch.tensor([ids])).last_hidden_state[0] - states).abs().max() < 1e-5


def round_weights(model: BertPreTrainedModel) -> None:
    """Round the weights of a model's layers as QuantizedLinear does, and nothing else."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and "encoder" in name:
            scale = module.weight.detach().abs().amax(dim=1, keepdim=True) / 127
            module.weight.data = (module.weight.detach() / scale).round() * scale


def apart(found: list[Tensor], expected: list[Tensor]) -> tuple[float, float]:
    """Return how far vectors are apart, as a share of their length: all together, and the worst."""
    off, whole = torch.cat(found) - torch.cat(expected), torch.cat(expected)
    return float(off.norm() / whole.norm()), float((off.norm(dim=1) / whole.norm(dim=1)).max())


@pytest.mark.parametrize("position_embedding_type", ["absolute", "relative_key", "relative_key_query"])
@pytest.mark.parametrize("pruned", [{}, {0: [1], 2: [0, 2]}])
@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu", torch.tanh])
def test_int8_is_near(position_embedding_type: Any, pruned: dict[int, list[int]], act: Any) -> None:
    config = dataclasses.replace(CONFIG, position_embedding_type=position_embedding_type, hidden_act=act)
    model = seeded(config, BertModel)
    model.prune_heads(pruned)
    expected = Engine(model).hidden_states(sequences())
    found = Engine(model, dtype="int8").hidden_states(sequences())
    share, worst = apart(found, expected)
    # A step is 1/255 of a range, a scale 1/127 of the largest weight; each product is off by some steps.
    assert 1e-4 < share < 0.02
    assert worst < 0.04
    # Weights and inputs are rounded; where the weights of both are, less is left.
    round_weights(model)
    assert apart(found, Engine(model).hidden_states(sequences()))[0] < share


def test_int8_answers_a_head() -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    found, expected = (
        Engine(model, dtype="int8").logits(sequences(), collate),
        Engine(model).logits(sequences(), collate),
    )
    assert 0 < float((found - expected).abs().max()) < 0.05


@pytest.mark.parametrize("tokens_per_call", [1, 40, 10_000, None])
def test_int8_does_not_know_batch_mates(tokens_per_call: int | None) -> None:
    model = seeded(CONFIG, BertModel)
    engine = Engine(model, dtype="int8", tokens_per_call=tokens_per_call)
    found = engine.hidden_states(sequences())
    for ids, states in zip(sequences(), found, strict=True):
        assert (engine.hidden_states([ids])[0] - states).abs().max() <= 1e-6


def test_int8_in_eight_threads() -> None:
    engine = Engine(seeded(CONFIG, BertModel), dtype="int8")
    expected = engine.hidden_states(sequences(40))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(engine.hidden_states, [sequences(40)] * 32):
            assert all(map(torch.equal, found, expected))


def test_int8_takes_a_quarter_of_the_layers_memory() -> None:
    config = dataclasses.replace(CONFIG, hidden_size=96, intermediate_size=64)  # whole panels of the kernels
    model = seeded(config, BertForSequenceClassification)
    engines = [Engine(model, dtype="float32"), Engine(model, dtype="int8")]
    # Layers: 4 H² + 2 HI weights; their outputs' biases, to which int8 adds a scale and a sum for each.
    weights, outputs = 3 * (4 * 96 * 96 + 2 * 96 * 64), 3 * (3 * 96 + 96 + 64 + 96)
    whole = sum(parameter.nbytes for parameter in model.parameters())
    others = whole - 4 * (weights + outputs)
    assert others <= engines[0].nbytes - 4 * (weights + outputs) <= others + 8 * CONFIG.max_position_embeddings
    assert engines[0].nbytes - engines[1].nbytes == 3 * weights - 8 * outputs
    assert isinstance(engines[1].bert, FusedBert)
    assert not any(isinstance(one, nn.Linear) for one in engines[1].bert.layers.modules())
    assert sum(isinstance(one, QuantizedLinear) for one in engines[1].bert.modules()) == 3 * 4


def test_int8_does_not_make_what_is_not_finite_finite() -> None:
    model = seeded(CONFIG, BertModel)
    with torch.no_grad():
        model.get_input_embeddings().weight[7, 3] = float("nan")
    found = Engine(model, dtype="int8").hidden_states([[1, 7, 2], [1, 8, 2]])
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_the_dtype_is_one_of_three() -> None:
    dtype: Any
    for dtype in ("int4", "torch.int8", None):
        with pytest.raises(ConfigError, match="expected one of float32, bfloat16, int8"):
            Engine(seeded(CONFIG, BertModel), dtype=dtype)
    with pytest.raises(InputError, match="these are float64 on cpu"):
        Engine(seeded(CONFIG, BertModel).double(), dtype="int8")


@pytest.fixture(params=["kernels in tiles", "kernels in float32", "torch in tiles", "torch in float32"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ways of bfloat16: in C and by torch, on a processor with tiles and on one without."""
    levels = native._kernels.levels() if native.available else []
    if request.param.startswith("torch"):
        monkeypatch.setattr(NativeBert, "takes", lambda _: False)
    elif not levels:
        pytest.skip("the kernels in C were not built")
    if request.param.endswith("float32"):
        monkeypatch.setattr(linear, "has_tiles", lambda: False)
        if levels:
            native._kernels.use_level("plain")
    elif not (has_tiles() if request.param.startswith("torch") else native.rounds()):
        pytest.skip("this processor has no tiles of bfloat16")
    yield str(request.param)
    if levels:
        native._kernels.use_level(levels[-1])


@pytest.mark.parametrize("act", [None, "gelu", "gelu_new", "relu", "silu", torch.tanh])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("tiles", [True, False])
def test_bfloat16_linear_is_the_product_of_what_was_rounded(
    tiles: bool, act: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiles and not has_tiles():
        pytest.skip("this processor has no tiles of bfloat16")
    monkeypatch.setattr(linear, "has_tiles", lambda: tiles)
    torch.manual_seed(0)
    weight, bias, values = (torch.randn(size).to(dtype) for size in ((13, 70), (13,), (5, 70)))
    found = bfloat16_linear(weight, bias, act)
    assert isinstance(found, BFloat16Linear if tiles else PreparedLinear)
    rounded = weight.bfloat16().double(), bias.bfloat16().double() if tiles else bias.double()
    with torch.inference_mode():
        taken = values.bfloat16().double() if tiles else values.double()
        expected = nn.functional.linear(taken, *rounded)
        expected = expected if act is None else act(expected) if callable(act) else ACT2FN[act](expected)
        given = found(values)
    assert given.dtype == (torch.bfloat16 if tiles else dtype)
    # Half a step of bfloat16, 2^-9, for the result; a function of the user's is given a result that was rounded too.
    slack = 1e-5 if given.dtype != torch.bfloat16 else 2.0**-8 if not callable(act) else 2.0**-7
    assert ((given.double() - expected).abs() <= slack * (1 + expected.abs())).all()


def test_bfloat16_takes_half_of_the_layers_memory(products: str) -> None:
    config = dataclasses.replace(CONFIG, hidden_size=96, intermediate_size=64)  # whole panels of the kernels
    model = seeded(config, BertForSequenceClassification)
    exact, rounded = Engine(model), Engine(model, dtype="bfloat16")
    weights, biases = 3 * (4 * 96 * 96 + 2 * 96 * 64), 3 * (3 * 96 + 96 + 64 + 96)
    saved = {"kernels in tiles": 2 * weights, "torch in tiles": 2 * (weights + biases)}
    assert exact.nbytes - rounded.nbytes == saved.get(products, 0)


@pytest.mark.parametrize("position_embedding_type", ["absolute", "relative_key", "relative_key_query"])
@pytest.mark.parametrize("pruned", [{}, {0: [1], 2: [0, 2]}])
@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu", torch.tanh])
def test_bfloat16_is_near(products: str, position_embedding_type: Any, pruned: dict[int, list[int]], act: Any) -> None:
    config = dataclasses.replace(CONFIG, position_embedding_type=position_embedding_type, hidden_act=act)
    model = seeded(config, BertModel)
    model.prune_heads(pruned)
    expected = Engine(model).hidden_states(sequences())
    found = Engine(model, dtype="bfloat16").hidden_states(sequences())
    assert {states.dtype for states in found} == {torch.float32}
    share, worst = apart(found, expected)
    # A step of bfloat16 is 1/256 of a number; each product is off by less than one.
    assert 1e-5 < share < 0.008
    assert worst < 0.016


@pytest.mark.parametrize("tokens_per_call", [1, 40, 10_000, None])
def test_bfloat16_knows_batch_mates_by_rounding_alone(products: str, tokens_per_call: int | None) -> None:
    engine = Engine(seeded(CONFIG, BertModel), dtype="bfloat16", tokens_per_call=tokens_per_call)
    found = engine.hidden_states(sequences())
    alone = [engine.hidden_states([ids])[0] for ids in sequences()]
    if products.startswith("kernels"):
        assert all(map(torch.equal, found, alone))
    assert apart(found, alone)[0] < 2e-3


def test_bfloat16_answers_a_head_with_states(products: str) -> None:
    model = seeded(CONFIG, BertForSequenceClassification)
    engines = Engine(model, dtype="bfloat16"), Engine(model)
    found, expected = (engine.logits(sequences(), collate) for engine in engines)
    assert 0 < float((found - expected).abs().max()) < 0.02
    for states in engines[0].run(sequences(), collate, lambda output, _: output.hidden_states[0], states=True):
        assert states.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_bfloat16_of_a_model_of_other_floats(products: str, dtype: torch.dtype) -> None:
    model = seeded(CONFIG, BertModel)
    expected = Engine(model).hidden_states(sequences())
    found = Engine(model.to(dtype), dtype="bfloat16").hidden_states(sequences())
    assert {states.dtype for states in found} == {dtype}
    assert apart([states.float() for states in found], expected)[0] < 0.02


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="asks oneDNN for processors of x86")
def test_older_processors_multiply_what_was_rounded_in_float32() -> None:
    code = """
import torch
from glassbert.infer.linear import PreparedLinear, bfloat16_linear, has_tiles
assert not has_tiles()
weight = torch.randn(9, 7)
with torch.inference_mode():
    found = bfloat16_linear(weight, torch.zeros(9))(torch.eye(7))
assert torch.equal(found, weight.bfloat16().float().T), found
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
