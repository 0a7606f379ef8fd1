"""Evaluation while a model is trained: which weights are the best, and when has it had enough?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from glassbert.errors import ConfigError
from glassbert.model import BertPreTrainedModel
from glassbert.settings import LoopSettings
from glassbert.tasks.task import Metrics
from glassbert.train.events import Evaluation, Notice, OnEvent, StopTraining
from glassbert.train.state import put_weights, weights_of


class Judge(ABC):
    """Evaluates a model while it is trained, remembers its best weights and says when to stop.

    What is measured is up to a subclass, which has `measure`.

    Attributes:
        evaluations: all of them.
        saved: that of the weights that are kept; None while there is none.

    Args:
        model: is trained.
        settings: which figure, which weights, how patient.
        on_event: takes evaluations and notices.
    """

    def __init__(self, model: BertPreTrainedModel, settings: LoopSettings, on_event: OnEvent) -> None:
        """Evaluate nothing yet."""
        self.evaluations: list[Evaluation] = []
        self.saved: Evaluation | None = None
        self._model, self._settings, self._on_event = model, settings, on_event
        self._best: dict[str, Tensor] | None = None
        self._without_gain = 0

    @abstractmethod
    def measure(self) -> Metrics | None:
        """Measure the weights as they are now on held-out data; None where there are none, and nothing is judged.

        All processes that train together get the same.

        Raises:
            Interrupted: that was wanted; nothing has changed.
        """

    def keep(self) -> None:  # noqa: B027  # most have nothing to note
        """Note what belongs to the weights that were measured last: they are the ones that are kept from now on."""

    def evaluate(self, epoch: int, step: int) -> None:
        """Measure the weights as they are now.

        Raises:
            StopTraining: nothing has become better for `patience` evaluations.
            Interrupted: that was wanted; nothing has changed.
        """
        metrics = self.measure()
        if metrics is None:
            return
        name = self._settings.metric or metrics.main_name
        value = metrics.value(name)
        best = self.best is None or value > self.best.value
        found = Evaluation(epoch=epoch, step=step, metrics=metrics, name=name, value=value, best=best)
        self.evaluations.append(found)
        keeps_best = self._settings.keeps_best
        if best or not keeps_best:
            self.saved = found
            self.keep()
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

    def finish(self) -> bool:
        """Give the model the weights that are kept; return whether they are others than those it had."""
        others = self._best is not None and self.saved is not None and self.saved is not self.evaluations[-1]
        if self._best is not None and self.saved is not None and others:
            put_weights(self._model, self._best)
            figure = self.saved.metrics.figure(self.saved.name)
            self._on_event(
                Notice(message=f"kept: step {self.saved.step}, the best with {self.saved.name} {figure:.4f}")
            )
        self._best = None
        self._model.eval()
        return others

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
