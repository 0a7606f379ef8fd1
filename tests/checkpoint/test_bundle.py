"""TensorFlow's checkpoint files: read as they were written, refused when they are not what they should be."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glassbert import CheckpointError
from glassbert.checkpoint.bundle import Array, Bundle, _sealed, read_index, write_bundle
from tests.checkpoint import bundles
from tests.checkpoint.bundles import (
    BFLOAT16,
    DOUBLE,
    FLOAT,
    HALF,
    TEXT,
    Given,
    block,
    digits,
    entry,
    floats,
    header,
    message,
    number,
    table,
)

GOLDEN = Path(__file__).parent / "golden"


def read_all(prefix: Path) -> dict[str, Array]:
    bundle = Bundle(prefix)
    return {name: bundle.read(name) for name in bundle.entries}


# What TensorFlow wrote


def test_all_kinds_of_numbers_that_tensorflow_wrote() -> None:
    bundle = Bundle(GOLDEN / "tensorflow" / "kinds")
    quarters = np.arange(6).reshape(2, 3) / 4
    expected: dict[str, Array] = {
        **{name: quarters.astype(name) for name in ("float16", "float32", "float64")},
        "bfloat16": quarters.astype(np.float32),
        **{name: (np.arange(6).reshape(2, 3) - 2).astype(name) for name in ("int8", "int16", "int32", "int64")},
        "uint8": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "scalar": np.array(-7, dtype=np.int64),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    for name, value in expected.items():
        found = bundle.read(f"kinds/{name}")
        assert found.dtype == value.dtype
        assert found.shape == value.shape == bundle.entries[f"kinds/{name}"].shape
        assert np.array_equal(found, value)
    assert bundle.entries.keys() == {f"kinds/{name}" for name in (*expected, "text", "truth", "sliced")}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("text", "holds text"), ("truth", "holds true and false"), ("sliced", "is stored in slices")],
)
def test_what_no_weight_is_does_no_harm_until_it_is_read(name: str, reason: str) -> None:
    bundle = Bundle(GOLDEN / "tensorflow" / "kinds")
    with pytest.raises(CheckpointError, match=rf"kinds\.index: kinds/{name} {reason}"):
        bundle.read(f"kinds/{name}")


def test_two_data_files_that_tensorflow_wrote() -> None:
    bundle = Bundle(GOLDEN / "tensorflow" / "shards")
    assert bundle.shards == 2
    quarters = np.arange(6).reshape(2, 3) / 4
    for part in range(2):
        assert bundle.data_file(f"part{part}/first").name == f"shards.data-0000{part}-of-00002"
        assert np.array_equal(bundle.read(f"part{part}/first"), quarters + part)
        assert np.array_equal(bundle.read(f"part{part}/second"), quarters - part)


# What was built by hand


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Five tensors in two data files, in an index of two blocks."""
    return bundles.write(
        tmp_path / "model" / "model.ckpt",
        {
            "a/kernel": floats(1, 2, 3, 4, 5, 6, shape=(3, 2)),
            "a/kernel_2": Given(HALF, (2,), struct.pack("<2e", 0.5, -2)),
            "b": Given(BFLOAT16, (3,), bytes.fromhex("803f c0bf 7040"), shard=1),
            "c": Given(DOUBLE, (), struct.pack("<d", 1e300), shard=1),
            "words": Given(TEXT, (1,), b"\x05hello"),
        },
        shards=2,
    )


def index_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def test_a_checkpoint_of_several_blocks_and_data_files(small: Path) -> None:
    bundle = Bundle(small)
    assert list(bundle.entries) == ["a/kernel", "a/kernel_2", "b", "c", "words"]
    assert bundle.read("a/kernel").tolist() == [[1, 2], [3, 4], [5, 6]]
    assert bundle.read("a/kernel_2").tolist() == [0.5, -2]
    assert bundle.read("b").tolist() == [1, -1.5, 3.75]
    assert bundle.read("b").dtype == np.float32
    assert bundle.read("c").item() == 1e300


def test_a_tensor_can_be_written_into(small: Path) -> None:
    bundle = Bundle(small)
    bundle.read("a/kernel")[0] = 7
    assert bundle.read("a/kernel").tolist() == [[1, 2], [3, 4], [5, 6]]


def test_any_flipped_bit_of_the_index_is_found(small: Path) -> None:
    file = index_of(small)
    data = file.read_bytes()
    for place in range(len(data)):
        for bit in (1, 0x80):
            file.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            with pytest.raises(CheckpointError, match=r"model\.ckpt\.index: not readable"):
                read_index(file)


