"""A save is whole or not there, whenever it ends. The campaign: `python -m tests.checkpoint.killed FOLDER 200 0`."""

from __future__ import annotations

import errno
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import glassbert
from glassbert import BertConfig, BertModel, BertPreTrainedModel, OutputExistsError, SaveError, SentenceEncoder
from glassbert.checkpoint import save_model
from glassbert.checkpoint.tensorflow import save_tensorflow
from glassbert.checkpoint.torch_encoder import save_torch_encoder
from tests.checkpoint.test_weights import CONFIG, equal, make, shard

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_save_leaves_the_old_model_or_the_new_one(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.checkpoint.killed", str(tmp_path), "12", "0"]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [line.split() for line in run.stdout.splitlines()]
    assert len(lines) == 12
    for _, state, _, *names in lines:
        assert state == "whole"
        assert names in (
            ["config.json", "model.safetensors", "vocab.txt"],
            ["config.json", "pytorch_model.bin", "vocab.txt"],
        )
    assert {number for number, *_ in lines} == {"1", "2"}
    assert "midst" in [moment for _, _, moment, *_ in lines]
    # What the killed ones left has gone with the saves that came after.
    assert len(list(tmp_path.glob(".model.*.part"))) <= 1


@pytest.mark.parametrize("name", ["os.fsync", "os.link", "glassbert.files._exchange", "glassbert.files.write_json"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    old, new = make(), make(initializer_range=0.5)
    folder = tmp_path / "model"
    old.save_pretrained(folder)
    (folder / "notes.txt").write_text("mine")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "refused")

    target: Callable[..., Any] = refuse
    with monkeypatch.context() as patch:
        patch.setattr("glassbert.checkpoint.saving.write_json" if name.endswith("write_json") else name, target)
        if name == "os.link":
            patch.setattr("shutil.copy2", refuse)
        with pytest.raises(SaveError, match="what stood there still stands"):
            new.save_pretrained(folder, overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model"]
    assert sorted(entry.name for entry in folder.iterdir()) == ["config.json", "model.safetensors", "notes.txt"]
    assert equal(glassbert.load(folder), old)


@pytest.mark.parametrize("form", ["safe", "bin", "tf", "torch"])
def test_a_system_that_writes_no_more_is_told_by_its_own_reason(tmp_path: Path, form: str) -> None:
    resource = pytest.importorskip("resource", reason="the system has no such limits")
    functions: dict[str, Callable[[Any, Path], None]] = {"tf": save_tensorflow, "torch": save_torch_encoder}
    write = functions.get(form, functools.partial(save_model, safe_serialization=form == "safe"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        with pytest.raises(SaveError, match=r"model: .*File too large.*; what stood there still stands") as caught:
            write(make(), tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


# What of another model stood in the folder


def names(folder: Path) -> list[str]:
    return sorted(entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_file())


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_shards_and_their_index_go_with_the_old_model(tmp_path: Path, old: bool, new: bool) -> None:
    file = "model.safetensors" if old else "pytorch_model.bin"
    make().save_pretrained(tmp_path, safe_serialization=old)
    shard(tmp_path, file)
    # Files of that kind of name which are none of them.
    for name in ("model-card.safetensors", "pytorch_model.bin.bak", "2021_Notes", "vocab.txt"):
        (tmp_path / name).write_text("mine")
    other = make(initializer_range=0.5)
    with pytest.raises(OutputExistsError, match="or pass overwrite=True"):
        other.save_pretrained(tmp_path, safe_serialization=new)
    other.save_pretrained(tmp_path, safe_serialization=new, overwrite=True)
    kept = ["2021_Notes", "model-card.safetensors", "pytorch_model.bin.bak", "vocab.txt"]
    assert names(tmp_path) == sorted(["config.json", "model.safetensors" if new else "pytorch_model.bin", *kept])
    assert equal(glassbert.load(tmp_path), other)


@pytest.mark.parametrize("here", [False, True])
def test_a_model_that_is_no_sentence_encoder_takes_the_place_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    encoder, other = SentenceEncoder(BertConfig(**CONFIG), pooling="max").eval(), make("BertForTokenClassification")
    folder: Path | str = tmp_path
    if here:  # where no folder can take the place of another
        monkeypatch.chdir(tmp_path)
        folder = "."
    encoder.save_pretrained(folder)
    assert {"1_Pooling/config.json", "2_Normalize/config.json", "modules.json"} <= set(names(tmp_path))
    (tmp_path / "3_Mine").mkdir()
    (tmp_path / "3_Mine" / "thesis.txt").write_text("mine")
    other.save_pretrained(folder, overwrite=True)
    assert names(tmp_path) == ["3_Mine/thesis.txt", "config.json", "model.safetensors"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["3_Mine", "config.json", "model.safetensors"]
    assert equal(glassbert.load(folder), other)
    # And back; an encoder of several layers has no form there, so nothing of the one before stays.
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "thesis.txt").write_text("mine")
    encoder.save_pretrained(folder, overwrite=True)
    assert (tmp_path / "1_Pooling" / "thesis.txt").read_text() == "mine"
    assert isinstance(glassbert.load(folder), SentenceEncoder)
    SentenceEncoder(BertConfig(**CONFIG), layers=2).save_pretrained(folder, overwrite=True)
    assert not (tmp_path / "modules.json").exists()
    found = glassbert.load(folder)
    assert isinstance(found, SentenceEncoder)
    assert found.layers == 2


# The floats


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("stale", ["dtype", "torch_dtype"])
def test_config_json_says_which_floats_the_weights_are(tmp_path: Path, dtype: torch.dtype, stale: str) -> None:
    model = make()
    model.config.extra[stale] = "bfloat16" if dtype != torch.bfloat16 else "float32"
    model.to(dtype).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["dtype"] == str(dtype).removeprefix("torch.")
    assert "torch_dtype" not in values
    transformers = pytest.importorskip("transformers", reason="the peer is not installed")
    peer = transformers.BertModel.from_pretrained(tmp_path)
    assert peer.dtype == dtype
    for name, tensor in model.state_dict().items():
        assert torch.equal(peer.state_dict()[name], tensor), name


def test_of_mixed_floats_those_that_most_numbers_are(tmp_path: Path) -> None:
    model = make()
    model.half()
    model.base_model.get_input_embeddings().float()
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    assert glassbert.load(tmp_path, dtype="auto").dtype == torch.float16


# What no model can be loaded from


def with_nan(model: BertPreTrainedModel) -> None:
    with torch.no_grad():
        model.get_parameter("encoder.layer.1.output.dense.bias")[3] = float("nan")


def longer(model: BertPreTrainedModel) -> None:
    model.get_submodule("embeddings").word_embeddings = torch.nn.Embedding(50, 16)


def empty(model: BertPreTrainedModel) -> None:
    model.get_submodule("encoder").to("meta")


def sparse(model: BertPreTrainedModel) -> None:
    module = model.get_submodule("pooler.dense")
    module.weight = torch.nn.Parameter(module.get_parameter("weight").detach().to_sparse())


class Packed(torch.nn.Module):
    def get_extra_state(self) -> tuple[int, int]:
        return 1, 2

    def set_extra_state(self, state: Any) -> None:
        """Take what `get_extra_state` gave."""


def packed(model: BertPreTrainedModel) -> None:
    model.get_submodule("pooler").more = Packed()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (with_nan, r"encoder\.layer\.1\.output\.dense\.bias holds numbers that are not finite"),
        (longer, r"word_embeddings\.weight has the shape \(50, 16\), but by the config it is \(30, 16\)"),
        (empty, r"encoder\.layer\.0\.\S+ has a shape alone and no numbers"),
        (sparse, r"pooler\.dense\.weight is a tensor of torch\.sparse_coo"),
        (packed, r"pooler\.more\._extra_state is a tuple, expected plain numbers"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("save", ["safe", "bin", "tf", "torch"])
def test_what_could_not_be_loaded_is_not_saved(
    tmp_path: Path, spoil: Callable[[BertPreTrainedModel], None], said: str, save: str
) -> None:
    model = make()
    spoil(model)
    functions: dict[str, Callable[[Any, Path], None]] = {"tf": save_tensorflow, "torch": save_torch_encoder}
    if spoil is longer and save in functions:
        pytest.skip("only the form of Hugging Face is held against its config when it is written")
    write = functions.get(save, functools.partial(save_model, safe_serialization=save == "safe"))
    with pytest.raises(SaveError, match=said) as caught:
        write(model, tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


class Own(BertPreTrainedModel):
    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.mine = torch.nn.Linear(width, width)
        self.init_weights()


def test_a_class_of_yours_is_held_against_its_config_as_far_as_it_is_ours(tmp_path: Path) -> None:
    model = Own(BertConfig(**CONFIG), 3)
    model.save_pretrained(tmp_path / "one")
    model.bert.set_input_embeddings(torch.nn.Embedding(50, 16))
    model.bert.config.vocab_size = model.config.vocab_size = 40
    with pytest.raises(SaveError, match=r"bert\.embeddings\.word_embeddings\.weight has the shape \(50, 16\)"):
        model.save_pretrained(tmp_path / "two")


def test_a_view_of_something_larger_is_written_by_itself(tmp_path: Path) -> None:
    model = make("BertForMaskedLM")
    expected = make("BertForMaskedLM")
    expected.save_pretrained(tmp_path / "plain", safe_serialization=False)
    with torch.no_grad():
        for parameter in model.parameters():
            large = torch.zeros(50_000)
            large[: parameter.numel()] = parameter.flatten()
            parameter.data = large[: parameter.numel()].view(parameter.shape)
    model.tie_weights()
    for safe in (False, True):
        folder = tmp_path / str(safe)
        model.save_pretrained(folder, safe_serialization=safe)
        assert equal(glassbert.load(folder), expected)
    size, plain = ((tmp_path / name / "pytorch_model.bin").stat().st_size for name in ("False", "plain"))
    assert abs(size - plain) < 100


# Arguments


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("max_shard_size", "one file is written"),
        ("push_to_hub", r"model\.push_to_hub\(repo\)"),
        ("state_dict", "load_state_dict"),
        ("variant", "folder of its own"),
        ("token", "nothing is uploaded"),
        ("overwrit", "did you mean 'overwrite'"),
    ],
)
def test_an_unknown_argument_names_the_method_and_a_remedy(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(TypeError, match=rf"BertModel\.save_pretrained\(\) has no argument '{name}'; .*{said}"):
        make().save_pretrained(tmp_path / "model", **{name: "1GB"})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("folder", ["", None, 3, b"model"])
def test_a_folder_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for save in (make().save_pretrained, BertConfig().save_pretrained):
        with pytest.raises(SaveError, match=r"expected the name of a folder \('\.' is the current one\)"):
            save(folder)
    assert not list(tmp_path.iterdir())


def test_a_config_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BertConfig(**CONFIG).save_pretrained(tmp_path / "new" / "folder")
    file = tmp_path / "new" / "folder" / "config.json"
    before = file.read_text()
    with pytest.raises(OutputExistsError, match=r"config\.json is already there; .* overwrite=True"):
        BertConfig().save_pretrained(file.parent)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SaveError, match="No space left on device; what stood there still stands"):
            BertConfig().save_pretrained(file.parent, overwrite=True)
    assert file.read_text() == before
    assert [entry.name for entry in file.parent.iterdir()] == ["config.json"]
    BertConfig().save_pretrained(file.parent, overwrite=True)
    assert BertConfig.from_pretrained(file.parent) == BertConfig()
