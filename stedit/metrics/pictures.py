"""The pictures and labels that a model is measured on: files or members of zip archives, JSONL or CSV."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from stedit.errors import ImageError, InputError, cause
from stedit.imaging.files import IMAGE_SUFFIXES, Pixels, read_image, read_picture
from stedit.records import read_lines, read_records

_KINDS = ("glasses_type", "beard_type", "hair_rgb")  # what `Label.details` keeps of a record's "continuous"


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
class Label:
    """What is known of a picture."""

    attributes: Mapping[str, bool]
    details: Mapping[str, Any] = field(default_factory=dict)
    """glasses_type, beard_type (whole numbers, 0 for none) and hair_rgb (three numbers in [0, 1]), where known."""


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


def read_labels(path: Path) -> dict[str, Label]:
    """Labels by picture id, of a .jsonl, .jsonl.gz or .csv file.

    A JSONL record holds "id" and "attributes" {name: 0 or 1}. The first column of a CSV names the picture, the others
    are attributes; 1 stands for yes, 0 or -1 for no, an empty field for unknown. Raises InputError.
    """
    labels = {}
    if path.suffix.lower() == ".csv":
        header, *rows = _read_csv(path)
        for row in rows:
            values = zip(header[1:], map(str.strip, row[1:]), strict=False)
            labels[_id(row[0])] = Label({name: _truth(path, value) for name, value in values if value})
        return labels
    for record in read_records(path):
        if not isinstance(record.get("attributes"), dict):
            raise InputError(f"{path} holds a record without 'attributes': give what is known of each picture")
        known = {name: value for name, value in record["attributes"].items() if value is not None}
        details = record.get("continuous") or {}
        labels[_id(str(record.get("id", "")))] = Label(
            {name: _truth(path, value) for name, value in known.items()},
            {name: details[name] for name in _KINDS if name in details},
        )
    return labels


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


def _read_csv(path: Path) -> list[list[str]]:
    """Rows that are not empty, of which there is one at least."""
    try:
        rows = [row for row in csv.reader(read_lines(path)) if row]
    except csv.Error as error:
        raise InputError(f"{path} is no CSV ({cause(error)}): separate its fields by commas") from error
    if not rows:
        raise InputError(f"{path} is empty: give a row for each picture, and above them one of names")
    return rows


def _id(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _truth(path: Path, value: object) -> bool:
    if str(value) in {"1", "1.0", "True", "true"}:
        return True
    if str(value) in {"0", "0.0", "-1", "-1.0", "False", "false"}:
        return False
    raise InputError(f"{path} says {str(value)[:40]!r} of an attribute: say 1, 0 (or -1), or nothing")
