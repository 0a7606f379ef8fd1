"""Which pipeline a task and a model make, and what a model can say at all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, overload

from glassbert.checkpoint import load, load_tokenizer
from glassbert.errors import CheckpointError, ConfigError, InputError
from glassbert.infer.engine import Engine
from glassbert.infer.onnx_engine import OnnxEngine
from glassbert.infer.pipelines import Pipeline
from glassbert.infer.ranking import Ranker
from glassbert.infer.runner import Runner
from glassbert.infer.searching import Comparer, Searcher
from glassbert.model import BertConfig, BertModel, BertPreTrainedModel
from glassbert.tasks import (
    ANSWERINGS,
    AnyAnswering,
    FeatureExtraction,
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
# What takes several texts at once, and not one input after the other.
OF_SEVERAL: Final = (_RANK, *_OF_VECTORS)
# What computes.
ENGINES: Final[dict[str, Callable[[BertPreTrainedModel], Runner]]] = {
    "float32": Engine,
    "bfloat16": functools.partial(Engine, dtype="bfloat16"),
    "int8": functools.partial(Engine, dtype="int8"),
}
# It has no model in torch, but a folder that was exported.
ONNX: Final = "onnx"


AnyModel = BertPreTrainedModel | str | Path


@overload
def pipeline(
    task: Literal["rank"],
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    engine: str = "float32",
    **options: Any,
) -> Ranker: ...
@overload
def pipeline(
    task: Literal["search"],
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    engine: str = "float32",
    **options: Any,
) -> Searcher: ...
@overload
def pipeline(
    task: Literal["similarity"],
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    engine: str = "float32",
    **options: Any,
) -> Comparer: ...
@overload
def pipeline(
    task: str | None = None,
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    engine: str = "float32",
    **options: Any,
) -> Pipeline: ...
def pipeline(
    task: str | None = None,
    model: AnyModel | None = None,
    *,
    tokenizer: BertTokenizer | None = None,
    engine: str = "float32",
    **options: Any,
) -> Pipeline | Ranker | Comparer:
    """Return a callable from text to typed results.

    Args:
        task: what to say, such as "text-classification" or "fill-mask" (`glassbert.tasks.ANSWERINGS` has all); "ner"
            and "sentiment-analysis" are known too. None takes what the model has learned. "rank" makes a `Ranker` of a
            cross-encoder; "similarity" and "search" make a `Comparer` and a `Searcher` of a sentence encoder.
        model: a model folder or the name of a repo on the hub, or a model (then `tokenizer` is needed).
        tokenizer: None loads it from the folder.
        engine: what computes: "float32"; "bfloat16" or "int8", which round: faster, smaller, and not quite the same
            answers (see `Engine`); or "onnx", by onnxruntime, where `model` is a folder that `glassbert export` wrote.
        options: those of the task's `answer_options`, for all calls that do not say otherwise; of "rank" the `label`
            that means that a document fits.

    Raises:
        InputError: no model, or one without a tokenizer, or one that the engine cannot run.
        ConfigError: an unknown task, engine or option.
        CheckpointError: no model folder, or a model whose head does not do this.
    """
    if model is None:
        raise InputError("no model is given: pipeline(task, model=FOLDER)")
    task = _ALIASES.get(task, task) if task is not None else None
    known = (*ANSWERINGS, *_ALIASES, *OF_SEVERAL)
    if task is not None and task not in known:
        raise ConfigError(f"task is {task!r}, expected one of {', '.join(known)}")
    if engine not in (*ENGINES, ONNX):
        raise ConfigError(f"engine is {engine!r}, expected one of {', '.join((*ENGINES, ONNX))}")
    where = type(model).__name__ if isinstance(model, BertPreTrainedModel) else str(model)
    if isinstance(model, BertPreTrainedModel) and tokenizer is None:
        raise InputError("a model that is not a folder needs its tokenizer: pipeline(task, model, tokenizer=…)")
    source = _opened(model) if engine == ONNX else model if isinstance(model, BertPreTrainedModel) else load(model)
    kind = source.kind if isinstance(source, OnnxEngine) else type(source)
    name = SentenceEmbedding.name if task in _OF_VECTORS else None if task == _RANK else task
    try:
        found = answering_of(kind, source.config, name)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None
    label = options.pop("label", None) if task == _RANK else None
    found = found.chosen(options)
    tokenizer = load_tokenizer(BertTokenizerFast, where) if tokenizer is None else tokenizer
    made = Pipeline(found, _runner(found, source, engine), tokenizer)
    if task == _RANK:
        return Ranker(made, label=label)
    return _OF_VECTORS[task](made) if task in _OF_VECTORS else made


def _opened(model: AnyModel) -> OnnxEngine:
    """Open an exported folder.

    Raises:
        InputError: a model, which is no folder.
    """
    if isinstance(model, BertPreTrainedModel):
        raise InputError(f"the engine onnx reads a folder, not a {type(model).__name__}: glassbert.export(model, OUT)")
    return OnnxEngine(model)


def _runner(answering: AnyAnswering, source: BertPreTrainedModel | OnnxEngine, engine: str) -> Runner:
    """Make ready what reads as much of a model as is asked for: all of it, or its body."""
    whole = not isinstance(answering, FeatureExtraction)
    if isinstance(source, OnnxEngine):
        return source if whole else source.of_tokens()
    body = getattr(source, source.base_model_prefix, None)
    return ENGINES[engine](source if whole or not isinstance(body, BertModel) else body)


def answering_of(kind: type[BertPreTrainedModel], config: BertConfig, name: str | None = None) -> AnyAnswering:
    """Return what a model can say, of the name that is asked for.

    A model of several labels, asked for text-classification, answers with several labels.

    Args:
        kind: the model's class.
        config: the model's.
        name: a key of `glassbert.tasks.ANSWERINGS`; None for what the model has learned.

    Raises:
        ConfigError: its head does not do this; the message says what it does.
    """
    learned: AnyAnswering | None = None
    fault = ""
    try:
        learned = task_of(config, kind.__name__)
    except ConfigError as error:
        fault = str(error)
    if name is None:
        if learned is not None:
            return learned
        for untaught in _UNTAUGHT:
            if untaught.reads(kind):
                return untaught.of_model(config)
        known = ", ".join(_abilities(kind, config))
        raise ConfigError(fault + (f"; it does {known}, if that is named" if known else "") + f"; {_remedy('TASK')}")
    wanted = ANSWERINGS[name]
    if isinstance(learned, wanted) or (wanted is TextClassification and isinstance(learned, MultiLabelClassification)):
        return learned
    if wanted.reads(kind):
        try:
            return wanted.of_model(config)
        except ConfigError:
            pass  # the head has the form, but not the labels
    known = ", ".join(_abilities(kind, config)) or "nothing that a pipeline asks for"
    fault = f"a {kind.__name__} does not do {name}; this one does {known}"
    raise ConfigError(f"{fault}; {_remedy(name)}" if issubclass(wanted, Task) else fault)


def abilities(model: BertPreTrainedModel) -> list[str]:
    """Return the names of all that a model can say."""
    return _abilities(type(model), model.config)


def _abilities(kind: type[BertPreTrainedModel], config: BertConfig) -> list[str]:
    found = []
    for name, wanted in ANSWERINGS.items():
        try:
            if wanted.reads(kind):
                wanted.of_model(config)
                found.append(name)
        except ConfigError:
            continue
    return found


def _remedy(name: str) -> str:
    return f"train it first: glassbert train DATA --model FOLDER --task {name} --out OUT"