def test_any_truncation_of_the_index_is_found(small: Path) -> None:
    file = index_of(small)
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"model\.ckpt\.index: " + ("not readable" if length else "is empty")):
            read_index(file)


def test_any_flipped_bit_of_a_tensor_is_found(small: Path) -> None:
    readable = ("a/kernel", "a/kernel_2", "b", "c")
    for shard in range(2):
        file = Path(f"{small}.data-0000{shard}-of-00002")
        data = file.read_bytes()
        for place in range(len(data)):
            file.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
            bundle = Bundle(small)
            entries = bundle.entries.items()
            hit = {n for n, e in entries if e.shard == shard and e.offset <= place < e.offset + e.size}
            for name in readable:
                if name in hit:
                    with pytest.raises(CheckpointError, match=rf"data-0000{shard}-of-00002: {name} is damaged"):
                        bundle.read(name)
                else:
                    bundle.read(name)
        file.write_bytes(data)


def test_any_truncation_of_a_data_file_is_found(small: Path) -> None:
    for shard in range(2):
        file = Path(f"{small}.data-0000{shard}-of-00002")
        data = file.read_bytes()
        for length in range(len(data)):
            file.write_bytes(data[:length])
            said = f"has {length} bytes, but" if length else "is empty"
            with pytest.raises(CheckpointError, match=rf"data-0000{shard}-of-00002: {said}"):
                Bundle(small)
        file.write_bytes(data)


def test_a_data_file_cut_off_after_it_was_opened(small: Path) -> None:
    bundle = Bundle(small)
    Path(f"{small}.data-00001-of-00002").write_bytes(b"??")
    with pytest.raises(CheckpointError, match="b is damaged or of another checkpoint"):
        bundle.read("b")
    Path(f"{small}.data-00001-of-00002").unlink()
    with pytest.raises(CheckpointError, match="data-00001-of-00002: No such file"):
        bundle.read("b")


def test_samples_of_a_real_index_and_all_its_block_boundaries(tmp_path: Path) -> None:
    data = (GOLDEN / "keras_bert" / "bert_model.ckpt.index").read_bytes()
    file = tmp_path / "x.index"
    rng = random.Random(0)
    for place in [*rng.sample(range(len(data)), 150), *range(len(data) - 48, len(data))]:
        file.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        with pytest.raises(CheckpointError, match=r"x\.index: not readable"):
            read_index(file)
    for length in (1, 47, 48, len(data) - 48, len(data) - 49, len(data) - 8, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"x\.index: not readable"):
            read_index(file)


def test_random_bytes_are_no_index(tmp_path: Path) -> None:
    rng = random.Random(1)
    file = tmp_path / "x.index"
    for _ in range(200):
        body = rng.randbytes(rng.randrange(100))
        # Sound blocks of nonsense, so that more than the CRC is asked.
        for content in (body, body + bundles.MAGIC, table([body]), table([block([(b"", header()), (b"a", body)])])):
            file.write_bytes(content)
            try:
                read_index(file)
            except CheckpointError as error:
                assert "\n" not in str(error)  # noqa: PT017


def test_index_of_another_run(tmp_path: Path) -> None:
    one = bundles.write(tmp_path / "one" / "m", {"a": floats(1, 2), "b": floats(3)})
    other = bundles.write(tmp_path / "other" / "m", {"a": floats(1, 2), "b": floats(4)})
    index_of(one).write_bytes(index_of(other).read_bytes())
    bundle = Bundle(one)
    assert bundle.read("a").tolist() == [1, 2]
    with pytest.raises(CheckpointError, match=r"b is damaged or of another checkpoint than the index: its CRC differs"):
        bundle.read("b")


def test_tensors_may_lie_on_each_other_where_the_files_are_large_enough(tmp_path: Path) -> None:
    data = struct.pack("<3f", 1, 2, 3)
    pairs = [(b"", header())]
    for name, offset in ((b"a", 0), (b"b", 4)):
        pairs.append((name, entry(shape=(1,), offset=offset, check=bundles.crc(data[offset : offset + 4]))))
    pairs.append((b"c", entry(shape=(1,), offset=4, check=bundles.crc(data[4:8]))))
    place(tmp_path, table([block(pairs)]), data)
    assert {name: value.item() for name, value in read_all(tmp_path / "x").items()} == {"a": 1, "b": 2, "c": 2}


# Hostile files


def place(folder: Path, index: bytes, data: bytes | None = bytes(64)) -> None:
    (folder / "x.index").write_bytes(index)
    if data is not None:
        (folder / "x.data-00000-of-00001").write_bytes(data)


