"""Pictures to learn from: faces of known size, tilt and place, composed and worsened on the device, a batch at a time.

A canvas has four layers: a backdrop, a whole scene, a crop, a render. Each is laid by an affine map of its own, so its
points are known exactly. Some backdrops are synthetic: cloth, buttons, lights, things that are no face. Canvases are
rendered at twice their size and averaged down, as a photograph is for the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.models.aligner import MIRRORED
from stedit.training.aligner.data import ABSENT, LEARNT, SIZE_OF_SCALE, UNSURE, Faces, face_scale

SUPERSAMPLING = 2
TOO_LARGE = 1.6  # times the largest size: from here on there is no face, so that nothing fires on an eye
PLAIN = 0.1  # of backdrops, of one colour; of the others, those that are no clutter are parts of scenes
SHAPES, SPOTS = 14, 8  # of a clutter
_SHARES = {"scenes": 0.8, "crops": 0.45, "renders": 0.3}  # of canvases that have such a layer


@dataclass(frozen=True)
class Canvases:
    """A composed batch."""

    images: Tensor
    """float32 (B, 3, S, S) in [-1, 1]."""
    shapes: Tensor
    """float32 (B, F, 7, 2): five points and the box's corners, in pixels."""
    sizes: Tensor
    """float32 (B, F): geometric mean of the box's sides, in pixels."""
    state: Tensor
    """int64 (B, F): ABSENT, LEARNT or UNSURE."""
    scenes: Tensor
    """int64 (B,): the scene that a canvas shows."""


@dataclass(frozen=True)
class _Layer:
    colours: Tensor  # (B, 3, 2S, 2S) in 0..255
    mask: Tensor  # (B, 1, 2S, 2S) in 0..1
    points: Tensor  # (B, F, 5, 2) on the canvas
    boxes: Tensor  # (B, F, 4): centre and half sides
    state: Tensor  # (B, F)


def compose(
    sets: Mapping[str, Faces],
    chosen: Tensor,
    side: int,
    *,
    tilt: float,
    smallest: float,
    largest: float,
    clutter_fraction: float,
) -> Canvases:
    """Compose and worsen a batch; everything random comes from torch's generator of the device.

    Args:
        sets: "scenes", "crops", "renders", those that there are, on the device.
        chosen: (B,) indices of scenes to show, or of the pictures of the first set where there are no scenes.
        side: S of the canvas.
        tilt: degrees that a face is turned at most.
        smallest, largest: sizes between which faces are learnt.
        clutter_fraction: share of backdrops that are synthetic clutter.
    """
    count, device = len(chosen), chosen.device
    first = next(iter(sets.values()))
    layers = [_backdrop(first, chosen.roll(1), side, clutter_fraction)]
    for name, faces in sets.items():
        index = chosen if faces is first else torch.randint(len(faces), (count,), device=device)
        size = _log_uniform(count, 0.75 * smallest, 1.15 * largest, device)
        share = 1 - 0.5 * (1 - _SHARES[name]) if len(sets) == 1 else _SHARES[name]
        layers.append(_placed(faces, index, size, side, tilt, share, soft=name != "scenes"))
    canvas = layers[0].colours
    for layer in layers[1:]:
        canvas = torch.lerp(canvas, layer.colours, layer.mask)
    states = [_seen(layer, layers[number + 1 :], side) for number, layer in enumerate(layers)]
    points, boxes, state = (
        torch.cat(parts, dim=1) for parts in ([one.points for one in layers], [one.boxes for one in layers], states)
    )
    sizes = SIZE_OF_SCALE * face_scale(points)
    state = torch.where((state == LEARNT) & ((sizes < smallest) | (sizes > largest)), UNSURE, state)
    state = torch.where(sizes > TOO_LARGE * largest, ABSENT, state)
    corners = torch.stack([boxes[..., :2] - boxes[..., 2:], boxes[..., :2] + boxes[..., 2:]], dim=2)
    canvas = F.avg_pool2d(_occluded(canvas, boxes, state), SUPERSAMPLING)
    return Canvases(worsened(canvas) / 127.5 - 1, torch.cat([points, corners], dim=2), sizes, state, chosen)


