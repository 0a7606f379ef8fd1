"""`glassbert tune`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.markup import escape

from glassbert.cli.flags import takes
from glassbert.cli.options import Json
from glassbert.settings import TuningSettings


@takes(TuningSettings, arguments=["train"], from_file=True)
def tune(settings: TuningSettings, json: Json = False) -> None:
    """Fine-tune with many settings and keep the best model: learning rates, batch sizes, epochs, warm-up, decay.

    Trials are compared on validation data. The same command goes on where it was interrupted.

    The result is the best trial's model folder, as train writes it, with a table of all trials (tuning.html).

    Example: glassbert tune train.tsv --validation dev.tsv --model FOLDER --out OUT --learning-rates 1e-5:1e-4
    """
    from glassbert.cli.displays import TuningDisplay
    from glassbert.cli.printing import out as results
    from glassbert.cli.printing import print_json, print_trials, program, typed
    from glassbert.train import tune

    with TuningDisplay() as display:
        result = tune(settings, on_event=display.show)
    if json:
        trials = [dataclasses.asdict(trial) for trial in result.trials]
        print_json({"folder": str(settings.out), "best": result.best.number, "trials": trials})
        return
    print_trials(result)
    again = escape(f"{program()} train --config {typed(Path(settings.out) / 'settings.yaml')} --out AGAIN")
    results().print(
        f"saved in [bold]{escape(str(settings.out))}[/], with tuning.html; the same once more: {again}", soft_wrap=True
    )
