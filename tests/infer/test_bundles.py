"""The engine's float32 body on the CPU: the kernels in C give what the model gives."""

from __future__ import annotations

import copy
import dataclasses
import io
import itertools
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from typing import Any, cast, get_args

import pytest
import torch
from torch import Tensor

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    Engine,
    InputError,
    native,
)
from glassbert.infer.bundles import NativeBert, plan
from glassbert.infer.engine import FusedBert
from glassbert.model.bert import BertLayer
from glassbert.model.config import HiddenAct
from glassbert.model.inputs import Inputs
from glassbert.model.layout import Packed
from tests.model.oracle import seeded

pytestmark = pytest.mark.skipif(not native.available, reason="the kernels in C were not built")

# Widths that fill no panel, no vector and no block.
CONFIG = BertConfig(
    vocab_size=60,
    hidden_size=44,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=420,
    max_position_embeddings=150,
    num_labels=4,
)
LEVELS: list[str] = native._kernels.levels() if native.available else []


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    native._kernels.use_level(request.param)
    yield request.param
    native._kernels.use_level(LEVELS[-1])


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def bert(config: BertConfig = CONFIG) -> BertModel:
    model = seeded(config, BertModel)
    assert isinstance(model, BertModel)
    return model


def batch(*lengths: int, config: BertConfig = CONFIG) -> Inputs:
    generator = torch.Generator().manual_seed(len(lengths))
    ids = torch.randint(0, config.vocab_size, (len(lengths), max(lengths)), generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    kinds = torch.randint(0, 2, ids.shape, generator=generator)
    return Inputs.check(config, input_ids=ids, attention_mask=mask, token_type_ids=kinds, use_cache=False)


def asking_states(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, want_states=True)


@torch.inference_mode()
def close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one - other).abs() < 1e-5).all())


BATCHES = [(1,), (2,), (17,), (150,), (1, 1, 1), (5, 70, 9, 33), tuple(range(1, 60)), (150, 3), (64,) * 9]


@pytest.mark.parametrize("lengths", BATCHES, ids=str)
@torch.inference_mode()
def test_all_rows(lengths: tuple[int, ...], level: str, threads: int) -> None:
    model = bert()
    inputs = batch(*lengths)
    assert close(NativeBert(model).encode(inputs).padded(), model.encode(inputs).padded())


@pytest.mark.parametrize("lengths", [(1,), (150,), (5, 70, 9, 33), tuple(range(1, 60))], ids=str)
@torch.inference_mode()
def test_first_and_asked_rows_and_states(lengths: tuple[int, ...], threads: int) -> None:
    model = bert()
    body, inputs = NativeBert(model), batch(*lengths)
    expected = model.encode(asking_states(inputs))
    found = body.encode(inputs, rows="first")
    assert found.hidden.shape == (len(lengths), 44)
    assert close(found.layout.first(found.hidden), expected.padded()[:, :1])
    asked = inputs.mask_or_ones() & (torch.rand(inputs.shape, generator=torch.Generator().manual_seed(4)) < 0.2)
    found = body.encode(inputs, rows="asked", asked=asked)
    assert close(found.layout.asked(found.hidden, asked), expected.padded()[asked])
    assert close(found.layout.first(found.hidden), expected.padded()[:, :1])
    found = body.encode(asking_states(inputs), rows="first")
    assert found.hidden_states is not None
    assert expected.hidden_states is not None
    real = inputs.mask_or_ones()
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert close(one[real], other[real])


@pytest.mark.parametrize("act", get_args(HiddenAct))
@torch.inference_mode()
def test_activations(act: HiddenAct, level: str) -> None:
    config = dataclasses.replace(CONFIG, hidden_act=act)
    model = bert(config)
    assert NativeBert.takes(model)
    inputs = batch(40, 3, config=config)
    assert close(NativeBert(model).encode(inputs).padded(), model.encode(inputs).padded())


@pytest.mark.parametrize(
    ("width", "heads", "inner"), [(8, 1, 3), (32, 2, 64), (96, 3, 33), (130, 13, 1), (464, 8, 900)]
)
@torch.inference_mode()
def test_widths(width: int, heads: int, inner: int, threads: int) -> None:
    config = dataclasses.replace(CONFIG, hidden_size=width, num_attention_heads=heads, intermediate_size=inner)
    model = bert(config)
    inputs = batch(30, 1, 12, config=config)
    assert close(NativeBert(model).encode(inputs).padded(), model.encode(inputs).padded())


@torch.inference_mode()
def test_pruned_heads(threads: int) -> None:
    model = bert()
    model.prune_heads({0: [1], 2: [0, 1, 3]})
    inputs = batch(30, 1, 12)
    assert close(NativeBert(model).encode(inputs).padded(), model.encode(inputs).padded())
    assert close(NativeBert(model).encode(inputs, rows="first").hidden, model.encode(inputs, rows="first").hidden)


