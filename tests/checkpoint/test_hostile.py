"""Hostile model folders: each a typed error that names the file, quickly, and nothing else happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Try all cases in a process of their own, which watches itself."""
    program = [sys.executable, "-W", "error", "-m", "tests.checkpoint.hostile", str(tmp_path_factory.mktemp("hostile"))]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    last = "".join(run.stdout.splitlines()[-1:])
    assert run.returncode != -signal.SIGPROF, f"the case behind this one took two seconds of the processor: {last}"
    assert run.returncode == 0, run.stderr[-2000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_there_are_many(results: list[dict[str, Any]]) -> None:
    names = [result["case"] for result in results]
    assert len(names) == len(set(names)) >= 190
    # The page says how many.
    assert f"the tests try {len(names)} hostile folders" in (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in ("safetensors", "index", ".bin", "config", "tf"):
        assert sum(name.startswith(kind) for name in names) >= 15


def test_each_is_a_typed_error_of_one_line_that_names_the_file(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["result"] in ("CheckpointError", "ConfigError"), result
        assert result["folder"] in result["message"], result
        assert result["message"].isprintable(), result
        long = "3 MB" in result["case"]  # a value that is said, its middle left out
        assert len(result["message"].replace(result["folder"], "")) < (1_600 if long else 400), result


def test_none_takes_much_memory(results: list[dict[str, Any]]) -> None:
    assert max(result["megabytes"] for result in results) < 200


def test_nothing_is_run_and_nothing_outside_is_read(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert not result["ran"], result
        assert not result["outside"], result
