"""Files become blocks, documents and sentences, the same however the files are read."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from glassbert import ConfigError, DataError
from glassbert.data import Skipped, decoding, documents
from glassbert.data.documents import Block, Corpus, SentenceSplitter, documents_of, guess_sentences, last_gap


def _corpus(*files: Path, **settings: Any) -> Corpus:
    return Corpus(files=[str(file) for file in files], **settings)


def _file(folder: Path, content: str | bytes, name: str = "text.txt") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def _found(corpus: Corpus) -> list[str]:
    """Return the documents of a corpus, without the empty ones."""
    return [document for block in corpus.blocks() for document in _of(block, corpus)]


def _of(block: Block, corpus: Corpus) -> Iterator[str]:
    for text, is_record in zip(block.texts, block.records, strict=True):
        for document in documents_of(text, None if is_record else corpus.boundary)[0]:
            if stripped := document.strip():
                yield stripped


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make blocks and documents short."""

    def shrink(block: int = 300, longest: int = 100) -> None:
        monkeypatch.setattr(documents, "BLOCK", block)
        monkeypatch.setattr(documents, "LONGEST", longest)

    return shrink


def _text(seed: int, paragraphs: int = 60, longest: int = 8) -> str:
    rng = random.Random(seed)
    gaps = ["\n\n", "\n\n", "\n \n", "\n\t\n\n", "\r\n\r\n", "\n\u3000\n"]
    pieces = []
    for number in range(paragraphs):
        lines = [f"{number} " + "wört " * rng.randint(0, longest) + "。" for _ in range(rng.randint(1, 3))]
        pieces += ["\n".join(lines), rng.choice(gaps)]
    return "".join(pieces)


# -- documents


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["a\nb", "CHAPTER 1\nc", "d"]),
        ({"documents": "lines"}, ["a", "b", "CHAPTER 1", "c", "d"]),
        ({"documents": "files"}, ["a\nb\n\nCHAPTER 1\nc\n \nd"]),
        ({"start": "^CHAPTER"}, ["a\nb", "CHAPTER 1\nc\n \nd"]),
        ({"start": "CHAPTER"}, ["a\nb", "CHAPTER 1\nc\n \nd"]),
        ({"start": "(?i)^chapter"}, ["a\nb", "CHAPTER 1\nc\n \nd"]),
        ({"start": "^(CHAPTER|(PART)) (\\d)"}, ["a\nb", "CHAPTER 1\nc\n \nd"]),
        ({"start": "^(?P<what>[bd])$"}, ["a", "b\n\nCHAPTER 1\nc", "d"]),
        ({"start": "b|c"}, ["a", "b\n\nCHAPTER 1", "c\n \nd"]),
        ({"start": "^nothing"}, ["a\nb\n\nCHAPTER 1\nc\n \nd"]),
    ],
)
def test_where_documents_end(tmp_path: Path, settings: dict[str, Any], expected: list[str]) -> None:
    file = _file(tmp_path, "a\nb\n\nCHAPTER 1\nc\n \nd\n")
    assert _found(_corpus(file, **settings)) == expected


@pytest.mark.parametrize("start", ["(", "a)|(b", "[", "a(?i)b"])
def test_what_is_no_regular_expression(start: str) -> None:
    with pytest.raises(ConfigError, match="no regular expression"):
        _ = _corpus(start=start).boundary


def test_a_document_ends_with_its_file(tmp_path: Path) -> None:
    files = [_file(tmp_path, text, name) for name, text in {"a.txt": "a", "b.txt": "b\n", "c": "", "d": "\nc"}.items()]
    assert _found(_corpus(*files)) == ["a", "b", "c"]


