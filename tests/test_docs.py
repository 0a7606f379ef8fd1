"""The examples of docs/finetuning.md run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from glassbert import (
    BertConfig,
    BertModel,
    BertTokenizer,
    FinetuneSettings,
    finetune,
    learn_vocabulary,
)
from glassbert.cli.main import main
from glassbert.tasks import ClassificationMetrics

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "finetuning.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)
TEXTS = [
    ("a good and happy film", "good"),
    ("a bad and sad film", "bad"),
    ("good food", "good"),
    ("bad food", "bad"),
] * 4


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the page takes for known, in a folder with a small model and data."""
    monkeypatch.chdir(tmp_path)
    vocabulary = learn_vocabulary([text for text, _ in TEXTS], size=100, min_frequency=1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained("FOLDER")
    BertTokenizer(vocabulary, model_max_length=16).save_pretrained("FOLDER")
    rows = "".join(f"{text},{label}\n" for text, label in TEXTS)
    Path("train.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    settings = FinetuneSettings(
        train="train.csv",
        validation="train.csv",
        model="FOLDER",
        out="OUT",
        epochs=12,
        batch_size=4,
        learning_rate=1e-2,
        overwrite=True,
    )
    return {"settings": settings, "finetune": finetune}


def test_there_is_an_example_of_each() -> None:
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("place", range(4), ids=["module", "loss", "metric", "callback"])
def test_parts_of_your_own(names: dict[str, Any], place: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[place], names)
    result = names["result"]
    assert isinstance(result.metrics, ClassificationMetrics)
    assert result.metrics.accuracy >= 0.9
    if place == 0:
        assert any("classifier.2.weight" in name for name, _ in names["model"].named_parameters())
        assert names["answers"][0].label in ("good", "bad")
    if place == 2:
        assert result.saved.name == "cost"
        assert result.saved.value == max(-one.metrics.figure("cost") for one in result.evaluations)
    if place == 3:
        assert len(result.evaluations) < 12
        assert len(capsys.readouterr().out.splitlines()) == len(result.history)


@pytest.mark.usefixtures("names")
def test_a_run_and_its_repetition(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    (glassbert .*)$", PAGE, flags=re.M)
    assert len(commands) == 3
    for command in commands[:2]:
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    # The third is another run with the same names; its checkpoints would stand beside the first one's.
    assert main(shlex.split(commands[2].replace(" OUT ", " THIRD "))[1:]) == 0, capsys.readouterr().err
    one, other = (Path(folder, "model.safetensors").read_bytes() for folder in ("OUT", "AGAIN"))
    assert one == other
    listed = re.findall(r"`([\w.]+\.\w+)`", "\n".join(line for line in PAGE.splitlines() if line.startswith("| `")))
    assert len(listed) == 6
    assert {Path("OUT", name).is_file() for name in listed} == {True}
