"""What the README says can be done, is done."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import pytest
import torch

from glassbert import BertConfig, BertModel, BertTokenizer, learn_vocabulary, read_records
from glassbert.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.M | re.S)
TEXTS = [("the soup was warm and good", "1"), ("cold soup and no bread", "0"), ("good bread", "1"), ("no", "0")] * 3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder that holds a small model in FOLDER."""
    monkeypatch.chdir(tmp_path)
    vocabulary = learn_vocabulary([text for text, _ in TEXTS], size=100)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained("FOLDER")
    BertTokenizer(vocabulary).save_pretrained("FOLDER")
    return tmp_path


@pytest.mark.usefixtures("place")
def test_the_conversions(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [block for kind, block in BLOCKS if not kind and "glassbert convert" in block]
    for command in block.strip().split("\n"):
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err


def write(names: tuple[str, ...]) -> None:
    for name in names:
        rows = "".join(f"{text}\t{label}\n" for text, label in TEXTS)
        Path(name).write_text(rows, encoding="utf-8")


@pytest.mark.usefixtures("place")
def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    write(("train.tsv", "dev.tsv", "test.tsv"))
    (block,) = [block for kind, block in BLOCKS if not kind and "--valid" in block]
    commands = block.replace("\\\n", " ").strip().split("\n")
    assert [shlex.split(command)[1] for command in commands] == ["train", "evaluate", "predict"]
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_the_commands_on_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write(("train.tsv",))
    texts = "".join(f"{text}\n" for text, _ in TEXTS)
    Path("texts.txt").write_text(texts, encoding="utf-8")
    arguments = ["--no-header", "--text-column", "0", "--label-column", "1", "--epochs", "1"]
    assert main(["train", "train.tsv", "--model", "FOLDER", "--out", "OUT", *arguments]) == 0
    (block,) = [block for kind, block in BLOCKS if not kind and "texts.txt --out" in block]
    to_file, piped = block.strip().split("\n")
    assert main(shlex.split(to_file)[1:]) == 0
    assert len(list(read_records("answers.parquet"))) == len(TEXTS)
    before, _, after = piped.partition(" | ")
    assert before == "cat texts.txt"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(texts.encode())))
    capsys.readouterr()
    assert main(shlex.split(after)[1:]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(TEXTS)


@pytest.mark.usefixtures("place")
def test_the_python(capsys: pytest.CaptureFixture[str]) -> None:
    write(("train.tsv", "dev.tsv"))
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    # The comments in the README say what is printed.
    for shape in re.findall(r"# \(.*?\) = \((.*?)\)$", README, flags=re.M):
        assert f"torch.Size([{shape}])" in printed


def test_the_map_of_the_house_names_every_room() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "glassbert").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/`", README, flags=re.M)) == rooms


@pytest.mark.parametrize("picture", re.findall(r"\]\((docs/[^)]+)\)", README))
def test_the_pictures_are_there(picture: str) -> None:
    assert (ROOT / picture).stat().st_size > 1000


@pytest.mark.usefixtures("place")
def test_the_commands_of_pretraining(capsys: pytest.CaptureFixture[str]) -> None:
    sentences = [
        f"the {one} {two} was {three}."
        for one in ["warm", "cold", "good"]
        for two in ["soup", "bread", "tea"]
        for three in ["there", "here", "gone"]
    ] * 3
    Path("TEXT.txt").write_text("\n".join(sentences[:40]) + "\n\n" + "\n".join(sentences[40:]), encoding="utf-8")
    BertTokenizer(learn_vocabulary(sentences, size=60)).save_pretrained("my-vocabulary")
    (block,) = [block for kind, block in BLOCKS if not kind and "glassbert pretrain" in block]
    commands = block.strip().split("\n")
    assert [shlex.split(command)[1] for command in commands] == ["prepare", "pretrain"]
    for command in commands:
        small = command.replace("--steps 10000", "--steps 2 --batch-size 4")
        assert main(shlex.split(small)[1:]) == 0, capsys.readouterr().err
