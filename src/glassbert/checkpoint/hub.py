"""Models by name: folders of the Hugging Face hub, read and written through its own client.

Tokens, caches, mirrors and offline use are the client's (`HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`,
`HF_HUB_OFFLINE`). Ours is the choice of files. A repo is untrusted: only files that glassbert reads are asked for, by
names that are ours, or that an index of the repo gives and that are plain names of files that the repo lists.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from glassbert.checkpoint.place import FOREIGN, check_name
from glassbert.errors import CheckpointError
from glassbert.files import LARGEST_SETTINGS, read_json, read_json_value

if TYPE_CHECKING:
    from huggingface_hub import ResolvedRevision

Parts = Literal["config", "model", "tokenizer", "all"]

# Of each group the first that is there.
_CONFIGS: Final = ("config.json", "bert_config.json")
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
# Of these all that are there.
TOKENIZER: Final = (
    "vocab.txt",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_VOCABULARIES: Final = ("vocab.txt", "tokenizer.json")
_SENTENCES: Final = ("sentence_bert_config.json", "config_sentence_transformers.json")
_MODULES: Final = "modules.json"
CARD: Final = "README.md"

# A name without a path in it, and without a sign that the client would read as a pattern.
_PLAIN: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]+")
_POOLING: Final = re.compile(r"[A-Za-z0-9_.-]+_Pooling/config\.json")
_TENSORFLOW: Final = re.compile(r"([A-Za-z0-9_.-]+)\.data-\d{5}-of-\d{5}")

_TOKEN_HINT: Final = "set HF_TOKEN or pass token="

Fetch = Callable[[Sequence[str]], Path]


class Hub(TypedDict):
    """The settings of `local_folder`."""

    revision: str | None
    token: str | bool | None
    cache_dir: str | Path | None
    local_files_only: bool


def local_folder(
    name: str | Path,
    *,
    parts: Parts,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the folder that `name` stands for: itself, where it is one, else that of a repo in the client's cache.

    A branch is looked up at every call, with one request; what is in the cache is not fetched again. Where the hub does
    not answer (for `HF_HUB_DOWNLOAD_TIMEOUT`, 10 seconds), or lets nobody in any more, the cache alone serves. A commit
    that is in the cache needs no request.

    Args:
        name: a folder, or `name` or `owner/name` on the hub. A folder of that name comes first.
        parts: what is needed. Every part has the config, by which a tokenizer knows how many positions there are.
            "all" is a model, and what there is of a tokenizer and a model card.
        revision: a branch, tag or commit on the hub; None for the default branch.
        token: for the hub; None takes the stored one or `HF_TOKEN`, False none. Beside a folder it does nothing.
        cache_dir: in place of the client's cache. Beside a folder it does nothing.
        local_files_only: take what the cache has, without any request. Beside a folder it does nothing.

    Raises:
        CheckpointError: neither a folder nor a repo of that name; a revision beside a folder; a repo without the files
            of `parts`; whatever the client reports, in one line that names the repo, the revision and what to do.
    """
    folder = _existing(name, revision)
    if folder is not None:
        return folder
    repo = name if isinstance(name, str) else Path(name).as_posix()
    place = f"{name}: no such folder; on the hub, {_place(repo, revision)}"
    try:
        cache = None if cache_dir is None else Path(cache_dir).expanduser().resolve()
        source = _resolved(repo, revision, token, cache, local_files_only)
        there = source.names()
        files = _needed(there, parts, source.fetch)
        lacking = _lacking(files, there, parts)
        if lacking is None:
            return source.fetch(files)
    except CheckpointError as error:
        raise CheckpointError(f"{place}: {error}") from None
    except Exception as error:  # the client's own, and those of the libraries under it
        unknown = f"found neither a folder nor a repo of the hub of that name; if it is private, {_TOKEN_HINT}"
        raise CheckpointError(f"{place}: {_reason(error, unknown, local_files_only)}") from error
    if not source.listed:
        raise CheckpointError(f"{place}: the cache {lacking}; {_online(local_files_only)}")
    raise CheckpointError(f"{place}: the repo {lacking}")


