"""Fields of settings → options of a command: the same names, the same words, the same defaults."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_origin

import typer

from glassbert.errors import ConfigError
from glassbert.settings import ReadingSettings, alternatives, documented

# Names that one may type as well.
_ALSO: Mapping[str, str] = {
    "learning_rate": "--lr",
    "validation": "--valid",
    "columns": "--column",
    "options": "--option",
}


def takes(
    settings: type[ReadingSettings], *, arguments: Sequence[str] = (), from_file: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose first parameter is settings: an option for each of their fields.

    Args:
        settings: their class.
        arguments: fields that are given by their place, in this order.
        from_file: whether `--config` reads a YAML file, whose values the options take the place of.

    A function's other parameters are options as typer has them.
    """
    fields = documented(settings)

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def command(**values: Any) -> None:
            given = {
                name: _read(name, fields[name][0], value)
                for name in fields
                if (value := values.pop(name)) is not None and value != []
            }
            file = values.pop("config", None)
            made = settings.read(file, **given) if file else _make(settings, given)
            function(made, **values)

        parameters = [_parameter(settings, name, arguments) for name in (*arguments, *fields)]
        if from_file:
            option = typer.Option("--config", help=_CONFIG, show_default=False)
            parameters.insert(
                len(arguments),
                inspect.Parameter(
                    "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, option]
                ),
            )
        unique = {one.name: one for one in reversed([*parameters, *own])}
        ordered = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in reversed(unique.values())]
        command.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in ordered}
        return command

    return decorate


_CONFIG = "YAML file of settings, as settings.yaml beside a trained model; options take the place of its values."


def _make(settings: type[ReadingSettings], given: dict[str, Any]) -> ReadingSettings:
    if missing := settings.missing(given):
        shown = [_METAVARS[name] if name == "train" else _flag(name) for name in missing]
        raise ConfigError(f"missing: {', '.join(shown)}")
    return settings(**given)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _parameter(settings: type[ReadingSettings], name: str, arguments: Sequence[str]) -> inspect.Parameter:
    """Return the parameter of one field; None says that it was not given."""
    kind, doc = documented(settings)[name]
    field = settings.__dataclass_fields__[name]
    if name in arguments:
        several = kind is Any
        argument = typer.Argument(metavar=_METAVARS.get(name), help=doc.text, show_default=False)
        paths: Any = list[Path] if several else Path
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[paths | None, argument]
        )
    flags = [_flag(name)]
    if name in _ALSO:
        flags.append(_ALSO[name])
    default: Any = field.default
    if kind is bool:
        flags = [f"{flags[0]}/--no-{flags[0][2:]}"]
        default = flags[0].split("/")[0 if default else 1]
    # What typer calls the default is None, which says that an option was not given.
    known = f" [dim]\\[default: {default}][/]" if isinstance(default, str | int | float) else ""
    option = typer.Option(
        *flags, help=doc.text + known, show_default=False, rich_help_panel=doc.group, metavar=_METAVARS.get(name)
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[_typed(kind) | None, option]
    )


_METAVARS: Mapping[str, str] = {
    "train": "DATA",
    "columns": "ROLE=COLUMN",
    "options": "NAME=VALUE",
    "class_weights": "NAME=WEIGHT",
}


def _typed(kind: Any) -> Any:
    """Return the type that typer reads a field's value as."""
    parts = [part for part in alternatives(kind) if part is not NoneType]
    if any(get_origin(part) is Mapping for part in parts):
        return list[str]
    if len(parts) == 1 and parts[0] is not Any:
        return parts[0]
    return Path if Path in parts or parts == [Any] else str


def _read(name: str, kind: Any, value: Any) -> Any:
    """Make a field's value of what was typed."""
    if name == "columns":
        return _by_name(name, value, lambda text: text.split(",") if "," in text else text)
    if name == "options":
        return _by_name(name, value, _json)
    if name == "class_weights":
        return value[0] if value == ["balanced"] else _by_name(name, value, _json)
    if kind is Any and isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def _json(text: str) -> Any:
    """Read JSON; what is none is a string."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _by_name(name: str, given: Sequence[str], read: Callable[[str], Any]) -> dict[str, Any]:
    """Read NAME=VALUE.

    Raises:
        ConfigError: one without `=`, or a name that is given twice.
    """
    found: dict[str, Any] = {}
    for one in given:
        key, sign, value = one.partition("=")
        if not (key and sign and value) or key in found:
            expected = f"one {key} alone" if key in found else _METAVARS[name]
            raise ConfigError(f"{_ALSO.get(name, _flag(name))} is {one!r}, expected {expected}")
        found[key] = read(value)
    return found
