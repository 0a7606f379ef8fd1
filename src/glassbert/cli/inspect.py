"""`glassbert inspect …`: every tensor, every head, on a model of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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


AttentionName = Literal["eager", "sdpa", "packed", "varlen"]


@inspect.command()
def shapes(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Model folder, or name on the hub; without one, --width, --layers and --heads make a random model.",
            show_default=False,
        ),
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...", help="Texts of one batch.", show_default=False)
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--ids",
            help="In place of texts, a row of token ids, such as 101,7592,102; several of these make a batch. The id "
            "of padding at the end of a row is padding.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        AttentionName,
        typer.Option(
            "--backend",
            help="How attention is computed: eager, padded with scores and weights in sight; sdpa, padded; packed, "
            "without padding, as models do by themselves; varlen, the same on CUDA.",
        ),
    ] = "eager",
    width: Annotated[int | None, typer.Option("--width", help="Of a random model: H.", show_default=False)] = None,
    layers: Annotated[int | None, typer.Option("--layers", help="Of a random model.", show_default="2")] = None,
    heads: Annotated[int | None, typer.Option("--heads", help="Of a random model: A.", show_default="2")] = None,
    intermediate: Annotated[
        int | None, typer.Option("--intermediate", help="Of a random model: I.", show_default="4 times the width")
    ] = None,
    vocab: Annotated[
        int | None, typer.Option("--vocab", help="Of a random model: words, V.", show_default="30522")
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option("--labels", help="Of a random model, which classifies: classes, C.", show_default=False),
    ] = None,
    kind: Kind = None,
    html: Html = None,
    png: Png = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show the shape of everything from input_ids to the logits, in letters and in numbers, as one real run has it.

    Each step stands with its parameters, FLOPs, bytes and the line of source that does it.

    Example: glassbert inspect shapes FOLDER "one text" "another"

    Without a model: glassbert inspect shapes --width 464 --layers 2 --heads 8 --labels 5 --ids 101,1188,102
    """
    check_files(html, png, overwrite=overwrite)
    from glassbert.errors import ConfigError, InputError

    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
        "num_labels": labels,
    }
    given = {name: size for name, size in sizes.items() if size is not None}
    if model is not None and given:
        raise ConfigError(
            f"{model!r} is a model, and --width and what goes with it are of a random one; give one or the other"
        )
    if model is None and width is None:
        raise ConfigError("there is no model; give a folder or a name, or --width for a random one")
    rows = [_ids(row) for row in ids or []]
    if model is None and not rows:
        raise InputError("a random model has no tokenizer; give it rows of token ids with --ids")
    from glassbert import inspect as room
    from glassbert.inspect.shapes import random_model
    from glassbert.model import BertConfig, BertPreTrainedModel

    subject: BertPreTrainedModel | str
    if model is not None:
        subject = model
    else:
        usual = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 4 * (width or 0)}
        chosen = kind or ("BertModel" if labels is None else "BertForSequenceClassification")
        config = BertConfig.from_dict({**usual, "is_decoder": chosen == "BertLMHeadModel", **given})
        subject, kind = random_model(config, chosen), None
    found = room.shapes(subject, texts, kind=kind, input_ids=rows or None, backend=backend)
    show(found, html=html, png=png, overwrite=overwrite, json=json)


def _ids(row: str) -> list[int]:
    """Read a row of token ids.

    Raises:
        InputError: something else stands there.
    """
    from glassbert.errors import InputError

    parts = [part.strip() for part in row.split(",")]
    wrong = [part for part in parts if not (part.isascii() and part.isdigit())]
    if wrong:
        raise InputError(f"--ids {row!r} holds {wrong[0]!r}, expected whole numbers with commas: 101,7592,102")
    return [int(part) for part in parts]
