"""Hostile model folders, and a program that tries to load each: `python -m tests.checkpoint.hostile FOLDER`.

It prints one JSON object a case: what came of it, how much processor time and memory it took, which files were opened
outside. A case that takes two seconds of the processor ends the program, whatever it does; the clock on the wall would
measure the machine's other work too. One that asks for more than a gigabyte, used or not, is refused it.
"""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import resource
import signal
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
}
Case = Callable[[Path], None]
# Of tensors; no message may hold them as they are.
NAMES = {"two lines": "a\nb", "colours": "\x1b[31mred", "5,000 signs": "n" * 5_000}


def header(tensors: dict[str, Any]) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def raw(data: bytes) -> Case:
    """Make a case of the bytes of `model.safetensors`."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(data)

    return write


def config_text(text: str | bytes, file: str = "config.json") -> Case:
    def write(folder: Path) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        (folder / file).write_bytes(data)

    return write


def config(file: str = "config.json", **changes: Any) -> Case:
    return config_text(json.dumps({**CONFIG, **changes}), file)


def edited(change: Callable[[bytes], bytes]) -> Case:
    """Change the bytes of the sound file."""

    def write(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return write


def entry(**changes: Any) -> Case:
    """Change what the sound file's header says of one tensor."""

    def change(data: bytes) -> bytes:
        (length,) = struct.unpack("<Q", data[:8])
        said = json.loads(data[8 : 8 + length])
        said["pooler.dense.bias"].update(changes)
        return header(said) + data[8 + length :]

    return edited(change)


