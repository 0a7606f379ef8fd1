"""Which column is the text and which the label: by well-known names, else by position; always said."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from glassbert.data.records import Record

# Roles in the order in which columns without names are taken, with the names that data sets in use give to their
# columns, the likelier first, without "_", "-", spaces and capitals.
_NAMES: Final[Mapping[str, str]] = {
    "id": "id idx index guid qid uid",
    "text": "text sentence content review comment document message utterance tweet post body article passage abstract "
    "description headline title question query texta text1 sentence1 commenttext reviewtext reviewbody",
    "pair": "",  # by the pairs below
    "negative": "negative hardnegative negative1 neg",
    "tokens": "tokens words characters chars token texta text sentence",
    "tags": "tags nertags tag ner labels label postags slots",
    "context": "context passage paragraph sent1 ctx ctxa article document premise story",
    "question": "question query sent2 ctxb",
    "choices": "choices options endings answers",
    "answers": "answers answer",
    "label": "label class category target intent sentiment goldlabel labels topic language lang tag polarity emotion "
    "answerkey answer",
    "labels": "labels label tags categories classes topics targets emotions",
    "score": "score similarity similarityscore relatednessscore rating stars label target value",
}
# The two columns of a pair of texts.
_PAIRS: Final = (
    ("text", "textpair"),
    ("sentence1", "sentence2"),
    ("texta", "textb"),
    ("text1", "text2"),
    ("sentencea", "sentenceb"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "passage"),
    ("question", "sentence"),
    ("question", "context"),
    ("question", "answer"),
    ("query", "passage"),
    ("query", "document"),
    ("query", "title"),
    ("title", "text"),
    ("sent1", "sent2"),
    ("s1", "s2"),
    ("anchor", "positive"),
    ("query", "positive"),
)
# Names of second texts alone.
_SECOND: Final = ("textpair", "sentence2", "textb", "text2", "sentenceb", "hypothesis", "question2", "sent2", "s2")
# Names of columns that may be texts, whatever they were taken for.
_TEXTS: Final = {*_NAMES["text"].split(), *_NAMES["context"].split()}.union(*_PAIRS)
# Columns by which one knows the data of another task.
_SIGNS: Final = (
    ("token-classification", "tags", ("tokens words characters", "tags nertags ner postags labels slots")),
    ("multiple-choice", "choices", ("choices options endings",)),
    ("question-answering", "context", ("question", "context")),
)
_FLAGS: Final = {
    **dict.fromkeys(("text", "tokens"), "--text-column"),
    "pair": "--pair-column",
    **dict.fromkeys(("label", "labels", "score", "tags"), "--label-column"),
}
# What a column holds that tells of one label whether it holds.
_TOLD: Final = ("0", "1", "true", "false")
_IDS: Final = _NAMES["id"].split()
# Choices in columns of their own: ending0, ending1, … or choice1, choice2, … or optiona, optionb, …
_CHOICE: Final = re.compile(r"(ending|choice|answer|option|alternative|hypothesis|solution|sol)([0-9]+|[a-h])")


class Guess(NamedTuple):
    """Which column has which role.

    Attributes:
        columns: by role, as given or by name; one that is spread over several has `choices.0`, `choices.1`, …
        note: what was guessed, as one line for the user; empty where nothing was.
    """

    columns: dict[str, str | int]
    note: str


def guess_columns(
    record: Record,
    wanted: Collection[str],
    *,
    optional: Collection[str] = (),
    given: Mapping[str, str | int] | None = None,
) -> Guess:
    """Find the columns for some roles by their names, in a file without a header by their positions.

    An optional second text is found only by names that can mean nothing else (`sentence2`, but not `text` beside
    `title`). Where a text was guessed and other columns are named as if they were texts too, the note names them.

    Args:
        record: the first of a file.
        wanted: roles that must be found. "text" and "pair" are sought together.
        optional: roles that may be missing.
        given: columns that the user named; nothing is guessed for their roles. An empty name says that an optional role
            has no column.

    Raises:
        DataError: no column for a wanted role, with the columns that there are and the flags that name them; a file
            read without a header whose first row looks like one; a given column that is not there; an empty name for a
            wanted role.
    """
    off = {role for role, column in (given or {}).items() if column == ""}
    if refused := off & set(wanted):
        raise record.error(f"the {min(refused)} cannot be left out; name its column")
    given = {role: column for role, column in (given or {}).items() if role not in off}
    used = {record.name(column) for column in given.values()}
    known = {role.split(".")[0] for role in given} | off
    needed = [role for role in wanted if role not in known]
    sought = [role for role in _NAMES if role in (*needed, *optional) and role not in known]
    free = [name for name in record.values if name not in used]
    first = record.name(given["text"]) if "text" in given else None
    if record.is_unnamed:
        if needed and all(role in _by_name(sought, needed, map(record.get, free), first) for role in needed):
            raise record.error("this row looks like a header; the file is read as one without (--no-header)")
        guessed = _by_position(record, sought, needed, free)
    else:
        guessed = _by_name(sought, needed, free, first)
    if missing := [role for role in needed if role not in guessed]:
        flags = " and ".join(dict.fromkeys(_FLAGS.get(role, f"--column {role}=NAME") for role in missing))
        question = f"which column is the {' and the '.join(missing)}? {flags} can tell"
        raise record.error(f"{question}; the columns are {record.column_names()}{_hint(record, wanted)}")
    # A column that has the very name of its role is no guess.
    guesses = {role: names for role, names in guessed.items() if names != (role,)}
    said = ", ".join(f"{role} is {' '.join(map(repr, names))}" for role, names in guesses.items())
    if "text" in guesses and not record.is_unnamed:
        taken = {name for names in guessed.values() for name in names}
        unused = [name for name in free if name not in taken and _plain(name) in _TEXTS]
        if unused:
            said += f"; not used: {', '.join(map(repr, unused[:5]))}" + (", …" if len(unused) > 5 else "")
    for role, names in guessed.items():
        given |= {role: names[0]} if len(names) == 1 else {f"{role}.{index}": name for index, name in enumerate(names)}
    return Guess(given, f"columns by {'position' if record.is_unnamed else 'name'}: {said}" if guesses else "")


def _hint(record: Record, wanted: Collection[str]) -> str:
    """Name the task whose columns these seem to be, where it is another, or columns that seem to be a label each."""
    if record.is_unnamed:
        return ""
    told = [name for name, value in record.values.items() if str(value).lower() in _TOLD and _plain(name) not in _IDS]
    if "labels" in wanted and len(told) > 1:
        return f"; is each of them a label? --column labels={','.join(told[:10])}"
    names = [_plain(name) for name in record.values]
    for task, role, signs in _SIGNS:
        several = role == "choices" and _numbered(names)
        if role not in wanted and (several or all(set(sign.split()) & set(names) for sign in signs)):
            return f"; they look like those of --task {task}"
    return ""


def _by_position(
    record: Record, sought: Sequence[str], needed: Sequence[str], free: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Take the columns in the order of the roles: the first choice of roles, of the earliest, that they can be."""
    # Where some columns were named, those that were not have no role.
    for roles in combinations(sought if len(free) == len(record.values) else needed, len(free)):
        if set(needed) <= set(roles) and all(map(_may_be, roles, map(record.get, free))):
            found: dict[str, tuple[str, ...]] = {role: (name,) for role, name in zip(roles, free)}
            # A label longer than its text: they may well stand the other way round.
            if not {"text", "label"} <= found.keys() or len(record.get(found["label"][0])) <= len(
                record.get(found["text"][0])
            ):
                return found
    return {}


