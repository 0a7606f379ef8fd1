"""A translated page says what the English page says: the same commands, figures, rows and links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRANSLATED = [*sorted(ROOT.glob("*.zh.md")), *sorted((ROOT / "docs").glob("*.zh.md"))]

FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*([^`]*)")
HEADING = re.compile(r"(#{1,6})\s+(.*)")
ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s")
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", flags=re.S)
TARGET = re.compile(r"""\]\(\s*<?([^)\s>]+)[^)]*\)|(?:src|href)=["']([^"']+)|<(https?://[^>\s]+)>""")
TAG = re.compile(r"<[A-Za-z/!][^>]*>")
FIGURE = re.compile(r"(?:(?<![A-Za-z0-9])[-+−])?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)*(?:[eE][-+]?[0-9]+)?%?")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2,}[,;:]? +[a-z]{2,}")  # two words in a row


@dataclass
class Block:
    """A paragraph, an item of a list, a table or a block of code."""

    kind: str
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table, by row."""
        return [re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|")) for line in self.lines]


@dataclass
class Section:
    """A heading and what follows until the next one; before the first heading stands one of level 0."""

    level: int
    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def code(self) -> list[str]:
        return [block.text for block in self.blocks if block.kind == "code"]

    @property
    def tables(self) -> list[Block]:
        return [block for block in self.blocks if block.kind == "table"]

    @property
    def prose(self) -> str:
        return "\n\n".join([self.title, *(block.text for block in self.blocks if block.kind != "code")])


def parse(page: str) -> list[Section]:
    """Divide a page by its headings, and each section into blocks."""
    sections = [Section(0, "")]
    fence = ""
    follows = False  # the line belongs to the block before it
    for line in page.splitlines():
        blocks = sections[-1].blocks
        match = FENCE.fullmatch(line)
        if fence:
            if match and match[1].startswith(fence) and not match[2]:
                fence, follows = "", False
            else:
                blocks[-1].lines.append(line)
        elif match:
            fence = match[1]
            blocks.append(Block("code", [match[2].strip()]))
        elif heading := HEADING.fullmatch(line):
            sections.append(Section(len(heading[1]), heading[2].strip()))
            follows = False
        elif not line.strip():
            follows = False
        else:
            kind = "table" if line.lstrip().startswith("|") else "item" if ITEM.match(line) else "paragraph"
            if follows and (kind == "paragraph" or kind == blocks[-1].kind == "table"):
                blocks[-1].lines.append(line)
            else:
                blocks.append(Block(kind, [line]))
            follows = True
    assert not fence, "a block of code does not end"
    return sections


def spans(text: str) -> Counter[str]:
    """Count the pieces of code within a text."""
    return Counter(" ".join(code.split()) for _, code in SPAN.findall(text))


def words(text: str) -> str:
    """Return the text that one reads, without code, targets of links, and tags."""
    text = SPAN.sub(" ", text)
    return TAG.sub(" ", TARGET.sub(lambda match: "]" if match[1] else " ", text))


def figures(text: str) -> Counter[str]:
    """Count the numbers of a text, as they are written."""
    return Counter(figure.replace("−", "-") for figure in FIGURE.findall(words(text)))


def content(cell: str) -> tuple[Counter[str], Counter[str], bool]:
    """Return what a cell and its translation share; the last says whether it is one of the line below the header."""
    return spans(cell), figures(cell), re.fullmatch(r"\s*:?-+:?\s*", cell) is not None


def anchor(title: str) -> str:
    """Return the name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def targets(section: Section, page: Sequence[Section]) -> list[str]:
    """List where links and pictures lead: a page and its translation are one, as are headings in the same place."""
    places = {f"#{anchor(other.title)}": f"heading {number}" for number, other in enumerate(page)}
    found = ["".join(match.groups(default="")) for match in TARGET.finditer(SPAN.sub(" ", section.prose))]
    return [places.get(target, re.sub(r"\.zh\.md(?=$|#)", ".md", target)) for target in found]


