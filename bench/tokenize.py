"""Tokenizing: texts to padded batches, files to ids on disk, and very long texts."""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from rich.console import Console
from rich.table import Table

from bench.common import machine, minilm_folder, mixed_texts
from glassbert import BertTokenizer, BertTokenizerFast, encode_files

BATCHES = (1, 32, 256)
TEXTS = max(BATCHES)  # of a round
ALL = 1 << 12
LONGEST = 512
# Megabytes of text for the files, and characters of the long texts.
FILE = 4.0
LONG = 5_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One contender's result in one setting.

    Attributes:
        name: who, and in which setting.
        values: of each round, in the unit of its table.
        ratio: what the table says of it, of each round; None for the one that others are held against.
    """

    name: str
    values: tuple[float, ...]
    ratio: tuple[float, ...] | None

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A table: its title, the unit of its values, what its ratios are, and its rows."""

    title: str
    unit: str
    ratio: str
    rows: Sequence[Row]


def in_turns(contenders: Mapping[str, Callable[[Any], object]], rounds: Sequence[Any]) -> dict[str, list[float]]:
    """Time all contenders in turn on what each round brings, in seconds; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number, given in enumerate(rounds):
        for name, run in contenders.items():
            begin = time.perf_counter()
            run(given)
            if number:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def library_arrays(library: tokenizers.Tokenizer, texts: list[str]) -> dict[str, np.ndarray]:
    """Return what a model takes with nothing between the library and numpy: the least that this can take."""
    rows = [encoding.ids for encoding in library.encode_batch_fast(texts)]
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": mask}


def run(*, rounds: int, file: Path | None) -> None:
    """Measure all settings, ours and the peers' in turn; calls are on new texts in each round."""
    import transformers
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    folder = minilm_folder()
    fast, plain = BertTokenizerFast.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    peer = transformers.BertTokenizerFast.from_pretrained(folder)
    legacy = BertTokenizerLegacy(str(folder / "vocab.txt"))
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.no_padding()
    source, texts = mixed_texts(ALL)
    places = range(0, min(TEXTS * (rounds + 1), len(texts) - TEXTS + 1), TEXTS)
    chunks = [texts[place : place + TEXTS] for place in places]
    others = texts[TEXTS * len(chunks) :]
    version = f"transformers {transformers.__version__}"
    sections = [
        *_calls(folder, peer, library, version, chunks, others),
        _plain_python(plain, legacy, version, chunks),
        _files(fast, plain, library, texts, rounds),
        _long_texts(fast, plain, texts, rounds),
    ]
    facts = {
        "texts": source,
        "mean characters": round(statistics.mean(map(len, texts))),
        "seen before the calls": f"{len(others):,} other texts",
        "vocabulary": f"{len(fast):,} tokens, uncased",
        "tokenizers": tokenizers.__version__,
        **machine(),
    }
    report(sections, facts, file)


def _calls(
    folder: Path, peer: Any, library: tokenizers.Tokenizer, version: str, chunks: list[list[str]], others: list[str]
) -> list[Section]:
    """A call with padding and truncation, to numpy and to torch.

    Tokenizers remember words. So each table has new ones, which have seen other texts, as one in service has, but not
    those that they are timed on.
    """
    library.enable_truncation(LONGEST)

    def call(tokenizer: Any, kind: str) -> Callable[[list[str]], Any]:
        return lambda texts: tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors=kind)

    sections = []
    for kind, name in (("np", "numpy"), ("pt", "torch")):
        for batch in BATCHES:
            fast, plain = BertTokenizerFast.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
            for text in others:
                fast(text)
                plain(text)
            contenders = {
                "glassbert BertTokenizerFast": call(fast, kind),
                "glassbert BertTokenizer": call(plain, kind),
                version: call(peer, kind),
            }
            if kind == "np":
                contenders["the library alone, and numpy"] = functools.partial(library_arrays, library)
            given = [[texts[begin : begin + batch] for begin in range(0, TEXTS, batch)] for texts in chunks]
            seconds = in_turns({name: functools.partial(_each, run) for name, run in contenders.items()}, given)
            milliseconds = {name: [1e3 * one * batch / TEXTS for one in times] for name, times in seconds.items()}
            title = f"A call, {batch} {'text' if batch == 1 else 'texts'} to padded {name} arrays"
            sections.append(_section(title, "ms a call", "as fast as transformers", milliseconds, version))
            for texts in chain.from_iterable(given):
                expected, *more = (encode(texts) for encode in contenders.values())
                for found in more:
                    assert all(np.array_equal(found[key], expected[key]) for key in expected)
    library.no_truncation()
    return sections


def _each(run: Callable[[list[str]], object], batches: list[list[str]]) -> None:
    for batch in batches:
        run(batch)


