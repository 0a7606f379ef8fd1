"""A save is whole or not there, whenever it ends. The campaign: `python -m tests.checkpoint.killed FOLDER 200 0`."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glassbert
from glassbert import SaveError
from tests.checkpoint.test_weights import equal, make

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_save_leaves_the_old_model_or_the_new_one(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.checkpoint.killed", str(tmp_path), "12", "0"]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [line.split() for line in run.stdout.splitlines()]
    assert len(lines) == 12
    for _, state, *names in lines:
        assert state == "whole"
        assert names in (
            ["config.json", "model.safetensors", "vocab.txt"],
            ["config.json", "pytorch_model.bin", "vocab.txt"],
        )
    assert {number for number, *_ in lines} == {"1", "2"}


@pytest.mark.parametrize("name", ["os.fsync", "os.link", "glassbert.files._exchange", "glassbert.files.write_json"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    old, new = make(), make(initializer_range=0.5)
    folder = tmp_path / "model"
    old.save_pretrained(folder)
    (folder / "notes.txt").write_text("mine")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "refused")

    target: Callable[..., Any] = refuse
    with monkeypatch.context() as patch:
        patch.setattr("glassbert.checkpoint.saving.write_json" if name.endswith("write_json") else name, target)
        if name == "os.link":
            patch.setattr("shutil.copy2", refuse)
        with pytest.raises(SaveError, match="what stood there still stands"):
            new.save_pretrained(folder, overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model"]
    assert sorted(entry.name for entry in folder.iterdir()) == ["config.json", "model.safetensors", "notes.txt"]
    assert equal(glassbert.load(folder), old)
