"""The arithmetic of the benchmarks; their timings are nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import common
from bench.common import forward_flops, mixed_texts, race, report, rows, take_turn
from glassbert import BertConfig


def test_flops_by_hand() -> None:
    config = BertConfig(hidden_size=4, num_attention_heads=2, num_hidden_layers=3, intermediate_size=8)
    # For each token: 8·16 + 4·4·8 + 4·s·4, three layers.
    assert forward_flops(config, [1, 2]) == 3 * (1 * (128 + 128 + 16) + 2 * (128 + 128 + 32))


def test_contenders_run_in_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    seconds = race({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert "".join(calls) == "abababab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_a_turn_is_repeated_until_others_are_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the machine has done before and after each turn: others are at work in the first two.
    busy = iter([0.0, 1e6, 1e6, 2e6, 2e6, 2e6])
    monkeypatch.setattr(common, "_processor_seconds", lambda: next(busy))
    monkeypatch.setattr(common, "settle", lambda: None)
    calls: list[None] = []
    turn = take_turn([lambda: calls.append(None)], patience=5)
    assert len(calls) == 3
    assert turn.others == 0


def test_of_turns_that_were_all_disturbed_the_quietest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter([0.0, 1e12, 0.0, 1e3])
    monkeypatch.setattr(common, "_processor_seconds", lambda: next(busy))
    monkeypatch.setattr(common, "settle", lambda: None)
    turn = take_turn([lambda: sum(range(1000))], patience=1)
    assert turn.others > 0
    assert turn.others * turn.seconds < 1e4


def test_rows_and_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = rows({"ours": [2.0, 1.0, 3.0], "theirs": [8.0, 8.0, 9.0]}, 4e9, 4e9)
    assert [(row.median, row.gflops, row.share, row.ratio) for row in results] == [(2, 2, 0.5, 1), (8, 0.5, 0.125, 4)]
    report("a title", results, {"texts": "some"}, tmp_path / "out.json")
    assert "4.00× as fast" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert written["rows"][1]["name"] == "theirs"
    assert written["facts"]["texts"] == "some"


def test_texts_are_the_same_at_every_call() -> None:
    source, texts = mixed_texts(64)
    assert len(texts) == 64
    assert (source, texts) == mixed_texts(64)