@torch.inference_mode()
def test_masked_tokens_that_are_computed(threads: int) -> None:
    """First tokens are, whatever the mask says; so are places that a head asks for."""
    model = bert()
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    inputs = Inputs.check(CONFIG, input_ids=torch.arange(15).view(3, 5), attention_mask=mask, use_cache=False)
    found, expected = NativeBert(model).encode(inputs), model.encode(inputs)
    assert close(found.padded(), expected.padded())
    asked = torch.ones(3, 5, dtype=torch.bool)
    one = NativeBert(model).encode(inputs, rows="asked", asked=asked)
    other = model.encode(inputs, rows="asked", asked=asked)
    assert close(one.layout.asked(one.hidden, asked), other.layout.asked(other.hidden, asked))


@torch.inference_mode()
def test_word_vectors_in_place_of_ids() -> None:
    model = bert()
    vectors = torch.randn(3, 9, 44, generator=torch.Generator().manual_seed(0))
    inputs = Inputs.check(CONFIG, inputs_embeds=vectors, use_cache=False)
    assert close(NativeBert(model).encode(inputs).padded(), model.encode(inputs).padded())


# The second has more inputs of a product than are summed up at once.
@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, hidden_size=400, num_hidden_layers=1)])
@pytest.mark.parametrize("bfloat16", [False, True])
@torch.inference_mode()
def test_neither_batch_mates_nor_threads_change_a_bit(config: BertConfig, bfloat16: bool, level: str) -> None:
    body = NativeBert(bert(config), bfloat16=bfloat16)
    inputs = batch(*range(1, 90), config=config)
    assert inputs.ids is not None
    ids_and_kinds = torch.stack((inputs.ids, inputs.types))
    before = torch.get_num_threads()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        encoded = body.encode(inputs)
        assert isinstance(encoded.layout, Packed)
        results.append(encoded.layout.sequences(encoded.hidden))
        alone = []
        for length in range(1, 90):
            ids, kinds = ids_and_kinds[:, length - 1 : length, :length]
            one = Inputs.check(config, input_ids=ids, token_type_ids=kinds, use_cache=False)
            alone.append(body.encode(one).hidden)
        results.append(alone)
    torch.set_num_threads(before)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


# A layer's last step has fewer columns than the others; or its heads have fewer than the layer.
@pytest.mark.parametrize(("inner", "pruned"), [(385, {}), (512, {}), (1024, {}), (768, {0: [1], 1: [0, 2]})])
@pytest.mark.parametrize("bfloat16", [False, True])
@torch.inference_mode()
def test_threads_at_different_steps_keep_apart(
    inner: int, pruned: dict[int, list[int]], bfloat16: bool, level: str, threads: int
) -> None:
    config = dataclasses.replace(
        CONFIG, hidden_size=128, intermediate_size=inner, num_hidden_layers=2, max_position_embeddings=512
    )
    model = bert(config)
    model.prune_heads(pruned)
    body = NativeBert(model, bfloat16=bfloat16)
    for lengths in ((300,), (64,), (90, 270)):
        inputs = batch(*lengths, config=config)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        expected = body.encode(inputs).hidden
        torch.set_num_threads(before)
        for _ in range(6):
            assert torch.equal(body.encode(inputs).hidden, expected)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@torch.inference_mode()
def test_products_are_as_exact_as_those_of_floats(level: str, scale: float) -> None:
    """Where they are made of parts of numbers as well: of large and small ones, and of sums that nearly cancel."""
    model = bert(dataclasses.replace(CONFIG, hidden_size=400, num_hidden_layers=2))
    for layer in cast(list[BertLayer], model.encoder.layer):
        layer.intermediate.dense.weight.mul_(scale)
        layer.output.dense.weight.add_(1.0)
    inputs = batch(5, 90, 33)
    exact = copy.deepcopy(model).double().encode(inputs).padded()
    ours, floats = ((body.encode(inputs).padded() - exact).square().mean() for body in (NativeBert(model), model))
    assert ours <= 1.5 * floats


@torch.inference_mode()
def test_what_overflows_is_not_told_as_a_number(level: str) -> None:
    model = bert()
    model.get_input_embeddings().weight[7] *= 1e30
    found = NativeBert(model).encode(Inputs.check(CONFIG, input_ids=torch.tensor([[1, 7, 2]]), use_cache=False))
    assert found.hidden.isnan().all()


@torch.inference_mode()
def test_what_is_not_finite_stays_with_its_text() -> None:
    model = bert()
    model.get_input_embeddings().weight[7, 3] = float("nan")
    found = Engine(model).hidden_states([[1, 7, 2], [1, 8, 2, 5]])
    assert found[0].isnan().any()
    assert found[1].isfinite().all()


