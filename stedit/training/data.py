"""Labelled pictures for training, held in memory as bytes."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.errors import InputError
from stedit.imaging.files import read_picture


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures with their labels, and the parameters that made them."""

    pixels: NDArray[np.uint8]  # (M, H, W, 3)
    labels: NDArray[np.uint8]  # (M, K) in {0, 1}
    parameters: NDArray[np.float32]  # (M, P), each about N(0, 1); P is 0 where they are unknown
    attributes: tuple[str, ...]

    def images(self, index: Tensor) -> Tensor:
        """float32 (B, 3, H, W) in [-1, 1] of the chosen pictures."""
        return torch.from_numpy(self.pixels[index.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def join(self, other: LabelledPictures) -> LabelledPictures:
        """Both sets, this one first; their attributes must be the same."""
        return LabelledPictures(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.parameters, other.parameters]),
            self.attributes,
        )


def read_records(path: Path) -> list[dict[str, Any]]:
    """One JSON object per line, gzipped or not. Raises InputError."""
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return [json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read the records {path} ({error}): give a .jsonl or .jsonl.gz file") from error


def load_labelled(records: Path, archives: Sequence[Path]) -> LabelledPictures:
    """Read `<id>.jpg` members of zip files, in the order of the records that label them.

    Args:
        records: JSONL with "id", "attributes" {CelebA name: 0/1} and, where known, "params".
        archives: zip files that hold all pictures, all of one size.

    Raises:
        InputError: a file cannot be read, or a picture is missing.
    """
    rows = read_records(records)
    members: dict[str, tuple[zipfile.ZipFile, str]] = {}
    for archive in archives:
        try:
            opened = zipfile.ZipFile(archive)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"cannot read the pictures {archive} ({error}): give a zip file") from error
        members |= {Path(name).stem: (opened, name) for name in opened.namelist()}
    pixels = []
    for row in rows:
        if str(row["id"]) not in members:
            raise InputError(f"{records} names the picture {row['id']}, which no archive holds: give all archives")
        opened, name = members[str(row["id"])]
        pixels.append(read_picture(BytesIO(opened.read(name)), name=name).pixels)
    attributes = tuple(rows[0]["attributes"])
    return LabelledPictures(
        np.stack(pixels),
        np.array([[row["attributes"][name] for name in attributes] for row in rows], np.uint8),
        np.array([row.get("params", ()) for row in rows], np.float32),
        attributes,
    )
