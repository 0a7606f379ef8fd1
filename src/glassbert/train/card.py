"""The card of a trained model for the hub: what it is, how it was made and measured, how to use it, its limits."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from glassbert.checkpoint.hub import CARD
from glassbert.files import signed
from glassbert.tasks import (
    MultiLabelClassification,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    SentenceEmbedding,
    TextClassification,
    TokenClassification,
)
from glassbert.train.report import (
    PRETRAINING,
    class_rows,
    duration,
    examples_of,
    figure,
    figures,
    main_of,
    model_name,
    moment,
    pretty,
    said,
    saved_evaluation,
    settings_of,
    shown_value,
    steps_of,
)
from glassbert.train.state import FREE

Record = Mapping[str, Any]

# How the hub calls figures; those that are not here have no name there.
_METRICS: Final = {
    "accuracy": "accuracy",
    "accuracy_at_1": "accuracy",
    "exact": "exact_match",
    "f1": "f1",
    "macro_f1": "f1",
    "matthews": "matthews_correlation",
    "mean_reciprocal_rank": "mrr",
    "mean_squared_error": "mse",
    "micro_f1": "f1",
    "pearson": "pearsonr",
    "perplexity": "perplexity",
    "precision": "precision",
    "recall": "recall",
    "spearman": "spearmanr",
    "token_accuracy": "accuracy",
}
# Settings that are paths: their folders are nobody's business on the hub.
_PATHS: Final = ("train", "validation", "test", "model", "shards", "log", "resume")
# Settings that say where and how results were written, not what the model is.
_LEFT_OUT: Final = FREE
_MOST_LABELS: Final = 100
_MOST_FILES: Final = 20
_TRANSFORMERS: Final = "transformers"


class _Use(NamedTuple):
    """How the hub sees a task, and how a model of it is used.

    Attributes:
        tag: the hub's name of the task.
        does: what the model does, after "that".
        arguments: of `glassbert predict`, after the folder.
        example: what `glassbert.pipeline` is called with.
        library: that loads the folder beside glassbert.
        code: a program for it; NAME is the model.
        differs: what that library does otherwise; empty for nothing.
    """

    tag: str
    does: str
    arguments: str
    example: str
    library: str
    code: str
    differs: str = ""


# Of a model that has learned from text alone there is nothing to ask; it is where fine-tuning begins.
_LOADED: Final = """\
import glassbert

