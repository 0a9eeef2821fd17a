"""What is measured on images rendered from codes: transfer weights, soft labels, and how far edits must go to show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit import Engine
from stedit.metrics.editing import set_attribute, side_effects
from stedit.models.attribute_network import AttributeNetwork
from stedit.storage.bundle import AttributeSpec
from stedit.training.completion.goals import with_spec
from stedit.training.data.edits import GroundTruthEdits

TARGET_LOGITS = (2.0, 3.5, 5.5, 8.0, 12.0, 18.0)  # candidates for edits along the classifier's directions
LEARNED_TARGET_LOGITS = (0.0, 3.0, 5.0, 7.0, 9.0, 12.0)  # and for edits by the edit transformer
CODES = 192  # edited for each candidate; with 32, a single stubborn code decided
TRANSFER_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
TRANSFER_EDITS = 400  # of an attribute, at most, made for each candidate
LABEL_WEIGHT = 1 / 3  # of a label in a soft label; the rest is what the networks predict from the image of the code
BATCH = 64  # codes
RESOLUTION = 128  # px: attributes show at that size, which takes half the time
SIDE_EFFECTS = 2.0  # how much a share of side effects weighs against the share of images in which an edit shows


def fit_transfer_weight(engine: Engine, codes: Tensor, edits: GroundTruthEdits) -> Engine:
    """The engine with, for each attribute, the transfer weight whose edits come nearest to ground truth.

    codes: (M, N, D), to which the ground-truth `edits` refer; the editor must not have learned from these.
    """
    for index, name in enumerate(engine.attributes):
        rows = (edits.attribute == index).nonzero()[:, 0]
        if not len(rows) or not engine.has_learned_edit(name):
            continue
        some = edits.rows(rows[:: math.ceil(len(rows) / TRANSFER_EDITS)])
        source, reference, truth = (codes[k] for k in (some.source, some.references[:, 0], some.edited))
        spec = engine.bundle.attributes[index]
        trials = [with_spec(engine, replace(spec, transfer_weight=share)) for share in TRANSFER_WEIGHTS]
        errors = [F.mse_loss(trial.edit_by_reference(source, reference, name), truth).item() for trial in trials]
        engine = trials[errors.index(min(errors))]
    return engine


def soft_labels(engine: Engine, networks: Sequence[AttributeNetwork], codes: Tensor, labels: Tensor) -> Tensor:
    """Probabilities (M, K) between the labels of codes, where known, and what is predicted of the images of codes.

    A classifier that guides edits must know how codes are rendered, not only what images they come from.
    """
    predicted = torch.cat([_logits(engine, networks, part).sigmoid().mean(dim=0) for part in codes.split(BATCH)])
    return torch.where(labels.isnan(), predicted, predicted.lerp(labels, LABEL_WEIGHT))


def calibrate(engine: Engine, network: AttributeNetwork, codes: Tensor) -> list[AttributeSpec]:
    """For each attribute, the logits at which edits show: by preserving direction, by transformer, by reference.

    `network` predicts whether they show. The judge that evaluates the model has no part in this.
    """
    some = codes[:: max(1, len(codes) // CODES)]
    references = some.roll(1, dims=0)
    before = _predict(engine, network, some)
    of_reference = before.roll(1, dims=0)
    specs = []
    for index, spec in enumerate(engine.bundle.attributes):
        name = spec.name
        least = partial(_least, engine, network, index, before)
        opposite = ~before[:, index]
        by_label = partial(set_attribute, codes=some, attribute=name, wanted=opposite, strength=1.0)
        candidates = [replace(spec, target_logit=value) for value in TARGET_LOGITS]
        spec = least(candidates, opposite, partial(by_label, direction="preserving"))
        if engine.has_learned_edit(name):
            candidates = [replace(spec, learned_target_logit=value) for value in LEARNED_TARGET_LOGITS]
            spec = least(candidates, opposite, partial(by_label, direction="transformer"))
        candidates = [replace(spec, reference_target_logit=value) for value in LEARNED_TARGET_LOGITS]
        edit = partial(Engine.edit_by_reference, codes=some, references=references, attributes=name)
        specs.append(least(candidates, of_reference[:, index], edit))
    return specs


def _least(
    engine: Engine,
    network: AttributeNetwork,
    index: int,
    before: Tensor,
    candidates: Sequence[AttributeSpec],
    target: Tensor,
    edit: Callable[[Engine], Tensor],
) -> AttributeSpec:
    """The candidate after which the next is worse: by the share in which its edit shows, less its side effects."""
    lacking = before[:, index] != target
    best, chosen = -math.inf, candidates[0]
    for candidate in candidates:
        changed = _predict(engine, network, edit(with_spec(engine, candidate))) != before
        shown = changed[lacking, index].float().mean().item()
        effects = side_effects(changed.numpy(), engine.attributes[index], engine.attributes).mean()
        score = shown - SIDE_EFFECTS * float(effects)
        if score <= best:
            break
        best, chosen = score, candidate
    return chosen


def _predict(engine: Engine, network: AttributeNetwork, codes: Tensor) -> Tensor:
    """Whether each attribute shows, bool (B, K), in the images of codes."""
    return _logits(engine, [network], codes)[0] > 0


def _logits(engine: Engine, networks: Sequence[AttributeNetwork], codes: Tensor) -> Tensor:
    """Each network's logits (E, B, K) of the attributes in the images of codes."""
    generator = engine.networks.generator
    for network in (generator, *networks):
        network.to(engine.device)
    with torch.no_grad(), torch.autocast(engine.device.type, torch.bfloat16):
        images = generator(codes.to(engine.device), noise="const", resolution=RESOLUTION).clamp(-1, 1)
        return torch.stack([network(images)[:, : len(engine.attributes)] for network in networks]).float().cpu()
