"""Putting the tensors of files into a model: what fits, what is missing, what has no place; by name."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from glassbert import native
from glassbert.checkpoint.keys import rename, shared_names
from glassbert.checkpoint.weights import Weights
from glassbert.errors import CheckpointError, InputError, SaveError
from glassbert.model.base import BertPreTrainedModel, initialize_weights
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig

FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadingInfo:
    """What loading found, beside the tensors that had their place.

    Attributes:
        fresh: parameters that were not taken from the file and have random values (a new head).
        ignored: keys of the file that the class has no use for, and names itself.
        renamed: file key → parameter, where the two differ.
    """

    fresh: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    renamed: dict[str, str] = dataclasses.field(default_factory=dict)


class _NoValues(TorchFunctionMode):
    """Passes over `torch.nn.init`: meta tensors have no values, and torch needs a second to find that out."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """Build modules whose tensors have shapes alone."""
    with torch.device("meta"), _NoValues():
        yield


# What the caller may ask for


def as_patterns(name: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return patterns as a tuple; one alone is taken too.

    Raises:
        CheckpointError: one that is none.
    """
    if given is not None and not isinstance(given, (str, Iterable)):
        raise CheckpointError(f"{name} is {given!r}, expected patterns of names")
    patterns = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    for pattern in patterns:
        try:
            if not isinstance(pattern, str) or not pattern:
                raise TypeError("expected a part of a name")
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise CheckpointError(f"{name} holds {pattern!r}, which is no pattern: {error}") from None
    return patterns


def as_dtype(given: Any, weights: Weights) -> torch.dtype | None:
    """Return the floats that were asked for, by themselves or by their name; "auto" means those of the files.

    Raises:
        InputError: anything else.
    """
    if given is None:
        return None
    names = {str(dtype).removeprefix("torch."): dtype for dtype in FLOATS}
    if given == "auto":
        return most_numbers(weights.tensor(key) for key in weights.keys())  # noqa: SIM118
    for name, dtype in names.items():
        if given in (name, dtype):
            return dtype
    raise InputError(f"dtype is {given!r}, expected {', '.join(names)} (or torch.float32, …), or 'auto'")


def most_numbers(tensors: Iterable[Tensor]) -> torch.dtype:
    """Return the floats that most numbers of some tensors are; float32 where there are none."""
    counts = collections.Counter({torch.float32: 0})
    for tensor in tensors:
        if tensor.dtype in FLOATS:
            counts[tensor.dtype] += tensor.numel()
    return counts.most_common(1)[0][0]


def as_device(given: Any) -> torch.device | None:
    """Return the device that was asked for, if there is one of that name.

    Raises:
        InputError: there is none.
    """
    if given is None:
        return None
    try:
        device = torch.device(given)
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"device is {given!r}, which cannot be used here: {reason}") from None
    return device


# The config and the files


def most_bytes(config: BertConfig) -> int:
    """Return more bytes than all weights of a model can have, in float64 and with a second vocabulary."""
    width, inner, positions = config.hidden_size, config.intermediate_size, config.max_position_embeddings
    tables = 2 * config.vocab_size + positions + config.type_vocab_size + config.num_labels + 3 * width
    # Relative positions have a table of 2 P - 1 rows of one head in each layer; cross-attention is a second attention.
    layer = 8 * width + 2 * inner + 2 * positions + 32
    return 2 * 8 * (tables + config.num_hidden_layers * layer) * width + (16 << 20)


