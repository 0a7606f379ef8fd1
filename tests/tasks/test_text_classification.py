"""Records to features to answers, and what is said when that fails."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from glassbert import BertConfig, BertTokenizer, ConfigError, DataError, InputError
from glassbert.data import Record
from glassbert.tasks import ClassificationExample as Example
from glassbert.tasks import (
    MultiLabelClassification,
    MultiLabelExample,
    Regression,
    RegressionExample,
    TextClassification,
)
from glassbert.tasks.batching import by_tokens, drop_tokens, run
from glassbert.tasks.metrics import accuracy, confusion_matrix, f1_by_class
from glassbert.tasks.text_classification import finite, measure
from glassbert.tasks.texts import TextFeatures
from glassbert.text import Encoding

TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcd")
VOCABULARY = {token: index for index, token in enumerate(TOKENS)}
TOKENIZER = BertTokenizer(VOCABULARY)
TASK = TextClassification(labels=("n", "y"))


def test_labels_are_sorted_numbers_by_value() -> None:
    examples = [Example(text="a", label=label) for label in ("10", "9", "b", "a", "9")]
    assert TextClassification().learn(examples).labels == ("9", "10", "a", "b")


def test_one_class_is_not_enough() -> None:
    with pytest.raises(DataError, match=r"1 class \(x\)"):
        TextClassification().learn([Example(text="a", label="x")] * 3)


def row(label: object, text: object = "a") -> Record:
    return Record(values={"text": text, "label": label}, file="f.tsv", line=6)


def read(task: TextClassification, *records: Record) -> list[Example]:
    return list(task.examples(records, {"text": "text", "label": "label"}))


class NotAvailable:
    """As pandas' NA: neither equal to anything nor different."""

    def __ne__(self, other: object) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), np.datetime64("NaT"), NotAvailable()])
def test_a_missing_value_is_no_label_and_no_text(missing: object) -> None:
    with pytest.raises(DataError, match=r"f\.tsv:6: the label is empty"):
        read(TASK, row(missing))
    (example,) = read(TASK, row("y", missing))
    with pytest.raises(DataError, match=r"f\.tsv:6: the text is empty"):
        list(TASK.features([example], TOKENIZER, max_length=6))


def test_several_labels_are_refused_with_a_hint() -> None:
    with pytest.raises(DataError, match=r'f\.tsv:6: the label is \["a", "b"\], .* --task multi-label-classification'):
        read(TASK, row(["a", "b"]))


@pytest.mark.parametrize(("one", "other"), [(1, "1.0"), ("-2", -2.0), (1, True), ("0", "False")])
def test_classes_that_look_alike_are_refused(one: object, other: object) -> None:
    examples = read(TASK, row("x"), row(one), row(other))
    with pytest.raises(DataError, match=r"f\.tsv:6: the classes '.*' and '.*' look alike"):
        TextClassification().learn(examples)


def test_classes_that_differ_may_stand_side_by_side() -> None:
    examples = read(TASK, *map(row, ["1", "01", "1.1", "1.10", 2.0, "False"]))
    assert len(TextClassification().learn(examples).labels) == 6


def test_labels_that_mean_none_are_told_and_can_be_left_out() -> None:
    records = [row("x"), row("-"), row("y"), row("-"), row("null")]
    task = TextClassification().learn(read(TextClassification(), *records))
    assert list(task.notes([], [])) == [
        "a class is named '-', which may mean that there is no label; --option ignore=- leaves such records out",
        "a class is named 'null', which may mean that there is no label; "
        "--option ignore='\"null\"' leaves such records out",
    ]
    TextClassification.check_options({"ignore": "-"})
    blank = TextClassification(ignore="-")
    task = blank.learn(read(blank, *records[:4]))
    assert task.labels == ("x", "y")
    assert list(task.notes([], [])) == ["2 records with the label '-' left out, of all files"]
    # The model keeps it, and what is only answered is not left out.
    again = TextClassification.of_model(task.configure(BertConfig()))
    assert again == task
    assert [example.label for example in read(again, *records[:4])] == ["x", "y"]
    assert len(list(again.examples(records, {"text": "text"}, labelled=False))) == 5
    assert TextClassification(ignore=0).ignore == "0"  # type: ignore[arg-type]  # as a command reads it
    for wrong in ("", True, ["x"]):
        with pytest.raises(ConfigError, match="expected the name of a label"):
            TextClassification.check_options({"ignore": wrong})


