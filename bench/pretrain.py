"""Pretraining as a user runs it: the recipe `pretrain` beside transformers' Trainer and its collator for masked words.

Both read the same pairs of the same shards in batches of the same size, with the same shapes, optimizer, rates and
dropout; each draws its own order, masks and fresh weights. Each run is a process of its own, the contenders in turn.

What is measured is the time from the end of the second step to the end of the last one, with batches being made: the
two steps before make buffers and plans. The loss of every step is kept, so that the curves can be compared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.common import SHARED, gemm_rate, machine
from glassbert import BertConfig, PrepareSettings, Shards, prepare
from glassbert.data import load_sentences
from glassbert.text import learn_vocabulary, save_vocabulary
from glassbert.train import PretrainSettings, Step, pretrain

CONTENDERS: Final = ("glassbert", "default batches", "grouped by length")
# Steps that are not counted.
_WARM: Final = 2
# So many documents are aimed at a random shorter length that about 60% of 128 places hold a token.
_SHORT: Final = 0.98


def shards_of(folder: Path) -> tuple[str, Path]:
    """Make shards of real text, with BERT's own vocabulary where it is at hand; say of what."""
    texts, vocabulary = SHARED / "wikitext2" / "valid.txt", SHARED / "vocab" / "bert-base-uncased.vocab.txt"
    source = "WikiText-2's validation text"
    if not texts.is_file():
        texts, vocabulary = folder / "text.txt", folder / "vocab.txt"
        lines = [sentence.text for sentence in load_sentences("train")]
        documents = ["\n".join(lines[begin : begin + 5]) for begin in range(0, len(lines), 5)]
        texts.write_text("\n\n".join(documents), encoding="utf-8")
        # As many entries as BERT's, so that the products have its sizes.
        learned = learn_vocabulary(lines, size=30_522)
        learned |= {f"[unused{place}]": place for place in range(len(learned), 30_522)}
        save_vocabulary(learned, vocabulary)
        source = "the embedded sentences"
    settings = PrepareSettings(
        texts=texts,
        vocab=vocabulary,
        out=folder / "shards",
        document_start="^ = [^=]" if "wikitext" in str(texts) else None,
        short_sequences=_SHORT,
        copies=4,
        held_out=0.05,
    )
    made = prepare(settings)
    assert made is not None
    return source, made.folder