def tensors(change: Callable[[dict[str, Any]], Any]) -> Case:
    """Write the sound tensors again, changed."""

    def write(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        state = change(state) or state
        (folder / "model.safetensors").unlink()
        save_file(state, folder / "model.safetensors")

    return write


def with_one_more(name: str) -> Callable[[dict[str, Any]], Any]:
    """Add a tensor of that name."""
    import torch

    return lambda state: {**state, name: torch.zeros(1)}


def index(weight_map: Any, extra: Case | None = None) -> Case:
    """Put an index in the place of the one file, which becomes the shard `a.safetensors`."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "a.safetensors")
        if extra is not None:
            extra(folder)
        names = sound_names()
        mapping = weight_map(names) if callable(weight_map) else weight_map
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": mapping}))

    return write


def sound_names() -> list[str]:
    from glassbert import BertConfig, BertModel

    return list(BertModel(BertConfig.from_dict(CONFIG)).state_dict())


def named(shard: str) -> Callable[[list[str]], dict[str, str]]:
    """Say that all tensors stand in one shard."""
    return lambda names: dict.fromkeys(names, shard)


def sparse(size: int) -> Case:
    """Put a sound model in the form before torch 1.6 there, in a file of many bytes that takes no room on the disk."""

    import torch
    from safetensors.torch import load_file

    def write(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        os.truncate(folder / "pytorch_model.bin", size)

    return write


def as_bin(data: bytes) -> Case:
    """Put a `pytorch_model.bin` in the place of the safetensors."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(data)

    return write


class Calls:
    """Unpickled, it calls."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def saved(value: Any, **settings: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer, **settings)
    return buffer.getvalue()


def shortened(place: int) -> Case:
    """Cut one storage of a sound model short; behind it lies what belongs to others."""

    def write(folder: Path) -> None:
        from safetensors.torch import load_file

        state, buffer = load_file(folder / "model.safetensors"), io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(saved(state))) as sound, zipfile.ZipFile(buffer, "w") as out:
            for part in sound.infolist():
                data = sound.read(part)
                out.writestr(part.filename, data[:3] if part.filename.endswith(f"/data/{place}") else data)
        as_bin(buffer.getvalue())(folder)

    return write


def tuples_of_tuples(depth: int) -> bytes:
    """Pickle a mapping whose last key is a pair of one pair, twice, and so on; to look it up takes 2^depth steps."""
    pickled = b"\x80\x02}K\x00K\x01\x85q\x00s"
    for level in range(depth):
        pickled += b"K%ch%ch%c\x86q%cs" % (level + 1, level, level, level + 1)
    return pickled + b"h%cK\x01s." % depth


CALLS_BYTEARRAY = b"\x80\x02}X\x01\x00\x00\x00xcbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x80\x00\x85Rs."


def legacy(pickled: bytes) -> bytes:
    """Put the pickle of a mapping into a file of the format before torch 1.6, with one storage of 64 bytes."""
    sizes = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    before = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, sizes)]
    return b"".join([*before, pickled, pickle.dumps(["0"], 2), struct.pack("<q", 16), bytes(64)])


def storage_of(numbers: int) -> bytes:
    """Pickle a mapping of one tensor, whose storage is said to have so many numbers."""
    import torch

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", numbers, None) if value is Ellipsis else None

    buffer, rebuild = io.BytesIO(), torch._utils._rebuild_tensor_v2
    tensor = Calls(rebuild, ..., 0, (12, 8), (8, 1), False, collections.OrderedDict())
    Pickler(buffer, 2).dump({"embeddings.word_embeddings.weight": tensor})
    return buffer.getvalue()


def tape() -> bytes:
    """Write what the oldest files of torch.save were: a tape archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = 4
            out.addfile(member, io.BytesIO(b"abcd"))
    return buffer.getvalue()


def as_tensorflow(change: Callable[[Path], Any]) -> Case:
    """Put the same model in Google's form in the place of the sound folder, and change it there."""

    def write(folder: Path) -> None:
        import glassbert
        from glassbert.checkpoint.tensorflow import save_tensorflow

        model = glassbert.load(folder)
        for name in ("config.json", "model.safetensors"):
            (folder / name).unlink()
        save_tensorflow(model, folder)
        change(folder)

    return write


def other_run(name: str) -> Callable[[Path], None]:
    """Take one file from a model with other weights."""

    def change(folder: Path) -> None:
        import torch

        import glassbert
        from glassbert.checkpoint.tensorflow import save_tensorflow

        torch.manual_seed(1)
        save_tensorflow(glassbert.BertModel(glassbert.BertConfig.from_dict(CONFIG)), folder / "other")
        (folder / "other" / name).replace(folder / name)

    return change


def archive(
    *,
    compression: int = zipfile.ZIP_STORED,
    storage: int | None = None,
    pickle_size: int = 0,
    names: bytes | None = None,
) -> bytes:
    """Rewrite a sound archive of `torch.save`, in some way unsound."""
    import torch

    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"x": torch.zeros(4)}))) as sound,
        zipfile.ZipFile(buffer, "w", compression) as out,
    ):
        for part in sound.infolist():
            data = sound.read(part)
            if "/data/" in part.filename and storage is not None:
                data = b"\0" * storage
            if part.filename.endswith("data.pkl"):
                data = (names or data) + b"\0" * pickle_size
            out.writestr(part.filename, data)
    return buffer.getvalue()


