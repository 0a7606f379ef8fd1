"""The examples of docs/pretraining.md run as they stand, its commands on a small scale."""

from __future__ import annotations

import random
import re
import shlex
from pathlib import Path

import pytest

from glassbert import BertForPreTraining, load
from glassbert.cli.main import main
from glassbert.files import read_json

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "pretraining.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.M | re.S)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    line for language, text in BLOCKS for line in text.splitlines() if not language and line.startswith("glassbert ")
]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write books of generated sentences, a vocabulary, and labelled texts."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    words = ["the", "old", "new", "river", "house", "tree", "sees", "finds", "takes", "slowly", "today", "again"]
    sentences = [" ".join(rng.choices(words, k=rng.randint(4, 9))).capitalize() + "." for _ in range(1200)]
    text = "\n\n".join("\n".join(sentences[begin : begin + 8]) for begin in range(0, 1200, 8))
    Path("books").mkdir()
    for place in ("book.txt", "books/one.txt"):
        Path(place).write_text(text, encoding="utf-8")
    rows = "".join(f"{sentence}\t{'old' in sentence}\n" for sentence in sentences[:40])
    for place in ("train.tsv", "dev.tsv"):
        Path(place).write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    assert main(["vocab", "book.txt", "--size", "60", "--out", "vocab.txt"]) == 0


@pytest.mark.usefixtures("book")
def test_the_examples_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    names: dict[str, object] = {}
    for block in PYTHON:
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert len(PYTHON) == 2
    assert lines[0].startswith("Shards('shards': nsp, ")
    assert "[CLS]" in lines[1]
    assert lines[2].startswith("words ")
    assert isinstance(names["model"], BertForPreTraining)


@pytest.mark.usefixtures("book")
def test_the_commands_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    vocab, prepare, first, train, other = COMMANDS
    small = {"--size 8000": "--size 60", "--steps 10000": "--steps 4 --batch-size 8"}
    for command in (vocab, prepare, first, train):
        for long, short in small.items():
            command = command.replace(long, short)
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    shorter = other.replace("--steps 20000", "--steps 2").replace("my-bert", "other").replace("4x256", "2x128")
    assert main(shlex.split(shorter)[1:]) == 0, capsys.readouterr().err
    assert type(load("my-bert")) is BertForPreTraining
    assert read_json(Path("other/training.json"))["steps"] == 2


@pytest.mark.usefixtures("book")
def test_the_files_are_those_that_the_page_lists() -> None:
    assert main(["prepare", "book.txt", "--vocab", "vocab.txt", "--out", "shards", "--held-out", "0.1"]) == 0
    listed = set(re.findall(r"^ {20,40}(\w+\.npy)|shard-00000/training/ +(\w+\.npy)", PAGE, flags=re.M))
    names = {name for pair in listed for name in pair if name}
    assert names == {file.name for file in Path("shards/shard-00000/training").iterdir()}
    assert Path("shards/manifest.json").is_file()
