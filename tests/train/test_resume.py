"""A run that was cut off and gone on with ends as the undisturbed one, to the bit; what differs is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from glassbert import (
    BertConfig,
    BertModel,
    BertTokenizer,
    FinetuneSettings,
    finetune,
    learn_vocabulary,
)
from glassbert.files import read_json
from glassbert.train import Event, Notice, Step

WORDS = [
    "day",
    "night",
    "good",
    "bad",
    "film",
    "food",
    "people",
    "happy",
    "sad",
    "warm",
    "cold",
    "rain",
    "sun",
    "tree",
    "house",
    "river",
]
TEXTS = [" ".join(WORDS[(place * step) % len(WORDS)] for step in range(1, 3 + place % 7)) for place in range(1, 42)]


class Cut(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    vocabulary = learn_vocabulary(TEXTS, size=120, min_frequency=1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(tmp_path / "base")
    BertTokenizer(vocabulary, model_max_length=16).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def settings(base: Path, out: str, **changes: Any) -> FinetuneSettings:
    data = base.parent / "train.jsonl"
    if not data.exists():
        rows = [{"text": text, "label": "ab"[place % 2]} for place, text in enumerate(TEXTS)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "train": data,
        "validation": data,
        "model": base,
        "out": base.parent / out,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "token_dropout": 0.1,
    }
    return FinetuneSettings(**{**values, **changes})


def cut_after(step: int) -> Any:
    def on_event(event: Event) -> None:
        if isinstance(event, Step) and event.step == step:
            raise Cut

    return on_event


def outcome(folder: Path) -> dict[str, Any]:
    """Return all that a run makes but for times."""
    record = read_json(folder / "training.json")
    names = ("losses", "learning_rates", "grad_norms", "evaluations", "saved", "tokens", "hardest")
    weights = load_file(folder / "model.safetensors")
    return {
        **{name: record[name] for name in names},
        "config": read_json(folder / "config.json"),
        "weights": {name: tensor.numpy().tobytes() for name, tensor in weights.items()},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"keep": "best", "evaluate_every": 4},
        {"validation": None, "optimizer": "transformers", "schedule": "cosine"},
        {"accumulation": 2, "token_budget": 30, "crop": 5, "layer_decay": 0.9, "optimizer": "google"},
        {"freeze_embeddings": True, "gradient_checkpointing": True, "precision": "bf16"},
        {"patience": 2, "evaluate_every": 2, "epochs": 9, "task": "multi-label-classification"},
    ],
)
@pytest.mark.parametrize("cut", [5, 6, 11])
def test_a_run_that_was_cut_off_ends_as_the_undisturbed_one(base: Path, changes: dict[str, Any], cut: int) -> None:
    whole = finetune(settings(base, "whole", **changes))
    if cut >= len(whole.history):
        pytest.skip("the run is shorter")
    with pytest.raises(Cut):
        finetune(settings(base, "cut", save_every=2, **changes), on_event=cut_after(cut))
    assert not (base.parent / "cut").exists()
    notices: list[str] = []
    steps: list[int] = []

    def on_event(event: Event) -> None:
        notices.extend([event.message] if isinstance(event, Notice) else [])
        steps.extend([event.step] if isinstance(event, Step) else [])

    torch.manual_seed(99)
    result = finetune(settings(base, "cut", save_every=2, resume=True, **changes), on_event=on_event)
    last = cut - 1 - (cut - 1) % 2  # the step at which the run was cut off has no checkpoint any more
    assert (
        any(f"step-{last:08d}: {last} of {len(whole.history)}" in message for message in notices)
        or "patience" in changes
    )
    assert steps[0] == last + 1
    assert len(result.history) == len(whole.history)
    assert outcome(base.parent / "cut") == outcome(base.parent / "whole")
    assert not (base.parent / "cut-checkpoints").exists()