def _may_be(role: str, value: str) -> bool:
    """Whether a role can have a value: texts are no numbers, scores are, and choices are not told by position."""
    try:
        number = math.isfinite(float(value))
    except ValueError:
        number = False
    return number if role == "score" else not number if role in ("text", "pair", "negative") else role != "choices"


def _by_name(
    sought: Sequence[str], needed: Sequence[str], columns: Iterable[str], first: str | None
) -> dict[str, tuple[str, ...]]:
    """Find roles by name; `first` is the column of the text where that is known."""
    free: dict[str, str] = {}
    for column in columns:
        free.setdefault(_plain(column), column)
    found: dict[str, tuple[str, ...]] = {}
    if "pair" in sought:
        known = None if first is None else _plain(first)
        for one, other in _PAIRS:
            if other not in free or ("pair" not in needed and other not in _SECOND):
                continue
            if one == known if known is not None else one in free and "text" in sought:
                found["pair"] = (free.pop(other),)
                if known is None:
                    found["text"] = (free.pop(one),)
                break
    if "choices" in sought and (numbered := _numbered(free)):
        found["choices"] = tuple(free.pop(name) for name in numbered)
    for role in sorted(sought, key=lambda role: role not in needed):
        likely = (name for name in _NAMES[role].split() if name in free)
        if role not in found and role != "pair" and (name := next(likely, None)) is not None:
            found[role] = (free.pop(name),)
    return {role: found[role] for role in sought if role in found}


def _numbered(names: Iterable[str]) -> list[str]:
    """Return the names that are a word for choices and a number or letter, where there are two or more of one word."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if match := _CHOICE.fullmatch(name):
            groups.setdefault(match[1], []).append(name)
    return next((sorted(group, key=lambda name: (len(name), name)) for group in groups.values() if len(group) > 1), [])


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).casefold()
