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
    BertForSequenceClassification,
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
from tests.checkpoint.test_folder import minilm
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


@pytest.mark.parametrize("name", MODEL_CLASSES)
def test_every_class_comes_back_from_tensorflow_with_its_settings(tmp_path: Path, name: str) -> None:
    settings: dict[str, Any] = {"classifier_dropout": 0.3, "id2label": {0: "a", 1: "b", 2: "c"}, "extra": {"mine": [1]}}
    model = seeded(BertConfig(**CONFIG, **settings), MODEL_CLASSES[name])
    here = folder(tmp_path / "start", model)
    convert(here, tmp_path / "tf", to="tf")
    convert(tmp_path / "tf", tmp_path / "back", to="hf")
    back = glassbert.load(tmp_path / "back")
    assert type(back) is type(model)
    assert equal(back, model)
    assert back.config == glassbert.load(here).config
    assert held(tmp_path / "back") == held(here)


def held(place: Path) -> dict[str, bytes]:
    return {file.relative_to(place).as_posix(): file.read_bytes() for file in place.rglob("*") if file.is_file()}


def test_a_classifier_of_google_says_how_many_labels_it_has(tmp_path: Path) -> None:
    model = make("BertForSequenceClassification", num_labels=3)
    convert(folder(tmp_path / "start", model), tmp_path / "tf", to="tf")
    file = tmp_path / "tf" / "bert_config.json"
    values = json.loads(file.read_text())
    for key in ("architectures", "num_labels", "id2label", "label2id"):
        del values[key]
    file.write_text(json.dumps(values))
    for load in (glassbert.load, BertForSequenceClassification.from_pretrained):
        with pytest.raises(CheckpointError, match=r"expected \(2.*; num_labels=3 takes it as it is, fresh="):
            load(tmp_path / "tf")
    assert equal(glassbert.load(tmp_path / "tf", num_labels=3), model)
    assert main(["convert", str(tmp_path / "tf"), str(tmp_path / "back"), "--num-labels", "3"]) == 0
    assert equal(glassbert.load(tmp_path / "back"), model)


@pytest.mark.parametrize("form", ["hf", "hf-bin", "tf", "torch-encoder"])
@pytest.mark.parametrize("names", [(), ("tokenizer.json",), ("vocab.txt", "tokenizer_config.json", "README.md")])
def test_what_is_there_of_a_tokenizer_goes_along_and_comes_back(
    tmp_path: Path, form: Any, names: tuple[str, ...]
) -> None:
    make("BertModel").save_pretrained(tmp_path / "start")
    for name in names:
        (tmp_path / "start" / name).write_text(f"my {name}")
    convert(tmp_path / "start", tmp_path / "there", to=form)
    convert(tmp_path / "there", tmp_path / "back", to="hf")
    # A model card is of the hub's form alone.
    kept = {name for name in names if name != "README.md" or form.startswith("hf")}
    assert held(tmp_path / "back").keys() - {"config.json", "model.safetensors"} == kept
    for name in kept:
        assert (tmp_path / "back" / name).read_text() == f"my {name}"


@pytest.mark.parametrize("form", ["hf", "hf-bin", "tf", "torch-encoder"])
@pytest.mark.parametrize("name", ["SentenceEncoder", "BertModel"])
def test_what_a_conversion_writes_may_be_replaced(tmp_path: Path, form: Any, name: str) -> None:
    start = folder(tmp_path / "start", make(name))
    for _ in range(2):
        convert(start, tmp_path / "there", to=form, overwrite=True)


def test_a_conversion_may_be_made_again(tmp_path: Path) -> None:
    start = folder(tmp_path / "start", make("BertModel"))
    (start / "README.md").write_text("card")
    for _ in range(2):
        convert(start, tmp_path / "there", to="hf", overwrite=True)
    assert (tmp_path / "there" / "README.md").read_text() == "card"
    (tmp_path / "there" / "README.md").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"README\.md, which is no file of a model"):
        convert(start, tmp_path / "there", to="hf", overwrite=True)
    with pytest.raises(OutputExistsError, match="is needed itself"):
        convert(start, start, to="tf", overwrite=True)
    convert(start, tmp_path / "tf", to="tf")
    with pytest.raises(OutputExistsError, match="would be lost"):
        convert(tmp_path / "tf" / "bert_model.ckpt", tmp_path / "tf", to="hf", overwrite=True)
    assert (tmp_path / "there" / "README.md").read_text() == "mine"


