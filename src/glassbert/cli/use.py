"""`glassbert predict` and `glassbert evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassbert.cli.options import Encoding, Folder, Header, Json, LabelColumn, TextColumn


def predict(
    folder: Folder,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="One text or several.", show_default=False)],
    json: Json = False,
) -> None:
    """Give each text its class.

    With --json one line of JSON for each text: label, score, all scores, and how many tokens were cut.

    Example: glassbert predict OUT "a text to classify"
    """
    from glassbert.cli.printing import note_cut, print_json
    from glassbert.infer import pipeline

    classify = pipeline("text-classification", model=folder)
    answers = classify(texts)
    note_cut(sum(answer.cut > 0 for answer in answers), len(texts), classify.max_length)
    for text, answer in zip(texts, answers, strict=True):
        if json:
            print_json({"text": text, **answer.to_dict()})
        else:
            # One line and three columns, whatever the text holds.
            print(f"{answer.label}\t{answer.score:.4f}\t{' '.join(text.split())}")


def evaluate(
    folder: Folder,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled data: .csv, .tsv or .jsonl.", show_default=False)
    ],
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    header: Header = True,
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> None:
    """Classify labelled texts and compare.

    With --json an object of metrics: accuracy, macro_f1, f1 by class, labels, confusion, examples.

    Example: glassbert evaluate OUT test.tsv --text-column 0 --label-column 1 --no-header
    """
    from glassbert.cli.printing import note_cut, print_json, print_metrics
    from glassbert.data import read_records
    from glassbert.errors import DataError
    from glassbert.infer import pipeline
    from glassbert.tasks.text_classification import to_examples

    records = read_records(data, header=header, encoding=encoding)
    examples = list(to_examples(records, text_column=text_column, label_column=label_column))
    if not examples:
        raise DataError("holds no records", file=data)
    classify = pipeline("text-classification", model=folder)
    metrics, answers = classify.evaluate(examples)
    note_cut(sum(answer.cut > 0 for answer in answers), len(examples), classify.max_length)
    if json:
        print_json(metrics.to_dict())
    else:
        print_metrics(metrics)
