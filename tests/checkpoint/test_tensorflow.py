"""Google's checkpoints: names, golden outputs, ways there and back, refusals by name."""

from __future__ import annotations

import dataclasses
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import glassbert
from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    SaveError,
)
from glassbert.checkpoint import bundle, tensorflow
from glassbert.checkpoint.bundle import read_index
from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.checkpoint.keys import rename, shared_names
from glassbert.checkpoint.tensorflow import (
    TensorFlowWeights,
    find_checkpoint,
    from_tensorflow,
    is_left_out,
    read_tf_config,
    save_tensorflow,
    to_tensorflow,
)
from glassbert.model.base import BertPreTrainedModel
from tests.checkpoint import bundles
from tests.checkpoint.bundles import BFLOAT16, HALF, TEXT, Given, floats
from tests.model.oracle import case, seeded

GOLDEN = Path(__file__).parent / "golden" / "keras_bert"
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FILES = ["bert_config.json", "bert_model.ckpt.data-00000-of-00001", "bert_model.ckpt.index", "checkpoint"]
CONFIG: dict[str, Any] = {
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 11,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 10,
    "type_vocab_size": 3,
}


def tiny(model_class: type[BertPreTrainedModel] = BertForPreTraining, **settings: Any) -> Any:
    return seeded(BertConfig(**{**CONFIG, **settings}), model_class)


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def fill(model: BertPreTrainedModel, folder: Path) -> None:
    """Put a checkpoint into a model, every weight of which has to be there; what the model has no use for is left."""
    expected = model.state_dict()
    prefix = find_checkpoint(folder)
    assert prefix is not None
    with TensorFlowWeights(prefix) as weights:
        names = {key: name for key, name in rename(weights.keys(), set(expected), "bert").items() if name in expected}
        for key, name in names.items():
            assert weights.shape(key) == tuple(expected[name].shape)
        state = {name: weights.tensor(key) for key, name in names.items()}
    tied = {name for group in shared_names(model) if set(group) & set(state) for name in group}
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert set(missing) <= tied


# Golden checkpoints


def largest(model: BertPreTrainedModel, tensors: dict[str, Tensor]) -> float:
    arguments = {name.removeprefix("in."): tensor for name, tensor in tensors.items() if name.startswith("in.")}
    with torch.inference_mode():
        result = model(**arguments)
    mask = arguments["attention_mask"].bool()
    words = (result.prediction_logits - tensors["out.prediction_logits"])[mask].abs().max()
    pairs = (result.seq_relationship_logits - tensors["out.seq_relationship_logits"]).abs().max()
    return float(torch.maximum(words, pairs))


def test_keras_berts_checkpoint() -> None:
    config = read_tf_config(GOLDEN)
    assert config.hidden_act == "gelu"
    assert config.extra["pooler_type"] == "first_token_transform"
    model = BertForPreTraining(config).eval()
    fill(model, GOLDEN)
    assert largest(model, load_file(GOLDEN / "expected.safetensors")) <= 1e-5


def test_the_oracles_checkpoint() -> None:
    folder = shared("oracle/tf_checkpoint")
    model = BertForPreTraining(read_tf_config(folder)).eval()
    fill(model, folder)
    golden = case("pretraining_no_labels")
    for name, tensor in golden.model("sdpa").state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert largest(model, golden.tensors) <= 1e-5


def test_what_an_optimizer_keeps_is_left_out() -> None:
    weights = TensorFlowWeights(GOLDEN / "bert_model.ckpt")
    assert len(weights.keys()) == 46
    assert len(weights.left_out) == 139 - 46
    assert "global_step" in weights.left_out
    assert {name.rpartition("/")[2] for name in weights.left_out} == {"global_step", "adam_m", "adam_v"}
    assert weights.where("bert.pooler.dense.weight") == str(GOLDEN / "bert_model.ckpt.data-00000-of-00001")
    assert weights.names["bert.pooler.dense.weight"] == "bert/pooler/dense/kernel"


