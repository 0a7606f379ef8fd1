"""What long runs and pretraining leave: records of bounded size, and pages and cards that are of them."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch

from glassbert import BertForPreTraining, BertTokenizer, load
from glassbert.checkpoint.hub import CARD
from glassbert.files import read_json
from glassbert.settings import Doc, LoopSettings
from glassbert.train import Evaluation, TrainingResult
from glassbert.train.card import card
from glassbert.train.history import MOST_RECORDED, History
from glassbert.train.outputs import RECORD, SETTINGS, save_result, standing_result
from glassbert.train.report import REPORT_PAGE, page, steps_of
from tests.train.test_card import blocks, front
from tests.train.test_history import steps
from tests.train.test_judge import Held
from tests.train.test_loop import CONFIG
from tests.train.test_report import Page, record

FIGURES = {"masked_loss": 0.5, "next_sentence_accuracy": 0.25}
STEPS = 12_345


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSettings(LoopSettings):
    """What a training without a task may have."""

    out: Annotated[str | Path, Doc("Folder of the result.", "Result")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a pretraining of many steps, but for its weights."""
    out = tmp_path_factory.mktemp("runs") / "my bert"
    metrics = Held(loss=2.5, accuracy=0.5)
    done = Evaluation(epoch=2, step=STEPS, metrics=metrics, name="loss", value=-2.5, best=True)
    history = History.of(steps(STEPS, **FIGURES))
    result = TrainingResult(
        name="pretraining", task=None, folder=out, history=history, evaluations=(done,), saved=done, test=None
    )
    vocabulary = {token: place for place, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abtex"])}
    torch.manual_seed(0)
    part = {"files": [f"/home/me/shards/{number}.npy" for number in range(30)], "sha256": ["0"] * 30, "skipped": 0}
    save_result(
        result,
        BertForPreTraining(dataclasses.replace(CONFIG, vocab_size=len(vocabulary))),
        BertTokenizer(vocabulary, model_max_length=16),
        TextSettings(steps=STEPS, keep="best", out=out),
        overwrite=False,
        data={"training": {**part, "examples": 10**9}, "validation": {**part, "files": ["x/held.npy"], "examples": 10}},
        seconds=90.0,
        verdicts=(),
        notes=["a note"],
        on_event=lambda event: None,
    )
    return out


def test_the_record_of_a_long_run_is_of_bounded_size(saved: Path) -> None:
    found = read_json(saved / RECORD)
    assert found["steps"] == steps_of(found) == STEPS
    assert found["steps_per_point"] == 3
    assert found["loss"] == 1.0 / STEPS
    assert set(found["figures"]) == set(FIGURES)
    curves = [found[name] for name in ("losses", "learning_rates", "grad_norms")] + list(found["figures"].values())
    assert {len(curve) for curve in curves} == {STEPS // 3}
    assert STEPS // 3 <= MOST_RECORDED
    assert found["losses"][0] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found["tokens"] == sum(step.tokens for step in steps(STEPS))
    assert (found["task"], found["own_task"], found["pairs"]) == ("pretraining", None, None)
    assert found["saved"] == {"step": STEPS, "epoch": 2, "why": "the best loss"}
    settings = TextSettings(steps=STEPS, keep="best", out=str(saved))
    assert TextSettings.read(saved / SETTINGS) == settings
    assert standing_result(settings, saved) == found
    assert standing_result(dataclasses.replace(settings, seed=1), saved) is None


def test_the_page_of_a_long_run_is_small_and_has_its_steps(saved: Path) -> None:
    text = (saved / REPORT_PAGE).read_text("utf-8")
    found = Page(text)
    assert len(text) < 200_000
    assert found.elements.count("svg") == 6
    for words in (
        "12,345",
        "Loss, means of 3 steps each, with its running mean",
        "Masked loss, means of 3 steps each",
        "Next sentence accuracy",
        "Learning rate of the last of every 3 steps",
        "2.5000 loss on 10 validation sequences",
    ):
        assert words in found.text.replace(" , ", ", "), words


def test_points_have_the_place_of_their_last_step() -> None:
    run = record(steps=20)
    every = Page(page(run))
    run |= {"losses": [1.0, 0.5], "learning_rates": [1e-3] * 2, "grad_norms": [0.0, 1.0], "steps": 20}
    windows = Page(page(run | {"steps_per_point": 10}))
    ends = [
        {value.split("L")[-1].split()[0] for name, value in one.attributes if name == "d"} for one in (every, windows)
    ]
    assert ends[0] == ends[1]
    assert len(ends[0]) == 1  # all curves end where the axis does
    path = next(value for name, value in windows.attributes if name == "d")
    first, last = (float(point.split()[0]) for point in path.removeprefix("M").split("L"))
    left = 56.0
    assert (first - left) / (last - left) == pytest.approx(0.5, abs=0.01)


def test_records_without_a_number_of_steps_have_a_loss_for_each() -> None:
    assert steps_of({"losses": [0.5] * 7}) == 7
    assert steps_of({"losses": [0.5] * 7, "steps": 70}) == 70
    assert steps_of({}) == 0
    assert "70 steps in 1 min 30 s." in card(record(steps=7) | {"steps": 70, "steps_per_point": 10})


def test_the_card_of_a_pretrained_model(saved: Path) -> None:
    whole = (saved / CARD).read_text("utf-8")
    data = front(whole)
    assert (data["pipeline_tag"], data["library_name"]) == ("fill-mask", "transformers")
    assert "A BERT that has learned from text alone" in whole
    assert "Loss **2.5000** on 10 validation sequences." in whole
    assert "| Sequences | 10 |" in whole
    assert "12,345 steps in 1 min 30 s." in whole
    assert "At the end of training: masked loss 1.234e+04, next sentence accuracy" in whole
    assert "It has learned from 1,000,000,000 sequences of `0.npy`" in whole
    assert "`19.npy` and 10 more." in whole
    assert "/home/me" not in whole
    for words in ("glassbert predict", "pipeline(", "are cut", "## Labels", "None"):
        assert words not in whole, words
    (command,) = blocks(whole, "sh")
    assert command == "glassbert train train.tsv --validation dev.tsv --model 'my bert' --out OUT\n"
    ours, theirs = blocks(whole, "python")
    ast.parse(theirs)
    names: dict[str, Any] = {}
    exec(ours.replace('"my bert"', repr(str(saved))), names)
    assert isinstance(names["model"], BertForPreTraining)
    assert names["output"].prediction_logits.shape[-1] == 10
    assert isinstance(load(saved), BertForPreTraining)


def test_a_pretraining_that_knows_nothing_else_has_a_page_and_a_card() -> None:
    run = {"task": "pretraining"}
    assert "Pretraining" in Page(page(run)).text
    text = card(run)
    assert "It was not evaluated." in text
    assert "glassbert train train.tsv --validation dev.tsv --model pretraining" in text
    assert "pretrained from `owner/some-bert`" in card(run | {"settings": {"model": "owner/some-bert"}})
