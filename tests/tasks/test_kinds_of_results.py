"""Of which kind the values of a typed result are."""

from __future__ import annotations

import torch

from glassbert.tasks import (
    Answer,
    Candidate,
    Classification,
    Embedding,
    Entity,
    Fill,
    FilledMask,
    FilledText,
    TaggedSentence,
    TextVectors,
)


def test_kinds_of_classes_and_scores() -> None:
    found = Classification(label="a", score=0.5, scores={"a": 0.5, "b": 0.5}).kinds()
    scores = {"a": "double", "b": "double"}
    assert found == {"label": "string", "score": "double", "scores": scores, "cut": "int64"}


def test_what_is_none_or_empty_has_the_kind_that_it_has_elsewhere() -> None:
    none = Answer(
        text="", start=None, end=None, score=0.5, no_answer_probability=0.5, null_difference=None, candidates=()
    )
    one = Candidate(text="a", start=0, end=1, score=0.5)
    some = Answer(
        text="a", start=0, end=1, score=0.5, no_answer_probability=0.0, null_difference=0.1, candidates=(one,)
    )
    assert none.kinds() == some.kinds()
    assert none.kinds()["start"] == "int64"
    assert none.kinds()["candidates"] == [{"text": "string", "start": "int64", "end": "int64", "score": "double"}]
    entity = Entity(type="PER", start_word=0, end_word=1, text="a", score=0.5)
    tagged = [TaggedSentence(words=("a",), tags=("O",), scores=(0.5,), entities=found) for found in ((), (entity,))]
    assert tagged[0].kinds() == tagged[1].kinds()
    assert list(tagged[0].kinds()["entities"][0]) == list(tagged[1].to_dict()["entities"][0])


def test_kinds_of_tensors_and_of_what_is_inside_others() -> None:
    vector = torch.zeros(2)
    assert Embedding(vector=vector).kinds() == {"vector": ["float"], "cut": "int64"}
    assert Embedding(vector=vector, pair=vector).kinds() == {
        "vector": ["float"],
        "pair": ["float"],
        "similarity": "double",
        "cut": "int64",
    }
    vectors = TextVectors(vectors=torch.zeros(3, 2), tokens=("a",), offsets=((0, 1),), texts=(None, 0)).kinds()
    assert vectors["vectors"] == [["float"]]
    assert (vectors["offsets"], vectors["texts"]) == ([["int64"]], ["int64"])
    mask = FilledMask(start=0, end=6, fills=(Fill(token="a", id=1, score=0.5),))
    fills = FilledText(text="a", given="[MASK]", masks=(mask,)).kinds()
    fill = {"token": "string", "id": "int64", "score": "double"}
    assert fills["masks"] == [{"start": "int64", "end": "int64", "fills": [fill]}]
