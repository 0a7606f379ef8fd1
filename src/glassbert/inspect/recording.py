"""What a model does in one real run: every operation, its shapes, the module it stands in, the line that calls it.

Torch tells of each operation before it runs it (`TorchFunctionMode`), hooks tell in which module that is, and the
frames of Python tell the line. What does not flow into the model's output is no part of the way there: checks of
arguments are told apart by that alone.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

import glassbert
from glassbert.inspect.running import quietly
from glassbert.model import BertPreTrainedModel, ModelOutput
from glassbert.model.attention import AttentionBackend

_PACKAGE: Final = Path(glassbert.__file__).parent
_NOT_OURS: Final = (str(Path(torch.__file__).parent / "_")[:-1], __file__)  # torch's files, and this one


class Place(NamedTuple):
    """Where an operation is called.

    Attributes:
        file: relative to the package; of code outside of it the name alone.
        line: from 1.
        code: the expression, in one line.
        variable: what its value is called there; "" where it has no name.
    """

    file: str
    line: int
    code: str
    variable: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """An operation of a run.

    Attributes:
        module: name of the module that runs it, "" for the model itself.
        kind: its class.
        operation: torch's name for it.
        place: where it is called.
        inputs: shapes of the tensors that go in, parameters left out.
        parameters: names and shapes of the parameters that go in.
        results: shapes of the tensors that come out.
        dtype: of the first of these.
        bytes: of all of these.
        view: they lie in the memory of what went in.
        idle: what comes out is what went in.
        reached: the model's output follows from it.
        flops: as torch counts them: 2 for each multiplication of a matrix product with its addition.
    """

    module: str
    kind: str
    operation: str
    place: Place
    inputs: tuple[tuple[int, ...], ...]
    parameters: tuple[tuple[str, tuple[int, ...]], ...]
    results: tuple[tuple[int, ...], ...]
    dtype: str
    bytes: int
    view: bool
    idle: bool
    reached: bool
    flops: int

    @property
    def key(self) -> tuple[str, str, Place]:
        """What two runs of one program have in common, whatever the sizes."""
        return self.module, self.operation, self.place


class Recording(NamedTuple):
    """A run.

    Attributes:
        events: its operations in their order.
        outputs: shapes of what the model gave, by name.
        flops: of all of it.
    """

    events: tuple[Event, ...]
    outputs: dict[str, tuple[int, ...]]
    flops: int


def record(
    model: BertPreTrainedModel, arguments: Mapping[str, Any], *, backend: AttentionBackend, counted: bool = True
) -> Recording:
    """Run a model in eval mode and write down what it does; afterwards it is as it was.

    Args:
        model: any model.
        arguments: of its call.
        backend: how attention is computed.
        counted: whether FLOPs are counted, which takes a third of the time; else they are 0.
    """
    inner = [module for module in model.modules() if isinstance(module, BertPreTrainedModel)]
    before = [(module, module.attention_backend) for module in inner]

    def restore() -> None:
        for module, name in before:  # the outermost first, since setting it sets those inside as well
            module.attention_backend = name

    with quietly(model) as stack:
        stack.callback(restore)
        model.attention_backend = backend
        path = _follow(model, stack)
        counter = FlopCounterMode(display=False, custom_mapping=_uncounted())
        recorder = _Recorder(model, path, counter.get_total_flops)
        with counter if counted else contextlib.nullcontext(), recorder:
            output = model(**arguments)
        return recorder.recording(_named(output))


def _uncounted() -> dict[Any, Callable[..., int]]:
    """Give torch's counter the fused attention of CPUs, which it has no formula for, as it counts those of GPUs."""

    def flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    return {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: flops}


def _named(output: object) -> dict[str, Tensor]:
    """Return the tensors of a model's output by name; those of a tuple by number."""
    items = output.items() if isinstance(output, ModelOutput) else enumerate(_tensors(output))
    found = {}
    for name, value in items:
        tensors = list(_tensors(value))
        for number, tensor in enumerate(tensors):
            found[str(name) if len(tensors) == 1 else f"{name}[{number}]"] = tensor
    return found


class _Running(NamedTuple):
    """A module that runs."""

    name: str
    kind: str


