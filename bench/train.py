"""Fine-tuning: optimizer steps on sentences with labels."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from bench.common import SHARED, forward_flops, gemm_rate, minilm_folder, race, report, rows
from glassbert import BertConfig, BertForSequenceClassification, BertTokenizer
from glassbert.data import load_sentences, read_records
from glassbert.tasks import ClassificationExample, TextClassification
from glassbert.tasks.texts import TextFeatures
from glassbert.train.gradients import EmbeddingGradients
from glassbert.train.loop import backward, order_of
from glassbert.train.optimizer import clip_gradients, make_optimizer

BATCH = 32


def examples() -> tuple[str, list[ClassificationExample]]:
    """Return labelled sentences and where they come from."""
    file = SHARED / "sst2" / "train.tsv"
    if file.is_file():
        records = read_records(file, header=False)
        return "SST-2", [ClassificationExample(text=record.get("0"), label=record.get("1")) for record in records]
    found = [ClassificationExample(text=text, label=language) for text, language in load_sentences("train")]
    return "the embedded sentences", found


def run(*, steps: int, rounds: int, file: Path | None) -> None:
    """Measure whole optimizer steps (forward, backward, clipping, AdamW), ours and the peer's in turn."""
    import transformers

    folder = minilm_folder()
    tokenizer = BertTokenizer.from_pretrained(folder)
    source, found = examples()
    task = TextClassification().learn(found)
    features = list(task.features(found, tokenizer, max_length=512))
    torch.manual_seed(0)
    config = task.configure(BertConfig.from_pretrained(folder))
    ours = BertForSequenceClassification.from_pretrained(folder, config=config).train()
    peer = transformers.BertForSequenceClassification.from_pretrained(folder, num_labels=len(task.labels)).train()
    peer.load_state_dict(ours.state_dict())
    to_batch = functools.partial(task.collate, tokenizer=tokenizer)
    order = order_of(len(features), seed=0, epoch=0)
    chunks = [order[begin : begin + BATCH] for begin in range(0, len(order) - BATCH, BATCH)]
    batches = [[features[place] for place in chunk] for chunk in chunks][: steps * (rounds + 1)]
    our_optimizer = make_optimizer(ours, learning_rate=2e-5, weight_decay=0.01)
    their_optimizer = torch.optim.AdamW(peer.parameters(), lr=2e-5, weight_decay=0.01, fused=True)
    gradients = EmbeddingGradients(ours)
    our_batches, their_batches = _in_turns(batches, steps), _in_turns(batches, steps)

    def our_steps() -> None:
        for batch in next(our_batches):
            with gradients.collected():
                backward(ours, batch, to_batch, 8192)
            clip_gradients(ours, 1.0, rows=gradients.rows())
            our_optimizer.step()
            our_optimizer.zero_grad(set_to_none=True)

    def their_steps() -> None:
        for batch in next(their_batches):
            peer(**to_batch(batch)).loss.backward()
            torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0, foreach=True)
            their_optimizer.step()
            their_optimizer.zero_grad(set_to_none=True)

    difference = _first_loss_difference(ours, peer, to_batch(batches[0]))
    seconds = race(
        {
            "glassbert": our_steps,
            f"transformers {transformers.__version__}, padded to the longest of a batch": their_steps,
        },
        rounds=rounds,
    )
    lengths = [len(feature) for batch in batches[steps:] for feature in batch]
    rate = gemm_rate(config)
    results = rows(seconds, 3 * forward_flops(config, lengths) / rounds, rate)
    report(
        f"all-MiniLM-L6-v2 as a classifier, {steps} optimizer steps of {BATCH} sentences, fp32, dropout 0.1",
        results,
        {
            "texts": source,
            "mean tokens": round(sum(lengths) / len(lengths), 1),
            "examples/s": ", ".join(f"{steps * BATCH / row.median:.1f}" for row in results),
            "GEMM rate": f"{rate / 1e9:.0f} GFLOP/s",
            "difference of the loss without dropout": f"{difference:.1e}",
        },
        file,
    )


def _in_turns(batches: Sequence[list[TextFeatures]], steps: int) -> Iterator[Sequence[list[TextFeatures]]]:
    for begin in range(0, len(batches), steps):
        yield batches[begin : begin + steps]


def _first_loss_difference(
    ours: BertForSequenceClassification, peer: torch.nn.Module, batch: dict[str, torch.Tensor]
) -> float:
    with torch.no_grad():
        losses = [float(model.eval()(**batch).loss) for model in (ours, peer)]
    ours.train()
    peer.train()
    return abs(losses[0] - losses[1])