model = glassbert.load({name})
tokenizer = glassbert.BertTokenizer.from_pretrained({name})
output = model(**tokenizer("a text", return_tensors="pt"))
"""


_TEXTS: Final = (
    'from transformers import pipeline\n\nclassify = pipeline("text-classification", model=NAME, top_k=None)\n'
)
_USES: Final = {
    TextClassification.name: _Use(
        tag="text-classification",
        does="tells which of several classes a text belongs to",
        arguments='"a text"',
        example='"a text"',
        library=_TRANSFORMERS,
        code=_TEXTS + 'print(classify("a text"))',
    ),
    MultiLabelClassification.name: _Use(
        tag="text-classification",
        does="tells which of several labels hold for a text",
        arguments='"a text"',
        example='"a text"',
        library=_TRANSFORMERS,
        code=_TEXTS + 'print(classify("a text"))',
        differs="The thresholds from which labels hold are in `config.json`, under `glassbert_task`; transformers "
        "gives the probabilities alone.",
    ),
    Regression.name: _Use(
        tag="text-classification",
        does="gives a text a number",
        arguments='"a text"',
        example='"a text"',
        library=_TRANSFORMERS,
        code=_TEXTS + 'print(classify("a text", function_to_apply="none"))',
        differs="transformers gives the number as the model learned it; times `spread` plus `mean`, both in "
        "`config.json` under `glassbert_task`, it is on the scale of the data.",
    ),
    TokenClassification.name: _Use(
        tag="token-classification",
        does="finds entities in a text",
        arguments='"a text"',
        example='"a text"',
        library=_TRANSFORMERS,
        code="from transformers import pipeline\n\n"
        'find = pipeline("token-classification", model=NAME, aggregation_strategy="first")\n'
        'print(find("a text"))',
        differs="transformers splits texts into words by other rules and reads no windows, so it may find other "
        "entities.",
    ),
    MultipleChoice.name: _Use(
        tag="multiple-choice",
        does="tells which of several choices answers a question, or goes on with a text",
        arguments='"a question" --choice "one" --choice "another"',
        example='{"question": "a question", "choices": ["one", "another"]}',
        library=_TRANSFORMERS,
        code="from transformers import AutoModelForMultipleChoice, AutoTokenizer\n\n"
        "tokenizer, model = (one.from_pretrained(NAME) for one in (AutoTokenizer, AutoModelForMultipleChoice))\n"
        'choices = ["one", "another"]\n'
        'batch = tokenizer(["a question"] * len(choices), choices, padding=True, return_tensors="pt")\n'
        "scores = model(**{name: values[None] for name, values in batch.items()}).logits[0]\n"
        "print(choices[int(scores.argmax())])",
    ),
    QuestionAnswering.name: _Use(
        tag="question-answering",
        does="finds the answer to a question in a text",
        arguments='"a question" --context "a text"',
        example='("a question", "a text")',
        library=_TRANSFORMERS,
        code="from transformers import AutoModelForQuestionAnswering, AutoTokenizer\n\n"
        "tokenizer, model = (one.from_pretrained(NAME) for one in (AutoTokenizer, AutoModelForQuestionAnswering))\n"
        'batch = tokenizer("a question", "a text", return_tensors="pt")\n'
        "output = model(**batch)\n"
        "first, last = int(output.start_logits.argmax()), int(output.end_logits.argmax())\n"
        "print(tokenizer.decode(batch.input_ids[0, first : last + 1]))",
        differs="This takes the best ends of one window; glassbert looks through all windows and knows when there is "
        "no answer.",
    ),
    PRETRAINING: _Use(
        tag="fill-mask",
        does="has learned from text alone, by filling in what was masked, and is there to be fine-tuned",
        arguments="",
        example="",
        library=_TRANSFORMERS,
        code="from transformers import AutoModelForPreTraining, AutoTokenizer\n\n"
        "tokenizer, model = (one.from_pretrained(NAME) for one in (AutoTokenizer, AutoModelForPreTraining))\n"
        'print(model(**tokenizer("a text", return_tensors="pt")).prediction_logits.shape)',
    ),
    SentenceEmbedding.name: _Use(
        tag="sentence-similarity",
        does="gives texts of like meaning vectors of like direction",
        arguments='"a text"',
        example='"a text"',
        library="sentence-transformers",
        code="from sentence_transformers import SentenceTransformer\n\n"
        "encoder = SentenceTransformer(NAME)\n"
        'print(encoder.encode(["a text", "another"]).shape)',
    ),
}


def write_card(folder: Path, record: Record) -> None:
    """Write `README.md`, with what the hub reads at its head; it says nothing that the record does not.

    A card that nobody has changed is replaced with its folder; one that somebody has is not.

    Args:
        folder: where to.
        record: what `training.json` holds; epochs count from 1 in it.
    """
    (folder / CARD).write_bytes(signed(card(record)).encode("utf-8"))


def card(record: Record) -> str:
    """Return the card as text."""
    settings = settings_of(record)
    use = _USES[record["task"]]
    name = _name(record, settings)
    parts = [
        f"---\n{_front(record, settings, use, name)}\n---",
        f"# {_plain(name)}",
        _summary(record, settings, use),
        _results(record),
        _usage(record, use, name),
        _labels(record),
        _training(record, settings),
        _limits(record, settings),
        _versions(record),
    ]
    # What no encoding can write, such as half of a pair of surrogates, is written as its number.
    return "\n\n".join(part for part in parts if part).encode("utf-8", "backslashreplace").decode() + "\n"


def hub_name(model: Any) -> str | None:
    """Return what the training began with, where that is the name of a repo and no folder of this machine."""
    text = str(model)
    if len(text) > 96 or not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", text, flags=re.ASCII):
        return None
    return None if Path(text).exists() else text


def _name(record: Record, settings: Record) -> str:
    out = Path(str(settings["out"])).name if settings.get("out") else ""
    return out or "-".join(part for part in (model_name(settings), record["task"]) if part)


def _measured(record: Record) -> tuple[Record | None, str]:
    """Return the metrics of the saved model, those on test data where there are some, and the part."""
    if record.get("test"):
        return record["test"], "test"
    return saved_evaluation(record), "validation"


def _files(record: Record, part: str) -> list[str]:
    """Return the names of a part's files, without folders."""
    found = ((record.get("data") or {}).get(part) or {}).get("files") or []
    return [Path(str(file)).name for file in found]


