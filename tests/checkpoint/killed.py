"""Saves that are killed: `python -m tests.checkpoint.killed FOLDER ROUNDS SEED`; prints what was found after each kill.

A child saves two models in turn over one folder, and is killed at a random moment. What stands there then is one of the
two, whole.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

import glassbert
from glassbert import BertConfig, BertModel


def save_for_ever(folder: Path, models: list[BertModel]) -> None:
    number = 0
    while True:
        models[number % 2].save_pretrained(folder, overwrite=True, safe_serialization=number % 4 < 2)
        number += 1


def main(root: Path, rounds: int, seed: int) -> None:
    torch.set_num_threads(1)
    random.seed(seed)
    models = []
    for layers in (1, 2):
        torch.manual_seed(layers)
        models.append(
            BertModel(
                BertConfig(vocab_size=2000, hidden_size=64, num_attention_heads=4, num_hidden_layers=layers)
            ).eval()
        )
    folder = root / "model"
    models[0].save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    for _ in range(rounds):
        child = os.fork()
        if not child:
            save_for_ever(folder, models)
        time.sleep(random.uniform(0.0, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = glassbert.load(folder)
        expected = models[found.config.num_hidden_layers - 1].state_dict()
        state = found.state_dict()
        whole = state.keys() == expected.keys() and all(torch.equal(state[key], expected[key]) for key in state)
        names = sorted(entry.name for entry in folder.iterdir())
        print(found.config.num_hidden_layers, "whole" if whole else "broken", *names, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
