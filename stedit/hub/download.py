"""Files of the Hub, fetched into its cache: never more than was announced, and going on where a download broke off."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from stedit._version import __version__
from stedit.errors import HubError
from stedit.hub.cache import repository_folder
from stedit.hub.client import cache_folder, quiet_library
from stedit.hub.listing import within_time
from stedit.hub.model_id import HubModelId

MAX_SMALL_BYTES = 2**20
_ETAG = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # git's name of a file, or the SHA-256 of a large one
_BLOCK = 2**20


@dataclass(frozen=True)
class HubFile:
    """A file of a model on the Hub."""

    name: str
    size: int
    etag: str
    """Under which the cache keeps it: git's name of a small file, the SHA-256 of a large one."""


def listed_file(item: Any, limit: int) -> HubFile:
    """From the Hub's listing. Raises ValueError if it is too large or the listing is unfit."""
    etag = str(item.lfs.sha256 if item.lfs else item.blob_id)
    if not isinstance(item.size, int) or not _ETAG.fullmatch(etag):
        raise ValueError(f"the Hub does not tell what {item.rfilename} is")
    if item.size > limit:
        raise ValueError(f"{item.rfilename} is larger than {limit // 2**20} MB")
    return HubFile(item.rfilename, item.size, etag)


def fetch_small(model: HubModelId, commit: str, file: HubFile) -> bytes:
    """A file that fits into memory."""
    data = io.BytesIO()
    within_time(lambda: _download(model, commit, file, data))
    return data.getvalue()


def fetch_part(model: HubModelId, commit: str, file: HubFile, sha256: str) -> None:
    """Put a large file among the cache's blobs, going on with what an interrupted download left.

    huggingface_hub deletes what an interruption left, so its own download of a large file would begin anew each time.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    blob = make_parent(blob_path(model, file))
    lock = make_parent(cache_folder() / ".locks" / repository_folder(model.repository).name / f"{file.etag}.lock")
    with WeakFileLock(lock):  # the library's own, so that it does not fetch the same file meanwhile
        if matches_sha256(blob, sha256):
            return
        if blob.exists():
            blob.resolve().unlink()
        partial = blob.with_name(f"{blob.name}.incomplete")
        if partial.exists() and partial.stat().st_size > file.size:
            partial.unlink()
        with partial.open("ab") as opened:
            _download(model, commit, file, opened)
        if not matches_sha256(partial, sha256):
            partial.unlink()
            raise HubError(
                f"{file.name} of {model} arrived damaged (its checksum differs): pull it again",
                action="pull",
                on=str(model),
            )
        partial.replace(blob)


def _download(model: HubModelId, commit: str, file: HubFile, to: BinaryIO) -> None:
    """Append to `to` what it lacks of a file."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    with quiet_library(bars=file.size > MAX_SMALL_BYTES):
        http_get(
            hf_hub_url(model.repository, file.name, revision=commit),
            cast(BinaryIO, _Capped(to, file.size)),
            resume_size=to.tell(),
            headers=build_hf_headers(library_name="stedit", library_version=__version__),
            expected_size=file.size,
            displayed_filename=file.name,
        )


class _Capped:
    """A file that takes no more bytes than were announced, whatever a server sends."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def write(self, data: bytes) -> int:
        if self._file.tell() + len(data) > self._size:
            raise ValueError("the Hub sends more than it announced")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def link(model: HubModelId, commit: str, file: HubFile) -> None:
    """Let the cache know a blob under its name in a commit."""
    from huggingface_hub import hf_hub_download

    (repository_folder(model.repository) / "snapshots" / commit / file.name).unlink(missing_ok=True)
    with quiet_library():
        hf_hub_download(
            model.repository, file.name, revision=commit, library_name="stedit", library_version=__version__
        )


def matches_sha256(path: Path, sha256: str | None) -> bool:
    """Whether a file is there and, if it has one, matches its checksum."""
    if not path.is_file() or sha256 is None:
        return path.is_file()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == sha256


def blob_path(model: HubModelId, file: HubFile) -> Path:
    """Where the cache keeps the content of a file."""
    return repository_folder(model.repository) / "blobs" / file.etag


def make_parent(path: Path) -> Path:
    """The same path, in a folder that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
