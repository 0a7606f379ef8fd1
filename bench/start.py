"""Starting: what an import and the command's help take, each in a fresh process.

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
        beside: the process that does the same without the package, whose time is taken off; None where there is none.
    """

    arguments: tuple[str, ...]
    beside: str | None = None


NOTHING: Final = "nothing"
TORCH: Final = "import torch"
STARTS: Final = {
    NOTHING: Start(arguments=("-c", "pass")),
    "import glassbert": Start(arguments=("-c", "import glassbert"), beside=NOTHING),
    "glassbert --help": Start(arguments=("-m", "glassbert", "--help"), beside=NOTHING),
    TORCH: Start(arguments=("-c", "import torch"), beside=NOTHING),
    "from glassbert import BertModel": Start(arguments=("-c", "from glassbert import BertModel"), beside=TORCH),
    "from transformers import BertModel": Start(arguments=("-c", "from transformers import BertModel"), beside=TORCH),
}


def run(*, rounds: int, file: Path | None) -> None:
    """Measure every start, in turn, and print medians and spread.

    Raises:
        subprocess.CalledProcessError: one of them fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    with tempfile.TemporaryDirectory() as compiled:
        # Whether the sources' own folders have compiled files, and may get some, is the machine's affair.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        for number in range(rounds + 1):
            for name, start in STARTS.items():
                taken = _measure(start, environment)
                if number:
                    seconds[name].append(taken)
    _report(seconds, file)


def _measure(start: Start, environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run((sys.executable, *start.arguments), check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - begin


def _report(seconds: dict[str, list[float]], file: Path | None) -> None:
    title = "Fresh processes, from their start to their end"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("median ms", "min", "max", "beyond", "median ms"):
        table.add_column(heading, justify="left" if heading == "beyond" else "right")
    for name, times in seconds.items():
        beside = STARTS[name].beside
        # Of each round by itself: the two stood next to each other in time.
        more = [] if beside is None else [one - other for one, other in zip(times, seconds[beside], strict=True)]
        table.add_row(
            name,
            *(f"{1000 * value:.0f}" for value in (statistics.median(times), min(times), max(times))),
            beside,
            f"{1000 * statistics.median(more):.0f}" if more else "",
        )
    console = Console(highlight=False, width=max(118, Console().width))
    console.print(table)
    facts = {**machine(), "transformers": metadata.version("transformers")}
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if file is not None:
        values = {"title": title, "facts": facts, "rows": seconds}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
