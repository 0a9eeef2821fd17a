"""Finding the faces of a photograph, and five points of each, to align it by.

Two finders stand behind one detector: the aligner, a network that comes with a model, and OpenCV's YuNet (Wu et al.
2023) for who has its file. The photograph is searched as a small picture; then each face is cut out upright, as if
aligned, and found again there, in four views: that is where its points come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch

from stedit.errors import InputError
from stedit.hub.yunet import YUNET, require_yunet
from stedit.imaging.files import Pixels
from stedit.models.aligner import MIRRORED, POINTS, Aligner
from stedit.models.layers import folded
from stedit.photo.alignment import Quad, transform
from stedit.photo.search import search
from stedit.runtime.rounding import rounded_as_in_batches

SEARCH_SIDE, SMALL_SIDE = 1280, 640  # pixels of the longer side of what is searched
GLANCE_SIDE = 128  # pixels of a square that is looked at to see whether it is a crop: its face is large in it
LEAST_SIDE = 16  # pixels of the shorter side: a smaller picture shows no face
MOST = 64  # answers of the search that are looked at again, the surest
LEAST_FACE = 12.0  # pixels of a face's size, below which nobody can use it
OVERLAP = 0.4  # intersection over union of boxes from which two answers are one face

# The views in which a face's points are found again: how many times as much as its quad they show, how far they are
# shifted to the right and down, in sides, and whether they are mirrored. A network errs by where the face lies on its
# grid, so no two views are alike.
VIEWS = ((1.35, 0.0, 0.0, False), (1.5, 0.04, 0.02, True), (1.65, 0.02, 0.04, False), (1.8, 0.06, 0.06, True))
VIEW_SCALES = 2  # at which a view is searched
LEAST_VIEWS = 3  # in which it must be found again

# Mean score in its views from which a face is sure, and from which it may be one: a button passes for a small face more
# easily than for a large one, so beside a sure face a doubtful one must not be much smaller.
SURE, DOUBTFUL = 0.8, 0.7
LEAST_OF_LARGEST = 0.25  # size of a doubtful face, in sizes of the largest sure one

ALIGNED = 0.12  # mean distance of the quad's corners from the picture's, in sides, up to which a picture is a crop
SQUARE = 0.02  # how far from a square it may be, in sides

YUNET_SIDES = (320, 640)  # longer sides at which YuNet looks, besides the picture's own: it knows faces of 10 to 300 px
YUNET_THRESHOLD = 0.6
MAX_YUNET_BYTES = 2**26

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Face:
    """A face in a photograph; coordinates in pixels from its top left corner."""

    box: tuple[float, float, float, float]
    """x, y, width, height."""
    points: tuple[tuple[float, float], ...]
    """Right eye, left eye, nose, right and left corner of the mouth: the person's right, on the picture's left."""
    score: float
    """How sure the detector is, 0..1: from `SURE` on it is."""

    @property
    def size(self) -> float:
        """Geometric mean of the box's sides."""
        return math.sqrt(self.box[2] * self.box[3])

    @property
    def quad(self) -> Quad:
        """Where FFHQ's crop of it lies. Raises ValueError if the points are not those of a face."""
        return Quad.of_points(self.points)


@dataclass(frozen=True)
class Answer:
    """What a finder says of a face: float64 points (5, 2) and box (x, y, width, height)."""

    score: float
    points: Array
    box: Array


class Finder(Protocol):
    """What finds faces in small pictures."""

    view_side: int
    """Side in pixels of the pictures of one face in which it gives the points best."""

    def find(self, image: Pixels, *, scales: int | None = None) -> list[Answer]:
        """The faces of uint8 (H, W, 3), surest first; at so many scales only, each half of the one before."""


class AlignerFinder:
    """The aligner network of a model."""

    view_side = 192

    def __init__(self, network: Aligner, threshold: float = 0.4) -> None:
        self._network = network if network.training else folded(network)
        self._threshold = threshold

    def find(self, image: Pixels, *, scales: int | None = None) -> list[Answer]:
        """The faces of uint8 (H, W, 3), surest first; at so many scales only, each half of the one before."""
        device = self._network.head.weight.device
        pixels = torch.from_numpy(np.array(image)).to(device)
        images = pixels.permute(2, 0, 1)[None].float() / 127.5 - 1
        with rounded_as_in_batches(device):  # the same by any number of threads
            ((scores, shapes),) = search(self._network, images, self._threshold, levels=scales)
        answers = []
        for score, shape in zip(scores.tolist(), shapes.double().cpu().numpy(), strict=True):
            low, high = shape[POINTS], shape[POINTS + 1]
            answers.append(Answer(score, shape[:POINTS], np.concatenate([low, np.maximum(high - low, 1)])))
        return answers


