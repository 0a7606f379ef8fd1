"""`glassbert inspect …`: every tensor, every head, on a model of your own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbert.cli.options import Json

if TYPE_CHECKING:
    from glassbert.inspect import Finding

inspect = typer.Typer(
    name="inspect",
    help="Look into a model: its shapes, heads, attention, outputs, costs, tokens. Each shows numbers from a real run.",
    rich_markup_mode="rich",
)

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model folder, or name on the hub.", show_default=False)
]
Kind = Annotated[
    str | None,
    typer.Option("--class", help="Load the model as this class, such as BertModel.", show_default="the folder's own"),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write a page, one file that needs no network.", show_default=False),
]
Png = Annotated[Path | None, typer.Option("--png", help="Write a picture.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files of --html and --png.")]


def show(finding: Finding, *, html: Path | None, png: Path | None, overwrite: bool, json: bool) -> None:
    """Print a finding, or its facts as JSON, and write the files that are asked for."""
    from glassbert.cli.printing import note, print_json, report_console

    for path, write in ((html, finding.write_html), (png, finding.write_png)):
        if path is not None:
            write(path, overwrite=overwrite)
            note(f"wrote {path}")
    if json:
        print_json(finding.to_dict())
        return
    console = report_console()
    for one in finding.renderables():
        console.print(one)


def check_files(html: Path | None, png: Path | None, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written before anything is computed.

    Raises:
        OutputExistsError: it is there.
        ConfigError: its name has another ending, or the folder is none.
    """
    from glassbert.errors import ConfigError, OutputExistsError

    for path, ending in ((html, (".html", ".htm")), (png, (".png",))):
        if path is None:
            continue
        if path.suffix.lower() not in ending:
            raise ConfigError(f"{path}: expected a name that ends in {ending[0]}")
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} is there already; give --overwrite to replace it")


@inspect.command()
def tree(
    model: ModelName,
    kind: Kind = None,
    html: Html = None,
    png: Png = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show the modules that the model is made of, with their sizes, and that its layers run one after the other.

    Example: glassbert inspect tree FOLDER
    """
    check_files(html, png, overwrite=overwrite)
    from glassbert import inspect as room

    show(room.tree(model, kind=kind), html=html, png=png, overwrite=overwrite, json=json)


@inspect.command()
def parameters(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Model folder, or name on the hub.", show_default=False),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="A published size without weights, such as base, in place of MODEL."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Texts of a batch.")] = 8,
    length: Annotated[
        int | None, typer.Option("--length", help="Tokens of each text.", show_default="128, or as many as fit")
    ] = None,
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="What trains: adamw, lamb, momentum (SGD with it), or sgd.")
    ] = "adamw",
    memory: Annotated[
        float | None, typer.Option("--memory", help="GB that it has to fit into: say what does.", show_default=False)
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Run the model to measure memory and time, some seconds.")
    ] = True,
    kind: Kind = None,
    html: Html = None,
    png: Png = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show where parameters, operations and memory go, what checkpointing and chunks save, and what fits.

    What memory takes is said by a formula and measured beside it. A large model is measured with fewer or shorter texts
    than were asked for, and the result says so.

    Example: glassbert inspect parameters FOLDER --batch 8 --length 128 --memory 16
    """
    from glassbert.errors import ConfigError

    check_files(html, png, overwrite=overwrite)
    if (model is None) == (preset is None):
        given = "both are given" if preset is not None else "neither is given"
        raise ConfigError(f"expected either a MODEL or a --preset, but {given}; give one")
    from glassbert import inspect as room
    from glassbert.cli.printing import notes
    from glassbert.inspect.memory import check_optimizer
    from glassbert.model import BertConfig

    known = check_optimizer(optimizer)
    # One of the two is there.
    subject = BertConfig.preset(str(preset)) if model is None else model
    with notes().status("running the model") if measure and model else contextlib.nullcontext():
        found = room.parameters(
            subject, batch=batch, length=length, optimizer=known, memory=memory, measure=measure, kind=kind
        )
    show(found, html=html, png=png, overwrite=overwrite, json=json)
