"""An edit that the model makes of its own rendering of a face, as a change that can be made to the photograph of it.

The model's rendering is never the photograph, but what it changes between two renderings is usable there. Whatever
it cannot reconstruct is in both, and cancels out:

    motion      where what moved has come from, by dense flow between the renderings
    appearance  how much lighter, and of what other colour, what stays in place becomes: fitted to the photograph's own
                outlines, and larger only where the photograph and the first rendering show the same
    matter      what is there of which nothing was there before (teeth, frames, hair), or is there no more: the model's
                own pixels, in the colours of the photograph and with its grain
    mask        where any of it is more than noise, on the person and not on what stands behind
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stedit.photo.fields import Field, as_field, blur, ellipse, grow, locally_linear, resized, smoothstep, warped

Pixels = NDArray[np.uint8]

FINE = 512  # fields are made in this size: finer than any model's rendering is sharp
MIDDLE = 256  # size in which motion and new matter are found
COARSE = 128  # size in which colours are fitted
SMALL, SMALLER = 64, 48  # sizes in which all pixels are compared with all others

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
DARKEST = 0.02  # luma below which a ratio means nothing


@dataclass(frozen=True)
class Change:
    """What is to change in a photograph, as fields over the unit square of the face crop; `composite` makes it."""

    motion: Field
    """(n, n, 2): where each pixel is taken from, as a distance in sides of the crop, right and down."""
    appearance: Field
    """(n, n, 4): the logarithm of a factor of all channels, then what is added to each of them."""
    matter: Field
    """(n, n, 3): pixels of the model in the colours of the photograph, in [0, 1]."""
    opacity: Field
    """(n, n): how much of the matter covers what is there, in [0, 1]."""
    mask: Field
    """(n, n): how much of all of it is made, in [0, 1]; where 0, nothing is."""
    grain: Field
    """(t, t): what the matter lacks to be as the photograph is, for the pixels of the crop, in tiles."""
    side: int
    """Of the crop, in its pixels, which the grain is of."""


def estimate_change(crop: Pixels, before: Pixels | Field, after: Pixels | Field, *, debug: dict | None = None) -> Change:
    """What the edit of a rendering changes in the photograph.

    Args:
        crop: uint8 (S, S, 3), the aligned face in the photograph's own resolution.
        before: (R, R, 3), the model's rendering of it, uint8 or float in [0, 1].
        after: (R, R, 3), the rendering of the edited code.

    Returns:
        The change; its mask is 0 everywhere if the renderings are the same.
    """
    photo, seen = as_field(crop, FINE), as_field(crop, MIDDLE)
    old, new = as_field(before, MIDDLE), as_field(after, MIDDLE)
    sharpness = MIDDLE / min(before.shape[0], MIDDLE)  # pixels that one of the rendering covers
    alike = np.abs(blur(old, 3) - blur(seen, 3)).max(axis=2)
    someone = person_in(photo)
    doubt = float(alike[resized(someone, MIDDLE) > 0.5].mean()) if someone.max() > 0.5 else 0.0

    motion = motion_between(old, new, doubt)
    moved, fine_motion = warped(old, motion), resized(motion, FINE)
    opacity = new_matter(moved, new)
    trust = np.exp(-((blur(warped(np.repeat(alike[..., None], 3, 2), motion), 2)[..., 0] / 0.15) ** 2)).astype(np.float32)
    carried_photo = warped(photo, fine_motion)
    raw = appearance_between(moved, new, warped(seen, motion), 0.6 * sharpness)
    fits = trust * (1 - opacity) * resized(someone, MIDDLE)
    appearance = locally_linear(
        resized(carried_photo, COARSE), resized(raw, COARSE), resized(fits, COARSE), radius=6, eps=1e-3, fine=carried_photo
    )
    carried = with_appearance(carried_photo, appearance)
    matter = in_colours_of(new, old, seen, carried, opacity)
    cover = resized(opacity, FINE)
    result = carried + cover[..., None] * (matter - carried)
    mask = mask_of(photo, result, fine_motion, cover, someone, trust, doubt)
    if not mask.any() or np.array_equal(old, new):
        mask = np.zeros_like(mask)
    if debug is not None:
        debug.update(u=motion, m=moved, alpha=opacity, raw=raw, G=appearance, carried=carried, matter=matter, mask=mask, someone=someone, trust=trust, doubt=doubt)
    return Change(fine_motion, appearance, matter, cover, mask, grain_of(crop, matter, cover, before.shape[0], mask, someone), crop.shape[0])


def person_in(photo: Field) -> Field:
    """Who stands before the background of an aligned crop (n, n, 3), as (n, n) in [0, 1].

    GrabCut (Rother, Kolmogorov and Blake 2004), which starts from where heads are in such crops.
    """
    small = resized(photo, COARSE)
    seeds = np.full((COARSE, COARSE), cv2.GC_PR_BGD, np.uint8)
    seeds[ellipse(COARSE, 0.5, 0.52, 0.40, 0.52) < 1] = cv2.GC_PR_FGD
    seeds[ellipse(COARSE, 0.5, 0.6, 0.2, 0.28) < 1] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.rint(small * 255).astype(np.uint8), seeds, None, *colours, 3, cv2.GC_INIT_WITH_MASK)
    found = np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    everything = np.ones_like(closed)
    soft = locally_linear(small, closed[..., None], everything, radius=3, eps=1e-3, fine=photo)
    return np.clip(soft[..., 0], 0, 1)


FLOW = dict(finest=1, blur=2.0, spread=4, floor=0.012, slope=1.0, lo=0.2, hi=0.6, win=6, least=0.002, share=0.1)


def motion_between(old: Field, new: Field, doubt: float) -> Field:
    """Where what is in `new` (n, n, 3) has come from in `old`: (n, n, 2), in sides of the square.

    DIS flow (Kroeger et al. 2016), kept where it explains much of what has changed, and spread from there.
    """
    n = old.shape[0]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(FLOW["finest"])
    flow.setPatchSize(12)
    flow.setGradientDescentIterations(40)
    flow.setVariationalRefinementIterations(10)
    grey = [np.rint(picture @ LUMA * 255).astype(np.uint8) for picture in (new, old)]
    motion = blur(flow.calc(*grey, None) / np.float32(n), FLOW["blur"])
    noise = FLOW["floor"] + FLOW["slope"] * doubt
    at_rest = blur(((new - old) ** 2).sum(axis=2), FLOW["win"])
    left = blur(((new - warped(old, motion)) ** 2).sum(axis=2), FLOW["win"])
    explains = smoothstep(FLOW["lo"], FLOW["hi"], (at_rest - left) / (at_rest + noise**2))
    around = blur(explains, FLOW["spread"])
    motion = blur(motion * explains[..., None], FLOW["spread"]) / (around + 0.05)[..., None]
    motion = motion * smoothstep(0.02, 0.35, around)[..., None]
    length = blur(np.hypot(motion[..., 0], motion[..., 1]), 4)
    face = 1 - smoothstep(0.9, 1.2, ellipse(n, 0.5, 0.62, 0.3, 0.34))
    inside = face > 0.5
    if np.linalg.norm(motion[inside].mean(axis=0)) < 0.7 * length[inside].mean():  # else the whole head turns
        motion, length = motion * face[..., None], length * face
    least = max(FLOW["least"], FLOW["share"] * float(np.quantile(length, 0.995)))
    return (motion * smoothstep(least, 2 * least, length)[..., None]).astype(np.float32)


MATTER = dict(big0=0.06, big1=0.16, n0=0.35, n1=0.65, nr=0.25, g0=0.5, g1=0.75, gr=0.15)


def new_matter(old: Field, new: Field) -> Field:
    """Opacity (n, n) of what is new in `new`, or hides what is gone from `old`.

    Hair that is dyed changes wherever there is hair, lips where there are lips. But when some skin becomes hair or
    frames, other skin beside it does not: that is new. What is gone is the same seen from the other end.
    """
    change = blur(np.abs(new - old).max(axis=2), 1.0)
    seen = smoothstep(MATTER["big0"], MATTER["big1"], change)
    a, b = resized(old, SMALL), resized(new, SMALL)
    appears = smoothstep(MATTER["n0"], MATTER["n1"], unusual(a, b - a, MATTER["nr"]))
    vanishes = smoothstep(MATTER["g0"], MATTER["g1"], unusual(b, b - a, MATTER["gr"]))
    gone = blur(grow(resized(vanishes, old.shape[0]) * seen, 7), 1.5)
    return np.maximum(resized(appears, old.shape[0]) * seen, gone)


def unusual(colours: Field, change: Field, reach: float) -> Field:
    """The share (n, n) of each pixel's change that pixels of like colour, about `reach` away, do not undergo."""
    n = colours.shape[0]
    own, others = _features(colours, reach), _features(resized(colours, SMALLER), reach)
    distance = (own**2).sum(axis=1)[:, None] - 2 * own @ others.T + (others**2).sum(axis=1)
    weights = np.exp(-0.5 * np.maximum(distance, 0))
    usual = weights @ resized(change, SMALLER).reshape(-1, 3) / (weights.sum(axis=1, keepdims=True) + 1e-3)
    flat = change.reshape(-1, 3)
    share = np.linalg.norm(flat - usual, axis=1) / (np.linalg.norm(flat, axis=1) + 0.05)
    return share.reshape(n, n).astype(np.float32)


