"""`glassbert convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from glassbert.cli.options import Json, Overwrite


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
    fresh: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Parameters that get new random values; may be repeated."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Weights of FROM to leave out; may be repeated.")
    ] = None,
    num_labels: Annotated[
        int | None, typer.Option(help="Classes, where the files of FROM do not say.", show_default=False)
    ] = None,
    no_pooler: Annotated[
        bool,
        typer.Option("--no-pooler", help="Leave out the pooler of a BertModel, whether FROM has it or not."),
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a repo on the hub.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Read a model in one form and write it in another.

    hf: config.json and model.safetensors. hf-bin: pytorch_model.bin, as transformers 4.4.2 has it. tf: Google's
    TensorFlow checkpoint. torch-encoder: torch.nn.TransformerEncoder, which torch alone can build.

    Example: glassbert convert uncased_L-12_H-768_A-12 bert-base --to hf
    """
    from glassbert.checkpoint import LoadingInfo
    from glassbert.checkpoint import convert as convert_folder
    from glassbert.cli.printing import print_json
    from glassbert.errors import ConfigError

    asked: dict[str, Any] = {
        "hidden_act": None if hidden_act is None else hidden_act.value,
        "fresh": fresh,
        "ignore": ignore,
        "num_labels": num_labels,
        "revision": revision,
    }
    settings = {name: value for name, value in asked.items() if value}
    if no_pooler:
        settings["add_pooling_layer"] = False
    try:
        model = convert_folder(
            source, target, to=to.value, overwrite=overwrite, zero_pruned_heads=zero_pruned_heads, **settings
        )
    except TypeError as error:
        # Which class FROM holds is known only now; the others have no such argument.
        if "add_pooling_layer" not in str(error):
            raise
        raise ConfigError(f"{source}: holds no BertModel by itself, for which alone --no-pooler is") from None
    info = model.loading_info or LoadingInfo()
    if json:
        print_json(
            {
                "class": type(model).__name__,
                "form": to.value,
                "folder": str(target),
                "parameters": model.num_parameters(),
                "fresh": info.fresh,
                "left_out": info.ignored,
            }
        )
        return
    print(f"{type(model).__name__}, {model.num_parameters():,} parameters, written to {target} as {to.value}")
    for what, names in (("new, with random values", info.fresh), ("left out", info.ignored)):
        if names:
            print(f"{what}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else ""))
