"""What is measured of a model on aligned crops, one number for each: reconstruction, edits, and who is in them.

A measuring judge, which had no part in any training, says what is seen in an image. `evaluation.py` adds it all up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from stedit import Engine
from stedit.errors import InputError
from stedit.imaging.files import Pixels, fit_image
from stedit.imaging.sources import ImageReader
from stedit.metrics.distortion import psnr, ssim
from stedit.metrics.editing import set_attribute, side_effects
from stedit.models.attribute_network import AttributeNetwork
from stedit.photo.alignment import Quad
from stedit.photo.photograph import carry_over
from stedit.runtime.arrays import to_tensor
from stedit.storage.jsonl import read_records

SIZE = 128  # px, at which images are compared and judged
BATCH = 16
GENERATED = {"faker_sd3", "t2i_schnell", "t2i_sdxl", "openpeople"}  # sources of pictures that nobody took
LIGHT, DARK = 68.0, 50.0  # CIE L* of a cheek, above which skin is called light, below which dark
OF_HAIR = {"Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Wavy_Hair", "Straight_Hair"}
MOUTH = np.s_[:, 19:28, 8:24]  # of images shrunk to a quarter of SIZE

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Crops:
    """Aligned crops uint8 (M, S, S, 3), and their records, in one order."""

    images: Pixels
    records: tuple[Mapping[str, Any], ...]

    @classmethod
    def open(cls, folder: Path, split: str, records: Sequence[Mapping[str, Any]]) -> Self:
        """The images of records, from the zip files SPLIT-*.zip of a folder. Raises InputError."""
        if not records:
            raise InputError(f"{folder} has no records of the {split} split: give {split}.jsonl.gz of some images")
        with ImageReader() as reader:
            found = {image.id: image for path in sorted(folder.glob(f"{split}-*.zip")) for image in reader.find(path)}
            if missing := [row["id"] for row in records if row["id"] not in found]:
                raise InputError(f"{folder} has no image {missing[0]}: give the zip files of {split}.jsonl.gz")
            side = min(reader.read(found[records[0]["id"]]).shape[:2])
            images = [fit_image(reader.read(found[row["id"]]), (side, side)) for row in records]
        return cls(np.stack(images), tuple(records))

    def __len__(self) -> int:
        return len(self.records)

    def labels(self, names: Sequence[str]) -> Numbers:
        """(M, K), NaN where unknown."""
        return np.array([[row["attributes"].get(name, np.nan) for name in names] for row in self.records], float)

    def kinds(self, name: str) -> list[str | None]:
        """What a record says of the kind of smile, glasses, beard, hair or age."""
        return [row.get("kinds", {}).get(name) for row in self.records]

    @property
    def hair_can_change(self) -> Mask:
        """Where there is hair, and no hat over it."""
        hidden = [row["attributes"].get(name) == 1 for row in self.records for name in ("Bald", "Wearing_Hat")]
        return ~np.array(hidden).reshape(-1, 2).any(axis=1)


def records_of(folder: Path, split: str) -> list[dict[str, Any]]:
    """The records of a split of a folder. Raises InputError."""
    return list(read_records(folder / f"{split}.jsonl.gz"))


def evenly(rows: Sequence[Any], count: int | None) -> list[Any]:
    """`count` of the rows, spread over all of them."""
    if not count or count >= len(rows):
        return list(rows)
    return [rows[i] for i in np.linspace(0, len(rows) - 1, count).astype(int)]


def groups_of(crops: Crops) -> dict[str, Mask]:
    """Of whom figures are told apart: by source, sex, age and skin. A person may be in none of some kind."""
    source = np.array([str(row.get("source", "")) for row in crops.records])
    male = crops.labels(["Male"])[:, 0]
    age, lightness = np.array(crops.kinds("age"), object), skin_lightness(crops)
    generated = np.isin(source, list(GENERATED))
    groups = {"photographs": np.ones(len(crops), bool), "real": ~generated, "generated": generated}
    groups |= {"women": male == 0, "men": male == 1} | {one: age == one for one in ("child", "young", "middle", "old")}
    groups |= {
        "dark skin": lightness < DARK,
        "medium skin": (lightness >= DARK) & (lightness < LIGHT),
        "light skin": lightness >= LIGHT,
    }
    return groups | {f"source {name}": source == name for name in sorted({*source})}


def skin_lightness(crops: Crops) -> Numbers:
    """CIE L* (M,) of the cheeks, 0 to 100, by the five points of each record; NaN without them."""
    found = []
    for image, row in zip(crops.images, crops.records, strict=True):
        if "points" not in row:
            found.append(np.nan)
            continue
        right, left, _, *corners = np.array(row["points"], float) * (image.shape[0] / 256)
        across = left - right
        radius = max(1, round(0.09 * float(np.hypot(*across))))
        patches = []
        for eye, corner, side in ((right, corners[0], -1), (left, corners[1], 1)):
            x, y = np.rint(0.42 * eye + 0.58 * corner + side * 0.1 * across).astype(int).clip(radius, len(image) - 1)
            patches.append(image[y - radius : y + radius, x - radius : x + radius].reshape(-1, 3))
        colour = np.median(np.concatenate(patches), axis=0).astype(np.float32)[None, None] / 255
        found.append(float(cv2.cvtColor(colour, cv2.COLOR_RGB2LAB)[0, 0, 0]))
    return np.array(found)


def shrunk(images: Pixels, size: int = SIZE) -> Pixels:
    """(M, S, S, 3) -> (M, size, size, 3), each pixel the mean of what it covers."""
    if images.shape[1] == size:
        return images
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])


@dataclass(frozen=True)
class Seen:
    """What the measuring judge sees in images."""

    features: Features
    """(M, 16 * C)."""
    attributes: Mask
    """(M, K), which it predicts."""

    @property
    def summary(self) -> Features:
        """(M, C): features without their place, few enough for a covariance."""
        return self.features.reshape(len(self.features), -1, 16).mean(axis=2)

    @property
    def direction(self) -> Features:
        """Features of unit length."""
        return self.features / np.linalg.norm(self.features, axis=1, keepdims=True)


@dataclass(frozen=True)
class Edits:
    """What became of an edit of each crop."""

    asked: Mask
    """(M,): where the attribute was not as wanted before."""
    wanted: Mask
    """(M,): whether the attribute was to be there."""
    shown: Mask
    """(M,): whether it is then as wanted."""
    side_effects: Numbers
    """(M,): the share of unrelated attributes that changed."""


@dataclass(frozen=True)
class Reconstructions:
    """Codes of crops, what is rendered of them, and what is seen in either."""

    codes: NDArray[np.float32]
    images: Pixels
    psnr: Numbers
    ssim: Numbers
    seen: Seen
    seen_in_crops: Seen


class Measurer:
    """A model, and the judge that measures it; `names` are the judge's attributes in the order of its outputs."""

    def __init__(self, engine: Engine, judge: AttributeNetwork, names: Sequence[str]) -> None:
        if judge.head.out_features < len(names):
            raise InputError(
                f"the judge has {judge.head.out_features} outputs, fewer than the {len(names)} attributes: name those "
                "that it has with --attributes"
            )
        self.engine, self.names = engine, tuple(names)
        self._judge = judge.to(engine.device).eval()

    def see(self, images: Pixels) -> Seen:
        """What the judge sees in images of any size."""
        features, attributes = [], []
        with torch.no_grad():
            for part in parts_of(images):
                found = self._judge.embed(to_tensor(shrunk(part)).to(self.engine.device))
                features.append(found.float().cpu().numpy())
                attributes.append((self._judge.logits(found)[:, : len(self.names)] > 0).cpu().numpy())
        return Seen(np.concatenate(features), np.concatenate(attributes))

    def render(self, codes: NDArray[np.float32]) -> Pixels:
        """What the model renders of codes (M, N, D)."""
        return np.concatenate([self.engine.synthesise(part) for part in parts_of(codes)])

    def reconstruct(self, crops: Pixels, **how: Any) -> Reconstructions:
        """Invert crops (M, S, S, 3) and render their codes; `how` as of `Engine.invert`."""
        codes = np.concatenate([self.engine.invert(part, **how) for part in parts_of(crops)])
        images = self.render(codes)
        pairs = [*zip(parts_of(shrunk(crops)), parts_of(shrunk(images)), strict=True)]
        distances = (np.concatenate([measure(*pair) for pair in pairs]) for measure in (psnr, ssim))
        return Reconstructions(codes, images, *distances, self.see(images), self.see(crops))

    def edit_by_label(
        self, crops: Crops, before: Reconstructions, attribute: str, carried: Mask
    ) -> tuple[Edits, Edits]:
        """Every crop towards the opposite of what is seen of its reconstruction: as rendered, and carried over.

        Only the crops of `carried` (M,) are; and none of a head without visible hair is asked for other hair.
        """
        wanted = ~before.seen.attributes[:, self.names.index(attribute)]
        edited = np.concatenate(
            [
                set_attribute(self.engine, codes, attribute, some, 1.0, "auto")
                for codes, some in zip(parts_of(before.codes), parts_of(wanted), strict=True)
            ]
        )
        images = self.render(edited)
        possible = crops.hair_can_change if attribute in OF_HAIR else np.ones(len(crops), bool)
        rendered = self._outcome(attribute, wanted, possible, before.seen, self.see(images))
        results = [
            carry(crop, old, new) if chosen else crop
            for crop, old, new, chosen in zip(crops.images, before.images, images, carried, strict=True)
        ]
        after = self.see(np.stack(results))
        return rendered, self._outcome(attribute, wanted, possible & carried, before.seen_in_crops, after)

    def edit_by_reference(
        self, crops: Crops, before: Reconstructions, attribute: str, seed: int = 0
    ) -> tuple[Edits, NDArray[np.int64], Seen]:
        """Every crop takes the attribute from another in which it is seen otherwise; which one (M,), and the results.

        Where all crops are alike in it, nothing is asked.
        """
        column = before.seen.attributes[:, self.names.index(attribute)]
        possible = crops.hair_can_change if attribute in OF_HAIR else np.ones(len(crops), bool)
        random = np.random.default_rng(seed)
        references = np.arange(len(crops))
        for state in (False, True):
            others = np.flatnonzero((column != state) & possible)
            if len(others):
                references[column == state] = random.choice(others, (column == state).sum())
        edited = [
            self.engine.edit_by_reference(codes, before.codes[some], attribute)
            for codes, some in zip(parts_of(before.codes), parts_of(references), strict=True)
        ]
        after = self.see(self.render(np.concatenate(edited)))
        return self._outcome(attribute, column[references], possible, before.seen, after), references, after

    def _outcome(self, attribute: str, wanted: Mask, possible: Mask, before: Seen, after: Seen) -> Edits:
        index = self.names.index(attribute)
        effects = side_effects(after.attributes != before.attributes, attribute, self.names)
        asked = possible & (before.attributes[:, index] != wanted)
        return Edits(asked, wanted, after.attributes[:, index] == wanted, np.where(asked, effects, np.nan))

    def smile_pairs(self, neutral: Crops, smiling: Crops) -> dict[str, Mask]:
        """Whether each neutral face, made to smile, is nearer to the true smile (M,) than it was: four comparisons.

        The rendered edit is compared with the reconstruction of the true smile, the carried one with its photograph.
        """
        old, true = self.reconstruct(neutral.images), self.reconstruct(smiling.images)
        edited = np.concatenate([self.engine.edit_by_label(codes, "Smiling") for codes in parts_of(old.codes)])
        rendered = self.render(edited)
        carried = np.stack([*map(carry, neutral.images, old.images, rendered)])
        cases = {
            "rendered": ((old.images, old.seen), (rendered, self.see(rendered)), (true.images, true.seen)),
            "carried": (
                (neutral.images, old.seen_in_crops),
                (carried, self.see(carried)),
                (smiling.images, true.seen_in_crops),
            ),
        }
        found = {}
        for name, ((start, seen_start), (end, seen_end), (goal, seen_goal)) in cases.items():
            features = (seen_start.direction, seen_end.direction, seen_goal.direction)
            mouths = [shrunk(shrunk(images), SIZE // 4)[MOUTH].astype(float) for images in (start, end, goal)]
            found[f"{name}, features"] = _nearer(*features)
            found[f"{name}, mouth"] = _nearer(*mouths)
        return found


def carry(crop: Pixels, before: Pixels, after: Pixels) -> Pixels:
    """The crop (S, S, 3) with the change between two renderings made to it."""
    return carry_over(crop, [Quad.of_picture(*crop.shape[:2])], [before], [after])


def _nearer(start: NDArray[Any], end: NDArray[Any], goal: NDArray[Any]) -> Mask:
    """Whether each of `end` (M, ...) is nearer to the goal than that of `start` is."""
    before, after = (np.square(some - goal).reshape(len(goal), -1).sum(axis=1) for some in (start, end))
    return np.asarray(after < before)


def parts_of(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Batches."""
    return [values[i : i + BATCH] for i in range(0, len(values), BATCH)]
