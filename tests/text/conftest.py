from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden files beside the repository, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "../shared"
    if not folder.is_dir():
        pytest.skip("no folder ../shared beside the repository")
    return folder
