"""`stedit train generator`: StyleGAN2 (Karras et al. 2020) on any pictures; other modes: `autoencoder`, `drawing`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stedit.bundle import Bundle
from stedit.engine import Engine
from stedit.errors import UsageError
from stedit.imaging.files import Pixels
from stedit.imaging.sheets import sheet
from stedit.models.discriminator import Discriminator
from stedit.models.generator import Generator
from stedit.training.adversarial import (
    PathLength,
    discriminator_loss,
    generator_loss,
    path_lengths,
    squared_gradient,
)
from stedit.training.augmentation import ADJUST_EVERY, adjusted, augment
from stedit.training.generator_config import GeneratorTraining
from stedit.training.pictures import Batches, PictureSet
from stedit.training.results import model_card, provenance
from stedit.training.run import Run, Task, update_average

BETAS = (0.0, 0.99)
SAMPLED = 16  # pictures of a sheet
PATH_LENGTH_SHARE = 2  # of the batch, one part in so many: its gradients take twice the memory


def build(config: GeneratorTraining) -> Task:
    """The task of a config.

    Raises:
        InputError: the pictures cannot be opened.
        UsageError: keys do not fit the sizes of the model to start from.
        MissingPartError, BundleError: that model lacks a part, or cannot be used.
    """
    device = config.device if config.mode == "codes" else "cpu"  # there the model inverts and edits
    engine = Engine.from_pretrained(config.start, device=device) if config.start else None
    if engine is not None:
        sizes = cast(Generator, engine.networks["generator"]).config
        config = replace(
            config,
            resolution=sizes.resolution,
            style_dim=sizes.style_dim,
            mapping_layers=sizes.mapping_layers,
            channels=sizes.channels,
        )
        try:
            config.check_sizes()
        except ValueError as error:
            raise UsageError(f"starting from {config.start}: {error}") from error
    if engine is not None and config.mode == "codes":
        from stedit.training import drawing

        return drawing.Drawing(config, engine)
    networks = engine.networks if engine is not None else {}
    started = {name: network.train().requires_grad_(True) for name, network in networks.items()}
    if config.mode == "joint":
        from stedit.training import autoencoder

        return autoencoder.Joint(config, started)
    return StyleGan2(config, started)


def started_from(config: GeneratorTraining) -> dict[str, str]:
    """For a model's record of its training, the name of the model that it began with, if there is one."""
    return {"start": Path(config.start).name} if config.start else {}


class Critic:
    """A discriminator and what trains it: logistic loss, lazy R1, adaptive augmentation.

    `numbers` of the task hold the augmentation: "p", and since its last adjustment the sum "signs" of r_t.
    """

    def __init__(
        self,
        config: GeneratorTraining,
        numbers: dict[str, float],
        learning_rate: float,
        network: nn.Module | None = None,
    ) -> None:
        """`network` gives logits (B, …) of pictures, or of pictures and codes; None for StyleGAN2's of the config."""
        self.config = config
        if network is None:
            network = Discriminator(config.discriminator_channels or config.generator_config().channels)
        self.network = network
        factor = config.r1_every / (config.r1_every + 1) if config.r1_weight else 1.0
        self.optimizer = _lazy_adam(self.network, learning_rate, factor)
        self.numbers = numbers
        numbers |= {"p": 0.0, "signs": 0.0}

    def __call__(self, images: Tensor, codes: Tensor | None = None) -> Tensor:
        """Logits (B, …) of pictures, augmented, and of their codes if the network asks for them."""
        return self._logits(augment(images, self.numbers["p"]), codes).float()

    def step(self, run: Run, real: Tensor, fake: Tensor, codes: Tensor | None = None) -> dict[str, Tensor]:
        """Learn to tell `real` (B, 3, R, R) from `fake`, both without gradients.

        If it is given their codes, it also learns to tell them from those of others in the batch.
        """
        with run.autocast():
            seen = self(real, codes)
            mismatched = self(real, codes.roll(1, dims=0)) if codes is not None and len(codes) > 1 else None
            loss = discriminator_loss(seen, self(fake, codes), mismatched)
        run.update(self.optimizer, loss)
        losses = {"discriminator": loss, "real": torch.sigmoid(seen).mean()}
        if self.config.r1_weight and run.step % self.config.r1_every == 0:
            with run.autocast(enabled=False):
                images = augment(real, self.numbers["p"]).float().requires_grad_(True)
                penalty = squared_gradient(self._logits(images, codes), images)
            run.update(self.optimizer, self.config.r1_weight / 2 * self.config.r1_every * penalty)
            losses["r1"] = penalty
        if self.config.augmentation == "adaptive":
            self._adjust(run, seen)
            losses["augmentation"] = torch.tensor(self.numbers["p"], device=run.device)
        return losses

    def _logits(self, images: Tensor, codes: Tensor | None) -> Tensor:
        logits: Tensor = self.network(images) if codes is None else self.network(images, codes)
        return logits

    def _adjust(self, run: Run, seen: Tensor) -> None:
        self.numbers["signs"] += run.mean(seen.detach().sign().mean()).item()
        if (run.step + 1) % ADJUST_EVERY == 0:
            self.numbers["p"] = adjusted(
                self.numbers["p"],
                self.numbers["signs"] / ADJUST_EVERY,
                target=self.config.augmentation_target,
                images=ADJUST_EVERY * self.config.batch_size,
                speed=self.config.augmentation_images,
            )
            self.numbers["signs"] = 0.0


