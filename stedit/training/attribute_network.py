"""Training of the network that sees attributes in pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.models.attribute_network import AttributeNetwork
from stedit.training.data import LabelledPictures


def train_attribute_network(
    data: LabelledPictures, *, steps: int = 600, batch_size: int = 64, learning_rate: float = 2e-3, seed: int = 0
) -> AttributeNetwork:
    """Fit labels and parameters; targets are the K labels' logits, then the P parameters.

    Pictures come flipped, softened, shifted, brighter and noisier at random, so that the network reads
    reconstructions as well as originals.
    """
    torch.manual_seed(seed)
    labels, parameters = data.labels.shape[1], data.parameters.shape[1]
    network = AttributeNetwork(labels + parameters)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        index = torch.randint(len(data.pixels), (batch_size,))
        flip = torch.rand(batch_size) < 0.5
        images = _augment(data.images(index), flip)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = network(images).float()
        wanted = torch.from_numpy(data.labels[index.numpy()]).float()
        loss = F.binary_cross_entropy_with_logits(seen[:, :labels], wanted * 0.98 + 0.01)
        if parameters:
            missed = seen[:, labels:] - torch.from_numpy(data.parameters[index.numpy()])
            loss = loss + 0.5 * (missed.square().mean(dim=1) * ~flip).mean()  # they describe the picture as it was
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def _augment(images: Tensor, flip: Tensor) -> Tensor:
    size = images.shape[-1]
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    if torch.rand(()) < 0.5:
        small = F.interpolate(images, scale_factor=1 / (1.2 + 0.8 * torch.rand(()).item()), mode="area")
        images = F.interpolate(small, size=size, mode="bilinear")
    gain, offset = 1 + 0.1 * torch.randn(len(images), 1, 1, 1), 0.05 * torch.randn(len(images), 1, 1, 1)
    images = images * gain + offset + 0.06 * torch.rand(()) * torch.randn_like(images)
    shift = torch.randint(-2, 3, (2,)).tolist()
    return torch.roll(images, shift, dims=(2, 3))
