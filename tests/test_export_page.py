"""The examples of docs/export.md run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from pathlib import Path

import pytest
import torch

from glassbert import BertConfig, BertForSequenceClassification, BertTokenizer, learn_vocabulary
from glassbert.cli.main import main

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.M | re.S)
TEXTS = [("the soup was warm and good", "1"), ("cold soup, and no bread", "0"), ("good bread", "1"), ("no", "0")]


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    vocabulary = learn_vocabulary([text for text, _ in TEXTS], size=80, min_frequency=1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        id2label={0: "0", 1: "1"},
    )
    BertForSequenceClassification(config).save_pretrained("FOLDER")
    BertTokenizer(vocabulary).save_pretrained("FOLDER")
    rows = "".join(f"{text}\t{label}\n" for text, label in TEXTS)
    Path("dev.tsv").write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    (commands,) = [text for language, text in BLOCKS if not language]
    for command in commands.strip().split("\n"):
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["quantized"]["examples"] == len(TEXTS)
    names = set(re.findall(r"^\| `([\w.]+)` \| (?:the|what)", PAGE, flags=re.M))
    assert len(names) == 5
    assert {path.name for folder in ("OUT", "OUT-torch") for path in Path(folder).iterdir()} - names == {
        "vocab.txt",
        "tokenizer_config.json",
    }
    examples = [text for language, text in BLOCKS if language == "python"]
    assert len(examples) == 3
    with warnings.catch_warnings():
        # What torch.export says of itself when it reads a program.
        warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
        for example in examples:
            exec(compile(example, "export.md", "exec"), {"__name__": "export"})
    assert capsys.readouterr().out.splitlines()[-1] == "torch.Size([3, 2])"
