"""Print the table of docs/export.md: each class exported, and how far its program is from it.

Run: python docs/export.py
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import torch

from glassbert import BertConfig, BertPreTrainedModel, export
from glassbert.checkpoint.folder import MODEL_CLASSES

# Google's BERT-mini, its weights drawn anew.
CONFIG = dataclasses.replace(BertConfig.preset("mini"), num_labels=3, use_cache=False)
RELATIVE = dataclasses.replace(CONFIG, position_embedding_type="relative_key_query")


def random_model(name: str, config: BertConfig) -> BertPreTrainedModel:
    """Build a class with weights as a fresh model has them, but five times as large, so that scores differ."""
    torch.manual_seed(0)
    decoder = name == "BertLMHeadModel"
    wide = dataclasses.replace(config, initializer_range=0.1, is_decoder=decoder)
    return MODEL_CLASSES[name](wide).eval()


def pruned(model: BertPreTrainedModel) -> BertPreTrainedModel:
    """Cut heads out of two layers."""
    model.prune_heads({0: [1], 2: [0, 3]})
    return model


def main() -> None:
    """Export every class in both forms."""
    models = {name: random_model(name, CONFIG) for name in MODEL_CLASSES}
    models["BertForTokenClassification, relative positions"] = random_model("BertForTokenClassification", RELATIVE)
    models["BertForSequenceClassification, pruned heads"] = pruned(
        random_model("BertForSequenceClassification", CONFIG)
    )
    print("| class | outputs | largest number | onnx | torch-export | onnx, MB | 8 bits, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, model in models.items():
        with tempfile.TemporaryDirectory() as folder:
            onnx = export(model, Path(folder, "onnx"), int8=True)
            program = export(model, Path(folder, "program"), to="torch-export")
        assert onnx.quantized is not None
        outputs = ", ".join(f"`{one}`" for one in onnx.outputs)
        magnitude = max(one.magnitude for one in onnx.differences.values() if one.magnitude < 1e30)
        gaps = " | ".join(f"{max(one.largest for one in form.differences.values()):.1e}" for form in (onnx, program))
        sizes = f"{onnx.quantized.bytes / 1e6:.1f} | {onnx.bytes / 1e6:.1f}"
        print(f"| `{name}` | {outputs} | {magnitude:.1f} | {gaps} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
