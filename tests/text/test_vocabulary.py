from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from glassbert import BasicTokenizer, GlassbertError, VocabularyError, learn_vocabulary
from glassbert.text import SPECIAL_TOKENS, load_vocabulary, save_vocabulary


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        (b"[PAD]\na\nb\n", ["[PAD]", "a", "b"]),
        (b"[PAD]\na\nb", ["[PAD]", "a", "b"]),
        (b"[PAD]\r\na\r\nb\r\n", ["[PAD]", "a", "b"]),
        (b"\xef\xbb\xbf[PAD]\na\n", ["[PAD]", "a"]),
        # Nothing but LF ends a line: U+2028 and U+0085 are tokens, and so are spaces.
        ("a\n\u2028\n##\u2028\n\x85\n \n\u3000\nb\n".encode(), ["a", "\u2028", "##\u2028", "\x85", " ", "\u3000", "b"]),
        ("é\ne\u0301\n".encode(), ["é", "e\u0301"]),
    ],
)
def test_a_line_is_a_token(tmp_path: Path, content: bytes, tokens: list[str]) -> None:
    file = tmp_path / "vocab.txt"
    file.write_bytes(content)
    assert load_vocabulary(file) == {token: index for index, token in enumerate(tokens)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "vocab.txt: the vocabulary is empty"),
        (b"a\nb\xff\n", "vocab.txt: byte 3 is not UTF-8"),
        (b"a\nb\nc\nb\n", "vocab.txt:4: 'b' stands on line 2 already"),
        (b"a\nb\na\r\n", "vocab.txt:3: 'a' stands on line 1 already"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "vocab.txt"
    file.write_bytes(content)
    with pytest.raises(VocabularyError) as caught:
        load_vocabulary(file)
    assert str(caught.value) == f"{tmp_path}{os.sep}{message}"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="no such file"):
        load_vocabulary(tmp_path / "vocab.txt")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError):
        load_vocabulary(tmp_path)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    vocabulary = {"b": 1, "[PAD]": 0, "\u2028": 3, "##é": 2, "字": 4}
    save_vocabulary(vocabulary, tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_bytes() == "[PAD]\nb\n##é\n\u2028\n字\n".encode()
    assert load_vocabulary(tmp_path / "vocab.txt") == vocabulary


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [({"a": 1}, "gap"), ({"a": 0, "b": 2}, "gap"), ({"a": 0, "b": 0}, "gives the id 0 to 'a' and to 'b'")],
)
def test_ids_with_gaps_are_not_saved(tmp_path: Path, vocabulary: dict[str, int], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        save_vocabulary(vocabulary, tmp_path / "vocab.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["uncased", "cased", "chinese"])
def test_published_vocabularies_load(shared: Path, tmp_path: Path, name: str) -> None:
    file = shared / f"data/vocab/bert-base-{name}.vocab.txt"
    vocabulary = load_vocabulary(file)
    assert len(vocabulary) == {"uncased": 30522, "cased": 28996, "chinese": 21128}[name]
    assert [vocabulary[token] for token in SPECIAL_TOKENS] == [0, 100, 101, 102, 103]
    if name == "chinese":
        assert (vocabulary["\u2028"], vocabulary["##\u2028"]) == (343, 13502)
    save_vocabulary(vocabulary, tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("texts", "size", "min_frequency", "learned"),
    [
        # Characters, each also as it stands alone; a##b five times, then ab##c twice.
        (["ab ab ab", "abc abc"], 100, 2, ["##b", "##c", "a", "b", "c", "ab", "abc"]),
        (["ab ab ab", "abc abc"], 11, 2, ["##b", "##c", "a", "b", "c", "ab"]),
        (["ab ab ab", "abc abc"], 10, 2, ["##b", "##c", "a", "b", "c"]),
        (["ab ab ab", "abc abc"], 100, 3, ["##b", "a", "b", "ab"]),
        # A tie goes to the pieces that come first, in whatever order the text has them.
        (["cd cd ab ab"], 12, 2, ["##b", "##d", "a", "b", "c", "d", "ab"]),
        (["ab cd ab cd"], 12, 2, ["##b", "##d", "a", "b", "c", "d", "ab"]),
        # Characters seen once are left out, and so is what holds them.
        (["aa aa xy"], 100, 2, ["##a", "a", "aa"]),
        (["aa aa xy"], 100, 1, ["##a", "##y", "a", "x", "y", "aa", "xy"]),
        # A pair that overlaps itself: aaaa -> a ##aa ##a, from the left.
        (["aaaa aaaa"], 100, 2, ["##a", "a", "##aa", "##aaa", "aaaa"]),
        # Lower case, accents and marks as the tokenizer will have them.
        (["É! e! É?"], 100, 2, ["!", "e"]),
        # A token written in the text is no special token.
        (["[MASK] [MASK]"], 16, 2, ["##a", "##k", "##s", "[", "]", "a", "k", "m", "s", "##as", "##ask"]),
    ],
)
def test_learned_by_hand(texts: list[str], size: int, min_frequency: int, learned: list[str]) -> None:
    vocabulary = learn_vocabulary(texts, size=size, min_frequency=min_frequency)
    assert list(vocabulary) == [*SPECIAL_TOKENS, *learned]
    assert list(vocabulary.values()) == list(range(len(vocabulary)))


def test_the_settings_of_the_basic_tokenizer_count() -> None:
    vocabulary = learn_vocabulary(["É É"], size=10, basic=BasicTokenizer(do_lower_case=False))
    assert list(vocabulary)[5:] == ["É"]


def _learn_slowly(texts: list[str], size: int, min_frequency: int) -> list[str]:
    """Count every pair anew before every step."""
    words = [[word[0], *("##" + char for char in word[1:])] for text in texts for word in text.split()]
    seen = Counter(piece for word in words for piece in word)
    seen.update(piece[2:] for word in words for piece in word[1:])
    known = [*SPECIAL_TOKENS, *sorted(piece for piece, count in seen.items() if count >= min_frequency)]
    while len(known) < size:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        if not pairs:
            break
        best, count = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        if count < min_frequency:
            break
        joined = best[0] + best[1].removeprefix("##")
        for word in words:
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = [joined]
                place += 1
        if joined not in known:
            known.append(joined)
    return known


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("letters", ["ab", "abcdefgh"])
def test_the_queue_finds_what_counting_anew_finds(seed: int, letters: str) -> None:
    rng = random.Random(seed)
    words = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(60)]
    texts = [" ".join(words[start : start + 10]) for start in range(0, 60, 10)]
    for size in (30, 200):
        for min_frequency in (1, 2, 3):
            assert list(learn_vocabulary(texts, size=size, min_frequency=min_frequency)) == _learn_slowly(
                texts, size, min_frequency
            )


def test_tokenizers_joins_the_same_where_nothing_ties() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    texts = ["ab " * 10 + "abc " * 5 + "xyab " * 3 + "zab " + "qabc " * 2]
    theirs = tokenizers.BertWordPieceTokenizer()
    theirs.train_from_iterator(texts, vocab_size=100, min_frequency=4, show_progress=False)
    joined = {piece for piece in theirs.get_vocab() if len(piece.removeprefix("##")) > 1} - set(SPECIAL_TOKENS)
    ours = set(learn_vocabulary(texts, size=100, min_frequency=4))
    assert joined == {"ab", "##ab", "abc"}
    assert {piece for piece in ours if len(piece.removeprefix("##")) > 1} - set(SPECIAL_TOKENS) == joined


def test_every_process_learns_the_same() -> None:
    code = (
        "import json; from glassbert.text import learn_vocabulary; from glassbert.data import load_sentences;"
        "print(json.dumps(list(learn_vocabulary([row.text for row in load_sentences('test')], size=2500))))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1")
    ]
    assert len(json.loads(runs[0])) == 2500
    assert runs[0] == runs[1]


