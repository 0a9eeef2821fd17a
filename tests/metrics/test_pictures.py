"""Pictures in folders and archives, and what is known of them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stedit.errors import ImageError, InputError
from stedit.imaging.files import Pixels, encode_image, write_image
from stedit.metrics.pictures import Archives, Entry, read_pairs


@pytest.fixture
def archive(tmp_path: Path, face_image: Pixels) -> Path:
    """`faces.zip`: b.png and sub/a.png, a text and a damaged picture."""
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("b.png", encode_image(face_image, "png"))
        file.writestr("notes.txt", "no picture")
        file.writestr("sub/a.png", encode_image(face_image[::-1], "png"))
        file.writestr("broken.jpg", b"\xff\xd8\xff junk")
    return path


def test_members_are_pictures_in_the_archives_order(archive: Path, face_image: Pixels) -> None:
    with Archives() as archives:
        entries = archives.members(archive)
        assert [(entry.id, entry.name) for entry in entries] == [
            ("b", f"{archive}:b.png"),
            ("a", f"{archive}:sub/a.png"),
            ("broken", f"{archive}:broken.jpg"),
        ]
        np.testing.assert_array_equal(archives.read(entries[1]), face_image[::-1])
        with pytest.raises(ImageError, match=r"faces\.zip:broken\.jpg"):
            archives.read(entries[2])


def test_files_are_read_as_they_are(tmp_path: Path, face_image: Pixels) -> None:
    write_image(tmp_path / "face.1.png", face_image)
    with Archives() as archives:
        entry = Entry(tmp_path / "face.1.png")
        assert entry.id == "face.1"
        np.testing.assert_array_equal(archives.read(entry), face_image)
        with pytest.raises(ImageError, match="does not exist"):
            archives.read(Entry(tmp_path / "nobody.png"))


def test_archives_that_are_none_and_members_that_are_damaged(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.zip").write_bytes(b"junk")
    with Archives() as archives:
        for name in ("junk.zip", "nowhere.zip"):
            with pytest.raises(InputError, match=f"cannot read the archive .*{name}"):
                archives.members(tmp_path / name)
    data = bytearray(archive.read_bytes())
    data[60] ^= 255  # inside b.png, so that its checksum is wrong
    archive.write_bytes(data)
    with Archives() as archives:
        entries = archives.members(archive)
        with pytest.raises(ImageError, match=r"b\.png"):
            archives.read(entries[0])
        assert archives.read(entries[1]).shape == (48, 40, 3)


def test_pairs_are_those_with_both_pictures(tmp_path: Path) -> None:
    def record(identity: int, attribute: str, value: int) -> dict[str, object]:
        return {"id": f"{identity}_{attribute}_{value}", "identity": identity, "attribute": attribute, "value": value}

    records = [record(0, "Smiling", 1), record(0, "Bangs", 0), record(0, "Smiling", 0), record(1, "Smiling", 0)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    entries = [Entry(Path(f"{record['id']}.png")) for record in records]
    (pair,) = read_pairs([file], entries)
    assert (pair.identity, pair.attribute, pair.without.id, pair.with_it.id) == (
        "0",
        "Smiling",
        "0_Smiling_0",
        "0_Smiling_1",
    )
    with pytest.raises(InputError, match="names the picture 0_Smiling_1, which is not there"):
        read_pairs([file], entries[1:])
    file.write_text('{"id": "a", "identity": 0}')
    with pytest.raises(InputError, match="without 'id', 'identity', 'attribute' or 'value'"):
        read_pairs([file], entries)
