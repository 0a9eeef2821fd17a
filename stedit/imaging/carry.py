"""An edit of the sRGB view of a file, carried over to the samples of the file.

A view cannot hold everything: 16 bits, colours outside sRGB, what is under transparency. So an edit comes back as a
difference, and only where it changed something: every other sample stays what it was, bit by bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from stedit.imaging.colour import ColourSpace
from stedit.imaging.samples import Mask, Pixels, Samples, Values

# A pixel that changes by more than this share of the range is a new one, and nothing of the old one shines through.
_NEW_PIXEL = 0.25

_BAND = 256  # rows


def carry_edit(
    samples: Samples, colours: ColourSpace, before: Pixels, after: Pixels, alpha: Pixels | None, changed: Mask
) -> Samples:
    """Bring the edit of an sRGB view, uint8 (H, W, 3) from `before` to `after`, into the samples of the file.

    Only pixels of `changed` (H, W) that do differ and are not fully transparent get other samples. Each takes the
    difference that the edit makes in the file's own colours, so that its further bits, and what it has of colours
    outside sRGB, stay: whole for small changes, and less the larger the change is.
    """
    changed = changed & (before != after).any(axis=2)
    if alpha is not None:
        changed &= alpha == 255 if samples.mode == "P" else alpha > 0
    box = _box(changed)
    if box is None:
        return samples
    before, after, changed, own = before[box], after[box], changed[box], samples.values[box]
    alpha = alpha[box] if alpha is not None else None
    values = samples.values.copy()
    if samples.mode == "P":
        indices, palette = _into_palette(samples, colours, after, own, changed)
        values[box][changed] = indices[changed]
        return replace(samples, values=values, palette=palette)
    for top in range(0, len(own), _BAND):  # the numbers between take twenty times the memory of the pixels
        rows = slice(top, top + _BAND)
        band = alpha[rows] if alpha is not None else None
        _change(samples, colours, before[rows], after[rows], band, changed[rows], values[box][rows])
    return replace(samples, values=values)


def _change(
    samples: Samples,
    colours: ColourSpace,
    before: Pixels,
    after: Pixels,
    alpha: Pixels | None,
    changed: Mask,
    values: Values,
) -> None:
    """Put the new samples of some rows into `values`."""
    channels = {"LA": 1, "RGBA": 3}.get(samples.mode, 0)
    if channels:
        values = values[..., 0] if channels == 1 else values[..., :channels]
    new = _moved(values, colours, before, after, alpha)
    if samples.mode == "1":
        new = np.asarray(Image.fromarray(new.astype(np.uint8)).convert("1").convert("L"))
    elif samples.bits < 8:
        step = 255 / (2**samples.bits - 1)
        new = np.round(np.round(new / step) * step).astype(np.uint8)
    new = _off_key(new, samples.key)
    np.copyto(values, new, where=changed if new.ndim == 2 else changed[..., None])


def _moved(colour: Values, colours: ColourSpace, before: Pixels, after: Pixels, alpha: Pixels | None) -> Values:
    """The colour channels after the edit."""
    if colours.is_srgb and alpha is None and colour.dtype == np.uint8:
        return after
    unit = 256 if colour.dtype == np.uint16 else 1  # of the view, in these samples
    own = (colour // unit).astype(np.uint8)
    viewed = colours.from_srgb(before, own).astype(np.float32)
    change = colours.from_srgb(after, own).astype(np.float32) - viewed
    if alpha is not None:  # the view shows alpha * colour + (1 - alpha) * white
        opacity = np.maximum(alpha, 1).astype(np.float32) / 255
        change /= opacity if change.ndim == 2 else opacity[..., None]
        faded = 0.0 * change
    else:
        size = np.abs(change) if change.ndim == 2 else np.abs(change).max(axis=2, keepdims=True)
        faded = np.clip(size / (255 * _NEW_PIXEL), 0, 1) * (own - viewed)
    moved = colour.astype(np.float32) + unit * np.round(change - faded)
    clipped: Values = np.clip(moved, 0, 256 * unit - 1).astype(colour.dtype)
    return clipped


def _into_palette(
    samples: Samples, colours: ColourSpace, after: Pixels, own: Values, changed: Mask
) -> tuple[Pixels, Pixels]:
    """Indices for all pixels of `after`, dithered, and the palette, whose unused places take colours of the edit."""
    assert samples.palette is not None
    wanted = colours.from_srgb(after, samples.palette[own][..., :3])
    palette = np.zeros((256, 4), np.uint8)
    palette[: len(samples.palette)] = samples.palette
    used = np.zeros(256, bool)
    used[np.unique(samples.values)] = True
    free = np.flatnonzero(~used)
    if len(free):
        line = Image.fromarray(np.ascontiguousarray(wanted[changed][None]))
        new = np.array(line.quantize(len(free)).getpalette(), np.uint8).reshape(-1, 3)[: len(free)]
        palette[free[: len(new)]] = np.hstack([new, np.full((len(new), 1), 255, np.uint8)])
        free = free[len(new) :]
    usable = np.setdiff1d(np.flatnonzero(palette[:, 3] == 255), free)
    by = Image.new("P", (1, 1))
    by.putpalette(palette[usable, :3].tobytes())
    indices = np.asarray(Image.fromarray(wanted).quantize(palette=by, dither=Image.Dither.FLOYDSTEINBERG))
    return usable[np.minimum(indices, len(usable) - 1)].astype(np.uint8), palette[: palette.shape[0] - _unused(palette)]


def _unused(palette: Pixels) -> int:
    """How many places at the end of the palette are empty."""
    filled = np.flatnonzero(palette.any(axis=1))
    return len(palette) - 1 - int(filled[-1]) if len(filled) else len(palette) - 1


def _off_key(new: Values, key: tuple[int, ...] | None) -> Values:
    """Keep the edit from meeting the very colour that stands for transparency."""
    if key is None:
        return new
    met = new == key[0] if new.ndim == 2 else (new == np.array(key)).all(axis=2)
    new = new.copy()
    new[met] ^= 1
    return new


def _box(mask: Mask) -> tuple[slice, slice] | None:
    """The smallest box around what is True."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
