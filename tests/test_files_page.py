"""The examples of docs/files.md run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertTokenizer,
    SentenceEncoder,
    learn_vocabulary,
    read_records,
)
from glassbert.cli.main import main

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "files.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.M | re.S)
TEXTS = ["the soup was warm and good", "cold soup and no bread", "good bread", "where is the soup"] * 3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with small models and files."""
    monkeypatch.chdir(tmp_path)
    vocabulary = learn_vocabulary(TEXTS, size=100, min_frequency=1)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, kind in (
            ("OUT", BertForSequenceClassification),
            ("EMBEDS", SentenceEncoder),
            ("MASKED", BertForMaskedLM),
            ("ASKS", BertForQuestionAnswering),
        ):
            kind(config).save_pretrained(name)
            BertTokenizer(vocabulary).save_pretrained(name)
    Path("texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    Path("reviews.csv").write_text("body,text\n" + "".join(f"{text},{text}\n" for text in TEXTS), encoding="utf-8")
    Path("page.txt").write_text(". ".join(TEXTS), encoding="utf-8")
    Path("questions.txt").write_text("where is the soup\n", encoding="utf-8")
    return tmp_path


def test_all_of_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [kind for kind, _ in BLOCKS] == ["", "python", "", "python"]
    for kind, block in BLOCKS:
        if kind == "python":
            exec(compile(block, "files.md", "exec"), {"__name__": "files"})
            continue
        for command in block.strip().splitlines():
            name, *arguments = shlex.split(command)
            if name == "cat":
                assert arguments[-2:] == [">", "all.jsonl"]
                Path("all.jsonl").write_bytes(b"".join(Path(one).read_bytes() for one in arguments[:-2]))
            else:
                assert main(arguments) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "(12, 16)" in printed
    assert [record.get("text") for record in read_records("all.jsonl")] == TEXTS
    assert [record.get("text") for record in read_records("answers.parquet")] == TEXTS
    assert np.isfinite(np.load("vectors.npy")).all()
    assert not list(place.glob("*.parts"))
