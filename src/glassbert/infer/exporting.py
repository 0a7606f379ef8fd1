"""From a model to a folder that runs without glassbert: ONNX, or a program of torch.export.

A folder is held against the model before it is called done: it is read again from the disk, both answer the same
batches, and where they are apart by more than rounding explains, nothing is left behind.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from glassbert.checkpoint import check_vocabulary, load_tokenizer, save_tokenizer
from glassbert.checkpoint.folder import find_source, load_source
from glassbert.checkpoint.place import check_name
from glassbert.checkpoint.saving import save_settings
from glassbert.checkpoint.tokenizer_files import TOKENIZER, VOCABULARY
from glassbert.errors import CheckpointError, ConfigError, InputError
from glassbert.files import check_output, new_folder, write_json
from glassbert.infer.onnx import OnnxSession, check_installed, quantize_onnx, write_onnx
from glassbert.infer.onnx_engine import FILES, OnnxEngine
from glassbert.infer.program import (
    INPUTS,
    axes_of,
    check_exportable,
    is_by_token,
    load_program,
    outputs_of,
    program_of,
    save_program,
)
from glassbert.model import BertPreTrainedModel
from glassbert.tasks import AnyTask, task_of
from glassbert.tasks.task import Metrics
from glassbert.text import BertTokenizer, BertTokenizerFast

Form = Literal["onnx", "torch-export"]

Batch = dict[str, Tensor]
Run = Callable[[Batch], dict[str, Tensor]]

PROGRAM: Final = "model.pt2"
REPORT: Final = "export.json"
# Where the file in float32 stands while it is quantized.
_FLOATS: Final = "float32"
# How far an exported model may be from the model: so much of the largest number that the model gave, or of 1.
TOLERANCE: Final = 1e-5
# Lengths of the texts of each batch that both compute; 0 stands for the longest that the model takes.
_BATCHES: Final = ((1,), (0,), (5, 2), (9, 17, 3), (1, 12, 30, 7), (48, 33, 64), (0, 2), (21,) * 8)
# Attention takes memory with the square of a length.
_LONGEST: Final = 2048
# What is said in these batches, where a tokenizer is there.
_TEXTS: Final = (
    "The train to the coast leaves at half past seven, and it is seldom late.",
    "She wrote “I don't know” twice, crossed it out, and asked 3 colleagues instead.",
    "Der Wein war teuer, die Suppe kalt; bezahlt haben wir trotzdem.",
    "Il a plu toute la nuit sur les toits de la vieille ville.",
    "我们明天下午在图书馆门口见面。",
    "Результаты опыта подтвердились при повторной проверке.",
    "Version 2.4.1 fixed the overflow in parse_header(), but not the leak (#1187).",
    "¿Quién dejó la puerta abierta?",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How far two computed the same output.

    Attributes:
        largest: the largest absolute difference of two numbers.
        mean: their mean absolute difference.
        magnitude: the largest number that the first one gave, to judge the others by.
    """

    largest: float
    mean: float
    magnitude: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantized:
    """What 8 bits cost.

    Attributes:
        bytes: size of the file that was quantized.
        differences: from that file, by output, on the batches that are checked.
        examples: how many labelled examples both answered; 0 where none were given.
        before: the task's figures of the file that was quantized; None without examples.
        after: those of the file with 8 bits.
    """

    bytes: int
    differences: Mapping[str, Difference]
    examples: int = 0
    before: Metrics | None = None
    after: Metrics | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how it was found to answer.

    Attributes:
        folder: where it stands.
        file: the name of the program in it.
        form: "onnx" or "torch-export".
        architecture: the class of the model.
        bytes: size of the file, with the one beside it where weights are too large for one.
        outputs: what it returns.
        texts: how many texts were computed by both.
        longest: tokens of the longest of them.
        differences: between the model and the program in float32, by output.
        quantized: what 8 bits cost; None where they were not asked for.
    """

    folder: Path
    file: str
    form: Form
    architecture: str
    bytes: int
    outputs: tuple[str, ...]
    texts: int
    longest: int
    differences: Mapping[str, Difference]
    quantized: Quantized | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = dataclasses.asdict(dataclasses.replace(self, quantized=None))
        quantized = self.quantized
        if quantized is not None:
            values["quantized"] = dataclasses.asdict(dataclasses.replace(quantized, before=None, after=None))
            for name, metrics in (("before", quantized.before), ("after", quantized.after)):
                values["quantized"][name] = None if metrics is None else metrics.to_dict()
        return {**values, "folder": str(self.folder), "outputs": list(self.outputs)}


def export(
    model: BertPreTrainedModel | str | Path,
    out: str | Path,
    *,
    to: Form = "onnx",
    int8: bool = False,
    examples: Sequence[Any] | None = None,
    tokenizer: BertTokenizer | None = None,
    overwrite: bool = False,
    on_step: Callable[[str], object] = lambda _: None,
) -> Exported:
    """Write a model as a program that needs no glassbert: all batches, all lengths, the same answers.

    The folder also holds the config, the tokenizer's files, for a `SentenceEncoder` those of sentence-transformers, and
    `export.json`: what is returned here, but for the folder's name.

    Args:
        model: a model folder, the name of a repo on the hub, or a model.
        out: a new folder.
        to: "onnx" writes `model.onnx`, "torch-export" writes `model.pt2`, which `torch.export.load` reads.
        int8: embeddings and weights in 8 bits, products computed in 8 bits: smaller and faster, and not the same
            answers.
        examples: labelled examples of the model's task, to tell what 8 bits cost.
        tokenizer: of the model; None loads it from the folder, where it has one.
        overwrite: whether a model folder that is there may be replaced, which is not that of `model`.
        on_step: called with each thing that is being done.

    Returns:
        What was written and how far it is from the model.

    Raises:
        MissingExtraError: "onnx" without its libraries.
        ConfigError: settings that do not go together.
        InputError: a model that cannot be exported, by name.
        CheckpointError: what cannot be read or written in that form, or a program that answers otherwise than the
            model.
        OutputExistsError: `out` holds something and `overwrite` is false, or what is not to be lost.
        SaveError: the disk refused a write. In all of these cases nothing is left behind.
    """
    if to not in get_args(Form):
        raise ConfigError(f"to is {to!r}, expected one of {', '.join(get_args(Form))}")
    if int8 and to != "onnx":
        raise ConfigError(f"8 bits (int8) are written as onnx, not as {to}")
    if examples is not None and not int8:
        raise ConfigError("examples tell what 8 bits cost; pass int8=True with them (--data with --int8)")
    if to == "onnx":
        check_installed()
    given = model
    local = [given] if not isinstance(given, BertPreTrainedModel) and Path(given).is_dir() else []
    check_output(out, overwrite=overwrite, keep=local)
    if not isinstance(model, BertPreTrainedModel):
        on_step("loading the model")
        model, tokenizer = _loaded(model, tokenizer)
    where = type(model).__name__ if isinstance(given, BertPreTrainedModel) else str(given)
    check_exportable(model)
    if tokenizer is not None:
        check_vocabulary(tokenizer, model.config)
    task = None if examples is None else _task(model, tokenizer, where)
    batches = list(check_batches(model, tokenizer))
    own = functools.partial(_outputs, model)
    outputs = tuple(own(batches[0]))
    quantized = None
    with new_folder(out, overwrite=overwrite) as stage:
        save_settings(model, stage)
        if tokenizer is not None:
            save_tokenizer(tokenizer, stage)
        file = stage / (FILES[0] if to == "onnx" else PROGRAM)
        # What is quantized stands elsewhere, under the same name: a large one names the file of its weights.
        plain = stage / _FLOATS / file.name if int8 else file
        plain.parent.mkdir(exist_ok=True)
        on_step(f"writing {file.name}")
        run = _write(model, plain, to, outputs)
        on_step("comparing with the model")
        differences = _differences(own, run, model, batches)
        _check(differences, where, to)
        if int8:
            on_step("quantizing to 8 bits")
            quantize_onnx(plain, file)
            quantized = Quantized(bytes=_size(plain), differences=_differences(run, OnnxSession(file), model, batches))
            if task is not None and examples is not None and tokenizer is not None:
                on_step(f"answering {len(examples):,} examples twice")
                before, after = (
                    _answered(OnnxEngine(stage, file=str(one.relative_to(stage))), task, tokenizer, examples)
                    for one in (plain, file)
                )
                quantized = dataclasses.replace(quantized, examples=len(examples), before=before, after=after)
            shutil.rmtree(plain.parent)
        exported = Exported(
            folder=Path(out),
            file=file.name,
            form=to,
            architecture=type(model).__name__,
            bytes=_size(file),
            outputs=outputs,
            texts=sum(math.prod(batch["input_ids"].shape[:-1]) for batch in batches),
            longest=max(batch["input_ids"].shape[-1] for batch in batches),
            differences=differences,
            quantized=quantized,
        )
        write_json(stage / REPORT, {name: value for name, value in exported.to_dict().items() if name != "folder"})
    return exported


def check_batches(model: BertPreTrainedModel, tokenizer: BertTokenizer | None) -> Iterator[Batch]:
    """Make batches of several sizes and lengths, from one token to the longest text, most of them with padding.

    Args:
        model: that they are for.
        tokenizer: its own, which makes the ids of real texts; without one ids are drawn, always the same.
    """
    config = model.config
    longest = min(config.max_position_embeddings, _LONGEST)
    if tokenizer is None:
        ids = torch.randint(config.vocab_size, (997,), generator=torch.Generator().manual_seed(0)).tolist()
        first = last = ids[0]
    else:
        ids = [one for row in tokenizer(list(_TEXTS), add_special_tokens=False)["input_ids"] for one in row]
        first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    stream = cycle(ids)
    choices = 3 if len(axes_of(model)) == 3 else 1
    for lengths in _BATCHES:
        counts = [min(length or longest, longest) for length in lengths for _ in range(choices)]
        shape = (len(counts), max(counts))
        batch = {name: torch.zeros(shape, dtype=torch.int64) for name in INPUTS}
        batch["input_ids"].fill_(config.pad_token_id)
        for row, count in enumerate(counts):
            text = list(islice(stream, count))
            if count > 2:
                text[0], text[-1] = first, last
            batch["input_ids"][row, :count] = torch.tensor(text)
            batch["attention_mask"][row, :count] = 1
            if config.type_vocab_size > 1:
                batch["token_type_ids"][row, (count + 1) // 2 : count] = 1
        # (B·C, S) -> (B, C, S)
        yield {name: rows.unflatten(0, (-1, choices)) if choices > 1 else rows for name, rows in batch.items()}


def _loaded(name: str | Path, tokenizer: BertTokenizer | None) -> tuple[BertPreTrainedModel, BertTokenizer | None]:
    """Load a model and, where its folder has one, its tokenizer."""
    check_name(name)
    source = find_source(
        name,
        {"revision": None, "token": None, "cache_dir": None, "local_files_only": False},
        sentence=True,
        parts="all",
    )
    model = load_source(source)
    if tokenizer is None and any((source.folder / file).exists() for file in (VOCABULARY, TOKENIZER)):
        tokenizer = load_tokenizer(BertTokenizerFast, name)
    return model, tokenizer


def _task(model: BertPreTrainedModel, tokenizer: BertTokenizer | None, where: str) -> AnyTask:
    if tokenizer is None:
        raise InputError(f"{where} has no tokenizer, without which no examples can be read; pass tokenizer=…")
    try:
        return task_of(model.config, type(model).__name__)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}; leave the examples out (--data)") from None


def _outputs(model: BertPreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    """Return what the model itself says, whatever it is set to."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
            return {name: tensor.cpu() for name, tensor in outputs_of(model, on_device).items()}
    finally:
        model.train(training)


