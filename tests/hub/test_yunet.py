"""YuNet through the Hub: one file at a pinned commit, taken only if it is the file that is pinned."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import HubServer, Repository, sha256

from stedit.errors import HubError
from stedit.hub import cached_models, yunet
from stedit.photo.detection import YuNetFinder

CONTENT = bytes(range(256)) * 50


@pytest.fixture
def published(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """A Hub with a file in the place of YuNet, which is the one that is pinned."""
    monkeypatch.setattr(yunet, "FILE", replace(yunet.FILE, size=len(CONTENT), etag=sha256(CONTENT)))
    repository = hub.repositories[yunet.MODEL.repository] = Repository()
    assert yunet.MODEL.revision
    repository.commits[yunet.MODEL.revision] = {yunet.FILE.name: CONTENT, "README.md": b"# YuNet"}
    return hub


def test_yunet_pin_is_a_whole_commit_and_checksum() -> None:
    assert yunet.MODEL.revision
    assert (len(yunet.MODEL.revision), len(yunet.FILE.etag)) == (40, 64)
    assert (yunet.FILE.name, yunet.FILE.size) == ("face_detection_yunet_2023mar.onnx", 232589)
    assert [yunet.is_yunet(name) for name in ("yunet", "opencv/face_detection_yunet", "yunet.onnx", "a/yunet")] == [
        True,
        True,
        False,
        False,
    ]


def test_yunet_is_pulled_once_and_found_offline(published: HubServer) -> None:
    assert yunet.find_yunet() is None
    path = yunet.pull_yunet()
    assert path.read_bytes() == CONTENT
    assert path == (
        Path(os.environ["HF_HOME"], "hub", "models--opencv--face_detection_yunet", "snapshots")
        / str(yunet.MODEL.revision)
        / yunet.FILE.name
    )
    assert set(published.fetched()) == {yunet.FILE.name}
    published.requests.clear()
    assert yunet.pull_yunet() == yunet.find_yunet() == yunet.require_yunet() == path
    assert published.requests == []
    assert cached_models() == []  # it is no model


def test_yunet_of_another_checksum_is_refused(published: HubServer) -> None:
    published.served[yunet.FILE.name] = bytes(len(CONTENT))
    with pytest.raises(HubError, match=r"face_detection_yunet_2023mar.onnx of .* arrived damaged"):
        yunet.pull_yunet()
    published.served[yunet.FILE.name] = CONTENT + b"0"
    with pytest.raises(HubError, match="the Hub sends more than it announced"):
        yunet.pull_yunet()
    assert yunet.find_yunet() is None


@pytest.mark.usefixtures("published")
def test_yunet_damaged_since_is_pulled_anew() -> None:
    blob = yunet.pull_yunet().resolve()
    blob.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(HubError, match="is not on this machine, or is damaged: pull it") as caught:
        yunet.require_yunet()
    assert (caught.value.action, caught.value.on) == ("pull", "yunet")
    assert yunet.pull_yunet().read_bytes() == CONTENT


@pytest.mark.usefixtures("published")
def test_yunet_remove_leaves_no_trace() -> None:
    folder = yunet.pull_yunet().parents[2]
    assert yunet.remove_yunet() == len(CONTENT)
    assert not folder.exists()
    with pytest.raises(HubError, match="nothing to remove"):
        yunet.remove_yunet()


@pytest.mark.usefixtures("hub")
def test_yunet_by_its_name_is_never_fetched_unasked(hub: HubServer) -> None:
    with pytest.raises(HubError, match="the detector YuNet is not on this machine"):
        YuNetFinder("yunet")
    assert hub.requests == []
