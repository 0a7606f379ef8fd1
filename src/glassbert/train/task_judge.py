"""Evaluation of a task while it is learned: its answers to held-out examples, and their metrics."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any, Final

from glassbert.errors import TrainingError
from glassbert.model import BertPreTrainedModel
from glassbert.settings import LoopSettings
from glassbert.tasks import AnyTask
from glassbert.tasks.task import Metrics
from glassbert.text import BertTokenizer
from glassbert.train.devices import Devices
from glassbert.train.events import OnEvent, Progress
from glassbert.train.examples import Part
from glassbert.train.interruption import Interruption
from glassbert.train.judge import Judge
from glassbert.train.loop import predict
from glassbert.train.spool import Spool

# Seconds from one word on how far an evaluation is to the next.
_TELL_EVERY: Final = 1.0
# Features of the held-out data on which a metric is tried.
_SOME: Final = 32


class TaskJudge(Judge):
    """Judges a model by the metrics of its task on the validation data.

    Attributes:
        task: with thresholds as the last evaluation found them.
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
        settings: LoopSettings,
        on_event: OnEvent,
        devices: Devices,
        interruption: Interruption,
    ) -> None:
        """Evaluate nothing yet."""
        super().__init__(model, settings, on_event)
        self.task = task
        self.examples: Sequence[Any] = part.examples if part else ()
        self.answers: Sequence[Any] | None = None if part else ()
        self._latest: Sequence[Any] = ()
        self._tokenizer, self._part = tokenizer, part
        self._devices, self._interruption = devices, interruption

    def measure(self) -> Metrics | None:
        """Answer the validation data; thresholds become those that are best on them."""
        if self._part is None:
            return None
        self._latest, metrics = self.measured(self._part, calibrate=True, interruption=self._interruption)
        return metrics

    def keep(self) -> None:
        """Keep the answers of these weights."""
        self.answers = self._latest

    def finish(self) -> bool:
        """Give the model the weights that are kept, and `task` and `answers` what belongs to them."""
        others = super().finish()
        self._latest = ()
        if self._part is not None and (others or self.answers is None):
            # Their thresholds and answers are of another evaluation, or of one before the run was gone on with.
            self.answers, _ = self.measured(self._part, calibrate=True)
        return others

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
