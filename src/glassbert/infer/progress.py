"""A bar for calls from Python that take long; commands have their own in `cli`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

ItemT = TypeVar("ItemT")


def with_bar(items: Iterable[ItemT], *, total: int | None, label: str) -> Iterator[ItemT]:
    """Give items, and count them on a bar on stderr; none is shown where that is no terminal.

    Args:
        items: any number.
        total: how many there are, if anybody knows.
        label: what stands before the bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Leaving the block, also early, ends the thread that draws.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total, description=label)