def _write(model: BertPreTrainedModel, file: Path, to: Form, outputs: Sequence[str]) -> Run:
    """Write the program, and return what runs it from the disk."""
    program = program_of(model)
    if to == "onnx":
        write_onnx(program, file, outputs=outputs, axes=axes_of(model))
        return OnnxSession(file)
    save_program(program, file)
    return load_program(file)


def _differences(one: Run, other: Run, model: BertPreTrainedModel, batches: Sequence[Batch]) -> dict[str, Difference]:
    """Let two compute the same batches; rows of padding are left aside, where nothing is owed."""
    gaps: dict[str, list[Tensor]] = {}
    magnitudes: dict[str, float] = {}
    for batch in batches:
        expected, found = one(batch), other(batch)
        for name, tensor in expected.items():
            if found[name].shape != tensor.shape:
                shapes = f"{tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
                raise CheckpointError(f"the exported program gives {name} in the shape {shapes}; nothing was written")
            if is_by_token(model, name):
                real = batch["attention_mask"].bool()
                tensor, seen = tensor[real], found[name][real]
            else:
                seen = found[name]
            gaps.setdefault(name, []).append((seen.double() - tensor.double()).abs().flatten())
            magnitudes[name] = max(magnitudes.get(name, 0.0), float(tensor.abs().max()))
    joined = {name: torch.cat(parts) for name, parts in gaps.items()}
    return {
        name: Difference(largest=float(gap.max()), mean=float(gap.mean()), magnitude=magnitudes[name])
        for name, gap in joined.items()
    }


def _check(differences: Mapping[str, Difference], where: str, to: Form) -> None:
    """Refuse a program that is further from its model than rounding explains, or that gives what is no number."""
    for name, one in differences.items():
        allowed = TOLERANCE * max(1.0, one.magnitude)
        if not one.largest <= allowed:  # also where it is no number
            raise CheckpointError(
                f"{where}: as {to}, {name} differs from the model's by up to {one.largest:.1e}, allowed is "
                f"{allowed:.1e}; nothing was written"
            )


def _answered(engine: OnnxEngine, task: AnyTask, tokenizer: BertTokenizer, examples: Sequence[Any]) -> Metrics:
    """Let an engine answer labelled examples, and return the task's figures."""
    max_length = min(tokenizer.model_max_length, engine.config.max_position_embeddings)
    features = list(task.features(examples, tokenizer, max_length=max_length, labelled=False))
    rows = engine.run(features, functools.partial(task.collate, tokenizer=tokenizer), task.rows)
    metrics: Metrics = task.measure(examples, task.answers(examples, features, rows))
    return metrics


def _size(file: Path) -> int:
    """Count the bytes of a program's file, and of one beside it that holds its weights."""
    return sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*"))
