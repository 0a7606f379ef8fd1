"""Which letter each number of a shape stands for, found and not guessed: S may be as large as D by chance.

Two small models of the same class do the same as the user's, with other sizes, no two of which are alike. What changes
there as S does is S. A number is given a letter only if all three runs agree about it; else it stays a number.

Letters: B batch, N choices of a question, S sequence, T tokens in the stream, H hidden, A heads, D head size, I
intermediate, V vocabulary, P positions, C classes; and within a packed stream k sequences of equal length, of n tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from glassbert.errors import GlassbertError
from glassbert.inspect.recording import Event, record
from glassbert.model import BertForMultipleChoice, BertModel, BertPreTrainedModel, SentenceEncoder
from glassbert.model.attention import AttentionBackend
from glassbert.model.layout import Group, Packed

MEANINGS: Final = {
    "B": "texts in the batch",
    "N": "choices of a question",
    "S": "tokens of the longest text",
    "T": "tokens in the stream, padding left out",
    "H": "width of a token's vector, A·D",
    "A": "heads",
    "D": "width of a head",
    "I": "width inside the feed-forward",
    "V": "words of the vocabulary",
    "P": "positions",
    "C": "classes",
    "k": "texts of equal length, run together",
    "n": "tokens of each of these",
}


class Dim(NamedTuple):
    """A number of a shape.

    Attributes:
        letters: what it stands for, such as "S" or "2·S−1"; None for a number that never changes.
        size: the number.
    """

    letters: str | None
    size: int


Shape = tuple[Dim, ...]


def in_letters(shape: Shape) -> str:
    """Return `(B, S, H)`."""
    return _bracketed([dim.letters or str(dim.size) for dim in shape])


def in_numbers(shape: Shape) -> str:
    """Return `(2, 8, 464)`."""
    return _bracketed([str(dim.size) for dim in shape])


def _bracketed(parts: Sequence[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """All that a run's shapes follow from.

    Attributes:
        letters: what each letter stands for; k and n are those of `groups`.
        groups: sequences of equal length of a packed stream; none in a padded batch.
        gone: how many heads are cut out of layers, each number once.
    """

    letters: dict[str, int]
    groups: tuple[Group, ...]
    gone: tuple[int, ...]

    def terms(self) -> list[tuple[str, int]]:
        """Return all that a number may stand for, the likeliest first; in runs of one program the same in this order.

        A text without padding is as long as the longest: S comes before n, and so on.
        """
        of = self.letters
        rows = [("B", of["B"])]
        if "N" in of:
            rows = [("B·N", of["B"] * of["N"]), *rows, ("N", of["N"])]
        terms = [*rows, *((name, of[name]) for name in "SHADIVPC")]
        for gone in self.gone:
            terms += [(f"A−{gone}", of["A"] - gone), (f"(A−{gone})·D", (of["A"] - gone) * of["D"])]
        if self.groups:
            terms.append(("T", of["T"]))
            for sequences, length in self.groups:
                terms += [("k", sequences), ("n", length), ("k·n", sequences * length)]
        count, many = rows[0]
        terms += [(f"{count}·S", many * of["S"]), ("N·S", of.get("N", 0) * of["S"])]
        return [*terms, ("S−1", of["S"] - 1), ("2·S−1", 2 * of["S"] - 1), ("2·P−1", 2 * of["P"] - 1)]


class Case(NamedTuple):
    """A model with an input.

    Attributes:
        model: it.
        arguments: of its call.
        sizes: of both.
    """

    model: BertPreTrainedModel
    arguments: dict[str, Any]
    sizes: Sizes


class Twins:
    """Two small models that do what the user's does, and what their numbers tell about its own."""

    def __init__(self, case: Case, events: Sequence[Event], mask: Tensor, backend: AttentionBackend) -> None:
        """Run them.

        Args:
            case: the user's model with its input.
            events: of its run.
            mask: (rows, S) bool on the CPU, true at real tokens.
            backend: how attention is computed.
        """
        self._sizes = [case.sizes]
        self._runs: list[list[Event | None]] = []
        self._names: list[dict[str, tuple[int, ...]]] = []
        self._outputs: list[dict[str, tuple[int, ...]]] = []
        self._inputs: list[dict[str, tuple[int, ...]]] = []
        for number in (0, 1):
            try:
                twin = _twin(case, mask, number)
                run = record(twin.model, twin.arguments, backend=backend, counted=False)
            except (AttributeError, GlassbertError, LookupError, RuntimeError, TypeError, ValueError):
                # A class of the user's own may be made otherwise, or work with its own sizes alone: no letters then.
                self._runs.clear()
                return
            self._sizes.append(twin.sizes)
            self._runs.append(_aligned(events, run.events))
            self._names.append({name: tuple(one.shape) for name, one in twin.model.named_parameters()})
            self._outputs.append(run.outputs)
            self._inputs.append(
                {name: tuple(one.shape) for name, one in twin.arguments.items() if isinstance(one, Tensor)}
            )
        own, *others = (sizes.terms() for sizes in self._sizes)
        # Several terms are alike where they are one by nature: of all groups of a stream, k is the same in a twin.
        self._terms: dict[tuple[int, int], dict[int, str]] = {}
        for (name, size), (_, first), (_, second) in zip(own, *others, strict=True):
            self._terms.setdefault((first, second), {}).setdefault(size, name)

    @property
    def found(self) -> bool:
        """Whether they could be run."""
        return bool(self._runs)

    def shapes(self, place: int, event: Event) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
        """Return the shapes of what goes into an event and of what comes out."""
        alike = [run[place] for run in self._runs]
        inputs = [None if one is None else one.inputs for one in alike]
        results = [None if one is None else one.results for one in alike]
        return self._all(event.inputs, inputs), self._all(event.results, results)

    def _all(
        self, own: Sequence[tuple[int, ...]], others: Sequence[tuple[tuple[int, ...], ...] | None]
    ) -> tuple[Shape, ...]:
        aligned = [one if one is not None and len(one) == len(own) else (None,) * len(own) for one in others]
        return tuple(self._shape(shape, [one[place] for one in aligned]) for place, shape in enumerate(own))

    def parameter(self, name: str, shape: tuple[int, ...]) -> Shape:
        """Return the shape of a parameter."""
        return self._shape(shape, [names.get(name) for names in self._names] if self.found else [])

    def output(self, name: str, shape: tuple[int, ...]) -> Shape:
        """Return the shape of what the model gives."""
        return self._shape(shape, [outputs.get(name) for outputs in self._outputs] if self.found else [])

    def input(self, name: str, shape: tuple[int, ...]) -> Shape:
        """Return the shape of what the model is called with."""
        return self._shape(shape, [inputs.get(name) for inputs in self._inputs] if self.found else [])

    def _shape(self, own: tuple[int, ...], others: Sequence[tuple[int, ...] | None]) -> Shape:
        first, second = others if len(others) == 2 else (None, None)
        if first is None or second is None or not len(own) == len(first) == len(second):
            return tuple(Dim(None, size) for size in own)
        return tuple(Dim(self._letters(*sizes), sizes[0]) for sizes in zip(own, first, second))

    def _letters(self, own: int, first: int, second: int) -> str | None:
        return None if first == second else self._terms.get((first, second), {}).get(own)


