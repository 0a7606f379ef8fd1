"""What all commands that show a finding have in common: `--html`, `--png`, `--overwrite` and `--json`."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbert.cli.options import Json

if TYPE_CHECKING:
    from glassbert.inspect import Finding

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model folder, or name on the hub.", show_default=False)
]
Kind = Annotated[
    str | None,
    typer.Option("--class", help="Load the model as this class, such as BertModel.", show_default="the folder's own"),
]
_Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write a page, one file that needs no network.", show_default=False),
]
_Png = Annotated[Path | None, typer.Option("--png", help="Write a picture.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files that are written.")]


def shows(function: Callable[..., Finding]) -> Callable[..., None]:
    """Make a command of a function that returns a finding, which is printed and written where one asks.

    A function that has an `overwrite` of its own is told of it too.
    """
    function.__annotations__.pop("return", None)  # a name that is there for type checkers alone
    own = inspect.signature(function, eval_str=True)
    overwrites = "overwrite" in own.parameters
    added = {"html": (_Html, None), "png": (_Png, None), "overwrite": (Overwrite, False), "json": (Json, False)}

    @functools.wraps(function)
    def command(*given: Any, html: Path | None, png: Path | None, overwrite: bool, json: bool, **values: Any) -> None:
        _check_files(html, png, overwrite=overwrite)
        if overwrites:
            values["overwrite"] = overwrite
        _show(function(*given, **values), html=html, png=png, overwrite=overwrite, json=json)

    parameters = [one for one in own.parameters.values() if one.name not in added]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in added.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _check_files(html: Path | None, png: Path | None, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written before anything is computed.

    Raises:
        ConfigError: its name has another ending.
        OutputExistsError: it is there.
        SaveError: a folder stands there, or a file in the place of its folder.
        MissingExtraError: a picture is asked for, and matplotlib is not installed.
    """
    from glassbert.errors import ConfigError, MissingExtraError, OutputExistsError, SaveError

    for path, endings in ((html, (".html", ".htm")), (png, (".png",))):
        if path is None:
            continue
        if path.suffix.lower() not in endings:
            raise ConfigError(f"{path}: expected a name that ends in {endings[0]}")
        if path.is_dir() or (path.parent.exists() and not path.parent.is_dir()):
            place = path if path.is_dir() else path.parent
            raise SaveError(f"cannot write {path}: {place} is {'a folder' if path.is_dir() else 'no folder'}")
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} is there already; give --overwrite to replace it")
    if png is not None:
        try:
            importlib.import_module("matplotlib.figure")
        except ImportError:
            raise MissingExtraError("matplotlib", "inspect") from None


def _show(finding: Finding, *, html: Path | None, png: Path | None, overwrite: bool, json: bool) -> None:
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
