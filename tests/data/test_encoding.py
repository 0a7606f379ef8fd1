"""Files of texts to arrays on disk: the ids of the tokenizer, whole or not at all, the same however they are cut."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import glassbert
from glassbert import BertTokenizer, BertTokenizerFast, DataError, InputError, OutputExistsError, SaveError
from glassbert.data import EncodedTexts, encode_files, encoding
from glassbert.files import check_output

VOCAB = {
    token: index
    for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "c", "!", "字", "é"])
}
CLS, SEP, A, B, HASH_B, C = 2, 3, 5, 6, 7, 8
TEXTS = ["a b", "", "c c c!", "字é", "abb", "[MASK] a", " ", "unknown"]
FILES = {"ids.npy", "ends.npy", "manifest.json"}


@pytest.fixture(scope="module", params=[BertTokenizer, BertTokenizerFast])
def tokenizer(request: pytest.FixtureRequest) -> BertTokenizer:
    made: BertTokenizer = request.param(VOCAB, strip_accents=False)
    return made


@pytest.fixture
def plain() -> BertTokenizer:
    return BertTokenizer(VOCAB, strip_accents=False)


def _txt(path: Path, texts: list[str]) -> Path:
    path.write_bytes("".join(f"{text}\n" for text in texts).encode())
    return path


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode())
    return path


def _parquet(path: Path, columns: dict[str, Any], **settings: Any) -> Path:
    parquet.write_table(pa.table(columns), path, **settings)
    return path


def _lists(encoded: EncodedTexts) -> list[list[int]]:
    return [ids.tolist() for ids in encoded]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# -- what is read ---------------------------------------------------------------------------------


def test_by_hand(tmp_path: Path, plain: BertTokenizer) -> None:
    encoded = encode_files(_txt(tmp_path / "a.txt", ["a abb", "", "c"]), plain, tmp_path / "out")
    assert _lists(encoded) == [[CLS, A, A, HASH_B, HASH_B, SEP], [CLS, SEP], [CLS, C, SEP]]
    assert encoded.ids.tolist() == [2, 5, 5, 7, 7, 3, 2, 3, 2, 8, 3]
    assert encoded.ends.tolist() == [6, 8, 11]
    assert encoded.lengths.tolist() == [6, 2, 3]
    assert encoded.seconds is None
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES


def test_every_format_gives_the_ids_of_the_tokenizer(tmp_path: Path, tokenizer: BertTokenizer) -> None:
    expected = [tokenizer(text)["input_ids"] for text in TEXTS]
    files = [
        _txt(tmp_path / "a.txt", TEXTS),
        _jsonl(tmp_path / "a.jsonl", [{"n": 1, "text": text} for text in TEXTS]),
        _parquet(tmp_path / "a.parquet", {"n": list(range(len(TEXTS))), "text": TEXTS}, row_group_size=3),
    ]
    for number, file in enumerate(files):
        assert _lists(encode_files(file, tokenizer, tmp_path / str(number))) == expected
    assert _lists(encode_files(files, tokenizer, tmp_path / "all")) == 3 * expected
    assert _lists(encode_files(iter(map(str, files)), tokenizer, str(tmp_path / "strings"))) == 3 * expected


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        (b"\n\n", ["", ""]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        (b"", []),
        # Nothing but LF ends a line: of all these `a` is one word.
        ("a\u2028a\x85a\x0ba\x0ca\x1ca\n".encode(), ["a\u2028a\x85a\x0ba\x0ca\x1ca"]),
    ],
)
def test_lines(tmp_path: Path, tokenizer: BertTokenizer, content: bytes, texts: list[str]) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    encoded = encode_files(tmp_path / "a.txt", tokenizer, tmp_path / "out")
    assert _lists(encoded) == [tokenizer(text)["input_ids"] for text in texts]
    assert len(encoded) == len(texts)


def test_blank_lines_of_json_lines_are_no_texts(tmp_path: Path, plain: BertTokenizer) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\n{"text": "a"}\r\n  \n{"text": ""}')
    assert _lists(encode_files(tmp_path / "a.jsonl", plain, tmp_path / "out")) == [[CLS, A, SEP], [CLS, SEP]]


def test_other_columns_another_encoding_another_ending(tmp_path: Path, plain: BertTokenizer) -> None:
    (tmp_path / "a.json").write_bytes('{"body": "é"}\n'.encode("latin-1"))
    encoded = encode_files(
        tmp_path / "a.json", plain, tmp_path / "out", text_column="body", format="jsonl", encoding="latin-1"
    )
    assert _lists(encoded) == [[CLS, VOCAB["é"], SEP]]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_kinds_of_strings_in_parquet(tmp_path: Path, plain: BertTokenizer, kind: Any) -> None:
    file = _parquet(tmp_path / "a.parquet", {"text": pa.array(["a", "b", "a"]).cast(kind)})
    assert _lists(encode_files(file, plain, tmp_path / "out")) == [[CLS, A, SEP], [CLS, B, SEP], [CLS, A, SEP]]


def test_no_other_column_of_parquet_is_read(tmp_path: Path, plain: BertTokenizer) -> None:
    file = _parquet(tmp_path / "a.parquet", {"other": ["x" * 99] * 50, "text": ["a"] * 50}, compression="gzip")
    other = parquet.ParquetFile(file).metadata.row_group(0).column(0)
    start = other.dictionary_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + other.total_compressed_size] = bytes(other.total_compressed_size)
    file.write_bytes(content)
    with pytest.raises(DataError, match="not readable as Parquet"):
        encode_files(file, plain, tmp_path / "out", text_column="other")
    assert len(encode_files(file, plain, tmp_path / "out")) == 50


def test_pairs(tmp_path: Path, tokenizer: BertTokenizer) -> None:
    pairs = [("a", "b"), ("", "c c"), ("a b", ""), ("", "")]
    columns: dict[str, Any] = {"one": [one for one, _ in pairs], "two": [two for _, two in pairs]}
    files = [
        _jsonl(tmp_path / "a.jsonl", [{"one": one, "two": two} for one, two in pairs]),
        _parquet(tmp_path / "a.parquet", columns),
    ]
    for special in (True, False):
        out = tmp_path / str(special)
        encoded = encode_files(files, tokenizer, out, text_column="one", pair_column="two", add_special_tokens=special)
        assert {file.name for file in out.iterdir()} == {*FILES, "seconds.npy"}
        for place, pair in enumerate(2 * pairs):
            expected = tokenizer(*pair, add_special_tokens=special)
            assert encoded[place].tolist() == expected["input_ids"]
            assert encoded.token_type_ids(place).tolist() == expected["token_type_ids"]
    assert encoded.seconds is not None
    assert encoded.seconds.tolist() == 2 * [1, 0, 2, 0]


def test_types_of_single_texts_are_zeros(tmp_path: Path, plain: BertTokenizer) -> None:
    encoded = encode_files(_txt(tmp_path / "a.txt", ["a b"]), plain, tmp_path / "out")
    assert encoded.token_type_ids(0).tolist() == encoded.token_type_ids(-1).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("side", ["right", "left"])
def test_what_is_cut_is_counted(tmp_path: Path, tokenizer: BertTokenizer, side: Any) -> None:
    tokenizer = type(tokenizer)(VOCAB, truncation_side=side, model_max_length=5)
    file = _txt(tmp_path / "a.txt", ["a b c a b", "a b c", "c b a c"])
    encoded = encode_files(file, tokenizer, tmp_path / "out", truncation=True)
    assert _lists(encoded) == [
        tokenizer(text, truncation=True)["input_ids"] for text in ("a b c a b", "a b c", "c b a c")
    ]
    assert encoded.lengths.tolist() == [5, 5, 5]
    assert (encoded.manifest["texts_cut"], encoded.manifest["tokens_cut"]) == (2, 3)
    assert encoded.manifest["settings"]["max_length"] == 5
    shorter = encode_files(file, tokenizer, tmp_path / "short", truncation=True, max_length=3)
    assert shorter.lengths.tolist() == [3, 3, 3]
    whole = encode_files(file, tokenizer, tmp_path / "whole", add_special_tokens=False)
    assert whole.lengths.tolist() == [5, 3, 4]
    assert (whole.manifest["texts_cut"], whole.manifest["settings"]["max_length"]) == (0, None)


# -- however it is cut ----------------------------------------------------------------------------


def test_chunks_threads_and_cores_change_no_byte(
    tmp_path: Path, tokenizer: BertTokenizer, plain: BertTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": f"{TEXTS[number % 8]} {TEXTS[number % 5]}", "pair": TEXTS[number % 7]} for number in range(300)]
    file = _jsonl(tmp_path / "a.jsonl", rows)
    encode_files([file, file], plain, tmp_path / "out", pair_column="pair")
    expected = _bytes(tmp_path / "out")
    for size, threads in ((1, 1), (1, 3), (100, 2), (1000, 3)):
        monkeypatch.setattr(encoding, "_CHUNK", size)
        monkeypatch.setattr(encoding, "_THREADS", threads)
        encode_files([file, file], tokenizer, tmp_path / "out", pair_column="pair", overwrite=True)
        assert _bytes(tmp_path / "out") == expected


def test_progress_counts_up_to_the_whole(tmp_path: Path, plain: BertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK", 40)
    seen: list[tuple[int, int]] = []
    file = _txt(tmp_path / "a.txt", ["a b c"] * 100)
    encode_files(file, plain, tmp_path / "out", on_progress=lambda *counts: seen.append(counts))
    assert seen == [(texts, 5 * texts) for texts in (*range(7, 100, 7), 100)]


def test_texts_are_written_before_all_are_read(
    tmp_path: Path, plain: BertTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_CHUNK", 40)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a b c"}\n' * 500 + b"nonsense\n")
    seen: list[int] = []
    with pytest.raises(DataError, match=r"a\.jsonl:501: not readable as JSON"):
        encode_files(
            tmp_path / "a.jsonl", plain, tmp_path / "out", on_progress=lambda texts, tokens: seen.append(texts)
        )
    assert 450 <= seen[-1] < 500


# -- what is opened -------------------------------------------------------------------------------


@pytest.fixture
def encoded(tmp_path: Path, plain: BertTokenizer) -> EncodedTexts:
    return encode_files(_txt(tmp_path / "a.txt", ["a", "b c", "", "c"]), plain, tmp_path / "out")


def test_texts_by_place(encoded: EncodedTexts) -> None:
    rows = [[CLS, A, SEP], [CLS, B, C, SEP], [CLS, SEP], [CLS, C, SEP]]
    assert len(encoded) == 4
    assert [encoded[place].tolist() for place in (0, 1, 2, 3, -4, -3, -2, -1)] == rows * 2
    assert encoded[np.int64(1)].tolist() == rows[1]
    assert [ids.tolist() for ids in encoded[1:3]] == rows[1:3]
    assert [ids.tolist() for ids in encoded[::-2]] == [rows[3], rows[1]]
    for place in (4, -5):
        with pytest.raises(IndexError, match=f"text {place} is asked for, but there are 4"):
            encoded[place]
    with pytest.raises(TypeError):
        encoded["0"]  # type: ignore[call-overload]


def test_a_text_is_a_view_of_the_file_and_not_to_be_written_to(encoded: EncodedTexts) -> None:
    assert isinstance(encoded.ids.base, np.memmap)
    assert np.shares_memory(encoded[1], encoded.ids)
    with pytest.raises(ValueError, match="read-only"):
        encoded[1][0] = 0


def test_a_pickle_holds_the_path_alone(encoded: EncodedTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(EncodedTexts("out"))
    assert len(content) < 300
    monkeypatch.chdir("/")
    assert _lists(pickle.loads(content)) == _lists(encoded)


def test_it_says_what_it_is(encoded: EncodedTexts, tmp_path: Path) -> None:
    assert repr(encoded) == f"EncodedTexts({str(tmp_path / 'out')!r}: 4 texts, 12 tokens)"


def test_the_manifest(encoded: EncodedTexts, tmp_path: Path) -> None:
    content = (tmp_path / "a.txt").read_bytes()
    lines = "".join(f"{index}\t{token}\n" for token, index in VOCAB.items())
    assert encoded.manifest == json.loads((tmp_path / "out/manifest.json").read_text("utf-8"))
    assert encoded.manifest == {
        "glassbert": glassbert.__version__,
        "texts": 4,
        "tokens": 12,
        "texts_cut": 0,
        "tokens_cut": 0,
        "dtype": "uint16",
        "pairs": False,
        "files": [
            {
                "name": str(tmp_path / "a.txt"),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "settings": {
            "text_column": "text",
            "pair_column": None,
            "formats": ["txt"],
            "encoding": "utf-8",
            "add_special_tokens": True,
            "truncation": False,
            "max_length": None,
            "do_lower_case": True,
            "rules": "hf",
        },
        "vocabulary": {"tokens": 12, "sha256": hashlib.sha256(lines.encode()).hexdigest()},
    }


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_the_hash_is_that_of_the_whole_file(tmp_path: Path, plain: BertTokenizer, name: str) -> None:
    _jsonl(tmp_path / "a.jsonl", [{"text": "a", "more": "b"}] * 9)
    _parquet(tmp_path / "a.parquet", {"text": ["a"] * 9, "more": ["b"] * 9})
    (seen,) = encode_files(tmp_path / name, plain, tmp_path / "out").manifest["files"]
    content = (tmp_path / name).read_bytes()
    assert (seen["bytes"], seen["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(("size", "dtype"), [(1 << 16, "uint16"), ((1 << 16) + 1, "uint32")])
def test_ids_take_as_little_room_as_the_vocabulary_allows(tmp_path: Path, size: int, dtype: str) -> None:
    words = [f"w{number}" for number in range(size - 5)]
    tokenizer = BertTokenizer({token: index for index, token in enumerate([*list(VOCAB)[:5], *words])})
    encoded = encode_files(_txt(tmp_path / "a.txt", [words[-1]]), tokenizer, tmp_path / "out")
    assert encoded.ids.dtype == dtype
    assert encoded[0].tolist() == [CLS, size - 1, SEP]


def test_nothing_to_encode(tmp_path: Path, plain: BertTokenizer) -> None:
    none = encode_files(_txt(tmp_path / "a.txt", []), plain, tmp_path / "none")
    assert (len(none), _lists(none), none.lengths.tolist()) == (0, [], [])
    empty = encode_files(_txt(tmp_path / "b.txt", ["", ""]), plain, tmp_path / "empty", add_special_tokens=False)
    assert (len(empty), _lists(empty), empty.lengths.tolist()) == (2, [[], []], [0, 0])


# -- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"a\nb\na\xff\n", r"a\.txt:3: the byte 0xff at offset 5 is not utf-8"),
        ("a.jsonl", b'{"text": "a"}\n\n{"body": "a"}\n', r"a\.jsonl:3: no column 'text'; the columns are 'body'"),
        ("a.jsonl", b'{"text": "a"}\n{}\n', r"a\.jsonl:2: no column 'text'; the columns are none"),
        ("a.jsonl", b'{"text": 1}\n', r"a\.jsonl:1: 'text' is of type int, expected a string"),
        ("a.jsonl", b'{"text": null}\n', r"a\.jsonl:1: 'text' is of type NoneType, expected a string"),
        ("a.jsonl", b'{"text": ["a"]}\n', r"a\.jsonl:1: 'text' is of type list, expected a string"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "a\\ud800"}\n', r"a\.jsonl:2: .*half of a character"),
        ("a.jsonl", b'{"text": "a"}\n["text"]\n', r"a\.jsonl:2: expected a JSON object, found list"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', r"a\.jsonl:1: .*stands there twice"),
        ("a.parquet", b"PAR1 and nothing", r"a\.parquet: not readable as Parquet"),
        (
            "a.csv",
            b"text\na\n",
            r"a\.csv: cannot tell the format by the ending; expected \.txt, \.jsonl, \.parquet, or",
        ),
        ("a.json", b'{"text": "a"}\n', r"a\.json: cannot tell the format by the ending"),
    ],
)
def test_bad_files(tmp_path: Path, tokenizer: BertTokenizer, name: str, content: bytes, message: str) -> None:
    good = _txt(tmp_path / "good.txt", TEXTS)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        encode_files([good, tmp_path / name], tokenizer, tmp_path / "out")
    assert caught.value.file == tmp_path / name
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["good.txt", name])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"body": ["a"]}, r"a\.parquet: no column 'text'; the columns are 'body'"),
        ({"text": [1]}, r"a\.parquet: the column 'text' is of type int64, expected strings"),
        ({"text": ["a"] * 5000 + [None]}, r"a\.parquet, record 5001: 'text' is missing \(null\)"),
    ],
)
def test_bad_columns_of_parquet(tmp_path: Path, plain: BertTokenizer, values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_files(_parquet(tmp_path / "a.parquet", values), plain, tmp_path / "out")


def test_a_text_of_parquet_that_is_not_utf8(tmp_path: Path, plain: BertTokenizer) -> None:
    places, content = np.array([0, 1, 2], dtype=np.int32), b"a\xff"
    texts = pa.StringArray.from_buffers(2, pa.py_buffer(places.tobytes()), pa.py_buffer(content))
    with pytest.raises(DataError, match=r"a\.parquet, record 2: 'text' is not UTF-8"):
        encode_files(_parquet(tmp_path / "a.parquet", {"text": texts}), plain, tmp_path / "out")


def test_two_columns_of_one_name(tmp_path: Path, plain: BertTokenizer) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="two columns 'text'"):
        encode_files(tmp_path / "a.parquet", plain, tmp_path / "out")


def test_without_pyarrow(tmp_path: Path, plain: BertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"a\.parquet: reading Parquet needs pyarrow"):
        encode_files(tmp_path / "a.parquet", plain, tmp_path / "out")


def test_what_the_tokenizer_refuses_is_told_by_file_and_line(tmp_path: Path, tokenizer: BertTokenizer) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\nb\na\\ud800\nc\n")
    with pytest.raises(DataError, match=r"a\.txt:3: text holds a lone surrogate") as caught:
        encode_files(tmp_path / "a.txt", tokenizer, tmp_path / "out", encoding="unicode_escape")
    assert caught.value.line == 3
    rows = [{"text": "a", "pair": "b"}, {"text": "a b c", "pair": "b"}]
    with pytest.raises(DataError, match=r"a\.jsonl:2: truncation='only_second' cannot leave 3 tokens"):
        encode_files(
            _jsonl(tmp_path / "a.jsonl", rows),
            tokenizer,
            tmp_path / "out",
            pair_column="pair",
            truncation="only_second",
            max_length=6,
        )


def test_of_two_errors_the_first_is_told(tmp_path: Path, plain: BertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK", 1)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a", "pair": "b"}\n{"text": "a b c", "pair": "b"}\nnonsense\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: truncation"):
        encode_files(
            tmp_path / "a.jsonl",
            plain,
            tmp_path / "out",
            pair_column="pair",
            truncation="only_second",
            max_length=6,
        )


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ([], {}, "files is empty"),
        (["a.txt"], {"pair_column": "pair"}, "pair_column='pair' has an effect with JSON lines and Parquet"),
        (["a.txt"], {"max_length": 5}, "max_length=5 has an effect with truncation=True"),
        (["a.txt"], {"truncation": "right"}, "truncation is 'right', expected"),
        (["a.txt"], {"truncation": True, "max_length": -1}, "max_length is -1"),
    ],
)
def test_settings_that_mean_nothing(
    tmp_path: Path, plain: BertTokenizer, files: list[str], settings: dict[str, Any], message: str
) -> None:
    _txt(tmp_path / "a.txt", [])
    with pytest.raises(InputError, match=message):
        encode_files([tmp_path / name for name in files], plain, tmp_path / "out", **settings)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((None, 0, "out"), {}, "files is None, expected the path of a file, or several"),
        ((5, 0, "out"), {}, "files is 5, expected the path of a file, or several"),
        ((b"a.txt", 0, "out"), {}, "files is b'a.txt', expected the path of a file, or several"),
        ((["a.txt", 5], 0, "out"), {}, r"files\[1\] is 5, expected the path of a file"),
        (([["a.txt"]], 0, "out"), {}, r"files\[0\] is of type list, expected the path of a file"),
        (("a.txt", None, "out"), {}, "tokenizer is None, expected a BertTokenizer"),
        (("a.txt", "bert", "out"), {}, "tokenizer is 'bert', expected a BertTokenizer"),
        (("a.txt", 0, None), {}, "out is None, expected the path of a folder"),
        (("a.txt", 0, ["out"]), {}, "out is of type list, expected the path of a folder"),
        (("a.txt", 0, "out"), {"text_column": 5}, "text_column is of type int, expected a string"),
        (("a.txt", 0, "out"), {"pair_column": 5}, "pair_column is of type int, expected a string"),
        (("a.txt", 0, "out"), {"format": ["txt"]}, "format is of type list, expected one of txt, jsonl, parquet"),
        (("a.txt", 0, "out"), {"encoding": None}, "encoding is of type NoneType, expected a string"),
        (("a.txt", 0, "out"), {"add_special_tokens": None}, "add_special_tokens is None, expected True or False"),
        (("a.txt", 0, "out"), {"truncation": None}, "truncation is None, expected"),
        (("a.txt", 0, "out"), {"truncation": [True]}, "truncation is of type list, expected"),
        (("a.txt", 0, "out"), {"truncation": True, "max_length": "5"}, "max_length is '5', expected a whole number"),
        (("a.txt", 0, "out"), {"on_progress": None}, "on_progress is None, expected a function"),
        (("a.txt", 0, "out"), {"overwrite": "no"}, "overwrite is 'no', expected True or False"),
    ],
)
def test_what_is_of_another_type(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain: BertTokenizer,
    arguments: tuple[Any, Any, Any],
    settings: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _txt(tmp_path / "a.txt", [])
    files, tokenizer, out = arguments
    with pytest.raises(InputError, match=message):
        encode_files(files, plain if tokenizer == 0 else tokenizer, out, **settings)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_missing_file_is_told_before_the_others_are_read(tmp_path: Path, plain: BertTokenizer) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"b\.txt: no such file"):
        encode_files([tmp_path / "a.txt", tmp_path / "b.txt"], plain, tmp_path / "out")
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(DataError, match=r"b\.txt: is no file"):
        encode_files([tmp_path / "a.txt", tmp_path / "b.txt"], plain, tmp_path / "out")


# -- whole or not at all --------------------------------------------------------------------------


def test_what_stands_is_replaced_only_when_asked_for(tmp_path: Path, plain: BertTokenizer) -> None:
    file = _txt(tmp_path / "a.txt", ["a"])
    encode_files(file, plain, tmp_path / "out")
    with pytest.raises(OutputExistsError):
        encode_files(file, plain, tmp_path / "out")
    _txt(file, ["a", "b"])
    assert len(encode_files(file, plain, tmp_path / "out", overwrite=True)) == 2


def test_a_folder_that_holds_one_of_the_files_is_not_replaced(tmp_path: Path, plain: BertTokenizer) -> None:
    (tmp_path / "out").mkdir()
    file = _txt(tmp_path / "out/a.txt", ["a"])
    with pytest.raises(OutputExistsError, match=r"holds .*a\.txt, which would be lost"):
        encode_files(file, plain, tmp_path / "out", overwrite=True)


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path, plain: BertTokenizer) -> None:
    file = _txt(tmp_path / "a.txt", ["a"])
    encode_files(file, plain, tmp_path / "out")
    (tmp_path / "out/config.json").touch()
    with pytest.raises(OutputExistsError, match=r"out holds config\.json, which is no file of encoded texts"):
        encode_files(file, plain, tmp_path / "out", overwrite=True)
    # And a model is not put in the place of texts.
    with pytest.raises(OutputExistsError, match=r"out holds ends\.npy, which is no file of a model"):
        check_output(tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, OSError])
@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_broken_off_leaves_nothing(
    tmp_path: Path, plain: BertTokenizer, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], overwrite: bool
) -> None:
    file = _txt(tmp_path / "a.txt", ["a b c"] * 100)
    if overwrite:
        encode_files(_txt(tmp_path / "b.txt", ["old"]), plain, tmp_path / "out")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(encoding, "_CHUNK", 40)

    def on_progress(texts: int, tokens: int) -> None:
        if texts > 50:
            raise stop

    with pytest.raises(SaveError if stop is OSError else stop):
        encode_files(file, plain, tmp_path / "out", on_progress=on_progress, overwrite=overwrite)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def _damages() -> Iterator[tuple[str, Any, str]]:
    yield "manifest.json", None, r"manifest\.json: no such file; expected a folder that encode_files wrote"
    yield "manifest.json", b"{", r"manifest\.json: not readable as JSON"
    yield "manifest.json", b"{}", r"manifest\.json: texts is None, expected a number"
    yield "manifest.json", {"tokens": 13}, r"ids\.npy: holds uint16 \(12,\), but manifest\.json says uint16 \(13,\)"
    yield "manifest.json", {"texts": 3}, r"ends\.npy: holds int64 \(4,\), but manifest\.json says int64 \(3,\)"
    yield (
        "manifest.json",
        {"dtype": "uint32"},
        r"ids\.npy: holds uint16 \(12,\), but manifest\.json says uint32 \(12,\)",
    )
    yield "manifest.json", {"pairs": True}, r"seconds\.npy: no such file"
    yield "ids.npy", None, r"ids\.npy: no such file"
    yield "ids.npy", b"", r"ids\.npy: has 0 bytes, not an array of 12 numbers"
    yield "ids.npy", b"\x93NUMPY and no more", r"ids\.npy: has 18 bytes, not an array of 12 numbers"
    yield "ids.npy", 150, r"ids\.npy: has 150 bytes, not an array of 12 numbers"
    yield "ends.npy", np.array([3, 7, 9, 11]), r"ends\.npy: the last text ends at 11, but ids\.npy has 12"


@pytest.mark.parametrize(("name", "change", "message"), list(_damages()))
def test_files_that_do_not_fit_together(encoded: EncodedTexts, name: str, change: Any, message: str) -> None:
    file = encoded.folder / name
    content = file.read_bytes()
    file.unlink()
    if isinstance(change, dict):
        file.write_text(json.dumps({**encoded.manifest, **change}), encoding="utf-8")
    elif isinstance(change, int):
        file.write_bytes(content[:change])
    elif isinstance(change, np.ndarray):
        np.save(file, change)
    elif change is not None:
        file.write_bytes(change)
    with pytest.raises(DataError, match=message):
        EncodedTexts(encoded.folder)
