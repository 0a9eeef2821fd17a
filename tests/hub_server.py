"""A Hub on loopback: enough of the Hugging Face Hub's HTTP API for huggingface_hub to pull from it and push to it.

Like the real one, it keeps `.safetensors` and `.onnx` as large files: `resolve` redirects to another origin, the CDN,
which serves ranges; uploads go through the LFS batch API; everything else travels in the commit itself. Errors carry
X-Error-Code. It serves what it is told to, including what no honest Hub would.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

READER, WRITER = "hf_reader", "hf_writer"
"""Tokens: both may see private and gated repositories, the second may write."""


@dataclass
class Repository:
    """Commits by their hash, each a mapping from paths to bytes, and the branches and tags that name them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: dict[str, bytes], ref: str = "main", message: str = "") -> str:
        """Add a commit of exactly these files; gives its hash."""
        content = json.dumps([ref, self.refs.get(ref), {path: sha256(data) for path, data in files.items()}])
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.messages[commit] = message
        self.refs[ref] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """A branch, a tag, or a commit -> the commit."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]  # names in small letters
    at_cdn: bool


class HubServer:
    """Two HTTP servers, the Hub and its CDN, for as long as the context lasts."""

    def __init__(self) -> None:
        self._servers = [_Server(self, at_cdn=at_cdn) for at_cdn in (False, True)]
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.cut: dict[str, int] = {}  # file name -> after so many bytes the connection breaks, once
        self.stall: dict[str, int] = {}  # file name -> after so many bytes nothing more comes
        self.claimed_sizes: dict[str, int] = {}  # file name -> what the listing says
        self.served: dict[str, bytes] = {}  # file name -> what comes instead
        self.listing: Iterable[bytes] = ()  # what comes instead of what the Hub says of a model
        self.status: int | None = None  # of every answer
        self.stalled = threading.Event()

    def add(self, name: str, folder: Path, ref: str = "main", **changes: bytes | None) -> str:
        """Commit the files of a folder; `changes` replace `name.ending`, written name__ending, or leave it out."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        for key, data in changes.items():
            path = key.replace("__", ".")
            files.pop(path, None)
            if data is not None:
                files[path] = data
        return self.repositories.setdefault(name, Repository()).commit(files, ref)

    def fetched(self) -> list[str]:
        """The names of the files that were asked for, in order."""
        return [
            request.path.rsplit("/", 1)[1]
            for request in self.requests
            if request.method == "GET" and "/resolve/" in request.path
        ]

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in self._servers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: HubServer, *, at_cdn: bool) -> None:
        self.hub = hub
        self.at_cdn = at_cdn
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_args: object) -> None:
        pass

    @property
    def hub(self) -> HubServer:
        return self.server.hub

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.body = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.command, path, headers, self.server.at_cdn))
        if self.hub.status:
            self._send_error(self.hub.status, "")
            return
        for pattern, method in ROUTES:
            if self.server.at_cdn == (pattern.pattern.startswith("/cdn")) and (match := pattern.fullmatch(path)):
                method(self, *match.groups(), **{key: values[0] for key, values in parse_qs(url.query).items()})
                return
        self._send_error(HTTPStatus.NOT_FOUND, "")

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    # Reading

    def model_info(self, name: str, revision: str = "main", blobs: str = "") -> None:
        if not (found := self._find(name, revision)):
            return
        if self.hub.listing:
            self.send_response(HTTPStatus.OK)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):  # the client has heard enough
                for block in self.hub.listing:
                    self.wfile.write(block)
            return
        repository, commit = found
        siblings: list[dict[str, Any]] = []
        for path, data in repository.commits[commit].items():
            size = self.hub.claimed_sizes.get(path, len(data))
            item: dict[str, Any] = {"rfilename": path}
            if blobs:
                item |= {"size": size, "blobId": git_name(data)}
                if is_large(path):
                    item["lfs"] = {"sha256": sha256(data), "size": size, "pointerSize": 134}
            siblings.append(item)
        info = {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings}
        self._send_json(info | {"gated": "auto" if repository.gated else False, "tags": []})

    def resolve(self, name: str, revision: str, path: str) -> None:
        if not (found := self._find(name, revision)):
            return
        repository, commit = found
        if repository.gated and self.token not in {READER, WRITER}:
            self._send_error(HTTPStatus.UNAUTHORIZED if not self.token else HTTPStatus.FORBIDDEN, "GatedRepo")
        elif path not in repository.commits[commit]:
            self._send_error(HTTPStatus.NOT_FOUND, "EntryNotFound", {"X-Repo-Commit": commit})
        else:
            data = repository.commits[commit][path]
            headers = {"X-Repo-Commit": commit, "ETag": f'"{git_name(data)}"'}
            if is_large(path):
                key = sha256(data)
                self.hub.large[key] = self.hub.served.get(path, data)
                headers |= {"X-Linked-Etag": f'"{key}"', "X-Linked-Size": str(len(data))}
                self._send(HTTPStatus.FOUND, b"", headers | {"Location": f"{self.hub.cdn}/cdn/{key}/{path}"})
            else:
                self._send(HTTPStatus.OK, self.hub.served.get(path, data), headers)

    def cdn_get(self, key: str, path: str) -> None:
        data = self.hub.large[key]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        headers = {"ETag": f'"{key}"', "Accept-Ranges": "bytes"}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        for header, value in (headers | {"Content-Length": str(len(data) - start)}).items():
            self.send_header(header, value)
        self.end_headers()
        if (until := self.hub.cut.pop(path, None)) is not None:
            self.wfile.write(data[start:until])
            self.close_connection = True
        elif (until := self.hub.stall.get(path)) is not None:
            self.wfile.write(data[start:until])
            self.wfile.flush()
            self.hub.stalled.set()
            self.rfile.read()  # until the client goes away
            self.close_connection = True
        else:
            self.wfile.write(data[start:])

    # Writing

    def create_repo(self) -> None:
        if not self._may_write():
            return
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.hub.repositories
        repository = self.hub.repositories.setdefault(name, Repository(private=asked.get("visibility") == "private"))
        if not repository.refs:
            repository.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        url = {"url": f"{self.hub.url}/{name}"}
        self._send_json(url, HTTPStatus.CONFLICT if known else HTTPStatus.OK)

    def validate_yaml(self) -> None:
        self._send_json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        if not (found := self._find(name, revision)):
            return
        repository, commit = found
        there = repository.commits[commit]
        files = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            oid = (sha256 if is_large(path) else git_name)(there[path]) if path in there else None
            mode = "lfs" if is_large(path) else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send_json({"files": files})

    def lfs_batch(self, _name: str) -> None:
        if not self._may_write():
            return
        objects = []
        for item in json.loads(self.body)["objects"]:
            if item["oid"] not in self.hub.large:
                item |= {"actions": {"upload": {"href": f"{self.hub.cdn}/cdn/{item['oid']}"}}}
            objects.append(item)
        self._send_json({"transfer": "basic", "objects": objects})

    def cdn_put(self, key: str) -> None:
        self.hub.large[key] = self.body
        self._send(HTTPStatus.OK if sha256(self.body) == key else HTTPStatus.BAD_REQUEST, b"", {})

    def commit(self, name: str, revision: str) -> None:
        if not self._may_write() or not (found := self._find(name, revision)):
            return
        repository, head = found
        files = dict(repository.commits[head])
        message = ""
        for item in map(json.loads, self.body.splitlines()):
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert item["key"] == "lfsFile"
                files[value["path"]] = self.hub.large[value["oid"]]
        commit = repository.commit(files, revision, message)
        self._send_json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})

    # Answers

    def _find(self, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token not in {READER, WRITER}):
            self._send_error(HTTPStatus.UNAUTHORIZED, "RepoNotFound")
        elif not (commit := repository.resolve(revision)):
            self._send_error(HTTPStatus.NOT_FOUND, "RevisionNotFound")
        else:
            return repository, commit
        return None

    def _may_write(self) -> bool:
        if self.token != WRITER:
            self._send_error(HTTPStatus.FORBIDDEN, "", {"X-Error-Message": "a write token is needed"})
        return self.token == WRITER

    def _send_error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", (headers or {}) | ({"X-Error-Code": code} if code else {}))

    def _send_json(self, values: Any, status: int = HTTPStatus.OK) -> None:
        self._send(status, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for header, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


ROUTES: list[tuple[re.Pattern[str], Callable[..., None]]] = [
    (re.compile(r"/api/models/([^/]+/[^/]+)"), _Handler.model_info),
    (re.compile(r"/api/models/([^/]+/[^/]+)/revision/(.+)"), _Handler.model_info),
    (re.compile(r"/api/models/([^/]+/[^/]+)/preupload/(.+)"), _Handler.preupload),
    (re.compile(r"/api/models/([^/]+/[^/]+)/commit/(.+)"), _Handler.commit),
    (re.compile(r"/api/repos/create"), _Handler.create_repo),
    (re.compile(r"/api/validate-yaml"), _Handler.validate_yaml),
    (re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)"), _Handler.resolve),
    (re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch"), _Handler.lfs_batch),
    (re.compile(r"/cdn/([0-9a-f]{64})/(.+)"), _Handler.cdn_get),
    (re.compile(r"/cdn/([0-9a-f]{64})"), _Handler.cdn_put),
]


def is_large(path: str) -> bool:
    """Whether the Hub keeps it apart from git."""
    return path.endswith((".safetensors", ".onnx"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_name(data: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
