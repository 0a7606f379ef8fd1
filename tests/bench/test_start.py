"""The benchmark of starting takes fresh processes in turn, and writes what it prints."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from bench import start


def test_every_round_of_every_process_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    light = ("nothing", "import glassbert", "glassbert --help")
    monkeypatch.setattr(start, "STARTS", {name: start.STARTS[name] for name in light})
    start.run(rounds=2, file=tmp_path / "start.json")
    rows = json.loads((tmp_path / "start.json").read_text(encoding="utf-8"))["rows"]
    assert tuple(rows) == light
    assert all(len(row["whole"]) == 2 for row in rows.values())
    assert [len(row["own"]) for row in rows.values()] == [2, 2, 0]
    # A part of a process takes less than all of it.
    assert all(part < whole for row in rows.values() for part, whole in zip(row["own"], row["whole"], strict=False))
    printed = capsys.readouterr().out
    assert all(name in printed for name in light)


def test_what_stands_before_may_print() -> None:
    whole, own = start._measure(start.Start.of("pass", after="print('said')"), dict(os.environ))
    assert 0 <= own[0] < whole


def test_a_process_that_fails_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "STARTS", {"bad": start.Start.of("raise SystemExit(3)")})
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        start.run(rounds=1, file=None)
