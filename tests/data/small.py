"""`python -m tests.data.small prepare …`: the command with short blocks, so that a short text makes many shards.

A process that is started for a block imports the main module, and so has the same short blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from glassbert.data import documents, preparing

BLOCK, LONGEST, BLOCKS = 2_000, 700, 3


def shrink(put: Callable[[Any, str, Any], object] = setattr) -> None:
    """Make blocks, documents and shards short."""
    for module in (documents, preparing):
        put(module, "BLOCK", BLOCK)
        put(module, "LONGEST", LONGEST)
    put(preparing, "_BLOCKS", BLOCKS)


if __name__ in ("__main__", "__mp_main__"):
    shrink()

if __name__ == "__main__":
    from glassbert.cli.main import run

    run()
