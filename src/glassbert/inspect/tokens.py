"""`inspect tokens`: how a text becomes ids, step by step, under both sets of rules."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, get_args

from glassbert.checkpoint import load_tokenizer
from glassbert.errors import InputError
from glassbert.inspect.finding import App, Column, Finding, Part, Prose, Table, figure, headed, named, shown
from glassbert.tasks.task import counted
from glassbert.text import BertTokenizer, BertTokenizerFast, Encoding, WordpieceTokenizer
from glassbert.text.basic import Normalizer
from glassbert.text.characters import Rules, characters
from glassbert.text.checks import check_string, words_of
from glassbert.text.tokenizer import LONGEST_WORD
from glassbert.train import markup
from glassbert.train.markup import Markup, tag
from glassbert.train.plots import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

Kind = Literal["word", "special", "added", "kept"]

# What is shown of a long text; the fields have all of it.
_CHARACTERS: Final = 400
_WORDS: Final = 60
_ROWS: Final = 100
_TOKENS: Final = 5_000
_LINES: Final = 20
# Words whose search is shown where none is asked for.
_SEARCHES: Final = 4
# In characters, how wide a line of strips is in a picture, and how many there are.
_STRIP: Final = 96
_STRIPS: Final = 3
# By the rules, the steps of a normalizer in their order: name, switch, what it does.
_CLEANED: Final = ("cleaned", "clean_text", "control characters dropped, white space made plain")
_CHINESE: Final = ("Chinese set apart", "tokenize_chinese_chars", "a space on each side of each Chinese character")
_ACCENTS: Final = ("accents stripped", "strip_accents", "characters decomposed, and their marks dropped")
_LOWER: Final = ("lower-cased", "do_lower_case", "each character by itself")
_STEPS: Final[dict[Rules, tuple[tuple[str, str, str], ...]]] = {
    "hf": (_CLEANED, _CHINESE, _ACCENTS, _LOWER),
    "google": (_CLEANED, _CHINESE, _LOWER, _ACCENTS),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """What a step did to neighbouring characters.

    Attributes:
        start: where they stand after the step.
        stop: where they end; `start` where they were dropped.
        before: what stood there before it.
        after: what stands there now.
    """

    start: int
    stop: int
    before: str
    after: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A text after a step.

    Attributes:
        name: of the step.
        says: what it does.
        on: whether this tokenizer takes it.
        text: after it.
        places: of each character of `text`, the place in the given text that it comes from.
        changes: from the stage before.
    """

    name: str
    says: str
    on: bool
    text: str
    places: tuple[int, ...]
    changes: tuple[Change, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Word:
    """A word of a text.

    Attributes:
        word: after all steps.
        kind: "word" is split into pieces; "special" and "added" tokens are taken as they stand in the text, and "kept"
            is what `never_split` names.
        start: where it begins in the given text.
        stop: where it ends there.
        pieces: of the vocabulary.
    """

    word: str
    kind: Kind
    start: int
    stop: int
    pieces: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """One of the texts.

    Attributes:
        text: as it was given.
        stages: of it, the given text first.
        words: of it.
    """

    text: str
    stages: tuple[Stage, ...]
    words: tuple[Word, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Token:
    """A token as the model takes it.

    Attributes:
        token: a piece, or a special token.
        id: its row of the embeddings.
        type: 0 up to the first [SEP], then 1.
        text: which text it is of, 0 or 1; None for the special tokens round the texts.
        word: its word, by its number in that text.
        start: where it begins in the given text; None for the special tokens round the texts.
        stop: where it ends there.
        slice: what stands there in the given text.
    """

    token: str
    id: int
    type: int
    text: int | None
    word: int | None
    start: int | None
    stop: int | None
    slice: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A piece that was looked for.

    Attributes:
        start: where in the word.
        tried: what the vocabulary does not have, the longest first.
        found: the first that it has; None where it has none.
    """

    start: int
    tried: tuple[str, ...]
    found: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """How a word was split: the longest piece that the vocabulary has, and so on from its end.

    Attributes:
        word: after normalization.
        steps: one for each piece; none for a word that is too long.
        pieces: what it became.
        missing: why it is unknown; None where it is known.
    """

    word: str
    steps: tuple[Step, ...]
    pieces: tuple[str, ...]
    missing: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unknown:
    """A word that became the unknown token.

    Attributes:
        word: after normalization.
        text: which text it is of, 0 or 1.
        start: where it begins there.
        stop: where it ends there.
        reason: why.
    """

    word: str
    text: int
    start: int
    stop: int
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A place where the two sets of rules give different tokens.

    Attributes:
        text: which text, 0 or 1.
        start: where it begins there.
        stop: where it ends there.
        slice: what stands there.
        hf: tokens under the rules of Hugging Face's `tokenizers`.
        google: tokens under those of Google's program.
        reason: why.
    """

    text: int
    start: int
    stop: int
    slice: str
    hf: tuple[str, ...]
    google: tuple[str, ...]
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Tokens(Finding):
    """How a text, or a pair of texts, becomes ids.

    Attributes:
        name: of the tokenizer.
        rules: "hf" or "google".
        vocabulary: how many tokens it has, V.
        limit: most tokens that the model takes.
        texts: one or two.
        tokens: S of them, special ones included, uncut.
        unknown: words that became the unknown token.
        searches: how some words were split: those that were asked for, else the first of several pieces.
        differences: between the two sets of rules, all else equal.
        classes_agree: whether `BertTokenizer` and `BertTokenizerFast`, both run, gave the same ids and offsets.
    """

    asks: ClassVar[str] = "How does a text become ids, step by step?"

    name: str
    rules: Rules
    vocabulary: int
    limit: int
    texts: tuple[Trace, ...]
    tokens: tuple[Token, ...]
    unknown: tuple[Unknown, ...]
    searches: tuple[Search, ...]
    differences: tuple[Difference, ...]
    classes_agree: bool

    @property
    def title(self) -> str:
        """Name the tokenizer and both lengths."""
        characters = sum(len(one.text) for one in self.texts)
        return f"{self.name}: {counted(characters, 'character')} → {counted(len(self.tokens), 'token')}"

    def parts(self) -> Iterable[Part]:
        """Give the texts with their pieces, the steps, the tokens, what is unknown, and what other rules would do."""
        yield App(
            "Text and tokens",
            "tokens",
            _app_data(self),
            "Point at a piece, or walk through them with the arrow keys. Pieces of one word have one colour; a red one "
            "is unknown." + _first(_TOKENS, len(self.tokens), "tokens"),
        )
        for number, trace in enumerate(self.texts):
            yield _Steps(
                f"Steps of text {number + 1}" if len(self.texts) > 1 else "Steps", trace, self._by_word(number)
            )
        yield self._table()
        yield from self._unknown_parts()
        yield from self._search_parts()
        yield from self._difference_parts()

    def _by_word(self, text: int) -> list[list[Token]]:
        own = [one for one in self.tokens if one.text == text]
        return [list(group) for _, group in groupby(own, key=lambda one: one.word)]

    def _table(self) -> Part:
        columns = (
            Column("", "number"),
            Column("token", "code"),
            Column("id", "number", "d"),
            Column("type", "number"),
            Column("word", "number", "d"),
            Column("from", "number"),
            Column("to", "number"),
            Column("there", "code"),
        )
        rows = [
            (place, shown(one.token), one.id, one.type, one.word, one.start, one.stop, shown(_cut(one.slice)))
            for place, one in enumerate(self.tokens[:_ROWS])
        ]
        about = "From and to are places in the given text, and the last column is what stands there. "
        fits = "" if len(self.tokens) <= self.limit else ": this text would be cut"
        about += f"The model takes at most {counted(self.limit, 'token')}{fits}."
        return Table("Tokens", columns, rows, about + _first(_ROWS, len(self.tokens), "tokens"))

    def _unknown_parts(self) -> Iterator[Part]:
        if not self.unknown:
            yield Prose("Unknown words", ["None: the vocabulary has pieces for every word."])
            return
        columns = [Column("word", "code"), Column("from", "number"), Column("to", "number"), Column("why")]
        rows = [(shown(_cut(one.word)), one.start, one.stop, one.reason) for one in self.unknown[:_LINES]]
        about = f"{counted(len(self.unknown), 'word')} the vocabulary has no pieces for."
        yield Table("Unknown words", columns, rows, about + _first(_LINES, len(self.unknown), "words"))

    def _search_parts(self) -> Iterator[Part]:
        if not self.searches:
            return
        rows = [
            (shown(_cut(search.word)) if number == 0 else "", _listed(step.tried), shown(step.found or "nothing"))
            for search in self.searches
            for number, step in enumerate(search.steps or [Step(start=0, tried=(), found=search.pieces[0])])
        ]
        yield Table(
            "How words are split",
            (Column("word", "code"), Column("not in the vocabulary"), Column("found", "code")),
            rows,
            "From the left the longest piece that the vocabulary has; pieces within a word begin with ##. One that is "
            "found nowhere makes the whole word unknown.",
        )

    def _difference_parts(self) -> Iterator[Part]:
        title = "Google's rules and those of Hugging Face"
        same = "BertTokenizer and BertTokenizerFast gave the same ids and offsets."
        if not self.classes_agree:
            same = "BertTokenizer and BertTokenizerFast gave different ids or offsets, which is an error of glassbert."
        if not self.differences:
            yield Prose(title, [f"No difference on this text. {same}"])
            return
        columns = [Column("text", "code"), Column("from", "number"), Column("hf", "code"), Column("google", "code")]
        rows = [
            (shown(_cut(one.slice)), one.start, _joined(one.hf), _joined(one.google), one.reason)
            for one in self.differences[:_LINES]
        ]
        about = f"This tokenizer has the rules {self.rules}. {same}" + _first(_LINES, len(self.differences), "rows")
        yield Table(title, [*columns, Column("why")], rows, about)

    def plot(self) -> Figure:
        """Draw the steps of the first text as strips, one column for each token."""
        lines = list(_strips(self))
        names = [one.name for one in self.texts[0].stages] + ["pieces", "ids"]
        drawn = figure(13.0, 0.9 + (0.32 * len(names) + 0.3) * max(1, len(lines)))
        axes = drawn.add_subplot()
        axes.axis("off")
        high = 0
        for line in lines:
            across = 0.0
            for column in line:
                for row, (text, changed) in enumerate(column.cells):
                    color = "#fbe3d0" if changed else "#dfe9f5" if row == len(names) - 2 else "#f4f5f7"
                    place = (across, -(high + row) - 0.42)
                    axes.add_patch(_box(place, column.width - 0.35, 0.84, color))
                    ink = "#b3261e" if column.unknown and row >= len(names) - 2 else "#1b2026"
                    middle = across + (column.width - 0.35) / 2
                    axes.text(
                        middle, -(high + row), text, ha="center", va="center", fontsize=8, color=ink, parse_math=False
                    )
                across += column.width
            for row, name in enumerate(names):
                axes.text(-1.0, -(high + row), name, ha="right", va="center", fontsize=8, color=BLUE)
            high += len(names) + 1
        axes.set(xlim=(-17.0, _STRIP), ylim=(-high + 0.2, 0.8))
        counted = sum(map(len, lines))
        left_out = _first(counted, sum(one.text == 0 for one in self.tokens), "pieces of the first text")
        title = f"{self.title}.{left_out}" if left_out else self.title
        headed(drawn, title)
        return drawn


def tokens(
    model: BertTokenizer | str | Path, text: str, pair: str | None = None, *, words: Sequence[str] = ()
) -> Tokens:
    """Follow a text through the tokenizer; no model is loaded.

    Args:
        model: a tokenizer; or a model folder, one with a `vocab.txt` alone, a `vocab.txt`, or a name on the hub.
        text: any text, of any length: nothing is cut.
        pair: the second text of a pair.
        words: of which is shown how they are split, in the text or not; none takes the first of the text that have
            several pieces, or are unknown.

    Raises:
        CheckpointError: there is no such folder, or no tokenizer in it.
        InputError: a text is no string, or has a lone surrogate; or a model is given, which knows no text.
        VocabularyError: the vocabulary cannot serve.
    """
    tokenizer, name = _tokenizer_of(model)
    texts = [text] if pair is None else [text, pair]
    for kind, one in zip(("text", "pair"), texts):
        check_string(kind, one)
    words = words_of("words", words)
    (encoding,) = tokenizer.encodings([text], None if pair is None else [pair], details=True)
    traces = tuple(_trace(tokenizer, one) for one in texts)
    own = tokenizer.rules
    plain = {rules: _twin(tokenizer, BertTokenizer, rules) for rules in get_args(Rules)}
    fast = _twin(tokenizer, BertTokenizerFast, own)
    return Tokens(
        name=name,
        rules=own,
        vocabulary=len(tokenizer),
        limit=tokenizer.model_max_length,
        texts=traces,
        tokens=tuple(_tokens(tokenizer, encoding, texts)),
        unknown=tuple(one for number, trace in enumerate(traces) for one in _unknown(tokenizer, number, trace)),
        searches=tuple(_searches(tokenizer, _chosen(tokenizer, traces, words))),
        differences=tuple(one for number, each in enumerate(texts) for one in _differences(plain, number, each)),
        classes_agree=plain[own].pieces(texts, details=True) == fast.pieces(texts, details=True),
    )


def _tokenizer_of(model: Any) -> tuple[BertTokenizer, str]:
    if isinstance(model, BertTokenizer):
        return model, type(model).__name__
    if not isinstance(model, str | Path):
        kind = type(model).__name__
        raise InputError(f"a {kind} knows no text; give its tokenizer, or the folder or name of a model")
    path = Path(model)
    if path.suffix == ".txt" and path.is_file():
        return BertTokenizerFast(path), named(path.name)
    return load_tokenizer(BertTokenizerFast, model), named(path.resolve().name or str(model))


def _twin(tokenizer: BertTokenizer, kind: type[BertTokenizer], rules: Rules) -> BertTokenizer:
    """Make a tokenizer of the same settings, but for its class and its rules."""
    longest = tokenizer.wordpiece_tokenizer.max_input_chars_per_word
    return kind(
        tokenizer.vocab,
        do_lower_case=tokenizer.do_lower_case,
        do_basic_tokenize=tokenizer.do_basic_tokenize,
        never_split=tokenizer.basic_tokenizer.never_split,
        unk_token=tokenizer.unk_token,
        sep_token=tokenizer.sep_token,
        pad_token=tokenizer.pad_token,
        cls_token=tokenizer.cls_token,
        mask_token=tokenizer.mask_token,
        tokenize_chinese_chars=tokenizer.tokenize_chinese_chars,
        strip_accents=tokenizer.strip_accents,
        clean_text=tokenizer.clean_text,
        additional_special_tokens=tokenizer.additional_special_tokens,
        added_tokens=tokenizer.added_tokens,
        model_max_length=tokenizer.model_max_length,
        rules=rules,
        max_input_chars_per_word=None if longest == LONGEST_WORD[tokenizer.rules] else longest,
    )


# -- a text, step by step ---------------------------------------------------------------------------------------------


class _Run(NamedTuple):
    """A part of a text: what a normalizer sees, or what is taken as it stands."""

    start: int
    stop: int
    whole: bool


def _trace(tokenizer: BertTokenizer, text: str) -> Trace:
    core, basic = tokenizer.plain_core(), tokenizer.basic_tokenizer
    keeps = tokenizer.do_basic_tokenize and basic.never_split
    special = set(tokenizer.all_special_ids)
    runs: list[_Run] = []
    words: list[Word] = []
    for start, stop, kept in basic.around(text) if keeps else [(0, len(text), False)]:
        part = text[start:stop]
        if kept:
            runs.append(_Run(start, stop, True))
            piece = tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(part))
            words.append(Word(word=part, kind="kept", start=start, stop=stop, pieces=(piece,)))
            continue
        runs += [_Run(start + begin, start + end, index is not None) for begin, end, index in core.raw.split(part)]
        for word, places, end, index in core.located(part):
            kind: Kind = "word" if index is None else "special" if index in special else "added"
            if index is None:
                pieces = tuple(tokenizer.wordpiece_tokenizer.split(word))
            else:
                pieces = (tokenizer.convert_ids_to_tokens(index),)
            words.append(Word(word=word, kind=kind, start=start + places[0], stop=start + end, pieces=pieces))
    stages = _stages(tokenizer, text, runs) if tokenizer.do_basic_tokenize else [_given(text)]
    return Trace(text=text, stages=tuple(stages), words=tuple(words))


def _given(text: str) -> Stage:
    return Stage(name="given", says="", on=True, text=text, places=tuple(range(len(text))), changes=())


def _stages(tokenizer: BertTokenizer, text: str, runs: Sequence[_Run]) -> Iterator[Stage]:
    """Give the text after the first step, after the first two, and so on, each time from the given text anew."""
    last = _given(text)
    yield last
    normalizer = tokenizer.basic_tokenizer.normalizer
    switches = {
        "clean_text": normalizer.clean_text,
        "tokenize_chinese_chars": normalizer.tokenize_chinese_chars,
        "strip_accents": normalizer.strip_accents,
        "do_lower_case": normalizer.do_lower_case,
    }
    now = dict.fromkeys(switches, False)
    for name, switch, says in _STEPS[tokenizer.rules]:
        if not switches[switch]:
            yield dataclasses.replace(last, name=name, says=says, on=False, changes=())
            continue
        now[switch] = True
        step = Normalizer(tokenizer.rules, **now)
        texts: list[str] = []
        places: list[int] = []
        for start, stop, whole in runs:
            part, origins = (text[start:stop], range(stop - start)) if whole else step.with_origins(text[start:stop])
            texts.append(part)
            places += [start + place for place in origins]
        joined = "".join(texts)
        changes = tuple(_changes(last, joined, places))
        last = Stage(name=name, says=says, on=True, text=joined, places=tuple(places), changes=changes)
        yield last


def _changes(before: Stage, text: str, places: Sequence[int]) -> Iterator[Change]:
    """Give what became something else of the characters that come from one place, neighbours taken together."""
    groups = {place: (start, stop) for place, start, stop in _groups(places)}
    begin: tuple[int, int] | None = None  # of what is changed, in both texts
    old = new = 0  # where we are in both

    def change(begin: tuple[int, int]) -> Change:
        return Change(start=begin[1], stop=new, before=before.text[begin[0] : old], after=text[begin[1] : new])

    for place, start, stop in _groups(before.places):
        first, last = groups.get(place, (new, new))
        same = before.text[start:stop] == text[first:last]
        if same and begin is not None:
            yield change(begin)
            begin = None
        if not same and begin is None:
            begin = (start, first)
        old, new = stop, last
    if begin is not None:
        yield change(begin)


def _groups(places: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Give each place with the run of characters that come from it."""
    start = 0
    for place, group in groupby(places):
        stop = start + sum(1 for _ in group)
        yield place, start, stop
        start = stop


def _tokens(tokenizer: BertTokenizer, encoding: Encoding, texts: Sequence[str]) -> Iterator[Token]:
    assert encoding.offsets is not None
    assert encoding.words is not None
    rows = zip(encoding.ids, encoding.types, encoding.texts, encoding.words, encoding.offsets, strict=True)
    for index, kind, text, word, (start, stop) in rows:
        yield Token(
            token=tokenizer.convert_ids_to_tokens(index),
            id=index,
            type=kind,
            text=text,
            word=word,
            start=None if text is None else start,
            stop=None if text is None else stop,
            slice="" if text is None else texts[text][start:stop],
        )


# -- words ------------------------------------------------------------------------------------------------------------


class _Watched(Collection[str]):
    """A vocabulary that remembers what it was asked for."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self.asked: list[tuple[str, bool]] = []

    def __contains__(self, piece: object) -> bool:
        there = piece in self._vocabulary
        self.asked.append((str(piece), there))
        return there

    def __iter__(self) -> Iterator[str]:
        return iter(self._vocabulary)

    def __len__(self) -> int:
        return len(self._vocabulary)


def _chosen(tokenizer: BertTokenizer, traces: Sequence[Trace], asked: Sequence[str]) -> list[str]:
    """Return the words whose search is shown."""
    if asked:
        basic = tokenizer.basic_tokenizer if tokenizer.do_basic_tokenize else None
        return [word for one in asked for word in (one.split() if basic is None else basic.words(one))]
    several = (one.word for trace in traces for one in trace.words if one.kind == "word" and one.pieces != (one.word,))
    return list(dict.fromkeys(several))[:_SEARCHES]


def _searches(tokenizer: BertTokenizer, words: Iterable[str]) -> Iterator[Search]:
    watched = _Watched(tokenizer.vocab)
    own = tokenizer.wordpiece_tokenizer
    splitter = WordpieceTokenizer(watched, own.unk_token, own.max_input_chars_per_word)
    for word in dict.fromkeys(words):
        watched.asked.clear()
        pieces = tuple(splitter.split(word))
        steps = tuple(_steps(watched.asked))
        yield Search(word=word, steps=steps, pieces=pieces, missing=_reason(tokenizer, word, steps))


def _steps(asked: Iterable[tuple[str, bool]]) -> Iterator[Step]:
    start = 0
    tried: list[str] = []
    for piece, there in asked:
        if there:
            yield Step(start=start, tried=tuple(tried), found=piece)
            start += len(piece) - (2 if start else 0)
            tried = []
        else:
            tried.append(piece)
    if tried:
        yield Step(start=start, tried=tuple(tried), found=None)


def _reason(tokenizer: BertTokenizer, word: str, steps: Sequence[Step]) -> str | None:
    """Say why a word is unknown; None where it is not."""
    most = tokenizer.wordpiece_tokenizer.max_input_chars_per_word
    if len(word) > most:
        return f"it has {len(word):,} characters, and a word of more than {most} is not split"
    if not steps or steps[-1].found is not None:
        return None
    start = steps[-1].start
    char = word[start]
    where = "a word may begin with it" if start and char in tokenizer.vocab else None
    if not start and f"##{char}" in tokenizer.vocab:
        where = "it may stand inside a word"
    lacks = f"{'##' if start else ''}{shown(char)} (U+{ord(char):04X}) is not in the vocabulary"
    return f"{lacks}; {where}" if where else lacks


def _unknown(tokenizer: BertTokenizer, text: int, trace: Trace) -> Iterator[Unknown]:
    unknown = (tokenizer.unk_token,)
    lost = [one for one in trace.words if one.pieces == unknown and one.word != tokenizer.unk_token]
    split = [one.word for one in lost if one.kind == "word"]
    reasons = {one.word: one.missing for one in _searches(tokenizer, split)}
    for one in lost:
        reason = reasons.get(one.word) or "never_split keeps it whole, and it is not in the vocabulary"
        yield Unknown(word=one.word, text=text, start=one.start, stop=one.stop, reason=reason)


# -- the two sets of rules --------------------------------------------------------------------------------------------

_Piece = tuple[str, int, int]


def _differences(plain: Mapping[Rules, BertTokenizer], text: int, given: str) -> Iterator[Difference]:
    """Walk through the pieces of both, which meet again where they have the same piece at the same place."""
    hf, google = (_located_pieces(plain[rules], given) for rules in ("hf", "google"))
    left = right = 0
    while left < len(hf) or right < len(google):
        if hf[left : left + 1] == google[right : right + 1]:
            left, right = left + 1, right + 1
            continue
        begins, end = (left, right), -1
        while end < 0 or _belongs(hf[left : left + 1], google[right : right + 1], end):
            behind = right == len(google) or (left < len(hf) and hf[left][2] <= google[right][2])
            end = max(end, (hf[left] if behind else google[right])[2])
            left, right = (left + 1, right) if behind else (left, right + 1)
        one, other = hf[begins[0] : left], google[begins[1] : right]
        start = min(piece[1] for piece in (*one, *other))
        stop = max(piece[2] for piece in (*one, *other))
        first, second = tuple(piece[0] for piece in one), tuple(piece[0] for piece in other)
        yield Difference(
            text=text,
            start=start,
            stop=stop,
            slice=given[start:stop],
            hf=first,
            google=second,
            reason=_parted(plain, given[start:stop], first, second),
        )


def _belongs(one: Sequence[_Piece], other: Sequence[_Piece], end: int) -> bool:
    """Whether what comes next begins before the end of what is taken, or goes on with a word under one set alone."""
    return any(start < end or (one != other and piece.startswith("##")) for piece, start, _ in (*one, *other))


def _located_pieces(tokenizer: BertTokenizer, text: str) -> list[_Piece]:
    (found,) = tokenizer.pieces([text], details=True)
    assert found.offsets is not None
    names = tokenizer.convert_ids_to_tokens(found.ids)
    return [(name, start, stop) for name, (start, stop) in zip(names, found.offsets, strict=True)]


def _parted(plain: Mapping[Rules, BertTokenizer], text: str, hf: Sequence[str], google: Sequence[str]) -> str:
    """Say why the rules part on a stretch of text."""
    tokenizer = plain["hf"]
    said = [
        f"{token} in a text is the special token under hf, and split as any word under google"
        for token in tokenizer.all_special_tokens
        if token in hf and token in text
    ]
    for char in dict.fromkeys(text) if tokenizer.do_basic_tokenize else ():
        one, other = (_fate(plain[rules], char) for rules in ("hf", "google"))
        if one != other:
            said.append(f"{shown(char)} (U+{ord(char):04X}) is {one} under hf, {other} under google")
    if "Σ" in text and any("ς" in piece for piece in google):
        said.append("Σ at the end of a word is lowered to σ under hf, to ς under google")
    longest = {rules: one.wordpiece_tokenizer.max_input_chars_per_word for rules, one in plain.items()}
    if not said and len(text) > min(longest.values()) and longest["hf"] != longest["google"]:
        said.append(f"a word has up to {longest['hf']} characters under hf, {longest['google']} under google")
    return "; ".join(said) or "hf strips accents and then lowers letters, google lowers them first"


def _fate(tokenizer: BertTokenizer, char: str) -> str:
    """Say what the rules of a tokenizer do with a character by itself."""
    table, point, normalizer = characters(tokenizer.rules), ord(char), tokenizer.basic_tokenizer.normalizer
    cleaned = normalizer.clean_text
    if cleaned and point in table.spaces:
        return "a space"
    if cleaned and point in table.dropped:
        return "dropped"
    if normalizer.tokenize_chinese_chars and point in table.chinese:
        return "a Chinese character, a word of its own"
    if normalizer.strip_accents and point in table.marks:
        return "a mark that is stripped"
    if point in table.punctuation:
        return "punctuation, a word of its own"
    if normalizer.normalize(char) != char:
        return f"turned into {shown(normalizer.normalize(char))}"
    return "part of a word"


# -- how it is shown --------------------------------------------------------------------------------------------------

# What stands for a character that cannot be seen.
_NUMBER: Final = re.compile(r"(‹U\+[0-9A-F]{4,6}›)")


def _signs(text: str) -> Iterator[str]:
    """Give a text for a page; right-to-left text would part the numbers of characters, which so stand by themselves."""
    for place, part in enumerate(_NUMBER.split(shown(text))):
        yield tag("bdi", part) if place % 2 else part


def _first(most: int, count: int, what: str) -> str:
    """Say that not all is shown, if so."""
    return f" The first {most:,} of {count:,} {what} are shown." if count > most else ""


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _joined(pieces: Sequence[str]) -> str:
    return _cut(shown(" ".join(pieces)), 120) if pieces else "nothing"


def _listed(tried: Sequence[str]) -> str:
    """Name what was tried, the middle of many left out."""
    some = list(tried) if len(tried) <= 8 else [*tried[:4], f"… ({len(tried) - 6} more)", *tried[-2:]]
    return "  ".join(shown(_cut(one, 30)) for one in some)


@dataclasses.dataclass(frozen=True)
class _Steps(Part):
    """A text after each step, with what the step changed, and then its words, pieces and ids."""

    title: str
    trace: Trace
    words: Sequence[Sequence[Token]]

    @property
    def about(self) -> str:
        """How to read it."""
        about = "What a step changed is marked."
        sizes = ((len(self.trace.text), _CHARACTERS, "character"), (len(self.words), _WORDS, "word"))
        if cut := [(count, most, what) for count, most, what in sizes if count > most]:
            whole = " and ".join(counted(count, what) for count, _, what in cut)
            first = " and ".join(counted(most, what) for _, most, what in cut)
            about += f" Of this text of {whole} the first {first} are shown."
        return about

    def rich(self) -> Sequence[RenderableType]:
        """Return a table of steps."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("step", no_wrap=True)
        table.add_column("text", overflow="fold")
        table.add_column("changed", justify="right", no_wrap=True)
        for stage in self.trace.stages:
            if not stage.on:
                table.add_row(Text(stage.name, style="dim"), Text("not by this tokenizer", style="dim"), Text("–"))
                continue
            text = Text()
            for part, change in _marked(stage):
                text.append(shown(part), style="" if change is None else "bold yellow")
            counted = "" if stage.name == "given" else f"{_size(stage):,}"
            table.add_row(Text(stage.name), text, Text(counted))
        names = [" ".join(shown(one.token) for one in word) for word in self.words[:_WORDS]]
        ids = [" ".join(str(one.id) for one in word) for word in self.words[:_WORDS]]
        own = [shown(_cut(one.word)) for one in self.trace.words[:_WORDS]]
        for name, row in (("words", own), ("pieces", names), ("ids", ids)):
            text = Text()
            for number, one in enumerate(row):
                text.append(" │ " if number else "", style="dim").append(one)
            table.add_row(Text(name), text, "")
        return [Text(self.title, style="bold"), Text(self.about, style="dim"), table]

    def html(self) -> Markup:
        """Return the same with marks of what was changed."""
        rows: list[Markup] = []
        for stage in self.trace.stages:
            parts: list[str] = []
            for part, change in _marked(stage):
                if change is None:
                    parts += _signs(part)
                elif part:
                    parts.append(
                        tag("mark", *_signs(part), title=f"{shown(_cut(change.before))} → {shown(_cut(part))}")
                    )
                else:
                    parts.append(
                        tag("del", shown(_cut(change.before)), title=f"{shown(_cut(change.before))} is dropped")
                    )
            text = tag("div", *parts, class_="given", dir="auto") if stage.on else tag("em", "not by this tokenizer")
            rows.append(_row(stage.name, stage.says, text))
        own = [tag("span", shown(_cut(one.word)), class_="box", dir="auto") for one in self.trace.words[:_WORDS]]
        rows.append(_row("words", "split at white space and punctuation", tag("div", *_spaced(own), class_="boxes")))
        pieces = [tag("span", *_spaced([_piece(one) for one in word]), class_="group") for word in self.words[:_WORDS]]
        rows.append(
            _row("pieces and ids", "the longest that the vocabulary has", tag("div", *_spaced(pieces), class_="boxes"))
        )
        return markup.section(self.title, tag("dl", *rows, class_="steps"), about=self.about)


def _row(name: str, says: str, content: Markup) -> Markup:
    return tag("div", tag("dt", name, tag("span", says)), tag("dd", content))


def _piece(token: Token) -> Markup:
    return tag("span", tag("bdi", shown(token.token), dir="ltr"), tag("small", str(token.id)), class_="box")


def _spaced(parts: Sequence[Markup]) -> Iterator[str]:
    """Put spaces between elements, for whoever copies the text."""
    for number, part in enumerate(parts):
        if number:
            yield " "
        yield part


def _size(stage: Stage) -> int:
    """How many characters a step changed or dropped, as they were before it."""
    return sum(len(change.before) for change in stage.changes)


def _marked(stage: Stage) -> Iterator[tuple[str, Change | None]]:
    """Give the first characters of a stage in parts, those that the step changed with the change."""
    end = 0
    for change in stage.changes:
        if change.start > _CHARACTERS:
            break
        if change.start > end:
            yield stage.text[end : change.start], None
        yield stage.text[change.start : min(change.stop, _CHARACTERS)], change
        end = change.stop
    if end < _CHARACTERS and stage.text[end:_CHARACTERS]:
        yield stage.text[end:_CHARACTERS], None


class _Column(NamedTuple):
    """A piece in a picture: its cells, what each step changed in them, and how wide they are in characters."""

    cells: Sequence[tuple[str, bool]]
    width: float
    unknown: bool


def _strips(found: Tokens) -> Iterator[list[_Column]]:
    """Give lines of columns, one column for each piece of the first text."""
    unknown = {(one.start, one.stop) for one in found.unknown if one.text == 0}
    line: list[_Column] = []
    lines = 0
    own = (one for one in found.tokens if one.text == 0)
    for token, cells in zip(own, _slices(found, 0), strict=True):
        rows = [(shown(_cut(cell, 20)), number > 0 and cell != cells[number - 1]) for number, cell in enumerate(cells)]
        # A left-to-right mark keeps ## in front, whatever script follows.
        rows += [("\u200e" + shown(_cut(token.token, 20)), False), (str(token.id), False)]
        width = 1.4 * max(len(text) for text, _ in rows) + 1.4
        if line and sum(one.width for one in line) + width > _STRIP:
            yield line
            line, lines = [], lines + 1
        if lines == _STRIPS:
            return
        line.append(_Column(rows, width, (token.start, token.stop) in unknown))
    if line:
        yield line


def _slices(found: Tokens, text: int) -> Iterator[list[str]]:
    """Give of each token what each stage has in its place."""
    stages = found.texts[text].stages
    spans = [{place: (start, stop) for place, start, stop in _groups(stage.places)} for stage in stages]
    for token in found.tokens:
        if token.text == text and token.start is not None and token.stop is not None:
            yield [
                "".join(
                    stage.text[slice(*own[place])] for place in range(token.start, token.stop) if place in own
                ).strip()
                for stage, own in zip(stages, spans, strict=True)
            ]


def _box(place: tuple[float, float], width: float, height: float, color: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(place, width, height, facecolor=color, edgecolor="none")


def _app_data(found: Tokens) -> dict[str, Any]:
    """Return the first tokens, and the texts cut into what is a token and what is none, in order."""
    first = found.tokens[:_TOKENS]
    unknown = {(one.text, one.start, one.stop) for one in found.unknown}
    slices = [iter(_slices(found, number)) for number in range(len(found.texts))]
    rows = []
    for token in first:
        steps: list[tuple[str, str]] = []
        if token.text is not None:
            cells = next(slices[token.text])
            stages = found.texts[token.text].stages
            for number, (stage, cell) in enumerate(zip(stages, cells, strict=True)):
                if number and cell != cells[number - 1]:
                    steps.append((stage.name, shown(cell)))
        own = None if token.text is None or token.word is None else found.texts[token.text].words[token.word]
        rows.append(
            {
                "token": shown(token.token),
                "id": token.id,
                "type": token.type,
                "word": None if own is None else shown(_cut(own.word)),
                "kind": "frame" if own is None else own.kind,
                "number": token.word,
                "start": token.start,
                "stop": token.stop,
                "slice": shown(_cut(token.slice)),
                "steps": steps,
                "unknown": (token.text, token.start, token.stop) in unknown,
            }
        )
    return {"tokens": rows, "texts": list(_segments(found, first)), "vocabulary": found.vocabulary}


def _segments(found: Tokens, first: Sequence[Token]) -> Iterator[list[tuple[str, list[int]]]]:
    """Cut each text where tokens begin and end; those that lie over each other share a part."""
    for number, trace in enumerate(found.texts):
        parts: list[tuple[str, list[int]]] = []
        end = 0
        start, stop, members = 0, 0, list[int]()
        for place, token in enumerate(first):
            if token.text != number or token.start is None or token.stop is None:
                continue
            if members and token.start < stop:
                stop = max(stop, token.stop)
                members.append(place)
                continue
            if members:
                parts.append((shown(_cut(trace.text[start:stop], 200)), members))
                end = stop
            if token.start > end:
                parts.append((_gap(trace.text[end : token.start]), []))
            start, stop, members = token.start, token.stop, [place]
        if members:
            parts.append((shown(_cut(trace.text[start:stop], 200)), members))
            end = stop
        rest = trace.text[end:]
        if rest and len(first) == len(found.tokens):
            parts.append((_gap(rest), []))
        yield parts


def _gap(text: str) -> str:
    """Show what is between pieces; line ends stay."""
    return "\n".join(shown(line) for line in _cut(text, 200).split("\n"))
