"""What is encoded: real texts of five profiles of length, and single texts of one length."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from itertools import chain, islice
from typing import Final, Literal

from bench.common import SHARED, lines_of, mixed_texts
from glassbert import BertTokenizer
from glassbert.data import load_sentences, read_records

Profile = Literal["mixed", "short", "sentences", "paragraphs", "equal", "one"]

# About ten thousand tokens each, which a small model on two cores takes seconds for; single texts of each length.
TEXTS: Final[dict[Profile, int]] = {
    "mixed": 256,
    "short": 896,
    "sentences": 352,
    "paragraphs": 64,
    "equal": 80,
    "one": 24,
}
# Tokens of a text, with [CLS] and [SEP].
_SHORT: Final = range(5, 17)
_SENTENCE: Final = range(17, 65)
# Longer ones are cut to the most that the models take.
_PARAGRAPH: Final = range(65, 513)
_EQUAL: Final = 128
_SINGLE: Final = (16, 128)
# The embedded sentences are short; so many of them make a paragraph.
_JOINED: Final = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """What all contenders are given.

    Attributes:
        shape: how it is called: its profile, or "1 × 16" for single texts of 16 tokens.
        source: where the texts come from.
        texts: as they stand; empty where ids were cut to a length that no text has.
        sequences: their ids, with [CLS] and [SEP].
        single: whether texts are encoded one at a time.
    """

    shape: str
    source: str
    texts: tuple[str, ...]
    sequences: tuple[list[int], ...]
    single: bool = False

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.sequences]


def workloads(profile: Profile, tokenizer: BertTokenizer, count: int) -> list[Workload]:
    """Return `count` texts of a profile, the same at every call; single texts of two lengths for "one"."""
    if profile == "equal":
        return [_cut(tokenizer, count, _EQUAL, "equal", single=False)]
    if profile == "one":
        return [_cut(tokenizer, count, length, f"1 × {length}", single=True) for length in _SINGLE]
    if profile == "mixed":
        source, texts = mixed_texts(count)
    elif profile == "short":
        source, texts = _of_length("questions to a bank, SST-2 and movie reviews", _messages, _SHORT, tokenizer, count)
    elif profile == "sentences":
        source, texts = _of_length("Leipzig news, SST-2 and movie reviews", _sentences, _SENTENCE, tokenizer, count)
    else:
        source, texts = _of_length("WikiText paragraphs", _paragraphs, _PARAGRAPH, tokenizer, count)
    sequences = tuple(tokenizer.encode(text, truncation=True) for text in texts)
    return [Workload(shape=profile, source=source, texts=tuple(texts), sequences=sequences)]


def _of_length(
    source: str,
    read: Callable[[], list[str]],
    lengths: range,
    tokenizer: BertTokenizer,
    count: int,
) -> tuple[str, list[str]]:
    """Return `count` texts of some lengths in a fixed random order, and where they come from."""
    if SHARED.is_dir():
        texts = read()
    else:
        source, texts = "the embedded sentences", _embedded(lengths)
    random.Random(0).shuffle(texts)
    fitting = (text for text in texts if len(tokenizer.encode(text, truncation=True)) in lengths)
    return source, list(islice(fitting, count))


def _embedded(lengths: range) -> list[str]:
    sentences = [sentence.text for sentence in load_sentences("train")]
    joined = 1 if lengths is _SHORT else 3 if lengths is _SENTENCE else _JOINED
    return [" ".join(sentences[begin : begin + joined]) for begin in range(0, len(sentences), joined)]


def _messages() -> list[str]:
    questions = [record.get("text") for record in read_records(SHARED / "banking77" / "train.csv")]
    return questions[:1500] + _labelled() + _reviews()


def _sentences() -> list[str]:
    return lines_of(SHARED / "langid_lingua" / "sentences" / "en.txt") + _labelled() + _reviews()


def _paragraphs() -> list[str]:
    return [line for line in lines_of(SHARED / "wikitext2" / "valid.txt") if len(line) > 200]


def _labelled() -> list[str]:
    return [record.get("0") for record in read_records(SHARED / "sst2" / "dev.tsv", header=False)]


def _reviews(most: int = 1500) -> list[str]:
    return lines_of(SHARED / "rt_polarity" / "rt-polarity.neg", encoding="cp1252")[:most]


def _cut(tokenizer: BertTokenizer, count: int, length: int, shape: str, *, single: bool) -> Workload:
    """Return windows of one length over running text: nothing is padded, and no id is made up."""
    if SHARED.is_dir():
        source, texts = "windows over WikiText", _paragraphs()
    else:
        source, texts = "windows over the embedded sentences", _embedded(_PARAGRAPH)
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert first is not None
    assert last is not None
    inner = length - 2
    running = chain.from_iterable(tokenizer.encode(text, truncation=True)[1:-1] for text in texts)
    ids = list(islice(running, count * inner))
    windows = [[first, *ids[begin : begin + inner], last] for begin in range(0, len(ids) - inner + 1, inner)]
    return Workload(shape=shape, source=source, texts=(), sequences=tuple(windows), single=single)
