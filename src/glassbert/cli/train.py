"""`glassbert demo` and `glassbert train`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from glassbert.cli.options import (
    Columns,
    Encoding,
    Header,
    Json,
    LabelColumn,
    Out,
    Overwrite,
    PairColumn,
    TextColumn,
    roles,
)

# Sentences for the end of the demo; none of them is in the embedded data.
_NEW_SENTENCES = (
    "Könnten Sie mir bitte sagen, wann die Bibliothek schließt?",
    "The ferry leaves at noon, so bring a sandwich.",
    "¿Quién dejó la ventana abierta anoche?",
    "Le facteur est passé avant que le chien ne se réveille.",
    "这家小店的豆浆比对面的好喝。",
)


def demo(
    out: Out = Path("glassbert-demo"),
    epochs: Annotated[int, typer.Option(help="Passes over the training sentences.")] = 6,
    seed: Annotated[int, typer.Option(help="Decides fresh weights, the order of the data and dropout.")] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a small BERT from nothing on the embedded sentences: which of five languages is this?

    Learns a vocabulary, trains, evaluates, saves a model folder, loads it again and classifies new sentences.

    Example: glassbert demo --out my-first-bert
    """
    from glassbert.cli.printing import TrainingDisplay, notes, print_json, print_metrics, program, typed
    from glassbert.cli.printing import out as results
    from glassbert.infer import pipeline
    from glassbert.train import DEMO_TRAINING, run_demo

    console = notes()
    console.print("[bold]From raw text to a BERT of width 464 that tells five languages apart[/]")
    training = dataclasses.replace(DEMO_TRAINING, epochs=epochs, seed=seed)
    with TrainingDisplay() as display:
        result = run_demo(out, training=training, overwrite=overwrite, on_event=display.show)
    assert result.metrics is not None
    if json:
        print_json(result.metrics.to_dict())
        return
    screen = results()
    screen.print()
    print_metrics(result.metrics)
    screen.print(f"\nsaved in [bold]{escape(str(out))}[/]: {', '.join(sorted(os.listdir(out)))}", soft_wrap=True)
    screen.print("\nloaded again, on sentences it has never seen:")
    classify = pipeline("text-classification", model=out)
    for sentence, answer in zip(_NEW_SENTENCES, classify(list(_NEW_SENTENCES)), strict=True):
        screen.print(f"  [bold]{answer.label}[/] {answer.score:.3f}  {sentence}")
    folder, data = typed(out), Path(os.path.relpath(Path(__file__).parent.parent / "data"))
    screen.print("\ntry next:")
    for command in (
        f'predict {folder} "Où est la gare, s\'il vous plaît ?"',
        f"evaluate {folder} {data / 'languages.test.jsonl'}",
        f"train {data / 'languages.train.jsonl'} --model {folder} --out my-model --epochs 1",
    ):
        screen.print(f"  {program()} {command}", soft_wrap=True, markup=False)


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Training data: .csv, .tsv, .jsonl, .json, .parquet or .conll.", show_default=False
        ),
    ],
    model: Annotated[Path, typer.Option("--model", help="Folder of the model to begin with.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder of the result; must be new or empty.", show_default=False)],
    valid: Annotated[
        Path | None, typer.Option("--valid", help="Data to evaluate on after every epoch.", show_default=False)
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            help="text-classification, multi-label-classification, regression, token-classification, multiple-choice, "
            "question-answering or sentence-embedding."
        ),
    ] = "text-classification",
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    column: Columns = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A setting of the task, such as scheme=IOB1 or widths=[384,128]; may be repeated.",
            show_default=False,
        ),
    ] = None,
    header: Header = True,
    encoding: Encoding = "utf-8",
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Examples per optimizer step.")] = 32,
    lr: Annotated[float, typer.Option("--lr", "--learning-rate", help="Highest learning rate.")] = 5e-5,
    warmup: Annotated[float, typer.Option(help="Share of all steps in which the rate rises.")] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="Decay of weights, not of biases and LayerNorm.")] = 0.01,
    max_length: Annotated[
        int | None, typer.Option(help="Most tokens of a text; longer ones are cut, and counted.", show_default=False)
    ] = None,
    token_dropout: Annotated[
        float, typer.Option(help="Share of tokens replaced by [MASK] in training; helps on small data.")
    ] = 0.0,
    crop: Annotated[
        int | None,
        typer.Option(help="Read longer training texts through random windows of so many tokens.", show_default=False),
    ] = None,
    max_grad_norm: Annotated[float, typer.Option(help="The gradients' joint norm is clipped to this.")] = 1.0,
    token_budget: Annotated[
        int, typer.Option(help="Most tokens computed at once; changes memory, not results.")
    ] = 8192,
    seed: Annotated[int, typer.Option(help="Decides fresh weights, the order of the data and dropout.")] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Fine-tune a model on a file of texts and labels, pairs of texts, tagged words, or questions.

    Example: glassbert train train.tsv --valid dev.tsv --model FOLDER --out OUT
             --text-column 0 --label-column 1 --no-header
    """
    from glassbert.cli.printing import TrainingDisplay, print_json, print_metrics, program, typed
    from glassbert.cli.printing import out as results
    from glassbert.train import FinetuneSettings, TrainingSettings, finetune

    settings = FinetuneSettings(
        train=data,
        validation=valid,
        model=model,
        out=out,
        task=task,
        text_column=text_column,
        pair_column=pair_column,
        label_column=label_column,
        role_columns=roles(column),
        task_options=_task_options(option or []),
        header=header,
        encoding=encoding,
        max_length=max_length,
        overwrite=overwrite,
        training=TrainingSettings(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=lr,
            warmup=warmup,
            weight_decay=weight_decay,
            max_grad_norm=max_grad_norm,
            token_dropout=token_dropout,
            crop=crop,
            token_budget=token_budget,
            seed=seed,
        ),
    )
    with TrainingDisplay() as display:
        result = finetune(settings, on_event=display.show)
    if json:
        metrics = {} if result.metrics is None else result.metrics.to_dict()
        print_json({"folder": str(out), "steps": len(result.history), "loss": result.history[-1].loss, **metrics})
        return
    if result.metrics is not None:
        print_metrics(result.metrics)
    place = escape(str(out))
    example = {
        "multiple-choice": '"a question" --choice "one" --choice "another"',
        "question-answering": '"a question" --context "a text"',
    }.get(task, '"a text"')
    command = escape(f"{program()} predict {typed(out)} {example}")
    results().print(f"saved in [bold]{place}[/]; next: {command}", soft_wrap=True)


def _task_options(given: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE; a value that is no JSON is a string.

    Raises:
        ConfigError: one without `=`, or a name that is given twice.
    """
    import json

    from glassbert.errors import ConfigError

    options: dict[str, Any] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or name in options:
            raise ConfigError(f"--option is {one!r}, expected " + ("NAME=VALUE" if not sign else f"one {name} alone"))
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options
