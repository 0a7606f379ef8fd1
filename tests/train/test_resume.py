"""A run that was cut off and gone on with ends as the undisturbed one, to the bit; what differs is refused by name."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from glassbert import (
    CheckpointError,
    ConfigError,
    FinetuneSettings,
    OutputExistsError,
    SaveError,
    TrainingError,
    finetune,
)
from glassbert.files import read_json
from glassbert.train import Event, Notice, Step
from glassbert.train.interruption import Interruption
from glassbert.train.state import Checkpoints, State, read_state
from tests.train.runs import TEXTS, make_model, outcome


class Cut(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    make_model(tmp_path)
    return tmp_path / "base"


def settings(base: Path, out: str, **changes: Any) -> FinetuneSettings:
    data = base.parent / "train.jsonl"
    if not data.exists():
        rows = [{"text": text, "label": "ab"[place % 2]} for place, text in enumerate(TEXTS)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "train": data,
        "validation": data,
        "model": base,
        "out": base.parent / out,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "token_dropout": 0.1,
    }
    return FinetuneSettings(**{**values, **changes})


def cut_after(step: int) -> Any:
    def on_event(event: Event) -> None:
        if isinstance(event, Step) and event.step == step:
            raise Cut

    return on_event


@pytest.mark.parametrize(
    ("cut", "changes"),
    [
        (5, {"keep": "best", "evaluate_every": 4}),
        (6, {}),
        (11, {"validation": None, "optimizer": "transformers", "schedule": "cosine"}),
        (5, {"accumulation": 2, "token_budget": 30, "crop": 5, "layer_decay": 0.9, "optimizer": "google"}),
        (11, {"freeze_embeddings": True, "gradient_checkpointing": True, "precision": "bf16"}),
        (5, {"patience": 2, "evaluate_every": 2, "epochs": 9, "task": "multi-label-classification"}),
    ],
)
def test_a_run_that_was_cut_off_ends_as_the_undisturbed_one(base: Path, cut: int, changes: dict[str, Any]) -> None:
    whole = finetune(settings(base, "whole", **changes))
    with pytest.raises(Cut):
        finetune(settings(base, "cut", save_every=2, **changes), on_event=cut_after(cut))
    assert not (base.parent / "cut").exists()
    notices: list[str] = []
    steps: list[int] = []

    def on_event(event: Event) -> None:
        notices.extend([event.message] if isinstance(event, Notice) else [])
        steps.extend([event.step] if isinstance(event, Step) else [])

    torch.manual_seed(99)
    result = finetune(settings(base, "cut", save_every=2, resume=True, **changes), on_event=on_event)
    last = cut - 1 - (cut - 1) % 2  # the step at which the run was cut off has no checkpoint any more
    assert any(f"step-{last:08d}: {last} of " in message for message in notices)
    assert steps[0] == last + 1
    assert len(result.history) == len(whole.history)
    assert outcome(base.parent / "cut") == outcome(base.parent / "whole")
    assert not (base.parent / "cut-checkpoints").exists()


def test_the_state_is_that_of_the_last_whole_step_when_ctrl_c_comes(base: Path) -> None:
    whole = finetune(settings(base, "whole"))
    for number, place in ((signal.SIGINT, 4), (signal.SIGINT, 7)):
        seen: list[int] = []

        def on_event(event: Event, place: int = place, number: int = number, seen: list[int] = seen) -> None:
            if isinstance(event, Step):
                seen.append(event.step)
                if event.step >= place:
                    signal.raise_signal(number)
                    signal.raise_signal(number)  # an impatient person

        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings(base, "cut", resume=True), on_event=on_event)
        assert signal.getsignal(signal.SIGINT) is before
        assert seen[-1] == place
        assert [folder.name for folder in (base.parent / "cut-checkpoints").iterdir()] == [f"step-{place:08d}"]
    result = finetune(settings(base, "cut", resume=True))
    assert [step.loss for step in result.history] == [step.loss for step in whole.history]
    assert outcome(base.parent / "cut") == outcome(base.parent / "whole")


def test_a_step_and_an_evaluation_that_are_given_up_leave_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finetune(settings(base, "whole", keep="best"))
    for calls in (4, 2, 6, 1, 5, 3):  # in steps, and in evaluations
        count = 0
        check = Interruption.check

        def counted(self: Interruption, calls: int = calls, check: Any = check) -> None:
            nonlocal count
            count += 1
            if count == calls:
                self.note(signal.SIGINT)
            check(self)

        monkeypatch.setattr(Interruption, "check", counted)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings(base, "cut", keep="best", resume=True))
        monkeypatch.undo()
    finetune(settings(base, "cut", keep="best", resume=True))
    assert outcome(base.parent / "cut") == outcome(base.parent / "whole")


def test_in_another_thread_no_signal_is_touched(base: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=finetune, args=[settings(base, "out", epochs=1)])
    thread.start()
    thread.join()
    assert (base.parent / "out").is_dir()
    assert signal.getsignal(signal.SIGINT) is before


def interrupted(base: Path, **changes: Any) -> Path:
    with pytest.raises(Cut):
        finetune(settings(base, "cut", save_every=2, **changes), on_event=cut_after(7))
    return base.parent / "cut-checkpoints"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 1e-3}, r"learning_rate was 0\.005 and is now 0\.001"),
        ({"batch_size": 4}, "batch_size was 8 and is now 4"),
        ({"seed": 3}, "seed was 0 and is now 3"),
        ({"epochs": 4}, "epochs was 3 and is now 4"),
        ({"epochs": None, "steps": 5}, "epochs was 3 and is now None"),
        ({"class_weights": {"a": 2.0}}, r"class_weights.* was None and is now 2\.0|class_weights was None"),
        ({"validation": None}, "data.validation"),
        ({"precision": "bf16"}, "precision was 'fp32' and is now 'bf16'"),
        ({"max_length": 8}, "max_length was None and is now 8"),
    ],
)
def test_another_setting_is_refused_by_name(base: Path, changes: dict[str, Any], named: str) -> None:
    folder = interrupted(base)
    with pytest.raises(ConfigError, match=f"step-00000006 is of another run: .*({named})") as caught:
        finetune(settings(base, "cut", resume=True, **changes))
    assert "\n" not in str(caught.value)
    assert (folder / "step-00000006").is_dir()


def test_other_data_are_refused_by_name_and_moved_ones_are_not(base: Path, tmp_path: Path) -> None:
    interrupted(base)
    data = tmp_path / "train.jsonl"
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(data.read_bytes())
    finetune(settings(base, "other", train=moved, validation=moved))  # as they are for a run of their own
    data.write_text(data.read_text(encoding="utf-8").replace("day", "night"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"another run: data\.training\.sha256 was "):
        finetune(settings(base, "cut", resume=True))
    finetune(settings(base, "cut", resume=True, train=moved, validation=moved))
    assert outcome(tmp_path / "cut")["weights"] == outcome(tmp_path / "other")["weights"]


def test_records_in_memory_are_told_apart_by_what_they_hold(base: Path) -> None:
    rows = [{"text": text, "label": "ab"[place % 2]} for place, text in enumerate(TEXTS)]
    interrupted(base, train=rows, validation=rows)
    with pytest.raises(ConfigError, match=r"data\.training\.sha256"):
        finetune(settings(base, "cut", resume=True, train=[*rows[:-1], {"text": "day", "label": "a"}], validation=rows))
    finetune(settings(base, "cut", resume=True, train=rows, validation=rows))


def test_what_changes_the_last_bits_alone_is_said(base: Path) -> None:
    interrupted(base)
    notices: list[str] = []
    changes = {"token_budget": 40, "tensorboard": None, "keep_checkpoints": 3, "resume": True}
    finetune(
        settings(base, "cut", **changes),
        on_event=lambda event: notices.append(event.message) if isinstance(event, Notice) else None,
    )
    assert any("token_budget was 8192 and is now 40; the last digits" in notice for notice in notices)


def test_a_checkpoint_is_not_lost_by_a_new_run(base: Path) -> None:
    folder = interrupted(base)
    with pytest.raises(OutputExistsError, match=r"checkpoint of step 6; resume=True \(--resume\) goes on"):
        finetune(settings(base, "cut"))
    assert (folder / "step-00000006").is_dir()
    finetune(settings(base, "cut", overwrite=True))
    assert not folder.exists()


def test_as_many_checkpoints_stay_as_are_wanted(base: Path) -> None:
    finetune(settings(base, "cut", save_every=2, keep_checkpoints=3, epochs=2))
    names = sorted(folder.name for folder in (base.parent / "cut-checkpoints").iterdir())
    assert names == ["step-00000008", "step-00000010", "step-00000012"]
    state = read_state(base.parent / "cut-checkpoints" / "step-00000012")
    assert len(state.tensors["steps"]["reports"]) == 12
    finetune(settings(base, "short", keep_checkpoints=1, epochs=1))
    assert [folder.name for folder in (base.parent / "short-checkpoints").iterdir()] == ["step-00000006"]


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(base: Path) -> None:
    whole = finetune(settings(base, "whole"))
    folder = interrupted(base, keep_checkpoints=2)
    file = folder / "step-00000006" / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    notices: list[str] = []
    result = finetune(
        settings(base, "cut", resume=True),
        on_event=lambda event: notices.append(event.message) if isinstance(event, Notice) else None,
    )
    assert any("optimizer.safetensors: is not as it was written" in notice for notice in notices)
    assert any("going on from" in notice and "step-00000004" in notice for notice in notices)
    assert [step.loss for step in result.history] == [step.loss for step in whole.history]


def test_a_disk_that_is_full_for_a_while_does_not_end_a_run(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finetune(settings(base, "whole"))
    save, tries = Checkpoints.save, []

    def full(self: Checkpoints, state: State) -> Path:
        tries.append(state.step)
        if state.step in (4, 6):
            raise SaveError("cannot write: No space left on device")
        return save(self, state)

    monkeypatch.setattr(Checkpoints, "save", full)
    notices: list[str] = []
    result = finetune(
        settings(base, "cut", save_every=2),
        on_event=lambda event: notices.append(event.message) if isinstance(event, Notice) else None,
    )
    assert tries[:4] == [2, 4, 6, 8]
    assert [notice for notice in notices if "No space" in notice] == [
        f"no checkpoint of step {step}: cannot write: No space left on device" for step in (4, 6)
    ]
    assert [step.loss for step in result.history] == [step.loss for step in whole.history]


def test_a_checkpoint_that_is_needed_and_cannot_be_written_is_an_error(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Checkpoints, state: State) -> Path:
        raise SaveError("cannot write: No space left on device")

    monkeypatch.setattr(Checkpoints, "save", full)

    def on_event(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(SaveError, match="no checkpoint of step 3: cannot write: No space left"):
        finetune(settings(base, "cut"), on_event=on_event)


def test_without_a_number_of_steps_there_is_a_checkpoint_every_ten_minutes(tmp_path: Path) -> None:
    now = 0.0
    checkpoints = Checkpoints(tmp_path / "checkpoints", {}, clock=lambda: now)
    state = {"weight": torch.ones(3)}
    for seconds, due in ((10.0, False), (599.0, False), (600.0, True)):
        now = seconds
        assert checkpoints.due(1) is due
    checkpoints.save(State(1, {"model": state, "optimizer": state, "steps": state}, {}))
    assert not checkpoints.due(2)
    now = 1200.0
    assert checkpoints.due(3)
    assert checkpoints.latest(pytest.fail) is not None


def test_a_loss_that_is_not_finite_names_step_and_records(base: Path) -> None:
    with pytest.raises(TrainingError, match=r"is (nan|inf) at step \d+; .*train\.jsonl:\d+, \d+"):
        finetune(settings(base, "out", learning_rate=1e30, max_grad_norm=1e30, batch_size=16))


def test_too_little_memory_says_what_to_lower(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("glassbert.train.loop.backward", full)
    with pytest.raises(TrainingError, match=r"out of memory at step 1 .*lower token_budget, which is 8192"):
        finetune(settings(base, "out"))


def test_the_checkpoints_of_the_current_folder_have_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert FinetuneSettings(train="a", model="b", out=".").checkpoints == tmp_path.with_name(
        f"{tmp_path.name}-checkpoints"
    )
    assert FinetuneSettings(train="a", model="b", out="c/d").checkpoints == Path("c/d-checkpoints")


def test_a_state_is_plain_json_and_tensors(base: Path) -> None:
    folder = interrupted(base, keep="best") / "step-00000006"
    assert sorted(os.listdir(folder)) == [
        "best.safetensors",
        "manifest.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "steps.safetensors",
    ]
    manifest = read_json(folder / "manifest.json")
    assert all(entry["bytes"] == (folder / name).stat().st_size for name, entry in manifest.items())
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        read_state(base)