def test_copies_and_pickles_stand_for_themselves() -> None:
    engine = Engine(bert())
    expected = engine.hidden_states([[1, 2, 3]])[0]
    copies: list[Any] = [copy.deepcopy(engine.bert), pickle.loads(pickle.dumps(engine.bert))]
    del engine
    junk = [torch.zeros(50_000) for _ in range(50)]
    inputs = Inputs.check(CONFIG, input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
    with torch.inference_mode():
        assert all(torch.equal(one.encode(inputs).hidden, expected) for one in copies)
    assert junk


def test_memory_that_is_moved() -> None:
    engine = Engine(bert())
    expected = engine.hidden_states([[1, 2, 3]])[0]
    for move in (lambda: engine.bert.share_memory(), lambda: ForkingPickler(io.BytesIO(), 2).dump(engine.bert)):
        move()
        junk = [torch.zeros(50_000) for _ in range(50)]
        assert torch.equal(engine.hidden_states([[1, 2, 3]])[0], expected)
        assert junk


def test_threads_of_python() -> None:
    engine = Engine(bert())
    sequences = [[(k * 7 + j) % 60 for j in range(1 + k % 90)] for k in range(120)]
    expected = engine.hidden_states(sequences)
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(engine.hidden_states, [sequences] * 12):
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_another_default_dtype(dtype: torch.dtype) -> None:
    engine = Engine(bert())
    sequences = [[1, 2, 3], [4, 5], [6] * 40]
    expected = engine.hidden_states(sequences)
    torch.set_default_dtype(dtype)
    try:
        found = engine.hidden_states(sequences)
        with torch.inference_mode():
            inputs = Inputs.check(CONFIG, input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
            states = engine.bert.encode(asking_states(inputs)).hidden_states
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(map(torch.equal, found, expected))
    assert states is not None
    assert torch.equal(states[-1][0], expected[0])


def test_word_vectors_of_other_floats() -> None:
    model, vectors = bert(), torch.randn(2, 9, 44, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.inference_mode():
        found = NativeBert(model).encode(Inputs.check(CONFIG, inputs_embeds=vectors, use_cache=False))
        expected = model.encode(Inputs.check(CONFIG, inputs_embeds=vectors.float(), use_cache=False))
    assert close(found.padded(), expected.padded())


def test_tokens_elsewhere_are_refused() -> None:
    inputs = Inputs.check(CONFIG, input_ids=torch.ones(1, 3, dtype=torch.int64, device="meta"), use_cache=False)
    with pytest.raises(InputError, match="the tokens are on meta, and the engine is on the CPU"):
        NativeBert(bert()).encode(inputs)


def test_which_models_run_on_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(Engine(seeded(CONFIG, BertForMaskedLM)).bert, NativeBert)
    settings: list[dict[str, Any]] = [{"position_embedding_type": "relative_key"}, {"hidden_act": torch.tanh}]
    for changed in (*settings, {"num_hidden_layers": 0}):
        model = bert(dataclasses.replace(CONFIG, **changed))
        assert isinstance(Engine(model).bert, FusedBert)
    assert isinstance(Engine(bert().double()).bert, FusedBert)
    monkeypatch.setattr(native, "available", False)
    assert isinstance(Engine(bert()).bert, FusedBert)


def test_an_engine_takes_no_more_than_the_weights() -> None:
    config = dataclasses.replace(CONFIG, hidden_size=96, intermediate_size=384)
    model = seeded(config, BertForSequenceClassification)
    whole = sum(parameter.nbytes for parameter in model.parameters())
    assert whole <= Engine(model).nbytes <= 1.01 * whole


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize(
    "lengths", [[1], [3, 3], [10] * 40, list(range(1, 200)), [2, 2, 500], [400, 420, 512]], ids=str
)
def test_bundles_hold_every_sequence_once(lengths: list[int], threads: int) -> None:
    edges, together = plan(lengths, threads, 384, 1536)
    assert edges[0] == 0
    assert edges[-1] == len(lengths)
    assert all(one < other for one, other in itertools.pairwise(edges))
    if together:
        assert threads > 1
        return
    # Each thread takes the next bundle when it is ready, from the last on.
    ends = [0.0] * threads
    for first, last in reversed(list(itertools.pairwise(edges))):
        ends[ends.index(min(ends))] += sum(n * (3_538_944 + 1536 * n) for n in lengths[first:last])
    assert max(ends) * threads <= 1.101 * sum(ends)


def test_few_long_texts_are_shared() -> None:
    assert plan([500], 2, 384, 1536).together
    assert plan([400, 420, 512], 2, 384, 1536).together
    assert not plan([256] * 64, 2, 384, 1536).together
    assert not plan([500], 1, 384, 1536).together
