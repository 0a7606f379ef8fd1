"""Questions with choices: rows, batches of different numbers of choices, answers, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch

from glassbert import BertConfig, BertForMultipleChoice, BertTokenizer, ConfigError, DataError, InputError, pipeline
from glassbert.data import Record
from glassbert.model import losses
from glassbert.tasks import Choice, MultipleChoice, task_of
from glassbert.tasks import MultipleChoiceExample as Example
from glassbert.train.loop import backward

VOCABULARY = {token: n for n, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"))}
TOKENIZER = BertTokenizer(VOCABULARY)
TASK = MultipleChoice()
PLACE: dict[str, Any] = {"file": "f.csv", "line": 5}
EXAMPLES = [
    Example(question="a b", choices=("c", "d e f g"), label=1),
    Example(question="a", context="h g f e d", choices=("b", "c", "d", "e", "f"), label=0),
    Example(question="c c c", choices=("a", "b b", "g"), label=2),
    Example(question=" ", context="a b", choices=("h", "c d"), label=0),
]


def row(**values: Any) -> Record:
    return Record(values=values, **PLACE)


def small(**changes: Any) -> BertForMultipleChoice:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        initializer_range=0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **changes,
    )
    return BertForMultipleChoice(TASK.configure(config)).eval()


# -- rows ---------------------------------------------------------------------------------------------------


COLUMNS = {role: role for role in ("question", "choices", "label")}


@pytest.mark.parametrize(
    ("choices", "label", "index"),
    [
        (["b", "c"], "1", 1),
        (["b", "c"], 1, 1),
        (["b", "c"], "A", 0),
        (["b", "c"], "c", 1),
        (["x", "B"], "B", 1),  # the letter and the text say the same
        ({"label": ["A", "B"], "text": ["b", "c"]}, "B", 1),
        ({"label": ["1", "2"], "text": ["b", "c"]}, "1", 0),
        ([{"label": "A", "text": "b"}, {"label": "B", "text": "c"}], "A", 0),
        ([{"text": "b"}, {"text": "c"}], "1", 1),
        (["b"] * 3, "2", 2),  # equal choices do not hinder a number
    ],
)
def test_choices_and_labels_in_all_forms(choices: Any, label: Any, index: int) -> None:
    (found,) = TASK.examples([row(question="a", choices=choices, label=label)], COLUMNS)
    texts = (
        choices["text"]
        if isinstance(choices, dict)
        else [one if isinstance(one, str) else one["text"] for one in choices]
    )
    assert found == Example(question="a", choices=tuple(texts), label=index, **PLACE)


def test_choices_in_a_column_each() -> None:
    columns = MultipleChoice.columns(
        text="sent2", label="gold", roles={"context": "sent1", "choices": ("ending0", "ending1", "ending2")}
    )
    assert columns == {
        "question": "sent2",
        "label": "gold",
        "context": "sent1",
        "choices.0": "ending0",
        "choices.1": "ending1",
        "choices.2": "ending2",
    }
    record = row(sent1="a b", sent2="c", ending0="d", ending1="[e", ending2="f", gold="2")
    (found,) = TASK.examples([record], columns)
    assert found == Example(question="c", context="a b", choices=("d", "[e", "f"), label=2, **PLACE)


def test_one_column_of_choices_holds_all() -> None:
    assert MultipleChoice.columns(roles={"choices": ["endings"]})["choices"] == "endings"


def test_columns_that_the_task_does_not_have() -> None:
    with pytest.raises(ConfigError, match="has no use for a pair column; it reads question, context, choices, label"):
        MultipleChoice.columns(pair="x")
    with pytest.raises(ConfigError, match=r"context is .*, expected the name or number of one column"):
        MultipleChoice.columns(roles={"context": ("a", "b")})


@pytest.mark.parametrize(
    ("choices", "label", "message"),
    [
        (["b", "c"], "2", "the label is '2', expected the number of one of 2 choices, from 0 to 1"),
        (["b", "c"], -1, "the label is '-1'"),
        (["b", "c"], "C", "the label is 'C'"),
        (["b", "c"], "", "the label is ''"),
        (["b", "c"], None, r"the label is missing \(null\)"),
        (["b", "c"], True, "the label is"),
        (["2", "0", "1"], "1", r"the label '1' can mean choice 1 or 2 \(from 0\)"),
        (["B", "A"], "A", "the label 'A' can mean choice 0 or 1"),
        (["b", "b"], "b", "the label 'b' can mean choice 0 or 1"),
        ({"label": ["A", "B"], "text": ["b", "c"]}, "b", "the label is 'b', expected one of the choices' own: A, B"),
        ({"label": ["A", "A"], "text": ["b", "c"]}, "A", "the label is 'A', expected one of the choices' own"),
        ({"label": ["A"], "text": ["b", "c"]}, "A", "the choices are"),
        ([1, 2], "1", "the choices are"),
        ("b, c", "1", "the choices are"),
    ],
)
def test_labels_and_choices_that_are_none_are_refused(choices: Any, label: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"f\.csv:5: {message}"):
        list(TASK.examples([row(question="a", choices=choices, label=label)], COLUMNS))


def test_a_number_of_json_is_a_number() -> None:
    (found,) = TASK.examples([row(question="a", choices=["2", "0", "1"], label=1)], COLUMNS)
    assert found.label == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choices": ("a",)}, "a question with 1 choice; it takes two or more"),
        ({"choices": ()}, "a question with 0 choices"),
        ({"choices": ("a", " ")}, r"choice 1 \(from 0\) is empty"),
        ({"question": " "}, "the question is empty"),
        ({"context": ""}, "the context is empty"),
        ({"label": None}, "no label, expected the number of one of 2 choices"),
        ({"label": 2}, "the label is 2"),
    ],
)
def test_questions_that_cannot_be_read_are_named(changes: dict[str, Any], message: str) -> None:
    values = {"question": "a", "choices": ("b", "c"), "label": 0, **PLACE, **changes}
    with pytest.raises(DataError, match=rf"f\.csv:5: {message}"):
        list(TASK.features([*EXAMPLES, Example(**values)], TOKENIZER, max_length=12))


# -- batches ------------------------------------------------------------------------------------------------


def test_what_the_model_reads() -> None:
    found = list(TASK.features(EXAMPLES, TOKENIZER, max_length=12))
    assert [len(feature) for feature in found] == [6 + 9, 5 * 10, 7 + 8 + 7, 6 + 7]
    batch = TASK.collate(found[:2], TOKENIZER)
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "input_ids": (2, 5, 10),
        "token_type_ids": (2, 5, 10),
        "attention_mask": (2, 5, 10),
        "labels": (2,),
    }
    names = {index: token for token, index in VOCABULARY.items()}
    words = [[names[index] for index in row if index] for row in batch["input_ids"].flatten(0, 1).tolist()]
    assert words[0] == ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"]
    assert words[5] == ["[CLS]", "h", "g", "f", "e", "d", "[SEP]", "a", "b", "[SEP]"]
    assert batch["token_type_ids"][1, 0].tolist() == [0] * 7 + [1] * 3
    assert batch["attention_mask"].sum(dim=2).tolist() == [[6, 9, 0, 0, 0], [10] * 5]
    (last,) = TASK.collate(found[3:], TOKENIZER)["input_ids"][:, 0].tolist()
    assert [names[index] for index in last if index] == ["[CLS]", "a", "b", "[SEP]", "h", "[SEP]"]


def test_a_long_context_is_cut_and_that_is_told() -> None:
    (feature,) = TASK.features(
        [Example(question="a", context="b " * 20, choices=("c", "d e"))], TOKENIZER, max_length=12, labelled=False
    )
    assert (feature.label, max(map(len, feature.encodings)), feature.cut) == (None, 12, 14)
    (answer,) = TASK.answers([EXAMPLES[0]], [feature], [torch.tensor([0.0, 1.0])])
    assert answer.cut == 14


def score(model: BertForMultipleChoice, examples: list[Example]) -> list[torch.Tensor]:
    found = list(TASK.features(examples, TOKENIZER, max_length=12, labelled=False))
    with torch.inference_mode():
        return TASK.rows(model(**TASK.collate(found, TOKENIZER)), found)


@pytest.mark.parametrize("backend", ["packed", "sdpa", "eager"])
def test_other_questions_change_nothing(backend: Literal["packed", "sdpa", "eager"]) -> None:
    model = small()
    model.attention_backend = backend
    for example, row in zip(EXAMPLES, score(model, EXAMPLES), strict=True):
        (alone,) = score(model, [example])
        assert len(row) == len(example.choices)
        torch.testing.assert_close(row, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_a_mean_over_questions_however_many_choices_they_have(smoothing: float) -> None:
    model = small()
    found = list(TASK.features(EXAMPLES, TOKENIZER, max_length=12))

    def loss(some: Any) -> torch.Tensor:
        value: torch.Tensor = model(**TASK.collate(some, TOKENIZER), label_smoothing=smoothing).loss
        return value

    together = loss(found)
    alone = torch.stack([loss([feature]) for feature in found]).mean()
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    gradients = []
    for value in (together, alone):
        model.zero_grad()
        value.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        assert gradient.isfinite().all()
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-5)


def test_micro_batches_change_nothing() -> None:
    found = list(TASK.features(EXAMPLES, TOKENIZER, max_length=12))
    values = [
        backward(
            small().train(), found, lambda some: TASK.collate(some, TOKENIZER), token_budget=budget, weight=TASK.weight
        )
        for budget in (10**6, 16)
    ]
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-5)


def test_a_choice_of_padding_alone_has_the_lowest_score_and_no_label() -> None:
    ids = torch.tensor([[[2, 5, 3], [2, 6, 3], [0, 0, 0]]] * 2)
    mask = (ids != 0).long()
    output = small()(ids, mask, labels=torch.tensor([1, 2]))
    assert output.logits.softmax(dim=-1)[:, 2].tolist() == [0.0, 0.0]
    first = small()(ids[:1], mask[:1], labels=torch.tensor([1]))
    torch.testing.assert_close(output.loss, first.loss)


def test_smoothing_is_over_the_choices_that_are_there() -> None:
    lowest = torch.finfo(torch.float32).min
    logits = torch.tensor([[1.0, 2.0, lowest]])
    present = torch.tensor([[True, True, False]])
    found = losses.multiple_choice(logits, torch.tensor([0]), present, label_smoothing=0.3)
    expected = torch.nn.functional.cross_entropy(logits[:, :2], torch.tensor([0]), label_smoothing=0.3)
    torch.testing.assert_close(found, expected)


# -- answers ------------------------------------------------------------------------------------------------


def test_answers() -> None:
    choose = pipeline("multiple-choice", model=small(), tokenizer=TOKENIZER)
    inputs = [{"question": "a b", "choices": ["c", "d e f g"]}, {"question": "c c c", "choices": ["a", "b b", "g"]}]
    answers = choose(inputs)
    for answer, given, row in zip(answers, inputs, score(small(), [EXAMPLES[0], EXAMPLES[2]]), strict=True):
        assert isinstance(answer, Choice)
        assert answer.scores == pytest.approx(row.softmax(dim=-1).tolist(), abs=1e-6)
        assert answer.score == max(answer.scores) == answer.scores[answer.index]
        assert answer.text == given["choices"][answer.index]
    assert choose(inputs[1]).scores == pytest.approx(answers[1].scores, abs=1e-6)
    with_context = choose({**inputs[0], "context": "h"})
    assert with_context.scores != answers[0].scores
    assert json.loads(json.dumps(answers[0].to_dict()))["index"] == answers[0].index


BAD: list[tuple[Any, type[Exception], str]] = [
    ("a", InputError, r"multiple-choice needs choices \(--choice\); context may be given"),
    ({"question": "a", "choices": ["b"]}, DataError, "1 choice;"),
    ({"question": "a", "choices": "b"}, DataError, "the choices are"),
    ({"question": 1, "choices": ["b", "c"]}, InputError, "of type int"),
]


@pytest.mark.parametrize(("given", "error", "message"), BAD)
def test_inputs_that_are_no_questions_are_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pipeline(model=small(), tokenizer=TOKENIZER)(given)


def test_the_model_knows_its_task() -> None:
    config = small().config
    assert task_of(config, "BertForMultipleChoice") == TASK
    assert config.extra == {"glassbert_task": {"name": "multiple-choice"}}
    assert task_of(BertConfig(), "BertForMultipleChoice") == TASK


def test_metrics_by_hand() -> None:
    picked: Callable[[int], Choice] = lambda index: Choice(index=index, text="", score=1.0, scores=())  # noqa: E731
    metrics = TASK.measure(EXAMPLES, [picked(1), picked(1), picked(2), picked(1)])
    assert metrics.accuracy == metrics.main == pytest.approx(2 / 4)
    assert metrics.chance == pytest.approx((1 / 2 + 1 / 5 + 1 / 3 + 1 / 2) / 4)
    assert metrics.examples == 4
    with pytest.raises(InputError, match="no examples"):
        TASK.measure([], [])
