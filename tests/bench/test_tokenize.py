"""The arithmetic of the benchmark of tokenizing; its timings are nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

from bench.tokenize import Row, Section, _section, in_turns, library_arrays, report
from glassbert import BertTokenizer

VOCAB = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b"])}


def test_contenders_take_turns_on_what_each_round_brings() -> None:
    calls: list[str] = []
    contenders = {"a": lambda given: calls.append(f"a{given}"), "b": lambda given: calls.append(f"b{given}")}
    seconds = in_turns(contenders, [0, 1, 2])
    assert calls == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_ratios_are_taken_round_by_round() -> None:
    seconds = {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 8.0, 4.0]}
    ours, theirs = _section("a title", "s", "as fast", seconds, "theirs").rows
    assert (ours.ratio, ours.median, theirs.ratio) == ((3.0, 4.0, 1.0), 2.0, None)
    ours, _ = _section("a title", "MB/s", "as fast", seconds, "theirs", rate=True).rows
    assert ours.ratio == (1 / 3, 1 / 4, 1.0)


def test_the_library_alone_gives_what_the_tokenizer_does() -> None:
    library = tokenizers.Tokenizer(models.WordPiece(VOCAB, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    texts = ["a b", "abb c a", ""]
    expected = BertTokenizer(VOCAB)(texts, padding=True, return_tensors="np")
    found = library_arrays(library, texts)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_tables_and_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row(name="ours", values=(1.0, 3.0, 2.0), ratio=(4.0, 6.0, 5.0)),
        Row(name="theirs", values=(4.0, 18.0, 10.0), ratio=None),
    ]
    section = Section(title="a title", unit="ms", ratio="as fast", rows=rows)
    report([section], {"texts": "some"}, tmp_path / "out.json")
    title, head, ours, theirs, *_, facts = capsys.readouterr().out.rstrip().split("\n")
    assert (title.strip(), facts.strip()) == ("a title", "texts: some")
    assert head.split() == ["ms", "min", "max", "as", "fast", "min", "max"]
    assert ours.split() == ["ours", "2", "1", "3", "5.00×", "4.00×", "6.00×"]
    assert theirs.split() == ["theirs", "10", "4", "18"]
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert written["facts"] == {"texts": "some"}
    assert written["sections"][0]["rows"][1] == {"name": "theirs", "values": [4.0, 18.0, 10.0], "ratio": None}
