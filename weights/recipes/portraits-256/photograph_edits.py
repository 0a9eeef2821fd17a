"""Edits of photographs, of which no ground truth is known: what an attribute accounts for in the codes of all of them.

Codes of photographs are regressed on what is known of each (ridge regression): the kind of smile, glasses, beard, hair
and age, further attributes, where the photograph comes from, how the head is turned. The coefficient of a kind is how a
code differs where everything else is the same. Renders smile and age as the renderer has it; these edits as people do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# how a code looks to which nothing is added
USUAL = {"smile": "none", "glasses": "none", "beard": "none", "hair_colour": "brown", "hair": "medium", "age": "middle"}
BINARY = ("Mouth_Slightly_Open", "Bangs", "Wavy_Hair", "Wearing_Hat", "Wearing_Lipstick", "Male")
RIDGE = 5.0
REFERENCES = 8  # photographs of the wanted kind, of which any may be the reference of an edit


@dataclass(frozen=True)
class Wanted:
    """An attribute, the kinds that are with and without it, and how much of the difference an edit makes."""

    attribute: str
    kind: str  # a key of USUAL, or the attribute itself
    present: str | int = 1
    absent: str | int = 0
    added: float = 1.5  # more than once: the coefficients of a regression are drawn to zero, and edits shall show
    removed: float = 1.5


EDITS = (
    Wanted("Smiling", "smile", "teeth", "none", added=1.25),
    Wanted("Mouth_Slightly_Open", "Mouth_Slightly_Open"),
    Wanted("Eyeglasses", "glasses", "clear", "none", added=1.0, removed=1.25),
    Wanted("No_Beard", "beard", "none", "full"),
    Wanted("Bangs", "Bangs"),
    Wanted("Young", "age", "young", "old"),
)


def photograph_edits(
    records: Sequence[Mapping[str, Any]], codes: Tensor
) -> tuple[tuple[str, ...], Tensor, list[dict[str, Any]]]:
    """Names and codes (P, N, D) of edited photographs, and their rows for the table of ground-truth edits.

    records: of the photographs whose `codes` (M, N, D) are given. The reference of each edit is another photograph of
    the wanted kind, one of several. A kind that is not known counts as the usual one.
    """
    random = np.random.default_rng(0)
    coefficients = _coefficients(records, codes)
    zero = torch.zeros(codes.shape[1:])
    names, edited, rows = [], [], []
    for wanted in EDITS:
        kinds = [_kind(record, wanted.kind) for record in records]
        for target in (wanted.present, wanted.absent):
            like = [k for k, kind in enumerate(kinds) if kind == target]
            if not like:
                continue
            present = target == wanted.present
            for k, record in enumerate(records):
                if kinds[k] is None or record["attributes"].get(wanted.attribute) == int(present):
                    continue
                change = coefficients.get((wanted.kind, target), zero) - coefficients.get((wanted.kind, kinds[k]), zero)
                name = f"{record['id']}-{wanted.attribute}-{'with' if present else 'without'}"
                references = [records[r]["id"] for r in random.choice(like, REFERENCES)]
                names.append(name)
                edited.append(codes[k] + (wanted.added if present else wanted.removed) * change)
                row = {"source": record["id"], "reference": references, "edited": name}
                rows.append({**row, "attribute": wanted.attribute, "present": present})
    return tuple(names), torch.stack(edited), rows


def _coefficients(records: Sequence[Mapping[str, Any]], codes: Tensor) -> dict[tuple[str, str | int | None], Tensor]:
    """What each kind, other than the usual one, adds to a code (N, D)."""
    columns: dict[tuple[str, str | int | None], list[float]] = {}
    for kind, usual in USUAL.items():
        found = [_kind(record, kind) for record in records]
        others = sorted({str(one) for one in found if one is not None} - {usual})
        columns |= {(kind, one): [float(value == one) for value in found] for one in others}
    for name in BINARY:
        columns[name, 1] = [record["attributes"].get(name, 0.5) for record in records]
    sources = [str(record["source"]) for record in records]
    columns |= {("source", one): [float(source == one) for source in sources] for one in sorted({*sources})[1:]}
    turned = np.array([_nose(record) for record in records])
    turned = (turned - turned.mean(axis=0)) / turned.std(axis=0).clip(1e-6)
    x = torch.tensor([*columns.values(), *turned.T.tolist(), [1.0] * len(records)], dtype=torch.float64).T  # (M, C)
    ridge = RIDGE * torch.eye(x.shape[1], dtype=torch.float64)
    ridge[-1, -1] = 0  # the usual code is what it is
    solved = torch.linalg.solve(x.T @ x + ridge, x.T @ codes.flatten(1).double())
    return {key: solved[row].reshape(codes.shape[1:]).float() for row, key in enumerate(columns)}


def _kind(record: Mapping[str, Any], name: str) -> str | int | None:
    """What is known of it: a kind, 0 or 1, or None."""
    found: str | int | None = record.get("kinds", {}).get(name) if name in USUAL else record["attributes"].get(name)
    return found


def _nose(record: Mapping[str, Any]) -> list[float]:
    """Where the nose is, from the middle of the eyes, in pixels of the crop: how the head is turned."""
    right, left, nose, *_ = np.array(record["points"], float)
    offset: list[float] = (nose - (right + left) / 2).tolist()
    return offset
