"""A small hub on this machine, and a process that asks it through glassbert and the real client.

The server answers the routes that `huggingface_hub` asks for, and keeps a list of requests. The client reads its
environment when it is imported, so every environment is a process of its own, which answers one call after the other.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"
Files = dict[str, bytes]

_ROUTES = {
    "info": r"GET /api/models/(?P<repo>[^/]+(?:/[^/]+)?)(?:/revision/(?P<revision>[^/]+))?",
    "tree": r"GET /api/models/(?P<repo>.+)/tree/(?P<revision>[^/]+)",
    "file": r"(?:HEAD|GET) /(?P<repo>.+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)",
    "create": r"POST /api/repos/create",
    "card": r"POST /api/validate-yaml",
    "branch": r"POST /api/models/(?P<repo>.+)/branch/(?P<revision>[^/]+)",
    "modes": r"POST /api/models/(?P<repo>.+)/preupload/(?P<revision>[^/]+)",
    "batch": r"POST /(?P<repo>.+)\.git/info/lfs/objects/batch",
    "large": r"PUT /large/(?P<name>.+)",
    "commit": r"POST /api/models/(?P<repo>.+)/commit/(?P<revision>[^/]+)",
}


@dataclasses.dataclass(frozen=True)
class Request:
    """What the server was asked."""

    route: str
    method: str
    path: str
    token: str | None


@dataclasses.dataclass
class Repo:
    """Commits by hash, and which of them each branch stands for."""

    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = dataclasses.field(default_factory=dict)
    branches: dict[str, str] = dataclasses.field(default_factory=dict)
    messages: list[str] = dataclasses.field(default_factory=list)

    def commit(self, files: Files, branch: str = "main", message: str = "") -> str:
        """Put `files` over those of the branch."""
        files = {**self.commits.get(self.branches.get(branch, ""), {}), **files}
        sha = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha


class StatusError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str = "", message: str = "", body: Any = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.body = status, code, message, body


class HubServer:
    """Repos served on loopback.

    Attributes:
        repos: by full name.
        requests: in the order of their arrival; empty the list as you like.
        broken: a status that every request gets, such as 503.
        delay: seconds before every answer.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.broken: int | None = None
        self.delay = 0.0
        self._stored: Files = {}
        self._connections: list[socket.socket] = []
        self._closed = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else head and body of an answer wait 40 ms for each other

            def setup(self) -> None:
                super().setup()
                hub._connections.append(self.connection)

            def log_message(self, *_: Any) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = hub._answer(self.command, self.path, self.headers, body)
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # whoever asked has given up

            do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def repo(self, name: str, files: Files, **settings: Any) -> Repo:
        """Make a repo with one commit."""
        self.repos[name] = Repo(**settings)
        self.repos[name].commit(files)
        return self.repos[name]

    def bodies(self) -> list[str]:
        """The names of the files that were sent."""
        return sorted(
            re.sub(".*/resolve/[^/]+/", "", request.path)
            for request in self.requests
            if request.route == "file" and request.method == "GET"
        )

    def close(self) -> None:
        """Stop; connections are refused from here on."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:
            with suppress(OSError):  # the other side was first
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        where = urlsplit(path).path
        token = (headers.get("Authorization") or "").removeprefix("Bearer ") or None
        matches = {route: re.fullmatch(pattern, f"{method} {where}") for route, pattern in _ROUTES.items()}
        route, match = next(((route, match) for route, match in matches.items() if match), ("unknown", None))
        self.requests.append(Request(route, method, unquote(where), token))
        self._closed.wait(self.delay)
        try:
            if self.broken is not None:
                raise StatusError(self.broken, message="broken")
            if match is None:
                raise StatusError(404, message="no such route")
            found = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
            if "create_pr=1" in path and route == "commit":
                found["revision"] = self._proposal(found["repo"])
            return 200, *getattr(self, f"_{route}")(token, body, **found)
        except StatusError as error:
            marks = {"X-Error-Code": error.code, "X-Error-Message": error.message}
            marks = {name: value for name, value in marks.items() if value}
            return error.status, marks, b"" if error.body is None else json.dumps(error.body).encode()

    def _known(self, name: str, token: str | None) -> Repo:
        if token not in (None, TOKEN):
            raise StatusError(401, message="Invalid credentials in Authorization header")
        repo = self.repos.get(name)
        if repo is None or (repo.private and token is None):
            # Whoever is unknown is not told whether there is such a repo.
            raise StatusError(401 if token is None else 404, "RepoNotFound", "Repository not found")
        return repo

    def _at(self, name: str, revision: str, token: str | None) -> tuple[Repo, str]:
        repo = self._known(name, token)
        sha = repo.branches.get(revision, revision)
        if sha not in repo.commits:
            raise StatusError(404, "RevisionNotFound", "Invalid rev id")
        return repo, sha

    def _info(self, token: str | None, _: bytes, repo: str, revision: str = "main") -> tuple[dict[str, str], bytes]:
        found, sha = self._at(repo, revision, token)
        names = [{"rfilename": name} for name in found.commits[sha]]
        return _json({"id": repo, "sha": sha, "private": found.private, "siblings": names, "tags": []})

    def _tree(self, token: str | None, _: bytes, repo: str, revision: str) -> tuple[dict[str, str], bytes]:
        found, sha = self._at(repo, revision, token)
        files = found.commits[sha].items()
        return _json(
            [{"type": "file", "path": name, "size": len(content), "oid": _oid(content)} for name, content in files]
        )

    def _file(self, token: str | None, _: bytes, repo: str, revision: str, name: str) -> tuple[dict[str, str], bytes]:
        found, sha = self._at(repo, revision, token)
        if found.gated:
            raise StatusError(403, "GatedRepo", "Access to this model is restricted")
        if name not in found.commits[sha]:
            raise StatusError(404, "EntryNotFound", "Entry not found")
        content = found.commits[sha][name]
        return {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": sha}, content

    def _create(self, token: str | None, body: bytes) -> tuple[dict[str, str], bytes]:
        if token != TOKEN:
            raise StatusError(401, message="Invalid username or password.")
        wish = json.loads(body)
        name = f"{wish.get('organization') or 'me'}/{wish['name']}"
        address = {"url": f"{self.url}/{name}"}
        if name in self.repos:
            raise StatusError(409, message="You already created this model repo", body=address)
        self.repo(name, {".gitattributes": b""}, private=wish.get("visibility") == "private")
        return _json(address)

    def _card(self, _: str | None, __: bytes) -> tuple[dict[str, str], bytes]:
        return _json({"errors": [], "warnings": []})

    def _branch(self, token: str | None, _: bytes, repo: str, revision: str) -> tuple[dict[str, str], bytes]:
        found = self._known(repo, token)
        if revision in found.branches:
            raise StatusError(409, message="Reference already exists")
        found.branches[revision] = found.branches["main"]
        return _json({})

    def _modes(self, token: str | None, body: bytes, repo: str, revision: str) -> tuple[dict[str, str], bytes]:
        found, sha = self._at(repo, revision, token)
        names = [file["path"] for file in json.loads(body)["files"]]
        large = (".safetensors", ".bin")
        return _json(
            {
                "files": [
                    {
                        "path": name,
                        "uploadMode": "lfs" if name.endswith(large) else "regular",
                        "shouldIgnore": False,
                        "oid": _oid(found.commits[sha][name]) if name in found.commits[sha] else None,
                    }
                    for name in names
                ]
            }
        )

    def _batch(self, token: str | None, body: bytes, repo: str) -> tuple[dict[str, str], bytes]:
        self._known(repo, token)
        objects = json.loads(body)["objects"]
        actions = [{**item, "actions": {"upload": {"href": f"{self.url}/large/{item['oid']}"}}} for item in objects]
        return _json({"transfer": "basic", "objects": actions})

    def _large(self, _: str | None, body: bytes, name: str) -> tuple[dict[str, str], bytes]:
        self._stored[name] = body
        return {}, b""

    def _proposal(self, name: str) -> str:
        repo = self.repos[name]
        revision = f"refs/pr/{1 + sum(branch.startswith('refs/pr/') for branch in repo.branches)}"
        repo.branches[revision] = repo.branches["main"]
        return revision

    def _commit(self, token: str | None, body: bytes, repo: str, revision: str) -> tuple[dict[str, str], bytes]:
        found, _ = self._at(repo, revision, token)
        if token is None:
            raise StatusError(401, message="Invalid username or password.")
        files, message = {}, ""
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self._stored[value["oid"]]
        sha = found.commit(files, revision, message)
        address = f"{self.url}/{repo}"
        proposal = f"{address}/discussions/{revision.rpartition('/')[2]}" if "/pr/" in revision else ""
        return _json({"commitOid": sha, "commitUrl": f"{address}/commit/{sha}", "pullRequestUrl": proposal})


def _json(value: Any) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/json"}, json.dumps(value).encode()


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()


_WORKER = """
import json, sys
from glassbert.checkpoint import hub
from glassbert.errors import CheckpointError

