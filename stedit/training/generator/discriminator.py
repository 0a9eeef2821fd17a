"""A discriminator and what trains it, for every training of a generator that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stedit.training.generator.ada import ADJUST_EVERY, adjusted, augment
from stedit.training.generator.adversarial import discriminator_loss, squared_gradient
from stedit.training.generator.config import DiscriminatorConfig
from stedit.training.run import Run

BETAS = (0.0, 0.99)


class DiscriminatorTrainer:
    """A discriminator and what trains it: logistic loss, lazy R1, adaptive augmentation.

    `scalars` of the task hold the augmentation: "p", and since its last adjustment the sum "signs" of r_t.
    """

    def __init__(
        self,
        config: DiscriminatorConfig,
        scalars: dict[str, float],
        learning_rate: float,
        network: nn.Module,
    ) -> None:
        """`network` gives logits (B, …) of images, or of images and codes."""
        self.config = config
        self.network = network
        factor = config.r1_interval / (config.r1_interval + 1) if config.r1_gamma else 1.0
        self.optimizer = lazy_adam(self.network, learning_rate, factor)
        self.scalars = scalars
        scalars |= {"p": 0.0, "signs": 0.0}

    def __call__(self, images: Tensor, codes: Tensor | None = None) -> Tensor:
        """Logits (B, …) of images, augmented, and of their codes if the network asks for them."""
        return self._logits(augment(images, self.scalars["p"]), codes).float()

    def step(self, run: Run, real: Tensor, fake: Tensor, codes: Tensor | None = None) -> dict[str, Tensor]:
        """Learn to distinguish `real` (B, 3, R, R) from `fake`, both without gradients.

        With `codes` (B, N, D), it also learns to reject real images with the codes of others in the batch.
        """
        with run.autocast():
            logits = self(real, codes)
            mismatched = self(real, codes.roll(1, dims=0)) if codes is not None and len(codes) > 1 else None
            loss = discriminator_loss(logits, self(fake, codes), mismatched)
        run.update(self.optimizer, loss)
        losses = {"discriminator": loss, "real": torch.sigmoid(logits).mean()}
        if self.config.r1_gamma and run.step % self.config.r1_interval == 0:
            with run.autocast(enabled=False):
                images = augment(real, self.scalars["p"]).float().requires_grad_(True)
                penalty = squared_gradient(self._logits(images, codes), images)
            run.update(self.optimizer, self.config.r1_gamma / 2 * self.config.r1_interval * penalty)
            losses["r1"] = penalty
        if self.config.augmentation == "adaptive":
            self._adjust(run, logits)
            losses["augmentation"] = torch.tensor(self.scalars["p"], device=run.device)
        return losses

    def _logits(self, images: Tensor, codes: Tensor | None) -> Tensor:
        logits: Tensor = self.network(images) if codes is None else self.network(images, codes)
        return logits

    def _adjust(self, run: Run, logits: Tensor) -> None:
        self.scalars["signs"] += run.mean(logits.detach().sign().mean()).item()
        if (run.step + 1) % ADJUST_EVERY == 0:
            self.scalars["p"] = adjusted(
                self.scalars["p"],
                self.scalars["signs"] / ADJUST_EVERY,
                target=self.config.ada_target,
                images=ADJUST_EVERY * self.config.batch_size,
                speed=self.config.ada_images,
            )
            self.scalars["signs"] = 0.0


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network, not into it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def lazy_adam(network: nn.Module, learning_rate: float, factor: float) -> torch.optim.Adam:
    """Adam as lazy regularisation needs it (Karras et al. 2020, appendix B): `factor` is k / (k + 1)."""
    betas = (BETAS[0] ** factor, BETAS[1] ** factor)
    return torch.optim.Adam(network.parameters(), lr=learning_rate * factor, betas=betas, eps=1e-8)
