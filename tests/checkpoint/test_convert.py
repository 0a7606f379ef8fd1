"""From each form of folder to each other one, through the one loader."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import glassbert
from glassbert import (
    BertConfig,
    BertModel,
    BertPreTrainedModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    SentenceEncoder,
    convert,
)
from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.checkpoint.torch_encoder import load_torch_encoder
from glassbert.cli.main import main
from tests.checkpoint.test_weights import CONFIG, IDS, MASK, equal, make
from tests.model.oracle import case, largest_difference, seeded

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
TOKENS = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])}


def folder(path: Path, model: BertPreTrainedModel) -> Path:
    model.save_pretrained(path)
    BertTokenizer(TOKENS).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", ["BertModel", "BertForPreTraining"])
def test_there_and_back_through_all_forms_to_the_bit(tmp_path: Path, name: str) -> None:
    model = make(name)
    here = folder(tmp_path / "start", model)
    for number, form in enumerate(("hf-bin", "tf", "hf", "tf", "hf-bin", "hf")):
        there = tmp_path / str(number)
        convert(here, there, to=form)  # type: ignore[arg-type]
        assert (there / "vocab.txt").read_bytes() == (tmp_path / "start" / "vocab.txt").read_bytes()
        here = there
    assert equal(glassbert.load(here), model)
    assert json.loads((here / "config.json").read_text())["architectures"] == [name]


def test_to_torch_and_back(tmp_path: Path) -> None:
    model = make("BertForMaskedLM")
    bert = convert(folder(tmp_path / "start", model), tmp_path / "torch", to="torch-encoder")
    assert isinstance(bert, BertModel)
    assert "cls.predictions.bias" in bert.loading_info.ignored
    assert equal(load_torch_encoder(tmp_path / "torch"), model.base_model)
    convert(tmp_path / "torch", tmp_path / "back", to="hf")
    assert equal(BertModel.from_pretrained(tmp_path / "back", add_pooling_layer=False), model.base_model)


def test_a_tensorflow_checkpoint_by_its_folder_and_by_its_path(tmp_path: Path) -> None:
    model = make("BertForPreTraining")
    convert(folder(tmp_path / "start", model), tmp_path / "tf", to="tf")
    for name in (tmp_path / "tf", tmp_path / "tf" / "bert_model.ckpt", str(tmp_path / "tf" / "bert_model.ckpt.index")):
        assert equal(glassbert.load(name), model)
    bare = BertModel.from_pretrained(tmp_path / "tf", hidden_act="gelu_new")
    assert bare.config.hidden_act == "gelu_new"
    assert equal(bare, model.base_model)


def test_googles_golden_checkpoint_gives_the_golden_numbers() -> None:
    if not SHARED.is_dir():
        pytest.skip("the golden checkpoint is not on this machine")
    model = glassbert.load(SHARED / "oracle" / "tf_checkpoint")
    golden = case("pretraining_no_labels")
    with torch.inference_mode():
        result = model(**golden.arguments())
    mask = golden.arguments().get("attention_mask")
    for name, expected in golden.outputs().items():
        assert largest_difference(result[name], expected, mask) <= golden.values["tolerance"]
    assert any(name.endswith("/adam_m") for name in model.loading_info.ignored)


def test_a_head_of_another_form(tmp_path: Path) -> None:
    for name in ("BertForQuestionAnswering", "BertForSequenceClassification"):
        model = make(name)
        convert(folder(tmp_path / name, model), tmp_path / f"{name}-tf", to="tf")
        assert equal(glassbert.load(tmp_path / f"{name}-tf"), model)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_sentence_encoder_is_loaded_with_what_its_folder_says(tmp_path: Path, pooling: Any) -> None:
    config = BertConfig(**CONFIG)
    encoder = SentenceEncoder(
        config, pooling=pooling, normalize=False, max_length=10, prompts={"query": "find: "}, default_prompt="query"
    ).eval()
    folder(tmp_path, encoder)
    loaded = glassbert.load(tmp_path)
    assert isinstance(loaded, SentenceEncoder)
    assert (loaded.pooling, loaded.normalize, loaded.max_length) == (pooling, False, 10)
    assert (loaded.prompts, loaded.default_prompt) == ({"query": "find: "}, "query")
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK).sentence_embedding, encoder(IDS, MASK).sentence_embedding)
    # What modules.json says holds, whatever config.json may say.
    values = json.loads((tmp_path / "config.json").read_text())
    values["sentence_encoder"]["pooling"] = "cls" if pooling == "mean" else "mean"
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert SentenceEncoder.from_pretrained(tmp_path).pooling == pooling
    assert type(BertModel.from_pretrained(tmp_path, add_pooling_layer=False)) is BertModel


def test_sentence_transformers_gives_the_same_vectors(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    encoder = seeded(BertConfig(**CONFIG), SentenceEncoder)
    folder(tmp_path, encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
        expected = peer.encode(["a b", "b"], convert_to_tensor=True)
    batch = BertTokenizer.from_pretrained(tmp_path)(["a b", "b"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert (encoder(**batch).sentence_embedding - expected).abs().max() < 1e-5


def test_what_a_form_cannot_hold_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    relative = folder(tmp_path / "relative", make(position_embedding_type="relative_key"))
    for form in ("tf", "torch-encoder"):
        with pytest.raises((CheckpointError, ConfigError), match="relative"):
            convert(relative, tmp_path / "new", to=form)
    with pytest.raises(ConfigError, match="onnx"):
        convert(relative, tmp_path / "new", to="onnx")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="zeros"):
        convert(relative, tmp_path / "new", to="tf", zero_pruned_heads=True)
    with pytest.raises(CheckpointError, match="no/such"):
        convert("no/such", tmp_path / "new", to="hf", local_files_only=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["relative"]
    with pytest.raises(OutputExistsError):
        convert(relative, relative, to="hf")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make("BertForPreTraining")
    model.prune_heads({1: [0]})
    start = folder(tmp_path / "start", model)
    assert main(["convert", str(start), str(tmp_path / "whole"), "--zero-pruned-heads", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["class"] == "BertForPreTraining"
    assert said["form"] == "hf"
    assert main(["convert", str(tmp_path / "whole"), str(tmp_path / "tf"), "--to", "tf"]) == 0
    assert main(["convert", str(tmp_path / "tf"), str(tmp_path / "tanh"), "--hidden-act", "gelu_new"]) == 0
    assert json.loads((tmp_path / "tanh" / "config.json").read_text())["hidden_act"] == "gelu_new"
    capsys.readouterr()
    assert main(["convert", str(start), str(tmp_path / "new"), "--to", "tf"]) == 2
    assert "pruned_heads" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "nothing"), str(tmp_path / "new")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_every_class_has_a_name_to_be_loaded_by() -> None:
    assert len(MODEL_CLASSES) == 10