def run(*, preset: str, steps: int, batch: int, rounds: int, rate: float, file: Path | None) -> None:
    """Measure all contenders, round by round, and report."""
    with tempfile.TemporaryDirectory() as name:
        source, folder = shards_of(Path(name))
        shards = Shards(folder)
        fill = shards.training.tokens / (len(shards.training) * shards.max_length)
        found: dict[str, list[dict[str, Any]]] = {contender: [] for contender in CONTENDERS}
        for seed in range(rounds):
            for contender in CONTENDERS:
                order = [contender, str(folder), preset, str(steps), str(batch), str(rate), str(seed)]
                done = subprocess.run(
                    [sys.executable, "-m", "bench.pretrain", *order],
                    capture_output=True,
                    text=True,
                    cwd=Path(__file__).resolve().parents[1],
                    env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
                if done.returncode:
                    sys.exit(f"bench: a run of {contender!r} failed\n{done.stderr}")
                found[contender].append(json.loads(done.stdout.splitlines()[-1]))
        title = (
            f"Pretraining {preset} on {source}, {steps} steps of {batch} pairs of at most 128, {fill:.0%} full, fp32"
        )
        _report(found, title, _flops_per_token(preset), preset, file)


def _flops_per_token(preset: str, length: int = 77) -> float:
    """Useful floating-point operations of a step for each real token: three times those of the forward pass."""
    config = BertConfig.preset(preset)
    width, inner = config.hidden_size, config.intermediate_size
    encoder = config.num_hidden_layers * (8 * width**2 + 4 * width * inner + 4 * length * width)
    return 3.0 * (encoder + 0.15 * (2 * width**2 + 2 * width * config.vocab_size))


def _report(found: dict[str, list[dict[str, Any]]], title: str, flops: float, preset: str, file: Path | None) -> None:
    import transformers

    ours = found["glassbert"]
    rate = gemm_rate(BertConfig.preset(preset))
    console = Console(highlight=False, width=max(118, Console().width))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("ms a step", "min", "max", "tokens/s", "of GEMM", "glassbert is", "last losses", "spread"):
        table.add_column(heading, justify="right")
    summary = {}
    for name, runs in found.items():
        seconds = [one["seconds"] for one in runs]
        speed = statistics.median(one["tokens"] / one["seconds"] for one in runs)
        # A contender's run stands beside ours of the same round, made just before it; a token is a token.
        faster = statistics.median(
            own["tokens"] / own["seconds"] / (one["tokens"] / one["seconds"])
            for one, own in zip(runs, ours, strict=True)
        )
        losses = [statistics.mean(one["losses"][-len(one["losses"]) // 5 :]) for one in runs]
        summary[name] = {"times as fast": faster, "tokens per second": speed, "last losses": losses}
        steps = runs[0]["steps"]
        table.add_row(
            name if runs is ours else f"Trainer {transformers.__version__}, {name}",
            *(f"{value / steps * 1e3:,.0f}" for value in (statistics.median(seconds), min(seconds), max(seconds))),
            f"{speed:,.0f}",
            f"{speed * flops / rate:.2f}",
            "" if runs is ours else f"{faster:.2f}× as fast",
            f"{statistics.mean(losses):.3f}",
            f"{max(losses) - min(losses):.3f}",
        )
    console.print(table)
    facts = {"rounds": len(ours), "GEMM GFLOP/s": round(rate / 1e9), **machine()}
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if file is not None:
        values = {"title": title, "facts": facts, "summary": summary, "runs": found}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


# What one process does.


def ours(folder: Path, preset: str, steps: int, batch: int, rate: float, seed: int) -> dict[str, Any]:
    """Run the recipe."""
    ends: list[float] = []
    tokens: list[int] = []
    losses: list[float] = []

    def on_event(event: Any) -> None:
        if isinstance(event, Step):
            ends.append(time.perf_counter())
            tokens.append(event.tokens)
            losses.append(event.loss)

    with tempfile.TemporaryDirectory() as name:
        settings = PretrainSettings(
            shards=folder,
            preset=preset,
            out=Path(name, "out"),
            steps=steps,
            batch_size=batch,
            learning_rate=rate,
            warmup=0.1,
            seed=seed,
            evaluate_every=steps,
            held_out_sequences=1,
            keep_checkpoints=0,
        )
        pretrain(settings, on_event=on_event)
    return _counted(ends, tokens, losses)


def _counted(ends: list[float], tokens: list[int], losses: list[float]) -> dict[str, Any]:
    return {
        "seconds": ends[-1] - ends[_WARM - 1],
        "steps": len(ends) - _WARM,
        "tokens": sum(tokens[_WARM:]),
        "losses": losses,
    }


def theirs(
    folder: Path, preset: str, steps: int, batch: int, rate: float, seed: int, *, grouped: bool
) -> dict[str, Any]:
    """Run transformers' Trainer with its own collator."""
    import transformers

    transformers.logging.set_verbosity_error()
    shards = Shards(folder)
    tokenizer = transformers.BertTokenizerFast(str(folder / "tokenizer" / "vocab.txt"))
    rows = shards.training.rows(range(len(shards.training)))
    assert rows.seconds is not None
    assert rows.labels is not None
    data, begin = [], 0
    for length, second, label in zip(rows.lengths.tolist(), rows.seconds.tolist(), rows.labels.tolist(), strict=True):
        ids = rows.ids[begin : begin + length].tolist()
        types = [0] * second + [1] * (length - second)
        data.append({"input_ids": ids, "token_type_ids": types, "next_sentence_label": label})
        begin += length
    ends: list[float] = []
    tokens: list[int] = []
    losses: list[float] = []

    class Watch(transformers.TrainerCallback):  # type: ignore[misc]
        """Reads the clock and the loss after each step."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)

    def counted(features: list[dict[str, Any]]) -> Any:
        made = collate(features)
        tokens.append(int(made["attention_mask"].sum()))
        return made

    sizes = BertConfig.preset(preset)
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = transformers.BertConfig(vocab_size=len(tokenizer), **{name: getattr(sizes, name) for name in names})
    with tempfile.TemporaryDirectory() as out:
        settings = transformers.TrainingArguments(
            output_dir=out,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            weight_decay=0.01,
            adam_epsilon=1e-6,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length" if grouped else "random",
            seed=seed,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        )
        transformers.set_seed(seed)
        trained = transformers.Trainer(
            model=transformers.BertForPreTraining(config),
            args=settings,
            train_dataset=data,
            data_collator=counted,
            callbacks=[Watch()],
        )
        trained.train()
    return _counted(ends, tokens[: len(ends)], losses)


def _one_run() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pretrain")
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("preset")
    for name, kind in (("steps", int), ("batch", int), ("rate", float), ("seed", int)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    arguments = (given.folder, given.preset, given.steps, given.batch, given.rate, given.seed)
    with contextlib.redirect_stdout(sys.stderr):
        if given.contender == "glassbert":
            os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command does
            result = ours(*arguments)
        else:
            result = theirs(*arguments, grouped=given.contender != "default batches")
    print(json.dumps(result))


if __name__ == "__main__":
    _one_run()
