"""A small run of masked words with and without the transform before the decoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glassbert.data import load_sentences
from glassbert.data.masking import Masking, mask
from glassbert.data.sampling import hashed
from glassbert.errors import ConfigError
from glassbert.inspect.running import OnStep, nothing
from glassbert.model import BertConfig, BertForMaskedLM
from glassbert.settings import LoopSettings
from glassbert.text import BertTokenizer, learn_vocabulary
from glassbert.train.events import Step
from glassbert.train.loop import fit

_VOCABULARY: Final = 3000
_LENGTH: Final = 48
_BATCH: Final = 32
# How often each held-out sentence is read, masked anew each time.
_READINGS: Final = 4


Row = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transforms:
    """Held-out losses in nats a masked word.

    Attributes:
        with_: of the models with the transform, one for each seed.
        without: of those without it, for the same seeds.
        unigram: of guessing each word by how often it is in the training text.
        parameters: numbers in the transform.
    """

    with_: tuple[float, ...]
    without: tuple[float, ...]
    unigram: float
    parameters: int


def compare_transforms(*, steps: int, seeds: int, on_step: OnStep = nothing) -> Transforms:
    """Train pairs of small masked language models on the embedded sentences, one of each pair without the transform.

    Args:
        steps: of each training.
        seeds: how many pairs.
        on_step: called after each step of a training.

    Raises:
        ConfigError: numbers below 1.
    """
    for name, value in (("steps", steps), ("seeds", seeds)):
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name} is {value!r}, expected a whole number from 1")
    texts = {part: [sentence.text for sentence in load_sentences(part)] for part in ("train", "test")}
    tokenizer = BertTokenizer(learn_vocabulary(texts["train"], size=_VOCABULARY), model_max_length=_LENGTH)
    rows = {
        part: [np.array(one.ids) for one in tokenizer.encodings(those, truncation=True)]
        for part, those in texts.items()
    }
    found: dict[bool, list[float]] = {True: [], False: []}
    parameters = 0
    with torch.random.fork_rng(devices=[]):
        for seed in range(seeds):
            for kept in (True, False):
                torch.manual_seed(seed)
                model = BertForMaskedLM(_config(tokenizer))
                transform = model.cls.predictions.transform
                parameters = sum(parameter.numel() for parameter in transform.parameters())
                if not kept:
                    model.cls.predictions.transform = nn.Identity()  # type: ignore[assignment]
                masking = _masking(tokenizer)
                begun = steps * (2 * seed + (not kept))

                def tell(step: Step, begun: int = begun) -> None:
                    on_step("training small models", begun + step.step, 2 * seeds * steps)

                _train(model, rows["train"], masking, steps=steps, seed=seed, on_step=tell)
                found[kept].append(_loss(model, rows["test"], masking))
    return Transforms(
        with_=tuple(found[True]),
        without=tuple(found[False]),
        unigram=_unigram(rows["train"], rows["test"], _masking(tokenizer)),
        parameters=parameters,
    )


def _config(tokenizer: BertTokenizer) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=_LENGTH,
        pad_token_id=tokenizer.pad_token_id,
    )


def _masking(tokenizer: BertTokenizer) -> Masking:
    special = np.zeros(len(tokenizer), dtype=np.bool_)
    special[tokenizer.all_special_ids] = True
    return Masking(share=0.15, most=None, special=special, mask_id=tokenizer.mask_token_id)


def _batch(rows: Sequence[Row], masking: Masking, chance: Sequence[int]) -> dict[str, Tensor]:
    """Mask sentences and pad them: ids, mask and labels, each (B, S)."""
    lengths = np.array([len(row) for row in rows])
    masked = mask(np.concatenate(rows), lengths, hashed(np.array(chance)), masking)
    cut = np.cumsum(lengths)[:-1]
    ids, labels = ([torch.from_numpy(one) for one in np.split(values, cut)] for values in (masked.ids, masked.labels))
    pad = nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(ids, batch_first=True),
        "attention_mask": pad([torch.ones_like(one) for one in ids], batch_first=True),
        "labels": pad(labels, batch_first=True, padding_value=-100),
    }


def _train(
    model: BertForMaskedLM,
    rows: Sequence[Row],
    masking: Masking,
    *,
    steps: int,
    seed: int,
    on_step: Callable[[Step], None],
) -> None:
    model.train()
    # Each step draws masks of its own, the same for both models of a pair.
    drawn = iter(range(seed << 40, (seed << 40) + (1 << 40)))

    def collate(some: Sequence[Row]) -> dict[str, Tensor]:
        return _batch(some, masking, [next(drawn) for _ in some])

    settings = LoopSettings(
        steps=steps, batch_size=_BATCH, learning_rate=1e-3, seed=seed, token_budget=_BATCH * _LENGTH
    )
    fit(model, rows, collate, settings, on_step=on_step)


@torch.no_grad()
def _loss(model: BertForMaskedLM, rows: Sequence[Row], masking: Masking) -> float:
    """Return the mean loss of held-out masked words, in nats; the masks are the same for every model."""
    model.eval()
    total, words = 0.0, 0
    for reading in range(_READINGS):
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            batch = _batch(some, masking, [1 << 62 | reading << 32 | start + place for place in range(len(some))])
            count = int((batch["labels"] != -100).sum())
            total += float(model(**batch).loss) * count
            words += count
    return total / words


def _unigram(training: Sequence[Row], held_out: Sequence[Row], masking: Masking) -> float:
    """Return the loss of guessing by the words' frequencies in the training text, each counted once more."""
    counts = np.bincount(np.concatenate(training), minlength=len(masking.special)).astype(float) + 1.0
    counts[masking.special] = 0.0
    words = np.concatenate(held_out)
    words = words[~masking.special[words]]
    return float(-np.log(counts[words] / counts.sum()).mean())
