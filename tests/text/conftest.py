from __future__ import annotations

from pathlib import Path

import pytest

from glassbert import BertTokenizer, BertTokenizerFast
from tests.text.small import VOCAB


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden files beside the repository, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "../shared"
    if not folder.is_dir():
        pytest.skip("no folder ../shared beside the repository")
    return folder


@pytest.fixture(params=[BertTokenizer, BertTokenizerFast], ids=["plain", "fast"])
def kind(request: pytest.FixtureRequest) -> type[BertTokenizer]:
    """Each of the two classes, which are to give the same."""
    chosen: type[BertTokenizer] = request.param
    return chosen


@pytest.fixture
def tokenizer(kind: type[BertTokenizer]) -> BertTokenizer:
    """One that knows a few tokens and takes twelve."""
    return kind(VOCAB, model_max_length=12)
