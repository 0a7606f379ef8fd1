"""Every form of weight files: one file or shards, safetensors or pickles, ours or a peer's."""

from __future__ import annotations

import json
import os
import re
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
    BertModel,
    BertPreTrainedModel,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    native,
)
from glassbert.checkpoint.filling import first_not_finite
from glassbert.checkpoint.folder import MODEL_CLASSES
from tests.model.oracle import seeded

CONFIG: dict[str, Any] = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.tensor([[2, 5, 6, 3, 9], [2, 7, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tiny_checkpoints"


def make(name: str = "BertModel", **changes: Any) -> BertPreTrainedModel:
    changes |= {"is_decoder": True} if name == "BertLMHeadModel" else {}
    return seeded(BertConfig(**CONFIG, **changes), MODEL_CLASSES[name])


def equal(one: BertPreTrainedModel, other: BertPreTrainedModel) -> bool:
    mine, others = one.state_dict(), other.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(mine[key], others[key]) for key in mine)


def shard(folder: Path, name: str, count: int = 3) -> None:
    """Cut the one file of `folder` into shards with an index."""
    whole = folder / name
    state = load_file(whole) if name.endswith("safetensors") else torch.load(whole, weights_only=True)
    stem, _, end = name.rpartition(".")
    mapping: dict[str, str] = {}
    for number in range(count):
        part = {key: state[key] for key in list(state)[number::count]}
        file = f"{stem}-{number + 1:05d}-of-{count:05d}.{end}"
        if end == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
        mapping |= dict.fromkeys(part, file)
    whole.unlink()
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": mapping}))


@pytest.mark.parametrize("name", MODEL_CLASSES)
@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("sharded", [False, True])
def test_what_is_written_comes_back_to_the_bit(tmp_path: Path, name: str, safe: bool, sharded: bool) -> None:
    model = make(name)
    model.save_pretrained(tmp_path, safe_serialization=safe)
    file = "model.safetensors" if safe else "pytorch_model.bin"
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names >= {"config.json", file}
    assert ("modules.json" in names) == (name == "SentenceEncoder")
    if sharded:
        shard(tmp_path, file)
    loaded = glassbert.load(tmp_path)
    assert type(loaded) is type(model)
    assert equal(loaded, model)
    assert not loaded.training
    assert loaded.loading_info.fresh == loaded.loading_info.ignored == ()


def test_the_older_format_of_pickles(tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path, safe_serialization=False)
    file = tmp_path / "pytorch_model.bin"
    torch.save(torch.load(file, weights_only=True), file, _use_new_zipfile_serialization=False)
    assert file.read_bytes()[:2] != b"PK"
    assert equal(glassbert.load(tmp_path), model)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_numbers_that_are_finite_may_be_as_large_as_their_kind_has_them(
    dtype: torch.dtype, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels:
        monkeypatch.setattr(native, "available", False)

    def finite(tensor: Tensor) -> bool:
        return first_not_finite([tensor]) is None

    large = torch.finfo(dtype).max
    assert finite(torch.full((300,), large, dtype=dtype))  # though their sum is none
    assert finite(torch.empty(0, dtype=dtype))
    for wrong in (float("nan"), float("inf"), -float("inf")):
        for place in (0, 123, 299):
            tensor = torch.ones(300, dtype=dtype)
            tensor[place] = wrong
            assert not finite(tensor), (wrong, place)
    assert not finite(torch.tensor([float("inf"), -float("inf"), large], dtype=dtype))


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "torch"])
@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("key", ["embeddings.word_embeddings.weight", "pooler.dense.bias"])
def test_one_number_that_is_not_finite_is_refused(
    key: str, stored: torch.dtype, kernels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels:
        monkeypatch.setattr(native, "available", False)
    model = make("BertModel")
    model.save_pretrained(tmp_path)
    state = {name: tensor.to(stored) for name, tensor in model.state_dict().items()}
    for wrong, place in ((float("nan"), 0), (float("inf"), -1), (-float("inf"), 3)):
        spoilt = state[key].clone()
        spoilt.view(-1)[place] = wrong
        save_file({**state, key: spoilt}, tmp_path / "model.safetensors")
        said = rf"model\.safetensors: {re.escape(key)} holds numbers that are not finite \(NaN or infinity\)"
        settings: list[dict[str, Any]] = [{}, {"dtype": "auto"}, {"dtype": "float16"}, {"device": "meta"}]
        for setting in settings:
            with pytest.raises(CheckpointError, match=said):
                glassbert.load(tmp_path, **setting)
    save_file(state, tmp_path / "model.safetensors")
    glassbert.load(tmp_path)


@pytest.mark.parametrize("dtype", [None, "float64"])
def test_a_tensor_that_stands_under_two_names_is_one_after_loading(dtype: str | None, tmp_path: Path) -> None:
    make("BertForMaskedLM").save_pretrained(tmp_path)
    model = BertForMaskedLM.from_pretrained(tmp_path, dtype=dtype)
    assert model.cls.predictions.bias is model.cls.predictions.decoder.bias
    assert model.cls.predictions.decoder.weight is model.get_input_embeddings().weight


def test_numbers_too_large_for_the_floats_that_are_asked_for(tmp_path: Path) -> None:
    model = make("BertModel")
    with torch.no_grad():
        model.get_parameter("pooler.dense.bias")[0] = 1e6
    model.save_pretrained(tmp_path)
    assert glassbert.load(tmp_path, dtype="bfloat16").dtype == torch.bfloat16
    said = r"model\.safetensors: pooler\.dense\.bias holds numbers too large for dtype float16; choose a wider one"
    with pytest.raises(CheckpointError, match=said):
        glassbert.load(tmp_path, dtype="float16")
    glassbert.load(tmp_path, dtype="bfloat16").save_pretrained(tmp_path, overwrite=True)
    with pytest.raises(CheckpointError, match=said):  # of as many bits as what the file has
        glassbert.load(tmp_path, dtype="float16")


def test_views_of_something_else_in_a_pickle_become_numbers_of_their_own(tmp_path: Path) -> None:
    model = make("BertModel")
    model.save_pretrained(tmp_path, safe_serialization=False)
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    turned, one = "encoder.layer.0.intermediate.dense.weight", "pooler.dense.bias"
    state[turned], state[one] = state[turned].T.contiguous().T, torch.full((1,), 0.5).expand(state[one].shape)
    whole = torch.cat([state["embeddings.LayerNorm.weight"], state["embeddings.LayerNorm.bias"]])
    state["embeddings.LayerNorm.weight"], state["embeddings.LayerNorm.bias"] = whole.chunk(2)
    torch.save(state, tmp_path / "pytorch_model.bin")
    found = glassbert.load(tmp_path)
    assert all(parameter.is_contiguous() for parameter in found.parameters())
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    # Each number is one by itself, so that training can change it.
    with torch.no_grad():
        found.get_parameter(one)[0] = 7.0
    assert found.get_parameter(one).tolist()[:3] == [7.0, 0.5, 0.5]


def test_a_pickle_has_the_names_of_4_4_2_and_safetensors_each_tensor_once(tmp_path: Path) -> None:
    model = make("BertForMaskedLM")
    model.save_pretrained(tmp_path / "bin", safe_serialization=False)
    model.save_pretrained(tmp_path / "safe")
    pickled = torch.load(tmp_path / "bin" / "pytorch_model.bin", weights_only=True)
    assert {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias"} <= pickled.keys()
    assert pickled.keys() == model.state_dict().keys()
    safe = load_file(tmp_path / "safe" / "model.safetensors")
    assert pickled.keys() - safe.keys() == {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}


@pytest.mark.parametrize("name", [name for name in MODEL_CLASSES if name != "SentenceEncoder"])
@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_newest_transformers_reads_what_we_write(tmp_path: Path, name: str, safe: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="the peer is not installed")
    model = make(name)
    model.save_pretrained(tmp_path, safe_serialization=safe)
    peer, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = IDS[:, None].repeat(1, 2, 1) if name == "BertForMultipleChoice" else IDS
    with torch.inference_mode():
        found, expected = model(ids), peer.eval()(ids)
    key = next(key for key in ("logits", "prediction_logits", "start_logits", "last_hidden_state") if key in expected)
    assert (found[key] - expected[key]).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_we_read_what_the_newest_transformers_writes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the peer is not installed")
    torch.manual_seed(0)
    peer = transformers.BertForPreTraining(transformers.BertConfig(**CONFIG)).eval()
    peer.save_pretrained(tmp_path / "whole")
    peer.save_pretrained(tmp_path / "shards", max_shard_size="3KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").exists()
    for folder in ("whole", "shards"):
        model = glassbert.load(tmp_path / folder)
        with torch.inference_mode():
            difference = model(IDS, MASK).prediction_logits - peer(IDS, attention_mask=MASK).prediction_logits
        assert difference[MASK.bool()].abs().max() < 1e-5


def test_a_pruned_model_is_written_as_it_is_or_with_zeros(tmp_path: Path) -> None:
    model = make()
    model.prune_heads({0: [1, 3], 2: [0]})
    model.save_pretrained(tmp_path / "pruned")
    assert equal(glassbert.load(tmp_path / "pruned"), model)
    model.save_pretrained(tmp_path / "whole", zero_pruned_heads=True)
    whole = glassbert.load(tmp_path / "whole")
    assert whole.config.pruned_heads == {}
    assert whole.encoder.layer[0].attention.self.query.weight.shape == (16, 16)  # type: ignore[union-attr,index]
    with torch.inference_mode():
        difference = whole(IDS, MASK).last_hidden_state - model(IDS, MASK).last_hidden_state
    assert difference.abs().max() < 1e-6
    # Cutting the zeros out again gives the pruned model to the bit.
    whole.prune_heads({0: [1, 3], 2: [0]})
    assert equal(whole, model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_floats(tmp_path: Path, dtype: torch.dtype) -> None:
    model = make()
    model.save_pretrained(tmp_path / "single")
    model.to(dtype).save_pretrained(tmp_path / "other")
    single = glassbert.load(tmp_path / "other")
    assert single.dtype == torch.float32
    assert all(
        torch.equal(parameter, single.state_dict()[name].to(dtype)) for name, parameter in model.state_dict().items()
    )
    other = BertModel.from_pretrained(tmp_path / "single", dtype=dtype, device="cpu")
    assert {parameter.dtype for parameter in other.parameters()} == {dtype}
    assert equal(other, model)


def test_one_model_at_a_time_in_a_folder(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{}")
    other = make(initializer_range=0.5)
    for safe in (True, False):
        with pytest.raises(OutputExistsError, match=r"config\.json is already there"):
            other.save_pretrained(tmp_path, safe_serialization=safe)
    other.save_pretrained(tmp_path, overwrite=True, safe_serialization=False)
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert equal(glassbert.load(tmp_path), other)


def test_saving_into_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = make()
    for _ in range(2):
        model.save_pretrained(".", overwrite=True)
        assert sorted(os.listdir()) == ["config.json", "model.safetensors"]
        assert equal(glassbert.load("."), model)


def test_a_link_inside_the_hubs_cache_is_followed_and_no_other(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "model")
    snapshot, blobs = tmp_path / "models--a" / "snapshots" / "123", tmp_path / "models--a" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).rename(blobs / name[:3])
        (snapshot / name).symlink_to(f"../../blobs/{name[:3]}")
    glassbert.load(snapshot)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "config.json").write_bytes((blobs / "con").read_bytes())
    (tmp_path / "links" / "model.safetensors").symlink_to(blobs / "mod")
    with pytest.raises(CheckpointError, match="outside of its folder"):
        glassbert.load(tmp_path / "links")


def test_a_key_that_stands_twice_in_a_header_is_refused(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip()
    first = json.dumps({"pooler.dense.bias": json.loads(header)["pooler.dense.bias"]})[1:-1].encode()
    header = b"{" + first + b"," + header[1:]
    file.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    with pytest.raises(CheckpointError, match=r"'pooler\.dense\.bias' stands there twice"):
        glassbert.load(tmp_path)


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "modernbert"])
def test_another_kind_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    make().save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "model_type": kind}))
    with pytest.raises(ConfigError, match=f"model_type is '{kind}'.*AutoModel"):
        glassbert.load(tmp_path)


def test_a_real_small_checkpoint(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("the collection of checkpoints is not on this machine")
    model = glassbert.load(SHARED / "allennlp_xsmall")
    file = torch.load(SHARED / "allennlp_xsmall" / "pytorch_model.bin", weights_only=True)
    state = model.state_dict()
    loaded: dict[str, Tensor] = {
        key: value for key, value in file.items() if key in state or f"bert.{key}" in state or key[5:] in state
    }
    assert loaded
    for key, value in loaded.items():
        name = next(name for name in (key, f"bert.{key}", key[5:]) if name in state)
        assert torch.equal(state[name], value)
    model.save_pretrained(tmp_path)
    assert equal(glassbert.load(tmp_path), model)
