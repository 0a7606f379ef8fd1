"""Evaluation while a model is trained: which weights are the best, and when has it had enough?"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from glassbert.errors import TrainingError
from glassbert.model import BertPreTrainedModel
from glassbert.settings import TrainingSettings
from glassbert.tasks import AnyTask
from glassbert.tasks.task import Metrics
from glassbert.text import BertTokenizer
from glassbert.train.events import Evaluation, Notice, OnEvent, StopTraining
from glassbert.train.examples import Part
from glassbert.train.loop import predict
from glassbert.train.spool import Spool

# Features of the held-out data on which a metric is tried.
_SOME: Final = 32


class Judge:
    """Evaluates a model while it is trained, remembers its best weights and says when to stop.

    Attributes:
        task: with thresholds as the last evaluation found them.
        evaluations: all of them.
        saved: that of the weights that are kept; None while there is none.
        examples, answers: of the kept weights on the validation data.
    """

    def __init__(
        self,
        task: AnyTask,
        model: BertPreTrainedModel,
        tokenizer: BertTokenizer,
        part: Part | None,
        settings: TrainingSettings,
        on_event: OnEvent,
    ) -> None:
        self.task = task
        self.evaluations: list[Evaluation] = []
        self.saved: Evaluation | None = None
        self.examples: Sequence[Any] = part.examples if part else ()
        self.answers: Sequence[Any] = ()
        self._model, self._tokenizer, self._part, self._settings = model, tokenizer, part, settings
        self._on_event = on_event
        self._best: tuple[AnyTask, dict[str, Tensor]] | None = None
        self._without_gain = 0

    def measured(self, part: Part, *, calibrate: bool = False) -> tuple[list[Any], Metrics]:
        """Answer the examples of a part and compare."""
        collate = functools.partial(self.task.collate, tokenizer=self._tokenizer)
        budget, precision = self._settings.token_budget, self._settings.precision
        rows = predict(self._model, part.features, collate, self.task.rows, token_budget=budget, precision=precision)
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
        """
        if self._part is None:
            return
        answers, metrics = self.measured(self._part, calibrate=True)
        name = self._settings.metric or metrics.main_name
        value = metrics.value(name)
        best = self.best is None or value > self.best.value
        found = Evaluation(epoch=epoch, step=step, metrics=metrics, name=name, value=value, best=best)
        self.evaluations.append(found)
        keeps_best = self._settings.keeps_best
        if best or not keeps_best:
            self.saved, self.answers = found, answers
        if best and keeps_best:
            self._best = (self.task, {name: one.detach().clone() for name, one in self._model.state_dict().items()})
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
        if self._best is not None and self.saved is not self.evaluations[-1]:
            task, weights = self._best
            self._model.load_state_dict(weights)
            assert self.saved is not None
            figure = self.saved.metrics.figure(self.saved.name)
            self._on_event(
                Notice(message=f"kept: step {self.saved.step}, the best with {self.saved.name} {figure:.4f}")
            )
            self.task = task
        self._best = None
        self._model.eval()
        return self.task
