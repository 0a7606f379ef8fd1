"""`glassbert vocab`."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glassbert import BasicTokenizer, BertTokenizer, learn_vocabulary
from glassbert.text import SPECIAL_TOKENS, load_vocabulary, save_vocabulary

from .conftest import Command, Run

WORDS = (
    "the",
    "The",
    "cat",
    "dog",
    "Café",
    "naïve",
    "walked",
    "talked",
    "walking",
    "talking",
    "in",
    "on",
    "字",
    "中国",
)


def _text(lines: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    return "".join(" ".join(rng.choices(WORDS, k=8)) + ".\n" for _ in range(lines))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Text of 60 kB, too short to hold some out."""
    file = tmp_path / "text.txt"
    file.write_text(_text(1200), "utf-8")
    return file


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    """Text of the same words, and one with a character that the text has not."""
    file = tmp_path / "held.txt"
    file.write_text(_text(10, seed=1) + "quite\n", "utf-8")
    return file


def _refused(run: Run, *parts: str) -> None:
    assert (run.code, run.out) == (2, ""), run
    assert run.err.startswith("glassbert: error: ")
    assert run.err.count("\n") == 1, run.err
    for part in parts:
        assert part in run.err


def test_a_file_holds_what_the_library_learns(command: Command, text: Path) -> None:
    run = command("vocab", text, "--size", "60", "--out", "vocab.txt")
    assert run.code == 0
    assert run.out == "vocab.txt: 60 tokens from 11,461 words, 15 different ones\n"
    assert run.err == "note: the text is too short to hold some of it out; measure on another text with --held-out\n"
    assert load_vocabulary("vocab.txt") == learn_vocabulary([text.read_text("utf-8")], size=60)
    assert sorted(os.listdir(text.parent)) == ["text.txt", "vocab.txt"]


@pytest.mark.parametrize(
    ("options", "basic", "tokens"),
    [
        ([], BasicTokenizer(), {"the", "cafe", "中"}),
        (["--cased"], BasicTokenizer(do_lower_case=False), {"The", "the", "Café", "naïve"}),
        (["--keep-accents"], BasicTokenizer(strip_accents=False), {"the", "café"}),
        (["--no-chinese-split"], BasicTokenizer(tokenize_chinese_chars=False), {"中国"}),
    ],
)
def test_a_folder_holds_a_tokenizer_that_reads_the_same_way(
    command: Command, text: Path, options: list[str], basic: BasicTokenizer, tokens: set[str]
) -> None:
    assert command("vocab", text, "--size", "200", "--out", "folder", *options).code == 0
    assert sorted(os.listdir("folder")) == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    tokenizer = BertTokenizer.from_pretrained("folder")
    assert tokens <= tokenizer.get_vocab().keys()
    assert tokenizer.get_vocab() == learn_vocabulary([text.read_text("utf-8")], size=200, basic=basic)
    line = text.read_text("utf-8").split("\n")[0]
    assert tokenizer.basic_tokenizer.tokenize(line) == basic.tokenize(line)
    assert tokenizer.unk_token not in tokenizer.tokenize(line)


