from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from glassbert import DataError, read_records
from glassbert.data import Skipped, to_questions

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def _write(folder: Path, table: Any, **settings: Any) -> Path:
    file = folder / "a.parquet"
    parquet.write_table(table, file, **settings)
    return file


def test_values_are_as_they_are(tmp_path: Path) -> None:
    rows = [
        {"text": "é\u2028", "label": 1, "score": 0.5, "tokens": ["a", "b"], "more": {"x": [1]}, "day": None},
        {"text": None, "label": 2, "score": None, "tokens": [], "more": None, "day": datetime.date(2020, 1, 2)},
    ]
    records = list(read_records(_write(tmp_path, pyarrow.Table.from_pylist(rows))))
    assert [record.values for record in records] == rows
    assert [(record.line, record.position) for record in records] == [(None, 1), (None, 2)]
    assert records[1].get("text") == ""
    assert records[1].get("label") == "2"
    with pytest.raises(DataError, match=r"a\.parquet, record 2: no column 'x'; the columns are 'text', .*'day'$"):
        records[1].get("x")


def test_many_rows_in_several_groups(tmp_path: Path) -> None:
    table = pyarrow.table({"number": list(range(10_000))})
    records = read_records(_write(tmp_path, table, row_group_size=3000))
    assert [(record.value("number"), record.position) for record in records] == [(n, n + 1) for n in range(10_000)]


def test_words_that_stand_in_a_dictionary(tmp_path: Path) -> None:
    table = pyarrow.table({"label": pyarrow.array(["a", "b", "a"]).dictionary_encode()})
    assert [record.get("label") for record in read_records(_write(tmp_path, table))] == ["a", "b", "a"]


def test_questions_of_the_hub(tmp_path: Path) -> None:
    row = {"id": "q", "title": "T", "context": "at noon", "question": "When?"}
    answers = [{"text": ["noon"], "answer_start": [3]}, {"text": [], "answer_start": []}]
    kind = pyarrow.struct({"text": pyarrow.list_(pyarrow.string()), "answer_start": pyarrow.list_(pyarrow.int32())})
    table = pyarrow.Table.from_pylist([row, row]).append_column("answers", pyarrow.array(answers, kind))
    questions = list(to_questions(read_records(_write(tmp_path, table))))
    assert [question.values["is_impossible"] for question in questions] == [False, True]
    assert [question.values["answers"] for question in questions] == answers


def test_bytes_are_told(tmp_path: Path) -> None:
    (record,) = read_records(_write(tmp_path, pyarrow.table({"text": [b"a"]})))
    with pytest.raises(DataError, match="record 1: the column 'text' holds bytes, expected text"):
        record.get("text")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    broken = pyarrow.array([b"a", b"caf\xe9", b"b"]).view(pyarrow.string())
    file = _write(tmp_path, pyarrow.table({"text": broken}))
    with pytest.raises(DataError, match=r"a\.parquet, record 2: text that is not UTF-8: .*0xe9"):
        list(read_records(file))
    skipped = Skipped()
    assert [record.get("text") for record in read_records(file, skip_bad=skipped)] == ["a", "b"]
    assert (skipped.count, skipped.errors[0].position) == (1, 2)


def test_two_columns_with_one_name(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    with pytest.raises(DataError, match=r"a\.parquet: two columns have the same name"):
        list(read_records(_write(tmp_path, table)))


@pytest.mark.parametrize("damage", ["empty", "text", "cut off", "inside"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    file = _write(tmp_path, pyarrow.table({"text": [f"text {number}" for number in range(1000)]}))
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(
        {
            "empty": b"",
            "text": b"text,label\n",
            "cut off": content[:-20],
            "inside": content[: middle - 500] + bytes(1000) + content[middle + 500 :],
        }[damage]
    )
    with pytest.raises(DataError, match=r"a\.parquet: (not readable as Parquet|cannot be read)"):
        list(read_records(file))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.parquet: no such file"):
        list(read_records(tmp_path / "b.parquet"))
    (tmp_path / "c.parquet").mkdir()
    with pytest.raises(DataError, match=r"c\.parquet: is a folder"):
        list(read_records(tmp_path / "c.parquet"))
