"""Data becomes examples and features: guessed columns, bad records, parts drawn by chance."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from glassbert import BertTokenizer, ConfigError, DataError, learn_vocabulary
from glassbert.settings import FinetuneSettings, ReadingSettings
from glassbert.tasks import (
    MultiLabelClassification,
    QuestionAnswering,
    Regression,
    SentenceEmbedding,
    TextClassification,
    TokenClassification,
)
from glassbert.train import read_examples
from glassbert.train.examples import Part

TOKENIZER = BertTokenizer(learn_vocabulary(["a b c d e f g"], size=40, min_frequency=1), model_max_length=16)


def write(folder: Path, name: str, *lines: str) -> Path:
    file = folder / name
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def read(task: Any, source: Any, **reading: Any) -> tuple[list[Any], list[str]]:
    said: list[str] = []
    return list(read_examples(task, source, ReadingSettings(**reading), say=said.append)), said


def test_columns_are_guessed_and_said(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "id,review,stars", "1,a b,pos", "2,c,neg")
    with pytest.raises(DataError, match=r"which column is the label\? --label-column can tell"):
        read(TextClassification(), file)
    (one, _), said = read(TextClassification(), file, label_column="stars")
    assert (one.text, one.label, one.line) == ("a b", "pos", 2)
    assert said == ["columns by name: text is 'review'"]
    (one, _), said = read(Regression(), write(tmp_path, "b.csv", "review,stars", "a,1", "b,2"))
    assert (one.text, one.score) == ("a", 1.0)


def test_columns_of_every_task(tmp_path: Path) -> None:
    file = write(tmp_path, "a.tsv", "a b\tc d\t3.5", "c\td\t1")
    (one, _), said = read(Regression(), file, header=False)
    assert (one.text, one.pair, one.score) == ("a b", "c d", 3.5)
    assert said == ["columns by position: text is '0', pair is '1', score is '2'"]
    (one, _), _ = read(SentenceEmbedding(), file, header=False)
    assert (one.text, one.pair, one.score) == ("a b", "c d", 3.5)
    (one,), _ = read(TokenClassification(), write(tmp_path, "a.conll", "a B-X", "b O"))
    assert (one.words, one.tags) == (("a", "b"), ("B-X", "O"))
    (one,), _ = read(MultiLabelClassification(), [{"text": "a", "labels": ["x", "y"]}])
    assert set(one.labels) == {"x", "y"}
    (one,), _ = read(
        QuestionAnswering(), [{"question": "a", "context": "b c", "answers": [{"text": "c", "answer_start": 2}]}]
    )
    assert one.answers[0].text == "c"


def test_records_without_labels_need_none() -> None:
    examples = read_examples(TextClassification(), [{"text": "a"}], ReadingSettings(), labelled=False)
    assert [one.label for one in examples] == [None]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "Ann, here."}, ("Ann", ",", "here", ".")),
        ({"sentence": "Ann, here."}, ("Ann", ",", "here", ".")),
        ({"tokens": "Ann, here."}, ("Ann,", "here.")),
        ({"words": ["Ann, here", "."]}, ("Ann, here", ".")),
        ({"text": "x", "tokens": ["Ann", "here"]}, ("Ann", "here")),
    ],
)
def test_words_to_tag_may_stand_in_a_text(row: dict[str, Any], words: tuple[str, ...]) -> None:
    (one,) = read_examples(TokenClassification(), [row], ReadingSettings(), labelled=False)
    assert one.words == words


def test_a_role_that_a_task_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no use for a tokens column"):
        read(TextClassification(), [{"text": "a", "label": "b"}], columns={"tokens": "text"})


BAD = [
    ('{"text": "a", "label": "x"}', None),
    ('{"text": "", "label": "x"}', "2: the text is empty"),
    ('{"text": "b", "label": ""}', "3: the label is empty"),
    ('{"text": "c", "label"', "4: not readable as JSON"),
    ('{"text": "d", "label": "y"}', None),
    ('["text"]', "6: expected a JSON object"),
    ('{"text": "e", "label": "y"}', None),
    ('{"label": "y"}', "8: no column 'text'"),
]


def test_bad_records_are_skipped_counted_and_listed_where_that_is_wanted(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jsonl", *(line for line, _ in BAD))
    said: list[str] = []
    part = Part.read("training", TextClassification(), file, ReadingSettings(skip_bad=True), said.append)
    task = TextClassification().learn(part.examples)
    part.encode(task, TOKENIZER, 16)
    assert [one.text for one in part.examples] == ["a", "d", "e"]
    assert [one.example for one in part.features] == [0, 1, 2]
    assert part.skipped is not None
    assert part.skipped.count == 5
    found = sorted(str(error) for error in part.skipped.errors)
    wanted = [message for _, message in BAD if message]
    assert all(f"a.jsonl:{message}" in error for error, message in zip(found, wanted, strict=True))
    assert part.to_dict()["skipped"] == 5
    with pytest.raises(DataError, match=r"a\.jsonl:3: the label is empty"):
        Part.read("training", TextClassification(), file, ReadingSettings(), said.append)


def test_windows_of_examples_keep_the_numbers_of_those_that_are_left(tmp_path: Path) -> None:
    words = [["a", "b", "c", "d", "e", "f", "g"] * 4, ["a"], [], ["b", "c"], ["d", "e", "f", "g"] * 8]
    records = [{"tokens": some, "tags": ["O"] * (len(some) - 1) + ["B-X"] * bool(some)} for some in words]
    part = Part.read("training", TokenClassification(), records, ReadingSettings(skip_bad=True), lambda _: None)
    part.encode(TokenClassification().learn(part.examples), TOKENIZER, 16)
    assert [len(one.words) for one in part.examples] == [28, 1, 2, 32]
    numbers = [one.example for one in part.features]
    assert sorted(set(numbers)) == [0, 1, 2, 3]
    assert numbers == sorted(numbers)
    assert numbers.count(0) > 1
    assert numbers.count(1) == 1


def test_nothing_good_is_left() -> None:
    with pytest.raises(DataError, match="holds no training examples; 1 bad record skipped"):
        Part.read("training", TextClassification(), [{"text": "a", "label": ""}], ReadingSettings(skip_bad=True), print)
    with pytest.raises(DataError, match="holds no records"):
        Part.read("training", TextClassification(), [], ReadingSettings(), print)


def test_parts_drawn_by_chance_are_the_same_for_a_seed_and_share_nothing() -> None:
    records = [{"text": f"a {number}", "label": "xy"[number % 2]} for number in range(400)]
    whole = Part.read("training", TextClassification(), records, ReadingSettings(), print)

    def drawn(seed: int) -> list[list[str]]:
        parts = whole.split({"training": 0.7, "validation": 0.2, "test": 0.1}, seed)
        assert [part.name for part in parts.values()] == ["training", "validation", "test"]
        return [[one.text for one in part.examples] for part in parts.values()]

    first = drawn(3)
    assert first == drawn(3) != drawn(4)
    assert sorted(chain.from_iterable(first)) == sorted(record["text"] for record in records)
    assert [len(some) for some in first] == pytest.approx([280, 80, 40], abs=25)


def test_several_files_and_their_hashes(tmp_path: Path) -> None:
    one = write(tmp_path, "a.csv", "text,label", "a,x")
    other = write(tmp_path, "b.jsonl", json.dumps({"text": "b", "label": "y"}))
    part = Part.read("training", TextClassification(), [one, other], ReadingSettings(), print)
    assert [example.text for example in part.examples] == ["a", "b"]
    record = part.to_dict()
    assert record["files"] == [str(one), str(other)]
    assert [len(digest) for digest in record["sha256"]] == [64, 64]
    assert record["examples"] == 2


def test_settings_of_training_read_data_too() -> None:
    settings = FinetuneSettings(train=[{"a": "a", "b": "x"}], model="m", out="o", text_column="a", label_column="b")
    (one,) = read_examples(TextClassification(), settings.train, settings)
    assert (one.text, one.label) == ("a", "x")
