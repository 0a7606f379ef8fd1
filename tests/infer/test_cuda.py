"""The body for a GPU: all but the recording itself, without one; and on a GPU, where there is one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    Engine,
    InputError,
    SentenceEncoder,
)
from glassbert.infer.cuda import Bucket, CudaBert, Graphs, filled, takes_lengths
from glassbert.infer.engine import _check_device
from glassbert.model import Packed
from glassbert.model.inputs import Inputs
from tests.infer.test_engine import CONFIG, collate, sequences
from tests.model.oracle import seeded

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
HEADS = [
    BertForSequenceClassification,
    BertForTokenClassification,
    BertForQuestionAnswering,
    BertForMaskedLM,
    BertForPreTraining,
    SentenceEncoder,
    BertModel,
]


def reference(
    query: Tensor, key: Tensor, value: Tensor, query_ends: Tensor, key_ends: Tensor, longest_query: int, longest: int
) -> Tensor:
    """Do what the kernel's documentation says, sequence by sequence; zeros where there is no key."""
    assert query_ends.dtype == key_ends.dtype == torch.int32
    assert int(query_ends[-1]) == len(query)
    assert int(key_ends[-1]) == len(key)
    context = torch.zeros_like(query)
    for q0, q1, k0, k1 in zip(query_ends[:-1], query_ends[1:], key_ends[:-1], key_ends[1:], strict=True):
        assert 0 <= q1 - q0 <= longest_query
        assert 0 <= k1 - k0 <= longest
        scores = torch.einsum("qad,kad->aqk", query[q0:q1], key[k0:k1]) / math.sqrt(query.shape[-1])
        if k1 > k0:
            context[q0:q1] = torch.einsum("aqk,kad->qad", scores.softmax(dim=-1), value[k0:k1])
    return context


def plain(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record nothing: what is played is computed again, into the same memory, as a graph does it."""
    made = function()

    def play() -> Tensor:
        return made.copy_(function())

    return play


@pytest.fixture(autouse=True)
def _no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", reference)


def engine_of(model: Any, dtype: torch.dtype = torch.float32, recorder: Any = plain, **settings: Any) -> Engine:
    """Return an engine that works as on a GPU, where the model is."""
    engine = Engine(model, **settings)
    engine.bert = CudaBert(model if isinstance(model, BertModel) else model.bert, dtype, recorder)
    if engine.head is not None:
        engine.head.bert = engine.bert
    return engine


def batches(count: int = 30) -> list[list[list[int]]]:
    """Batches of different sizes and lengths, some of which share a bucket."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for _ in range(count):
        size = int(torch.randint(1, 9, (), generator=generator))
        lengths = torch.randint(1, 31, (size,), generator=generator).tolist()
        found.append([torch.randint(0, 60, (n,), generator=generator).tolist() for n in lengths])
    return found


def layout_of(lengths: list[int], rows: str = "all") -> tuple[Packed, Inputs]:
    ids = [list(range(1, n + 1)) for n in lengths]
    given: Any = collate(ids)
    inputs = Inputs.check(CONFIG, **given)
    layout = Packed.from_mask(inputs.mask_or_ones())
    if rows == "first":
        layout = layout.narrow_to_first()
    elif rows == "asked":
        layout = layout.narrow_to(inputs.mask_or_ones() & (inputs.positions % 3 == 1))
    return layout, inputs


@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.__name__)
def test_what_is_played_is_what_the_model_says(kind: Any) -> None:
    model: Any = seeded(CONFIG, kind)
    engine = engine_of(model)
    head = engine.head or engine.bert
    assert isinstance(engine.bert, CudaBert)
    assert engine.bert.graphs is not None
    with torch.inference_mode():
        for batch in batches():
            given = collate(batch)
            expected, found = model(**given), head(**given)
            real = given["attention_mask"].bool()
            for name, value in found.items():
                by_token = value.shape[:2] == real.shape
                off = value[real] - expected[name][real] if by_token else value - expected[name]
                assert off.abs().max() <= 1e-5, name
    played = len(engine.bert.graphs.kept)
    assert 0 < played < 30


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining])
def test_words_are_scored_where_they_are_asked_for(kind: Any) -> None:
    model: Any = seeded(CONFIG, kind)
    head = engine_of(model).head
    assert head is not None
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch in batches():
            given = collate(batch)
            given["asked"] = torch.rand(given["input_ids"].shape, generator=generator) < 0.2
            given["asked"] &= given["attention_mask"].bool()
            expected, found = model(**given), head(**given)
            for name in set(found) & {"logits", "prediction_logits", "seq_relationship_logits"}:
                assert found[name].shape == expected[name].shape
                assert found[name].numel() == 0 or (found[name] - expected[name]).abs().max() <= 1e-5