def _front(record: Record, settings: Record, use: _Use, name: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    metrics, part = _measured(record)
    known = {} if metrics is None else {one: value for one, value in _ordered(record, metrics) if one in _METRICS}
    results = [
        EvalResult(
            task_type=use.tag,
            dataset_type="unknown",  # files of one's own are no data set of the hub
            dataset_name=", ".join(_files(record, part)) or part,
            dataset_split=part,
            metric_type=_METRICS[one],
            metric_name=pretty(one),
            metric_value=round(value, 6),
        )
        for one, value in known.items()
    ]
    base = hub_name(settings["model"]) if settings.get("model") else None
    data = ModelCardData(
        library_name=use.library,
        pipeline_tag=use.tag,
        tags=["bert", "glassbert"],
        base_model=base,
        metrics=list(dict.fromkeys(_METRICS[one] for one in known)) or None,
        model_name=name,
        eval_results=results or None,
    )
    if not results:
        data.model_name = None  # it is written as part of the results alone
    return str(data.to_yaml(line_break="\n"))


def _ordered(record: Record, metrics: Record) -> list[tuple[str, float]]:
    """Return the figures, the one by which models are compared first."""
    found = main_of(record, metrics)
    first = found[0] if found is not None else ""
    return sorted(figures(metrics).items(), key=lambda item: item[0] != first)


def _summary(record: Record, settings: Record, use: _Use) -> str:
    base = hub_name(settings["model"]) if settings.get("model") else None
    if record["task"] == PRETRAINING:
        began = f"pretrained from `{base}`" if base else "pretrained"
    else:
        began = f"fine-tuned from `{base}`" if base else "trained"
    text = f"A BERT that {use.does}, {began} with glassbert."
    metrics, part = _measured(record)
    found = None if metrics is None else main_of(record, metrics)
    if metrics is not None and found is not None:
        text += f" {pretty(found[0])} **{figure(found[1])}** on {_amount(record, metrics, part)}."
    return text


def _amount(record: Record, held: Record, part: str) -> str:
    """Say how much there is of some data."""
    return f"{held['examples']:,} {part} {examples_of(record)}" if "examples" in held else f"the {part} data"


def _results(record: Record) -> str:
    metrics, part = _measured(record)
    if metrics is None:
        return "## Results\n\nIt was not evaluated."
    both = [metrics]
    heads = ["", part.capitalize()]
    saved = saved_evaluation(record)
    if part == "test" and saved is not None:
        both, heads = [metrics, saved], ["", "Test", "Validation"]
    rows = [[pretty(name), *(figure(figures(one).get(name)) for one in both)] for name, _ in _ordered(record, metrics)]
    if all("examples" in one for one in both):
        rows.append([pretty(examples_of(record)), *(str(one["examples"]) for one in both)])
    text = f"## Results\n\n{_table(heads, rows)}"
    classes = class_rows(metrics)
    if not classes:
        return text
    columns = [("F1", [figure(row.f1) for row in classes])]
    if all(row.precision is not None for row in classes):
        columns.append(("Precision", [figure(row.precision) for row in classes]))
        columns.append(("Recall", [figure(row.recall) for row in classes]))
    if all(row.support is not None for row in classes):
        columns.append(("True", [f"{row.support:,}" for row in classes]))
    lines = [[_code(row.name), *cells] for row, *cells in zip(classes, *(cells for _, cells in columns), strict=True)]
    table = _table(["", *(head for head, _ in columns)], lines)
    return f"{text}\n\n<details><summary>By class, on the {part} data</summary>\n\n{table}\n\n</details>"


def _usage(record: Record, use: _Use, name: str) -> str:
    quoted = json.dumps(name, ensure_ascii=False)
    shell = shlex.quote(name)
    arguments, example, code = use.arguments, use.example, use.code.replace("NAME", quoted)
    if record.get("pairs"):
        arguments += ' --pair "another"' if example == '"a text"' else ""
        example = '("a text", "another")' if example == '"a text"' else example
        code = code.replace('classify("a text"', 'classify({"text": "a text", "text_pair": "another"}')
    if record["task"] == PRETRAINING:
        if "next_sentence_loss" not in (record.get("figures") or {}):  # of words alone
            code = code.replace("AutoModelForPreTraining", "AutoModelForMaskedLM").replace(
                "prediction_logits", "logits"
            )
        own = [
            "To fine-tune it, with a file of texts and labels:",
            _block("sh", f"glassbert train train.tsv --validation dev.tsv --model {shell} --out OUT"),
            "To load it as it is:",
            _block("python", _LOADED.format(name=quoted).rstrip()),
        ]
    else:
        program = f"from glassbert import pipeline\n\nanswer = pipeline(model={quoted})\nprint(answer({example}))"
        own = [_block("sh", f"glassbert predict {shell} {arguments}"), _block("python", program)]
    lines = [
        f"## Use\n\n{_code(name)} is the folder of this model, or the name of its repo on the hub.",
        *own,
        f"With {use.library}:",
        _block("python", code),
        use.differs,
    ]
    return "\n\n".join(line for line in lines if line)


def _labels(record: Record) -> str:
    metrics, _ = _measured(record)
    names = [row.name for row in class_rows(metrics)] if metrics is not None else []
    if not names:
        return ""
    rest = f" and {len(names) - _MOST_LABELS} more" if len(names) > _MOST_LABELS else ""
    kind = "Types of entities" if metrics is not None and "types" in metrics else "Labels"
    return f"## {kind}\n\n{len(names)}: {', '.join(map(_code, names[:_MOST_LABELS]))}{rest}."


def _training(record: Record, settings: Record) -> str:
    saved, steps = record.get("saved"), steps_of(record)
    lines = []
    if steps:
        time = f" in {duration(record['seconds'])}" if record.get("seconds") is not None else ""
        lines.append(f"{steps:,} {'steps' if steps != 1 else 'step'}{time}.")
    if saved:
        lines.append(f"These are the weights after {moment(record, saved)}: {said(saved['why'])}.")
    ends = [f"{said(name)} {figure(values[-1])}" for name, values in (record.get("figures") or {}).items() if values]
    if ends:
        lines.append(f"At the end of training: {', '.join(ends)}.")
    rows = [
        [_plain(pretty(name)), _code(_shown(name, value))]
        for name, value in settings.items()
        if name not in _LEFT_OUT and value is not None and shown_value(value) != "–"
    ]
    table = _table(["Setting", "Value"], rows) if rows else ""
    notes = "\n".join(f"- {_plain(note)}" for note in record.get("notes") or [])
    return "\n\n".join(part for part in ("## Training", " ".join(lines), table, notes) if part)


def _shown(name: str, value: Any) -> str:
    if name == "model" and hub_name(value):
        return str(value)
    if name in _PATHS and isinstance(value, list | tuple):
        return ", ".join(Path(str(one)).name for one in value)
    hidden = name in _PATHS or (isinstance(value, str) and Path(value).is_absolute())
    return Path(str(value)).name if hidden else shown_value(value)


def _limits(record: Record, settings: Record) -> str:
    lines = []
    pretrained = record["task"] == PRETRAINING
    for part, did in (
        ("training", "It has learned from"),
        ("validation", "It was measured on"),
        ("test", "It was tested on"),
    ):
        held = (record.get("data") or {}).get(part)
        if held:
            files = _files(record, part)
            named = ", ".join(map(_code, files[:_MOST_FILES]))
            named += f" and {len(files) - _MOST_FILES:,} more" if len(files) > _MOST_FILES else ""
            lines.append(f"{did} {held['examples']:,} {examples_of(record)}{f' of {named}' if named else ''}.")
    metrics, part = _measured(record)
    if pretrained:
        lines.append("It knows no task: how well it does after fine-tuning is not known before.")
    elif metrics is None:
        lines.append("How well it does is not known: it was not evaluated.")
    else:
        lines.append("How well it does on texts of another kind is not known.")
    if (
        part == "validation"
        and metrics is not None
        and (record.get("saved") or {}).get("why", "the last") != "the last"
    ):
        lines.append(
            "Its weights were chosen by the data that it was measured on, so its figures are somewhat too good."
        )
    length = settings.get("max_length")
    limit = f"{length} tokens" if length else "what the model takes"
    if record["task"] in (TokenClassification.name, QuestionAnswering.name):
        lines.append(f"Texts longer than {limit} are read in windows, so what is far apart is not seen together.")
    elif not pretrained:
        lines.append(f"Texts longer than {limit} are cut: their ends are not seen.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _versions(record: Record) -> str:
    versions = record.get("versions") or {}
    rows = [[_plain(str(name)), _code(str(value))] for name, value in versions.items()]
    return f"## Versions\n\n{_table(['', ''], rows)}" if rows else ""


# -- Markdown

# In a table it parts no cells, in code within one neither.
_BAR: Final = "\\|"


def _plain(text: str) -> str:
    """Return any text as Markdown that shows it, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#~&$!])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Return any text as code within a line."""
    text = " ".join(text.split()) or " "
    fence = _fence(text, 1)
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{edge}{text}{edge}{fence}"


def _block(language: str, code: str) -> str:
    fence = _fence(code, 3)
    return f"{fence}{language}\n{code}\n{fence}"


def _fence(text: str, least: int) -> str:
    """Return more backticks than stand anywhere in the text."""
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text)), 0)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', _BAR) for cell in line)} |" for line in lines)
