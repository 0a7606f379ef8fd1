"""Random texts under random settings: both tokenizers against the library `tokenizers`, which is built here anew.

    python -m tests.text.fuzz --cases 1000000 --seed 0      # prints how many cases, and each difference made small
    python -m tests.text.fuzz --replay '{"texts": …}'       # a case again, as a run printed it

A case is one text, or a pair, under one setting, by both classes: ids, types, masks, offsets and word numbers of all
its windows, padding too. Where the library stops with an error, both have to raise `InputError`. They also do where it
does not: a `max_length` that does not hold the special tokens; `only_first` or `only_second` of a pair where no place
is left for text at all; a `stride` as long as the window, which the library finds out with the first text that has to
be cut; windows that have no place for one of the texts, where the library gives the whole text, longer than
`max_length`. Of two added tokens that normalization makes equal the library finds either, so there are none here.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken as TheirToken
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from glassbert import BertTokenizer, BertTokenizerFast, InputError
from glassbert.text import AddedToken, load_vocabulary

SHARED: Final = Path(__file__).resolve().parents[2] / "../shared"
FIVE: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CLASSES: Final = (BertTokenizer, BertTokenizerFast)
TEXTS_A_CALL: Final = 40
CALLS_A_TOKENIZER: Final = 12
# Differences that are made small; further ones are told as they are.
ENOUGH: Final = 10

Text = str | list[str]
# Of one window: ids, types, mask, special tokens, offsets, words.
Row = tuple[list[int], list[int], list[int], list[int], list[tuple[int, int]], list[int | None]]


# -- what is drawn ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Added:
    """An added token; `normalized` None leaves it to the class."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False

    @property
    def is_normalized(self) -> bool:
        return not self.special if self.normalized is None else self.normalized


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of a tokenizer. `vocab` is the name of a published one, or tokens; `step` parts their ids."""

    vocab: str | tuple[str, ...]
    step: int = 1
    lower: bool = True
    strip: bool | None = None
    chinese: bool = True
    clean: bool = True
    basic: bool = True
    longest: int = 100
    added: tuple[Added, ...] = ()

    @property
    def ids(self) -> dict[str, int]:
        if isinstance(self.vocab, str):
            return published(self.vocab)
        return {token: number * self.step for number, token in enumerate(self.vocab)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """Arguments of a call."""

    special: bool = True
    way: str | None = None
    limit: int | None = None
    cut_left: bool = False
    overflow: bool = False
    stride: int = 0
    padding: str | None = None
    pad_left: bool = False
    multiple: int | None = None
    split: bool = False

    @property
    def sensible(self) -> bool:
        """Whether each argument has an effect; ours refuse those that have none."""
        return (
            (self.padding is not None or self.multiple is None)
            and (self.stride == 0 or (self.overflow and self.way is not None))
            and (self.limit is None) == (self.way is None and self.padding != "max_length")
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A batch of texts, or of pairs, one call, one tokenizer."""

    settings: Settings
    call: Call
    texts: tuple[tuple[Text, ...], ...]

    def line(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of(cls, line: str) -> Case:
        values = json.loads(line)
        settings = values["settings"]
        settings["added"] = tuple(Added(**one) for one in settings["added"])
        if not isinstance(settings["vocab"], str):
            settings["vocab"] = tuple(settings["vocab"])
        texts = tuple(tuple(one) for one in values["texts"])
        return cls(settings=Settings(**settings), call=Call(**values["call"]), texts=texts)


@functools.cache
def published(name: str) -> dict[str, int]:
    return load_vocabulary(SHARED / f"oracle/vocab/bert-base-{name}.vocab.txt")


# First and last of runs of characters: scripts, marks, symbols, and what is assigned to nobody.
SCRIPTS: Final = (
    *((0x20, 0x7E), (0x61, 0x7A), (0x41, 0x5A), (0x30, 0x39), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2AF)),
    *((0x370, 0x3FF), (0x391, 0x3C9), (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x7BF)),
    *((0x900, 0x97F), (0x980, 0xA7F), (0xB80, 0xCFF), (0xE00, 0xE7F), (0xF00, 0xFFF), (0x1000, 0x10FF)),
    *((0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x13FF), (0x1780, 0x18AF), (0x1A00, 0x1AFF), (0x1B00, 0x1CFF)),
    *((0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x2BFF), (0x2C00, 0x2DFF)),
    *((0x2E00, 0x303F), (0x3040, 0x30FF), (0x3100, 0x33FF), (0x4E00, 0x4EFF), (0xA000, 0xABFF), (0xAC00, 0xAD00)),
    *((0xD7B0, 0xD7FF), (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE6F), (0xFE70, 0xFFFF)),
    *((0x10000, 0x107FF), (0x10400, 0x104FF), (0x10800, 0x10FFF), (0x11000, 0x11FFF), (0x12000, 0x143FF)),
    *((0x16000, 0x16FFF), (0x1B000, 0x1BCFF), (0x1CC00, 0x1D3FF), (0x1D400, 0x1D7FF), (0x1D800, 0x1EFFF)),
    *((0x1F000, 0x1FAFF), (0x1FB00, 0x1FFFF), (0x20000, 0x200FF), (0x2A6D0, 0x2A710), (0x2B7F0, 0x2B930)),
    *((0x2CE90, 0x2CEC0), (0x2F7F0, 0x2FA2F), (0x30000, 0x3FFFF), (0xE0000, 0xE01FF), (0xF0000, 0x10FFFF)),
)
# Marks of many canonical classes, newer ones too, and characters that decompose into several.
MARKS: Final = (
    "\u0300\u0301\u0302\u0308\u030a\u0315\u031b\u0323\u0327\u0328\u0334\u0338\u0345\u0344\u0340\u0360\u035f\u05b0\u05bc"
    "\u05c1\u064b\u064e\u0651\u0670\u093c\u094d\u0e38\u0e48\u0eb8\u0f71\u0f72\u0f73\u0f74\u0f75\u0f80\u0f81\u1ab0\u1abf"
    "\u1ac0\u1ac1\u1acb\u1dc0\u1dce\u1df6\u1dfa\u20d0\u20d2\u20ea\u302a\u302e\u3099\u309a\u16ff0\ua806\U00010a0d\U000110ba"
    "\U0001133b\U00011938\U0001193e\U00011d44\U0001bc9e\U0001d165\U0001d16d\U0001d15e\U0001e023\U0001e130\U0001e2ae\U0001e8d0"
)
COMPOSED: Final = (
    "éüçñåÅÉİıßﬁǖǭṩệ΅ΐΰᾳᾷὭΣςσ각힣ガバक़ড়ਖ਼ྀླྀ\u1fc1\u1e69\u2126\u212b\u1b06\U0001d15f\U000110ab\ufb2c\ufb1d\u0958"
)
EMOJI: Final = (
    *("👩\u200d👩\u200d👧\u200d👦", "🏳\ufe0f\u200d🌈", "👍🏽", "🇩🇪🇫🇷", "1\ufe0f\u20e3", "😀", "❤\ufe0f", "\U0001fae8"),
    "🏴\U000e0067\U000e007f",
)
BLANKS: Final = (
    " \t\n\r\x0b\x0c\x1c\x1f\x85\u00a0\u1680\u180e\u2000\u2009\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
CONTROLS: Final = (
    "\x00\x01\x08\x1b\x7f\x9f\xad\u0600\u061c\u06dd\u070f\u0890\u200d\u200e\u202e\ufff9\ufffc\ufffd"
    "\U0001bca0\U00013431\U000e0001"
)
MARKS_OF_SENTENCES: Final = ".,!?;:'\"()[]{}-_/\\@#$%^&*+=<>|~`«»“”…—¡¿·、。！？।॥\u2e2e\U00011c71\U0001e95e"
WORDS: Final = (
    *("the", "The", "of", "unaffable", "running", "RUNNING", "don't", "I'm", "naïve", "Straße", "İstanbul", "ΟΔΟΣ"),
    *("tokenization", "BERT", "3.14", "a_b", "e-mail", "http://x.org/?q=1", "##ing", "##", "#", "привет", "你好"),
    *("日本語カナ", "Σ."),
    *("\u0e44\u0e17\u0e22", "हिन्दी", "한국어", "العربية", "שלום", "x", "A", "1", "ab", "abc"),
)
SPECIALS: Final = (
    *(*FIVE, "[mask]", "[MASK", "MASK]", "[ MASK ]", "[MA\u00adSK]", "[UNK][SEP]", "[CLS][CLS]", "[M\u0301ASK]"),
)


class Draw:
    """Draws texts, settings and calls."""

    def __init__(self, seed: str, *, real: Sequence[str]) -> None:
        self.rng = random.Random(seed)
        self.real = real
        self.added: tuple[Added, ...] = ()

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def run(self) -> str:
        low, high = self.rng.choice(SCRIPTS)
        return "".join(chr(self.rng.randint(low, high)) for _ in range(self.rng.randint(1, 7)))

    def marked(self) -> str:
        base: str = self.rng.choice((*COMPOSED, "a", "E", "", "i", "字", " "))
        return base + "".join(self.rng.choices(MARKS, k=self.rng.randint(1, 5)))

    def anything(self) -> str:
        points = (self.rng.randrange(0x110000) for _ in range(self.rng.randint(1, 3)))
        return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)

    def long(self) -> str:
        unit = self.rng.choice(("a", "ab", "é", "字a", "É", "e\u0301", "𐐀", "a\u00ad", "x1"))
        return (unit * 201)[: self.rng.choice((99, 100, 101, 199, 200, 201))]

    def whole(self) -> str:
        """Give a token that is to be found as a whole, or something that is nearly one."""
        token: str = self.rng.choice([*SPECIALS, *(one.content for one in self.added * 2)])
        change = self.rng.randrange(8)
        if change == 0:
            token = token.swapcase()
        elif change == 1:
            token = token.upper()
        elif change == 2:
            token += self.rng.choice((*token, "a", "é", "_", "\u0301", "1"))
        elif change == 3:
            token = self.rng.choice(("a", "É", "_", "\u0301", "\u200d", "字")) + token
        if self.maybe(0.3):
            token = "".join(self.rng.choices(BLANKS, k=self.rng.randint(1, 3))) + token
        if self.maybe(0.3):
            token += "".join(self.rng.choices(BLANKS, k=self.rng.randint(1, 3)))
        return token

    def part(self) -> str:
        kind = self.rng.random()
        if kind < 0.25:
            return self.rng.choice(WORDS)
        if kind < 0.48:
            return self.run()
        if kind < 0.58:
            return self.marked()
        if kind < 0.70:
            return self.whole()
        if kind < 0.76:
            return self.rng.choice(BLANKS)
        if kind < 0.81:
            return self.rng.choice(CONTROLS)
        if kind < 0.89:
            return self.rng.choice(MARKS_OF_SENTENCES)
        if kind < 0.93:
            return self.rng.choice(EMOJI)
        if kind < 0.96:
            return self.anything()
        return self.rng.choice(COMPOSED) if kind < 0.993 else self.long()

    def text(self) -> str:
        count = self.rng.choice((0, 1, 1, 2, 3, 4, 5, 6, 8, 12))
        between = self.rng.choice(("", " ", " ", None))
        parts = [self.part() for _ in range(count)]
        if between is None:
            parts = [part + self.rng.choice(("", " ")) for part in parts]
        return (between or "").join(parts)

    def words(self) -> list[str]:
        return [
            self.rng.choice((self.part(), self.part(), self.part(), self.text(), ""))
            for _ in range(self.rng.randint(0, 7))
        ]

    def token(self, vocab: Sequence[str]) -> Added:
        content = self.rng.choice(
            (
                self.rng.choice(WORDS),
                self.rng.choice(WORDS),
                "<user>",
                "<User>",
                "newword",
                "NewWord",
                "new word",
                self.run(),
                self.marked(),
                self.rng.choice(MARKS_OF_SENTENCES),
                self.rng.choice(COMPOSED),
                self.rng.choice(vocab),
                self.rng.choice(SPECIALS),
                self.rng.choice(("a", "ab", "b", "bc", " a", "a ", "  ", " ", "字", "你好", "é", "É", "e")),
                self.text()[:6] or "ab",
            )
        )
        flags = {name: self.maybe(0.25) for name in ("single_word", "lstrip", "rstrip", "special")}
        return Added(content=content, normalized=self.rng.choice((None, True, False)), **flags)

    def settings(self) -> tuple[Settings, list[str], list[list[str]]]:
        """Draw a tokenizer, and texts that suit it."""
        self.added = ()
        basic = self.maybe(0.93)
        drawn = Settings(
            vocab=FIVE,
            lower=self.maybe(0.6),
            strip=self.rng.choice((None, None, True, False)),
            chinese=self.maybe(0.8),
            clean=self.maybe(0.8),
            basic=basic,
            longest=self.rng.choice((100, 100, 100, 5)),
        )
        plain = their_tokenizer(drawn)
        vocab: str | tuple[str, ...] = (
            self.rng.choice(self.real) if self.real and self.maybe(0.1) else self.vocab(plain)
        )
        listed = published(vocab) if isinstance(vocab, str) else dict.fromkeys(vocab, 0)
        gaps = isinstance(vocab, tuple) and self.maybe(0.1)
        candidates = [self.token(list(listed)[:3000]) for _ in range(self.rng.choice((0, 0, 1, 2, 3, 6)))]
        # Of a token that normalization leaves nothing of, the library finds the empty text everywhere.
        chosen: dict[tuple[bool, str], Added] = {}
        for one in candidates:
            normal = one.content if plain.normalizer is None else plain.normalizer.normalize_str(one.content)
            free = one.content not in (*FIVE, *(other.content for other in chosen.values()))
            if one.lstrip and not (normal.strip() and one.content.strip()):
                continue  # white space that takes more of it along: there the library breaks down
            if normal and free and (not gaps or one.content in listed):
                chosen.setdefault((one.is_normalized, normal if one.is_normalized else one.content), one)
        self.added = tuple(chosen.values())
        settings = dataclasses.replace(drawn, vocab=vocab, step=3 if gaps else 1, added=self.added)
        texts = [self.text() for _ in range(TEXTS_A_CALL * CALLS_A_TOKENIZER // 2)]
        return settings, texts, [self.words() for _ in range(TEXTS_A_CALL)]

    def vocab(self, plain: Any) -> tuple[str, ...]:
        """Make a vocabulary of pieces of random texts."""
        known = dict.fromkeys(FIVE)
        chars = self.rng.random()
        for _ in range(80):
            text = self.text()
            normalized = text if plain.normalizer is None else plain.normalizer.normalize_str(text)
            for word, _ in plain.pre_tokenizer.pre_tokenize_str(normalized):
                begin = 0
                while begin < len(word):
                    end = min(len(word), begin + self.rng.randint(1, 6))
                    if self.maybe(0.9):
                        known[("##" if begin else "") + word[begin:end]] = None
                    begin = end
                for char in word[:8]:
                    if self.maybe(chars):
                        known[char] = known["##" + char] = None
        tokens = list(known)
        self.rng.shuffle(tokens)
        return tuple(tokens)

    def call(self) -> Call:
        way = self.rng.choice((None, None, "longest_first", "longest_first", "only_first", "only_second"))
        padding = self.rng.choice((None, None, "longest", "max_length"))
        # Mostly so that it is possible; a few calls are not, and then each text is tried by itself.
        limit = self.rng.choice((self.rng.randint(5, 30), self.rng.randint(0, 12), None if self.maybe(0.1) else 20))
        if padding == "max_length" and limit is None:
            limit = 32
        overflow = self.maybe(0.5)
        return Call(
            special=self.maybe(0.8),
            way=way,
            limit=limit if way or padding == "max_length" else None,
            cut_left=self.maybe(0.3),
            overflow=overflow,
            stride=self.rng.choice((0, 0, 1, 2, 5)) if overflow and way else 0,
            padding=padding,
            pad_left=self.maybe(0.3),
            multiple=self.rng.choice((None, None, 1, 4, 8)) if padding else None,
            split=self.maybe(0.25),
        )

    def cases(self) -> Iterator[Case]:
        settings, texts, words = self.settings()
        for _ in range(CALLS_A_TOKENIZER):
            call = self.call()
            pair = call.way == "only_second" or self.maybe(0.4)
            pool: Sequence[Text] = words if call.split else texts
            rows = tuple(tuple(self.rng.choices(pool, k=2 if pair else 1)) for _ in range(TEXTS_A_CALL))
            yield Case(settings=settings, call=call, texts=rows)


# -- what the library gives ---------------------------------------------------------------------------


class RefusedError(Exception):
    """The library stopped with an error."""


def their_tokenizer(settings: Settings) -> Any:
    vocab = settings.ids
    made = Tokenizer(
        models.WordPiece(
            vocab, unk_token="[UNK]", max_input_chars_per_word=settings.longest, continuing_subword_prefix="##"
        )
    )
    if settings.basic:
        made.normalizer = normalizers.BertNormalizer(
            clean_text=settings.clean,
            handle_chinese_chars=settings.chinese,
            strip_accents=settings.strip,
            lowercase=settings.lower,
        )
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(list(FIVE))
    for one in settings.added:
        made.add_tokens([TheirToken(**(dataclasses.asdict(one) | {"normalized": one.is_normalized}))])
    return made


def their_frame(made: Any, special: bool) -> Any:
    # Without any in the template: the library counts those that it does not add when it looks at the stride.
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]" if special else "$A",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1" if special else "$A $B:1",
        special_tokens=[(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Let the library's panics write nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def their_rows(made: Any, call: Call, texts: Sequence[tuple[Text, ...]]) -> list[list[Row]]:
    """Encode by the library.

    Raises:
        RefusedError: it stopped with an error.
    """
    made.no_truncation()
    made.no_padding()
    made.post_processor = their_frame(made, call.special)
    inputs = [one if len(one) == 2 else one[0] for one in texts]
    try:
        if call.way is not None:
            made.enable_truncation(
                max_length=512 if call.limit is None else call.limit,
                stride=call.stride,
                strategy=call.way,
                direction="left" if call.cut_left else "right",
            )
        if call.padding is not None:
            made.enable_padding(
                direction="left" if call.pad_left else "right",
                pad_id=made.token_to_id("[PAD]"),
                pad_token="[PAD]",
                length=call.limit if call.padding == "max_length" else None,
                pad_to_multiple_of=call.multiple,
            )
        with silent():
            found = made.encode_batch(inputs, is_pretokenized=call.split, add_special_tokens=call.special)
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise RefusedError(str(error)) from None
        raise
    return [[_their_row(window) for window in (one, *(one.overflowing if call.overflow else ()))] for one in found]


def _their_row(one: Any) -> Row:
    return one.ids, one.type_ids, one.attention_mask, one.special_tokens_mask, one.offsets, one.word_ids


# -- what ours give -----------------------------------------------------------------------------------


def our_tokenizer(kind: type[BertTokenizer], settings: Settings) -> BertTokenizer:
    made = kind(
        settings.ids,
        do_lower_case=settings.lower,
        do_basic_tokenize=settings.basic,
        strip_accents=settings.strip,
        tokenize_chinese_chars=settings.chinese,
        clean_text=settings.clean,
        max_input_chars_per_word=settings.longest,
    )
    for one in settings.added:
        made.add_tokens(AddedToken(**dataclasses.asdict(one)))
    return made


def our_rows(made: BertTokenizer, call: Call, texts: Sequence[tuple[Text, ...]], *, asked: bool) -> list[list[Row]]:
    """Encode by ours; offsets are `asked` of the call or, afterwards, of its result, which leaves it another way."""
    firsts, pair = [one[0] for one in texts], len(texts[0]) == 2
    made.truncation_side = "left" if call.cut_left else "right"
    batch = made(
        firsts,
        [one[1] for one in texts] if pair else None,
        add_special_tokens=call.special,
        truncation=call.way or False,  # type: ignore[arg-type]
        max_length=call.limit,
        return_overflowing_tokens=call.overflow,
        stride=call.stride,
        padding=call.padding or False,  # type: ignore[arg-type]
        padding_side="left" if call.pad_left else "right",
        pad_to_multiple_of=call.multiple,
        is_split_into_words=call.split,
        return_special_tokens_mask=True,
        return_offsets_mapping=asked,
    )
    rows: list[list[Row]] = [[] for _ in texts]
    owners = batch.overflow_to_sample_mapping if call.overflow else range(len(texts))
    for number, owner in enumerate(owners):
        rows[owner].append(
            (
                batch.input_ids[number],
                batch.token_type_ids[number],
                batch.attention_mask[number],
                batch.special_tokens_mask[number],
                batch.offset_mapping[number] if asked else batch.offsets(number),
                batch.word_ids(number),
            )
        )
    return rows


# -- held against each other --------------------------------------------------------------------------

NAMES: Final = ("ids", "types", "mask", "special", "offsets", "words")


class Trio:
    """The library and both classes under one setting."""

    def __init__(self, settings: Settings) -> None:
        self.theirs = their_tokenizer(settings)
        self.ours = [our_tokenizer(kind, settings) for kind in CLASSES]

    def difference(self, call: Call, texts: Sequence[tuple[Text, ...]]) -> str | None:
        """Tell the first difference, or None."""
        try:
            expected = their_rows(self.theirs, call, texts)
        except RefusedError as error:
            return self._each(call, texts, str(error))
        for number, made in enumerate(self.ours):
            try:
                found = our_rows(made, call, texts, asked=(number + len(texts[0][0])) % 2 == 0)
            except InputError as error:
                return self._each(call, texts, f"{type(made).__name__}: {error}")
            if found != expected:
                return f"{type(made).__name__}: {_first(found, expected)}"
        return None

    def _each(self, call: Call, texts: Sequence[tuple[Text, ...]], message: str) -> str | None:
        """Where someone refused the batch: each text by itself, and the same have to be refused."""
        if len(texts) > 1:
            return next(filter(None, (self.difference(call, [one]) for one in texts)), None)
        limit = 512 if call.limit is None else call.limit
        room, window = limit - (len(texts[0]) + 1) * call.special, limit - 2 * call.special
        try:
            expected = their_rows(self.theirs, call, texts)
        except RefusedError:
            expected = []
        for made in self.ours:
            try:
                found = our_rows(made, call, texts, asked=True)
            except InputError:
                no_room = room == 0 and len(texts[0]) == 2 and call.way != "longest_first"
                too_long = any(len(row[0]) > limit for rows in expected for row in rows) and call.overflow
                if not expected or room < 0 or no_room or 0 < call.stride == window or too_long:
                    continue
                return f"{type(made).__name__} alone refuses: {message}"
            if not expected and room > 0:
                return f"{type(made).__name__} gives {found}, but the library refuses: {message}"
        return None


def _first(found: list[list[Row]], expected: list[list[Row]]) -> str:
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if len(ours) != len(theirs):
            return f"text {number}: {len(ours)} windows, not {len(theirs)}: {ours} {theirs}"
        for window, rows in enumerate(zip(ours, theirs, strict=True)):
            for name, one, other in zip(NAMES, *rows, strict=True):
                if one != other:
                    return f"text {number}, window {window}: {name} {one}, not {other}"
    return "nothing"


def difference(case: Case) -> str | None:
    return Trio(case.settings).difference(case.call, case.texts)


def smaller(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Take away from a failing case what it can do without: one kind of thing after the other, until nothing goes."""
    again = True
    while again:
        again = False
        for candidates in (_fewer_texts, _shorter_texts, _fewer_arguments, _fewer_settings, _fewer_tokens):
            found: Case | None = case
            while found is not None:
                found = next(filter(fails, candidates(case)), None)
                if found is not None:
                    case, again = found, True
    return case


def _fewer_texts(case: Case) -> Iterator[Case]:
    for texts in _shorter(case.texts):
        if texts:
            yield dataclasses.replace(case, texts=texts)


def _shorter_texts(case: Case) -> Iterator[Case]:
    for number, texts in enumerate(case.texts):
        for place, text in enumerate(texts):
            for shorter in _shorter(text):
                changed = (*texts[:place], shorter, *texts[place + 1 :])
                yield dataclasses.replace(case, texts=(*case.texts[:number], changed, *case.texts[number + 1 :]))


def _fewer_arguments(case: Case) -> Iterator[Case]:
    for field in dataclasses.fields(Call):
        if getattr(case.call, field.name) != field.default:
            changed: dict[str, Any] = {field.name: field.default}
            call = dataclasses.replace(case.call, **changed)
            if call.sensible:
                yield dataclasses.replace(case, call=call)


def _fewer_settings(case: Case) -> Iterator[Case]:
    def changed(**values: Any) -> Case:
        return dataclasses.replace(case, settings=dataclasses.replace(case.settings, **values))

    for field in dataclasses.fields(Settings):
        if field.name not in ("vocab", "added") and getattr(case.settings, field.name) != field.default:
            yield changed(**{field.name: field.default})
    added = case.settings.added
    for number, one in enumerate(added):
        yield changed(added=added[:number] + added[number + 1 :])
        for field in dataclasses.fields(Added):
            if field.name != "content" and getattr(one, field.name) != field.default:
                plain: dict[str, Any] = {field.name: field.default}
                other = dataclasses.replace(one, **plain)
                yield changed(added=(*added[:number], other, *added[number + 1 :]))


def _fewer_tokens(case: Case) -> Iterator[Case]:
    vocab = case.settings.vocab
    if isinstance(vocab, str):
        yield dataclasses.replace(case, settings=dataclasses.replace(case.settings, vocab=FIVE))
        return
    rest = tuple(token for token in vocab if token not in FIVE)
    if vocab[: len(FIVE)] != FIVE:
        yield dataclasses.replace(case, settings=dataclasses.replace(case.settings, vocab=FIVE + rest))
    for tokens in _shorter(rest):
        yield dataclasses.replace(case, settings=dataclasses.replace(case.settings, vocab=FIVE + tokens))


def _shorter(whole: Any) -> Iterator[Any]:
    size = max(1, len(whole) // 2)
    while size and whole:
        for begin in range(0, len(whole), size):
            yield whole[:begin] + whole[begin + size :]
        size //= 2


def real_vocabularies() -> list[str]:
    names = ("uncased", "cased", "chinese")
    return [name for name in names if (SHARED / f"oracle/vocab/bert-base-{name}.vocab.txt").is_file()]


def run(
    count: int, seed: int, *, report: Callable[[int, int], None] = lambda cases, wrong: None
) -> tuple[int, list[str]]:
    """Compare at least `count` cases; return how many it were, and a line for each batch with a difference."""
    done, number = 0, 0
    wrong: list[str] = []
    real = real_vocabularies()
    while done < count:
        trio: Trio | None = None
        for case in Draw(f"{seed}/{number}", real=real).cases():
            trio = trio or Trio(case.settings)
            if (message := trio.difference(case.call, case.texts)) is not None:
                if len(wrong) < ENOUGH:
                    small = smaller(case, _fails)
                    message = f"{difference(small)}\n  --replay {small.line()!a}"
                wrong.append(f"tokenizer {number} of seed {seed}: {message}")
                print(wrong[-1], flush=True)
            done += len(case.texts)
        number += 1
        report(done, len(wrong))
    return done, wrong


def _fails(case: Case) -> bool:
    try:
        return difference(case) is not None
    except Exception:
        return False


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parser = argparse.ArgumentParser(
        prog="python -m tests.text.fuzz", description="Both tokenizers against the library."
    )
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", metavar="JSON", help="one case, as a run printed it")
    given = parser.parse_args()
    if given.replay:
        print(difference(Case.of(given.replay)) or "no difference")
        return
    begin = last = time.monotonic()

    def report(cases: int, wrong: int) -> None:
        nonlocal last
        if time.monotonic() - last > 60:
            last = time.monotonic()
            print(f"{cases:,} cases, {wrong} differences, {last - begin:.0f} s", flush=True)

    cases, wrong = run(given.cases, given.seed, report=report)
    print(
        f"{cases:,} cases by each of {len(CLASSES)} classes, {len(wrong)} differences, {time.monotonic() - begin:.0f} s"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
