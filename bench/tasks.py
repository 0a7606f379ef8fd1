"""Every task beside transformers' Trainer: the same features, settings and figures; time and memory of training."""

from __future__ import annotations

import dataclasses
import gc
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.common import SHARED, machine, minilm_folder
from glassbert import BertConfig, BertTokenizerFast, FinetuneSettings, finetune, read_records
from glassbert.data import to_questions
from glassbert.settings import ReadingSettings
from glassbert.tasks import AnyTask, task_class
from glassbert.tasks.batching import run as in_batches
from glassbert.train.examples import Part


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A task on real data.

    Attributes:
        task: by name.
        data: what it is called.
        files: of training and validation, below the shared data; one alone is cut in two, four parts to one.
        reading: how they are read.
        learning_rate: for both sides.
        max_length: most tokens of one of the features.
        records: makes records of those of the file, where it is not of the task.
    """

    task: str
    data: str
    files: tuple[str, ...]
    reading: dict[str, Any] = dataclasses.field(default_factory=dict)
    learning_rate: float = 5e-5
    max_length: int = 128
    records: Callable[[Iterator[Any]], Iterator[Any]] | None = None


def _types_of(records: Iterator[Any]) -> Iterator[dict[str, Any]]:
    """Make of tagged sentences: which types of entity occur?"""
    for record in records:
        types = sorted({tag.partition("-")[2] for tag in record.values["tags"]} - {""})
        yield {"text": " ".join(record.values["tokens"]), "labels": types}


JOBS = (
    Job(task="text-classification", data="SST-2", files=("sst2/train.tsv", "sst2/dev.tsv"), reading={"header": False}),
    Job(task="text-classification", data="RTE, pairs", files=("rte/train.tsv", "rte/dev.tsv")),
    Job(
        task="multi-label-classification",
        data="WNUT-17, types that occur",
        files=("wnut17/wnut17train.conll", "wnut17/emerging.dev.conll"),
        learning_rate=2e-4,
        records=_types_of,
    ),
    Job(
        task="regression",
        data="STS-B",
        files=("stsb/stsb-en-train.csv", "stsb/stsb-en-dev.csv"),
        reading={"header": False},
        learning_rate=1e-4,
    ),
    Job(
        task="token-classification",
        data="WNUT-17",
        files=("wnut17/wnut17train.conll", "wnut17/emerging.dev.conll"),
        reading={"skip_bad": True},  # a tag that the first sentences lack
        learning_rate=2e-4,
    ),
    Job(task="multiple-choice", data="CosmosQA", files=("cosmosqa/valid.csv",)),
    Job(
        task="question-answering",
        data="SQuAD 2.0 dev",
        files=("squad2/dev-v2.0.json",),
        learning_rate=2e-4,
        max_length=256,
        records=to_questions,
    ),
    Job(
        task="sentence-embedding",
        data="STS-B",
        files=("stsb/stsb-en-train.csv", "stsb/stsb-en-dev.csv"),
        reading={"header": False, "text_column": "0", "pair_column": "1", "label_column": "2"},
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What one side made of a job.

    Attributes:
        name, value: the task's main figure on the validation data.
        seconds: of training, collation included, evaluation and tokenizing not.
        memory: most memory of the process above what it had before its model was loaded, in bytes.
        steps: optimizer steps.
    """

    name: str
    value: float
    seconds: float
    memory: int
    steps: int


