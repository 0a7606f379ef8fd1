"""What the commands say of tasks about questions and vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from glassbert import BertConfig, BertForQuestionAnswering, BertTokenizer, SentenceEncoder
from tests.cli.conftest import SENTENCES, Command

CONTEXT = "the cat\tsat on the mat"


@pytest.fixture
def folders(model_folder: Path, tmp_path: Path) -> Path:
    """Folders of a model that answers and of one that embeds, beside each other."""
    tokenizer = BertTokenizer.from_pretrained(model_folder)
    config = BertConfig.from_pretrained(model_folder, num_labels=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForQuestionAnswering(config).save_pretrained(tmp_path / "asks")
        SentenceEncoder(config).save_pretrained(tmp_path / "embeds")
    for name in ("asks", "embeds"):
        tokenizer.save_pretrained(tmp_path / name)
    return tmp_path


def test_questions_are_answered_from_a_context(folders: Path, command: Command) -> None:
    run = command("predict", folders / "asks", "who sat?", "where?", "--context", CONTEXT, "--json")
    assert (run.code, run.err) == (0, "")
    first, second = map(json.loads, run.out.splitlines())
    assert (first["question"], second["question"]) == ("who sat?", "where?")
    assert first["text"] == CONTEXT[first["start"] : first["end"]]
    plain = command("predict", folders / "asks", "who sat?", "--context", CONTEXT)
    # The answer may hold a tab of the context; the line has three columns all the same.
    assert plain.out == f"{' '.join(first['text'].split())}\t{first['score']:.4f}\twho sat?\n"
    run = command("predict", folders / "asks", "who sat?")
    assert (run.code, run.out) == (2, "")
    assert "question-answering needs context (--context)" in run.err
    long = command("predict", folders / "asks", "sat " * 15, "--context", CONTEXT)
    assert long.err == "note: the text is longer than 14 tokens; the end was cut\n"


def test_answers_are_measured(folders: Path, command: Command) -> None:
    rows = [{"question": "who?", "context": CONTEXT, "answers": [{"text": "cat", "answer_start": 4}]}]
    (folders / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = command("evaluate", folders / "asks", folders / "q.jsonl", "--json")
    assert (run.code, run.err) == (0, "")
    assert {"exact", "f1", "has_answer_f1", "no_answer_f1", "examples"} <= json.loads(run.out).keys()
    run = command("evaluate", folders / "asks", folders / "q.jsonl")
    assert run.out.startswith("exact ")
    assert run.out.endswith("on 1 examples\n")
    assert "no answer" not in run.out
    run = command("evaluate", folders / "asks", folders / "q.jsonl", "--label-column", "x")
    assert run.code == 2
    assert "reads the columns question, context, id, answers, is_impossible" in run.err


def test_texts_have_vectors_and_pairs_a_similarity(folders: Path, command: Command) -> None:
    run = command("predict", folders / "embeds", "the cat", "--json")
    assert (run.code, run.err) == (0, "")
    answer = json.loads(run.out)
    assert (answer["text"], len(answer["vector"])) == ("the cat", 16)
    run = command("predict", folders / "embeds", "the cat")
    assert run.out == " ".join(f"{number:.4f}" for number in answer["vector"][:4]) + " … (16)\tthe cat\n"
    run = command("predict", folders / "embeds", "the cat", "--pair", "the cat")
    assert run.out == "1.0000\tthe cat\n"


def test_vectors_are_measured_with_scores_and_without(folders: Path, command: Command) -> None:
    rows = [f"{text}\t{text if number % 2 else 'a dog'}\t{number % 2}\n" for number, (text, _) in enumerate(SENTENCES)]
    (folders / "p.tsv").write_text("".join(rows), encoding="utf-8")
    columns = ("--no-header", "--text-column", "0", "--pair-column", "1")
    run = command("evaluate", folders / "embeds", folders / "p.tsv", *columns, "--label-column", "2")
    assert run.err == ""
    assert run.out.startswith("spearman ")
    run = command("evaluate", folders / "embeds", folders / "p.tsv", *columns)
    assert run.out.startswith("mean reciprocal rank ")


def test_options_of_a_task_are_given_by_name(folders: Path, command: Command) -> None:
    rows = "".join(f"{text}\t{text}\n" for text, _ in SENTENCES)
    (folders / "p.tsv").write_text(rows, encoding="utf-8")
    arguments: tuple[str | Path, ...] = (
        "train",
        folders / "p.tsv",
        "--model",
        folders / "embeds",
        "--out",
        folders / "out",
        "--no-header",
    )
    arguments += ("--text-column", "0", "--pair-column", "1", "--task", "sentence-embedding", "--epochs", "1")
    run = command(*arguments, "--option", "widths=[16,8]", "--option", "scale=10", "--json")
    assert (run.code, json.loads(run.out)["steps"]) == (0, 1)
    stored = json.loads((folders / "out" / "config.json").read_text("utf-8"))["glassbert_task"]
    assert (stored["widths"], stored["scale"], stored["name"]) == ([16, 8], 10, "sentence-embedding")
    for option, message in (
        ("widths=x", "widths is 'x'"),
        ("widths", "expected NAME=VALUE"),
        ("width=[1]", "no option 'width'"),
    ):
        run = command(*arguments, "--option", option)
        assert (run.code, run.out) == (2, "")
        assert message in run.err
    run = command(*arguments, "--option", "scale=1", "--option", "scale=2")
    assert "expected one scale alone" in run.err
