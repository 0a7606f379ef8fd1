"""The page of a run: well-formed, by itself, readable for every task and for whatever the data holds."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from glassbert import ClassificationMetrics
from glassbert.tasks.multi_label_classification import MultiLabelMetrics
from glassbert.tasks.multiple_choice import MultipleChoiceMetrics
from glassbert.tasks.question_answering import QuestionAnsweringMetrics
from glassbert.tasks.regression import RegressionMetrics
from glassbert.tasks.sentence_embedding import RetrievalMetrics, SimilarityMetrics
from glassbert.tasks.task import Metrics
from glassbert.tasks.text_classification import measure
from glassbert.tasks.token_classification import EntityScores, TokenClassificationMetrics
from glassbert.train import FinetuneSettings, TrainingSettings
from glassbert.train.markup import MOST_POINTS, escaped, inner_ticks, short, smoothed, tag, thinned, ticks
from glassbert.train.report import REPORT_PAGE, changed_settings, duration, page, place_of, write_report

VOID = {"meta", "wbr"}


class Page(HTMLParser):
    """Checks that every element is closed in its turn, and keeps texts and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        assert len({name for name, _ in attrs}) == len(attrs)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open and self.open[-1] == "style" else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


METRICS: dict[str, Metrics] = {
    "text-classification": measure(["a", "b", "b", "c"], ["a", "b", "c", "c"], ["a", "b", "c"]),
    "multi-label-classification": MultiLabelMetrics(
        micro_f1=0.5, macro_f1=0.4, exact=0.3, f1={"x": 0.5, "y": 0.3}, counts={"x": 3, "y": 1}, examples=4
    ),
    "regression": RegressionMetrics(pearson=0.5, spearman=0.25, mean_squared_error=12.5, examples=4),
    "token-classification": TokenClassificationMetrics(
        f1=0.5,
        precision=0.4,
        recall=0.6,
        macro_f1=0.3,
        token_accuracy=0.9,
        types={"PER": EntityScores(precision=0.4, recall=0.6, f1=0.5, support=7)},
        examples=4,
        words=40,
    ),
    "multiple-choice": MultipleChoiceMetrics(accuracy=0.5, chance=0.25, examples=4),
    "question-answering": QuestionAnsweringMetrics(
        exact=0.4,
        f1=0.5,
        has_answer_exact=0.4,
        has_answer_f1=0.5,
        no_answer_exact=None,
        no_answer_f1=None,
        examples=4,
    ),
    "sentence-embedding": SimilarityMetrics(spearman=0.5, pearson=0.4, by_width={16: 0.3, 8: 0.2}, examples=4),
}


