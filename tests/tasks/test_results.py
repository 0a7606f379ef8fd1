"""What results look like: plain values, a short repr, HTML."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
import torch

from glassbert.infer import Ranked
from glassbert.tasks import (
    Answer,
    Candidate,
    Choice,
    Classification,
    Embedding,
    Entity,
    Estimate,
    Fill,
    FilledMask,
    FilledText,
    Following,
    MultiLabel,
    TaggedSentence,
    TextVectors,
)

EVIL = "<script>alert('x')</script> & \"é\""
RESULTS = [
    Classification(label=EVIL, score=0.75, scores={EVIL: 0.75, "b": 0.25}),
    MultiLabel(labels=(EVIL,), scores={EVIL: 0.9, "b": 0.1}),
    Estimate(score=1.5),
    Choice(index=0, text=EVIL, score=0.6, scores=(0.6, 0.4)),
    Answer(text=EVIL, start=0, end=9, score=0.5, candidates=(Candidate(text=EVIL, start=0, end=9, score=0.5),)),
    TaggedSentence(
        words=(EVIL, "b"),
        tags=("B-X", "O"),
        scores=(0.9, 0.8),
        entities=(Entity(type=EVIL, start_word=0, end_word=1, text=EVIL, score=0.9),),
    ),
    Embedding(vector=torch.arange(384.0), pair=torch.arange(384.0)),
    TextVectors(vectors=torch.zeros(2, 3, 8), tokens=(EVIL, "b", "c"), offsets=((0, 1),) * 3, texts=(0, 0, None)),
    FilledText(text=EVIL, given=EVIL, masks=(FilledMask(start=0, end=6, fills=(Fill(token=EVIL, id=3, score=0.5),)),)),
    Following(follows=True, score=0.75),
    Ranked(index=3, score=0.5, text=EVIL),
]


class Tags(HTMLParser):
    """Collects what a page holds, and whether all that opens is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all("://" not in (value or "") for _, value in attrs)  # nothing from elsewhere
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_every_result_has_its_forms(result: Any) -> None:
    values = json.loads(json.dumps(result.to_dict()))
    assert values
    assert repr(result).startswith(type(result).__name__ + "(")
    assert len(repr(result)) < 700
    page = Tags()
    page.feed(result._repr_html_())
    page.close()
    assert page.open == []
    assert "script" not in page.seen
    if any(EVIL in str(value) for value in values.values()):
        assert "<script>alert" in page.text


def test_tensors_are_short_in_repr_and_whole_in_json() -> None:
    result = Embedding(vector=torch.tensor([1.0, -0.5, 0.25, 0.125]))
    assert (
        repr(result) == "Embedding(vector=<(4,) float32: 1.0000, -0.5000, 0.2500, …>, pair=None, negative=None, cut=0)"
    )
    assert result.to_dict() == {"vector": [1.0, -0.5, 0.25, 0.125], "cut": 0}


def test_many_scores_are_cut_in_a_notebook() -> None:
    scores = {f"c{place}": 1 / 100 for place in range(100)}
    assert "… and 80 more" in Classification(label="c0", score=0.01, scores=scores)._repr_html_()