@pytest.mark.parametrize("texts", [[], [""], ["  \n", "\x00"]])
def test_text_without_words_is_refused(texts: list[str]) -> None:
    with pytest.raises(VocabularyError, match="no words"):
        learn_vocabulary(texts, size=100)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (-1, "size is -1, expected a whole number from 0 on"),
        (0, "size 0 is too small: 5 special tokens come first, and every character of the text takes one more; use 6"),
        (5, "size 5 is too small: 5 special tokens come first, and every character of the text takes one more; use 6"),
        (6, "size 6 is too small: 5 special tokens and 6 characters come first; use 11 or more"),
        (10, "size 10 is too small: 5 special tokens and 6 characters come first; use 11 or more"),
    ],
)
def test_a_size_without_room_for_the_characters_is_refused(size: int, message: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        learn_vocabulary(["ab ab", "cd cd"], size=size)
    assert str(caught.value).startswith(message)
    assert len(learn_vocabulary(["ab ab", "cd cd"], size=11)) == 11


def test_a_frequency_below_one_is_refused() -> None:
    with pytest.raises(GlassbertError):
        learn_vocabulary(["ab cd ab abab"], size=50, min_frequency=0)


def test_one_string_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(VocabularyError, match=r"texts is one string, expected several; pass \[text\]"):
        learn_vocabulary("hello hello", size=50)
