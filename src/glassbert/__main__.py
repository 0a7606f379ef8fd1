"""`python -m glassbert` is the command `glassbert`."""

from __future__ import annotations

import sys


def run() -> None:
    """Run as the program that `pip` installs."""
    try:
        from glassbert.cli.main import run as run_command
    except KeyboardInterrupt:  # before there is anybody to tell
        sys.exit(130)
    run_command()


if __name__ == "__main__":
    run()
