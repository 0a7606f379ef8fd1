"""Encoding on a CUDA device: the engine with graphs and without, beside transformers, all in bfloat16."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from bench.common import forward_flops, minilm_folder, mixed_texts, race, report, rows
from glassbert import BertConfig, BertModel, BertTokenizer, Engine
from glassbert.infer.cuda import CudaBert

BATCH = 128
DTYPE = torch.bfloat16


def run(*, texts: int, rounds: int, file: Path | None) -> None:
    """Measure the engine beside transformers on the same ids, from lists of ids to vectors on the CPU, interleaved."""
    if not torch.cuda.is_available():
        sys.exit("bench: there is no CUDA device here; python -m bench encode measures on the CPU")
    import transformers

    folder = minilm_folder()
    tokenizer = BertTokenizer.from_pretrained(folder)
    source, sentences = mixed_texts(texts)
    sequences = [tokenizer.encode(text, truncation=True) for text in sentences]
    lengths = [len(ids) for ids in sequences]
    model = BertModel.from_pretrained(folder, device="cuda")
    engine, started = Engine(model, dtype="bfloat16"), Engine(model, dtype="bfloat16")
    assert isinstance(started.bert, CudaBert)
    started.bert.graphs = None
    peer = transformers.BertModel.from_pretrained(folder, attn_implementation="sdpa", dtype=DTYPE).to("cuda").eval()
    arrival = list(range(len(sequences)))
    by_length = sorted(arrival, key=lambda place: lengths[place])

    def theirs(order: list[int]) -> list[Tensor]:
        found = []
        with torch.inference_mode():
            for begin in range(0, len(order), BATCH):
                chosen = [torch.tensor(sequences[place]) for place in order[begin : begin + BATCH]]
                ids = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
                mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in chosen], batch_first=True)
                found.append(peer(input_ids=ids.cuda(), attention_mask=mask.cuda()).last_hidden_state.cpu())
        return found

    for _ in range(3):  # a bucket is recorded where it comes again
        engine.hidden_states(sequences)
    expected = Engine(BertModel.from_pretrained(folder)).hidden_states(sequences)
    pairs = zip(engine.hidden_states(sequences), expected, strict=True)
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    seconds = race(
        {
            "glassbert engine, graphs": lambda: engine.hidden_states(sequences),
            "glassbert engine, without graphs": lambda: started.hidden_states(sequences),
            f"transformers {transformers.__version__}, arrival order": lambda: theirs(arrival),
            f"transformers {transformers.__version__}, sorted by length": lambda: theirs(by_length),
        },
        rounds=rounds,
    )
    rate = _gemm_rate(model.config)
    assert isinstance(engine.bert, CudaBert)
    report(
        f"all-MiniLM-L6-v2, {texts} texts to token vectors, bfloat16, {torch.cuda.get_device_name()}",
        rows(seconds, forward_flops(model.config, lengths), rate),
        {
            "texts": source,
            "peer": f"sdpa, batches of {BATCH}, padded to the longest",
            "graphs": len(engine.bert.graphs.kept) if engine.bert.graphs else 0,
            "GEMM rate": f"{rate / 1e12:.0f} TFLOP/s",
            "largest difference from float32 on the CPU": f"{difference:.1e}",
        },
        file,
    )


def _gemm_rate(config: BertConfig, tokens: int = 16_384) -> float:
    """Return the rate, in FLOP/s, of plain matrix products of the model's own shapes and mix."""
    width, inner = config.hidden_size, config.intermediate_size
    flops, seconds = 0.0, 0.0
    for into, out in ((width, 3 * width), (width, width), (width, inner), (inner, width)):
        values = torch.randn(tokens, into, device="cuda", dtype=DTYPE)
        weight = torch.randn(into, out, device="cuda", dtype=DTYPE)
        times = []
        for _ in range(12):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(20):
                torch.mm(values, weight)
            torch.cuda.synchronize()
            times.append((time.perf_counter() - begin) / 20)
        flops += 2.0 * tokens * into * out
        seconds += statistics.median(times[2:])
    return flops / seconds
