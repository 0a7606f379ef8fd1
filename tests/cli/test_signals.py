"""Interrupted runs leave with the usual codes, say so in one line, and leave a checkpoint and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_training(
    model_folder: Path, data: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "place" / "out"
    command = [sys.executable, "-m", "glassbert", "train", data, "--model", model_folder, "--out", out]
    command += ["--valid", data, "--epochs", "100000"]
    environment = {**os.environ, "TERM": "dumb"}
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("epoch 2"):
                break
        run.send_signal(number)
        rest = run.stderr.read()
        assert run.wait(timeout=300) == code
    assert "Traceback" not in rest
    lines = rest.splitlines()
    assert lines[-1] == f"glassbert: error: {'interrupted' if number == signal.SIGINT else 'terminated'}"
    (folder,) = out.parent.iterdir()
    (step,) = folder.iterdir()
    assert folder.name == "out-checkpoints"
    assert lines[-2] == f"saved in {step}; --resume goes on from there"


@pytest.mark.parametrize("name", ["typer", "torch", "half of torch"])
def test_a_signal_in_the_middle_of_an_import(name: str) -> None:
    code = f"""
import os, signal, sys, time

class Stop:
    def find_spec(self, name, *_):
        if name == {name.split()[-1]!r}:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
            except KeyboardInterrupt:
                if {name.startswith("half")}:
                    raise ImportError("cannot load module more than once")  # as numpy says then
                raise

sys.meta_path.insert(0, Stop())
sys.argv[1:] = ["predict", "nothing", "a text"]
from glassbert.__main__ import run
run()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (130, -signal.SIGINT)
    assert done.stderr == ("" if name == "typer" else "glassbert: error: interrupted\n")
