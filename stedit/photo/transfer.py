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
MOST_TINT = 1.3  # a larger factor is one of light alone: times ten, the tint of black hair would be a colour
NOISE = 0.012  # between renderings, where nothing is edited
DIFFERENT = 0.15  # between rendering and photograph, from which on they do not show the same
DARKEST = 0.02  # luma below which a ratio means nothing
FOREHEAD = 0.32, 0.42  # of the side of an aligned crop, from the top
REPEATS = 12 / 256  # of the side: after so much the faint grid repeats that the embedded generator leaves in hair


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


def estimate_change(crop: Pixels, before: Pixels | Field, after: Pixels | Field) -> Change:
    """What the edit of a rendering changes in the photograph.

    Args:
        crop: uint8 (S, S, 3), the aligned face in the photograph's own resolution.
        before: (R, R, 3), the model's rendering of it, uint8 or float in [0, 1].
        after: (R, R, 3), the rendering of the edited code.

    Returns:
        The change; its mask is 0 everywhere if the renderings are the same.
    """
    photo, seen = as_field(crop, FINE), as_field(crop, MIDDLE)
    old, new = (without_grid(as_field(picture, MIDDLE)) for picture in (before, after))
    someone = person_in(photo)
    apart = np.abs(blur(old, 3) - blur(seen, 3)).max(axis=2)
    doubt = float((apart * resized(someone, MIDDLE)).sum() / max(float(resized(someone, MIDDLE).sum()), 1.0))
    motion = motion_between(old, new, doubt)
    fine_motion, moved = resized(motion, FINE), warped(old, motion)
    trust = np.exp(-((blur(warped(apart, motion), 2) / DIFFERENT) ** 2)).astype(np.float32)
    opacity, gone = new_matter(moved, new)

    carried = warped(photo, fine_motion)
    sigma = 0.6 * MIDDLE / min(before.shape[0], MIDDLE)  # of a pixel of the rendering
    raw = appearance_between(moved, new, warped(seen, motion), sigma)
    fits = trust * (1 - opacity) * resized(someone, MIDDLE)
    guide, target, weight = (resized(field, COARSE) for field in (carried, raw, fits))
    appearance = locally_linear(guide, target, weight, radius=6, eps=1e-3, fine=carried)
    carried = with_appearance(carried, appearance)

    finest = as_field(after, FINE)
    finest = _unit(finest + resized(new - as_field(after, MIDDLE), FINE))
    matter = in_colours_of_photo(new, finest, old, seen, carried, opacity)
    opacity = np.maximum(opacity, left_over(gone, resized(carried, MIDDLE), resized(matter, MIDDLE)))
    cover = resized(opacity, FINE)
    result = carried + cover[..., None] * (matter - carried)
    mask = mask_of(photo, result, new, fine_motion, cover, someone, doubt)
    if np.array_equal(old, new):
        mask = np.zeros_like(mask)
    grain = grain_of(crop, matter, cover * mask, someone, before.shape[0])
    return Change(fine_motion, appearance, matter, cover, mask, grain, crop.shape[0])


def person_in(photo: Field) -> Field:
    """Who stands before the background of an aligned crop (n, n, 3), as (n, n) in [0, 1].

    GrabCut (Rother, Kolmogorov and Blake 2004), which starts from where heads are in such crops.
    """
    small = resized(photo, COARSE)
    seeds = np.full((COARSE, COARSE), cv2.GC_PR_BGD, np.uint8)
    seeds[ellipse(COARSE, 0.5, 0.52, 0.40, 0.52) < 1] = cv2.GC_PR_FGD
    seeds[ellipse(COARSE, 0.5, 0.6, 0.2, 0.28) < 1] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    behind, before = np.zeros((1, 65)), np.zeros((1, 65))
    picture = np.rint(small * 255).astype(np.uint8)
    cv2.grabCut(picture, seeds, (0, 0, 0, 0), behind, before, 3, cv2.GC_INIT_WITH_MASK)
    found = np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    closed = -grow(-grow(found, 5), 5)
    soft = locally_linear(small, closed[..., None], np.ones_like(closed), radius=3, eps=1e-3, fine=photo)
    return _unit(soft[..., 0])


def _unit(values: Field) -> Field:
    result: Field = np.clip(values, 0, 1).astype(np.float32, copy=False)
    return result


