"""The state of a run on disk: checkpoints, each a folder of its own that is whole or not there.

    <out>-checkpoints/step-00000120/
        model.safetensors       the weights after step 120
        optimizer.safetensors   its moments
        best.safetensors        the best weights so far, where a run keeps them
        steps.safetensors       what every step reported, as rows of a `History`
        state.json              numbers, random states, and what the run was told
        manifest.json           size and SHA-256 of each of these files

A folder is written under another name, brought to the disk and renamed, so a process may be killed at any moment. Older
checkpoints go when the new one stands.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from glassbert.errors import CheckpointError, ConfigError, OutputExistsError, SaveError
from glassbert.files import (
    Kind,
    fingerprint,
    new_folder,
    read_json,
    reading,
    remove_abandoned,
    remove_folder,
    write_json,
)
from glassbert.train.devices import Devices
from glassbert.train.history import History

STATE: Final = "state.json"
MANIFEST: Final = "manifest.json"
CHECKPOINT: Final = Kind("a checkpoint", re.compile(r"(state|manifest)\.json|\w+\.safetensors"))
# Seconds from one checkpoint to the next where no number of steps is chosen.
EVERY_SECONDS: Final = 600.0

_NAME: Final = re.compile(r"step-(\d{8,})")
_NEEDED: Final = (STATE, "model.safetensors", "optimizer.safetensors", "steps.safetensors")
# Settings that may be others when a run goes on: they change neither what is learned nor in which order.
FREE: Final = ("out", "overwrite", "resume", "tensorboard", "save_every", "keep_checkpoints", "check")
# Likewise, but sums are then rounded elsewhere.
_NEARLY_FREE: Final = ("token_budget", "gradient_checkpointing", "device")
# Where data and model lie; what they hold is compared in their place.
_PLACES: Final = ("train", "validation", "test", "model", "shards")


class State(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        step: how many optimizer steps were made.
        tensors: by the name of their file and their own.
        values: what JSON can hold.
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run, in a folder beside its result.

    Attributes:
        folder: theirs; made with the first of them.
        keeps: whether some stay when the run has ended.

    Args:
        folder: as above.
        run: what the run was told, for comparison: plain values, by name.
        every: steps from one to the next; None for one every ten minutes.
        keep: how many stay; None for the last one, which goes when the run has ended well.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        folder: Path,
        run: Mapping[str, Any],
        *,
        every: int | None = None,
        keep: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet."""
        self.folder = folder
        self._run, self._every, self._keep, self._clock = json.loads(json.dumps(run, default=repr)), every, keep, clock
        self._last = clock()
        self.keeps = keep is not None

    def found(self) -> list[Path]:
        """Return the folders of checkpoints, the latest first; whether they are whole is not looked at."""
        if not self.folder.is_dir():
            return []
        folders = [entry for entry in self.folder.iterdir() if entry.is_dir() and _NAME.fullmatch(entry.name)]
        return sorted(folders, key=_step_of, reverse=True)

    def place(self, step: int) -> Path:
        """Return the folder of the checkpoint after a step."""
        return self.folder / _name_of(step)

    def check_new(self) -> None:
        """Refuse to begin where another run has left checkpoints.

        Raises:
            OutputExistsError: there are some.
        """
        if found := self.found():
            raise OutputExistsError(
                f"{self.folder} holds a checkpoint of step {_step_of(found[0])}; resume=True (--resume) goes on from "
                "it, overwrite=True (--overwrite) begins anew"
            )

    def latest(self, say: Callable[[str], object]) -> State | None:
        """Read the last checkpoint that is whole.

        Args:
            say: takes a line for each that is damaged, and for what makes the run another one in the last bits.

        Raises:
            ConfigError: it is of a run with other settings or data; says which.
        """
        for folder in self.found():
            try:
                state = read_state(folder)
            except CheckpointError as error:
                say(f"{error}; trying the one before")
                continue
            for line in _compared(state.values["run"], self._run, folder):
                say(line)
            return state
        return None

    def due(self, step: int) -> bool:
        """Whether it is time for the next."""
        if self._every is not None:
            return step % self._every == 0
        return self._clock() - self._last >= EVERY_SECONDS

    def save(self, state: State) -> Path:
        """Write a checkpoint and bring it to the disk; then remove those that are too many.

        Raises:
            SaveError: the disk refused a write; the checkpoints are as they were.
        """
        self._last = self._clock()
        folder = self.place(state.step)
        remove_abandoned(self.folder, _NAME)
        with new_folder(folder, overwrite=True, kind=CHECKPOINT) as stage:
            for name, tensors in state.tensors.items():
                try:
                    save_file({key: tensor.cpu().contiguous() for key, tensor in tensors.items()}, _file(stage, name))
                except SafetensorError as error:  # how this library reports a full disk
                    raise OSError(str(error)) from error
            write_json(stage / STATE, {"step": state.step, "run": self._run, **state.values})
            files = sorted(stage.iterdir())
            write_json(stage / MANIFEST, {file.name: fingerprint(file) for file in files})
        # A later one is of a run that was gone on with from an earlier step; it is not of this one.
        later = [other for other in self.found() if _step_of(other) > state.step]
        _remove([*later, *self.found()[len(later) + (self._keep or 1) :]])
        return folder

    def clear(self) -> None:
        """Remove all checkpoints, and the folder if nothing else is in it."""
        _remove(self.found())
        remove_abandoned(self.folder, _NAME)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def finish(self) -> None:
        """Say that the result stands: nothing is left to go on with, unless some are to be kept."""
        if self._keep is None:
            self.clear()


