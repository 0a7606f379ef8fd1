"""`glassbert export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbert.cli.flags import takes
from glassbert.cli.options import Json, Overwrite
from glassbert.settings import ReadingSettings

if TYPE_CHECKING:
    from glassbert.infer import Exported
    from glassbert.tasks.task import Metrics


class Form(StrEnum):
    """The forms of `glassbert.export`."""

    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"


@takes(ReadingSettings)
def export(
    settings: ReadingSettings,
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Model folder, or repo on the hub.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder.", show_default=False)],
    to: Annotated[Form, typer.Option("--to", help="Form of the program.")] = Form.ONNX,
    int8: Annotated[
        bool, typer.Option("--int8", help="Weights in 8 bits (onnx): smaller and faster, and not the same answers.")
    ] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Labelled data, to tell what 8 bits cost; may be repeated.", show_default=False),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a model as a program that runs without glassbert, and hold it against the model.

    onnx: model.onnx, for onnxruntime, optimum, sentence-transformers and text-embeddings-inference. torch-export:
    model.pt2, for torch.export.load. Any number of texts of any length; config and tokenizer stand beside it.

    Example: glassbert export FOLDER --to onnx --out OUT
    """
    from glassbert.cli.displays import ExportDisplay
    from glassbert.cli.printing import print_json
    from glassbert.infer import export as export_folder

    examples = _examples(folder, data, settings, wanted=int8) if data else None
    with ExportDisplay() as display:
        exported = export_folder(
            folder, out, to=to.value, int8=int8, examples=examples, overwrite=overwrite, on_step=display.show
        )
    if json:
        print_json(exported.to_dict())
    else:
        _print(exported)


def _examples(folder: str, data: list[Path], settings: ReadingSettings, *, wanted: bool) -> list[Any]:
    """Read labelled examples as `glassbert evaluate` does."""
    from glassbert.checkpoint import load_config
    from glassbert.cli.printing import note
    from glassbert.data import Skipped
    from glassbert.errors import CheckpointError, ConfigError
    from glassbert.tasks import task_of
    from glassbert.train.examples import read_examples

    if not wanted:
        raise ConfigError("--data tells what 8 bits cost; pass --int8 with it, or leave it out")
    config = load_config(folder)
    try:
        task = task_of(config, (config.architectures or ["BertModel"])[0])
    except ConfigError as error:
        raise CheckpointError(f"{folder}: {error}; leave out --data") from None
    skipped = Skipped() if settings.skip_bad else None
    examples = list(read_examples(task, data, settings, skipped=skipped, say=note))
    for line in str(skipped).splitlines() if skipped and skipped.count else ():
        note(line.strip())
    return examples


def _print(exported: Exported) -> None:
    """Print what was written, how exact it is, and what 8 bits cost."""
    from rich.table import Table

    from glassbert.cli.printing import out

    console, quantized = out(), exported.quantized
    size = exported.bytes if quantized is None else quantized.bytes
    file = exported.folder / exported.file
    console.print(
        f"{file}: {exported.architecture} as {exported.form}, {exported.bytes / 1e6:,.1f} MB",
        soft_wrap=True,
        markup=False,
    )
    console.print(
        f"held against the model on {exported.texts} texts of up to {exported.longest} tokens, in float32 "
        f"({size / 1e6:,.1f} MB):",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("output", "largest difference", "mean", "largest number"):
        table.add_column(heading, justify="left" if heading == "output" else "right")
    for name, one in exported.differences.items():
        table.add_row(name, f"{one.largest:.1e}", f"{one.mean:.1e}", f"{one.magnitude:.3g}")
    for name, one in ({} if quantized is None else quantized.differences).items():
        table.add_row(f"{name}, 8 bits", f"{one.largest:.1e}", f"{one.mean:.1e}", f"{one.magnitude:.3g}")
    console.print(table)
    if quantized is None:
        return
    if quantized.before is None or quantized.after is None:
        console.print(
            "8 bits change answers, and by how much depends on the task: --data FILE measures it on labelled data",
            soft_wrap=True,
        )
        return
    console.print(f"what 8 bits cost on {quantized.examples:,} labelled examples:")
    console.print(_beside(quantized.before, quantized.after))


def _beside(before: Metrics, after: Metrics) -> Any:
    """Return a table of a task's figures in float32 and in 8 bits."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "float32", "8 bits", "change"):
        table.add_column(heading, justify="right" if heading else "left")
    new = after.figures()
    for name, value in before.figures().items():
        if name in new:
            table.add_row(name.replace("_", " "), f"{value:.4f}", f"{new[name]:.4f}", f"{new[name] - value:+.4f}")
    return table
