"""Starting: what imports and the command's help take, each in a fresh process.

Processes take turns, so that what else the machine does meets all alike. The first round does not count: it brings the
files into the system's cache, and compiles them all, as an installer does, into a folder of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.common import machine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """One process.

    Attributes:
        arguments: of Python.
        clocked: whether it prints the seconds of a part of its own.
    """

    arguments: tuple[str, ...]
    clocked: bool = True

    @classmethod
    def of(cls, statement: str, *, after: str = "pass") -> Start:
        """Return a process that executes one statement after another, and clocks it alone."""
        lines = "import time", after, "begin = time.perf_counter()", statement, "print(time.perf_counter() - begin)"
        return cls(arguments=("-c", "\n".join(lines)))


STARTS: Final = {
    "nothing": Start.of("pass"),
    "import glassbert": Start.of("import glassbert"),
    "glassbert --help": Start(arguments=("-m", "glassbert", "--help"), clocked=False),
    "import torch": Start.of("import torch"),
    "from glassbert import BertModel": Start.of("from glassbert import BertModel", after="import torch"),
    "from transformers import BertModel": Start.of("from transformers import BertModel", after="import torch"),
}


def run(*, rounds: int, file: Path | None) -> None:
    """Measure every start, in turn, and print medians and spread.

    Raises:
        subprocess.CalledProcessError: one of them fails.
    """
    measured: dict[str, dict[str, list[float]]] = {name: {"whole": [], "own": []} for name in STARTS}
    with tempfile.TemporaryDirectory() as compiled:
        # Whether the sources' own folders have compiled files, and may get some, is the machine's affair.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for number in range(rounds + 1):
            for name, start in STARTS.items():
                whole, own = _measure(start, environment)
                if number:
                    measured[name]["whole"].append(whole)
                    measured[name]["own"] += own
    _report(measured, file)


def _measure(start: Start, environment: dict[str, str]) -> tuple[float, list[float]]:
    """Return the seconds of a process, and of the part that it clocked, if it did."""
    begin = time.perf_counter()
    command = (sys.executable, *start.arguments)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    whole = time.perf_counter() - begin
    return whole, [float(done.stdout.splitlines()[-1])] if start.clocked else []


def _report(measured: dict[str, dict[str, list[float]]], file: Path | None) -> None:
    title = "Fresh processes, and their imports alone (BertModel's: after torch's)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("process ms", "min", "max", "import ms", "min", "max"):
        table.add_column(heading, justify="right")
    for name, rounds in measured.items():
        found = [times for times in rounds.values() if times]
        values = [value for times in found for value in (statistics.median(times), min(times), max(times))]
        table.add_row(name, *(f"{1000 * value:.0f}" for value in values))
    console = Console(highlight=False, width=max(118, Console().width))
    console.print(table)
    facts = {**machine(), "transformers": metadata.version("transformers")}
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if file is not None:
        content = {"title": title, "facts": facts, "rows": measured}
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