def without_grid(picture: Field) -> Field:
    """A rendering (n, n, 3) without its fine lines, along rows or columns, that are there again and again.

    A line counts as far as most of five are there, one period apart: frames, brims and lashes are there once.
    """
    period = round(REPEATS * picture.shape[0])
    for _ in range(2):
        across = cv2.GaussianBlur(picture, (0, 0), sigmaX=period / 2, sigmaY=1e-3, borderType=cv2.BORDER_REFLECT)
        lines = cv2.GaussianBlur(
            picture - across, (0, 0), sigmaX=1e-3, sigmaY=period / 2, borderType=cv2.BORDER_REFLECT
        )
        wide = np.pad(lines, ((0, 0), (2 * period, 2 * period), (0, 0)), mode="symmetric")
        again = [wide[:, k * period : k * period + picture.shape[1]] for k in range(5)]
        picture = (picture - np.median(again, axis=0)).transpose(1, 0, 2)
    return _unit(np.ascontiguousarray(picture))


def motion_between(old: Field, new: Field, doubt: float) -> Field:
    """Where what is in `new` (n, n, 3) has come from in `old`: (n, n, 2), in sides of the square.

    DIS flow (Kroeger et al. 2016), kept where it explains much of what has changed, and spread from there. `doubt`, how
    far renderings are from the photograph, is taken for how far they would be apart anyhow.
    """
    n = old.shape[0]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setPatchSize(12)
    flow.setGradientDescentIterations(40)
    flow.setVariationalRefinementIterations(10)
    grey = [np.rint(picture @ LUMA * 255).astype(np.uint8) for picture in (new, old)]
    found = flow.calc(grey[0], grey[1], np.zeros((n, n, 2), np.float32))
    motion = blur(np.asarray(found, np.float32) / np.float32(n), 2)

    noise = (NOISE + doubt / 2) ** 2
    at_rest = blur(((new - old) ** 2).sum(axis=2), 6)
    left = blur(((new - warped(old, motion)) ** 2).sum(axis=2), 6)
    explains = smoothstep(0.2, 0.6, (at_rest - left) / (at_rest + noise))
    around = blur(explains, 4)
    motion = blur(motion * explains[..., None], 4) / (around + 0.05)[..., None]
    motion = motion * smoothstep(0.02, 0.35, around)[..., None]

    length, face = blur(np.hypot(motion[..., 0], motion[..., 1]), 4), _face(n)
    inside = face > 0.5
    turns = np.linalg.norm(motion[inside].mean(axis=0)) > 0.7 * length[inside].mean()
    if not turns or (length[inside] > 0.003).mean() < 0.7:  # hair that moves alone was only made up anew
        here = face * _below(n, FOREHEAD)  # where hair that falls over a forehead is new
        motion, length = motion * here[..., None], length * here
    least = max(0.002, 0.1 * float(np.quantile(length, 0.995)))
    return (motion * smoothstep(least, 2 * least, length)[..., None]).astype(np.float32)


def _face(n: int) -> Field:
    """Where the face is in an aligned crop, (n, n), without its hair."""
    return 1 - smoothstep(0.9, 1.2, ellipse(n, 0.5, 0.62, 0.3, 0.34))


def _below(n: int, level: tuple[float, float]) -> Field:
    """(n, n): 0 above the level, in sides from the top, 1 below."""
    rows: Field = np.repeat((np.arange(n, dtype=np.float32)[:, None] + np.float32(0.5)) / np.float32(n), n, axis=1)
    return smoothstep(*level, rows)


def new_matter(old: Field, new: Field) -> tuple[Field, Field]:
    """Opacity (n, n) of what is new in `new`, or hides what is gone from `old`; and of the latter alone.

    Hair that is dyed changes wherever there is hair, lips where there are lips. But when some skin becomes hair or
    frames, other skin beside it does not: that is new. What is gone is the same seen from the other end.
    """
    change = blur(np.abs(new - old).max(axis=2), 1.0)
    seen = smoothstep(0.06, 0.16, change)
    a, b = resized(old, SMALL), resized(new, SMALL)
    appears = smoothstep(0.35, 0.65, unusual(a, b - a, 0.4))
    vanishes = smoothstep(0.5, 0.75, unusual(b, b - a, 0.15))
    there = resized(seen, SMALL)
    alike = likeness(b, 0.15)
    for _ in range(4):  # matter that is new in part is new
        same = mean_by(alike, np.stack([appears * there, there], axis=2))
        appears = np.maximum(appears, smoothstep(0.3, 0.55, same[..., 0] / (same[..., 1] + 0.02)))
    gone = blur(grow(resized(vanishes, old.shape[0]) * seen, 7), 1.5)
    opacity = np.maximum(resized(appears, old.shape[0]) * seen, gone)
    face = _face(old.shape[0])
    narrow, broad = (grow(-grow(-opacity, width), width) for width in (9, 25))
    beside = np.maximum(broad, narrow * like_what_is_on(face, opacity, new))  # other strips are outlines drawn anew
    return face * opacity + (1 - face) * beside, face * gone


