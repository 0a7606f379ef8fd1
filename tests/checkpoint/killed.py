"""Saves that are killed: `python -m tests.checkpoint.killed FOLDER ROUNDS SEED`; prints what was found after each kill.

A child saves two models in turn over one folder, and is killed at a random moment of one of its first saves. What
stands there then is one of the two, whole. The moment is a share of what the saves before took, so that it is in the
midst of a save on a busy machine too.
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


def save_for_ever(folder: Path, models: list[BertModel], told: int) -> None:
    """Save on and on; `told`, the end of a pipe, gets a byte after each."""
    number = 0
    while True:
        models[number % 2].save_pretrained(folder, overwrite=True, safe_serialization=number % 4 < 2)
        os.write(told, b".")
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
        heard, told = os.pipe()
        child = os.fork()
        if not child:
            save_for_ever(folder, models, told)
        os.close(told)
        begun, saves = time.monotonic(), random.randint(1, 4)
        for _ in range(saves):
            assert os.read(heard, 1), "the child has failed"
        time.sleep(random.uniform(0.0, 1.0) * (time.monotonic() - begun) / saves)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(heard)
        midst = any(root.glob(".model.*.part"))
        found = glassbert.load(folder)
        expected = models[found.config.num_hidden_layers - 1].state_dict()
        state = found.state_dict()
        whole = state.keys() == expected.keys() and all(torch.equal(state[key], expected[key]) for key in state)
        names = sorted(entry.name for entry in folder.iterdir())
        state_now = "whole" if whole else "broken"
        print(found.config.num_hidden_layers, state_now, "midst" if midst else "between", *names, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
