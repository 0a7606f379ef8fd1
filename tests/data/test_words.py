from __future__ import annotations

import io
import itertools
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from glassbert.data import CountedText, count_words, text_files, words
from glassbert.errors import DataError, InputError
from glassbert.text import BasicTokenizer

BASIC = BasicTokenizer()
# White space of all kinds, what is dropped, what is split off, what changes in lower case.
ODD = [" ", "\n", "\t", "\r\n", "\u00a0", "\u2028", "\u3000", "\x85", "\x0c", "\x1c", "\x00", "\u200b", "é", "e\u0301"]
ODD += ["İ", "ß", "字", "😀", "!", "Ab", "don't", "[MASK]", "\ufffd", "क्षि", "한", "Ω"]


def _odd_text(seed: int, number: int = 400) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(ODD) if rng.random() < 0.5 else rng.choice("abc") for _ in range(number))


def _sentences(number: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    letters = [rng.choices("abcdefg", k=rng.randint(1, 6)) for _ in range(50)]
    vocabulary = ["".join(word) for word in letters]
    return "".join(" ".join(rng.choices(vocabulary, k=9)) + "\n" for _ in range(number))


def _count(folder: Path, content: bytes | str, basic: BasicTokenizer = BASIC) -> CountedText:
    file = folder / "text.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return count_words([file], basic)


@pytest.mark.parametrize(
    "basic",
    [
        BASIC,
        BasicTokenizer(do_lower_case=False, never_split=["[MASK]"]),
        BasicTokenizer(tokenize_chinese_chars=False, strip_accents=False),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_words_are_those_of_the_tokenizer(tmp_path: Path, basic: BasicTokenizer, seed: int) -> None:
    text = _odd_text(seed)
    assert _count(tmp_path, text, basic).words.words == Counter(basic.tokenize(text))


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (b"", {}),
        (b"a", {"a": 1}),
        (b"\xef\xbb\xbfa a\r\nA\r\n", {"a": 3}),
        ("a\u2028b\u0085c".encode(), {"a": 1, "bc": 1}),
        (b"a\x00b \x00\n", {"ab": 1}),
        (b"?!?", {"?": 2, "!": 1}),
    ],
)
def test_by_hand(tmp_path: Path, content: bytes, counts: dict[str, int]) -> None:
    counted = _count(tmp_path, content)
    assert (counted.words.words, counted.words.too_long, counted.words.forgotten) == (counts, 0, 0)
    assert counted.held_out == ()


def test_words_that_no_tokenizer_splits_are_counted_apart(tmp_path: Path) -> None:
    counted = _count(tmp_path, f"{'a' * 100} {'b' * 101} c {'b' * 101} {'d' * 5000}\n").words
    assert (counted.words, counted.too_long) == ({"a" * 100: 1, "c": 1}, 3)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 1,000 characters, 20 of each 200 held out."""
    for name, value in {"_CHUNK": 1000, "_HOLD_OUT_EVERY": 200, "_HELD_OUT": 20, "_WORTH_A_PROCESS": 1}.items():
        monkeypatch.setattr(words, name, value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("held_out", [False, True])
def test_cut_at_line_ends_no_word_is_lost(tmp_path: Path, held_out: bool) -> None:
    files = []
    for number in range(5):
        files.append(tmp_path / f"{number}.txt")
        # Without a line end at the end, a file's last word is no part of the next one's first.
        files[-1].write_text(_sentences(40 * number, number).removesuffix("\n"))
    counted = count_words(files, BASIC, held_out=[BASIC, BasicTokenizer(False)] if held_out else ())
    whole = Counter(word for file in files for word in BASIC.tokenize(file.read_text()))
    assert sum((part.words for part in counted.held_out[:1]), counted.words.words) == whole
    if held_out:
        first, second = counted.held_out
        assert first == second
        assert 0.08 * whole.total() < first.words.total() < 0.25 * whole.total()


@pytest.mark.usefixtures("small")
def test_lines_are_held_out_whole(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("".join(f"b{number} m{number} e{number}\n" for number in range(1000, 2000)))
    counted = count_words([tmp_path / "text.txt"], BASIC, held_out=[BASIC])
    for part in (counted.words, *counted.held_out):
        numbers = [{word[1:] for word in part.words if word[0] == letter} for letter in "bme"]
        assert numbers[0] == numbers[1] == numbers[2]


def test_nothing_is_held_out_of_a_short_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a\n" * 49_000)
    counted = count_words([tmp_path / "text.txt"], BASIC, held_out=[BASIC])
    assert (counted.words.words["a"], counted.held_out[0].words.total()) == (49_000, 0)
    (tmp_path / "text.txt").write_text("a\n" * 60_000)
    counted = count_words([tmp_path / "text.txt"], BASIC, held_out=[BASIC])
    assert counted.held_out[0].words["a"] == pytest.approx(1000, abs=2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("text", ["ab " * 5000, "字" * 9000, "a" * 9000, "ab, " * 3000 + "\n" + "字" * 3000])
def test_a_line_without_end_is_cut_at_white_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    lengths = []
    count = words._Counting.count

    def spy(self: words._Counting, text: str) -> words._Finding:
        lengths.append(len(text))
        return count(self, text)

    monkeypatch.setattr(words._Counting, "count", spy)
    counted = _count(tmp_path, text).words
    assert max(lengths) <= 1001
    if "a" * 9 in text:
        assert counted.too_long == 9
    else:
        assert counted.words == Counter(BASIC.tokenize(text))


@pytest.mark.usefixtures("small")
def test_any_number_of_workers_finds_the_same_in_the_same_order(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(_sentences(60, number) + _odd_text(number, 3000), "utf-8")
    results = []
    for workers in (1, 2, 3):
        found = count_words(files, BASIC, held_out=[BASIC, BasicTokenizer(False)], workers=workers, max_words=150)
        results.append([(list(part.words.items()), part.too_long) for part in (found.words, *found.held_out)])
        assert found.words.forgotten > 0
    assert results[0] == results[1] == results[2]


def test_the_rarest_words_make_room(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a a a a b b b c c d e f g")
    counted = count_words([tmp_path / "text.txt"], BASIC, max_words=6).words
    assert (counted.words, counted.forgotten) == ({"a": 4, "b": 3, "c": 2}, 4)
    # Equally frequent words go together, be it all of them: which of them stay is not left to chance.
    (tmp_path / "text.txt").write_text("a b c d e f g")
    assert count_words([tmp_path / "text.txt"], BASIC, max_words=6).words.words == {}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("workers", [1, 2])
def test_progress_ends_at_the_size_of_the_files(tmp_path: Path, workers: int) -> None:
    (tmp_path / "a.txt").write_text(_sentences(100))
    (tmp_path / "b.txt").write_text(_sentences(100))
    seen: list[tuple[int, int | None]] = []
    count_words([tmp_path], BASIC, workers=workers, on_progress=lambda *now: seen.append(now))
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert seen[-1] == (size, size)
    assert all(one <= other for (one, _), (other, _) in itertools.pairwise(seen))


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b")))
    seen: list[tuple[int, int | None]] = []
    counted = count_words([tmp_path / "a.txt", "-"], BASIC, on_progress=lambda *now: seen.append(now))
    assert counted.words.words == {"a": 2, "b": 1}
    assert seen == [(4, None)]


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/b/c", ".hidden", ".git/config", "a10.txt", "a2.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    inside = ["a10.txt", "a2.txt", "b.txt", "a/z.txt", "a/b/c"]
    assert text_files([tmp_path]) == [os.path.join(tmp_path, *name.split("/")) for name in inside]
    # A hidden file is read when it is named.
    assert text_files([tmp_path / ".hidden", "-"]) == [str(tmp_path / ".hidden"), "-"]


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"nothing\.txt: no such file"):
        count_words([tmp_path / "nothing.txt"], BASIC)
    with pytest.raises(DataError, match="the folder holds no files"):
        count_words([tmp_path], BASIC)
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read"):
        count_words([tmp_path], BASIC)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_byte_of_another_encoding_is_named_by_file_and_line(tmp_path: Path, workers: int) -> None:
    (tmp_path / "a.txt").write_text(_sentences(100))
    (tmp_path / "b.txt").write_bytes(b"ok\n" * 2000 + b"caf\xe9\n")
    with pytest.raises(DataError) as caught:
        count_words([tmp_path / "a.txt", tmp_path / "b.txt"], BASIC, workers=workers)
    place = f"{tmp_path / 'b.txt'}:2001"
    assert str(caught.value).startswith(f"{place}: the byte 0xe9 at offset 6003 is not utf-8; ")
    assert count_words([tmp_path / "b.txt"], BASIC, encoding="latin-1").words.words["cafe"] == 1


@pytest.mark.parametrize("settings", [{"workers": 0}, {"max_words": 0}, {"encoding": "klingon"}])
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, int]) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises((InputError, DataError)):
        count_words([tmp_path / "a.txt"], BASIC, **settings)  # type: ignore[arg-type]


class Fatal(BasicTokenizer):
    """Ends its process."""

    def tokenize(self, text: str, never_split: Iterable[str] | None = None) -> list[str]:
        os._exit(7)


@pytest.mark.usefixtures("small")
def test_a_process_that_ends_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(_sentences(100))
    with pytest.raises(InputError, match="ended with exit code 7"):
        count_words([tmp_path / "a.txt"], Fatal(), workers=2)


def test_workers_do_not_load_torch() -> None:
    code = "import sys; import glassbert.data; print(*({'torch', 'numpy', 'rich'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        (None, {}, "the files are None, expected several paths"),
        ("a.txt", {}, "the files are 'a.txt', expected several paths"),
        ([None], {}, "a file is None, expected a path"),
        ([["a.txt"]], {}, "a file is of type list, expected a path"),
        ([], {"basic": None}, "what splits the text is None, expected a BasicTokenizer"),
        ([], {"workers": "2"}, "workers is '2', expected a whole number from 1 on"),
        ([], {"max_words": None}, "max_words is None, expected a whole number from 1 on"),
        ([], {"encoding": 8}, "encoding is of type int, expected a string"),
    ],
)
def test_what_is_of_another_type(files: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        count_words(files, **{"basic": BasicTokenizer(), **settings})
    assert str(caught.value) == message
