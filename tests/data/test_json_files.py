from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from glassbert import DataError, read_records
from glassbert.data import Skipped, json_files
from glassbert.data.json_files import read_json


def _read(text: str, size: int = 1 << 20, skipped: Skipped | None = None) -> list[Any]:
    blocks = [text[start : start + size] for start in range(0, len(text), size)]
    return [
        (record.line or record.position, record.values)
        for record in read_json([*blocks, ""], "a.json", skipped=skipped)
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('[{"a": 1}, {"b": [2, {"c": null}]}]', [(1, {"a": 1}), (2, {"b": [2, {"c": None}]})]),
        (' \n[ \n{"a": "]}"} ,\r\n\t{"a": "\\"["}\n]\n', [(1, {"a": "]}"}), (2, {"a": '"['})]),
        ("[]", []),
        ('{"version": 2.0, "data": [{"a": 1}, {"a": 2}]}', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"data": [{"a": 1}], "names": ["x", "y"], "none": [], "version": 20}', [(1, {"a": 1})]),
        ('{"names": [1, [2]], "data":\n[{"a": "\\u00e9 \\ud83d\\ude00"}]}', [(1, {"a": "é 😀"})]),
        ('{"text": "a", "tags": ["b"]}\n', [(1, {"text": "a", "tags": ["b"]})]),
        ('{\n "text": "a"\n}', [(1, {"text": "a"})]),
        ("{}", [(1, {})]),
    ],
)
def test_by_hand(text: str, values: list[Any], size: int) -> None:
    assert _read(text, size) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": 1}\n{"a": 2}', [(1, {"a": 1}), (2, {"a": 2})]),
        ('\n\n{"a": [{"b": 1}]}\r\n\r\n{"a": []}\r\n', [(3, {"a": [{"b": 1}]}), (5, {"a": []})]),
    ],
)
def test_lines_of_json_in_a_json_file_keep_their_lines(text: str, values: list[Any]) -> None:
    assert _read(text) == values
    # Also where a block ends with the first line.
    assert _read(text, text.index("}\n") + 2 if "}\n" in text else text.index("}\r\n") + 3) == values


@pytest.mark.parametrize("seed", range(20))
def test_any_blocks_give_what_the_whole_gives(seed: int) -> None:
    rng = random.Random(seed)

    def value(depth: int) -> Any:
        kind = rng.randrange(8 if depth else 6)
        if kind == 6:
            return [value(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 7:
            return {f"k{index}": value(depth - 1) for index in range(rng.randrange(4))}
        words = ["", "a", '"\\', "é字😀", "[{,:}]", "\u2028\n\t"]
        return [None, True, rng.randrange(-(10**9), 10**9), rng.random() * 1e-5, rng.choice(words), -1e300][kind]

    rows = [{f"c{index}": value(3) for index in range(rng.randrange(5))} for _ in range(30)]
    array = json.dumps(rows, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
    for text in (array, f'{{"v": {json.dumps(value(2))}, "data": {array}, "end": "x"}}'):
        assert [row for _, row in _read(text, rng.choice([1, 3, 17, 100]))] == rows


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "expected an array or an object at column 1"),
        (" \n ", 2, "expected an array or an object at column 2"),
        ('"text"', 1, "expected an array or an object"),
        ('[{"a": 1},\n {"a": 2}', 2, "expected ',' or ']' at column 10"),
        ('[{"a": 1},\n {"a" 2}]', 2, "Expecting ':' delimiter at column 7"),
        ('[{"a": 1},]', 1, "Expecting value at column 11"),
        ('[{"a": 1}\n\n{"a": 2}]', 3, "expected ',' or ']' at column 1"),
        ('[{"a": 1}]\n]', 2, "more text after the end"),
        ('{"data": [{"a": 1}]}\n{"data": [{}]}', 2, "more text after the end (--format jsonl"),
        ('{"data": [{"a": 1}]', 1, "expected ','"),
        ("{data: []}", 1, "expected a key"),
        ('{"a" 1}', 1, "expected ':'"),
        ('{"a": 1,}', 1, "expected a key"),
        ('{"a": 1, "a": 2}', 1, "the key 'a' stands there twice"),
        ('{"a": [{}], "a": 2}', 1, "the key 'a' stands there twice"),
        ('[{"a": 1},\n{"b": {"a": 1, "a": 2}}]', 2, "the key 'a' stands there twice"),
        ('{"train": [{"a": 1}], "test": [{"a": 1}]}', 1, "two lists of records, 'train' and 'test'"),
        ('[{"a": NaN}]', 1, "NaN is no JSON number"),
        ('[{"a": "b\nc"}]', 1, "Invalid control character at"),
        ('[{"a": "b', 1, "Unterminated string"),
        ("[" * 100_000, 1, "maximum recursion depth"),
        ('{"a":' * 100_000, 1, "maximum recursion depth"),
    ],
)
def test_broken_json_is_named_by_its_line(text: str, line: int, message: str, size: int) -> None:
    if "\n{" in text and text.startswith("{") and size > 100:
        # Seen at once, this begins like JSON lines.
        assert len(_read(text)) == 2
        return
    if len(text) > 1000 and size < 100:
        size = 10_000
    with pytest.raises(DataError) as caught:
        _read(text, size)
    assert caught.value.line == line
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"a.json:{line}: not readable as JSON: ")


def test_an_element_that_is_no_object_is_named_by_its_position() -> None:
    with pytest.raises(DataError, match=r"^a\.json, record 2: expected a JSON object, found int$"):
        _read('[{"a": 1}, 2]')
    with pytest.raises(DataError, match=r"^a\.json, record 1: half of a character \(the lone surrogate '\\ud83d'\)$"):
        _read('[{"a": "\\ud83d"}]')
    skipped = Skipped()
    assert _read('[{"a": 1}, 2, {"a": "\\ude00"}, {"a": "\udcff"}, {"a": 5}]', skipped=skipped) == [
        (1, {"a": 1}),
        (5, {"a": 5}),
    ]
    assert [error.position for error in skipped.errors] == [2, 3, 4]
    skipped = Skipped()
    assert _read('[{"a": "\udcff"}, {"a": 5}]', skipped=skipped) == [(2, {"a": 5})]
    assert str(skipped.errors[0]) == "a.json, record 1: the byte 0xff is not of the file's encoding"


def test_a_value_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "_LONGEST", 5000)
    long = json.dumps([{"a": "b" * 4000}] * 3)
    assert len(_read(long, 100)) == 3
    with pytest.raises(DataError, match="a value of more than 5,000 characters at column 2"):
        _read('[{"a": "' + "b" * 100_000, 100)


def test_no_more_than_a_record_is_read_ahead() -> None:
    read = 0

    def blocks() -> Any:
        nonlocal read
        yield "["
        for number in range(1000):
            read = number
            yield f'{{"number": {number}}}, '

    records = read_json(blocks(), "a.json")
    for expected in range(500):
        assert next(records).values == {"number": expected}
        assert read < expected + 5


def test_json_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff[{"text": "é"}]', "utf-8")
    (record,) = read_records(tmp_path / "a.json")
    assert (record.values, record.file, record.position) == ({"text": "é"}, str(tmp_path / "a.json"), 1)
    (tmp_path / "b.json").write_bytes(b'[{"text": "caf\xe9"}]')
    with pytest.raises(DataError, match=r"b\.json:1: the byte 0xe9 at offset 14 is not utf-8"):
        list(read_records(tmp_path / "b.json"))
    assert [record.get("text") for record in read_records(tmp_path / "b.json", encoding="latin-1")] == ["café"]
