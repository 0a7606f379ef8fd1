from __future__ import annotations

import csv
import gzip
import hashlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glassbert import DataError, InputError, read_records
from glassbert.data import Record, Skipped, as_records, data_hash, decoding, tables

BLOCK = 1 << 20


def _read(folder: Path, name: str, content: bytes, **settings: Any) -> list[Record]:
    file = folder / name
    file.write_bytes(content)
    return list(read_records(file, **settings))


def _rows(records: list[Record]) -> list[tuple[int | None, list[str]]]:
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
        (b'{"a": 1, "b": 1.5, "c": true, "d": null}\n', [(1, {"a": 1, "b": 1.5, "c": True, "d": None})]),
        ('{"a": ["é", 1], "b": {"c": 2}}\n'.encode(), [(1, {"a": ["é", 1], "b": {"c": 2}})]),
        (b"{}\n", [(1, {})]),
    ],
)
def test_json_lines(tmp_path: Path, content: bytes, values: list[tuple[int, dict[str, Any]]]) -> None:
    records = _read(tmp_path, "a.jsonl", content)
    assert [(record.line, record.values) for record in records] == values


@pytest.mark.parametrize("name", ["a.CSV", "a.b.Csv"])
def test_the_case_of_the_ending_does_not_count(tmp_path: Path, name: str) -> None:
    assert _rows(_read(tmp_path, name, b"text\na\n")) == [(2, ["a"])]


