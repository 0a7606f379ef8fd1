"""Options that several commands share, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TextColumn = Annotated[str, typer.Option("--text-column", help="Column of the text: its name, or its number from 0.")]
PairColumn = Annotated[
    str | None,
    typer.Option("--pair-column", help="Column of the second text, where texts come in pairs.", show_default=False),
]
NegativeColumn = Annotated[
    str | None,
    typer.Option(
        "--negative-column",
        help="Column of a text that does not belong to the first (sentence-embedding).",
        show_default=False,
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        help="Column of the label, labels or score: its name, or its number from 0. By default label, where the task "
        "needs one.",
        show_default=False,
    ),
]
Header = Annotated[
    bool, typer.Option("--header/--no-header", help="Whether the first row of CSV and TSV files names the columns.")
]
Encoding = Annotated[str, typer.Option("--encoding", help="Encoding of the data files, such as utf-8 or latin-1.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines on stdout, and nothing else there.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the result; must be new or empty.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands in the output folder.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Model folder.", show_default=False)]
