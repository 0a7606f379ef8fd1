"""What all typed results have in common: plain values for JSON, a short `repr`, and a table in a notebook."""

from __future__ import annotations

import dataclasses
import html
import zlib
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

from torch import Tensor

# Numbers of a tensor that a person reads.
_SHOWN: Final = 3
# Scores that a notebook shows of many.
_BARS: Final = 20
_TABLE: Final = "border-collapse:collapse;font-size:0.9rem"
_CAPTION: Final = "text-align:left;opacity:0.7"
_CELL: Final = "text-align:left;vertical-align:top;padding:2px 8px"
_BAR: Final = "display:inline-block;height:0.7em;background:#4878a8;margin-right:6px"
# Characters that a notebook shows of a text.
_TEXT: Final = 20_000
# Colours that lie over the notebook's own, light or dark, and leave its letters as they are.
_MARKED: Final = "color:inherit;padding:1px 4px;border-radius:4px;background:hsla({hue},70%,50%,0.28)"
_LABEL: Final = "font-size:75%;font-weight:bold;margin-left:5px;opacity:0.8"


class Result:
    """A typed answer, the mixin of frozen dataclasses."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; tensors become lists of numbers."""
        found: dict[str, Any] = _plain(self)
        return found

    def kinds(self) -> dict[str, Any]:
        """Return of which kind each value of `to_dict` is, whatever other answers of one run hold there.

        Returns:
            by name "string", "bool", "int64", "double" or "float"; of a list `[kind]`, of a mapping or a result `{name:
            kind}`. They are told by the annotations, so that a value that is None, and an empty list, have one too.
        """
        hints = get_type_hints(type(self))
        found = {}
        for name in self.to_dict():
            # What is no field is a property.
            hint = hints.get(name) or get_type_hints(getattr(type(self), name).fget)["return"]
            found[name] = _kind(getattr(self, name), hint)
        return found

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        return table(type(self).__name__, self._shown())

    def _shown(self) -> Iterable[tuple[str, str]]:
        """Give the names and values, as HTML, that a notebook shows."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # all are dataclasses
            yield field.name, as_html(getattr(self, field.name))


class TensorResult(Result):
    """A result with tensors, which are too long to be read as they are; its dataclass has `repr=False`."""

    def __repr__(self) -> str:
        """Return the shape and the first numbers of each tensor."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        shown = (f"{name}={brief_tensor(one) if isinstance(one, Tensor) else repr(one)}" for name, one in values)
        return f"{type(self).__name__}({', '.join(shown)})"


def brief_tensor(tensor: Tensor) -> str:
    """Return the shape and the first numbers of a tensor."""
    numbers = ", ".join(f"{number:.4f}" for number in tensor.flatten()[:_SHOWN].tolist())
    more = ", …" if tensor.numel() > _SHOWN else ""
    return f"<{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}: {numbers}{more}>"


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values; the values are HTML already."""
    body = "".join(
        f'<tr><th style="{_CELL}">{html.escape(name)}</th><td style="{_CELL}">{value}</td></tr>' for name, value in rows
    )
    caption = f'<caption style="{_CAPTION}">{html.escape(title)}</caption>'
    return f'<table style="{_TABLE}">{caption}<tbody>{body}</tbody></table>'


def highlighted(parts: Iterable[tuple[str, str | None]]) -> str:
    """Return a text as HTML.

    Args:
        parts: of the text, in order, each with its label, None for what has none. A label has the same colour in every
            text.
    """
    found = []
    room = _TEXT
    for text, label in parts:
        if room <= 0:
            found.append("…")
            break
        shown = html.escape(text[:room])
        room -= len(text)
        if label is not None:
            style = _MARKED.format(hue=zlib.crc32(label.encode()) % 360)
            shown = f'<mark style="{style}">{shown}<span style="{_LABEL}">{html.escape(label)}</span></mark>'
        found.append(shown)
    return f'<div style="white-space:pre-wrap;line-height:1.7">{"".join(found)}</div>'


def as_html(value: Any) -> str:
    """Return a value as HTML: scores by name as bars, several results as a table."""
    if isinstance(value, Tensor):
        return html.escape(brief_tensor(value))
    if isinstance(value, Mapping) and value and all(isinstance(one, float) for one in value.values()):
        return _bars(value)
    if isinstance(value, tuple) and value and all(map(dataclasses.is_dataclass, value)):
        return _several(value)
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, tuple):
        return html.escape(", ".join(f"{one:.4f}" if isinstance(one, float) else str(one) for one in value))
    return html.escape(str(value))


def _bars(scores: Mapping[str, float]) -> str:
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    lines = [
        f'<div><span style="{_BAR};width:{100 * min(1.0, max(0.0, score)):.0f}px"></span>'
        f"{score:.4f} {html.escape(name)}</div>"
        for name, score in ordered[:_BARS]
    ]
    if len(ordered) > _BARS:
        lines.append(f"<div>… and {len(ordered) - _BARS} more</div>")
    return "".join(lines)


def _several(results: Sequence[Any]) -> str:
    names = [field.name for field in dataclasses.fields(results[0])]
    head = "".join(f'<th style="{_CELL}">{html.escape(name)}</th>' for name in names)
    rows = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{as_html(getattr(one, name))}</td>' for name in names) + "</tr>"
        for one in results
    )
    return f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


_KINDS: Final = {str: "string", bool: "bool", int: "int64", float: "double"}


def _kind(value: Any, hint: Any) -> Any:
    """Return the kind of a value from its annotation; from itself alone how often a tensor is nested, and names."""
    if get_origin(hint) is not tuple and NoneType in get_args(hint):
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    inner = get_args(hint)
    if hint is Tensor:
        kind: Any = "float"
        for _ in range(1 if value is None else value.dim()):
            kind = [kind]
        return kind
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        names = [field.name for field in dataclasses.fields(hint)]
        return {name: _kind(None if value is None else getattr(value, name), hints[name]) for name in names}
    if get_origin(hint) in (list, tuple):
        return [_kind(next(iter(value or ()), None), inner[0])]
    if get_origin(hint) in (dict, Mapping):
        return {name: _kind(one, inner[1]) for name, one in (value or {}).items()}
    return _KINDS[hint]
