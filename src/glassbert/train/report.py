"""What a training run was, as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from glassbert.settings import FinetuneSettings, LoopSettings, PretrainSettings
from glassbert.train.history import ends_of
from glassbert.train.markup import (
    Curve,
    Markup,
    cell,
    chart,
    document,
    escaped,
    foreign,
    section,
    smoothed,
    table,
    tag,
)

REPORT_PAGE: Final = "report.html"
# What a record has in place of a task where a model has learned from text alone.
PRETRAINING: Final = "pretraining"
# Classes up to which confusions are a table, and how many confusions are listed beyond.
_MOST_CLASSES: Final = 40
_CONFUSIONS: Final = 30
# Rows of classes that are shown before the others are folded.
_SHOWN_CLASSES: Final = 20
# Figures that say how much was measured, not how well.
_AMOUNTS: Final = ("examples", "words")
# Figures that say how hard it is, and are the same in every evaluation.
_FIXED: Final = ("unigram_entropy", "next_sentence_chance")
# What is no figure in an evaluation.
_PLACES: Final = ("epoch", "step", "main")

Record = Mapping[str, Any]


class ClassRow(NamedTuple):
    """Figures of one class; None for those that are not known."""

    name: str
    f1: float
    precision: float | None = None
    recall: float | None = None
    support: int | None = None


def write_report(folder: Path, record: Record) -> None:
    """Write `report.html`: result, curves, figures, confusions, the hardest examples, settings and circumstances.

    Args:
        folder: where to.
        record: what `training.json` holds. Parts that are missing, or None, or empty are left out of the page.
    """
    (folder / REPORT_PAGE).write_text(page(record), encoding="utf-8", errors="backslashreplace")


def page(record: Record) -> str:
    """Return the page as text."""
    settings = settings_of(record)
    title = pretty(str(record["task"]))
    model = model_name(settings)
    heading = f"{title} · {model}" if model else title
    sections = (
        _curves(record),
        _evaluations(record),
        _classes(record),
        _confusions(record),
        _hardest(record),
        _settings(record, settings),
        _data(record),
        _circumstances(record),
        _notes(record),
    )
    version = (record.get("versions") or {}).get("glassbert", "")
    return document(heading, _top(record, heading), *(part for part in sections if part), version=version)


# -- what the record says


def settings_of(record: Record) -> dict[str, Any]:
    """Return the settings by name; those of the training stand among the others."""
    settings = dict(record.get("settings") or {})
    training = settings.pop("training", None)
    return {**settings, **(training if isinstance(training, Mapping) else {})}


def model_name(settings: Record) -> str:
    """Return what the training began with, without the folders above it."""
    return Path(str(settings["model"])).name if settings.get("model") else ""


def steps_of(record: Record) -> int:
    """Return how many steps were made; an older record does not say so, but has the loss of each."""
    return int(record.get("steps") or len(record.get("losses") or ()))


def examples_of(record: Record) -> str:
    """Return what that is called which is learned from and measured on."""
    return "sequences" if record["task"] == PRETRAINING else "examples"


def moment(record: Record, saved: Record) -> str:
    """Return after what the saved weights are; epochs of pretraining are those of a phase, and say nothing alone."""
    step = f"step {saved['step']:,}"
    return step if record["task"] == PRETRAINING else f"epoch {saved['epoch']}, {step}"


def saved_evaluation(record: Record) -> Record | None:
    """Return the evaluation of the weights that were saved; None where they were not evaluated."""
    evaluations: Sequence[Record] = record.get("evaluations") or []
    saved = record.get("saved")
    if saved is None:
        return evaluations[-1] if evaluations else None
    return next((one for one in reversed(evaluations) if one["step"] == saved["step"]), None)


def main_of(record: Record, metrics: Record) -> tuple[str, float] | None:
    """Return name and value of the figure by which models are compared."""
    evaluations: Sequence[Record] = record.get("evaluations") or []
    name = metrics.get("main") or (evaluations[-1].get("main") if evaluations else None)
    if name is None or name not in metrics:
        name = next(iter(figures(metrics)), None)
    return None if name is None else (str(name), float(metrics[str(name)]))


def figures(metrics: Record) -> dict[str, float]:
    """Return the figures that are one number, by name; those of widths get names of their own."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if name in _PLACES or name in _AMOUNTS or isinstance(value, bool):
            continue
        if isinstance(value, int | float) and math.isfinite(value):
            found[name] = float(value)
        elif name == "by_width" and isinstance(value, Mapping):
            found |= {f"width {width}": float(one) for width, one in value.items()}
    return found