def test_choices() -> None:
    model: Any = seeded(CONFIG, BertForMultipleChoice)
    head = engine_of(model).head
    assert head is not None
    ids = torch.randint(0, 60, (3, 4, 7))
    mask = torch.ones_like(ids)
    mask[1, 2:] = 0  # fewer choices, so texts of nothing
    with torch.inference_mode():
        for _ in range(3):
            expected, found = model(ids, mask).logits, head(ids, mask).logits
            assert (found - expected)[mask.any(dim=2)].abs().max() <= 1e-5


def test_the_engine_answers_in_order() -> None:
    model: Any = seeded(CONFIG, BertForSequenceClassification)
    engine = engine_of(model, tokens_per_call=50)
    expected = Engine(model)
    for _ in range(3):
        assert (engine.logits(sequences(), collate) - expected.logits(sequences(), collate)).abs().max() <= 1e-5
        for found, states in zip(engine.hidden_states(sequences()), expected.hidden_states(sequences()), strict=True):
            assert (found - states).abs().max() <= 1e-5


@pytest.mark.parametrize("rows", ["all", "first", "asked"])
@pytest.mark.parametrize("lengths", [[1], [30], [3, 9, 1], [16] * 16, [30] * 40 + [1] * 9, [17] * 3 + [30]])
def test_a_call_is_filled_up_to_its_bucket(lengths: list[int], rows: Any) -> None:
    layout, inputs = layout_of(lengths, rows)
    exact = Bucket.exact(layout, rows)
    bucket = exact.rounded()
    # First tokens, and those at places 1, 4, 7, ...
    picked = len(lengths) + sum((n + 1) // 3 for n in lengths) if rows == "asked" else 0
    assert exact == Bucket(sum(lengths), len(lengths), max(lengths), rows, picked)
    assert bucket.tokens >= exact.tokens
    assert bucket.sequences >= exact.sequences
    assert bucket.longest >= exact.longest
    assert bucket.picked >= exact.picked
    assert bucket.tokens - exact.tokens < max(16, exact.tokens / 8)
    assert all(count == 0 or count & (count - 1) == 0 for count in (bucket.sequences, bucket.longest, bucket.picked))
    for one in (exact, bucket):
        numbers = filled(layout, inputs, one)
        ids, types, positions, starts, places = numbers.split(one.sections)
        assert len(numbers) == sum(one.sections)
        assert starts[0] == 0
        assert starts[-1] == one.tokens
        between = starts.diff()
        assert between[: len(lengths)].tolist() == sorted(lengths)
        assert between.min() >= 0
        assert between.max() <= one.longest
        assert ids[: sum(lengths)].tolist() == [place for n in sorted(lengths) for place in range(1, n + 1)]
        assert positions[: sum(lengths)].tolist() == [place for n in sorted(lengths) for place in range(n)]
        assert not any(part[sum(lengths) :].any() for part in (ids, types, positions))
        if layout.picked is not None:
            assert places.tolist() == layout.picked.tolist() + [0] * (one.picked - exact.picked)


def test_buckets_are_few_and_stay_what_they_are() -> None:
    found = set()
    for tokens in range(1, 5000):
        bucket = Bucket(tokens, 1, 1, "all", 0).rounded()
        found.add(bucket.tokens)
        assert bucket.tokens - tokens < max(16, tokens / 8)
        assert Bucket(bucket.tokens, 1, 1, "all", 0).rounded().tokens == bucket.tokens
    assert len(found) < 60


class Counting:
    """Records nothing, and counts."""

    def __init__(self) -> None:
        self.recorded = 0
        self.played = 0

    def __call__(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.recorded += 1
        play = plain(function)

        def counted() -> Tensor:
            self.played += 1
            return play()

        return counted


def test_a_bucket_is_recorded_where_it_comes_again_and_the_oldest_goes() -> None:
    model: Any = seeded(CONFIG, BertModel)
    recorder = Counting()
    body = CudaBert(model, torch.float32, recorder)
    assert body.graphs is not None
    body.graphs = graphs = Graphs(body._compute, recorder, torch.device("cpu"), most=2)

    def call(length: int) -> None:
        ids = torch.ones(4, length, dtype=torch.int64)
        found = body.encode(Inputs.check(CONFIG, input_ids=ids)).padded()
        assert (found - model(ids).last_hidden_state).abs().max() < 1e-5

    with torch.inference_mode():
        call(3)
        assert (recorder.recorded, recorder.played, len(graphs.kept)) == (0, 0, 0)
        call(2)  # the same bucket
        assert (recorder.recorded, recorder.played, len(graphs.kept)) == (1, 1, 1)
        first = next(iter(graphs.kept))
        place = graphs.kept[first].buffer.data_ptr()
        call(4)
        assert (recorder.recorded, recorder.played) == (1, 2)
        assert graphs.kept[first].buffer.data_ptr() == place
        for length in (12, 12, 4, 30, 30):
            call(length)
        # 12 was played before 4 was.
        assert recorder.recorded == 3
        assert [bucket.tokens for bucket in graphs.kept] == [16, 128]
        call(12)
        assert recorder.recorded == 4
        assert [bucket.tokens for bucket in graphs.kept] == [128, 48]


def test_a_result_is_not_overwritten_by_the_next() -> None:
    model: Any = seeded(CONFIG, BertModel)
    body = CudaBert(model, torch.float32, plain)
    found = []
    for _ in range(4):
        ids = torch.randint(0, 60, (2, 5))
        found.append((ids, body.encode(Inputs.check(CONFIG, input_ids=ids)).padded()))
    with torch.no_grad():
        for ids, states in found:
            assert (body(ids).last_hidden_state - states).abs().max() < 1e-6
    with torch.inference_mode():  # a buffer that was made outside of it
        assert (body(ids).last_hidden_state - states).abs().max() < 1e-6


def test_in_eight_threads() -> None:
    engine = engine_of(seeded(CONFIG, BertForSequenceClassification), tokens_per_call=60)
    expected = engine.logits(sequences(40), collate)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: engine.logits(sequences(40), collate), range(24)):
            assert (found - expected).abs().max() < 1e-5


def test_what_no_graph_holds_is_started_from_python() -> None:
    model: Any = seeded(CONFIG, BertModel)
    recorder = Counting()
    body = CudaBert(model, torch.float32, recorder)
    ids = torch.randint(0, 60, (3, 6))
    left = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 1]])
    with torch.inference_mode():
        for _ in range(3):
            expected, found = model(ids, left, output_hidden_states=True), body(ids, left, output_hidden_states=True)
            pairs = [*zip(expected.hidden_states, found.hidden_states, strict=True)]
            pairs += [(expected.last_hidden_state, body(ids, left).last_hidden_state)]
            for one, other in pairs:
                assert (one - other)[left.bool()].abs().max() < 1e-5
            embeds = model.get_input_embeddings()(ids)
            inputs = Inputs.check(CONFIG, inputs_embeds=embeds)
            assert (body.encode(inputs).padded() - model(ids).last_hidden_state).abs().max() < 1e-5
    assert recorder.recorded == 0