def like_what_is_on(place: Field, opacity: Field, new: Field) -> Field:
    """Whether new matter has the colour of new matter nearby in a place, (n, n): all fields are of one size."""
    cover = resized(opacity, SMALL)
    alike = usual(resized(new, SMALL), np.stack([cover * resized(place, SMALL), cover], axis=2), 0.2)
    return resized(smoothstep(0.15, 0.4, alike[..., 0] / (alike[..., 1] + 0.02)), new.shape[0])


def left_over(gone: Field, carried: Field, matter: Field) -> Field:
    """Opacity (n, n) of the matter over what the model has taken away nearby: a photograph's frames are not its own."""
    apart = blur(np.abs(carried - matter).max(axis=2), 1)
    return blur(smoothstep(0.08, 0.2, apart) * smoothstep(0.3, 0.8, grow(gone, 21)), 1)


def unusual(colours: Field, change: Field, reach: float) -> Field:
    """The share (n, n) of each pixel's change (n, n, 3) that pixels of like colour nearby do not undergo."""
    expected = usual(colours, change, reach)
    share = np.linalg.norm(change - expected, axis=2) / (np.linalg.norm(change, axis=2) + 0.05)
    result: Field = share.astype(np.float32, copy=False)
    return result


def usual(colours: Field, values: Field, reach: float) -> Field:
    """The mean (n, n, C) of `values` over pixels of like `colours` (n, n, 3), about `reach` sides away."""
    return mean_by(likeness(colours, reach), values)


def likeness(colours: Field, reach: float) -> Field:
    """(n * n, SMALLER ** 2): the weights of pixels of like `colours` (n, n, 3), about `reach` sides away."""
    own, others = _features(colours, reach), _features(resized(colours, SMALLER), reach)
    distance = (own**2).sum(axis=1)[:, None] - 2 * own @ others.T + (others**2).sum(axis=1)
    weights: Field = np.exp(-0.5 * np.maximum(distance, 0))
    weights /= weights.sum(axis=1, keepdims=True) + np.float32(1e-3)
    return weights


def mean_by(weights: Field, values: Field) -> Field:
    """The mean (n, n, C) of `values` by the weights of `likeness`."""
    means = weights @ resized(values, SMALLER).reshape(SMALLER**2, -1)
    result: Field = means.reshape(*values.shape[:2], -1).astype(np.float32, copy=False)
    return result


def _features(colours: Field, reach: float) -> Field:
    """(n * n, 5): distances of 1 between them are what counts as near."""
    n = colours.shape[0]
    rows, columns = (np.mgrid[0:n, 0:n].astype(np.float32) + 0.5) / n
    place = np.stack([columns, rows], axis=2) / reach
    light = (colours @ LUMA)[..., None]
    tint = (colours[..., ::2] - light) / 0.07  # matter keeps its tint in another light
    result: Field = np.concatenate([light / 0.14, tint, place], axis=2).reshape(-1, 5).astype(np.float32)
    return result


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
    tint = np.minimum(full, MOST_TINT)[..., None]
    colour = (new - b[..., None]) - tint * (old - a[..., None])
    scale = np.clip((p + 0.05) / (a + 0.05), 0.5, 1.6) * np.minimum(1, factor / full)
    return np.concatenate([np.log(factor)[..., None], colour * scale[..., None]], axis=2).astype(np.float32)


def with_appearance(picture: Field, appearance: Field) -> Field:
    """A picture (n, m, 3) with the appearance (n, m, 4); what would pass white nears it."""
    factor = np.exp(appearance[..., :1])
    tint = np.minimum(factor, MOST_TINT)
    wanted = picture * tint + (picture @ LUMA)[..., None] * (factor - tint) + appearance[..., 1:]
    knee = np.maximum(0.85, picture)
    room = np.maximum(1 - knee, 1e-3)
    bent = np.where(wanted > knee, knee + room * np.tanh((wanted - knee) / room), wanted)
    return _unit(bent)


