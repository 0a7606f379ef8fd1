"""Fields of settings → options of a command: the same names, the same words, the same defaults."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from glassbert.errors import ConfigError
from glassbert.settings import alternatives, documented

# Names that one may type as well.
_ALSO: Mapping[str, str] = {
    "learning_rate": "--lr",
    "validation": "--valid",
    "columns": "--column",
    "options": "--option",
}


def takes(
    settings: type[Any], *, arguments: Sequence[str] = (), from_file: bool = False
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
            for name, (kind, _) in fields.items():
                if kind is bool:
                    default = settings.__dataclass_fields__[name].default
                    # The visible half of a switch changes what holds where nobody says; the hidden one does not.
                    if given.pop(name, False):
                        given[name] = not default
                    if values.pop(f"{_OTHER}{name}", None):
                        given[name] = default
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
        parameters += _other_ways(settings)
        unique = {one.name: one for one in reversed([*parameters, *own])}
        ordered = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in reversed(unique.values())]
        command.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in ordered}
        return command

    return decorate


_CONFIG = "YAML file of settings, as settings.yaml beside a trained model; options take the place of its values."


def _make(settings: type[Any], given: dict[str, Any]) -> Any:
    if missing := settings.missing(given):
        shown = [_METAVARS[name] if name in ("train", "texts", "shards") else _flag(name) for name in missing]
        raise ConfigError(f"missing: {', '.join(shown)}")
    return settings(**given)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _parameter(settings: type[Any], name: str, arguments: Sequence[str]) -> inspect.Parameter:
    """Return the parameter of one field; None says that it was not given."""
    kind, doc = documented(settings)[name]
    field = settings.__dataclass_fields__[name]
    if name in arguments:
        argument = typer.Argument(metavar=_METAVARS.get(name), help=doc.text, show_default=False)
        return _parameter_of(name, list[Path] if kind is Any else Path, argument)
    default: Any = field.default
    if kind is bool:
        # Help shows the one that changes something; the other one takes back what a file says.
        flag = f"--no-{_flag(name)[2:]}" if default else _flag(name)
        option = typer.Option(flag, help=doc.text, show_default=False, rich_help_panel=doc.group)
        return _parameter_of(name, bool, option)
    flags = [_flag(name)]
    if name in _ALSO:
        flags.append(_ALSO[name])
    several = any(get_origin(part) is Mapping for part in _kinds(kind))
    # What typer calls the default is None, which says that an option was not given.
    notes = []
    if isinstance(default, str | int | float):
        notes.append(f"default: {default}")
    if names := [name for part in _kinds(kind) if get_origin(part) is Literal for name in get_args(part)]:
        notes.append(f"names: {', '.join(names)}")
    known = f" [dim]\\[{'; '.join(notes)}][/]" if notes else ""
    option = typer.Option(
        *flags,
        help=doc.text + known,
        show_default=False,
        rich_help_panel=doc.group,
        metavar=_METAVARS.get(name) or _metavar(kind),
    )
    return _parameter_of(name, list[str] if several else str, option)


def _parameter_of(name: str, kind: Any, about: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, about]
    )


def _other_ways(settings: type[Any]) -> list[inspect.Parameter]:
    """Return the hidden halves of switches: `--header` beside `--no-header`."""
    found = []
    for name, (kind, _) in documented(settings).items():
        if kind is bool:
            default = settings.__dataclass_fields__[name].default
            flag = _flag(name) if default else f"--no-{_flag(name)[2:]}"
            found.append(_parameter_of(f"{_OTHER}{name}", bool, typer.Option(flag, hidden=True)))
    return found


_OTHER = "other_"


_METAVARS: Mapping[str, str] = {
    "train": "DATA",
    "texts": "TEXT...",
    "shards": "SHARDS...",
    "model_config": "NAME=VALUE",
    "phases": "SHARE,SHARE",
    "columns": "ROLE=COLUMN",
    "options": "NAME=VALUE",
    "class_weights": "NAME=WEIGHT",
    "learning_rates": "LOW:HIGH",
    "batch_sizes": "N,N,…",
    "epochs_range": "LOW:HIGH",
    "warmups": "LOW:HIGH",
    "weight_decays": "LOW:HIGH",
}


def _kinds(kind: Any) -> list[Any]:
    return [part for part in alternatives(kind) if part is not NoneType]


def _metavar(kind: Any) -> str:
    """Return what stands for a value in help."""
    parts = _kinds(kind)
    if len(parts) == 1 and get_origin(parts[0]) is Literal:
        return "NAME"
    return {int: "INT", float: "FLOAT"}.get(parts[0], "PATH" if Path in parts or parts == [Any] else "TEXT")


def _read(name: str, kind: Any, value: Any) -> Any:
    """Make a field's value of what was typed; what is none of its kind is left to the settings to refuse."""
    if name == "columns":
        return _by_name(name, value, lambda text: text.split(",") if "," in text else text)
    if name in ("options", "model_config"):
        return _by_name(name, value, _json)
    if name == "class_weights":
        return value[0] if value == ["balanced"] else _by_name(name, value, _json)
    if kind is Any and isinstance(value, list) and len(value) == 1:
        return value[0]
    for part in _kinds(kind):
        if part in (int, float) and str not in _kinds(kind):
            with contextlib.suppress(ValueError):
                return part(value)
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
        if not (key and sign and (value or name == "columns")) or key in found:
            expected = f"one {key} alone" if key in found else _METAVARS[name]
            raise ConfigError(f"{_ALSO.get(name, _flag(name))} is {one!r}, expected {expected}")
        found[key] = read(value)
    return found
