"""Schemes of tags, and the entities that they make."""

from __future__ import annotations

import importlib
import random
import warnings
from collections.abc import Sequence
from typing import Any

import pytest

from glassbert import ConfigError
from glassbert.tasks.tags import Scheme, Span, first_letters, fits, scheme_by_name, scheme_of, spans

SPANS: list[tuple[Scheme, str, list[Span]]] = [
    ("IOB2", "B-a I-a O B-b B-b", [Span("a", 0, 2), Span("b", 3, 4), Span("b", 4, 5)]),
    ("IOB1", "I-a I-a O I-b B-b I-b I-a", [Span("a", 0, 2), Span("b", 3, 4), Span("b", 4, 6), Span("a", 6, 7)]),
    ("IOBES", "B-a I-a E-a S-b S-b O", [Span("a", 0, 3), Span("b", 3, 4), Span("b", 4, 5)]),
    ("BMES", "B-a M-a E-a S-b O", [Span("a", 0, 3), Span("b", 3, 4)]),
    ("BILOU", "B-a I-a L-a U-b O", [Span("a", 0, 3), Span("b", 3, 4)]),
    ("BMES", "B E S B M E", [Span("_", 0, 2), Span("_", 2, 3), Span("_", 3, 6)]),
    ("none", "DET NOUN O X", [Span("DET", 0, 1), Span("NOUN", 1, 2), Span("X", 3, 4)]),
    # Broken ones: begun by I, E or M; another type inside; nothing after B; two ends; a sentence that ends inside.
    ("IOB2", "I-a O I-b I-a", [Span("a", 0, 1), Span("b", 2, 3), Span("a", 3, 4)]),
    ("IOBES", "E-a E-a I-a S-a", [Span("a", 0, 1), Span("a", 1, 2), Span("a", 2, 3), Span("a", 3, 4)]),
    ("IOBES", "B-a E-b B-b O", [Span("a", 0, 1), Span("b", 1, 2), Span("b", 2, 3)]),
    ("BMES", "M-a M-a", [Span("a", 0, 2)]),
    # Types may hold dashes; strange tags of somebody else's model count as O.
    ("IOB2", "B-creative-work I-creative-work X", [Span("creative-work", 0, 2)]),
    ("IOB2", "", []),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "tags", "expected"), SPANS)
def test_entities_of_tags(scheme: Scheme, tags: str, expected: list[Span]) -> None:
    assert list(spans(tags.split(), scheme)) == expected


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O B-a I-a", "IOB2"),
        ("O I-a", "IOB2"),
        ("B-a I-a E-a O", "IOBES"),
        ("S-a O", "IOBES"),
        ("B-a M-a E-a S-a O", "BMES"),
        ("B-a M-a O", "BMES"),
        ("B-a I-a L-a U-a O", "BILOU"),
        ("B M E S", "BMES"),
        ("B I O", "IOB2"),
        ("O NOUN VERB M", "none"),
        ("O M", "none"),
        ("LABEL_0 LABEL_1", "none"),
        ("O", "none"),
        ("B-a M-a L-a O", None),
        ("O B-a I-a X [CLS]", "IOB2"),
    ],
)
def test_the_names_of_tags_tell_their_scheme(tags: str, scheme: Scheme | None) -> None:
    assert scheme_of(tags.split()) == scheme


def test_schemes_by_their_names() -> None:
    assert [scheme_by_name(name) for name in ("IOB1", "BIO", "BIOES", "none")] == ["IOB1", "IOB2", "IOBES", "none"]
    for name in ("iob", 2, None):
        with pytest.raises(ConfigError, match=r"scheme is .*, expected one of IOB1, IOB2, .*BIOES"):
            scheme_by_name(name)


def test_what_fits_a_scheme() -> None:
    assert [tag for tag in ("O", "B-a", "B", "B-", "Ba", "E-a", "X", "") if fits(tag, "IOB2")] == ["O", "B-a", "B"]
    assert fits("anything", "none")


def test_first_letters_are_counted_where_they_tell_something() -> None:
    # B after its own type says nothing; I after another type does.
    sentences = [["I-a", "I-a", "B-a", "O", "B-b", "I-a"], ["I-b"], []]
    assert first_letters(sentences) == (1, 3)


def reference(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """seqeval's conditions, written out: where an entity ends, and where one begins."""
    found: list[tuple[str, int, int]] = []
    begin, last, last_type = 0, "O", "_"
    for place, tag in enumerate([*tags, "O"]):
        letter, kind = tag[0], tag[2:] or "_"
        other = kind != last_type
        ends = last in "ES" or (last in "BI" and letter in "BSO") or (last != "O" and other)
        begins = letter in "BS" or (last in "ESO" and letter in "EI") or (letter != "O" and other)
        if ends:
            found.append((last_type, begin, place))
        if begins:
            begin = place
        last, last_type = letter, kind
    return found


def drawn(seed: int, letters: str) -> list[str]:
    chance = random.Random(seed)
    tags = [f"{letter}-{kind}" for letter in letters for kind in ("a", "b-c")] + ["O", "O"]
    return chance.choices(tags, k=chance.randint(0, 12))


@pytest.mark.parametrize("letters", ["BI", "BIES"])
def test_any_sequence_is_read_by_the_rule_that_is_documented(letters: str) -> None:
    scheme: Scheme = "IOB2" if letters == "BI" else "IOBES"
    for seed in range(400):
        tags = drawn(seed, letters)
        assert [tuple(span) for span in spans(tags, scheme)] == reference(tags), tags
        # The other letters are other names.
        if letters == "BIES":
            for other, names in (("BMES", "BMES"), ("BILOU", "BILU")):
                renamed = [tag if tag == "O" else names["BIES".index(tag[0])] + tag[1:] for tag in tags]
                assert list(spans(renamed, other)) == list(spans(tags, scheme))  # type: ignore[arg-type]


@pytest.mark.parametrize("letters", ["BI", "BIES"])
def test_any_sequence_is_read_as_seqeval_reads_it(letters: str) -> None:
    pytest.importorskip("seqeval", reason="seqeval is not installed")
    peer: Any = importlib.import_module("seqeval.metrics.sequence_labeling")
    scheme: Scheme = "IOB2" if letters == "BI" else "IOBES"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(400):
            tags = drawn(seed, letters)
            expected = [(kind, start, last + 1) for kind, start, last in peer.get_entities(tags)]
            assert [tuple(span) for span in spans(tags, scheme)] == expected, tags
