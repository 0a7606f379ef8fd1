"""`glassbert export`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from glassbert import pipeline
from tests.cli.conftest import SENTENCES, Command


def test_onnx(command: Command, model_folder: Path, tmp_path: Path) -> None:
    run = command("export", model_folder, "--to", "onnx", "--out", "out")
    assert (run.code, run.err) == (0, "")
    assert "model.onnx: BertForSequenceClassification as onnx, " in run.out
    assert "of up to 32 tokens" in run.out
    (line,) = [line for line in run.out.splitlines() if line.startswith("logits")]
    largest = json.loads((tmp_path / "out" / "export.json").read_bytes())["differences"]["logits"]["largest"]
    assert line.split()[1] == f"{largest:.1e}"
    wanted = pipeline(model=model_folder)(SENTENCES[0][0])
    assert pipeline(model="out", engine="onnx")(SENTENCES[0][0]).score == pytest.approx(wanted.score, abs=1e-5)
    said = command("predict", "out", SENTENCES[0][0], "--engine", "onnx", "--json").out
    assert json.loads(said)["score"] == pytest.approx(wanted.score, abs=1e-5)


def test_8_bits_with_their_cost(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    run = command("export", model_folder, "--out", "out", "--int8", "--data", data)
    assert run.code == 0
    assert "what 8 bits cost on 12 labelled examples" in run.out
    rows = {line.split("  ")[0]: line.split() for line in run.out.splitlines()}
    told = json.loads((tmp_path / "out" / "export.json").read_bytes())["quantized"]
    assert rows["accuracy"][1:3] == [f"{told[name]['accuracy']:.4f}" for name in ("before", "after")]
    evaluated = json.loads(command("evaluate", model_folder, data, "--json").out)
    assert told["before"] == evaluated
    assert "logits, 8 bits" in run.out
    again = command("export", model_folder, "--out", "out", "--int8", "--overwrite")
    assert "--data FILE measures it on labelled data" in again.out


def test_torch_export_and_json(command: Command, model_folder: Path, tmp_path: Path) -> None:
    run = command("export", model_folder, "--to", "torch-export", "--out", "out", "--json")
    (line,) = run.out.splitlines()
    found = json.loads(line)
    assert (found["form"], found["file"], found["folder"]) == ("torch-export", "model.pt2", "out")
    assert found["bytes"] == (tmp_path / "out" / "model.pt2").stat().st_size
    assert 0.0 <= found["differences"]["logits"]["largest"] <= 1e-5
    assert found["quantized"] is None


def test_what_is_used_wrongly_is_one_line(
    command: Command, model_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    bare = model_folder.with_name("bare")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "onnxscript", None)
        run = command("export", model_folder, "--out", "out")
        assert (run.code, run.err.count("\n")) == (2, 1)
        assert "onnxscript is not installed" in run.err
    for arguments, message in (
        (("export", model_folder), "Missing option '--out'"),
        (("export", model_folder, "--out", "full"), "full already holds something"),
        (("export", model_folder, "--out", "full", "--overwrite"), "holds mine.txt, which is no file of a model"),
        (("export", "nothing", "--out", "out"), "nothing"),
        (("export", model_folder, "--out", "out", "--data", data), "pass --int8 with it"),
        (("export", bare, "--out", "out", "--int8", "--data", data), "leave out --data"),
        (("export", model_folder, "--out", "out", "--int8", "--to", "torch-export"), "not as torch-export"),
        (("export", model_folder, "--out", "out", "--int8", "--data", "none.csv"), "none.csv: no such file"),
    ):
        run = command(*arguments)
        assert (run.code, run.out, run.err.count("\n")) == (2, "", 1), run
        assert message in run.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "full"]


def test_weights_that_are_no_numbers_leave_nothing_behind(command: Command, model_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(model_folder, tmp_path / "broken")
    file = tmp_path / "broken" / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "classifier.bias": torch.full_like(weights["classifier.bias"], float("nan"))}, file)
    run = command("export", "broken", "--to", "torch-export", "--out", "out")
    assert (run.code, run.err.count("\n")) == (2, 1), run
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