def apart(english: Iterable[str], translated: Iterable[str]) -> str:
    """Say what only one of the two has; nothing if they are the same."""
    ours, theirs = Counter(english), Counter(translated)
    only = {"in English alone": ours - theirs, "in the translation alone": theirs - ours}
    return "; ".join(f"{where}: {sorted(what.elements())}" for where, what in only.items() if what)


def differences(english: str, translated: str) -> list[str]:
    """Compare all that a translation must not change; return a line on each difference."""
    ours, theirs = parse(english), parse(translated)
    if [section.level for section in ours] != [section.level for section in theirs]:
        headings = [[f"{'#' * section.level} {section.title}" for section in page] for page in (ours, theirs)]
        return [f"headings: {headings[0]} and {headings[1]}"]
    found = []
    for one, other in zip(ours, theirs, strict=True):

        def differ(what: str, how: str, where: str = one.title) -> None:
            found.append(f"{where or 'the beginning'}: {what}: {how}")

        kinds = [[block.kind for block in section.blocks] for section in (one, other)]
        if kinds[0] != kinds[1]:
            differ("blocks", f"{kinds[0]} and {kinds[1]}")
        if one.code != other.code:
            differ("code", apart(one.code, other.code) or "another order")
        if how := apart(spans(one.prose).elements(), spans(other.prose).elements()):
            differ("inline code", how)
        if how := apart(figures(one.prose).elements(), figures(other.prose).elements()):
            differ("figures", how)
        links = targets(one, ours), targets(other, theirs)
        if links[0] != links[1]:
            differ("links", apart(*links) or f"another order: {links[0]} and {links[1]}")
        for number, (table, twin) in enumerate(zip(one.tables, other.tables), start=1):
            sizes = [[len(row) for row in each.rows] for each in (table, twin)]
            if sizes[0] != sizes[1]:
                differ(f"table {number}", f"cells of each row: {sizes[0]} and {sizes[1]}")
                continue
            for row, (cells, same) in enumerate(zip(table.rows, twin.rows, strict=True), start=1):
                for cell, copy in zip(cells, same, strict=True):
                    if content(cell) != content(copy):
                        differ(f"table {number}, row {row}", f"{cell.strip()!r} and {copy.strip()!r}")
    return found


def untranslated(page: str) -> list[str]:
    """List the headings, sections, paragraphs, items, cells and pictures of a page without a Chinese character."""
    found = []
    for number, section in enumerate(parse(page)):
        title = words(section.title).strip()
        if number > 1 and title and not CHINESE.search(title):  # the first heading may be a name
            found.append(section.title)
        body = words("\n\n".join(block.text for block in section.blocks if block.kind != "code"))
        if (section.level or body.strip()) and not CHINESE.search(section.title + body):
            found.append(f"{section.title}: nothing in it")
        parts = re.findall(r"!\[([^\]]*)\]", section.prose)
        for block in section.blocks:
            if block.kind == "table":
                parts += [cell for row in block.rows for cell in row]
            elif block.kind != "code":
                parts.append(" ".join(block.lines))
        found += [part.strip() for part in parts if ENGLISH.search(words(part)) and not CHINESE.search(words(part))]
    return found


def english_of(translated: Path) -> Path:
    return translated.with_name(translated.name.removesuffix(".zh.md") + ".md")


def test_the_readme_is_translated() -> None:
    assert ROOT / "README.zh.md" in TRANSLATED


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.name)
def test_both_pages_hold_the_same(path: Path) -> None:
    english = english_of(path).read_text(encoding="utf-8")
    assert differences(english, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.name)
def test_all_is_in_chinese(path: Path) -> None:
    assert untranslated(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.name)
def test_each_page_begins_with_a_link_to_the_other(path: Path) -> None:
    english = english_of(path)
    for page, link in ((english, f"[中文]({path.name})"), (path, f"[English]({english.name})")):
        title, *rest = page.read_text(encoding="utf-8").split("\n")
        assert title.startswith("# ")
        assert rest[:3] == ["", link, ""], page.name


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.name)
def test_the_links_lead_somewhere(path: Path) -> None:
    text = SPAN.sub(" ", "\n\n".join(section.prose for section in parse(path.read_text(encoding="utf-8"))))
    for match in TARGET.finditer(text):
        target = "".join(match.groups(default="")).partition("#")[0]
        assert "://" in target or (path.parent / target).exists(), target


