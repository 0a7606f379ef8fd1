"""What TensorBoard would show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from glassbert import MissingExtraError, SaveError
from glassbert.tasks.sentence_embedding import SimilarityMetrics
from glassbert.train import Evaluation, Notice, Step
from glassbert.train.tensorboard import TensorBoard


def step(number: int, *, seconds: float = 0.5, **figures: float) -> Step:
    return Step(
        step=number,
        steps=2,
        epoch=0,
        loss=1.0 / number,
        learning_rate=0.5,
        grad_norm=2.0,
        tokens=100,
        seconds=seconds,
        figures=figures,
    )


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the values back, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_steps_and_evaluations_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    metrics = SimilarityMetrics(spearman=0.5, pearson=0.25, by_width={8: 0.125}, examples=4)
    with TensorBoard(tmp_path) as board:
        board.show(Notice(message="hello"))
        board.show(step(1, masked_loss=0.75))
        board.show(step(2, seconds=0.0))
        board.show(Evaluation(epoch=0, step=2, metrics=metrics, name="spearman", value=0.5, best=True))
    assert scalars(tmp_path) == {
        "train/masked_loss": [(1, 0.75)],
        "train/loss": [(1, 1.0), (2, 0.5)],
        "train/learning_rate": [(1, 0.5), (2, 0.5)],
        "train/grad_norm": [(1, 2.0), (2, 2.0)],
        "train/tokens_per_second": [(1, 200.0)],
        "eval/spearman": [(2, 0.5)],
        "eval/pearson": [(2, 0.25)],
        "eval/by_width.8": [(2, 0.125)],
    }


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'glassbert\[train\]'"):
        TensorBoard(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"cannot write .*file"):
        TensorBoard(tmp_path / "file" / "logs")
