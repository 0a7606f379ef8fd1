from __future__ import annotations

from typing import Literal

import pytest

from glassbert import BasicTokenizer
from glassbert.errors import InputError
from glassbert.text.basic import Normalizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n\r ", []),
        ("Hello, World!", ["hello", ",", "world", "!"]),
        # Accents go, whether composed or not.
        ("Héllo", ["hello"]),
        ("He\u0301llo", ["hello"]),
        ("Ångström naïve Çelik", ["angstrom", "naive", "celik"]),
        # ß and ø are letters without a decomposition.
        ("Straße Øre", ["straße", "øre"]),
        # İ is I with a dot that is a combining mark; a final sigma is lowered as any other.
        ("İstanbul", ["istanbul"]),
        ("ΟΔΟΣ", ["οδοσ"]),
        ("ὈΔΥΣΣΕΎΣ", ["οδυσσευσ"]),
        # Chinese characters stand alone, those outside the first plane and the compatibility ones too.
        ("我爱BERT模型", ["我", "爱", "bert", "模", "型"]),
        ("a\U00020000b\uf900c", ["a", "\U00020000", "b", "\u8c48", "c"]),
        # These extensions are not in the ranges.
        ("a\U0002b820b", ["a\U0002b820b"]),
        # Kana and Hangul stay together; their marks and syllables come apart.
        ("カタカナ", ["カタカナ"]),
        ("ガ", ["カ"]),
        ("각", ["\u1100\u1161\u11a8"]),
        # Marks: all of ASCII's symbols, and what Unicode calls punctuation; not currency or mathematics.
        ("it's $5^2=25~", ["it", "'", "s", "$", "5", "^", "2", "=", "25", "~"]),
        ("“hi”—so…", ["“", "hi", "”", "—", "so", "…"]),
        ("你好。！", ["你", "好", "。", "！"]),
        ("5€ a×b", ["5€", "a×b"]),
        # Invisible characters are dropped: controls, formats, private use, U+0000 and U+FFFD.
        ("a\x00b\ufffdc\x07d\x1ce\x7ff\x85g\u200dh\u00adi\ue000j\ufeffk", ["abcdefghijk"]),
        # White space of every kind separates.
        ("a\tb\nc\rd\u00a0e\u2003f\u2028g\u3000h", list("abcdefgh")),
        # Unassigned characters stay.
        ("a\u0378b", ["a\u0378b"]),
    ],
)
def test_words_by_hand(text: str, words: list[str]) -> None:
    assert BasicTokenizer().tokenize(text) == words


@pytest.mark.parametrize(
    ("lower", "strip", "words"),
    [
        (True, None, ["istanbul", "ecole"]),
        (True, True, ["istanbul", "ecole"]),
        (True, False, ["i\u0307stanbul", "école"]),
        (False, None, ["İstanbul", "École"]),
        (False, False, ["İstanbul", "École"]),
        (False, True, ["Istanbul", "Ecole"]),
    ],
)
def test_accents_and_case_are_set_apart(lower: bool, strip: bool | None, words: list[str]) -> None:
    assert BasicTokenizer(lower, strip_accents=strip).tokenize("İstanbul École") == words


def test_text_that_keeps_its_accents_is_not_recomposed() -> None:
    assert BasicTokenizer(strip_accents=False).tokenize("E\u0301") == ["e\u0301"]


def test_chinese_characters_can_stay_together() -> None:
    assert BasicTokenizer(tokenize_chinese_chars=False).tokenize("我爱BERT。") == ["我爱bert", "。"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Say [MASK] Now", ["say", "[MASK]", "now"]),
        ("É.T. [MASK]", ["É.T.", "[MASK]"]),
        # Only whole words between white space are passed through.
        ("[MASK]!", ["[", "mask", "]", "!"]),
        ("[mask]", ["[", "mask", "]"]),
    ],
)
def test_never_split_words_pass_through(text: str, words: list[str]) -> None:
    assert BasicTokenizer(never_split=["[MASK]", "É.T."]).tokenize(text) == words


def test_words_that_are_never_split_may_be_given_with_the_text() -> None:
    basic = BasicTokenizer(never_split=["E.T."])
    assert basic.tokenize("E.T. Z! A.B", never_split=["Z!"]) == ["E.T.", "Z!", "a", ".", "b"]
    assert basic.tokenize("E.T. Z!") == ["E.T.", "z", "!"]
    assert BasicTokenizer(never_split=None).tokenize("E.T.") == ["e", ".", "t", "."]


@pytest.mark.parametrize("rules", ["hf", "google"])
def test_a_lone_surrogate_is_refused(rules: Literal["hf", "google"]) -> None:
    with pytest.raises(InputError, match=r"lone surrogate \(U\+D83D, character 1\)"):
        BasicTokenizer(rules=rules).tokenize("a\ud83d")


@pytest.mark.parametrize(
    ("text", "hf", "google"),
    [
        # İ loses its dot before it is lowered, or after.
        ("İ", "i", "i"),
        ("ΑΣ ΑΣΑ", "ασ ασα", "ας ασα"),
        ("a\ue000", "a", "a\ue000"),
        ("a\u1ac0", "a\u1ac0", "a"),
        ("\U0002b820", "\U0002b820", " \U0002b820 "),
    ],
)
def test_the_two_sets_of_rules_normalize_each_in_its_way(text: str, hf: str, google: str) -> None:
    for rules, expected in (("hf", hf), ("google", google)):
        normalizer = Normalizer(rules)  # type: ignore[arg-type]
        assert normalizer.normalize(text) == expected
        assert normalizer.with_origins(text)[0] == expected


def test_the_place_that_each_character_comes_from() -> None:
    #                                             0 1 2 3     4 5
    assert Normalizer().with_origins("Aéb\u00ad字ﬁ") == ("aeb 字 ﬁ", [0, 1, 2, 4, 4, 4, 5])
    kept = Normalizer(strip_accents=False)
    assert kept.with_origins("İa") == ("i\u0307a", [0, 0, 1])
    # Marks that change places: the places stay in order, as in `tokenizers`.
    moved = Normalizer(do_lower_case=False)
    assert moved.with_origins("a\U0001d165\u0334\u16ffb")[1] == [0, 2, 3, 4]
