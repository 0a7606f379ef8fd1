from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import glassbert
from glassbert import pipeline
from glassbert.cli import main as program

from .conftest import SENTENCES, Command


def _train(command: Command, model: Path, data: Path, *more: str) -> None:
    run = command("train", data, "--model", model, "--out", "out", "--epochs", "1", *more)
    assert run.code == 0, run


def test_train_saves_a_model_that_predicts(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    run = command("train", data, "--valid", data, "--model", model_folder, "--out", "out", "--epochs", "2")
    assert run.code == 0
    assert {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", "training.json"} <= {
        file.name for file in (tmp_path / "out").iterdir()
    }
    assert "accuracy" in run.out
    assert "saved in out" in run.out
    assert run.err.count("held-out accuracy") == 2
    report = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))
    assert len(report["losses"]) == 2
    assert len(report["evaluations"]) == 2
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    assert command("predict", "out", "the cat").code == 0


def test_train_with_json(command: Command, model_folder: Path, data: Path) -> None:
    run = command(*("train", data, "--valid", data, "--model", model_folder, "--out", "out", "--epochs", "1", "--json"))
    result = json.loads(run.out)
    assert (run.code, run.out.count("\n")) == (0, 1)
    assert (result["folder"], result["steps"], result["examples"]) == ("out", 1, 12)
    assert 0 <= result["accuracy"] <= 1
    assert result["loss"] > 0


def test_a_new_head_is_told_of(command: Command, model_folder: Path, data: Path) -> None:
    run = command("train", data, "--model", model_folder.with_name("bare"), "--out", "out", "--epochs", "1")
    assert run.code == 0
    first, epoch = run.err.splitlines()
    assert first == "new, with random weights: classifier.weight, classifier.bias"
    # Without data to evaluate on, the loss tells how it goes.
    assert re.fullmatch(r"epoch 1  step     1  loss \d\.\d{4}  [\d,]+ tokens/s", epoch)


def test_overwrite_replaces_the_folder(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "special_tokens_map.json").write_text("{}")
    _train(command, model_folder, data, "--overwrite")
    assert not (tmp_path / "out" / "special_tokens_map.json").exists()
    assert (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize(
    "name", ["thesis.txt", "train.tsv", "README.md", "1_Pooling/notes.json", "model.py", "book.index"]
)
def test_overwrite_never_takes_files_of_another_kind(
    command: Command, model_folder: Path, data: Path, tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for arguments in (
        ("train", data, "--model", model_folder, "--out", "out", "--overwrite"),
        ("demo", "--out", "out", "--overwrite"),
        ("convert", model_folder, "out", "--overwrite"),
    ):
        run = command(*arguments)
        assert run.code == 2
        assert f"out holds {name}, which is no file of a model, and would be lost" in run.err
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("arguments", [("convert", "m", "-"), ("demo", "--out", "-")], ids=lambda given: str(given[0]))
def test_a_folder_does_not_go_to_standard_output(command: Command, arguments: tuple[str, ...]) -> None:
    run = command(*arguments)
    assert run.code == 2
    assert "cannot go to standard output" in run.err


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.tsv", "the cat\ten\nder Hund\tde\n", ["--no-header", "--text-column", "0", "--label-column", "1"]),
        ("a.csv", "class,words\nen,the cat\nde,der Hund\n", ["--text-column", "words", "--label-column", "class"]),
        ("a.csv", "class,words\nen,the cat\nde,der Hund\n", ["--text-column", "1", "--label-column", "0"]),
        ("a.jsonl", '{"text": "the cat", "label": "en"}\n{"label": "de", "text": "der Hund"}\n', []),
        ("a.csv", "text,label\nthe café,en\nder Hünd,de\n", ["--encoding", "latin-1"]),
        ("a.csv", "text,label\nthe café,en\nder Hünd,de\n", ["--encoding", "utf-16"]),
    ],
)
def test_columns_and_encodings(
    command: Command, model_folder: Path, tmp_path: Path, name: str, content: str, options: list[str]
) -> None:
    (tmp_path / name).write_text(content, options[1] if "--encoding" in options else "utf-8")
    _train(command, model_folder, tmp_path / name, *options)
    run = command("evaluate", "out", name, "--json", *options)
    assert json.loads(run.out)["examples"] == 2