def test_a_head_that_the_files_lack_is_refused_or_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = folder(tmp_path / "start", make("BertModel"))
    values = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({**values, "architectures": ["BertForTokenClassification"]}))
    arguments = ["convert", str(start), str(tmp_path / "new")]
    assert main(arguments) == 2
    assert "fresh=['classifier'] gives them new random values" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert main([*arguments, "--fresh", "^classifier", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fresh"] == ["classifier.weight", "classifier.bias"]
    assert said["left_out"] == ["pooler.dense.bias", "pooler.dense.weight"]
    assert main([*arguments, "--fresh", "^classifier", "--overwrite"]) == 0
    assert "new, with random values: classifier.weight, classifier.bias\n" in capsys.readouterr().out
    assert main([*arguments, "--fresh", "^classifier", "--overwrite", "--revision", "main"]) == 2
    assert "is a folder, for which revision='main' means nothing" in capsys.readouterr().err


def test_what_cannot_be_read_is_not_told_as_a_write_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = folder(tmp_path / "start", make("BertModel"))
    real = Path.open

    def closed(self: Path, *arguments: Any, **settings: Any) -> Any:
        if self.name == "vocab.txt":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **settings)

    monkeypatch.setattr(Path, "open", closed)
    assert main(["convert", str(start), str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == f"glassbert: error: {start / 'vocab.txt'}: Permission denied\n"
    assert main(["convert", str(start), str(start), "--overwrite"]) == 2
    assert "would be lost" in capsys.readouterr().err  # before anything is read


def test_to_torch_and_back(tmp_path: Path) -> None:
    model = make("BertForMaskedLM")
    bert = convert(folder(tmp_path / "start", model), tmp_path / "torch", to="torch-encoder")
    assert isinstance(bert, BertModel)
    assert "cls.predictions.bias" in bert.loading_info.ignored
    assert equal(load_torch_encoder(tmp_path / "torch"), model.base_model)
    convert(tmp_path / "torch", tmp_path / "back", to="hf")
    assert equal(BertModel.from_pretrained(tmp_path / "back", add_pooling_layer=False), model.base_model)


def test_a_sentence_encoder_comes_back_from_torch(tmp_path: Path) -> None:
    encoder = SentenceEncoder(BertConfig(**CONFIG), pooling="max", prompts={"q": "find: "}, truncate_dim=5).eval()
    here = folder(tmp_path / "start", encoder)
    convert(here, tmp_path / "torch", to="torch-encoder")
    convert(tmp_path / "torch", tmp_path / "back", to="hf")
    assert held(tmp_path / "back") == held(here)


def test_the_sequence_of_the_readme_with_a_real_model(tmp_path: Path) -> None:
    start, expected = minilm(), glassbert.load(minilm())
    for arguments in (
        [start, tmp_path / "bin", "--to", "hf-bin"],
        [start, tmp_path / "tf", "--to", "tf"],
        [tmp_path / "tf" / "bert_model.ckpt", tmp_path / "hf", "--to", "hf", "--json"],
        [start, tmp_path / "torch", "--to", "torch-encoder"],
        [tmp_path / "torch", tmp_path / "back"],
    ):
        assert main(["convert", *map(str, arguments)]) == 0
    for name in ("bin", "hf", "back"):
        found = glassbert.load(tmp_path / name)
        assert isinstance(found, SentenceEncoder)
        assert equal(found, expected)
        assert found.max_length == 256
        assert (tmp_path / name / "tokenizer.json").read_bytes() == (start / "tokenizer.json").read_bytes()
        assert BertTokenizer.from_pretrained(tmp_path / name).do_lower_case


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


def test_a_model_without_a_pooler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    bare = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).eval()
    start = folder(tmp_path / "start", bare)
    assert main(["convert", str(start), str(tmp_path / "refused")]) == 2
    said = capsys.readouterr().err
    assert "pooler.dense.weight, pooler.dense.bias of BertModel are missing" in said
    assert "--no-pooler" in said
    for form in ("hf-bin", "tf", "hf"):
        assert main(["convert", str(start), str(tmp_path / form), "--to", form, "--no-pooler"]) == 0
        start = tmp_path / form
    found = BertModel.from_pretrained(start, add_pooling_layer=False)
    assert equal(found, bare)
    # One that the files hold is left out, and told.
    whole = folder(tmp_path / "whole", make())
    capsys.readouterr()
    assert main(["convert", str(whole), str(tmp_path / "less"), "--no-pooler", "--json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["left_out"]) == ["pooler.dense.bias", "pooler.dense.weight"]
    head = folder(tmp_path / "head", make("BertForMaskedLM"))
    assert main(["convert", str(head), str(tmp_path / "new"), "--no-pooler"]) == 2
    assert "head: holds no BertModel by itself" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_every_class_has_a_name_to_be_loaded_by() -> None:
    assert len(MODEL_CLASSES) == 10
