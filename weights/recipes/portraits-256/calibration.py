"""What is set by looking: how edits by reference come nearest to true ones, what is seen of codes, how far edits go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit import Engine
from stedit.bundle import AttributeSpec
from stedit.metrics.editing import edit_towards, side_effects
from stedit.models.attribute_network import AttributeNetwork
from stedit.models.generator import Generator
from stedit.training.editor import TrueEdits

SURE_CANDIDATES = (2.0, 3.5, 5.5, 8.0, 12.0, 18.0)  # logits
LEARNED_CANDIDATES = (0.0, 3.0, 5.0, 7.0, 9.0, 12.0)  # of edits that the editor makes
CODES = 192  # edited to find out; with 32, what one stubborn code asks for decided
CARRIED_CANDIDATES = (0.0, 0.25, 0.5, 0.75, 1.0)
CARRIED_EDITS = 400  # of an attribute, at most, made to find out
TOLD = 1 / 3  # how much of what is said of a code is its label; the rest is what eyes see in the picture drawn of it
READ_AT_ONCE = 64  # codes
SEEN_AT = 128  # px: attributes show at that size, which takes half the time
SHOWN = 0.97  # share of pictures in which an edit shall show


def carry(engine: Engine, codes: Tensor, edits: TrueEdits) -> Engine:
    """The engine that carries over as much of a reference's own trait as brings edits nearest to true ones.

    codes: (M, N, D), to which the true `edits` refer; the editor must not have learned from these.
    """
    for index, name in enumerate(engine.attributes):
        rows = (edits.attribute == index).nonzero()[:, 0]
        if not len(rows) or not engine.has_learned(name):
            continue
        some = edits.rows(rows[:: math.ceil(len(rows) / CARRIED_EDITS)])
        source, reference, truth = (codes[k] for k in (some.source, some.references[:, 0], some.edited))
        spec = engine.bundle.attributes[index]
        trials = [_with_spec(engine, replace(spec, carried=share)) for share in CARRIED_CANDIDATES]
        missed = [F.mse_loss(trial.edit_by_reference(source, reference, name), truth).item() for trial in trials]
        engine = trials[missed.index(min(missed))]
    return engine


def soften(engine: Engine, eyes: Sequence[AttributeNetwork], codes: Tensor, labels: Tensor) -> Tensor:
    """Probabilities (M, K) between the labels of codes, where known, and what eyes see in the pictures that are drawn of them.

    A classifier of codes that is to tell how an edit will look must know how they are drawn, not only what they are of.
    """
    seen = [_read(engine, eyes, some).sigmoid().mean(dim=0) for some in codes.split(READ_AT_ONCE)]
    predicted = torch.cat(seen)
    return torch.where(labels.isnan(), predicted, predicted.lerp(labels, TOLD))


def calibrate(engine: Engine, eye: AttributeNetwork, codes: Tensor) -> list[AttributeSpec]:
    """For each attribute, how far edits must go until they show: along preserving directions, as learned, by reference.

    The judge that measures the model has no part in this.
    """
    some = codes[:: max(1, len(codes) // CODES)]
    references = some.roll(1, dims=0)
    before = _see(engine, eye, some)
    reference = before.roll(1, dims=0)
    specs = []
    for index, spec in enumerate(engine.bundle.attributes):
        name = spec.name
        least = partial(_least, engine, eye, index, before)
        wanted = ~before[:, index]
        by_label = partial(edit_towards, codes=some, attribute=name, wanted=wanted, strength=1.0)
        candidates = [replace(spec, sure=value) for value in SURE_CANDIDATES]
        spec = least(candidates, wanted, partial(by_label, direction="preserving"))
        if engine.has_learned(name):
            candidates = [replace(spec, learned_sure=value) for value in LEARNED_CANDIDATES]
            spec = least(candidates, wanted, partial(by_label, direction="learned"))
        candidates = [replace(spec, reference_sure=value) for value in LEARNED_CANDIDATES]
        edit = partial(Engine.edit_by_reference, codes=some, references=references, attributes=name)
        specs.append(least(candidates, reference[:, index], edit))
    return specs


def _least(
    engine: Engine,
    eye: AttributeNetwork,
    index: int,
    before: Tensor,
    candidates: Sequence[AttributeSpec],
    wanted: Tensor,
    edit: Callable[[Engine], Tensor],
) -> AttributeSpec:
    """The first candidate with which the edit of an attribute shows in SHOWN of the pictures that lack what is wanted.

    Where it never does, the one with the greatest share in which it shows, less that of unrelated attributes which are
    seen to change.
    """
    lacking = before[:, index] != wanted
    best = (-1.0, candidates[0])
    for candidate in candidates:
        changed = _see(engine, eye, edit(_with_spec(engine, candidate))) != before
        shown = changed[lacking, index].float().mean().item()
        if shown >= SHOWN:
            return candidate
        best = max(
            best,
            (shown - side_effects(changed.numpy(), engine.attributes[index], engine.attributes).mean(), candidate),
            key=lambda pair: pair[0],
        )
    return best[1]


def _with_spec(engine: Engine, spec: AttributeSpec) -> Engine:
    """The same, which knows something else of an attribute."""
    named = tuple(spec if item.name == spec.name else item for item in engine.bundle.attributes)
    return replace(engine, bundle=replace(engine.bundle, attributes=named))


def _see(engine: Engine, eye: AttributeNetwork, codes: Tensor) -> Tensor:
    """Which attributes (B, K) the eye sees in the pictures of codes."""
    return _read(engine, [eye], codes)[0] > 0


def _read(engine: Engine, eyes: Sequence[AttributeNetwork], codes: Tensor) -> Tensor:
    """Each eye's logits (E, B, K) of the attributes in the pictures of codes."""
    generator = cast(Generator, engine.networks["generator"])
    for network in (generator, *eyes):
        network.to(engine.device)
    with torch.no_grad(), torch.autocast(engine.device.type, torch.bfloat16):
        rendered = generator(codes.to(engine.device), noise="const", resolution=SEEN_AT).clamp(-1, 1)
        return torch.stack([eye(rendered)[:, : len(engine.attributes)] for eye in eyes]).float().cpu()