def test_files_of_every_kind(tmp_path: Path) -> None:
    rows: list[dict[str, str | None]] = [{"text": "one\n\ntwo"}, {"text": ""}, {"text": "three"}, {"text": None}]
    parquet.write_table(pa.table({"text": [row["text"] for row in rows]}), tmp_path / "a.parquet")
    files = [
        _file(tmp_path, "\ufeffone\r\n\r\ntwo\0\n", "a.txt"),
        _file(tmp_path, gzip.compress(b"one\n\ntwo\n"), "b.txt.gz"),
        _file(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl"),
        _file(tmp_path, gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()), "b.jsonl.gz"),
        _file(tmp_path, json.dumps(rows), "a.json"),
        tmp_path / "a.parquet",
        _file(tmp_path, 'text\n"one\n\ntwo"\n', "a.csv"),
        _file(tmp_path, "text\nthree\n", "a.TSV"),
    ]
    plain = ["one", "two"]
    # A record is one document, whatever blank lines it has.
    record = ["one\n\ntwo", "three"]
    found = _found(_corpus(*files))
    assert found == ["one", "two\0", *plain, *record, *record, *record, *record, "one\n\ntwo", "three"]
    assert _found(_corpus(files[2], documents="lines")) == record


def test_columns(tmp_path: Path) -> None:
    file = _file(tmp_path, '{"title": "t", "body": "b"}\n{"title": "u", "body": "c"}\n', "a.jsonl")
    said: list[str] = []
    corpus = _corpus(file, text_column="body")
    assert [block.texts for block in corpus.blocks(said.append)] == [("b", "c")]
    with pytest.raises(DataError, match="no column 'nothing'"):
        list(_corpus(file, text_column="nothing").blocks())
    table = _file(tmp_path, "b1\tc1\nb2\tc2\n", "a.tsv")
    assert [block.texts for block in _corpus(table, text_column=1, header=False).blocks()] == [("c1", "c2")]


def test_bad_records_are_refused_or_counted(tmp_path: Path) -> None:
    lines = ['{"text": "a"}', '{"text": ', '{"other": "b"}', '{"text": "\\ud83d"}', '{"text": "c"}']
    for number in (1, 2, 3):
        file = _file(tmp_path, f"{lines[0]}\n{lines[number]}\n", "a.jsonl")
        with pytest.raises(DataError, match=r"a\.jsonl:2: "):
            list(_corpus(file, text_column="text").blocks())
    file = _file(tmp_path, "\n".join(lines), "a.jsonl")
    skipped = Skipped()
    assert _found(_corpus(file, skipped=skipped)) == ["a", "c"]
    assert skipped.count == 3
    assert [error.line for error in skipped.errors] == [2, 3, 4]


def test_bytes_of_another_encoding_are_named(tmp_path: Path) -> None:
    file = _file(tmp_path, b"good\n\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"text\.txt:3: the byte 0xe9 at offset 9 is not utf-8"):
        list(_corpus(file).blocks())
    assert _found(_corpus(file, encoding="latin-1")) == ["good", "café"]
    with pytest.raises(DataError, match=r"text\.txt: half of a character \(U\+D800\) stands alone"):
        list(_corpus(_file(tmp_path, b"+2AA-"), encoding="utf-7").blocks())
    with pytest.raises(DataError, match="no encoding is called 'klingon'"):
        list(_corpus(file, encoding="klingon").blocks())


def test_other_encodings(tmp_path: Path) -> None:
    text = "wört\n\n字。\n"
    for encoding in ("utf-16", "utf-32", "gb18030", "utf-8-sig"):
        name = f"{encoding}.txt"
        usable = text if encoding != "gb18030" else text.replace("ö", "o")
        assert _found(_corpus(_file(tmp_path, usable.encode(encoding), name), encoding=encoding)) == [
            usable.split("\n")[0],
            "字。",
        ]


@pytest.mark.parametrize("cut", [1, 30, -1])
def test_a_damaged_compressed_file(tmp_path: Path, cut: int) -> None:
    content = gzip.compress(b"text\n" * 1000)
    file = _file(tmp_path, content[:cut], "a.txt.gz")
    with pytest.raises(DataError, match=r"a\.txt\.gz: cannot be read"):
        list(_corpus(file).blocks())


def test_no_text(tmp_path: Path) -> None:
    assert list(_corpus().blocks()) == []
    assert list(_corpus(_file(tmp_path, ""), _file(tmp_path, "", "b")).blocks()) == []
    assert list(_corpus(_file(tmp_path, "\ufeff")).blocks()) == []
    with pytest.raises(DataError, match="no such file"):
        list(_corpus(tmp_path / "nothing").blocks())


# -- blocks


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["blank-lines", "lines", "files"])
def test_blocks_do_not_depend_on_how_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Callable[..., None], seed: int, kind: Any
) -> None:
    small()
    files = [_file(tmp_path, _text(seed * 10 + number, 25), f"{number}.txt") for number in range(3)]
    corpus = _corpus(*files, documents=kind)
    blocks = [block._replace(done=0) for block in corpus.blocks()]
    assert len(blocks) > 5
    for size in (1, 2, 7, 100, 301, 1 << 20):
        monkeypatch.setattr(decoding, "_BLOCK", size)
        assert [block._replace(done=0) for block in corpus.blocks()] == blocks
    assert "".join(text for block in blocks for text in block.texts) == "".join(
        file.read_bytes().decode() for file in files
    )
    assert all(sum(map(len, block.texts)) >= 300 for block in blocks[:-1])
    assert all(sum(map(len, block.texts)) < 300 + 2 * 100 + 1 for block in blocks)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("settings", [{}, {"documents": "lines"}, {"start": "^[0-9]*5 "}])