def test_the_same_seed_gives_the_same_model(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    weights = []
    for seed in ("1", "1", "2"):
        _train(command, model_folder, data, "--overwrite", "--batch-size", "4", "--seed", seed)
        weights.append((tmp_path / "out" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_a_run_of_one_step_learns(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    _train(command, model_folder, data)
    (rate,) = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))["learning_rates"]
    assert rate > 0


def test_predict(command: Command, model_folder: Path) -> None:
    texts = ["the cat sat", "[bold]der Hund[/]", "a"]
    run = command("predict", model_folder, *texts)
    assert (run.code, run.err) == (0, "")
    answers = pipeline("text-classification", model=model_folder)(texts)
    for line, text, answer in zip(run.out.splitlines(), texts, answers, strict=True):
        assert line.split()[:2] == [answer.label, f"{answer.score:.4f}"]
        assert line.endswith(text)


def test_predict_separates_with_tabs_and_leaves_texts_as_they_are(command: Command, model_folder: Path) -> None:
    run = command("predict", model_folder, "a :heart: b")
    assert run.out.rstrip("\n").split("\t")[2:] == ["a :heart: b"]


def test_predict_with_json_gives_an_object_a_line(command: Command, model_folder: Path) -> None:
    texts = ["the cat sat", "der Hund :heart:\n\t“é” 字", "cat " * 50]
    run = command("predict", model_folder, *texts, "--json")
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert [row["text"] for row in rows] == texts
    assert [row["cut"] for row in rows] == [0, 0, 20]
    for row in rows:
        assert set(row) == {"text", "label", "score", "scores", "cut"}
        assert set(row["scores"]) == {"de", "en"}
        assert row["score"] == max(row["scores"].values()) == row["scores"][row["label"]]
        assert sum(row["scores"].values()) == pytest.approx(1.0)


def test_a_long_text_is_cut_and_that_is_said(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    long = "cat " * 50
    run = command("predict", model_folder, long)
    assert (run.code, run.err) == (0, "note: the text is longer than 32 tokens; the end was cut\n")
    run = command("predict", model_folder, long, "a", long)
    assert (run.code, run.err) == (0, "note: 2 of 3 texts are longer than 32 tokens; the end was cut\n")
    (tmp_path / "long.csv").write_text(f"text,label\n{long},en\nder Hund,de\n")
    run = command("evaluate", model_folder, "long.csv", "--json")
    assert (run.code, run.err) == (0, "note: 1 of 2 texts are longer than 32 tokens; the end was cut\n")
    assert json.loads(run.out)["examples"] == 2
    run = command("train", "long.csv", "--valid", "long.csv", "--model", model_folder, "--out", "out", "--epochs", "1")
    assert run.code == 0
    assert "1 of 2 training texts are longer than 32 tokens and were cut\n" in run.err
    assert "1 of 2 validation texts are longer than 32 tokens and were cut\n" in run.err


def test_evaluate_with_json(command: Command, model_folder: Path, data: Path) -> None:
    run = command("evaluate", model_folder, data, "--json")
    metrics = json.loads(run.out)
    assert (run.code, run.err, run.out.count("\n")) == (0, "", 1)
    assert set(metrics) == {"accuracy", "macro_f1", "matthews", "f1", "labels", "confusion", "examples"}
    answers = pipeline("text-classification", model=model_folder)([text for text, _ in SENTENCES])
    right = sum(answer.label == label for answer, (_, label) in zip(answers, SENTENCES, strict=True))
    assert metrics["accuracy"] == pytest.approx(right / 12)
    assert [sum(row) for row in metrics["confusion"]] == [6, 6]
    assert (metrics["labels"], metrics["examples"]) == (["de", "en"], 12)


def test_evaluate_prints_a_table(command: Command, model_folder: Path, data: Path) -> None:
    run = command("evaluate", model_folder, data)
    assert run.code == 0
    assert "on 12 texts" in run.out
    assert "true \\ predicted" in run.out
    assert run.err == ""


def test_evaluate_compares_int8_with_float32(command: Command, model_folder: Path, data: Path) -> None:
    found = json.loads(command("evaluate", model_folder, data, "--engine", "int8", "--json").out)
    assert set(found) == {"metrics", "difference", "equal_answers", "seconds", "speed", "weight_bytes"}
    plain = json.loads(command("evaluate", model_folder, data, "--json").out)
    assert found["metrics"]["float32"] == plain
    assert found["metrics"]["int8"].keys() == plain.keys()
    texts = [text for text, _ in SENTENCES]
    ours, others = (pipeline(model=model_folder, engine=engine)(texts) for engine in ("float32", "int8"))
    assert ours != others
    equal = [one.label == other.label for one, other in zip(ours, others, strict=True)]
    assert found["equal_answers"] == sum(equal) / 12
    accuracy = found["metrics"]["int8"]["accuracy"]
    assert accuracy == sum(one.label == label for one, (_, label) in zip(others, SENTENCES, strict=True)) / 12
    assert found["difference"]["accuracy"] == accuracy - plain["accuracy"]
    seconds = found["seconds"]
    assert found["speed"] == seconds["float32"] / seconds["int8"]
    # Each weight of the layer in a byte, in place of four; two numbers more for each of its outputs. Narrow ones may be
    # filled up in float32.
    weights, outputs = 4 * 16 * 16 + 2 * 16 * 32, 4 * 16 + 32 + 16
    assert found["weight_bytes"]["float32"] - found["weight_bytes"]["int8"] >= 3 * weights - 8 * outputs

    run = command("evaluate", model_folder, data, "--engine", "int8")
    assert (run.code, run.err) == (0, "")
    head, *rows = run.out.splitlines()
    assert head.split() == ["float32", "int8", "difference"]
    assert rows[0].split()[:3] == ["accuracy", f"{plain['accuracy']:.4f}", f"{accuracy:.4f}"]
    assert f"{sum(equal) / 12:.2%} of the answers are equal   int8 " in rows[-1]
    assert "on 12 examples" in rows[-1]
    assert command("evaluate", model_folder, data, "--engine", "float32", "--json").out == json.dumps(plain) + "\n"


def test_evaluate_compares_bfloat16_with_float32(command: Command, model_folder: Path, data: Path) -> None:
    found = json.loads(command("evaluate", model_folder, data, "--engine", "bfloat16", "--json").out)
    texts = [text for text, _ in SENTENCES]
    ours, others = (pipeline(model=model_folder, engine=engine)(texts) for engine in ("float32", "bfloat16"))
    assert ours != others
    assert found["equal_answers"] == sum(one.label == other.label for one, other in zip(ours, others, strict=True)) / 12
    assert found["weight_bytes"].keys() == {"float32", "bfloat16"}
    run = command("evaluate", model_folder, data, "--engine", "bfloat16")
    assert run.out.split()[:3] == ["float32", "bfloat16", "difference"]


def test_engines_are_named(command: Command, model_folder: Path, data: Path) -> None:
    run = command("evaluate", model_folder, data, "--engine", "int4")
    assert run.code == 2
    assert "'int4' is not one of 'float32', 'bfloat16', 'int8', 'onnx'" in run.err
    assert run.err.count("\n") == 1
    assert "<float32|bfloat16|int8|onnx>" in command("evaluate", "--help").out


def test_a_comparison_passes_over_what_is_bad(command: Command, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("text,label\nder Hund,de\nx,snow\nthe sun,en\n")
    run = command("evaluate", model_folder, "bad.csv", "--engine", "int8", "--skip-bad", "--json")
    assert (run.code, json.loads(run.out)["metrics"]["int8"]["examples"]) == (0, 2)
    assert "snow" in run.err
    assert command("evaluate", model_folder, "bad.csv", "--engine", "int8").code == 2


def test_a_folder_may_have_brackets_in_its_name(command: Command, model_folder: Path, data: Path) -> None:
    run = command("train", data, "--model", model_folder, "--out", "x[/]y", "--epochs", "1")
    assert run.code == 0
    assert "saved in x[/]y" in run.out


def test_a_label_that_cannot_be_written_is_refused(command: Command, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "\\ud800"}\n{"text": "b", "label": "x"}\n')
    run = command("train", "a.jsonl", "--model", model_folder, "--out", "out", "--epochs", "1")
    assert run.code == 2


def test_version(command: Command) -> None:
    run = command("--version")
    assert (run.code, run.out, run.err) == (0, f"glassbert {glassbert.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_names_the_commands(command: Command, arguments: list[str]) -> None:
    run = command(*arguments)
    assert run.code == 0
    for name in ("demo", "train", "evaluate", "predict"):
        assert name in run.out


@pytest.mark.parametrize("name", ["demo", "train", "evaluate", "predict"])
def test_help_of_a_command_has_an_example(command: Command, name: str) -> None:
    run = command(name, "--help")
    assert run.code == 0
    assert f"glassbert {name}" in run.out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (glassbert.TrainingError("the loss is nan"), 1, "the loss is nan"),
        (glassbert.SaveError("two\nlines"), 2, "two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exit_codes(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(program, "app", fail)
    run = command("predict", "m", "a")
    assert (run.code, run.out, run.err) == (code, "", f"glassbert: error: {message}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"], ["predict"]])
def test_help_does_not_wait_for_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from glassbert.cli.main import main; main(sys.argv[1:]);"
        "print(*({'torch', 'numpy', 'matplotlib'} & sys.modules.keys()), 'end')"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split() == ["end"]


def test_the_package_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "glassbert", "evaluate", "nothing", "nothing.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "glassbert: error: nothing.csv: no such file\n"
