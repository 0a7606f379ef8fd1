"""`glassbert rank`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glassbert import pipeline
from glassbert.infer import rank
from tests.cli.conftest import SENTENCES, Command

QUERY = "the dog"
TEXTS = [text for text, _ in SENTENCES]


def test_the_best_lines_of_a_file(command: Command, model_folder: Path, tmp_path: Path) -> None:
    lines = [*TEXTS[:4], "", *TEXTS[4:]]
    (tmp_path / "docs.txt").write_text("\r\n".join(lines) + "\n", encoding="utf-8")
    run = command("rank", model_folder, QUERY, "docs.txt", "--top", "3")
    assert run.code == 0
    expected = rank(pipeline(model=model_folder), QUERY, TEXTS, top=3)
    rows = [line.split("\t") for line in run.out.splitlines()]
    assert rows == [[f"{one.score:.4f}", str(one.index + 1 + (one.index >= 4)), one.text] for one in expected]
    assert "the probability of 'en'; 12 documents" in run.err
    assert "1 empty line was passed over" in run.err
    other = command("rank", model_folder, QUERY, "docs.txt", "--top", "1", "--label", "de")
    assert "the probability of 'de'" in other.err


def test_json_and_tables(command: Command, model_folder: Path, tmp_path: Path) -> None:
    long = "a mat " * 40
    (tmp_path / "docs.csv").write_text(f"id,body\n1,the cat\n2,{long}\n", encoding="utf-8")
    run = command("rank", model_folder, QUERY, "docs.csv", "--text-column", "body", "--json")
    found = [json.loads(line) for line in run.out.splitlines()]
    assert [one["rank"] for one in found] == [1, 2]
    assert {one["line"]: one["text"] for one in found} == {2: "the cat", 3: long}
    assert {one["line"]: one["cut"] > 0 for one in found} == {2: False, 3: True}
    assert "1 of 2 texts are longer than 32 tokens" in run.err
    (tmp_path / "docs.json").write_text('[{"text": "the cat"}]', encoding="utf-8")
    (one,) = map(json.loads, command("rank", model_folder, QUERY, "docs.json", "--json").out.splitlines())
    assert (one["position"], "line" in one) == (1, False)
    (tmp_path / "docs.tsv").write_text("the cat\n", encoding="utf-8")
    assert "\t1\tthe cat" in command("rank", model_folder, QUERY, "docs.tsv", "--no-header").out


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("docs.txt", "\n\n", "docs.txt: holds no documents"),
        ("docs.csv", "text\na\n", ""),
        ("docs.csv", "x\na\n", "docs.csv:2: which column is the text?"),
        ("docs.jsonl", '{"text": "a"}\n{"text": " "}\n', "docs.jsonl:2: the document is empty"),
        ("missing.txt", None, "missing.txt: no such file"),
        ("docs.txt", b"\xff\xfe\xff", "is not utf-8"),
    ],
)
def test_what_cannot_be_read_is_named(
    file: str, content: str | bytes | None, message: str, command: Command, model_folder: Path, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    run = command("rank", model_folder, QUERY, file)
    assert run.code == (2 if message else 0)
    assert message in run.err


def test_what_cannot_rank_is_named(command: Command, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text("a\n", encoding="utf-8")
    run = command("rank", model_folder, QUERY, "docs.txt", "--label", "fr")
    assert (run.code, run.out) == (2, "")
    assert "expected one of the model's classes: de, en" in run.err
    assert command("rank", model_folder, "", "docs.txt").code == 2
    assert command("rank", model_folder, QUERY, "docs.txt", "--top", "0").code == 2
