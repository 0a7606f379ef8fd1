"""Encoding: texts to the vectors of all their tokens, beside every peer at its best setting.

Each case (a model, a profile of texts, a number of threads) runs in a process of its own, since libraries fix their
threads when they start. In it all contenders take turns on the same ids, round by round.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.encode.measure import MODELS, Case, Result, Section
from bench.encode.picture import draw
from bench.encode.profiles import TEXTS

__all__ = ["Case", "every_case", "read", "run"]


def run(cases: Sequence[Case], *, file: Path | None = None, picture: Path | None = None) -> None:
    """Measure cases one after the other, print a table of each, and write what is asked for.

    Args:
        cases: what to measure.
        file: for the figures, as JSON; written anew after each case.
        picture: for a picture of the first case.
    """
    sections: list[Section] = []
    begin = time.monotonic()
    for case in cases:
        for section in _in_process(case):
            _print(section)
            sections.append(section)
        if file is not None:
            file.write_text(
                json.dumps({"sections": list(map(dataclasses.asdict, sections))}, indent=2) + "\n", encoding="utf-8"
            )
    if len(cases) > 1:
        print(f"{len(cases)} cases took {(time.monotonic() - begin) / 60:.0f} minutes")
    if picture is not None:
        draw(sections[0], picture)


def every_case(case: Case, threads: Sequence[int]) -> list[Case]:
    """Return all models, profiles and numbers of threads, with the rounds and peers of a case."""
    return [
        dataclasses.replace(case, model=model, profile=profile, threads=count)
        for model in MODELS
        for profile in TEXTS
        for count in threads
    ]


def read(file: Path) -> list[Section]:
    """Return the sections of a file that `run` wrote."""
    return _sections(json.loads(file.read_text(encoding="utf-8"))["sections"])


def _sections(values: Sequence[dict[str, Any]]) -> list[Section]:
    made = []
    for value in values:
        rows = tuple(Result(**{**row, "seconds": tuple(row["seconds"])}) for row in value["rows"])
        made.append(Section(title=value["title"], facts=value["facts"], rows=rows))
    return made


def _in_process(case: Case) -> list[Section]:
    threads = str(case.threads)
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), threads),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TQDM_DISABLE": "1",
        # Nobody's figures are sent anywhere.
        "NNCF_CI": "1",
    }
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "sections.json")
        command = [sys.executable, "-m", "bench.encode", json.dumps(dataclasses.asdict(case)), str(file)]
        # What libraries print is no part of a table; what goes wrong, and what is done, comes on the other stream.
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return _sections(json.loads(file.read_text(encoding="utf-8")))


def _print(section: Section) -> None:
    single = section.rows[0].profile == "one"
    scale, unit = (1000.0, "ms") if single else (1.0, "s")
    console = Console(highlight=False, width=max(150, Console().width))
    table = Table(title=section.title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for heading in ("", "", ""):
        table.add_column(heading)
    for heading in (
        f"median {unit}",
        "min",
        "max",
        "useful GFLOP/s",
        "of GEMM",
        "cores",
        "others",
        "glassbert is",
        "difference",
    ):
        table.add_column(heading, justify="right")
    for number, row in enumerate(section.rows):
        table.add_row(
            row.peer,
            row.dtype,
            row.setting,
            *(f"{scale * value:.3f}" for value in (row.median, min(row.seconds), max(row.seconds))),
            f"{row.gflops:.1f}",
            f"{row.share:.2f}",
            f"{row.cores:.1f}",
            f"{row.others:.1f}",
            f"{row.ratio:.2f}× as fast" if number else "",
            "" if row.difference is None else f"{row.difference:.1e}",
        )
    console.print(table)
    console.print("  ".join(f"{name}: {value}" for name, value in section.facts.items()), style="dim")
    console.print()
