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
# Beside plain code, kernels for the two levels of x86-64 with wide vectors, and for tiles; the module chooses when it is
# loaded.
_LEVELS: Final = {
    "plain": (),
    "v3": ("-march=x86-64-v3",),
    "v4": ("-march=x86-64-v4",),
    "amx": ("-march=x86-64-v4", "-mamx-tile", "-mamx-bf16"),
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
        # Only the encoder's products are made of tiles.
        parts = [("encoder", level) for level in levels] + [("kernels", level) for level in levels if level != "amx"]
        objects = [f"{place}/module.o", f"{place}/finite.o", *(f"{place}/{name}-{level}.o" for name, level in parts)]
        known = [f"-D{name}" for name, level in (("X86_LEVELS", "v4"), ("TILES", "amx")) if level in levels]
        compiles = [[*module, *known], [str(folder / "finite.c")]]
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
