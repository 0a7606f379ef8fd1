"""The benchmark of a GPU says where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(SystemExit, match="there is no CUDA device here"):
        gpu.run(texts=8, rounds=1, file=None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_it_measures(tmp_path: Path) -> None:
    gpu.run(texts=64, rounds=1, file=tmp_path / "gpu.json")
    assert (tmp_path / "gpu.json").stat().st_size
