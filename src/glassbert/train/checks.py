"""Numbers that a user gives, held against what they may be."""

from __future__ import annotations

import math

from glassbert.errors import ConfigError


def check_number(name: str, value: object, *, least: float | None = None, below: float = math.inf) -> None:
    """Raise ConfigError unless `value` is a number above 0, or of `least` or more, and less than `below`."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not (value > 0.0 if least is None else least <= value) or not value < below:  # type: ignore[operator]
        lower = "more than 0" if least is None else f"{least:g} or more"
        upper = "finite" if below == math.inf else f"less than {below:g}"
        raise ConfigError(f"{name} is {value!r}, expected a number, {lower} and {upper}")


def check_count(name: str, value: object) -> None:
    """Raise ConfigError unless `value` is a whole number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{name} is {value!r}, expected a whole number of 0 or more")


def check_switch(name: str, value: object) -> None:
    """Raise ConfigError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}, expected True or False")