@pytest.mark.parametrize("position_embedding_type", ["relative_key", "relative_key_query"])
def test_relative_positions_take_the_path_without_graphs(position_embedding_type: Any) -> None:
    model: Any = seeded(dataclasses.replace(CONFIG, position_embedding_type=position_embedding_type), BertModel)
    body = CudaBert(model, torch.float32, plain)
    assert body.graphs is None
    with torch.inference_mode():
        for batch in batches(4):
            given = collate(batch)
            real = given["attention_mask"].bool()
            off = body(**given).last_hidden_state - model(**given).last_hidden_state
            assert off[real].abs().max() < 1e-5


def test_pruned_heads_and_functions_for_activations() -> None:
    model: Any = seeded(dataclasses.replace(CONFIG, hidden_act=torch.tanh), BertForSequenceClassification)
    model.prune_heads({0: [1], 2: [0, 2]})
    engine = engine_of(model)
    assert isinstance(engine.bert, CudaBert)
    assert engine.bert.graphs is None
    assert (engine.logits(sequences(), collate) - Engine(model).logits(sequences(), collate)).abs().max() < 1e-5


def test_a_model_without_layers() -> None:
    model: Any = seeded(dataclasses.replace(CONFIG, num_hidden_layers=0), BertForSequenceClassification)
    engine = engine_of(model)
    for _ in range(2):
        assert (engine.logits(sequences(), collate) - Engine(model).logits(sequences(), collate)).abs().max() < 1e-5


