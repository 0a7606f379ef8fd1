"""A result is a dict, an object and a tuple."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch

from glassbert.model import SequenceClassifierOutput

LOSS, LOGITS = torch.tensor(1.0), torch.tensor([[2.0, 3.0]])


def test_attribute_key_index_and_slice() -> None:
    result = SequenceClassifierOutput(loss=LOSS, logits=LOGITS)
    assert result.logits is result["logits"] is result[1] is result[:2][1] is result.to_tuple()[1] is LOGITS
    assert list(result) == ["loss", "logits"]
    assert len(result) == 2


def test_what_is_none_is_left_out() -> None:
    result = SequenceClassifierOutput(logits=LOGITS)
    assert result[0] is LOGITS
    assert result.loss is None
    assert "loss" not in result
    with pytest.raises(KeyError):
        result["loss"]


def test_a_field_set_later_takes_its_place() -> None:
    result = SequenceClassifierOutput(logits=LOGITS)
    result.loss = LOSS
    assert result.to_tuple()[0] is LOSS
    result["loss"] = None
    assert "loss" not in result


def test_unknown_fields_and_removal_are_refused() -> None:
    result = SequenceClassifierOutput(logits=LOGITS)
    with pytest.raises(AttributeError, match="lables"):
        result.lables = LOSS
    removals: list[Callable[[], object]] = [
        lambda: result.clear(),
        lambda: result.pop("logits"),
        lambda: result.update(a=1),
    ]
    for remove in removals:
        with pytest.raises(TypeError):
            remove()
    with pytest.raises(TypeError):
        del result["logits"]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_and_pickles(duplicate: object) -> None:
    assert callable(duplicate)
    result = duplicate(SequenceClassifierOutput(logits=LOGITS))
    assert torch.equal(result.logits, LOGITS)
    assert result.loss is None
