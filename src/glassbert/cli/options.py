"""Options that several commands share, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassbert.errors import ConfigError

TextColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column",
        help="Column of the text, words or question: its name, or its number from 0.",
        show_default="text, tokens or question, as the task has it",
    ),
]
PairColumn = Annotated[
    str | None,
    typer.Option("--pair-column", help="Column of the second text, where texts come in pairs.", show_default=False),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        help="Column of the label, labels, score or tags: its name, or its number from 0.",
        show_default="label, or tags for words",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="ROLE=COLUMN",
        help="Column of another role, such as context=sent1; choices=ending0,ending1 for one that has several.",
        show_default=False,
    ),
]
Header = Annotated[
    bool, typer.Option("--header/--no-header", help="Whether the first row of CSV and TSV files names the columns.")
]
Encoding = Annotated[str, typer.Option("--encoding", help="Encoding of the data files, such as utf-8 or latin-1.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines on stdout, and nothing else there.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the result; must be new or empty.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace the output folder: all that is in it goes. One with other files than a model's is refused.",
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Model folder.", show_default=False)]


def roles(given: list[str] | None) -> dict[str, str | list[str]]:
    """Return what `--column` names, by role; commas stand between several columns.

    Raises:
        ConfigError: not of the form ROLE=COLUMN.
    """
    found: dict[str, str | list[str]] = {}
    for one in given or []:
        role, equals, column = one.partition("=")
        if not (role and equals and column):
            raise ConfigError(f"--column is {one!r}, expected ROLE=COLUMN, such as context=sent1")
        found[role] = column.split(",") if "," in column else column
    return found
