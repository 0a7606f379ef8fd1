"""Options that several commands share, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassbert.settings import EngineName

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
EngineChoice = Annotated[
    EngineName,
    typer.Option("--engine", help="What computes: float32; bfloat16 or int8, which round; onnx, an exported folder."),
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Model folder.", show_default=False)]
Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT...|FILE...",
        help="Texts; or files, told by their endings (.txt has a text each line, .csv, .tsv, .jsonl, .json, .parquet "
        "and .conll records) or by --format; - for standard input.",
        show_default=False,
    ),
]