def test_special_tokens(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("[E1] the cat [/E1] [MASK] sat\n" * 3)
    run = command(
        "vocab", "text.txt", "--size", "60", "--out", "out", "--special-token", "[E1]", "--special-token", "[/E1]"
    )
    assert run.code == 0
    vocabulary = list(load_vocabulary("out/vocab.txt"))
    assert vocabulary[:7] == [*SPECIAL_TOKENS, "[E1]", "[/E1]"]
    assert not [token for token in vocabulary[7:] if "[" in token or "1" in token]
    assert BertTokenizer.from_pretrained("out").tokenize("[E1] the cat [/E1]") == ["[E1]", "the", "cat", "[/E1]"]
    _refused(command("vocab", "text.txt", "--out", "two", "--special-token", "[MASK]"), "'[MASK]' is named twice")


def test_held_out_text_beside_another_vocabulary(command: Command, text: Path, held_out: Path) -> None:
    save_vocabulary({token: index for index, token in enumerate([*SPECIAL_TOKENS, "The", "cat"])}, "cased.txt")
    arguments = ["vocab", text, "--size", "60", "--held-out", held_out, "--compare", "cased.txt", "--overwrite"]
    run = command(*arguments, "--out", "vocab.txt", "--json")
    assert (run.code, run.err, run.out.count("\n")) == (0, "", 1)
    report = json.loads(run.out)
    ours, theirs = report.pop("held_out")
    assert report == {
        "out": "vocab.txt",
        "tokens": 60,
        "words": 11461,
        "different_words": 15,
        "too_long_words": 0,
        "forgotten_words": 0,
        "missing_characters": 0,
        "different_missing_characters": 0,
    }
    tokenizer = BertTokenizer("vocab.txt")
    lines = held_out.read_text("utf-8")
    words = BasicTokenizer().tokenize(lines)
    assert (ours["vocabulary"], ours["tokens_in_vocabulary"], ours["do_lower_case"]) == ("vocab.txt", 60, True)
    assert (ours["words"], ours["tokens"]) == (len(words), len(tokenizer.tokenize(lines)))
    assert ours["unknown_words"] == tokenizer.tokenize(lines).count("[UNK]") == 1
    assert ours["whole_words"] == sum(word in tokenizer.vocab for word in words)
    assert ours["tokens_per_word"] == ours["tokens"] / len(words)
    # A vocabulary with capitals is measured on text with capitals.
    assert (theirs["vocabulary"], theirs["do_lower_case"], theirs["strip_accents"]) == ("cased.txt", False, False)
    assert theirs["whole_words"] == lines.count("The") + lines.count("cat")
    assert theirs["unknown_words"] == theirs["words"] - theirs["whole_words"]

    run = command(*arguments, "--out", "vocab.txt")
    rows = [re.split(r"  +", line.strip()) for line in run.out.splitlines()[2:]]
    assert [row[0] for row in rows] == [
        "read as",
        "tokens in the vocabulary",
        "words of the text",
        "characters covered",
        "unknown words",
        "words in one piece",
        "tokens per word",
    ]
    assert rows[1][1:] == ["60", "7"]
    assert rows[-1][1:] == [f"{ours['tokens_per_word']:.4f}", f"{theirs['tokens_per_word']:.4f}"]


def test_a_folder_to_compare_with_is_read_by_its_settings(command: Command, text: Path, held_out: Path) -> None:
    assert command("vocab", text, "--size", "60", "--out", "kept", "--keep-accents", "--no-chinese-split").code == 0
    for place in ("kept", "kept/vocab.txt"):
        run = command(
            "vocab", text, "--out", "v.txt", "--overwrite", "--held-out", held_out, "--compare", place, "--json"
        )
        theirs = json.loads(run.out)["held_out"][1]
        assert (theirs["do_lower_case"], theirs["strip_accents"], theirs["tokenize_chinese_chars"]) == (
            True,
            False,
            False,
        )
        assert theirs["unknown_words"] == 1


def test_one_hundredth_is_held_out(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(_text(8000), "utf-8")
    run = command("vocab", "text.txt", "--size", "60", "--out", "vocab.txt", "--json")
    report = json.loads(run.out)
    (figures,) = report["held_out"]
    whole = len(BasicTokenizer().tokenize(_text(8000)))
    assert report["words"] + figures["words"] == whole
    assert 0.005 < figures["words"] / whole < 0.02
    assert "on 1% of the text" in command("vocab", "text.txt", "--size", "60", "--out", "other.txt").out


def test_what_is_left_out_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat é ß " * 4 + "q " + "x" * 101 + " ab ac ad", "utf-8")
    limits = ["--max-words", "7", "--alphabet", "6"]
    run = command("vocab", "text.txt", "--out", "v.txt", "--keep-accents", *limits)
    assert run.code == 0
    for remark in (
        "there are 19 tokens, not 30,000: no other pair is seen 2 times or more",
        "4 characters of the text, 1 different ones, were left out by --min-frequency and --alphabet; ",
        "1 words of more than 100 characters",
        "4 occurrences of rare words were forgotten; --max-words keeps more",
    ):
        assert f"note: {remark}" in run.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nothing.txt"], ["nothing.txt: no such file"]),
        (["empty.txt"], ["holds no words"]),
        (["long.txt"], ["holds no words of at most 100 characters"]),
        (["binary.txt"], ["binary.txt:2: the byte 0xff at offset 2 is not utf-8", "--encoding"]),
        (["folder"], ["folder: the folder holds no files"]),
        (["text.txt", "--encoding", "klingon"], ["no encoding is called 'klingon'"]),
        (["text.txt", "--size", "20"], ["size 20 is too small", "use 37 or more"]),
        # Told before any text is read: there is none here.
        (
            ["nothing.txt", "--size", "5"],
            ["size 5 is too small: 5 special tokens", "use 6 at the very least"],
        ),
        (
            ["nothing.txt", "--size", "6", "--special-token", "a"],
            ["size 6 is too small: 6 special", "use 7 at"],
        ),
        (["text.txt", "--size", "0"], ["--size"]),
        (["text.txt", "--alphabet", "0"], ["--alphabet"]),
        (["text.txt", "--workers", "0"], ["--workers"]),
        (["text.txt", "--special-token", "a b"], ["'a b'"]),
        (["text.txt", "--held-out", "empty.txt"], ["empty.txt: holds no words to measure on"]),
        (["text.txt", "--held-out", "nothing.txt"], ["nothing.txt: no such file"]),
        (["text.txt", "--held-out", "./text.txt"], ["text.txt: is one of the texts to learn from"]),
        (["text.txt", "--held-out", "-"], ["-: is no regular file"]),
        (["text.txt", "--compare", "nothing.txt"], ["nothing.txt: no such file"]),
        (["text.txt", "--compare", "empty.txt"], ["empty.txt: the vocabulary is empty"]),
        (["text.txt", "--compare", "folder"], ["folder"]),
        (["text.txt", "--out", "there.txt"], ["there.txt is already there", "--overwrite"]),
        (["text.txt", "--out", "text.txt", "--overwrite"], ["text.txt is one of the texts"]),
        (["text.txt", "--out", "plain"], ["plain is a file"]),
        (["text.txt", "--out", "there.txt/vocab.txt"], ["cannot write there.txt/vocab.txt"]),
        ([], ["TEXT"]),
    ],
)
def test_bad_input(command: Command, text: Path, arguments: list[str], parts: list[str]) -> None:
    for name, content in {
        "empty.txt": b"",
        "long.txt": b"a" * 101,
        "binary.txt": b"a\n\xff",
        "there.txt": b"mine",
        "plain": b"mine",
    }.items():
        (text.parent / name).write_bytes(content)
    (text.parent / "folder").mkdir()
    before = sorted(os.listdir(text.parent))
    if "--out" not in arguments:
        arguments = [*arguments, "--out", "out.txt"]
    _refused(command("vocab", *arguments), *parts)
    assert sorted(os.listdir(text.parent)) == before
    assert (text.parent / "there.txt").read_bytes() == (text.parent / "plain").read_bytes() == b"mine"
    assert text.read_text("utf-8") == _text(1200)