def record(task: str = "text-classification", metrics: Metrics | None = None, *, steps: int = 20) -> dict[str, Any]:
    """Make what a run of two epochs leaves."""
    metrics = metrics or METRICS[task]
    evaluations = [
        {"epoch": epoch + 1, "step": steps * (epoch + 1) // 2, "main": metrics.main_name, **metrics.to_dict()}
        for epoch in range(2)
    ]
    return {
        "task": task,
        "settings": {"train": "train.csv", "model": "models/tiny", "epochs": 2, "seed": 0, "learning_rate": 1e-3},
        "versions": {"glassbert": "1.2.3", "torch": "2.0"},
        "threads": 2,
        "data": {"training": {"files": ["a/train.csv"], "sha256": ["f00d"], "examples": 1234, "skipped": 1}},
        "epochs": 2,
        "seconds": 90.0,
        "seconds_in_steps": 75.0,
        "tokens": 150_000,
        "peak_memory_bytes": 1_500_000_000,
        "losses": [1.0 / step for step in range(1, steps + 1)],
        "learning_rates": [1e-3] * steps,
        "grad_norms": [float(step % 3) for step in range(steps)],
        "evaluations": evaluations,
        "saved": {"step": evaluations[0]["step"], "epoch": 1, "why": f"the best {metrics.main_name}"},
        "test": None,
        "hardest": [
            {
                "file": "d/dev.csv",
                "line": 7,
                "position": None,
                "text": "t",
                "expected": "a",
                "answered": "b",
                "error": 2,
            }
        ],
        "notes": ["new, with random weights: classifier.bias"],
    }


@pytest.mark.parametrize("task", list(METRICS))
@pytest.mark.parametrize("tested", [False, True])
def test_the_page_of_each_task(task: str, tested: bool, tmp_path: Path) -> None:
    run = record(task)
    if tested:
        run["test"] = {"main": METRICS[task].main_name, **METRICS[task].to_dict()}
    write_report(tmp_path, run)
    found = Page((tmp_path / REPORT_PAGE).read_text(encoding="utf-8"))
    assert f"{METRICS[task].main:.4f}" in found.text
    assert f"on 4 {'test' if tested else 'validation'} examples" in found.text
    for words in ("1,234", "1 min 30 s", "2,000", "1.5 GB", "after epoch 1, step 10", "dev.csv:7", "f00d", "1.2.3"):
        assert words in found.text, words
    assert found.elements.count("svg") == 4
    assert ("By class" in found.text) is (
        task in ("text-classification", "multi-label-classification", "token-classification")
    )
    assert ("Confusions" in found.text) is (task == "text-classification")
    assert not re.search(r"\b(nan|inf|None)\b", found.text + " ".join(value for _, value in found.attributes))


def test_a_page_refers_to_nothing_else_and_runs_nothing() -> None:
    found = Page(page(record()))
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(found.elements)
    assert not {"src", "href", "srcset", "action"} & {name for name, _ in found.attributes}
    assert not any(name.startswith("on") for name, _ in found.attributes)
    style = " ".join(found.styles) + " ".join(value for name, value in found.attributes if name == "style")
    assert style
    assert not re.search(r"url\(|@import|//", style)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes


STRANGE = "<script>alert(\"1\")</script> & '2'</td>\x00 \u202e نعم \ud800"


def test_whatever_the_data_holds_is_text(tmp_path: Path) -> None:
    run = record(metrics=measure([STRANGE, "b"], ["b", "b"], [STRANGE, "b"]))
    run["hardest"] = [
        {"file": STRANGE, "line": 1, "text": STRANGE, "expected": STRANGE, "answered": STRANGE, "error": 1}
    ]
    run["notes"], run["settings"]["model"], run["task"] = [STRANGE], STRANGE, STRANGE
    run["settings"][STRANGE], run["saved"]["why"], run["versions"][STRANGE] = STRANGE, STRANGE, STRANGE
    run["data"] = {STRANGE: {"files": [STRANGE], "sha256": [STRANGE], "examples": 3, "skipped": 0}}
    write_report(tmp_path, run)
    text = (tmp_path / REPORT_PAGE).read_text(encoding="utf-8")
    found = Page(text)
    assert "script" not in found.elements
    assert "<script>alert(\"1\")</script> & '2'</td>\u2400" in found.text
    assert "\0" not in text


def test_what_is_missing_is_left_out() -> None:
    found = Page(page({"task": "regression", "losses": [0.5], "learning_rates": [0.1], "grad_norms": []}))
    assert "Trained without data to evaluate on." in found.text
    assert found.elements.count("svg") == found.elements.count("circle") == 2
    assert "path" not in found.elements
    for words in ("All figures", "By class", "hardest", "Settings", "Data", "Notes"):
        assert words not in found.text
    assert Page(page({"task": "regression"})).elements.count("svg") == 0


def test_numbers_that_are_none_leave_no_trace() -> None:
    run = record("regression")
    run["losses"][3] = run["grad_norms"][0] = math.nan
    run["evaluations"][0] |= {"spearman": math.nan, "pearson": math.inf}
    run["hardest"][0]["error"] = math.inf
    found = Page(page(run))
    assert not re.search(r"\b(nan|inf)\b", found.text + " ".join(value for _, value in found.attributes))


def test_steps_without_evaluation_where_training_stopped_early() -> None:
    run = record()
    run["saved"] = {"step": 13, "epoch": 1, "why": "the last"}
    found = Page(page(run))
    assert "after epoch 1, step 13: the last." in found.text
    assert "badge" not in {value for name, value in found.attributes if name == "class"}


def test_many_classes_are_listed_by_their_confusions() -> None:
    labels = [f"class {number:02}" for number in range(41)]
    gold = [label for label in labels for _ in range(3)]
    found = gold[1:] + gold[:1]
    few, many = (
        Page(page(record(metrics=measure(gold[: 3 * n], found[: 3 * n - 1] + gold[:1], labels[:n])))) for n in (40, 41)
    )
    assert ("class", "heat tilted many") in few.attributes
    assert "true ╲ predicted" in few.text
    assert "the 30 most frequent of 41 kinds, among 41 classes" in many.text
    assert "class 00 class 01 1 33%" in many.text.replace(" _ ", "_")
    assert "21 more" in many.text  # classes beyond those that are shown


def test_a_curve_of_a_long_run_keeps_its_extremes() -> None:
    points = [(float(step), math.sin(step)) for step in range(10_000)]
    points[5_000], points[7_000] = (5_000.0, 9.0), (7_000.0, -9.0)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS
    assert list(kept) == sorted(kept)
    assert {points[0], points[5_000], points[7_000], points[-1]} <= set(kept)
    paths = [value for name, value in Page(page(record(steps=10_000))).attributes if name == "d"]
    assert len(paths) == 6
    assert max(path.count("L") for path in paths) < MOST_POINTS


def test_ticks_are_round() -> None:
    assert ticks(0.0, 0.93) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.61, 0.78) == [0.6, 0.65, 0.7, 0.75, 0.8]
    assert ticks(0.0, 0.3) == [0.0, 0.1, 0.2, 0.3]
    assert ticks(-0.2, 1.3) == [-0.5, 0.0, 0.5, 1.0, 1.5]
    assert inner_ticks(0.0, 628.0) == [0, 100, 200, 300, 400, 500, 600]
    assert inner_ticks(0.0, 1.0) == [0, 1]
    assert list(map(short, (0.0, 2e-5, 0.05, 1200.0, 2_500_000.0))) == ["0", "2e-5", "0.05", "1,200", "2.5M"]