def _features(colours: Field, reach: float) -> Field:
    """(n * n, 5): distances of 1 between them are what counts as near."""
    n = colours.shape[0]
    rows, columns = (np.mgrid[0:n, 0:n].astype(np.float32) + 0.5) / n
    place = np.stack([columns, rows], axis=2) / reach
    return np.concatenate([colours / 0.07, place], axis=2).reshape(-1, 5).astype(np.float32)


def appearance_between(old: Field, new: Field, photo: Field, sigma: float) -> Field:
    """The appearance (n, n, 4) that makes `new` of `old`, so that the photograph can take it.

    Light changes by a factor, so that dark skin and light skin change alike and strands keep their contrast; but what
    the model makes lighter loses no more of its distance to white in the photograph than it does in the rendering.
    """
    old, new, photo = blur(old, sigma), blur(new, sigma), blur(photo, sigma)
    a, b, p = old @ LUMA, new @ LUMA, photo @ LUMA
    full = (b + DARKEST) / (a + DARKEST)
    white = 1 + DARKEST
    brightest = (white - (white - p) * (white - b) / (white - a) + DARKEST) / (p + DARKEST)
    factor = np.where(full > 1, np.maximum(np.minimum(full, brightest), 1), full)
    colour = (new - b[..., None]) - full[..., None] * (old - a[..., None])
    scale = np.clip((p + 0.05) / (a + 0.05), 0.5, 1.6) * np.minimum(1, factor / full)
    return np.concatenate([np.log(factor)[..., None], colour * scale[..., None]], axis=2).astype(np.float32)


