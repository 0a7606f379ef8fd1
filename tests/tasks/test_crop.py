"""Windows at random places."""

from __future__ import annotations

import torch

from glassbert.tasks.texts import TextFeatures, crop
from glassbert.text import Encoding

LONG = TextFeatures(encoding=Encoding(ids=[2, 10, 11, 12, 13, 3], first=4, cut=1), label=1)


def test_windows_keep_the_ends_and_go_everywhere() -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(100):
        window = crop(LONG, 4)
        assert window.label == 1
        assert window.encoding.special == [1, 0, 0, 1]
        assert window.encoding.types == [0] * 4
        assert window.encoding.cut == 3
        seen.add(tuple(window.encoding.ids))
    assert seen == {(2, 10, 11, 3), (2, 11, 12, 3), (2, 12, 13, 3)}


def test_short_texts_stay_whole() -> None:
    assert crop(LONG, 6) is LONG
    assert crop(LONG, 9) is LONG