def _data(job: Job, examples: int) -> tuple[list[Any], list[Any]]:
    """Return training and validation records."""
    reading = ReadingSettings(**job.reading)
    read = [
        list((job.records or iter)(read_records(SHARED / file, header=reading.header, encoding=reading.encoding)))
        for file in job.files
    ]
    values = [[one if isinstance(one, dict) else one.values for one in some] for some in read]
    train, valid = (
        values if len(values) == 2 else (values[0][: len(values[0]) * 4 // 5], values[0][len(values[0]) * 4 // 5 :])
    )
    return list(islice(train, examples)), list(islice(valid, max(200, examples // 2)))


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(number: int, examples: int, epochs: int, seed: int) -> Result:
    """Run `finetune`."""
    job = JOBS[number]
    train, valid = _data(job, examples)
    columns = {name: value for name, value in job.reading.items() if name != "header"}
    gc.collect()
    before = _memory()
    with tempfile.TemporaryDirectory() as folder:
        result = finetune(
            FinetuneSettings(
                train=train,
                validation=valid,
                model=minilm_folder(),
                out=Path(folder, "out"),
                task=job.task,
                epochs=epochs,
                evaluate_every=10**9,  # at the end alone
                seed=seed,
                max_length=job.max_length,
                learning_rate=job.learning_rate,
                **columns,
            )
        )
    metrics = result.metrics
    assert metrics is not None
    seconds = sum(step.seconds for step in result.history)
    return Result(
        name=metrics.main_name,
        value=metrics.main,
        seconds=seconds,
        memory=_memory() - before,
        steps=len(result.history),
    )


def theirs(number: int, examples: int, epochs: int, seed: int) -> Result:
    """Run transformers' Trainer on the features that our side has, with its own model, order, padding and optimizer."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    job = JOBS[number]
    train, valid = _data(job, examples)
    folder = minilm_folder()
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    reading = ReadingSettings(**{name: value for name, value in job.reading.items() if name != "header"})
    task: AnyTask = task_class(job.task)()
    parts = [Part.read(name, task, some, reading) for name, some in (("training", train), ("validation", valid))]
    task = task.learn(parts[0].examples)
    for part in parts:
        part.encode(task, tokenizer, job.max_length)
    gc.collect()
    before = _memory()
    transformers.set_seed(seed)
    model = _their_model(task, folder)

    class Features(torch.utils.data.Dataset[Any]):
        def __init__(self, features: Sequence[Any]) -> None:
            self.features = features

        def __len__(self) -> int:
            return len(self.features)

        def __getitem__(self, place: int) -> Any:
            return self.features[place]

    with tempfile.TemporaryDirectory() as out:
        arguments = transformers.TrainingArguments(
            output_dir=out,
            per_device_train_batch_size=32,
            num_train_epochs=epochs,
            learning_rate=job.learning_rate,
            weight_decay=0.01,
            warmup_steps=0.1,
            adam_epsilon=1e-6,
            seed=seed,
            use_cpu=True,
            remove_unused_columns=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=Features(parts[0].features),
            data_collator=lambda features: task.collate(features, tokenizer),
        )
        trainer.remove_callback(transformers.PrinterCallback)
        begin = time.perf_counter()
        done = trainer.train()
        seconds = time.perf_counter() - begin
    memory = _memory() - before
    model.eval()
    held_out = parts[1]

    def forward(batch: dict[str, Any], features: Sequence[Any]) -> Sequence[Any]:
        for name in ("labels", "start_positions", "end_positions"):
            batch.pop(name, None)
        return task.rows(model(**batch), features)

    with torch.inference_mode():
        rows = in_batches(held_out.features, lambda some: task.collate(some, tokenizer), forward, token_budget=4096)
    task = task.calibrate(held_out.examples, held_out.features, rows)
    metrics = task.measure(held_out.examples, task.answers(held_out.examples, held_out.features, rows))
    return Result(
        name=metrics.main_name, value=metrics.main, seconds=seconds, memory=memory, steps=int(done.global_step)
    )


def _their_model(task: AnyTask, folder: Path) -> torch.nn.Module:
    """Return transformers' model of the same head."""
    import transformers

    names = {
        "text-classification": "BertForSequenceClassification",
        "multi-label-classification": "BertForSequenceClassification",
        "regression": "BertForSequenceClassification",
        "token-classification": "BertForTokenClassification",
        "multiple-choice": "BertForMultipleChoice",
        "question-answering": "BertForQuestionAnswering",
    }
    if task.name in names:
        config = task.configure(BertConfig.from_pretrained(folder))
        more: dict[str, Any] = {} if config.problem_type is None else {"problem_type": config.problem_type}
        if task.name not in ("multiple-choice", "question-answering"):
            more["num_labels"] = config.num_labels
        loaded: torch.nn.Module = getattr(transformers, names[task.name]).from_pretrained(folder, **more)
        return loaded

    class Encoder(torch.nn.Module):
        """transformers' BERT with the mean over tokens and the loss of sentence-transformers on cosines."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)

        def forward(self, attention_mask: torch.Tensor, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
            states = self.bert(attention_mask=attention_mask, **inputs).last_hidden_state
            mask = attention_mask[..., None].to(states.dtype)
            vectors = torch.nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1))
            if labels is None:
                return {"sentence_embedding": vectors}
            one, other = vectors.chunk(2)
            cosine = torch.nn.functional.cosine_similarity(one, other)
            return {"loss": torch.nn.functional.mse_loss(cosine, labels), "sentence_embedding": vectors}

    return Encoder()


def _alone(function: Callable[..., Result], *arguments: int) -> Result:
    """Call in a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def run(*, examples: int, epochs: int, seeds: int, only: Sequence[str], file: Path | None) -> None:
    """Train every task on both sides, in turn, and print a table."""
    if not SHARED.is_dir():
        sys.exit("bench: the data sets stand in ../shared/data, which is not here")
    import transformers

    rows: list[dict[str, Any]] = []
    console = Console(highlight=False, width=max(118, Console().width))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("task", "data", "figure", "glassbert", "transformers", "s", "s", "times", "MB", "MB", "share"):
        table.add_column(heading, justify="left" if heading in ("task", "data", "figure") else "right")
    for number, job in enumerate(JOBS):
        if only and job.task not in only:
            continue
        pairs = [
            (_alone(ours, number, examples, epochs, seed), _alone(theirs, number, examples, epochs, seed))
            for seed in range(seeds)
        ]
        one, other = ([pair[side] for pair in pairs] for side in (0, 1))
        seconds = [min(result.seconds for result in some) for some in (one, other)]
        memory = [max(result.memory for result in some) for some in (one, other)]
        rows.append(
            {
                "task": job.task,
                "data": job.data,
                "glassbert": [dataclasses.asdict(result) for result in one],
                "transformers": [dataclasses.asdict(result) for result in other],
            }
        )
        table.add_row(
            job.task,
            job.data,
            one[0].name.replace("_", " "),
            *(" ".join(f"{result.value:.3f}" for result in some) for some in (one, other)),
            *(f"{some:.1f}" for some in seconds),
            f"{seconds[1] / seconds[0]:.2f}×",
            *(f"{some / 1e6:.0f}" for some in memory),
            f"{memory[0] / memory[1]:.2f}",
        )
        console.print(f"{job.task} on {job.data}: done", style="dim")
    console.print(table)
    facts = {
        "model": "all-MiniLM-L6-v2",
        "examples": examples,
        "epochs": epochs,
        "seeds": seeds,
        "transformers": transformers.__version__,
        **machine(),
    }
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if file is not None:
        file.write_text(json.dumps({"facts": facts, "rows": rows}, indent=2) + "\n", encoding="utf-8")
