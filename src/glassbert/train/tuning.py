"""The recipe `tune`: fine-tune with many settings, and keep the model of the best."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import multiprocessing.connection
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from glassbert.checkpoint import load_config, load_tokenizer
from glassbert.data import data_hash
from glassbert.errors import ConfigError, SaveError, TrainingError
from glassbert.files import check_output, locked, new_folder, output_folder, read_json, take_along, updated_folder
from glassbert.settings import FinetuneSettings, RecipeSettings, TuningSettings, documented, paths_of
from glassbert.tasks import AnyTask, task_class
from glassbert.tasks.task import counted
from glassbert.text import BertTokenizerFast
from glassbert.train.devices import launched
from glassbert.train.events import Evaluation, Event, Notice, Progress, Step, StopTraining
from glassbert.train.examples import records_of
from glassbert.train.finetuning import read_parts
from glassbert.train.loop import DEFAULT_EPOCHS
from glassbert.train.report import duration
from glassbert.train.trials import OnTuningEvent, Trial, TrialEvent, TuningEvent, TuningResult, best_of, in_short
from glassbert.train.tuning_report import TUNING_FILES, TUNING_RECORD, give_settings, write_tuning
from glassbert.train.workers import LostError, Outcome, Pruned, Worker, run_trial

if TYPE_CHECKING:
    from glassbert.train.study import Begun, Study

# Settings that do not change what trials give.
_CIRCUMSTANCES: Final = ("out", "overwrite", "tensorboard", "study", "trials", "workers", "pruning", "keep")
_DATA: Final = ("train", "validation", "test")


def _silent(_: TuningEvent) -> None:
    """Take an event and do nothing."""


def tune(settings: TuningSettings, *, task: AnyTask | None = None, on_event: OnTuningEvent = _silent) -> TuningResult:
    """Search for the settings with which fine-tuning gives the best model, and keep that model.

    Each trial is a `finetune` with settings of its own, chosen by Optuna from what the trials before it gave. The
    result is the model folder of the best trial, with the table of all trials (`tuning.json`, `tuning.html`,
    `tuning.png`) beside what `finetune` writes. The study stands in a file of its own: where it is there already, it
    goes on with the trials that are missing. With one worker the same seed gives the same trials, interrupted or not;
    with several the trials depend on which of them ends first.

    Args:
        settings: what is searched, and what all trials share.
        task: one of your own, as in `finetune`.
        on_event: called with every notice and with all that happens in trials; may raise `StopTraining` for the best
            model so far.

    Raises:
        TrainingError: no trial came to its end.
        GlassbertError: one of its kinds, before the first trial where that can be known before.
    """
    if not isinstance(settings, TuningSettings):
        expected = "TuningSettings(…) or TuningSettings.read(file)"
        raise ConfigError(f"settings is of type {type(settings).__name__}, expected {expected}")
    if launched() > 1:
        raise ConfigError("a search has workers of its own; start it without torchrun, with workers (--workers)")
    from glassbert.train.study import Study  # with a library of its own

    out = output_folder(settings.out)
    file = Path(f"{out}-study.db" if settings.study is None else settings.study)
    if file.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"study is {file}, inside {out}, which appears as a whole at the end; take a file beside it")
    needed = [file, *(path for name in _DATA for path in paths_of(getattr(settings, name)) or []), settings.model]
    if not file.exists():
        check_output(out, overwrite=settings.overwrite, keep=needed)
    folder = file.with_name(f"{file.stem}-trials")
    amount = _Amount.of(settings, task, on_event)
    with _alone(folder, file), Study(file, settings, _origin(settings, task)) as study:
        ours = _best_in(out, study.id)
        overwrite = settings.overwrite or ours is not None
        check_output(out, overwrite=overwrite, keep=needed)
        search = _Search(settings, task, study, folder, amount, on_event)
        search.run()
        best = best_of(study.trials)
        if best is None:
            raise TrainingError(_nothing(study.trials))
        found = search.settings_of(best, out)
        winner = dataclasses.replace(found, tensorboard=settings.tensorboard, keep_checkpoints=None)
        result = TuningResult(folder=out, settings=winner, trials=study.trials, best=best)
        if ours == best.number:
            with updated_folder(out, TUNING_FILES, overwrite=True) as stage:
                write_tuning(stage, result, settings, file, study.id, search.say)
        else:
            made = search.folder_of(best)
            with new_folder(out, overwrite=overwrite) as stage:
                take_along(made, stage)
                give_settings(stage, winner)
                write_tuning(stage, result, settings, file, study.id, search.say)
        search.sweep(None, unfinished=True)
    return result


class _Amount(NamedTuple):
    """How much is learned from in an epoch.

    Attributes:
        features: examples, or windows of long ones.
        tokens: of all of them.
        examples: as they stand in the data.
    """

    features: int
    tokens: int
    examples: int

    @classmethod
    def of(cls, settings: TuningSettings, task: AnyTask | None, on_event: OnTuningEvent) -> _Amount:
        """Read the data once, so that what is wrong with it is told before the first trial.

        Raises:
            GlassbertError: as `finetune`.
        """
        if task is None:
            task_class(settings.task).check_options(settings.options)
            task = task_class(settings.task)(**settings.options)
        load_config(settings.model)  # what is no model is told before the data is read
        for name in _DATA:
            if isinstance(getattr(settings, name), Iterator):
                raise ConfigError(f"{name} can be read once, and every trial reads it; pass a list")
        said: list[str] = []

        def say(message: str) -> None:
            if message not in said:
                said.append(message)
                on_event(Notice(message=message))

        def show(event: Event) -> None:
            if isinstance(event, Progress):
                on_event(event)

        parts = read_parts(task, settings, say, show)
        task = task.learn(parts["training"].examples)
        tokenizer = load_tokenizer(BertTokenizerFast, settings.model)
        limit = min(settings.max_length or tokenizer.model_max_length, tokenizer.model_max_length)
        for part in parts.values():
            part.encode(task, tokenizer, limit, show)
        features = parts["training"].features
        return cls(len(features), sum(map(len, features)), len(parts["training"].examples))

    def steps(self, settings: FinetuneSettings) -> int:
        """Return the optimizer steps of a trial."""
        epochs = settings.epochs or DEFAULT_EPOCHS
        return settings.steps or epochs * math.ceil(self.features / (settings.batch_size * settings.accumulation))

    def learned(self, settings: FinetuneSettings) -> int:
        """Return the tokens that a trial learns from, about."""
        at_once = settings.batch_size * settings.accumulation
        epochs = settings.steps * at_once / self.features if settings.steps else settings.epochs or DEFAULT_EPOCHS
        return round(self.tokens * epochs)


class _Enough(Exception):  # noqa: N818  # a wish, not an error
    """Raised where a callback wants no more trials; other than StopTraining it ends a trial without saving it."""


class _Running:
    """A trial at work: what its events have told so far."""

    def __init__(self, begun: Begun, settings: FinetuneSettings) -> None:
        self.begun, self.settings = begun, settings
        self.trial = begun.trial
        self.evaluations = 0
        self.last: Step | None = None
        self._began = time.perf_counter()

    def take(self, event: Event) -> None:
        """Note what an event tells."""
        changes: dict[str, Any] = {"seconds": round(time.perf_counter() - self._began, 3)}
        if isinstance(event, Step):
            self.last = event
            changes["tokens"] = self.trial.tokens + event.tokens
        elif isinstance(event, Evaluation):
            self.evaluations += 1
            if event.best:
                changes |= {"metric": event.name, "figure": event.metrics.figure(event.name), "value": event.value}
                changes |= {"step": event.step, "epoch": event.epoch}
        self.trial = dataclasses.replace(self.trial, **changes)

    def end(self, outcome: Outcome) -> Trial:
        """Return the trial as it ended."""
        trial, why, state = self.trial, outcome.why, outcome.state
        if trial.value is not None and not math.isfinite(trial.value):
            state, why = "failed", why or f"{trial.metric} is {trial.figure}"
            trial = dataclasses.replace(trial, figure=None, value=None)
        seconds = round(time.perf_counter() - self._began, 3)
        return dataclasses.replace(trial, state=state, why=why, seconds=seconds)


class _Search:
    """Runs the trials of a study that are missing.

    Args:
        settings: what is searched.
        task: one of your own, or None.
        study: that goes on.
        folder: for the models of trials; that of the best so far stays in it.
        amount: of what is learned from.
        on_event: takes all that is told.
    """

    def __init__(
        self,
        settings: TuningSettings,
        task: AnyTask | None,
        study: Study,
        folder: Path,
        amount: _Amount,
        on_event: OnTuningEvent,
    ) -> None:
        self._settings, self._task, self._study, self._amount = settings, task, study, amount
        self._folder, self._on_event = folder, on_event
        self._wanted = study.wanted
        self._finished = {trial.number: trial for trial in study.trials if trial.state != "running"}
        self._lost: set[int] = set()
        self._estimated = False

    def run(self) -> None:
        """Run the trials that are missing, and say before what that will cost."""
        self.sweep(best_of(self._finished.values()), unfinished=True)
        with contextlib.suppress(_Enough):
            missing = self._announce()
            if self._settings.workers == 1 or missing < 2:
                self._run_here()
            else:
                self._run_in_processes(min(self._settings.workers, missing))

    def say(self, message: str) -> None:
        """Tell something as a notice."""
        self._tell(Notice(message=message))

    def settings_of(self, trial: Trial, out: Path) -> FinetuneSettings:
        """Return the settings of a trial."""
        settings = self._settings.of_trial(trial.values, out)
        if settings.tensorboard is None:
            return settings
        return dataclasses.replace(settings, tensorboard=Path(settings.tensorboard) / f"trial-{trial.number}")

    def folder_of(self, trial: Trial) -> Path:
        """Return where the model of a trial stands; one that somebody has removed is made again."""
        made = self._folder / self._study.folders[trial.number]
        if not made.exists():
            self.say(f"the model of trial {trial.number} is not there any more and is made again")
            outcome = run_trial(self.settings_of(trial, made), self._task, lambda _: None)
            if outcome.state != "done":
                raise TrainingError(f"trial {trial.number} failed when it was run again: {outcome.why}")
        return made

    def sweep(self, best: Trial | None, *, unfinished: bool = False) -> None:
        """Remove the folders of trials that are done, but for that of the best.

        Args:
            best: the best, or None to keep no folder.
            unfinished: whether what killed processes have left goes too; no trial may be running then.
        """
        names = self._study.folders
        kept = set() if best is None else {names[best.number]}
        if not unfinished:  # one may stand already whose worker has not told it yet
            kept |= {names[trial.number] for trial in self._study.trials if trial.state == "running"}
        for found in self._folder.iterdir():
            if found.name not in kept and (unfinished or found.name.startswith("trial-")):
                shutil.rmtree(found, ignore_errors=True)

    def _announce(self) -> int:
        """Say what is searched, what stands already and what the rest will cost; return how many trials are missing."""
        study, settings, amount = self._study, self._settings, self._amount
        wanted, missing = self._wanted, self._wanted - len(study.resumed)
        if wanted < settings.trials:
            self.say(f"{settings.trials} trials are wanted, but there are only {wanted} combinations")
        if study.resumed or study.lost:
            self.say(f"the study goes on: {len(study.resumed)} of {wanted} trials are there already")
        if study.lost:
            self.say(f"interrupted before and run again: trial {', '.join(map(str, sorted(study.lost)))}")
        if missing <= 0:
            return 0
        self.say(f"searched: {searched(settings)}; all else is held")
        ends = [settings.of_trial(values, settings.out) for values in corners(settings)]
        steps, tokens = ([count(one) for one in ends] for count in (amount.steps, amount.learned))
        each, together = _between(tokens), _between([missing * count for count in tokens])
        self.say(
            f"{counted(missing, 'trial')} of {_between(steps)} steps on {amount.examples:,} examples: {each} tokens "
            f"each, {together} in all, and the evaluations"
        )
        if settings.workers > 1:
            self.say(f"{settings.workers} workers with {self._threads} threads each; with several, no run is the same")
        return missing

    def _run_here(self) -> None:
        while running := self._begin():

            def tell(event: Event, running: _Running = running) -> None:
                if self._take(running, event):
                    raise Pruned

            self._end(running, run_trial(running.settings, self._task, tell))

    def _run_in_processes(self, count: int) -> None:
        with contextlib.ExitStack() as stack:

            def start() -> Worker:
                return stack.enter_context(Worker(self._task, self._threads))

            free = [start() for _ in range(count)]
            busy: dict[Any, tuple[Worker, _Running]] = {}
            while True:
                while free and (begun := self._begin()):
                    worker = free.pop()
                    worker.begin(begun.settings)
                    busy[worker.connection] = worker, begun
                if not busy:
                    return
                for connection in multiprocessing.connection.wait(list(busy)):
                    worker, running = busy[connection]
                    try:
                        message = worker.receive()
                    except LostError as error:
                        del busy[connection]
                        self._lose(running, error.code)
                        free.append(start())
                        continue
                    if isinstance(message, Outcome):
                        del busy[connection]
                        self._end(running, message)
                        free.append(worker)
                        continue
                    prune = self._take(running, message)
                    if isinstance(message, Evaluation):
                        worker.answer(prune=prune)

    @property
    def _threads(self) -> int:
        return max(1, torch.get_num_threads() // self._settings.workers)

    def _begin(self) -> _Running | None:
        begun = self._study.begin()
        if begun is None:
            return None
        running = _Running(begun, self.settings_of(begun.trial, self._folder / begun.folder))
        self._show(running.trial)
        return running

    def _take(self, running: _Running, event: Event) -> bool:
        """Take an event of a trial; return whether the trial is to be ended."""
        running.take(event)
        prune = False
        if isinstance(event, Evaluation) and math.isfinite(event.value):
            prune = self._study.report(running.begun, event.value, running.evaluations)
            # What has come to its end is not ended early.
            prune = prune and running.last is not None and event.step < running.last.steps
        self._show(running.trial, event)
        return prune

    def _end(self, running: _Running, outcome: Outcome) -> None:
        trial = running.end(outcome)
        self._study.end(running.begun, trial)
        self._finished[trial.number] = trial
        self.sweep(best_of(self._finished.values()))
        self._show(trial)
        self._estimate(trial)

    def _lose(self, running: _Running, code: int) -> None:
        """Run a trial again whose process was killed; the second time it has failed.

        Raises:
            TrainingError: the process ended by itself, with an error that it has printed.
        """
        number = running.trial.number
        if code >= 0:
            raise TrainingError(f"a worker ended with exit code {code} in trial {number}; its own words stand above")
        if number in self._lost:
            self._end(running, Outcome("failed", f"its process was killed twice (signal {-code}); is memory short?"))
            return
        self._lost.add(number)
        self._study.again(running.begun)
        self.say(f"the process of trial {number} was killed (signal {-code}); it is run again")

    def _estimate(self, trial: Trial) -> None:
        """Say after the first trial about how long the others will take."""
        left = self._wanted - len(self._finished)
        if self._estimated or trial.state != "done" or not trial.tokens or left < 1:
            return
        self._estimated = True
        ends = [self._amount.learned(self._settings.of_trial(values, "")) for values in corners(self._settings)]
        typical = (min(ends) + max(ends)) / 2
        seconds = round(trial.seconds / trial.tokens * typical * left / self._settings.workers)
        less = ", less where trials are pruned" if self._settings.pruning else ""
        self.say(f"{left} more at the speed of trial {trial.number}: about {duration(seconds)}, an estimate{less}")

    def _show(self, trial: Trial, event: Event | None = None) -> None:
        finished = self._finished
        told: dict[str, Any] = {
            "trials": self._wanted,
            "finished": len(finished),
            "best": best_of(finished.values()),
        }
        self._tell(TrialEvent(trial=trial, event=event, **told))

    def _tell(self, event: TuningEvent) -> None:
        try:
            self._on_event(event)
        except StopTraining:
            raise _Enough from None


def searched(settings: TuningSettings) -> str:
    """Say what is searched, in words."""
    found = []
    for name, values in settings.space.items():
        if name == "batch_size":
            what = f"{', '.join(map(str, values[:-1]))} or {values[-1]}"
        else:
            what = f"{in_short(values[0])} to {in_short(values[1])}{' (log scale)' if name == 'learning_rate' else ''}"
        found.append(f"{name} {what}")
    return ", ".join(found)


def corners(settings: TuningSettings) -> Iterator[dict[str, float]]:
    """Give the combinations of lowest and highest values of what decides about the length of a trial."""
    space = settings.space
    for batch_size in space.get("batch_size", (settings.batch_size,)):
        for epochs in space.get("epochs", (settings.epochs,)):
            chosen = {"batch_size": batch_size, "epochs": epochs}
            yield {**{name: values[0] for name, values in space.items()}, **chosen}  # type: ignore[dict-item]


def _between(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _nothing(trials: Sequence[Trial]) -> str:
    failed = [trial for trial in trials if trial.state == "failed"]
    if not failed:
        return "no trial came to its end"
    return f"no trial came to its end; {len(failed)} failed, the first: {failed[0].why}"


@contextlib.contextmanager
def _alone(folder: Path, file: Path) -> Iterator[None]:
    """Hold the folder of a study's trials, which nobody else may work on meanwhile; it goes when it is empty.

    Raises:
        ConfigError: somebody else holds it.
        SaveError: it cannot be made.
    """
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaveError(f"cannot write {folder}: {error.strerror or error}") from None
        with locked(folder) as free:
            if not free:
                raise ConfigError(f"{file}: another run works on this study; wait for its end, or take another --study")
            if not folder.exists():
                continue  # the run that held it has just removed it
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            return


def _best_in(out: Path, study: str) -> int | None:
    """Return the number of the trial whose model stands in `out`, if it is one of this study."""
    record = read_json(out / TUNING_RECORD) if (out / TUNING_RECORD).is_file() else {}
    return record["best"] if record.get("study_id") == study else None


def _origin(settings: TuningSettings, task: AnyTask | None) -> dict[str, Any]:
    """Return on what the results of trials depend, by name."""
    plain, space = settings.to_dict(), settings.space
    names = [name for name in documented(RecipeSettings) if name not in (*_CIRCUMSTANCES, *_DATA, "model", *space)]
    found = {name: plain[name] for name in names}
    found |= {f"range of {name}": list(values) for name, values in space.items()}
    if task is not None:
        found["task"] = f"{type(task).__module__}.{type(task).__qualname__}"
    found |= {f"{name} data": _hash_of(settings, name) for name in _DATA}
    model = Path(settings.model)
    files = sorted(path for path in model.iterdir() if path.is_file()) if model.is_dir() else []
    found["model"] = [data_hash(path) for path in files] if files else str(settings.model)
    return found


def _hash_of(settings: TuningSettings, name: str) -> list[str] | None:
    """Return the hashes of some data: of its files, or of its records."""
    source = getattr(settings, name)
    if source is None:
        return None
    paths = paths_of(source)
    if paths is not None:
        return [data_hash(path) for path in paths]
    known = hashlib.sha256()
    for record in records_of(source, settings):
        known.update(json.dumps(dict(record.values), default=repr, sort_keys=True).encode())
    return [known.hexdigest()]
