from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glassbert import DataError, read_records
from glassbert.data import Record

BLOCK = 1 << 20


def _read(folder: Path, name: str, content: bytes, **settings: Any) -> list[Record]:
    file = folder / name
    file.write_bytes(content)
    return list(read_records(file, **settings))


def _rows(records: list[Record]) -> list[tuple[int, list[str]]]:
    return [(record.line, list(record.values.values())) for record in records]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"text,label\na,b\n", [(2, ["a", "b"])]),
        (b"text,label\na,b", [(2, ["a", "b"])]),
        (b"text,label\r\na,b\r\nc,d\r\n", [(2, ["a", "b"]), (3, ["c", "d"])]),
        (b"\xef\xbb\xbftext,label\na,b\n", [(2, ["a", "b"])]),
        (b'\xef\xbb\xbf"text",label\na,b\n', [(2, ["a", "b"])]),
        (b'text,label\n"a, b",c\n', [(2, ["a, b", "c"])]),
        (b'text,label\n"say ""hi""",c\n', [(2, ['say "hi"', "c"])]),
        (b'text,label\na "b" c,d\n', [(2, ['a "b" c', "d"])]),
        (b"text,label\n a , b \n", [(2, [" a ", " b "])]),
        (b"text,label\n,\n", [(2, ["", ""])]),
        # A quoted field over several lines; the line is that where the row begins.
        (b'text,label\n"a\nb",c\nd,e\n', [(2, ["a\nb", "c"]), (4, ["d", "e"])]),
        (b'text,label\r\n"a\r\n\r\nb",c\r\nd,e\r\n', [(2, ["a\r\n\r\nb", "c"]), (5, ["d", "e"])]),
        # Blank lines are no rows, but they count.
        (b"text,label\n\na,b\n\n\r\nc,d\n\n", [(3, ["a", "b"]), (6, ["c", "d"])]),
        # Nothing but LF ends a line.
        (
            "text,label\na\u2028b\x85c\x0bd\x0ce\x1cf,g\n".encode(),
            [(2, ["a\u2028b\x85c\x0bd\x0ce\x1cf", "g"])],
        ),
        ("text,label\n字é,😀\n".encode(), [(2, ["字é", "😀"])]),
        (b"text,label\na\tb,c\n", [(2, ["a\tb", "c"])]),
        (b"text,label\na\x00b,c\n", [(2, ["a\x00b", "c"])]),
        (b"text,label\n", []),
        (b"\n\n", []),
        (b"", []),
    ],
)
def test_csv(tmp_path: Path, content: bytes, rows: list[tuple[int, list[str]]]) -> None:
    records = _read(tmp_path, "a.csv", content)
    assert _rows(records) == rows
    assert all(list(record.values) == ["text", "label"] for record in records)
    assert {record.file for record in records} <= {str(tmp_path / "a.csv")}


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"text\tlabel\na\tb\n", [(2, ["a", "b"])]),
        (b"text\tlabel\r\na\tb\r\n", [(2, ["a", "b"])]),
        (b"\xef\xbb\xbftext\tlabel\na\tb", [(2, ["a", "b"])]),
        # Quotes are characters as any other, and so are commas.
        (b'text\tlabel\n"a\tb"\n', [(2, ['"a', 'b"'])]),
        (b'text\tlabel\n"a ""b""\tc\n', [(2, ['"a ""b""', "c"])]),
        (b"text\tlabel\na,b\tc\n", [(2, ["a,b", "c"])]),
        (b"text\tlabel\n\n\t\n\r\nc\td\n", [(3, ["", ""]), (5, ["c", "d"])]),
        ("text\tlabel\na\u2028b\x85c\x0bd\x0ce\x1cf\tg\n".encode(), [(2, ["a\u2028b\x85c\x0bd\x0ce\x1cf", "g"])]),
        # A CR inside a line is part of the text; one before LF belongs to the line's end.
        (b"text\tlabel\na\rb\tc\r\n", [(2, ["a\rb", "c"])]),
        (b"text\tlabel\n a \t b \n", [(2, [" a ", " b "])]),
    ],
)
def test_tsv(tmp_path: Path, content: bytes, rows: list[tuple[int, list[str]]]) -> None:
    assert _rows(_read(tmp_path, "a.tsv", content)) == rows


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b'{"text": "a", "label": "b"}\n', [(1, {"text": "a", "label": "b"})]),
        (b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "b"}', [(1, {"text": "a"}), (4, {"text": "b"})]),
        (b'{"text": "a\\nb\\u00e9"}\n', [(1, {"text": "a\nbé"})]),
        ('{"text": "a\u2028b\x85c"}\n'.encode(), [(1, {"text": "a\u2028b\x85c"})]),
        (b'{"a": 1, "b": 1.5, "c": true, "d": null}\n', [(1, {"a": "1", "b": "1.5", "c": "true", "d": ""})]),
        ('{"a": ["é", 1], "b": {"c": 2}}\n'.encode(), [(1, {"a": '["é", 1]', "b": '{"c": 2}'})]),
        (b"{}\n", [(1, {})]),
    ],
)
def test_json_lines(tmp_path: Path, content: bytes, values: list[tuple[int, dict[str, str]]]) -> None:
    records = _read(tmp_path, "a.jsonl", content)
    assert [(record.line, record.values) for record in records] == values


