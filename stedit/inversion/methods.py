"""Inversion of images by a model: by its encoder, by a search, and with the generator tuned to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from stedit.errors import UsageError
from stedit.imaging.files import Pixels
from stedit.inversion.encoder import encode, invert_iteratively, require_iterative
from stedit.inversion.hybrid import invert_hybrid
from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import OnStep, code_statistics, invert_by_optimisation
from stedit.inversion.options import DEFAULT_STEPS, InversionOptions, InversionProgress, Method, TuningOptions
from stedit.inversion.tuning import tune
from stedit.runtime.arrays import to_half, to_input
from stedit.runtime.framing import resize
from stedit.runtime.model import Model
from stedit.runtime.rounding import rounded_as_in_batches
from stedit.storage.tunings import Tuning


def invert_crops(
    model: Model,
    images: Pixels | Tensor,
    *,
    method: Method,
    options: InversionOptions | None = None,
    targets: Pixels | Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Codes (B, N, D), float32, of images that are crops already. Arguments and errors are those of `Engine.invert`."""
    if method == "encoder":
        return invert_by_encoder(model, to_input(images, model.input_size, "images for the encoder"))
    shown = to_input(images if targets is None else targets, model.target_size, "targets of this model")
    if method == "optimise":  # without an encoder and its size
        given = shown
    elif isinstance(images, Tensor):
        given = resize(images.to(model.device, torch.float32), model.input_size)
    else:
        given = to_input(images, model.input_size, "images for the encoder")
    return invert_by_search(model, method, given, shown, options=options, on_step=on_step)


def invert_by_encoder(model: Model, images: Tensor) -> Tensor:
    """Images (B, 3, *input_size) in [-1, 1] -> codes (B, N, D), float32. Raises MissingPartError."""
    encoder = model.require_encoder()
    with torch.no_grad(), model.autocast(), rounded_as_in_batches(model.device):
        codes = encode(encoder, model.networks.generator, images.to(model.device))
    return codes.float()


def invert_by_search(
    model: Model,
    method: Method,
    images: Tensor,
    targets: Tensor,
    *,
    options: InversionOptions | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Codes found step by step, by any method but "encoder", in float32.

    Args:
        model: with the networks that the losses need.
        method: "optimise", "hybrid" or "iterative", see `Engine.invert`.
        images: (B, 3, *input_size) in [-1, 1]; "optimise" has no use for them.
        targets: the same in `target_size`, which renderings are compared with.
        options: steps, losses and so on.
        on_step: called after every step.

    Returns:
        (B, N, D). Raises MissingPartError if the model has no encoder, no iterative one, or no network for a loss.
    """
    options = options or InversionOptions()
    generator, encoder = model.networks.generator, model.networks.encoder
    steps = options.steps or DEFAULT_STEPS[method]
    targets = targets.to(model.device, torch.float32)
    with torch.no_grad():
        objective = Objective(targets, options.losses, model.networks)
        if method == "iterative":
            images = images.to(model.device, torch.float32)
            return invert_iteratively(
                require_iterative(model), generator, images, objective, steps=steps, on_step=on_step
            )
        statistics = code_statistics(generator, encoder)
        if method == "optimise":
            return invert_by_optimisation(generator, objective, statistics, options, steps=steps, on_step=on_step)
        start = invert_by_encoder(model, images.to(torch.float32))
        classifier = model.networks.classifier
        return invert_hybrid(generator, objective, start, statistics, classifier, options, steps=steps, on_step=on_step)


def tune_generator(
    model: Model,
    targets: Tensor,
    w: Tensor,
    *,
    options: TuningOptions | None = None,
    on_step: Callable[[int, InversionProgress], None] | None = None,
) -> list[Tuning]:
    """A tuning of the generator to each target (B, 3, *target_size), whose codes (B, N, D) stay as they are.

    Arguments and errors are those of `Engine.tune_generator`.
    """
    options = options or TuningOptions()
    if len(targets) != len(w):
        raise UsageError(f"there are {len(targets)} images and {len(w)} codes: give a code for each image")
    targets = targets.to(model.device, torch.float32)
    tunings = []
    for i in range(len(w)):
        objective = Objective(targets[i : i + 1], options.losses, model.networks)
        of_image = partial(on_step, i) if on_step else None
        updates = tune(model.networks.generator, w[i : i + 1], objective, options, on_step=of_image)
        halves = {name: (to_half(up), to_half(down)) for name, (up, down) in updates.items()}
        tunings.append(Tuning(halves, model.bundle.name, model.bundle.fingerprint))
    return tunings
