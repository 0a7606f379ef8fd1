"""Tiny runs for those who cut them off: a model, its data, and processes that tell what they are doing.

A process is forked from one that has torch and the rest loaded, so that a start costs milliseconds; from there on it is
the command itself. It has to be the only thread of its program, and torch's too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from glassbert import BertConfig, BertModel, BertTokenizer, learn_vocabulary
from glassbert.cli import displays
from glassbert.cli.main import main
from glassbert.cli.main import run as run_command
from glassbert.data import PrepareSettings, prepare
from glassbert.files import read_json
from glassbert.train import Event, Step, finetuning, pretraining
from glassbert.train.examples import Part
from glassbert.train.judge import Judge
from glassbert.train.state import Checkpoints, read_state

WORDS = [
    "day",
    "night",
    "good",
    "bad",
    "film",
    "food",
    "people",
    "happy",
    "sad",
    "warm",
    "cold",
    "rain",
    "sun",
    "tree",
    "house",
    "river",
]
TEXTS = [" ".join(WORDS[(place * step) % len(WORDS)] for step in range(1, 3 + place % 7)) for place in range(1, 42)]


def outcome(folder: Path) -> dict[str, Any]:
    """Return all that a run makes but for times."""
    record = read_json(folder / "training.json")
    names = ("losses", "figures", "learning_rates", "grad_norms", "evaluations", "saved", "tokens", "hardest")
    weights = load_file(folder / "model.safetensors")
    return {
        **{name: record[name] for name in names},
        "config": read_json(folder / "config.json"),
        "weights": {name: tensor.numpy().tobytes() for name, tensor in weights.items()},
    }


def make_model(folder: Path, **changes: Any) -> None:
    """Write a model without a head, with dropout."""
    vocabulary = learn_vocabulary(TEXTS, size=120, min_frequency=1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.2,
        **changes,
    )
    BertModel(config).save_pretrained(folder / "base")
    BertTokenizer(vocabulary, model_max_length=16).save_pretrained(folder / "base")


def make(folder: Path, **changes: Any) -> None:
    """Write such a model, and texts to learn from."""
    make_model(folder, **changes)
    labels = ["short" if len(text.split()) < 5 else "long" for text in TEXTS]
    rows = [json.dumps({"text": text, "label": label}) + "\n" for text, label in zip(TEXTS, labels, strict=True)]
    (folder / "train.jsonl").write_text("".join(rows), encoding="utf-8")
    (folder / "dev.jsonl").write_text("".join(rows[::3]), encoding="utf-8")


def settings(folder: Path, out: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a run of 24 steps on them."""
    data = {"train": folder / "train.jsonl", "validation": folder / "dev.jsonl"}
    files = {**data, "model": folder / "base", "out": folder / out}
    sizes = {"epochs": 4, "batch_size": 8, "learning_rate": 5e-3, "token_dropout": 0.1}
    return {**files, **sizes, "save_every": 2, "evaluate_every": 3, "keep": "best", **changes}


def make_shards(folder: Path, name: str = "shards", texts: Sequence[str] = TEXTS * 4, **changes: Any) -> Path:
    """Write shards for such a model, of texts of which five are a document, unless empty ones end it."""
    file = folder / f"{name}.txt"
    several = "" in texts
    lines = [text + ("\n" if place % 5 == 4 and not several else "") for place, text in enumerate(texts)]
    file.write_text("\n".join(lines), encoding="utf-8")
    usual = {"max_length": 16, "sentences": "lines", "held_out": 0.2, "workers": 1}
    prepare(PrepareSettings(**{"texts": file, "vocab": folder / "base", "out": folder / name, **usual, **changes}))
    return folder / name


