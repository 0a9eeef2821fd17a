"""Pictures in folders and reader, and what is known of them."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stedit.errors import ImageError, InputError
from stedit.imaging.files import Pixels, encode_image, write_image
from stedit.imaging.sources import ImageReader, ImageRef


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


def test_find_gives_the_images_of_an_archive_by_name(archive: Path, face_image: Pixels) -> None:
    with ImageReader() as reader:
        entries = reader.find(archive)
        assert [(entry.id, entry.name) for entry in entries] == [
            ("b", f"{archive}:b.png"),
            ("broken", f"{archive}:broken.jpg"),
            ("a", f"{archive}:sub/a.png"),
        ]
        np.testing.assert_array_equal(reader.read(entries[2]), face_image[::-1])
        with pytest.raises(ImageError, match=r"faces\.zip:broken\.jpg"):
            reader.read(entries[1])


def test_find_gives_the_same_of_a_folder_as_of_its_archive(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    (folder / ".hidden").mkdir()
    for name in ("._b.png", ".hidden/c.png"):
        (folder / name).write_bytes((folder / "b.png").read_bytes())
    with ImageReader() as reader:
        found = reader.find(folder)
        assert [image.id for image in found] == [image.id for image in reader.find(archive)]
        for one, other in zip(found, reader.find(archive), strict=True):
            if one.id != "broken":
                np.testing.assert_array_equal(reader.read(one), reader.read(other))


def test_archive_is_read_by_one_thread_at_a_time(archive: Path, face_image: Pixels) -> None:
    with ImageReader() as reader, ThreadPoolExecutor(8) as threads:
        images = [image for image in reader.find(archive) if image.id != "broken"] * 20
        for image, pixels in zip(images, threads.map(reader.read, images), strict=True):
            np.testing.assert_array_equal(pixels, face_image if image.id == "b" else face_image[::-1])


def test_image_files_are_read_by_path(tmp_path: Path, face_image: Pixels) -> None:
    write_image(tmp_path / "face.1.png", face_image)
    with ImageReader() as reader:
        entry = ImageRef(tmp_path / "face.1.png")
        assert entry.id == "face.1"
        np.testing.assert_array_equal(reader.read(entry), face_image)
        with pytest.raises(ImageError, match="does not exist"):
            reader.read(ImageRef(tmp_path / "nobody.png"))


def test_damaged_archives_and_members_are_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.zip").write_bytes(b"junk")
    with ImageReader() as reader:
        with pytest.raises(InputError, match=r"cannot read the pictures .*junk\.zip"):
            reader.find(tmp_path / "junk.zip")
        with pytest.raises(InputError, match=r"there are no pictures at .*nowhere\.zip"):
            reader.find(tmp_path / "nowhere.zip")
    data = bytearray(archive.read_bytes())
    data[60] ^= 255  # inside b.png, so that its checksum is wrong
    archive.write_bytes(data)
    with ImageReader() as reader:
        entries = reader.find(archive)
        with pytest.raises(ImageError, match=r"b\.png"):
            reader.read(entries[0])
        assert reader.read(entries[2]).shape == (48, 40, 3)
