"""Whatever is wrong: one line that says what, and exit code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Command, Run


def _assert_refused(run: Run, *parts: str) -> None:
    assert run.code == 2, run
    assert run.err.startswith("glassbert: error: "), run
    assert run.err.endswith("\n")
    assert run.err.count("\n") == 1, run.err
    assert run.out == ""
    for part in parts:
        assert part in run.err


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.csv", b"text,label\nthe cat,en\n,de\n", ["a.csv:3: the text is empty"]),
        ("a.csv", b'text,label\nthe cat,en\n" \t",de\n', ["a.csv:3: the text is empty"]),
        ("a.csv", b"text,label\nthe cat,en\nein Hund,\n", ["a.csv:3: the label is empty"]),
        ("a.csv", b"text,label\nthe cat,en\nein Hund\n", ["a.csv:3: 1 field, expected 2"]),
        ("a.csv", b"words,label\nthe cat,en\n", ["a.csv:2: which column is the text?", "'words', 'label'"]),
        ("a.csv", b"text,klass\nthe cat,en\n", ["a.csv:2: which column is the label?", "'text', 'klass'"]),
        ("a.jsonl", b'{"text": "the cat", "label": "en"}\n{"text": "a",\n', ["a.jsonl:2: not readable as JSON"]),
        ("a.jsonl", b'{"text": "the cat", "label": "en"}\n["a", "b"]\n', ["a.jsonl:2: expected a JSON object"]),
        ("a.csv", b"text,label\nder H\xfcnd,de\n", ["a.csv:2: the byte 0xfc at offset 16", "not utf-8", "--encoding"]),
        ("a.csv", b"text,label\n", ["a.csv: holds no records"]),
        ("a.tsv", b"", ["a.tsv: holds no records"]),
        ("a.txt", b"the cat\n", ["a.txt: cannot tell the format", ".csv, .tsv, .jsonl"]),
    ],
)
@pytest.mark.parametrize("use", ["train", "valid", "evaluate"])
def test_bad_data(
    command: Command,
    model_folder: Path,
    data: Path,
    tmp_path: Path,
    use: str,
    name: str,
    content: bytes,
    parts: list[str],
) -> None:
    (tmp_path / name).write_bytes(content)
    if use == "train":
        run = command("train", name, "--model", model_folder, "--out", "out")
    elif use == "valid":
        run = command("train", data, "--valid", name, "--model", model_folder, "--out", "out")
    else:
        run = command("evaluate", model_folder, name)
    _assert_refused(run, *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("use", ["train", "valid", "evaluate"])
def test_a_missing_data_file(command: Command, model_folder: Path, data: Path, use: str) -> None:
    if use == "train":
        run = command("train", "nothing.csv", "--model", model_folder, "--out", "out")
    elif use == "valid":
        run = command("train", data, "--valid", "nothing.csv", "--model", model_folder, "--out", "out")
    else:
        run = command("evaluate", model_folder, "nothing.csv")
    _assert_refused(run, "nothing.csv: no such file")


@pytest.mark.parametrize("use", ["valid", "evaluate"])
def test_a_label_that_training_did_not_see(
    command: Command, model_folder: Path, data: Path, tmp_path: Path, use: str
) -> None:
    (tmp_path / "more.csv").write_text("text,label\nthe cat,en\nle chat,fr\n")
    if use == "valid":
        run = command("train", data, "--valid", "more.csv", "--model", model_folder, "--out", "out")
    else:
        run = command("evaluate", model_folder, "more.csv")
    _assert_refused(run, "more.csv:3: label 'fr' is not one the model knows (de, en)")
    assert not (tmp_path / "out").exists()


def test_bad_data_is_the_only_thing_told(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("text,label\nthe cat,en\nle chat,fr\n")
    bare = model_folder.with_name("bare")
    _assert_refused(command("train", data, "--valid", "more.csv", "--model", bare, "--out", "out"), "more.csv:3")


def test_one_class_only(command: Command, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nthe cat,en\na dog,en\n")
    run = command("train", "a.csv", "--model", model_folder, "--out", "out")
    _assert_refused(run, "1 class (en)", "two or more")


@pytest.mark.parametrize("column", ["sentence", "2"])
@pytest.mark.parametrize("option", ["--text-column", "--label-column"])
def test_a_column_that_is_not_there(command: Command, model_folder: Path, data: Path, option: str, column: str) -> None:
    run = command("train", data, "--model", model_folder, "--out", "out", option, column)
    hint = "(a file without a header row needs --no-header)"
    _assert_refused(run, f"data.csv:2: no column '{column}'; the columns are 'text', 'label' {hint}")


def test_an_unknown_encoding(command: Command, model_folder: Path, data: Path) -> None:
    _assert_refused(command("evaluate", model_folder, data, "--encoding", "klingon"), "'klingon'", "latin-1")


@pytest.mark.parametrize(
    "arguments", [["train", "data.csv", "--out", "out", "--model"], ["predict"], ["evaluate"]], ids=lambda a: str(a[0])
)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nothing", "nothing: no such folder"),
        ("file", "file: is a file, expected a model folder"),
        ("empty", "empty: holds no config.json"),
        ("no weights", "holds neither model.safetensors nor"),
        ("no vocabulary", "holds neither tokenizer.json nor vocab.txt"),
        ("bad config", "config.json: not readable as JSON"),
        ("bad weights", "model.safetensors: not readable as safetensors"),
        ("bad heads", "config.json: hidden_size 16 does not divide by num_attention_heads 3; heads near that would be"),
    ],
)
def test_a_bad_model_folder(
    command: Command, model_folder: Path, data: Path, tmp_path: Path, arguments: list[str], kind: str, message: str
) -> None:
    folder = tmp_path / kind
    if kind == "file":
        folder.touch()
    elif kind == "empty":
        folder.mkdir()
    elif kind != "nothing":
        shutil.copytree(model_folder, folder)
    if kind == "no weights":
        (folder / "model.safetensors").unlink()
    elif kind == "no vocabulary":
        (folder / "vocab.txt").unlink()
        (folder / "tokenizer.json").unlink()
    elif kind == "bad config":
        (folder / "config.json").write_text("{")
    elif kind == "bad weights":
        (folder / "model.safetensors").write_bytes(b"nonsense")
    elif kind == "bad heads":
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 3}))
    run = command(*arguments, kind, *(["data.csv"] if arguments[0] != "train" else []))
    _assert_refused(run, message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("use", ["predict", "evaluate"])
def test_a_model_without_a_classifier(command: Command, model_folder: Path, data: Path, use: str) -> None:
    run = command(use, model_folder.with_name("bare"), data)
    _assert_refused(run, "holds a BertModel", "glassbert train DATA --model")


def test_an_output_folder_that_holds_something(
    command: Command, model_folder: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    run = command("train", data, "--model", model_folder, "--out", "out")
    _assert_refused(run, "out already holds something", "--overwrite")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    run = command("train", data, "--model", model_folder, "--out", data, "--overwrite")
    _assert_refused(run, "data.csv is a file; the output must be a folder")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "data.csv", "--model", "m", "--out", "out", "--nonsense"], "--nonsense"),
        (["predict", "m", "a", "--nonsense"], "--nonsense"),
        (["--nonsense"], "--nonsense"),
        (["train", "data.csv", "--model", "m"], "missing: --out"),
        (["train", "data.csv", "--out", "out"], "missing: --model"),
        (["train"], "missing: --model, DATA, --out"),
        (["evaluate", "m"], "DATA"),
        (["frobnicate"], "frobnicate"),
        (
            ["train", "data.csv", "--model", "m", "--out", "out", "--epochs", "many"],
            "epochs is 'many', expected a whole number",
        ),
        (["train", "data.csv", "--model", "m", "--out", "out", "--epochs", "0"], "epochs is 0, expected 1 or more"),
        (["train", "data.csv", "--model", "m", "--out", "out", "--lr", "-1"], "learning_rate is -1.0"),
        (["train", "data.csv", "--model", "m", "--out", "out", "--lr", "nan"], "learning_rate is nan"),
        (["train", "data.csv", "--model", "m", "--out", "out", "--warmup", "2"], "warmup is 2.0"),
        (["train", "data.csv", "--model", "m", "--out", "out", "--batch-size", "0"], "batch_size is 0"),
        (["train", "data.csv", "--model", "m", "--out", "out", "--seed", "-1"], "seed is -1"),
        (["train", "data.csv", "--model", "m", "--out", "out", "--max-length", "2"], "max_length is 2"),
        (["train", "data.csv", "--model", "m", "--out", "out", "--task", "tea"], "task is 'tea'"),
        (["evaluate", "m", "data.csv", "--header=maybe"], "--header"),
    ],
)
def test_wrong_use(command: Command, data: Path, arguments: list[str], message: str) -> None:
    _assert_refused(command(*arguments), message)
    assert data.exists()


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_text(command: Command, model_folder: Path, text: str) -> None:
    _assert_refused(command("predict", model_folder, "the cat", text), "the text is empty")


@pytest.mark.parametrize("option", ["--model", "--out"])
def test_a_name_that_is_too_long(command: Command, model_folder: Path, data: Path, option: str) -> None:
    folders = {"--model": str(model_folder), "--out": "out", option: "a" * 300}
    _assert_refused(command("train", data, *(part for pair in folders.items() for part in pair)))


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [(["evaluate", "m", "nothing.csv"], 2, "DataError"), (["convert", "nothing", "o"], 2, "CheckpointError")],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_debug_shows_where_an_error_came_from(command: Command, arguments: list[str], code: int, name: str) -> None:
    run = command("--debug", *arguments)
    assert run.code == code
    lines = run.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2].startswith(f"glassbert.errors.{name}: ")
    assert lines[-1].startswith("glassbert: error: nothing")
