"""Training images from any folders and zip files, decoded a step ahead of their use, or cached."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stedit.errors import ImageError, InputError
from stedit.imaging.files import Pixels, fit_image
from stedit.imaging.sources import ImageReader, ImageRef
from stedit.training.run import Run


@dataclass(frozen=True)
class Member:
    """An image of a set."""

    image: ImageRef
    source: int = 0
    """The number of the folder or zip file that it comes from."""


class ImageSet:
    """Images of one size: centre-cropped to a square and resized, in the order of their names."""

    def __init__(
        self, members: Sequence[Member], size: int, *, cache: bool = False, reader: ImageReader | None = None
    ) -> None:
        """`cache` keeps decoded images in memory, size x size x 3 bytes each."""
        self.members = tuple(members)
        self.size = size
        self.unreadable: set[ImageRef] = set()
        """Images that turned out to be unreadable so far."""
        self._cache: dict[ImageRef, Pixels] | None = {} if cache else None
        self._reader = reader or ImageReader()

    @classmethod
    def open(cls, sources: Sequence[str | Path], size: int, *, cache: bool = False) -> ImageSet:
        """Find the images of folders, at any depth, and of zip files; none is decoded yet.

        Raises InputError if a source cannot be opened or holds no image.
        """
        members: list[Member] = []
        reader = ImageReader()
        for number, source in enumerate(map(Path, sources)):
            found = reader.find(source)
            if not found:
                raise InputError(f"{source} holds no images: give a folder or a zip file that does")
            members += [Member(image, number) for image in found]
        return cls(members, size, cache=cache, reader=reader)

    def __len__(self) -> int:
        return len(self.members)

    def split(self, held_out: int) -> tuple[ImageSet, ImageSet]:
        """All but `held_out` images, which are spread evenly over the set, and those. Raises InputError."""
        if held_out >= len(self):
            raise InputError(f"{held_out} of {len(self)} images cannot be held out: lower val_images or add images")
        chosen = {round((index + 0.5) * len(self) / held_out - 0.5) for index in range(held_out)}
        parts: tuple[list[Member], list[Member]] = ([], [])
        for index, member in enumerate(self.members):
            parts[index in chosen].append(member)
        return self.subset(parts[0]), self.subset(parts[1])

    def subset(self, members: Sequence[Member]) -> ImageSet:
        """A set of some of the members, in the order given, which may come several times."""
        return ImageSet(members, self.size, cache=self._cache is not None, reader=self._reader)

    @property
    def ids(self) -> tuple[str, ...]:
        """What labels call the images, in their order."""
        return tuple(member.image.id for member in self.members)

    def repeated(self, times: Sequence[int]) -> ImageSet:
        """The same, with the images of each source `times` over; those of sources without a number once.

        So a small source can count as much as a large one.
        """
        members = [
            member for member in self.members for _ in range(times[member.source] if member.source < len(times) else 1)
        ]
        return self.subset(members)

    def read(self, index: int) -> tuple[int, Pixels]:
        """An image, or the next one where it cannot be read: its index, and uint8 (size, size, 3).

        Raises InputError if none can be read.
        """
        while True:
            found = self.readable_index(index)
            image = self.members[found].image
            if self._cache is not None and image in self._cache:
                return found, self._cache[image]
            try:
                pixels = fit_image(self._reader.read(image), (self.size, self.size))
            except ImageError:
                self.unreadable.add(image)
                continue
            if self._cache is not None:
                self._cache[image] = pixels
            return found, pixels

    def readable_index(self, index: int) -> int:
        """The index of the image that `read` gives for `index`, as far as is known. Raises InputError if none is."""
        for step in range(len(self)):
            found = (index + step) % len(self)
            if self.members[found].image not in self.unreadable:
                return found
        raise InputError(f"none of the {len(self)} images can be read: {self._example()} is one of them")

    def log_unreadable(self, run: Run) -> None:
        """Log how many files are unreadable, if any are."""
        if self.unreadable:
            run.log(f"{len(self.unreadable)} of {len(self)} images cannot be read, such as {self._example()}")

    def _example(self) -> str:
        return min(image.name for image in self.unreadable)

    def images(self, indices: Sequence[int]) -> Tensor:
        """float32 (B, 3, size, size) in [-1, 1]."""
        return _to_images(torch.from_numpy(np.stack([self.read(index)[1] for index in indices])))


class ImageBatches:
    """The batches of a set, each decoded while the step before is computed."""

    def __init__(self, images: ImageSet, stream: int = 0) -> None:
        self._images = images
        self._stream = stream
        self._threads = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="images")
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


def _to_images(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1], on the same device."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