@pytest.mark.parametrize("name", ["a.CSV", "a.b.Csv"])
def test_the_case_of_the_ending_does_not_count(tmp_path: Path, name: str) -> None:
    assert _rows(_read(tmp_path, name, b"text\na\n")) == [(2, ["a"])]


@pytest.mark.parametrize(("name", "sign"), [("a.csv", ","), ("a.tsv", "\t")])
def test_without_a_header_columns_have_numbers(tmp_path: Path, name: str, sign: str) -> None:
    records = _read(tmp_path, name, f"x{sign}x\n1{sign}2\n".encode(), header=False)
    assert [record.values for record in records] == [{"0": "x", "1": "x"}, {"0": "1", "1": "2"}]
    assert [record.line for record in records] == [1, 2]


@pytest.mark.parametrize(
    ("column", "value"), [("text", "a"), ("label", "b"), ("0", "a"), ("1", "b"), ("3", "d"), ("2", "d")]
)
def test_a_column_has_a_name_and_a_number(tmp_path: Path, column: str, value: str) -> None:
    # A name goes before a number: the last column is called 2.
    (record,) = _read(tmp_path, "a.csv", b"text,label,x,2\na,b,c,d\n")
    assert record.get(column) == value


@pytest.mark.parametrize("column", ["sentence", "2", "-1", "", "Text", "1.0"])
def test_a_column_that_is_not_there_names_those_that_are(tmp_path: Path, column: str) -> None:
    _, record = _read(tmp_path, "a.csv", b"text,label\na,b\nc,d\n")
    with pytest.raises(DataError) as caught:
        record.get(column)
    hint = " (a file without a header row needs --no-header)"
    assert str(caught.value) == f"{tmp_path / 'a.csv'}:3: no column {column!r}; the columns are 'text', 'label'{hint}"


