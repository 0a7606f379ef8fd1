"""The frozen tables of characters: what `tools/characters.py` finds where it can look; nothing is asked at run time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import unicodedata
from importlib import resources, util
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from glassbert.errors import InputError
from glassbert.text.characters import Ranges, characters

TOOL = Path(__file__).resolve().parents[2] / "tools/characters.py"
SETS = ("dropped", "spaces", "whitespace", "chinese", "punctuation", "marks", "word")
TABLES: dict[str, Any] = json.loads(resources.files("glassbert.text").joinpath("characters.json").read_bytes())


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, looking at a sample: where each run of the tables begins and ends, and some thousand points more."""
    spec = util.spec_from_file_location("tools_characters", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    points = set(random.Random(0).sample(module.POINTS, 3000))
    for rules in ("hf", "google"):
        table = TABLES[rules]
        for runs in (*(Ranges(table[name]) for name in SETS), *map(Ranges, table["orders"].values())):
            edges = random.Random(0).sample(sorted({*runs.starts, *runs.stops}), min(60, len(runs.starts)))
            points.update(edge + step for edge in edges for step in (-1, 0, 1))
    points &= set(module.POINTS)
    # The program also looks at what they decompose into.
    points |= {ord(part) for point in points for part in characters("hf").decompose(chr(point))}
    points |= {ord(part) for point in points for part in characters("google").decompose(chr(point))}
    monkeypatch.setattr(module, "POINTS", sorted(points))
    return module


def _held(tool: ModuleType, rules: str, found: dict[str, Any]) -> None:
    table, points = TABLES[rules], set(tool.POINTS)
    for name in (*SETS, *({"cased", "ignorable"} & found.keys())):
        assert set(Ranges(found[name])) & points == set(Ranges(table[name])) & points, name
    for order in table["orders"].keys() | found["orders"].keys():
        ours, theirs = (set(Ranges(orders.get(order, ""))) for orders in (table["orders"], found["orders"]))
        assert ours & points == theirs & points, order
    for name in ("decomposed", "lower"):
        mine, its = (dict(entry.split(":") for entry in maps[name].split()) for maps in (table, found))
        assert {point: text for point, text in mine.items() if int(point, 16) in points} == its, name


def test_the_tables_hf_are_those_of_the_library(tool: ModuleType) -> None:
    if f"tokenizers {version('tokenizers')}" != TABLES["made from"]["hf"]:
        pytest.skip(f"the tables are those of {TABLES['made from']['hf']}, this is {version('tokenizers')}")
    assert len(tool.POINTS) > 4000
    _held(tool, "hf", tool.of_tokenizers())


def test_the_tables_google_are_those_of_python(tool: ModuleType) -> None:
    if f"Unicode {unicodedata.unidata_version}" != TABLES["made from"]["google"]:
        pytest.skip(f"the tables are those of {TABLES['made from']['google']}, not of {unicodedata.unidata_version}")
    _held(tool, "google", tool.of_google())


def test_no_table_is_asked_of_python_or_of_the_library() -> None:
    # Nothing under text looks characters up at run time; only the fast tokenizer imports the library.
    code = (
        "import sys; before = set(sys.modules);"
        "from glassbert.text import BertTokenizer, BasicTokenizer;"
        "vocab = {token: i for i, token in enumerate(('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a'))};"
        "[BertTokenizer(vocab, rules=rules)('É\\u0323\\u0301 ΑΣ [MASK] 字 각', return_offsets_mapping=True)"
        " for rules in ('hf', 'google')];"
        "print(sorted({'unicodedata', 'tokenizers', 'torch', 'numpy'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    for file in sorted(Path(str(resources.files("glassbert.text"))).glob("*.py")):
        assert "unicodedata" not in file.read_text(encoding="utf-8").replace("`unicodedata`", ""), file.name


def test_runs_of_code_points() -> None:
    runs = Ranges("9-d 20 85")
    assert list(runs) == [9, 10, 11, 12, 13, 0x20, 0x85]
    assert [point in runs for point in (8, 9, 13, 14, 0x20, 0x21, 0x85, 0x86)] == [
        *(False, True, True, False, True, False, True, False),
    ]
    assert runs.pattern == "\\U00000009-\\U0000000d\\U00000020\\U00000085"
    assert 5 not in Ranges("")


@pytest.mark.parametrize(
    ("char", "parts"),
    [
        *(("\uac00", "\u1100\u1161"), ("\uac01", "\u1100\u1161\u11a8"), ("\ud7a3", "\u1112\u1175\u11c2")),
        *(("\u00e9", "e\u0301"), ("\u01d6", "u\u0308\u0304"), ("a", "a"), ("\ud7a4", "\ud7a4")),
    ],
)
def test_decomposition(char: str, parts: str) -> None:
    for rules in ("hf", "google"):
        assert characters(rules).decompose(char) == parts


def test_an_unknown_set_of_rules_is_refused() -> None:
    with pytest.raises(InputError, match="rules is 'bert', expected one of hf, google"):
        characters("bert")
