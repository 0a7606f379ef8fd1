"""Answers from an ONNX file: what the engine does for a model, done by onnxruntime for an exported folder."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.checkpoint.filling import without_memory
from glassbert.checkpoint.folder import MODEL_CLASSES, find_source
from glassbert.checkpoint.place import inside, model_folder
from glassbert.errors import CheckpointError, InputError
from glassbert.infer.onnx import OnnxSession
from glassbert.infer.program import INPUTS
from glassbert.model import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    BertConfig,
    BertForPreTrainingOutput,
    BertPreTrainedModel,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SentenceEncoder,
    SentenceEncoderOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from glassbert.model.inputs import Inputs
from glassbert.model.sentence import pool
from glassbert.tasks.batching import Collate, FeaturesT, RowT

# Names of files, in the order in which they are looked for: at the top, as text-embeddings-inference and optimum have
# it, or in a folder, as repos of sentence-transformers do.
FILES: Final = ("model.onnx", "onnx/model.onnx")
# What each class returns, and which outputs a file has to have for it.
_OUTPUTS: Final[dict[str, tuple[type[ModelOutput], tuple[str, ...]]]] = {
    "BertModel": (BaseModelOutputWithPoolingAndCrossAttentions, ("last_hidden_state",)),
    "BertForPreTraining": (BertForPreTrainingOutput, ("prediction_logits", "seq_relationship_logits")),
    "BertForMaskedLM": (MaskedLMOutput, ("logits",)),
    "BertLMHeadModel": (CausalLMOutputWithCrossAttentions, ("logits",)),
    "BertForNextSentencePrediction": (NextSentencePredictorOutput, ("logits",)),
    "BertForSequenceClassification": (SequenceClassifierOutput, ("logits",)),
    "BertForMultipleChoice": (MultipleChoiceModelOutput, ("logits",)),
    "BertForTokenClassification": (TokenClassifierOutput, ("logits",)),
    "BertForQuestionAnswering": (QuestionAnsweringModelOutput, ("start_logits", "end_logits")),
    "SentenceEncoder": (SentenceEncoderOutput, ("sentence_embedding",)),
}
# Under these names a file that does not pool has the vectors of tokens.
_STATES: Final = ("last_hidden_state", "token_embeddings")
_TOKENS_PER_CALL: Final = 4096
# A text joins a call whose longest text it has at least this share of: padding is computed like any token.
_NEARLY: Final = 0.8


class OnnxEngine:
    """An exported folder made ready to run: many texts in, answers in their order out.

    What it answers is what `Engine` answers for the model that was exported. Any number of threads may use it at once.

    Args:
        folder: what `glassbert.export` wrote, or a folder of optimum or sentence-transformers with an ONNX file.
        threads: how many one call may use; None takes as many as torch does.
        tokens_per_call: most tokens, padding included, that are computed at once.
        file: its ONNX file, where there are several.

    Attributes:
        config: of the model.
        architecture: the name of the model's class; `task_of(config, architecture)` is what it has learned.
        session: the file.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: no such folder, none or a damaged ONNX file in it, or one that is not of the model's class.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        tokens_per_call: int = _TOKENS_PER_CALL,
        file: str | None = None,
    ) -> None:
        """Read the config and open the file."""
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(
                f"threads is {threads!r}, expected a whole number from 1, or None for as many as torch has"
            )
        root = model_folder(folder)
        source = find_source(
            root, {"revision": None, "token": None, "cache_dir": None, "local_files_only": True}, sentence=True
        )
        config = source.read_config()
        sentence = {} if source.sentence is None else source.sentence.settings()
        self.architecture = "SentenceEncoder" if sentence else (config.architectures or ["BertModel"])[0]
        if self.architecture not in MODEL_CLASSES:
            known = ", ".join(MODEL_CLASSES)
            raise CheckpointError(f"{source.config}: architectures names {self.architecture!r}; glassbert has {known}")
        self._encoder: SentenceEncoder | None = None
        if self.architecture == "SentenceEncoder":
            with without_memory():
                self._encoder = SentenceEncoder(config, **sentence)
            config = self._encoder.config
        self.config: BertConfig = config
        self.tokens_per_call = tokens_per_call
        self.session = OnnxSession(_file(root, file), threads=threads)
        self._kind, wanted = _OUTPUTS[self.architecture]
        pools = (
            self._encoder is not None
            and self._encoder.layers == 1
            and any(name in self.session.outputs for name in _STATES)
        )
        missing = [name for name in wanted if name not in self.session.outputs]
        if missing and not pools:
            raise CheckpointError(
                f"{self.session.file}: has the outputs {', '.join(self.session.outputs)}, expected {', '.join(wanted)} "
                f"of a {self.architecture}, which {source.config} names"
            )

    def run(
        self,
        features: Sequence[FeaturesT],
        collate: Collate[FeaturesT],
        rows: Callable[[Any, Sequence[FeaturesT]], Sequence[RowT]],
        *,
        states: bool = False,
    ) -> list[RowT]:
        """Return a row for each of `features`, in their order, as `Engine.run` does.

        Args:
            features: any number.
            collate: makes the arguments of a call from some of them; labels are left aside.
            rows: takes the model's output apart.
            states: whether all layers' hidden states are asked for, which no ONNX file gives.

        Raises:
            InputError: arguments that the model cannot have, such as too many tokens; or `states`.
        """
        if states:
            raise InputError(f"{self.session.file} gives no hidden states but the last; the engine float32 does")
        found: list[RowT | None] = [None] * len(features)
        for group in nearly_equal([len(feature) for feature in features], self.tokens_per_call):
            some = [features[place] for place in group]
            for place, row in zip(group, rows(self(**_inputs(collate(some))), some), strict=True):
                found[place] = row
        return cast(list[RowT], found)

    @property
    def name(self) -> str:
        """As `pipeline(engine=…)` has it."""
        return "onnx"

    @property
    def nbytes(self) -> int:
        """Bytes of the file, with those beside it that hold its weights."""
        file = self.session.file
        return sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*"))

    @property
    def kind(self) -> type[BertPreTrainedModel]:
        """The model's class."""
        return MODEL_CLASSES[self.architecture]

    def of_tokens(self) -> OnnxEngine:
        """Return an engine on the same file that gives the last layer's vectors of all tokens.

        Raises:
            InputError: the file has no such output.
        """
        if not any(name in self.session.outputs for name in _STATES):
            raise InputError(f"{self.session.file} has no vectors of tokens among its outputs; export a BertModel")
        body = copy.copy(self)
        body._kind, body._encoder = BaseModelOutputWithPoolingAndCrossAttentions, None
        return body

    def __call__(self, **inputs: Tensor) -> ModelOutput:
        """Compute one batch.

        Args:
            inputs: `input_ids` and, where they are not all ones and zeros, `attention_mask` and `token_type_ids`;
                (B, S) or, for multiple choice, (B, choices, S).

        Returns:
            What the model returns, without hidden states and attentions.

        Raises:
            InputError: as the model raises it.
        """
        strange = inputs.keys() - {"input_ids", "attention_mask", "token_type_ids"}
        if strange or "input_ids" not in inputs:
            raise InputError(f"an ONNX file takes input_ids, attention_mask and token_type_ids, not {sorted(inputs)}")
        shape = inputs["input_ids"].shape
        # (B, C, S) -> (B·C, S), and back again
        flat = {name: tensor.flatten(0, -2) if tensor.dim() == 3 else tensor for name, tensor in inputs.items()}
        checked = Inputs.check(self.config, **flat, use_cache=False, output_attentions=False)  # type: ignore[arg-type]
        if "token_type_ids" not in self.session.inputs and bool(checked.types.any()):
            raise InputError(f"{self.session.file} takes no token_type_ids, which tell second texts from first ones")
        assert checked.ids is not None
        given = {"input_ids": checked.ids, "attention_mask": checked.mask_or_ones(), "token_type_ids": checked.types}
        found = self.session({name: tensor.to(torch.int64).view(shape) for name, tensor in given.items()})
        if self._encoder is not None and "sentence_embedding" not in found:
            found["sentence_embedding"] = self._pooled(found, checked.mask_or_ones())
        if _STATES[1] in found:
            found.setdefault(_STATES[0], found[_STATES[1]])
        known = {field.name for field in dataclasses.fields(self._kind)}
        return self._kind(**{name: tensor for name, tensor in found.items() if name in known})

    def _pooled(self, found: dict[str, Tensor], real: Tensor) -> Tensor:
        """Do for a file without pooling what the encoder does with the vectors of tokens, (B, S, H) -> (B, H)."""
        assert self._encoder is not None
        states = next(found[name] for name in _STATES if name in found)
        vectors = pool(states, real, self._encoder.pooling)
        vectors = F.normalize(vectors, dim=-1) if self._encoder.normalize else vectors
        return vectors[:, : self._encoder.truncate_dim]


