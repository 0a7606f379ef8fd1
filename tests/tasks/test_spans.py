"""Places of answers, windows, and the best spans, beside slow and plain ways to find them."""

from __future__ import annotations

import itertools

import pytest
import torch

from glassbert.tasks.spans import best_spans, locate, windows_over, with_most_context


@pytest.mark.parametrize(
    ("text", "start", "place"),
    [
        ("sat", 4, (4, 7)),
        (" sat ", 3, (4, 7)),  # white space at the ends
        ("sat", 5, (4, 7)),  # one too high
        ("cat", 12, (16, 19)),  # the nearer of two
        ("cat", 2, (0, 3)),
        ("on the cat", 8, (8, 19)),  # other white space
        ("cat", -3, (0, 3)),  # an index that would count from the end
        ("cat", 999, (16, 19)),
        ("dog", 0, None),
        (" \n", 3, None),
    ],
)
def test_answers_are_found_where_they_stand(text: str, start: int, place: tuple[int, int] | None) -> None:
    assert locate("cat sat\non the \ncat", text, start) == place


def test_signs_of_patterns_mean_themselves() -> None:
    assert locate("a.b (a+b)", "(a+b)", 0) == (4, 9)


def test_windows_go_on_to_the_end_and_no_further() -> None:
    assert windows_over(10, 4, 2) == [slice(0, 4), slice(2, 6), slice(4, 8), slice(6, 10)]
    assert windows_over(9, 4, 2) == [slice(0, 4), slice(2, 6), slice(4, 8), slice(6, 9)]
    assert windows_over(4, 4, 2) == [slice(0, 4)]
    assert windows_over(0, 4, 2) == [slice(0, 0)]


@pytest.mark.parametrize(("tokens", "room", "step"), list(itertools.product((1, 5, 9, 16), (1, 2, 5), (1, 2))))
def test_a_token_counts_where_it_has_most_context(tokens: int, room: int, step: int) -> None:
    windows = windows_over(tokens, room, min(step, room))
    found = with_most_context(windows, tokens)
    for token in range(tokens):
        # As run_squad.py does: a loop over all windows, the first of equals.
        best = None
        for number, window in enumerate(windows):
            if window.start <= token < window.stop:
                length = window.stop - window.start
                score = min(token - window.start, window.stop - 1 - token) + 0.01 * length
                if best is None or score > best[0]:
                    best = (score, number)
        assert best is not None
        has_it = [
            number
            for number, window in enumerate(windows)
            if window.start <= token < window.stop and found[number][token - window.start]
        ]
        assert has_it == [best[1]]


@pytest.mark.parametrize(("tokens", "longest"), [(1, 1), (7, 3), (12, 30), (12, 1)])
def test_spans_come_best_first_and_none_is_missing(tokens: int, longest: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    start, end = torch.randn(2, tokens, generator=generator)
    may_begin = torch.rand(tokens, generator=generator) < 0.7
    may_begin[0] = True
    plain = [
        (start[first].item() + end[last].item(), first, last)
        for first in range(tokens)
        for last in range(first, tokens)
        if last - first < longest and may_begin[first]
    ]
    found = list(best_spans(start, end, may_begin, longest))
    assert [tuple(span) for span in found] == sorted(plain, reverse=True)
    assert not list(best_spans(start, end, torch.zeros(tokens, dtype=torch.bool), longest))
    assert not list(best_spans(start[:0], end[:0], may_begin[:0], longest))


def test_of_equal_spans_the_first_and_shortest_comes_first() -> None:
    scores = torch.zeros(3)
    found = [(span.first, span.last) for span in best_spans(scores, scores, torch.ones(3, dtype=torch.bool), 2)]
    assert found == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
