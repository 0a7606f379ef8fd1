"""The one training loop, and recipes that use it."""

from glassbert.settings import FinetuneSettings, PretrainSettings, ReadingSettings, TrainingSettings, TuningSettings
from glassbert.train.card import write_card
from glassbert.train.demo import DEMO_TRAINING, run_demo
from glassbert.train.events import Evaluation, Event, Notice, OnEvent, Progress, Step, StopTraining, TrainingResult
from glassbert.train.examples import read_examples
from glassbert.train.finetuning import finetune
from glassbert.train.groups import freeze, parameter_groups
from glassbert.train.lamb import Lamb
from glassbert.train.loop import fit
from glassbert.train.optimizer import AdamW, clip_gradients, make_optimizer
from glassbert.train.pretraining import PretrainingMetrics, pretrain
from glassbert.train.report import write_report
from glassbert.train.schedules import (
    TYPE_TO_SCHEDULER_FUNCTION,
    SchedulerType,
    get_constant_schedule,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
    get_scheduler,
)
from glassbert.train.spool import Spool
from glassbert.train.tensorboard import TensorBoard
from glassbert.train.trials import Trial, TrialEvent, TuningEvent, TuningResult
from glassbert.train.tuning import tune

__all__ = [
    "DEMO_TRAINING",
    "TYPE_TO_SCHEDULER_FUNCTION",
    "AdamW",
    "Evaluation",
    "Event",
    "FinetuneSettings",
    "Lamb",
    "Notice",
    "OnEvent",
    "PretrainSettings",
    "PretrainingMetrics",
    "Progress",
    "ReadingSettings",
    "SchedulerType",
    "Spool",
    "Step",
    "StopTraining",
    "TensorBoard",
    "TrainingResult",
    "TrainingSettings",
    "Trial",
    "TrialEvent",
    "TuningEvent",
    "TuningResult",
    "TuningSettings",
    "clip_gradients",
    "finetune",
    "fit",
    "freeze",
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_linear_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup",
    "get_scheduler",
    "make_optimizer",
    "parameter_groups",
    "pretrain",
    "read_examples",
    "run_demo",
    "tune",
    "write_card",
    "write_report",
]
