"""Which column is the text and which the label: by well-known names, else by position; always said."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, get_args

from glassbert.data.records import Record
from glassbert.errors import InputError

# In the order in which columns without names are taken.
Role = Literal[
    "id", "text", "text_pair", "tokens", "tags", "context", "question", "choices", "answers", "label", "labels", "score"
]

# The names that data sets in use give to their columns, the likelier first, without "_", "-", spaces and capitals.
_NAMES: Final[Mapping[Role, str]] = {
    "id": "id idx index guid qid uid",
    "text": "text sentence content review comment document message utterance tweet post body article passage abstract "
    "description headline title question query texta text1 sentence1",
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
)
# Choices in columns of their own: ending0, ending1, … or choice1, choice2, … or optiona, optionb, …
_CHOICE: Final = re.compile(r"(ending|choice|answer|option|alternative|hypothesis|solution|sol)([0-9]+|[a-h])")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column has which role.

    Attributes:
        names: of the columns, by role; roles that were neither found nor needed are missing.
        choices: the columns with a choice each, or the one that holds them all; empty unless asked for.
        guessed: what was guessed, as one line for the user; empty where nothing was.
    """

    names: dict[Role, str]
    choices: tuple[str, ...] = ()
    guessed: str = ""


def guess_columns(
    record: Record,
    wanted: Collection[Role],
    *,
    optional: Collection[Role] = (),
    given: Mapping[Role, str | int] | None = None,
) -> Columns:
    """Find the columns for some roles by their names, in a file without a header by their positions.

    Args:
        record: the first of a file.
        wanted: roles that must be found. "text" and "text_pair" are sought as a pair.
        optional: roles that may be missing.
        given: columns that the user named; nothing is guessed for their roles.

    Raises:
        DataError: no column for a wanted role, with the columns that there are and the flags that name them; a file
            read without a header whose first row looks like one; a given column that is not there.
        InputError: an unknown role.
    """
    given = given or {}
    for role in (*wanted, *optional, *given):
        if role not in get_args(Role):
            raise InputError(f"{role!r} is no role of a column; there are {', '.join(get_args(Role))}")
    known = {role: (record.name(column),) for role, column in given.items()}
    sought: list[Role] = [role for role in get_args(Role) if role in (*wanted, *optional) and role not in known]
    needed = [role for role in sought if role in wanted]
    free = [name for name in record.values if (name,) not in known.values()]
    if record.is_unnamed:
        if needed and all(role in _by_name(sought, map(record.get, free), known) for role in needed):
            raise record.error("this row looks like a header; the file is read as one without (--no-header)")
        guessed = _by_position(record, sought, needed, free)
    else:
        guessed = _by_name(sought, free, known)
    if missing := [role for role in needed if role not in guessed]:
        words = " and the ".join(role.replace("_", " ") for role in missing)
        flags = " and ".join(f"--{role.replace('_', '-')}-column" for role in missing)
        raise record.error(f"which column is the {words}? {flags} can tell; the columns are {record.column_names()}")
    columns = {**known, **guessed}
    said = ", ".join(f"{role} is {' '.join(map(repr, names))}" for role, names in guessed.items())
    return Columns(
        names={role: names[0] for role, names in columns.items() if role != "choices"},
        choices=columns.get("choices", ()),
        guessed=f"columns by {'position' if record.is_unnamed else 'name'}: {said}" if guessed else "",
    )


def _by_position(
    record: Record, sought: Sequence[Role], needed: Sequence[Role], free: Sequence[str]
) -> dict[Role, tuple[str, ...]]:
    """Take the columns in the order of the roles, where there is one for each."""
    roles = sought if len(free) == len(sought) else needed
    if len(free) != len(roles) or "choices" in roles:
        return {}
    found: dict[Role, tuple[str, ...]] = {role: (name,) for role, name in zip(roles, free, strict=True)}
    if "text" in found and "label" in found and len(record.get(found["label"][0])) > len(record.get(found["text"][0])):
        return {}  # a label longer than its text: they may well stand the other way round
    return found


def _by_name(
    sought: Sequence[Role], columns: Iterable[str], known: Mapping[Role, tuple[str, ...]]
) -> dict[Role, tuple[str, ...]]:
    free: dict[str, str] = {}
    for column in columns:
        free.setdefault(_plain(column), column)
    found: dict[Role, tuple[str, ...]] = {}
    if "text_pair" in sought:
        text = _plain(known["text"][0]) if "text" in known else None
        for one, other in _PAIRS:
            if other in free and (one == text if text is not None else one in free and "text" in sought):
                found["text_pair"] = (free.pop(other),)
                if text is None:
                    found["text"] = (free.pop(one),)
                break
    if "choices" in sought and (numbered := _numbered(free)):
        found["choices"] = tuple(free.pop(name) for name in numbered)
    for role in sought:
        likely = (name for name in _NAMES.get(role, "").split() if name in free)
        if role not in found and (name := next(likely, None)) is not None:
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
