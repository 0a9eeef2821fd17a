"""OpenCV's YuNet, the one file that is fetched from the Hub and is no bundle: pinned to a commit and a checksum."""

from __future__ import annotations

import logging
from pathlib import Path

from stedit.errors import HubError
from stedit.hub.cache import delete_revisions, folder_size, repository_folder
from stedit.hub.client import translated_errors
from stedit.hub.download import HubFile, fetch_part, link, matches_sha256
from stedit.hub.model_id import HubModelId

YUNET = "yunet"
"""What it is called wherever a detector is named."""
LICENCE = "MIT"
MODEL = HubModelId("opencv/face_detection_yunet", "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310")
FILE = HubFile(
    "face_detection_yunet_2023mar.onnx",
    232_589,
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",  # SHA-256
)

_log = logging.getLogger("stedit.hub")


def is_yunet(name: str) -> bool:
    """Whether `name` is that of YuNet, or of its repository on the Hub."""
    return name in {YUNET, MODEL.repository, str(MODEL)}


def pull_yunet() -> Path:
    """Fetch YuNet into the Hub's cache if it is not there, whole. Raises HubError."""
    if found := find_yunet():
        return found
    _log.warning("fetching %s from the Hub (%.1f MB, licence %s)", MODEL.repository, FILE.size / 1e6, LICENCE)
    with translated_errors(MODEL):
        fetch_part(MODEL, _commit(), FILE, FILE.etag)
        link(MODEL, _commit(), FILE)
    return _path()


def find_yunet() -> Path | None:
    """YuNet's ONNX file in the Hub's cache, None where it is not or is not the one that is pinned."""
    return _path() if matches_sha256(_path(), FILE.etag) else None


def require_yunet() -> Path:
    """The same. Raises HubError if it is not there: nothing is fetched unasked for a detector."""
    if found := find_yunet():
        return found
    raise HubError("the detector YuNet is not on this machine, or is damaged: pull it", action="pull", on=YUNET)


def remove_yunet() -> int:
    """Delete YuNet from the cache; gives the bytes freed. Raises HubError if it is not there."""
    if not _path().is_file():
        raise HubError("the detector YuNet is not on this machine: there is nothing to remove")
    folder = repository_folder(MODEL.repository)
    before = folder_size(folder)
    delete_revisions(MODEL.repository, [_commit()])
    return before - folder_size(folder)


def _path() -> Path:
    return repository_folder(MODEL.repository) / "snapshots" / _commit() / FILE.name


def _commit() -> str:
    return MODEL.branch
