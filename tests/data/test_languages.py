"""The embedded sentences: enough of them, real in length and wording, and none of the test part known from training."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from glassbert.data import LANGUAGES, Sentence, load_sentences

TRAIN, TEST = load_sentences("train"), load_sentences("test")
LATIN = [language for language in LANGUAGES if language != "zh"]


def _units(sentence: Sentence) -> list[str]:
    """Words in lower case; for Chinese the characters that are no punctuation."""
    if sentence.language == "zh":
        return [char for char in sentence.text if char.isalnum()]
    return re.findall(r"[^\W_]+", sentence.text.lower())


def _of(language: str, *parts: list[Sentence]) -> list[Sentence]:
    return [sentence for part in parts for sentence in part if sentence.language == language]


def test_five_languages_by_their_iso_codes() -> None:
    assert LANGUAGES == ("de", "en", "es", "fr", "zh")
    assert {sentence.language for sentence in TRAIN} == {sentence.language for sentence in TEST} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_enough_sentences_of_each_language(language: str) -> None:
    assert len(_of(language, TRAIN)) >= 300
    assert len(_of(language, TEST)) >= 60


@pytest.mark.parametrize("language", LANGUAGES)
def test_lengths(language: str) -> None:
    low, high = (4, 100) if language == "zh" else (3, 60)
    assert [sentence for sentence in _of(language, TRAIN, TEST) if not low <= len(_units(sentence)) <= high] == []


@pytest.mark.parametrize("language", LATIN)
def test_many_different_words(language: str) -> None:
    words = [word for sentence in _of(language, TRAIN) for word in _units(sentence)]
    assert len(set(words)) >= 0.3 * len(words)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_phrase_stands_in_many_sentences(language: str) -> None:
    phrases = Counter[tuple[str, ...]]()
    for sentence in _of(language, TRAIN, TEST):
        units = _units(sentence)
        phrases.update({tuple(units[start : start + 4]) for start in range(len(units) - 3)})
    assert [phrase for phrase, count in phrases.items() if count > 4] == []


def test_no_sentence_twice() -> None:
    assert [text for text, count in Counter(sentence.text for sentence in TRAIN + TEST).items() if count > 1] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_test_sentence_has_a_near_twin_in_training(language: str) -> None:
    known = [frozenset(_units(sentence)) for sentence in _of(language, TRAIN)]
    twins = []
    for sentence in _of(language, TEST):
        units = frozenset(_units(sentence))
        if len(units) >= 4 and any(len(units & other) > 0.55 * len(units | other) for other in known):
            twins.append(sentence.text)
    assert twins == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_script_is_that_of_the_language(language: str) -> None:
    for sentence in _of(language, TRAIN, TEST):
        chinese = any("\u4e00" <= char <= "\u9fff" for char in sentence.text)
        assert chinese == (language == "zh"), sentence


def test_sentences_are_clean() -> None:
    for sentence in TRAIN + TEST:
        assert sentence.text == sentence.text.strip()
        assert sentence.text.isprintable() or "\u00a0" in sentence.text or "\u202f" in sentence.text
        assert "\ufffd" not in sentence.text
        assert "  " not in sentence.text
