"""Our pipelines answer as those of transformers do: small models with random weights, which both load."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from glassbert import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertPreTrainedModel,
    BertTokenizer,
    learn_vocabulary,
)
from glassbert.tasks.pieces import Grouping

pytest.importorskip("transformers", reason="the peer is not installed")

from tests.infer import parity
from tests.infer.parity import Compared

TEXTS = (
    "Ada Lovelace met Charles Babbage in London on 5 June 1833, at a party of Mary Somerville's.",
    "The well-known e-mail from U.N. headquarters (New York) cost $3.50; nobody paid it!",
    "Im Jahr 1890 zog die Familie nach Zürich um; später wohnte sie in Genève und São Paulo.",
    "阿达在伦敦遇见了巴贝奇，他在剑桥教书。",
    "Don't ask: rain, rain and more rain... the ferry to Kirkwall was three-and-a-half hours late 😀 again",
    "a",
    "  The   harbour\tof Valparaíso\n\nlay in fog \u200b until noon ,said the captain's log. ",
)
LONG = " ".join(TEXTS)
QUESTIONS = (
    ("Where did they meet?", TEXTS[0]),
    ("Who paid?", TEXTS[1]),
    ("Wohin zog sie?", TEXTS[2]),
    ("他在哪里教书", TEXTS[3]),
    ("Which ferry was late, and by how much?", LONG),
    ("When did the fog lift?", LONG),
)
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
TOKENIZER = BertTokenizer(learn_vocabulary(TEXTS, size=150, min_frequency=1), model_max_length=512)


def folder_of(model_class: type[BertPreTrainedModel], place: Path, *, positions: int = 512, **settings: Any) -> Path:
    """Write a model with large random weights, whose answers differ from text to text."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.3,
        **settings,
    )
    model = model_class(config).eval()
    if isinstance(model, BertForSequenceClassification | BertForTokenClassification):
        with torch.no_grad():  # else one class would have the highest score everywhere
            logits = model(**TOKENIZER(LONG, return_tensors="pt")).logits
            model.classifier.bias.sub_(logits.flatten(0, -2).mean(dim=0))
    model.save_pretrained(place)
    BertTokenizer(TOKENIZER.vocab, model_max_length=positions).save_pretrained(place)
    return place


def agrees(found: Compared, texts: int) -> bool:
    return found.same == found.texts == texts and found.things > 0 and found.difference <= 1e-5


def test_classes(tmp_path: Path) -> None:
    names = {0: "dry", 1: "wet", 2: "either"}
    folder = folder_of(BertForSequenceClassification, tmp_path, id2label=names)
    assert agrees(parity.text_classification(folder, TEXTS), len(TEXTS))
    assert agrees(parity.text_classification(folder, QUESTIONS), len(QUESTIONS))


def test_labels(tmp_path: Path) -> None:
    folder = folder_of(
        BertForSequenceClassification,
        tmp_path,
        id2label={0: "place", 1: "person", 2: "sum"},
        problem_type="multi_label_classification",
    )
    assert agrees(parity.multi_label(folder, TEXTS), len(TEXTS))


def test_numbers(tmp_path: Path) -> None:
    folder = folder_of(BertForSequenceClassification, tmp_path, num_labels=1, problem_type="regression")
    assert agrees(parity.regression(folder, TEXTS), len(TEXTS))


@pytest.mark.parametrize("grouping", get_args(Grouping))
def test_entities(grouping: str, tmp_path: Path) -> None:
    folder = folder_of(BertForTokenClassification, tmp_path, id2label=TAGS)
    found = parity.token_classification(folder, (*TEXTS, LONG), grouping)
    assert agrees(found, len(TEXTS) + 1)
    assert found.things > 40


def test_groupings_differ_on_these_texts(tmp_path: Path) -> None:
    """Else the test above would show little."""
    folder = folder_of(BertForTokenClassification, tmp_path, id2label=TAGS)
    found = {
        grouping: [(one.type, one.start, one.end) for one in parity.ours(folder, grouping=grouping)(LONG).entities]
        for grouping in get_args(Grouping)
    }
    assert len(set(map(str, found.values()))) == len(found)


@pytest.mark.parametrize("may_be_none", [False, True])
@pytest.mark.parametrize("positions", [512, 64])
def test_answers_of_questions(positions: int, may_be_none: bool, tmp_path: Path) -> None:
    """Also where a context takes several windows."""
    folder = folder_of(BertForQuestionAnswering, tmp_path, positions=positions)
    assert agrees(parity.question_answering(folder, QUESTIONS, may_be_none=may_be_none), len(QUESTIONS))
