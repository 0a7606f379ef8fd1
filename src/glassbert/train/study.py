"""A study: all trials of a search, in a file that outlives the process. The only file that imports Optuna."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import random
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from glassbert.errors import ConfigError, MissingExtraError, SaveError
from glassbert.settings import TuningSettings
from glassbert.train.trials import Trial

try:
    import optuna
    import sqlalchemy
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import FrozenTrial, TrialState
except ImportError:
    raise MissingExtraError("optuna", "train") from None

_NAME: Final = "glassbert"
# Trials before the sampler learns from them, and before one may be pruned: few, since studies of trainings are small.
_FIRST: Final = 5
# Attributes of a trial in the file: its number, what is known of it, and that its process was lost.
_NUMBER, _RECORD, _LOST = "number", "record", "lost"


@dataclasses.dataclass(frozen=True)
class Begun:
    """A trial that is to run now.

    Attributes:
        trial: as it is told.
        folder: a name that no other attempt has.
    """

    trial: Trial
    folder: str
    _trial: optuna.Trial


class Study:
    """The trials of a search in an SQLite file, which `optuna-dashboard` and the like can read as well.

    One process at a time works on a study. So a trial that is running when a study is opened was lost with its process,
    and is run again with the same values. Use as a context manager.

    Args:
        file: made where it is not there.
        settings: what is searched, and how many trials there will be.
        origin: on what the results depend, by name; a study of another origin is refused.

    Attributes:
        id: of this study alone.
        resumed: the numbers of the trials that were finished before.
        lost: the numbers of those that are run again.

    Raises:
        ConfigError: the file holds something else, or the study is of another origin.
        SaveError: the file cannot be written.
    """

    def __init__(self, file: Path, settings: TuningSettings, origin: Mapping[str, Any]) -> None:
        """Open the file, or make it."""
        self._settings = settings
        self._file = file
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        new = not file.exists()
        self._closing = contextlib.ExitStack()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Through a function, since a URL has no place for all that a path may hold.
            storage = optuna.storages.RDBStorage(
                "sqlite://",
                engine_kwargs={"creator": lambda: sqlite3.connect(file), "poolclass": sqlalchemy.pool.NullPool},
            )
            self._closing.callback(storage.engine.dispose)
            self._closing.callback(storage.remove_session)
            names = [study.study_name for study in optuna.get_all_study_summaries(storage)]
            if names not in ([], [_NAME]):
                raise ConfigError(f"{file}: holds a study of another program; name another file with --study")
            self._study = optuna.create_study(
                storage=storage,
                study_name=_NAME,
                direction="maximize",  # an evaluation's value is made so that more is better
                load_if_exists=True,
                # Trials are compared after the same epochs, or the same steps; see `report`.
                pruner=optuna.pruners.MedianPruner(_FIRST) if settings.pruning else optuna.pruners.NopPruner(),
            )
        except (OSError, sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
            self._closing.close()
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            if new:
                raise SaveError(f"cannot write {file}: {reason}") from None
            raise ConfigError(f"{file}: cannot be read as a study: {reason}") from None
        except ConfigError:
            self._closing.close()
            raise
        try:
            self._check_origin(origin)
        except ConfigError:
            self._closing.close()
            raise
        self.id: str = self._study.user_attrs["id"]
        self.resumed = [trial.number for trial in self.trials if trial.state != "running"]
        self.lost = self._take_up_lost()

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Close the file."""
        self._closing.close()

    @property
    def wanted(self) -> int:
        """How many trials there will be: where there are fewer combinations than are asked for, one for each."""
        combinations = self._combinations()
        return min(self._settings.trials, len(combinations)) if combinations else self._settings.trials

    @property
    def trials(self) -> list[Trial]:
        """All trials that have begun, by number, each as its last attempt has it."""
        found = {trial.user_attrs[_NUMBER]: _told(trial) for trial in self._attempts()}
        return [found[number] for number in sorted(found)]

    @property
    def folders(self) -> dict[int, str]:
        """The name of the folder of every trial's last attempt, by the trial's number."""
        return {trial.user_attrs[_NUMBER]: _folder(trial) for trial in self._attempts()}

    def begin(self) -> Begun | None:
        """Begin the next trial; None when as many as are wanted have begun."""
        attempts = self._attempts(TrialState.WAITING)
        waiting = [trial.user_attrs[_NUMBER] for trial in attempts if trial.state == TrialState.WAITING]
        numbers = {trial.user_attrs[_NUMBER] for trial in attempts} - set(waiting)
        if len(numbers) >= self.wanted:
            return None
        number = waiting[0] if waiting else max(numbers, default=0) + 1
        if not waiting:
            tried = [trial.values for trial in self.trials]
            if left := [values for values in self._combinations() if values not in tried]:
                self._study.enqueue_trial(left[0], user_attrs={_NUMBER: number})
            # A state of its own for each number: a study that was interrupted goes on as if it had not been.
            seed = random.Random(f"{self._settings.seed} {number}").getrandbits(32)
            self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=_FIRST, seed=seed)
        trial = self._study.ask(self._distributions())
        trial.set_user_attr(_NUMBER, number)
        told = Trial(number=number, values=trial.params, state="running")
        return Begun(told, _folder(trial), trial)

    def report(self, begun: Begun, value: float, place: int) -> bool:
        """Take an intermediate result; return whether the trial is to be ended.

        Args:
            begun: the trial.
            value: more is better.
            place: the number of the evaluation, by which trials are compared.
        """
        begun._trial.report(value, place)
        return begun._trial.should_prune()

    def end(self, begun: Begun, trial: Trial) -> None:
        """Write down how a trial has ended."""
        record = {name: value for name, value in dataclasses.asdict(trial).items() if name not in ("number", "values")}
        begun._trial.set_user_attr(_RECORD, record)
        states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        value = trial.value if trial.state == "done" else None
        self._study.tell(begun._trial, value, state=states[trial.state])

    def again(self, begun: Begun) -> None:
        """Let a trial whose process was lost be run again."""
        self._again(self._study.trials[begun._trial.number])

    def _attempts(self, *more: TrialState) -> list[FrozenTrial]:
        """Return the attempts at trials, in their order, without those that were lost."""
        states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, *more)
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False, states=states)
            if _NUMBER in trial.user_attrs and _LOST not in trial.user_attrs
        ]

    def _take_up_lost(self) -> list[int]:
        """Queue the trials that were running when their process ended."""
        found = []
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            if _NUMBER in trial.user_attrs:
                found.append(trial.user_attrs[_NUMBER])
                self._again(trial)
            else:  # lost before it had a number
                self._study.tell(trial.number, state=TrialState.FAIL)
        return found

    def _again(self, trial: FrozenTrial) -> None:
        number = trial.user_attrs[_NUMBER]
        waiting = self._study.get_trials(states=(TrialState.WAITING,))
        if all(one.user_attrs.get(_NUMBER) != number for one in waiting):
            self._study.enqueue_trial(trial.params, user_attrs={_NUMBER: number})
        # The other way round a process that ends between the two would lose the trial.
        optuna.Trial(self._study, trial._trial_id).set_user_attr(_LOST, True)
        self._study.tell(trial.number, state=TrialState.FAIL)

    def _combinations(self) -> list[dict[str, float]]:
        """Return all combinations, shuffled; none where there is no end of them."""
        space = self._settings.space
        if not space.keys() <= {"batch_size", "epochs"}:
            return []
        choices = [
            values if name == "batch_size" else range(int(values[0]), int(values[1]) + 1)
            for name, values in space.items()
        ]
        found = [dict(zip(space, values, strict=True)) for values in itertools.product(*choices)]
        random.Random(self._settings.seed).shuffle(found)
        return found

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        found: dict[str, optuna.distributions.BaseDistribution] = {}
        for name, values in self._settings.space.items():
            if name == "batch_size":
                found[name] = CategoricalDistribution([int(value) for value in values])
            elif name == "epochs":
                found[name] = IntDistribution(int(values[0]), int(values[1]))
            else:
                found[name] = FloatDistribution(values[0], values[1], log=name == "learning_rate")
        return found

    def _check_origin(self, origin: Mapping[str, Any]) -> None:
        """Refuse a study that was made of something else, unless nothing has come of it yet.

        Raises:
            ConfigError: with what differs.
        """
        plain = json.loads(json.dumps(origin))
        known = self._study.user_attrs.get("origin")
        if known is None:
            if self._study.get_trials(deepcopy=False):
                raise ConfigError(f"{self._file}: holds a study of another program; name another file with --study")
            self._study.set_user_attr("id", uuid.uuid4().hex)
            self._study.set_user_attr("origin", plain)
            return
        other = [name for name in {**known, **plain} if known.get(name) != plain.get(name)]
        if other and not any(trial.state.is_finished() for trial in self._attempts()):
            # As after a first trial that ended with a mistyped setting.
            for trial in self._study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)):
                optuna.Trial(self._study, trial._trial_id).set_user_attr(_LOST, True)
                self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.set_user_attr("origin", plain)
        elif other:
            first = other[0]
            more = f", and there is another {_listed(other[1:])}" if other[1:] else ""
            raise ConfigError(
                f"{self._file}: is a study of something else: {first} was {_short(known.get(first))} there and is "
                f"{_short(plain.get(first))} here{more}; name another file with --study, or remove this one"
            )


def _told(trial: FrozenTrial) -> Trial:
    number = trial.user_attrs[_NUMBER]
    if not trial.state.is_finished():
        return Trial(number=number, values=trial.params, state="running")
    return Trial(**{**trial.user_attrs[_RECORD], "number": number, "values": trial.params})


def _folder(trial: optuna.Trial | FrozenTrial) -> str:
    return f"trial-{trial.number}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _short(value: object) -> str:
    shown = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
