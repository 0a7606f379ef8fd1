"""From text to typed results."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, overload

from glassbert.checkpoint import check_vocabulary, load, load_tokenizer
from glassbert.errors import CheckpointError, InputError
from glassbert.infer.engine import Engine
from glassbert.model import BertForSequenceClassification
from glassbert.tasks import ClassificationMetrics, Example
from glassbert.tasks.text_classification import Classification, Features, collate, decode, featurize, measure
from glassbert.text import BertTokenizer, BertTokenizerFast

PipelineTask = Literal["text-classification"]
PIPELINE_TASKS: Final[tuple[PipelineTask, ...]] = ("text-classification",)


class TextClassificationPipeline:
    """Gives each text its class, on the engine.

    Args:
        model: a classifier; its config names the classes.
        tokenizer: belongs to the model.

    Raises:
        ConfigError: the tokenizer has more tokens than the model has rows.
    """

    def __init__(self, model: BertForSequenceClassification, tokenizer: BertTokenizer) -> None:
        """Make the engine."""
        check_vocabulary(tokenizer, model.config)
        self.labels = tuple(model.config.id2label.values())
        self.tokenizer = tokenizer
        self.max_length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        self.engine = Engine(model)

    @overload
    def __call__(self, texts: str) -> Classification: ...
    @overload
    def __call__(self, texts: list[str] | tuple[str, ...]) -> list[Classification]: ...
    def __call__(self, texts: str | list[str] | tuple[str, ...]) -> Classification | list[Classification]:
        """Classify one text, or several in their order.

        Raises:
            DataError: a text is empty.
            InputError: something that is no text.
        """
        if not isinstance(texts, (str, list, tuple)):
            raise InputError(f"texts is of type {type(texts).__name__}, expected a string or a list of strings")
        if isinstance(texts, str):
            return self.classify([Example(text=texts)])[0]
        return self.classify([Example(text=text) for text in texts])

    def classify(self, examples: Sequence[Example]) -> list[Classification]:
        """Classify examples; errors name the file and line that an example came from."""
        for example in examples:
            if not isinstance(example.text, str):
                raise InputError(f"a text is of type {type(example.text).__name__}, expected str")
        return self._answers(list(featurize(examples, self.tokenizer, None, max_length=self.max_length)))

    def evaluate(self, examples: Sequence[Example]) -> tuple[ClassificationMetrics, list[Classification]]:
        """Classify labelled examples and compare.

        Returns:
            The metrics, and the answers in order.

        Raises:
            DataError: an empty text, or a label that the model does not know, with file and line.
            InputError: no examples.
        """
        features = list(featurize(examples, self.tokenizer, self.labels, max_length=self.max_length))
        answers = self._answers(features)
        gold = [self.labels[feature.label] for feature in features if feature.label is not None]
        return measure(gold, [answer.label for answer in answers], self.labels), answers

    def _answers(self, features: Sequence[Features]) -> list[Classification]:
        if not features:
            return []
        logits = self.engine.logits(features, functools.partial(collate, tokenizer=self.tokenizer))
        return decode(logits, self.labels, [feature.encoding.cut for feature in features])


def pipeline(
    task: PipelineTask,
    model: BertForSequenceClassification | str | Path,
    *,
    tokenizer: BertTokenizer | None = None,
) -> TextClassificationPipeline:
    """Return a callable from text to typed results.

    Args:
        task: "text-classification".
        model: a model folder, or a model (then `tokenizer` is needed).
        tokenizer: None loads it from the folder.

    Raises:
        InputError: an unknown task, or a model without a tokenizer.
        CheckpointError: no model folder, or a model for another task.
    """
    if task not in PIPELINE_TASKS:
        raise InputError(f"no pipeline is called {task!r}; there is {', '.join(PIPELINE_TASKS)}")
    if isinstance(model, (str, Path)):
        folder = model
        loaded = load(folder)
        if not isinstance(loaded, BertForSequenceClassification):
            raise CheckpointError(
                f"{folder}: holds a {type(loaded).__name__}, which classifies nothing; train it first: "
                f"glassbert train DATA --model {folder} --out OUT"
            )
        return TextClassificationPipeline(loaded, tokenizer or load_tokenizer(BertTokenizerFast, folder))
    if tokenizer is None:
        raise InputError("a model that is not a folder needs its tokenizer: pipeline(task, model, tokenizer=…)")
    return TextClassificationPipeline(model, tokenizer)
