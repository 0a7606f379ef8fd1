"""The one training loop, and recipes that use it."""

from glassbert.train.demo import DEMO_TRAINING, run_demo
from glassbert.train.finetuning import Evaluation, Event, Notice, TrainingResult, finetune
from glassbert.train.loop import Step, fit
from glassbert.train.optimizer import get_linear_schedule_with_warmup, make_adamw, parameter_groups
from glassbert.train.settings import FinetuneSettings, TrainingSettings

__all__ = [
    "DEMO_TRAINING",
    "Evaluation",
    "Event",
    "FinetuneSettings",
    "Notice",
    "Step",
    "TrainingResult",
    "TrainingSettings",
    "finetune",
    "fit",
    "get_linear_schedule_with_warmup",
    "make_adamw",
    "parameter_groups",
    "run_demo",
]
