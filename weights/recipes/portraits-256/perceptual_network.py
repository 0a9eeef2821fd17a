"""Networks that see labels and the renderer's parameters: to compare pictures in the trainings, and to measure edits.

The parameters, known for renders alone, make them see more than the labels name: pose, light, shape. They learn from
pictures of several sizes, so that they compare pictures of 128 px as well as of 256.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.errors import InputError
from stedit.models.attribute_network import AttributeNetwork
from stedit.records import read_records
from stedit.training.augmentation import jitter
from stedit.training.judge import varied
from stedit.training.pictures import PictureSet

PARAMETER_WEIGHT = 0.5
SMOOTHING = 0.02  # of the labels, some of which are wrong
LEAST_SIZE = 0.5  # of the pictures' side, in training


def train_eye(
    sources: Sequence[str],
    labels: Path,
    *,
    repeat: Sequence[int],
    size: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    strength: float,
    seed: int = 0,
    device: str = "cpu",
) -> AttributeNetwork:
    """Fit labels and parameters; its outputs are the K labels' logits, then the P parameters.

    Args:
        sources: folders and zip files of pictures.
        labels: JSONL with "id" (a picture's name), "attributes" {CelebA name: 0/1} and, where known, "params".
        repeat: how often the pictures of each source count.
        size: side of the pictures, in pixels.
        steps: of AdamW, with one cycle of the learning rate.
        batch_size: pictures per step.
        learning_rate: at its height.
        strength: of `jitter`.
        seed: of all that is random.
        device: what computes.

    Raises:
        InputError: a picture has no labels.
    """
    torch.manual_seed(seed)
    pictures = PictureSet.open(sources, size)
    pixels = torch.from_numpy(_read_all(pictures)).to(device)
    known, parameters = (one.to(device) for one in _targets(labels, pictures))
    weights = torch.tensor([float(repeat[member.source]) for member in pictures.members])
    count = known.shape[1]
    network = AttributeNetwork(count + parameters.shape[1]).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        index = torch.multinomial(weights, batch_size, replacement=True).to(device)
        flip = torch.rand(batch_size, device=device) < 0.5
        images = pixels[index].permute(0, 3, 1, 2).float() / 127.5 - 1
        images = jitter(torch.where(flip[:, None, None, None], images.flip(-1), images), strength)
        shown = 8 * round(size * (LEAST_SIZE + (1 - LEAST_SIZE) * torch.rand(()).item()) / 8)
        images = varied(F.interpolate(images, size=shown, mode="area"), flip=False)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            seen = network(images).float()
        wanted, told = known[index], parameters[index]
        right = wanted.nan_to_num() * (1 - SMOOTHING) + SMOOTHING / 2
        missed = F.binary_cross_entropy_with_logits(seen[:, :count], right, reduction="none")
        loss = torch.where(wanted.isnan(), 0.0, missed).sum() / (~wanted.isnan()).sum()
        # the parameters describe the picture as it was, so not where it is mirrored
        given = ~told.isnan() & ~flip[:, None]
        apart = torch.where(given, seen[:, count:] - told.nan_to_num(), 0.0).square()
        loss = loss + PARAMETER_WEIGHT * apart.sum() / given.sum().clamp_min(1)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps - 1:
            print(f"eye {seed}: step {step + 1}/{steps}, loss {loss.item():.4f}", flush=True)
    return network.cpu().eval().requires_grad_(False)


def _read_all(pictures: PictureSet) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with ThreadPoolExecutor() as threads:
        return np.stack(list(threads.map(pictures.read, range(len(pictures)))))


def _targets(path: Path, pictures: PictureSet) -> tuple[Tensor, Tensor]:
    """Labels (M, K) in the order of their names, and parameters (M, P) of pictures; NaN where unknown."""
    rows = {str(row["id"]): row for row in read_records(path)}
    names = attribute_names(path)
    width = max(len(row.get("params") or ()) for row in rows.values())
    labels, parameters = [], []
    for member in pictures.members:
        row = rows.get(PurePath(member.name).stem)
        if row is None:
            raise InputError(f"{path} does not label the picture {member.name}: give labels of all")
        labels.append([float(row["attributes"].get(name, math.nan)) for name in names])
        parameters.append(row.get("params") or [math.nan] * width)
    return torch.tensor(labels), torch.tensor(parameters)


def attribute_names(path: Path) -> list[str]:
    """The attributes that a file of labels knows, in the order in which it first names them."""
    return list(dict.fromkeys(name for row in read_records(path) for name in row["attributes"]))
