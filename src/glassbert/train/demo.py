"""The demo: a small BERT of width 464 learns from nothing to tell five languages apart."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from glassbert.data import load_sentences
from glassbert.files import check_output
from glassbert.model import BertConfig, BertForSequenceClassification
from glassbert.settings import TrainingSettings
from glassbert.tasks import ClassificationExample, TextClassification
from glassbert.text import BasicTokenizer, BertTokenizer, learn_vocabulary
from glassbert.train.devices import Devices
from glassbert.train.events import Notice, OnEvent, TrainingResult, silent
from glassbert.train.examples import Part
from glassbert.train.finetuning import train_task
from glassbert.train.run import Run
from glassbert.train.spool import Spool

VOCABULARY_SIZE: Final = 6000
DEMO_TRAINING: Final = TrainingSettings(epochs=6, batch_size=16, learning_rate=3e-4, token_dropout=0.4, crop=32)


def demo_config(vocab_size: int) -> BertConfig:
    """Return the model of the demo: 2 layers of width 464 with 8 heads of 58, feed-forward 4 times as wide."""
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=464,
        num_hidden_layers=2,
        num_attention_heads=8,
        intermediate_size=4 * 464,
        max_position_embeddings=128,
    )


def run_demo(
    out: str | Path,
    *,
    training: TrainingSettings = DEMO_TRAINING,
    overwrite: bool = False,
    on_event: OnEvent = silent,
) -> TrainingResult:
    """Go from raw text to a saved classifier, on the embedded sentences.

    Learns a vocabulary from the training part, builds the model with fresh weights, trains it, evaluates it on the test
    part after every epoch (nothing is chosen by that) and saves a model folder. The same seed on the same machine gives
    the same weights to the bit.

    Args:
        out: folder of the result; must be new or empty unless `overwrite`.
        training: how to train.
        overwrite: replace what stands in `out`.
        on_event: called with every step, evaluation and notice.
    """
    path = check_output(out, overwrite=overwrite)
    train, test = (
        Spool(ClassificationExample(text=text, label=language) for text, language in sentences)
        for sentences in (load_sentences("train"), load_sentences("test"))
    )
    parts = {name: Part(name, None, examples, None) for name, examples in (("training", train), ("validation", test))}
    task = TextClassification().learn(train)
    # Lower case, since headlines shout in every language; accents stay, since they tell languages apart.
    basic = BasicTokenizer(do_lower_case=True, strip_accents=False)
    vocabulary = learn_vocabulary((example.text for example in train), size=VOCABULARY_SIZE, basic=basic)
    tokenizer = BertTokenizer(vocabulary, strip_accents=False, model_max_length=128)
    for part in parts.values():
        part.encode(task, tokenizer, 128)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = BertForSequenceClassification(task.configure(demo_config(len(vocabulary))))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        on_event(
            Notice(
                message=f"{len(train)} sentences to learn from, {len(test)} to test on; a vocabulary of "
                f"{len(vocabulary)} tokens; a BERT of {parameters / 1e6:.1f} million parameters"
            )
        )
        run = Run(training, Devices(torch.device("cpu")), on_event)
        return train_task(task, model, tokenizer, parts, training, out=path, overwrite=overwrite, run=run)