@pytest.mark.parametrize(
    ("name", "content", "place", "message"),
    [
        ("a.csv", b"text,label\na,b\nc\n", ":3", "1 fields, expected 2"),
        ("a.csv", b'text,label\n"a\nb",c\n\nd,e,f\n', ":5", "3 fields, expected 2"),
        ("a.tsv", b"text\tlabel\n\na\tb\tc\n", ":3", "3 fields, expected 2"),
        ("a.csv", b"text,text\na,b\n", ":1", "two columns of the header have the same name"),
        ("a.tsv", b"\na\tb\ta\n", ":2", "two columns of the header have the same name"),
        ("a.csv", b'text,label\na,b\n"c,d\ne,f\n', ":3", "not readable as CSV"),
        ("a.csv", b'text,label\n"a\nb",c\n"d"e,f\n', ":4", "not readable as CSV"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": \n{}\n', ":3", "not readable as JSON"),
        ("a.jsonl", b'{"text": "a"}\nnonsense\n', ":2", "not readable as JSON"),
        ("a.jsonl", b'{"text": "a\tb"}\n', ":1", "not readable as JSON"),
        ("a.jsonl", b"[" * 100_000, ":1", "not readable as JSON"),
        ("a.jsonl", b'{}\n["a"]\n', ":2", "expected a JSON object, found list"),
        ("a.jsonl", b'{}\n{}\n"a"\n', ":3", "expected a JSON object, found str"),
        ("a.jsonl", b"null\n", ":1", "expected a JSON object, found NoneType"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(
    tmp_path: Path, name: str, content: bytes, place: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, name, content)
    assert str(caught.value).startswith(f"{tmp_path / name}{place}: {message}")
    assert caught.value.file == tmp_path / name
    assert caught.value.line == int(place[1:])


def test_the_rows_before_a_broken_one_come_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{\n')
    records = read_records(tmp_path / "a.jsonl")
    assert next(records).values == {"text": "a"}
    with pytest.raises(DataError):
        next(records)


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b"text,label\na\xffb,c\n", 12),
        (b"\xff", 0),
        # The byte where a character breaks off, wherever the blocks of reading end.
        (b"text\n" + b"a" * (BLOCK - 5) + b"\xff\n", BLOCK),
        (b"text\n" + b"a" * (BLOCK + 100) + b"\xff\n", BLOCK + 105),
        (b"text\n" + b"a" * (BLOCK - 6) + b"\xe5\xad\xff\n", BLOCK - 1),
        (b"text\n" + b"a" * (BLOCK - 7) + b"\xe5\xad\xff\n", BLOCK - 2),
        (b"text\n" + b"a" * (3 * BLOCK - 6) + b"\xf0\x9f\x98a\n", 3 * BLOCK - 1),
        # A file that ends within a character, also right at the end of a block.
        (b"text\nab\xe5\xad", 7),
        (b"text\n" + b"a" * (BLOCK - 6) + b"\xe5", BLOCK - 1),
    ],
)
def test_a_byte_that_is_not_utf8_is_named_by_its_offset(tmp_path: Path, content: bytes, offset: int) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, "a.csv", content)
    message = (
        f"the byte {content[offset]:#04x} at offset {offset} is not utf-8; name the file's encoding with --encoding"
    )
    line = content[:offset].count(b"\n") + 1
    assert str(caught.value) == f"{tmp_path / 'a.csv'}:{line}: {message}"


def test_the_line_of_a_byte_in_an_encoding_with_states(tmp_path: Path) -> None:
    # U+0A0D holds the byte of a line end; half of a surrogate pair stands in line 3.
    content = "text\n\u0a0d\na".encode("utf-16") + b"\x00\xdc" + "\n".encode("utf-16-le")
    with pytest.raises(DataError, match=r"a\.csv:3: the byte 0x00 at offset 18 is not utf-16") as caught:
        _read(tmp_path, "a.csv", content, encoding="utf-16")
    assert caught.value.line == 3


def test_the_offset_counts_the_byte_order_mark(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0xff at offset 9 "):
        _read(tmp_path, "a.csv", b"\xef\xbb\xbftext\na\xff\n")


@pytest.mark.parametrize("shift", range(-4, 4))
def test_a_character_across_the_border_of_two_blocks_is_whole(tmp_path: Path, shift: int) -> None:
    text = "a" * (BLOCK - 5 + shift) + "😀字é" * 3 + "\u2028" + "b" * 10
    assert _rows(_read(tmp_path, "a.tsv", f"text\n{text}\nlast\n".encode())) == [(2, [text]), (3, ["last"])]


@pytest.mark.parametrize("shift", range(-2, 3))
def test_a_line_end_across_the_border_of_two_blocks_is_one(tmp_path: Path, shift: int) -> None:
    text = "a" * (BLOCK - 7 + shift)
    assert _rows(_read(tmp_path, "a.csv", f"text\r\n{text}\r\nlast\r\n".encode())) == [(2, [text]), (3, ["last"])]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b"\xef\xbb\xbf"),
        ("UTF-8", b"\xef\xbb\xbf"),
        ("utf8", b"\xef\xbb\xbf"),
        pytest.param("utf_8", b"\xef\xbb\xbf"),
        ("utf-8-sig", b""),  # Python writes the mark
        ("latin-1", b""),
        ("cp1252", b""),
        ("utf-16", b""),
        ("utf-16-le", b""),
        pytest.param("utf-16-le", b"\xff\xfe"),
        ("utf-32", b""),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, mark: bytes) -> None:
    content = mark + "text,label\nCafé,ü\n".encode(encoding)
    (record,) = _read(tmp_path, "a.csv", content, encoding=encoding)
    assert record.values == {"text": "Café", "label": "ü"}