def test_bfloat16_in_all_layers_is_near() -> None:
    model: Any = seeded(CONFIG, BertModel)
    engine, expected = engine_of(model, torch.bfloat16, tokens_per_call=70), Engine(model).hidden_states(sequences())
    for _ in range(2):
        found = engine.hidden_states(sequences())
        assert {states.dtype for states in found} == {torch.float32}
        off = (torch.cat(found) - torch.cat(expected)).norm() / torch.cat(expected).norm()
        assert 1e-4 < off < 0.02
    # Two bytes for each weight of a layer and each number of a LayerNorm.
    layers = sum(one.numel() for one in model.encoder.parameters())
    others = sum(one.numel() for one in model.parameters()) - layers
    assert engine.nbytes == 4 * others + 2 * layers


@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.__name__)
def test_nothing_is_fetched_from_the_device_or_mixed_with_the_cpu(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Torch's meta device stands for the GPU: it computes shapes alone, refuses to be read, and is not the CPU.
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda query, *_: torch.empty_like(query))
    model: Any = seeded(CONFIG, kind).to("meta")
    head: Any = model
    if kind is BertModel:
        head = body = CudaBert(model, torch.bfloat16, plain)
    else:
        model.bert = body = CudaBert(model.bert, torch.bfloat16, plain)
    with torch.inference_mode():
        for batch in batches(12):
            output = head(**collate(batch))
            assert {value.device.type for value in output.values() if isinstance(value, Tensor)} == {"meta"}
            assert {value.dtype for value in output.values() if isinstance(value, Tensor)} == {torch.float32}
            states = head(**collate(batch), output_hidden_states=True).hidden_states
            assert {value.device.type for value in states} == {"meta"}
    assert body.graphs is not None
    assert body.graphs.kept


def test_choices_come_from_the_cpu() -> None:
    model: Any = seeded(CONFIG, BertForMultipleChoice).to("meta")
    model.bert = CudaBert(model.bert, torch.float32, plain)
    mask = torch.tensor([[[1, 1], [0, 0]]])
    assert model(torch.ones(1, 2, 2, dtype=torch.int64), mask).logits.device.type == "meta"


def test_other_devices_are_named() -> None:
    with pytest.raises(InputError, match="on the CPU or on one CUDA device, and the weights are on meta; call"):
        Engine(seeded(CONFIG, BertModel).to("meta"))

    def on(*devices: str) -> Any:
        return SimpleNamespace(parameters=lambda: [SimpleNamespace(device=one) for one in devices])

    with pytest.raises(InputError, match="dtype 'int8' runs on the CPU, and the weights are on cuda:0; call"):
        _check_device(on("cuda:0", "cuda:0"), "int8")
    with pytest.raises(InputError, match="the weights are on cuda:0, cuda:1; call"):
        _check_device(on("cuda:1", "cuda:0"), "float32")
    _check_device(on("cuda:1"), "bfloat16")
    model: Any = seeded(CONFIG, BertModel)
    assert not takes_lengths(model, torch.bfloat16)


