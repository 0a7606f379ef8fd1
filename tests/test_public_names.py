from __future__ import annotations

import subprocess
import sys

import pytest

import glassbert

NAMES = [
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

TABLES = {"TYPE_TO_SCHEDULER_FUNCTION"}
ALIASES = {"PreTrainedModel": "BertPreTrainedModel"}


def test_the_public_names_are_these() -> None:
    assert glassbert.__all__ == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TABLES])
def test_every_name_is_there(name: str) -> None:
    value = getattr(glassbert, name)
    assert value.__name__ == ALIASES.get(name, name)
    assert value.__module__.startswith("glassbert.")
    assert value.__doc__
    assert getattr(glassbert, name) is value


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_is_there(name: str) -> None:
    value = getattr(glassbert, name)
    assert isinstance(value, dict)
    assert value
    assert getattr(glassbert, name) is value


def test_dir_lists_them() -> None:
    assert set(NAMES) <= set(dir(glassbert))
    assert "__version__" in dir(glassbert)


@pytest.mark.parametrize("name", ["BertForNothing", "bertmodel", "_Engine", ""])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'glassbert' has no attribute '{name}'"):
        getattr(glassbert, name)


def test_errors_have_one_base() -> None:
    errors = [getattr(glassbert, name) for name in NAMES if name.endswith("Error")]
    assert len(errors) == 10
    assert all(issubclass(error, glassbert.GlassbertError) for error in errors)


def test_everything_is_imported_by_a_star() -> None:
    code = "from glassbert import *; import glassbert; print(sorted(set(glassbert.__all__) - set(globals())))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_an_import_waits_for_nothing_heavy() -> None:
    code = (
        "import sys, glassbert; dir(glassbert); glassbert.__version__; glassbert.DataError;"
        "print(*({'torch', 'numpy', 'pyarrow', 'rich', 'typer', 'matplotlib', 'safetensors'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_the_tokenizer_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from glassbert import BertTokenizer, read_records;"
        "print(*({'torch', 'numpy', 'pyarrow'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