def check_sizes(config: BertConfig, weights: Weights, where: str, given: Collection[str], leave: Sequence[str]) -> None:
    """Hold the config against the shapes in the files, before anything of its sizes is made.

    Args:
        config: what the model is built from.
        weights: the files.
        where: where the config comes from.
        given: fields of it that the caller has changed.
        leave: patterns of keys that are not looked at.

    Raises:
        CheckpointError: they are those of two different models.
    """
    expected = {
        "word_embeddings.weight": ("vocab_size", "hidden_size"),
        "position_embeddings.weight": ("max_position_embeddings", "hidden_size"),
        "token_type_embeddings.weight": ("type_vocab_size", "hidden_size"),
        "layer.0.intermediate.dense.weight": ("intermediate_size", "hidden_size"),
    }
    layers, last = -1, ""
    keys = [key for key in weights.keys() if _BODY.match(key) and not _matches(key, leave)]  # noqa: SIM118
    for key in keys:
        found = weights.shape(key)
        for end, fields in expected.items():
            shape = tuple(getattr(config, name) for name in fields)
            if not key.endswith(end) or found == shape:
                continue
            asked = [name for name, ours, theirs in zip(fields, shape, found) if ours != theirs and name in given]
            if asked:
                said = ", ".join(f"{name}={getattr(config, name)}" for name in asked)
                raise CheckpointError(
                    f"{said} was given, but {key} in {weights.where(key)} has the shape {found}; leave it out"
                )
            raise CheckpointError(f"{weights.where(key)}: {key} has the shape {found}, but by {where} it is {shape}")
        number = _LAYER.search(key)
        if number and int(number[1]) > layers:
            layers, last = int(number[1]), key
    if layers + 1 != config.num_hidden_layers and layers >= 0:
        counts = f"{config.num_hidden_layers}"
        if "num_hidden_layers" in given:
            raise CheckpointError(
                f"num_hidden_layers={counts} was given, but {weights.where(last)} has {layers + 1} layers; leave it out"
            )
        raise CheckpointError(f"{where}: num_hidden_layers is {counts}, but the weights have {layers + 1} layers")


_BODY: Final = re.compile(r"(bert\.)?(embeddings|encoder)\.")
_LAYER: Final = re.compile(r"(?:^|\.)encoder\.layer\.(\d{1,4})\.")


# The model and the files


def fill(
    model: BertPreTrainedModel,
    weights: Weights,
    where: str,
    *,
    fresh: Sequence[str],
    optional: Sequence[str],
    ignore: Sequence[str],
    new_head: bool,
    hint: str,
    dtype: torch.dtype | None,
    device: torch.device | None,
) -> LoadingInfo:
    """Put `weights` into `model`, and fresh values where they are allowed to be missing.

    Args:
        model: with or without memory.
        weights: the files.
        where: their folder.
        fresh: patterns of parameters that get new values.
        optional: patterns of those that get them where `weights` have none.
        ignore: patterns of keys in the files that may be left out.
        new_head: whether the parameters that the class names for it may be missing.
        hint: what else there is to say where some are missing.
        dtype: the model's floats; None keeps what it was built with.
        device: where it goes.

    Raises:
        CheckpointError: a key that is missing, unexpected, of the wrong shape, or there twice; numbers that no weight
            has.
    """
    expected = model.state_dict()
    sources: dict[str, str] = {}
    unexpected: list[str] = []
    ignored: list[str] = []
    names = rename(weights.keys(), set(expected), model.base_model_prefix)
    _check_prefix(model.base_model_prefix, set(expected), weights, names)
    for key, name in names.items():
        file = weights.where(key)
        if name not in expected:
            known = _matches(name, (*ignore, *model._keys_to_ignore_on_load_unexpected))
            (ignored if known else unexpected).append(key)
            continue
        if name in sources:
            raise CheckpointError(f"{file}: {key} and {sources[name]} both stand for {name}")
        if _matches(name, fresh):
            continue
        shape, like = weights.shape(key), tuple(expected[name].shape)
        if shape != like:
            raise CheckpointError(
                f"{file}: {key} has the shape {shape}, expected {like}; {_for_labels(model, name, shape, like)}"
                f"fresh=[{_pattern(name)!r}] gives it new values"
            )
        sources[name] = key
    shared = shared_names(model)
    there = {name for group in shared if sources.keys() & group for name in group} | sources.keys()
    missing = tuple(name for name in expected if name not in there)
    allowed = (*fresh, *optional, *(model._keys_to_ignore_on_load_missing if new_head else ()))
    lacking = [name for name in missing if not _matches(name, allowed)]
    if unexpected or lacking:
        files = {weights.where(key) for key in weights.keys()}  # noqa: SIM118
        only = files.pop() if len(files) == 1 else where
        place = weights.where(unexpected[0]) if unexpected else only
        raise CheckpointError(f"{place}: {_misfit(model, names, there, unexpected, lacking)}{hint if lacking else ''}")
    for pattern in (*fresh, *ignore):
        if not any(re.search(pattern, name) for name in (*expected, *ignored, *weights.keys())):
            raise CheckpointError(f"{where}: the pattern {pattern!r} fits no tensor of {type(model).__name__}")
    state = {name: _read(weights, key, expected[name], dtype, device) for name, key in sources.items()}
    _check_numbers(weights, sources, state)
    _share(shared, state, where)
    # Fresh values first: what a module has beside them comes from the file.
    _initialize(model, missing)
    model.load_state_dict(state, strict=False, assign=True)
    if device is None and dtype is None:
        # What moving does beside: parameters that always stand under two names are one again.
        for module in model.modules():
            if isinstance(module, BertPreTrainedModel):
                module._link()
    else:
        model.to(device=device, dtype=dtype)
    renamed = {key: name for name, key in sources.items() if key != name}
    return LoadingInfo(fresh=missing, ignored=tuple(ignored), renamed=renamed)