@pytest.mark.parametrize(
    ("name", "layers", "slots"),
    [
        ("bert_wwm_index/bert_model.ckpt.index", 12, 0),
        ("uncased_L-8_H-512_A-8_index/bert_model.ckpt.index", 8, 0),
        ("bert5mc_adam_index/model.ckpt-200000.index", 12, 2),
        ("keras_bert_tf/bert_model.ckpt.index", 2, 2),
    ],
)
def test_indices_of_published_checkpoints(name: str, layers: int, slots: int) -> None:
    entries, shards = read_index(shared("data/tiny_checkpoints") / name)
    assert shards == 1
    left_out = {name for name in entries if is_left_out(name)}
    found = {name: from_tensorflow(name) for name in entries.keys() - left_out}
    sizes: dict[str, Any] = {"num_hidden_layers": layers, "hidden_size": entries["bert/pooler/dense/bias"].shape[0]}
    sizes["num_attention_heads"] = sizes["hidden_size"] // 4
    sizes["intermediate_size"] = entries["bert/encoder/layer_0/intermediate/dense/bias"].shape[0]
    sizes["vocab_size"], sizes["max_position_embeddings"] = (
        entries[f"bert/embeddings/{kind}_embeddings"].shape[0] for kind in ("word", "position")
    )
    with torch.device("meta"):
        expected = BertForPreTraining(BertConfig(**sizes)).state_dict()
    shapes = {}
    for theirs, translated in found.items():
        assert translated is not None, theirs
        ours, turned = translated
        shapes[ours] = entries[theirs].shape[::-1] if turned else entries[theirs].shape
    assert shapes == {name: tuple(t.shape) for name, t in expected.items() if ".decoder." not in name}
    assert len(left_out - {"global_step"}) == slots * len(found)


# Names


@pytest.mark.parametrize("model_class", MODEL_CLASSES.values(), ids=MODEL_CLASSES)
def test_names_go_there_and_back(model_class: type[BertPreTrainedModel]) -> None:
    bare = "bert." if model_class is BertModel else ""
    seen = set()
    for name in tiny(model_class).state_dict():
        if name.startswith("cls.predictions.decoder."):
            assert to_tensorflow(name) is None
            continue
        theirs = to_tensorflow(bare + name)
        assert theirs is not None, name
        assert from_tensorflow(theirs[0]) == (bare + name, theirs[1])
        assert not is_left_out(theirs[0])
        seen.add(theirs[0])
    assert "bert/encoder/layer_10/attention/self/query/kernel" in seen


def test_examples_of_names() -> None:
    assert to_tensorflow("bert.encoder.layer.7.output.LayerNorm.weight") == (
        "bert/encoder/layer_7/output/LayerNorm/gamma",
        False,
    )
    assert from_tensorflow("bert/encoder/layer_11/attention/self/query/kernel") == (
        "bert.encoder.layer.11.attention.self.query.weight",
        True,
    )
    assert from_tensorflow("cls/seq_relationship/output_weights") == ("cls.seq_relationship.weight", False)
    assert from_tensorflow("output_weights") == ("classifier.weight", False)
    assert from_tensorflow("cls/squad/output_bias") == ("qa_outputs.bias", False)


@pytest.mark.parametrize(
    "name",
    [
        "bert/encoder/layer_{}/output/dense/bias",
        "bert/encoder/layer_01/output/dense/bias",
        "bert/encoder/layer_-1/output/dense/bias",
        "bert/encoder/layer_٣/output/dense/bias",
        "bert/encoder/layer_99999/output/dense/bias",
        "bert/encoder/layer_1/output/dense",
        "xbert/pooler/dense/bias",
        "bert/pooler/dense/bias/",
        "Bert/pooler/dense/bias",
        "",
    ],
)
def test_other_names_have_no_place(name: str) -> None:
    assert from_tensorflow(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "global_step",
        "bert/pooler/dense/kernel/adam_m",
        "bert/pooler/dense/kernel/adam_v",
        "bert/pooler/dense/kernel/Adam",
        "bert/pooler/dense/kernel/Adam_1",
        "bert/pooler/dense/kernel/AdamWeightDecayOptimizer_1",
        "bert/pooler/dense/kernel/lamb_m",
        "bert/pooler/dense/kernel/LAMB/v",
        "bert/pooler/dense/kernel/LAMB_1",
        "beta1_power",
        "training/beta2_power_1",
        "good_steps",
        "loss_scale",
        "loss_scale/good_steps",
        "current_loss_scale",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
        "model/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE",
    ],
)
def test_bookkeeping(name: str) -> None:
    assert is_left_out(name)
    assert from_tensorflow(name) is None


@pytest.mark.parametrize("name", ["adam", "adam_m", "bert/adam_model", "bert/global_steps", "x_global_step", "lambda"])
def test_what_only_looks_like_bookkeeping(name: str) -> None:
    assert not is_left_out(name)


# Reading


def write(prefix: Path, tensors: dict[str, Given], **more: Any) -> TensorFlowWeights:
    return TensorFlowWeights(bundles.write(prefix, tensors, **more))


