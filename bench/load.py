"""Loading: a folder to a model that has computed one text, each time in a process of its own.

Both libraries have loaded a tiny model before, so that neither's imports are in the time to load; what a whole process
takes, imports and all, stands in a column of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench.common import machine
from glassbert import BertConfig, BertModel

# What a process does: imports and warms up, loads, computes one text. Memory is the process's peak, above what it
# had before it began to load.
_PROGRAM = """
import json, resource, sys, time
import torch
from {library} import BertConfig, BertModel
torch.set_num_threads({threads})
with torch.inference_mode():
    BertModel.from_pretrained(sys.argv[2])(torch.tensor([[1, 2, 3]]))
def peak():
    # The high-water mark of this process alone: getrusage's counts that of the parent before exec, too.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
before, begin = peak(), time.perf_counter()
model = BertModel.from_pretrained(sys.argv[1])
loaded = time.perf_counter()
with torch.inference_mode():
    model(torch.arange(1000, 1016)[None])
used = time.perf_counter()
print(json.dumps({{"load": loaded - begin, "use": used - begin, "peak": peak() - before}}))
"""


def run(*, rounds: int, threads: int, file: Path | None) -> None:
    """Measure time and memory, ours and the peer's in turn, for BERT-base in float32."""
    import transformers

    programs = {"glassbert": "glassbert", f"transformers {transformers.__version__}": "transformers"}
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    small = BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as tiny:
        torch.manual_seed(0)
        BertModel(BertConfig()).save_pretrained(folder)
        BertModel(small).save_pretrained(tiny)
        size = Path(folder, "model.safetensors").stat().st_size / 2**20
        for number in range(rounds + 1):
            for name, library in programs.items():
                found = _measure(library, folder, tiny, threads)
                if number:
                    measured[name].append(found)
    _report(measured, size, threads, file)


def _measure(library: str, folder: str, tiny: str, threads: int) -> dict[str, float]:
    program = [sys.executable, "-c", _PROGRAM.format(library=library, threads=threads), folder, tiny]
    begin = time.perf_counter()
    done = subprocess.run(program, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    values: dict[str, float] = {**json.loads(done.stdout.splitlines()[-1]), "whole": time.perf_counter() - begin}
    return values


def _report(measured: dict[str, list[dict[str, float]]], size: float, threads: int, file: Path | None) -> None:
    title = f"BERT-base, model.safetensors of {size:.0f} MiB in the system's cache, threads: {threads}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("load ms", "min", "max", "load and one text ms", "whole process ms", "peak MiB", "of the weights"):
        table.add_column(heading, justify="right")
    for name, rounds in measured.items():
        load, use, whole, peak = ([one[key] for one in rounds] for key in ("load", "use", "whole", "peak"))
        table.add_row(
            name,
            *(f"{1000 * value:.0f}" for value in (statistics.median(load), min(load), max(load))),
            f"{1000 * statistics.median(use):.0f}",
            f"{1000 * statistics.median(whole):.0f}",
            f"{statistics.median(peak):.0f}",
            f"{statistics.median(peak) / size:.2f}×",
        )
    console = Console(highlight=False, width=max(118, Console().width))
    console.print(table)
    if file is not None:
        values = {"title": title, "facts": machine(), "rows": measured}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
