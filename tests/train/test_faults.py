"""Kills, full disks, damaged files and signals: what a run has saved is whole, and it goes on to the same bits.

The campaigns, of which these are samples: `python -m tests.train.killed FOLDER 200 0`, `tests.train.faults`,
`tests.train.signalled` and `tests.train.several`; each says how it is called.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from glassbert import CheckpointError, ConfigError, FinetuneSettings, finetune
from glassbert.cli.main import main
from glassbert.files import read_json, remove_abandoned, remove_folder
from glassbert.train import Event, Notice
from glassbert.train.state import Checkpoints, read_state
from tests.train import together
from tests.train.runs import command, make, outcome, settings
from tests.train.several import Several

ROOT = Path(__file__).resolve().parents[2]


def campaign(name: str, *arguments: str | Path, **environment: str) -> list[str]:
    """Run a program of this folder and return what it prints."""
    program = [sys.executable, "-m", f"tests.train.{name}", *map(str, arguments)]
    run = subprocess.run(
        program,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    return run.stdout.splitlines()


@pytest.mark.parametrize("recipe", ["train", "pretrain"])
def test_killed_runs_go_on_to_the_same_bits(tmp_path: Path, recipe: str) -> None:
    lines = campaign("killed", tmp_path, "4", "0", recipe)
    assert "kills: 4" in lines[-1]


def test_a_disk_that_refuses_a_write_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler (cc), or no Linux: no disk that refuses")
    library = tmp_path / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    lines = campaign("faults", tmp_path, "30", LD_PRELOAD=str(library))
    assert lines[-1] == "runs: 1, told: 1; ended by Ctrl-C and refused: 1"
    calls = [int(found[1]) for line in lines if (found := re.search(r": (\d+) faults: ", line))]
    assert len(calls) == 8
    assert min(calls) > 20


def test_whenever_a_signal_comes_the_last_step_is_saved(tmp_path: Path) -> None:
    lines = campaign("signalled", tmp_path, "4", "0")
    assert "signals: 4" in lines[-2]


# -- several processes --


def leaves(value: Any) -> Iterator[Any]:
    """Give all that stands in nested lists and mappings, which the order of sets does not touch."""
    for one in value.values() if isinstance(value, dict) else value:
        if isinstance(one, dict | list):
            yield from leaves(one)
        else:
            yield one


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    together.write(tmp_path)
    log, threads = tmp_path / "log", torch.get_num_threads()
    several = Several(["-m", "tests.train.together", str(tmp_path)], log)
    try:
        together.main(tmp_path)
    finally:
        torch.set_num_threads(threads)
        code = several.end()
    assert code == 0, log.read_text()
    told, first, second = (
        json.loads((tmp_path / file).read_text("utf-8"))
        for file in ("alone/said-0.json", "several/said-0.json", "several/said-1.json")
    )
    # Each process refuses the missing file, and the first one says the rest.
    assert first == told
    assert second == told[-1:]
    for task in together.ROWS:
        one, two = (read_json(tmp_path / place / task / "training.json") for place in ("alone", "several"))
        assert len(one["losses"]) == 12
        assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
        assert two["grad_norms"] == pytest.approx(one["grad_norms"], abs=1e-4)
        assert len(one["evaluations"]) == (2 if task != "sentence-embedding" else 0)
        assert list(leaves(two["evaluations"])) == pytest.approx(list(leaves(one["evaluations"])), abs=1e-5)
        assert two["saved"] == one["saved"]
    for name in together.SHARDS:
        one, two = (read_json(tmp_path / place / name / "training.json") for place in ("alone", "several"))
        assert len(one["losses"]) == 6
        assert len(one["evaluations"]) == 2
        assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
        for part in ("figures", "evaluations"):
            assert list(leaves(two[part])) == pytest.approx(list(leaves(one[part])), abs=1e-5)
        assert two["saved"] == one["saved"]
        assert two["data"] == one["data"]
    one, two = (json.loads((tmp_path / place / "parts.json").read_text("utf-8")) for place in ("alone", "several"))
    assert len(one) == 10
    assert [set(step) for step in two] == [{"loss", "all", "long", "found"}] * 10
    assert [list(step.values()) for step in two] == [pytest.approx(list(step.values()), abs=1e-5) for step in one]


# -- damage --


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run that has ended and kept the checkpoints of its steps 20, 22 and 24."""
    folder = tmp_path_factory.mktemp("ended")
    make(folder)
    finetune(FinetuneSettings(**settings(folder, "whole", keep_checkpoints=3)))
    return folder