def class_rows(metrics: Record) -> list[ClassRow]:
    """Return figures of each class, label or type of entity; empty where the task has none."""
    if isinstance(types := metrics.get("types"), Mapping):
        return [
            ClassRow(str(name), one["f1"], one["precision"], one["recall"], one["support"])
            for name, one in types.items()
        ]
    f1 = metrics.get("f1")
    if not isinstance(f1, Mapping):
        return []
    counts = metrics.get("counts") or {}
    rows = [ClassRow(str(name), value, support=counts.get(name)) for name, value in f1.items()]
    matrix, labels = metrics.get("confusion"), metrics.get("labels")
    if not matrix or not labels:
        return rows
    found = []
    for place, label in enumerate(labels):
        true, predicted = sum(matrix[place]), sum(row[place] for row in matrix)
        hits = matrix[place][place]
        found.append(ClassRow(str(label), f1[label], hits / max(1, predicted), hits / max(1, true), true))
    return found


def changed_settings(
    settings: Record, kind: type[LoopSettings] = FinetuneSettings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that are not what they are where nobody says, and the others; `kind` is their class."""
    usual = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(kind)
    }
    changed = {
        name: value for name, value in settings.items() if not _same(value, usual.get(name, dataclasses.MISSING))
    }
    return changed, {name: value for name, value in settings.items() if name not in changed}


def _same(one: Any, other: Any) -> bool:
    """Whether two settings are equal; JSON makes lists of tuples."""
    return (list(one) if isinstance(one, tuple) else one) == (list(other) if isinstance(other, tuple) else other)


# -- numbers and names as one reads them

_NAMES: Final = {"f1": "F1", "lm": "LM", "spearman": "Spearman", "pearson": "Pearson", "matthews": "Matthews"}


def said(name: str) -> str:
    """Return the name of a figure or setting as words within a sentence."""
    return " ".join(_NAMES.get(word, word) for word in name.replace("_", " ").replace("-", " ").split(" "))


def pretty(name: str) -> str:
    """Return the name of a figure or setting as words that stand alone."""
    text = said(name)
    return text[:1].upper() + text[1:]


def figure(value: Any) -> str:
    """Return a figure with as many digits as one compares."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.4g}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def memory(size: float) -> str:
    """Return a number of bytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def shown_value(value: Any) -> str:
    """Return a setting's value."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shown_value(one)}" for key, one in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown_value, value)) or "–"
    return str(value)


def place_of(example: Record) -> str:
    """Return where an example stands: file and line, or its position in the file."""
    file, line, position = (example.get(name) for name in ("file", "line", "position"))
    name = Path(str(file)).name if file else ""
    if line is not None:
        return f"{name}:{line}" if name else str(line)
    if position is not None:
        return f"{name}, record {position}".removeprefix(", ")
    return name or "–"


# -- parts of the page


def _top(record: Record, heading: str) -> Markup:
    lines = [tag("p", "Training report", class_="kicker"), tag("h1", heading)]
    test, saved = record.get("test"), saved_evaluation(record)
    for metrics, part in ((test, "test"), (saved, "validation")):
        found = None if metrics is None else main_of(record, metrics)
        if metrics is None or found is None:
            continue
        name, value = found
        examples = metrics.get("examples")
        on = f" on {examples:,} {part} {examples_of(record)}" if examples is not None else f" on the {part} data"
        if part == "test" or test is None:
            lines.append(tag("p", tag("strong", figure(value)), f" {said(name)}{on}", class_="result"))
        else:
            lines.append(tag("p", f"{figure(value)}{on}", class_="aside"))
    if test is None and saved is None:
        lines.append(tag("p", "Trained without data to evaluate on.", class_="result"))
    if kept := record.get("saved"):
        line = f"Saved: the weights after {moment(record, kept)}: {said(kept['why'])}."
        lines.append(tag("p", line, class_="aside"))
    return tag("header", *lines, _facts(record))


def _facts(record: Record) -> Markup:
    seconds, tokens, peak = (record.get(name) for name in ("seconds", "tokens", "peak_memory_bytes"))
    in_steps = record.get("seconds_in_steps")
    examples = ((record.get("data") or {}).get("training") or {}).get("examples")
    epochs = None if record["task"] == PRETRAINING else record.get("epochs")
    facts = {
        f"Training {examples_of(record)}": None if examples is None else f"{examples:,}",
        "Epochs": None if epochs is None else f"{epochs:.4g}",
        "Steps": f"{steps_of(record):,}",
        "Time": None if seconds is None else duration(seconds),
        "Tokens per second": f"{tokens / in_steps:,.0f}" if tokens and in_steps else None,
        "Peak memory": memory(peak) if peak else None,
    }
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items() if value is not None),
        class_="facts",
    )


