"""Linear directions: one change for every code, from a file or the generator's own, and how codes follow it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from stedit.checkpoints.interchange import load_directions
from stedit.editing.directions import LinearDirection, select_direction
from stedit.editing.gradient import restore_kept
from stedit.editing.layers import style_mask
from stedit.errors import UsageError
from stedit.models.generator import Generator, SynthesisBlock
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import LatentCovariance

MAX_STD = 6.0  # standard deviations of codes: beyond, no code is that of a face
GRID = 97  # places in -MAX_STD..MAX_STD at which the logit is evaluated first
BISECTIONS = 20
ROUNDS = 3  # of several linear directions, each of which moves the others' logits


def linear_directions(
    direction: LinearDirection,
    attributes: Sequence[str],
    generator: Generator,
    covariance: LatentCovariance,
    *,
    fingerprints: Collection[str],
    styles: Sequence[int] | None = None,
    raw: bool = False,
) -> list[Tensor]:
    """The linear direction of each attribute, or just one if there is none, for codes of a generator.

    Args:
        direction: a file, or one of the generator's own.
        attributes: CelebA's names; of a file, each takes the direction of its name.
        generator: whose codes are to be moved, and whose own directions `sefa:0` and so on are.
        covariance: of codes.
        fingerprints: of the models whose directions fit; a file that states another is refused.
        styles: those that may change; None for all of them.
        raw: leave vectors as long as they are in their files.

    Returns:
        (N, D) each, zero at styles that may not change. Of one direction without a weight it is one standard deviation
        of codes long; a sum weighs such vectors. Raises InputError for the file, and UsageError for what does not fit.
    """
    if len(direction.parts) > 1 and len(attributes) > 1:
        raise UsageError(
            f"{direction} is one direction, which cannot serve {len(attributes)} attributes: give one",
            argument="attributes",
        )
    total: list[Tensor] = []
    for part in direction.parts:
        vectors = _vectors(part, attributes, generator, fingerprints, styles)
        scaled = [part.weight * (vector if raw else scale_to_one_std(vector, covariance)) for vector in vectors]
        total = [sum_ + one for sum_, one in zip(total, scaled, strict=True)] if total else scaled
    if not all(one.any() for one in total):
        raise UsageError(f"{direction} adds up to nothing: choose other weights")
    return total


def has_length_of_its_own(direction: LinearDirection) -> bool:
    """Whether weights make it longer or shorter than one standard deviation of codes."""
    return any(part.weight != 1 for part in direction.parts) or len(direction.parts) > 1


def _vectors(
    direction: LinearDirection,
    attributes: Sequence[str],
    generator: Generator,
    fingerprints: Collection[str],
    styles: Sequence[int] | None,
) -> list[Tensor]:
    """The vector (N, D) of each attribute as it is in its file, zero at styles that may not change."""
    names: list[str | None] = [*attributes] or [None]
    if direction.file is None:
        rows, _ = sefa(generator, styles)
        if direction.index >= len(rows):
            raise UsageError(f"there is no {direction}: this model has sefa:0 to sefa:{len(rows) - 1}")
        vectors = [rows[direction.index : direction.index + 1].numpy()] * len(names)
    else:
        found = load_directions(direction.file)
        if found.metadata.get("fingerprint", "") not in {"", *fingerprints}:
            raise UsageError(
                f"{direction.file} was learned for the model {found.metadata.get('model')!r}, whose codes are others: "
                "use that model, or learn the direction again"
            )
        vectors = [select_direction(found, direction.name, attribute, str(direction.file)) for attribute in names]
    if len({id(vector) for vector in vectors}) < len(vectors):
        raise UsageError(
            f"{direction} is one direction, which cannot serve {len(vectors)} attributes: give one",
            argument="attributes",
        )
    count, dim = generator.config.style_count, generator.config.style_dim
    mean = generator.mapping.mean
    touched = torch.ones(count, 1)
    if styles is not None:
        touched = torch.zeros(count, 1).index_fill(0, torch.tensor(styles), 1)
    directions = []
    for vector in vectors:
        if vector.shape == (1, count * dim):
            vector = vector.reshape(count, dim)
        if vector.shape[1] != dim or vector.shape[0] not in (1, count):
            raise UsageError(
                f"{direction} is for codes of {' x '.join(map(str, vector.shape))} numbers, and this model's are "
                f"{count} x {dim}: use the model that it was made for"
            )
        moved = torch.from_numpy(vector) * touched
        if not moved.any():
            raise UsageError(f"{direction} changes none of these layers: choose others")
        directions.append(moved.to(mean))
    return directions


def sefa(generator: Generator, styles: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """The directions to which a generator's styles respond most (Shen and Zhou 2021, equation 4), strongest first.

    Eigenvectors of A'A, with A the weights that turn w into the scales of feature maps, stacked over all layers that
    read one of `styles` (None: all). No data and no training are needed.

    Returns:
        Unit directions (D, D), a row for each, of which the largest number is positive, and their eigenvalues (D,).
    """
    weights = []
    index = 0
    for block in cast("list[SynthesisBlock]", generator.blocks):
        for layer in [*block.layers, block.to_rgb]:  # to_rgb reads the style of the next block's first layer
            if styles is None or index in styles:
                affine = layer.conv.affine
                weights.append(affine.weight.detach() * affine.weight_gain)
            index += layer is not block.to_rgb
    stacked = torch.cat(weights).cpu().double()  # (outputs, D); the CPU, so that every device finds the same ones
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)  # ascending, in columns
    values, directions = values.flip(0), vectors.T.flip(0)
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).float(), values.float()


def scale_to_one_std(direction: Tensor, covariance: LatentCovariance) -> Tensor:
    """A direction (N, D), of any length, made as long as one standard deviation of the codes along it.

    The deviation of codes along the unit vector u is sqrt(u' S u).
    """
    flat = direction.flatten()
    variance = flat @ covariance.multiply(flat)
    return direction * (variance.clamp_min(0).sqrt() / flat.square().sum())


def follow_direction(
    classifier: LatentClassifier,
    w: Tensor,
    goals: Mapping[int, Tensor],
    directions: Mapping[int, Tensor],
    *,
    keep: Tensor,
    styles: Sequence[int] | None = None,
) -> Tensor:
    """Bring the logit of each attribute to a given value by moving codes along a direction of its own.

    Of the places within MAX_STD standard deviations where the logit meets the goal, the nearest is taken, whichever way
    the direction points. Where it meets the goal nowhere, the code moves to where it comes nearest. What attributes to
    keep have drifted by then is undone along their gradients, less what these share with those of the edited.

    Args:
        classifier: gives the logits.
        w: (B, N, D) codes.
        goals: attribute index -> (B,) logit to reach.
        directions: attribute index -> (N, D), as long as one standard deviation of codes along it, and zero at styles
            that may not change.
        keep: (K,) bool, the attributes to hold where they are.
        styles: those that may change; None for all of them.

    Returns:
        (B, N, D) edited codes.
    """
    source, touched = w, style_mask(w, styles)
    once = len(goals) == 1 and not keep.any()
    for _ in range(1 if once else ROUNDS):
        for index, goal in goals.items():
            along = directions[index].flatten()
            w = w + (_distance_to_logit(classifier, w, along, index, goal)[:, None] * along).view_as(w)
        w = restore_kept(classifier, w, source, keep, list(goals), touched)
    return torch.where(touched.view(w.shape[1:]) > 0, w, source)


def add_direction(
    w: Tensor,
    along: Tensor,
    classifier: LatentClassifier | None,
    *,
    keep: Tensor,
    styles: Sequence[int] | None = None,
) -> Tensor:
    """Add `along` (N, D), or one for each, to codes (B, N, D), and undo what attributes to keep (K,) drift by that."""
    moved = w + along
    if classifier is not None:
        moved = restore_kept(classifier, moved, w, keep, [], style_mask(w, styles))
    return torch.where(style_mask(w, styles).view(w.shape[1:]) > 0, moved, w)


def _distance_to_logit(classifier: LatentClassifier, w: Tensor, along: Tensor, attribute: int, goal: Tensor) -> Tensor:
    """How many times `along` (N*D,) takes the logit from where it is at `w` to the goal (B,): (B,)."""

    def miss(amounts: Tensor) -> Tensor:
        moved = w + (amounts[:, None] * along).view_as(w)
        logits: Tensor = classifier(moved)[:, attribute]
        return logits - goal

    grid = torch.linspace(-MAX_STD, MAX_STD, GRID, dtype=w.dtype, device=w.device)
    misses = torch.stack([miss(amount.expand(len(w))) for amount in grid])  # (G, B)
    crossed = misses[1:] * misses[:-1] <= 0  # (G-1, B): the logit meets the goal between two places
    near = torch.minimum(grid[1:].abs(), grid[:-1].abs())[:, None]
    place = torch.where(crossed, near, near + 2 * MAX_STD).argmin(dim=0)  # (B,)
    low, high = grid[place], grid[place + 1]
    below = misses.gather(0, place[None])[0]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        value = miss(middle)
        left = value * below <= 0
        low, high, below = (
            torch.where(left, low, middle),
            torch.where(left, middle, high),
            torch.where(left, below, value),
        )
    nearest = grid[misses.abs().argmin(dim=0)]
    reached = torch.where(crossed.any(dim=0), (low + high) / 2, nearest)
    return torch.where(misses[GRID // 2].abs() < 1e-4, torch.zeros_like(reached), reached)
