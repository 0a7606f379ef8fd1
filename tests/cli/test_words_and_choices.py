"""Training, evaluating and predicting tags of words and choices from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

WORDS = [
    {"tokens": ["the", "cat", "sat"], "tags": ["O", "B-PET", "O"]},
    {"tokens": ["a", "dog", "ran"], "tags": ["O", "B-PET", "O"]},
]
QUESTIONS = "sent1,sent2,ending0,ending1,label\nthe cat,it,sat,ran,0\nthe dog,it,sat,ran out,1\n"
SPREAD = ("--text-column", "sent2", "--column", "context=sent1", "--column", "choices=ending0,ending1")


@pytest.fixture
def tagger(command: Command, model_folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in WORDS), "utf-8")
    bare = model_folder.with_name("bare")
    run = command(
        *("train", "words.jsonl", "--valid", "words.jsonl", "--task", "token-classification", "--model", bare),
        *("--out", "tagger", "--epochs", "30", "--lr", "1e-2"),
    )
    assert run.code == 0, run.err
    assert "the 2 tags are read as IOB2; types of entities: PET\n" in run.err
    assert "held-out f1 1.0000" in run.err
    assert "precision" in run.out
    return tmp_path / "tagger"


def test_tags_of_words(command: Command, tagger: Path) -> None:
    run = command("predict", tagger, "the  cat,\tsat", "sat")
    assert (run.code, run.err) == (0, "")
    first, second = (line.split("\t") for line in run.out.splitlines())
    assert first[0].startswith("PET cat 0.")
    assert (first[1], second) == ("the cat, sat", ["-", "sat"])
    run = command("predict", tagger, "the  cat,\tsat", "--json")
    answer = json.loads(run.out)
    assert answer["words"] == ["the", "cat", ",", "sat"]
    assert set(answer) == {"text", "words", "tags", "scores", "entities"}
    (entity,) = answer["entities"]
    assert (entity["type"], entity["text"], entity["start"], entity["end"]) == ("PET", "cat", 5, 8)
    run = command("evaluate", tagger, "words.jsonl")
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines()[0].split()[:2] == ["F1", "1.0000"]
    assert run.out.splitlines()[0].endswith("on 6 words of 2 sentences")
    assert run.out.splitlines()[2].split() == ["PET", "1.000", "1.000", "1.000", "2"]
    run = command("evaluate", tagger, "words.jsonl", "--json")
    assert json.loads(run.out)["types"]["PET"]["support"] == 2


def test_a_scheme_that_there_is_not(command: Command, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "words.jsonl").write_text(json.dumps(WORDS[0]) + "\n", "utf-8")
    run = command(
        *("train", "words.jsonl", "--task", "token-classification", "--model", model_folder, "--out", "x"),
        *("--option", "scheme=bio"),
    )
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("glassbert: error: scheme is 'bio', expected one of IOB1, IOB2,")


def test_choices(command: Command, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text(QUESTIONS, "utf-8")
    bare = model_folder.with_name("bare")
    run = command(
        *("train", "questions.csv", "--valid", "questions.csv", "--task", "multiple-choice", "--model", bare),
        *("--out", "chooser", "--epochs", "30", "--lr", "1e-2", *SPREAD),
    )
    assert run.code == 0, run.err
    assert run.out.splitlines()[0] == "accuracy 1.0000   chance 0.5000   on 2 examples"
    assert '--choice "one" --choice "another"' in run.out
    run = command("evaluate", "chooser", "questions.csv", *SPREAD)
    assert run.out == "accuracy 1.0000   chance 0.5000   on 2 examples\n"
    choices = ("--choice", "sat", "--choice", "ran\tout")
    run = command("predict", "chooser", "it", "--context", "the dog", *choices)
    assert (run.code, run.err) == (0, "")
    text, score, question = run.out.rstrip("\n").split("\t")
    assert (text, question) == ("ran out", "it")
    assert 0.5 < float(score) <= 1.0
    run = command("predict", "chooser", "it", "--context", "the dog", *choices, "--json")
    answer = json.loads(run.out)
    assert (answer["question"], answer["index"], answer["text"]) == ("it", 1, "ran\tout")
    run = command("predict", "chooser", "it", "--context", "the dog " * 30, *choices)
    assert run.err == "note: the text is longer than 32 tokens; the end was cut\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "questions.csv", "--column", "context"), "--column is 'context', expected ROLE=COLUMN"),
        (("evaluate", "questions.csv", "--column", "x=y"), "no use for a x column; it reads text, pair, label"),
        (("evaluate", "questions.csv", "--column", "text=a,b"), "text is ['a', 'b'], expected the name or number"),
        (
            ("predict", "a", "--choice", "b", "--pair", "c"),
            "the input has 'text', 'pair', 'choices', expected",
        ),
        (("predict", "a", "--choice", "b", "--choice", "c"), "the input has 'text', 'choices', expected 'text'"),
    ],
)
def test_what_does_not_fit_is_refused(
    command: Command, model_folder: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "questions.csv").write_text(QUESTIONS, "utf-8")
    name, *rest = arguments
    run = command(name, model_folder, *rest)
    assert (run.code, run.out) == (2, "")
    assert message in run.err
