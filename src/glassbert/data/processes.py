"""Work that is dealt out to processes, with the results in the order of the work."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from glassbert.errors import GlassbertError, InputError

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    jobs: Iterable[JobT], begin: Callable[[], Callable[[JobT], ResultT]], workers: int, *, doing: str
) -> Generator[ResultT]:
    """Give the result of each job, in their order.

    Jobs are dealt out in turn, and a process gets its next one when its last result has been taken. So results come
    in order without being kept, and two ends of a pipe never wait for each other. A process starts when there is a job
    for it.

    Args:
        jobs: anything that can be pickled, made as they are needed.
        begin: called once in each process; returns what does a job. Can be pickled itself.
        workers: how many processes; with 1 there is none beside this one.
        doing: what they do, for a message.

    Raises:
        GlassbertError: what a job raised of that kind.
        InputError: a process has ended by itself.
    """
    if workers == 1:
        work = begin()
        for job in jobs:
            yield work(job)
        return
    processes: list[_Process[JobT, ResultT]] = []
    busy: deque[_Process[JobT, ResultT]] = deque()
    try:
        for job in jobs:
            if len(processes) < workers:
                process = _Process(begin, doing)
                processes.append(process)
            else:
                process = busy.popleft()
                yield process.receive()
            process.send(job)
            busy.append(process)
        for process in busy:
            yield process.receive()
    finally:
        for process in processes:
            process.stop()


class _Process(Generic[JobT, ResultT]):
    """A process that does jobs."""

    def __init__(self, begin: Callable[[], Callable[[JobT], ResultT]], doing: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, begin), daemon=True)
        self._doing = doing
        with interrupts_held_back():
            self._process.start()
        theirs.close()

    def send(self, job: JobT) -> None:
        with self._alive():
            self._connection.send(job)

    def receive(self) -> ResultT:
        with self._alive():
            done, result = self._connection.recv()
        if not done:
            raise result
        found: ResultT = result
        return found

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            self._process.join()
            raise InputError(
                f"a process that {self._doing} ended with exit code {self._process.exitcode}; "
                "if memory was short, fewer workers need less"
            ) from None

    def stop(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()
        self._process.close()


def _work(connection: Connection, begin: Callable[[], Callable[[Any], Any]]) -> None:
    """Do what comes until the other side is gone, be it by a crash."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began this
    work: Callable[[Any], Any] | None = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            job = connection.recv()
            try:
                if work is None:
                    work = begin()
                result = work(job)
            except GlassbertError as error:
                connection.send((False, error))
            else:
                connection.send((True, result))


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let a new process begin with Ctrl-C held back, since until it runs our code it would end with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # started now, since its start changes the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
