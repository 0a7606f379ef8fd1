"""`glassbert pretrain`."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from glassbert.cli.flags import takes
from glassbert.cli.options import Json
from glassbert.settings import PretrainSettings


@takes(PretrainSettings, arguments=["shards"], from_file=True)
def pretrain(settings: PretrainSettings, json: Json = False) -> None:
    """Pretrain a BERT on shards that glassbert prepare has made, from nothing or from a model.

    The result is a model folder with a report (report.html), a model card and settings.yaml, which --config takes.
    Ctrl-C saves what was done, and --resume goes on from it. torchrun -m glassbert pretrain … trains in several
    processes.

    Example: glassbert pretrain shards --preset tiny --steps 10000 --out my-bert
    """
    from glassbert.cli.displays import PretrainingDisplay
    from glassbert.cli.printing import out as results
    from glassbert.cli.printing import print_json, print_pretraining, program, typed
    from glassbert.cli.train import tell_ended
    from glassbert.train import pretrain as run
    from glassbert.train.devices import rank
    from glassbert.train.outputs import standing_result

    if settings.resume and not settings.overwrite and (record := standing_result(settings, settings.out)) is not None:
        if not rank():
            tell_ended(settings, record, json)
        return
    with PretrainingDisplay() as display:
        result = run(settings, on_event=display.show)
    if rank():
        return  # the first process speaks for all
    if json:
        metrics = {} if result.metrics is None else result.metrics.to_dict()
        training = dict(result.history[-1].figures)
        print_json({"folder": str(settings.out), "steps": len(result.history), "training": training, **metrics})
        return
    print_pretraining(result)
    place = escape(str(settings.out))
    command = escape(f"{program()} train train.tsv --model {typed(Path(settings.out))} --out OUT")
    results().print(f"saved in [bold]{place}[/]; next: {command}", soft_wrap=True)