def pretraining_settings(folder: Path, out: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a pretraining of 24 steps, the last 6 with shards of their own."""
    files = {"shards": [folder / "shards", folder / "longer"], "model": folder / "base", "out": folder / out}
    sizes = {"phases": "0.75,0.25", "steps": 24, "batch_size": 8, "learning_rate": 5e-3}
    return {**files, **sizes, "save_every": 2, "evaluate_every": 3, "keep": "best", **changes}


def command(folder: Path, out: str, **changes: Any) -> list[str]:
    """Return the arguments of `glassbert` for these settings, and to go on; for pretraining where there are shards."""
    pretrains = (folder / "longer").is_dir()
    files = (pretraining_settings if pretrains else settings)(folder, out, **changes)
    data = files.pop("shards" if pretrains else "train")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in files.items()]
    paths = map(str, data if isinstance(data, list) else [data])
    return ["pretrain" if pretrains else "train", *paths, *flags, "--resume"]


def warm(folder: Path, *, pretrains: bool = False) -> None:
    """Load what a run needs, for all processes that are forked from this one."""
    torch.set_num_threads(1)
    make(folder)
    if pretrains:
        make_shards(folder, max_length=12)
        make_shards(folder, "longer", seed=1)
    with (folder / "log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        assert main(command(folder, "warm")) == 0, (folder / "log").read_text()


def left_behind(checkpoints: Path) -> tuple[list[int], list[str]]:
    """Return the steps of the checkpoints in a folder, each of which can be read, and the names of all else."""
    steps, others = [], []
    for entry in sorted(checkpoints.iterdir() if checkpoints.is_dir() else ()):
        if entry.name.startswith("step-"):
            steps.append(read_state(entry).step)
        else:
            others.append(entry.name)
    return steps, others


def marked(owner: Any, name: str, say: Callable[[str], None], mark: str) -> None:
    """Let a function say when it begins, and with a dot at the end when it has ended."""
    function = getattr(owner, name)

    def told(*arguments: Any, **named: Any) -> Any:
        say(mark)
        done = function(*arguments, **named)
        say(f"{mark}.")
        return done

    setattr(owner, name, told)


def tells(say: Callable[[str], None]) -> None:
    """Let this process tell each step by its number, and when it begins and ends with what takes time."""
    marked(finetuning, "read_parts", say, "reading")
    marked(Part, "encode", say, "tokenizing")
    marked(Judge, "evaluate", say, "evaluating")
    marked(Checkpoints, "save", say, "saving")
    for recipe in (finetuning, pretraining):
        marked(recipe, "save_result", say, "writing")
    show = displays.TrainingDisplay.show

    def told(display: displays.TrainingDisplay, event: Event) -> None:
        show(display, event)
        if isinstance(event, Step):
            say(f"step {event.step}")
            say("told")

    displays.TrainingDisplay.show = told  # type: ignore[assignment, method-assign]


class Forked:
    """A process of its own that runs `glassbert` with some arguments, or a function of what tells a mark.

    Attributes:
        marks: what it has told so far, in order.

    Args:
        what: either.
        log: takes what it writes to stdout and stderr.
    """

    def __init__(self, what: list[str] | Callable[[Callable[[str], None]], int], log: Path) -> None:
        """Start it."""
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(reading)
            _become(what, log, lambda mark: _write(writing, mark))
        os.close(writing)
        self._stream = os.fdopen(reading, encoding="ascii")
        self.marks: list[str] = []

    def __iter__(self) -> Iterator[str]:
        """Give what it tells, as it tells it, to its end."""
        for line in self._stream:
            self.marks.append(line.strip())
            yield self.marks[-1]

    def wait_for(self, mark: str, times: int = 1) -> None:
        """Go on when it has told that so often, or ended."""
        for one in self:
            times -= one == mark
            if not times:
                return

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        for _ in self:
            pass
        self._stream.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def killed_after(self, seconds: float) -> int:
        """Kill it then, at the latest, and return its exit code."""
        time.sleep(seconds)
        self.send(signal.SIGKILL)
        return self.end()

    def is_in(self, mark: str) -> bool:
        """Whether it had begun with that and not ended it."""
        return self.marks.count(mark) > self.marks.count(f"{mark}.")


def _write(pipe: int, mark: str) -> None:
    os.write(pipe, f"{mark}\n".encode())


def _become(what: list[str] | Callable[[Callable[[str], None]], int], log: Path, say: Callable[[str], None]) -> None:
    """Be the command, or the function, and leave as it does."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    code: Any = 1
    try:
        tells(say)
        if callable(what):
            code = what(say)
        else:
            sys.argv = ["glassbert", *what]
            run_command()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        # As at the end of the interpreter, but without what the parent has registered.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
