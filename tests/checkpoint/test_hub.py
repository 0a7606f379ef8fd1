"""Models by name, with the client of the hub against a server on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import glassbert
from glassbert import BertConfig, BertModel, BertTokenizer, CheckpointError
from glassbert.checkpoint.hub import local_folder, push_to_hub
from tests.checkpoint.hub_server import TOKEN, Client, HubServer, RefusedError, serving

MODEL = {"config.json": b'{"a": 1}', "model.safetensors": b"weights"}
TOKENIZER = {"vocab.txt": b"[PAD]\n", "tokenizer_config.json": b"{}"}
# What repos hold beside what we read.
FOREIGN = {
    ".gitattributes": b"",
    "README.md": b"# Card",
    "modeling.py": b"raise SystemExit",
    "training_args.bin": b"pickle",
    "optimizer.pt": b"pickle",
    "weights.pkl": b"pickle",
    "tf_model.h5": b"keras",
    "flax_model.msgpack": b"flax",
    "onnx/model.onnx": b"onnx",
    "1_Pooling/pytorch_model.bin.py": b"raise SystemExit",
}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def processes(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    # All at once: most of their time is spent on importing.
    home = tmp_path_factory.mktemp("homes")
    clients = {
        "plain": Client(hub.url, home / "plain"),
        "offline": Client(hub.url, home / "offline", HF_HUB_OFFLINE="1"),
        "token": Client(hub.url, home / "token", HF_TOKEN=TOKEN, HF_HUB_CACHE=str(home / "elsewhere")),
    }
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def client(hub: HubServer, processes: dict[str, Client]) -> Client:
    hub.repos.clear()
    hub.requests.clear()
    return processes["plain"]


@pytest.fixture
def offline(client: Client, processes: dict[str, Client]) -> Client:
    return processes["offline"]


@pytest.fixture
def with_token(client: Client, processes: dict[str, Client]) -> Client:
    return processes["token"]


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(client: Client, name: str, **settings: object) -> str:
    with pytest.raises(RefusedError) as caught:
        client.folder(name, **settings)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(name)
    return message


def index(*names: str) -> bytes:
    return json.dumps({"weight_map": {f"tensor{number}": name for number, name in enumerate(names)}}).encode()


# Folders and names.


def test_a_folder_stands_for_itself(tmp_path: Path) -> None:
    assert local_folder(tmp_path, parts="model") == tmp_path
    assert local_folder(str(tmp_path), parts="config", token="x", cache_dir="y", local_files_only=True) == tmp_path


def test_a_revision_means_nothing_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder, for which revision='v1' means nothing; leave it out"):
        local_folder(tmp_path, parts="model", revision="v1")


@pytest.mark.parametrize(
    "name", ["/no/such", "./bert", "../bert", "~/bert", "~", "a/b/c", "bert/", "C:/bert", "C:bert", r".\bert", r"\bert"]
)
def test_a_path_that_is_not_there_is_no_repo(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no such folder$"):
        local_folder(name, parts="model")


@pytest.mark.parametrize(
    "name", ["", "my model", "a--b", "a..b", "bert.git", "-bert", "größe", "x" * 97, r"a\b", "a\0b"]
)
def test_a_name_that_no_repo_can_have(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no such folder, and no name of a repo: \S|null") as caught:
        local_folder(name, parts="model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://hub.example/owner/name", "is a URL, .*'owner/name'$"),
        ("https://hub.example/owner/name/", "is a URL, .*'owner/name'$"),
        ("https://hub.example/bert", "is a URL, .*'bert'$"),
        ("https://hub.example/owner/name/tree/v1", "is a URL, .*'owner/name', revision='v1'$"),
        ("ftp://somewhere/model", "is a URL, expected a folder or the name of a repo"),
        ("owner/name@main", "has a revision in it, .*'owner/name', revision='main'$"),
        (None, "the name is None, expected a folder"),
        (3, "the name is 3, expected a folder"),
        (b"bert", "the name is b'bert', expected a folder"),
    ],
)
def test_another_spelling_of_a_repo_is_told_with_the_one_to_use(name: Any, said: str) -> None:
    loads: tuple[Callable[[Any], Any], ...] = (local, glassbert.load, BertModel.from_pretrained)
    for load in (*loads, BertTokenizer.from_pretrained, BertConfig.from_pretrained):
        with pytest.raises(CheckpointError, match=said):
            load(name)


def local(name: Any) -> Path:
    return local_folder(name, parts="model")


def test_all_parts_are_a_model_and_what_there_is_beside_it(hub: HubServer, client: Client, tmp_path: Path) -> None:
    hub.repo("bert", {**MODEL, **TOKENIZER, **FOREIGN})
    hub.repo("bare", MODEL)
    whole = client.folder("bert", "all", cache_dir=tmp_path)
    assert held(whole) == {**MODEL, **TOKENIZER, "README.md": b"# Card"}
    assert held(client.folder("bare", "all", cache_dir=tmp_path)) == MODEL
    hub.repo("words", {"config.json": b"{}", **TOKENIZER})
    assert "holds neither model.safetensors" in refused(client, "words", parts="all", cache_dir=tmp_path)


def test_a_name_too_long_for_the_disk_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        local_folder("x" * 5000, parts="model")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file, expected a model folder"):
        local_folder(tmp_path / "file", parts="model")


def test_an_empty_revision(client: Client) -> None:
    assert "revision is empty" in refused(client, "bert", revision="")


# What is fetched.


def test_the_client_is_imported_when_it_is_needed(processes: dict[str, Client]) -> None:
    assert not any(client.imported_early for client in processes.values())


@pytest.mark.parametrize("name", ["bert", "owner/bert"])
@pytest.mark.parametrize(
    ("parts", "expected"),
    [("config", {"config.json"}), ("model", {*MODEL}), ("tokenizer", {"config.json", *TOKENIZER})],
)
def test_each_part_by_name(
    hub: HubServer, client: Client, tmp_path: Path, name: str, parts: str, expected: set[str]
) -> None:
    hub.repo(name, {**MODEL, **TOKENIZER, **FOREIGN})
    folder = client.folder(name, parts, cache_dir=tmp_path)
    assert held(folder) == {file: {**MODEL, **TOKENIZER}[file] for file in expected}
    assert folder.is_relative_to(tmp_path)
    assert hub.bodies() == sorted(expected)
    assert {request.token for request in hub.requests} == {None}


def test_parts_share_a_folder_and_nothing_is_fetched_twice(hub: HubServer, client: Client, tmp_path: Path) -> None:
    hub.repo("bert", {**MODEL, **TOKENIZER, **FOREIGN})
    folders = {client.folder("bert", parts, cache_dir=tmp_path) for parts in ("config", "model", "tokenizer") * 2}
    assert len(folders) == 1
    assert held(folders.pop()) == {**MODEL, **TOKENIZER}
    assert hub.bodies() == sorted({**MODEL, **TOKENIZER})
    hub.requests.clear()
    client.folder("bert", cache_dir=tmp_path)
    assert [request.route for request in hub.requests] == ["info"]


SHARDS = {"model-00001-of-00002.safetensors": b"one", "model-00002-of-00002.safetensors": b"two"}
BIN_SHARDS = {"pytorch_model-00001-of-00002.bin": b"one", "pytorch_model-00002-of-00002.bin": b"two"}
CHECKPOINT = {
    "bert_model.ckpt.index": b"i",
    "bert_model.ckpt.data-00000-of-00001": b"d",
    "checkpoint": b'model_checkpoint_path: "bert_model.ckpt"',
}


@pytest.mark.parametrize(
    ("wanted", "beside"),
    [
        ({"model.safetensors": b"w"}, {"pytorch_model.bin": b"p", "model.safetensors.index.json": index(*SHARDS)}),
        (
            {"model.safetensors.index.json": index(*SHARDS), **SHARDS},
            {"pytorch_model.bin": b"p", "model-00003-of-00003.safetensors": b"another save"},
        ),
        ({"pytorch_model.bin": b"p"}, {"pytorch_model.bin.index.json": index(*BIN_SHARDS), **BIN_SHARDS, **CHECKPOINT}),
        ({"pytorch_model.bin.index.json": index(*BIN_SHARDS), **BIN_SHARDS}, CHECKPOINT),
        (CHECKPOINT, {"bert_model.ckpt.meta": b"graph", "passages.index": b"of something else"}),
    ],
    ids=["safetensors", "safetensors in shards", "bin", "bin in shards", "TensorFlow"],
)
def test_the_first_weights_there_are(
    hub: HubServer, client: Client, tmp_path: Path, wanted: dict[str, bytes], beside: dict[str, bytes]
) -> None:
    config = {"bert_config.json": b"{}"}
    hub.repo("bert", {**config, **wanted, **beside, **FOREIGN})
    assert held(client.folder("bert", cache_dir=tmp_path)) == {**config, **wanted}
    assert hub.bodies() == sorted({**config, **wanted})


def test_a_sentence_model(hub: HubServer, client: Client, tmp_path: Path) -> None:
    modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense/"}, {"path": "3_Normalize"}]
    wanted = {
        **MODEL,
        "modules.json": json.dumps(modules).encode(),
        "sentence_bert_config.json": b"{}",
        "config_sentence_transformers.json": b"{}",
        "1_Pooling/config.json": b"{}",
        "2_Dense/config.json": b"{}",
        "2_Dense/model.safetensors": b"dense",
    }
    hub.repo("owner/sentences", {**wanted, **FOREIGN, "2_Dense/pytorch_model.bin": b"p", "4_Other/config.json": b"{}"})
    assert held(client.folder("owner/sentences", cache_dir=tmp_path)) == wanted


def test_a_sentence_model_with_everything_in_a_folder(hub: HubServer, client: Client, tmp_path: Path) -> None:
    inner = {f"0_Transformer/{name}": content for name, content in {**MODEL, **TOKENIZER}.items()}
    wanted = {
        **inner,
        "modules.json": json.dumps([{"path": "0_Transformer"}, {"path": "1_Pooling"}]).encode(),
        "1_Pooling/config.json": b"{}",
    }
    hub.repo("sentences", {**wanted, **FOREIGN})
    client.folder("sentences", "tokenizer", cache_dir=tmp_path)
    assert held(client.folder("sentences", cache_dir=tmp_path)) == wanted


@pytest.mark.parametrize(
    ("parts", "files", "message"),
    [
        ("config", {"vocab.txt": b""}, "the repo holds no config.json"),
        ("model", {"model.safetensors": b""}, "the repo holds no config.json"),
        (
            "model",
            {"config.json": b"{}", "checkpoint": b"", "x.index": b""},
            "holds neither model.safetensors nor pytorch_model.bin nor a TensorFlow",
        ),
        ("model", {"config.json": b"{}", "tf_model.h5": b""}, "checkpoint; tf_model.h5 cannot be read"),
        ("tokenizer", {"config.json": b"{}"}, "holds neither vocab.txt nor tokenizer.json"),
        (
            "model",
            {"config.json": b"{}", "model.safetensors.index.json": index("model-1.safetensors")},
            "model.safetensors.index.json names model-1.safetensors, which is not there",
        ),
        ("model", {"config.json": b"{}", "modules.json": b"["}, "modules.json: not readable as JSON"),
    ],
)
def test_a_repo_that_lacks_files(
    hub: HubServer, client: Client, tmp_path: Path, parts: str, files: dict[str, bytes], message: str
) -> None:
    hub.repo("bert", files)
    assert message in refused(client, "bert", parts=parts, cache_dir=tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors.index.json": index("../x.safetensors")},
        {"model.safetensors.index.json": index("/etc/x.safetensors")},
        {"model.safetensors.index.json": index("a/../../x.safetensors")},
        {"model.safetensors.index.json": index("*.safetensors")},
        {"model.safetensors.index.json": index("modeling.py")},
        {"model.safetensors.index.json": index("training_args.bin")},
        {"pytorch_model.bin.index.json": index("weights.pkl")},
        {"modules.json": json.dumps([{"path": "../1_Pooling"}]).encode()},
        {"modules.json": json.dumps([{"path": ".."}]).encode()},
    ],
)
def test_a_hostile_repo(hub: HubServer, client: Client, tmp_path: Path, files: dict[str, bytes]) -> None:
    (name,) = files
    hub.repo("evil", {"config.json": b"{}", **files, **FOREIGN, "x.safetensors": b"x", "*.safetensors": b"x"})
    assert f"{name} names" in refused(client, "evil", cache_dir=tmp_path)
    assert set(hub.bodies()) == {"config.json", name}
    assert not any(".." in request.path for request in hub.requests)


def test_a_list_of_files_that_leads_out(hub: HubServer, client: Client, tmp_path: Path) -> None:
    outside = (
        "../config.json",
        "../x_Pooling/config.json",
        "/x_Pooling/config.json",
        "../x.ckpt.index",
        "a/b/config.json",
    )
    hub.repo("evil", {**MODEL, **dict.fromkeys(outside, b"{}")})
    assert held(client.folder("evil", cache_dir=tmp_path)) == MODEL
    assert set(hub.bodies()) == {*MODEL}


# Revisions, tokens, and what the hub refuses.


def test_a_branch_and_a_commit(hub: HubServer, client: Client, tmp_path: Path) -> None:
    repo = hub.repo("bert", MODEL)
    first = repo.branches["main"]
    repo.branches["v2"] = first
    second = repo.commit({"model.safetensors": b"better"}, "v2")
    assert held(client.folder("bert", cache_dir=tmp_path)) == MODEL
    assert held(client.folder("bert", revision="v2", cache_dir=tmp_path)) == {**MODEL, "model.safetensors": b"better"}
    folder = client.folder("bert", revision=second, cache_dir=tmp_path)
    assert held(folder)["model.safetensors"] == b"better"
    # A branch moves; a commit stays, and needs no request at all.
    repo.commit({"model.safetensors": b"best"}, "v2")
    assert held(client.folder("bert", revision="v2", cache_dir=tmp_path))["model.safetensors"] == b"best"
    hub.requests.clear()
    assert client.folder("bert", revision=second, cache_dir=tmp_path) == folder
    assert hub.requests == []


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_an_unknown_revision(hub: HubServer, client: Client, tmp_path: Path, revision: str) -> None:
    hub.repo("bert", MODEL)
    message = refused(client, "bert", revision=revision, cache_dir=tmp_path)
    assert f"bert (revision {revision}): the repo has no such revision" in message


def test_an_unknown_repo(hub: HubServer, client: Client, tmp_path: Path) -> None:
    message = refused(client, "owner/nobody", cache_dir=tmp_path)
    assert "(revision main): found neither a folder nor a repo of the hub of that name" in message
    assert "set HF_TOKEN or pass token=" in message
    assert "found neither" in refused(client, "owner/nobody", token=TOKEN, cache_dir=tmp_path)


def test_a_private_repo(hub: HubServer, client: Client, with_token: Client, tmp_path: Path) -> None:
    hub.repo("me/secret", MODEL, private=True)
    assert "if it is private, set HF_TOKEN or pass token=" in refused(client, "me/secret", cache_dir=tmp_path / "1")
    assert hub.bodies() == []
    hub.requests.clear()
    assert held(client.folder("me/secret", token=TOKEN, cache_dir=tmp_path / "1")) == MODEL
    assert {request.token for request in hub.requests} == {TOKEN}
    hub.requests.clear()
    folder = with_token.folder("me/secret")
    assert folder.is_relative_to(with_token.home.parent / "elsewhere")  # HF_HUB_CACHE
    assert {request.token for request in hub.requests} == {TOKEN}
    # False: no token, though there is one.
    hub.requests.clear()
    assert "private" in refused(with_token, "me/secret", token=False, cache_dir=tmp_path / "2")
    assert {request.token for request in hub.requests} == {None}


def test_tokens_that_do_not_serve(hub: HubServer, client: Client, tmp_path: Path) -> None:
    hub.repo("bert", MODEL)
    message = refused(client, "bert", token="hf_wrong", cache_dir=tmp_path)
    assert "refuses the one it got (401: Invalid credentials in Authorization header); set HF_TOKEN" in message
    assert "token=True, but none is stored; set HF_TOKEN" in refused(client, "bert", token=True, cache_dir=tmp_path)


def test_a_gated_repo(hub: HubServer, client: Client, tmp_path: Path) -> None:
    hub.repo("owner/gated", MODEL, gated=True)
    assert "gated: ask for access on its page" in refused(client, "owner/gated", token=TOKEN, cache_dir=tmp_path)


def test_a_hub_with_troubles(hub: HubServer, client: Client, tmp_path: Path) -> None:
    hub.repo("bert", MODEL)
    try:
        hub.broken = 500
        message = refused(client, "bert", cache_dir=tmp_path)
        assert "the hub cannot answer now (500: broken); try again later" in message
        hub.broken = 429
        assert "(429: broken); try again later" in refused(client, "bert", cache_dir=tmp_path)
        hub.broken = 403
        assert "forbids it (403: broken)" in refused(client, "bert", cache_dir=tmp_path)
        hub.broken = None
        folder = client.folder("bert", cache_dir=tmp_path)
        for hub.broken in (500, 403):
            assert client.folder("bert", cache_dir=tmp_path) == folder
    finally:
        hub.broken = None


def test_a_repo_that_was_closed_still_serves_from_the_cache(hub: HubServer, client: Client, tmp_path: Path) -> None:
    hub.repo("bert", MODEL)
    folder = client.folder("bert", cache_dir=tmp_path)
    del hub.repos["bert"]
    assert client.folder("bert", cache_dir=tmp_path) == folder
    assert "found neither" in refused(client, "bert", revision="v2", cache_dir=tmp_path)


def test_a_file_in_the_place_of_the_cache(hub: HubServer, client: Client, tmp_path: Path) -> None:
    hub.repo("bert", MODEL)
    (tmp_path / "file").touch()
    assert "cannot write or read" in refused(client, "bert", cache_dir=tmp_path / "file")


# Without the hub.


def test_offline_from_the_cache(hub: HubServer, client: Client, offline: Client, tmp_path: Path) -> None:
    sha = hub.repo("bert", {**MODEL, **TOKENIZER}).branches["main"]
    folder = client.folder("bert", cache_dir=tmp_path)
    client.folder("bert", "tokenizer", cache_dir=tmp_path)
    hub.requests.clear()
    for parts in ("config", "model", "tokenizer"):
        for revision in (None, "main", sha):
            assert offline.folder("bert", parts, revision=revision, cache_dir=tmp_path) == folder
            assert client.folder("bert", parts, revision=revision, cache_dir=tmp_path, local_files_only=True) == folder
    assert hub.requests == []


def test_offline_and_not_in_the_cache(hub: HubServer, client: Client, offline: Client, tmp_path: Path) -> None:
    hub.repo("bert", {**MODEL, **TOKENIZER})
    unset, without = "HF_HUB_OFFLINE is set; unset it", "local_files_only is set; without it"
    assert f"not in the cache, or not all of it; {unset}" in refused(offline, "bert", cache_dir=tmp_path)
    assert f"not in the cache, or not all of it; {without}" in refused(
        client, "bert", cache_dir=tmp_path, local_files_only=True
    )
    assert unset in refused(offline, "bert", revision="1" * 40, cache_dir=tmp_path)
    assert hub.requests == []
    # A part is there, another is not.
    client.folder("bert", "tokenizer", cache_dir=tmp_path)
    hub.requests.clear()
    lacks = "the cache lacks model.safetensors; "
    assert lacks + unset in refused(offline, "bert", cache_dir=tmp_path)
    assert lacks + without in refused(client, "bert", cache_dir=tmp_path, local_files_only=True)
    assert hub.requests == []


def test_offline_with_a_cache_that_another_library_filled(
    hub: HubServer, client: Client, offline: Client, tmp_path: Path
) -> None:
    hub.repo("bert", {**MODEL, **TOKENIZER, "1_Pooling/config.json": b"{}"})
    folder = client.folder("bert", cache_dir=tmp_path)
    for listing in tmp_path.glob("models--bert/trees/*"):
        listing.unlink()  # only snapshots of the client have one, single files have not
    assert offline.folder("bert", cache_dir=tmp_path) == folder
    message = refused(offline, "bert", parts="tokenizer", cache_dir=tmp_path)
    assert "the cache holds neither vocab.txt nor tokenizer.json; HF_HUB_OFFLINE is set" in message


def test_a_client_that_would_rather_have_chunks(hub: HubServer, client: Client, tmp_path: Path) -> None:
    # Xet, the hub's store of chunks, is on unless it is switched off. This server has none: what it serves comes all
    # the same, and an upload for which the client wants one is refused in a line.
    with_xet = Client(hub.url, tmp_path / "home", HF_HUB_DISABLE_XET="0", HF_TOKEN=TOKEN)
    try:
        hub.repo("bert", {**MODEL, **TOKENIZER})
        assert held(with_xet.folder("bert")) == MODEL
        model = tmp_path / "mine"
        config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        BertModel(config).save_pretrained(model)
        with pytest.raises(RefusedError, match=r"me/mine .* no answer from the hub .*xet-write-token") as caught:
            with_xet.push(model, "me/mine")
        assert "\n" not in str(caught.value)
        assert set(hub.repos["me/mine"].commits[hub.repos["me/mine"].branches["main"]]) == {".gitattributes"}
    finally:
        with_xet.close()


def test_the_server_is_slow_then_gone(tmp_path: Path) -> None:
    with serving() as hub:
        # Filled without that limit, which a busy machine may exceed when nothing is wrong.
        first = Client(hub.url, tmp_path / "home")
        client = Client(hub.url, tmp_path / "home", HF_HUB_DOWNLOAD_TIMEOUT="1")
        try:
            hub.repo("bert", {**MODEL, **TOKENIZER})
            folder = first.folder("bert")
            assert folder.is_relative_to(tmp_path / "home")  # HF_HOME
            hub.delay = 60
            assert client.folder("bert") == folder
            assert "no answer from the hub (ReadTimeout: " in refused(client, "other")
            hub.close()
            assert client.folder("bert") == folder
            message = refused(client, "other")
            assert "no answer from the hub (ConnectError: " in message
            assert "not in the cache, or not all of it; check the network" in message
        finally:
            first.close()
            client.close()


# Pushing.


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config).save_pretrained(tmp_path / "mine")
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c")
    BertTokenizer({token: number for number, token in enumerate(tokens)}).save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / "README.md").write_text("# Mine\n")
    (tmp_path / "mine" / "notes.txt").write_text("not for everybody")
    (tmp_path / "mine" / ".env").write_text("HF_TOKEN=secret")
    (tmp_path / "mine" / "optimizer.pt").write_bytes(b"big")
    return tmp_path / "mine"


def test_push_then_load_back(hub: HubServer, client: Client, model_folder: Path, tmp_path: Path) -> None:
    url = client.push(model_folder, "me/mine", token=TOKEN, private=True, message="First")
    repo = hub.repos["me/mine"]
    sha = repo.branches["main"]
    assert url == f"{hub.url}/me/mine/commit/{sha}"
    assert repo.private
    assert repo.messages[-1] == "First"
    pushed = {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert set(repo.commits[sha]) == {".gitattributes", *pushed}
    assert all(repo.commits[sha][name] == (model_folder / name).read_bytes() for name in pushed)
    folder = client.folder("me/mine", token=TOKEN, cache_dir=tmp_path / "cache")
    assert client.folder("me/mine", "tokenizer", token=TOKEN, cache_dir=tmp_path / "cache") == folder
    ours, theirs = glassbert.load(model_folder), glassbert.load(folder)
    assert theirs.config == ours.config
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())
    assert BertTokenizer.from_pretrained(folder).vocab == BertTokenizer.from_pretrained(model_folder).vocab


def test_push_again_and_to_a_branch(hub: HubServer, with_token: Client, model_folder: Path) -> None:
    first = with_token.push(model_folder, "mine")
    assert first.startswith(f"{hub.url}/me/mine/commit/")  # the owner is the token's
    (model_folder / "README.md").write_text("# Ours\n")
    second = with_token.push(model_folder, "me/mine", private=True, revision="draft")
    repo = hub.repos["me/mine"]
    assert second.endswith(repo.branches["draft"])
    assert first.endswith(repo.branches["main"])
    assert repo.commits[repo.branches["draft"]]["README.md"] == b"# Ours\n"
    assert not repo.private  # it was there
    proposed = with_token.push(model_folder, "me/mine", create_pr=True)
    assert repo.branches["refs/pr/1"] in proposed
    assert first.endswith(repo.branches["main"])


def test_push_is_refused(client: Client, offline: Client, hub: HubServer, model_folder: Path, tmp_path: Path) -> None:
    def message(*arguments: object, by: Client = client, **settings: object) -> str:
        with pytest.raises(RefusedError) as caught:
            by.push(*arguments, **settings)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such folder" in message(tmp_path / "none", "me/mine")
    assert "holds no config.json" in message(tmp_path, "me/mine")
    assert "leave out revision" in message(model_folder, "me/mine", create_pr=True, revision="v2")
    assert "no name of a repo" in message(model_folder, "me--mine", token=TOKEN)
    assert hub.requests == []
    assert "asks for a token, or refuses the one it got" in message(model_folder, "me/mine")
    assert "HF_HUB_OFFLINE is set" in message(model_folder, "me/mine", by=offline)
    (model_folder / "model.safetensors").rename(model_folder / "model-1.safetensors")
    (model_folder / "model.safetensors.index.json").write_bytes(index("../secret.safetensors"))
    assert "names '../secret.safetensors'" in message(model_folder, "me/mine", token=TOKEN)
    assert hub.repos == {}


HOW_PEOPLE_DO_IT = """
import sys
import torch
from glassbert import BertConfig, BertForSequenceClassification, BertTokenizer, load
folder = sys.argv[1]
model = BertForSequenceClassification.from_pretrained(folder, fresh="classifier", num_labels=3)
model.push_to_hub("me/parts")
BertTokenizer.from_pretrained(folder).push_to_hub("me/parts", message="Words")
assert BertConfig.from_pretrained("me/parts").num_labels == 3
assert BertConfig.from_pretrained("me/parts", num_labels=5).num_labels == 5
again = load("me/parts")
assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
assert BertTokenizer.from_pretrained("me/parts").tokenize("a b") == ["a", "b"]
"""


def test_model_and_tokenizer_are_pushed_by_themselves(
    hub: HubServer, processes: dict[str, Client], model_folder: Path
) -> None:
    hub.repos.clear()
    token = processes["token"]
    subprocess.run(
        [sys.executable, "-c", HOW_PEOPLE_DO_IT, str(model_folder)], env=token.environment, check=True, timeout=300
    )
    repo = hub.repos["me/parts"]
    assert repo.messages[-1] == "Words"
    held = {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json"}
    assert set(repo.commits[repo.branches["main"]]) == {".gitattributes", *held}


def test_push_needs_a_folder_here(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        push_to_hub(tmp_path / "none", "me/mine")


def test_training_begins_with_a_model_of_the_hub(
    hub: HubServer, processes: dict[str, Client], model_folder: Path, tmp_path: Path
) -> None:
    hub.repos.clear()
    hub.repo("owner/bert", {file.name: file.read_bytes() for file in model_folder.iterdir()})
    (tmp_path / "data.csv").write_text("text,label\na b,x\nb a,y\n", encoding="utf-8")
    command = [sys.executable, "-m", "glassbert", "train", "data.csv", "--model", "owner/bert", "--out", "out"]
    done = subprocess.run(
        [*command, "--epochs", "1"],
        cwd=tmp_path,
        env=processes["plain"].environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").is_file()
    # What a repo on the hub and no folder is called is fit for the card.
    assert "base_model: owner/bert" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
