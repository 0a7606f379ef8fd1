"""Records to features to answers, and what is said when that fails."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from glassbert import BertTokenizer, DataError, InputError
from glassbert.tasks import ClassificationExample as Example
from glassbert.tasks import TextClassification
from glassbert.tasks.batching import by_tokens, drop_tokens, run
from glassbert.tasks.metrics import accuracy, confusion_matrix, f1_by_class
from glassbert.tasks.text_classification import measure
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
    with pytest.raises(DataError, match="the second text is empty"):
        list(TASK.features([Example(text="a", pair=" ", label="y")], TOKENIZER, max_length=6))


def test_answers_are_probabilities() -> None:
    features = [TextFeatures(encoding=Encoding(ids=[2, 3], first=0, cut=2))]
    (answer,) = TASK.answers([Example(text="a")], features, [torch.tensor([0.0, math.log(3.0)])])
    assert (answer.label, answer.cut) == ("y", 2)
    assert answer.score == pytest.approx(0.75)
    assert answer.to_dict()["scores"] == pytest.approx({"n": 0.25, "y": 0.75})


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
