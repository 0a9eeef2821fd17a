"""The pictures that a model is measured on: files or members of zip archives."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast

from stedit.errors import ImageError, InputError, cause
from stedit.imaging.files import Pixels, read_image, read_picture
from stedit.storage.jsonl import read_records
from stedit.storage.suffixes import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Entry:
    """One picture, not yet read."""

    path: Path
    member: str = ""  # of the archive `path`

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def id(self) -> str:
        """What labels call it: its file name without the ending."""
        return Path(self.member or self.path.name).stem


@dataclass(frozen=True)
class Pair:
    """A picture without an attribute and the same with it."""

    identity: str
    attribute: str
    without: Entry
    with_it: Entry


class Archives:
    """Opens each zip file once, and closes all at the end."""

    def __init__(self) -> None:
        self._open: dict[Path, zipfile.ZipFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for archive in self._open.values():
            archive.close()

    def members(self, path: Path) -> list[Entry]:
        """The pictures of a zip file, in its order. Raises InputError."""
        names = [name for name in self._archive(path).namelist() if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        return [Entry(path, name) for name in names]

    def read(self, entry: Entry) -> Pixels:
        """uint8 (H, W, 3). Raises ImageError."""
        if not entry.member:
            return read_image(entry.path)
        try:
            with self._archive(entry.path).open(entry.member) as stream:
                return read_picture(cast(BinaryIO, stream), name=entry.name).pixels
        except ImageError:
            raise
        except Exception as error:  # damage, encryption, a compression that is not known
            raise ImageError(f"cannot read {entry.name} ({cause(error)}): get a whole copy of the archive") from error

    def _archive(self, path: Path) -> zipfile.ZipFile:
        if path not in self._open:
            try:
                self._open[path] = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile) as error:
                raise InputError(f"cannot read the archive {path} ({cause(error)}): give a zip file") from error
        return self._open[path]


def read_pairs(records: Sequence[Path], entries: Iterable[Entry]) -> list[Pair]:
    """The pairs that `records` tell of, in their order.

    A record holds "id", "identity", "attribute" and "value": 1 with the attribute, 0 without. Raises InputError if a
    picture is not among the `entries`.
    """
    pictures = {entry.id: entry for entry in entries}
    found: dict[tuple[str, str], dict[int, Entry]] = {}
    for path in records:
        for record in read_records(path):
            try:
                key, value = (str(record["identity"]), str(record["attribute"])), int(record["value"])
                name = str(record["id"])
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path} holds a record without 'id', 'identity', 'attribute' or 'value': give records of pairs"
                ) from error
            if name not in pictures:
                raise InputError(f"{path} names the picture {name}, which is not there: give its folder or archive too")
            found.setdefault(key, {})[value] = pictures[name]
    return [
        Pair(identity, attribute, values[0], values[1])
        for (identity, attribute), values in found.items()
        if {0, 1} <= set(values)
    ]