@pytest.mark.parametrize(
    ("header", "names"),
    [("v1,v2,,,", ["v1", "v2", "2", "3", "4"]), (",text,label", ["", "text", "label"]), (",,text", ["0", "1", "text"])],
)
def test_several_columns_without_a_name_have_numbers(tmp_path: Path, header: str, names: list[str]) -> None:
    row = [f"x{place}" for place in range(len(names))]
    (tmp_path / "a.csv").write_text(f"{header}\n{','.join(row)}\n")
    (record,) = read_records(tmp_path / "a.csv")
    assert record.values == dict(zip(names, row, strict=True))


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
        ("a.csv", b"text,label\na,b\nc\n", ":3", "1 field, expected 2"),
        ("a.csv", b'text,label\n"a\nb",c\n\nd,e,f\n', ":5", "3 fields, expected 2"),
        ("a.tsv", b"text\tlabel\n\na\tb\tc\n", ":3", "3 fields, expected 2"),
        ("a.csv", b"text,text\na,b\n", ":1", "the header names a column 'text' twice; rename one"),
        ("a.tsv", b"\na\tb\ta\n", ":2", "the header names a column 'a' twice"),
        ("a.csv", b"text,2,,\na,b,c,d\n", ":1", "the header names a column '2' twice"),
        ("a.csv", b'text,label\na,b\n"c,d\ne,f\n', ":3", "not readable as CSV"),
        ("a.csv", b'text,label\n"a\nb",c\n"d"e,f\n', ":4", "not readable as CSV"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": \n{}\n', ":3", "not readable as JSON"),
        ("a.jsonl", b'{"text": "a"}\nnonsense\n', ":2", "not readable as JSON"),
        ("a.jsonl", b'{"text": "a\tb"}\n', ":1", "not readable as JSON"),
        ("a.jsonl", b"[" * 100_000, ":1", "not readable as JSON"),
        ("a.jsonl", b'{}\n["a"]\n', ":2", "expected a JSON object, found list"),
        ("a.jsonl", b'{}\n{}\n"a"\n', ":3", "expected a JSON object, found str"),
        ("a.jsonl", b"null\n", ":1", "expected a JSON object, found NoneType"),
        ("a.jsonl", b'{"a": NaN}\n', ":1", "not readable as JSON: NaN is no JSON number"),
        ("a.jsonl", b'{"a": [-Infinity]}\n', ":1", "not readable as JSON: -Infinity is no JSON number"),
        ("a.jsonl", b'{}\n{"a": {"b": 1, "b": 1}}\n', ":2", "not readable as JSON: the key 'b' stands there twice"),
        ("a.jsonl", b'{"a": ["\\ud83d"]}\n', ":1", "not readable as JSON: half of a character"),
        (
            "a.csv",
            b'text,label\na,b\n"c\n"d,e\n',
            ":3",
            "not readable as CSV: ',' expected after '\"' in a row that goes on",
        ),
        (
            "a.csv",
            b'text,label\na,"b\nc,d\n',
            ":2",
            "not readable as CSV: a field that is opened by a quote here is never",
        ),
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


@pytest.mark.parametrize("name", ["a.txt", "a", "a.csv.zip", "a.gz", "csv"])
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


# What is said about the format


@pytest.mark.parametrize(
    ("name", "settings", "content", "rows"),
    [
        ("a.csv", {"quoting": "none"}, b'text,label\n"a,b"\n', [(2, ['"a', 'b"'])]),
        ("a.csv", {"quoting": "csv"}, b'text,label\n"a,b",c\n', [(2, ["a,b", "c"])]),
        ("a.tsv", {"quoting": "csv"}, b'text\tlabel\n"a\tb\n"\tc\nd\te', [(2, ["a\tb\n", "c"]), (4, ["d", "e"])]),
        ("a.tsv", {"quoting": "none"}, b'text\tlabel\n"a\tb"\n', [(2, ['"a', 'b"'])]),
        ("a.txt", {"format": "tsv"}, b'text\tlabel\n"a\tb"\n', [(2, ['"a', 'b"'])]),
        ("a.csv", {"format": "jsonl"}, b'{"a": "b"}\n', [(1, ["b"])]),
    ],
)
def test_quoting_and_format_are_as_asked_for(
    tmp_path: Path, name: str, settings: dict[str, Any], content: bytes, rows: list[tuple[int, list[str]]]
) -> None:
    assert _rows(_read(tmp_path, name, content, **settings)) == rows


@pytest.mark.parametrize("settings", [{"format": "xml"}, {"quoting": "all"}])
def test_what_is_no_format_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected one of"):
        read_records("a.csv", **settings)


def test_rows_of_another_length_hint_at_quotes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 fields, expected 2; --quoting csv reads quotes otherwise"):
        _read(tmp_path, "a.tsv", b'text\tlabel\n"a\tb"\tc\n')
    with pytest.raises(DataError, match="expected 2; --quoting none reads quotes otherwise"):
        _read(tmp_path, "a.csv", b'text,label\n5" a,b,c\n')


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv.gz", b"text\na\nb\n"), ("a.JSONL.GZ", b'{"text": "a"}\n{"text": "b"}\n')]
)
def test_compressed_by_gzip(tmp_path: Path, name: str, content: bytes) -> None:
    records = _read(tmp_path, name, gzip.compress(content))
    assert [record.get("text") for record in records] == ["a", "b"]


PACKED = gzip.compress(b"text\n" + b"abc\n" * 100 + bytes(range(48, 90)))


@pytest.mark.parametrize("content", [PACKED[:-9], b"x" + PACKED, PACKED[:40], PACKED[:20] + b"\xff" * 5 + PACKED[25:]])
def test_a_damaged_gzip_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.csv\.gz: cannot be read: "):
        _read(tmp_path, "a.csv.gz", content)
    with pytest.raises(DataError, match="no such file"):
        list(read_records(tmp_path / "b.csv.gz"))


def test_a_file_without_lines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_LONGEST_LINE", BLOCK)
    assert len(_read(tmp_path, "a.tsv", b"text\n" + b"a" * BLOCK + b"\n")) == 1
    with pytest.raises(DataError, match=r"a\.tsv:2: a line of more than 1,048,576 characters"):
        _read(tmp_path, "a.tsv", b"text\n" + b"a" * (3 * BLOCK) + b"\n")


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = csv.field_size_limit(100)
    try:
        monkeypatch.setattr(tables, "_LONGEST_FIELD", 1000)
        with pytest.raises(DataError, match=r"a\.csv:3: .* never closed; --quoting none"):
            _read(tmp_path, "a.csv", b'text,label\na,b\n"c,d\n' + b"e,f\n" * 1000 + b'"')
        csv.field_size_limit(5000)
        assert len(_read(tmp_path, "a.csv", b'text\n"' + b"e,f\n" * 1000 + b'"')) == 1
        assert csv.field_size_limit() == 5000  # of a larger limit nothing is taken away
    finally:
        csv.field_size_limit(before)


