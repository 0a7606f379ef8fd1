"""`glassbert predict` and `glassbert evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from glassbert.cli.flags import takes
from glassbert.cli.options import Folder, Json
from glassbert.settings import ReadingSettings

EngineName = Literal["float32", "int8"]


def predict(
    folder: Folder,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="One text or several.", show_default=False)],
    pair: Annotated[
        str | None, typer.Option("--pair", help="The second text, the same for each.", show_default=False)
    ] = None,
    choice: Annotated[
        list[str] | None,
        typer.Option("--choice", help="A choice, where TEXT is a question; give two or more.", show_default=False),
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", help="What the questions are about.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Give each text what the model has learned to say of it: its class, a score, entities, an answer, a vector.

    With --json one line of JSON for each text: the answer, all scores, and how many tokens were cut.

    Example: glassbert predict OUT "a text to classify"
    """
    from glassbert.cli.printing import note_cut, print_json
    from glassbert.infer import pipeline

    answering = pipeline(model=folder)
    first = next(iter(answering.task.roles))
    given = (("pair", pair), ("context", context), ("choices", choice or None))
    more = {name: value for name, value in given if value is not None}
    answers = answering([{first: text, **more} for text in texts])
    note_cut(sum(_cut(answer) for answer in answers), len(texts), answering.task.text_limit(answering.max_length))
    for text, answer in zip(texts, answers, strict=True):
        if json:
            print_json({first: text, **answer.to_dict()})
        else:
            # One line and the same columns, whatever the text holds.
            print("\t".join(" ".join(value.split()) for value in (*_columns(answer), text)))


@takes(ReadingSettings)
def evaluate(
    settings: ReadingSettings,
    folder: Folder,
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...",
            help="Labelled data: .csv, .tsv, .jsonl, .json, .parquet or .conll; one file or several.",
            show_default=False,
        ),
    ],
    engine: Annotated[
        EngineName, typer.Option("--engine", help="What computes; any other than float32 is compared with float32.")
    ] = "float32",
    json: Json = False,
) -> None:
    """Answer labelled texts and compare.

    With --json an object of metrics, such as accuracy, macro_f1, f1 by class, labels, confusion, examples.

    With --engine int8 the layers' linear products are rounded to 8 bits, and
    its figures stand beside those of float32, with the share of equal answers,
    the time that each took and the memory of the weights; with --json as
    metrics, difference, equal_answers, seconds, speed, weight_bytes.

    Example: glassbert evaluate OUT test.tsv
    """
    from glassbert.cli.printing import note, note_cut, print_comparison, print_json, print_metrics
    from glassbert.data import Skipped
    from glassbert.infer import compare, pipeline
    from glassbert.train.examples import read_examples, records_of

    next(records_of(data, settings, Skipped()), None)  # what cannot be read at all is told before the model is loaded
    answering = pipeline(model=folder)
    skipped = Skipped() if settings.skip_bad else None
    examples = list(read_examples(answering.learned, data, settings, skipped=skipped, say=note))
    if engine == "float32":
        metrics, answers = answering.evaluate(examples, skipped=skipped)
    else:
        other = pipeline(model=folder, engine=engine)
        comparison, answers = compare(answering, other, examples, skipped=skipped)
    for line in str(skipped).splitlines() if skipped and skipped.count else ():
        note(line.strip())
    note_cut(sum(_cut(answer) for answer in answers), len(answers), answering.task.text_limit(answering.max_length))
    if engine != "float32":
        if json:
            print_json(comparison.to_dict("float32", engine))
        else:
            print_comparison(comparison, "float32", engine)
    elif json:
        print_json(metrics.to_dict())
    else:
        print_metrics(metrics)


def _columns(answer: Any) -> tuple[str, ...]:
    """Return what an answer says, as one prints it."""
    from glassbert.tasks import Answer, Choice, Classification, Embedding, MultiLabel, TaggedSentence

    if isinstance(answer, Classification):
        return answer.label, f"{answer.score:.4f}"
    if isinstance(answer, MultiLabel):
        return (", ".join(f"{name} {answer.scores[name]:.4f}" for name in answer.labels) or "-",)
    if isinstance(answer, TaggedSentence):
        return (", ".join(f"{one.type} {one.text} {one.score:.4f}" for one in answer.entities) or "-",)
    if isinstance(answer, Choice):
        return answer.text, f"{answer.score:.4f}"
    if isinstance(answer, Answer):
        return " ".join(answer.text.split()) or "-", f"{answer.score:.4f}"
    if isinstance(answer, Embedding) and answer.similarity is None:
        return (" ".join(f"{number:.4f}" for number in answer.vector[:4].tolist()) + f" … ({len(answer.vector)})",)
    return (f"{answer.similarity if isinstance(answer, Embedding) else answer.score:.4f}",)


def _cut(answer: Any) -> bool:
    """Whether a text was cut; none is where windows hold all of it."""
    return getattr(answer, "cut", 0) > 0
