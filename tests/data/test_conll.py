from __future__ import annotations

from pathlib import Path

import pytest

from glassbert import DataError, read_records
from glassbert.data import Record, Skipped


def _read(folder: Path, content: str | bytes, skipped: Skipped | None = None) -> list[Record]:
    file = folder / "a.conll"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_records(file, skip_bad=skipped))


def _sentences(records: list[Record]) -> list[tuple[int | None, list[str], list[str]]]:
    return [(record.line, record.strings("tokens"), record.strings("tags")) for record in records]


@pytest.mark.parametrize(
    ("content", "sentences"),
    [
        ("Ann\tB-PER\nsings\tO\n\nLima\tB-LOC\n", [(1, ["Ann", "sings"], ["B-PER", "O"]), (4, ["Lima"], ["B-LOC"])]),
        ("Ann B-PER\nsings  O\n\nLima B-LOC", [(1, ["Ann", "sings"], ["B-PER", "O"]), (4, ["Lima"], ["B-LOC"])]),
        ("\ufeffAnn\tO\r\n\r\nLima\tO\r\n", [(1, ["Ann"], ["O"]), (3, ["Lima"], ["O"])]),
        # Lines of white space end a sentence, several as one does.
        ("a\tO\n\t\nb\tO\n  \n \t \n\nc\tO\n\n", [(1, ["a"], ["O"]), (3, ["b"], ["O"]), (7, ["c"], ["O"])]),
        ("-DOCSTART- O\n\na O\n-DOCSTART- O\nb O\n", [(3, ["a"], ["O"]), (5, ["b"], ["O"])]),
        ("-DOCSTART- -X- -X- O\n\na NN O\n", [(3, ["a"], ["O"])]),
        # What Python takes for white space may be a token, or part of one.
        ("\u3000\tO\na\u00a0b\tO\n\u2028\tO\n", [(1, ["\u3000", "a\u00a0b", "\u2028"], ["O", "O", "O"])]),
        ("\u3000 O\n\x85 O\n", [(1, ["\u3000", "\x85"], ["O", "O"])]),
        ("a b\tO\n", [(1, ["a b"], ["O"])]),
        ("# O\n#tag O\n", [(1, ["#", "#tag"], ["O", "O"])]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_sentences(tmp_path: Path, content: str, sentences: list[tuple[int, list[str], list[str]]]) -> None:
    assert _sentences(_read(tmp_path, content)) == sentences


def test_columns_between_the_first_and_the_last_have_numbers(tmp_path: Path) -> None:
    (record,) = _read(tmp_path, "Ann NNP I-NP B-PER\nsings VBZ I-VP O\n")
    assert list(record.values) == ["tokens", "1", "2", "tags"]
    assert record.strings("1") == ["NNP", "VBZ"]
    assert record.strings("0") == record.strings("tokens") == ["Ann", "sings"]
    assert record.strings(3) == record.strings("tags") == ["B-PER", "O"]


def test_a_file_to_predict_on_has_tokens_alone(tmp_path: Path) -> None:
    records = _read(tmp_path, "Ann\nsings\n\nLima\n")
    assert [record.values for record in records] == [{"tokens": ["Ann", "sings"]}, {"tokens": ["Lima"]}]
    with pytest.raises(DataError, match=r"a\.conll:1: no column 'tags'; the columns are 'tokens'$"):
        records[0].strings("tags")


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("a\tO\n\nb\tO\nc\n", 4, "1 column, expected 2"),
        ("a\tO\nb O\n", 2, "1 column, expected 2"),
        ("a O\nb NN O\n", 2, "3 columns, expected 2"),
        ("a\tO\n\tO\n", 2, "column 0 is empty"),
        ("a\tO\nb\t\n", 2, "column 1 is empty"),
        ("a\tO\nb\tO\t\n", 2, "3 columns, expected 2"),
    ],
)
def test_a_line_with_other_columns_is_named(tmp_path: Path, content: str, line: int, message: str) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, content)
    assert str(caught.value) == f"{tmp_path / 'a.conll'}:{line}: {message}"


def test_a_sentence_with_a_bad_line_is_skipped_as_a_whole(tmp_path: Path) -> None:
    skipped = Skipped()
    content = b"a\tO\n\nb\tO\nc\nd\nb\tO\n\ne\tO\n\nf\tO\n\xed\xa0\xbd\tO\n\ng\tO\n"
    assert [record.strings("tokens") for record in _read(tmp_path, content, skipped)] == [["a"], ["e"], ["g"]]
    assert [error.line for error in skipped.errors] == [4, 11]
    assert skipped.count == 2
