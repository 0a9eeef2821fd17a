"""What is known of pictures and codes: attributes that they have, or have not, by the name of the file.

One reader serves training, evaluation and directions, so a table that fits one of them fits all.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stedit.errors import InputError, describe_cause
from stedit.models.config import NAME
from stedit.storage.jsonl import read_lines, read_records, shown
from stedit.storage.latents import SUFFIX, is_latent_path
from stedit.storage.suffixes import IMAGE_SUFFIXES

_NAMES = ("id", "file", "input")  # keys of a record that name the picture; `stedit attributes --json` says input
_OTHERS = (*_NAMES, "continuous", "params", "status")  # those that are no attributes either
_DETAILS: dict[str, tuple[int, ...]] = {"glasses_type": (), "beard_type": (), "hair_rgb": (3,)}  # and their shapes
_DELIMITERS = ",;\t"
_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


@dataclass(frozen=True)
class Label:
    """What is known of one picture or code."""

    attributes: Mapping[str, float]
    """The probability of each that is known; above one half it is there."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """glasses_type, beard_type (whole numbers, 0 for none) and hair_rgb (three numbers in [0, 1]), where known."""


@dataclass(frozen=True)
class LabelTable:
    """Labels by the name of the picture or code."""

    path: Path
    attributes: tuple[str, ...]
    """In the order in which the file names them first."""
    rows: Mapping[str, Label]

    @classmethod
    def read(cls, path: Path, only: Collection[str] = ()) -> LabelTable:
        """Read a table, or `only` some of its attributes.

        CSV: a header line, names in the first column, an attribute in each other column, between commas, semicolons or
        tabs; between semicolons, 0,5 is one half. CelebA's own list: a .txt file
        of a count, a line of attributes, and a line for each picture. JSONL: objects with "id" (or "file", or "input")
        and either "attributes", an object, or the attributes themselves. All may be gzipped.

        A value is 1, 0 (CelebA's -1 too), yes, no, true, false, or a probability.
        What is empty or null is unknown. Names may have folders, of Windows too, and an ending, such as .jpg. Capitals
        and small letters are alike in names of attributes and files.

        Raises:
            InputError: the file cannot be read, or says something else; it names the line or record.
        """
        endings = [ending.lower() for ending in path.suffixes if ending.lower() != ".gz"]
        parse = {".csv": _csv, ".tsv": _csv, ".txt": _celeba}.get(endings[-1] if endings else "", _records)
        rows: dict[str, Label] = {}
        attributes: dict[str, None] = {}
        spelled = {name.casefold(): name for name in only}
        for place, name, values, details in parse(path):
            known = {}
            for written, value in values.items():
                if only and written.casefold() not in spelled:
                    continue
                attribute = spelled.setdefault(written.casefold(), written)
                attributes[attribute] = None
                try:
                    probability = _probability(value)
                except ValueError:
                    raise InputError(
                        f"{path}, {place}: {_short(attribute)} is {value!r:.40}, not 1, 0, a probability or empty: "
                        "correct it there"
                    ) from None
                if probability is not None:
                    known[attribute] = probability
            rows[example_id(name)] = Label(known, details)
        if not attributes:
            wanted = f"of {' or '.join(only)}" if only else "at all"
            raise InputError(f"{path} holds no labels {wanted}: give a CSV or JSONL file of attributes")
        return cls(path, tuple(attributes), rows)

    def of(self, names: Sequence[str], attributes: Sequence[str], examples: str = "codes") -> NDArray[np.float32]:
        """Labels (M, K) of `examples` by name: probabilities, mostly 1 or 0, or NaN where unknown.

        Raises InputError if no name is in the table.
        """
        rows = {name.casefold(): label for name, label in self.rows.items()}
        spelled = {name.casefold(): name for name in self.attributes}
        columns = [spelled.get(name.casefold(), name) for name in attributes]
        if not any(name.casefold() in rows for name in names):
            example = f"such as {names[0]}" if names else f"for there are no {examples}"
            raise InputError(
                f"{self.path} names none of the {examples} ({example}): its ids are file names without ending"
            )
        unknown = Label({})
        found = [self.rows.get(name) or rows.get(name.casefold(), unknown) for name in names]
        values = [[row.attributes.get(name, math.nan) for name in columns] for row in found]
        return np.array(values, np.float32).reshape(len(names), len(attributes))


def example_id(file: str) -> str:
    """What labels call a file: `face` for face.png, photos/face.png and face.latent.safetensors; `face.2` stays so."""
    path = PureWindowsPath(file) if "\\" in file else PurePath(file)
    if is_latent_path(path.name):
        return path.name[: -len(SUFFIX)]
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


_Row = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]  # place in the file, name, attributes, details


def _csv(path: Path) -> Iterable[_Row]:
    header: list[str] = []
    lines = iter(read_lines(path))
    first = next(lines, "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            cells, place = [cell.strip() for cell in row], f"line {reader.line_num}"
            if not header:
                header = cells
            elif cells:
                if delimiter == ";":
                    cells[1:] = [cell.replace(",", ".") for cell in cells[1:]]
                yield _table_row(path, place, header[1:], cells)
    except csv.Error as error:
        raise InputError(
            f"{path} is no CSV ({describe_cause(error)}): separate its fields by commas, semicolons or tabs"
        ) from error
    if len(header) < 2:
        raise InputError(
            f"{path} has no header line such as id,Smiling,Eyeglasses but begins with {shown(first)}: add one"
        )


def _celeba(path: Path) -> Iterable[_Row]:
    header: list[str] = []
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split()
        if number == 1 and len(cells) == 1 and cells[0].isdecimal():
            continue  # how many pictures there are
        if not header:
            header = cells
        elif cells:
            yield _table_row(path, f"line {number}", header, cells)


def _table_row(path: Path, place: str, attributes: Sequence[str], cells: Sequence[str]) -> _Row:
    if len(cells) != 1 + len(attributes):
        row = shown(" ".join(cells))
        raise InputError(f"{path}, {place}, has {len(cells)} cells, not {1 + len(attributes)}, {row}: correct it there")
    return place, cells[0], dict(zip(attributes, cells[1:], strict=True)), {}


def _records(path: Path) -> Iterable[_Row]:
    for number, row in enumerate(read_records(path), start=1):
        place = f"record {number}"
        if row.get("status") == "failed":
            continue  # a picture that `stedit attributes --json` could not read
        key = next((key for key in _NAMES if isinstance(row.get(key), str | int)), None)
        if key is None:
            raise InputError(f"{path}, {place}, has no id, {shown(str(row))}: give objects with id and attributes")
        values = row.get("attributes", {name: value for name, value in row.items() if name not in _OTHERS})
        if not isinstance(values, dict):
            raise InputError(f"{path}, {place}: its attributes are no object of names and values")
        yield place, str(row[key]), values, _details(path, place, row.get("continuous"))


def _details(path: Path, place: str, told: object) -> dict[str, Any]:
    known = {}
    for name, shape in _DETAILS.items():
        value = told.get(name) if isinstance(told, dict) else None
        if value is not None:
            try:
                numbers = np.array(value, float)
            except (OverflowError, TypeError, ValueError):
                numbers = np.array([])
            if numbers.shape != shape or not np.isfinite(numbers).all():
                wanted = f"{shape[0]} numbers" if shape else "a number"
                raise InputError(f"{path}, {place}: {name} is {value!r:.40}, not {wanted}: correct it there")
            known[name] = numbers.tolist()
    return known


def _short(name: str) -> str:
    """A name as it is if it is one, and else in a form that no terminal is upset by."""
    return name if NAME.fullmatch(name) else f"{name!r:.40}"


def _probability(value: object) -> float | None:
    """The meaning of a value; None if it is unknown. Raises ValueError."""
    word = "" if value is None else str(value).strip().lower()
    if not word:
        return None
    if word in _WORDS:
        return _WORDS[word]
    number = float(word)
    if number != -1 and not 0 <= number <= 1:
        raise ValueError(word)
    return max(number, 0.0)
