"""When `BertTokenizerFast` leaves the work to the library, and that it gives the same then."""

from __future__ import annotations

import os

import pytest

from glassbert import BertTokenizer, BertTokenizerFast
from glassbert.text import fast
from glassbert.text.core import PlainCore

VOCAB = {
    token: index
    for index, token in enumerate(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "##a", "!", "字", "e"]
    )
}
TEXTS = ["a b!", "", "  ab\tBA ", "字a字", "é E\u0301", "[MASK]a [mask]", "c", "a\u00a0b\u3000a\u0085b", "bab " * 50]


@pytest.fixture
def plain_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainCore, "encode", lambda *_, **__: pytest.fail("the plain core was asked"))


def _on_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> BertTokenizerFast:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    tokenizer = BertTokenizerFast(VOCAB)
    assert isinstance(tokenizer.core, fast.LibraryCore)
    return tokenizer


def test_the_same_ids_however_much_and_on_however_many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, few, many = BertTokenizer(VOCAB), _on_cores(2, monkeypatch), _on_cores(64, monkeypatch)
    monkeypatch.setattr(fast, "_CHARACTERS", 100)
    expected = [plain(text)["input_ids"] for text in TEXTS]
    for tokenizer in (few, many):
        assert tokenizer(TEXTS)["input_ids"] == expected
        assert tokenizer(TEXTS, return_offsets_mapping=True)["input_ids"] == expected
        assert [tokenizer(text)["input_ids"] for text in TEXTS] == expected


@pytest.mark.usefixtures("plain_is_gone")
def test_much_text_on_many_cores_goes_through_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = _on_cores(64, monkeypatch)
    half = "a " * (fast._CHARACTERS // 4)
    assert [len(encoding) for encoding in tokenizer.encodings([half, half + "a"])] == [16386, 16387]


@pytest.mark.usefixtures("plain_is_gone")
def test_details_come_from_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    (encoding,) = _on_cores(1, monkeypatch).encodings(["ab!"], details=True)
    assert encoding.offsets == [(0, 0), (0, 1), (1, 2), (2, 3), (0, 0)]


@pytest.mark.parametrize(("cores", "texts"), [(64, ["a " * 40_000]), (64, ["a", "b"]), (4, ["a " * 40_000] * 2)])
def test_one_text_little_text_and_few_cores_need_no_library(
    monkeypatch: pytest.MonkeyPatch, cores: int, texts: list[str]
) -> None:
    tokenizer = _on_cores(cores, monkeypatch)
    tokenizer.core._library = None  # type: ignore[attr-defined]
    assert [len(encoding) for encoding in tokenizer.encodings(texts)] == [
        2 + text.count("a") + text.count("b") for text in texts
    ]