@pytest.fixture
def copied(ended: Path) -> Iterator[Path]:
    """Return it with copies of these checkpoints, as those of a run that was cut off."""
    shutil.copytree(ended / "whole-checkpoints", ended / "cut-checkpoints")
    yield ended
    for name in ("cut", "cut-checkpoints"):
        shutil.rmtree(ended / name, ignore_errors=True)


def flipped(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["model", "optimizer", "best", "steps", "state", "manifest"])
def test_a_flipped_bit_is_noticed_wherever_it_is(copied: Path, name: str) -> None:
    (file,) = (copied / "cut-checkpoints" / "step-00000024").glob(f"{name}.*")
    whole = file.read_bytes()
    for place in {*range(0, len(whole), max(50, len(whole) // 200)), len(whole) - 1}:
        flipped(file, place)
        with pytest.raises(CheckpointError) as caught:
            read_state(file.parent)
        assert str(file.parent) in str(caught.value)
        assert "\n" not in str(caught.value)
        file.write_bytes(whole)
    assert read_state(file.parent).step == 24


def in_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        file = folder / "manifest.json"
        names = json.loads(file.read_text())
        change(names)
        file.write_text(json.dumps(names))

    return damage


def renamed_in_manifest(name: str) -> Callable[[Path], object]:
    return in_manifest(lambda names: names.update({name: names.pop("best.safetensors")}))


def another_steps_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("step-00000022"), folder)


def folder_for_a_file(folder: Path) -> None:
    (folder / "steps.safetensors").unlink()
    (folder / "steps.safetensors").mkdir()


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda folder: flipped(folder / "optimizer.safetensors", 5000),
    "a weight file cut short": lambda folder: os.truncate(folder / "model.safetensors", 9000),
    "a state cut short": lambda folder: os.truncate(folder / "state.json", 100),
    "an empty file": lambda folder: os.truncate(folder / "steps.safetensors", 0),
    "a longer file": lambda folder: os.truncate(folder / "best.safetensors", 10**6),
    "a missing weight file": lambda folder: (folder / "model.safetensors").unlink(),
    "a missing state": lambda folder: (folder / "state.json").unlink(),
    "a missing manifest": lambda folder: (folder / "manifest.json").unlink(),
    "an empty manifest": lambda folder: os.truncate(folder / "manifest.json", 0),
    "a manifest of nothing": lambda folder: (folder / "manifest.json").write_text("{}"),
    "a manifest that is a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "a manifest without the weights": in_manifest(lambda names: names.pop("model.safetensors")),
    "a manifest without a hash": in_manifest(lambda names: names["state.json"].pop("sha256")),
    "a manifest of null": in_manifest(lambda names: names.update({"state.json": None})),
    "a way up": renamed_in_manifest("../best.safetensors"),
    "another way up": renamed_in_manifest(".."),
    "an absolute way": renamed_in_manifest("/etc/passwd"),
    "no name": renamed_in_manifest(""),
    "a name with a zero": renamed_in_manifest("a\0b"),
    "another step's folder": another_steps_folder,
    "a folder in place of a file": folder_for_a_file,
    "an empty folder": emptied,
}


def latest(checkpoints: Path) -> tuple[int | None, list[str]]:
    lines: list[str] = []
    run = read_state(checkpoints / "step-00000020").values["run"]
    state = Checkpoints(checkpoints, run).latest(lines.append)
    return None if state is None else state.step, lines


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_by_its_file_and_the_one_before_is_used(copied: Path, damage: str) -> None:
    checkpoints = copied / "cut-checkpoints"
    DAMAGES[damage](checkpoints / "step-00000024")
    step, lines = latest(checkpoints)
    assert step == 22
    (line,) = lines
    assert line.startswith(str(checkpoints / "step-00000024"))
    assert "\n" not in line


def resumed(folder: Path, out: str, **changes: Any) -> list[str]:
    """Go on with a run and return what it tells."""
    told: list[str] = []

    def on_event(event: Event) -> None:
        told.extend([event.message] if isinstance(event, Notice) else [])

    finetune(FinetuneSettings(**settings(folder, out, resume=True, **changes)), on_event=on_event)
    return told


def test_a_run_goes_on_from_the_last_that_is_whole(copied: Path) -> None:
    checkpoints = copied / "cut-checkpoints"
    flipped(checkpoints / "step-00000024" / "model.safetensors", 8000)
    (checkpoints / "step-00000022" / "best.safetensors").unlink()
    told = resumed(copied, "cut", keep_checkpoints=3)
    assert any(f"going on from {checkpoints / 'step-00000020'}: 20 of 24" in line for line in told)
    assert outcome(copied / "cut") == outcome(copied / "whole")
    assert [path.name for path in Checkpoints(checkpoints, {}).found()] == [
        "step-00000024",
        "step-00000022",
        "step-00000020",
    ]
    for folder in Checkpoints(checkpoints, {}).found():
        read_state(folder)


def test_a_run_without_a_whole_checkpoint_begins_with_step_1(copied: Path) -> None:
    checkpoints = copied / "cut-checkpoints"
    for folder in checkpoints.iterdir():
        (folder / "state.json").unlink()
    told = resumed(copied, "cut")
    assert sum("trying the one before" in line for line in told) == 3
    assert f"no whole checkpoint in {checkpoints}: beginning with step 1" in told
    assert outcome(copied / "cut") == outcome(copied / "whole")
    assert not checkpoints.exists()


def test_a_checkpoint_of_another_model_is_refused_and_stays(copied: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make(other, hidden_act="relu")
    with pytest.raises(
        ConfigError, match=r"step-00000024 is of another run: model\.hidden_act was .*gelu.* now .*relu"
    ):
        resumed(copied, "cut", model=other / "base")
    assert read_state(copied / "cut-checkpoints" / "step-00000024").step == 24


@pytest.mark.parametrize("other", [False, True])
def test_a_run_whose_result_stands_has_nothing_left_to_do(
    copied: Path, capsys: pytest.CaptureFixture[str], other: bool
) -> None:
    shutil.copytree(copied / "whole", copied / "cut")  # killed between the result and the end
    record = json.loads((copied / "cut" / "training.json").read_text().replace('/whole"', '/cut"'))
    (copied / "cut" / "training.json").write_text(json.dumps(record))
    more = ["--json", f"--seed={int(other)}"]
    code = main([*command(copied, "cut"), *more])
    out, err = capsys.readouterr()
    if other:
        assert (code, out) == (2, "")
        assert "cut already holds something" in err
        assert (copied / "cut-checkpoints").exists()
    else:
        note = f"note: {copied / 'cut'} holds the result of this run already; nothing is left to do\n"
        assert (code, err) == (0, note)
        assert json.loads(out)["steps"] == 24
        assert json.loads(out)["accuracy"] == max(one["accuracy"] for one in record["evaluations"])
        assert not (copied / "cut-checkpoints").exists()


# -- what is removed --


def test_a_folder_is_removed_in_one_step_and_what_stays_is_swept(tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "step-00000002"
    folder.mkdir()
    (folder / "file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed there
        remove_folder(folder)
    names = [entry.name for entry in tmp_path.iterdir()]
    assert len(names) == 1
    assert names[0].startswith(".step-00000002.")
    remove_abandoned(tmp_path, re.compile("step-1"))
    assert [entry.name for entry in tmp_path.iterdir()] == names
    remove_abandoned(tmp_path, re.compile(r"step-\d+"))
    assert not any(tmp_path.iterdir())
