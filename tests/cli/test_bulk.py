"""Files, standard input and outputs of the commands that answer."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertTokenizer,
    SentenceEncoder,
    pipeline,
    read_records,
)
from glassbert.cli import bulk
from glassbert.cli.main import app
from tests.cli import killed_answers
from tests.cli.conftest import SENTENCES, Command, Run

TEXTS = [text for text, _ in SENTENCES] * 3
ENDINGS = ["jsonl", "csv", "tsv", "parquet"]


@pytest.fixture(scope="session")
def models(model_folder: Path) -> Path:
    """Folders of models of several heads, beside the classifier."""
    tokenizer = BertTokenizer.from_pretrained(model_folder)
    config = BertConfig.from_pretrained(model_folder, num_labels=2)
    folder = model_folder.parent
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        BertForMaskedLM(config).save_pretrained(folder / "fills")
        BertForQuestionAnswering(config).save_pretrained(folder / "asks")
        SentenceEncoder(config, prompts={"query": "the cat "}).save_pretrained(folder / "embeds")
    for name in ("fills", "asks", "embeds"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of five, so that a small file has several."""
    monkeypatch.setattr(bulk, "CHUNK", 5)
    monkeypatch.setattr(bulk, "_FIRST", 2)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """36 texts with a blank line after each sixth."""
    lines = [text + ("\n \t" if place % 6 == 5 else "") for place, text in enumerate(TEXTS)]
    (tmp_path / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "texts.txt"


def rows_of(run: Run) -> list[dict[str, Any]]:
    assert run.code == 0, run
    return [json.loads(line) for line in run.out.splitlines()]


def refused(run: Run, *parts: str) -> None:
    assert (run.code, run.out) == (2, ""), run
    assert run.err.startswith("glassbert: error: "), run.err
    assert run.err.count("\n") == 1, run.err
    for part in parts:
        assert part in run.err


def test_the_lines_of_a_text_file(command: Command, model_folder: Path, texts: Path) -> None:
    run = command("predict", model_folder, texts, "--json")
    rows = rows_of(run)
    assert [row["text"] for row in rows] == TEXTS
    assert [row["line"] for row in rows] == [place + place // 6 + 1 for place in range(36)]
    assert run.err == "note: 6 blank lines were passed over\n"
    for row, answer in zip(rows, pipeline(model=model_folder)(TEXTS), strict=True):
        assert row["scores"] == pytest.approx(answer.scores, abs=1e-6)
    plain = command("predict", model_folder, texts).out.splitlines()
    assert [line.split("\t")[2:] for line in plain] == [[str(row["line"]), row["text"]] for row in rows]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz", "a.data"])
def test_records_of_any_format(command: Command, model_folder: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if "csv" in name:
        content = ("label,text\n" + "".join(f"x,{text}\n" for text in TEXTS)).encode()
        file.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    elif name == "a.parquet":
        parquet.write_table(pyarrow.table({"text": TEXTS}), file)
    else:
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    options = ["--format", "jsonl"] if name == "a.data" else []
    run = command("predict", model_folder, file, "--json", *options)
    rows = rows_of(run)
    assert [row["text"] for row in rows] == TEXTS
    place = "position" if name == "a.parquet" else "line"
    assert [row[place] for row in rows] == [number + (2 if "csv" in name else 1) for number in range(36)]
    refused(command("predict", model_folder, file, "--text-column", "nothing", *options), "nothing")


def test_standard_input(command: Command, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "the cat\n\nder Hund\n"
    for arguments in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        rows = rows_of(command("predict", model_folder, *arguments, "--json"))
        assert [(row["line"], row["text"]) for row in rows] == [(1, "the cat"), (3, "der Hund")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "the cat"}\n{"text": 3\n')))
    run = command("predict", model_folder, "-", "--format", "jsonl", "--json")
    assert run.code == 2
    assert "standard input:2: not readable as JSON" in run.err
    assert json.loads(run.out)["text"] == "the cat"  # what came before it


def test_nothing_to_answer(command: Command, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", terminal)
    refused(command("predict", model_folder), "TEXT..., FILE..., or - for standard input")


@pytest.mark.parametrize("ending", ENDINGS)
def test_parts_one_after_the_other_are_the_whole(
    command: Command, model_folder: Path, texts: Path, tmp_path: Path, ending: str
) -> None:
    assert command("predict", model_folder, texts, "--out", f"whole.{ending}").code == 0
    names = [f"part-{number}.{ending}" for number in range(1, 4)]
    for number in (2, 3, 1):
        arguments = ("--out", names[number - 1], "--part", f"{number}/3")
        assert command("predict", model_folder, texts, *arguments).code == 0
    whole, parts = tmp_path / f"whole.{ending}", [tmp_path / name for name in names]
    if ending == "parquet":
        assert pyarrow.concat_tables(map(parquet.read_table, parts)).equals(parquet.read_table(whole))
    else:
        contents = [part.read_bytes() for part in parts]
        if ending != "jsonl":  # each has a header
            contents[1:] = [content.partition(b"\n")[2] for content in contents[1:]]
        assert b"".join(contents) == whole.read_bytes()
    assert [record.get("text") for record in read_records(whole)] == TEXTS
    assert [entry.name for entry in tmp_path.iterdir() if "parts" in entry.name] == []


def test_vectors_in_parts_and_with_more_parts_than_texts(
    command: Command, models: Path, texts: Path, tmp_path: Path
) -> None:
    run = command("embed", models / "embeds", texts, "--out", "v.npy")
    assert run.err.splitlines()[-1] == "note: 36 answers in v.npy"
    whole = np.load(tmp_path / "v.npy", mmap_mode="r")
    expected = [answer.vector.numpy() for answer in pipeline(model=models / "embeds")(TEXTS)]
    np.testing.assert_allclose(whole, np.stack(expected), atol=1e-6)
    found = []
    for number in range(1, 10):  # of eight chunks
        arguments = ("--out", f"v{number}.npy", "--part", f"{number}/9")
        assert command("embed", models / "embeds", texts, *arguments).code == 0
        found.append(np.load(tmp_path / f"v{number}.npy"))
    assert min(map(len, found)) == 0
    np.testing.assert_array_equal(np.concatenate(found), whole)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_part_without_texts_has_the_same_columns(
    command: Command, model_folder: Path, tmp_path: Path, ending: str
) -> None:
    (tmp_path / "one.txt").write_text("the cat\n")
    for part in ("1/2", "2/2"):
        name = f"{part[0]}.{ending}"
        assert command("predict", model_folder, "one.txt", "--out", name, "--part", part).code == 0
    empty, full = (tmp_path / f"{number}.{ending}" for number in (1, 2))
    assert list(read_records(empty)) == []
    assert len(list(read_records(full))) == 1
    if ending == "parquet":
        assert parquet.read_schema(empty).equals(parquet.read_schema(full))
    elif ending != "jsonl":
        assert full.read_bytes().startswith(empty.read_bytes())


def interrupted(command: Command, monkeypatch: pytest.MonkeyPatch, chunks: int, *arguments: str | Path) -> Run:
    """Run a command that Ctrl-C ends after some chunks."""
    left = iter(range(chunks))
    answers = bulk._Run._answers

    def stopped(self: Any, items: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return answers(self, items)

    with monkeypatch.context() as patched:
        patched.setattr(bulk._Run, "_answers", stopped)
        return command(*arguments)


@pytest.mark.parametrize("ending", [*ENDINGS, "npy"])
def test_what_was_interrupted_goes_on_to_the_same_bytes(
    command: Command, models: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    name, model = ("embed", models / "embeds") if ending == "npy" else ("predict", models / "classifier")
    assert command(name, model, texts, "--out", f"whole.{ending}").code == 0
    arguments = (name, model, texts, "--out", f"a.{ending}")
    run = interrupted(command, monkeypatch, 3, *arguments)
    assert (run.code, run.out) == (130, "")
    assert f"what was done stands in a.{ending}.parts; the same command goes on with it" in run.err
    assert not (tmp_path / f"a.{ending}").exists()
    # Three of eight chunks need not be answered again.
    run = interrupted(command, monkeypatch, 5, *arguments)
    assert run.code == 0, run
    assert f"going on with a.{ending}.parts; pieces that are there: 3" in run.err
    assert "6 blank lines" in run.err
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert not (tmp_path / f"a.{ending}.parts").exists()


def test_going_on_otherwise_is_refused(
    command: Command, models: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models / "fills"
    texts.write_text("".join(f"[MASK] {text}\n" for text in TEXTS))
    arguments = ("fill", model, texts, "--out", "a.jsonl")
    assert interrupted(command, monkeypatch, 3, *arguments).code == 130
    run = command(*arguments, "--top", "2")
    assert run.code == 2
    assert "the task was" in run.err
    assert "--overwrite" in run.err
    other = tmp_path / "other"
    model.rename(other)
    try:  # the same model in another place is the same
        config = (other / "config.json").read_bytes()
        (other / "config.json").write_text(json.dumps({**json.loads(config), "layer_norm_eps": 1e-6}))
        run = command("fill", other, *arguments[2:])
        assert (run.code, "the SHA-256 of the model was" in run.err) == (2, True), run
        (other / "config.json").write_bytes(config)
    finally:
        other.rename(model)
    good = texts.read_text()
    texts.write_text(good.replace("[MASK] the", "[MASK] a", 1))
    run = command(*arguments)
    assert (run.code, "was made of another input" in run.err) == (2, True)
    assert command(*arguments, "--overwrite").code == 0
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])["given"].startswith("[MASK] a")


def test_a_bad_record_can_be_mended_and_the_run_goes_on(
    command: Command, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"text": text}) for text in TEXTS]
    lines[17] = '{"text": '
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    arguments = ("predict", model_folder, "a.jsonl", "--out", "out.csv")
    run = command(*arguments)
    assert run.code == 2
    assert run.err.splitlines()[-1].startswith("glassbert: error: a.jsonl:18: not readable as JSON")
    assert "what was done stands in out.csv.parts" in run.err
    lines[17] = json.dumps({"text": TEXTS[17]})
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert interrupted(command, monkeypatch, 5, *arguments).code == 0
    assert [record.get("text") for record in read_records(tmp_path / "out.csv")] == TEXTS


def test_bad_records_are_skipped_counted_and_listed(command: Command, models: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": text}) for text in TEXTS]
    lines[17], lines[3], lines[30] = '{"text": ', '{"text": " "}', '{"text": "caf\xe9"}'
    content = "\n".join(lines).encode("latin-1")
    (tmp_path / "a.jsonl").write_bytes(content)
    run = command("predict", models / "classifier", "a.jsonl", "--skip-bad", "--out", "out.jsonl", "--json")
    assert (run.code, json.loads(run.out)) == (0, {"out": "out.jsonl", "answers": 33, "skipped": 3, "cut": 0})
    for part in ("3 bad records skipped", "a.jsonl:18: not readable", "a.jsonl:4: the text is empty", "a.jsonl:31:"):
        assert part in run.err
    places = [json.loads(line)["line"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert places == [number for number in range(1, 37) if number not in (4, 18, 31)]
    run = command("embed", models / "embeds", "a.jsonl", "--skip-bad", "--out", "out.npy")
    assert "a row of NaN stands for each of the skipped records" in run.err
    vectors = np.load(tmp_path / "out.npy")
    assert np.flatnonzero(np.isnan(vectors).all(axis=1)).tolist() == [3, 17, 30]
    assert len(vectors) == 36
    assert not np.isnan(vectors[[2, 4, 16, 18, 29, 31]]).any()
    rows = rows_of(command("predict", models / "classifier", "a.jsonl", "--skip-bad", "--json"))
    assert [row["line"] for row in rows] == places


def test_what_was_skipped_before_an_interruption_is_listed_after_it(
    command: Command, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [*(json.dumps({"text": text}) for text in TEXTS[:20]), "broken"]
    lines[2] = '{"text": ""}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "o.csv").write_text("an older file")
    # With --overwrite, too, what is done of the same run is not done again, and the older file stands meanwhile.
    arguments = ("predict", model_folder, "a.jsonl", "--skip-bad", "--out", "o.csv", "--overwrite")
    assert interrupted(command, monkeypatch, 4, *arguments).code == 130
    assert (tmp_path / "o.csv").read_text() == "an older file"
    run = interrupted(command, monkeypatch, 2, *arguments)
    assert run.code == 0, run
    for part in ("2 bad records skipped", "a.jsonl:3: the text is empty", "a.jsonl:21: not readable"):
        assert part in run.err
    assert len(list(read_records(tmp_path / "o.csv"))) == 19


def test_a_finished_file_is_not_replaced_unasked(command: Command, model_folder: Path, texts: Path) -> None:
    arguments = ("predict", model_folder, texts, "--out", "a.csv")
    assert command(*arguments).code == 0
    refused(command(*arguments), "a.csv is already there", "--overwrite")
    assert command(*arguments, "--overwrite").code == 0
    refused(command("predict", model_folder, "a.csv", "--out", "a.csv", "--overwrite"), "a.csv, which is also read")


def test_long_texts_and_a_prompt(command: Command, models: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat " * 30 + "\nthe dog\n" + "a" * 10_000_000 + "\n")
    run = command("embed", models / "embeds", "a.txt", "--out", "a.npy")
    assert "1 of 3 texts are longer than 32 tokens" in run.err
    (tmp_path / "b.txt").write_text("sat on the mat\n")
    command("embed", models / "embeds", "b.txt", "--prompt", "the cat ", "--out", "b.npy")
    command("embed", models / "embeds", "b.txt", "--prompt-name", "query", "--out", "c.npy")
    command("embed", models / "embeds", "the cat sat on the mat", "--out", "d.npy")
    expected = (tmp_path / "d.npy").read_bytes()
    assert (tmp_path / "b.npy").read_bytes() == (tmp_path / "c.npy").read_bytes() == expected
    refused(
        command("embed", models / "embeds", "a", "--prompt-name", "x"),
        "prompt_name is 'x', but the model's prompts are 'query'",
    )


def test_fill(command: Command, models: Path, tmp_path: Path) -> None:
    text = "the [MASK] sat on [MASK]"
    run = command("fill", models / "fills", text, "--top", "2", "--candidates", "cat,dog,mat")
    rows = [line.split("\t") for line in run.out.splitlines()]
    answer = pipeline("fill-mask", models / "fills", candidates=["cat", "dog", "mat"], top_k=2)(text)
    assert [row[:2] for row in rows] == [[one.token, f"{one.score:.4f}"] for mask in answer.masks for one in mask.fills]
    first, second = answer.masks[0].fills[1].token, answer.masks[1].fills[0].token
    assert rows[1][2] == f"the {first} sat on {second}"
    (tmp_path / "a.csv").write_text(f"text\n{text}\nthe [MASK]\n")
    found = rows_of(command("fill", models / "fills", "a.csv", "--json"))
    assert [(row["line"], row["given"], len(row["masks"])) for row in found] == [(2, text, 2), (3, "the [MASK]", 1)]
    command("fill", models / "fills", "a.csv", "--out", "a.parquet", "--top", "1")
    (one, other) = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [mask["start"] for mask in one["masks"]] == [4, 18]
    assert other["given"] == "the [MASK]"


def test_answers_from_files(command: Command, models: Path, tmp_path: Path) -> None:
    context = "the cat sat on the mat"
    (tmp_path / "q.txt").write_text("who sat?\nwhere?\n")
    (tmp_path / "c.txt").write_text(context)
    given = rows_of(command("answer", models / "asks", "who sat?", "where?", "--context", context, "--json"))
    lines = rows_of(command("answer", models / "asks", "q.txt", "--context-file", "c.txt", "--json"))
    assert [{**row, "line": line, "id": str(line)} for line, row in enumerate(given, 1)] == lines
    questions = [{"question": "who sat?", "id": "x"}, {"question": "where?", "id": "y"}]
    squad = {"data": [{"title": "", "paragraphs": [{"context": context, "qas": questions}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    found = rows_of(command("answer", models / "asks", "squad.json", "--json"))
    assert [(row["position"], row["id"], row["text"]) for row in found] == [
        (1, "x", given[0]["text"]),
        (2, "y", given[1]["text"]),
    ]
    assert command("answer", models / "asks", "squad.json", "--out", "a.parquet").code == 0
    (one, _) = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert one["candidates"] == found[0]["candidates"]
    refused(
        command("answer", models / "asks", "squad.json", "--context", "x"),
        "has context of its own; leave --context out",
    )
    refused(command("answer", models / "asks", "q.txt"), "q.txt:1", "no context")
    both = ("--context", "x", "--context-file", "c.txt")
    refused(command("answer", models / "asks", "q.txt", *both), "give one of them")


def test_several_files_and_pairs(command: Command, model_folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"the {name}\n")
    rows = rows_of(command("predict", model_folder, "a.txt", "b.txt", "--json"))
    assert [(row["file"], row["line"], row["text"]) for row in rows] == [("a.txt", 1, "the a"), ("b.txt", 1, "the b")]
    rows = rows_of(command("predict", model_folder, "a.txt", "--pair", "the cat", "--json"))
    (answer,) = pipeline(model=model_folder)([("the a", "the cat")])
    assert rows[0]["scores"] == pytest.approx(answer.scores, abs=1e-6)
    assert rows[0]["pair"] == "the cat"


def test_vectors_of_tokens_and_of_texts(command: Command, model_folder: Path, texts: Path, tmp_path: Path) -> None:
    bare = model_folder.with_name("bare")
    task = ("--task", "feature-extraction")
    assert command("predict", bare, texts, *task, "--out", "a.npy", "--option", "pooling=mean").code == 0
    assert np.load(tmp_path / "a.npy").shape == (36, 16)
    refused(command("predict", bare, texts, *task, "--out", "b.npy"), "one of .jsonl, .csv, .tsv, .parquet")
    assert command("predict", bare, texts, *task, "--out", "b.parquet").code == 0
    (row, *_) = parquet.read_table(tmp_path / "b.parquet").to_pylist()
    assert (len(row["vectors"]), len(row["vectors"][0])) == (len(row["tokens"]), 16)


def test_ranking_into_a_file(command: Command, model_folder: Path, texts: Path, tmp_path: Path) -> None:
    printed = rows_of(command("rank", model_folder, "the dog", texts, "--json", "--top", "3"))
    assert command("rank", model_folder, "the dog", texts, "--out", "a.csv", "--top", "3").code == 0
    written = [record.values for record in read_records(tmp_path / "a.csv")]
    assert [{name: str(value) for name, value in row.items()} for row in printed] == written
    refused(command("rank", model_folder, "the dog", texts, "--out", "a.csv"), "already there")
    refused(command("rank", model_folder, "the dog", texts, "--out", "a.npy"), "expected a name that ends in one of")


@pytest.mark.parametrize(
    ("content", "arguments", "parts"),
    [
        ("", [], ["a.txt: holds no records"]),
        ("\n \n", [], ["a.txt: holds no records"]),
        (b"the caf\xe9\n", [], ["a.txt:1: the byte 0xe9", "--encoding"]),
        ("a\n", ["--part", "3/2", "--out", "o.csv"], ["part is '3/2', expected i/n with i from 1 to n"]),
        ("a\n", ["--part", "x", "--out", "o.csv"], ["part is 'x', expected i/n such as 2/8"]),
        ("a\n", ["--part", "1/2"], ["part is given without out"]),
        ("a\n", ["--overwrite"], ["overwrite is given without out"]),
        ("a\n", ["--out", "o.txt"], ["out is 'o.txt', expected a name that ends in one of .jsonl"]),
        ("a\n", ["--out", "-"], ["out is '-', expected a name that ends"]),
        ("a\n", ["--out", "a.txt/o.csv"], ["cannot write a.txt/o.csv: ", "a.txt is a file"]),
        ("a\n", ["--option", "top_k=3"], ["text-classification has no option 'top_k' for its answers"]),
        ("a\n", ["--option", "top_k"], ["--option is 'top_k', expected NAME=VALUE"]),
        ("a\n", ["--option", "model=x"], ["text-classification has no option 'model' for its answers"]),
        ("a\n", ["--pair", "x", "--pair-column", "y"], ["pair and pair_column are given"]),
        ("a\n", ["--choice", "x"], ["text-classification has no use for --choice; it reads text, pair"]),
        ("a\n", ["--task", "fill-mask"], ["does not do fill-mask; this one does", "text-classification"]),
        ("a\n", ["--task", "tea"], ["task is 'tea', expected one of"]),
        ("a\n", ["a text"], ["a.txt is a file and 'a text' a text"]),
        ("a\n", ["b.csv"], ["b.csv: no such file; a text that ends like the name of a file"]),
        ("a\n", ["-", "--part", "1/2", "--out", "o.csv"], ["standard input cannot be counted"]),
        ("a\n", ["--format", "xml"], ["format is 'xml'"]),
        ("a\n", ["--encoding", "klingon"], ["no encoding is called 'klingon'"]),
    ],
)
def test_bad_use_is_one_line(
    command: Command,
    model_folder: Path,
    tmp_path: Path,
    content: str | bytes,
    arguments: list[str],
    parts: list[str],
) -> None:
    (tmp_path / "a.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(command("predict", model_folder, "a.txt", *arguments), *parts)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["fill", "the cat"], ["there is no [MASK] in the text"]),
        (["fill", "[MASK]", "--top", "100000"], ["top_k is 100000, but the vocabulary has"]),
        (["fill", "[MASK]", "--candidates", "unheard"], ["the candidate 'unheard' cannot stand for a mask"]),
        (["fill", "[MASK]", "--top", "2", "--option", "top_k=3"], ["top_k is given twice"]),
        (["fill", "[MASK]", "--text-column", "x"], ["text_column is given, which is about files"]),
        (["fill", " "], ["the text is empty"]),
        (["embed", "the cat"], ["does not do sentence-embedding; this one does fill-mask"]),
        (["answer", "who?", "--context", "me"], ["does not do question-answering; this one does"]),
    ],
)
def test_bad_use_of_a_masked_language_model(
    command: Command, models: Path, arguments: list[str], parts: list[str]
) -> None:
    refused(command(arguments[0], models / "fills", *arguments[1:]), *parts)


def test_one_that_stops_reading_ends_the_run(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat\n" * 20_000)
    command = f"{shlex.quote(sys.executable)} -m glassbert predict {shlex.quote(str(model_folder))} a.txt | head -1"
    begun = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert time.monotonic() - begun < 100
    closed = f"{command.removesuffix(' | head -1')} >&-"
    # Nobody reads, and nothing is said of it.
    done = subprocess.run(["bash", "-c", closed], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""


@pytest.mark.parametrize("task", ["rank", "search", "similarity"])
def test_what_takes_several_texts_at_once_is_no_task_of_predict(command: Command, models: Path, task: str) -> None:
    refused(command("predict", models / "embeds", "a", "--task", task), f"{task} takes several texts at once")


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """A sample of `python -m tests.cli.killed_answers`, which has many more."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.cli.killed_answers", str(tmp_path), "4", "1"]
    root = Path(killed_answers.__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = re.search(r"kills: (\d+)", done.stdout)
    assert kills is not None
    assert int(kills[1]) >= 4


def test_memory_does_not_grow_with_the_file(model_folder: Path, tmp_path: Path) -> None:
    """A sample of `python -m tests.cli.memory_of_answers`."""
    code = (
        "import resource, sys; from glassbert import files; from glassbert.cli import bulk;"
        "from glassbert.cli.main import main;"
        "bulk.CHUNK, bulk.CHARACTERS, files._TOGETHER = 64, 1 << 18, 1 << 18;"
        "code = main(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr);"
        "sys.exit(code)"
    )
    most = {}
    for lines in (300, 3000):
        with (tmp_path / "a.jsonl").open("w") as file:
            file.writelines(json.dumps({"text": f"the cat {number} " * 500}) + "\n" for number in range(lines))
        command = [sys.executable, "-c", code, "predict", model_folder, "a.jsonl", "--out", f"{lines}.jsonl"]
        done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=True)
        most[lines] = int(done.stderr.split()[-1])
    # The larger file has 18 MB more, and its answers as much.
    assert most[3000] - most[300] < 10_000, most


SHOWN = ("predict", "embed", "fill", "answer", "rank", "evaluate", "export")


def examples() -> list[str]:
    found = []
    for one in app.registered_commands:
        assert one.callback is not None
        if one.callback.__name__ in SHOWN:
            found += [
                line.partition("Example: ")[2]
                for line in (one.callback.__doc__ or "").splitlines()
                if "Example: " in line
            ]
    return found


@pytest.mark.parametrize("example", examples())
def test_the_examples_of_help_run_as_they_stand(command: Command, models: Path, tmp_path: Path, example: str) -> None:
    name, *arguments = shlex.split(example)[1:]
    model = {"embed": "embeds", "fill": "fills", "answer": "asks"}.get(name, "classifier")
    (tmp_path / ("FOLDER" if name == "export" else "OUT")).symlink_to(models / model)
    (tmp_path / "test.tsv").write_text("text\tlabel\nthe cat\ten\nder Hund\tde\n")
    (tmp_path / "texts.txt").write_text("the cat\nder Hund\n")
    (tmp_path / "answers.txt").write_text("the cat\nder Hund\n")
    words = command(name, "--help")
    assert example in " ".join(words.out.replace("│", " ").split())
    if name == "fill":
        arguments = [one.replace("warm,cold,bread", "cat,dog,sun") for one in arguments]
    run = command(name, *arguments)
    assert run.code == 0, run
    assert run.out or "--out" in arguments


def test_examples_are_there() -> None:
    assert {shlex.split(one)[1] for one in examples()} == {*SHOWN}


@pytest.mark.parametrize("name", ["predict", "embed", "fill", "answer"])
def test_help_does_not_wait_for_torch(name: str) -> None:
    code = (
        "import sys; from glassbert.cli.main import main; main(sys.argv[1:]);"
        "print(*({'torch', 'numpy', 'pyarrow'} & sys.modules.keys()), 'end')"
    )
    done = subprocess.run([sys.executable, "-c", code, name, "--help"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split() == ["end"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_what_is_done(model_folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "a.txt").write_text("the cat\n" * 200_000)
    command = [sys.executable, "-m", "glassbert", "predict", model_folder, "a.txt", "--out", "o.jsonl"]
    with subprocess.Popen(list(map(str, command)), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        while not list((tmp_path / "o.jsonl.parts").glob("piece-*.json")):
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(number)
        told = run.stderr.read().splitlines()
        assert run.wait(timeout=60) == 128 + number
    assert told == [
        "note: what was done stands in o.jsonl.parts; the same command goes on with it",
        f"glassbert: error: {'interrupted' if number == signal.SIGINT else 'terminated'}",
    ]
    assert not (tmp_path / "o.jsonl").exists()