def one(value: bytes, name: bytes = b"a") -> bytes:
    """An index of one entry."""
    return table([block([(b"", header()), (name, value)])])


def with_footer(*numbers: int) -> bytes:
    good = one(entry())
    return good[:-48] + b"".join(map(digits, numbers)).ljust(40, b"\0")[:40] + bundles.MAGIC


ZEROS = bundles.crc(bytes(4))
NAMES = [(b"%06d" % n, entry(shard=n, check=ZEROS)) for n in range(2000)]
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "a pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "only magic": (lambda: bundles.MAGIC, "last bytes"),
    "wrong magic": (lambda: one(entry())[:-1] + b"\0", "last bytes"),
    "another table's magic": (lambda: b"\0" * 100 + b"PAR1", "last bytes"),
    "no blocks at all": (lambda: bytes(40) + bundles.MAGIC, "block"),
    "footer of endless numbers": (lambda: b"\xff" * 48 + bundles.MAGIC, "more than 64 bits"),
    "footer beyond the file": (lambda: with_footer(0, 8, 1 << 40, 8), "beyond the file"),
    "footer of 2^63": (lambda: with_footer(0, 8, (1 << 63) + 5, (1 << 63) + 5), "beyond the file"),
    "footer at the footer": (lambda: with_footer(0, 8, len(one(entry())) - 48, 40), "beyond the file"),
    "footer at the wrong block": (lambda: with_footer(0, 8, 0, 8), "damaged"),
    "compressed": (lambda: table([block([(b"", header())])], kind=1), "compressed"),
    "unknown compression": (lambda: table([block([(b"", header())])], kind=77), "compressed"),
    "block of no bytes": (lambda: table([b""]), "restarts"),
    "block of 3 bytes": (lambda: table([b"\0\0\0"]), "restarts"),
    "2^32 - 1 restarts": (lambda: table([b"\0\0\0\0\xff\xff\xff\xff"]), "restarts"),
    "all restarts": (lambda: table([struct.pack("<4I", 0, 0, 0, 3)]), "no header"),
    "key shares more than there is": (lambda: table([b"\x05\x01\x00a" + block([])]), "over the end"),
    "key longer than the block": (lambda: table([b"\x00\x7f\x00a" + block([])]), "over the end"),
    "value longer than the block": (lambda: table([b"\x00\x01\xff\xff\xff\xff\x0fa" + block([])]), "over the end"),
    "key of 2^63 bytes": (lambda: table([b"\0" + digits(1 << 63) + b"\0" + block([])]), "over the end"),
    "entry cut off in its numbers": (lambda: table([b"\x00" + block([])]), "over the end|no header|cut off"),
    "long name": (lambda: one(entry(), b"a" * 1025), "1025 bytes, expected at most 1024"),
    "long entry": (lambda: one(entry() + message(99, bytes(5000))), "expected at most 4096"),
    "name twice": (lambda: table([block([(b"", header()), (b"a", entry()), (b"a", entry())])]), "twice"),
    "name in two blocks": (lambda: table([block([(b"", header()), (b"a", entry())])] * 2), "twice"),
    "names out of order": (lambda: table([block([(b"", header()), (b"b", entry()), (b"a", entry())])]), "not in order"),
    "header twice": (lambda: table([block([(b"", header()), (b"", header())])]), "twice"),
    "header last": (lambda: table([block([(b"a", entry())]), block([(b"", header())])]), "not in order"),
    "no header": (lambda: table([block([(b"a", entry())])]), "no header"),
    "nothing": (lambda: table([]), "no header"),
    "name of no text": (lambda: one(entry(), b"\xff\xfe"), "no line of text"),
    "name of two lines": (lambda: one(entry(), b"a\nTraceback"), "no line of text"),
    "name that colours a terminal": (lambda: one(entry(), b"\x1b[31mred"), "no line of text"),
    "handle of one number": (lambda: table([block([(b"", header())])], handles=[b"\0"]), "cut off"),
    "handle of three": (lambda: table([block([(b"", header())])], handles=[b"\0\x08\0"]), "pair of numbers"),
    "handle beyond the file": (lambda: table([block([])], handles=[b"\0" + digits(1 << 62)]), "beyond the file"),
    "handles to one block": (lambda: table([block([])], handles=[b"\0\x08"] * 1000), "expected 13"),
    "block left out": (
        lambda: table([block([(b"", header())]), block([])], handles=[b"\0\x0f"]),
        "fill|damaged|expected",
    ),
    "big-endian": (lambda: table([block([(b"", header() + number(2, 1))])]), "big-endian"),
    "later version": (lambda: table([block([(b"", number(1, 1) + message(3, number(2, 9)))])]), "version 9"),
    "no data files": (lambda: table([block([(b"", b"")])]), "counts 0 data files"),
    "2^31 data files": (lambda: table([block([(b"", header(1 << 31))])]), "counts 2147483648"),
    "-1 data files": (lambda: table([block([(b"", header(-1))])]), "counts -1"),
    "100,000 data files": (
        lambda: table([block([(b"", header(100_000)), *NAMES])]),
        r"x\.data-00000-of-100000: No such file",
    ),
    "data file -1": (lambda: one(entry(shard=-1)), "lies in data file -1, expected 0 to 0"),
    "data file 1 of 1": (lambda: one(entry(shard=1)), "lies in data file 1, expected 0 to 0"),
    "negative offset": (lambda: one(entry(offset=-4)), "from -4 to 0"),
    "offset at the end": (lambda: one(entry(offset=61)), "has 64 bytes, but a is to lie from 61 to 65"),
    "offset of 2^62": (lambda: one(entry(offset=1 << 62)), "a is to lie from 4,611"),
    "negative size": (lambda: one(entry(size=-4)), "-4 bytes, expected 4"),
    "negative size of text": (lambda: one(entry(dtype=TEXT, offset=8, size=-4)), "from 8 to 4"),
    "text beyond the file": (lambda: one(entry(dtype=TEXT, size=65)), "from 0 to 65"),
    "size of another shape": (lambda: one(entry(shape=(3, 3))), r"shape \(3, 3\) has 4 bytes, expected 36"),
    "shape of 2^62": (lambda: one(entry(shape=(1 << 62,))), "which no tensor has"),
    "shape of 2^62 and 0": (lambda: one(entry(shape=(0, 1 << 62), size=0)), "which no tensor has"),
    "shape whose product is 0 in 64 bits": (lambda: one(entry(shape=(1 << 32, 1 << 32), size=0)), "no tensor has"),
    "negative dimension": (lambda: one(entry(shape=(-1, -1))), "which no tensor has"),
    "many dimensions": (lambda: one(entry(shape=(1,) * 300)), "300 dimensions, expected at most 8"),
    "petabyte": (lambda: one(entry(shape=(1 << 48,), size=1 << 50)), "has 64 bytes"),
    "more tensors than bytes": (
        lambda: table([block([(b"", header()), *((bytes([97 + n]), entry(shape=(16,), size=64)) for n in range(9))])]),
        "the tensors have 576 bytes together, the data files only 64",
    ),
    "wrong CRC": (lambda: one(entry(check=ZEROS ^ 1)), "a is damaged"),
    "no CRC": (lambda: one(number(1, 1) + number(5, 4)), "a is damaged"),
    "unknown dtype": (lambda: one(entry(dtype=1 << 40)), "dtype 1099511627776"),
    "dtype -1": (lambda: one(entry(dtype=-1)), "dtype -1"),
    "entry of no bytes": (lambda: one(b""), "dtype 0"),
    "entry of groups": (lambda: one(b"\x0b" * 50), "field of kind 3"),
    "entry cut off": (lambda: one(entry()[:-1]), "cut off"),
    "field longer than its message": (lambda: one(b"\x12\xff\xff\xff\xff\x0f"), "cut off"),
    "number of 11 bytes": (lambda: one(b"\x08" + b"\xff" * 10 + b"\x01"), "more than 64 bits"),
    "number of 70 bits": (lambda: one(b"\x08" + b"\xff" * 9 + b"\x7f"), "more than 64 bits"),
    "number of nothing": (lambda: one(b"\x08"), "cut off"),
    "nested shapes": (lambda: one(message(2, message(2, b"\xff"))), "cut off"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(case: str, tmp_path: Path) -> None:
    make, reason = HOSTILE[case]
    place(tmp_path, make())
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_all(tmp_path / "x")
    assert str(caught.value).startswith(str(tmp_path / "x."))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2500


def test_the_page_says_how_many() -> None:
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"and {len(HOSTILE)}\nhostile TensorFlow indices" in page


def bomb(count: int, length: int) -> bytes:
    """Long names for a few bytes each: every one is the one before with another end."""
    content = b"\0\0" + digits(len(header())) + header() + b"\0" + digits(length) + b"\0" + b"a" * length
    content += b"".join(digits(length - 6) + b"\x06\0b%05d" % value for value in range(count - 1))
    content += struct.pack("<2I", 0, 1)
    meta, listing = block([]), block([(b"", b"\0" + digits(len(content)))])
    out = _sealed(content)  # bit by bit would take too long; CRCs have tests of their own
    footer = digits(len(out)) + digits(len(meta)) + digits(len(out) + len(meta) + 5) + digits(len(listing))
    return out + _sealed(meta) + _sealed(listing) + footer.ljust(40, b"\0") + bundles.MAGIC


@pytest.mark.parametrize(("count", "length"), [(60_000, 100), (30_000, 1024)])
def test_long_names_cost_no_more_than_they_may(count: int, length: int, tmp_path: Path) -> None:
    place(tmp_path, bomb(count, length))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="too many names"):
            Bundle(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32e6


def test_too_large_an_index_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.index").open("wb") as file:
        file.truncate(1 << 40)  # without blocks on the disk
    with pytest.raises(CheckpointError, match=r"x\.index: has 1,099,511,627,776 bytes, expected at most"):
        Bundle(tmp_path / "x")


def test_missing_and_strange_files(tmp_path: Path) -> None:
    prefix = bundles.write(tmp_path / "x", {"a": floats(1)})
    data = Path(f"{prefix}.data-00000-of-00001")
    data.unlink()
    with pytest.raises(CheckpointError, match=r"x\.data-00000-of-00001: No such file"):
        Bundle(prefix)
    data.mkdir()
    with pytest.raises(CheckpointError, match=r"x\.data-00000-of-00001: is no plain file"):
        Bundle(prefix)
    index_of(prefix).unlink()
    with pytest.raises(CheckpointError, match=r"x\.index: No such file"):
        Bundle(prefix)
    # Whoever opened a pipe to read would wait for ever.
    os.mkfifo(index_of(prefix))
    with pytest.raises(CheckpointError, match=r"x\.index: is no plain file"):
        Bundle(prefix)


def test_links_stay_in_the_folder(tmp_path: Path) -> None:
    prefix = bundles.write(tmp_path / "out" / "x", {"a": floats(1)})
    (tmp_path / "in").mkdir()
    for name in ("x.index", "x.data-00000-of-00001"):
        link = tmp_path / "in" / name
        link.symlink_to(tmp_path / "out" / name)
        with pytest.raises(CheckpointError, match="outside of its folder"):
            Bundle(tmp_path / "in" / "x")
        link.unlink()
        link.write_bytes((tmp_path / "out" / name).read_bytes())
    assert Bundle(tmp_path / "in" / "x").read("a").item() == Bundle(prefix).read("a").item() == 1


# Writing


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors: dict[str, Array] = {
        "b/turned": rng.standard_normal((40, 30)).astype(np.float32).T,
        "a": rng.standard_normal(7),
        "é/half": rng.standard_normal((2, 2, 2)).astype(np.float16),
        "scalar": np.array(5, dtype=np.int64),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "foreign": np.arange(5, dtype=">i4"),
        **{f"many/{n}": np.array([n], dtype=np.int32) for n in range(50)},
    }
    write_bundle(tmp_path / "x.index", tmp_path / "x.data-00000-of-00001", tensors)
    found = read_all(tmp_path / "x")
    assert list(found) == sorted(tensors)
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype.newbyteorder("=")
        assert found[name].shape == value.shape
        assert np.array_equal(found[name], value)
    # The CRCs, by the definition.
    data = (tmp_path / "x.data-00000-of-00001").read_bytes()
    entries = read_index(tmp_path / "x.index")[0]
    for part in entries.values():
        assert part.crc == bundles.crc(data[part.offset : part.offset + part.size])
    assert sum(part.size for part in entries.values()) == len(data)


def test_same_tensors_give_the_same_files(tmp_path: Path) -> None:
    one, other = np.ones(3, dtype=np.float32), np.zeros(2, dtype=np.float32)
    write_bundle(tmp_path / "1.index", tmp_path / "1.data", {"a": one, "b": other})
    write_bundle(tmp_path / "2.index", tmp_path / "2.data", {"b": other, "a": one})
    for end in ("index", "data"):
        assert (tmp_path / f"1.{end}").read_bytes() == (tmp_path / f"2.{end}").read_bytes()


def test_numbers_of_no_weight_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a has the dtype complex64"):
        write_bundle(tmp_path / "i", tmp_path / "d", {"a": np.zeros(1, dtype=np.complex64)})


def test_float_is_tensorflows_first_dtype(tmp_path: Path) -> None:
    write_bundle(tmp_path / "i", tmp_path / "d", {"a": np.zeros(1, dtype=np.float32)})
    assert read_index(tmp_path / "i")[0]["a"].dtype == FLOAT