def test_overwrite(command: Command, text: Path) -> None:
    for out, target in (("v.txt", "v.txt"), ("folder", "folder/vocab.txt")):
        assert command("vocab", text, "--out", out, "--size", "50").code == 0
        _refused(command("vocab", text, "--out", out, "--size", "60"), f"{target} is already there")
        assert len(load_vocabulary(target)) == 50
        assert command("vocab", text, "--out", out, "--size", "60", "--overwrite").code == 0
        assert len(load_vocabulary(target)) == 60


def test_help_does_not_wait_for_torch_and_has_an_example(command: Command) -> None:
    run = command("vocab", "--help")
    assert run.code == 0
    assert "Example: glassbert vocab" in run.out
    code = (
        "import sys; from glassbert.cli.main import main; main(sys.argv[1:]);"
        "print(*({'torch', 'numpy'} & sys.modules.keys()), 'end')"
    )
    done = subprocess.run([sys.executable, "-c", code, "vocab", "--help"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "end"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_interrupted_it_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    started = [sys.executable, "-m", "glassbert", "vocab", "-", "--out", "vocab.txt", "--workers", "2"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(started, cwd=tmp_path, text=True, start_new_session=True, **pipes) as run:  # type: ignore[call-overload]
        assert run.stdin is not None
        # More than a pipe holds: when it is written, most of it has been dealt out to processes.
        run.stdin.write("the cat\n" * 500_000)
        run.stdin.flush()
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=300)
        assert (run.returncode, out, err) == (130, "", "glassbert: error: interrupted\n")
        for _ in range(1_000):
            try:
                os.killpg(run.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("processes are left")
    assert list(tmp_path.iterdir()) == []