def _aligned(own: Sequence[Event], others: Sequence[Event]) -> list[Event | None]:
    """Return for each event of a run the same of another run; None where a module did something else there."""
    if [one.key for one in own] == [one.key for one in others]:
        return list(others)
    mine, theirs = _by_module(own), _by_module(others)
    found: list[Event | None] = [None] * len(own)
    for module, places in mine.items():
        other = theirs.get(module, [])
        if [own[place].key for place in places] == [others[place].key for place in other]:
            for place, there in zip(places, other):
                found[place] = others[there]
    return found


def _by_module(events: Sequence[Event]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, event in enumerate(events):
        found.setdefault(event.module, []).append(place)
    return found


def sizes_of(model: BertPreTrainedModel, mask: Tensor, *, choices: int | None, packed: bool) -> Sizes:
    """Return the sizes of a model and of its input.

    Args:
        model: it.
        mask: (rows, S) bool on the CPU.
        choices: N, for a model that compares choices; rows are B·N then.
        packed: whether attention works on a stream.
    """
    config = model.config
    rows, length = mask.shape
    letters = {
        "B": rows // (choices or 1),
        "S": length,
        "H": config.hidden_size,
        "A": config.num_attention_heads,
        "D": config.hidden_size // config.num_attention_heads,
        "I": config.intermediate_size,
        "V": config.vocab_size,
        "P": config.max_position_embeddings,
        "C": config.num_labels,
    }
    if choices is not None:
        letters["N"] = choices
    groups: tuple[Group, ...] = ()
    if packed:
        stream = Packed.from_mask(mask)
        groups, letters["T"] = stream.groups, len(stream.rows)
    base = model.base_model
    gone = {len(heads) for heads in base.pruned_heads().values()} if isinstance(base, BertModel) else set()
    return Sizes(letters=letters, groups=groups, gone=tuple(sorted(gone)))


# Of the two twins: texts of each length and what they are longer by than those before; no two terms are alike in both.
_TEXTS: Final = (2, 5)
_CHOICES: Final = (3, 7)
_SHORTEST: Final = (5, 7)
_LONGER: Final = (1, 2)
_PADDING: Final = (4, 9)


def _twin(case: Case, mask: Tensor, number: int) -> Case:
    """Make a small model that does the same, and an input for it."""
    packed = bool(case.sizes.groups)
    choices = _CHOICES[number] if "N" in case.sizes.letters else None
    lengths, padding = _lengths(mask, packed)
    counts = [_SHORTEST[number] + place * _LONGER[number] for place in range(lengths)]
    width = counts[-1] + (_PADDING[number] if padding else 0)
    rows = torch.tensor([count for count in counts for _ in range(_TEXTS[number] * (choices or 1))])
    real = torch.arange(width) < rows[:, None]
    if not bool(mask[:, 0].all()):
        real[-1, 0] = False  # as a text that is padded on the left
    model = _small(case.model, width, number)
    ids = torch.ones(real.shape, dtype=torch.int64)
    tensors = {"input_ids": ids, "attention_mask": real.long(), "token_type_ids": torch.zeros_like(ids)}
    if choices is not None:
        tensors = {name: one.unflatten(0, (-1, choices)) for name, one in tensors.items()}
    arguments = {**case.arguments, **{name: one.to(model.device) for name, one in tensors.items()}}
    return Case(model, arguments, sizes_of(model, real, choices=choices, packed=packed))


def _lengths(mask: Tensor, packed: bool) -> tuple[int, bool]:
    """Return how many different lengths the texts have that matter, and whether the longest is filled up as well."""
    groups = Packed.from_mask(mask).groups
    several = len(groups) > 1
    return (len(groups) if packed else min(2, len(groups))), several or groups[0].length < mask.shape[1]


def _small(model: BertPreTrainedModel, length: int, number: int) -> BertPreTrainedModel:
    config = model.config.copy()
    base = model.base_model
    pruned = base.pruned_heads() if isinstance(base, BertModel) else {}
    # Every number is larger in the first twin, those of the input are in the second.
    config.num_attention_heads = max([0, *map(len, pruned.values())]) + (7, 5)[number]
    config.hidden_size = config.num_attention_heads * (19, 11)[number]
    config.intermediate_size = (131, 83)[number]
    config.vocab_size = (1009, 701)[number]
    config.max_position_embeddings = length + (2003, 1009)[number]
    config.num_labels = (29, 17)[number]
    config.id2label, config.label2id = {}, {}
    config.pad_token_id = 0
    config.pruned_heads = {layer: list(range(len(heads))) for layer, heads in pruned.items()}
    with torch.random.fork_rng(devices=[]):
        small = _made(model, config)
    return small.to(device=model.device, dtype=model.dtype)


def _made(model: BertPreTrainedModel, config: Any) -> BertPreTrainedModel:
    if isinstance(model, SentenceEncoder):
        names = ("pooling", "layers", "normalize", "truncate_dim")
        config.extra["sentence_encoder"] = {name: getattr(model, name) for name in names}
    if type(model) is BertModel:
        return BertModel(config, add_pooling_layer=model.pooler is not None)
    return type(model)(config)


def takes_choices(model: BertPreTrainedModel) -> bool:
    """Whether several texts of one question are compared."""
    return isinstance(model, BertForMultipleChoice)


def letters_in(names: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Return the letters of terms such as 2·S−1, in the order of `MEANINGS`."""
    return [letter for letter in MEANINGS if any(letter in name for name in names)]
