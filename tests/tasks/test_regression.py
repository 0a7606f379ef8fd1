"""A number for a text: scale, answers, correlations."""

from __future__ import annotations

import pytest
import torch

from glassbert import BertConfig, BertTokenizer, ConfigError, DataError, InputError
from glassbert.tasks import Estimate, Regression
from glassbert.tasks import RegressionExample as Example
from glassbert.tasks.metrics import pearson, spearman
from glassbert.tasks.texts import TextFeatures
from glassbert.text import Encoding

TOKENIZER = BertTokenizer({token: n for n, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcd"))})


def test_the_model_learns_numbers_of_mean_0_and_spread_1_and_answers_on_their_scale() -> None:
    examples = [Example(text="a", score=value) for value in (1.0, 3.0, 5.0)]
    task = Regression().learn(examples)
    assert (task.mean, task.spread) == pytest.approx((3.0, (8 / 3) ** 0.5))
    features = list(task.features(examples, TOKENIZER, max_length=8))
    batch = task.collate(features, TOKENIZER)
    assert batch["labels"].dtype == torch.float32
    assert float(batch["labels"].mean()) == pytest.approx(0.0)
    answers = task.answers(examples, features, list(batch["labels"][:, None]))
    assert [answer.score for answer in answers] == pytest.approx([1.0, 3.0, 5.0])
    assert task.of_model(task.configure(BertConfig())) == task
    assert Regression.of_model(BertConfig(num_labels=1)) == Regression(mean=0.0, spread=1.0)


@pytest.mark.parametrize("extra", [{"mean": "x"}, {"spread": 0.0}, {"spread": float("nan")}])
def test_a_scale_that_is_none_is_refused(extra: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected numbers"):
        Regression.of_model(BertConfig(num_labels=1, id2label={0: "score"}, extra={"glassbert_task": extra}))


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(DataError, match="1 different score;"):
        Regression().learn([Example(text="a", score=2.0)] * 3)
    with pytest.raises(DataError, match=r"f\.tsv:3: the score is -1e\+300, too large"):
        Regression().learn([Example(text="a", score=s, file="f.tsv", line=n) for n, s in enumerate([1, 2, 9, -1e300])])
    with pytest.raises(DataError, match=r"2 different scores .* too near"):
        Regression().learn([Example(text="a", score=score) for score in (0.0, 1e-300)])
    far = Example(text="a", score=1e300, file="f.tsv", line=3)
    with pytest.raises(DataError, match=r"f\.tsv:3: the score is 1e\+300, beyond all measure .*: 0 ± 1$"):
        list(Regression().features([far], TOKENIZER, max_length=8))
    with pytest.raises(DataError, match=r"f\.tsv:3: no score"):
        Regression().learn([Example(text="a", file="f.tsv", line=3)])
    with pytest.raises(DataError, match="the score is nan"):
        Regression().learn([Example(text="a", score=float("nan"))])
    with pytest.raises(InputError, match="no examples"):
        Regression().measure([], [])
    feature = TextFeatures(encoding=Encoding(ids=[2, 3], first=0))
    with pytest.raises(InputError, match="not finite"):
        Regression().answers([Example(text="a")], [feature], [torch.tensor([float("nan")])])


def test_an_error_beyond_all_numbers_is_infinite() -> None:
    metrics = Regression().measure([Example(text="a", score=1e300)], [Estimate(score=0.0)])
    assert metrics.mean_squared_error == float("inf")


def test_correlations_by_hand() -> None:
    assert pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert pearson([1, 2, 3], [1, 2, 1]) == pytest.approx(0.0)
    assert pearson([1, 1, 1], [1, 2, 3]) == 0.0
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1.0)
    # Ranks 1, 2.5, 2.5, 4 beside 1, 2, 3, 4: sums of squares 4.5 and 5, of products 4.5.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5.0) ** 0.5)
