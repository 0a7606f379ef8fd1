"""`glassbert demo` and `glassbert train`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from glassbert.cli.flags import takes
from glassbert.cli.options import Json, Out, Overwrite
from glassbert.settings import FinetuneSettings, PretrainSettings

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
    from glassbert.cli.displays import TrainingDisplay
    from glassbert.cli.printing import notes, print_json, print_metrics, program, typed
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


@takes(FinetuneSettings, arguments=["train"], from_file=True)
def train(settings: FinetuneSettings, json: Json = False) -> None:
    """Fine-tune a model on texts and labels, pairs of texts, tagged words, or questions.

    The result is a model folder with a report (report.html), a model card and settings.yaml, which --config takes.
    Ctrl-C saves what was done, and --resume goes on from it. torchrun -m glassbert train … trains in several processes.

    Example: glassbert train train.tsv --validation dev.tsv --model FOLDER --out OUT
    """
    from glassbert.cli.displays import TrainingDisplay
    from glassbert.cli.printing import out as results
    from glassbert.cli.printing import print_json, print_metrics, program, typed
    from glassbert.train import finetune
    from glassbert.train.devices import rank
    from glassbert.train.outputs import standing_result

    if settings.resume and not settings.overwrite and (record := standing_result(settings, settings.out)) is not None:
        if not rank():
            tell_ended(settings, record, json)
        return
    with TrainingDisplay(evaluated=settings.is_evaluated) as display:
        result = finetune(settings, on_event=display.show)
    if rank():
        return  # the first process speaks for all
    if json:
        metrics = {} if result.metrics is None else result.metrics.to_dict()
        print_json(
            {"folder": str(settings.out), "steps": len(result.history), "loss": result.history[-1].loss, **metrics}
        )
        return
    if result.metrics is not None:
        print_metrics(result.metrics)
    place = escape(str(settings.out))
    example = {
        "multiple-choice": '"a question" --choice "one" --choice "another"',
        "question-answering": '"a question" --context "a text"',
    }.get(settings.task, '"a text" --pair "another"' if getattr(result.task, "pairs", None) else '"a text"')
    command = escape(f"{program()} predict {typed(Path(settings.out))} {example}")
    results().print(f"saved in [bold]{place}[/]; next: {command}", soft_wrap=True)


def tell_ended(settings: FinetuneSettings | PretrainSettings, record: dict[str, Any], json: bool) -> None:
    """Say that there is nothing to go on with, and tidy up as the run would have done."""
    from glassbert.cli.printing import note, print_json
    from glassbert.train.report import steps_of
    from glassbert.train.state import Checkpoints

    Checkpoints(settings.checkpoints, {}, keep=settings.keep_checkpoints).finish()
    note(f"{settings.out} holds the result of this run already; nothing is left to do")
    if json:
        evaluations = [one for one in record["evaluations"] if one["step"] == record["saved"]["step"]]
        found = record["test"] or (evaluations[-1] if evaluations else {})
        figures = {name: value for name, value in found.items() if name not in ("main", "epoch", "step")}
        loss = record.get("loss", record["losses"][-1])  # an older record has that of every step
        print_json({"folder": str(settings.out), "steps": steps_of(record), "loss": loss, **figures})