class StyleGan2:
    """The task: generator and discriminator against each other."""

    kind = "generator"

    def __init__(self, config: GeneratorTraining, started: Mapping[str, Any]) -> None:
        """`started` are networks to train on, if there are any."""
        self.config = config
        self.pictures = PictureSet.open(config.data, config.resolution)
        self._batches = Batches(self.pictures)
        self.generator: Generator = started.get("generator") or Generator(config.generator_config())
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.numbers: dict[str, float] = {}
        self.critic = Critic(config, self.numbers, config.learning_rate)
        self._path_length = PathLength()
        factor = config.path_length_every / (config.path_length_every + 1) if config.path_length_weight else 1.0
        self.networks: Mapping[str, nn.Module] = {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.critic.network,
            "path_length": self._path_length,
        }
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "generator": _lazy_adam(self.generator, config.learning_rate, factor),
            "discriminator": self.critic.optimizer,
        }

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One step of each network."""
        real = self._batches.take(run)
        if self.config.flip:
            real = flipped(real)
        with frozen(self.critic.network), run.autocast():
            loss = generator_loss(self.critic(self.generator(self._codes(run, run.share), noise="random").float()))
        run.update(self.optimizers["generator"], loss)
        losses = {"generator": loss}
        if self.config.path_length_weight and run.step % self.config.path_length_every == 0:
            losses |= self._regularise(run)
        with torch.no_grad(), run.autocast():
            fake = self.generator(self._codes(run, run.share), noise="random").float()
        losses |= self.critic.step(run, real, fake)
        update_average(self.average, self.generator, 0.5 ** (self.config.batch_size / self.config.average_images))
        return losses

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Nothing is held out."""
        tell_bad(run, self.pictures)
        return {}

    def sample(self) -> Pixels | None:
        """Pictures of the averaged generator, of the same codes every time."""
        return codes_sheet(self.average)

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """A bundle of the averaged generator. Raises OutputError."""
        self.average.mapping.mean.copy_(self.average.mapping.estimate_mean())
        return Bundle.save(
            path,
            name=self.config.name,
            domain=self.config.domain,
            license=self.config.license,
            description=f"A StyleGAN2 generator for pictures of {self.config.resolution} px.",
            parts={"generator": (self.average.config, self.average.state_dict())},
            training=provenance(self.kind, self.config, pictures=len(self.pictures), **started_from(self.config)),
            readme=model_card(
                self.config.name,
                self.config.domain,
                self.config.license,
                {"trained on": f"{len(self.pictures)} pictures", "steps": str(self.config.steps)},
            ),
            overwrite=overwrite,
        )

    def _codes(self, run: Run, count: int) -> Tensor:
        """(count, N, D) of random z; all of a batch are mixed at the same style, if they are mixed at all."""
        z = torch.randn(2, count, self.config.style_dim, device=run.device)
        if torch.rand(()).item() >= self.config.style_mixing:
            return self.generator.mix([z[0]])
        crossover = int(torch.randint(1, self.generator.config.style_count, ()).item())
        return self.generator.mix([z[0], z[1]], crossover)

    def _regularise(self, run: Run) -> dict[str, Tensor]:
        """Path length, in float32 because its gradient is differentiated again."""
        with run.autocast(enabled=False):
            codes = self._codes(run, max(1, run.share // PATH_LENGTH_SHARE))
            lengths = path_lengths(self.generator(codes, noise="random"), codes)
            penalty = self._path_length(lengths)
        run.update(
            self.optimizers["generator"], self.config.path_length_weight * self.config.path_length_every * penalty
        )
        return {"path_length": penalty}


def flipped(images: Tensor) -> Tensor:
    """Each picture (B, 3, H, W) mirrored with probability 1/2."""
    chosen = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network, not into it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def codes_sheet(generator: Generator) -> Pixels:
    """16 pictures of random z, drawn from torch's global state; uint8 (H, W, 3)."""
    device = generator.constant.device
    images = generator(generator.mapping(torch.randn(SAMPLED, generator.config.style_dim, device=device)))
    pixels = to_pixels(images)
    return sheet([pixels[row : row + 4] for row in range(0, SAMPLED, 4)])


def to_pixels(images: Tensor) -> list[Pixels]:
    """(B, 3, H, W) in [-1, 1] -> B times uint8 (H, W, 3)."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return list(np.ascontiguousarray(scaled.permute(0, 2, 3, 1).cpu().numpy()))


def tell_bad(run: Run, pictures: PictureSet) -> None:
    """Say how many files could not be read so far."""
    if pictures.bad:
        run.say(f"{len(pictures.bad)} of {len(pictures)} pictures cannot be read, such as {min(pictures.bad)}")


def _lazy_adam(network: nn.Module, learning_rate: float, factor: float) -> torch.optim.Adam:
    """Adam as lazy regularisation needs it (Karras et al. 2020, appendix B): `factor` is k / (k + 1)."""
    betas = (BETAS[0] ** factor, BETAS[1] ** factor)
    return torch.optim.Adam(network.parameters(), lr=learning_rate * factor, betas=betas, eps=1e-8)
