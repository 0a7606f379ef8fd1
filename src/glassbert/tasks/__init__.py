"""One file per task: record → example → features → batch; output → typed result → metrics."""

from __future__ import annotations

from typing import Any, Final

from glassbert.errors import ConfigError
from glassbert.model import BertConfig
from glassbert.tasks.feature_extraction import FeatureExample, FeatureExtraction, TextVectors
from glassbert.tasks.fill_mask import Fill, FilledMask, FilledText, FillMask, FillMaskExample
from glassbert.tasks.multi_label_classification import MultiLabel, MultiLabelClassification, MultiLabelExample
from glassbert.tasks.multiple_choice import Choice, MultipleChoice, MultipleChoiceExample, MultipleChoiceMetrics
from glassbert.tasks.next_sentence import Following, NextSentence
from glassbert.tasks.question_answering import (
    Answer,
    Candidate,
    QuestionAnswering,
    QuestionAnsweringExample,
    QuestionAnsweringMetrics,
    Reference,
)
from glassbert.tasks.regression import Estimate, Regression, RegressionExample
from glassbert.tasks.sentence_embedding import (
    Embedding,
    EmbeddingExample,
    RetrievalMetrics,
    SentenceEmbedding,
    SimilarityMetrics,
)
from glassbert.tasks.task import TASK, Answering, Task, Verdict
from glassbert.tasks.text_classification import (
    Classification,
    ClassificationExample,
    ClassificationMetrics,
    TextClassification,
)
from glassbert.tasks.token_classification import (
    Entity,
    TaggedSentence,
    TokenClassification,
    TokenClassificationExample,
    TokenClassificationMetrics,
)

AnyTask = Task[Any, Any, Any, Any]
AnyAnswering = Answering[Any, Any, Any]
TASKS: Final[dict[str, type[AnyTask]]] = {
    task.name: task
    for task in (
        TextClassification,
        MultiLabelClassification,
        Regression,
        TokenClassification,
        MultipleChoice,
        QuestionAnswering,
        SentenceEmbedding,
    )
}

# What a model says by the head of its pretraining, or by no head, beside the tasks that it learns.
ANSWERINGS: Final[dict[str, type[AnyAnswering]]] = {
    **TASKS,
    **{one.name: one for one in (FillMask, NextSentence, FeatureExtraction)},
}


def task_class(name: str) -> type[AnyTask]:
    """Return the task of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TASKS:
        raise ConfigError(f"task is {name!r}, expected one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of(config: BertConfig, architecture: str) -> AnyTask:
    """Return the task that a model has learned: the one its config names, else the one that its head fits.

    Args:
        config: of the model.
        architecture: the name of its class.

    Raises:
        ConfigError: a head for no task.
    """
    stored = config.extra.get(TASK)
    name = stored.get("name") if isinstance(stored, dict) else None
    if name is not None:
        return task_class(str(name)).of_model(config)
    for task in TASKS.values():
        if task.model_class.__name__ == architecture:
            try:
                return task.of_model(config)
            except ConfigError:
                continue
    raise ConfigError(f"holds a {architecture}, which has learned none of the tasks {', '.join(TASKS)}")


__all__ = [
    "ANSWERINGS",
    "TASK",
    "TASKS",
    "Answer",
    "Answering",
    "AnyAnswering",
    "AnyTask",
    "Candidate",
    "Choice",
    "Classification",
    "ClassificationExample",
    "ClassificationMetrics",
    "Embedding",
    "EmbeddingExample",
    "Entity",
    "Estimate",
    "FeatureExample",
    "FeatureExtraction",
    "Fill",
    "FillMask",
    "FillMaskExample",
    "FilledMask",
    "FilledText",
    "Following",
    "MultiLabel",
    "MultiLabelClassification",
    "MultiLabelExample",
    "MultipleChoice",
    "MultipleChoiceExample",
    "MultipleChoiceMetrics",
    "NextSentence",
    "QuestionAnswering",
    "QuestionAnsweringExample",
    "QuestionAnsweringMetrics",
    "Reference",
    "Regression",
    "RegressionExample",
    "RetrievalMetrics",
    "SentenceEmbedding",
    "SimilarityMetrics",
    "TaggedSentence",
    "Task",
    "TextClassification",
    "TextVectors",
    "TokenClassification",
    "TokenClassificationExample",
    "TokenClassificationMetrics",
    "Verdict",
    "task_class",
    "task_of",
]
