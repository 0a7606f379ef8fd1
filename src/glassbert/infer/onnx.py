"""ONNX files: written by torch, made smaller and run by onnxruntime.

The only file that imports onnx's libraries, but for the rules that it applies (`onnx_form.py`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import torch
from torch import Tensor
from torch.export import ExportedProgram

from glassbert.errors import CheckpointError, MissingExtraError
from glassbert.files import check_content
from glassbert.infer.onnx_form import RULES
from glassbert.infer.program import INPUTS, quiet, reason

# The first that has GELU as one operator, which runs faster than its formula; runtimes have it since early 2024.
OPSET: Final = 20
# One file holds at most 2 GB; weights of more bytes than this go into a file beside it.
_LARGEST: Final = 1_600_000_000


class OnnxSession:
    """An ONNX file, ready to run on the CPU. Any number of threads may run it at once.

    Args:
        file: with the inputs `input_ids`, `attention_mask` and perhaps `token_type_ids`, of int64.
        threads: how many one call may use; None takes as many as torch does.

    Attributes:
        inputs: the names of its inputs.
        outputs: the names of its outputs.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: no ONNX file, a damaged one, or one of other inputs.
    """

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        """Read the file and let onnxruntime join what it can."""
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4  # what goes wrong comes as an exception, and is not to be printed as well
        check_content(file)
        try:
            self._session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of onnxruntime have no other base
            raise CheckpointError(f"{file}: onnxruntime cannot read it: {reason(error)}") from None
        given = {one.name: one.type for one in self._session.get_inputs()}
        if not {"input_ids", "attention_mask"} <= given.keys() <= set(INPUTS):
            raise CheckpointError(
                f"{file}: has the inputs {', '.join(given) or 'none'}, expected input_ids, attention_mask and perhaps "
                "token_type_ids; export the model with glassbert export"
            )
        for name, kind in given.items():
            if kind != "tensor(int64)":
                raise CheckpointError(f"{file}: {name} is a {kind}, expected tensor(int64)")
        self.file = file
        self.inputs = tuple(given)
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run once.

        Args:
            inputs: int64 tensors by name; those that the file has no use for are left aside.

        Raises:
            CheckpointError: onnxruntime cannot compute it.
        """
        arrays = {name: inputs[name].contiguous().numpy() for name in self.inputs}
        try:
            found = self._session.run(None, arrays)
        except Exception as error:  # as above
            raise CheckpointError(f"{self.file}: onnxruntime cannot run it: {reason(error)}") from None
        return {name: torch.from_numpy(array) for name, array in zip(self.outputs, found, strict=True)}


def write_onnx(program: ExportedProgram, file: Path, *, outputs: Sequence[str], axes: Sequence[str]) -> None:
    """Write a program of `program_of` as an ONNX file; weights of more than 2 GB stand in a file beside it.

    Args:
        program: of the three inputs.
        file: where to.
        outputs: their names.
        axes: what the axes of the inputs count.

    Raises:
        MissingExtraError: onnxscript is not installed.
        CheckpointError: torch has no form in ONNX for some part of it.
        OSError: the disk refused a write.
    """
    check_installed()
    with quiet():
        try:
            written = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=list(outputs),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise CheckpointError(f"torch cannot write it as ONNX: {reason(error)}") from error
        assert written is not None
        _rewrite(written)
        _name_axes(written, axes)
        written.save(file, external_data=_bytes(program) > _LARGEST)


def quantize_onnx(file: Path, target: Path) -> None:
    """Write an ONNX file with its embeddings and the weights of its matrix products in 8 bits.

    Weights get a scale for each column, an embedding table one for all. What a product takes is brought to 8 bits as
    well, by the range of each call (dynamic quantization); all else stays as it is. Weights take 7 of the bits: sums of
    two products then fit 16 bits, so that processors without instructions for them (VNNI) give the same answers.

    Raises:
        MissingExtraError: onnx is not installed.
        OSError: the disk refused a write.
    """
    check_installed()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(file)
    # Shapes as torch noted them; the quantizer turns some weights round and then takes their old shapes for an error.
    del model.graph.value_info[:]
    # The last products of a head have a row for each text alone: next to no time, and all of the answer.
    last = [f"{node.name}_MatMul" for node in model.graph.node if node.op_type == "Gemm"]
    with quiet():
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_exclude=last,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*")) > _LARGEST,
        )


def check_installed() -> None:
    """Ask for all libraries that writing takes, before any work.

    Raises:
        MissingExtraError: one is not installed.
    """
    for name in ("onnx", "onnxscript"):
        _import(name)
    _runtime()


def _runtime() -> ModuleType:
    return _import("onnxruntime")


def _import(name: str) -> ModuleType:
    with quiet():
        try:
            return importlib.import_module(name)
        except ImportError:
            raise MissingExtraError(name, "onnx") from None


def _rewrite(written: torch.onnx.ONNXProgram) -> None:
    """Bring the graph into the form that onnxruntime's optimizer knows, and leave out the shapes between its ends."""
    from onnx_ir.passes import Sequential, common
    from onnxscript.rewriter import pattern, rewrite

    rewrite(written.model, [pattern.RewriteRule(rule.pattern, rule.replacement, rule.holds) for rule in RULES])
    # What the rules wrote for each layer is the same in all of them.
    Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    )(written.model)
    # Where onnxruntime is sure of all shapes, it joins each LayerNorm with the sums before it as it opens the file, to
    # an operator that takes longer on a processor than what it stands for.
    for node in written.model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.type = value.shape = None


def _name_axes(written: torch.onnx.ONNXProgram, places: Sequence[str]) -> None:
    """Give the open axes of the inputs names that say what they count; torch calls them s18 and the like."""
    rename = getattr(written, "rename_axes", None)
    if rename is not None:  # else an older torch, whose names stay
        shape = written.model.graph.inputs[0].shape or ()
        rename({str(axis.value): name for axis, name in zip(shape, places) if not isinstance(axis, int)})


def _bytes(program: ExportedProgram) -> int:
    """Count the bytes of the weights; tensors with several names once."""
    tensors = {tensor.data_ptr(): tensor for tensor in program.state_dict.values()}
    return sum(tensor.nbytes for tensor in tensors.values())
