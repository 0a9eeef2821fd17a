"""Labelled faces in memory: whole scenes, aligned crops, renders; all decoded once, as uint8.

Records are JSON lines. One has an `id`, the name of its picture without the ending, and
    faces       of a scene: {"box": [x, y, w, h], "points": [[x, y] x 5], "score": 0..1} each, with the `size` [w, h]
                of the picture that the numbers count in;
    points      of a crop that holds one face: five of them, in pixels of 256;
    landmarks   of a render: 68 in iBUG's order, in pixels of 128.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from stedit.errors import ImageError, InputError, describe_cause
from stedit.imaging.sources import ImageReader, ImageRef
from stedit.models.aligner import POINTS
from stedit.photo.alignment import five_points
from stedit.storage.jsonl import read_records

SCENE_SIDE, CROP_SIDE, RENDER_SIDE = 288, 256, 128  # pixels of the stored squares
MAX_FACES = 8  # of a scene; one with more is left out
SURE_SCORE = 0.75  # a face of which its detector was less sure is neither learnt nor counted as a fault

# A face's box from its points: centre and half sides, in a frame along the line from eyes to mouth. Medians over the
# boxes that YuNet gives to upright faces.
BOX_CENTRE = 0.33  # of the way from the eyes to the mouth
BOX_WIDTH, BOX_HEIGHT = 0.53, 0.74  # half sides, of `face_scale`
SIZE_OF_SCALE = 1.25  # geometric mean of the box's sides, of `face_scale`

ABSENT, LEARNT, UNSURE = 0, 1, 2  # what a slot for a face holds


@dataclass(frozen=True)
class Faces:
    """Pictures of one size with their faces."""

    pixels: Tensor
    """uint8 (N, 3, side, side); a picture that is not square lies at the top left."""
    sizes: Tensor
    """float32 (N, 2): width and height of the picture in its square."""
    points: Tensor
    """float32 (N, F, 5, 2): x and y from the picture's top left corner, in pixels of the square."""
    boxes: Tensor
    """float32 (N, F, 4): the centre of the box and half its sides, as they are where the face is upright."""
    state: Tensor
    """int64 (N, F): ABSENT, LEARNT or UNSURE."""
    rank: Tensor
    """float64 (N,): `rank` of the pictures' ids."""

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Faces:
        """The same on a device."""
        return Faces(*(getattr(self, item.name).to(device) for item in fields(self)))

    def part(self, index: Tensor) -> Faces:
        """Some of the pictures."""
        return Faces(*(getattr(self, item.name)[index] for item in fields(self)))


def read_faces(data: Sequence[str], labels: Sequence[str]) -> dict[str, Faces]:
    """The labelled pictures of `data` as "scenes", "crops" and "renders", those that there are, in a fixed order.

    Raises InputError if a file cannot be read, or no picture has a record.
    """
    records = _read_records(labels)
    found: dict[str, list[tuple[ImageRef, Mapping[str, Any]]]] = {"scenes": [], "crops": [], "renders": []}
    with ImageReader() as reader:
        for image in (image for source in data for image in reader.find(Path(source))):
            record = records.get(image.id, {})
            if "faces" in record:
                if len(record["faces"]) <= MAX_FACES:
                    found["scenes"].append((image, record))
            elif record:
                found["crops" if "points" in record else "renders"].append((image, record))
        sides = {"scenes": SCENE_SIDE, "crops": CROP_SIDE, "renders": RENDER_SIDE}
        sets = {name: _decode(reader, images, sides[name]) for name, images in found.items() if images}
    if not sets:
        raise InputError(f"no picture of {data[0]} has a record in {labels[0]}: give the labels of these pictures")
    return sets


def rank(name: str) -> float:
    """A number in 0..1 that follows from a picture's id alone: those of the lowest are held out."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def face_scale(points: Tensor) -> Tensor:
    """Half the side of FFHQ's crop (Karras et al. 2019, appendix C): points (..., 5, 2) -> (...)."""
    across = (points[..., 1, :] - points[..., 0, :]).norm(dim=-1)
    down = (points[..., 3:5, :].mean(-2) - points[..., 0:2, :].mean(-2)).norm(dim=-1)
    return torch.maximum(2.0 * across, 1.8 * down)


