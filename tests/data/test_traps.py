"""Where real files go wrong: each kind of trap in small, then the files beside the repository, where they are."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from glassbert import DataError, read_records
from glassbert.data import Record, Skipped, guess_columns, to_questions
from glassbert.data.decoding import lines_of, text_blocks

# In small


def _read(folder: Path, name: str, content: str | bytes, **settings: Any) -> list[Record]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_records(folder / name, **settings))


# Characters that are dropped, changed, or taken for line ends by one tool or another; none of them may be touched.
ODD = [
    *("\x85", "\x91", "\x96", "\x12", "\x1c", "\x0b", "\x0c", "\u2028", "\u2029"),  # controls and separators
    *("\u00a0", "\u3000", "\u1680", " leading", "trailing ", "two  spaces"),  # spaces
    *("\ufeff", "\u200b", "\u200e", "\u202e", "\u00ad", "\u180e", "\ufe0f", "a\u200cb", "a\u200db"),  # formats, marks
    *("\ufffd", "\ue000", "\U0010fffe", "\U0002b6ad", "İ", "e\u0301", "ক\u09bc", "\u202ea\u202c"),
    *("😀", "🏴\U000e0067\U000e007f"),
]


@pytest.mark.parametrize("odd", ODD)
def test_no_character_is_touched(tmp_path: Path, odd: str) -> None:
    text = f"{odd}x{odd}"
    expected = [text, odd, "last"]
    for name, content in {
        "a.csv": f"text\n{text}\n{odd}\nlast",
        "b.csv": f'text\r\n"{text}"\r\n"{odd}"\r\nlast\r\n',
        "a.tsv": f"text\r\n{text}\r\n{odd}\r\nlast",
        "a.jsonl": "\r\n".join(json.dumps({"text": part}, ensure_ascii=False) for part in expected),
        "a.json": json.dumps([{"text": part} for part in expected]),
    }.items():
        assert [record.get("text") for record in _read(tmp_path, name, content)] == expected, name
    token = odd.replace(" ", "")
    for name, between in {"a.conll": "\t", "b.conll": " "}.items():
        (record,) = _read(tmp_path, name, f"x{between}O\n{token}{between}O\nx{between}O\n")
        assert record.strings("tokens") == ["x", token, "x"], name


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("a.conll", "a\tO\n", b"\xed\xa0\xbd\tO\n"),  # half of an emoji, as the encoding of UTF-16's halves gives it
        ("a.tsv", "text\na\n", b"caf\xe9\n"),  # Latin-1
        ("a.csv", "text\na\n", b"\xff\xfea\x00\n"),  # UTF-16
        ("a.jsonl", '{"text": "a"}\n', b'{"text": "\xc0\x80"}\n'),  # NUL in two bytes
        ("a.json", '[{"text": "a"},\n', b'{"text": "\xe5\xad"}]'),  # a character cut in two
    ],
)
def test_what_is_not_utf8_is_named_by_its_line(tmp_path: Path, name: str, good: str, bad: bytes) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, name, good.encode() + bad)
    assert caught.value.line == good.count("\n") + 1
    assert "name the file's encoding with --encoding" in str(caught.value)


def test_quotes_that_are_no_quotes(tmp_path: Path) -> None:
    content = 'label\ttext\n1\t"It opens and never ends\n0\tplain\n1\t"both" ends\n'
    texts = ['"It opens and never ends', "plain", '"both" ends']
    assert [record.get("text") for record in _read(tmp_path, "a.tsv", content)] == texts
    # With quotes that mean something it is an error, not three texts in one.
    with pytest.raises(DataError, match=r"a\.tsv:2: not readable as CSV: .*--quoting none"):
        _read(tmp_path, "a.tsv", content, quoting="csv")
    content = content.replace("\t", ",")
    assert [record.get("text") for record in _read(tmp_path, "a.csv", content, quoting="none")] == texts


def test_a_header_that_begins_with_a_comma(tmp_path: Path) -> None:
    (record,) = _read(tmp_path, "a.csv", ",sent1,label\n0,x,1\n")
    assert record.values == {"": "0", "sent1": "x", "label": "1"}


def test_a_header_setting_that_does_not_fit(tmp_path: Path) -> None:
    with_header, without = "text\tlabel\ngood film\t1\n", "good film\t1\nbad film\t0\n"
    first = _read(tmp_path, "a.tsv", without)[0]
    with pytest.raises(DataError, match="--no-header"):
        guess_columns(first, ["text", "label"])
    first = _read(tmp_path, "a.tsv", with_header, header=False)[0]
    with pytest.raises(DataError, match=r"a\.tsv:1: this row looks like a header"):
        guess_columns(first, ["text", "label"])


def test_a_carriage_return_is_part_of_no_label(tmp_path: Path) -> None:
    for name, content in {
        "a.csv": b'text,label\r\n"a\r\nb",3\r\nc,3',
        "a.tsv": b"text\tlabel\r\na\t3\r\nb\t3",
        "a.jsonl": b'{"label": "3"}\r\n{"label": "3"}\r\n',
    }.items():
        assert [record.get("label") for record in _read(tmp_path, name, content)] == ["3", "3"]


@pytest.mark.parametrize("label", ["-", " -", "Refund_?", "0", "None", "null", "NA", "nan", "true", "1.0", "01"])
def test_labels_stay_as_they_stand(tmp_path: Path, label: str) -> None:
    for name, content in {
        "a.csv": f"text,label\na,{label}\n",
        "a.tsv": f"text\tlabel\na\t{label}\n",
        "a.jsonl": json.dumps({"text": "a", "label": label}),
        "a.conll": f"a\t{label.strip()}\n",
    }.items():
        (record,) = _read(tmp_path, name, content)
        found = record.strings("tags")[0] if name == "a.conll" else record.get("label")
        assert found == (label.strip() if name == "a.conll" else label)


def test_wrong_offsets_are_handed_on(tmp_path: Path) -> None:
    context = "\U0002b6ad is one character"  # two in UTF-16, where the offset was counted
    question = {"id": 7, "question": "a\nb?", "answers": [{"text": "one", "answer_start": 6}]}
    data = {"data": [{"paragraphs": [{"context": context, "qas": [question, question]}]}]}
    one, other = _read(tmp_path, "a.json", json.dumps(data))
    assert one.value("answers") == {"text": ["one"], "answer_start": [6]}
    assert context.index("one") == 5
    assert (one.value("id"), other.value("id"), one.get("question")) == (7, 7, "a\nb?")


# The files


@pytest.fixture(scope="module")
def data(shared: Path) -> Path:
    return shared / "data"


LABELLED: list[tuple[str, dict[str, Any], str, dict[str, int]]] = [
    ("sst2/train.tsv", {"header": False}, "1", {"1": 3610, "0": 3310}),
    ("sst2/dev.tsv", {"header": False}, "1", {"1": 444, "0": 428}),
    ("chnsenticorp/train.tsv", {}, "label", {"1": 4799, "0": 4801}),
    ("chnsenticorp/dev.tsv", {}, "label", {"1": 593, "0": 607}),
    ("rte/train.tsv", {}, "label", {"entailment": 1249, "not_entailment": 1241}),
    ("rte/dev.tsv", {}, "label", {"entailment": 146, "not_entailment": 131}),
    ("ocnli/train.3k.part.json", {}, "label", {"neutral": 533, "contradiction": 490, "entailment": 476, "-": 1}),
    ("ocnli/dev.part.json", {}, "label", {"neutral": 187, "contradiction": 159, "entailment": 149, "-": 5}),
]


@pytest.mark.parametrize(("name", "settings", "column", "counts"), LABELLED)
def test_labels(data: Path, name: str, settings: dict[str, Any], column: str, counts: dict[str, int]) -> None:
    assert Counter(record.get(column) for record in read_records(data / name, **settings)) == counts


ENDINGS4 = [f"ending{number}" for number in range(4)]
ANSWERS4 = [f"answer{number}" for number in range(4)]
SWAG = ["", "video-id", "fold-ind", "startphrase", "sent1", "sent2", "gold-source", *ENDINGS4, "label"]
XCOPA = ["premise", "choice1", "choice2", "question", "label", "idx", "changed"]
TABLES: list[tuple[str, dict[str, Any], int, list[str]]] = [
    ("banking77/train.csv", {}, 10003, ["text", "category"]),
    ("chnsenticorp/train.tsv", {}, 9600, ["label", "text_a"]),
    ("thucnews10/dev.txt", {"format": "tsv", "header": False}, 10000, ["0", "1"]),
    ("thucnews10/class.txt", {"format": "tsv", "header": False}, 10, ["0"]),
    ("rt_polarity/rt-polarity.pos", {"format": "tsv", "header": False}, 4454, ["0"]),
    ("rt_polarity/rt-polarity.neg", {"format": "tsv", "header": False}, 4507, ["0"]),
    ("langid_lingua/sentences/fr.txt", {"format": "tsv", "header": False}, 800, ["0"]),
    ("langid_lingua/sentences/ja.txt", {"format": "tsv", "header": False}, 329, ["0"]),
    ("stsb/stsb-en-train.csv", {"header": False}, 5749, ["0", "1", "2"]),
    ("stsb/stsb-zh-train.csv", {"header": False}, 5749, ["0", "1", "2"]),
    ("stsb/stsb-en-dev.csv", {"header": False}, 1500, ["0", "1", "2"]),
    ("stsb/stsb-zh-dev.csv", {"header": False}, 1500, ["0", "1", "2"]),
    ("rte/test.tsv", {}, 3000, ["index", "sentence1", "sentence2"]),
    ("swag/swag.csv", {}, 11, SWAG),
    ("swag/sample.json", {}, 10, [*ENDINGS4, "label", "sent1", "sent2"]),
    ("turkish_plu/goal-inference-val.csv", {}, 5000, SWAG),
    ("turkish_plu/goal-inference-test.csv", {}, 837, SWAG),
    (
        "cosmosqa/valid.csv",
        {},
        2985,
        ["id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"],
    ),
    ("commonsenseqa/dev_rand_split.jsonl", {}, 1221, ["id", "question", "question_concept", "choices", "answerKey"]),
    ("xcopa/val.zh.jsonl", {}, 100, XCOPA),
    ("xcopa/val.it.jsonl", {}, 100, XCOPA),
    ("xcopa/test.zh.jsonl", {}, 500, XCOPA),
    ("xcopa/test.it.jsonl", {}, 500, XCOPA),
    ("msra_ner/uer_dev.tsv", {}, 2318, ["text_a", "label"]),
]


@pytest.mark.parametrize(("name", "settings", "count", "columns"), TABLES)
def test_rows_and_columns(data: Path, name: str, settings: dict[str, Any], count: int, columns: list[str]) -> None:
    records = list(read_records(data / name, **settings))
    assert len(records) == count
    assert all(list(record.values) == columns for record in records)
    values = [value for record in records for value in record.values.values() if isinstance(value, str)]
    # A text of banking77 holds line ends; nowhere does a CR stay.
    assert not any("\r" in value for value in values)
    assert not records[0].get(0).startswith("\ufeff")


# File, settings, lines, what stands there, and in how many records it does.
PLACES: list[tuple[str, dict[str, Any], list[int], str, int | None]] = [
    ("rt_polarity/rt-polarity.pos", {"format": "tsv", "header": False}, [13, 30, 39], "\x80-\x9f", 23),
    ("rt_polarity/rt-polarity.neg", {"format": "tsv", "header": False}, [27, 270, 790], "\x80-\x9f", 24),
    ("langid_lingua/sentences/fr.txt", {"format": "tsv", "header": False}, [1, 3, 8], "\x80-\x9f", 116),
    ("rte/train.tsv", {}, [289], "\x80-\x9f", None),
    ("rte/dev.tsv", {}, [240], "\x80-\x9f", None),
    ("rte/test.tsv", {}, [2731], "\x80-\x9f", None),
    ("stsb/stsb-en-train.csv", {"header": False}, [2919], "\x12", 1),
    ("thucnews10/dev.txt", {"format": "tsv", "header": False}, [221, 264, 349], "\ufffd", 33),
    ("thucnews10/dev.txt", {"format": "tsv", "header": False}, [8214], "\u3000", None),
    ("banking77/train.csv", {}, [682, 684], "\u00a0", None),
    ("langid_lingua/sentences/fr.txt", {"format": "tsv", "header": False}, [19, 694], "\u00a0", None),
    ("rte/test.tsv", {}, [1012], "\u00a0", None),
    ("rte/test.tsv", {}, [1029], "\u00ad", None),
    ("chnsenticorp/train.tsv", {}, [200, 385, 451], "\u3000", None),
    ("turkish_plu/goal-inference-val.csv", {}, [1149, 1368, 1378], "\u200b", 8),
    ("turkish_plu/goal-inference-test.csv", {}, [75, 76], "\u200b", 2),
    ("turkish_plu/goal-inference-val.csv", {}, [2, 35], "İ", 1445),
    ("turkish_plu/goal-inference-test.csv", {}, [], "İ", 295),
    ("xcopa/val.zh.jsonl", {}, [28], "\u200b", None),
    ("langid_lingua/sentences/ar.txt", {"format": "tsv", "header": False}, [20, 81, 140], "\u200f", None),
    ("langid_lingua/sentences/ar.txt", {"format": "tsv", "header": False}, [81], "\u200e", None),
    ("langid_lingua/sentences/ar.txt", {"format": "tsv", "header": False}, [766], "\u200c", None),
    ("langid_lingua/sentences/hi.txt", {"format": "tsv", "header": False}, [1, 15, 54], "\u200d", None),
    ("langid_lingua/sentences/tr.txt", {"format": "tsv", "header": False}, [372], "\u00ad", None),
    ("commonsenseqa/dev_rand_split.jsonl", {}, [1122], "\t", None),
    ("chnsenticorp/train.tsv", {}, [944, 4242, 5366], '"', None),
    ("rte/train.tsv", {}, [52, 143, 177, 212, 250], '"', None),
    ("rte/dev.tsv", {}, [25], '"', None),
    ("rte/test.tsv", {}, [48], '"', None),
    ("stsb/stsb-en-train.csv", {"header": False}, [441, 741], ",", None),
    ("stsb/stsb-en-train.csv", {"header": False}, [1524, 1541, 1613], '"', None),
    ("cosmosqa/valid.csv", {}, [19, 23, 43], '"', None),
]


@pytest.mark.parametrize(("name", "settings", "lines", "characters", "count"), PLACES)
def test_odd_characters_stay_where_they_are(
    data: Path, name: str, settings: dict[str, Any], lines: list[int], characters: str, count: int | None
) -> None:
    first, last = characters[0], characters[-1]
    found = [
        record.line
        for record in read_records(data / name, **settings)
        if any(first <= char <= last for value in record.values.values() for char in str(value))
    ]
    assert set(lines) <= set(found)
    assert count is None or len(found) == count


CONLL = [
    ("wnut17/wnut17train.conll", 3394, 62730, 13),
    ("wnut17/emerging.dev.conll", 1009, 15733, 13),
    ("wikigold/wikigold.conll.txt", 1696, 39152 - 145, 5),
    ("weibo_ner/weiboNER_2nd_conll.train", 1350, 73778, 17),
    ("weibo_ner/weiboNER_2nd_conll.dev", 270, 14509, None),
    ("resume_ner/train.char.bmes", 3821, 124099, 28),
    ("resume_ner/dev.char.bmes", 463, 13890, 26),
]


@pytest.mark.parametrize(("name", "sentences", "tokens", "tags"), CONLL)
def test_sentences_of_conll_files(data: Path, name: str, sentences: int, tokens: int, tags: int | None) -> None:
    records = list(read_records(data / name, format="conll"))
    assert len(records) == sentences
    assert all(len(record.strings("tokens")) == len(record.strings("tags")) for record in records)
    assert sum(len(record.strings("tokens")) for record in records) == tokens
    found = {tag for record in records for tag in record.strings("tags")}
    assert tags is None or len(found) == tags
    if "wikigold" in name:
        assert not any(tag.startswith("B-") for tag in found)


def _tokens(file: Path) -> dict[int, str]:
    """Return the token of each line that has one."""
    return {
        (record.line or 0) + place: token
        for record in read_records(file, format="conll")
        for place, token in enumerate(record.strings("tokens"))
    }


def test_tokens_that_cleaning_empties_stay_tokens(data: Path) -> None:
    tokens = _tokens(data / "wnut17/emerging.dev.conll")
    assert {tokens[line] for line in (6573, 6590, 14837, 16373)} == {"\ufe0f"}
    assert "\u200b" in tokens[15556]
    assert tokens[16730].endswith("\ufeff")
    assert _tokens(data / "weibo_ner/weiboNER_2nd_conll.dev")[996].startswith("\ufffd\ufffd")
    tokens = _tokens(data / "weibo_ner/weiboNER_2nd_conll.train")
    assert tokens[5873].startswith("\ufffd\ufffd")
    assert {unicodedata.category(tokens[line][0]) for line in (71328, 71336, 71350, 71373, 71476)} == {"Co"}
    assert tokens[1] == "科0"  # the number is for the user to cut


@pytest.mark.parametrize(("part", "lines", "sentences"), [("train", [5873, 10875], 1350), ("dev", [996, 1875], 270)])
def test_halves_of_emoji(data: Path, part: str, lines: list[int], sentences: int) -> None:
    file = data / f"weibo_ner/weiboNER.conll.{part}"
    with pytest.raises(DataError, match=r"the byte 0xed at offset \d+ is not utf-8") as caught:
        list(read_records(file, format="conll"))
    assert caught.value.line == lines[0]
    skipped = Skipped()
    assert len(list(read_records(file, format="conll", skip_bad=skipped))) == sentences - 2
    assert [error.line for error in skipped.errors] == lines


def test_another_encoding(data: Path) -> None:
    settings: dict[str, Any] = {"format": "tsv", "header": False}
    with pytest.raises(DataError) as caught:
        list(read_records(data / "gutenberg/1661-8.txt", **settings))
    assert caught.value.line == 1141
    records = list(read_records(data / "gutenberg/1661-8.txt", encoding="latin-1", **settings))
    assert sum("é" in record.get(0) or "è" in record.get(0) for record in records) > 5
    records = list(read_records(data / "gutenberg/1342-0.txt", **settings))
    assert not any("\ufeff" in record.get(0) or "\r" in record.get(0) for record in records)


def test_a_byte_order_mark_and_its_line(data: Path) -> None:
    first = next(read_records(data / "gutenberg/1342-0.txt", format="tsv", header=False))
    assert first.line == 1
    assert first.get(0)[0].isalpha()


def test_texts_over_several_lines(data: Path) -> None:
    records = {record.line: record for record in read_records(data / "banking77/train.csv")}
    longer = [1292, 1716, 1729, 3124, 4485, 4586, 4606, 6977, 6997, 7616]
    assert [line for line, record in records.items() if "\n" in record.get("text")] == longer
    text = records[1292].get("text")
    assert text.startswith("\n")
    assert text.endswith("\n\n\n")
    assert max(line or 0 for line in records) == 10017


def test_labels_of_real_files_stay_as_they_stand(data: Path) -> None:
    counts = Counter(record.get("category") for record in read_records(data / "banking77/train.csv"))
    assert set(counts) == set(json.loads((data / "banking77/categories.json").read_text("utf-8")))
    assert (len(counts), min(counts.values()), max(counts.values())) == (77, 35, 187)
    assert {"Refund_not_showing_up", "reverted_card_payment?"} <= set(counts)
    bad = {
        "train.3k.part.json": [1297],
        "dev.part.json": [66, 252, 335, 454, 461],
    }
    for name, lines in bad.items():
        records = list(read_records(data / "ocnli" / name))
        assert [record.line for record in records if record.get("label") == "-"] == lines
    records = list(read_records(data / "ocnli/train.3k.part.json"))
    assert sum(record.value("label0") is None for record in records) == 1309
    assert {record.get("label1") for record in records} >= {"", "neutral"}


def test_one_text_with_two_labels(data: Path) -> None:
    labels = {record.line: record for record in read_records(data / "chnsenticorp/train.tsv")}
    assert labels[96].get("text_a") == labels[1891].get("text_a")
    assert {labels[96].get("label"), labels[1891].get("label")} == {"0", "1"}
    # As many records as lines: nothing is taken for a twin.
    texts = Counter(record.get("text_a") for record in labels.values())
    assert sum(count - 1 for count in texts.values()) == 1351
    assert max(map(len, texts)) == len(labels[8642].get("text_a")) == 1992


def test_quotes_of_tsv_that_are_taken_for_quotes_are_told(data: Path) -> None:
    for name, line in (("chnsenticorp/train.tsv", 944), ("rte/train.tsv", 52), ("rte/test.tsv", 48)):
        with pytest.raises(DataError, match="--quoting none") as caught:
            list(read_records(data / name, quoting="csv"))
        assert caught.value.line == line


def test_columns_of_real_files(data: Path) -> None:
    def guess(name: str, *wanted: Any, optional: Any = (), **settings: Any) -> Any:
        return guess_columns(next(read_records(data / name, **settings)), wanted, optional=optional)

    pair = {"text": "sentence1", "pair": "sentence2", "label": "label"}
    for name in ("rte/train.tsv", "ocnli/dev.part.json"):
        assert guess(name, "text", "label", optional=["pair"]).columns == pair
    assert guess("banking77/train.csv", "text", "label").columns == {"text": "text", "label": "category"}
    assert guess("chnsenticorp/dev.tsv", "text", "label").columns == {"text": "text_a", "label": "label"}
    assert guess("msra_ner/uer_dev.tsv", "tokens", "tags").columns == {"tokens": "text_a", "tags": "label"}
    assert guess("sst2/dev.tsv", "text", "label", header=False).columns == {"text": "0", "label": "1"}
    scored = guess("stsb/stsb-en-dev.csv", "text", "pair", "score", header=False)
    assert scored.columns == {"text": "0", "pair": "1", "score": "2"}
    for name in ("sst2/dev.tsv", "stsb/stsb-en-dev.csv"):
        with pytest.raises(DataError, match="--no-header"):
            guess(name, "text", "label")
    with pytest.raises(DataError, match="this row looks like a header"):
        guess("rte/dev.tsv", "text", "pair", "label", header=False)
    with pytest.raises(DataError, match="which column is the label"):
        guess("rte/test.tsv", "text", "pair", "label")
    assert guess("rte/test.tsv", "text", "pair").columns["text"] == "sentence1"
    choices = {
        "swag/swag.csv": ENDINGS4,
        "swag/sample.json": ENDINGS4,
        "turkish_plu/goal-inference-val.csv": ENDINGS4,
        "cosmosqa/valid.csv": ANSWERS4,
        "commonsenseqa/dev_rand_split.jsonl": ["choices"],
        "xcopa/val.it.jsonl": ["choice1", "choice2"],
    }
    for name, expected in choices.items():
        found = guess(name, "choices", "label").columns
        assert [column for role, column in found.items() if role.startswith("choices")] == expected


def test_scores_and_choices(data: Path) -> None:
    scores = [record.number(2) for record in read_records(data / "stsb/stsb-en-train.csv", header=False)]
    assert (min(scores), max(scores), len(set(scores))) == (0.0, 5.0, 140)
    translated = [record.number(2) for record in read_records(data / "stsb/stsb-zh-train.csv", header=False)]
    assert all(math.isclose(one, other) for one, other in zip(scores, translated, strict=True))
    for name in ("swag/sample.json", "xcopa/val.zh.jsonl"):
        labels = [record.value("label") for record in read_records(data / name)]
        assert {type(label) for label in labels} == {int}
    assert {record.get("label") for record in read_records(data / "swag/swag.csv")} == {"0", "1", "2"}
    records = list(read_records(data / "commonsenseqa/dev_rand_split.jsonl"))
    assert sum(len(set(record.value("choices")["text"])) < 5 for record in records) == 24
    assert {record.get("answerKey") for record in records} == set("ABCDE")


def test_tokens_and_tags_in_tsv(data: Path) -> None:
    tags: set[str] = set()
    long = []
    for record in read_records(data / "msra_ner/uer_dev.tsv"):
        tokens, found = (record.strings(column, split=True) for column in ("text_a", "label"))
        assert len(tokens) == len(found)
        tags.update(found)
        if len(tokens) > 510:
            long.append((record.line, len(tokens)))
    assert tags == {"O", *(f"{sign}-{kind}" for sign in "BI" for kind in ("PER", "LOC", "ORG"))}
    assert [line for line, _ in long] == [346, 776, 1913, 2034]
    assert all(552 <= length <= 568 for _, length in long)


# Questions: how many, how many of them impossible (None: nobody says), answers, answers at another place than they say.
SQUAD: list[tuple[str, int, int | None, int, int]] = [
    ("squad2/dev-v2.0.json", 6078, 3168, 10052, 0),
    ("squad2/test-v2.0.part.json", 873, None, 0, 0),
    ("squad2/hf_sample.json", 14, 6, 27, 0),
    ("squad2/allennlp_squad.json", 5, 0, 7, 0),
    ("squad2/allennlp_squad2.json", 6, 1, 7, 0),
    ("xquad/xquad.en.json", 1190, 0, 1190, 0),
    ("xquad/xquad.zh.json", 1190, 0, 1190, 0),
    ("xquad/xquad.de.json", 1190, 0, 1190, 0),
    ("cmrc2018/cmrc2018_trial.json", 1002, 0, 1002, 5),
    ("covidqa/200423_covidQA.part.json", 422, 0, 422, 55),
]


@pytest.mark.parametrize(("name", "count", "impossible", "answers", "wrong"), SQUAD)
def test_questions(data: Path, name: str, count: int, impossible: int | None, answers: int, wrong: int) -> None:
    records = list(to_questions(read_records(data / name)))
    assert len(records) == count
    if impossible is None:
        assert all(record.value("answers") is None is record.value("is_impossible") for record in records)
        return
    assert sum(record.value("is_impossible") for record in records) == impossible
    found = misplaced = 0
    for record in records:
        given = record.value("answers")
        assert bool(given["text"]) is not record.value("is_impossible")
        for text, start in zip(given["text"], given["answer_start"], strict=True):
            found += 1
            misplaced += record.get("context")[start : start + len(text)] != text
    assert (found, misplaced) == (answers, wrong)


def test_texts_of_questions_are_not_trimmed(data: Path) -> None:
    records = list(read_records(data / "squad2/dev-v2.0.json"))
    assert sum(record.get("question") != record.get("question").strip() for record in records) == 608
    for language in ("zh", "de"):
        records = list(read_records(data / f"xquad/xquad.{language}.json"))
        assert len({record.get("context") for record in records if record.get("context").startswith("\ufeff")}) == 6
    assert sum("\u200b" in record.get("question") for record in records) == 13
    records = list(read_records(data / "covidqa/200423_covidQA.part.json"))
    assert all(type(record.value("id")) is int for record in records)
    assert sum("\n" in record.get("question") for record in records) == 2
    assert max(len(record.get("context")) for record in records) == 67_322
    ids = [record.get("id") for record in read_records(data / "squad2/allennlp_squad2.json")]
    assert ids.count("5733be284776f41900661182") == 2


JSON = "torture/JSONTestSuite/test_parsing"


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_broken_json(data: Path, format: Any) -> None:
    files = sorted((data / JSON).iterdir())
    assert Counter(file.name[0] for file in files) == {"y": 95, "n": 188, "i": 35}
    accepted: dict[str, list[Record]] = {}
    refused: dict[str, str] = {}
    for file in files:
        try:
            accepted[file.name] = list(read_records(file, format=format))
        except DataError as error:
            refused[file.name] = error.reason
    # Of what is no JSON only files with nothing in them pass, which have no lines.
    assert all(records == [] for name, records in accepted.items() if name.startswith("n_"))
    empty = {"n_single_space.json", "n_structure_no_data.json", "n_structure_UTF8_BOM_no_data.json"}
    assert {name for name in accepted if name.startswith("n_")} == (empty if format == "jsonl" else set())
    for records in accepted.values():
        json.dumps([record.values for record in records], ensure_ascii=False).encode()
    # What is JSON and no record: other values than objects, and keys that stand twice.
    objects = {name for name in refused if name.startswith("y_object")}
    over_lines = {"y_object_with_newlines.json"} if format == "jsonl" else set()
    assert objects == {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json", *over_lines}


def test_strings_that_break_tools(data: Path, tmp_path: Path) -> None:
    path = data / "torture/blns.txt"
    assert len(list(lines_of(text_blocks(path, "utf-8"), path))) == 742
    texts = json.loads((data / "torture/blns.json").read_text("utf-8"))
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps({'text': text}, ensure_ascii=False)}\n" for text in texts))
    assert [record.get("text") for record in read_records(tmp_path / "a.jsonl")] == texts
    with pytest.raises(DataError, match="expected a JSON object, found str"):
        list(read_records(data / "torture/blns.json"))
