"""The contenders: glassbert's engine, and every peer in each setting that is worth a try."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Sequence
from importlib import util
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import torch

from bench.encode.graphs import INPUTS, OUTPUT, write_fused, write_int8, write_plain
from glassbert import BertConfig

Array = npt.NDArray[Any]

# Texts that OpenVINO's quantization looks at.
_CALIBRATION: Final = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Some texts, padded to the longest of them: what peers are given, made outside of the timing.

    Attributes:
        places: which texts, in the order of the rows.
        ids: token ids, (B, S), int64.
        mask: 1 for what is real, (B, S), int64.
    """

    places: tuple[int, ...]
    ids: Array
    mask: Array

    @property
    def types(self) -> Array:
        """Token types: all zero, (B, S)."""
        return np.zeros_like(self.ids)


def batches(sequences: Sequence[Sequence[int]], size: int, *, by_length: bool = True) -> list[Batch]:
    """Make padded batches of `size` texts, in order of length or as they came."""
    order = list(range(len(sequences)))
    if by_length:
        order.sort(key=lambda place: len(sequences[place]))
    made = []
    for begin in range(0, len(order), size):
        places = tuple(order[begin : begin + size])
        longest = max(len(sequences[place]) for place in places)
        ids, mask = np.zeros((len(places), longest), np.int64), np.zeros((len(places), longest), np.int64)
        for row, place in enumerate(places):
            length = len(sequences[place])
            ids[row, :length], mask[row, :length] = sequences[place], 1
        made.append(Batch(places=places, ids=ids, mask=mask))
    return made


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A model, loaded.

    Attributes:
        prepare: brings a batch into the form that `run` takes, outside of the timing.
        run: computes (B, S, H), for the caller to keep.
    """

    prepare: Callable[[Batch], Any]
    run: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to run a peer.

    Attributes:
        name: what is special about it; empty where there is but one.
        lanes: how many batches are computed at once, each by its part of the threads.
        load: makes it ready.
    """

    name: str
    lanes: int
    load: Callable[[], Program]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """One contender.

    Attributes:
        name: the library and its version.
        setting: in which it runs.
        dtype: what its products are computed in.
        variants: ways to run it, the fastest of which is raced.
        by_length: whether batches hold texts of nearly equal length.
        size: of its batches; None tries several.
    """

    name: str
    setting: str
    dtype: str
    variants: tuple[Variant, ...]
    by_length: bool = True
    size: int | None = None


class Workshop:
    """What the peers are made from.

    Attributes:
        folder: of the model, in the layout of Hugging Face.
        config: its config.
        threads: how many each may use.
        sequences: ids to calibrate with.
        place: for files that are made on the way.
    """

    def __init__(
        self, folder: Path, *, config: BertConfig, threads: int, sequences: Sequence[Sequence[int]], place: Path
    ) -> None:
        self.folder = folder
        self.config = config
        self.threads = threads
        self.sequences = sequences
        self.place = place

    @functools.cached_property
    def plain(self) -> Path:
        """ONNX file with one operator for each step."""
        target = self.place / "plain.onnx"
        write_plain(self.folder, target)
        return target

    @functools.cached_property
    def fused(self) -> Path:
        """The same after onnxruntime's optimizer for BERT."""
        target = self.place / "fused.onnx"
        shape = self.config
        write_fused(
            self.plain,
            target,
            heads=shape.num_attention_heads,
            width=shape.hidden_size,
            layers=shape.num_hidden_layers,
        )
        return target

    def in_lanes(self, load: Callable[[int], Program], name: str = "") -> tuple[Variant, ...]:
        """Return the ways to share out the threads: all for one batch, or one for each of several.

        Args:
            load: makes a program for so many batches at once.
            name: of what is run.
        """
        made = [Variant(name=name, lanes=1, load=lambda: load(1))]
        if self.threads > 1:
            several = f"{self.threads} batches at once"
            several = f"{name}, {several}" if name else several
            made.append(Variant(name=several, lanes=self.threads, load=lambda: load(self.threads)))
        return tuple(made)


