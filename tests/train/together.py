"""All that trains, alone or in several processes: `python -m tests.train.together FOLDER`, or that by `torchrun`.

Writes FOLDER/alone or FOLDER/several, with a result for each task and each kind of shards, `parts.json` of a loss
that has several parts, and `said-0.json` of what was told, by each process in a file of its own.
Without dropout they are the same but for the last digits.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from glassbert import FinetuneSettings, GlassbertError, finetune
from glassbert.files import write_json
from glassbert.settings import PretrainSettings
from glassbert.train import Event, Notice, TrainingSettings, fit, pretrain
from glassbert.train.devices import joined
from tests.train import test_losses_of_parts as parts
from tests.train.runs import TEXTS, make, make_shards
from tests.train.test_loop import NO_DROPOUT, features, fresh

# 41 examples: the last step of an epoch has 1, and so nothing for the other process.
SETTINGS = {"epochs": 2, "batch_size": 4, "accumulation": 2, "learning_rate": 5e-3, "token_budget": 25}


def question(text: str, place: int) -> dict[str, Any]:
    words = text.split()
    answer = words[place % len(words)]
    return {"question": "good", "context": text, "answers": [{"text": answer, "answer_start": text.index(answer)}]}


ROWS: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "text-classification": lambda text, place: {"text": text, "label": "ab"[place % 2]},
    "multi-label-classification": lambda text, _: {
        "text": text,
        "labels": [*{word[0] for word in text.split()} & {*"dgf"}],
    },
    "regression": lambda text, place: {"text": text, "score": float(len(text) % 7)},
    "token-classification": lambda text, _: {
        "tokens": text.split(),
        "tags": ["B-X" if "o" in word else "O" for word in text.split()],
    },
    "question-answering": question,
    "multiple-choice": lambda text, place: {
        "question": text,
        "choices": [TEXTS[place], TEXTS[-place - 1]],
        "label": place % 2,
    },
    "sentence-embedding": lambda text, place: {"text": text, "pair": TEXTS[(place + 7) % len(TEXTS)]},
}


SHARDS: dict[str, dict[str, Any]] = {"nsp": {}, "mlm": {"objective": "mlm"}}


def write(folder: Path) -> None:
    """Write a model without dropout, and the data of all tasks."""
    make(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for task, row in ROWS.items():
        rows = [json.dumps(row(text, place)) + "\n" for place, text in enumerate(TEXTS)]
        (folder / f"{task}.jsonl").write_text("".join(rows), encoding="utf-8")
    for name, changes in SHARDS.items():
        make_shards(folder, name, **changes)


def fit_parts(file: Path) -> None:
    """Train with a loss of several parts; the last step of an epoch has one example, as above."""
    settings = TrainingSettings(epochs=2, batch_size=5, learning_rate=5e-3, token_budget=25)
    data, model = features(21), fresh(**NO_DROPOUT)
    with joined("cpu") as devices:
        history = fit(model, data, parts.to_batch, settings, weight=parts.weight, loss=parts.loss, devices=devices)
        if devices.first:
            write_json(file, [{"loss": step.loss, **step.figures} for step in history])


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    place = folder / ("several" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "alone")
    said: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Notice):
            said.append(event.message)

    for task in ROWS:
        data = folder / f"{task}.jsonl"
        # Pairs alone do not say how similar they are.
        pairs = {"text_column": "text", "pair_column": "pair"}
        judged: dict[str, Any] = pairs if task == "sentence-embedding" else {"validation": data, "keep": "best"}
        options = {"doc_stride": 2} if task == "question-answering" else {}
        given = {"train": data, "model": folder / "base", "out": place / task, "task": task, "options": options}
        finetune(FinetuneSettings(**{**SETTINGS, **given, **judged}), on_event=on_event)
    fit_parts(place / "parts.json")
    for name in SHARDS:
        # 7 sequences of a step: one process has 4 of them.
        sizes: dict[str, Any] = {
            "steps": 6,
            "batch_size": 7,
            "learning_rate": 5e-3,
            "token_budget": 40,
            "evaluate_every": 3,
        }
        files: dict[str, Any] = {"shards": folder / name, "model": folder / "base", "out": place / name}
        pretrain(PretrainSettings(**files, **sizes, keep="best"), on_event=on_event)
    try:
        finetune(FinetuneSettings(train=folder / "none.jsonl", model=folder / "base", out=place / "none"))
    except GlassbertError as error:
        said.append(f"refused: {error}")
    write_json(place / f"said-{os.environ.get('RANK', '0')}.json", said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
