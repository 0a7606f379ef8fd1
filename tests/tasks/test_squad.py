"""Exact match and F1 beside the official scripts, whose rules are written out here once more."""

from __future__ import annotations

import collections
import random
import re
import string

import pytest

from glassbert.tasks.squad import normalized, scores


def official_normalize(text: str) -> str:
    """Do what both scripts do."""
    text = text.lower()
    text = "".join(char for char in text if char not in set(string.punctuation))
    text = re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text)
    return " ".join(text.split())


def official_v1(prediction: str, references: list[str]) -> tuple[float, float]:
    def f1(truth: str) -> float:
        found, right = official_normalize(prediction).split(), official_normalize(truth).split()
        same = sum((collections.Counter(found) & collections.Counter(right)).values())
        if same == 0:
            return 0.0
        precision, recall = same / len(found), same / len(right)
        return 2 * precision * recall / (precision + recall)

    exact = max(float(official_normalize(prediction) == official_normalize(truth)) for truth in references)
    return exact, max(map(f1, references))


def official_v2(prediction: str, references: list[str]) -> tuple[float, float]:
    def tokens(text: str) -> list[str]:
        return official_normalize(text).split() if text else []

    def f1(truth: str) -> float:
        right, found = tokens(truth), tokens(prediction)
        same = sum((collections.Counter(right) & collections.Counter(found)).values())
        if not right or not found:
            return float(right == found)
        if same == 0:
            return 0.0
        precision, recall = same / len(found), same / len(right)
        return 2 * precision * recall / (precision + recall)

    golds = [truth for truth in references if official_normalize(truth)] or [""]
    exact = max(float(official_normalize(prediction) == official_normalize(truth)) for truth in golds)
    return exact, max(map(f1, golds))


def test_scores_are_those_of_the_official_scripts() -> None:
    generator = random.Random(0)
    words = ["the", "a", "cat", "Cat", "dog's", "U.S.", "—", "an", "sat", "", "\u00a0", "!"]
    for _ in range(3000):
        prediction, *references = (
            " ".join(generator.choices(words, k=generator.randrange(0, 5))) for _ in range(generator.randrange(2, 5))
        )
        assert scores(prediction, references, version2=False) == pytest.approx(official_v1(prediction, references))
        assert scores(prediction, references, version2=True) == pytest.approx(official_v2(prediction, references))
    assert scores("", [], version2=True) == official_v2("", []) == (1.0, 1.0)
    assert scores("cat", [], version2=True) == official_v2("cat", []) == (0.0, 0.0)


def test_the_scripts_differ_where_nothing_is_left_of_a_text() -> None:
    assert scores("the", ["the", "cat"], version2=False) == (1.0, 0.0)
    assert scores("the", ["the", "cat"], version2=True) == (0.0, 0.0)


def test_characters_count_as_words_where_they_are_asked_for() -> None:
    assert normalized("《北京大学》, 1898年", characters=True) == "北 京 大 学 1898 年"
    assert scores("北京大学", ["北京的大学"], version2=False) == (0.0, 0.0)
    assert scores("北京大学", ["北京的大学"], version2=False, characters=True) == pytest.approx((0.0, 8 / 9))
    assert scores("北京，大学", ["北京大学"], version2=False, characters=True) == (1.0, 1.0)
