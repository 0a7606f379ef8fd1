"""Encoding: texts of mixed length to the vectors of all their tokens."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.common import forward_flops, gemm_rate, minilm_folder, mixed_texts, race, report, rows
from glassbert import BertModel, BertTokenizer, Engine

BATCH = 32


def batches(sequences: list[list[int]], order: list[int]) -> list[dict[str, Tensor]]:
    """Pad batches of 32 as a user of the peer would, outside of the timing."""
    made = []
    for begin in range(0, len(order), BATCH):
        chosen = [torch.tensor(sequences[place]) for place in order[begin : begin + BATCH]]
        ids = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        lengths = torch.tensor([len(row) for row in chosen])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        made.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)})
    return made


def run(*, texts: int, rounds: int, file: Path | None) -> None:
    """Measure glassbert's engine beside transformers on the same ids, in one process, interleaved."""
    import transformers

    folder = minilm_folder()
    tokenizer = BertTokenizer.from_pretrained(folder)
    source, sentences = mixed_texts(texts)
    sequences = [tokenizer.encode(text, truncation=True) for text in sentences]
    lengths = [len(ids) for ids in sequences]
    model = BertModel.from_pretrained(folder)
    engine = Engine(model)
    peer = transformers.BertModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    arrival = list(range(len(sequences)))
    by_length = sorted(arrival, key=lambda place: lengths[place])
    in_arrival, in_length = batches(sequences, arrival), batches(sequences, by_length)

    def theirs(given: list[dict[str, Tensor]]) -> list[Tensor]:
        with torch.inference_mode():
            return [peer(**batch).last_hidden_state for batch in given]

    difference = _largest_difference(engine.hidden_states(sequences), theirs(in_arrival))
    version = transformers.__version__
    rate = gemm_rate(model.config)
    seconds = race(
        {
            "glassbert engine, default settings": lambda: engine.hidden_states(sequences),
            f"transformers {version}, arrival order": lambda: theirs(in_arrival),
            f"transformers {version}, sorted by length": lambda: theirs(in_length),
        },
        rounds=rounds,
    )
    rate = max(rate, gemm_rate(model.config))
    report(
        f"all-MiniLM-L6-v2, {texts} texts to token vectors, fp32",
        rows(seconds, forward_flops(model.config, lengths), rate),
        {
            "texts": source,
            "peer": f"sdpa, batches of {BATCH}, padded to the longest",
            "mean tokens": round(sum(lengths) / len(lengths), 1),
            "longest": max(lengths),
            "padding in arrival order": f"{1 - sum(lengths) / sum(b['input_ids'].numel() for b in in_arrival):.0%}",
            "GEMM rate": f"{rate / 1e9:.0f} GFLOP/s",
            "largest difference": f"{difference:.1e}",
        },
        file,
    )


def _largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    padded = [row for batch in theirs for row in batch]
    return max(float((a - b[: len(a)]).abs().max()) for a, b in zip(ours, padded, strict=True))
