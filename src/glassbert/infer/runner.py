"""What a pipeline asks of whatever computes: the engine in torch, or another runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from glassbert.model import BertConfig
from glassbert.tasks.batching import Collate, FeaturesT, RowT


class Runner(Protocol):
    """A model made ready to run."""

    @property
    def name(self) -> str:
        """As `pipeline(engine=…)` has it."""

    @property
    def config(self) -> BertConfig:
        """The model's."""

    @property
    def tokens_per_call(self) -> int:
        """Most tokens that are computed at once."""

    @property
    def nbytes(self) -> int:
        """Memory of the weights that it computes with."""

    def run(
        self,
        features: Sequence[FeaturesT],
        collate: Collate[FeaturesT],
        rows: Callable[[Any, Sequence[FeaturesT]], Sequence[RowT]],
        *,
        states: bool = False,
    ) -> list[RowT]:
        """Return a row for each of `features`, in their order.

        Args:
            features: any number.
            collate: makes the arguments of a call from some of them; labels are left aside.
            rows: takes the model's output apart.
            states: whether the output shall have the hidden states of all layers.
        """
