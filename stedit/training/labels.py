"""Labels of pictures or codes: CelebA-named attributes that are there, are not there, or are unknown."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from stedit.errors import InputError, cause
from stedit.records import read_records

MAX_CSV_BYTES = 2**30
MAX_ATTRIBUTES = 1024  # as many as a classifier may have

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # what a bundle takes
_VALUES: dict[Any, float] = {1: 1.0, 0: 0.0, -1: 0.0, "1": 1.0, "0": 0.0, "-1": 0.0, "": math.nan, None: math.nan}


@dataclass(frozen=True)
class LabelTable:
    """A table of labels, by the name of the picture or code."""

    path: str
    attributes: tuple[str, ...]
    """In the order in which the file names them first."""
    rows: Mapping[str, Mapping[str, float]]
    """Name -> attribute -> 1, 0 or NaN; an attribute that is left out is unknown too."""

    @classmethod
    def read(cls, path: str | Path) -> LabelTable:
        """Read a table; raises InputError.

        CSV: a header line, names in the first column, an attribute in each other column. JSONL (or .jsonl.gz): objects
        with "id" and either "attributes", an object, or the attributes themselves. A value is 1, 0 (CelebA's -1 too),
        or unknown: nothing, or null. Names may have an ending, such as .jpg.
        """
        path = Path(path)
        parse = _parse_csv if path.suffix.lower() == ".csv" else _parse_records
        rows: dict[str, dict[str, float]] = {}
        attributes: dict[str, None] = {}
        for number, name, values in parse(path):
            labels = {}
            for attribute, value in values.items():
                if attribute not in attributes:
                    _require_name(path, attribute)
                    attributes[attribute] = None
                if isinstance(value, list | dict) or value not in _VALUES:
                    raise InputError(f"{path}, record {number}: {attribute} is {value!r}, not 1, 0 or empty")
                labels[attribute] = _VALUES[value]
            rows[PurePath(name).stem] = labels
        if not attributes:
            raise InputError(f"{path} holds no labels: give a CSV or JSONL file of attributes")
        if len(attributes) > MAX_ATTRIBUTES:
            raise InputError(f"{path} names {len(attributes)} attributes: give at most {MAX_ATTRIBUTES}")
        return cls(str(path), tuple(attributes), rows)

    def of(self, names: Sequence[str], attributes: Sequence[str], examples: str = "codes") -> Tensor:
        """Labels (M, K), float32, of `examples` by name: 1, 0, or NaN where unknown.

        Raises InputError if no name is in the table.
        """
        empty: Mapping[str, float] = {}
        found = [self.rows.get(name, empty) for name in names]
        if not any(found):
            example = f"such as {names[0]}" if names else f"for there are no {examples}"
            raise InputError(
                f"{self.path} names none of the {examples} ({example}): its ids are file names without ending"
            )
        return torch.tensor([[row.get(name, math.nan) for name in attributes] for row in found])


def _parse_csv(path: Path) -> Iterable[tuple[int, str, dict[str, Any]]]:
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise InputError(f"{path} is larger than {MAX_CSV_BYTES // 2**30} GB: give a smaller table")
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True, strict=True))
    except FileNotFoundError:
        raise InputError(f"there are no labels at {path}: check the spelling") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"cannot read the labels {path} ({cause(error)}): give a CSV file in UTF-8") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    if len(header) < 2:
        raise InputError(f"{path} has no header line such as id,Smiling,Eyeglasses: add one")
    for number, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(header):
            raise InputError(f"{path}, line {number}, has {len(row)} cells, not {len(header)}: correct it there")
        if row:
            yield number, row[0].strip(), dict(zip(header[1:], (cell.strip() for cell in row[1:]), strict=True))


def _parse_records(path: Path) -> Iterable[tuple[int, str, dict[str, Any]]]:
    for number, row in enumerate(read_records(path), start=1):
        if "id" not in row:
            raise InputError(f"{path}, record {number}, has no id: give objects with id and attributes")
        values = row.get("attributes", {name: value for name, value in row.items() if name != "id"})
        if not isinstance(values, dict):
            raise InputError(f"{path}, record {number}: its attributes are no object of names and values")
        yield number, str(row["id"]), values


def _require_name(path: Path, attribute: str) -> None:
    if not _NAME.fullmatch(attribute):
        raise InputError(f"{path} names the attribute {attribute!r}: use letters, digits, '.', '_' and '-' only")
