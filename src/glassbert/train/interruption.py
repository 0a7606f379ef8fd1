"""Ctrl-C and SIGTERM while a model is trained: a wish that is noted, and fulfilled at the next good moment."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

# What people and schedulers end a program with.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """Raised where a step or an evaluation is given up. Not an error, as KeyboardInterrupt is none."""


class Interruption:
    """Knows whether somebody wants the process to end.

    Attributes:
        number: of the first signal that came; None while there is none.
    """

    def __init__(self) -> None:
        """Know of no wish."""
        self.number: int | None = None

    @property
    def wanted(self) -> bool:
        """Whether a signal has come."""
        return self.number is not None

    def check(self) -> None:
        """Give up what is being done, if a signal has come.

        Raises:
            Interrupted: then.
        """
        if self.wanted:
            raise Interrupted

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Take a signal. Further ones change nothing: what the first began, a save above all, goes on."""
        if self.number is None:
            self.number = number

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM in this block; when it ends, a signal that came does what it did before.

        So the usual end follows: KeyboardInterrupt for Ctrl-C, the end of the process for SIGTERM, or the program's
        own. An error that ends the block, such as a full disk, is told in its place.

        Signals reach Python's main thread alone, so in another thread nothing is watched. Nor is a signal that the
        program ignores.
        """
        before = {}
        failed = False
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if handler is not None and handler != signal.SIG_IGN:
                    before[number] = signal.signal(number, self.note)
        try:
            yield
        except Interrupted:
            raise
        except BaseException:
            failed = True
            raise
        finally:
            # Ctrl-C last: another one would raise KeyboardInterrupt at once.
            for number, handler in reversed(before.items()):
                signal.signal(number, handler)
            if self.number is not None and not failed:
                # The usual end: KeyboardInterrupt for Ctrl-C, the end of the process for SIGTERM, or the program's own.
                signal.raise_signal(self.number)
