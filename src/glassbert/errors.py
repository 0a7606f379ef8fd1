"""The exceptions of glassbert: one small tree.

Every message says what was found, what was expected and what to do about it. The command line prints
the message as one line and leaves with exit code 2 for all of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LONGEST: Final = 2_000  # signs of a message; what a hostile file says may be megabytes


class GlassbertError(Exception):
    """Base of every error that glassbert raises on purpose."""

    def __init__(self, message: object = "", *more: object) -> None:
        """Keep the beginning and the end of a message that is longer than anybody reads."""
        text = str(message)
        super().__init__(text if len(text) <= _LONGEST else f"{text[:1_000]} … {text[-500:]}", *more)


class ConfigError(GlassbertError, ValueError):
    """A setting or a `config.json` value that no model can be built from."""


class CheckpointError(GlassbertError):
    """A model folder that is missing, incomplete, damaged or of another kind."""


class VocabularyError(GlassbertError, ValueError):
    """A vocabulary that cannot serve: missing special tokens, duplicates, nothing to learn from."""


class DataError(GlassbertError, ValueError):
    """A record, line or file of the user's data that cannot be read as what it should be."""

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, position: int | None = None
    ) -> None:
        """Prefix `message` with the place where it is known.

        That is `file:line: …`, or `file, record position: …`, or without a file `inputs[position - 1]: …`.

        Args:
            message: what is wrong, kept as `reason`.
            file: where; None for what a caller gave.
            line: from 1.
            position: of the record in the file, from 1, where a file has no lines to count; or of the input in a list.
        """
        if file is not None:
            place = f"{file}:{line}" if line is not None else f"{file}" + (f", record {position}" if position else "")
        else:
            place = f"inputs[{position - 1}]" if position is not None else ""
        super().__init__(f"{place}: {message}" if place else message)
        self.reason = message
        self.file = None if file is None else Path(file)
        self.line = line
        self.position = position


class InputError(GlassbertError, ValueError):
    """An argument of a call that cannot be computed: too long, out of range, shapes that disagree."""


class OutputExistsError(GlassbertError):
    """An output folder that already holds something, where overwriting was not asked for."""


class SaveError(GlassbertError):
    """Writing a result failed (a full disk, a missing right); what stood there before still stands."""


class TrainingError(GlassbertError):
    """Training cannot go on: the loss is not finite."""


class MissingExtraError(GlassbertError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the missing `package` and the `extra` of glassbert that installs it."""
        super().__init__(f"{package} is not installed; it comes with: pip install 'glassbert[{extra}]'")
        self.package, self.extra = package, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Say how it is made again in another process: of its two names, not of its message."""
        return type(self), (self.package, self.extra)
