"""Images side by side: a column for each file or folder, a row for each name that all folders share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stedit.errors import ImageError, InputError, UsageError, describe_cause
from stedit.imaging.files import MAX_PIXELS, Pixels, fit_image, read_image
from stedit.imaging.sheets import sheet
from stedit.storage.suffixes import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Comparison:
    """The images of several folders, by what stands before the first dot of their names."""

    titles: Sequence[str]
    columns: Sequence[Mapping[str, Path]]
    names: Sequence[str]
    """Shared by all columns, sorted."""
    keep_shapes: bool = False
    """Whether images of a row that differ in shape are only made equally high; else their edges are cut."""

    @classmethod
    def of_folders(cls, folders: Sequence[Path]) -> Comparison:
        """Find what `folders` share. Raises InputError if that is nothing, or a folder cannot be listed."""
        columns = [_images(folder) for folder in folders]
        names = sorted(set.intersection(*map(set, columns)))
        if not names:
            listed = ", ".join(map(str, folders))
            raise InputError(f"{listed} share no name: names count up to the first dot, as in face.smile.png")
        return cls([Path(os.path.abspath(folder)).name for folder in folders], columns, names)

    @classmethod
    def of_files(cls, files: Sequence[Path]) -> Comparison:
        """One row: a column for each file, under its name."""
        name = files[0].name.partition(".")[0]
        return cls([file.stem for file in files], [{name: file} for file in files], [name], keep_shapes=True)

    def require_other(self, path: Path) -> None:
        """Raises UsageError if one of the images is at `path`, where the sheet is to go."""
        for image in (column[name] for column in self.columns for name in self.names):
            if image.samefile(path):
                raise UsageError(f"{image} would be replaced by the sheet: choose another place", argument="output")

    def sheet(self, on_error: Callable[[ImageError], None]) -> tuple[list[str], Pixels | None]:
        """The names of the rows, and the sheet; None if no row can be read.

        The images of a row are all as small as its smallest. A row with one that cannot be read is left out, and
        `on_error` is called. Raises UsageError if they are too many for one image.
        """
        rows: dict[str, list[Pixels]] = {}
        room = MAX_PIXELS
        for name in self.names:
            try:
                row = [read_image(column[name]) for column in self.columns]
            except ImageError as error:
                on_error(error)
                continue
            height, width = min((image.shape[:2] for image in row), key=math.prod)
            widths = [round(height * len(image[0]) / len(image)) if self.keep_shapes else width for image in row]
            room -= height * sum(widths)
            if room < 0:
                raise UsageError(
                    f"the sheet would exceed {MAX_PIXELS // 10**6} megapixels: give fewer or smaller images"
                )
            rows[name] = [fit_image(image, (height, wide)) for image, wide in zip(row, widths, strict=True)]
        return list(rows), sheet(list(rows.values()), titles=self.titles) if rows else None


def _images(folder: Path) -> dict[str, Path]:
    """The images right in `folder`, by what stands before the first dot of their names.

    An image goes before what was made of it: face.png before face.smile.png. Raises InputError if two are equal.
    """
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot list the folder {folder}: {describe_cause(error)}") from error
    images: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: "." in file.stem):  # face.png first, before face.smile.png beside it
        if file.suffix.lower() in IMAGE_SUFFIXES:
            other = images.setdefault(file.name.partition(".")[0], file)
            if other is not file and ("." in other.stem) == ("." in file.stem):
                raise InputError(f"{other} and {file} would share a row: give folders with one image of each name")
    return images
