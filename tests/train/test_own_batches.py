"""Batches of one's own: any order over data of any size, and a run that was cut off goes on in the middle of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from glassbert import ConfigError, TrainingError
from glassbert.files import fingerprint, read_json, write_json
from glassbert.settings import LoopSettings
from glassbert.train import Step, fit
from glassbert.train.devices import Devices
from glassbert.train.history import History
from glassbert.train.state import MANIFEST, STATE, Checkpoints, Keeper
from tests.train.test_loop import Feature, collate, fresh
from tests.train.test_losses_of_parts import loss, to_batch, weight

COUNT = 10**12


class Corpus(Sequence[Feature]):
    """More texts than anything can be made for; each is known by its place."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return COUNT

    @overload
    def __getitem__(self, place: int) -> Feature: ...
    @overload
    def __getitem__(self, place: slice) -> list[Feature]: ...
    def __getitem__(self, place: int | slice) -> Feature | list[Feature]:
        assert isinstance(place, int)
        self.read.append(place)
        generator = torch.Generator().manual_seed(place)
        length = 1 + place % 12
        return tuple(torch.randint(1, 40, (length,), generator=generator).tolist())


def batches(made: int) -> Iterator[tuple[int, Sequence[int]]]:
    """Batches of 5 and 7 in turn, in epochs of 3 batches."""
    while True:
        begin = made * 999_983
        yield made // 3, [(begin + place * 7919) % COUNT for place in range(5 + 2 * (made % 2))]
        made += 1


class Cut(BaseException):
    """Stands for the end of the process."""


def trained(folder: Path, *, cut: int | None = None, resume: bool = False, **changes: Any) -> tuple[History, Any]:
    corpus, model, said = Corpus(), fresh(), list[str]()
    torch.manual_seed(7)
    checkpoints = Checkpoints(folder, {}, every=2)

    def on_step(step: Step) -> None:
        if step.step == cut:
            raise Cut

    settings = LoopSettings(**{"steps": 8, "learning_rate": 1e-3, "token_budget": 30, **changes})
    keeper = Keeper(checkpoints, Devices(torch.device("cpu")), {}, resume=resume, say=said.append)
    more: Any = {"weight": weight, "loss": loss, "keeper": keeper, "on_step": on_step}
    history = fit(model, corpus, to_batch, settings, batches=batches, **more)
    return history, (corpus, model.state_dict(), said)


def without_times(history: Sequence[Step]) -> list[Any]:
    return [{**vars(step), "seconds": 0.0} for step in history]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_batches_come_as_they_are_given(tmp_path: Path) -> None:
    history, (corpus, _, _) = trained(tmp_path / "c")
    given = batches(0)
    expected = [next(given) for _ in range(8)]
    assert corpus.read == [place for _, places in expected for place in places]
    assert [step.epoch for step in history] == [epoch + 1 for epoch, _ in expected]
    assert {step.steps for step in history} == {8}


@pytest.mark.parametrize("cut", [3, 4, 7])
def test_a_run_that_was_cut_off_goes_on_in_the_middle(tmp_path: Path, cut: int) -> None:
    whole, (_, expected, _) = trained(tmp_path / "whole")
    with pytest.raises(Cut):
        trained(tmp_path / "cut", cut=cut)
    last = cut - 1 - (cut - 1) % 2
    history, (corpus, found, said) = trained(tmp_path / "cut", resume=True)
    assert said == [f"going on from {tmp_path / 'cut' / f'step-{last:08d}'}: {last} of 8 steps are made"]
    assert corpus.read[0] == next(batches(last))[1][0]
    assert without_times(history) == without_times(whole)
    assert set(history[0].figures) == {"all", "long", "found"}
    assert same(found, expected)


def test_a_checkpoint_from_before_steps_had_figures(tmp_path: Path) -> None:
    with pytest.raises(Cut):
        trained(tmp_path / "cut", cut=3)
    folder = tmp_path / "cut" / "step-00000002"
    state = read_json(folder / STATE)
    assert state.pop("figures") == ["all", "long", "found"]
    write_json(folder / STATE, state)
    save_file({"reports": torch.arange(12, dtype=torch.float64).reshape(2, 6)}, folder / "steps.safetensors")
    manifest = {name: fingerprint(folder / name) for name in read_json(folder / MANIFEST)}
    write_json(folder / MANIFEST, manifest)
    keeper = Keeper(Checkpoints(tmp_path / "cut", {}), Devices(torch.device("cpu")), {}, resume=True, say=str)
    history = fit(fresh(), Corpus(), collate, LoopSettings(steps=4), batches=batches, keeper=keeper)
    assert len(history) == 4
    assert history[1] == Step(
        step=2, steps=4, epoch=6, loss=7.0, learning_rate=8.0, grad_norm=9.0, tokens=10, seconds=11.0
    )


def test_batches_of_ones_own_need_a_number_of_steps() -> None:
    with pytest.raises(ConfigError, match="steps is None, but batches"):
        fit(fresh(), Corpus(), collate, LoopSettings(), batches=batches)


def test_batches_that_end_too_early_are_an_error() -> None:
    def few(made: int) -> Iterator[tuple[int, Sequence[int]]]:
        yield from ((0, [place]) for place in range(made, 3))

    history = fit(fresh(), Corpus(), collate, LoopSettings(steps=3), batches=few)
    assert len(history) == 3
    with pytest.raises(TrainingError, match="the batches end after step 3; there are to be 4"):
        fit(fresh(), Corpus(), collate, LoopSettings(steps=4), batches=few)


def test_a_training_without_passes_over_its_data_makes_as_many_as_there_are_where_nobody_says() -> None:
    settings = LoopSettings(batch_size=4)
    assert settings.epochs is settings.head_learning_rate is None
    history = fit(fresh(), [Corpus()[place] for place in range(8)], to_batch, settings, weight=weight, loss=loss)
    assert [step.epoch for step in history] == [1, 1, 2, 2, 3, 3]