class YuNetFinder:
    """OpenCV's YuNet, from its ONNX file."""

    view_side = 416

    def __init__(self, path: str | Path) -> None:
        """Load it from a file, or by the name "yunet" from where it was pulled to.

        Raises InputError if the file is no YuNet, HubError if it has not been pulled.
        """
        path = require_yunet() if str(path) == YUNET else Path(path)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(
                f"there is no detector {path}: give YuNet's ONNX file, or the name {YUNET} for the one on the Hub"
            ) from error
        if size > MAX_YUNET_BYTES:
            raise InputError(
                f"the detector {path} is larger than {MAX_YUNET_BYTES // 2**20} MB: give YuNet's ONNX file"
            )
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # it warns of targets that nobody asked for
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), YUNET_THRESHOLD, OVERLAP, 500)
            self.find(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise InputError(
                f"the detector {path} is not YuNet's ONNX file: give face_detection_yunet_*.onnx"
            ) from error

    def find(self, image: Pixels, *, scales: int | None = None) -> list[Answer]:
        """The faces of uint8 (H, W, 3), surest first; at so many scales only, each half of the one before."""
        longer = max(image.shape[:2])
        answers = []
        for side in (*(side for side in YUNET_SIDES if side < longer and scales is None), longer):
            small = _resized(image, side / longer)
            height, width = small.shape[:2]
            self._net.setInputSize((width, height))
            _, rows = self._net.detect(np.ascontiguousarray(small[..., ::-1]))
            back = np.array([image.shape[1] / width, image.shape[0] / height])
            for row in [] if rows is None else np.asarray(rows, np.float64):
                points, box = row[4:14].reshape(5, 2) * back, row[:4] * np.tile(back, 2)
                answers.append(Answer(float(row[14]), points, box))
        return one_of_each(answers)


class FaceDetector:
    """Finds the faces of photographs."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder

    def detect(self, image: Pixels, *, largest: bool = False) -> list[Face]:
        """The faces of a photograph, the largest first; doubtful ones come last.

        Args:
            image: uint8 (H, W, 3) of any size. What is searched has a longer side of at most 1,280 px, in which faces
                from 24 px on are found.
            largest: whether the largest face is all that is wanted, which takes half the time: smaller ones may be
                missing then.
        """
        for side in (SMALL_SIDE, SEARCH_SIDE) if largest else (SEARCH_SIDE,):
            faces = self._detect(image, side)
            if (faces and faces[0].score >= SURE) or max(image.shape[:2]) <= side:
                break
        return faces

    def _detect(self, image: Pixels, side: int) -> list[Face]:
        height, width = image.shape[:2]
        if min(height, width) < LEAST_SIDE:
            return []
        small = _resized(image, min(1.0, side / max(height, width)))
        back = np.array([width / small.shape[1], height / small.shape[0]])
        found = []
        for answer in self._finder.find(small)[:MOST]:
            seen = self._again(image, Answer(answer.score, answer.points * back, answer.box * np.tile(back, 2)))
            if seen is not None and np.sqrt(seen.box[2:].prod()) >= LEAST_FACE:
                found.append(seen)
        faces = [_face(answer) for answer in one_of_each(found)]
        sure = sorted((face for face in faces if face.score >= SURE), key=lambda face: -face.size)
        least = LEAST_OF_LARGEST * sure[0].size if sure else 0.0
        doubtful = (face for face in faces if face.score < SURE and face.size >= least)
        return sure + sorted(doubtful, key=lambda face: -face.size)

    def is_aligned_crop(self, image: Pixels) -> bool:
        """Whether an image already is the aligned crop of a face, at a glance: seen small, without refinement."""
        height, width = image.shape[:2]
        if min(height, width) < LEAST_SIDE or not _is_square(image):
            return False
        small = _resized(image, min(1.0, GLANCE_SIDE / max(height, width)))
        seen = _central(self._finder.find(small, scales=1), small.shape[0])
        return seen is not None and _is_at_border(small, Quad.of_points(seen.points))

    def _again(self, image: Pixels, answer: Answer) -> Answer | None:
        """The face with the points that are found where it is cut out upright; None if nothing is found there."""
        try:
            rough = self._views(image, Quad.of_points(answer.points), VIEWS[:2])
            if not rough:
                return None
            quad = Quad.of_points(np.mean([one.points for one in rough], axis=0))
        except ValueError:
            return None
        found = self._views(image, quad, VIEWS)
        if len(found) < LEAST_VIEWS:
            return None
        score = float(np.mean([one.score for one in found]))
        if score < DOUBTFUL:
            return None
        points = np.mean([one.points for one in found], axis=0)
        return Answer(score, points, np.median([one.box for one in found], axis=0))

    def _views(self, image: Pixels, quad: Quad, views: Iterable[tuple[float, float, float, bool]]) -> list[Answer]:
        """What is found of a face in views of it, in pixels of the photograph; the box upright where the face is."""
        size, answers = self._finder.view_side, []
        for factor, right, down, mirrored in views:
            around = quad.enlarged(factor).shifted(right, down)
            crop = around.crop(image, size)
            seen = _central(self._finder.find(crop[:, ::-1] if mirrored else crop, scales=VIEW_SCALES), size)
            if seen is None:
                continue
            points, corners = seen.points, seen.box[:2] + np.array([[0, 0], [1, 1]]) * seen.box[2:]
            if mirrored:
                points, corners = (one * (-1.0, 1.0) + (size, 0.0) for one in (points[list(MIRRORED)], corners))
            answers.append(
                Answer(seen.score, transform(around.to_photo(size), points), _upright(around, size, corners))
            )
        return answers


def _face(answer: Answer) -> Face:
    x, y, width, height = answer.box.tolist()
    return Face((x, y, width, height), tuple((x, y) for x, y in answer.points.tolist()), answer.score)


def one_of_each(answers: Iterable[Answer]) -> list[Answer]:
    """Keep of answers whose boxes overlap the surest, and of those whose points coincide; surest first."""
    kept: list[Answer] = []
    for answer in sorted(answers, key=lambda one: -one.score):
        if not any(_overlap(answer.box, other.box) > OVERLAP or _coincide(answer, other) for other in kept):
            kept.append(answer)
    return kept


def choose(faces: list[Face], which: Literal["largest", "all"] | int, name: str) -> list[Face]:
    """Some of the faces of the photograph `name`: the largest, all, or the one of a number from 1.

    Raises InputError if there is none.
    """
    if not faces:
        raise InputError(
            f"{name}: no face was found, upright or turned up to 40 degrees, from 24 px of {SEARCH_SIDE}: crop the "
            "photograph closer, or give the points of the face",
            argument="landmarks",
        )
    if which == "all":
        return faces
    number = 1 if which == "largest" else which
    if not 1 <= number <= len(faces):
        raise InputError(f"{name} has {len(faces)} face{'s' * (len(faces) > 1)}, so there is no face {number}")
    return [faces[number - 1]]


def is_aligned_crop(image: Pixels, face: Face) -> bool:
    """Whether a picture already is the aligned crop of its face: its border lies where FFHQ's would."""
    return _is_square(image) and _is_at_border(image, face.quad)


def _is_square(image: Pixels) -> bool:
    height, width = image.shape[:2]
    return bool(abs(height - width) <= SQUARE * min(height, width))


def _is_at_border(image: Pixels, quad: Quad) -> bool:
    height, width = image.shape[:2]
    away = quad.corners - Quad.of_picture(height, width).corners
    return bool(np.linalg.norm(away, axis=1).mean() <= ALIGNED * min(height, width))


def _central(answers: list[Answer], size: int) -> Answer | None:
    """The answer whose eyes and mouth lie nearest to where those of an aligned face do; None if all are far off."""
    best, least = None, 0.15 * size
    for answer in answers:
        away = float(np.hypot(*(answer.points[[0, 1, 3, 4]].mean(axis=0) - size / 2)))
        if away < least:
            best, least = answer, away
    return best


def _upright(quad: Quad, size: int, corners: Array) -> Array:
    """The box (x, y, width, height) in the photograph of the ellipse in a box of a turned crop."""
    matrix = quad.to_photo(size)
    half = np.linalg.norm(matrix[:, :2] * np.abs(corners[1] - corners[0]) / 2, axis=1)
    return np.concatenate([transform(matrix, corners.mean(axis=0)) - half, 2 * half])


def _overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    shared = np.maximum(high - low, 0).prod()
    return float(shared / (a[2:].prod() + b[2:].prod() - shared))


def _coincide(a: Answer, b: Answer) -> bool:
    return bool(
        np.linalg.norm(a.points - b.points, axis=1).mean() < 0.25 * math.sqrt(min(a.box[2:].prod(), b.box[2:].prod()))
    )


def _resized(image: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return image
    height, width = image.shape[:2]
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
