"""A search for settings: what is tried, what is kept, and that an interrupted one goes on as if it had not been."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import glassbert.train.tuning as tuning
from glassbert import (
    BertConfig,
    BertModel,
    BertTokenizer,
    ConfigError,
    FinetuneSettings,
    GlassbertError,
    MissingExtraError,
    OutputExistsError,
    StopTraining,
    TrainingError,
    TuningSettings,
    finetune,
    learn_vocabulary,
    tune,
)
from glassbert.files import read_json
from glassbert.train import Evaluation, Notice, Trial, TrialEvent, TuningEvent, TuningResult
from glassbert.train.plots import plot_tuning
from glassbert.train.trials import best_of, best_so_far, in_short, ranked

pytest.importorskip("optuna")

GOOD = ["what a lovely day", "lovely food and lovely people", "a good and happy film", "happy day", "good good good"]
BAD = ["what a nasty day", "nasty food and rude people", "a bad and sad film", "sad day", "bad bad bad"]
Make = Callable[..., TuningSettings]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes settings for a tiny model and tiny data."""
    vocabulary = learn_vocabulary(GOOD + BAD, size=200, min_frequency=1)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(tmp_path / "base")
    BertTokenizer(vocabulary, model_max_length=16).save_pretrained(tmp_path / "base")
    rows = [f"{text}\tgood\n" for text in GOOD] + [f"{text}\tbad\n" for text in BAD]
    (tmp_path / "data.tsv").write_text("".join(rows), encoding="utf-8")

    def made(**changes: Any) -> TuningSettings:
        values = {
            "train": tmp_path / "data.tsv",
            "validation": tmp_path / "data.tsv",
            "model": tmp_path / "base",
            "out": tmp_path / "out",
            "header": False,
            "text_column": 0,
            "label_column": 1,
            "trials": 4,
            "epochs": 2,
            "learning_rates": (1e-3, 3e-2),
            "batch_sizes": (4, 5),
        }
        return TuningSettings(**{**values, **changes})

    return made


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of each trial, which take longer than such a training."""
    for name in ("outputs.plot_learning_curve", "outputs.plot_confusion_matrix", "tuning_report.plot_tuning"):
        monkeypatch.setattr(f"glassbert.train.{name}", lambda *_, **__: None)


def chosen(result: TuningResult) -> list[dict[str, float]]:
    return [dict(trial.values) for trial in result.trials]


def told(events: list[TuningEvent]) -> str:
    return "\n".join(event.message for event in events if isinstance(event, Notice))


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} - {"base", "data.tsv"}


def test_the_winner_is_what_its_settings_give(make: Make, tmp_path: Path) -> None:
    events: list[TuningEvent] = []
    state = torch.get_rng_state()
    result = tune(make(), on_event=events.append)
    assert torch.equal(torch.get_rng_state(), state)
    assert [trial.number for trial in result.trials] == [1, 2, 3, 4]
    assert {trial.state for trial in result.trials} == {"done"}
    assert result.best == best_of(result.trials)
    for values in chosen(result):
        assert 1e-3 <= values["learning_rate"] <= 3e-2
        assert values["batch_size"] in (4, 5)
    # Nothing but the result and the study is left.
    assert entries(tmp_path) == {"out", "out-study.db"}
    assert {"tuning.json", "tuning.html", "settings.yaml", "report.html"} <= entries(result.folder)
    again = FinetuneSettings.read(result.folder / "settings.yaml", out=tmp_path / "again")
    assert again.to_dict() == {**result.settings.to_dict(), "out": str(tmp_path / "again")}
    assert again.keep == "best"
    finetune(again)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (result.folder / name).read_bytes()
    record, plain = (read_json(folder / "training.json") for folder in (result.folder, tmp_path / "again"))
    assert record["losses"] == plain["losses"]
    assert record["settings"] == {**plain["settings"], "out": str(tmp_path / "out")}
    figure = max(one["accuracy"] for one in record["evaluations"])
    assert result.best.figure == result.best.value == figure


def test_what_it_will_cost_is_said_before_and_after_the_first_trial(make: Make) -> None:
    events: list[TuningEvent] = []
    tune(make(trials=3, epochs_range="1:2", weight_decays="0:0.1"), on_event=events.append)
    text = told(events)
    assert "searched: learning_rate 1.00e-03 to 0.03 (log scale), batch_size 4 or 5, epochs 1 to 2, " in text
    assert "weight_decay 0 to 0.1; all else is held" in text
    assert "3 trials of 2 to 6 steps on 10 examples: " in text
    assert "2 more at the speed of trial 1: about " in text
    began = next(place for place, event in enumerate(events) if isinstance(event, TrialEvent))
    assert "3 trials of 2 to 6 steps" in told(events[:began])


def test_the_record_and_the_page(make: Make) -> None:
    result = tune(make(trials=3))
    record = read_json(result.folder / "tuning.json")
    assert record["metric"] == "accuracy"
    assert record["lower_is_better"] is False
    assert record["best"] == result.best.number
    assert record["searched"] == {"learning_rate": [1e-3, 3e-2], "batch_size": [4, 5]}
    assert [one["values"] for one in record["trials"]] == chosen(result)
    page = (result.folder / "tuning.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert page.count("<circle") == 9  # three trials in three charts
    assert "out-trials" not in (result.folder / "report.html").read_text(encoding="utf-8")
    assert "out-trials" not in (result.folder / "README.md").read_text(encoding="utf-8")


def test_the_picture(tmp_path: Path) -> None:
    values = {"learning_rate": 1e-4, "batch_size": 16, "epochs": 3, "warmup": 0.1}
    trials = [dataclasses.replace(trial(number, 0.5 + number / 10), values=values) for number in (1, 2)]
    space = {"learning_rate": (1e-5, 1e-3), "batch_size": (32, 16), "epochs": (2, 4), "warmup": (0.0, 0.2)}
    trials += [dataclasses.replace(trial(3, 0.1, "pruned"), values=values), trial(4, None, "failed")]
    for searched in (space, {"epochs": (2, 4)}):
        plot_tuning(trials, searched, tmp_path / "tuning.png")
        assert (tmp_path / "tuning.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_picture_but_all_else(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassbert.train.tuning_report.plot_tuning", plot_tuning)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    events: list[TuningEvent] = []
    result = tune(make(trials=1), on_event=events.append)
    assert "no picture: matplotlib is not installed; it comes with: pip install 'glassbert[train]'" in told(events)
    assert {"tuning.json", "tuning.html"} <= entries(result.folder)
    assert "tuning.png" not in entries(result.folder)


def test_the_same_seed_gives_the_same_trials_in_one_go_or_in_two(make: Make, tmp_path: Path) -> None:
    whole = tune(make(trials=8, out=tmp_path / "whole"))
    assert chosen(tune(make(trials=8, out=tmp_path / "other", seed=1))) != chosen(whole)
    first = tune(make(trials=3))
    assert chosen(first) == chosen(whole)[:3]
    events: list[TuningEvent] = []
    second = tune(make(trials=8), on_event=events.append)
    assert "the study goes on: 3 of 8 trials are there already" in told(events)
    assert chosen(second) == chosen(whole)
    assert [trial.value for trial in second.trials] == [trial.value for trial in whole.trials]
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    assert len(read_json(second.folder / "tuning.json")["trials"]) == 8


def test_a_study_that_is_done_costs_nothing_more(make: Make, tmp_path: Path) -> None:
    first = tune(make())
    before = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns
    events: list[TuningEvent] = []
    second = tune(make(), on_event=events.append)
    assert second == first
    assert not [event for event in events if isinstance(event, TrialEvent)]
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == before
    # A result that was removed is made again from the study.
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    for file in (tmp_path / "out").iterdir():
        file.unlink()
    tune(make(), on_event=events.append)
    assert f"the model of trial {first.best.number} is not there any more and is made again" in told(events)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights


KILLED = """
import os, signal, sys
from glassbert import TuningSettings, tune
from glassbert.train import Step, TrialEvent

