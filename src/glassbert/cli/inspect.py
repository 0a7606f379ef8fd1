"""`glassbert inspect …`: every tensor, every head, on a model of your own."""

from __future__ import annotations

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
def attention(
    model: ModelName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; may be empty.", show_default=False)],
    pair: Annotated[
        str | None, typer.Argument(metavar="PAIR", help="The second text of a pair.", show_default="none")
    ] = None,
    layer: Annotated[
        int | None, typer.Option("--layer", help="Look at this layer closer, from 0.", show_default="none")
    ] = None,
    head: Annotated[
        int | None, typer.Option("--head", help="And at this head of it, from 0.", show_default="none")
    ] = None,
    kind: Kind = None,
    html: Html = None,
    png: Png = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show which token looks at which, in every layer and head, and what each head mostly looks at.

    The weights come from a run on your text. The page of --html has views to click through: arcs, a matrix, and how
    each weight comes about from queries and keys. With --layer and --head the terminal shows the weights of that head,
    and --png draws them.

    Example: glassbert inspect attention FOLDER "The cat sat down." --layer 2 --head 5 --html attention.html
    """
    check_files(html, png, overwrite=overwrite)
    from glassbert import inspect as room

    found = room.attention(model, text, pair, layer=layer, head=head, kind=kind)
    show(found, html=html, png=png, overwrite=overwrite, json=json)