def _curves(record: Record) -> Markup:
    saved = record.get("saved")
    marked = float(saved["step"]) if saved else None
    evaluations: Sequence[Record] = record.get("evaluations") or []
    size = int(record.get("steps_per_point") or 1)
    last = float(max([1, steps_of(record), *(one["step"] for one in evaluations)]))
    parts: Mapping[str, Sequence[float]] = record.get("figures") or {}
    drawn = []
    lines: list[tuple[str, Sequence[float], bool]] = [
        ("Loss", record.get("losses") or [], True),
        # The only part of a loss is the loss.
        *((pretty(name), values, True) for name, values in parts.items() if values != record.get("losses")),
        ("Learning rate", record.get("learning_rates") or [], False),
        ("Gradient norm", record.get("grad_norms") or [], True),
    ]
    for title, values, both in lines:
        # A point that stands for several steps has the place of the last of them.
        steps = ends_of(len(values), int(last), size)
        finite = [(float(step), value) for step, value in zip(steps, values) if math.isfinite(value)]
        if not finite:
            continue
        places = [step for step, _ in finite]
        means = list(zip(places, smoothed([value for _, value in finite]), strict=True))
        curves = [Curve("raw", finite), Curve("smooth", means)] if both else [Curve("smooth", finite)]
        windows = f", means of {size:,} steps each" if both else f" of the last of every {size:,} steps"
        about = " of each step" if size == 1 else windows
        about = " before clipping" + about.removeprefix(" of each step") if title == "Gradient norm" else about
        about += ", with its running mean" if both else ""
        if len(finite) == 1:
            curves, about = curves[-1:], " of the only step"
        caption = tag("figcaption", title, tag("span", about))
        drawn.append(tag("figure", caption, chart(curves, steps=last, title=f"{title} by step", marked=marked)))
    mains = [(float(one["step"]), main_of(record, one)) for one in evaluations]
    points = [(step, found[1]) for step, found in mains if found is not None and math.isfinite(found[1])]
    name = next((found[0] for _, found in mains if found is not None), "")
    if points:
        title = pretty(name)
        caption = tag("figcaption", title, tag("span", " on the validation data, by step"))
        curve = Curve("dots", points)
        picture = chart([curve], steps=last, title=f"{title} by step", marked=marked, from_zero=False)
        drawn.insert(0, tag("figure", caption, picture))
    if not drawn:
        return Markup()
    about = "The dashed line marks the step whose weights were saved." if marked is not None else ""
    return section("How training went", tag("div", *drawn, class_="charts"), about=about)


def _evaluations(record: Record) -> Markup:
    evaluations: Sequence[Record] = record.get("evaluations") or []
    test: Record | None = record.get("test")
    measured = [*evaluations, *([test] if test else [])]
    names = list(dict.fromkeys(name for one in measured for name in figures(one)))
    if not names:
        return Markup()
    first = main_of(record, measured[0])
    if first is not None and first[0] in names:  # it comes first
        names = [first[0], *(name for name in names if name != first[0])]
    pretrained = record["task"] == PRETRAINING
    fixed = [name for name in names if pretrained and name in _FIXED]
    # Where words are all that is learned, their loss is the loss.
    alone = pretrained and all(one.get("masked_lm_loss") == one.get("loss") for one in measured)
    twice = ["masked_lm_loss" if names[0] == "loss" else "loss"] if alone else []
    names = [name for name in names if name not in (*fixed, *twice)]
    saved = saved_evaluation(record)
    rows = []
    for one in evaluations:
        badge = [tag("span", "saved", class_="badge")] if one is saved else []
        step = f"{one['step']:,}"
        head = tag("th", step if pretrained else f"Epoch {one['epoch']}", *badge, scope="row")
        cells = [] if pretrained else [cell(step)]
        cells += [cell(figure(figures(one).get(name))) for name in names]
        rows.append(tag("tr", head, *cells, class_="saved" if one is saved else None))
    if test:
        cells = [cell(figure(figures(test).get(name))) for name in names]
        rows.append(tag("tr", tag("th", "Test", scope="row"), cell(""), *cells))
    heads: list[tuple[str, str | None]] = [("Step", None)] if pretrained else [("", None), ("Step", "number")]
    heads += [(pretty(name), "number") for name in names]
    amounts = _amounts(record, measured)
    if fixed:
        amounts += f" {pretty(', '.join(f'{said(name)} {figure(measured[-1][name])}' for name in fixed))}."
    return section("All figures", table(heads, rows), about=amounts)


