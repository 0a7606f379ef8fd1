"""`glassbert tune`: what it takes, what it says, how it leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glassbert import ConfigError, FinetuneSettings, TuningSettings

from .conftest import Command

pytest.importorskip("optuna")

NEEDED: dict[str, Any] = {"train": "a.csv", "model": "m", "out": "o", "validation": "b.csv"}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of each trial, which take longer than such a training."""
    for name in ("outputs.plot_learning_curve", "outputs.plot_confusion_matrix", "tuning_report.plot_tuning"):
        monkeypatch.setattr(f"glassbert.train.{name}", lambda *_, **__: None)


def made(**values: Any) -> TuningSettings:
    return TuningSettings(**{**NEEDED, **values})


def test_a_search_and_its_winner(command: Command, model_folder: Path, data: Path, tmp_path: Path) -> None:
    arguments: tuple[str | Path, ...] = (
        "tune",
        data,
        "--valid",
        data,
        "--model",
        model_folder,
        "--out",
        "out",
        "--epochs",
        "1",
    )
    arguments += ("--learning-rates", "1e-4:1e-2", "--batch-sizes", "4,6")
    run = command(*arguments, "--trials", "2")
    assert run.code == 0, run
    lines = run.out.splitlines()
    assert lines[0].split() == ["trial", "accuracy", "learning", "rate", "batch", "size", "step", "time"]
    assert "the best" in lines[1]
    assert "saved in out, with tuning.html" in run.out
    assert "2 trials of 2 to 3 steps on 12 examples" in run.err
    assert run.err.count("trial  1") == 1
    assert "[I 20" not in run.err  # what Optuna itself would print
    # The same command goes on, and a file of settings says the same.
    (tmp_path / "run.yaml").write_text(
        f"train: {data}\nvalidation: {data}\nmodel: {model_folder}\nout: out\nepochs: 1\n"
        "learning_rates: [1e-4, 1e-2]\nbatch_sizes: 4,6\ntrials: 2\n",
        encoding="utf-8",
    )
    run = command("tune", "--config", "run.yaml", "--trials", "3", "--json", data)
    result = json.loads(run.out)
    assert "the study goes on: 2 of 3 trials are there already" in run.err
    assert (result["folder"], len(result["trials"])) == ("out", 3)
    assert command("train", "--config", "out/settings.yaml", "--out", "again", data).code == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "again"))
    assert one == other


@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        ("learning_rates", "1e-4:1e-5", "learning_rates is 1e-4:1e-5: the lower end comes first"),
        ("learning_rates", "1e-4:1e-4", "both ends are the same; to hold learning_rate at one value, give"),
        ("learning_rates", "1e-4", "learning_rates is 1e-4, expected LOW:HIGH, such as 1e-5:1e-4"),
        ("learning_rates", "low:high", "learning_rates is low:high, expected LOW:HIGH"),
        ("learning_rates", "1e-5:1e-4:1e-3", "expected LOW:HIGH"),
        ("learning_rates", "1e-5,1e-4", "expected LOW:HIGH"),
        ("learning_rates", "-1e-5:1e-4", "learning_rates is -1e-5:1e-4: learning_rate is -1e-05, expected a finite"),
        ("learning_rates", "0:1e-4", "learning_rate is 0, expected a finite number more than 0"),
        ("learning_rates", "nan:1e-4", "learning_rate is nan, expected a finite number"),
        ("learning_rates", "1e-5:inf", "learning_rate is inf, expected a finite number"),
        ("batch_sizes", "16", "batch_sizes is 16, expected two or more different numbers, such as 16,32"),
        ("batch_sizes", "16,16", "expected two or more different numbers"),
        ("batch_sizes", "16,x", "batch_sizes is 16,x, expected two or more"),
        ("batch_sizes", "16:32", "batch_sizes is 16:32, expected two or more different numbers"),
        ("batch_sizes", "0,16", "batch_sizes is 0,16: batch_size is 0, expected 1 or more"),
        ("batch_sizes", "1.5,16", "batch_size is 1.5, expected a whole number"),
        ("epochs_range", "0:3", "epochs is 0, expected 1 or more"),
        ("epochs_range", "1.5:3", "epochs is 1.5, expected a whole number"),
        ("warmups", "0:1.5", "warmup is 1.5, expected a share from 0 to 1"),
        ("weight_decays", "-0.1:0", "weight_decay is -0.1, expected 0 or more"),
        ("epochs_range", 124, "epochs_range is 124, expected LOW:HIGH, such as 2:4"),  # 2:4 in YAML
        ("learning_rates", (True, 1e-4), r"learning_rates is \(True, 0.0001\), expected LOW:HIGH"),
        ("learning_rates", {"low": 1}, "expected LOW:HIGH"),
        ("trials", 0, "trials is 0, expected 1 or more"),
        ("workers", 0, "workers is 0, expected 1 or more"),
        ("keep", "last", "keep is 'last', but trials are compared by their best weights"),
        ("validation", None, "there is no validation data to compare trials by; give validation"),
    ],
    ids=str,
)
def test_what_cannot_be_searched(field: str, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**{field: given})


