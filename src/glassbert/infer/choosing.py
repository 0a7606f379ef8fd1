"""Which pipeline a task and a model make, and what a model can say at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, overload

from glassbert.checkpoint import load, load_tokenizer
from glassbert.errors import CheckpointError, ConfigError, InputError
from glassbert.infer.pipelines import Pipeline
from glassbert.infer.ranking import Ranker
from glassbert.infer.searching import Comparer, Searcher
from glassbert.model import BertPreTrainedModel
from glassbert.tasks import (
    ANSWERINGS,
    AnyAnswering,
    FillMask,
    MultiLabelClassification,
    NextSentence,
    SentenceEmbedding,
    Task,
    TextClassification,
    task_of,
)
from glassbert.text import BertTokenizer, BertTokenizerFast

# Other names that people know.
_ALIASES: Final = {"ner": "token-classification", "sentiment-analysis": "text-classification"}
# What a head of pretraining is for where nobody asks for more.
_UNTAUGHT: Final[tuple[type[AnyAnswering], ...]] = (FillMask, NextSentence)
# What is made of the answers to several texts, and of which answers.
_OF_VECTORS: Final[dict[str, type[Comparer]]] = {"similarity": Comparer, "search": Searcher}
_RANK: Final = "rank"


AnyModel = BertPreTrainedModel | str | Path


@overload
def pipeline(
    task: Literal["rank"], model: AnyModel | None = None, *, tokenizer: BertTokenizer | None = None, **options: Any
) -> Ranker: ...
@overload
def pipeline(
    task: Literal["search"], model: AnyModel | None = None, *, tokenizer: BertTokenizer | None = None, **options: Any
) -> Searcher: ...
@overload
def pipeline(
    task: Literal["similarity"],
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    **options: Any,
) -> Comparer: ...
@overload
def pipeline(
    task: str | None = None,
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    **options: Any,
) -> Pipeline: ...
def pipeline(
    task: str | None = None,
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    **options: Any,
) -> Pipeline | Ranker | Comparer:
    """Return a callable from text to typed results.

    Args:
        task: what to say, such as "text-classification" or "fill-mask" (`glassbert.tasks.ANSWERINGS` has all); "ner"
            and "sentiment-analysis" are known too. None takes what the model has learned. "rank" makes a `Ranker` of a
            cross-encoder; "similarity" and "search" make a `Comparer` and a `Searcher` of a sentence encoder.
        model: a model folder or the name of a repo on the hub, or a model (then `tokenizer` is needed).
        tokenizer: None loads it from the folder.
        options: those of the task's `answer_options`, for all calls that do not say otherwise; of "rank" the `label`
            that means that a document fits.

    Raises:
        InputError: no model, or one without a tokenizer.
        ConfigError: an unknown task or option.
        CheckpointError: no model folder, or a model whose head does not do this.
    """
    if model is None:
        raise InputError("no model is given: pipeline(task, model=FOLDER)")
    task = _ALIASES.get(task, task) if task is not None else None
    known = (*ANSWERINGS, *_ALIASES, _RANK, *_OF_VECTORS)
    if task is not None and task not in known:
        raise ConfigError(f"task is {task!r}, expected one of {', '.join(known)}")
    where = type(model).__name__ if isinstance(model, BertPreTrainedModel) else str(model)
    if isinstance(model, BertPreTrainedModel):
        if tokenizer is None:
            raise InputError("a model that is not a folder needs its tokenizer: pipeline(task, model, tokenizer=…)")
        loaded = model
    else:
        loaded = load(model)
    try:
        found = answering_of(loaded, SentenceEmbedding.name if task in _OF_VECTORS else None if task == _RANK else task)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None
    label = options.pop("label", None) if task == _RANK else None
    made = Pipeline(found.chosen(options), loaded, tokenizer or load_tokenizer(BertTokenizerFast, where))
    if task == _RANK:
        return Ranker(made, label=label)
    return _OF_VECTORS[task](made) if task in _OF_VECTORS else made


def answering_of(model: BertPreTrainedModel, name: str | None = None) -> AnyAnswering:
    """Return what a model can say, of the name that is asked for.

    A model of several labels, asked for text-classification, answers with several labels.

    Args:
        model: any.
        name: a key of `glassbert.tasks.ANSWERINGS`; None for what the model has learned.

    Raises:
        ConfigError: its head does not do this; the message says what it does.
    """
    learned: AnyAnswering | None = None
    fault = ""
    try:
        learned = task_of(model.config, type(model).__name__)
    except ConfigError as error:
        fault = str(error)
    if name is None:
        if learned is not None:
            return learned
        for untaught in _UNTAUGHT:
            if untaught.reads(model):
                return untaught.of_model(model.config)
        known = ", ".join(abilities(model))
        raise ConfigError(fault + (f"; it does {known}, if that is named" if known else "") + f"; {_remedy('TASK')}")
    wanted = ANSWERINGS[name]
    if isinstance(learned, wanted) or (wanted is TextClassification and isinstance(learned, MultiLabelClassification)):
        return learned
    if wanted.reads(model):
        try:
            return wanted.of_model(model.config)
        except ConfigError:
            pass  # the head has the form, but not the labels
    known = ", ".join(abilities(model)) or "nothing that a pipeline asks for"
    fault = f"a {type(model).__name__} does not do {name}; this one does {known}"
    raise ConfigError(f"{fault}; {_remedy(name)}" if issubclass(wanted, Task) else fault)


def abilities(model: BertPreTrainedModel) -> list[str]:
    """Return the names of all that a model can say."""
    found = []
    for name in ANSWERINGS:
        wanted = ANSWERINGS[name]
        if not wanted.reads(model):
            continue
        try:
            wanted.of_model(model.config)
        except ConfigError:
            continue
        found.append(name)
    return found


def _remedy(name: str) -> str:
    return f"train it first: glassbert train DATA --model FOLDER --task {name} --out OUT"
