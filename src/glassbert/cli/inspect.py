"""`glassbert inspect …`: every tensor, every head, on a model of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbert.cli.flags import takes
from glassbert.cli.options import Json
from glassbert.settings import ReadingSettings

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


@inspect.command(name="torch-encoder")
def torch_encoder(
    model: ModelName,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="What both read; none: random token ids.", show_default=False),
    ] = None,
    kind: Kind = None,
    html: Html = None,
    png: Png = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show how the model's layers differ from torch.nn.TransformerEncoderLayer, weight by weight, with both run.

    The layers are put into torch's encoder and both read the same input, by torch's fast path, without it, and in
    training. Every difference is listed, with what it would do to this model.

    Example: glassbert inspect torch-encoder FOLDER "a text"
    """
    check_files(html, png, overwrite=overwrite)
    from glassbert import inspect as room

    found = room.torch_encoder(model, texts or None, kind=kind)
    show(found, html=html, png=png, overwrite=overwrite, json=json)


@inspect.command()
@takes(ReadingSettings)
def compare(
    settings: ReadingSettings,
    a: Annotated[str, typer.Argument(metavar="A", help="Model folder, or name on the hub.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Labelled data as evaluate reads them, or a .txt file of a text each line.",
            show_default="some English sentences",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", help="Most examples that are answered, spread over the file.", min=1)
    ] = 1000,
    html: Html = None,
    png: Png = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Put two models side by side: configs, vocabularies, weights, what they see in texts, what they answer.

    Weights are compared by place and part, to the bit; what the layers make of texts by CKA, each layer of A with each
    of B, whatever their depth and width. Models that have learned the same task answer the file, and what they answer
    differently is shown.

    Example: glassbert inspect compare BEFORE AFTER test.tsv
    """
    check_files(html, png, overwrite=overwrite)
    from glassbert import inspect as room

    found = room.compare(a, b, file, limit=limit, reading=settings)
    show(found, html=html, png=png, overwrite=overwrite, json=json)