def test_a_wrong_range_is_one_line(command: Command, data: Path) -> None:
    run = command("tune", data, "--valid", data, "--model", "m", "--out", "o", "--learning-rates", "1e-4:1e-5")
    assert (run.code, run.out) == (2, "")
    assert run.err == "glassbert: error: learning_rates is 1e-4:1e-5: the lower end comes first\n"
    run = command("tune", data, "--model", "m", "--out", "o")
    assert run.code == 2
    assert "there is no validation data" in run.err
    assert run.err.count("\n") == 1


def test_ranges_are_the_same_in_all_their_forms(tmp_path: Path) -> None:
    settings = made(learning_rates="1e-5 : 1e-4", batch_sizes="16, 32", weight_decays=[0, 0.1])
    assert settings == made(learning_rates=(1e-5, 1e-4), batch_sizes=[16, 32], weight_decays="0:0.1")
    assert settings.space == {"learning_rate": (1e-5, 1e-4), "batch_size": (16, 32), "weight_decay": (0, 0.1)}
    file = tmp_path / "run.yaml"
    file.write_text(settings.to_yaml(), encoding="utf-8")
    assert TuningSettings.read(file) == settings


def test_what_is_searched_where_nothing_is_said() -> None:
    usual = {"learning_rate": (1e-5, 1e-4), "batch_size": (16, 32), "epochs": (2, 4)}
    assert made().space == usual
    assert (
        made(epochs=3).space == made(steps=10).space == {name: usual[name] for name in ("learning_rate", "batch_size")}
    )
    assert made(learning_rate=3e-5).space == {name: usual[name] for name in ("batch_size", "epochs")}
    assert made(learning_rate=3e-5, warmups="0:0.1").space == {"warmup": (0, 0.1)}
    with pytest.raises(ConfigError, match="nothing is searched; give a range"):
        made(learning_rate=3e-5, batch_size=8, epochs=1)
    with pytest.raises(ConfigError, match="epochs_range is given and steps is 5"):
        made(steps=5, epochs_range="1:2")


def test_the_settings_of_a_trial() -> None:
    settings = made(warmup=0.2, epochs_range="1:2", overwrite=True).of_trial({"epochs": 2}, "there")
    expected = {**NEEDED, "out": "there", "warmup": 0.2, "epochs": 2, "overwrite": True}
    assert settings == FinetuneSettings(**expected, keep="best", keep_checkpoints=0)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_keeps_what_is_finished(model_folder: Path, data: Path, tmp_path: Path, workers: str) -> None:
    command = [sys.executable, "-m", "glassbert", "tune", data, "--valid", data, "--model", model_folder]
    command += ["--out", tmp_path / "out", "--epochs-range", "5:6", "--workers", workers, "--trials", "500"]
    command += ["--learning-rates", "1e-4:1e-2"]
    environment = {**os.environ, "TERM": "dumb", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("trial  2"):
                break
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers too
        rest = run.stderr.read()
        assert run.wait(timeout=300) == 130
    assert "Traceback" not in rest
    assert rest.splitlines()[-1] == "glassbert: error: interrupted"
    assert not (tmp_path / "out").exists()
    left = {entry.name for entry in (tmp_path / "out-study-trials").iterdir()}
    assert 1 <= len(left) <= 1 + int(workers)
    assert not [name for name in left if name.startswith(".")]


def test_the_page_does_what_it_says(
    command: Command, model_folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    glassbert (.*)$", page, flags=re.M)
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.M | re.S)
    (tmp_path / "FOLDER").symlink_to(model_folder)
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_bytes(data.read_bytes())
    small = line.replace("--trials 12", "--trials 1") + " --epochs 1"
    assert command(*shlex.split(small)).code == 0
    listed = re.findall(r"^\| `(tuning\.\w+)`", page, flags=re.M)
    assert listed == ["tuning.json", "tuning.html", "tuning.png"]
    names: dict[str, Any] = {}
    exec(block.replace("trials=12", "trials=1, study='other.db', overwrite=True, epochs=1"), names)
    assert names["result"].best.number == 1
    assert "learning_rate" in capsys.readouterr().out