GPU = BertConfig(
    vocab_size=60,
    hidden_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=96,
    max_position_embeddings=30,
    num_labels=4,
)


@on_a_gpu
@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("floats", "dtype", "most"),
    [
        (torch.float32, "float32", 1e-4),
        (torch.float32, "bfloat16", 0.05),
        (torch.bfloat16, "float32", 0.05),
        (torch.float16, "float32", 0.02),
    ],
    ids=str,
)
def test_on_a_gpu_graphs_play_what_the_model_says(kind: Any, floats: torch.dtype, dtype: Any, most: float) -> None:
    model: Any = seeded(GPU, kind)
    expected_of: Any = seeded(GPU, kind)
    engine = Engine(model.to("cuda", floats), dtype=dtype)
    assert isinstance(engine.bert, CudaBert)
    assert (engine.bert.graphs is None) is (floats == torch.float32 and dtype == "float32")
    head = engine.head or engine.bert
    with torch.inference_mode():
        for batch in batches() + batches():
            given = collate(batch)
            real = given["attention_mask"].bool()
            expected, found = expected_of(**given), head(**given)
            for name, value in found.items():
                assert value.device.type == "cuda"
                off = value.float().cpu() - expected[name]
                off = off[real] if value.shape[:2] == real.shape else off
                assert off.abs().max() <= most * max(1.0, float(expected[name].abs().max())), name
    if engine.bert.graphs is not None:
        assert len(engine.bert.graphs.kept) > 1


@on_a_gpu
def test_on_a_gpu_what_is_played_is_what_is_started() -> None:
    model: Any = seeded(GPU, BertForSequenceClassification).to("cuda", torch.bfloat16)
    engine = Engine(model, tokens_per_call=100)
    started = Engine(model, tokens_per_call=100)
    assert isinstance(started.bert, CudaBert)
    started.bert.graphs = None
    for _ in range(4):
        found, expected = engine.logits(sequences(60), collate), started.logits(sequences(60), collate)
        assert found.device.type == "cpu"
        assert (found - expected).abs().max() < 0.02


@on_a_gpu
def test_on_a_gpu_graphs_come_and_go_and_threads_share_them() -> None:
    model: Any = seeded(GPU, BertForSequenceClassification).to("cuda")
    engine = Engine(model, dtype="bfloat16", tokens_per_call=60)
    assert isinstance(engine.bert, CudaBert)
    assert engine.bert.graphs is not None
    engine.bert.graphs._most = 1
    expected = engine.logits(sequences(40), collate)

    def call(_: int) -> Tensor:
        with torch.cuda.stream(torch.cuda.Stream()):
            return engine.logits(sequences(40), collate)

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(call, range(24)):
            assert (found - expected).abs().max() < 0.02
    assert len(engine.bert.graphs.kept) == 1


@on_a_gpu
def test_on_a_gpu_what_the_engine_cannot_it_says() -> None:
    model: Any = seeded(GPU, BertModel).to("cuda")
    with pytest.raises(InputError, match="dtype 'int8' runs on the CPU, and the weights are on cuda:0"):
        Engine(model, dtype="int8")
    with pytest.raises(InputError, match="holds 60, expected 0 to 59"):
        Engine(model).hidden_states([[60]])
    engine = Engine(model, dtype="bfloat16")
    with torch.no_grad():
        model.pooler.dense.bias.add_(1.0)
    with pytest.raises(InputError, match="make a new engine"):
        engine.hidden_states([[1]])


@on_a_gpu
@pytest.mark.parametrize("position_embedding_type", ["relative_key", "relative_key_query"])
def test_on_a_gpu_relative_positions(position_embedding_type: Any) -> None:
    model: Any = seeded(dataclasses.replace(GPU, position_embedding_type=position_embedding_type), BertModel)
    expected = Engine(model).hidden_states(sequences())
    engine = Engine(model.to("cuda"), dtype="bfloat16")
    for found, states in zip(engine.hidden_states(sequences()), expected, strict=True):
        assert (found - states).norm() / states.norm() < 0.03
