"""`glassbert prepare`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glassbert.data import Shards
from tests.data import small
from tests.data.corpora import files_of, make, text

from .conftest import Command, Run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The folder `texts`, and `vocab.txt`."""
    make(tmp_path)
    return tmp_path


def _prepare(command: Command, *arguments: str | Path, texts: str = "texts", out: str = "out") -> Run:
    return command("prepare", texts, "--vocab", "vocab.txt", "--out", out, "--workers", "1", *arguments)


def _refused(run: Run, *parts: str) -> None:
    assert (run.code, run.out) == (2, ""), run
    assert run.err.splitlines()[-1].startswith("glassbert: error: ")
    assert "Traceback" not in run.err
    for part in parts:
        assert part in " ".join(run.err.split())


def test_the_table(command: Command, corpus: Path) -> None:
    run = _prepare(command, "--held-out", "0.1")
    assert run.code == 0
    assert run.err == "sentences: lines (each line is a sentence), guessed from the first lines\n"
    lines = run.out.splitlines()
    names = [line[:30].strip() for line in lines[:6]]
    assert names == [
        "documents",
        "sentences",
        "sequences",
        "tokens",
        "unknown tokens",
        "second part is from elsewhere",
    ]
    shards = Shards("out")
    counts = shards.manifest["counts"]
    assert f"{counts['training documents']:,}, and {counts['held-out documents']:,} held out" in lines[0]
    assert f"{len(shards.training):,}, and {len(shards.held_out):,} held out" in lines[2]
    assert lines[4].split()[-1] == "0.000%"
    assert lines[-1].endswith("glassbert pretrain out --preset tiny --steps 10000 --out my-bert")
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--held-out", "0"], "note: nothing was held out; --held-out takes a larger share"),
        (["--held-out", "0", "--objective", "mlm"], "note: nothing was held out; --held-out takes a larger share"),
        (["--held-out", "0.1", "--max-length", "6"], "sentences were longer than a sequence and were divided"),
    ],
)
def test_notes(command: Command, corpus: Path, arguments: list[str], said: str) -> None:
    run = _prepare(command, *arguments)
    assert run.code == 0
    assert said in " ".join(run.err.split())


def test_one_document_held_out(command: Command, corpus: Path) -> None:
    for seed in range(5):
        run = _prepare(command, "--held-out", "0.02", "--seed", str(seed), "--overwrite")
        held_out = Shards("out").manifest["counts"]["held-out documents"]
        said = " ".join(run.err.split())
        assert ("one document is held out" in said) == (held_out == 1)
        assert ("nothing was held out" in said) == (held_out == 0)


@pytest.mark.parametrize("objective", ["nsp", "sop", "mlm"])
def test_json(command: Command, corpus: Path, objective: str) -> None:
    run = _prepare(command, "--json", "--objective", objective, "--held-out", "0")
    assert run.code == 0
    found = json.loads(run.out)
    shards = Shards("out")
    assert found == {
        "folder": "out",
        "finished": True,
        "objective": objective,
        "shards": 1,
        "sequences": len(shards.training),
        "held_out_sequences": 0,
        "tokens": shards.training.tokens,
        "fill": shards.training.tokens / len(shards.training) / 128,
        "documents": 140,
        "held_out_documents": 0,
        "sentences": shards.manifest["counts"]["sentences"],
        "unknown_share": 0.0,
        "label_1_share": found["label_1_share"],
        "divided_documents": 0,
        "divided_sentences": 0,
    }
    assert (0.3 < found["label_1_share"] < 0.7) == (objective != "mlm")