def _backdrop(faces: Faces, index: Tensor, side: int, clutter_fraction: float) -> _Layer:
    """A picture enlarged until it fills the canvas; for some, clutter or one colour."""
    count, device = len(index), index.device
    sizes = faces.sizes[index]
    scale = _uniform(count, 1.2, 3.5, device) * side / sizes.amin(dim=1)
    anchor = sizes * torch.rand(count, 2, device=device)
    angle = _uniform(count, -math.pi, math.pi, device)
    layer = _lay(faces, index, anchor, torch.full((count, 2), side / 2, device=device), scale, angle, side)
    cluttered = round(clutter_fraction * count)  # the first of the batch, which is in no order
    synthetic = F.interpolate(clutter(cluttered, side, device), scale_factor=SUPERSAMPLING, mode="nearest")
    colours = torch.cat([synthetic, layer.colours[cluttered:]])
    plain = torch.rand(count, device=device) < PLAIN
    colour = 255 * torch.rand(count, 3, 1, 1, device=device)
    empty = plain | (torch.arange(count, device=device) < cluttered)
    return _Layer(
        torch.where(plain[:, None, None, None], colour, colours),
        layer.mask,
        layer.points,
        layer.boxes,
        torch.where(empty[:, None], ABSENT, layer.state),
    )


def clutter(count: int, side: int, device: torch.device) -> Tensor:
    """Pictures without a face, of things that pass for one, (B, 3, S, S) in 0..255; from torch's generator.

    Cloth and rough ground, and on them buttons: discs and slabs with rings, holes, stripes and checks; spots of light.
    """
    if not count:
        return torch.zeros(0, 3, side, side, device=device)
    picture = _ground(count, side, device)
    for _ in range(SHAPES):
        u, v, radius = _frame(count, side, 3, side / 2, device)
        distance = torch.where(
            _each(count, 0, 1, device) < 0.7, (u.square() + v.square()).sqrt(), (u.abs()).maximum(v.abs())
        )
        waves = _each(count, 3, 14, device)
        apart, below = _each(count, 0.15, 0.5, device), _each(count, -0.3, 0.5, device).clamp(min=0)
        holes = (u.abs() - apart).square() + (v.abs() - below).square()
        patterns = torch.stack(
            [
                distance > _each(count, 0.5, 0.95, device),  # a rim
                holes < _each(count, 0.05, 0.25, device).square(),  # two or four holes
                (waves * u).cos() > _each(count, -0.5, 0.9, device),  # stripes
                (waves * u).cos() * (waves * v).cos() > _each(count, -0.3, 0.3, device),  # checks
                distance < _each(count, 0.1, 0.6, device),  # a core
                torch.zeros_like(distance, dtype=torch.bool),
            ],
            dim=1,
        )  # (B, kinds, S, S)
        kind = torch.randint(patterns.shape[1], (count,), device=device)
        pattern = patterns[torch.arange(count, device=device), kind][:, None]
        first, second = _two_colours(count, device)
        inside = ((1 - distance) * radius + 0.5).clamp(0, 1)[:, None]  # soft by a pixel
        inside = inside * (torch.rand(count, 1, 1, 1, device=device) < 0.7)
        picture = torch.lerp(picture, torch.where(pattern, second, first), inside)
    lit = torch.rand(count, 1, 1, 1, device=device) < 0.4
    picture = torch.where(
        lit, picture * torch.rand(count, 1, 1, 1, device=device), picture
    )  # where lights shine, it is dark
    for _ in range(SPOTS):
        u, v, _ = _frame(count, side, 2, side / 5, device)
        light = torch.exp(-(u.square() + v.square()).pow(_each(count, 0.5, 3, device)))[:, None]  # a glow, or a lamp
        picture = picture + lit * light * 255 * torch.rand(count, 3, 1, 1, device=device).sqrt()
    return picture.clamp(0, 255)