# Bad records that are to be skipped


@pytest.mark.parametrize(
    ("name", "content", "texts", "errors"),
    [
        ("a.csv", b"text,label\na,b\nc\nd,e\n", ["a", "d"], [(3, "1 field, expected 2")]),
        ("a.csv", b'text,label\n"a"b,c\n"d\n"e,f\ng,h\n', ["g"], [(2, "not readable"), (3, "not readable")]),
        ("a.csv", b"text,label\na\xff,b\nc,d\n", ["c"], [(2, "the byte 0xff is not")]),
        ("a.csv", b'text,label\n"a\n\xe9",b\nc,d\n', ["c"], [(2, "the byte 0xe9 is not")]),
        ("a.tsv", b"text\tlabel\na\tb\tc\nd\te\n\xed\xa0\xbd\tf\n", ["d"], [(2, "3 fields"), (4, "the byte 0xed")]),
        (
            "a.jsonl",
            b'{"text": "a"}\n{\n[]\n{"text": "\xff"}\n{"text": "b"}',
            ["a", "b"],
            [(2, ""), (3, ""), (4, "the")],
        ),
        ("a.jsonl", b'{"text": NaN}\n{"text": "\\ud800"}\n{"text": "b"}', ["b"], [(1, "not"), (2, "not")]),
    ],
)
def test_bad_records_are_skipped_counted_and_listed(
    tmp_path: Path, name: str, content: bytes, texts: list[str], errors: list[tuple[int, str]]
) -> None:
    skipped = Skipped()
    records = _read(tmp_path, name, content, skip_bad=skipped)
    assert [record.get("text") for record in records] == texts
    assert skipped.count == len(skipped.errors) == len(errors)
    for error, (line, reason) in zip(skipped.errors, errors, strict=True):
        assert (error.file, error.line) == (tmp_path / name, line)
        assert error.reason.startswith(reason)
    with pytest.raises(DataError):
        _read(tmp_path, name, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,te\xffxt\na,b\n"),
        ("a.csv", b'"text"a,label\na,b\n'),
        ("a.csv", b"text,text\na,b\n"),
        ("a.csv", b'text,label\n"a,b\nc,d\n'),
        ("a.json", b'[{"text": "a"}, {"text": }, {"text": "b"}]'),
    ],
)
def test_what_leaves_nothing_to_go_on_with_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    skipped = Skipped()
    with pytest.raises(DataError):
        _read(tmp_path, name, content, skip_bad=skipped)
    with pytest.raises(DataError, match="no such file"):
        list(read_records(tmp_path / "b.csv", skip_bad=skipped))
    assert skipped.count == 0


def test_what_was_skipped_is_said() -> None:
    skipped = Skipped(most=2)
    assert str(skipped) == "0 bad records skipped"
    for line in range(1, 6):
        skipped.add(DataError("is bad", file="a.csv", line=line))
        if line == 1:
            assert str(skipped) == "1 bad record skipped:\n  a.csv:1: is bad"
    assert str(skipped) == "5 bad records skipped:\n  a.csv:1: is bad\n  a.csv:2: is bad\n  … and 3 more"


# Other sources


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\na\n")
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "b"}\n')
    paths: list[str | Path] = [tmp_path / "a.csv", str(tmp_path / "b.jsonl")]
    records = list(as_records(paths))
    assert [(record.get("text"), record.file) for record in records] == [("a", str(paths[0])), ("b", str(paths[1]))]
    assert [record.get("text") for record in as_records(paths[0])] == ["a"]
    assert list(as_records([])) == []


