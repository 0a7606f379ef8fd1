"""Write `docs/exactness.md`: how far glassbert is from transformers 4.4.2, case by case.

`python docs/exactness.py` needs the collection of cases beside the repository; the tests hold a few of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from tests.model.oracle import BACKENDS, FORWARD, GRADIENTS, TRAINING, case, compare, largest_difference, train

HEAD = """# How exact

Largest absolute differences between glassbert and transformers 4.4.2 in fp32, over all outputs of a case, by attention
backend, on real rows. Allowed is 1e-5 (6e-4 for `decoder_left_padding`). Written by `docs/exactness.py`; the tests hold
the same cases to it. A case that asks for attention weights or a cache runs twice, with and without, since those are
formed by `eager` and `sdpa` whatever is set.

| case | eager | sdpa | packed |
| --- | --- | --- | --- |
"""
TAIL = """
¹ Without the loss: the peer's softmax runs over padding too, ours does not. Over its own scores of real tokens the
loss is equal (`test_padding_is_no_answer_to_a_question`).
² Without the pooled vector of the row whose first token is padding: it sees nothing here, and everything there.
³ One label gives its own loss here, none in 4.4.2; held against the peer's scores in
`test_one_label_of_pretraining_gives_its_own_loss`.

The cases of training are 20 steps of forward, backward, clipping, `AdamW` and the linear schedule; learning rates are
equal to the bit. All six schedules are, also past their end, in 38 recorded courses.

See [differences.md](differences.md) for what differs on purpose.
"""
NOTES = {"question_answering": ("loss", "¹"), "decoder_left_padding": ("pooler_output", "²")}


def forward_row(name: str) -> str:
    """Compare the outputs of one case."""
    output, note = NOTES.get(name, ("", "³" if name == "pretraining_one_label" else ""))
    cells = []
    for backend in BACKENDS:
        differences = compare(case(name), backend)
        differences.pop(output, None)
        cells.append(f"{max(differences.values()):.1e}")
    return f"| `{name}`{note} | {' | '.join(cells)} |\n"


def gradient_row(name: str) -> str:
    """Compare the gradients of all parameters of one case."""
    cells = []
    for backend in BACKENDS:
        golden = case(name)
        model = golden.model(backend)
        model(**golden.arguments()).loss.backward()
        parameters = dict(model.named_parameters())
        worst = 0.0
        for parameter, where in golden.values["gradients"].items():
            gradient = parameters[parameter].grad
            assert gradient is not None
            worst = max(worst, largest_difference(gradient, golden.tensors[where], None))
        cells.append(f"{worst:.1e}")
    return f"| `{name}` (gradients) | {' | '.join(cells)} |\n"


def training_rows(name: str) -> str:
    """Compare the losses, and the weights at the end, of one case of training."""
    found = [train(case(name), backend) for backend in BACKENDS]
    return "".join(
        f"| `{name}` ({what}) | {' | '.join(f'{differences[what]:.1e}' for differences in found)} |\n"
        for what in ("losses", "weights")
    )


def main() -> None:
    """Write the table."""
    torch.set_num_threads(1)
    rows = [forward_row(name) for name in FORWARD] + [gradient_row(name) for name in GRADIENTS]
    rows += [training_rows(name) for name in TRAINING]
    target = Path(__file__).with_name("exactness.md")
    target.write_text(HEAD + "".join(rows) + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main()
