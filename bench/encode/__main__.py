"""One case in a process of its own: `python -m bench.encode CASE FILE`, both JSON; `bench.encode.run` starts it."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import warnings
from pathlib import Path

import torch

from bench.encode.measure import Case, measure


def main() -> None:
    """Measure the case of the first argument, and write its sections to the second."""
    given = json.loads(sys.argv[1])
    case = Case(**{**given, "peers": tuple(given["peers"])})
    # Peers warn of their own coming versions, and tell how they load.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(case.threads)
    sections = [dataclasses.asdict(section) for section in measure(case)]
    Path(sys.argv[2]).write_text(json.dumps(sections), encoding="utf-8")


main()