def _transformers(shop: Workshop) -> list[Peer]:
    import transformers

    def load(attention: str) -> Program:
        # Without the pooler, whose answer nobody reads here.
        make = functools.partial(transformers.BertModel.from_pretrained, add_pooling_layer=False)
        model = make(shop.folder, attn_implementation=attention).eval()

        def run(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            with torch.inference_mode():
                states: torch.Tensor = model(**batch).last_hidden_state
            return states

        return Program(prepare=lambda batch: {name: torch.from_numpy(array) for name, array in _named(batch)}, run=run)

    return [
        Peer(
            name=f"transformers {transformers.__version__}",
            setting=setting,
            dtype="float32",
            variants=(Variant(name="", lanes=1, load=functools.partial(load, attention)),),
            by_length=by_length,
            size=None if by_length else 32,
        )
        for setting, attention, by_length in (
            ("sdpa, arrival order", "sdpa", False),
            ("eager, arrival order", "eager", False),
            ("sdpa", "sdpa", True),
            ("eager", "eager", True),
        )
    ]


def _onnxruntime(shop: Workshop) -> list[Peer]:
    import onnxruntime

    def load(file: Path, lanes: int) -> Program:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = shop.threads // lanes
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return Program(prepare=lambda batch: dict(_named(batch)), run=lambda given: session.run([OUTPUT], given)[0])

    def int8(source: Path, lanes: int) -> Program:
        target = source.with_suffix(".int8.onnx")
        if not target.exists():
            write_int8(source, target)
        return load(target, lanes)

    name = f"onnxruntime {onnxruntime.__version__}"
    plain, fused = shop.plain, shop.fused
    return [
        Peer(
            name=name,
            setting="plain graph",
            dtype="float32",
            variants=shop.in_lanes(functools.partial(load, plain)),
        ),
        Peer(
            name=name,
            setting="fused graph",
            dtype="float32",
            variants=shop.in_lanes(functools.partial(load, fused)),
        ),
        Peer(
            name=name,
            setting="dynamic",
            dtype="int8",
            variants=(
                *shop.in_lanes(functools.partial(int8, plain), "plain graph"),
                *shop.in_lanes(functools.partial(int8, fused), "fused graph"),
            ),
        ),
    ]


def _openvino(shop: Workshop) -> list[Peer]:
    import openvino

    core = openvino.Core()

    def load(model: Callable[[], Any], precision: str, lanes: int) -> Program:
        settings = {
            # Left alone it computes float32 models in bfloat16 where the processor has AMX.
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": shop.threads,
            "NUM_STREAMS": lanes,
        }
        compiled = core.compile_model(model(), "CPU", settings)
        requests = threading.local()

        def run(given: dict[str, Array]) -> Any:
            # A request computes one batch at a time, so that each lane has its own.
            request = getattr(requests, "own", None)
            if request is None:
                request = requests.own = compiled.create_infer_request()
            return request.infer(given, share_inputs=True)[0]

        return Program(prepare=lambda batch: dict(_named(batch)), run=run)

    @functools.cache
    def plain() -> Any:
        return core.read_model(shop.plain)

    @functools.cache
    def quantized() -> Any:
        # It prints a bar for each of its steps.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            import nncf

            texts = [shop.sequences[place] for place in range(0, len(shop.sequences), _stride(shop.sequences))]
            samples = [dict(_named(batch)) for batch in batches(texts, 1)]
            return nncf.quantize(
                core.read_model(shop.plain),
                nncf.Dataset(samples),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(samples),
            )

    name = f"OpenVINO {openvino.__version__.split('-')[0]}"

    def peer(setting: str, dtype: str, model: Callable[[], Any], precision: str) -> Peer:
        variants = shop.in_lanes(functools.partial(load, model, precision))
        return Peer(name=name, setting=setting, dtype=dtype, variants=variants)

    made = [peer("", "float32", plain, "f32")]
    if "bfloat16" in our_dtypes():
        made.append(peer("", "bfloat16", plain, "bf16"))
    if util.find_spec("nncf") is not None:
        made.append(peer("static, by NNCF", "int8", quantized, "f32"))
    return made


def _ctranslate2(shop: Workshop) -> list[Peer]:
    import ctranslate2

    folder = shop.place / "ctranslate2"

    def load(dtype: str, lanes: int) -> Program:
        if not folder.exists():
            ctranslate2.converters.TransformersConverter(str(shop.folder)).convert(str(folder))
        encoder = ctranslate2.Encoder(
            str(folder),
            device="cpu",
            compute_type=dtype,
            inter_threads=lanes,
            intra_threads=shop.threads // lanes,
        )

        def prepare(batch: Batch) -> tuple[Any, Any]:
            arrays = batch.ids.astype(np.int32), batch.mask.sum(1).astype(np.int32)
            ids, lengths = map(ctranslate2.StorageView.from_array, arrays)
            return ids, lengths

        return Program(prepare=prepare, run=lambda given: np.asarray(encoder.forward_batch(*given).last_hidden_state))

    return [
        Peer(
            name=f"CTranslate2 {ctranslate2.__version__}",
            setting="",
            dtype=dtype,
            variants=shop.in_lanes(functools.partial(load, dtype)),
        )
        for dtype in ("float32", "int8")
    ]


# What makes the contenders of each library. Where one is not installed, its ImportError leaves it out.
FAMILIES: Final[dict[str, Callable[[Workshop], list[Peer]]]] = {
    "transformers": _transformers,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "ctranslate2": _ctranslate2,
}
SENTENCES: Final = "sentence-transformers"


class Runner:
    """A peer's program with prepared batches: a call computes all of them."""

    def __init__(self, program: Program, given: Sequence[Batch], lanes: int) -> None:
        self._program = program
        self._given = [program.prepare(batch) for batch in given]
        self._places = [batch.places for batch in given]
        self._pool = concurrent.futures.ThreadPoolExecutor(lanes) if lanes > 1 else None

    def __call__(self) -> list[Any]:
        """Return (B, S, H) of each batch."""
        if self._pool is None:
            return [self._program.run(one) for one in self._given]
        return list(self._pool.map(self._program.run, self._given))

    def singles(self) -> list[Callable[[], Any]]:
        """Return a call for each batch."""
        return [functools.partial(self._program.run, one) for one in self._given]

    def difference(self, ours: Sequence[torch.Tensor]) -> float:
        """Return the largest difference to our vectors, over all tokens of all texts."""
        largest = 0.0
        for places, states in zip(self._places, self(), strict=True):
            rows = np.asarray(states)
            for row, place in zip(rows, places, strict=True):
                expected = ours[place].float().numpy()
                largest = max(largest, float(np.abs(row[: len(expected)] - expected).max()))
        return largest


def _named(batch: Batch) -> list[tuple[str, Array]]:
    return list(zip(INPUTS, (batch.ids, batch.mask, batch.types), strict=True))


def _stride(sequences: Sequence[Sequence[int]]) -> int:
    return max(1, len(sequences) // _CALIBRATION)


def our_dtypes() -> tuple[str, ...]:
    """Return what glassbert's engine computes in, float32 first."""
    from glassbert.infer import engine

    return tuple(get_args(engine.Dtype))
