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
_TILES: Final = ("-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16")
# What is compiled for each level of processor, a source, its name and options; the module chooses when it is loaded.
# Beside plain code there are two levels of x86-64 with wide vectors, and one with tiles, which only the encoder is made
# for: in float32, from three parts of a number, and in bfloat16.
_LEVELS: Final = {
    "plain": (("encoder", "plain", ("-DPARTS=0",)), ("kernels", "plain", ())),
    "v3": (("encoder", "v3", ("-DPARTS=0", "-march=x86-64-v3")), ("kernels", "v3", ("-march=x86-64-v3",))),
    "v4": (("encoder", "v4", ("-DPARTS=0", "-march=x86-64-v4")), ("kernels", "v4", ("-march=x86-64-v4",))),
    "amx": (("encoder", "amx", ("-DPARTS=3", *_TILES)), ("encoder", "amx_rounding", ("-DPARTS=1", *_TILES))),
}
# What a compiler may be able to build, the most first: one that does not know an option builds less.
_SETS: Final = (("plain", "v3", "v4", "amx"), ("plain", "v3", "v4"), ("plain",))


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

    A compiler that does not know the levels of x86-64, or tiles, builds the others.
    """
    sets = _SETS if platform.machine() == "x86_64" else _SETS[-1:]
    return any(_build(folder, compiler, levels) for levels in sets)


def _build(folder: Path, compiler: Sequence[str], levels: Sequence[str]) -> bool:
    # Beside its place, so that it gets there in one step while another process may have the old one loaded.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as place:
        options = [*_OPTIONS, *shlex.split(os.environ.get("CFLAGS", ""))]
        module = [str(folder / "module.c"), f"-I{sysconfig.get_path('include')}"]
        known = [f"-D{name}" for name, level in (("X86_LEVELS", "v4"), ("TILES", "amx")) if level in levels]
        compiles = {"module": [*module, *known], "finite": [str(folder / "finite.c")]}
        for level in levels:
            for source, name, more in _LEVELS[level]:
                compiles[f"{source}-{name}"] = [str(folder / f"{source}.c"), f"-DLEVEL={name}", *more]
        objects = [f"{place}/{name}.o" for name in compiles]
        commands = [
            [*compiler, *options, *what, "-c", "-o", target]
            for what, target in zip(compiles.values(), objects, strict=True)
        ]
        commands.append([*compiler, *options, "-shared", *objects, "-lm", "-o", f"{place}/{_MODULE}"])
        for command in commands:
            try:
                subprocess.run(command, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                return False
        Path(place, _MODULE).replace(folder / _MODULE)
    return True
