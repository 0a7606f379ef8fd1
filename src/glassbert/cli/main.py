"""The command `glassbert`.

Exit codes: 0; 1 when a run failed; 2 when it was used wrongly or given bad input; 130 after Ctrl-C; 141
where the reader of the output has left. An error is one line on stderr; `glassbert --debug …` shows where it came from.

Commands import what they need when they run, so `glassbert --help` does not wait for torch.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Annotated, Final

import typer

import glassbert
from glassbert.cli.convert import convert
from glassbert.cli.export import export
from glassbert.cli.heads import heads
from glassbert.cli.inspect import inspect
from glassbert.cli.prepare import prepare
from glassbert.cli.pretrain import pretrain
from glassbert.cli.rank import rank
from glassbert.cli.train import demo, train
from glassbert.cli.tune import tune
from glassbert.cli.use import answer, embed, evaluate, fill, predict
from glassbert.cli.vocab import vocab
from glassbert.errors import GlassbertError, TrainingError

app = typer.Typer(
    name="glassbert",
    help="BERT as a glass box: from raw text to vocabulary, training, fast answers, and every tensor in sight.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"glassbert {glassbert.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


app.command()(demo)
app.command()(train)
app.command()(tune)
app.command()(evaluate)
app.command()(predict)
app.command()(embed)
app.command()(rank)
app.command()(fill)
app.command()(answer)
app.command()(convert)
app.command()(export)
app.command()(vocab)
app.command()(prepare)
app.command()(pretrain)
app.add_typer(inspect)
app.add_typer(heads)
# What says nothing without a command of its own.
_GROUPS: Final = (["inspect"], ["heads"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = bool(given) and given[0] == "--debug"
    if not given or given in _GROUPS:
        given = [*given, "--help"]
    try:
        code = app(args=given, prog_name="glassbert", standalone_mode=False)
        if code == 130:  # how typer reports Ctrl-C
            return _fail("interrupted", 130)
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:
        # A wrong argument; the class says which option or command it is about.
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        command = getattr(getattr(error, "ctx", None), "command_path", "glassbert")
        return _fail(f"{message} (see: {command} --help)", 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except _Terminated:
        return _fail("terminated", 143)
    except SystemExit as ended:
        # Libraries that print leave on their own where the reader of our output has left.
        if isinstance(ended.__context__, BrokenPipeError):
            return _unread()
        raise
    except Exception as error:
        # A signal in the middle of an import, or of what torch does in C++, may come out as the failure of that.
        if _signals:
            return _fail("interrupted", 130) if _signals[0][0] == signal.SIGINT else _fail("terminated", 143)
        if isinstance(error, GlassbertError):
            return _fail(str(error), 1 if isinstance(error, TrainingError) else 2, debug)
        if isinstance(error, BrokenPipeError):
            return _unread()
        if isinstance(error, OSError):
            return _fail(str(error), 1, debug)
        raise


def _unread() -> int:
    """Return the code of a run whose reader left early (`| head`): as a shell has it for one that SIGPIPE ended.

    There is nobody to tell, also not when Python ends and writes what is left.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _fail(message: str, code: int, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    if message:
        # One of several processes that torchrun has started says which it is, but for what the first one says as well.
        process = "" if os.environ.get("RANK", "0") == "0" else f" (process {os.environ['RANK']})"
        print(f"glassbert: error{process}: {' '.join(message.split())}", file=sys.stderr)
    return code


# What has come, and when.
_signals: list[tuple[int, float]] = []
# Seconds in which further signals change nothing: some keyboards and schedulers send several.
_PATIENCE: Final = 1.0


class _Terminated(SystemExit):
    """Unwinds as Ctrl-C does, so that nothing half-written stays behind."""


def _leave(number: int, _: object) -> None:
    """Unwind; a signal soon after another does not cut that off."""
    now = time.monotonic()
    if _signals and now - _signals[-1][1] < _PATIENCE:
        return
    _signals.append((number, now))
    raise KeyboardInterrupt if number == signal.SIGINT else _Terminated(143)


def run() -> None:
    """Run with what a program sets for its process."""
    # Threads that wait for each other in a busy loop are a little faster on an idle machine (1.5%), and several times
    # slower beside another busy program: two trainings at once ran at a fifth of the speed. Read when torch is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Linux gives a large new tensor its memory in pages of 4 KB, one interrupt each: a third of the time of a product
    # with an output of 125 MB. This makes torch ask for pages of 2 MB. Read at torch's first allocation.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals that cannot show every character
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # all is done and said
    sys.exit(code)
