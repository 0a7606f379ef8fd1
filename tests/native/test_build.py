"""The kernels are built where that is possible, and the package installs where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = "src/glassbert/native/_kernels.abi3.so"
needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="no C compiler, or not Linux"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a copy of what a wheel is built from, with a module that an earlier build has left."""
    place = tmp_path / "source"
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (place / "tools").mkdir()
    for name in (".gitignore", "LICENSE", "README.md", "pyproject.toml", "tools/build_kernels.py"):
        shutil.copy(ROOT / name, place / name)
    (place / MODULE).write_bytes(b"of an earlier build")
    return place


def build(source: Path, **environment: str) -> tuple[Path, set[str]]:
    """Build a wheel; return it and the names in it."""
    variables = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS", "GLASSBERT_NATIVE")}
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        source.parent,
        source,
    ]
    subprocess.run(command, env={**variables, **environment}, capture_output=True, check=True)
    (wheel,) = source.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return wheel, set(archive.namelist())


@needs_compiler
def test_a_wheel_with_kernels(source: Path) -> None:
    wheel, names = build(source, CC="cc")
    assert "-cp311-abi3-linux_" in wheel.name
    assert {"glassbert/native/_kernels.abi3.so", "glassbert/native/kernels.c"} <= names
    assert not any(name.startswith("glassbert/native/.build") for name in names)
    # An editable install finds the module beside its sources.
    program = "import glassbert.native; print(glassbert.native.available, glassbert.__file__)"
    variables = {**os.environ, "PYTHONPATH": str(source / "src"), "GLASSBERT_NATIVE": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(source / "src" / "glassbert" / "__init__.py")]


@pytest.mark.parametrize("environment", [{"CC": "false"}, {"CC": "no-such-compiler"}, {"GLASSBERT_NATIVE": "0"}])
def test_a_wheel_without_them_is_for_every_platform(environment: dict[str, str], source: Path) -> None:
    wheel, names = build(source, **environment)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not any(name.endswith(".so") for name in names)
    assert not (source / MODULE).exists()  # nor does an editable install go on with the earlier one


@needs_compiler
def test_a_compiler_that_does_not_know_the_levels_builds_plain_code(source: Path, tmp_path: Path) -> None:
    old = tmp_path / "old-cc"
    old.write_text('#!/bin/sh\ncase "$*" in *-march*) exit 1;; esac\nexec cc "$@"\n', encoding="utf-8")
    old.chmod(0o755)
    build(source, CC=str(old))
    program = "from glassbert.native import _kernels; print(_kernels.levels())"
    variables = {**os.environ, "PYTHONPATH": str(source / "src"), "GLASSBERT_NATIVE": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['plain']"
