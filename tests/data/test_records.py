from __future__ import annotations

import datetime
from typing import Any

import pytest

from glassbert import DataError
from glassbert.data import Record


def _record(value: Any, line: int | None = 3) -> Record:
    return Record(values={"x": value}, file="a.csv", line=line, position=None if line else 7)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", ""),
        (None, ""),
        (3, "3"),
        (1.5, "1.5"),
        (True, "true"),
        (["é", None], '["é", null]'),
        ({"a": 1}, '{"a": 1}'),
        (datetime.date(2020, 1, 2), '"2020-01-02"'),
    ],
)
def test_a_value_as_text(value: Any, text: str) -> None:
    assert _record(value).get("x") == text
    assert _record(value).value("x") is value
    assert _record(value).value(0) is value


def test_bytes_are_no_text() -> None:
    with pytest.raises(DataError, match=r"^a\.csv:3: the column 'x' holds bytes, expected text$"):
        _record(b"a").get("x")


@pytest.mark.parametrize(
    ("value", "number"), [("2.5", 2.5), (" 3 ", 3.0), ("-1e3", -1000.0), (4, 4.0), (0.5, 0.5), ("0", 0.0)]
)
def test_a_value_as_a_number(value: Any, number: float) -> None:
    found = _record(value).number("x")
    assert found == number
    assert type(found) is float


@pytest.mark.parametrize(
    "value", ["", "a", "1,5", "nan", "inf", "-Infinity", "1e999", "1_000", None, True, [1], float("nan"), 10**400]
)
def test_what_is_no_finite_number_is_named(value: Any) -> None:
    with pytest.raises(DataError, match=r"^a\.csv:3: .* in the column '0' is not a finite number$"):
        _record(value).number(0)


@pytest.mark.parametrize(
    ("value", "split", "strings"),
    [
        (["a", "b"], False, ["a", "b"]),
        (("a",), True, ["a"]),
        ([], False, []),
        ([0, 12], False, ["0", "12"]),
        ("a  b\u00a0c \u3000 d", True, ["a", "b\u00a0c", "\u3000", "d"]),
        ("", True, []),
    ],
)
def test_a_value_as_strings(value: Any, split: bool, strings: list[str]) -> None:
    assert _record(value).strings("x", split=split) == strings


@pytest.mark.parametrize("value", ["a b", None, 3, {"a": 1}, b"ab"])
def test_what_is_no_list_is_named(value: Any) -> None:
    with pytest.raises(DataError, match=r"^a\.csv:3: .* in the column 'x' is not a list$"):
        _record(value).strings("x")


@pytest.mark.parametrize("item", [None, 1.5, True, ["a"], b"a"])
def test_what_is_no_string_in_a_list_is_named(item: Any) -> None:
    with pytest.raises(DataError, match=r"^a\.csv, record 7: .* in the list of the column 'x' is not a string$"):
        _record(["a", item], line=None).strings("x")


def test_a_long_value_is_shortened_in_a_message() -> None:
    with pytest.raises(DataError, match=f"'{'a' * 29}…' in the column 'x'"):
        _record("a" * 1000).number("x")


def test_the_place_of_a_record() -> None:
    error = _record("a", line=None).error("is bad")
    assert str(error) == "a.csv, record 7: is bad"
    assert (error.reason, error.line, error.position) == ("is bad", None, 7)
    error = _record("a").error("is bad")
    assert (str(error), error.line, error.position) == ("a.csv:3: is bad", 3, None)
