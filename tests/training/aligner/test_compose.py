"""Composed canvases: their points lie where the pictures show them, and states follow size and sight."""

from __future__ import annotations

from dataclasses import replace

import torch
from training.aligner.faces import POINTS

from stedit.training.aligner.compose import (
    SUPERSAMPLING,
    _backdrop,
    _compressed,
    _lay,
    _Layer,
    _seen,
    clutter,
    compose,
    worsened,
)
from stedit.training.aligner.data import ABSENT, LEARNT, UNSURE, Faces, boxes_of_points

COLOURS = torch.tensor([[255, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 255]])


def marked(count: int, side: int = 256) -> Faces:
    """Black pictures with a disc of its colour on each point."""
    points = torch.tensor(POINTS, dtype=torch.float32) * side
    ticks = torch.arange(side) + 0.5
    pixels = torch.zeros(3, side, side, dtype=torch.uint8)
    for (x, y), colour in zip(points.tolist(), COLOURS, strict=True):
        inside = (ticks[None] - x) ** 2 + (ticks[:, None] - y) ** 2 < (0.03 * side) ** 2
        pixels[:, inside] = colour[:, None].to(torch.uint8)
    return Faces(
        pixels.expand(count, -1, -1, -1).clone(),
        torch.full((count, 2), float(side)),
        points.expand(count, 1, 5, 2).clone(),
        boxes_of_points(points).expand(count, 1, 4).clone(),
        torch.full((count, 1), LEARNT),
        torch.zeros(count, dtype=torch.float64),
    )


def test_points_move_with_the_picture() -> None:
    count, side = 24, 96
    faces = marked(count)
    index = torch.arange(count)
    anchor = faces.boxes[:, 0, :2]
    scale = 0.25 + 0.15 * torch.rand(count)
    layer = _lay(faces, index, anchor, torch.full((count, 2), 48.0), scale, 2 * torch.rand(count) - 1, side)
    ticks = (torch.arange(SUPERSAMPLING * side) + 0.5) / SUPERSAMPLING
    for number in range(count):
        for point, colour in zip(layer.points[number, 0], COLOURS, strict=True):
            channel = int(colour.argmax())
            away = ((ticks[None] - point[0]) ** 2 + (ticks[:, None] - point[1]) ** 2).sqrt()
            weight = layer.colours[number, channel] * (away < 5)
            x, y = (weight * ticks[None]).sum() / weight.sum(), (weight * ticks[:, None]).sum() / weight.sum()
            assert torch.hypot(x - point[0], y - point[1]) < 0.15
        right, left, _, right_mouth, left_mouth = layer.points[number, 0]
        across, down = left - right, (right_mouth + left_mouth - right - left) / 2
        assert across[0] * down[1] - across[1] * down[0] > 0  # in a mirror, right and left are exchanged


def test_a_turned_box_holds_the_ellipse_of_the_upright_one() -> None:
    faces = marked(1)
    zero, quarter = torch.zeros(1), torch.full((1,), torch.pi / 2)
    upright, lying = (
        _lay(faces, torch.tensor([0]), faces.boxes[:, 0, :2], torch.full((1, 2), 50.0), torch.ones(1), angle, 96)
        for angle in (zero, quarter)
    )
    ratio = lying.boxes[0, 0, 2:].flip(0) / upright.boxes[0, 0, 2:]
    assert (ratio - 1).abs().max() < 0.2  # but for the stretch along one axis, which is random


def test_canvases_hold_faces_of_the_sizes_to_learn() -> None:
    sets = {"scenes": marked(8), "crops": marked(4), "renders": marked(4, 128)}
    canvases = compose(sets, torch.arange(80) % 8, 96, tilt=30, smallest=18, largest=60, clutter_fraction=0.4)
    assert canvases.images.shape == (80, 3, 96, 96)
    assert -1 <= canvases.images.min() < canvases.images.max() <= 1
    learnt, unsure = canvases.state == LEARNT, canvases.state == UNSURE
    assert canvases.sizes[learnt].min() >= 18
    assert canvases.sizes[learnt].max() <= 60
    assert canvases.sizes[unsure].max() <= 1.6 * 60
    assert 0.5 < learnt.any(dim=1).float().mean() < 1
    logarithms = canvases.sizes[learnt].log()
    assert (logarithms < torch.tensor(33.0).log()).float().mean() > 0.3  # small ones are as common as large ones
    shapes = canvases.shapes[learnt]
    assert (shapes[:, 6] > shapes[:, 5]).all()


def test_the_same_seed_composes_the_same() -> None:
    sets = {"crops": marked(4)}
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(compose(sets, torch.arange(4), 64, tilt=30, smallest=18, largest=60, clutter_fraction=0.4))
    assert torch.equal(made[0].images, made[1].images)
    assert torch.equal(made[0].shapes, made[1].shapes)


def test_hidden_faces_are_absent_and_half_hidden_ones_unsure() -> None:
    points = torch.tensor(POINTS, dtype=torch.float32) * 40 + torch.tensor([[[[10.0, 10.0]]]])
    layer = _Layer(torch.empty(0), torch.empty(0), points, torch.empty(0), torch.full((1, 1), LEARNT))
    states = []
    for bottom in (0, 35, 64):  # above the face, over its eyes and nose, over all of it
        mask = torch.zeros(1, 1, 128, 128)
        mask[:, :, : SUPERSAMPLING * bottom] = 1
        states.append(int(_seen(layer, [_Layer(*(mask,) * 5)], 64)))
    assert states == [LEARNT, UNSURE, ABSENT]


def test_worse_pictures_are_whole_numbers_in_range() -> None:
    images = 255 * torch.rand(16, 3, 64, 64)
    worse = worsened(images)
    assert worse.min() >= 0
    assert worse.max() <= 255
    assert torch.equal(worse, worse.round())
    assert (worse - images).abs().mean() > 10


def test_compression_loses_detail_before_shape() -> None:
    ticks = torch.arange(64.0)
    smooth = (128 + 60 * torch.sin(ticks / 10)).expand(1, 3, 64, 64)
    fine = 10 * (-1.0) ** (ticks[None] + ticks[:, None]).expand(1, 3, 64, 64)
    strength = torch.full((1, 1, 1, 1), 3.0)
    once = _compressed(smooth + fine, strength)
    assert (once - smooth).abs().mean() < 6  # the checks are gone
    assert torch.allclose(_compressed(smooth + fine, strength / 1000), smooth + fine, atol=0.5)


def test_clutter_has_edges_at_all_scales() -> None:
    pictures = clutter(24, 96, torch.device("cpu"))
    assert pictures.shape == (24, 3, 96, 96)
    assert pictures.min() >= 0
    assert pictures.max() <= 255
    for step in (1, 4, 16):
        change = (pictures[..., step:] - pictures[..., :-step]).abs().amax(dim=1)
        assert (change > 20).float().mean() > 0.02
    assert not torch.equal(pictures[0], pictures[1])


def test_clutter_follows_from_the_seed() -> None:
    made = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        made.append(clutter(2, 64, torch.device("cpu")))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_without_clutter_backdrops_are_scenes_or_plain() -> None:
    torch.manual_seed(0)
    empty = replace(marked(6, 96), state=torch.full((6, 1), ABSENT), pixels=torch.full((6, 3, 96, 96), 200).byte())
    made = []
    for fraction in (0.0, 1.0):
        layer = _backdrop(empty, torch.arange(6), 96, fraction)
        made.append(layer.colours.std(dim=(2, 3)).amax(dim=1))
    assert made[0].max() < 1
    assert made[1].median() > 10