def test_matrices_are_turned_and_kinds_are_kept(tmp_path: Path) -> None:
    weights = write(
        tmp_path / "x",
        {
            "bert/pooler/dense/kernel": floats(1, 2, 3, 4, 5, 6, shape=(2, 3)),
            "bert/pooler/dense/bias": Given(HALF, (3,), struct.pack("<3e", 1, 2, 3), shard=1),
            "output_weights": floats(1, 2, 3, 4, shape=(2, 2)),
            "output_bias": Given(BFLOAT16, (2,), bytes.fromhex("803f c0bf"), shard=1),
        },
        shards=2,
    )
    assert weights.shape("bert.pooler.dense.weight") == (3, 2)
    turned = weights.tensor("bert.pooler.dense.weight")
    assert turned.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert turned.is_contiguous()
    assert weights.tensor("bert.pooler.dense.bias").dtype == torch.float16
    assert weights.tensor("bert.pooler.dense.bias").tolist() == [1, 2, 3]
    assert weights.tensor("classifier.weight").tolist() == [[1, 2], [3, 4]]
    assert weights.tensor("classifier.bias").dtype == torch.float32
    assert weights.tensor("classifier.bias").tolist() == [1, -1.5]
    assert weights.where("classifier.bias").endswith("x.data-00001-of-00002")


def test_unknown_names_are_kept(tmp_path: Path) -> None:
    weights = write(tmp_path / "x", {"crf/transition": floats(1, 2), "global_step": Given(9, (), bytes(8))})
    assert weights.keys() == ["crf/transition"]
    assert weights.left_out == ("global_step",)
    assert weights.tensor("crf/transition").tolist() == [1, 2]


def test_object_graphs_do_no_harm(tmp_path: Path) -> None:
    graph = {"_CHECKPOINTABLE_OBJECT_GRAPH": Given(TEXT, (), b"\x03abc"), "output_bias": floats(1)}
    assert write(tmp_path / "x", graph).keys() == ["classifier.bias"]


def test_two_names_for_one_weight(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x\.index: classifier\.bias and output_bias both stand for"):
        write(tmp_path / "x", {"output_bias": floats(1), "classifier.bias": floats(1)})


def test_matrices_of_other_dimensions_are_left_to_the_loader(tmp_path: Path) -> None:
    weights = write(
        tmp_path / "x",
        {"bert/pooler/dense/kernel": floats(5, shape=()), "cls/predictions/transform/dense/kernel": floats(1, 2, 3)},
    )
    for key, shape in (("bert.pooler.dense.weight", ()), ("cls.predictions.transform.dense.weight", (3,))):
        assert weights.shape(key) == tuple(weights.tensor(key).shape) == shape


def test_a_damaged_weight_is_named(tmp_path: Path) -> None:
    weights = write(tmp_path / "x", {"bert/pooler/dense/bias": floats(1, 2)})
    file = Path(weights.where("bert.pooler.dense.bias"))
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(file))}: bert/pooler/dense/bias is damaged"):
        weights.tensor("bert.pooler.dense.bias")


# Finding