def _check_prefix(prefix: str, expected: set[str], weights: Weights, names: dict[str, str]) -> None:
    """Refuse files of which no key fits before a name that all begin with is taken off: those of a wrapped model.

    Raises:
        CheckpointError: by that name.
    """
    keys, start = weights.keys(), ""
    if expected.intersection(names.values()):
        return
    while len({key.partition(".")[0] for key in keys}) == 1:
        first, _, rest = keys[0].partition(".")
        if not rest:
            return
        start += f"{first}."
        keys = [key.partition(".")[2] for key in keys]
        if expected.intersection(rename(keys, expected, prefix).values()):
            raise CheckpointError(
                f"{weights.where(start + keys[0])}: all keys begin with {start!r}, as those of a model inside another "
                f"one; save the weights of the inner one: outer.{start}state_dict()"
            )


def _misfit(
    model: BertPreTrainedModel, names: dict[str, str], there: set[str], unexpected: list[str], lacking: list[str]
) -> str:
    """Say what has no place and what is missing, and what to do."""
    parts = []
    if unexpected:
        patterns = _patterns_for((names[key] for key in unexpected), model.state_dict())
        has, them = ("has", "it") if len(unexpected) == 1 else ("have", "them")
        parts.append(
            f"{_listed(unexpected)} {has} no place in {type(model).__name__}; ignore=[{patterns}] leaves {them} out"
        )
    if lacking:
        patterns = _patterns_for(lacking, there)
        is_, them = ("is", "it") if len(lacking) == 1 else ("are", "them")
        remedy = f"fresh=[{patterns}] gives {them} new random values"
        if all(_matches(name, model._keys_to_ignore_on_load_missing) for name in lacking):
            remedy += f", and so does {type(model).__name__}.from_pretrained"
        if isinstance(model, BertModel) and all(name.startswith("pooler.") for name in lacking):
            remedy += ", add_pooling_layer=False does without (convert --no-pooler)"
        parts.append(f"{_listed(lacking)} of {type(model).__name__} {is_} missing; {remedy}")
    return "; ".join(parts)


_MOST_PATTERNS: Final = 4


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _patterns_for(names: Iterable[str], others: Iterable[str]) -> str:
    """Return patterns that fit all `names`, as they stand in a list; dots where it would be long."""
    others, patterns = list(others), list[str]()
    for name in names:
        if not _matches(name, patterns):
            if len(patterns) == _MOST_PATTERNS:  # another model altogether
                return "..."
            patterns.append(_pattern(name, others))
    return ", ".join(map(repr, patterns))