def test_objects_in_memory_are_records() -> None:
    given = {"text": "a", "label": 1}
    rows: list[dict[str, Any]] = [given, {"text": None, "label": 2}]
    first, second = as_records(rows)
    assert (first.values, first.file, first.line, first.position) == (given, "<list>", None, 1)
    assert (second.get("text"), second.get("label")) == ("", "2")
    first.values["text"] = "changed"
    assert given["text"] == "a"
    with pytest.raises(DataError, match=r"^<list>, record 2: no column 'score'; the columns are 'text', 'label'$"):
        second.get("score")
    with pytest.raises(DataError, match="<generator>, record 2: expected a mapping from names to values, found list"):
        list(as_records(iter_of({}, [])))
    skipped = Skipped()
    assert len(list(as_records(iter_of({"a": 1}, 3), skip_bad=skipped))) == 1
    assert skipped.count == 1
    with pytest.raises(InputError, match="a dict of 'train', 'test'; pass one of its values"):
        as_records({"train": [], "test": []})


def iter_of(*items: Any) -> Iterator[Any]:
    yield from items


class ClassLabel:
    """As the library `datasets` names classes."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)


class Sequence:
    def __init__(self, feature: object) -> None:
        self.feature = feature


class Dataset:
    """What is used of a data set of the library `datasets`."""

    features = {  # noqa: RUF012
        "text": object(),
        "label": ClassLabel("bad", "good"),
        "tags": Sequence(ClassLabel("O", "B-PER")),
    }

    def __iter__(self) -> Any:
        yield {"text": "a", "label": 1, "tags": [0, 1]}
        yield {"text": "b", "label": -1, "tags": []}


def test_class_numbers_of_a_data_set_become_names() -> None:
    first, second = as_records(Dataset())
    assert first.values == {"text": "a", "label": "good", "tags": ["O", "B-PER"]}
    assert second.values == {"text": "b", "label": None, "tags": []}
    assert (first.file, second.position) == ("<Dataset>", 2)


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert data_hash(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match="b: no such file"):
        data_hash(tmp_path / "b")
    with pytest.raises(DataError, match="is a folder"):
        data_hash(tmp_path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    row = "a b c d e f g h i j " * 10 + "\t1\n"
    for name, number in (("small.tsv", 10_000), ("large.tsv", 150_000)):
        (tmp_path / name).write_text("text\tlabel\n" + row * number)
    code = (
        "import resource, sys; from glassbert import read_records\n"
        "for _ in read_records(sys.argv[1]): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    used = [
        int(subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True, capture_output=True).stdout)
        for name in ("small.tsv", "large.tsv")
    ]
    assert used[1] < 1.2 * used[0]  # of some 35 MB; the larger file has 28 MB more


def test_pyarrow_is_imported_when_it_is_needed() -> None:
    code = "import sys, glassbert.data; print('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"


def test_a_text_on_each_line_of_a_text_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffthe cat\r\n\n \t\nder\u2028Hund\x85\n  edges  \nlast".encode())
    blank: list[None] = []
    records = list(read_records(file, format="txt", on_blank=lambda: blank.append(None)))
    texts = ["the cat", "der\u2028Hund\x85", "  edges  ", "last"]
    assert [(record.line, record.values) for record in records] == [
        (line, {"text": text}) for line, text in zip((1, 4, 5, 6), texts, strict=True)
    ]
    assert len(blank) == 2
    with pytest.raises(DataError, match="cannot tell the format"):
        next(read_records(file))
    skipped = Skipped()
    file.write_bytes(b"the cat\ncaf\xe9\nthe dog\n")
    assert [one.line for one in read_records(file, format="txt", skip_bad=skipped)] == [1, 3]
    assert [error.line for error in skipped.errors] == [2]


def test_a_stream_in_place_of_a_file() -> None:
    (record,) = read_records("standard input", format="jsonl", stream=io.BytesIO(b'\n{"text": "a"}\n'))
    assert (record.file, record.line, record.values) == ("standard input", 2, {"text": "a"})
    with pytest.raises(DataError, match="standard input: Parquet is read from a file alone"):
        next(read_records("standard input", format="parquet", stream=io.BytesIO(b"")))
