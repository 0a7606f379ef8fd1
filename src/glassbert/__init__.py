"""glassbert: a complete BERT on PyTorch, as a glass box.

The public names are loaded when they are first used, so `import glassbert` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from glassbert.checkpoint import convert, from_torch_encoder, load, push_to_hub, to_torch_encoder
    from glassbert.data import EncodedTexts, PrepareSettings, Shards, encode_files, prepare, read_records
    from glassbert.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        GlassbertError,
        InputError,
        MissingExtraError,
        OutputExistsError,
        SaveError,
        TrainingError,
        VocabularyError,
    )
    from glassbert.infer import BatchAnswers, Engine, OnnxEngine, Pipeline, export, pipeline
    from glassbert.model import (
        BaseModelOutputWithPastAndCrossAttentions,
        BaseModelOutputWithPoolingAndCrossAttentions,
        BertConfig,
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertLMHeadModel,
        BertLMPredictionHead,
        BertModel,
        BertOnlyMLMHead,
        BertOnlyNSPHead,
        BertPredictionHeadTransform,
        BertPreTrainedModel,
        BertPreTrainingHeads,
        ModelOutput,
        PreTrainedModel,
        SentenceEncoder,
    )
    from glassbert.tasks import Classification, ClassificationMetrics
    from glassbert.text import (
        AddedToken,
        BasicTokenizer,
        BatchEncoding,
        BertTokenizer,
        BertTokenizerFast,
        WordpieceTokenizer,
        learn_vocabulary,
    )
    from glassbert.train import (
        TYPE_TO_SCHEDULER_FUNCTION,
        AdamW,
        FinetuneSettings,
        Lamb,
        PretrainSettings,
        SchedulerType,
        StopTraining,
        TrainingResult,
        TrainingSettings,
        TuningResult,
        TuningSettings,
        clip_gradients,
        finetune,
        freeze,
        get_constant_schedule,
        get_constant_schedule_with_warmup,
        get_cosine_schedule_with_warmup,
        get_cosine_with_hard_restarts_schedule_with_warmup,
        get_linear_schedule_with_warmup,
        get_polynomial_decay_schedule_with_warmup,
        get_scheduler,
        parameter_groups,
        pretrain,
        tune,
    )

# Public name → the room it lives in.
_ROOMS: Final = {
    **dict.fromkeys(["convert", "from_torch_encoder", "load", "push_to_hub", "to_torch_encoder"], "checkpoint"),
    **dict.fromkeys(["EncodedTexts", "PrepareSettings", "Shards", "encode_files", "prepare", "read_records"], "data"),
    **dict.fromkeys(
        [
            "CheckpointError",
            "ConfigError",
            "DataError",
            "GlassbertError",
            "InputError",
            "MissingExtraError",
            "OutputExistsError",
            "SaveError",
            "TrainingError",
            "VocabularyError",
        ],
        "errors",
    ),
    **dict.fromkeys(["BatchAnswers", "Engine", "OnnxEngine", "Pipeline", "export", "pipeline"], "infer"),
    **dict.fromkeys(
        [
            "BaseModelOutputWithPastAndCrossAttentions",
            "BaseModelOutputWithPoolingAndCrossAttentions",
            "BertConfig",
            "BertForMaskedLM",
            "BertForMultipleChoice",
            "BertForNextSentencePrediction",
            "BertForPreTraining",
            "BertForQuestionAnswering",
            "BertForSequenceClassification",
            "BertForTokenClassification",
            "BertLMHeadModel",
            "BertLMPredictionHead",
            "BertModel",
            "BertOnlyMLMHead",
            "BertOnlyNSPHead",
            "BertPreTrainedModel",
            "BertPreTrainingHeads",
            "BertPredictionHeadTransform",
            "ModelOutput",
            "PreTrainedModel",
            "SentenceEncoder",
        ],
        "model",
    ),
    **dict.fromkeys(["Classification", "ClassificationMetrics"], "tasks"),
    **dict.fromkeys(
        [
            "AddedToken",
            "BasicTokenizer",
            "BatchEncoding",
            "BertTokenizer",
            "BertTokenizerFast",
            "WordpieceTokenizer",
            "learn_vocabulary",
        ],
        "text",
    ),
    **dict.fromkeys(
        [
            "TYPE_TO_SCHEDULER_FUNCTION",
            "AdamW",
            "FinetuneSettings",
            "PretrainSettings",
            "Lamb",
            "SchedulerType",
            "StopTraining",
            "TrainingResult",
            "TrainingSettings",
            "TuningResult",
            "TuningSettings",
            "clip_gradients",
            "finetune",
            "freeze",
            "get_constant_schedule",
            "get_constant_schedule_with_warmup",
            "get_cosine_schedule_with_warmup",
            "get_cosine_with_hard_restarts_schedule_with_warmup",
            "get_linear_schedule_with_warmup",
            "get_polynomial_decay_schedule_with_warmup",
            "get_scheduler",
            "parameter_groups",
            "pretrain",
            "tune",
        ],
        "train",
    ),
}

__all__ = [
    "TYPE_TO_SCHEDULER_FUNCTION",
    "AdamW",
    "AddedToken",
    "BaseModelOutputWithPastAndCrossAttentions",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "BasicTokenizer",
    "BatchAnswers",
    "BatchEncoding",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertLMHeadModel",
    "BertLMPredictionHead",
    "BertModel",
    "BertOnlyMLMHead",
    "BertOnlyNSPHead",
    "BertPreTrainedModel",
    "BertPreTrainingHeads",
    "BertPredictionHeadTransform",
    "BertTokenizer",
    "BertTokenizerFast",
    "CheckpointError",
    "Classification",
    "ClassificationMetrics",
    "ConfigError",
    "DataError",
    "EncodedTexts",
    "Engine",
    "FinetuneSettings",
    "GlassbertError",
    "InputError",
    "Lamb",
    "MissingExtraError",
    "ModelOutput",
    "OnnxEngine",
    "OutputExistsError",
    "Pipeline",
    "PreTrainedModel",
    "PrepareSettings",
    "PretrainSettings",
    "SaveError",
    "SchedulerType",
    "SentenceEncoder",
    "Shards",
    "StopTraining",
    "TrainingError",
    "TrainingResult",
    "TrainingSettings",
    "TuningResult",
    "TuningSettings",
    "VocabularyError",
    "WordpieceTokenizer",
    "clip_gradients",
    "convert",
    "encode_files",
    "export",
    "finetune",
    "freeze",
    "from_torch_encoder",
    "get_constant_schedule",
    "get_constant_schedule_with_warmup",
    "get_cosine_schedule_with_warmup",
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    "get_linear_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup",
    "get_scheduler",
    "learn_vocabulary",
    "load",
    "parameter_groups",
    "pipeline",
    "prepare",
    "pretrain",
    "push_to_hub",
    "read_records",
    "to_torch_encoder",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room at first use, and the room `inspect` as a whole."""
    if name == "inspect":
        return importlib.import_module("glassbert.inspect")
    if name not in _ROOMS:
        raise AttributeError(f"module 'glassbert' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"glassbert.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
