"""Any folder or zip of pictures is a training set; bad files cost themselves only."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stedit.errors import InputError
from stedit.imaging.files import write_image
from stedit.imaging.sources import ImageRef
from stedit.training.config import TrainingConfig
from stedit.training.data.images import ImageBatches, ImageSet
from stedit.training.run import Run


def grey(value: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        write_image(tmp_path / f"{number}.png", grey(10 * number, 8 + number, 12))
    (tmp_path / "deep").mkdir()
    write_image(tmp_path / "deep" / "9.webp", grey(200))
    (tmp_path / "._0.png").write_bytes(b"a Mac's leftovers")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_folder_and_archive_give_the_same_images(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    archive = tmp_path_factory.mktemp("zip") / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_file():
                opened.write(path, path.relative_to(folder))
    one, other = ImageSet.open([folder], 8), ImageSet.open([archive], 8)
    assert one.ids == other.ids
    assert len(one) == 7
    assert torch.equal(one.images(range(7)), other.images(range(7)))
    assert one.images([6]).shape == (1, 3, 8, 8)
    assert one.images([2])[0, 0, 0, 0].item() == pytest.approx(20 / 127.5 - 1)  # 0, 1, 2, …, deep/9
    assert len(ImageSet.open([folder, archive], 8)) == 14


def test_unreadable_images_are_passed_over_and_counted(folder: Path) -> None:
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:40])
    (folder / "2.png").write_bytes(b"")
    pictures = ImageSet.open([folder], 8)
    names = [member.image.path.name for member in pictures.members]
    assert pictures.read(names.index("1.png"))[1][0, 0, 0] == 30
    assert {image.path.name for image in pictures.unreadable} == {"1.png", "2.png"}
    assert names[pictures.readable_index(names.index("1.png"))] == "3.png"


def test_set_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no images"):
        ImageSet.open([tmp_path], 8)
    with pytest.raises(InputError, match=r"there are no pictures at .*nowhere"):
        ImageSet.open([tmp_path / "nowhere"], 8)
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"a\.zip .*: give a folder or a zip file"):
        ImageSet.open([tmp_path / "a.zip"], 8)
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"none of the 1 images can be read: .*a\.jpg"):
        ImageSet.open([tmp_path], 8).read(0)


def test_damaged_member_of_an_archive_is_passed_over(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    for number in range(2):
        write_image(tmp_path / f"{number}.png", grey(10 + number))
    with zipfile.ZipFile(archive, "w") as opened:
        for number in range(2):
            opened.write(tmp_path / f"{number}.png", f"{number}.png")
        first = opened.infolist()[0]
    data = bytearray(archive.read_bytes())
    data[first.header_offset + 60] ^= 255
    archive.write_bytes(data)
    pictures = ImageSet.open([archive], 8)
    assert pictures.read(0)[1][0, 0, 0] == 11
    assert pictures.unreadable == {ImageRef(archive, "0.png")}


def test_split_spreads_the_held_out_images(folder: Path) -> None:
    pictures = ImageSet.open([folder], 8)
    rest, held_out = pictures.split(2)
    names = [member.image.name for member in held_out.members]
    assert len(names) == 2
    assert sorted(names + [member.image.name for member in rest.members]) == sorted(
        m.image.name for m in pictures.members
    )
    assert [len(part) for part in pictures.split(0)] == [7, 0]
    with pytest.raises(InputError, match="7 of 7 images cannot be held out"):
        pictures.split(7)


def test_batches_follow_the_order_of_the_run(folder: Path, tmp_path: Path) -> None:
    pictures = ImageSet.open([folder], 8)
    run = Run(TrainingConfig(batch_size=3, device="cpu"), tmp_path)
    batches = ImageBatches(pictures)
    for step in (0, 1, 2, 7, 3):  # a jump must not give the batch that was prepared
        run.step = step
        expected = pictures.images(run.indices(len(pictures)).tolist())
        indices, images = batches.take(run)
        assert torch.equal(images, expected)
        assert indices.tolist() == run.indices(len(pictures)).tolist()


def test_sixteen_bit_and_transparent_images_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(tmp_path / "a.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "b.png")
    assert (ImageSet.open([tmp_path], 8).images([0, 1]) == 1).all()


def test_repeat_multiplies_the_images_of_a_source(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    write_image(other / "a.png", grey(250))
    images = ImageSet.open([folder, other], 8)
    repeated = images.repeated((1, 3))
    assert len(repeated) == 7 + 3
    assert [member.image.path.name for member in repeated.members[-3:]] == ["a.png"] * 3
    assert (repeated.images([7, 8, 9]) == repeated.images([7])).all()
    assert [member.source for member in repeated.members] == [0] * 7 + [1] * 3
    assert len(images.repeated((2,))) == 14 + 1  # a source without a number counts once
    assert len(images.repeated(())) == 8
    run = Run(TrainingConfig(batch_size=10, device="cpu"), tmp_path_factory.mktemp("run"))
    shown = ImageBatches(repeated).take(run)[1][:, 0, 0, 0]
    assert (shown == 250 / 127.5 - 1).sum() == 3  # in one pass over the set


def test_cached_images_are_decoded_once(folder: Path) -> None:
    kept, fresh = ImageSet.open([folder], 8, cache=True).repeated((2,)), ImageSet.open([folder], 8)
    before = kept.images(range(14))
    for path in [*folder.glob("*.png"), *folder.glob("deep/*")]:
        path.unlink()
    assert torch.equal(kept.images(range(14)), before)
    with pytest.raises(InputError, match="none of the 7 images can be read"):
        fresh.read(0)


def test_subsets_of_a_cached_set_are_cached(folder: Path) -> None:
    rest, held_out = ImageSet.open([folder], 8, cache=True).split(2)
    before = held_out.images([0, 1])
    for path in [*folder.glob("*.png"), *folder.glob("deep/*")]:
        path.unlink()
    assert torch.equal(held_out.images([0, 1]), before)
    with pytest.raises(InputError, match="none of the 5 images can be read"):
        rest.read(0)
