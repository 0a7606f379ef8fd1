"""The six schedules: courses of transformers 4.4.2 to the bit, what it gets wrong, states."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from glassbert import TYPE_TO_SCHEDULER_FUNCTION, AdamW, ConfigError, SchedulerType, get_scheduler
from glassbert import train as room
from glassbert.train import get_constant_schedule_with_warmup, get_polynomial_decay_schedule_with_warmup

COURSES = json.loads((Path(__file__).parent / "golden" / "schedules.json").read_text(encoding="utf-8"))["schedules"]
NAMES = list(SchedulerType)
DECREASING = [name for name in NAMES if not name.startswith("constant")]


def optimizer(*rates: float) -> Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=rates[0])


def course(schedule: LambdaLR, steps: int) -> list[list[float]]:
    """The rates of all groups before each of some steps."""
    rates = []
    for _ in range(steps):
        rates.append([float(rate) for rate in schedule.get_last_lr()])
        schedule.optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("golden", COURSES, ids=lambda one: f"{one['function']} {one['arguments']}")
def test_a_course_is_that_of_4_4_2_past_its_end_too(golden: dict[str, Any]) -> None:
    begin = golden["base_lr"]
    rates = begin if isinstance(begin, list) else [begin]
    schedule = getattr(room, golden["function"])(optimizer=optimizer(*rates), **golden["arguments"])
    found = course(schedule, len(golden["lrs"]))
    assert found == [rate if isinstance(rate, list) else [rate] for rate in golden["lrs"]]


def test_the_recorded_courses_are_of_all_schedules() -> None:
    assert {golden["function"] for golden in COURSES} == {
        "get_scheduler",
        *(function.__name__ for function in TYPE_TO_SCHEDULER_FUNCTION.values()),
    }
    assert {golden["arguments"].get("name") for golden in COURSES} == {None, *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_member_or_its_string_and_stands_for_a_function(name: SchedulerType) -> None:
    by_name, by_member = (get_scheduler(one, optimizer(2.0), 3, 9) for one in (str(name.value), name))
    function = TYPE_TO_SCHEDULER_FUNCTION[name]
    counts = {"num_warmup_steps": 3, "num_training_steps": 9}
    taken = {key: value for key, value in counts.items() if key in function.__annotations__}
    expected = course(function(optimizer(2.0), **taken), 12)
    assert course(by_name, 12) == course(by_member, 12) == expected


def test_further_arguments_reach_the_function() -> None:
    schedule = get_scheduler("polynomial", optimizer(1.0), 0, 4, lr_end=0.5, power=2.0)
    assert [rate for (rate,) in course(schedule, 6)] == [1.0, 0.78125, 0.625, 0.53125, 0.5, 0.5]
    with pytest.raises(TypeError, match="num_cycles"):
        get_scheduler("linear", optimizer(1.0), 0, 4, num_cycles=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_count_that_is_needed_is_asked_for(name: SchedulerType) -> None:
    if name is SchedulerType.CONSTANT:
        assert course(get_scheduler(name, optimizer(2.0)), 2) == [[2.0], [2.0]]
        return
    with pytest.raises(ConfigError, match=f"the schedule {name} needs num_warmup_steps"):
        get_scheduler(name, optimizer(1.0), num_training_steps=5)
    if name is SchedulerType.CONSTANT_WITH_WARMUP:
        assert course(get_scheduler(name, optimizer(2.0), 1), 2) == [[0.0], [2.0]]
        return
    with pytest.raises(ConfigError, match=f"the schedule {name} needs num_training_steps"):
        get_scheduler(name, optimizer(1.0), 5)


@pytest.mark.parametrize("name", ["lineer", "LINEAR", "", None, 3])
def test_an_unknown_name_is_told_with_the_known_ones(name: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"schedule is .*, expected one of linear, cosine, cosine_with_restarts, poly"
    ):
        get_scheduler(name, optimizer(1.0), 0, 1)


@pytest.mark.parametrize("name", DECREASING)
@pytest.mark.parametrize("count", [-1, 1.5, "10", True], ids=repr)
def test_steps_are_whole_numbers(name: SchedulerType, count: Any) -> None:
    for key in ("num_warmup_steps", "num_training_steps"):
        with pytest.raises(ConfigError, match=f"{key} is {count!r}"):
            get_scheduler(name, optimizer(1.0), **({"num_warmup_steps": 1, "num_training_steps": 9} | {key: count}))
    with pytest.raises(ConfigError, match=f"num_warmup_steps is {count!r}"):
        get_constant_schedule_with_warmup(optimizer(1.0), count)


@pytest.mark.parametrize(
    ("name", "specific"),
    [
        ("cosine", {"num_cycles": 0}),
        ("cosine", {"num_cycles": math.inf}),
        ("cosine_with_restarts", {"num_cycles": 0}),
        ("cosine_with_restarts", {"num_cycles": 1.5}),
        ("polynomial", {"power": 0.0}),
        ("polynomial", {"power": "2"}),
        ("polynomial", {"lr_end": -1.0}),
        ("polynomial", {"lr_end": 1.0}),
    ],
    ids=str,
)
def test_bad_shapes_are_named(name: str, specific: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(specific))} is"):
        get_scheduler(name, optimizer(1.0), 2, 9, **specific)


@pytest.mark.parametrize("name", DECREASING)
def test_a_warm_up_as_long_as_the_training_is_followed_by_its_end(name: SchedulerType) -> None:
    # 4.4.2 divides by zero for "polynomial".
    rates = [rate for (rate,) in course(get_scheduler(name, optimizer(1.0), 4, 4), 7)]
    assert rates[:4] == [0.0, 0.25, 0.5, 0.75]
    if name is SchedulerType.POLYNOMIAL:
        assert rates[4:] == [1e-7] * 3


def test_a_polynomial_brings_each_group_to_its_end() -> None:
    # 4.4.2 takes the optimizer's default rate for all, and so brings the second group to 1e-4.
    schedule = get_polynomial_decay_schedule_with_warmup(optimizer(0.1, 0.01), 2, 6, lr_end=1e-3)
    first, second = zip(*course(schedule, 8), strict=True)
    assert first == pytest.approx([0, 0.05, 0.1, 0.07525, 0.0505, 0.02575, 1e-3, 1e-3])
    assert second == pytest.approx([0, 0.005, 0.01, 0.00775, 0.0055, 0.00325, 1e-3, 1e-3])
    with pytest.raises(ConfigError, match=r"lr_end is 0\.01, expected less than the rate of parameter group 1, 0\.01"):
        get_polynomial_decay_schedule_with_warmup(optimizer(0.1, 0.01), 2, 6, lr_end=0.01)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["state_dict", "pickle", "last_epoch"])
def test_a_course_goes_on_where_it_was_left(name: SchedulerType, way: str) -> None:
    def made() -> AdamW:
        weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
        groups: list[dict[str, Any]] = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.3}]
        return AdamW(groups, lr=0.7)

    expected = course(get_scheduler(name, made(), 3, 12), 15)[5:]
    first = made()
    schedule = get_scheduler(name, first, 3, 12)
    course(schedule, 5)
    if way == "pickle":
        schedule = pickle.loads(pickle.dumps(schedule))
    else:
        second = made()
        if way == "last_epoch":
            second.load_state_dict(first.state_dict())
            schedule = get_scheduler(name, second, 3, 12, last_epoch=4)
        else:
            # The state says what the course was, whatever the new one was made for.
            resumed = get_scheduler(name, second, 1, 2)
            state = pickle.loads(pickle.dumps(schedule.state_dict()))
            resumed.load_state_dict(state)
            second.load_state_dict(first.state_dict())
            schedule = resumed
    assert course(schedule, 10) == expected
