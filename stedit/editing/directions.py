"""Directions by name; and linear ones, one change for every code: read from files, found in a generator, or learned.

    auto                                     learned where the model has learned the attribute, else preserving
    learned                                  the edit transformer's change, see edits.py
    preserving, first-order, second-order    found anew for every code, see label.py
    linear:FILE                              the only direction of a file, or that of the attribute that is edited
    linear:FILE:NAME                         a direction of a file
    sefa:3                                   the fourth of the generator's own (Shen and Zhou 2021)

Files are those of `stedit.storage.directions`, and those of other projects that `stedit.checkpoints.interchange` reads.
Torch is imported only to compute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from stedit.checkpoints.interchange import load_directions
from stedit.editing.attributes import ALIASES
from stedit.errors import UsageError
from stedit.storage.directions import Directions, Vector

if TYPE_CHECKING:
    from torch import Tensor

    from stedit.editing.covariance import Spread
    from stedit.models.generator import Generator, SynthesisBlock
    from stedit.models.latent_classifier import LatentClassifier

LabelDirection = Literal["preserving", "first-order", "second-order"]
Direction = Literal["auto", "learned"] | LabelDirection
NAMED = ("auto", "learned", *get_args(LabelDirection))

MIN_LABELLED = 10  # codes with an attribute, and as many without, that a direction can be learned from

_SEFA = re.compile(r"sefa:(\d{1,4})")


@dataclass(frozen=True)
class LinearDirection:
    """What `linear:FILE:NAME` or `sefa:3` asks for."""

    file: Path | None
    """None for one of the generator's own."""
    name: str | None
    """In the file; None for the only one, or that of the attribute."""
    index: int = 0
    """Of the generator's own."""

    def __str__(self) -> str:
        if self.file is None:
            return f"sefa:{self.index}"
        return f"linear:{self.file}" + (f":{self.name}" if self.name else "")

    @property
    def title(self) -> str:
        """What file names call it."""
        if self.file is None:
            return f"sefa-{self.index}"
        return self.name or self.file.name.partition(".")[0]


def parse_direction(text: str) -> Direction | LinearDirection:
    """Understand `preserving`, `linear:FILE:NAME`, `sefa:3` and so on. Raises UsageError.

    A colon belongs to the file's name if there is a file of that name.
    """
    if text in NAMED:
        return cast("Direction", text)
    if found := _SEFA.fullmatch(text):
        return LinearDirection(None, None, int(found[1]))
    rest = text.removeprefix("linear:")
    if rest in {text, ""}:
        raise UsageError(
            f"unknown direction {text!r}: say {', '.join(NAMED)}, linear:FILE, linear:FILE:NAME, or sefa: and a number"
        )
    file, _, name = rest.rpartition(":")
    if not file or not name or Path(rest).is_file():
        return LinearDirection(Path(rest), None)
    return LinearDirection(Path(file), name)


def select_direction(directions: Directions, name: str | None, attribute: str | None, where: str) -> Vector:
    """The direction of this name; else the only one, or that of the attribute. Raises UsageError.

    A number names the component of GANSpace's file that has it, such as ffhq_pca-03.
    """
    vectors = directions.vectors
    if name is None and len(vectors) == 1:
        return next(iter(vectors.values()))
    target = name if name is not None else attribute
    aliases = [alias for alias, meaning in ALIASES.items() if name is None and meaning[0] == attribute]
    called = {text.casefold() for text in (target, *aliases) if text is not None}
    for known, vector in vectors.items():
        if known.casefold() in called:
            return vector
    if name is not None and name.isdecimal():
        numbered = [vector for known, vector in vectors.items() if known.endswith(f"-{int(name):02d}")]
        if len(numbered) == 1:
            return numbered[0]
    names = list(vectors)
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    if target is None:
        raise UsageError(f"{where} holds {len(names)} directions: name one, as in linear:{where}:{names[0]}")
    raise UsageError(f"{where} holds no direction {target!r}: it holds {listed}")


def linear_directions(
    asked: LinearDirection,
    attributes: Sequence[str],
    generator: Generator,
    spread: Spread,
    *,
    fingerprint: str,
    styles: Sequence[int] | None = None,
) -> list[Tensor]:
    """The linear direction of each attribute, or just one if there is none, for codes of a generator.

    Args:
        asked: where to find it.
        attributes: CelebA's names; of a file, each takes the direction of its name.
        generator: whose codes are to be moved, and whose own directions `sefa:0` and so on are.
        spread: multiplies by the covariance of codes.
        fingerprint: of the model; a file that states another is refused.
        styles: those that may change; None for all of them.

    Returns:
        (N, D) each, one standard deviation of codes long, zero at styles that may not change.
        Raises InputError for the file, and UsageError for what does not fit.
    """
    import torch

    from stedit.editing.covariance import one_deviation

    wanted: list[str | None] = [*attributes] or [None]
    if asked.file is None:
        rows, _ = sefa(generator, styles)
        if asked.index >= len(rows):
            raise UsageError(f"there is no {asked}: this model has sefa:0 to sefa:{len(rows) - 1}")
        vectors = [rows[asked.index : asked.index + 1].numpy()] * len(wanted)
    else:
        found = load_directions(asked.file)
        if found.metadata.get("fingerprint", fingerprint) != fingerprint:
            raise UsageError(
                f"{asked.file} was learned for the model {found.metadata.get('model')!r}, whose codes are others: "
                "use that model, or learn the direction again"
            )
        vectors = [select_direction(found, asked.name, attribute, str(asked.file)) for attribute in wanted]
    if len({id(vector) for vector in vectors}) < len(vectors):
        raise UsageError(f"{asked} is one direction, which cannot serve {len(vectors)} attributes: give one --attr")
    count, dim = generator.config.style_count, generator.config.style_dim
    mean = generator.mapping.mean
    touched = torch.ones(count, 1)
    if styles is not None:
        touched = torch.zeros(count, 1).index_fill(0, torch.tensor(styles), 1)
    directions = []
    for vector in vectors:
        if vector.shape[1] != dim or vector.shape[0] not in (1, count):
            raise UsageError(
                f"{asked} is for codes of {' x '.join(map(str, vector.shape))} numbers, and this model's are "
                f"{count} x {dim}: use the model that it was made for"
            )
        moved = torch.from_numpy(vector) * touched
        if not moved.any():
            raise UsageError(f"{asked} changes none of these layers: choose others")
        directions.append(one_deviation(moved.to(mean), spread))
    return directions


