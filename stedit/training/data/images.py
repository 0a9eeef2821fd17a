"""Training images from any folders and zip files, decoded a step ahead of their use, or cached."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from stedit.errors import ImageError, InputError, cause
from stedit.imaging.files import Pixels, fit_picture, read_picture
from stedit.storage.suffixes import IMAGE_SUFFIXES
from stedit.training.run import Run

Reader = Callable[[], Pixels]


@dataclass(frozen=True)
class Member:
    """One image that can be read again and again."""

    name: str
    """As errors and labels call it: its path in the folder or zip file."""
    read: Reader
    source: int = 0
    """Number of the folder or zip file that it comes from."""


class ImageSet:
    """Images of one size: centre-cropped to a square and resized, in the order of their names."""

    def __init__(self, members: Sequence[Member], size: int, *, cache: bool = False) -> None:
        """`cache` keeps decoded images in memory, size x size x 3 bytes each."""
        self.members = tuple(members)
        self.size = size
        self.unreadable: set[str] = set()
        """Names of files that turned out to be unreadable so far."""
        self._cache: dict[Member, Pixels] | None = {} if cache else None

    @classmethod
    def open(cls, sources: Sequence[str | Path], size: int, *, cache: bool = False) -> ImageSet:
        """Find the images of folders, at any depth, and of zip files; none is decoded yet.

        Raises InputError if a source cannot be opened or holds no picture.
        """
        members: list[Member] = []
        for number, source in enumerate(map(Path, sources)):
            found = _folder(source) if source.is_dir() else _archive(source)
            if not found:
                raise InputError(f"{source} holds no pictures: give a folder or a zip file that does")
            members += [replace(member, source=number) for member in found]
        return cls(members, size, cache=cache)

    def __len__(self) -> int:
        return len(self.members)

    def split(self, held_out: int) -> tuple[ImageSet, ImageSet]:
        """All but `held_out` pictures, which are spread evenly over the set, and those. Raises InputError."""
        if held_out >= len(self):
            raise InputError(f"{held_out} of {len(self)} pictures cannot be held out: lower val_images or add pictures")
        chosen = {round((index + 0.5) * len(self) / held_out - 0.5) for index in range(held_out)}
        parts: tuple[list[Member], list[Member]] = ([], [])
        for index, member in enumerate(self.members):
            parts[index in chosen].append(member)
        cache = self._cache is not None
        return ImageSet(parts[0], self.size, cache=cache), ImageSet(parts[1], self.size, cache=cache)

    def repeated(self, times: Sequence[int]) -> ImageSet:
        """The same, with the pictures of each source as many `times` as is said, of sources left out once.

        So a small source can count as much as a large one.
        """
        members = [
            member for member in self.members for _ in range(times[member.source] if member.source < len(times) else 1)
        ]
        return ImageSet(members, self.size, cache=self._cache is not None)

    def read(self, index: int) -> tuple[int, Pixels]:
        """An image, or the next one where it cannot be read: its index, and uint8 (size, size, 3).

        Raises InputError if none can be read.
        """
        while True:
            found = self.readable_index(index)
            member = self.members[found]
            if self._cache is not None and member in self._cache:
                return found, self._cache[member]
            try:
                pixels = fit_picture(member.read(), (self.size, self.size))
            except ImageError:
                self.unreadable.add(member.name)
                continue
            if self._cache is not None:
                self._cache[member] = pixels
            return found, pixels

    def readable_index(self, index: int) -> int:
        """The index of the image that `read` gives for `index`, as far as is known. Raises InputError if none is."""
        for step in range(len(self)):
            found = (index + step) % len(self)
            if self.members[found].name not in self.unreadable:
                return found
        raise InputError(f"none of the {len(self)} pictures can be read: {min(self.unreadable)} is one of them")

    def log_unreadable(self, run: Run) -> None:
        """Log how many files are unreadable, if any are."""
        if self.unreadable:
            run.log(f"{len(self.unreadable)} of {len(self)} pictures cannot be read, such as {min(self.unreadable)}")

    def images(self, indices: Sequence[int]) -> Tensor:
        """float32 (B, 3, size, size) in [-1, 1]."""
        return _to_images(torch.from_numpy(np.stack([self.read(index)[1] for index in indices])))


class ImageBatches:
    """The batches of a set, each decoded while the step before is computed."""

    def __init__(self, images: ImageSet, stream: int = 0) -> None:
        self._images = images
        self._stream = stream
        self._threads = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="pictures")
        self._ahead: tuple[int, list[Future[tuple[int, Pixels]]]] | None = None

    def take(self, run: Run) -> tuple[Tensor, Tensor]:
        """This process's share of the step's batch.

        Returns:
            Indices (share,), int64 on the CPU: of the images that were read, which are the next ones where one is
            unreadable. And the images, float32 (share, 3, size, size) in [-1, 1], on the device.
        """
        if self._ahead is not None and self._ahead[0] == run.step:
            futures = self._ahead[1]
        else:
            futures = self._start(run, 0)
        indices, pixels = zip(*(future.result() for future in futures), strict=True)
        self._ahead = (run.step + 1, self._start(run, 1))
        return torch.tensor(indices), _to_images(torch.from_numpy(np.stack(pixels)).to(run.device))

    def _start(self, run: Run, ahead: int) -> list[Future[tuple[int, Pixels]]]:
        indices = run.indices(len(self._images), ahead=ahead, stream=self._stream)
        return [self._threads.submit(self._images.read, index) for index in indices.tolist()]


def _folder(folder: Path) -> list[Member]:
    try:
        paths = sorted(path for path in folder.rglob("*") if _is_picture(path.relative_to(folder)) and path.is_file())
    except OSError as error:
        raise InputError(f"cannot read the folder {folder} ({cause(error)}): check its permissions") from error

    def reader(path: Path) -> Reader:
        return lambda: read_picture(path).pixels

    return [Member(str(path.relative_to(folder)), reader(path)) for path in paths]


def _archive(path: Path) -> list[Member]:
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise InputError(f"there are no pictures at {path}: check the spelling") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"cannot read the pictures {path} ({cause(error)}): give a folder or a zip file") from error

    def reader(info: zipfile.ZipInfo) -> Reader:
        def read() -> Pixels:
            try:
                with archive.open(info) as file:  # as a stream, of which no more is read than a picture may have
                    return read_picture(cast(BinaryIO, file), name=f"{path}/{info.filename}").pixels
            except ImageError:
                raise
            except Exception as error:  # zipfile meets damage, passwords and odd methods with several kinds
                raise ImageError(f"{path}/{info.filename} cannot be read ({cause(error)})") from error

        return read

    members = [info for info in archive.infolist() if _is_picture(Path(info.filename))]
    return [Member(info.filename, reader(info)) for info in sorted(members, key=lambda info: info.filename)]


def _is_picture(path: Path) -> bool:
    """By its ending, and not hidden: archives made on a Mac hold a ._face.jpg beside each face.jpg."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _to_images(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1], on the same device."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
