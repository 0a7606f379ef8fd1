"""The benchmark of starting takes fresh processes in turn, and writes what it prints."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench import start


def test_every_round_of_every_process_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    light = (start.NOTHING, "import glassbert", "glassbert --help")
    monkeypatch.setattr(start, "STARTS", {name: start.STARTS[name] for name in light})
    start.run(rounds=2, file=tmp_path / "start.json")
    rows = json.loads((tmp_path / "start.json").read_text(encoding="utf-8"))["rows"]
    assert tuple(rows) == light
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in rows.values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in light)


def test_a_process_that_fails_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "STARTS", {"bad": start.Start(arguments=("-c", "raise SystemExit(3)"))})
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        start.run(rounds=1, file=None)


def test_what_is_taken_off_is_measured_too() -> None:
    assert all(one.beside is None or one.beside in start.STARTS for one in start.STARTS.values())