def sefa(generator: Generator, styles: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """The directions to which a generator's styles respond most (Shen and Zhou 2021, equation 4), strongest first.

    Eigenvectors of A'A, with A the weights that turn w into the scales of feature maps, stacked over all layers that
    read one of `styles` (None: all). No data and no training are needed.

    Returns:
        Unit directions (D, D), a row for each, of which the largest number is positive, and their eigenvalues (D,).
    """
    import torch

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


@dataclass(frozen=True, eq=False)
class Learned:
    """A direction that was learned."""

    vector: Vector
    """(N, D), of length 1, towards codes that have the attribute."""
    accuracy: float
    """On codes held back: the share on the right side of the plane across the direction, both labels counting alike."""
    codes: int
    """Learned from and held back, together."""
    method: str


def learn_from_classifier(classifier: LatentClassifier, w: Tensor, attribute: int, spread: Spread) -> Learned:
    """The mean over codes (M, N, D) of the direction in which an attribute's logit grows for the most plausible change.

    It is S g, with g the gradient and S the codes' covariance, each of them made as long as the others.
    Raises UsageError if the classifier sees too few codes with the attribute, or without it.
    """
    import torch

    with torch.enable_grad():
        codes = w.detach().requires_grad_()
        logits = classifier(codes)[:, attribute]
        (gradients,) = torch.autograd.grad(logits.sum(), codes)
    labels = logits.detach() > 0
    along = spread(gradients.flatten(1))
    along = along / along.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return _learned(w, labels, lambda learning: along[learning].mean(dim=0), "the classifier's gradients")


def learn_from_labels(w: Tensor, labels: Tensor) -> Learned:
    """The normal of the plane that parts codes (M, N, D) by their labels (M,). Raises UsageError if there are too few.

    See `logistic_direction`.
    """
    flat = w.flatten(1)
    return _learned(w, labels, lambda learning: logistic_direction(flat[learning], labels[learning]), "labelled codes")


def logistic_direction(codes: Tensor, labels: Tensor, *, ridge: float = 1e-3) -> Tensor:
    """Logistic regression of labels (M,) on codes (M, N*D): its normal, a unit vector (N*D,) towards label 1.

    Both labels count alike, and the squared length of the normal is a penalty: where codes hardly vary, a direction
    would cost more than it gains, so the normal keeps to where codes are. It takes the place of InterFaceGAN's support
    vector machine (Shen et al. 2020). `ridge` weighs the penalty, the codes' numbers having a mean square of 1.
    """
    import torch
    from torch.nn import functional as F

    x = (codes - codes.mean(dim=0)).cpu().double()  # the CPU, since not every device has long numbers
    x = x / x.square().mean().sqrt()
    y = labels.cpu().double()
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y).mean())
    normal = torch.zeros(x.shape[1] + 1, dtype=x.dtype, device=x.device, requires_grad=True)  # and the intercept
    optimizer = torch.optim.LBFGS([normal], max_iter=200, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        fit = F.binary_cross_entropy_with_logits(x @ normal[:-1] + normal[-1], y, weight)
        total = fit + ridge * normal[:-1].square().sum()
        torch.autograd.backward(total)
        return total

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    found = normal.detach()[:-1]
    return cast("Tensor", (found / found.norm()).to(codes))


def _learned(w: Tensor, labels: Tensor, direction: Callable[[Tensor], Tensor], method: str) -> Learned:
    """Learn from four fifths of the codes, and measure on the rest."""
    import torch

    order = torch.randperm(len(w), generator=torch.Generator().manual_seed(0)).to(w.device)
    held = [places[: max(len(places) // 5, 1)] for places in (order[labels[order]], order[~labels[order]])]
    counts = [int(labels.sum()), int((~labels).sum())]
    if min(counts) < MIN_LABELLED:
        raise UsageError(
            f"of {len(w)} codes {counts[0]} have the attribute and {counts[1]} have not: give {MIN_LABELLED} of each"
        )
    testing = torch.cat(held)
    learning = order[~torch.isin(order, testing)]
    found = direction(learning)
    found = found / found.norm()
    places = w.flatten(1) @ found
    has = labels[learning]
    middle = (places[learning][has].mean() + places[learning][~has].mean()) / 2
    right = [(places[held[0]] > middle).float().mean(), (places[held[1]] <= middle).float().mean()]
    return Learned(found.view(w.shape[1:]).cpu().numpy(), float(sum(right) / 2), len(w), method)