def with_appearance(picture: Field, appearance: Field) -> Field:
    """A picture (n, m, 3) with the appearance (n, m, 4); what would pass white nears it."""
    wanted = picture * np.exp(appearance[..., :1]) + appearance[..., 1:]
    knee = np.maximum(0.85, picture)
    room = np.maximum(1 - knee, 1e-3)
    bent = np.where(wanted > knee, knee + room * np.tanh((wanted - knee) / room), wanted)
    return np.clip(bent, 0, 1).astype(np.float32)


def in_colours_of(new: Field, old: Field, photo: Field, carried: Field, opacity: Field) -> Field:
    """`new` as the photograph would have it, (FINE, FINE, 3).

    By how the photograph differs from the rendering where that has the same colour, then by what is still missing
    around the new matter.
    """
    keys = resized(old, SMALLER).reshape(-1, 3)
    values = resized(photo, SMALLER).reshape(-1, 3) - keys
    axis = np.linspace(0, 1, 9, dtype=np.float32)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = (lattice**2).sum(axis=1)[:, None] - 2 * lattice @ keys.T + (keys**2).sum(axis=1)
    weights = np.exp(-distance / (2 * 0.09**2))
    table = (weights @ values / (weights.sum(axis=1, keepdims=True) + 6)).reshape(9, 9, 9, 3)
    coarse = resized(new, COARSE)
    offset = _look_up(table, blur(coarse, 0.8))
    missing = resized(carried, COARSE) - coarse - offset
    open_ = 1 - smoothstep(0.02, 0.2, grow(resized(opacity, COARSE), 5))
    weight = open_ * np.exp(-((missing / 0.25) ** 2).sum(axis=2)) + np.float32(1e-4)
    offset = offset + blur(missing * weight[..., None], 8) / (blur(weight, 8) + 0.03)[..., None]
    return np.clip(as_field(new, FINE) + resized(offset, FINE), 0, 1)


