"""The ONNX files that onnxruntime and OpenVINO are measured on: plain, fused, and in 8 bits.

The graph is that of transformers' model, written so that onnxruntime's optimizer knows its attention again. glassbert's
own export has the same operators after the optimizer, and takes as long before and after it (`docs/decisions.md`).
"""

from __future__ import annotations

import collections
import math
import warnings
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT: Final = "last_hidden_state"
_OPSET: Final = 17
# Of a masked place, before the softmax; the number that the optimizers look for.
_MASKED: Final = -10000.0


class _Encoder(nn.Module):
    """transformers' embeddings and layers with a mask that is one product: what BERT's own program had."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings = model.embeddings
        self.layers = model.encoder.layer

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, S) three times -> (B, S, H)."""
        hidden: Tensor = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        # (B, S) -> (B, 1, 1, S)
        mask = (1.0 - attention_mask[:, None, None, :].float()) * _MASKED
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **_: Any
) -> tuple[Tensor, Tensor]:
    """Do what transformers' eager attention does, with a division: a product in its place hides the mask's own."""
    scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(query.shape[-1]) + attention_mask
    weights = scores.softmax(-1)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def write_plain(folder: Path, target: Path) -> None:
    """Write the model of a folder as ONNX: batch and length are open."""
    import transformers

    transformers.AttentionInterface.register("divided", _attention)
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="divided").eval()
    ids = torch.arange(8).view(2, 4)
    axes = {name: {0: "batch", 1: "length"} for name in (*INPUTS, OUTPUT)}
    with warnings.catch_warnings():
        # The newer exporter writes constants that the optimizer does not follow; this one is said to go some day.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Encoder(model).eval(),
            (ids, torch.ones_like(ids), torch.zeros_like(ids)),
            str(target),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes=axes,
            opset_version=_OPSET,
            dynamo=False,
        )


def write_fused(plain: Path, target: Path, *, heads: int, width: int, layers: int) -> None:
    """Write a plain graph with whole attentions, embeddings and sums with LayerNorm as one operator each.

    Raises:
        RuntimeError: the optimizer did not find the attention of every layer.
    """
    from onnxruntime.transformers import optimizer

    model = optimizer.optimize_model(str(plain), model_type="bert", num_heads=heads, hidden_size=width, opt_level=0)
    operators = collections.Counter(node.op_type for node in model.model.graph.node)
    if operators["Attention"] != layers:
        raise RuntimeError(f"onnxruntime's optimizer fused {operators['Attention']} attentions of {layers} layers")
    model.save_model_to_file(str(target))


def write_int8(source: Path, target: Path) -> None:
    """Write a graph with 8 bits in the weights of its products; what they take is brought to 8 bits in each call."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        per_channel=True,
        weight_type=QuantType.QInt8,
        # The operators of the fused graph are onnxruntime's own, whose results have no type in ONNX's eyes.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