def _follow(model: nn.Module, stack: contextlib.ExitStack) -> list[_Running]:
    """Return a list that holds, as long as `stack` is open, the modules that run, the innermost last."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    path: list[_Running] = []

    def enter(module: nn.Module, _: object) -> None:
        # A module that several share, such as the activation, has a name for each place; it is called in one of them.
        above = f"{path[-1].name}." if path and path[-1].name else ""
        inside = [name for name in names[module] if name.startswith(above)]
        path.append(_Running((inside or names[module])[0], type(module).__name__))

    def leave(module: nn.Module, _: object, __: object) -> None:
        path.pop()

    for module in names:
        # Before hooks of a user's own, whose operations so stand in the module that they are of.
        stack.callback(module.register_forward_pre_hook(enter, prepend=True).remove)
        stack.callback(module.register_forward_hook(leave).remove)
    return path


class _Recorder(TorchFunctionMode):
    """Writes down every operation that runs while it is entered."""

    def __init__(self, model: nn.Module, path: list[_Running], flops: Callable[[], int]) -> None:
        super().__init__()
        self._path = path
        self._whole = _Running("", type(model).__name__)
        self._flops = flops
        self._parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self._events: list[Event] = []
        self._feeds: list[set[int]] = []  # of each event those whose results it takes
        self._made: dict[int, int] = {}  # by the id of a tensor, which event made it last

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and write it down where tensors come out."""
        kwargs = {} if kwargs is None else kwargs
        # What is written in place keeps its id, so what went in is looked up before.
        given = list(_tensors((args, kwargs)))
        feeds = {self._made[id(one)] for one in given if id(one) in self._made}
        flops, versions = self._flops(), [_version(one) for one in given]
        result = func(*args, **kwargs)
        written = [one for one, version in zip(given, versions) if _version(one) != version]
        # Writing to places of a tensor gives nothing back.
        made = list(_tensors(result)) or written
        if made:
            self._note(_name(func), given, made, feeds, self._flops() - flops, in_place=bool(written))
        return result

    def _note(
        self,
        name: str,
        given: Sequence[Tensor],
        made: Sequence[Tensor],
        feeds: set[int],
        flops: int,
        *,
        in_place: bool,
    ) -> None:
        # Hooks of all modules run before and after those of one.
        running = self._path[-1] if self._path else self._whole
        memory = {one.untyped_storage()._cdata for one in given}
        parameters = [(self._parameters[id(one)], tuple(one.shape)) for one in given if id(one) in self._parameters]
        self._events.append(
            Event(
                module=running.name,
                kind=running.kind,
                operation=name,
                place=_place(sys._getframe(2)),
                inputs=tuple(tuple(one.shape) for one in given if id(one) not in self._parameters),
                parameters=tuple(parameters),
                results=tuple(tuple(one.shape) for one in made),
                dtype=str(made[0].dtype).removeprefix("torch."),
                bytes=sum(one.numel() * one.element_size() for one in made),
                view=all(one.untyped_storage()._cdata in memory for one in made) and not in_place,
                idle=not in_place and any(_same(made[0], one) for one in given),
                reached=False,
                flops=flops,
            )
        )
        self._feeds.append(feeds)
        for one in made:
            self._made[id(one)] = len(self._events) - 1

    def recording(self, outputs: Mapping[str, Tensor]) -> Recording:
        """Return what was written down, with what led to the outputs marked."""
        reached: set[int] = set()
        open_ends = [self._made[id(one)] for one in outputs.values() if id(one) in self._made]
        while open_ends:
            event = open_ends.pop()
            if event not in reached:
                reached.add(event)
                open_ends += self._feeds[event]
        events = (dataclasses.replace(event, reached=place in reached) for place, event in enumerate(self._events))
        shapes = {name: tuple(one.shape) for name, one in outputs.items()}
        return Recording(tuple(events), shapes, self._flops())


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written to; one of inference mode does not know."""
    return 0 if tensor.is_inference() else tensor._version


def _same(made: Tensor, given: Tensor) -> bool:
    """Whether a result is its operand, or a view of it that differs in nothing."""
    if made is given:
        return True
    same_memory = made.untyped_storage()._cdata == given.untyped_storage()._cdata
    return (
        same_memory
        and made.dtype == given.dtype
        and made.shape == given.shape
        and made.stride() == given.stride()
        and made.storage_offset() == given.storage_offset()
    )


# What Python calls its operators, and what torch and people call them.
_OPERATORS: Final = {"getitem": "index", "truediv": "div", "invert": "logical_not", "and": "logical_and"}


def _name(func: Callable[..., Any]) -> str:
    name: str = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":  # of an attribute, such as .T
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    name = name.strip("_")
    return _OPERATORS.get(name, name)


def _place(frame: FrameType | None) -> Place:
    """Return the innermost place outside of torch from which a frame was called."""
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_OURS):
        frame = frame.f_back
    assert frame is not None
    return _read(frame.f_code, frame.f_lasti // 2)


@functools.lru_cache(maxsize=4096)
def _read(code: CodeType, instruction: int) -> Place:
    path = Path(code.co_filename)
    inside = path.is_relative_to(_PACKAGE)
    name = path.relative_to(_PACKAGE).as_posix() if inside else path.name
    line, end, column, end_column = list(code.co_positions())[instruction]
    if line is None or end is None or column is None or end_column is None:
        return Place(name, line or 0, "", "")
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(line, end + 1)]
    lines[-1] = lines[-1][:end_column]
    text = b" ".join([lines[0][column:], *lines[1:]]).decode()
    variable = _variables(code.co_filename).get((line, column, end, end_column), "")
    return Place(name, line, " ".join(text.split()), variable)


@functools.lru_cache(maxsize=256)
def _variables(file: str) -> dict[tuple[int, int, int | None, int | None], str]:
    """Return which expressions of a file are given a name, by where they begin and end."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:  # a cell of a notebook, with commands of its own
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            pairs = [(node.targets[0], node.value)]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        else:
            continue
        (target, value), *_ = pairs
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts))
        for target, value in pairs:
            if isinstance(target, ast.Name):
                found[value.lineno, value.col_offset, value.end_lineno, value.end_col_offset] = target.id
    return found