def boxes_of_points(points: Tensor) -> Tensor:
    """Box (..., 4) of an upright face, centre and half sides, from its five points (..., 5, 2)."""
    eyes, mouth = points[..., 0:2, :].mean(-2), points[..., 3:5, :].mean(-2)
    scale = face_scale(points)[..., None]
    centre = eyes + BOX_CENTRE * (mouth - eyes)
    return torch.cat([centre, BOX_WIDTH * scale, BOX_HEIGHT * scale], dim=-1)


def _read_records(paths: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Records of faces by the ids of their pictures; those that say nothing of faces are left out."""
    records: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        for number, record in enumerate(read_records(Path(path)), start=1):
            try:
                if _check(record):
                    records[record["id"]] = record
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(f"record {number} of {path} is none of faces ({describe_cause(error)})") from error
    return records


def _check(record: Mapping[str, Any]) -> bool:
    """Whether a record says where faces are. Raises ValueError, TypeError or KeyError if it cannot be used."""
    if type(record["id"]) is not str:
        raise ValueError("its id is no text")
    for face in record.get("faces", ()):
        _numbers(face["points"], (POINTS, 2)), _numbers(face["box"], (4,)), float(face.get("score", 1))
    if "faces" in record:
        _numbers(record["size"], (2,))
    elif "points" in record:
        _numbers(record["points"], (POINTS, 2))
    elif "landmarks" in record:
        _numbers(record["landmarks"], (68, 2))
    return any(key in record for key in ("faces", "points", "landmarks"))


def _numbers(values: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    array = np.array(values, dtype=np.float32)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"numbers of the shape {shape} are expected")
    return array


def _decode(reader: ImageReader, images: Sequence[tuple[ImageRef, Mapping[str, Any]]], side: int) -> Faces:
    pixels = np.zeros((len(images), side, side, 3), np.uint8)
    slots = max(1, *(len(record.get("faces", (0,))) for _, record in images))
    sizes = np.full((len(images), 2), side, np.float32)
    points, boxes = (
        np.zeros((len(images), slots, POINTS, 2), np.float32),
        np.zeros((len(images), slots, 4), np.float32),
    )
    state = np.zeros((len(images), slots), np.int64)

    def fill(index: int) -> None:
        image, record = images[index]
        try:
            picture = reader.read(image)
        except ImageError:
            return  # it stays black, without a face
        height, width = picture.shape[:2]
        scale = side / max(height, width)
        if scale != 1:
            shrunk = (max(1, round(width * scale)), max(1, round(height * scale)))
            picture = np.asarray(Image.fromarray(picture).resize(shrunk, Image.Resampling.BOX if scale < 1 else None))
        pixels[index, : picture.shape[0], : picture.shape[1]] = picture
        sizes[index] = picture.shape[1], picture.shape[0]
        if "faces" in record:
            unit = sizes[index] / np.array(record["size"], np.float32)
            for slot, face in enumerate(record["faces"]):
                points[index, slot] = _numbers(face["points"], (POINTS, 2)) * unit
                x, y, w, h = face["box"]
                boxes[index, slot] = np.array([x + w / 2, y + h / 2, w / 2, h / 2], np.float32) * np.tile(unit, 2)
                state[index, slot] = LEARNT if face.get("score", 1) >= SURE_SCORE else UNSURE
        else:
            if "points" in record:
                points[index, 0] = _numbers(record["points"], (POINTS, 2)) * (side / CROP_SIDE)
            else:
                points[index, 0] = five_points(_numbers(record["landmarks"], (68, 2))) * (side / RENDER_SIDE)
            boxes[index, 0] = boxes_of_points(torch.from_numpy(points[index, 0])).numpy()
            state[index, 0] = LEARNT

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as threads:
        list(threads.map(fill, range(len(images))))
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    ranks = np.array([rank(image.id) for image, _ in images])
    return Faces(planes, *(torch.from_numpy(array) for array in (sizes, points, boxes, state, ranks)))