def test_a_running_mean_begins_at_the_first_value() -> None:
    assert smoothed([2.0, 2.0, 2.0]) == [2.0, 2.0, 2.0]
    assert smoothed([1.0, 0.0]) == pytest.approx([1.0, 0.75 / 1.75])


def test_elements_escape_texts_but_not_elements() -> None:
    assert tag("p", "<", tag("b", "&"), class_='"') == '<p class="&quot;">&lt;<b>&amp;</b></p>'
    assert escaped("\x07") == "\u2407"


def test_settings_that_were_changed() -> None:
    settings = FinetuneSettings(train="t", model="m", out="o", epochs=4).to_dict()
    changed, usual = changed_settings({**settings, "new": 1})
    assert set(changed) == {"train", "model", "out", "epochs", "new"}
    assert usual["learning_rate"] == TrainingSettings().learning_rate


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.21, "3.2 s"), (59.99, "60.0 s"), (60, "1 min"), (3725, "1 h 2 min"), (90000, "1 d 1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_places() -> None:
    assert place_of({"file": "a/b.csv", "line": 3}) == "b.csv:3"
    assert place_of({"file": "b.parquet", "line": None, "position": 8}) == "b.parquet, record 8"
    assert place_of({"file": None, "position": 8}) == "record 8"
    assert place_of({}) == "–"


def test_retrieval_has_widths_of_its_own() -> None:
    metrics = RetrievalMetrics(mean_reciprocal_rank=0.5, accuracy_at_1=0.4, by_width={8: 0.3}, examples=4)
    text = Page(page(record("sentence-embedding", metrics))).text
    assert "0.5000 mean reciprocal rank on 4 validation examples" in text
    assert "Width 8" in text


def test_figures_are_those_of_the_metrics() -> None:
    metrics = METRICS["text-classification"]
    assert isinstance(metrics, ClassificationMetrics)
    text = Page(page(record())).text
    # b: one of two found, and nothing else taken for it.
    assert "b 0.6667 1.0000 0.5000 2" in text