def _inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a file takes of a batch: neither labels nor places that are asked for, since it computes all."""
    return {name: tensor for name, tensor in batch.items() if name in INPUTS}


def nearly_equal(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Group the places 0 … N - 1, longest first, for calls that compute padding like any token.

    No group has more than `token_budget` tokens when it is padded, and no text in it is much shorter than its longest.
    A text that is longer than the budget stands alone. Equal lengths keep their order.
    """
    groups: list[list[int]] = []
    longest = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        full = not groups or (len(groups[-1]) + 1) * longest > token_budget
        if full or lengths[place] < _NEARLY * longest:
            groups.append([])
            longest = lengths[place]
        groups[-1].append(place)
    return groups


def _file(root: Path, name: str | None) -> Path:
    """Find the ONNX file of a folder.

    Raises:
        CheckpointError: there is none, or there are several and none is named.
    """
    if name is not None:
        folder, _, plain = name.rpartition("/")
        return inside(inside(root, folder) if folder else root, plain)
    there = [one for place in (root, root / "onnx") if place.is_dir() for one in sorted(place.glob("*.onnx"))]
    usual = [root / one for one in FILES if root / one in there]
    if not there:
        raise CheckpointError(f"{root}: holds no {FILES[0]}; glassbert export {root} --to onnx --out OUT writes one")
    if not usual and len(there) > 1:
        names = ", ".join(str(one.relative_to(root)) for one in there)
        raise CheckpointError(f"{root}: holds {names}, but no {FILES[0]}; name one of them: file=…")
    return inside((usual or there)[0].parent, (usual or there)[0].name)
