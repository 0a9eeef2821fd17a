"""A change of a face, made to the photograph that it is in."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from stedit.photo.fields import Field, resized, smoothstep
from stedit.photo.transfer import Change, with_appearance

Samples = TypeVar("Samples", NDArray[np.uint8], NDArray[np.uint16])

FADE = 0.12  # of the crop's side: so far from its border an edit of hair that goes on behind it fades
ROWS = 192  # at a time, so that memory does not grow with the photograph


def composite(photograph: Samples, change: Change, quad: NDArray[np.floating] | None = None) -> Samples:
    """The photograph with the change made; pixels outside the mask are its own, bit for bit.

    Args:
        photograph: uint8 or uint16 (H, W, 3).
        change: what is to change.
        quad: (4, 2), the corners of the face crop in the photograph: top left, bottom left, bottom right, top right, as
            (x, y) in pixels, with (0, 0) at the outer corner of the first pixel; a parallelogram. None if the
            photograph is the crop.

    Returns:
        A new array of the same kind.
    """
    height, width = photograph.shape[:2]
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]]) if quad is None else np.asarray(quad)
    to_photo = np.stack([corners[3] - corners[0], corners[1] - corners[0], corners[0]], axis=1)  # of the unit square
    side = float(np.sqrt(abs(np.linalg.det(to_photo[:, :2]))))
    size = int(np.clip(round(side), 16, change.mask.shape[0]))  # finer fields would alias
    motion, look, matter, opacity, mask = (
        resized(field, size) for field in (change.motion, change.appearance, change.matter, change.opacity, change.mask)
    )
    mask = mask * _fading(size, to_photo, width, height)
    fields = (motion, look, np.concatenate([matter, opacity[..., None]], axis=2), mask)
    result = photograph.copy()
    box = _bounds(mask, to_photo, width, height)
    if box is None:
        return result
    left, top, right, bottom = box
    for row in range(top, bottom, ROWS):
        _change_strip(photograph, result, fields, change, to_photo, (left, row, right, min(row + ROWS, bottom)))
    return result


def _change_strip(
    photograph: Samples,
    result: Samples,
    fields: tuple[Field, ...],
    change: Change,
    to_photo: NDArray[np.float64],
    box: tuple[int, int, int, int],
) -> None:
    left, top, right, bottom = box
    size = fields[0].shape[0]
    linear, origin = to_photo[:, :2] / size, to_photo[:, 2]
    # centre of field pixel f lies at linear @ (f + 0.5) + origin, of strip pixel s at s + (left, top) + 0.5
    matrix = np.column_stack([linear, linear @ [0.5, 0.5] + origin - [left + 0.5, top + 0.5]])
    inverse = cv2.invertAffineTransform(matrix)
    shape = right - left, bottom - top

    def over(field: Field) -> Field:
        return cv2.warpAffine(  # type: ignore[return-value]
            field, inverse, shape, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT
        )

    mask = over(fields[3])
    touched = mask > 1e-3
    if not touched.any():
        return
    columns = np.flatnonzero(touched.any(axis=0))
    if columns[-1] - columns[0] + 1 < shape[0]:
        narrower = left + int(columns[0]), top, left + int(columns[-1]) + 1, bottom
        _change_strip(photograph, result, fields, change, to_photo, narrower)
        return
    motion, look, cover = over(fields[0]), over(fields[1]), over(fields[2])
    step = motion @ to_photo[:, :2].T.astype(np.float32)
    rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
    source = cv2.remap(
        photograph, columns + step[..., 0], rows + step[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    most = np.float32(np.iinfo(photograph.dtype).max)
    carried = with_appearance(source.astype(np.float32) / most, look)
    opacity = cover[..., 3:]
    if opacity.any():
        matter = cover[..., :3] + _grain(change, to_photo, rows, columns)[..., None]
        carried += opacity * (matter - carried)
    own = photograph[top:bottom, left:right].astype(np.float32)
    own += mask[..., None] * (carried * most - own)
    made = np.clip(np.rint(own), 0, most).astype(photograph.dtype)
    np.copyto(result[top:bottom, left:right], made, where=touched[..., None])


def _grain(change: Change, to_photo: NDArray[np.float64], rows: Field, columns: Field) -> Field:
    """The grain at pixels of the photograph, (h, w), in the size in which the crop shows it."""
    inverse = np.linalg.inv(to_photo[:, :2]).astype(np.float32) * change.side
    x, y = (
        columns - np.float32(to_photo[0, 2]),
        rows - np.float32(to_photo[1, 2]),
    )  # between its pixels, it would be soft
    tile = np.float32(change.grain.shape[0])
    across = (inverse[0, 0] * x + inverse[0, 1] * y) % tile
    down = (inverse[1, 0] * x + inverse[1, 1] * y) % tile
    return cv2.remap(change.grain, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)  # type: ignore[return-value]


def _fading(size: int, to_photo: NDArray[np.float64], width: int, height: int) -> Field:
    """1 in the crop, falling to 0 at those of its sides (size, size) behind which the photograph goes on."""
    middles = np.array([[0.0, 0.5, 1], [1.0, 0.5, 1], [0.5, 0.0, 1], [0.5, 1.0, 1]]) @ to_photo.T
    inside = (middles > 1) & (middles < [width - 1, height - 1])
    left, right, top, bottom = (bool(row.all()) for row in inside)
    place: Field = ((np.arange(size, dtype=np.float32) + 0.5) / (size * FADE)).astype(np.float32)
    across, along = np.ones(size, np.float32), np.ones(size, np.float32)
    for line, first, last in ((across, left, right), (along, top, bottom)):
        if first:
            line *= smoothstep(0, 1, place)
        if last:
            line *= smoothstep(0, 1, place[::-1])
    fading: Field = along[:, None] * across
    return fading


def _bounds(mask: Field, to_photo: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom in the photograph of where the mask is above 0; None if that is nowhere in it."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    n = mask.shape[0]
    x0, x1, y0, y1 = (columns.min() - 1) / n, (columns.max() + 2) / n, (rows.min() - 1) / n, (rows.max() + 2) / n
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]]) @ to_photo.T
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), [width, height]).astype(int)
    return (int(left), int(top), int(right), int(bottom)) if left < right and top < bottom else None