def read_state(folder: Path) -> State:
    """Read one checkpoint.

    Raises:
        CheckpointError: it is not whole, or a file is not as it was written; says which.
    """
    manifest = read_json(folder / MANIFEST)
    for name in _NEEDED:
        if name not in manifest:
            raise CheckpointError(f"{folder / MANIFEST}: does not name {name}")
    for name, expected in manifest.items():
        if Path(name).name != name:
            raise CheckpointError(f"{folder / MANIFEST}: names {name!r}, which is no file of the checkpoint")
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{file}: is missing")
        with reading(file):
            found = fingerprint(file)
        if found != expected:
            raise CheckpointError(f"{file}: is not as it was written (size or SHA-256 differ from {MANIFEST})")
    values = read_json(folder / STATE)
    try:
        with reading(folder):
            tensors = {Path(name).stem: load_file(folder / name) for name in manifest if name.endswith(".safetensors")}
        state = State(values.pop("step"), tensors, values)
    except (KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: is no checkpoint: {error}") from None
    if folder.name != _name_of(state.step):
        raise CheckpointError(f"{folder / STATE}: is of step {state.step}, not of that in the folder's name")
    return state


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # it stays until the next save
            remove_folder(folder)


def _name_of(step: int) -> str:
    return f"step-{step:08d}"


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _compared(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Give a line for each difference that changes the last bits alone.

    Raises:
        ConfigError: a difference that makes another run of it.
    """
    then = dict(_flat(before))
    today = dict(_flat(now))
    others = [name for name in {**then, **today} if then.get(name) != today.get(name)]
    for name in others:
        short = name.removeprefix("settings.")
        if name.startswith("settings.") and short.split(".")[0] in (*FREE, *_PLACES):
            continue
        change = f"{short} was {then.get(name)!r} and is now {today.get(name)!r}"
        if not (name.startswith("settings.") and short in _NEARLY_FREE) and not name.startswith("machine."):
            raise ConfigError(f"{folder} is of another run: {change}; go on as it began, or take another output folder")
        yield f"{change}; the last digits will not be those of the undisturbed run"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# -- what the parts of a run hold --


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return everything that a model's `forward` may depend on, each tensor under one name."""
    return {name: value.detach() for name, value in (*model.named_parameters(), *model.named_buffers())}


def put_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Write them back in place.

    Raises:
        CheckpointError: they are those of another model.
    """
    own = weights_of(model)
    strange = sorted(own.keys() ^ weights.keys()) or [name for name in own if own[name].shape != weights[name].shape]
    if strange:
        raise CheckpointError(f"the checkpoint is of another model: {strange[0]} is not the same in both")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's tensors and its other values."""
    state = optimizer.state_dict()
    tensors, values = {}, {}
    for number, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                values[f"{number}.{name}"] = value
    return tensors, {"state": values, "groups": state["param_groups"]}


def put_optimizer_state(optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Any) -> None:
    """Give an optimizer of the same parameters that state."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *values["state"].items()):
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": values["groups"]})


class RandomState(NamedTuple):
    """The states of all generators that a training step may draw from: torch's, numpy's and Python's."""

    torch: Tensor
    cuda: list[Tensor]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> RandomState:
        """Return them as they are; some microseconds."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(torch.get_rng_state(), cuda, np.random.get_state(legacy=True), random.getstate())

    def put(self) -> None:
        """Set them all."""
        torch.set_rng_state(self.torch)
        if self.cuda and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(self.cuda)
        np.random.set_state(self.numpy)
        random.setstate(self.python)

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        kind, words, *rest = self.numpy
        version, numbers, gauss = self.python
        return {
            "torch": bytes(self.torch.numpy()).hex(),
            "cuda": [bytes(one.numpy()).hex() for one in self.cuda],
            "numpy": [kind, np.asarray(words).tolist(), *rest],
            "python": [version, list(numbers), gauss],
        }

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> RandomState:
        """Make it of what `to_plain` gave."""
        kind, words, *rest = values["numpy"]
        version, numbers, gauss = values["python"]
        return cls(
            _bytes(values["torch"]),
            [_bytes(one) for one in values["cuda"]],
            (kind, np.array(words, dtype=np.uint32), *rest),
            (version, tuple(numbers), gauss),
        )


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


class Stateful(Protocol):
    """What else a run keeps from step to step, such as evaluations."""

    def state(self) -> tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]:
        """Return its tensors, by file and name, and its other values."""

    def put_state(self, tensors: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take them back."""


class Keeper:
    """Saves all that a run needs to go on to the same bits, and brings it back.

    Attributes:
        saved: the step of the last checkpoint; None where there is none yet.

    Args:
        checkpoints: where.
        devices: the processes of the run; the first one writes, and each has random states of its own.
        others: what is kept beside model, optimizer, schedule and steps, by name.
        resume: whether to go on from what is there.
        say: takes what the user should know, as one line.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        devices: Devices,
        others: Mapping[str, Stateful],
        *,
        resume: bool,
        say: Callable[[str], object],
    ) -> None:
        """Touch nothing yet."""
        self._checkpoints, self._devices, self._others = checkpoints, devices, others
        self._resume, self._say = resume, say
        self.saved: int | None = None

    def restore(self, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, steps: int) -> tuple[History, int]:
        """Bring the last whole checkpoint back, if there is one and that is wanted.

        Returns:
            the steps that were made, and after how many of them the last evaluation was.

        Raises:
            ConfigError: the checkpoint is of another run.
            CheckpointError: it is of another model.
        """
        state = None
        if self._resume and self._devices.first:
            state = self._checkpoints.latest(self._say)
        step = self._devices.from_first(None if state is None else state.step)
        if step is None:
            if self._resume:
                self._say(f"no whole checkpoint in {self._checkpoints.folder}: beginning with step 1")
            return History(steps), 0
        if state is None:
            state = read_state(self._checkpoints.place(step))
        tensors, values = state.tensors, state.values
        put_weights(model, tensors["model"])
        put_optimizer_state(optimizer, tensors["optimizer"], values["optimizer"])
        schedule.load_state_dict({**schedule.state_dict(), **values["schedule"]})
        for name, other in self._others.items():
            own = {key: tensors[key] for key in values["others"][name]["files"]}
            other.put_state(own, values["others"][name]["values"])
        RandomState.of_plain(values["random"][self._devices.rank]).put()
        self.saved = step
        self._say(f"going on from {self._checkpoints.place(step)}: {step} of {steps} steps are made")
        # Before steps had figures, no names stood beside them.
        history = History.of_matrix(tensors["steps"]["reports"].numpy(), steps, values.get("figures", ()))
        return history, values["evaluated"]

    def due(self, step: int) -> bool:
        """Whether it is time for the next checkpoint."""
        return self._checkpoints.due(step)

    def save(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        history: History,
        evaluated: int,
        drawn: RandomState,
        *,
        needed: bool,
    ) -> None:
        """Write a checkpoint.

        Args:
            model: after the last step.
            optimizer: likewise.
            schedule: likewise.
            history: all steps.
            evaluated: after how many of them the last evaluation was.
            drawn: the random states after the last step, and that evaluation if it came after it.
            needed: whether the run ends with it. Else it goes on where a write is refused, and says so.

        Raises:
            SaveError: the disk refused a write of a checkpoint that is needed.
        """
        drawn_by_all = self._devices.gathered(drawn.to_plain())
        refused = None
        if self._devices.first:
            moments, options = optimizer_state(optimizer)
            tensors: dict[str, Mapping[str, Tensor]] = {
                "model": weights_of(model),
                "optimizer": moments,
                "steps": {"reports": torch.from_numpy(history.to_matrix())},
            }
            others = {}
            for name, other in self._others.items():
                own, kept = other.state()
                tensors |= own
                others[name] = {"files": list(own), "values": kept}
            # The functions of the rate are made anew from the settings.
            plain = {name: value for name, value in schedule.state_dict().items() if name != "lr_lambdas"}
            values = {
                "evaluated": evaluated,
                "figures": list(history.figures),
                "random": drawn_by_all,
                "optimizer": options,
                "schedule": plain,
                "others": others,
            }
            try:
                self._checkpoints.save(State(len(history), tensors, values))
            except SaveError as error:
                refused = str(error)
        refused = self._devices.from_first(refused)
        if refused is None:
            self.saved = len(history)
            return
        refused = f"no checkpoint of step {len(history)}: {refused}"
        if needed:
            raise SaveError(refused)
        self._say(refused)

    def wants_last(self, step: int) -> bool:
        """Whether the end of training is worth a checkpoint: what follows may be long, or checkpoints are to stay."""
        return self.saved != step and (self.saved is not None or self._checkpoints.keeps)
