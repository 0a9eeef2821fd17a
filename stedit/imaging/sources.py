"""Images in folders and zip files: found by their endings, read one at a time, again and again."""

from __future__ import annotations

import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast

from stedit.errors import ImageError, InputError, describe_cause
from stedit.imaging.files import MAX_PIXELS, DecodedImage, Pixels, decode_image
from stedit.storage.labels import example_id
from stedit.storage.suffixes import IMAGE_SUFFIXES


@dataclass(frozen=True)
class ImageRef:
    """An image that can be read: a file, or a member of a zip file."""

    path: Path
    """Of the image, or of the zip file."""
    member: str = ""
    """In the zip file; "" for a file of its own."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def id(self) -> str:
        """What labels call it: its file name without the ending."""
        return example_id(self.member or self.path.name)


class ImageReader:
    """Finds and reads images, by several threads if need be; each zip file is opened once, and closed by `close`."""

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        """Images of more pixels than `max_pixels` are refused."""
        self._max_pixels = max_pixels
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all zip files."""
        for archive in self._archives.values():
            archive.close()
        self._archives.clear()

    def find(self, source: Path) -> list[ImageRef]:
        """The images of a folder, at any depth, or of a zip file, in the order of their names; none that are hidden.

        Raises InputError if the source cannot be opened.
        """
        if source.is_dir():
            try:
                paths = [path for path in source.rglob("*") if _is_image(path.relative_to(source)) and path.is_file()]
            except OSError as error:
                raise InputError(
                    f"cannot read the folder {source} ({describe_cause(error)}): check its permissions"
                ) from error
            return [ImageRef(path) for path in sorted(paths)]
        names = [name for name in self._archive(source).namelist() if _is_image(Path(name))]
        return [ImageRef(source, name) for name in sorted(names)]

    def read(self, image: ImageRef) -> Pixels:
        """The pixels of an image, uint8 (H, W, 3). Raises ImageError."""
        return self.decode(image).pixels

    def decode(self, image: ImageRef) -> DecodedImage:
        """Decode an image. Raises ImageError."""
        if not image.member:
            return decode_image(image.path, max_pixels=self._max_pixels)
        try:
            with self._archive(image.path).open(image.member) as stream:  # of which no more is read than is allowed
                source = cast(BinaryIO, stream)
                return decode_image(source, name=image.name, max_pixels=self._max_pixels)
        except ImageError:
            raise
        except Exception as error:  # zipfile meets damage, passwords and unknown compressions with several types
            raise ImageError(
                f"cannot read {image.name} ({describe_cause(error)}): get a whole copy of the archive"
            ) from error

    def _archive(self, path: Path) -> zipfile.ZipFile:
        with self._lock:
            if path not in self._archives:
                try:
                    self._archives[path] = zipfile.ZipFile(path)
                except FileNotFoundError:
                    raise InputError(f"there are no pictures at {path}: check the spelling") from None
                except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
                    raise InputError(
                        f"cannot read the pictures {path} ({describe_cause(error)}): give a folder or a zip file"
                    ) from error
            return self._archives[path]


def _is_image(path: Path) -> bool:
    """By its ending, and not hidden: archives made on a Mac hold a ._face.jpg beside each face.jpg."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in path.parts)
