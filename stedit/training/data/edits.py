"""Edits whose result is known, by which an editor or a generator is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stedit.errors import InputError
from stedit.storage.jsonl import read_records


@dataclass(frozen=True)
class GroundTruthEdits:
    """Codes of images that differ from a source in one attribute alone, which is taken from a reference."""

    source: Tensor
    """(M,) indices into the codes, as are the next two."""
    references: Tensor
    """(M, R): any one of them gives the same edit; where there are fewer, they come again."""
    edited: Tensor
    attribute: Tensor
    """(M,) indices into the model's attributes."""
    present: Tensor
    """(M,) 1 where the edited code has the attribute, 0 where it has not, -1 where unknown."""

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, chosen: Tensor) -> GroundTruthEdits:
        """Some of them, by their numbers or by a mask (M,)."""
        columns = (self.source, self.references, self.edited, self.attribute, self.present)
        return GroundTruthEdits(*(column[chosen] for column in columns))

    def split(self, kept: Tensor) -> tuple[GroundTruthEdits, GroundTruthEdits]:
        """Those to learn from, all of whose codes are `kept` (N,), and those whose source or edited code is not.

        An edit and its reverse are on the same side. Those that only lack a reference are on neither.
        """
        both, usable = kept[self.source] & kept[self.edited], kept[self.references]
        first = self.references.gather(1, usable.int().argmax(dim=1, keepdim=True))
        learned = replace(self, references=torch.where(usable, self.references, first))
        return learned.rows(both & usable.any(dim=1)), self.rows(~both)

    @classmethod
    def read(cls, path: str, names: Sequence[str], attributes: Sequence[str], only: str = "") -> GroundTruthEdits:
        """JSONL of objects with source, reference and edited, names of codes, and attribute; `only` those of one.

        The reference may be a list of several. `present`, true or false, says whether the edited code has the
        attribute; it may be left out.

        Raises InputError if a name is unknown, or if no edit is left.
        """
        numbers = {name: number for number, name in enumerate(names)}
        rows: list[list[int]] = []
        references: list[list[int]] = []
        for line, row in enumerate(read_records(Path(path)) if path else [], start=1):
            if row.get("attribute") not in attributes:
                raise InputError(f"{path}, record {line}, has no attribute that the model knows: give its CelebA name")
            given = row.get("reference")
            several = given if isinstance(given, list) and given else [given]
            named = [("source", row.get("source")), *(("reference", r) for r in several), ("edited", row.get("edited"))]
            for key, value in named:
                if not isinstance(value, str) or value not in numbers:
                    raise InputError(f"{path}, record {line}: the {key} {value!r} is not a code: give its name")
            if row.get("present") not in (True, False, None):
                raise InputError(f"{path}, record {line}: present is {row['present']!r}: write true or false")
            if not only or row["attribute"] == only:
                state = -1 if row.get("present") is None else int(row["present"])
                first, *others, last = (numbers[str(value)] for _, value in named)
                rows.append([first, last, attributes.index(row["attribute"]), state])
                references.append(others)
        if path and not rows:
            raise InputError(f"{path} holds no edit of {only or 'anything'}: leave edits out, or give another file")
        width = max(map(len, references), default=1)
        cycled = [[row[k % len(row)] for k in range(width)] for row in references]
        source, edited, attribute, present = torch.tensor(rows, dtype=torch.int64).reshape(-1, 4).unbind(dim=1)
        return cls(source, torch.tensor(cycled, dtype=torch.int64).reshape(-1, width), edited, attribute, present)
