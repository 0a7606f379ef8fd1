"""Questions to windows to answers, beside a slow and plain decoder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from glassbert import (
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    BertTokenizer,
    ConfigError,
    DataError,
    FinetuneSettings,
    InputError,
    finetune,
    pipeline,
)
from glassbert.data import Record
from glassbert.model.outputs import QuestionAnsweringModelOutput
from glassbert.tasks import Answer, Candidate, QuestionAnswering, QuestionAnsweringMetrics, Reference
from glassbert.tasks import QuestionAnsweringExample as Example
from glassbert.tasks.question_answering import QuestionFeatures
from glassbert.tasks.spans import locate

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", *LETTERS, *(f"##{letter}" for letter in LETTERS))
TOKENIZER = BertTokenizer({token: number for number, token in enumerate(TOKENS)})
SQUAD = Path(__file__).resolve().parents[2].parent / "shared" / "data"
COLUMNS = QuestionAnswering.columns()


def example(context: str, *answers: str, question: str = "a?", **more: Any) -> Example:
    """Make an example whose answers stand where they first occur."""
    references = tuple(Reference(answer, context.index(answer)) for answer in answers)
    return Example(question=question, context=context, answers=references, **more)


def features(task: QuestionAnswering, *examples: Example, length: int = 64, **more: Any) -> list[QuestionFeatures]:
    return list(task.features(examples, TOKENIZER, max_length=length, **more))


def Row(**values: Any) -> Record:  # noqa: N802
    return Record(values={"question": "who?", "context": "me", **values}, file="f.jsonl", line=4)


# -- records → examples


def test_answers_of_both_forms_are_read() -> None:
    right = (Reference("me", 0), Reference("m", 0))
    for answers in (
        {"text": ["me", "m"], "answer_start": [0, 0]},
        [{"text": "me", "answer_start": 0}, {"text": "m", "answer_start": 0, "more": 1}],
    ):
        for more in ({}, {"is_impossible": False}, {"is_impossible": None}):
            (found,) = QuestionAnswering().examples([Row(answers=answers, id=7, **more)], COLUMNS)
            assert found == Example(question="who?", context="me", answers=right, id="7", file="f.jsonl", line=4)
    nothing: tuple[Any, ...] = ({"text": [], "answer_start": []}, [], None)
    for none in nothing:
        (found,) = QuestionAnswering().examples([Row(answers=none, is_impossible=True)], COLUMNS)
        assert found.answers == ()
    (found,) = QuestionAnswering().examples([Row()], COLUMNS, labelled=False)
    assert found.answers is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"answers": []}, "no answers, and is_impossible does not say"),
        ({"answers": None, "is_impossible": False}, "no answers, and is_impossible does not say"),
        ({"answers": [{"text": "me", "answer_start": 0}], "is_impossible": True}, "but there are answers"),
        ({"answers": [{"text": "me", "answer_start": 0}], "is_impossible": 3}, "expected true or false"),
        ({"answers": [{"text": "me"}]}, "the answer_start of 'me' is None, expected a whole number"),
        ({"answers": [{"text": "me", "answer_start": "0"}], "id": 7}, r"is '0', expected .* \(question 7\)"),
        ({"answers": [{"text": 3, "answer_start": 0}]}, "an answer's text is 3, expected a string"),
        ({"answers": [{"text": " ", "answer_start": 0}]}, "an answer is empty; .* is_impossible is true"),
        ({"answers": None, "answer": "me"}, "no column answers; a column answer does not tell where"),
        ({"answers": {"text": ["me"], "answer_start": []}}, "neither the form"),
        ({"answers": {"text": "me", "answer_start": 0}}, "neither the form"),
        ({"answers": "me"}, "neither the form"),
        ({"answers": [1]}, "neither the form"),
    ],
)
def test_what_is_no_answer_is_refused_by_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"f\.jsonl:4: .*{message}"):
        list(QuestionAnswering().examples([Row(**values)], COLUMNS))
    with pytest.raises(DataError, match="no column 'answers'"):
        list(QuestionAnswering().examples([Row()], COLUMNS))


def test_an_empty_text_is_named_with_its_question() -> None:
    for bad, name in (
        (Example(question=" ", context="b", id="q7", file="f.json", position=3), "question"),
        (Example(question="a", context="\n", id="q7", file="f.json", position=3), "context"),
    ):
        with pytest.raises(DataError, match=rf"^f\.json, record 3: the {name} is empty \(question 'q7'\)$"):
            features(QuestionAnswering(), bad, labelled=False)


def test_other_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match="reads the columns question, context"):
        QuestionAnswering.columns(text="text", pair="title")
    with pytest.raises(ConfigError, match="takes no names"):
        QuestionAnswering.columns(text="0")


# -- examples → features


def test_windows_and_places_of_the_answer() -> None:
    task = QuestionAnswering(max_seq_length=9, doc_stride=2, max_query_length=2)
    #          tokens: a b c d e f g; room for 4 of them beside [CLS] x ? [SEP] … [SEP]
    rows = features(task, example("a b cd e f", "cd e", question="x? y z"))
    assert [row.encoding.ids[4:-1] for row in rows] == [
        TOKENIZER.convert_tokens_to_ids(some) for some in (["a", "b", "c", "##d"], ["c", "##d", "e", "f"])
    ]
    assert rows[0].encoding.ids[:4] == TOKENIZER.convert_tokens_to_ids(["[CLS]", "x", "?", "[SEP]"])
    assert rows[0].encoding.types == [0] * 4 + [1] * 5
    assert (rows[0].encoding.offsets or [])[4:] == [(0, 1), (2, 3), (4, 5), (5, 6), (0, 0)]
    # The first window lacks the answer's end, so it points at [CLS].
    assert [row.span for row in rows] == [(0, 0), (4, 6)]
    assert [row.cut for row in rows] == [2, 2]
    assert [row.may_begin.tolist() for row in rows] == [[True, True, True, False], [False, True, True, True]]
    batch = task.collate(rows, TOKENIZER)
    assert (batch["start_positions"].tolist(), batch["end_positions"].tolist()) == ([0, 4], [0, 6])


def test_padding_stands_on_the_right_whatever_the_tokenizer_does() -> None:
    left = BertTokenizer(TOKENIZER.vocab, padding_side="left")
    task = QuestionAnswering()
    rows = features(task, example("b c", "c"), example("b c d e", "d"))
    batch = task.collate(rows, left)
    assert batch["attention_mask"].tolist() == [[1] * 7 + [0] * 2, [1] * 9]
    assert torch.equal(batch["input_ids"], task.collate(rows, TOKENIZER)["input_ids"])


def test_an_answer_inside_a_word_is_the_pieces_that_hold_it() -> None:
    (row,) = features(QuestionAnswering(), example("xabcd y", "bc"))
    assert row.span == (5 + 1, 5 + 3 - 1) or row.span == (4 + 2, 4 + 3)


def test_the_first_answer_that_is_found_is_learned() -> None:
    task = QuestionAnswering()
    references = (Reference("z", 0), Reference("c", 0), Reference("b", 0))
    (row,) = features(task, Example(question="a", context="b c", answers=references))
    assert row.span == (4, 4)


def test_what_cannot_be_learned_counts_nothing_and_is_told() -> None:
    task = QuestionAnswering(max_seq_length=9, max_query_length=2)
    given = [
        example("b c d", "c", id="x"),
        Example(question="a?", context="b c", answers=(Reference("z", 0),), id="x"),
        example("b c d e f g h", "b c d e f g"),  # longer than any window
        Example(question="a b c", context="b c", answers=(Reference("c", 0),), id="z", file="f", line=7),  # elsewhere
        example("b c d e f g h"),  # has none, and that can be learned
    ]
    rows = features(task, *given)
    assert [row.span == (-100, -100) for row in rows] == [row.example in (1, 2) for row in rows]
    assert task.weight(rows) == sum(row.example not in (1, 2) for row in rows)
    assert list(task.notes(given, rows)) == [
        "1 of 5 answers do not stand where answer_start says; the place nearest to it was taken: f:7: question 'z'",
        "2 of 5 answers are left out of training: they do not stand in their context, or are longer than a window: "
        "question 'x', question 'a?'",
        "1 question id used more than once: x",
        "1 of 5 questions are longer than a question may be and were cut",
    ]
    torch.manual_seed(0)
    model = BertForQuestionAnswering(small()).eval()
    with torch.inference_mode():
        whole, kept, none = (
            float(model(**task.collate([row for row in rows if row.example in chosen], TOKENIZER)).loss)
            for chosen in ({0, 1, 2, 3, 4}, {0, 3, 4}, {1})
        )
    assert whole == pytest.approx(kept, abs=1e-6)
    assert none == 0.0


def test_features_without_labels_have_no_places() -> None:
    task = QuestionAnswering()
    rows = features(task, Example(question="a", context="b"), labelled=False)
    assert "start_positions" not in task.collate(rows, TOKENIZER)
    with pytest.raises(DataError, match="no answers"):
        features(task, Example(question="a", context="b"))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Example(question=" ", context="b", answers=(), file="f", line=2), "f:2: the question is empty"),
        (Example(question="a", context="\n", answers=(), file="f", line=2), "f:2: the context is empty"),
        (Example(question="a", context="\ud800", answers=(), file="f", line=2), "f:2: .*surrogate"),
    ],
)
def test_bad_examples_are_named_by_file_and_line(bad: Example, message: str) -> None:
    with pytest.raises(DataError, match=message):
        features(QuestionAnswering(), example("a b", "b"), bad)


def test_texts_are_strings_and_lengths_leave_room() -> None:
    with pytest.raises(InputError, match="the context is of type int"):
        features(QuestionAnswering(), Example(question="a", context=cast(str, 3), answers=()))
    with pytest.raises(InputError, match="max_length is 4"):
        features(QuestionAnswering(), example("a b", "b"), length=4)
    rows = features(QuestionAnswering(), example("a b c", "b", question="d e f"), length=5)
    assert [row.encoding.ids[3] for row in rows] == TOKENIZER.convert_tokens_to_ids(["a", "b", "c"])


# -- rows → answers


def plain_answers(
    task: QuestionAnswering, given: Example, rows: Sequence[QuestionFeatures], scores: Sequence[Tensor]
) -> tuple[list[tuple[float, str, int, int]], float]:
    """Find the best answers as one would by hand: every pair of places of every window."""
    candidates = []
    for row, score in zip(rows, scores, strict=True):
        start, end = score.double().tolist()
        offsets = row.encoding.offsets or []
        for first in range(row.begin, len(row) - 1):
            for last in range(first, len(row) - 1):
                if last - first < task.max_answer_length and row.may_begin[first - row.begin]:
                    place = (offsets[first][0], offsets[last][1])
                    candidates.append((start[first] + end[last], given.context[slice(*place)], *place))
    best: list[tuple[float, str, int, int]] = []
    for candidate in sorted(candidates, reverse=True):
        if len(best) < task.n_best and candidate[1] not in [text for _, text, _, _ in best]:
            best.append(candidate)
    null = min(float(score[0, 0].double() + score[1, 0].double()) for score in scores)
    return best, null


@pytest.mark.parametrize("threshold", [None, -1.0, 0.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_answers_are_those_of_a_slow_decoder(seed: int, threshold: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    task = QuestionAnswering(
        max_seq_length=14, doc_stride=3, max_answer_length=3, n_best=5, null_threshold=threshold, max_query_length=3
    )
    draw = torch.randint(0, 26, (4, 30), generator=generator).tolist()
    given = [
        example(" ".join(LETTERS[letter] for letter in letters[: 3 + 9 * number]))
        for number, letters in enumerate(draw)
    ]
    rows = features(task, *given, labelled=False)
    assert len(rows) > len(given)
    scores = [3.0 * torch.randn(2, len(row), generator=generator) for row in rows]
    for number, (one, answer) in enumerate(zip(given, task.answers(given, rows, scores), strict=True)):
        mine = [place for place, row in enumerate(rows) if row.example == number]
        best, null = plain_answers(task, one, [rows[place] for place in mine], [scores[place] for place in mine])
        assert [(found.text, found.start, found.end) for found in answer.candidates] == [found[1:] for found in best]
        values = [math.exp(score) for score, *_ in best] + ([] if threshold is None else [math.exp(null)])
        assert [found.score for found in answer.candidates] == pytest.approx(
            [value / sum(values) for value in values][: len(best)]
        )
        if threshold is not None and null - best[0][0] > threshold:
            assert (answer.text, answer.start, answer.end) == ("", None, None)
            assert answer.score == answer.no_answer_probability == pytest.approx(values[-1] / sum(values))
        else:
            assert (answer.text, answer.start, answer.end) == best[0][1:]
            assert answer.text == one.context[answer.start : answer.end]
        assert answer.null_difference == (None if threshold is None else pytest.approx(null - best[0][0]))


def probabilities(score: Tensor, begin: int) -> list[dict[int, float]]:
    """Return how probable each token of a window is as the answer's first and last: [CLS] and the context's."""
    found = []
    for scores in score.double().tolist():
        weights = {place: math.exp(scores[place]) for place in (0, *range(begin, len(scores) - 1))}
        found.append({place: weight / sum(weights.values()) for place, weight in weights.items()})
    return found


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_each_window_may_answer_by_itself(seed: int, threshold: float | None) -> None:
    """Scores are products of probabilities in one window, texts are whole words, and any token may begin."""
    generator = torch.Generator().manual_seed(seed)
    task = QuestionAnswering(max_seq_length=16, max_query_length=3, max_answer_length=3, null_threshold=threshold)
    task = task.chosen({"scoring": "windows", "overlap": 5, "n_best": 7})
    letters = "".join(LETTERS[place] for place in torch.randint(0, 26, (40,), generator=generator).tolist())
    # Words of one to four pieces.
    context = " ".join(letters[place : place + 1 + place % 4] for place in range(0, 40, 3))
    given = Example(question="a?", context=context)
    rows = features(task, given, labelled=False)
    assert [len(row) for row in rows[:-1]] == [16] * (len(rows) - 1)
    scores = [3.0 * torch.randn(2, len(row), generator=generator) for row in rows]
    best: dict[tuple[str, int, int], float] = {}
    nulls = []
    step = 16 - 5 - 5  # beside three special tokens and two of the question
    whole = TOKENIZER(context, add_special_tokens=False)
    for number, (row, score) in enumerate(zip(rows, scores, strict=True)):
        start, end = probabilities(score, row.begin)
        nulls.append(start[0] * end[0])
        for first in range(row.begin, len(row) - 1):
            for last in range(first, min(first + 3, len(row) - 1)):
                words = [whole.token_to_word(number * step + place - row.begin) for place in (first, last)]
                (begin, _), (_, stop) = (whole.word_to_chars(word or 0) or (0, 0) for word in words)
                span = context[begin:stop], begin, stop
                best[span] = max(best.get(span, 0.0), start[first] * end[last])
    ordered: dict[str, tuple[float, int, int]] = {}
    for (text, begin, stop), product in sorted(best.items(), key=lambda item: -item[1]):
        ordered.setdefault(text, (product, begin, stop))
    (answer,) = task.answers([given], rows, scores)
    expected = [(text, *place) for text, (_, *place) in list(ordered.items())[:7]]
    assert [(one.text, one.start, one.end) for one in answer.candidates] == expected
    assert [one.score for one in answer.candidates] == pytest.approx([one[0] for one in ordered.values()][:7])
    highest = next(iter(ordered.values()))[0]
    if threshold is None:
        assert (answer.no_answer_probability, answer.null_difference) == (0.0, None)
    else:
        assert answer.no_answer_probability == pytest.approx(min(nulls))
        assert answer.null_difference == pytest.approx(math.log(min(nulls) / highest))
    if threshold is not None and math.log(min(nulls) / highest) > threshold:
        assert (answer.text, answer.start, answer.score) == ("", None, answer.no_answer_probability)
    else:
        assert (answer.text, answer.start, answer.end) == expected[0]
        assert answer.score == pytest.approx(highest)


def test_windows_may_be_told_by_what_they_share() -> None:
    given = Example(question="a", context="b c d e f g h")

    def starts(**options: Any) -> list[tuple[int, int]]:
        task = QuestionAnswering(max_seq_length=8).chosen(options)  # room for four beside the question
        return [(row.encoding.offsets or [])[row.begin] for row in features(task, given, labelled=False)]

    assert starts(overlap=0) == [(0, 1), (8, 9)]
    assert starts(overlap=1) == [(0, 1), (6, 7)]
    assert starts(overlap=3) == [(0, 1), (2, 3), (4, 5), (6, 7)] == starts(overlap=99)
    # Without it windows share half of their tokens at least.
    assert starts(doc_stride=3) == [(0, 1), (4, 5), (8, 9)]


def test_answers_can_be_asked_for_in_another_way() -> None:
    given = example("b c d e")
    (row,) = features(QuestionAnswering(), given)
    scores = torch.zeros(2, len(row))
    scores[:, 0] = 1.0
    for options, text, count in (
        ({}, "b", 10),
        ({"n_best": 3}, "b", 3),
        ({"max_answer_length": 1}, "b", 4),
        ({"null_threshold": 0.0}, "", 10),
        ({"null_threshold": 3}, "b", 10),
    ):
        (answer,) = QuestionAnswering().chosen(options).answers([given], [row], [scores])
        assert (answer.text, len(answer.candidates)) == (text, count)
    with pytest.raises(ConfigError, match="no option 'characters' for its answers; it has n_best, max_answer_length"):
        QuestionAnswering().chosen({"characters": True})


def test_a_notebook_shows_answer_and_candidates() -> None:
    answer = Answer(
        text="<b>",
        start=2,
        end=5,
        score=0.75,
        no_answer_probability=0.125,
        null_difference=-1.0,
        candidates=(
            Candidate(text="<b>", start=2, end=5, score=0.75),
            Candidate(text="c", start=9, end=10, score=0.125),
        ),
        cut=1,
    )
    shown = answer._repr_html_()
    assert "<b>" not in shown
    for part in ("2–5", "0.7500 &lt;b&gt;", "0.1250 c", "0.1250 (no answer)", "1 token of the question"):
        assert part in shown
    none = Answer(text="", start=None, end=None, score=0.0)._repr_html_()
    assert ">no answer<" in none
    assert "candidates" not in none


def test_answers_are_cut_from_the_context_as_it_stands() -> None:
    task = QuestionAnswering()
    given = example("\ufeffÀ  b\u200bC\td")
    (row,) = features(task, given)
    assert row.encoding.ids[row.begin : -1] == TOKENIZER.convert_tokens_to_ids(["a", "b", "##c", "d"])
    scores = torch.zeros(2, len(row))
    scores[0, row.begin] = scores[1, row.begin + 2] = 9.0
    (answer,) = task.answers([given], [row], [scores])
    assert (answer.text, answer.start, answer.end) == ("À  b\u200bC", 1, 7)
    assert json.dumps(answer.to_dict())


def test_a_context_without_tokens_has_no_answer() -> None:
    for threshold in (None, 0.0):
        task = QuestionAnswering(null_threshold=threshold)
        given = Example(question="a", context="\u200b", answers=())
        (row,) = features(task, given)
        (answer,) = task.answers([given], [row], [torch.zeros(2, len(row))])
        assert (answer.text, answer.start, answer.candidates) == ("", None, ())
        assert answer.score == answer.no_answer_probability == (0.0 if threshold is None else 1.0)
        assert task.calibrate([given], [row], [torch.zeros(2, len(row))]) == task


def test_scores_that_are_no_numbers_give_no_answer() -> None:
    given = example("b c")
    (row,) = features(QuestionAnswering(), given)
    with pytest.raises(InputError, match="not finite"):
        QuestionAnswering().answers([given], [row], [torch.full((2, len(row)), math.nan)])


def test_rows_leave_padding_out() -> None:
    task = QuestionAnswering()
    rows = features(task, example("b c"), example("b c d e"))
    start, end = torch.arange(18.0).reshape(2, 9), -torch.arange(18.0).reshape(2, 9)
    output = QuestionAnsweringModelOutput(start_logits=start, end_logits=end)
    first, second = task.rows(output, rows)
    assert first.tolist() == [start[0, :7].tolist(), end[0, :7].tolist()]
    assert second.shape == (2, 9)


# -- threshold, metrics, settings


def scored(differences: Sequence[float], task: QuestionAnswering, given: Sequence[Example]) -> tuple[Any, list[Tensor]]:
    """Make scores under which the last letter is the answer, and none is better by a difference."""
    rows = features(task, *given)
    scores = []
    for row, difference in zip(rows, differences, strict=True):
        score = torch.full((2, len(row)), -50.0)
        score[:, -2] = 0.0
        score[:, 0] = difference / 2
        scores.append(score)
    return rows, scores


@pytest.mark.parametrize(
    ("differences", "right", "threshold"),
    [
        # The last letter is right in the first two, wrong in the next; no answer is right in the last two.
        ((-3.0, -1.0, 0.5, 1.0, 4.0), (True, True, None, False, False), -0.25),
        ((-3.0, 2.0, 0.5, 1.0, 4.0), (True, True, None, False, False), 3.0),  # 1 lost, 1 won: as good as the lower
        ((1.0, 1.0, 1.0, 1.0, 4.0), (True, True, None, False, False), 2.5),  # equal ones cannot be parted
        ((1.0, 2.0, 3.0, 4.0, 5.0), (True,) * 5, 5.5),  # all are answered
        ((1.0, 2.0, 3.0, 4.0, 5.0), (False,) * 5, 0.5),  # none is
    ],
)
def test_the_threshold_is_that_of_the_best_f1(
    differences: tuple[float, ...], right: tuple[bool | None, ...], threshold: float
) -> None:
    task = QuestionAnswering(null_threshold=0.0)
    given = [example("b c d", *([] if one is False else ["d"] if one else ["b"])) for one in right]
    rows, scores = scored(differences, task, given)
    found = task.calibrate(given, rows, scores)

    def f1(level: float) -> float:
        some = QuestionAnswering(null_threshold=level)
        return some.measure(given, some.answers(given, rows, scores)).f1

    assert f1(found.null_threshold or 0.0) == max(f1(level / 4) for level in range(-20, 30))
    if threshold != 3.0:
        assert found.null_threshold == pytest.approx(threshold)
    assert QuestionAnswering().calibrate(given, rows, scores) == QuestionAnswering()


def test_metrics_by_hand() -> None:
    given = [example("the red fox", "the red fox", "red"), example("b c", "b"), example("b"), example("c")]
    results = [Answer(text=text, start=0, end=0, score=1.0) for text in ("Red fox!", "c", "", "c")]
    metrics = QuestionAnswering().measure(given, results)
    assert (metrics.exact, metrics.f1) == (0.5, 0.5)
    assert (metrics.has_answer_exact, metrics.has_answer_f1) == (0.5, 0.5)
    assert (metrics.no_answer_exact, metrics.no_answer_f1) == (0.5, 0.5)
    metrics = QuestionAnswering().measure(given[:1], [Answer(text="red dog", start=0, end=0, score=1.0)])
    assert metrics.exact == 0.0
    assert metrics.main == pytest.approx(2 / 3)
    assert (metrics.no_answer_exact, metrics.no_answer_f1, metrics.examples) == (None, None, 1)
    with pytest.raises(InputError, match="no examples"):
        QuestionAnswering().measure([], [])


def test_whether_there_may_be_no_answer_is_learned_from_the_data() -> None:
    one, none = example("b c", "c"), example("b c")
    assert QuestionAnswering().learn([one]).null_threshold is None
    assert QuestionAnswering().learn([one, none]).null_threshold == 0.0
    assert QuestionAnswering(n_best=3).learn([one]).n_best == 3
    for few in ([none], []):
        with pytest.raises(DataError, match="no question with an answer"):
            QuestionAnswering().learn(few)


def test_answers_that_stand_nowhere_teach_nothing() -> None:
    lost = Example(question="a?", context="b", answers=(Reference("z", 0),), id="q", file="f.json", position=2)
    with pytest.raises(DataError) as caught:
        QuestionAnswering().learn([example("b c"), lost, lost])
    assert str(caught.value) == (
        "f.json, record 2: none of the 2 questions with an answer has one that stands in its context, so nothing can "
        "be learned; the first is 'z' (question 'q')"
    )
    assert QuestionAnswering().learn([lost, example("b c", "c")]).null_threshold is None


def test_settings_are_kept_in_the_config() -> None:
    task = QuestionAnswering(doc_stride=32, characters=True, null_threshold=-1.5)
    assert QuestionAnswering.of_model(task.configure(BertConfig())) == task
    assert QuestionAnswering.of_model(BertConfig()) == QuestionAnswering()


@pytest.mark.parametrize(
    "wrong",
    [
        {"doc_stride": 0},
        {"max_seq_length": 4},
        {"n_best": True},
        {"max_answer_length": 1.5},
        {"characters": 1},
        {"overlap": -1},
        {"overlap": True},
        {"scoring": "sums"},
        {"null_threshold": math.nan},
        {"null_threshold": "0"},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name} is"):
        QuestionAnswering(**wrong)
    with pytest.raises(ConfigError, match=f"{name} is"):
        QuestionAnswering.of_model(BertConfig(extra={"glassbert_task": wrong}))


# -- pipelines


def small() -> BertConfig:
    return BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
    )


def test_any_model_with_the_head_answers() -> None:
    torch.manual_seed(0)
    model = BertForQuestionAnswering(small()).eval()
    ask = pipeline(model=model, tokenizer=TOKENIZER)
    assert isinstance(ask.task, QuestionAnswering)
    context = " ".join(LETTERS)
    answer = ask(("who?", context))
    assert answer == ask({"context": context, "question": "who?", "id": "7"}) == ask([("who?", context)])[0]
    assert answer.text == context[answer.start : answer.end]
    assert len(answer.candidates) == 20
    with pytest.raises(InputError, match=r"^question-answering needs context \(--context\)$"):
        ask("who?")
    metrics, answers = ask.evaluate([Example(question="who?", context=context, answers=(Reference(answer.text, 0),))])
    assert (metrics.exact, answers) == (1.0, [answer])


# -- real files


def questions(file: str) -> list[Example]:
    path = SQUAD / file
    if not path.exists():
        pytest.skip(f"needs shared/data/{file} beside the repository")
    found = []
    for article in json.loads(path.read_text("utf-8-sig"))["data"]:
        for paragraph in article["paragraphs"]:
            for one in paragraph["qas"]:
                references = tuple(Reference(answer["text"], answer["answer_start"]) for answer in one["answers"])
                found.append(Example(question=one["question"], context=paragraph["context"], answers=references))
    return found


@pytest.mark.parametrize(
    ("file", "count", "moved"),
    [
        ("xquad/xquad.en.json", 1190, 0),
        ("xquad/xquad.zh.json", 1190, 0),
        ("cmrc2018/cmrc2018_trial.json", 1002, 5),
        ("covidqa/200423_covidQA.part.json", 422, 55),
    ],
)
def test_answers_of_real_files_are_where_they_are_said_to_be_or_found(file: str, count: int, moved: int) -> None:
    found = questions(file)
    assert len(found) == count
    assert all(locate(one.context, right.text, right.start) for one in found for right in one.answers or ())
    notes = [note for note in QuestionAnswering().notes(found, []) if "stand where" in note]
    said = f"{moved} of {count} answers do not stand where answer_start says; the place nearest to it was taken: "
    assert [note.startswith(said) and note.endswith(", …") for note in notes] == [True] * bool(moved)


def test_places_of_tokens_lead_back_to_the_answers() -> None:
    """Scores that point where training would have them point give the right answers of SQuAD, to the character."""
    given = questions("squad2/dev-v2.0.json")[::10]
    tokenizer = BertTokenizer(SQUAD / "vocab" / "bert-base-uncased.vocab.txt")
    task = QuestionAnswering(max_seq_length=128, doc_stride=64, max_answer_length=40, null_threshold=0.0)
    rows = list(task.features(given, tokenizer, max_length=512))
    assert len(rows) > 1.5 * len(given)
    scores = []
    for row in rows:
        assert row.span is not None
        score = torch.full((2, len(row)), -10.0)
        score[[0, 1], list(row.span)] = 0.0 if row.span == (0, 0) else 5.0
        scores.append(score)
    for one, answer in zip(given, task.answers(given, rows, scores), strict=True):
        assert answer.text == (one.answers[0].text.strip() if one.answers else "")
        assert answer.start == (one.answers[0].start if one.answers else None)


# -- the recipe


def test_questions_are_learned_from_a_file(tmp_path: Path) -> None:
    """Which letter stands after the one asked for? None does where that is not in the text."""
    torch.manual_seed(0)
    BertModel(small()).save_pretrained(tmp_path / "base")
    BertTokenizer(TOKENIZER.vocab, model_max_length=12).save_pretrained(tmp_path / "base")
    rows: list[dict[str, Any]] = []
    for letters in ("abzcd", "czadb", "dbacz", "zdcba", "badzc", "cdabz"):
        context = " ".join(letters)
        start = context.index("z")
        rows.append({"question": "z", "context": context, "answers": [{"text": "z", "answer_start": start}]})
        rows.append({"question": "y", "context": context, "answers": [], "is_impossible": True})
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = FinetuneSettings(
        train=data,
        validation=data,
        model=tmp_path / "base",
        out=tmp_path / "out",
        task="question-answering",
        options={"doc_stride": 2, "max_answer_length": 2},
        epochs=20,
        batch_size=4,
        learning_rate=1e-2,
    )
    result = finetune(settings)
    assert isinstance(result.metrics, QuestionAnsweringMetrics)
    assert result.metrics.f1 > 0.9
    ask = pipeline("question-answering", model=result.folder)
    assert ask.task == result.task
    assert isinstance(ask.task, QuestionAnswering)
    assert (ask.task.doc_stride, ask.task.max_answer_length) == (2, 2)
    assert ask.task.null_threshold not in (None, 0.0)
    found, none = ask([("z", "b d z c a"), ("y", "b d z c a")])
    assert (found.text, found.start, found.end) == ("z", 4, 5)
    assert none.text == ""
    assert none.no_answer_probability > found.no_answer_probability
