"""`glassbert convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from glassbert.cli.options import Json


class Form(StrEnum):
    """The forms of `glassbert.checkpoint.convert`."""

    HF = "hf"
    HF_BIN = "hf-bin"
    TF = "tf"
    TORCH_ENCODER = "torch-encoder"


class Activation(StrEnum):
    """The two forms of GELU."""

    GELU = "gelu"
    GELU_NEW = "gelu_new"


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FROM", help="Model folder, TensorFlow checkpoint, or repo on the hub.", show_default=False
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="TO", help="New folder.", show_default=False)],
    to: Annotated[Form, typer.Option("--to", help="Form of the new folder.")] = Form.HF,
    hidden_act: Annotated[
        Activation | None,
        typer.Option(
            "--hidden-act", help="Activation to note: gelu_new is the tanh form of Google's code.", show_default=False
        ),
    ] = None,
    zero_pruned_heads: Annotated[
        bool, typer.Option("--zero-pruned-heads", help="Write pruned heads as zeros, for any library.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace TO if it is there.")] = False,
    json: Json = False,
) -> None:
    """Read a model in one form and write it in another.

    hf: config.json and model.safetensors. hf-bin: pytorch_model.bin, as transformers 4.4.2 has it. tf: Google's
    TensorFlow checkpoint. torch-encoder: torch.nn.TransformerEncoder, which torch alone can build.

    Example: glassbert convert uncased_L-12_H-768_A-12 bert-base --to hf
    """
    from glassbert.checkpoint import convert as convert_folder
    from glassbert.cli.printing import print_json

    settings = {} if hidden_act is None else {"hidden_act": hidden_act.value}
    model = convert_folder(
        source, target, to=to.value, overwrite=overwrite, zero_pruned_heads=zero_pruned_heads, **settings
    )
    left_out = list(model.loading_info.ignored) if model.loading_info is not None else []
    if json:
        print_json(
            {
                "class": type(model).__name__,
                "form": to.value,
                "folder": str(target),
                "parameters": model.num_parameters(),
                "left_out": left_out,
            }
        )
        return
    print(f"{type(model).__name__}, {model.num_parameters():,} parameters, written to {target} as {to.value}")
    if left_out:
        shown = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
        print(f"left out: {shown}")
