"""What a search for settings leaves beside the model of the best trial: all trials as JSON, as a page, as a picture."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

import glassbert
from glassbert.errors import MissingExtraError
from glassbert.files import read_json, write_json
from glassbert.settings import FinetuneSettings, TuningSettings
from glassbert.train.card import write_card
from glassbert.train.markup import (
    Dot,
    Markup,
    cell,
    document,
    inner_ticks,
    log_ticks,
    scatter,
    section,
    short,
    table,
    tag,
    ticks,
)
from glassbert.train.outputs import RECORD, SETTINGS
from glassbert.train.plots import TUNING, plot_tuning
from glassbert.train.report import REPORT_PAGE, duration, figure, model_name, pretty, said, write_report
from glassbert.train.trials import Trial, TuningResult, best_so_far, in_short, ranked

TUNING_RECORD: Final = "tuning.json"
TUNING_PAGE: Final = "tuning.html"
TUNING_FILES: Final = (TUNING_RECORD, TUNING_PAGE, TUNING)
_STATES: Final = {"done": "", "pruned": "ended early", "failed": "failed", "running": "interrupted"}

Record = Mapping[str, Any]


def give_settings(folder: Path, settings: FinetuneSettings) -> None:
    """Let a folder that `finetune` wrote say that it was made with these settings, whose folders have other names."""
    # New files, since the old ones may share their place on the disk with a trial's folder.
    record = {**read_json(folder / RECORD), "settings": settings.to_dict()}
    for name in (RECORD, SETTINGS, REPORT_PAGE):
        (folder / name).unlink(missing_ok=True)
    (folder / SETTINGS).write_text(settings.to_yaml(), encoding="utf-8")
    write_json(folder / RECORD, record)
    write_report(folder, record)
    (folder / "README.md").unlink(missing_ok=True)
    write_card(folder, record)


def write_tuning(
    folder: Path,
    result: TuningResult,
    settings: TuningSettings,
    file: Path,
    study_id: str,
    say: Callable[[str], None],
) -> None:
    """Write `tuning.json`, `tuning.html` and, with matplotlib, `tuning.png`.

    Args:
        folder: where to.
        result: of the search.
        settings: what was searched.
        file: of the study.
        study_id: by which the study is known again.
        say: takes what cannot be written.
    """
    record = tuning_record(result, settings, file, study_id)
    write_json(folder / TUNING_RECORD, record)
    (folder / TUNING_PAGE).write_text(tuning_page(record, result.trials), encoding="utf-8", errors="backslashreplace")
    try:
        plot_tuning(result.trials, settings.space, folder / TUNING)
    except MissingExtraError as error:
        say(f"no picture: {error}")


def tuning_record(result: TuningResult, settings: TuningSettings, file: Path, study_id: str) -> dict[str, Any]:
    """Return what `tuning.json` holds."""
    best = result.best
    return {
        "study_id": study_id,
        "study": str(file),
        "task": settings.task,
        "model": str(settings.model),
        "metric": best.metric,
        "lower_is_better": best.value != best.figure,
        "best": best.number,
        "searched": {name: list(values) for name, values in settings.space.items()},
        "pruning": settings.pruning,
        "workers": settings.workers,
        "seed": settings.seed,
        "seconds": round(sum(trial.seconds for trial in result.trials), 3),
        "tokens": sum(trial.tokens for trial in result.trials),
        "versions": {
            "glassbert": glassbert.__version__,
            "torch": torch.__version__,
            "optuna": version("optuna"),
            "python": platform.python_version(),
        },
        "trials": [dataclasses.asdict(trial) for trial in result.trials],
    }


def tuning_page(record: Record, trials: Sequence[Trial]) -> str:
    """Return the page as text."""
    heading = f"{pretty(record['task'])} · {model_name(record)}"
    parts = (_top(record, trials, heading), _charts(record, trials), _trials(record, trials), _circumstances(record))
    return document(heading, *parts, version=record["versions"]["glassbert"])


def _top(record: Record, trials: Sequence[Trial], heading: str) -> Markup:
    best = next(trial for trial in trials if trial.number == record["best"])
    chosen = ", ".join(f"{said(name)} {in_short(value)}" for name, value in best.values.items())
    states = [trial.state for trial in trials]
    facts = {
        "Trials": f"{len(trials)}",
        "Ended early": f"{states.count('pruned')}",
        "Failed": f"{states.count('failed')}",
        "Time of all": duration(record["seconds"]),
        "Tokens of all": f"{record['tokens']:,}",
    }
    return tag(
        "header",
        tag("p", "Search for settings", class_="kicker"),
        tag("h1", heading),
        tag("p", tag("strong", figure(best.figure)), f" {said(best.metric)} in trial {best.number}", class_="result"),
        tag("p", f"With {chosen}; the model in this folder.", class_="aside"),
        tag(
            "p",
            "The best of many trials on the same validation data is a little too good to be true; "
            "test data says how good it is.",
            class_="aside",
        ),
        tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()), class_="facts"),
    )


def _charts(record: Record, trials: Sequence[Trial]) -> Markup:
    shown = sorted((one for one in trials if one.figure is not None), key=lambda one: one.number == record["best"])
    name = pretty(record["metric"])

    def drawn(
        title: str, about: str, x: Callable[[Trial], float], places: Any, room: float = 0.0, line: Any = ()
    ) -> Markup:
        dots = [
            Dot(x(one), one.figure or 0.0, _kind(one, record["best"]), f"trial {one.number}: {one.figure:.4f}")
            for one in shown
        ]
        caption = tag("figcaption", title, tag("span", about))
        return tag("figure", caption, scatter(dots, places=places, title=f"{name}: {title}", line=line, room=room))

    numbers = [(value, short(value)) for value in inner_ticks(1, max(trial.number for trial in trials))]
    charts = [drawn(name, " of each trial, and the best so far", lambda one: one.number, numbers, 0.5, _stairs(trials))]
    for setting, values in record["searched"].items():
        place, places = _axis(setting, values)
        charts.append(
            drawn(
                pretty(setting),
                f" and {said(record['metric'])}",
                lambda one, place=place, setting=setting: place(one.values[setting]),  # type: ignore[misc]
                places,
                0.5 if setting in ("batch_size", "epochs") else 0.0,
            )
        )
    about = "A dot is a trial: full if it came to its end, hollow if it was ended early, orange if it is the best."
    return section("What the trials gave", tag("div", *charts, class_="charts"), about=about)


def _stairs(trials: Sequence[Trial]) -> list[tuple[float, float]]:
    """Return the best so far as a line that rises where a trial is better than all before it."""
    line: list[tuple[float, float]] = []
    for number, value in best_so_far(trials):
        line += [(number, line[-1][1]), (number, value)] if line else [(number, value)]
    return line


def _axis(setting: str, values: Sequence[float]) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Return where the values of a setting stand on an axis, and the places of its labels."""
    if setting == "batch_size":  # choices, at equal distances
        order = sorted(values)
        return lambda value: float(order.index(value)), [(float(at), str(one)) for at, one in enumerate(order)]
    low, high = min(values), max(values)
    if setting == "learning_rate":
        return math.log10, [(math.log10(one), label) for one, label in log_ticks(low, high)]
    marks = inner_ticks(low, high) if setting == "epochs" else [one for one in ticks(low, high) if low <= one <= high]
    return float, [(one, short(one)) for one in marks]


