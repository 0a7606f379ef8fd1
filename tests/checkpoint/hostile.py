"""Hostile model folders, and a program that tries to load each: `python -m tests.checkpoint.hostile FOLDER`.

It prints one JSON object a case: what came of it, how long it took, how much memory, which files were opened outside.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import time
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


def header(tensors: dict[str, Any]) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def raw(data: bytes) -> Case:
    """Make a case of the bytes of `model.safetensors`."""

    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(data)

    return write


def config_text(text: str | bytes) -> Case:
    def write(folder: Path) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        (folder / "config.json").write_bytes(data)

    return write


def config(**changes: Any) -> Case:
    return config_text(json.dumps({**CONFIG, **changes}))


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


def archive(*, compression: int = zipfile.ZIP_STORED, storage: int | None = None, pickle_size: int = 0) -> bytes:
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
            if part.filename.endswith("data.pkl") and pickle_size:
                data += b"\0" * pickle_size
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
        "duplicate keys": '{"model_type": "bert", "vocab_size": 12, "vocab_size": 13}',
        "deep": "[" * 100_000,
        "a number of a million digits": '{"vocab_size": ' + "1" * 1_000_000 + "}",
    }
    for name, text in texts.items():
        yield f"config: {name}", config_text(text)
    yield "config: 1 GB", large_file("config.json", 2**30)
    yield "config: a folder", folder_as_file("config.json")
    yield "config: a link to outside", link("config.json", "/etc/passwd")


def peak() -> float:
    """Return the largest memory since the last `forget`, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def forget() -> None:
    Path("/proc/self/clear_refs").write_text("5")


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
        watching = True
        begin = time.perf_counter()
        try:
            glassbert.load(folder)
            result, message = "loaded", ""
        except Exception as error:
            result, message = type(error).__name__, str(error)
        seconds = time.perf_counter() - begin
        watching = False
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
                    "seconds": seconds,
                    "megabytes": peak() - before,
                    "outside": outside,
                    "ran": (root / "hostile-was-here").exists(),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