def empty(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_the_only_checkpoint_of_a_folder(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None
    assert find_checkpoint(tmp_path / "nothing") is None
    empty(tmp_path, "config.json", ".index", "._a.ckpt.index", "a.ckpt.data-00000-of-00001")
    (tmp_path / "folder.index").mkdir()
    assert find_checkpoint(tmp_path) is None
    empty(tmp_path, "a.ckpt.index")
    assert find_checkpoint(tmp_path) == tmp_path / "a.ckpt"
    # What the state names may lie elsewhere, as in folders that were moved.
    for named in ("/tmp/run/b", "b", "../a.ckpt", ""):
        (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\n')
        assert find_checkpoint(tmp_path) == tmp_path / "a.ckpt"


def test_a_checkpoints_own_path(tmp_path: Path) -> None:
    empty(tmp_path, "a.ckpt-10.index", "a.ckpt-20.index")
    for name in ("a.ckpt-10", "a.ckpt-10.index"):
        assert find_checkpoint(str(tmp_path / name)) == tmp_path / "a.ckpt-10"
    for name in ("a.ckpt", "a.ckpt.index", "a.ckpt-10.data-00000-of-00001", ".index"):
        assert find_checkpoint(tmp_path / name) is None


def test_several_checkpoints(tmp_path: Path) -> None:
    empty(tmp_path, *(f"a-{step}.index" for step in range(8)))
    with pytest.raises(CheckpointError, match=r"several checkpoints \(a-0, a-1, a-2, a-3, a-4 and 3 more\)"):
        find_checkpoint(tmp_path)
    state = tmp_path / "checkpoint"
    state.write_text('model_checkpoint_path: "a-5"\nall_model_checkpoint_paths: "a-4"\n')
    assert find_checkpoint(tmp_path) == tmp_path / "a-5"
    for named in ("a-9", "/x/a-5", "../a-5", "x/../a-5", "a-5.index", "a-5\\n", "\xff"):
        state.write_text(f'model_checkpoint_path: "{named}"\n', encoding="latin-1")
        with pytest.raises(CheckpointError, match="several checkpoints"):
            find_checkpoint(tmp_path)


def test_the_state_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    empty(folder, "a.index", "b.index")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "a"\n')
    (folder / "checkpoint").symlink_to(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="outside of its folder"):
        find_checkpoint(folder)


# The config


def test_googles_config(tmp_path: Path) -> None:
    (tmp_path / "bert_config.json").write_text('{"vocab_size": 99, "hidden_act": "gelu", "hidden_dropout_prob": 0}')
    config = read_tf_config(tmp_path)
    assert (config.vocab_size, config.hidden_size, config.hidden_act) == (99, 768, "gelu")
    assert config.layer_norm_eps == 1e-12
    assert config.type_vocab_size == 16  # Google's, where nothing is said


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("{", CheckpointError, "not readable as JSON"),
        ("[]", CheckpointError, "expected a JSON object"),
        ("{}", ConfigError, "vocab_size is missing"),
        ('{"vocab_size": -1}', ConfigError, "vocab_size is -1"),
        ('{"vocab_size": 9, "hidden_act": "tanh"}', ConfigError, "hidden_act is 'tanh'"),
        ('{"vocab_size": 9, "hidden_size": 10}', ConfigError, "does not divide"),
        ('{"vocab_size": 9, "model_type": "albert"}', ConfigError, "model_type is 'albert'"),
    ],
)
def test_bad_configs_are_named(text: str, error: type[Exception], reason: str, tmp_path: Path) -> None:
    (tmp_path / "bert_config.json").write_text(text)
    with pytest.raises(error, match=rf"bert_config\.json: .*{reason}"):
        read_tf_config(tmp_path)


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"bert_config\.json: no such file"):
        read_tf_config(tmp_path)


