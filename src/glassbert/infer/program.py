"""A model as a program: tensors in, named tensors out, and no Python between.

The program takes what a tokenizer gives, three tensors of any number of texts and any length that the model has places
for, and is the padded path of the model, its attention written out (`eager`): `torch.export` can take relative
positions no further where torch's fused kernel stands in them.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.errors import InputError
from glassbert.model import (
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertLMHeadModel,
    BertPreTrainedModel,
    ModelOutput,
    SentenceEncoder,
)

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
# Outputs with a row for each token; the heads whose `logits` have one as well.
_BY_TOKEN: Final = frozenset({"last_hidden_state", "prediction_logits", "start_logits", "end_logits"})
_BY_TOKEN_HEADS: Final = (BertForMaskedLM, BertLMHeadModel, BertForTokenClassification)
# Loggers of the libraries that record and write programs.
_TALKING: Final = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def outputs_of(model: BertPreTrainedModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a model says, by name.

    Args:
        model: any head or a bare BERT.
        inputs: (B, S) or, for multiple choice, (B, choices, S) tensors by the names of `INPUTS`.

    Returns:
        The tensors of the model's own output. A `SentenceEncoder` gives `last_hidden_state` (B, S, H) too, which
        programs that pool by themselves ask for.
    """
    sentences = isinstance(model, SentenceEncoder)
    output = model(**inputs, output_attentions=False, output_hidden_states=sentences, return_dict=True)
    assert isinstance(output, ModelOutput)
    tensors = {name: value for name, value in output.items() if isinstance(value, Tensor)}
    return {"last_hidden_state": output["hidden_states"][-1], **tensors} if sentences else tensors


def is_by_token(model: BertPreTrainedModel, name: str) -> bool:
    """Whether an output of the model has a row for each token, so that those of padding mean nothing."""
    return name in _BY_TOKEN or (name == "logits" and isinstance(model, _BY_TOKEN_HEADS))


def axes_of(model: BertPreTrainedModel) -> tuple[str, ...]:
    """Return what the axes of the model's inputs count."""
    return ("batch", "choices", "sequence") if isinstance(model, BertForMultipleChoice) else ("batch", "sequence")


def check_exportable(model: BertPreTrainedModel) -> None:
    """Refuse a model that no program of three inputs can stand for.

    Raises:
        InputError: by name, with what to do.
    """
    name = type(model).__name__
    if type(model) not in MODEL_CLASSES.values():
        raise InputError(f"a {name} cannot be exported, expected one of {', '.join(MODEL_CLASSES)}")
    if model.config.add_cross_attention:
        raise InputError(f"the {name} reads the states of another model (add_cross_attention), which no program takes")
    if model.config.is_decoder and model.config.use_cache:
        raise InputError(
            f"the {name} is a decoder with a cache (is_decoder, use_cache), which no program keeps; with use_cache "
            "false its scores of whole texts are exported"
        )
    strange = {str(tensor.dtype) for tensor in model.parameters() if tensor.dtype != torch.float32}
    if strange:
        raise InputError(f"the {name} is of {', '.join(sorted(strange))}, expected torch.float32; model.float() has it")


def program_of(model: BertPreTrainedModel) -> ExportedProgram:
    """Record the program of a model for all batches and lengths; the weights are the model's own, not copies.

    Raises:
        InputError: as `check_exportable`.
    """
    check_exportable(model)
    longest = model.config.max_position_embeddings
    dims = {
        "batch": Dim("batch", min=1),
        "choices": Dim("choices", min=1),
        "sequence": Dim("sequence", min=1, max=longest),
    }
    # An example of 1 would be taken for a size that is always 1.
    sizes = {"batch": 2, "choices": 3, "sequence": min(5, longest)}
    axes = axes_of(model)
    ones = torch.ones([sizes[name] for name in axes], dtype=torch.int64)
    shape = {place: dims[name] for place, name in enumerate(axes)}
    with torch.no_grad(), quiet():
        example = (torch.zeros_like(ones), ones, torch.zeros_like(ones))
        return torch.export.export(_Named(model), example, dynamic_shapes=dict.fromkeys(INPUTS, shape))


def save_program(program: ExportedProgram, file: Path) -> None:
    """Write a program with its weights, for `torch.export.load`.

    Raises:
        OSError: the disk refused a write.
    """
    with quiet():
        try:
            torch.export.save(program, file)
        except RuntimeError as error:  # how torch's writer reports a full disk
            raise OSError(str(error)) from error


def load_program(file: Path) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Read a program that `save_program` wrote; it takes and returns tensors by name."""
    with quiet():
        module = torch.export.load(file).module()

    @torch.no_grad()
    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = module(*(inputs[name] for name in INPUTS))
        return found

    return run


@final
class _Named(nn.Module):
    """A model with the three inputs of a program, in their order, and a dict as its output."""

    def __init__(self, model: BertPreTrainedModel) -> None:
        """Take the tensors of `model`, which stays as it is set."""
        super().__init__()
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        self.model = copy.deepcopy(model, shared).eval()
        self.model.attention_backend = "eager"

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        return outputs_of(self.model, dict(zip(INPUTS, (input_ids, attention_mask, token_type_ids))))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the libraries say of their own workings from the user; what went wrong they raise.

    Only the loggers of the libraries are changed, and they are as before when the block ends.
    """
    loggers = [logging.getLogger(name) for name in _TALKING]
    levels = [logger.level for logger in loggers]
    # The first line on a log that nobody has set up would set one up, for the whole program; and onnxruntime writes its
    # lines of quantization to the log's root.
    root, silence = logging.getLogger(), logging.NullHandler()
    root.addHandler(silence)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silence)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason(error: Exception) -> str:
    """Return what a library says went wrong, as one line; the cause of an error says more than its last wrapping."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