def _ground(count: int, side: int, device: torch.device) -> Tensor:
    """Smooth colours, some woven of two, some rough at several scales: (B, 3, S, S), about in 0..255."""

    def smooth(values: Tensor) -> Tensor:
        return F.interpolate(values, size=(side, side), mode="bilinear", align_corners=False)

    picture = smooth(255 * torch.rand(count, 3, 4, 4, device=device))
    u, v, _ = _frame(count, side, 1, side / 24, device)
    threads = torch.stack([u.cos() * v.cos(), u.cos() + v.cos(), u.cos(), (u + 2 * v.cos()).cos()], dim=1)
    kind = torch.randint(threads.shape[1], (count,), device=device)
    weave = threads[torch.arange(count, device=device), kind][:, None]
    first, second = _two_colours(count, device)
    cloth = torch.lerp(first, second, (weave * _each(count, 0.5, 4, device)[:, None] + 0.5).clamp(0, 1))
    woven = torch.rand(count, 1, 1, 1, device=device) < 0.35
    picture = torch.where(
        woven, torch.lerp(picture, cloth, 0.5 + 0.5 * torch.rand(count, 1, 1, 1, device=device)), picture
    )
    for cells in (side // 2, side // 4, side // 8, side // 16):
        strength = 40 * torch.rand(count, 1, 1, 1, device=device) * (torch.rand(count, 1, 1, 1, device=device) < 0.3)
        picture = picture + strength * smooth(torch.randn(count, 1, cells, cells, device=device))
    return picture


def _frame(count: int, side: int, low: float, high: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates u and v (B, S, S) about places, turned and stretched, in radii (B, 1, 1) from `low` to `high` px."""
    ticks = torch.arange(side, device=device) + 0.5
    x = ticks[None, None, :] - _each(count, 0, side, device)
    y = ticks[None, :, None] - _each(count, 0, side, device)
    angle = _each(count, -math.pi, math.pi, device)
    radius, stretch = _each(count, math.log(low), math.log(high), device).exp(), _each(count, -0.6, 0.6, device).exp()
    u, v = (x * angle.cos() + y * angle.sin()) / (radius * stretch), (y * angle.cos() - x * angle.sin()) / radius
    return u, v, radius


def _two_colours(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """A colour near grey and one near it, (B, 3, 1, 1) each."""
    grey = 255 * torch.rand(count, 1, 1, 1, device=device)
    first = (grey + 50 * torch.randn(count, 3, 1, 1, device=device)).clamp(0, 255)
    return first, (first + 90 * torch.randn(count, 3, 1, 1, device=device)).clamp(0, 255)


def _placed(faces: Faces, index: Tensor, size: Tensor, side: int, tilt: float, share: float, *, soft: bool) -> _Layer:
    """A picture of which one face has the given size on the canvas, (B,), anywhere on it, turned up to `tilt`."""
    count, device = len(index), index.device
    state, rows = faces.state[index], torch.arange(count, device=device)
    slot = torch.where(state == LEARNT, torch.rand(state.shape, device=device), -1.0).argmax(dim=1)
    here = state[rows, slot] == LEARNT
    anchor = torch.where(here[:, None], faces.boxes[index, slot, :2], faces.sizes[index] / 2)
    own = torch.where(here, SIZE_OF_SCALE * face_scale(faces.points[index, slot]), faces.sizes[index].amin(dim=1) / 3)
    turn = torch.where(
        torch.rand(count, device=device) < 0.6,
        (0.25 * torch.randn(count, device=device)).clamp(-1, 1),
        _uniform(count, -1, 1, device),
    )
    place = side * _uniform(2 * count, 0.02, 0.98, device).view(count, 2)
    layer = _lay(faces, index, anchor, place, size / own, turn * math.radians(tilt), side, soft=soft)
    there = torch.rand(count, device=device) < share
    return _Layer(
        layer.colours,
        layer.mask * there[:, None, None, None],
        layer.points,
        layer.boxes,
        torch.where(there[:, None], layer.state, ABSENT),
    )


def _lay(
    faces: Faces,
    index: Tensor,
    anchor: Tensor,
    place: Tensor,
    scale: Tensor,
    angle: Tensor,
    side: int,
    *,
    soft: bool = False,
) -> _Layer:
    """Map pictures so that `anchor` (B, 2) comes to lie at `place`, scaled, turned by `angle`, some mirrored."""
    count, device = len(index), index.device
    mirrored = torch.rand(count, device=device) < 0.5
    stretch = torch.exp(0.04 * torch.randn(count, device=device))
    along = torch.where(mirrored, -scale, scale) * stretch  # x is mirrored and stretched before it is turned
    cos, sin = angle.cos(), angle.sin()
    forward = torch.stack([cos * along, -sin * scale, sin * along, cos * scale], dim=1).view(count, 2, 2)
    back = torch.stack([cos / along, sin / along, -sin / scale, cos / scale], dim=1).view(count, 2, 2)

    ticks = (torch.arange(SUPERSAMPLING * side, device=device) + 0.5) / SUPERSAMPLING
    start = anchor - torch.einsum("bij,bj->bi", back, place)
    right, down = back[:, :, 0, None] * ticks, back[:, :, 1, None] * ticks + start[:, :, None]  # (B, 2, 2S)
    source = torch.stack([down[:, axis, :, None] + right[:, axis, None, :] for axis in (0, 1)], dim=-1)
    extent = faces.sizes[index][:, None, None]
    inner = torch.minimum(source.clamp(min=0.5), extent - 0.5)  # of a square that is partly empty, only the picture
    colours = F.grid_sample(
        faces.pixels[index].float(), 2 * inner / faces.pixels.shape[-1] - 1, mode="bilinear", align_corners=False
    )
    edge = torch.minimum(source, extent - source).amin(dim=-1) * scale[:, None, None]  # canvas pixels to the border
    mask = (edge * SUPERSAMPLING + 0.5).clamp(0, 1)
    if soft:
        spread = ((source - extent / 2) / (extent / 2)).norm(dim=-1)
        radius, width = _uniform(count, 0.72, 1.05, device), _uniform(count, 0.02, 0.3, device)
        ellipse = ((radius[:, None, None] - spread) / width[:, None, None] + 0.5).clamp(0, 1)
        framed = torch.rand(count, device=device) < 0.3
        mask = torch.where(framed[:, None, None], mask, torch.minimum(mask, ellipse))

    points = faces.points[index]
    points = torch.where(mirrored[:, None, None, None], points[:, :, MIRRORED], points)
    points = torch.einsum("bij,bfkj->bfki", forward, points - anchor[:, None, None]) + place[:, None, None]
    box = faces.boxes[index]
    centre = torch.einsum("bij,bfj->bfi", forward, box[..., :2] - anchor[:, None]) + place[:, None]
    half = box[..., 2:] * torch.stack([along.abs(), scale], dim=1)[:, None]  # of the ellipse in the box, then turned
    turned = torch.stack([torch.stack([cos, sin], 1), torch.stack([sin, cos], 1)], dim=1)[:, None]  # (B, 1, 2, 2)
    half = (turned * half[:, :, None]).norm(dim=-1)
    return _Layer(colours, mask[:, None], points, torch.cat([centre, half], dim=-1), faces.state[index])


def _seen(layer: _Layer, above: list[_Layer], side: int) -> Tensor:
    """The state (B, F) of a layer's faces under the layers above: absent where hidden, unsure where half hidden."""
    points = layer.points
    inside = ((points >= 0) & (points < side)).all(dim=-1)  # (B, F, 5)
    column = (points * SUPERSAMPLING).long().clamp(0, SUPERSAMPLING * side - 1)
    flat = (column[..., 1] * SUPERSAMPLING * side + column[..., 0]).flatten(1)
    for other in above:
        covered = other.mask.flatten(1).gather(1, flat).view_as(inside) > 0.5
        inside = inside & ~covered
    share = inside.float().mean(dim=-1)
    state = torch.where((layer.state == LEARNT) & (share < 0.7), UNSURE, layer.state)
    return torch.where(share < 0.1, ABSENT, state)


def _occluded(canvas: Tensor, boxes: Tensor, state: Tensor) -> Tensor:
    """Lay a turned rectangle of one colour, or of another canvas, over a part of one face of some canvases."""
    count, device = len(canvas), canvas.device
    rows = torch.arange(count, device=device)
    slot = torch.where(state == LEARNT, torch.rand(state.shape, device=device), -1.0).argmax(dim=1)
    box = boxes[rows, slot] * SUPERSAMPLING
    centre = box[:, :2] + box[:, 2:] * _uniform(2 * count, -1, 1, device).view(count, 2)
    half = box[:, 2:] * _uniform(2 * count, 0.1, 0.45, device).view(count, 2)
    angle = _uniform(count, -math.pi, math.pi, device)
    ticks = torch.arange(canvas.shape[-1], device=device) + 0.5
    x, y = ticks[None, None, :] - centre[:, 0, None, None], ticks[None, :, None] - centre[:, 1, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    inside = ((x * cos + y * sin).abs() < half[:, 0, None, None]) & ((y * cos - x * sin).abs() < half[:, 1, None, None])
    inside &= (torch.rand(count, device=device) < 0.2)[:, None, None]
    colour = 255 * torch.rand(count, 3, 1, 1, device=device)
    other = torch.rand(count, 1, 1, 1, device=device) < 0.5
    return torch.where(inside[:, None], torch.where(other, canvas.roll(1, 0).flip(-2), colour), canvas)


def worsened(images: Tensor) -> Tensor:
    """(B, 3, S, S) in 0..255, as other cameras, light and files would have them; rounded to whole numbers."""
    count, device, size = len(images), images.device, images.shape[-1]

    def some(share: float) -> Tensor:
        return torch.rand(count, 1, 1, 1, device=device) < share

    def spread(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(count, channels, 1, 1, device=device)

    x = images / 255
    blurred = F.avg_pool2d(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
    x = torch.where(some(0.35), torch.lerp(x, blurred, spread(-0.6, 1.0)), x)
    coarse = F.interpolate(F.avg_pool2d(x, 2), size=(size, size), mode="bilinear", align_corners=False)
    x = torch.where(some(0.08), coarse, x)

    grey = (x * torch.tensor([0.299, 0.587, 0.114], device=device)[:, None, None]).sum(1, keepdim=True)
    x = torch.lerp(grey, x, torch.where(some(0.12), 0.0, spread(0.4, 1.5)))
    x = x * torch.exp(0.12 * torch.randn(count, 3, 1, 1, device=device))
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (mean + (x - mean) * spread(0.55, 1.35) + 0.08 * torch.randn(count, 1, 1, 1, device=device)).clamp(0, 1)
    x = x ** torch.exp(0.35 * torch.randn(count, 1, 1, 1, device=device))
    ticks = torch.linspace(-1, 1, size, device=device)
    ramp = spread(-1, 1) * ticks[None, None, None, :] + spread(-1, 1) * ticks[None, None, :, None]
    x = torch.where(some(0.3), x * torch.exp(0.9 * ramp - 0.2), x)
    dark = torch.where(some(0.2), torch.exp(spread(math.log(0.06), 0)), torch.ones((), device=device))
    noise = torch.where(some(0.4), spread(0, 0.05), torch.zeros((), device=device)) * dark.sqrt()
    x = (x * dark + noise * torch.randn_like(x)).clamp(0, 1)
    x = torch.where(some(0.03), 1 - x, x)
    x = torch.where(some(0.45), _compressed(255 * x, spread(0.3, 4.0)) / 255, x)
    return (255 * x).clamp(0, 255).round()


def _compressed(images: Tensor, coarseness: Tensor) -> Tensor:
    """What JPEG loses: each plane's blocks of 8 x 8 in a cosine basis, rounded the coarser the finer the detail."""
    count, channels, height, width = images.shape
    k = torch.arange(8, device=images.device)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2  # (frequency, place)
    basis[0] /= math.sqrt(2)
    step = (8 + 5 * (k[:, None] + k[None])) * coarseness[..., None, None]  # (B, 1, 1, 1, 8, 8), near JPEG's table
    blocks = images.view(count, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5) - 128
    waves = basis @ blocks @ basis.T
    blocks = basis.T @ (torch.round(waves / step) * step) @ basis + 128
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(count, channels, height, width)


def _each(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """A number for each picture, (B, 1, 1)."""
    return _uniform(count, low, high, device)[:, None, None]


def _uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return low + (high - low) * torch.rand(count, device=device)


def _log_uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return torch.exp(_uniform(count, math.log(low), math.log(high), device))