def test_classes_that_are_hardly_classes_are_told() -> None:
    def notes(labels: Sequence[str]) -> list[str]:
        examples = [Example(text="a", label=label) for label in labels]
        return list(TextClassification().learn(examples).notes(examples, []))

    (note,) = notes([f"0.{number:02}" for number in range(30)])
    assert note.startswith("the 30 classes of 30 texts are all numbers; ")
    assert "--task regression" in note
    assert notes([f"L{number}" for number in range(30)]) == []
    assert notes([f"0.{number:02}" for number in range(30)] * 2) == []
    assert notes([str(number) for number in range(20)]) == []


def test_features_and_batches() -> None:
    examples = [Example(text="a b", label="y"), Example(text="c " * 9, label="n")]
    features = list(TASK.features(examples, TOKENIZER, max_length=6))
    assert [feature.encoding.cut for feature in features] == [0, 5]
    batch = TASK.collate(features, TOKENIZER)
    assert batch["input_ids"].tolist() == [[2, 5, 6, 3, 0, 0], [2, 7, 7, 7, 7, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6]
    assert batch["labels"].tolist() == [1, 0]
    unlabelled = TASK.features(examples, TOKENIZER, max_length=6, labelled=False)
    assert "labels" not in TASK.collate(list(unlabelled), TOKENIZER)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example(text=" \n", label="y", file="f.tsv", line=3), r"f\.tsv:3: the text is empty"),
        (
            Example(text="a", label="z", file="f.tsv", line=4),
            r"f\.tsv:4: label 'z' is not one the model knows \(n, y\)",
        ),
        (Example(text="a", file="f.tsv", line=5), r"f\.tsv:5: no label"),
    ],
)
def test_bad_examples_are_named_by_file_and_line(example: Example, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(TASK.features([example], TOKENIZER, max_length=6))


def test_pairs_are_encoded_as_pairs() -> None:
    (feature,) = TASK.features([Example(text="a", pair="b c", label="y")], TOKENIZER, max_length=6)
    assert feature.encoding.ids == [2, 5, 3, 6, 7, 3]
    assert feature.encoding.types == [0, 0, 0, 1, 1, 1]
    mixed = [Example(text="a", pair="b", label="y"), Example(text="a", label="y", file="f.tsv", line=7)]
    with pytest.raises(DataError, match=r"f\.tsv:7: a second text"):
        list(TASK.features(mixed, TOKENIZER, max_length=6))
    with pytest.raises(DataError, match=r"the second text \(pair\) is empty"):
        list(TASK.features([Example(text="a", pair=" ", label="y")], TOKENIZER, max_length=6))


@pytest.mark.parametrize(
    ("kind", "example", "values"),
    [
        (TextClassification, Example, [{"label": "x"}, {"label": "y"}]),
        (MultiLabelClassification, MultiLabelExample, [{"labels": ("x",)}, {"labels": ("y",)}]),
        (Regression, RegressionExample, [{"score": 1.0}, {"score": 2.0}]),
    ],
)
def test_whether_pairs_are_learned_is_kept(kind: Any, example: Any, values: list[dict[str, Any]]) -> None:
    pairs, singles = ([example(text="a", pair=pair, **one) for one in values] for pair in ("b", None))
    placed = [dataclasses.replace(some[0], file="f.tsv", line=7) for some in (pairs, singles)]
    for learned, good, bad, words in (
        (True, pairs, placed[1], "pairs of texts, but here is no second text"),
        (False, singles, placed[0], "single texts, but here is a second text"),
    ):
        task = kind().learn(good)
        assert task.pairs is learned
        again = kind.of_model(task.configure(BertConfig()))
        assert again == task
        list(again.features(good, TOKENIZER, max_length=8))
        with pytest.raises(DataError, match=rf"^f\.tsv:7: the model has learned {words} \(pair\)"):
            list(again.features([bad], TOKENIZER, max_length=8))
        with pytest.raises(InputError, match=rf"^the model has learned {words}"):
            list(again.features([dataclasses.replace(bad, file=None)], TOKENIZER, max_length=8))
    # A model that says nothing takes both.
    config = task.configure(BertConfig())
    config.extra["glassbert_task"]["pairs"] = None
    old = kind.of_model(config)
    assert len([*old.features(pairs, TOKENIZER, max_length=8), *old.features(singles, TOKENIZER, max_length=8)]) == 4
    config.extra["glassbert_task"]["pairs"] = "yes"
    with pytest.raises(ConfigError, match=r"glassbert_task\.pairs is 'yes'"):
        kind.of_model(config)


def test_answers_are_probabilities() -> None:
    features = [TextFeatures(encoding=Encoding(ids=[2, 3], first=0, cut=2))]
    (answer,) = TASK.answers([Example(text="a")], features, [torch.tensor([0.0, math.log(3.0)])])
    assert (answer.label, answer.cut) == ("y", 2)
    assert answer.score == pytest.approx(0.75)
    assert answer.to_dict()["scores"] == pytest.approx({"n": 0.25, "y": 0.75})


def test_scores_that_are_no_numbers_are_refused() -> None:
    large = torch.full((8,), 60_000.0, dtype=torch.float16)  # their sum is beyond all numbers of 16 bits
    assert finite([large, torch.zeros(0), large[:, None]])
    for bad in (math.nan, math.inf, -math.inf):
        for row in (
            torch.tensor([1.0, bad]),
            torch.tensor([bad, -bad, 1.0]),
            large.index_fill(0, torch.tensor(3), bad),
        ):
            with pytest.raises(InputError, match="not finite"):
                finite([large, row])


def test_metrics_by_hand() -> None:
    matrix = confusion_matrix([0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 2], 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert accuracy(matrix) == pytest.approx(4 / 6)
    # precision 1/2, recall 1/2; 2/3, 2/3; 1, 1; a class that never occurs
    assert f1_by_class(matrix).tolist() == pytest.approx([0.5, 2 / 3, 1.0, 0.0])
    assert accuracy(np.zeros((2, 2), dtype=np.int64)) == 0.0
    metrics = measure(list("aabbbc"), list("abbbac"), list("abcd"))
    assert metrics.macro_f1 == pytest.approx((0.5 + 2 / 3 + 1) / 3)
    assert metrics.confusion == tuple(map(tuple, matrix.tolist()))
    with pytest.raises(InputError):
        measure([], [], ["a"])


def test_metrics_equal_those_of_scikit_learn() -> None:
    metrics_of = pytest.importorskip("sklearn.metrics", reason="the peer is not installed")
    generator = np.random.default_rng(0)
    gold, predicted = (generator.integers(0, 5, 200).tolist() for _ in range(2))
    found = measure([str(g) for g in gold], [str(p) for p in predicted], list("01234"))
    assert found.accuracy == pytest.approx(metrics_of.accuracy_score(gold, predicted))
    assert found.macro_f1 == pytest.approx(metrics_of.f1_score(gold, predicted, average="macro"))


def test_groups_keep_to_the_token_budget() -> None:
    assert by_tokens([3, 9, 4, 4, 1], 8) == [[1], [2, 3], [0, 4]]
    assert by_tokens([], 8) == []


def test_scores_come_back_in_order() -> None:
    features = ["aaa", "b", "cccccc", "dd"]
    calls = []

    def forward(batch: dict[str, torch.Tensor], some: Sequence[str]) -> list[float]:
        calls.append(len(batch["lengths"]))
        assert [len(feature) for feature in some] == batch["lengths"].tolist()
        return [value * 10.0 for value in batch["lengths"].tolist()]

    rows = run(features, lambda part: {"lengths": torch.tensor([len(f) for f in part])}, forward, token_budget=6)
    assert rows == [30.0, 10.0, 60.0, 20.0]
    assert calls == [1, 3]


def test_dropped_tokens_leave_special_ones_alone() -> None:
    torch.manual_seed(0)
    ids = torch.tensor([[2, 5, 6, 7, 3]] * 2000)
    dropped = drop_tokens(ids, 0.25, special=torch.tensor([0, 1, 2, 3, 4]), mask_id=4)
    changed = dropped != ids
    assert not changed[:, [0, 4]].any()
    assert (dropped[changed] == 4).all()
    # 6,000 draws: the share stays within five standard errors of 0.25.
    assert abs(float(changed[:, 1:4].float().mean()) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 6000)
