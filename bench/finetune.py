"""Fine-tuning as a user runs it: the recipe `finetune` beside the Trainer of transformers, on real data.

Both get the same texts, model folder, batch size, learning rate, warm-up, weight decay, epochs and seeds, and keep
their own order of the data, padding and optimizer. Each run is a process of its own, the contenders in turn.

What is measured:

- Seconds of training: from the first step's beginning to the last step's end, with batches being made. Not in it:
  loading, tokenization (both have it done before), evaluation, saving.
- Accuracy on the dev set after the last epoch.
- Memory above the fixed state: the highest resident memory up to the last step, less what was resident before the
  model was loaded, less 16 bytes a parameter (weight, gradient and the two moments of Adam in float32). Before the
  first reading each process trains a tiny model, so that code and buffers of the libraries are not counted. Our recipe
  reads and tokenizes its data after that reading, so our figure has the data in it and theirs has not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.table import Table

from bench.common import SHARED, machine, minilm_folder
from glassbert import BertConfig, BertModel, BertTokenizer
from glassbert.data import load_sentences, read_records
from glassbert.text import learn_vocabulary, save_vocabulary
from glassbert.train import FinetuneSettings, Step, finetune

BATCH: Final = 32
RATE: Final = 1e-4
CONTENDERS: Final = ("glassbert", "default batches", "grouped by length")


def prepare(data: str, examples: int | None, folder: Path) -> tuple[str, Path]:
    """Write train.jsonl and dev.jsonl into `folder`; return where they come from and the model to begin with."""
    source, train, dev = _records(data)
    random.Random(0).shuffle(train)
    train, dev = train[:examples], dev[:examples]
    for name, rows in (("train", train), ("dev", dev)):
        lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if data != "chnsenticorp":
        return source, minilm_folder()
    # No pretrained Chinese model of this size is at hand; for speed and memory fresh weights do.
    made = folder / "model"
    made.mkdir()
    vocabulary = learn_vocabulary((text for text, _ in train), size=21_128)
    save_vocabulary(vocabulary, folder / "vocab.txt")
    BertTokenizer(folder / "vocab.txt").save_pretrained(made)
    torch.manual_seed(0)
    shapes = BertConfig.from_pretrained(minilm_folder())
    shapes.vocab_size = len(vocabulary)
    BertModel(shapes).save_pretrained(made)
    return source, made


def _records(data: str) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
    folder = SHARED / data
    if not folder.is_dir():
        given, held_out = ([(text, label) for text, label in load_sentences(part)] for part in ("train", "test"))
        return "the embedded sentences", given, held_out
    header = data == "chnsenticorp"
    text, label = ("text_a", "label") if header else ("0", "1")
    train, dev = (
        [(record.get(text), record.get(label)) for record in read_records(folder / f"{name}.tsv", header=header)]
        for name in ("train", "dev")
    )
    return data, train, dev


def run(*, data: str, seeds: int, epochs: int, examples: int | None, file: Path | None) -> None:
    """Measure all contenders, each seed in turn, and report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, model = prepare(data, examples, folder)
        found: dict[str, list[dict[str, float]]] = {contender: [] for contender in CONTENDERS}
        for seed in range(seeds):
            for contender in CONTENDERS:
                order = [contender, str(folder), str(model), str(epochs), str(seed)]
                done = subprocess.run(
                    [sys.executable, "-m", "bench.finetune", *order],
                    capture_output=True,
                    text=True,
                    cwd=Path(__file__).resolve().parents[1],
                    env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
                if done.returncode:
                    sys.exit(f"bench: a run of {contender!r} failed\n{done.stderr}")
                found[contender].append(json.loads(done.stdout.splitlines()[-1]))
    _report(found, source=source, epochs=epochs, file=file)


def _report(found: dict[str, list[dict[str, float]]], *, source: str, epochs: int, file: Path | None) -> None:
    import transformers

    ours = found["glassbert"]
    console = Console(highlight=False, width=max(118, Console().width))
    title = f"Fine-tuning on {source}, {epochs} epochs, batches of {BATCH}, fp32, dropout 0.1, {len(ours)} seeds"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("median s", "min", "max", "glassbert is", "accuracy", "spread", "MiB above state", "of it"):
        table.add_column(heading, justify="right")
    summary = {}
    for name, runs in found.items():
        seconds, accuracy, memory = ([one[key] for one in runs] for key in ("seconds", "accuracy", "memory"))
        # A contender's run stands beside ours of the same seed, made just before it.
        faster = statistics.median(one["seconds"] / own["seconds"] for one, own in zip(runs, ours, strict=True))
        smaller = statistics.median(own["memory"] / one["memory"] for one, own in zip(runs, ours, strict=True))
        summary[name] = {"times as fast": faster, "share of memory": smaller}
        table.add_row(
            name if runs is ours else f"Trainer {transformers.__version__}, {name}",
            f"{statistics.median(seconds):.2f}",
            f"{min(seconds):.2f}",
            f"{max(seconds):.2f}",
            "" if runs is ours else f"{faster:.2f}× as fast",
            f"{statistics.mean(accuracy):.4f}",
            f"{max(accuracy) - min(accuracy):.4f}",
            f"{statistics.median(memory):.0f}",
            "" if runs is ours else f"{smaller:.2f}×",
        )
    console.print(table)
    facts = {"examples": ours[0]["examples"], "mean tokens": round(ours[0]["mean tokens"], 1), **machine()}
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if file is not None:
        values = {"title": title, "facts": facts, "summary": summary, "runs": found}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


# What one process does.


def _status(key: str) -> float:
    """Return a line of this process's memory, in MiB: VmRSS now, VmHWM its high-water mark."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) / 1024


def _texts(file: Path) -> tuple[list[str], list[str]]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def ours(folder: Path, model: Path, epochs: int, seed: int) -> dict[str, float]:
    """Run the recipe."""
    with tempfile.TemporaryDirectory() as name:
        _warm_up_ours(Path(name), model)
        before = _status("VmRSS")
        begun, spent, peak, tokens, left = 0.0, 0.0, 0.0, 0, 0

        def on_event(event: Any) -> None:
            nonlocal begun, spent, peak, tokens, left
            if not isinstance(event, Step):
                return
            if not left:  # the first step of an epoch
                begun, left = time.perf_counter() - event.seconds, event.steps // epochs
            left, tokens, peak = left - 1, tokens + event.tokens, _status("VmHWM")
            if not left:
                spent += time.perf_counter() - begun

        result = finetune(
            FinetuneSettings(
                train=folder / "train.jsonl",
                validation=folder / "dev.jsonl",
                model=model,
                out=Path(name, "out"),
                max_length=_limit(model),
                epochs=epochs,
                batch_size=BATCH,
                learning_rate=RATE,
                seed=seed,
            ),
            on_event=on_event,
        )
        examples = len(_texts(folder / "train.jsonl")[0])
        accuracy = result.metrics.main if result.metrics is not None else float("nan")
        state = 16 * _parameters(Path(name, "out")) / 2**20
    return {
        "seconds": spent,
        "accuracy": accuracy,
        "memory": peak - before - state,
        "state": state,
        "examples": examples,
        "mean tokens": tokens / epochs / examples,
    }


def _limit(model: Path) -> int:
    """Return most tokens of a text."""
    return min(512, BertTokenizer.from_pretrained(model).model_max_length)


def _parameters(folder: Path) -> int:
    from glassbert import BertForSequenceClassification

    return BertForSequenceClassification.from_pretrained(folder).num_parameters()


def _warm_up_ours(folder: Path, model: Path) -> None:
    rows = [json.dumps({"text": text, "label": text}) for text in ("a", "b")]
    (folder / "tiny.jsonl").write_text("\n".join(rows), encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(model)
    tokenizer.save_pretrained(folder / "tiny")
    BertModel(_tiny(len(tokenizer))).save_pretrained(folder / "tiny")
    settings = FinetuneSettings(
        train=folder / "tiny.jsonl",
        validation=folder / "tiny.jsonl",
        model=folder / "tiny",
        out=folder / "tiny-out",
        max_length=16,
        epochs=1,
    )
    finetune(settings)


def _tiny(words: int) -> BertConfig:
    return BertConfig(vocab_size=words, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)


def theirs(folder: Path, model: Path, epochs: int, seed: int, *, grouped: bool) -> dict[str, float]:
    """Run transformers' Trainer."""
    import transformers

    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    train, dev = (_texts(folder / f"{name}.jsonl") for name in ("train", "dev"))
    labels = sorted(set(train[1]))

    def rows(texts: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
        ids = tokenizer(list(texts), truncation=True, max_length=_limit(model))["input_ids"]
        return [{"input_ids": row, "labels": labels.index(name)} for row, name in zip(ids, names, strict=True)]

    spent, peak, begun = 0.0, 0.0, 0.0

    class Watch(transformers.TrainerCallback):  # type: ignore[misc]
        """Reads the clock and the memory around the steps."""

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            nonlocal begun
            begun = time.perf_counter()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            nonlocal spent
            spent += time.perf_counter() - begun

        def on_step_end(self, *_: Any, **__: Any) -> None:
            nonlocal peak
            peak = _status("VmHWM")

    def trainer(bert: Any, data: list[dict[str, Any]], out: str, epochs: int) -> Any:
        settings = transformers.TrainingArguments(
            output_dir=out,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=BATCH,
            learning_rate=RATE,
            weight_decay=0.01,
            warmup_steps=0.1,
            train_sampling_strategy="group_by_length" if grouped else "random",
            seed=seed,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        collator = transformers.DataCollatorWithPadding(tokenizer)
        return transformers.Trainer(
            model=bert, args=settings, train_dataset=data, data_collator=collator, callbacks=[Watch()]
        )

    with tempfile.TemporaryDirectory() as out:
        features, held_out = rows(*train), rows(*dev)
        tiny = transformers.BertConfig(**_shapes(_tiny(len(tokenizer))), num_labels=len(labels))
        trainer(transformers.BertForSequenceClassification(tiny), features[:2], out, 1).train()
        spent, before = 0.0, _status("VmRSS")
        transformers.set_seed(seed)
        bert = transformers.BertForSequenceClassification.from_pretrained(model, num_labels=len(labels))
        trained = trainer(bert, features, out, epochs)
        trained.train()
        # Grouped by length, the Trainer gives its answers in another order than that of the data, labels with them.
        predicted = trained.predict(held_out)
    right = torch.tensor(predicted.predictions).argmax(dim=-1) == torch.tensor(predicted.label_ids)
    state = 16 * sum(parameter.numel() for parameter in bert.parameters()) / 2**20
    return {
        "seconds": spent,
        "accuracy": float(right.double().mean()),
        "memory": peak - before - state,
        "state": state,
        "examples": len(features),
        "mean tokens": statistics.mean(len(row["input_ids"]) for row in features),
    }


def _shapes(config: BertConfig) -> dict[str, Any]:
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    return {name: getattr(config, name) for name in names}


def _one_run() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.finetune")
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("epochs", type=int)
    parser.add_argument("seed", type=int)
    given = parser.parse_args()
    arguments = (given.folder, given.model, given.epochs, given.seed)
    with contextlib.redirect_stdout(sys.stderr):
        if given.contender == "glassbert":
            result = ours(*arguments)
        else:
            result = theirs(*arguments, grouped=given.contender != "default batches")
    print(json.dumps(result))


if __name__ == "__main__":
    _one_run()
