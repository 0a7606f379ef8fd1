"""One case, measured: a model, a profile of texts, a number of threads; every contender in turn, round by round."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from bench.common import Turn, forward_flops, gemm_rate, machine, minilm_folder, take_turn
from bench.encode.peers import FAMILIES, SENTENCES, Peer, Runner, Variant, Workshop, batches, our_dtypes
from bench.encode.profiles import TEXTS, Profile, Workload, workloads
from glassbert import BertConfig, BertModel, BertTokenizer, Engine, pipeline

ModelName = Literal["minilm", "base"]
MODELS: Final[tuple[ModelName, ...]] = get_args(ModelName)

OURS: Final = "glassbert"
# Texts of a peer's batch that are tried: the ways to run it are compared at the first, larger batches are tried as long
# as they are faster, and a smaller one where they are not.
_SIZES: Final = (16, 32, 64)
_SMALLER: Final = 8
# Tokens of the plain products that all is compared with; the fastest counts.
_GEMM_TOKENS: Final = (512, 2048, 4096)
# A peer in float32 that is further away computes something else.
_EXACT: Final = 1e-4
# BERT-base takes eight times as long for each token as MiniLM.
_FEWER: Final[dict[ModelName, int]] = {"minilm": 1, "base": 4}
_TITLES: Final[dict[ModelName, str]] = {
    "minilm": "all-MiniLM-L6-v2",
    "base": "BERT-base's shapes, random weights",
}
_PLURALS: Final = {
    "mixed": "texts of mixed length",
    "short": "short messages",
    "sentences": "sentences",
    "paragraphs": "paragraphs",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured in one process.

    Attributes:
        model: which one.
        profile: of the texts.
        threads: of every library.
        texts: how many; None takes about ten thousand tokens of MiniLM's.
        rounds: that count.
        patience: how often a turn may be repeated where other processes disturbed it.
        peers: names of libraries; empty for all.
    """

    model: ModelName = "minilm"
    profile: Profile = "mixed"
    threads: int = 1
    texts: int | None = None
    rounds: int = 3
    patience: int = 0
    peers: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many texts."""
        if self.texts is not None:
            return self.texts
        return TEXTS[self.profile] // (1 if self.profile == "one" else _FEWER[self.model])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One contender's figures.

    Attributes:
        peer: the library and its version; "glassbert" is ours.
        setting: how it ran, with what was found to be its best batch.
        dtype: what its products were computed in.
        model: name of the case's model.
        profile: of the texts.
        shape: the profile, or the shape of single texts.
        threads: of each library.
        seconds: of each round, or of the median text of each round where texts come one at a time.
        median: of these.
        gflops: useful work in a second at the median: real tokens only.
        share: of the rate of plain matrix products in float32, measured between the turns.
        ratio: how many times faster ours in float32 is, at the medians.
        difference: the largest to our own float32 results; None for those.
        cores: processor time by time.
        others: cores that other processes took meanwhile.
    """

    peer: str
    setting: str
    dtype: str
    model: str
    profile: str
    shape: str
    threads: int
    seconds: tuple[float, ...]
    median: float
    gflops: float
    share: float
    ratio: float
    difference: float | None
    cores: float
    others: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """The figures of one workload, and what they depend on."""

    title: str
    facts: dict[str, Any]
    rows: tuple[Result, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Entry:
    """A contender that is ready: `run` computes all texts, `singles` one each."""

    peer: str
    setting: str
    dtype: str
    run: Callable[[], Any]
    singles: Sequence[Callable[[], Any]]
    difference: float | None


def measure(case: Case) -> list[Section]:
    """Make or find the model of a case, and measure it."""
    with tempfile.TemporaryDirectory() as scratch:
        return measure_folder(case, _folder(case.model, Path(scratch)), Path(scratch))


def measure_folder(case: Case, folder: Path, scratch: Path) -> list[Section]:
    """Measure a model in a folder on the texts of a case.

    Args:
        case: what to measure.
        folder: with a `BertModel` and a tokenizer.
        scratch: an empty folder for files that are made on the way.
    """
    model = BertModel.from_pretrained(folder)
    tokenizer = BertTokenizer.from_pretrained(folder)
    sections = []
    for workload in workloads(case.profile, tokenizer, case.count):
        sections.append(_tokens(case, workload, model, folder, scratch))
    if case.model == "minilm" and workload.texts and (not case.peers or SENTENCES in case.peers):
        sections += _sentences(case, workload, model.config, folder)
    return sections


def _folder(name: ModelName, scratch: Path) -> Path:
    """Return the folder of a model; BERT-base gets weights by chance, always the same."""
    if name == "minilm":
        return minilm_folder()
    folder = scratch / "base"
    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    BertTokenizer.from_pretrained(minilm_folder()).save_pretrained(folder)
    return folder


def _tokens(case: Case, workload: Workload, model: BertModel, folder: Path, scratch: Path) -> Section:
    """Ids to the vectors of all tokens."""
    sequences = workload.sequences
    entries, ours = _our_entries(model, workload)
    shop = Workshop(folder, config=model.config, threads=case.threads, sequences=sequences, place=scratch)
    absent = []
    for family, make in FAMILIES.items():
        if case.peers and family not in case.peers:
            continue
        _say(case, workload, family)
        try:
            peers = make(shop)
        except ImportError:
            absent.append(family)
            continue
        for peer in peers:
            if not workload.single or peer.by_length:
                entries.append(_best(peer, workload, ours))
    _say(case, workload, f"{case.rounds} rounds of {len(entries)}")
    facts = {"texts": workload.source, **_facts_of(workload)}
    if absent:
        facts["not installed"] = ", ".join(absent)
    return _raced(case, workload, model.config, entries, f"{_TITLES[case.model]}: ids to token vectors", facts)


def _our_entries(model: BertModel, workload: Workload) -> tuple[list[_Entry], list[Tensor]]:
    entries, first = [], None
    for dtype in our_dtypes():
        engine = Engine(model, dtype=dtype)  # type: ignore[arg-type]
        states = engine.hidden_states(workload.sequences)
        difference = None
        if first is None:
            first = states
        else:
            difference = max(float((a.float() - b.float()).abs().max()) for a, b in zip(states, first, strict=True))
        entries.append(
            _Entry(
                peer=OURS,
                setting="",
                dtype=dtype,
                run=functools.partial(engine.hidden_states, workload.sequences),
                singles=[functools.partial(engine.hidden_states, [ids]) for ids in workload.sequences],
                difference=difference,
            )
        )
    assert first is not None
    return entries, first


def _best(peer: Peer, workload: Workload, ours: Sequence[Tensor]) -> _Entry:
    """Find a peer's best way to run and its best batch, and hold its results against ours.

    Raises:
        RuntimeError: a peer in float32 computes something else.
    """
    if workload.single:
        alone = [variant for variant in peer.variants if variant.lanes == 1]
        variant, size = min(alone, key=lambda one: _trial(one, workload.sequences, 1)), 1
    elif peer.size is not None:
        variant, size = peer.variants[0], peer.size
    else:
        # Every second text of the order is enough to choose by.
        order = sorted(range(len(workload.sequences)), key=lambda place: len(workload.sequences[place]))
        some = [workload.sequences[place] for place in order[::2]] or list(workload.sequences)
        variant, size = _fastest(peer.variants, some)
    runner = Runner(
        variant.load(),
        batches(workload.sequences, size, by_length=peer.by_length and not workload.single),
        variant.lanes,
    )
    difference = runner.difference(ours)
    if peer.dtype == "float32" and not difference <= _EXACT:
        raise RuntimeError(f"{peer.name}, {peer.setting}: {difference:.1e} from ours, expected at most {_EXACT:.0e}")
    details = [peer.setting, variant.name, "" if workload.single else f"batches of {size}"]
    return _Entry(
        peer=peer.name,
        setting=", ".join(filter(None, details)),
        dtype=peer.dtype,
        run=runner,
        singles=runner.singles(),
        difference=difference,
    )


def _fastest(variants: Sequence[Variant], sequences: Sequence[list[int]]) -> tuple[Variant, int]:
    """Compare the ways to run a peer at one size of batch, and sizes for the fastest: larger ones, or else smaller."""
    first, *larger = _SIZES
    trials = {place: _trial(variant, sequences, first) for place, variant in enumerate(variants)}
    place = min(trials, key=lambda one: trials[one])
    variant, size, seconds = variants[place], first, trials[place]
    for other in larger:
        taken = _trial(variant, sequences, other)
        if taken >= seconds:
            break
        size, seconds = other, taken
    if size == first and _trial(variant, sequences, _SMALLER) < seconds:
        size = _SMALLER
    return variant, size


def _trial(variant: Variant, sequences: Sequence[list[int]], size: int) -> float:
    """Return the time of batches of a size, that of the second pass."""
    runner = Runner(variant.load(), batches(sequences, size), variant.lanes)
    runner()
    return take_turn([runner]).seconds


def _sentences(case: Case, workload: Workload, config: BertConfig, folder: Path) -> list[Section]:
    """Texts to one vector each, tokens and all."""
    try:
        import sentence_transformers
    except ImportError:
        _say(case, workload, f"{SENTENCES} is not installed")
        return []
    _say(case, workload, SENTENCES)
    texts = list(workload.texts)
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    encode = pipeline("sentence-embedding", folder)

    def theirs(size: int) -> Any:
        return model.encode(texts, batch_size=size, show_progress_bar=False)

    trials = {}
    for size in (_SMALLER, *_SIZES):
        trials[size] = take_turn([functools.partial(theirs, size)]).seconds
    best = min(trials, key=lambda size: trials[size])
    found = np.stack([one.vector for one in encode(texts)])
    difference = float(np.abs(found - theirs(best)).max())
    if not difference <= _EXACT:
        raise RuntimeError(f"{SENTENCES}: {difference:.1e} from ours, expected at most {_EXACT:.0e}")
    entries = [
        _Entry(
            peer=OURS,
            setting="pipeline",
            dtype="float32",
            run=functools.partial(encode, texts),
            singles=(),
            difference=None,
        ),
        _Entry(
            peer=f"{SENTENCES} {sentence_transformers.__version__}",
            setting=f"batches of {best}",
            dtype="float32",
            run=functools.partial(theirs, best),
            singles=(),
            difference=difference,
        ),
    ]
    # What both cut away is no work.
    cut = dataclasses.replace(workload, sequences=tuple(ids[: model.max_seq_length] for ids in workload.sequences))
    facts = {"texts": workload.source, **_facts_of(cut)}
    return [_raced(case, cut, config, entries, f"{_TITLES[case.model]}: texts to sentence vectors", facts)]


def _raced(
    case: Case, workload: Workload, config: BertConfig, entries: Sequence[_Entry], title: str, facts: Mapping[str, Any]
) -> Section:
    """Let all contenders and plain matrix products take turns, and turn times into rows; the first is ours.

    Shares and ratios are medians of those within a round: what else the machine does changes from round to round.
    """
    flops = forward_flops(config, workload.lengths[:1] if workload.single else workload.lengths)
    products = _plain_products(config, workload)
    contenders = [*(entry.singles if workload.single else [entry.run] for entry in entries), [products.run]]
    turns: list[list[Turn]] = [[] for _ in contenders]
    for number in range(case.rounds + 1):
        for place, calls in enumerate(contenders):
            # Another library may have set the threads of the OpenMP runtime that torch shares with it.
            torch.set_num_threads(case.threads)
            # The first round does not count.
            turn = take_turn(calls, patience=case.patience if number else 0)
            if number:
                turns[place].append(turn)
    seconds = [[turn.seconds for turn in some] for some in turns]
    rates = [products.flops / one for one in seconds[-1]]
    rows = tuple(
        Result(
            peer=entry.peer,
            setting=entry.setting,
            dtype=entry.dtype,
            model=case.model,
            profile=case.profile,
            shape=workload.shape,
            threads=case.threads,
            seconds=tuple(own),
            median=statistics.median(own),
            gflops=flops / statistics.median(own) / 1e9,
            share=statistics.median(flops / one / rate for one, rate in zip(own, rates, strict=True)),
            ratio=statistics.median(one / first for one, first in zip(own, seconds[0], strict=True)),
            difference=entry.difference,
            cores=statistics.median(turn.cores for turn in some),
            others=statistics.median(turn.others for turn in some),
        )
        for entry, own, some in zip(entries, seconds, turns, strict=False)
    )
    measured = {
        **facts,
        **machine(),
        "threads": case.threads,
        "rounds": case.rounds,
        "GEMM GFLOP/s": round(statistics.median(rates) / 1e9, 1),
        "cores that GEMM got": round(statistics.median(turn.cores for turn in turns[-1]), 1),
        "cores that others took": round(statistics.median(turn.others for turn in turns[-1]), 1),
    }
    return Section(title=f"{title}, {_described(workload)}", facts=measured, rows=rows)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Products:
    """Plain matrix products: `flops` in a run."""

    run: Callable[[], object]
    flops: float


def _plain_products(config: BertConfig, workload: Workload) -> _Products:
    """Return as many products of the layers' shapes as the workload has, of the number of tokens that is fastest."""
    total = len(workload.sequences[0]) if workload.single else sum(workload.lengths)
    sizes = (total,) if workload.single else _GEMM_TOKENS
    tokens = max(sizes, key=lambda size: gemm_rate(config, (size,), repeats=4))
    width, inner = config.hidden_size, config.intermediate_size
    shapes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    pairs = [(torch.randn(tokens, into), torch.randn(out, into), torch.empty(tokens, out)) for into, out in shapes]
    times = config.num_hidden_layers * max(1, round(total / tokens))

    def run() -> None:
        for _ in range(times):
            for values, weight, result in pairs:
                torch.mm(values, weight.t(), out=result)

    return _Products(run=run, flops=times * sum(2.0 * tokens * into * out for into, out in shapes))


def _described(workload: Workload) -> str:
    if workload.single:
        return f"one text of {len(workload.sequences[0])} tokens at a time"
    if workload.shape == "equal":
        return f"{len(workload.sequences)} texts of {len(workload.sequences[0])} tokens"
    return f"{len(workload.sequences)} {_PLURALS.get(workload.shape, 'texts')}"


def _facts_of(workload: Workload) -> dict[str, Any]:
    lengths = workload.lengths
    return {
        "mean tokens": round(statistics.mean(lengths), 1),
        "longest": max(lengths),
    }


def _say(case: Case, workload: Workload, what: str) -> None:
    print(f"  {case.model}, {workload.shape}, threads {case.threads}: {what}", file=sys.stderr, flush=True)
