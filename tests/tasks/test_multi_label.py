"""Several labels for a text: columns, thresholds, metrics."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from glassbert import BertConfig, BertTokenizer, ConfigError, DataError
from glassbert.data import Record
from glassbert.tasks import MultiLabel, MultiLabelClassification
from glassbert.tasks import MultiLabelExample as Example

TOKENIZER = BertTokenizer({token: n for n, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcd"))})
TASK = MultiLabelClassification(labels=("x", "y", "z"), thresholds=(0.5, 0.5, 0.5))


def row(value: Any) -> Record:
    return Record(values={"text": "a text", "labels": value}, file="f.csv", line=4)


COLUMNS: dict[str, str | int] = {"text": "text", "labels": "labels"}


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("x, y", ("x", "y")),
        ("", ()),
        ('["y", "x"]', ("y", "x")),
        ("[]", ()),
        ("[1, 2]", ("1", "2")),
        ("x", ("x",)),
        (["x", 1], ("x", "1")),
        ([], ()),
        ([0, 1], ("0", "1")),
    ],
)
def test_labels_of_a_column(value: Any, labels: tuple[str, ...]) -> None:
    (example,) = TASK.examples([row(value)], COLUMNS)
    assert example.labels == labels


@pytest.mark.parametrize("value", ["x,,y", "x,x", "[", '[["x"]]', "[null]", 3, {"x": 1}, [True]])
def test_columns_that_hold_no_labels_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"f\.csv:4: labels is"):
        list(TASK.examples([row(value)], COLUMNS))


@pytest.mark.parametrize("value", [None, float("nan")])
def test_missing_labels_are_no_empty_list(value: Any) -> None:
    with pytest.raises(DataError, match=r"f\.csv:4: the labels are missing \(null\); an empty list"):
        list(TASK.examples([row(value)], COLUMNS))


@pytest.mark.parametrize("value", [[0, 1, 0], [True, True], [1.0, 1.0, 0.0], "[0, 0]"])
def test_a_list_that_tells_which_labels_hold_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"f\.csv:4: labels is \[.*\], as if it told .* --column labels=toxic,obscene"):
        list(TASK.examples([row(value)], COLUMNS))


def test_lists_of_0_and_1_alone_are_no_labels() -> None:
    examples = [Example(text="a", labels=labels) for labels in (("0", "1"), ("1", "0"))]
    with pytest.raises(DataError, match=r"every text has the labels 0 and 1, .*names are expected"):
        MultiLabelClassification().learn(examples)
    assert MultiLabelClassification().learn([*examples, Example(text="a", labels=("1",))]).labels == ("0", "1")


def test_a_column_for_each_label() -> None:
    columns = MultiLabelClassification.columns(text="text", roles={"labels": ["toxic", 2, "rare"]})
    assert columns == {"text": "text", "labels.0": "toxic", "labels.1": 2, "labels.2": "rare"}

    def read(**values: Any) -> Example:
        record = Record(values={"text": "a", "toxic": 0, "mild": 0, "rare": 0, **values}, file="f.csv", line=4)
        (example,) = MultiLabelClassification().examples([record], columns)
        return example

    for yes, no in ((1, 0), ("1", "0"), (True, False), ("TRUE", "false"), (1.0, 0.0), (" 1 ", "0.0")):
        assert read(toxic=yes, mild=no).labels == ("toxic",)
    both = read(toxic=1, mild=True)
    assert both.labels == ("toxic", "mild")
    assert read().labels == ()
    # A label that holds for no text is known nevertheless.
    assert MultiLabelClassification().learn([both]).labels == ("mild", "rare", "toxic")
    for bad in ("x", 2, None, ""):
        with pytest.raises(DataError, match=r"f\.csv:4: the column 'mild' holds .*, expected 0 or 1"):
            read(mild=bad)


def test_labels_become_ones_and_zeros() -> None:
    examples = [Example(text="a", labels=("z", "x")), Example(text="b", labels=())]
    task = MultiLabelClassification().learn([*examples, Example(text="c", labels=("y",))])
    assert task == dataclasses.replace(TASK, pairs=False)
    batch = task.collate(list(task.features(examples, TOKENIZER, max_length=8)), TOKENIZER)
    assert batch["labels"].tolist() == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert task.of_model(task.configure(BertConfig())) == task
    with pytest.raises(DataError, match="'w' is not one the model knows"):
        list(task.features([Example(text="a", labels=("w",))], TOKENIZER, max_length=8))


@pytest.mark.parametrize("thresholds", [[0.5], [0.5, 0.5, 2.0], [0.5, 0.5, "x"]])
def test_thresholds_that_are_none_are_refused(thresholds: list[Any]) -> None:
    config = TASK.configure(BertConfig())
    config.extra["glassbert_task"]["thresholds"] = thresholds
    with pytest.raises(ConfigError, match="expected 3 numbers"):
        MultiLabelClassification.of_model(config)


def test_thresholds_are_those_with_the_best_f1_of_each_label() -> None:
    examples = [Example(text="a", labels=labels) for labels in (("x",), ("x",), (), ("y",))]
    features = list(TASK.features(examples, TOKENIZER, max_length=8, labelled=False))
    probabilities = torch.tensor([[0.30, 0.9, 0.1], [0.20, 0.9, 0.2], [0.10, 0.9, 0.3], [0.05, 0.9, 0.4]])
    rows = list(probabilities.logit())
    found = TASK.calibrate(examples, features, rows)
    # x: between 0.2 and 0.1. y: equal scores cannot be parted. z: never true, so it keeps its own.
    assert found.thresholds == pytest.approx((0.15, 0.45, 0.5))
    answers = found.answers(examples, features, rows)
    assert [answer.labels for answer in answers] == [("y", "x"), ("y", "x"), ("y",), ("y",)]
    before, after = (task.measure(examples, task.answers(examples, features, rows)) for task in (TASK, found))
    assert before.f1["x"] == 0.0
    assert after.f1 == pytest.approx({"x": 1.0, "y": 0.4, "z": 0.0})


def test_metrics_by_hand() -> None:
    examples = [Example(text="a", labels=labels) for labels in (("x", "y"), ("y",), ())]
    results = [MultiLabel(labels=labels, scores={}) for labels in (("x",), ("y",), ("x",))]
    metrics = TASK.measure(examples, results)
    # 2 hits of 3 true and 3 predicted; x: 1 of 1 and 2; y: 1 of 2 and 1.
    assert metrics.micro_f1 == pytest.approx(2 * 2 / 6)
    assert metrics.f1 == pytest.approx({"x": 2 / 3, "y": 2 / 3, "z": 0.0})
    assert metrics.macro_f1 == pytest.approx(2 / 3)
    assert metrics.exact == pytest.approx(1 / 3)
    assert metrics.counts == {"x": 1, "y": 2, "z": 0}


def test_learning_keeps_the_separator() -> None:
    task = MultiLabelClassification(separator="|").learn([Example(text="a", labels=("x", "y"))])
    assert (task.separator, task.labels) == ("|", ("x", "y"))
    (example,) = task.examples([row("x | y")], COLUMNS)
    assert example.labels == ("x", "y")