def _plain_python(plain: BertTokenizer, legacy: Any, version: str, chunks: list[list[str]]) -> Section:
    """Python alone, texts to lists of ids."""
    theirs = f"{version} BertTokenizerLegacy"
    fresh = BertTokenizer(plain.vocab, plain.do_lower_case)
    seconds = in_turns({"glassbert BertTokenizer": fresh, theirs: legacy}, chunks)
    for texts in chunks:
        assert fresh(texts)["input_ids"] == legacy(texts)["input_ids"]
    sizes = [_megabytes(texts) for texts in chunks[1:]]
    rates = {name: [size / one for size, one in zip(sizes, times, strict=True)] for name, times in seconds.items()}
    return _section("Python alone, 256 texts to lists", "MB/s", "as fast", rates, theirs, rate=True)


def _files(
    fast: BertTokenizerFast, plain: BertTokenizer, library: tokenizers.Tokenizer, texts: list[str], rounds: int
) -> Section:
    """encode_files, beside the library on the same texts in memory."""
    import pyarrow as pa
    from pyarrow import parquet

    many = texts * max(1, round(FILE / _megabytes(texts)))
    expected = [encoding.ids for encoding in library.encode_batch_fast(many)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.txt").write_bytes("".join(f"{text}\n" for text in many).encode())
        (folder / "a.jsonl").write_bytes("".join(json.dumps({"text": text}) + "\n" for text in many).encode())
        parquet.write_table(pa.table({"text": many}), folder / "a.parquet")

        def files(tokenizer: BertTokenizer, ending: str, _: object) -> Any:
            return encode_files(folder / f"a.{ending}", tokenizer, folder / "out", overwrite=True)

        contenders: dict[str, Callable[[object], Any]] = {
            "tokenizers, encode_batch_fast in memory": lambda _: library.encode_batch_fast(many),
            **{
                f"encode_files, {ending}": functools.partial(files, fast, ending)
                for ending in ("txt", "jsonl", "parquet")
            },
            "encode_files, txt, BertTokenizer": functools.partial(files, plain, "txt"),
        }
        for encode in list(contenders.values())[1:]:
            assert all(found.tolist() == ids for found, ids in zip(encode(None), expected, strict=True))
        seconds = in_turns(contenders, [None] * (rounds + 1))
    rates = {name: [_megabytes(many) / one for one in times] for name, times in seconds.items()}
    title = f"Files of {_megabytes(many):.1f} MB, {len(many):,} texts, to ids on disk"
    return _section(title, "MB/s", "of the library's rate", rates, next(iter(rates)), rate=True)


def _long_texts(fast: BertTokenizerFast, plain: BertTokenizer, texts: list[str], rounds: int) -> Section:
    """One very long text, half of it, and a very long word."""
    whole = " ".join(texts)
    whole = (whole * (2 * LONG // len(whole) + 1))[: 2 * LONG]
    half, word = whole[:LONG], "a" * 1_000_000
    rows: list[Row] = []
    for name, tokenizer in (("BertTokenizerFast", fast), ("BertTokenizer", plain)):

        def encode(tokenizer: BertTokenizer, text: str, _: object) -> object:
            return tokenizer.encodings([text])

        seconds = in_turns(
            {
                f"{name}, 5 MB": functools.partial(encode, tokenizer, half),
                f"{name}, 10 MB": functools.partial(encode, tokenizer, whole),
                f"{name}, a word of 1 MB": functools.partial(encode, tokenizer, word),
            },
            [None] * (rounds + 1),
        )
        five, *others = seconds.items()
        rows.append(Row(name=five[0], values=tuple(five[1]), ratio=None))
        for one, times in others:
            rows.append(Row(name=one, values=tuple(times), ratio=_ratios(times, five[1])))
    return Section(title="One long text to ids", unit="s", ratio="times the 5 MB", rows=rows)


def _megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def _ratios(upper: Sequence[float], lower: Sequence[float]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(upper, lower, strict=True))


def _section(
    title: str, unit: str, ratio: str, values: dict[str, list[float]], reference: str, *, rate: bool = False
) -> Section:
    """Hold everyone against `reference`, round by round: how many times faster."""
    rows = []
    for name, each in values.items():
        pair = (each, values[reference]) if rate else (values[reference], each)
        rows.append(Row(name=name, values=tuple(each), ratio=None if name == reference else _ratios(*pair)))
    return Section(title=title, unit=unit, ratio=ratio, rows=rows)


def report(sections: Sequence[Section], facts: dict[str, Any], file: Path | None) -> None:
    """Print a table for each section and, where asked for, write the same as JSON."""
    console = Console(highlight=False, width=max(118, Console().width))
    for section in sections:
        table = Table(title=section.title, title_justify="left", box=None, pad_edge=False, header_style="dim")
        table.add_column("", min_width=50)
        for heading in (section.unit, "min", "max", section.ratio, "min", "max"):
            table.add_column(heading, justify="right")
        for row in section.rows:
            cells = [f"{value:.3g}" for value in (row.median, min(row.values), max(row.values))]
            if row.ratio is not None:
                cells += [f"{value:.2f}×" for value in (statistics.median(row.ratio), min(row.ratio), max(row.ratio))]
            table.add_row(row.name, *cells)
        console.print(table)
        console.print()
    console.print("  ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if file is not None:
        values = {"facts": facts, "sections": [dataclasses.asdict(section) for section in sections]}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