def link(name: str, target: str) -> Case:
    def write(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return write


def folder_as_file(name: str) -> Case:
    def write(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return write


def large_file(name: str, size: int) -> Case:
    """Write a file that is long and, on the disk, empty."""

    def write(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return write


def cases() -> Iterator[tuple[str, Case]]:
    """Name every case."""
    import torch

    # The bytes of a safetensors file.
    for name, data in {
        "0 bytes": b"",
        "7 bytes": b"\1" * 7,
        "length 0": struct.pack("<Q", 0),
        "length beyond the file": struct.pack("<Q", 1000) + b"{}",
        "length 2^63": struct.pack("<Q", 2**63) + b"{}",
        "length 100 MB + 1": struct.pack("<Q", 100_000_001) + b"{}",
        "bad UTF-8": struct.pack("<Q", 4) + b"{\xff\xff}",
        "not JSON": struct.pack("<Q", 5) + b"hello",
        "a JSON array": struct.pack("<Q", 2) + b"[]",
        "deep JSON": struct.pack("<Q", 10_000) + b"[" * 5_000 + b"]" * 5_000,
        "deep metadata": struct.pack("<Q", 10_020) + b'{"__metadata__":' + b"[" * 5_001 + b"]" * 5_002 + b"}",
        "a duplicate key": (lambda t: struct.pack("<Q", len(t)) + t + b"\0" * 4)(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        ),
        "metadata that is no string": header({"__metadata__": {"format": 1}}),
        "an empty header": header({}),
        "a pickle renamed": pickle.dumps({"a": 1}),
        "HTML renamed": b"<html><body>404 Not Found</body></html>",
        "100,000 empty tensors": header(
            {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(100_000)}
        ),
    }.items():
        yield f"safetensors: {name}", raw(data)
    yield "safetensors: cut by 1 byte", edited(lambda data: data[:-1])
    yield "safetensors: 1 byte too many", edited(lambda data: data + b"\0")
    yield "safetensors: cut in half", edited(lambda data: data[: len(data) // 2])
    entries: dict[str, dict[str, Any]] = {
        "overlap": {"data_offsets": [0, 32]},
        "a hole": {"data_offsets": [10_000, 10_032]},
        "a negative offset": {"data_offsets": [-32, 0]},
        "reversed offsets": {"data_offsets": [64, 32]},
        "shape and bytes disagree": {"shape": [9]},
        "shape 0 by 2^62": {"shape": [0, 2**62]},
        "shape 2^62 by 4": {"shape": [2**62, 4]},
        "an unknown dtype": {"dtype": "F31"},
        "offsets that are no numbers": {"data_offsets": ["a", "b"]},
        "a shape that is no list": {"shape": 8},
    }
    for name, changes in entries.items():
        yield f"safetensors: {name}", entry(**changes)
    word = "embeddings.word_embeddings.weight"
    changed: dict[str, Callable[[dict[str, Any]], Any]] = {
        "int64 weights": lambda state: state.update({word: torch.zeros(12, 8, dtype=torch.int64)}),
        "fp8 weights": lambda state: state.update({word: torch.zeros(12, 8, dtype=torch.float8_e4m3fn)}),
        "bool weights": lambda state: state.update({word: torch.zeros(12, 8, dtype=torch.bool)}),
        "NaN": lambda state: state.update({word: state[word].fill_(float("nan"))}),
        "infinity": lambda state: state.update({word: state[word].fill_(float("inf"))}),
        "NaN in bf16": lambda state: state.update({word: torch.full((12, 8), float("nan"), dtype=torch.bfloat16)}),
        "a missing tensor": lambda state: {key: tensor for key, tensor in state.items() if key != word},
        "an unexpected tensor": lambda state: state.update({"backdoor": torch.zeros(1)}),
        "a tensor under two names": lambda state: state.update({"bert." + word: torch.zeros(12, 8)}),
        "another width": lambda state: state.update({word: torch.zeros(12, 9)}),
        "one dimension too many": lambda state: state.update({word: torch.zeros(12, 8, 1)}),
        "another layer": lambda state: state.update(
            {key.replace("layer.0", "layer.7"): tensor.clone() for key, tensor in state.items() if "layer.0" in key}
        ),
    }
    for name, change in changed.items():
        yield f"safetensors: {name}", tensors(change)
    for name, given in NAMES.items():
        yield f"safetensors: a name of {name}", tensors(with_one_more(given))
    yield "safetensors: a header of 50 MB", raw(struct.pack("<Q", 50_000_000) + b'{"a":"' + b"x" * 49_999_992 + b'"}')
    twice_in = "{" + ",".join(f'"k{number}":1' for number in range(100_000)) + ',"k1":2}'
    yield "safetensors: a duplicate key among many", raw(struct.pack("<Q", len(twice_in)) + twice_in.encode())
    yield "safetensors: a folder as file", folder_as_file("model.safetensors")
    yield "safetensors: a link to outside", link("model.safetensors", "/etc/passwd")
    yield "safetensors: a link to nothing", link("model.safetensors", "nothing")
    yield "safetensors: 20 GB of nothing", large_file("model.safetensors", 20 * 2**30)

    # An index.
    for name in (
        "../a.safetensors",
        "/etc/passwd",
        "sub/a.safetensors",
        "..",
        ".",
        "",
        "a\0b",
        "..\\a.safetensors",
        "~",
    ):
        yield f"index: names {name!r}", index(lambda names, name=name: dict.fromkeys(names, name))
    yield (
        "index: a link to outside",
        index(lambda names: dict.fromkeys(names, "b.safetensors"), link("b.safetensors", "/etc/passwd")),
    )
    yield "index: a missing shard", index(lambda names: dict.fromkeys(names, "b.safetensors"))
    yield "index: a key that no shard holds", index(lambda names: dict.fromkeys([*names, "more"], "a.safetensors"))
    yield "index: a key that it does not name", index(lambda names: dict.fromkeys(names[1:], "a.safetensors"))
    for name, mapping in {
        "no map": None,
        "a list": ["a"],
        "empty": {},
        "a number": {"a": 1},
        "null": {"a": None},
    }.items():
        yield f"index: {name}", index(mapping)

    def twice(folder: Path) -> None:
        (folder / "b.safetensors").write_bytes((folder / "a.safetensors").read_bytes())

    yield (
        "index: a key in two shards",
        index(lambda names: {name: "ab"[number % 2] + ".safetensors" for number, name in enumerate(names)}, twice),
    )

    def halves(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "a.safetensors")
        for shard, part in (("a", 0), ("b", 1)):
            save_file({name: state[name] for name in sound_names()[part::2]}, folder / f"{shard}.safetensors")

    yield (
        "index: a key mapped to the wrong shard",
        index(lambda names: {name: "ba"[number % 2] + ".safetensors" for number, name in enumerate(names)}, halves),
    )
    yield "index: a file's name of two lines", index(lambda names: dict.fromkeys(names, "a\nb"))
    yield "index: a tensor's name of two lines", index(lambda names: dict.fromkeys([*names, "a\nb"], "a.safetensors"))
    yield "index: 10 MB of names", index(lambda _: {f"k{number}": "a.safetensors" for number in range(400_000)})
    yield (
        "index: a folder as shard",
        index(lambda names: dict.fromkeys(names, "b.safetensors"), lambda folder: (folder / "b.safetensors").mkdir()),
    )

    # A pickle.
    marker = "hostile-was-here"
    calls: dict[str, tuple[Any, ...]] = {
        "os.system": (os.system, f"touch {marker}"),
        "eval": (eval, f"open({marker!r}, 'w')"),
        "exec": (exec, f"open({marker!r}, 'w')"),
        "open": (open, marker, "w"),
        "getattr": (getattr, "a", "upper"),
    }
    for name, call in calls.items():
        for form, settings in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}.items():
            yield f".bin: {name} in {form} form", as_bin(saved({"x": Calls(*call)}, **settings))
    yield ".bin: a bare pickle that calls", as_bin(pickle.dumps(Calls(os.system, f"touch {marker}")))
    yield ".bin: a compressed archive", as_bin(archive(compression=zipfile.ZIP_DEFLATED))
    yield ".bin: a bomb", as_bin(archive(compression=zipfile.ZIP_DEFLATED, storage=300 * 2**20))
    yield ".bin: a storage cut short", as_bin(archive(storage=3))
    yield ".bin: a huge pickle", as_bin(archive(pickle_size=20 * 2**20))
    for place in (0, len(sound_names()) // 2, len(sound_names()) - 1):
        yield f".bin: storage {place} of a sound model cut short", shortened(place)
    yield ".bin: tuples of tuples", as_bin(archive(names=tuples_of_tuples(40)))
    yield ".bin: tuples of tuples, bare", as_bin(legacy(tuples_of_tuples(40)))
    for form, made in {"zip": lambda pickled: archive(names=pickled), "legacy": legacy}.items():
        yield f".bin: 2 GB of bytearray in {form} form", as_bin(made(CALLS_BYTEARRAY))
        yield f".bin: 200,000 lists in {form} form", as_bin(made(b"\x80\x02](" + b"]" * 200_000 + b"e."))
    yield ".bin: 20 GB of nothing behind a sound model in legacy form", sparse(20 * 2**30)
    for numbers in (2**28, 2**33, 2**45, 2**61):
        yield f".bin: a storage of {numbers:,} numbers in legacy form", as_bin(legacy(storage_of(numbers)))
    for name, given in NAMES.items():
        yield f".bin: a name of {name}", as_bin(saved({given: torch.zeros(1)}))
        yield f".bin: a name of {name}, no tensor", as_bin(saved({given: "y"}))
    yield ".bin: a tape archive", as_bin(tape())
    yield ".bin: a tensor, no mapping", as_bin(saved(torch.zeros(3)))
    yield ".bin: a list", as_bin(saved([torch.zeros(3)]))
    yield ".bin: numbers as keys", as_bin(saved({1: torch.zeros(3)}))
    yield ".bin: a string as tensor", as_bin(saved({"x": "y"}))
    yield ".bin: a mapping in a mapping", as_bin(saved({"state_dict": {"x": torch.zeros(1)}}))
    yield ".bin: sparse", as_bin(saved({"x": torch.eye(3).to_sparse()}))
    yield ".bin: strides over nothing", as_bin(saved({word: torch.zeros(1).expand(2**40)}))
    yield ".bin: empty", as_bin(b"")
    yield ".bin: HTML", as_bin(b"<html></html>")
    yield ".bin: no tensors", as_bin(saved({}))
    for form, settings in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}.items():
        sound = saved({name: torch.zeros(2, 2) for name in "abcdef"}, **settings)
        for part in (10, len(sound) // 2, len(sound) - 1):
            yield f".bin: {form} cut at {part}", as_bin(sound[:part])

    # A config.
    configs: dict[str, dict[str, Any]] = {
        "hidden 9 with 2 heads": {"hidden_size": 9},
        "no heads": {"num_attention_heads": 0},
        "vocabulary of -1": {"vocab_size": -1},
        "vocabulary of 0": {"vocab_size": 0},
        "vocabulary of 10^12": {"vocab_size": 10**12},
        "vocabulary of 10^7": {"vocab_size": 10**7},
        "layers -1": {"num_hidden_layers": -1},
        "layers 10^9": {"num_hidden_layers": 10**9},
        "layers 1000": {"num_hidden_layers": 1000},
        "no positions": {"max_position_embeddings": 0},
        "a million positions": {"max_position_embeddings": 1_000_000},
        "width 65,536": {"hidden_size": 65_536, "intermediate_size": 1_000_000},
        "a million classes": {"num_labels": 1_000_001},
        "padding beyond the vocabulary": {"pad_token_id": 12},
        "eps a string": {"layer_norm_eps": "1e-12"},
        "hidden a string": {"hidden_size": "8"},
        "hidden 8.0": {"hidden_size": 8.0},
        "hidden NaN": {"hidden_size": float("nan")},
        "eps infinite": {"layer_norm_eps": float("inf")},
        "an unknown activation": {"hidden_act": "__import__('os').system('true')"},
        "dropout 2": {"hidden_dropout_prob": 2.0},
        "another kind": {"model_type": "roberta"},
        "an unknown class": {"architectures": ["os.system"]},
        "a class that is a list": {"architectures": [["BertModel"]]},
        "labels that repeat": {"id2label": {"0": "a", "1": "a"}},
        "labels of numbers": {"id2label": {"0": 1, "1": 2}},
        "pruned heads that are not": {"pruned_heads": {"0": [5]}},
    }
    for name, changes in configs.items():
        yield f"config: {name}", config(**changes)
    texts: dict[str, str | bytes] = {
        "empty": "",
        "a list": "[]",
        "not UTF-8": b"\xff\xfe{}",
        "cut off": '{"model_type": "bert"',
        "duplicate keys among many": "{" + ",".join(f'"k{number}":1' for number in range(300_000)) + ',"k1":2}',
        "500,000 lists": '{"a":[' + "[]," * 500_000 + "[]]}",
        "an activation of 3 MB": json.dumps({**CONFIG, "hidden_act": "x" * 3_000_000}),
        "a class of two lines": json.dumps({**CONFIG, "architectures": ["a\nb"]}),
        "a kind of 3 MB": json.dumps({**CONFIG, "model_type": "x\n" * 1_000_000}),
        "duplicate keys": '{"model_type": "bert", "vocab_size": 12, "vocab_size": 13}',
        "deep": "[" * 100_000,
        "a number of a million digits": '{"vocab_size": ' + "1" * 1_000_000 + "}",
    }
    for name, text in texts.items():
        yield f"config: {name}", config_text(text)
    yield "config: 1 GB", large_file("config.json", 2**30)
    yield "config: a folder", folder_as_file("config.json")
    yield "config: a link to outside", link("config.json", "/etc/passwd")
    yield from tensorflow_cases()


def tensorflow_cases() -> Iterator[tuple[str, Case]]:
    """Name the cases of Google's form; `test_bundle.py` has many more of its index."""
    index, data, settings = "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "bert_config.json"

    def changed(name: str, change: Callable[[bytes], bytes]) -> Case:
        return as_tensorflow(lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())))

    def two(folder: Path) -> None:
        (folder / "checkpoint").unlink()
        (folder / "b.index").write_bytes((folder / index).read_bytes())

    def flipped(content: bytes) -> bytes:
        return content[:100] + bytes([content[100] ^ 1]) + content[101:]

    yield "tf: a flipped bit of the index", changed(index, flipped)
    yield "tf: a flipped bit of a tensor", changed(data, flipped)
    yield "tf: an index cut off", changed(index, lambda content: content[:-1])
    yield "tf: data cut off by 1 byte", changed(data, lambda content: content[:-1])
    yield "tf: data cut in half", changed(data, lambda content: content[: len(content) // 2])
    yield "tf: an empty index", changed(index, lambda _: b"")
    yield "tf: HTML as index", changed(index, lambda _: b"<html></html>" * 10)
    yield "tf: no data", as_tensorflow(lambda folder: (folder / data).unlink())
    yield "tf: another number of data files", as_tensorflow(lambda f: (f / data).rename(f / f"{data[:-1]}2"))
    yield "tf: no config", as_tensorflow(lambda folder: (folder / settings).unlink())
    yield "tf: the index of another run", as_tensorflow(other_run(index))
    yield "tf: the data of another run", as_tensorflow(other_run(data))
    yield "tf: two checkpoints and none named", as_tensorflow(two)
    for name in (index, data, settings):
        yield f"tf: {name} as a link to outside", as_tensorflow(link(name, "/etc/passwd"))
        yield f"tf: {name} as a folder", as_tensorflow(folder_as_file(name))
        yield f"tf: {name} of 20 GB", as_tensorflow(large_file(name, 20 * 2**30))
    for key, value in {"hidden_size": 9, "vocab_size": 10**12, "num_hidden_layers": 1000, "hidden_act": "exec"}.items():
        yield f"tf: {key} {value}", as_tensorflow(config(**{key: value}, file=settings))


def peak() -> float:
    """Return the largest memory since the last `forget`, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def forget() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def bounded(seconds: float, room: int | None) -> None:
    """Let the system end this process after some time of the processor, and refuse it more memory."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if room is None else size + room, most))


def main(root: Path) -> None:
    import torch

    import glassbert

    torch.set_num_threads(1)
    opened: list[str] = []
    watching = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str | bytes):
            opened.append(os.fsdecode(arguments[0]))
        if watching and event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect"):
            opened.append(event)

    sys.addaudithook(watch)
    torch.manual_seed(0)
    sound = glassbert.BertModel(glassbert.BertConfig.from_dict(CONFIG))
    sound.save_pretrained(root / "sound")
    glassbert.load(root / "sound")  # imports what loading imports
    os.chdir(root)
    for number, (name, make) in enumerate(cases()):
        folder = root / f"case{number}"
        sound.save_pretrained(folder)
        make(folder)
        forget()
        before = peak()
        opened.clear()
        begin = os.times()
        bounded(2.0, 2**30)
        watching = True
        try:
            glassbert.load(folder)
            result, message = "loaded", ""
        except Exception as error:
            result, message = type(error).__name__, str(error)
        watching = False
        end = os.times()
        bounded(0.0, None)
        outside = [
            path
            for path in opened
            if not os.path.realpath(path).startswith((str(root), sys.prefix, sys.base_prefix, "/usr/lib", "/proc/self"))
        ]
        print(
            json.dumps(
                {
                    "case": name,
                    "folder": str(folder),
                    "result": result,
                    "message": message,
                    "seconds": round(end.user + end.system - begin.user - begin.system, 2),
                    "megabytes": peak() - before,
                    "outside": outside,
                    "ran": (root / "hostile-was-here").exists(),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