def _look_up(table: Field, colours: Field) -> Field:
    """Trilinear between the (9, 9, 9, 3) of a table over the unit cube."""
    last = table.shape[0] - 1
    place = np.clip(colours, 0, 1) * last
    low = np.minimum(place.astype(np.int32), last - 1)
    part = place - low
    result = np.zeros_like(colours)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(np.array(corner), part, 1 - part), axis=2, dtype=np.float32)
        index = low + np.array(corner)
        result += weight[..., None] * table[index[..., 0], index[..., 1], index[..., 2]]
    return result


def mask_of(
    photo: Field, result: Field, motion: Field, opacity: Field, someone: Field, trust: Field, doubt: float
) -> Field:
    """Where the result is more than noise apart from the photograph, grown and feathered: (FINE, FINE)."""
    change = blur(np.abs(resized(result - photo, MIDDLE)).max(axis=2), 2)
    motion, opacity, someone = (resized(field, MIDDLE) for field in (motion, opacity, someone))
    noise = max(0.012, 0.15 * doubt, 0.08 * float(np.quantile(change, 0.995)))
    made = smoothstep(noise, 2.5 * noise, change)
    made = np.maximum(made, smoothstep(0.001, 0.003, np.hypot(motion[..., 0], motion[..., 1])))
    made = np.maximum(made, smoothstep(0.05, 0.3, blur(opacity, 1)))
    made = blur(grow(made, 5), 3)
    beside = blur(grow(someone, 51), 6) * smoothstep(0.12, 0.3, change) * trust
    return resized(np.clip(made * np.maximum(smoothstep(0.2, 0.7, someone), beside), 0, 1), FINE)


def grain_of(crop: Pixels, matter: Field, opacity: Field, resolution: int, mask: Field, someone: Field) -> Field:
    """A tile of what is finer in the photograph than a rendering can be, where its colours are most like the matter's.

    Of random phase (Galerne, Gousseau and Morel 2011), so that nothing is to be seen in it twice.
    """
    side = crop.shape[0]
    tile = min(side, max(32, side // 8))
    if opacity.max() < 0.05:
        return np.zeros((tile, tile), np.float32)
    luma = (crop.astype(np.float32) / 255) @ LUMA
    detail = luma - blur(luma, max(0.7, 0.6 * side / resolution))
    wanted = (matter * opacity[..., None]).sum(axis=(0, 1)) / opacity.sum()
    cells = 24
    colours = as_field(crop, cells)
    taken = resized(opacity, cells)
    away = ((colours - wanted) ** 2).sum(axis=2) / 0.1**2
    mean, square = resized(detail, cells), resized(detail**2, cells)
    edges = np.sqrt(blur(square, 1))
    cost = blur(away.astype(np.float32), 1) + 4 * blur(taken, 1) + 4 * (1 - resized(someone, cells)) + 40 * edges
    del mean
    row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
    top, left = (int(np.clip((i + 0.5) / cells * side - tile / 2, 0, side - tile)) for i in (row, column))
    patch = detail[top : top + tile, left : left + tile]
    window = np.hanning(tile + 2)[1:-1]
    shaped = (patch - patch.mean()) * np.outer(window, window)
    spectrum = np.abs(np.fft.fft2(shaped)) / np.sqrt((np.outer(window, window) ** 2).mean())
    phases = np.angle(np.fft.fft2(np.random.default_rng(0).standard_normal((tile, tile))))
    return np.fft.ifft2(spectrum * np.exp(1j * phases)).real.astype(np.float32)
