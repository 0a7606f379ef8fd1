"""What cannot be loaded: each refusal is one line that names the file, the key or the value, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import glassbert
from glassbert import BertConfig, BertModel, CheckpointError, ConfigError, InputError, pipeline
from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.checkpoint.tensorflow import save_tensorflow
from glassbert.checkpoint.torch_encoder import save_torch_encoder
from tests.checkpoint.test_weights import CONFIG, equal, make

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def rewrite(folder: Path, change: Change) -> None:
    """Replace the tensors by others."""
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def settings(folder: Path, **values: Any) -> None:
    """Replace values in config.json; None takes a key away."""
    file = folder / "config.json"
    whole = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))


def refused(name: Any, **arguments: Any) -> str:
    with pytest.raises((CheckpointError, ConfigError, InputError)) as caught:
        glassbert.load(name, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Heads that are not there


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("BertForSequenceClassification", "classifier"),
        ("BertForSequenceClassification", "pooler"),
        ("BertForMultipleChoice", "classifier"),
        ("BertForTokenClassification", "classifier"),
        ("BertForQuestionAnswering", "qa_outputs"),
    ],
)
def test_a_head_that_the_folder_promises_and_lacks(tmp_path: Path, name: str, part: str) -> None:
    make(name).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda state: {key: value for key, value in state.items() if part not in key})
    message = refused(tmp_path)
    assert re.search(rf"{part}.*weight, .*{part}.*bias of {name} are missing; fresh=\['{part}'\] gives them", message)
    assert f"and so does {name}.from_pretrained" in message
    fresh = glassbert.load(tmp_path, fresh=part)
    assert all(part in key for key in fresh.loading_info.fresh)
    assert len(fresh.loading_info.fresh) == 2
    # Who names the class asks for a new head.
    assert MODEL_CLASSES[name].from_pretrained(tmp_path).loading_info.fresh == fresh.loading_info.fresh
    if name == "BertForSequenceClassification":
        with pytest.raises(CheckpointError, match="are missing"):
            pipeline("text-classification", model=tmp_path)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("BertForMaskedLM", "BertForMaskedLM"),
        ("BertForTokenClassification", "BertForTokenClassification"),
        ("BertForQuestionAnswering", "BertForQuestionAnswering"),
        ("SentenceEncoder", ""),
    ],
)
def test_a_folder_that_names_no_class(tmp_path: Path, name: str, fits: str) -> None:
    make(name).save_pretrained(tmp_path)
    (tmp_path / "modules.json").unlink(missing_ok=True)
    settings(tmp_path, architectures=[] if fits else None)
    message = refused(tmp_path)
    assert "fresh=['pooler']" in message
    assert "add_pooling_layer=False does without" in message
    assert f"No class is named by architectures in {tmp_path / 'config.json'}" in message
    assert message.endswith(f"{fits}.from_pretrained takes these weights") == bool(fits)
    assert glassbert.load(tmp_path, add_pooling_layer=False).loading_info.fresh == ()


def test_heads_that_google_alone_tells_apart(tmp_path: Path) -> None:
    for name in ("BertForNextSentencePrediction", "BertForMaskedLM", "BertForPreTraining", "BertForQuestionAnswering"):
        model = make(name)
        save_tensorflow(model, tmp_path / name)
        file = tmp_path / name / "bert_config.json"
        values = json.loads(file.read_text())
        del values["architectures"]
        file.write_text(json.dumps(values))
        assert equal(glassbert.load(tmp_path / name), model)


# Keys


def test_all_groups_are_named_at_once(tmp_path: Path) -> None:
    make("BertForPreTraining").save_pretrained(tmp_path)
    settings(tmp_path, architectures=["BertForTokenClassification"])
    new = {f"mine.{number}": torch.zeros(1) for number in range(3)}
    rewrite(tmp_path, lambda state: {key: value for key, value in state.items() if ".1.output" not in key} | new)
    message = refused(tmp_path)
    assert "mine.0, mine.1, mine.2 have no place in BertForTokenClassification; ignore=['mine'] leaves" in message
    assert "bert.encoder.layer.1.output.dense.weight, bert.encoder.layer.1.output.dense.bias, " in message
    assert " and 3 more of BertForTokenClassification are missing" in message
    patterns = re.findall(r"'([^']+)'", message.partition("fresh=[")[2].partition("]")[0])
    loaded = glassbert.load(tmp_path, ignore="mine", fresh=patterns)
    assert {"classifier.weight", "bert.encoder.layer.1.output.dense.bias"} <= set(loaded.loading_info.fresh)


@pytest.mark.parametrize("start", ["module.", "model.", "encoder.", "module.model."])
@pytest.mark.parametrize("name", ["BertModel", "BertForSequenceClassification"])
def test_keys_of_a_wrapped_model(tmp_path: Path, name: str, start: str) -> None:
    make(name).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda state: {start + key: value for key, value in state.items()})
    assert f"all keys begin with {start!r}, " in refused(tmp_path)
    assert refused(tmp_path).endswith(f"save the weights of the inner one: outer.{start}state_dict()")


def test_parameters_in_a_pickle(tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path, safe_serialization=False)
    state = {key: nn.Parameter(value) for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert equal(glassbert.load(tmp_path), model)  # warnings are errors in these tests


# Arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_hidden_layers": 2}, "num_hidden_layers=2 was given, but .*model.safetensors has 3 layers; leave it out"),
        ({"vocab_size": 9}, r"vocab_size=9 was given, but .* has the shape \(30, 16\); leave it out"),
        ({"hidden_size": 8, "vocab_size": 9}, "vocab_size=9, hidden_size=8 was given|hidden_size=8 was given"),
        ({"config": BertConfig(**{**CONFIG, "num_hidden_layers": 2})}, "the config that was given: num_hidden_layers"),
        ({"config": BertConfig(**{**CONFIG, "vocab_size": 9})}, "but by the config that was given it is"),
        ({"config": {}}, "config is {}, expected a BertConfig; BertConfig.from_dict"),
        ({"config": "config.json"}, "config is 'config.json', expected a BertConfig"),
        ({"dtype": "int8"}, "dtype is 'int8', expected float32, float16, bfloat16, float64"),
        ({"dtype": torch.int8}, r"dtype is torch\.int8, expected"),
        ({"dtype": 16}, "dtype is 16, expected"),
        ({"device": "gpu"}, "device is 'gpu', which cannot be used here: Expected one of cpu"),
        ({"device": "cuda:99"}, "device is 'cuda:99', which cannot be used here: "),
        ({"device": []}, r"device is \[\], which cannot be used here: "),
        ({"fresh": 3}, "fresh is 3, expected patterns"),
        ({"ignore": 3.5}, r"ignore is 3\.5, expected patterns"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_argument_of_the_wrong_kind_is_blamed_itself(tmp_path: Path, arguments: Any, said: str) -> None:
    make().save_pretrained(tmp_path)
    message = refused(tmp_path, **arguments)
    assert re.search(said, message), message
    assert "config.json:" not in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float32], ids=str)
def test_floats_by_their_name_and_those_of_the_file(tmp_path: Path, dtype: torch.dtype) -> None:
    make().to(dtype).save_pretrained(tmp_path)
    assert glassbert.load(tmp_path).dtype == torch.float32
    assert glassbert.load(tmp_path, dtype="auto").dtype == dtype
    assert BertModel.from_pretrained(tmp_path, dtype=str(dtype).removeprefix("torch.")).dtype == dtype


# Files


def test_a_google_checkpoint_without_its_config(tmp_path: Path) -> None:
    save_tensorflow(make(), tmp_path)
    (tmp_path / "bert_config.json").unlink()
    assert "bert_model.ckpt.index is that of a TensorFlow checkpoint: put the bert_config.json" in refused(tmp_path)
    assert "but bert_config.json is not beside it" in refused(tmp_path / "bert_model.ckpt")


def test_a_folder_that_is_something_else(tmp_path: Path) -> None:
    model = make()
    assert isinstance(model, BertModel)
    save_torch_encoder(model, tmp_path / "torch")
    assert f"glassbert convert {tmp_path / 'torch'} OUT --to hf" in refused(tmp_path / "torch")
    model.save_pretrained(tmp_path / "run" / "checkpoint-500")
    assert "holds no config.json, so it is no model folder; checkpoint-500 in it does: name that one" in refused(
        tmp_path / "run"
    )
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "tf_model.h5").touch()
    assert "tf_model.h5 is there: put the config.json of its model beside it" in refused(tmp_path / "keras")
    model.config.save_pretrained(tmp_path / "keras")
    assert "nor pytorch_model.bin; tf_model.h5 cannot be read" in refused(tmp_path / "keras")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pytorch_model.bin"])
def test_files_without_their_content(tmp_path: Path, name: str) -> None:
    make().save_pretrained(tmp_path, safe_serialization=name != "pytorch_model.bin")
    (tmp_path / name).write_bytes(b"")
    assert refused(tmp_path) == f"{tmp_path / name}: is empty"
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 90\n")
    said = f"{tmp_path / name}: is a pointer of git-lfs, not the file itself; run: git lfs pull"
    assert refused(tmp_path) == said


@pytest.mark.parametrize("form", ["hf", "hf-bin", "tf", "torch-encoder"])
def test_what_the_system_does_not_let_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any) -> None:
    make().save_pretrained(tmp_path / "start")
    glassbert.convert(tmp_path / "start", tmp_path / "model", to=form)
    real_open, real_stat, closed = Path.open, Path.stat, ""

    def refuse(real: Any) -> Any:
        def call(self: Path, *arguments: Any, **named: Any) -> Any:
            if self.name == closed:
                raise PermissionError(13, "Permission denied", str(self))
            return real(self, *arguments, **named)

        return call

    for function, real in (("open", real_open), ("stat", real_stat)):
        for file in sorted(path.name for path in (tmp_path / "model").iterdir()):
            closed = file
            with monkeypatch.context() as patch:
                patch.setattr(Path, function, refuse(real))
                if file == "checkpoint":  # only asked where there are several
                    continue
                with pytest.raises(CheckpointError, match=rf"{file}: Permission denied$"):
                    glassbert.convert(tmp_path / "model", tmp_path / "new", to="hf")
    assert not (tmp_path / "new").exists()


def test_folders_in_the_place_of_files(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        assert re.search(f"{name}.* is (no file|a folder)|holds no {name}", refused(tmp_path))