def _amounts(record: Record, measured: Sequence[Record]) -> str:
    """Say on how much was measured."""
    last = measured[-1]
    kinds = {"examples": examples_of(record)}
    found = [
        f"{last[name]:,} {kinds.get(name, name)}" for name in reversed(_AMOUNTS) if isinstance(last.get(name), int)
    ]
    different = len({one.get("examples") for one in measured}) > 1
    if not found or different:
        return ""
    return f"Measured on {' of '.join(found)}." if len(found) == 2 else f"Measured on {found[0]}."


def _final(record: Record) -> tuple[Record | None, str]:
    """Return the metrics of the saved model that say most, and on which part they were measured."""
    if record.get("test"):
        return record["test"], "test"
    return saved_evaluation(record), "validation"


def _classes(record: Record) -> Markup:
    metrics, part = _final(record)
    rows = [] if metrics is None else sorted(class_rows(metrics), key=lambda row: (row.f1, row.name))
    if not rows:
        return Markup()
    more = any(row.precision is not None for row in rows)
    counted = any(row.support is not None for row in rows)
    heads: list[tuple[str, str | None]] = [("", None), ("F1", "number"), ("", "bar")]
    heads += [("Precision", "number"), ("Recall", "number")] if more else []
    heads += [("Examples" if metrics and "types" not in metrics else "Entities", "number")] if counted else []

    def line(row: ClassRow) -> Markup:
        bar = tag("td", tag("span", style=f"--s:{min(1.0, max(0.0, row.f1)):.3f}"), class_="bar")
        cells = [tag("th", foreign(row.name), scope="row", class_="name"), cell(figure(row.f1)), bar]
        cells += [cell(figure(row.precision)), cell(figure(row.recall))] if more else []
        cells += [cell("–" if row.support is None else f"{row.support:,}")] if counted else []
        return tag("tr", *cells)

    lines = list(map(line, rows))
    shown = table(heads, lines[:_SHOWN_CLASSES])
    rest = lines[_SHOWN_CLASSES:]
    folded = tag("details", tag("summary", f"{len(rest)} more"), table(heads, rest)) if rest else Markup()
    kind = "types of entities" if metrics and "types" in metrics else "classes"
    about = f"The {len(rows)} {kind} on the {part} data, the lowest F1 first."
    return section("By class", shown, folded, about=about)


def _confusions(record: Record) -> Markup:
    metrics, part = _final(record)
    labels = [str(label) for label in (metrics or {}).get("labels") or []]
    if metrics and metrics.get("confusions"):  # those that occur, where a matrix would be too large
        return _confusion_list([tuple(one) for one in metrics["confusions"]], metrics.get("counts") or {}, labels, part)
    matrix: Sequence[Sequence[int]] = (metrics or {}).get("confusion") or []
    if not matrix or len(labels) != len(matrix):
        return Markup()
    if len(labels) > _MOST_CLASSES:
        found = [
            (labels[true], labels[predicted], count)
            for true, row in enumerate(matrix)
            for predicted, count in enumerate(row)
            if count and true != predicted
        ]
        return _confusion_list(found, dict(zip(labels, map(sum, matrix))), labels, part)
    many, tilted = len(labels) > 12, len(labels) > 6 or max(map(len, labels)) > 9
    corner = tag("th", "true ╲ predicted", scope="col", class_="corner")
    head = tag("tr", corner, *(tag("th", foreign(label), scope="col") for label in labels), tag("td", class_="total"))
    rows = []
    for place, (label, row) in enumerate(zip(labels, matrix, strict=True)):
        total = sum(row)
        cells = []
        for column, count in enumerate(row):
            share = count / max(1, total)
            kinds = [("right", column == place), ("none", not count), ("deep", share > 0.55)]
            class_ = " ".join(kind for kind, holds in kinds if holds) or None
            # Rare confusions are seen too.
            strength = f"--s:{0.12 + 0.88 * share:.3f}" if count else None
            cells.append(tag("td", f"{count:,}" if count else "·", class_=class_, style=strength))
        name = tag("th", foreign(label), scope="row")
        rows.append(tag("tr", name, *cells, tag("td", f"{total:,}", class_="total")))
    class_ = " ".join(["heat", *(["tilted"] if tilted else []), *(["many"] if many else [])])
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_=class_)
    about = f"On the {part} data; a row for each true class, coloured by its shares, with its sum at the end."
    return section("Confusions", tag("div", table, class_="scroll", tabindex="0"), about=about)