def in_colours_of_photo(new: Field, finest: Field, old: Field, photo: Field, carried: Field, opacity: Field) -> Field:
    """`new`, or `finest` of it (FINE, FINE, 3), as the photograph would have it.

    By the factors between the photograph and the rendering where that has the same colour, then by those that are still
    missing around the new matter.
    """
    keys = resized(old, SMALLER).reshape(-1, 3)
    values = _logarithm(resized(photo, SMALLER).reshape(-1, 3)) - _logarithm(keys)
    axis = np.linspace(0, 1, 9, dtype=np.float32)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = (lattice**2).sum(axis=1)[:, None] - 2 * lattice @ keys.T + (keys**2).sum(axis=1)
    weights = np.exp(-distance / (2 * 0.09**2))
    table = (weights @ values / (weights.sum(axis=1, keepdims=True) + 2)).reshape(9, 9, 9, 3)
    coarse = resized(new, COARSE)
    factors = _look_up(table, blur(coarse, 0.8))
    missing = _logarithm(resized(carried, COARSE)) - _logarithm(coarse) - factors
    open_ = 1 - smoothstep(0.02, 0.2, grow(resized(opacity, COARSE), 5))
    weight = open_ * np.exp(-((missing / 0.6) ** 2).sum(axis=2)) + np.float32(1e-4)
    factors = factors + blur(missing * weight[..., None], 8) / (blur(weight, 8) + 0.03)[..., None]
    return _unit((finest + DARKEST) * np.exp(resized(factors, FINE)) - DARKEST)


def _logarithm(values: Field) -> Field:
    result: Field = np.log(values + np.float32(DARKEST))
    return result


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
    photo: Field, result: Field, new: Field, motion: Field, opacity: Field, someone: Field, doubt: float
) -> Field:
    """Where the result is more than noise apart from the photograph, grown and feathered: (FINE, FINE)."""
    change = blur(np.abs(resized(result - photo, MIDDLE)).max(axis=2), 2)
    motion, opacity, someone = (resized(field, MIDDLE) for field in (motion, opacity, someone))
    noise = max(NOISE, 0.15 * doubt, 0.08 * float(np.quantile(change, 0.995)))
    made = smoothstep(noise, 2.5 * noise, change)
    made = np.maximum(made, smoothstep(0.001, 0.003, np.hypot(motion[..., 0], motion[..., 1])))
    made = np.maximum(made, smoothstep(0.05, 0.3, blur(opacity, 1)))
    made = blur(grow(made, 5), 3)
    worn = like_what_is_on(someone, opacity, new)
    beside = blur(grow(someone, 51), 6) * smoothstep(0.02, 0.08, change) * opacity * worn
    return resized(np.clip(made * np.maximum(smoothstep(0.2, 0.7, someone), beside), 0, 1), FINE)


def grain_of(crop: Pixels, matter: Field, opacity: Field, someone: Field, resolution: int) -> Field:
    """A tile (t, t) of what is finer in the photograph than in a rendering, in luma, where it is like the matter.

    Of random phase (Galerne, Gousseau and Morel 2011), so that nothing is seen in it twice.
    """
    side, cells = crop.shape[0], 24
    tile = min(side, max(32, side // 8))
    if not opacity.any():
        return np.zeros((tile, tile), np.float32)
    luma: Field = ((crop.astype(np.float32) / 255) @ LUMA).astype(np.float32)
    detail: Field = luma - blur(luma, max(0.7, 0.6 * side / resolution))
    wanted = (matter * opacity[..., None]).sum(axis=(0, 1)) / opacity.sum()
    unlike: Field = (((as_field(crop, cells) - wanted) ** 2).sum(axis=2) / 0.01).astype(np.float32)
    power: Field = detail * detail
    edges = np.sqrt(blur(resized(power, cells), 1))
    cost = blur(unlike, 1) + 4 * blur(resized(opacity, cells), 1) + 4 * (1 - resized(someone, cells)) + 40 * edges
    middle = np.array(divmod(int(np.argmin(cost)), cells)) + 0.5
    top, left = np.clip(middle / cells * side - tile / 2, 0, side - tile).astype(int)
    window = np.outer(*[np.hanning(tile + 2)[1:-1].astype(np.float32)] * 2)
    patch = detail[top : top + tile, left : left + tile] * window / np.sqrt((window**2).mean())
    phases = np.angle(np.fft.fft2(np.random.default_rng(0).standard_normal((tile, tile))))
    return np.fft.ifft2(np.abs(np.fft.fft2(patch)) * np.exp(1j * phases)).real.astype(np.float32)
