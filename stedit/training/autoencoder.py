"""Joint training of encoder and generator as an autoencoder: image -> W+ -> image, for those without a GPU.

Beside reconstruction, two things shape the latent space while it forms: noise on the codes, so that it has no holes,
with labels and parameters predicted from the noisy codes, so that they can be read off it; and some codes are replaced
by the mean of their styles, so that one w for all layers (the space W) is meaningful too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.generator import Generator
from stedit.models.style_transformer import StyleTransformer
from stedit.training.data import LabelledPictures
from stedit.training.losses import FeatureLoss, multiscale_l1


@dataclass(frozen=True)
class AutoencoderOptions:
    """One phase of training; the defaults are those of the embedded model's first phase."""

    steps: int = 1000
    batch_size: int = 16
    resolution: int = 64  # of the pictures compared: growing it saves time
    learning_rate: float = 1e-3
    decay: bool = False  # cosine, to zero at the end of the phase
    noise: float = 0.15  # mean standard deviation of the noise on codes
    collapse: float = 0.2  # share of codes replaced by the mean of their styles
    supervision: float = 0.15  # weight of labels and parameters predicted from the codes
    features: float = 1.0  # weight of the perceptual loss, if there is a network for it
    seed: int = 0


class Autoencoder(nn.Module):
    """All that is trained together: encoder, generator, and linear readings of labels and parameters from codes."""

    def __init__(self, encoder: StyleTransformer, generator: Generator, *, labels: int, parameters: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator
        self.label_reading = nn.Linear(encoder.config.style_count * encoder.config.style_dim, labels)
        self.parameter_reading = nn.Linear(encoder.config.style_dim, parameters)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) of any size -> (B, N, D)."""
        size = (self.encoder.config.input_height, self.encoder.config.input_width)
        codes: Tensor = self.encoder(F.adaptive_avg_pool2d(images, size))
        return codes.float()


def train_autoencoder(
    model: Autoencoder,
    average: Autoencoder,
    data: LabelledPictures,
    options: AutoencoderOptions,
    *,
    features: FeatureLoss | None = None,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> None:
    """Run one phase.

    Args:
        model: trained in place.
        average: moving average of it (Karras et al. 2018), updated in place; this is what ships.
        data: pictures, labels, parameters.
        options: of this phase.
        features: perceptual loss.
        report: called with the step and its losses.

    Raises:
        FloatingPointError: the loss is no longer a number; continue from the last state at a lower learning rate.
    """
    torch.manual_seed(options.seed)
    for layer in (layer for block in model.generator.blocks for layer in block.layers):  # type: ignore[union-attr]
        layer.noise_strength.requires_grad_(False)  # an autoencoder has no use for noise
    optimizer = _optimizer(model, options.learning_rate)
    base = [group["lr"] for group in optimizer.param_groups]
    batches = _batches(len(data.pixels), options.batch_size)
    for step in range(options.steps):
        factor = min(1.0, (step + 1) / 100)
        if options.decay:
            factor *= 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / options.steps)).item())
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * factor
        losses = _losses(model, data, next(batches), options, features)
        total = losses["total"]
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {step}: lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        _update_average(average, model, decay=min(0.999, (1 + step) / (10 + step)))
        if report is not None:
            report(step, {name: loss.item() for name, loss in losses.items()})


def moving_average_of(model: Autoencoder) -> Autoencoder:
    """A copy to hold the moving average, in evaluation mode."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def _optimizer(model: Autoencoder, learning_rate: float) -> torch.optim.Optimizer:
    """Equalised layers hold weights of about 1 and take ten times the rate; attention and readings take half of it."""
    encoder = model.encoder
    attention = nn.ModuleList(
        [encoder.coarse, encoder.medium, encoder.fine, model.label_reading, model.parameter_reading]
    )
    slow = {id(parameter) for parameter in attention.parameters()}
    fast = {id(parameter) for parameter in model.generator.parameters()}
    groups: dict[float, list[nn.Parameter]] = {10.0: [], 1.0: [], 0.5: []}
    for parameter in model.parameters():
        groups[0.5 if id(parameter) in slow else 10.0 if id(parameter) in fast else 1.0].append(parameter)
    return torch.optim.Adam(
        [{"params": group, "lr": learning_rate * scale} for scale, group in groups.items()], betas=(0.9, 0.99)
    )


def _batches(count: int, size: int) -> Iterator[Tensor]:
    """Endless batches of picture indices, each epoch in a new order."""
    while True:
        yield from torch.split(torch.randperm(count), size)


def _losses(
    model: Autoencoder,
    data: LabelledPictures,
    index: Tensor,
    options: AutoencoderOptions,
    features: FeatureLoss | None,
) -> dict[str, Tensor]:
    count = len(index)
    flip = torch.rand(count) < 0.5
    images = data.images(index)
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    labels = torch.from_numpy(data.labels[index.numpy()]).float()
    parameters = torch.from_numpy(data.parameters[index.numpy()])
    losses = {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = model.encode(images)
        noisy = codes + 2 * options.noise * torch.rand(count, 1, 1) * torch.randn_like(codes)
        losses["labels"] = F.binary_cross_entropy_with_logits(model.label_reading(noisy.flatten(1)).float(), labels)
        missed = (model.parameter_reading(noisy.mean(dim=1)).float() - parameters).square().mean(dim=1)
        losses["parameters"] = (missed * ~flip).mean()  # they describe the picture as it was
        collapsed = torch.rand(count, 1, 1) < options.collapse
        rendered = torch.where(collapsed, noisy.mean(dim=1, keepdim=True), noisy)
        output = model.generator(rendered, noise="none", resolution=options.resolution).float()
        target = F.adaptive_avg_pool2d(images, options.resolution)
        losses["image"] = multiscale_l1(output, target)
        if features is not None:
            losses["features"] = features(output, target)
    weights = {
        "image": 1.0,
        "labels": options.supervision,
        "parameters": options.supervision,
        "features": options.features,
    }
    losses["total"] = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
    return losses


@torch.no_grad()
def _update_average(average: Autoencoder, model: Autoencoder, decay: float) -> None:
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for statistic, now in zip(average.buffers(), model.buffers(), strict=True):
        statistic.copy_(now)