def test_utf16_splits_at_line_ends_alone(tmp_path: Path) -> None:
    # U+0A0D and U+0D0A hold the bytes of line ends.
    content = "text\n\u0a05\u0d0a\u2028\r\nb".encode("utf-16")
    assert _rows(_read(tmp_path, "a.tsv", content, encoding="utf-16")) == [(2, ["\u0a05\u0d0a\u2028"]), (3, ["b"])]


def test_a_byte_that_is_not_of_the_named_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0x81 at offset 6 is not cp1252"):
        _read(tmp_path, "a.csv", b"text\na\x81", encoding="cp1252")


@pytest.mark.parametrize(
    "encoding",
    [
        "klingon",
        "",
        pytest.param("base64"),
        pytest.param("rot13"),
        pytest.param("undefined"),
    ],
)
def test_what_is_no_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match="encoding"):
        _read(tmp_path, "a.csv", b"text\na\n", encoding=encoding)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.json", "a.csv.gz", "csv"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"expected one of \.csv, \.tsv, \.jsonl"):
        _read(tmp_path, name, b"text\na\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(read_records(tmp_path / "a.csv"))
    assert str(caught.value) == f"{tmp_path / 'a.csv'}: no such file"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match=r"a\.csv: is a folder"):
        list(read_records(tmp_path / "a.csv"))


@pytest.mark.parametrize("name", ["file/a.csv", "a" * 300 + ".csv"])
def test_a_path_that_the_system_refuses(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be read"):
        list(read_records(tmp_path / name))


def test_the_file_is_named_as_the_user_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\na\n")
    monkeypatch.chdir(tmp_path)
    (record,) = read_records("./a.csv")
    assert record.file == "./a.csv"


def test_a_long_field_is_no_error(tmp_path: Path) -> None:
    text = "a" * 300_000
    assert _rows(_read(tmp_path, "a.csv", f'text\n"{text}"\n'.encode())) == [(2, [text])]


@pytest.mark.parametrize(
    ("name", "header", "count", "columns"),
    [
        ("sst2/train.tsv", False, 6920, ["0", "1"]),
        ("sst2/dev.tsv", False, 872, ["0", "1"]),
        ("banking77/train.csv", True, 10003, ["text", "category"]),
        ("chnsenticorp/train.tsv", True, 9600, ["label", "text_a"]),
        ("rte/train.tsv", True, 2490, ["index", "sentence1", "sentence2", "label"]),
        ("rte/test.tsv", True, 3000, ["index", "sentence1", "sentence2"]),
        ("stsb/stsb-en-train.csv", False, 5749, ["0", "1", "2"]),
        ("stsb/stsb-en-dev.csv", False, 1500, ["0", "1", "2"]),
        ("stsb/stsb-zh-train.csv", False, 5749, ["0", "1", "2"]),
        ("cosmosqa/valid.csv", True, 2985, ["id", "context", "question", *(f"answer{i}" for i in range(4)), "label"]),
        (
            "commonsenseqa/dev_rand_split.jsonl",
            True,
            1221,
            ["id", "question", "question_concept", "choices", "answerKey"],
        ),
        ("xcopa/val.zh.jsonl", True, 100, ["premise", "choice1", "choice2", "question", "label", "idx", "changed"]),
    ],
)
def test_real_files(shared: Path, name: str, header: bool, count: int, columns: list[str]) -> None:
    records = list(read_records(shared / "data" / name, header=header))
    assert len(records) == count
    assert list(records[0].values) == columns


def test_scores_of_a_real_file(shared: Path) -> None:
    records = read_records(shared / "data/stsb/stsb-en-train.csv", header=False)
    assert len({float(record.get("2")) for record in records}) == 140


def test_lines_of_a_real_file_with_line_ends_inside_quotes(shared: Path) -> None:
    *_, last = read_records(shared / "data/banking77/train.csv")
    assert last.line == 10017


def test_categories_of_a_real_file(shared: Path) -> None:
    records = read_records(shared / "data/banking77/train.csv")
    names = json.loads((shared / "data/banking77/categories.json").read_text("utf-8"))
    assert {record.get("category") for record in records} == set(names)
