"""Items that were written once are read again as often as one likes, wherever they lie."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from pathlib import Path

import pytest

from glassbert.train import Spool


@pytest.mark.parametrize("in_memory", [0, 50, 10**6])
def test_items_are_read_as_they_were_written(in_memory: int) -> None:
    items = [(number, "é" * (number % 7)) for number in range(100)]
    spool = Spool(items[:60], in_memory=in_memory)
    assert list(spool) == items[:60]
    for item in items[60:]:  # reading between writing changes nothing
        spool.append(item)
        assert spool[3] == items[3]
    assert len(spool) == 100
    assert list(spool) == list(spool) == items
    assert spool[-1] == items[-1]
    assert spool[5:8] == items[5:8]
    assert spool[::-40] == items[::-40]
    for place in (100, -101):
        with pytest.raises(IndexError):
            spool[place]
    assert list(Spool[int]()) == []


def test_the_file_has_no_name_and_goes_with_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool(range(1000), in_memory=100)
    assert spool[999] == 999
    assert list(tmp_path.iterdir()) == []
    if Path("/proc/self/fd").exists():
        assert len(opened(tmp_path)) == 1
        del spool
        gc.collect()
        assert opened(tmp_path) == []


def opened(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open, with a name or without."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that looks
            found.append(os.readlink(descriptor))
    return [name for name in found if name.startswith(f"{folder}/")]
