"""Evaluation while a model is trained: which weights are the best, and when has it had enough?"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from glassbert.errors import ConfigError, TrainingError
from glassbert.model import BertPreTrainedModel
from glassbert.settings import TrainingSettings
from glassbert.tasks import AnyTask
from glassbert.tasks.task import Metrics
from glassbert.text import BertTokenizer
from glassbert.train.devices import Devices
from glassbert.train.events import Evaluation, Notice, OnEvent, Progress, StopTraining
from glassbert.train.examples import Part
from glassbert.train.interruption import Interruption
from glassbert.train.loop import predict
from glassbert.train.spool import Spool
from glassbert.train.state import put_weights, weights_of

# Seconds from one word on how far an evaluation is to the next.
_TELL_EVERY: Final = 1.0
# Features of the held-out data on which a metric is tried.
_SOME: Final = 32


class Judge:
    """Evaluates a model while it is trained, remembers its best weights and says when to stop.

    Attributes:
        task: with thresholds as the last evaluation found them.
        evaluations: all of them.
        saved: that of the weights that are kept; None while there is none.
        examples, answers: of the kept weights on the validation data.

    Args:
        task: with which the evaluation begins.
        model: is trained.
        tokenizer: belongs to it.
        part: the validation data; None where there are none, and nothing is judged.
        settings: which figure, which weights, how patient.
        on_event: takes evaluations and notices.
        devices: this process among those that share the work.
        interruption: looked at between calls of the model.
    """

    def __init__(
        self,
        task: AnyTask,
        model: BertPreTrainedModel,
        tokenizer: BertTokenizer,
        part: Part | None,
        settings: TrainingSettings,
        on_event: OnEvent,
        devices: Devices,
        interruption: Interruption,
    ) -> None:
        """Evaluate nothing yet."""
        self.task = task
        self.evaluations: list[Evaluation] = []
        self.saved: Evaluation | None = None
        self.examples: Sequence[Any] = part.examples if part else ()
        self.answers: Sequence[Any] | None = None if part else ()
        self._model, self._tokenizer, self._part, self._settings = model, tokenizer, part, settings
        self._on_event, self._devices, self._interruption = on_event, devices, interruption
        self._best: dict[str, Tensor] | None = None
        self._without_gain = 0

    def measured(
        self, part: Part, *, calibrate: bool = False, interruption: Interruption | None = None
    ) -> tuple[list[Any], Metrics]:
        """Answer the examples of a part and compare.

        Raises:
            Interrupted: that was wanted; nothing has changed.
        """
        collate = functools.partial(self.task.collate, tokenizer=self._tokenizer)
        told = time.monotonic()

        def tell(done: int) -> None:
            nonlocal told
            if time.monotonic() - told >= _TELL_EVERY:
                told = time.monotonic()
                total = len(part.features) // self._devices.processes
                self._on_event(Progress(doing=f"evaluating {part.name} data", done=done, total=total))

        budget, precision = self._settings.token_budget, self._settings.precision
        rows = predict(
            self._model,
            part.features,
            collate,
            self.task.rows,
            token_budget=budget,
            precision=precision,
            devices=self._devices,
            interruption=interruption,
            on_done=tell,
        )
        if calibrate:
            self.task = self.task.calibrate(part.examples, part.features, rows)
        answers = self.task.answers(part.examples, part.features, rows)
        metrics = self.task.measure(part.examples, answers)
        if not isinstance(metrics, Metrics):
            name = f"{type(self.task).__name__}.measure"
            raise TrainingError(f"{name} gives {type(metrics).__name__}, expected a dataclass of type Metrics")
        return answers, metrics

    def check_metric(self) -> None:
        """Ask for the chosen figure before the model is trained by it.

        Raises:
            ConfigError: there is no such figure.
        """
        if self._part is None or self._settings.metric is None:
            return
        some = [feature for feature in self._part.features[:_SOME] if feature.example < _SOME]
        count = some[-1].example  # the last one may be cut in two here
        few = Part(self._part.name, None, self._part.examples, None)
        few.examples = Spool(self._part.examples[: max(1, count)])
        few.features = Spool(feature for feature in some if feature.example < max(1, count))
        if self._settings.metric not in self.measured(few)[1].figures():
            # Some figures are of classes, which may not occur among so few.
            self.measured(self._part)[1].figure(self._settings.metric)

    def evaluate(self, epoch: int, step: int) -> None:
        """Measure the weights as they are now.

        Raises:
            StopTraining: nothing has become better for `patience` evaluations.
            Interrupted: that was wanted; nothing has changed.
        """
        if self._part is None:
            return
        answers, metrics = self.measured(self._part, calibrate=True, interruption=self._interruption)
        name = self._settings.metric or metrics.main_name
        value = metrics.value(name)
        best = self.best is None or value > self.best.value
        found = Evaluation(epoch=epoch, step=step, metrics=metrics, name=name, value=value, best=best)
        self.evaluations.append(found)
        keeps_best = self._settings.keeps_best
        if best or not keeps_best:
            self.saved, self.answers = found, answers
        if best and keeps_best:
            self._best = {name: one.clone() for name, one in weights_of(self._model).items()}
        self._without_gain = 0 if best else self._without_gain + 1
        self._on_event(found)
        if self._settings.patience is not None and self._without_gain >= self._settings.patience:
            self._on_event(
                Notice(message=f"stopped: {name} was no better for {self._without_gain} evaluations, patience is over")
            )
            raise StopTraining

    @property
    def best(self) -> Evaluation | None:
        """The best evaluation so far, the earliest of equals."""
        return next((one for one in reversed(self.evaluations) if one.best), None)

    def finish(self) -> AnyTask:
        """Give the model the weights that are kept, and return the task with their thresholds."""
        if self._best is not None and self.saved is not None and self.saved is not self.evaluations[-1]:
            put_weights(self._model, self._best)
            figure = self.saved.metrics.figure(self.saved.name)
            self._on_event(
                Notice(message=f"kept: step {self.saved.step}, the best with {self.saved.name} {figure:.4f}")
            )
            self.answers = None
        self._best = None
        if self._part is not None and self.answers is None:
            # Their thresholds and answers are of another evaluation, or of one before the run was gone on with.
            self.answers, _ = self.measured(self._part, calibrate=True)
        self._model.eval()
        return self.task

    def state(self) -> tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]:
        """Return what a checkpoint keeps: all evaluations, and the best weights where they are kept."""
        evaluations = [
            {**vars(one), "metrics": {"kind": _name(type(one.metrics)), "values": one.metrics.to_dict()}}
            for one in self.evaluations
        ]
        saved = None if self.saved is None else self.evaluations.index(self.saved)
        values = {"evaluations": evaluations, "saved": saved, "without_gain": self._without_gain}
        return {} if self._best is None else {"best": self._best}, values

    def put_state(self, tensors: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take that back.

        Raises:
            ConfigError: the evaluations are of a class of metrics that this program does not have.
        """
        self.evaluations = [
            Evaluation(**{**one, "metrics": _metrics(one["metrics"]["kind"]).from_dict(one["metrics"]["values"])})
            for one in values["evaluations"]
        ]
        self.saved = None if values["saved"] is None else self.evaluations[values["saved"]]
        self._without_gain = values["without_gain"]
        self._best = dict(tensors["best"]) if "best" in tensors else None


def _name(kind: type[Metrics]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _metrics(name: str) -> type[Metrics]:
    """Return a class of metrics by its name; only such classes can be named."""
    kinds = [Metrics]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if _name(kind) == name:
            return kind
    raise ConfigError(f"the checkpoint has evaluations of the class {name}, which is not there; import it first")
