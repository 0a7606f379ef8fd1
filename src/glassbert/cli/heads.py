"""`glassbert heads …`: what each head is good for, and a model without the least useful."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from glassbert.cli.findings import ModelName, Overwrite, shows
from glassbert.cli.flags import takes
from glassbert.settings import ReadingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glassbert.inspect import Finding

heads = typer.Typer(
    name="heads",
    help="Measure what each head of a model does for its task, and cut out those that do least.",
    rich_markup_mode="rich",
)

Limit = Annotated[int, typer.Option("--limit", help="Most examples that are taken; 0 takes all.", min=0)]
Seed = Annotated[int, typer.Option("--seed", help="Decides which examples are drawn.")]


@heads.command()
@takes(ReadingSettings)
@shows
def importance(
    settings: ReadingSettings,
    model: ModelName,
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Labelled data: .csv, .tsv, .jsonl, .json, .parquet or .conll."),
    ],
    method: Annotated[
        Literal["both", "ablation", "gradient"],
        typer.Option("--method", help="Take each head away and measure; or follow the loss back, which is faster."),
    ] = "both",
    limit: Limit = 500,
    seed: Seed = 0,
) -> Finding:
    """Measure what each head does for the task that the model has learned.

    Each head alone is taken away and the metric measured again; and the gradient of the loss tells how much it feels
    each head, at the cost of one pass (Michel et al., 2019).

    Example: glassbert heads importance OUT test.tsv
    """
    from glassbert.cli.displays import StepsDisplay
    from glassbert.inspect import importance as measure

    with StepsDisplay() as display:
        return measure(
            model, data, method=method, limit=limit or None, reading=settings, seed=seed, on_step=display.show
        )


@heads.command()
@takes(ReadingSettings)
@shows
def prune(
    settings: ReadingSettings,
    model: ModelName,
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA...",
            help="Labelled data by which heads are chosen and the models measured.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the model without them; must be new.", show_default=False)
    ] = None,
    share: Annotated[
        float | None,
        typer.Option("--share", help="Share of all heads that goes, the least useful.", show_default=False),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="LAYER:HEADS", help="Heads that go, such as 3:0,5; from 0.", show_default=False),
    ] = None,
    by: Annotated[
        Literal["ablation", "gradient"], typer.Option("--by", help="What tells how useful a head is.")
    ] = "ablation",
    zero: Annotated[
        bool, typer.Option("--zero", help="Keep the shapes and write zeros, which any library can load.")
    ] = False,
    limit: Limit = 500,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> Finding:
    """Cut heads out of a model; tell size, speed and metric before and after, and save it.

    Heads are chosen by one half of the examples and both models measured by the other. MODEL itself stays as it is.

    Example: glassbert heads prune OUT valid.tsv --share 0.25 --out OUT-pruned

    Example: glassbert heads prune OUT --head 0:3 --head 5:1,2 --out OUT-pruned --zero
    """
    from glassbert.cli.displays import StepsDisplay
    from glassbert.inspect import prune as cut

    named = _named(head) if head else None
    with StepsDisplay() as display:
        return cut(
            model,
            data or None,
            heads=named,
            share=share,
            by=by,
            out=out,
            zero=zero,
            overwrite=overwrite,
            limit=limit or None,
            reading=settings,
            seed=seed,
            on_step=display.show,
        )


def _named(given: Sequence[str]) -> dict[int, list[int]]:
    """Read LAYER:HEAD,HEAD.

    Raises:
        ConfigError: something else.
    """
    from glassbert.errors import ConfigError

    found: dict[int, list[int]] = {}
    for one in given:
        layer, _, those = one.partition(":")
        try:
            numbers = [int(number) for number in those.split(",")]
            found.setdefault(int(layer), []).extend(numbers)
        except ValueError:
            raise ConfigError(f"--head is {one!r}, expected a layer and its heads, such as 3:0,5") from None
    return found