def test_documents_are_not_torn(
    tmp_path: Path, small: Callable[..., None], seed: int, settings: dict[str, Any]
) -> None:
    file = _file(tmp_path, _text(seed))
    corpus = _corpus(file, **settings)
    whole = _found(corpus)
    longest = max(map(len, whole)) + 20
    for block in (1, 50, 300, 2000):
        small(block, longest)
        assert _found(corpus) == whole
        assert sum(one.divided for one in corpus.blocks()) == 0


@pytest.mark.parametrize("gap", ["", " ", "\n"])
def test_a_document_is_divided_for_its_length(tmp_path: Path, small: Callable[..., None], gap: str) -> None:
    # Short ones, one of 10 times the length that is allowed, and short ones again.
    long = gap.join(f"{number:04d}" for number in range(1000 // (4 + len(gap))))
    text = "\n\n".join(["short one"] * 10 + [long] + ["short two"] * 10)
    small(300, 100)
    corpus = _corpus(_file(tmp_path, text))
    found = _found(corpus)
    assert found[:10] == ["short one"] * 10
    assert found[-10:] == ["short two"] * 10
    pieces = found[10:-10]
    assert gap.join(pieces) == long
    assert all(len(piece) <= 100 for piece in pieces)
    if gap:
        assert all(len(piece) % (4 + len(gap)) == 4 for piece in pieces)
    divided = sum(
        block.divided + sum(documents_of(text, corpus.boundary)[1] for text in block.texts) for block in corpus.blocks()
    )
    assert divided == len(pieces) - 1


def test_a_line_of_a_hundred_megabytes(tmp_path: Path) -> None:
    file = tmp_path / "line.txt"
    with file.open("wb") as stream:
        for _ in range(100):
            stream.write(b"abcd " * 200_000)
    sizes = []
    found = 0
    for block in _corpus(file).blocks():
        sizes.append(sum(map(len, block.texts)))
        for text in block.texts:
            pieces, divided = documents_of(text, _corpus().boundary)
            found += block.divided + divided
            assert max(map(len, pieces)) <= documents.LONGEST
            assert all(piece.endswith("abcd ") for piece in pieces)
    assert sum(sizes) == 100_000_000
    assert max(sizes) <= documents.BLOCK + documents.LONGEST
    assert 99 <= found <= 130


def test_records_of_no_text_take_no_room(tmp_path: Path) -> None:
    file = _file(tmp_path, '{"text": ""}\n' * 1000 + '{"text": "a"}\n', "a.jsonl")
    assert [block.texts for block in _corpus(file).blocks()] == [("a",)]


def test_progress_ends_with_all_bytes(tmp_path: Path, small: Callable[..., None]) -> None:
    small()
    files = [_file(tmp_path, _text(number), f"{number}.txt") for number in range(2)]
    done = [block.done for block in _corpus(*files).blocks()]
    assert done == sorted(done)
    assert done[-1] == sum(file.stat().st_size for file in files)


def test_last_gap() -> None:
    assert last_gap("aaa\nbb cc", 9) == 7
    assert last_gap("aaa\nbb cc", 6) == 4
    assert last_gap("aaaaaaaaa", 6) == 6
    assert last_gap("aaa\nbb cc", 9, 0) == 4
    assert last_gap("aaa\nbb cc", 9, 8) == 9


# -- sentences

PLAIN = """The river ran on. Mr. Smith sat down,
and "What now?" he asked. It cost 3.50 dollars,
e.g. for a boat.

A new paragraph! Is it?"""


def test_lines_are_sentences() -> None:
    assert SentenceSplitter("lines", "en")(" a. b\r\n\n\tc \n") == ["a. b", "c"]


def test_sentences_of_prose() -> None:
    assert SentenceSplitter("split", "en")(PLAIN) == [
        "The river ran on.",
        'Mr. Smith sat down, and "What now?" he asked.',
        "It cost 3.50 dollars, e.g. for a boat.",
        "A new paragraph!",
        "Is it?",
    ]
    chinese = "河水一直流。他坐下了！“现在怎么办？”他问。\n新的一段。"
    assert SentenceSplitter("split", "zh")(chinese)[:2] == ["河水一直流。", "他坐下了！"]
    assert "".join(SentenceSplitter("split", "zh")(chinese)) == chinese.replace("\n", "")


@pytest.mark.parametrize("language", ["en", "de", "zh", "xx", "", "../../etc"])
def test_any_text_is_split_and_nothing_lost(language: str) -> None:
    rng = random.Random(0)
    split = SentenceSplitter("split", language)
    pool = [
        "a",
        "B",
        "ü",
        "字",
        "。",
        ".",
        "!",
        "?",
        " ",
        "\n",
        "\n\n",
        "\t",
        "\x85",
        "\u2028",
        "\u00a0",
        "\0",
        "“",
        "”",
    ]
    pool += ["Mr.", "Dr. ", "…", "(", ")", '"', "😀", "\u200b", "\ufeff", "1."]
    for _ in range(2000):
        text = "".join(rng.choices(pool, k=rng.randint(0, 60)))
        assert "".join("".join(split(text)).split()) == "".join(text.split())
    for text in ("", " ", "\n\n", "\n \n"):
        assert split(text) == []


def test_long_paragraphs_are_split_as_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    words = ["the", "river", "ran", "on", "Mr.", "Smith", "sat", "é", "3.5", "e.g.", "boats"]
    sentences = [" ".join(rng.choices(words, k=rng.randint(3, 20))).capitalize() + " end." for _ in range(100)]
    chinese = ["".join(rng.choices("河水一直流他坐下了", k=rng.randint(3, 40))) + "。" for _ in range(300)]
    for language, text in (("en", " ".join(sentences)), ("zh", "".join(chinese))):
        monkeypatch.setattr(documents, "_AT_ONCE", 10**9)
        whole = SentenceSplitter("split", language)(text)
        for size in (400, 1000):
            monkeypatch.setattr(documents, "_AT_ONCE", size)
            assert SentenceSplitter("split", language)(text) == whole


@pytest.mark.parametrize("piece", ["河水一直流。", "“", "a ", "a", "字", ". ", "« a. "])
def test_a_very_long_paragraph_takes_linear_time(piece: str) -> None:
    # The library alone would take minutes for some of these.
    text = piece * (1_000_000 // len(piece))
    sentences = SentenceSplitter("split", "zh")(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())


def test_guesses() -> None:
    lines = "The river ran on.\nHe sat down.\n\nWhat now?\n“So it is.”\n" * 5
    assert guess_sentences([lines]) == "lines"
    assert guess_sentences(["河水一直流。\n他坐下了！\n" * 9]) == "lines"
    wrapped = "The river ran on. He sat\ndown and asked what now.\nIt was late, and the boat\nhad gone.\n" * 5
    assert guess_sentences([wrapped]) == "split"
    paragraphs = "The river ran on. He sat down. What now?\n" * 5
    assert guess_sentences([paragraphs]) == "split"
    assert guess_sentences(["no ends at all\n" * 5]) == "split"
    assert guess_sentences([]) == "split"
