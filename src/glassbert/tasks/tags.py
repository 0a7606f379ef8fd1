"""Tags of words → entities: the schemes of chunking, and their scores.

A tag is a letter and a type, `B-PER`, or a letter alone, or `O` outside of entities. Schemes differ in the letters and
in when they are written:

    IOB1   I inside, B only where an entity follows another of its type at once (CoNLL-2003, wikigold)
    IOB2   B at the first word, I at the rest; also called BIO
    IOBES  B first, I inside, E last, S an entity of one word; also called BIOES
    BMES   the same with M inside (Chinese word segmentation, resume NER)
    BILOU  the same with L last and U an entity of one word
    none   tags are no chunks (parts of speech): each word is by itself

One rule reads them all, also where the tags of a sentence break their scheme, as those of a model may: an entity begins
at B and S, and wherever the word before was not inside an entity of the same type; it ends after E and S, and before
whatever does not go on with it. That is seqeval's default mode, and for valid tags what the scheme says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, cast, get_args

from glassbert.errors import ConfigError

Scheme = Literal["IOB1", "IOB2", "IOBES", "BMES", "BILOU", "none"]
OUTSIDE: Final = "O"
# The letters of each scheme that mean begin, inside, end and single.
_LETTERS: Final[dict[Scheme, str]] = {"IOB1": "BI", "IOB2": "BI", "IOBES": "BIES", "BMES": "BMES", "BILOU": "BILU"}
_OTHER_NAMES: Final[dict[str, Scheme]] = {"BIO": "IOB2", "BIOES": "IOBES"}
_CHUNK: Final = re.compile("[BIESMLU]-.+", re.DOTALL)


class Span(NamedTuple):
    """An entity: its type, its first word, and the one after its last."""

    type: str
    start: int
    stop: int


def scheme_by_name(name: object) -> Scheme:
    """Return the scheme of that name.

    Raises:
        ConfigError: there is none.
    """
    found = _OTHER_NAMES.get(name, name) if isinstance(name, str) else name
    if found not in get_args(Scheme):
        names = ", ".join((*get_args(Scheme), *_OTHER_NAMES))
        raise ConfigError(f"scheme is {name!r}, expected one of {names}")
    return cast(Scheme, found)


def scheme_of(tags: Collection[str]) -> Scheme | None:
    """Tell the scheme by the names of the tags; IOB2 for what may be IOB1 too.

    Returns:
        None where the letters of chunks are of no one scheme.
    """
    inside = [tag for tag in tags if tag != OUTSIDE]
    letters = {tag[0] for tag in inside if _CHUNK.fullmatch(tag)}
    if not letters:
        # Letters alone, as in word segmentation; it takes more than one of them, and no other tag.
        letters = set(inside) if "B" in inside and len(inside) > 1 else set()
    if not letters:
        return "none"
    schemes: tuple[Scheme, ...] = ("IOB2", "IOBES", "BMES", "BILOU")
    return next((scheme for scheme in schemes if letters <= set(_LETTERS[scheme])), None)


def fits(tag: str, scheme: Scheme) -> bool:
    """Whether a tag is one of the scheme."""
    if scheme == "none" or tag == OUTSIDE:
        return True
    return tag[:1] in tuple(_LETTERS[scheme]) and (len(tag) == 1 or (tag[1] == "-" and len(tag) > 2))


def completed(tags: Iterable[str], scheme: Scheme) -> set[str]:
    """Return tags of a scheme with those that it has for the same types beside them: `I-PER` where there is `B-PER`."""
    found = set(tags)
    if scheme == "none":
        return found
    kinds = {tag[1:] for tag in found if tag != OUTSIDE}  # with the hyphen; empty for a letter alone
    return found | {letter + kind for kind in kinds for letter in _LETTERS[scheme]}


def first_letters(sentences: Iterable[Sequence[str]]) -> tuple[int, int]:
    """Count the entities that begin with B, and those that begin with I, where no entity of their type stands before.

    Where one does, IOB1 and IOB2 both have a B.
    """
    counts = {"B": 0, "I": 0}
    for tags in sentences:
        before = None
        for tag in tags:
            kind = None if tag == OUTSIDE else tag[2:]
            if kind is not None and kind != before:
                counts[tag[0]] += 1
            before = kind
    return counts["B"], counts["I"]


def spans(tags: Sequence[str], scheme: Scheme) -> Iterator[Span]:
    """Give the entities of one sentence, by the rule above; a tag that does not fit the scheme counts as O.

    The type of tags that are a letter alone is `_`. Under `none` each word with another tag than O is an entity, of the
    tag's type.
    """
    if scheme == "none":
        yield from (Span(tag, place, place + 1) for place, tag in enumerate(tags) if tag != OUTSIDE)
        return
    meanings = dict(zip(_LETTERS[scheme], "BIES", strict=False))
    # A sentence may have a million words, but it has few different tags.
    letters = {tag: meanings[tag[0]] if tag != OUTSIDE and fits(tag, scheme) else OUTSIDE for tag in set(tags)}
    kind, start = None, 0  # of the entity that goes on
    for place, tag in enumerate(tags):
        letter = letters[tag]
        found = None if letter == OUTSIDE else tag[2:] or "_"
        if kind is not None and (found != kind or letter in "BS"):
            yield Span(kind, start, place)
            kind = None
        if found is not None and kind is None:
            kind, start = found, place
        if kind is not None and letter in "ES":
            yield Span(kind, start, place + 1)
            kind = None
    if kind is not None:
        yield Span(kind, start, len(tags))
