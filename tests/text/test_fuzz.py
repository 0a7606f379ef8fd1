"""A few thousand random cases; `python -m tests.text.fuzz` runs as many as one likes."""

from __future__ import annotations

import dataclasses

import pytest

from glassbert import BertTokenizer
from glassbert.text import core
from tests.text import fuzz


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No threads of the library beside those that other tests fork from."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


def test_random_cases_are_as_in_the_library() -> None:
    cases, wrong = fuzz.run(4800, seed=1000)
    assert cases >= 4800
    assert wrong == []


def test_a_text_cut_into_stretches_is_as_in_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_STRETCH", 3)
    assert fuzz.run(960, seed=2000)[1] == []


def test_the_fuzzer_finds_a_wrong_rule_and_makes_it_small(monkeypatch: pytest.MonkeyPatch) -> None:
    right = fuzz.our_tokenizer

    def wrong(kind: type[BertTokenizer], settings: fuzz.Settings) -> BertTokenizer:
        return right(kind, dataclasses.replace(settings, chinese=not settings.chinese))

    monkeypatch.setattr(fuzz, "our_tokenizer", wrong)
    (case, *_) = fuzz.Draw("0", real=()).cases()
    case = dataclasses.replace(case, texts=(("some words",), ("and 字字 more",)), call=fuzz.Call(padding="longest"))
    assert fuzz.difference(case) is not None
    small = fuzz.smaller(case, lambda candidate: fuzz.difference(candidate) is not None)
    ((text,),) = small.texts
    assert len(text) == 2
    assert "字" in text
    assert (small.call, small.settings.vocab, small.settings.added) == (fuzz.Call(), fuzz.FIVE, ())
    # What a run prints is the case itself.
    assert fuzz.Case.of(small.line()) == small
