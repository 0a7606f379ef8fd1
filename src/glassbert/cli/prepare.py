"""`glassbert prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glassbert.cli.flags import takes
from glassbert.cli.options import Json
from glassbert.settings import PrepareSettings

if TYPE_CHECKING:
    from glassbert.data import Shards


@takes(PrepareSettings, arguments=["texts"])
def prepare(settings: PrepareSettings, json: Json = False) -> None:
    """Make the sequences that a BERT is pretrained with from text files of any size.

    The same text and settings give the same shards on every machine, with any number of workers and parts. A run that
    was ended goes on where it was when the command is given again.

    Example: glassbert prepare books/ --vocab my-vocabulary --out shards
    """
    from glassbert.cli.displays import PreparingDisplay
    from glassbert.cli.printing import print_json
    from glassbert.data import prepare as make

    with PreparingDisplay() as display:
        shards = make(settings, on_progress=display.show, say=display.say)
    if shards is None:
        if json:
            print_json({"folder": str(settings.out), "finished": False})
        return
    if json:
        print_json({"folder": str(settings.out), "finished": True, **facts(shards)})
        return
    _print(shards)


def facts(shards: Shards) -> dict[str, Any]:
    """Return what one wants to know of shards: how many, how full."""
    counts = shards.manifest["counts"]
    return {
        "objective": shards.objective,
        "shards": len(shards.manifest["shards"]),
        "sequences": len(shards.training),
        "held_out_sequences": len(shards.held_out),
        "tokens": shards.training.tokens,
        "fill": shards.training.tokens / (len(shards.training) * shards.max_length),
        "documents": counts["training documents"],
        "held_out_documents": counts.get("held-out documents", 0),
        "sentences": counts["sentences"],
        "unknown_share": counts.get("unknown tokens", 0) / max(1, counts["tokens"]),
        "label_1_share": counts.get("training label 1", 0) / len(shards.training),
        "divided_documents": counts.get("divided", 0),
        "divided_sentences": counts.get("long sentences", 0),
    }


def _print(shards: Shards) -> None:
    from rich.markup import escape
    from rich.table import Table

    from glassbert.cli.printing import note, out, program, typed

    found = facts(shards)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    label = {"nsp": "second part is from elsewhere", "sop": "parts are swapped"}.get(shards.objective)
    for name, value in {
        "documents": f"{found['documents']:,}, and {found['held_out_documents']:,} held out",
        "sentences": f"{found['sentences']:,}",
        "sequences": f"{found['sequences']:,}, and {found['held_out_sequences']:,} held out",
        "tokens": f"{found['tokens']:,}, {found['fill']:.1%} of {shards.max_length} a sequence",
        "unknown tokens": f"{found['unknown_share']:.3%}",
        **({label: f"{found['label_1_share']:.1%} of the pairs"} if label else {}),
    }.items():
        table.add_row(name, value)
    out().print(table)
    if found["divided_documents"]:
        note(
            f"{found['divided_documents']:,} times a document was divided, since it is longer than 1,000,000 characters"
        )
    if found["divided_sentences"]:
        note(f"{found['divided_sentences']:,} sentences were longer than a sequence and were divided")
    if not found["held_out_sequences"]:
        note("nothing was held out; --held-out takes a larger share")
    elif found["held_out_documents"] < 2 and shards.objective == "nsp":
        note("one document is held out, so its pairs are all of one document; --held-out takes a larger share")
    command = f"{program()} pretrain {typed(shards.folder)} --preset tiny --steps 10000 --out my-bert"
    out().print(f"\nnext: {escape(command)}", soft_wrap=True)