ENGLISH_PAGE = """# name

[中文](page.zh.md)

It takes 1,024 texts in 2.7 ms, or -3 of
`glassbert predict`. [More](docs/more.md), [below](#the-end).

- one thing
- another thing

| what | how fast |
|---|---|
| `a` | 1.30 |
| `b` | 0.91 and 67% |

```python
# a comment
model = load("FOLDER")
```

## The end

![a picture of it](docs/it.png)

Nothing more.
"""

CHINESE_PAGE = """# name

[English](page.md)

用 `glassbert predict` 处理 1,024 条文本需要 2.7 ms，或 -3 条。[更多](docs/more.md)，[下文](#结尾)。

- 一件事
- 另一件事

| 内容 | 速度 |
|---|---|
| `a` | 1.30 |
| `b` | 67% 和 0.91 |

```python
# a comment
model = load("FOLDER")
```

## 结尾

![它的图片](docs/it.png)

没有别的了。
"""


def test_two_small_pages_that_agree() -> None:
    assert differences(ENGLISH_PAGE, CHINESE_PAGE) == []
    assert untranslated(CHINESE_PAGE) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("1,024", "1,025", "figures"),
        ("1,024", "1024", "figures"),
        ("-3", "3", "figures"),
        ("67%", "67", "figures"),
        ("`glassbert predict`", "`glassbert evaluate`", "inline code"),
        ("`glassbert predict`", "glassbert predict", "inline code"),
        ('load("FOLDER")', 'load("OUT")', "code"),
        ("# a comment", "# another comment", "code"),
        ("```python", "```text", "code"),
        ("| `a` | 1.30 |\n", "", "table 1"),
        ("| `a` | 1.30 |", "| `a` | 1.30 | |", "table 1"),
        ("| `a` | 1.30 |\n| `b`", "| `b` | 1.30 |\n| `a`", "table 1"),
        ("1.30", "1.31", "table 1"),
        ("|---|---|\n| `a` | 1.30 |", "| `a` | 1.30 |\n|---|---|", "table 1"),
        ("docs/more.md", "docs/less.md", "links"),
        ("docs/it.png", "docs/that.png", "links"),
        ("## ", "### ", "headings"),
    ],
)
def test_a_change_in_one_page_is_found(old: str, new: str, what: str) -> None:
    for page in (ENGLISH_PAGE, CHINESE_PAGE):
        assert page.count(old) == 1
    for pages in (
        (ENGLISH_PAGE.replace(old, new), CHINESE_PAGE),
        (ENGLISH_PAGE, CHINESE_PAGE.replace(old, new)),
    ):
        found = differences(*pages)
        assert any(f"{what}:" in line or f"{what}, row" in line for line in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [("没有别的了。\n", ""), ("- 一件事\n", ""), ("#结尾", "#别处")],
    ids=["paragraph", "item", "anchor"],
)
def test_what_is_missing_is_found(old: str, new: str) -> None:
    assert differences(ENGLISH_PAGE, CHINESE_PAGE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("没有别的了。", "Nothing more."),
        ("另一件事", "another thing"),
        ("## 结尾", "## End"),
        ("它的图片", "a picture of it"),
        ("| 速度 |", "| how fast |"),
    ],
    ids=["paragraph", "item", "heading", "alt", "cell"],
)
def test_what_is_not_translated_is_found(old: str, new: str) -> None:
    assert CHINESE_PAGE.count(old) == 1
    assert untranslated(CHINESE_PAGE.replace(old, new))


def test_a_section_without_chinese_is_found() -> None:
    assert untranslated("# name\n\n文本\n\n## 结尾\n\n文本\n\n## End\n\n42\n")