def _for_labels(model: BertPreTrainedModel, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Propose the number of classes that a classifier in a file has."""
    inside = name.startswith(f"{model.base_model_prefix}.")
    if inside or found[1:] != expected[1:] or expected[:1] != (model.config.num_labels,) or not found:
        return ""
    return f"num_labels={found[0]} takes it as it is, "


def _read(weights: Weights, key: str, expected: Tensor, dtype: torch.dtype | None, device: Any) -> Tensor:
    """Read one tensor as the model wants it.

    Raises:
        CheckpointError: numbers that no weight consists of.
    """
    tensor = weights.tensor(key)
    if expected.is_floating_point() and tensor.dtype not in FLOATS:
        raise CheckpointError(f"{weights.where(key)}: {key} holds {tensor.dtype}, expected floats of 16 to 64 bits")
    wanted = dtype if dtype is not None and expected.is_floating_point() else expected.dtype
    # A pickle may hold a view of something else: turned, or one number in the place of all.
    return tensor.to(device=device, dtype=wanted).contiguous()


def _check_numbers(weights: Weights, sources: dict[str, str], state: dict[str, Tensor]) -> None:
    """Look at every float that was read, as the model gets it.

    Raises:
        CheckpointError: a key whose numbers are not finite, in its file or in the floats that the model has.
    """
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    # A model on the meta device gets no numbers; those of the file are looked at all the same.
    tensors = [weights.tensor(sources[name]) if state[name].is_meta else state[name] for name in names]
    number = first_not_finite(tensors)
    if number is None:
        return
    key = sources[names[number]]
    if first_not_finite([weights.tensor(key)]) is not None:
        raise CheckpointError(f"{weights.where(key)}: {key} holds numbers that are not finite (NaN or infinity)")
    asked = f"dtype {str(tensors[number].dtype).removeprefix('torch.')}"
    raise CheckpointError(f"{weights.where(key)}: {key} holds numbers too large for {asked}; choose a wider one")


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights by name, as a file can hold them and loading takes them.

    Raises:
        SaveError: something that is no plain tensor, has no values, or values that are not finite; by name.
    """
    state = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            kind = type(value).__name__ if not isinstance(value, Tensor) else f"tensor of {value.layout}, {value.dtype}"
            raise SaveError(f"{name} is a {kind}, expected plain numbers; save the model as it was before that change")
        if value.is_meta:
            raise SaveError(f"{name} has a shape alone and no numbers (it is on the meta device); fill the model first")
        state[name] = value.detach()
    floats = [name for name, value in state.items() if value.is_floating_point()]
    number = first_not_finite([state[name] for name in floats])
    if number is not None:
        raise SaveError(
            f"{floats[number]} holds numbers that are not finite (NaN or infinity), which no model can be loaded from"
        )
    return state


def first_not_finite(tensors: Sequence[Tensor]) -> int | None:
    """Return the place of the first tensor of floats that holds NaN or infinity; None where all numbers are finite."""
    # Torch wakes its threads for each tensor and waits for all of them; the kernel wakes them once.
    each = native.finite(tensors) if native.takes_floats(tensors) else map(_finite, tensors)
    return next((place for place, finite in enumerate(each) if not finite), None)


def _finite(tensor: Tensor) -> bool:
    # What is not finite stays so in a sum, which takes less time; a sum alone may be too large as well.
    return math.isfinite(float(tensor.sum())) or all(math.isfinite(float(end)) for end in tensor.aminmax())


def _share(shared: Sequence[Sequence[str]], state: dict[str, Tensor], where: str) -> None:
    """Give a tensor that is tied to another one that other's value; the file may hold either, or both.

    Raises:
        CheckpointError: it holds both, and they differ.
    """
    for names in shared:
        there = [name for name in names if name in state]
        for name in there[1:]:
            if not torch.equal(state[there[0]], state[name]):
                raise CheckpointError(
                    f"{where}: {name} differs from {there[0]}, to which the config ties it; "
                    "with tie_word_embeddings false in config.json each has its own"
                )
        if there:
            state.update(dict.fromkeys(names, state[there[0]]))


def _pattern(name: str, others: Iterable[str] = ()) -> str:
    """Return a pattern for the part of a model that `name` belongs to and none of `others` does."""
    known = {part for other in others for part in other.split(".")}
    parts = name.split(".")
    own = next((place for place, part in enumerate(parts[:-1]) if part not in known), None)
    if own is None or not others:
        return ".".join(parts[:-1] or parts)
    # A layer's number says little without what it is a number of.
    return f"{parts[own - 1]}[.]{parts[own]}[.]" if parts[own].isdecimal() and own else parts[own]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _initialize(model: BertPreTrainedModel, names: Sequence[str]) -> None:
    """Give memory and fresh values to those of `names` that were built without."""
    owners: dict[str, list[str]] = {}
    for name in names:
        owner, _, last = name.rpartition(".")
        owners.setdefault(owner, []).append(last)
    for owner, lasts in owners.items():
        module = model.get_submodule(owner)
        without = [last for last in lasts if getattr(module, last).is_meta]
        for last in without:
            parameter = getattr(module, last)
            setattr(module, last, nn.Parameter(torch.empty_like(parameter, device="cpu"), parameter.requires_grad))
        if without:
            initialize_weights(module, model.config.initializer_range)
