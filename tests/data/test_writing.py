"""Answers as files: what is written is what is read again, and pieces joined are the whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from glassbert import InputError, read_records
from glassbert.data.writing import writer_of

KINDS = {
    "line": "int64",
    "text": "string",
    "score": "double",
    "start": "int64",
    "good": "bool",
    "scores": {"a": "double", "b": "double"},
    "found": [{"text": "string", "end": "int64"}],
    "vector": ["float"],
}
STRANGE = ['a "quoted", one', "tab\there", "two\r\nlines", "back\\slash \\t", " edges ", "\u2028é字", "", "=1+1", "\r"]


def row(number: int, text: str) -> dict[str, Any]:
    return {
        "line": number,
        "text": text,
        "score": number / 7,
        "start": None if number % 2 else number,
        "good": bool(number % 2),
        "scores": {"a": 0.25, "b": 1e-12},
        "found": [] if number % 3 else [{"text": text, "end": 3}],
        "vector": [0.5, -1.25],
    }


ROWS = [row(number, text) for number, text in enumerate(STRANGE)]


def written(file: Path, parts: Sequence[Sequence[Any]], kinds: Any = KINDS) -> Path:
    writer = writer_of(file)
    pieces = [file.with_name(f"{file.name}-{number}") for number in range(len(parts))]
    for piece, rows in zip(pieces, parts, strict=True):
        writer.write(piece, rows, kinds)
    writer.join(pieces, file, kinds)
    return file


def parts(count: int) -> list[list[dict[str, Any]]]:
    return [ROWS[:count], ROWS[count : count + 1], ROWS[count + 1 :]]


def test_json_lines_are_the_rows(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", parts(4))
    assert [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]] == ROWS
    assert [record.values for record in read_records(file)] == ROWS


def test_a_csv_is_read_again_as_it_was(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", parts(3))
    records = list(read_records(file))
    assert [record.get("text") for record in records] == STRANGE
    assert [record.get("start") for record in records] == [
        "" if one["start"] is None else str(one["start"]) for one in ROWS
    ]
    assert [float(record.get("score")) for record in records] == [one["score"] for one in ROWS]
    for name in ("scores", "found", "vector", "good"):
        assert [json.loads(record.get(name)) for record in records] == [one[name] for one in ROWS]


def test_a_row_of_a_tsv_is_a_line_and_nothing_is_lost(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tsv", parts(3))
    lines = file.read_bytes().decode().split("\n")
    assert len(lines) == len(ROWS) + 2
    texts = [record.get("text") for record in read_records(file)]
    signs = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}
    for text, wanted in zip(texts, STRANGE, strict=True):
        found, place = "", 0
        while place < len(text):
            step = 2 if text[place] == "\\" else 1
            found += signs[text[place : place + 2]] if step == 2 else text[place]
            place += step
        assert found == wanted


def test_parquet_keeps_lists_and_objects_and_what_is_none(tmp_path: Path) -> None:
    file = written(tmp_path / "a.parquet", parts(5))
    assert [record.values for record in read_records(file)] == ROWS
    schema = parquet.read_schema(file)
    assert str(schema.field("scores").type) == "struct<a: double, b: double>"
    assert str(schema.field("vector").type) == "list<element: float>"
    # All None in one piece, and still the same column.
    only = [dict(one, start=None, found=[]) for one in ROWS]
    assert parquet.read_schema(written(tmp_path / "b.parquet", [only[:2], only[2:]])).equals(schema)


def test_vectors_are_one_array_that_can_be_mapped(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    parts = [[None], [vectors[0], None], list(vectors[1:])]
    file = written(tmp_path / "a.npy", parts, {"vector": 3})
    found = np.load(file, mmap_mode="r")
    assert (found.dtype, found.shape, isinstance(found, np.memmap)) == (np.float32, (6, 3), True)
    np.testing.assert_array_equal(found[[1, 3, 4, 5]], vectors)
    assert np.isnan(found[[0, 2]]).all()
    np.save(tmp_path / "b.npy", vectors)
    written(tmp_path / "c.npy", [list(vectors[:1]), list(vectors[1:])], {"vector": 3})
    assert (tmp_path / "b.npy").read_bytes() == (tmp_path / "c.npy").read_bytes()


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_a_file_without_rows(tmp_path: Path, ending: str) -> None:
    file = written(tmp_path / f"a.{ending}", [[]])
    assert list(read_records(file)) == []
    if ending == "parquet":
        assert parquet.read_schema(file).names == list(KINDS)


def test_endings_that_nothing_stands_for() -> None:
    with pytest.raises(InputError, match=r"out is 'a.txt', expected a name that ends in one of .jsonl, .csv, .tsv"):
        writer_of("a.txt")
    with pytest.raises(InputError, match=r"out is 'a.npy', expected a name that ends in one of .jsonl.*parquet$"):
        writer_of("a.npy", vectors=False)
