from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from glassbert import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer, learn_vocabulary
from glassbert.cli.main import main

SENTENCES = [
    ("the cat sat on the mat", "en"),
    ("a dog ran into the wood", "en"),
    ("the sun is out today", "en"),
    ("we sat in the sun", "en"),
    ("the dog and the cat ran", "en"),
    ("a mat is on the wood", "en"),
    ("die Katze lag auf dem Bett", "de"),
    ("ein Hund lief in den Wald", "de"),
    ("die Sonne scheint heute", "de"),
    ("wir lagen in der Sonne", "de"),
    ("der Hund und die Katze", "de"),
    ("ein Bett steht im Wald", "de"),
]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier of the labels de and en with random weights, 32 tokens at most."""
    vocabulary = learn_vocabulary([text for text, _ in SENTENCES], size=120, min_frequency=1)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        id2label={0: "de", 1: "en"},
    )
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder / "classifier")
        BertModel(config).save_pretrained(folder / "bare")
    for name in ("classifier", "bare"):
        BertTokenizer(vocabulary, model_max_length=32).save_pretrained(folder / name)
    return folder / "classifier"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve sentences with their language, as CSV."""
    file = tmp_path / "data.csv"
    file.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in SENTENCES), "utf-8")
    return file


class Run(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Run]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run `glassbert` with arguments, in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str | Path) -> Run:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Run(code, out, err)

    return run
