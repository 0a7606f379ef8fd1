"""Builds the kernels in C (`src/glassbert/native`) where that is possible; hatchling calls it for each wheel.

They are for Linux, GCC or Clang: there torch's wheels bring the OpenMP runtime that they share. Where anything is
missing, or `GLASSBERT_NATIVE=0` is set, the wheel is one for every platform and the model runs on torch's functions.
`CC` names the compiler and `CFLAGS` adds to its options, as everywhere.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SOURCES: Final = Path("src", "glassbert", "native")
_MODULE: Final = "_kernels.abi3.so"
_OPTIONS: Final = ("-O3", "-std=gnu11", "-fPIC", "-fvisibility=hidden", "-fno-math-errno")
# What is compiled for each level of processor.
_PARTS: Final = ("kernels", "encoder")
# Beside plain code, kernels for the two levels of x86-64 with wide vectors; the module chooses when it is loaded.
_LEVELS: Final = {"plain": (), "v3": ("-march=x86-64-v3",), "v4": ("-march=x86-64-v4",)}


class KernelsHook(BuildHookInterface[Any]):
    """Puts the built module beside its sources, where an editable install finds it, and into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build for a wheel; a source distribution holds the sources."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        wanted = sys.platform == "linux" and os.environ.get("GLASSBERT_NATIVE") != "0"
        if wanted and build(root / _SOURCES, compiler):
            build_data["artifacts"].append(str(_SOURCES / _MODULE))
            build_data["pure_python"] = False
            # The module keeps to Python's stable interface, so one wheel serves 3.11 and all later ones.
            build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        else:
            (root / _SOURCES / _MODULE).unlink(missing_ok=True)
            self.app.display_warning("The kernels in C are not built; all runs on torch's own functions, slower.")


def build(folder: Path, compiler: Sequence[str]) -> bool:
    """Build the module in `folder` from the sources there; return whether that was possible.

    A compiler that does not know the levels of x86-64 builds plain code alone.
    """
    levels = tuple(_LEVELS) if platform.machine() == "x86_64" else ("plain",)
    return _build(folder, compiler, levels) or (len(levels) > 1 and _build(folder, compiler, ("plain",)))


def _build(folder: Path, compiler: Sequence[str], levels: Sequence[str]) -> bool:
    # Beside its place, so that it gets there in one step while another process may have the old one loaded.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as place:
        options = [*_OPTIONS, *shlex.split(os.environ.get("CFLAGS", ""))]
        module = [str(folder / "module.c"), f"-I{sysconfig.get_path('include')}"]
        parts = [(name, level) for name in _PARTS for level in levels]
        objects = [f"{place}/module.o", f"{place}/finite.o", *(f"{place}/{name}-{level}.o" for name, level in parts)]
        compiles = [[*module, *(["-DX86_LEVELS"] if len(levels) > 1 else [])], [str(folder / "finite.c")]]
        compiles += [[str(folder / f"{name}.c"), f"-DLEVEL={level}", *_LEVELS[level]] for name, level in parts]
        commands = [
            [*compiler, *options, *what, "-c", "-o", target] for what, target in zip(compiles, objects, strict=True)
        ]
        commands.append([*compiler, *options, "-shared", *objects, "-lm", "-o", f"{place}/{_MODULE}"])
        for command in commands:
            try:
                subprocess.run(command, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                return False
        Path(place, _MODULE).replace(folder / _MODULE)
    return True