def test_parts(command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.shrink(monkeypatch.setattr)
    run = _prepare(command, "--part", "2/2", "--sentences", "lines")
    assert (run.code, run.out) == (0, "")
    assert "shards are left to the other parts: 0, 2" in run.err
    run = _prepare(command, "--part", "2/2", "--sentences", "lines", "--json")
    assert json.loads(run.out) == {"folder": "out", "finished": False}
    run = _prepare(command, "--part", "1/2", "--sentences", "lines", "--json")
    assert json.loads(run.out)["finished"] is True
    _prepare(command, "--sentences", "lines", out="whole")
    assert files_of(Path("out")) == files_of(Path("whole"))


def test_what_is_divided_is_told(command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.shrink(monkeypatch.setattr)
    Path("long.txt").write_text("The cat sat.\n" * 500)
    run = _prepare(command, "--held-out", "0", texts="long.txt")
    assert "times a document was divided" in " ".join(run.err.split())


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--part", "0/4"], ["part is '0/4', expected i/n with i from 1 to n"]),
        (["--part", "5/4"], ["part is '5/4'"]),
        (["--part", "x"], ["part is 'x', expected i/n such as 2/8"]),
        (["--part", "1/2", "--overwrite"], ["would take what the other parts have made"]),
        (["--masked-share", "0", "--static-masks"], ["masked_share is 0.0"]),
        (["--masked-share", "1", "--static-masks"], ["masked_share is 1.0"]),
        (["--masked-share", "0.2"], ["masked_share is for static_masks"]),
        (["--objective", "nothing"], ["nsp", "sop", "mlm"]),
        (["--document-start", "("], ["no regular expression"]),
        (["--encoding", "klingon"], ["no encoding is called 'klingon'"]),
        (["--max-length", "4"], ["5 or more"]),
    ],
)
def test_wrong_use_is_told_in_one_line(command: Command, corpus: Path, arguments: list[str], parts: list[str]) -> None:
    _refused(_prepare(command, *arguments), *parts)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("empty.txt", b"", ["empty.txt: the corpus holds no text"]),
        ("blank.txt", b"\n \n", ["the corpus holds no words"]),
        ("latin.txt", b"a\ncaf\xe9\n", ["latin.txt:2: the byte 0xe9 at offset 5 is not utf-8", "--encoding"]),
        ("bad.jsonl", b'{"text": "a"}\n{"text": \n', ["bad.jsonl:2: "]),
        ("half.jsonl", b'{"text": "\\ud83d"}\n', ["half.jsonl:1: "]),
        ("other.jsonl", b'{"a": 1, "b": 2}\n', ["other.jsonl"]),
        ("bad.parquet", b"PAR1", ["bad.parquet"]),
        ("bad.txt.gz", b"\x1f\x8b\x08", ["bad.txt.gz: cannot be read"]),
        ("one.txt", b"the cat", ["all documents were held out by chance"]),
    ],
)
def test_bad_corpora_are_told_in_one_line(
    command: Command, corpus: Path, name: str, content: bytes, parts: list[str]
) -> None:
    Path(name).write_bytes(content)
    _refused(_prepare(command, "--held-out", "0.99999", texts=name), *parts)


def test_what_stands_in_the_way(command: Command, corpus: Path) -> None:
    _refused(_prepare(command, texts="nothing.txt"), "nothing.txt: no such file")
    _refused(command("prepare", "texts", "--vocab", "nothing", "--out", "out"), "nothing")
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    for arguments in ([], ["--overwrite"]):
        _refused(_prepare(command, *arguments), "out holds mine.txt, so no shards alone; choose another folder")
    Path("out/mine.txt").unlink()
    assert _prepare(command).code == 0
    _refused(_prepare(command, "--seed", "1"), "holds shards of other settings: seed was 0 and is now 1", "--overwrite")
    Path("texts/a.txt").write_text("Another text.\n")
    _refused(_prepare(command), "the corpus has changed since; prepare it anew with --overwrite")
    assert _prepare(command, "--overwrite").code == 0


def test_a_folder_of_many_kinds(command: Command, corpus: Path) -> None:
    Path("texts/more.jsonl").write_text('{"text": "The cat."}\n{"text": "The dog.\\n\\nThe sun."}\n')
    Path("texts/.hidden").write_text("not read")
    run = _prepare(command, "--json")
    found = json.loads(run.out)
    assert found["documents"] + found["held_out_documents"] == 142


def test_going_on_is_said(command: Command, corpus: Path) -> None:
    assert _prepare(command).code == 0
    run = _prepare(command)
    assert run.code == 0
    assert "going on with out; shards that are there: 1" in run.err


def test_ctrl_c_in_the_middle(command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("texts/c.txt").write_text(text(10_000, 5))
    arguments = ["prepare", "texts", "--vocab", "vocab.txt", "--sentences", "lines", "--workers", "2", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.data.small", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as run:
        while run.poll() is None and not Path("out/shard-00000").exists():
            time.sleep(0.005)
        os.killpg(run.pid, signal.SIGINT)  # to all of them, as a terminal does
        out, err = run.communicate(timeout=300)
    assert run.returncode == 130
    assert out == ""
    assert err == "glassbert: error: interrupted\n"
    names = {entry.name for entry in Path("out").iterdir()}
    assert names >= {"plan.json", "tokenizer", "shard-00000"}
    assert "manifest.json" not in names
    assert not any(name.startswith(".") for name in names)
    small.shrink(monkeypatch.setattr)
    assert _prepare(command, "--sentences", "lines").code == 0
    assert _prepare(command, "--sentences", "lines", out="whole").code == 0
    assert files_of(Path("out")) == files_of(Path("whole"))


def test_help(command: Command) -> None:
    run = command("prepare", "--help")
    assert run.code == 0
    for flag in ("--vocab", "--part", "--objective", "--static-masks", "--json", "--workers"):
        assert flag in run.out
