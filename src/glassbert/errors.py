"""The exceptions of glassbert: one small tree.

Every message says what was found, what was expected and what to do about it. The command line prints
the message as one line and leaves with exit code 2 for all of these.
"""

from __future__ import annotations

from pathlib import Path


class GlassbertError(Exception):
    """Base of every error that glassbert raises on purpose."""


class ConfigError(GlassbertError, ValueError):
    """A setting or a `config.json` value that no model can be built from."""


class CheckpointError(GlassbertError):
    """A model folder that is missing, incomplete, damaged or of another kind."""


class VocabularyError(GlassbertError, ValueError):
    """A vocabulary that cannot serve: missing special tokens, duplicates, nothing to learn from."""


class DataError(GlassbertError, ValueError):
    """A record, line or file of the user's data that cannot be read as what it should be."""

    def __init__(self, message: str, *, file: str | Path | None = None, line: int | None = None) -> None:
        """Prefix `message` with the place, as `file:line: message`, where it is known."""
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(place + message)
        self.file = None if file is None else Path(file)
        self.line = line


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