# Writing


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("model_class", MODEL_CLASSES.values(), ids=MODEL_CLASSES)
def test_there_and_back_bit_by_bit(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    settings = {"classifier_dropout": 0.3, "pad_token_id": 1, "label2id": {"a": 0, "b": 1, "c": 2}}
    model = tiny(model_class, num_hidden_layers=2, extra={"mine": [1]}, **settings)
    save_tensorflow(model, tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == FILES
    config = read_tf_config(tmp_path / "out")
    assert config == dataclasses.replace(model.config, architectures=[model_class.__name__])
    again = seeded(config, model_class, seed=1)
    fill(again, tmp_path / "out")
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor), name
    ids = torch.tensor([[2, 5, 6, 3]])
    if model_class is glassbert.BertForMultipleChoice:
        ids = ids[None]
    with torch.inference_mode():
        for one, other in zip(model(ids, return_dict=False), again(ids, return_dict=False)):
            assert torch.equal(one, other)


def test_the_golden_checkpoint_there_and_back(tmp_path: Path) -> None:
    model = BertForPreTraining(read_tf_config(GOLDEN)).eval()
    fill(model, GOLDEN)
    save_tensorflow(model, tmp_path / "out")
    old, new = bundle.Bundle(GOLDEN / "bert_model.ckpt"), bundle.Bundle(tmp_path / "out" / "bert_model.ckpt")
    assert list(new.entries) == [name for name in old.entries if not is_left_out(name)]
    for name, entry in new.entries.items():
        assert (entry.dtype, entry.shape, entry.size) == (
            old.entries[name].dtype,
            old.entries[name].shape,
            old.entries[name].size,
        )
        assert entry.crc == old.entries[name].crc  # TensorFlow's own
        assert new.read(name).tobytes() == old.read(name).tobytes()
    google = json.loads((GOLDEN / "bert_config.json").read_text())
    written = json.loads((tmp_path / "out" / "bert_config.json").read_text())
    assert written == google | {"architectures": ["BertForPreTraining"]}


def test_what_is_written_beside_the_weights(tmp_path: Path) -> None:
    save_tensorflow(tiny(), tmp_path)
    assert (tmp_path / "checkpoint").read_text().startswith('model_checkpoint_path: "bert_model.ckpt"\n')
    assert find_checkpoint(tmp_path) == tmp_path / "bert_model.ckpt"
    config = json.loads((tmp_path / "bert_config.json").read_text())
    assert config.keys() == {*CONFIG, "hidden_act", "initializer_range", "architectures"} | {
        f"{where}_dropout_prob" for where in ("hidden", "attention_probs")
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats(dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny(BertModel, num_hidden_layers=1).to(dtype)
    save_tensorflow(model, tmp_path)
    weights = TensorFlowWeights(tmp_path / "bert_model.ckpt")
    for name, tensor in model.state_dict().items():
        found = weights.tensor(f"bert.{name}")
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(found.to(dtype), tensor)


def test_standing_files_are_kept_until_they_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    save_tensorflow(tiny(), folder)
    (folder / "vocab.txt").write_text("[PAD]\n")
    before = contents(folder)
    other = seeded(BertConfig(**CONFIG), BertForPreTraining, seed=1)
    with pytest.raises(OutputExistsError, match="already there"):
        save_tensorflow(other, folder)

    def full(*_: Any) -> None:
        (tmp_path / "touched").touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tensorflow, "write_bundle", full)
        with pytest.raises(SaveError, match="No space left"):
            save_tensorflow(other, folder, overwrite=True)
    assert (tmp_path / "touched").exists()
    assert contents(folder) == before
    save_tensorflow(other, folder, overwrite=True)
    after = contents(folder)
    assert [name for name in before if before[name] != after[name]] == FILES[1:3]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "touched"]


class Extended(BertPreTrainedModel):
    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.transition = nn.Parameter(torch.zeros(2, 2))
        self.init_weights()


@pytest.mark.parametrize(
    ("model_class", "settings", "error", "reason"),
    [
        (
            BertModel,
            {"position_embedding_type": "relative_key"},
            ConfigError,
            "position_embedding_type is 'relative_key'",
        ),
        (BertModel, {"pruned_heads": {1: [0]}}, ConfigError, r"pruned_heads is \{1: \[0\]\}"),
        (BertModel, {"is_decoder": True}, ConfigError, "is_decoder is True"),
        (BertModel, {"is_decoder": True, "add_cross_attention": True}, ConfigError, "is_decoder is True"),
        (BertModel, {"layer_norm_eps": 1e-6}, ConfigError, "layer_norm_eps is 1e-06"),
        (BertModel, {"hidden_act": "silu"}, ConfigError, "hidden_act is 'silu'"),
        (BertModel, {"hidden_act": "gelu_new"}, ConfigError, "set config.hidden_act to that"),
        (BertModel, {"hidden_act": torch.tanh}, ConfigError, "hidden_act is <built-in"),
        (
            BertForMaskedLM,
            {"tie_word_embeddings": False},
            CheckpointError,
            r"cls\.predictions\.decoder\.weight of Bert",
        ),
        (Extended, {}, CheckpointError, "transition of Extended has no name"),
    ],
)
def test_what_googles_format_cannot_hold(
    model_class: type[BertPreTrainedModel],
    settings: dict[str, Any],
    error: type[Exception],
    reason: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=reason):
        save_tensorflow(tiny(model_class, **settings), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_heads_cut_out_of_a_layer_by_itself(tmp_path: Path) -> None:
    model = tiny(BertForSequenceClassification)
    model.bert.encoder.layer[2].attention.prune_heads([1])
    with pytest.raises(ConfigError, match=r"pruned_heads is \{2: \[1\]\}"):
        save_tensorflow(model, tmp_path / "out")


# What the docs say


def test_how_far_the_two_forms_of_gelu_are_apart() -> None:
    places = torch.linspace(-6, 6, 240_001, dtype=torch.float64)
    apart = (F.gelu(places) - F.gelu(places, approximate="tanh")).abs()
    assert 4.73e-4 <= float(apart.max()) < 4.74e-4
    assert abs(abs(float(places[apart.argmax()])) - 2.70) < 0.005
    golden = case("pretraining_no_labels")
    erf, tanh = golden.model("sdpa").double(), golden.model("sdpa")
    tanh.config.hidden_act = "gelu_new"
    again = BertForPreTraining(tanh.config).double().eval()
    again.load_state_dict(erf.state_dict())
    again.attention_backend = "sdpa"
    with torch.inference_mode():
        one, other = erf(**golden.arguments()), again(**golden.arguments())
    assert 1.06e-3 < float((one.prediction_logits - other.prediction_logits).abs().max()) <= 1.07e-3
    assert 4.6e-4 < float((one.seq_relationship_logits - other.seq_relationship_logits).abs().max()) <= 4.7e-4