def die(event):
    if isinstance(event, TrialEvent) and event.trial.number == 3 and isinstance(event.event, Step):
        os.kill(os.getpid(), signal.SIGKILL)

tune(TuningSettings.read(sys.argv[1]), on_event=die)
"""


def test_a_killed_study_goes_on(make: Make, tmp_path: Path) -> None:
    whole = tune(make(out=tmp_path / "whole"))
    settings = make()
    (tmp_path / "run.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    assert TuningSettings.read(tmp_path / "run.yaml").to_dict() == settings.to_dict()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run.yaml")], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / "out-study-trials").iterdir())) == 1  # the best of the two
    events: list[TuningEvent] = []
    result = tune(settings, on_event=events.append)
    assert "2 of 4 trials are there already" in told(events)
    assert "interrupted before and run again: trial 3" in told(events)
    begun = [event.trial.number for event in events if isinstance(event, TrialEvent) and event.event is None]
    assert begun == [3, 3, 4, 4]
    assert chosen(result) == chosen(whole)
    assert [trial.value for trial in result.trials] == [trial.value for trial in whole.trials]
    assert "out-study-trials" not in entries(tmp_path)


def test_pruning_ends_trials_and_leaves_nothing_of_them(make: Make, tmp_path: Path) -> None:
    # Rates so low that nothing is learned beside rates that learn it all.
    changes = {"learning_rates": (1e-7, 3e-2), "trials": 12, "epochs": 6, "seed": 2}
    events: list[TuningEvent] = []
    result = tune(make(**changes), on_event=events.append)
    pruned = {trial.number for trial in result.trials if trial.state == "pruned"}
    assert pruned
    assert min(pruned) > 5  # the first ones are what others are compared with
    for number in pruned:
        seen = [event.event for event in events if isinstance(event, TrialEvent) and event.trial.number == number]
        assert sum(isinstance(one, Evaluation) for one in seen) < 6
    assert result.best.number not in pruned
    assert entries(tmp_path) == {"out", "out-study.db"}
    assert "ended early" in (result.folder / "tuning.html").read_text(encoding="utf-8")
    whole = tune(make(**changes, pruning=False, out=tmp_path / "whole"))
    assert {trial.state for trial in whole.trials} == {"done"}


def test_two_workers_run_each_trial_once(make: Make, tmp_path: Path) -> None:
    events: list[TuningEvent] = []
    result = tune(make(trials=5, workers=2), on_event=events.append)
    assert [trial.number for trial in result.trials] == [1, 2, 3, 4, 5]
    begun = [event.trial.number for event in events if isinstance(event, TrialEvent) and event.event is None]
    assert sorted(begun) == sorted([1, 2, 3, 4, 5] * 2)
    assert begun[:2] == [1, 2]  # both at once
    assert "2 workers with 1 threads each" in told(events) or torch.get_num_threads() > 3
    assert entries(tmp_path) == {"out", "out-study.db"}


def test_a_trial_whose_process_is_killed_runs_again(make: Make) -> None:
    killed: list[int] = []

    def kill(event: TuningEvent) -> None:
        if isinstance(event, TrialEvent) and event.trial.number == 2 and event.event is not None and not killed:
            for child in multiprocessing.active_children():
                child.kill()
                killed.append(child.pid or 0)
        events.append(event)

    events: list[TuningEvent] = []
    result = tune(make(trials=3, workers=2), on_event=kill)
    assert len(killed) == 2
    assert [trial.state for trial in result.trials] == ["done"] * 3
    assert "the process of trial 2 was killed (signal 9); it is run again" in told(events)


def test_trials_that_fail_are_told_and_the_study_goes_on(make: Make) -> None:
    result = tune(make(learning_rates=(1e-3, 1e36), trials=6))
    states = [trial.state for trial in result.trials]
    assert 0 < states.count("failed") < 6
    failed = next(trial for trial in result.trials if trial.state == "failed")
    assert "a lower learning rate may help" in failed.why
    assert result.best.state == "done"


def test_where_all_trials_fail(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no trial came to its end; 3 failed, the first: .* a lower learning rate"):
        tune(make(learning_rates=(1e35, 1e37), trials=3, batch_sizes=None))
    assert entries(tmp_path) == {"out-study.db"}


def test_few_combinations_come_once_each(make: Make) -> None:
    events: list[TuningEvent] = []
    settings = make(learning_rates=None, batch_sizes="4,5", epochs_range="1:2", trials=9)
    result = tune(settings, on_event=events.append)
    assert "9 trials are wanted, but there are only 4 combinations" in told(events)
    found = [(values["batch_size"], values["epochs"]) for values in chosen(result)]
    assert sorted(found) == [(4, 1), (4, 2), (5, 1), (5, 2)]


def test_a_callback_may_end_the_search(make: Make, tmp_path: Path) -> None:
    def enough(event: TuningEvent) -> None:
        if isinstance(event, TrialEvent) and event.trial.number == 3 and isinstance(event.event, Evaluation):
            raise StopTraining

    result = tune(make(), on_event=enough)
    assert [trial.state for trial in result.trials] == ["done", "done", "running"]
    assert entries(tmp_path) == {"out", "out-study.db"}
    assert [trial.state for trial in tune(make()).trials] == ["done"] * 4


def test_lower_is_better_for_some_figures(make: Make, tmp_path: Path) -> None:
    rows = [f"{text}\t{score}\n" for text, score in [*((text, 4.5) for text in GOOD), *((text, 1) for text in BAD)]]
    (tmp_path / "scores.tsv").write_text("".join(rows), encoding="utf-8")
    data = tmp_path / "scores.tsv"
    result = tune(make(train=data, validation=data, task="regression", metric="mean_squared_error"))
    figures = [trial.figure for trial in result.trials if trial.figure is not None]
    assert result.best.figure == min(figures)
    assert read_json(result.folder / "tuning.json")["lower_is_better"] is True


def test_records_in_memory(make: Make, tmp_path: Path) -> None:
    records = [{"text": text, "label": "good"} for text in GOOD] + [{"text": text, "label": "bad"} for text in BAD]
    data = {"train": records, "validation": records, "text_column": "text", "label_column": "label"}
    tune(make(**data, trials=2))
    with pytest.raises(ConfigError, match="study of something else: train data was "):
        tune(make(**{**data, "train": records[1:]}, trials=3))
    with pytest.raises(ConfigError, match="train can be read once, and every trial reads it; pass a list"):
        tune(make(**{**data, "train": iter(records)}, out=tmp_path / "more"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rates": "1e-3:2e-2"}, r"range of learning_rate was \[0.001, 0.03\] there and is \[0.001, 0.02\]"),
        ({"seed": 4}, "seed was 0 there and is 4 here"),
        ({"warmup": 0.2, "seed": 4}, "seed was 0 there and is 4 here, and there is another warmup"),
        ({"epochs_range": "1:2"}, "epochs was 2 there and is not set here, and there is another range of epochs"),
        ({"batch_sizes": None}, "range of batch_size was .* there and is not set here"),
    ],
    ids=str,
)
def test_a_study_of_something_else_is_refused(make: Make, tmp_path: Path, changes: Any, message: str) -> None:
    tune(make(trials=1))
    with pytest.raises(ConfigError, match=rf"out-study\.db: is a study of something else: .*{message}"):
        tune(make(**changes))
    tune(make(**changes, trials=1, out=tmp_path / "more"))


def test_other_data_under_the_same_name_is_refused(make: Make, tmp_path: Path) -> None:
    tune(make(trials=1))
    with (tmp_path / "data.tsv").open("a", encoding="utf-8") as file:
        file.write("a happy film\tgood\n")
    with pytest.raises(ConfigError, match=r"train data was .* and there is another validation data"):
        tune(make())


def test_the_model_belongs_to_the_study(make: Make, tmp_path: Path) -> None:
    tune(make(trials=1))
    file = tmp_path / "base" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ConfigError, match="model was "):
        tune(make())


def test_files_that_are_no_study(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out-study.db").write_text("no database at all, but long enough to be one" * 20, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"out-study\.db: cannot be read as a study: file is not a database"):
        tune(make())
    with pytest.raises(ConfigError, match=r"study is .*x\.db, inside .*out, which appears as a whole at the end"):
        tune(make(study=tmp_path / "out" / "x.db"))
    import optuna

    optuna.create_study(storage=f"sqlite:///{tmp_path / 'foreign.db'}", study_name="mine")
    with pytest.raises(ConfigError, match=r"foreign\.db: holds a study of another program"):
        tune(make(study=tmp_path / "foreign.db"))


def test_one_run_at_a_time_works_on_a_study(make: Make) -> None:
    def begin_another(event: TuningEvent) -> None:
        if isinstance(event, TrialEvent) and event.event is None and event.trial.state == "running":
            with pytest.raises(ConfigError, match="another run works on this study"):
                tune(make())

    tune(make(trials=1), on_event=begin_another)


def test_an_output_that_holds_something_else_is_refused_before(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="already holds something"):
        tune(make())
    assert entries(tmp_path) == {"out"}
    with pytest.raises(OutputExistsError, match=r"mine\.txt, which is no file of a model"):
        tune(make(overwrite=True))


def test_a_mistyped_setting_does_not_spoil_the_study(make: Make) -> None:
    with pytest.raises(ConfigError, match="'beauty' is none of the figures"):
        tune(make(metric="beauty"))
    result = tune(make(metric="macro_f1", learning_rates=(1e-3, 2e-3)))
    assert [trial.state for trial in result.trials] == ["done"] * 4
    assert max(values["learning_rate"] for values in chosen(result)) <= 2e-3


def test_what_is_wrong_is_told_before_the_first_trial(make: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text("a text\tstrange\n", encoding="utf-8")
    events: list[TuningEvent] = []
    for name, file, message in (
        ("validation", "bad.tsv", "label 'strange'"),
        ("train", "none", "cannot tell the format"),
        ("model", "none", "no such folder"),
    ):
        with pytest.raises(GlassbertError, match=message):
            tune(make(**{name: tmp_path / file}), on_event=events.append)
    assert not [event for event in events if isinstance(event, TrialEvent)]
    with pytest.raises(ConfigError, match=r"settings is of type dict, expected TuningSettings"):
        tune({})  # type: ignore[arg-type]


def test_without_optuna_the_extra_is_named(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "glassbert.train.study", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"optuna is not installed; .* pip install 'glassbert\[train\]'"):
        tune(make())
    assert entries(tmp_path) == set()


def test_optuna_is_loaded_by_a_search_alone() -> None:
    code = "import sys, glassbert.train; glassbert.tune; print('optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def trial(number: int, value: float | None, state: Any = "done", **more: Any) -> Trial:
    return Trial(number=number, values={}, state=state, value=value, figure=value, metric="accuracy", **more)


def test_the_earliest_of_equals_is_the_best() -> None:
    trials = [trial(1, 0.5), trial(2, 0.9), trial(3, 0.9), trial(4, 0.99, "pruned"), trial(5, None, "failed")]
    best = best_of(trials)
    assert best is not None
    assert best.number == 2
    assert best_of(trials[3:]) is None
    assert [one.number for one in ranked(trials)] == [2, 3, 1, 4, 5]
    assert best_so_far(trials) == [(1, 0.5), (2, 0.9), (3, 0.9), (4, 0.9), (5, 0.9)]


def test_values_as_one_reads_them() -> None:
    assert [in_short(value) for value in (3.14159e-5, 1e-4, 0.0123456, 0.0, 16, 2.0)] == [
        "3.14e-05",
        "1.00e-04",
        "0.0123",
        "0",
        "16",
        "2",
    ]


def test_the_length_of_trials(make: Make) -> None:
    settings = make(epochs_range=(1, 3), accumulation=2)
    amount = tuning._Amount(features=10, tokens=50, examples=10)
    found = {
        (amount.steps(one), amount.learned(one))
        for one in (settings.of_trial(values, "o") for values in tuning.corners(settings))
    }
    # Batches of 4 and of 5, two of which make a step.
    assert found == {(2, 50), (6, 150), (1, 50), (3, 150)}
    fixed = make(steps=4, epochs=None)
    assert {amount.learned(fixed.of_trial(values, "o")) for values in tuning.corners(fixed)} == {80, 100}
