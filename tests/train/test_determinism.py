"""The same seed gives the same bits, however many threads turn texts into tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from glassbert.files import read_json
from tests.train.runs import make


def test_one_worker_and_two_give_the_same_bits(tmp_path: Path) -> None:
    make(tmp_path)
    lines = (tmp_path / "train.jsonl").read_text(encoding="utf-8")
    (tmp_path / "many.jsonl").write_text(lines * 20, encoding="utf-8")  # more than one worker takes at once
    runs = []
    for workers in ("1", "2"):
        command = [sys.executable, "-m", "glassbert", "train", "many.jsonl", "--model", "base", "--out", workers]
        command += ["--validation-share", "0.2", "--steps", "8", "--token-dropout", "0.1"]
        threads = {"RAYON_NUM_THREADS": workers, "TOKENIZERS_PARALLELISM": "true", "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **threads}
        runs.append(
            subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        )
    for run in runs:
        _, errors = run.communicate()
        assert run.returncode == 0, errors
    one, two = (tmp_path / workers for workers in ("1", "2"))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    records = [read_json(folder / "training.json") for folder in (one, two)]
    for name in ("losses", "grad_norms", "evaluations", "hardest"):
        assert records[0][name] == records[1][name]
