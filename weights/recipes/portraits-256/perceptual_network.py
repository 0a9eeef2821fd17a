"""Networks that predict labels and the renderer's parameters: to compare images in training, and to calibrate edits.

The parameters, known for renders alone, make their features tell more than the labels name: pose, light, shape. They
learn from images of several sizes, so that they compare images of 128 px as well as of 256.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.errors import InputError
from stedit.imaging.files import Pixels
from stedit.models.attribute_network import AttributeNetwork
from stedit.storage.jsonl import read_records
from stedit.training.data.augmentation import jitter, perturb
from stedit.training.data.images import ImageSet

PARAMETER_WEIGHT = 0.5
SMOOTHING = 0.02  # of the labels, some of which are wrong
LEAST_SIZE = 0.5  # of the images' side, in training


def train_network(
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
    """Fit labels and parameters; the outputs are the K labels' logits, then the P parameters.

    Args:
        sources: folders and zip files of images.
        labels: JSONL with "id" (an image's name), "attributes" {CelebA name: 0/1} and, where known, "params".
        repeat: how often the images of each source count.
        size: side of the images, in pixels.
        steps: of AdamW, with one cycle of the learning rate.
        batch_size: images per step.
        learning_rate: at its height.
        strength: of `jitter`.
        seed: of all that is random.
        device: what computes.

    Raises:
        InputError: an image has no labels.
    """
    torch.manual_seed(seed)
    images = ImageSet.open(sources, size)
    pixels = torch.from_numpy(_read_all(images)).to(device)
    known, parameters = (part.to(device) for part in _targets(labels, images))
    weights = torch.tensor([float(repeat[member.source]) for member in images.members])
    count = known.shape[1]
    network = AttributeNetwork(count + parameters.shape[1]).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        index = torch.multinomial(weights, batch_size, replacement=True).to(device)
        flip = torch.rand(batch_size, device=device) < 0.5
        batch = pixels[index].permute(0, 3, 1, 2).float() / 127.5 - 1
        batch = jitter(torch.where(flip[:, None, None, None], batch.flip(-1), batch), strength)
        side = 8 * round(size * (LEAST_SIZE + (1 - LEAST_SIZE) * torch.rand(()).item()) / 8)
        batch = perturb(F.interpolate(batch, size=side, mode="area"), flip=False)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            output = network(batch).float()
        target = known[index]
        smoothed = target.nan_to_num() * (1 - SMOOTHING) + SMOOTHING / 2
        error = F.binary_cross_entropy_with_logits(output[:, :count], smoothed, reduction="none")
        loss = torch.where(target.isnan(), 0.0, error).sum() / (~target.isnan()).sum()
        # the parameters describe the image as it was, so not where it is mirrored
        usable = ~parameters[index].isnan() & ~flip[:, None]
        error = torch.where(usable, output[:, count:] - parameters[index].nan_to_num(), 0.0).square()
        loss = loss + PARAMETER_WEIGHT * error.sum() / usable.sum().clamp_min(1)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps - 1:
            print(f"perceptual network {seed}: step {step + 1}/{steps}, loss {loss.item():.4f}", flush=True)
    return network.cpu().eval().requires_grad_(False)


def attribute_names(path: Path) -> list[str]:
    """The attributes of a file of labels, in the order in which it first names them."""
    return list(dict.fromkeys(name for row in read_records(path) for name in row["attributes"]))


def _read_all(images: ImageSet) -> Pixels:
    """uint8 (M, H, W, 3)."""
    with ThreadPoolExecutor() as threads:
        return np.stack([pixels for _, pixels in threads.map(images.read, range(len(images)))])


def _targets(path: Path, images: ImageSet) -> tuple[Tensor, Tensor]:
    """Labels (M, K) in the order of their names, and parameters (M, P) of images; NaN where unknown."""
    rows = {str(row["id"]): row for row in read_records(path)}
    names = attribute_names(path)
    width = max(len(row.get("params") or ()) for row in rows.values())
    labels, parameters = [], []
    for member in images.members:
        row = rows.get(member.image.id)
        if row is None:
            raise InputError(f"{path} does not label the image {member.image.name}: give labels of all")
        labels.append([float(row["attributes"].get(name, math.nan)) for name in names])
        parameters.append(row.get("params") or [math.nan] * width)
    return torch.tensor(labels), torch.tensor(parameters)