def _kind(trial: Trial, best: int) -> str:
    return "marked" if trial.number == best else "" if trial.state == "done" else "hollow"


def _trials(record: Record, trials: Sequence[Trial]) -> Markup:
    names = list(record["searched"])
    told, wide = any(trial.state != "done" for trial in trials), "name" if any(trial.why for trial in trials) else None
    rows = []
    for trial in ranked(trials):
        best = trial.number == record["best"]
        badge = [tag("span", "best", class_="badge")] if best else []
        rows.append(
            tag(
                "tr",
                tag("th", f"{trial.number}", *badge, scope="row"),
                cell(figure(trial.figure)),
                *(cell(in_short(trial.values[name])) for name in names),
                cell("–" if trial.step is None else f"{trial.step:,}"),
                cell(duration(trial.seconds)),
                *([tag("td", ": ".join(filter(None, (_STATES[trial.state], trial.why))), class_=wide)] if told else []),
                class_="saved" if best else None,
            )
        )
    heads = [("Trial", None), (pretty(record["metric"]), "number"), *((pretty(name), "number") for name in names)]
    heads += [("Best step", "number"), ("Time", "number"), *([("", None)] if told else [])]
    below = (
        "; those that were ended early stand below the others" if any(one.state == "pruned" for one in trials) else ""
    )
    return section("All trials", table(heads, rows), about=f"The best first{below}.")


def _circumstances(record: Record) -> Markup:
    values = {
        "Study": record["study"],
        "Seed": str(record["seed"]),
        "Workers": str(record["workers"]),
        **record["versions"],
    }
    rows = (tag("div", tag("dt", name), tag("dd", value)) for name, value in values.items())
    return section("To make it again", tag("dl", *rows, class_="settings"))