print(json.dumps({"value": "huggingface_hub" in sys.modules}), flush=True)
for line in sys.stdin:
    call = json.loads(line)
    try:
        answer = {"value": str(getattr(hub, call.pop("function"))(**call))}
    except CheckpointError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""

# What another setting of this machine must not change.
_FOREIGN = re.compile(r"HF_|HUGGING|TRANSFORMERS_|XDG_|.*_proxy$|DO_NOT_TRACK|DISABLE_TELEMETRY", re.IGNORECASE)


class RefusedError(Exception):
    """The CheckpointError of the process."""


class Client:
    """A process in an environment of its own, in which glassbert asks the hub."""

    def __init__(self, url: str, home: Path, **environment: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self._errors = home / "stderr.txt"
        own = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        own |= {
            "HF_ENDPOINT": url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
        }
        self.environment = own | environment
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WORKER],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._imported: bool | None = None

    @property
    def imported_early(self) -> bool:
        """Whether importing glassbert's module has imported the client."""
        if self._imported is None:
            self._imported = self._read()["value"]
        return self._imported

    def folder(self, name: str | Path, parts: str = "model", **settings: Any) -> Path:
        """Call `local_folder`."""
        return Path(self._call("local_folder", name=str(name), parts=parts, **settings))

    def push(self, folder: Path, repo: str, **settings: Any) -> str:
        """Call `push_to_hub`."""
        return self._call("push_to_hub", folder=str(folder), repo=repo, **settings)

    def _call(self, function: str, **arguments: Any) -> str:
        assert not self.imported_early
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"function": function, **arguments}, default=str) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise RefusedError(answer["error"])
        return str(answer["value"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the process ended: {self._errors.read_text()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@contextmanager
def serving() -> Iterator[HubServer]:
    """Serve while the block lasts."""
    server = HubServer()
    try:
        yield server
    finally:
        server.close()
