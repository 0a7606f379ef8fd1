"""The commands that look into a model: their examples, and what all of them have in common."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from glassbert import BertConfig, BertForSequenceClassification, BertTokenizer, learn_vocabulary
from glassbert.cli.heads import heads
from glassbert.cli.inspect import inspect
from glassbert.cli.main import main
from glassbert.tasks import TextClassification
from glassbert.tasks.text_classification import ClassificationExample

TEXTS = [
    "the soup was cold and the cat sat down",
    "an unaffable café",
    "how old are you ? what is your age",
    "good bread and warm soup",
] * 3


def examples(group: Any, name: str) -> list[str]:
    found = []
    for one in group.registered_commands:
        lines = [
            line.partition("Example: ")[2] for line in (one.callback.__doc__ or "").splitlines() if "Example: " in line
        ]
        assert lines, one.callback.__name__
        assert all(line.startswith(f"glassbert {name} ") for line in lines)
        found += lines
    return found


EXAMPLES = [*examples(inspect, "inspect"), *examples(heads, "heads")]
# One call of each command.
CALLS = list({" ".join(shlex.split(one)[1:3]): one for one in EXAMPLES}.values())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with a small classifier of six layers and labelled texts."""
    monkeypatch.chdir(tmp_path)
    rows = [ClassificationExample(text=text, label="ab"[number % 2]) for number, text in enumerate(TEXTS)]
    tokenizer = BertTokenizer(learn_vocabulary(TEXTS, size=200, min_frequency=1), model_max_length=32)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=6,
        num_attention_heads=6,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(TextClassification().learn(rows).configure(config))
    for name in ("FOLDER", "OUT", "BEFORE", "AFTER"):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    lines = "".join(f"{row.text}\t{row.label}\n" for row in rows)
    for name in ("test.tsv", "valid.tsv"):
        (tmp_path / name).write_text(f"text\tlabel\n{lines}", encoding="utf-8")
    (tmp_path / "corpus.txt").write_text("\n\n".join(f"{text}.\n{text}." for text in TEXTS), encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_help_runs_as_it_stands(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(example)[1:]
    assert main([*words[:2], "--help"]) == 0
    assert example in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert main(words) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


@pytest.mark.parametrize("example", CALLS)
def test_each_command_has_json_a_page_and_a_picture(
    example: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in shlex.split(example)[1:] if word not in ("--html", "attention.html")]
    files = ["--html", "page.html", "--png", "picture.png"]
    assert main([*words, "--json", "--overwrite", *files]) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    facts = json.loads(said.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert len(facts) > 2
    assert "wrote page.html" in said.err
    page = (place / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    # A page asks nobody for anything.
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", page)
    assert (place / "picture.png").read_bytes().startswith(b"\x89PNG")
    # What is there stays there.
    assert main([*words, "--html", "page.html"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (place / "page.html").read_text(encoding="utf-8") == page


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("file", "words"),
    [
        (["--html", "page.txt"], "ends in .html"),
        (["--png", "picture.jpg"], "ends in .png"),
        (["--html", "FOLDER/config.json/page.html"], "config.json"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(
    file: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "tree", "no-such-folder", *file]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "no-such-folder" not in said


@pytest.mark.parametrize("group", ["inspect", "heads"])
def test_a_group_alone_shows_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([group]) == 0
    assert "Commands" in capsys.readouterr().out
    assert main([group, "nothing"]) == 2
    assert f"glassbert {group} --help" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_leaves_early_is_no_error(more: list[str]) -> None:
    words = [sys.executable, "-m", "glassbert", "inspect", "tree", "FOLDER", *more]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as output:
        run = subprocess.run(words, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (141, "")


def test_without_matplotlib_a_picture_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    # The model, which would be looked for next, is not there either.
    assert main(["inspect", "tree", str(tmp_path / "none"), "--png", str(tmp_path / "tree.png")]) != 0
    assert "glassbert[inspect]" in capsys.readouterr().err
