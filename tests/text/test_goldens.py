"""The same ids and offsets as Hugging Face's `tokenizers`, which every served BERT sees, and as Google's program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from glassbert import BertTokenizer, BertTokenizerFast
from tests.text import exhaustive, goldens
from tests.text.goldens import SETTINGS, Oracle, google_ids

CLASSES = (BertTokenizer, BertTokenizerFast)


@pytest.fixture(scope="module", params=["sample", "whole"])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    """The sample that stands beside this file, and all of it where there is a folder ../shared."""
    return goldens.sample() if request.param == "sample" else goldens.whole(request.getfixturevalue("shared"))


def made(
    kind: type[BertTokenizer], oracle: Oracle, setting: str, rules: Literal["hf", "google"] = "hf"
) -> BertTokenizer:
    name, lower = SETTINGS[setting]
    return kind(oracle.vocabularies[name], do_lower_case=lower, rules=rules)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_strings_have_the_ids_and_offsets_of_the_library(
    oracle: Oracle, setting: str, kind: type[BertTokenizer]
) -> None:
    tokenizer, texts = made(kind, oracle, setting), [row["text"] for row in oracle.strings]
    expected = [row["fast"][setting] for row in oracle.strings]
    result = tokenizer(texts, return_offsets_mapping=True)
    assert len(texts) in (3000, 40)
    wrong = [
        ascii(text)
        for text, ids, offsets, right in zip(texts, result.input_ids, result.offset_mapping, expected, strict=True)
        if (ids, list(map(list, offsets))) != (right["ids"], right["offsets"])
    ]
    assert wrong == []
    # Without offsets the texts go another way.
    assert tokenizer(texts).input_ids == [right["ids"] for right in expected]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_strings_have_the_ids_of_googles_program(oracle: Oracle, setting: str, kind: type[BertTokenizer]) -> None:
    tokenizer, texts = made(kind, oracle, setting, "google"), [row["text"] for row in oracle.strings]
    expected = [google_ids(row, setting) for row in oracle.strings]
    assert tokenizer(texts, add_special_tokens=False).input_ids == expected
    detailed = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    assert detailed.input_ids == expected
    # The two sets of rules are not one.
    assert expected != [row["fast"][setting]["ids"][1:-1] for row in oracle.strings]


@pytest.mark.parametrize("kind", CLASSES)
def test_calls_give_what_the_library_gives(oracle: Oracle, kind: type[BertTokenizer]) -> None:
    tokenizers = {name: made(kind, oracle, name) for name in ("uncased", "cased")}
    kinds = {row["kind"] for row in oracle.calls}
    assert (len(oracle.calls), len(kinds)) in ((443, 19), (19, 19))
    for row in oracle.calls:
        result = tokenizers[row["folder"]](row["text"], row["pair"], return_offsets_mapping=True, **row["arguments"])
        assert _plain(result) == row["expect"], row["id"]


@pytest.mark.parametrize("kind", CLASSES)
def test_calls_give_the_same_without_offsets(oracle: Oracle, kind: type[BertTokenizer]) -> None:
    tokenizers = {name: made(kind, oracle, name) for name in ("uncased", "cased")}
    for row in oracle.calls:
        result = tokenizers[row["folder"]](row["text"], row["pair"], **row["arguments"])
        assert _plain(result) == {name: value for name, value in row["expect"].items() if name != "offset_mapping"}


def _plain(result: Any) -> Any:
    return json.loads(json.dumps(result))


# -- every code point ---------------------------------------------------------------------------------

# Latin, Greek and many marks; Chinese characters, some of which are none to the library.
BLOCKS = ("000000", "02B000")


@pytest.mark.parametrize("kind", exhaustive.CLASSES)
def test_code_points_are_what_the_library_makes_of_them(shared: Path, kind: str) -> None:
    expected = exhaustive.expected(shared)
    assert len(expected) == 272
    tokenizers = exhaustive.tokenizers(shared, exhaustive.CLASSES[kind])
    for block in BLOCKS:
        assert exhaustive.digests(tokenizers, block) == expected[block], block
