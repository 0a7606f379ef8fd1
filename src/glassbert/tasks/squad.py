"""How well answers meet the reference answers: the scores of SQuAD.

Source: the official evaluate-v1.1.py and evaluate-v2.0.py (arXiv 1606.05250, 1806.03822). Figures are shares, not
percentages.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: Final = frozenset(string.punctuation)
# Ideographs, kana and their like, of which each counts as a word: the main blocks, as in MLQA's script.
_CHARACTERS: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class Scores(NamedTuple):
    """Of one answer, both from 0 to 1.

    Attributes:
        exact: 1 where it is a reference answer.
        f1: of its words, beside those of the reference answer that it meets best.
    """

    exact: float
    f1: float


def normalized(text: str, *, characters: bool = False) -> str:
    """Return a text as answers are compared: lower case, without punctuation and articles, single spaces.

    Args:
        text: any.
        characters: set each Chinese or Japanese character apart, and drop the punctuation of all scripts.
    """
    text = text.lower()
    if characters:
        text = "".join(char for char in text if not unicodedata.category(char).startswith("P"))
        text = _CHARACTERS.sub(r" \g<0> ", text)
    text = "".join(char for char in text if char not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def scores(answer: str, references: Sequence[str], *, version2: bool, characters: bool = False) -> Scores:
    """Compare an answer with the reference answers.

    Args:
        answer: a text; empty for none.
        references: the right answers; none where the question has no answer.
        version2: by the script of SQuAD 2.0, in which answers may be empty; that of 1.1 gives an empty text no F1.
        characters: see `normalized`.
    """
    found = normalized(answer, characters=characters)
    right = [normalized(one, characters=characters) for one in references]
    if version2:
        right = [one for one in right if one] or [""]
    return Scores(
        exact=max((float(found == one) for one in right), default=0.0),
        f1=max((_f1(found.split(), one.split(), version2) for one in right), default=0.0),
    )


def _f1(found: Sequence[str], right: Sequence[str], version2: bool) -> float:
    if not found or not right:
        return float(version2 and found == right)
    same = sum((Counter(found) & Counter(right)).values())
    return 2.0 * same / (len(found) + len(right))