def _confusion_list(
    found: Sequence[tuple[str, str, int]], counts: Mapping[str, int], labels: Sequence[str], part: str
) -> Markup:
    found = sorted(found, key=lambda one: -one[2])
    rows = [
        tag(
            "tr",
            tag("td", foreign(true), class_="name"),
            tag("td", foreign(predicted), class_="name"),
            cell(f"{count:,}"),
            cell(f"{100 * count / max(1, counts.get(true, 0)):.0f}%"),
        )
        for true, predicted, count in found[:_CONFUSIONS]
    ]
    heads = [("True", None), ("Predicted", None), ("Times", "number"), ("Of the true", "number")]
    about = f"On the {part} data: the {len(rows)} most frequent of {len(found):,} kinds, among {len(labels)} classes."
    return section("Confusions", table(heads, rows), about=about)


def _hardest(record: Record) -> Markup:
    examples = [one for one in record.get("hardest") or [] if one["error"] > 0]
    if not examples:
        return Markup()
    rows = [
        tag(
            "tr",
            tag("td", tag("span", place_of(one)), class_="place", data_label="Place"),
            tag("td", foreign(str(one["text"])), data_label="Text"),
            tag("td", foreign(str(one["expected"])), data_label="Expected"),
            tag("td", foreign(str(one["answered"])), data_label="Answered"),
            tag("td", tag("span", figure(one["error"])), class_="number", data_label="Error"),
        )
        for one in examples
    ]
    heads = [("Place", None), ("Text", None), ("Expected", None), ("Answered", None), ("Error", "number")]
    about = "Where the saved model is furthest from what the data says: it has not learned it, or the data is wrong."
    return section("The hardest examples", table(heads, rows, class_="hard", scroll=False), about=about)


def _settings(record: Record, settings: Record) -> Markup:
    if not settings:
        return Markup()
    changed, usual = changed_settings(settings, PretrainSettings if record["task"] == PRETRAINING else FinetuneSettings)

    def listed(some: Record) -> Markup:
        rows = (
            tag("div", tag("dt", pretty(name)), tag("dd", foreign(shown_value(value)))) for name, value in some.items()
        )
        return tag("dl", *rows, class_="settings")

    parts = [listed(changed)] if changed else []
    if usual:
        parts.append(tag("details", tag("summary", f"{len(usual)} settings at their usual values"), listed(usual)))
    return section("Settings", *parts)


def _data(record: Record) -> Markup:
    parts: Record = record.get("data") or {}
    rows = []
    for name, part in parts.items():
        if not part:
            continue
        files, hashes = (
            tag("div", *(tag("div", str(one)) for one in part.get(key) or [])) for key in ("files", "sha256")
        )
        rows.append(
            tag(
                "tr",
                tag("th", pretty(name), scope="row"),
                cell(_count(part.get("examples"))),
                cell(_count(part.get("skipped"))),
                tag("td", files, class_="name code"),
                tag("td", hashes, class_="hash code"),
            )
        )
    if not rows:
        return Markup()
    kind = pretty(examples_of(record))
    heads = [("", None), (kind, "number"), ("Skipped", "number"), ("Files", None), ("SHA-256", None)]
    return section("Data", table(heads, rows))


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _circumstances(record: Record) -> Markup:
    settings = settings_of(record)
    values = {name: str(value) for name, value in (record.get("versions") or {}).items()}
    for name, value in (("threads", record.get("threads")), ("seed", settings.get("seed"))):
        if value is not None:
            values[pretty(name)] = str(value)
    tokens = record.get("tokens")
    if tokens:
        values["Tokens learned from"] = f"{tokens:,}"
    if not values:
        return Markup()
    rows = (tag("div", tag("dt", name), tag("dd", value)) for name, value in values.items())
    return section("To make it again", tag("dl", *rows, class_="settings"))


def _notes(record: Record) -> Markup:
    notes: Sequence[str] = record.get("notes") or []
    if not notes:
        return Markup()
    return section("Notes", tag("ul", *(tag("li", foreign(escaped(note))) for note in notes), class_="notes"))
