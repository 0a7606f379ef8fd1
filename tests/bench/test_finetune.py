"""What the benchmark of fine-tuning writes and works out; its timings are nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import finetune
from glassbert import BertConfig, BertTokenizer


@pytest.fixture
def nothing_shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(finetune, "SHARED", tmp_path / "nowhere")


@pytest.mark.usefixtures("nothing_shared")
def test_both_sets_are_cut_and_the_same_at_every_call(tmp_path: Path) -> None:
    written = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        source, _ = finetune.prepare("sst2", 20, folder)
        assert source == "the embedded sentences"
        written.append([(folder / part).read_text(encoding="utf-8") for part in ("train.jsonl", "dev.jsonl")])
    assert written[0] == written[1]
    for lines in written[0]:
        rows = [json.loads(line) for line in lines.splitlines()]
        assert len(rows) == 20
        assert all(row["text"] and row["label"] for row in rows)


@pytest.mark.usefixtures("nothing_shared")
def test_chinese_begins_with_fresh_weights_and_a_vocabulary_of_its_own(tmp_path: Path) -> None:
    _, model = finetune.prepare("chnsenticorp", 20, tmp_path)
    config, tokenizer = BertConfig.from_pretrained(model), BertTokenizer.from_pretrained(model)
    assert config.vocab_size == len(tokenizer)
    assert (config.hidden_size, config.num_hidden_layers) == (384, 6)
    assert finetune._limit(model) == 512


def test_a_run_stands_beside_ours_of_the_same_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def runs(seconds: list[float], memory: float, accuracy: float) -> list[dict[str, float]]:
        fixed = {"memory": memory, "accuracy": accuracy, "examples": 8, "mean tokens": 3.0}
        return [{"seconds": one, **fixed} for one in seconds]

    found = {
        "glassbert": runs([1.0, 2.0, 10.0], 50.0, 0.5),
        "default batches": runs([3.0, 8.0, 10.0], 200.0, 0.75),
        "grouped by length": runs([2.0, 4.0, 20.0], 100.0, 0.25),
    }
    finetune._report(found, source="a set", epochs=2, file=tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert written["summary"]["default batches"] == {"times as fast": 3.0, "share of memory": 0.25}
    assert written["summary"]["grouped by length"] == {"times as fast": 2.0, "share of memory": 0.5}
    assert "3.00× as fast" in capsys.readouterr().out
    assert written["runs"] == found
