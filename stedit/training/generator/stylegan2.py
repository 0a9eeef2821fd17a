"""`stedit train generator`: StyleGAN2 (Karras et al. 2020), on any images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from stedit.imaging.files import Pixels
from stedit.imaging.sheets import sheet
from stedit.models.discriminator import Discriminator
from stedit.models.generator import Generator
from stedit.runtime.arrays import to_array
from stedit.runtime.model import Model
from stedit.storage.bundle import Bundle
from stedit.training.data.augmentation import jitter, random_flip
from stedit.training.data.images import ImageBatches, ImageSet
from stedit.training.ema import ema_decay, update_ema
from stedit.training.generator.adversarial import PathLength, generator_loss, path_lengths
from stedit.training.generator.config import GeneratorTrainingConfig
from stedit.training.generator.discriminator import DiscriminatorTrainer, frozen, lazy_adam
from stedit.training.provenance import provenance, started_from, training_card
from stedit.training.run import Run

SAMPLED = 16  # images of a sheet
PATH_LENGTH_SHARE = 2  # of the batch, one part in so many: its gradients take twice the memory


def build(config: GeneratorTrainingConfig) -> StyleGan2Task:
    """The task of a config.

    Raises:
        InputError: the images cannot be opened.
        UsageError: keys do not fit the sizes of the model to start from.
        BundleError: that model cannot be used.
    """
    if not config.init_from:
        return StyleGan2Task(config)
    model = Model.from_pretrained(config.init_from, device="cpu")
    start = model.networks.generator.train().requires_grad_(True)
    return StyleGan2Task(config.with_sizes(start.config), start, model.bundle.space)


class StyleGan2Task:
    """The task: generator and discriminator against each other."""

    def __init__(self, config: GeneratorTrainingConfig, start: Generator | None = None, space: str = "") -> None:
        """`start` is a generator to train on, if there is one, and `space` that of its latent codes."""
        self.config, self._space = config, space
        self.data = ImageSet.open(config.data, config.resolution, cache=config.cache_images).repeated(config.repeat)
        self._batches = ImageBatches(self.data)
        self.generator = start or Generator(config.generator_config())
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.scalars: dict[str, float] = {}
        network = Discriminator(config.discriminator_channels or config.generator_config().channels)
        self.discriminator = DiscriminatorTrainer(config, self.scalars, config.learning_rate, network)
        self._path_length = PathLength()
        factor = config.path_length_interval / (config.path_length_interval + 1) if config.path_length_weight else 1.0
        self.networks: Mapping[str, nn.Module] = {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.discriminator.network,
            "path_length": self._path_length,
        }
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "generator": lazy_adam(self.generator, config.learning_rate, factor),
            "discriminator": self.discriminator.optimizer,
        }

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One step of each network."""
        _, real = self._batches.take(run)
        real = jitter(random_flip(real) if self.config.flip else real, self.config.jitter)
        with frozen(self.discriminator.network), run.autocast():
            loss = generator_loss(
                self.discriminator(self.generator(self._codes(run, run.share), noise="random").float())
            )
        run.update(self.optimizers["generator"], loss)
        losses = {"generator": loss}
        if self.config.path_length_weight and run.step % self.config.path_length_interval == 0:
            losses |= self._regularise(run)
        with torch.no_grad(), run.autocast():
            fake = self.generator(self._codes(run, run.share), noise="random").float()
        losses |= self.discriminator.step(run, real, fake)
        update_ema(self.average, self.generator, ema_decay(self.config.batch_size, self.config.ema_images))
        return losses

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Nothing is held out."""
        self.data.log_unreadable(run)
        return {}

    def sample(self) -> Pixels | None:
        """Images of the averaged generator, of the same codes every time."""
        return codes_sheet(self.average)

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """A bundle of the averaged generator. Raises OutputError."""
        self.average.mapping.mean.copy_(self.average.mapping.estimate_mean())
        return Bundle.save(
            path,
            name=self.config.name,
            domain=self.config.domain,
            license=self.config.license,
            alignment=self.config.alignment,
            description=f"A StyleGAN2 generator for images of {self.config.resolution} px.",
            parts={"generator": (self.average.config, self.average.state_dict())},
            training=provenance(self.config, images=len(self.data), **started_from(self.config.init_from)),
            derived_from=self._space,
            readme=training_card(
                self.config, self.config.name, self.config.license, len(self.data), self.config.domain
            ),
            overwrite=overwrite,
        )

    def _codes(self, run: Run, count: int) -> Tensor:
        """(count, N, D) of random z; all of a batch are mixed at the same style, if they are mixed at all."""
        z = torch.randn(2, count, self.config.style_dim, device=run.device)
        if torch.rand(()).item() >= self.config.style_mixing_prob:
            return self.generator.style_mix([z[0]])
        crossover = int(torch.randint(1, self.generator.config.style_count, ()).item())
        return self.generator.style_mix([z[0], z[1]], crossover)

    def _regularise(self, run: Run) -> dict[str, Tensor]:
        """Path length, in float32 because its gradient is differentiated again."""
        with run.autocast(enabled=False):
            codes = self._codes(run, max(1, run.share // PATH_LENGTH_SHARE))
            lengths = path_lengths(self.generator(codes, noise="random"), codes)
            penalty = self._path_length(lengths)
        run.update(
            self.optimizers["generator"], self.config.path_length_weight * self.config.path_length_interval * penalty
        )
        return {"path_length": penalty}


def codes_sheet(generator: Generator) -> Pixels:
    """16 images of random z, sampled from torch's global state; uint8 (H, W, 3)."""
    device = generator.constant.device
    images = generator(generator.mapping(torch.randn(SAMPLED, generator.config.z_width, device=device)))
    pixels = to_array(images.float())
    return sheet([list(pixels[row : row + 4]) for row in range(0, SAMPLED, 4)])
