"""The packed layout squeezes padding out and puts it back; nothing else changes."""

from __future__ import annotations

import pytest
import torch

from glassbert import InputError
from glassbert.model import Packed, Padded
from glassbert.model.layout import Group

MASK = torch.tensor(
    [
        [1, 1, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1],
        [1, 0, 1, 0, 1],  # a hole is squeezed out as padding is
    ]
).bool()
VALUES = torch.arange(20).view(4, 5) + 1


def test_a_stream_holds_the_real_tokens_shortest_sequence_first() -> None:
    layout = Packed.from_mask(MASK)
    assert layout.enter(VALUES).tolist() == [6, 1, 2, 3, 16, 18, 20, 11, 12, 13, 14, 15]
    assert layout.groups == (Group(1, 1), Group(2, 3), Group(1, 5))
    assert layout.keys is None


def test_leaving_puts_zeros_at_padding() -> None:
    layout = Packed.from_mask(MASK)
    assert torch.equal(layout.leave(layout.enter(VALUES)), VALUES * MASK)


def test_first_rows_come_in_the_order_of_the_batch() -> None:
    layout = Packed.from_mask(MASK)
    stream = layout.enter(VALUES)
    assert layout.first(stream).tolist() == [[1], [6], [11], [16]]
    narrow = layout.narrow_to_first()
    rows = narrow.queries(stream)
    assert rows.tolist() == [6, 1, 16, 11]
    assert narrow.first(rows).tolist() == [[1], [6], [11], [16]]
    only_first = VALUES.clone()
    only_first[:, 1:] = 0
    assert torch.equal(narrow.leave(rows), only_first)


def test_each_sequence_as_a_view() -> None:
    layout = Packed.from_mask(MASK)
    found = [sequence.tolist() for sequence in layout.sequences(layout.enter(VALUES))]
    assert found == [[1, 2, 3], [6], [11, 12, 13, 14, 15], [16, 18, 20]]


def test_without_padding_the_stream_is_the_batch_as_it_came() -> None:
    for layout in (Packed.whole((4, 5)), Packed.from_mask(torch.ones(4, 5, dtype=torch.bool))):
        assert layout.groups == (Group(4, 5),)
        assert layout.keys is None
        assert layout.rows.tolist() == list(range(20))
        assert layout.starts.tolist() == [0, 5, 10, 15]
        # Of values that do not lie in a row, too: kernels read the memory as it is.
        for values in (VALUES, VALUES.t().contiguous().t(), torch.stack((VALUES, VALUES), dim=2)[:, :, 0]):
            stream = layout.enter(values)
            assert stream.tolist() == list(range(1, 21))
            assert stream.is_contiguous()
        assert torch.equal(layout.leave(stream), VALUES)
        assert [sequence.tolist() for sequence in layout.sequences(stream)] == VALUES.tolist()
        assert layout.first(stream).tolist() == [[1], [6], [11], [16]]
        narrow = layout.narrow_to_first()
        assert narrow.first(narrow.queries(stream)).tolist() == [[1], [6], [11], [16]]
        assert narrow.leave(narrow.queries(stream))[:, 1:].count_nonzero() == 0
        picked = layout.narrow_to(VALUES % 7 == 0)
        assert picked.pick(stream).tolist() == [1, 6, 11, 16, 7, 14]
        assert picked.leave(picked.pick(stream)).flatten().nonzero().flatten().tolist() == [0, 5, 6, 10, 13, 15]


def test_a_masked_first_token_without_other_padding() -> None:
    layout = Packed.from_mask(torch.tensor([[1, 1, 1], [0, 1, 1]]).bool())
    assert layout.enter(torch.arange(6).view(2, 3)).tolist() == [0, 1, 2, 3, 4, 5]
    assert layout.keys is not None
    assert layout.keys.tolist() == [True, True, True, False, True, True]


def test_a_masked_first_token_is_computed_but_not_seen() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    layout = Packed.from_mask(mask)
    assert layout.keys is not None
    stream = layout.enter(torch.arange(12).view(3, 4))
    assert stream.tolist() == [8, 4, 5, 0, 2, 3]
    assert layout.keys.tolist() == [False, True, True, False, True, True]


def test_the_padded_layout_keeps_everything() -> None:
    layout = Padded.from_mask(MASK, shape=(4, 5))
    assert layout.enter(VALUES) is VALUES
    assert layout.leave(VALUES) is VALUES
    assert layout.mask is not None
    assert layout.mask.shape == (4, 1, 1, 5)
    narrow = layout.narrow_to_first()
    rows = narrow.queries(VALUES)
    assert rows.tolist() == [[1], [6], [11], [16]]
    assert narrow.leave(rows).tolist() == [[1, 0, 0, 0, 0], [6, 0, 0, 0, 0], [11, 0, 0, 0, 0], [16, 0, 0, 0, 0]]


def test_a_mask_of_ones_and_zeros_is_not_ready_for_the_scores() -> None:
    with pytest.raises(InputError, match="get_extended_attention_mask"):
        Padded.from_extended(torch.ones(1, 1, 1, 4, dtype=torch.long), shape=(1, 4), keys=4)