def push_to_hub(
    folder: str | Path,
    repo: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload a model folder, and return the URL of the commit.

    The files are those that `local_folder` would fetch, and `README.md`. Nothing that stands in the repo is deleted.

    Args:
        folder: holds a model (config and weights), a vocabulary, or both.
        repo: `name` or `owner/name`; it is created where it is missing.
        token: with the right to write; None takes the stored one or `HF_TOKEN`.
        private: whether a new repo is; None leaves it to the owner's setting. A repo that is there stays as it is.
        revision: a branch, created where it is missing; None for the default branch.
        message: of the commit.
        create_pr: propose the commit as a pull request to the default branch.

    Raises:
        CheckpointError: no model folder, a name that no repo can have, or whatever the client reports.
    """
    path = Path(folder)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder")
    there = _names(path)
    try:
        model, tokenizer = _needed(there, "model", lambda _: path), _needed(there, "tokenizer", lambda _: path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    lacking = _lacking(model, there, "model")
    if lacking is not None and _lacking(tokenizer, there, "tokenizer") is not None:
        raise CheckpointError(f"{path}: {lacking}")
    if create_pr and revision is not None:
        raise CheckpointError("create_pr proposes a change of the default branch; leave out revision")

    from huggingface_hub import HfApi

    place = _place(repo, revision)
    try:
        api = HfApi(token=token)
        full = api.create_repo(repo, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(full, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=full,
            folder_path=path,
            allow_patterns=sorted({*model, *tokenizer, *({CARD} & there)}),
            revision=revision,
            commit_message=message or "Upload a model of glassbert",
            create_pr=create_pr,
        )
    except Exception as error:
        unknown = f"the hub knows no such repo, or does not show it; {_TOKEN_HINT}"
        raise CheckpointError(f"{place}: {_reason(error, unknown, False)}") from error
    return commit.commit_url


def _place(repo: str, revision: str | None) -> str:
    return f"{repo} (revision {revision or 'main'})"


def _existing(name: str | Path, revision: str | None) -> Path | None:
    """Return the folder `name`, or None where only a repo of the hub can be meant.

    Raises:
        CheckpointError: a file, a path that is not there, or a name that neither a path nor a repo has.
    """
    check_name(name)
    path = Path(name)
    text = name if isinstance(name, str) else path.as_posix()
    try:
        is_folder, exists = bool(text) and path.is_dir(), bool(text) and path.exists()
    except (OSError, ValueError) as error:  # too long, no right to look, a zero byte
        raise CheckpointError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if is_folder:
        if revision is not None:
            raise CheckpointError(f"{path}: is a folder, for which revision={revision!r} means nothing; leave it out")
        return path
    if exists:
        raise CheckpointError(f"{path}: is a file, expected a model folder")
    _check_repo(text)
    if (
        path.is_absolute()
        or text.startswith(("./", "../", "~", "/", "\\"))
        or text in (".", "..")
        or text.endswith("/")
        or text.count("/") > 1
        or re.match(r"[A-Za-z]:|\.{0,2}\\", text)
    ):
        raise CheckpointError(f"{path}: no such folder")
    if revision == "":
        raise CheckpointError(
            f"{text}: revision is empty, expected a branch, tag or commit; leave it out for the default"
        )

    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # listed where mypy does not look

    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise CheckpointError(f"{text!r}: no such folder, and no name of a repo: {_first_line(error)}") from None
    return None


def _check_repo(text: str) -> None:
    """Refuse other spellings of a repo, with the one that is taken here.

    Raises:
        CheckpointError: it is a URL, or has a revision in it.
    """
    url = re.fullmatch(
        r"https?://[^/]+/(?:models/)?([^/?#]+(?:/[^/?#]+)?)(?:/(?:tree|blob|resolve)/([^/?#]+).*)?/?", text
    )
    named = re.fullmatch(r"(\w[\w.-]*(?:/[\w.-]+)?)@([^@]+)", text)
    found = url or named
    if found is not None:
        kind = "is a URL" if url else "has a revision in it"
        revision = f", revision={found[2]!r}" if found[2] else ""
        raise CheckpointError(f"{text}: {kind}, expected a folder or the name of a repo: {found[1]!r}{revision}")
    if "://" in text:
        raise CheckpointError(f"{text}: is a URL, expected a folder or the name of a repo, such as 'owner/name'")


@dataclasses.dataclass
class _Snapshot:
    """One commit of a repo.

    Attributes:
        listed: whether the names are those of the repo; else only the cache's are known.
    """

    repo: str
    commit: ResolvedRevision
    token: str | bool | None
    cache_dir: Path | None
    local_files_only: bool
    listed: bool = True

    def names(self) -> set[str]:
        """Return the names of the repo's files; where nobody can tell, of those in the cache."""
        tree = self._tree()
        if tree is None:
            # The client keeps the list of all files when it fetches the first ones.
            folder = self._download(_CONFIGS)
            tree = self._tree()
        if tree is None:
            # Filled by another library, and no network now.
            self.listed = False
            tree = _names(folder)
        return tree

    def _tree(self) -> set[str] | None:
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        try:
            tree = get_cached_repo_tree(self.repo, revision=self.commit, cache_dir=self.cache_dir)
        except CachedRepoTreeNotFoundError:
            return None
        return {file.path for file in tree}

    def fetch(self, names: Sequence[str]) -> Path:
        """Bring `names` into the cache, and return the folder they are in."""
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

        # Looked up here first, since the client shows its progress bars even when it has nothing to do.
        commit = self.commit.resolved
        cached = [try_to_load_from_cache(self.repo, name, self.cache_dir, commit) for name in names]
        if all(isinstance(file, str) for file in cached):
            return Path(str(cached[0])).parents[names[0].count("/")].resolve()
        try:
            return self._download(names)
        except LocalEntryNotFoundError as error:
            if error.__cause__ is not None and not isinstance(error.__cause__, OfflineModeIsEnabled):
                raise
            lacking = [name for name, file in zip(names, cached, strict=True) if not isinstance(file, str)]
            more = ", …" if len(lacking) > 3 else ""
            raise CheckpointError(
                f"the cache lacks {', '.join(lacking[:3])}{more}; {_online(self.local_files_only)}"
            ) from None

    def _download(self, names: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            self.repo,
            revision=self.commit,
            token=self.token,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
            allow_patterns=list(names),
        )
        return Path(folder)


def _names(folder: Path) -> set[str]:
    """Return the files of a folder, and of the folders in it."""
    found = (*folder.glob("*"), *folder.glob("*/*"))
    return {file.relative_to(folder).as_posix() for file in found if file.is_file()}


def _resolved(
    repo: str, revision: str | None, token: str | bool | None, cache_dir: Path | None, local_files_only: bool
) -> _Snapshot:
    """Find the commit, so that all files come from one, also when somebody pushes meanwhile."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError, RevisionResolutionError

    class Api(HfApi):
        # The client sets no limit on this request, and would wait for ever where a firewall swallows it.
        def repo_info(self, *args: Any, **settings: Any) -> Any:
            return super().repo_info(*args, **{"timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, **settings})

    def resolve(offline: bool) -> ResolvedRevision:
        return Api(token=token).resolve_revision(
            repo, revision=revision, cache_dir=cache_dir, local_files_only=offline, token=token
        )

    try:
        commit = resolve(local_files_only)
    except RevisionNotFoundError:
        raise
    except HfHubHTTPError as error:
        # Deleted or closed since, or the token is no longer good. What was fetched before still serves, as it does in
        # the client's own snapshots.
        try:
            commit = resolve(True)
        except RevisionResolutionError:
            raise error from None
    return _Snapshot(repo, commit, token, cache_dir, local_files_only)


def _needed(there: Collection[str], parts: Parts, fetch: Fetch) -> list[str]:
    """Choose the files of `parts` among those that are `there`; `fetch` brings what names further ones.

    Raises:
        CheckpointError: an index or `modules.json` that is damaged or names a path.
    """
    folders = [""]
    if _MODULES in there and (parts in ("model", "all") or (parts == "tokenizer" and not _some(there, _VOCABULARIES))):
        # Sentence models from before 2021 keep everything in a folder, such as 0_Transformer.
        folders += _module_folders(fetch([_MODULES]) / _MODULES)
    needed = []
    for folder in folders:
        needed += [folder + name for name in _CONFIGS if folder + name in there][:1]
        if parts in ("tokenizer", "all"):
            needed += [folder + name for name in TOKENIZER if folder + name in there]
        if parts in ("model", "all"):
            needed += [folder + name for name in _SENTENCES if folder + name in there]
            needed += _weights(there, folder, fetch)
    if parts in ("model", "all"):
        needed += [name for name in there if name == _MODULES or _POOLING.fullmatch(name)]
    if parts == "all":
        needed += [name for name in there if name == CARD]
    return sorted(set(needed))


def _some(there: Collection[str], names: Iterable[str]) -> bool:
    return any(name in there for name in names)


def _weights(there: Collection[str], folder: str, fetch: Fetch) -> list[str]:
    for name in _WEIGHTS:
        if folder + name in there:
            return [folder + name]
        index = f"{folder}{name}.index.json"
        if index in there:
            return [index, *_shards(there, folder, index, Path(name).suffix, fetch)]
    found = (_TENSORFLOW.fullmatch(name.removeprefix(folder)) for name in there if name.startswith(folder))
    data = [match for match in found if match is not None and f"{folder}{match[1]}.index" in there]
    files = {folder + name for match in data for name in (match[0], f"{match[1]}.index")}
    return sorted(files | ({f"{folder}checkpoint"} & set(there) if files else set()))


def _shards(there: Collection[str], folder: str, index: str, suffix: str, fetch: Fetch) -> list[str]:
    mapping = read_json(fetch([index]) / index, most=LARGEST_SETTINGS).get("weight_map")
    # What else may be wrong with an index is for its reader to say.
    names = {str(name) for name in mapping.values()} if isinstance(mapping, dict) else set()
    for name in sorted(names):
        if not _PLAIN.fullmatch(name) or not name.endswith(suffix):
            raise CheckpointError(f"{index} names {name!r}, expected the plain name of a {suffix} file")
        if folder + name not in there:
            raise CheckpointError(f"{index} names {name}, which is not there")
    return [folder + name for name in names]


def _module_folders(file: Path) -> list[str]:
    modules = read_json_value(file, most=LARGEST_SETTINGS)
    paths = [module.get("path") for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []
    folders = [path.removesuffix("/") for path in paths if isinstance(path, str) and path]
    for folder in folders:
        if not _PLAIN.fullmatch(folder):
            raise CheckpointError(f"{_MODULES} names {folder!r}, expected the plain name of a folder")
    return [f"{folder}/" for folder in folders]


def _lacking(files: Collection[str], there: Collection[str], parts: Parts) -> str | None:
    """Return what `parts` needs and `files` has not; None when nothing lacks."""
    names = {file.rpartition("/")[2] for file in files}
    if parts == "tokenizer":
        return None if _some(names, _VOCABULARIES) else f"holds neither {' nor '.join(_VOCABULARIES)}"
    if not _some(names, _CONFIGS):
        return f"holds no {_CONFIGS[0]}"
    if parts == "config" or _some(names, _WEIGHTS) or any(name.endswith((".index", ".index.json")) for name in names):
        return None
    foreign = sorted(name for name in there if FOREIGN.fullmatch(name))
    instead = f"; {', '.join(foreign[:3])} cannot be read" if foreign else ""
    return f"holds neither {_WEIGHTS[0]} nor {_WEIGHTS[1]} nor a TensorFlow checkpoint{instead}"


def _reason(error: BaseException, unknown: str, local_files_only: bool) -> str:
    """Say in one line what the client reports and what to do.

    Args:
        error: anything that a call of the client has raised.
        unknown: the sentence for a repo that the hub does not know, or does not show.
        local_files_only: what the caller had asked for.
    """
    from huggingface_hub import errors

    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__  # how the client wraps what happens in a thread of its uploads
    missing = False
    while isinstance(error, errors.LocalEntryNotFoundError | errors.RevisionResolutionError):
        # Not in the cache; the cause says why not from the hub.
        missing = True
        if error.__cause__ is None:
            return f"not in the cache, or not all of it; {_online(local_files_only)}"
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"not in the cache, or not all of it; {_online(local_files_only)}" if missing else _online(False)
    if isinstance(error, errors.GatedRepoError):  # before its base class, an unknown repo
        return f"gated: ask for access on its page of the hub, then {_TOKEN_HINT}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return unknown
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repo has no such revision; give a branch, a tag or a whole commit hash of it"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"the hub does not find a file that it lists: {error.request.url}; try again"
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error)
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"token=True, but none is stored; {_TOKEN_HINT}<your token>"
    if isinstance(error, errors.HFValidationError):
        return f"no name of a repo: {_first_line(error)}"
    if isinstance(error, errors.FileMetadataError | json.JSONDecodeError):
        return f"what answers is no hub: {_first_line(error)}; check HF_ENDPOINT and the proxy"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write or read {error.filename or 'a file'}: {error.strerror}"
    if isinstance(error, ValueError | TypeError | AssertionError | KeyError):
        return f"the client refused: {type(error).__name__}: {_first_line(error)}"
    # Connections: of several libraries, and named by them.
    cached = "; not in the cache, or not all of it" if missing else ""
    return (
        f"no answer from the hub ({type(error).__name__}: {_first_line(error)}){cached}; check the network, HF_ENDPOINT"
    )


def _refusal(error: Any) -> str:
    status = error.response.status_code
    said = f"{status}: {_first_line(error.server_message)}" if error.server_message else str(status)
    if status == 401:
        return f"the hub asks for a token, or refuses the one it got ({said}); {_TOKEN_HINT}"
    if status == 403:
        return f"the hub forbids it ({said}); use a token with the right to do so: {_TOKEN_HINT}"
    if status == 429 or status >= 500:
        return f"the hub cannot answer now ({said}); try again later"
    return f"the hub refuses ({said})"


def _online(local_files_only: bool) -> str:
    if local_files_only:
        return "local_files_only is set; without it the hub is asked"
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        return "HF_HUB_OFFLINE is set; unset it to ask the hub"
    return "the hub could not be asked; check the network"


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
