"""Trains the same with one process and with two, and draws both: `.venv/bin/python docs/processes.py`.

SST-2 where it is at hand, else the embedded sentences; MiniLM without dropout, since each process draws its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt

from bench.common import minilm_folder
from bench.finetune import prepare
from glassbert.files import read_json

DOCS = Path(__file__).parent
EXAMPLES = 800


def main() -> None:
    """Run both, print the largest differences, draw the losses."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        source, _ = prepare("sst2", EXAMPLES, place)
        model = place / "model"
        shutil.copytree(minilm_folder(), model)
        config = json.loads((model / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (model / "config.json").write_text(json.dumps(config))
        common = ["-m", "glassbert", "train", str(place / "train.jsonl"), "--validation", str(place / "dev.jsonl")]
        # The last batch of an epoch has 32 of 48 examples, and two processes have micro-batches of their own.
        common += ["--model", str(model), "--epochs", "2", "--batch-size", "48", "--token-budget", "512"]
        programs = {
            "one process": [sys.executable],
            "two processes": [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node", "2"],
        }
        runs = {}
        for number, (title, program) in enumerate(programs.items(), 1):
            out = place / str(number)
            subprocess.run([*program, *common, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
            runs[title] = read_json(out / "training.json")
    one, two = runs.values()
    for figure in ("losses", "grad_norms"):
        print(f"{figure}: at most {max(abs(a - b) for a, b in zip(one[figure], two[figure], strict=True)):.1e} apart")
    print(f"evaluations equal: {one['evaluations'] == two['evaluations']}; {len(one['losses'])} steps on {source}")
    draw({title: run["losses"] for title, run in runs.items()}, DOCS / "processes.png")


def draw(losses: dict[str, list[float]], file: Path) -> None:
    """Draw one curve over the other, and how far they are apart below."""
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(8, 4.5), sharex=True, height_ratios=[3, 1], layout="tight")
    (one, first), (two, second) = losses.items()
    steps = range(1, len(first) + 1)
    upper.plot(steps, first, color="#28689f", linewidth=4, alpha=0.4, label=one)
    upper.plot(steps, second, color="#b4322a", linewidth=1, label=two)
    upper.set_ylabel("loss of the step")
    upper.legend(frameon=False)
    lower.plot(steps, [abs(a - b) for a, b in zip(first, second, strict=True)], color="#555555", linewidth=1)
    lower.set_yscale("symlog", linthresh=1e-8)
    lower.axhline(1e-5, color="#999999", linestyle=":", linewidth=1)
    lower.set_ylim(0, 1e-4)
    lower.set_ylabel("apart")
    lower.set_xlabel("step (dotted: 1e-5)")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)


main()
