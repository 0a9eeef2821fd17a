"""`stedit train autoencoder`: encoder and generator together, image -> W+ -> image, for those without a GPU.

Beside reconstruction, these shape the latent space while it forms. Noise on the codes leaves no holes in it. Labels
and parameters, where there are any, are predicted from the noisy codes. Some codes are replaced by the mean of their
styles, so that one w for all layers (the space W) is meaningful too. An adversarial loss, if there is one, sharpens
the images, and trains the mapping network on codes of its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.errors import InputError, MissingPartError
from stedit.imaging.files import Pixels
from stedit.inversion.encoder import encode
from stedit.models.discriminator import Discriminator
from stedit.models.generator import Generator
from stedit.models.style_transformer import StyleTransformer
from stedit.runtime.model import Model
from stedit.storage.bundle import Bundle
from stedit.storage.jsonl import read_records
from stedit.training.data.augmentation import jitter
from stedit.training.data.images import ImageBatches, ImageSet
from stedit.training.ema import ema_decay, update_ema
from stedit.training.generator.adversarial import generator_loss
from stedit.training.generator.config import AutoencoderTrainingConfig
from stedit.training.generator.discriminator import DiscriminatorTrainer, frozen
from stedit.training.generator.reconstruction import measure, reconstruction_sheet
from stedit.training.losses import multiscale_l1, weighted_sum
from stedit.training.perceptual import choose_perceptual
from stedit.training.provenance import provenance, started_from, training_card
from stedit.training.run import Run

CLIP = 5.0  # of the gradient's norm
EQUALISED_RATE = 10.0  # times the learning rate, for equalised layers, whose weights are about 1
SLOW_RATE = 0.5  # the same for attention and the heads
DISCRIMINATOR_RATE = 5.0  # and for the discriminator, equalised too
MEAN_SAMPLES = 256  # images whose codes give the mean, where the mapping network is not trained


class Autoencoder(nn.Module):
    """Encoder, generator, and linear heads that predict labels and parameters from codes."""

    def __init__(self, encoder: StyleTransformer, generator: Generator, *, labels: int, parameters: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator
        count, width = encoder.config.style_count, encoder.config.style_dim
        self.label_head = nn.Linear(count * width, labels) if labels else nn.Identity()
        self.parameter_head = nn.Linear(width, parameters) if parameters else nn.Identity()

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) of any size -> (B, N, D)."""
        size = (self.encoder.config.input_height, self.encoder.config.input_width)
        return encode(self.encoder, self.generator, F.adaptive_avg_pool2d(images, size)).float()

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, 3, R, R) -> the reconstructions, of the same shape."""
        output: Tensor = self.generator(self.encode(images), noise="none")
        return output


@dataclass(frozen=True)
class Targets:
    """Labels and parameters of images; NaN where unknown."""

    labels: Tensor  # (M, K) in {0, 1}
    parameters: Tensor  # (M, P), each about N(0, 1)

    @classmethod
    def read(cls, path: str, names: Sequence[str]) -> Targets:
        """Of examples by their ids: records with "id", "attributes" and "params". Raises InputError."""
        if not path:
            return cls(torch.zeros(len(names), 0), torch.zeros(len(names), 0))
        rows = {str(row.get("id")): row for row in read_records(Path(path))}
        attributes = sorted({name for row in rows.values() for name in row.get("attributes", {})})
        width = max((len(row.get("params", ())) for row in rows.values()), default=0)
        found = [rows.get(name, {}) for name in names]
        if not any(found):
            raise InputError(f"{path} names none of the images: its id is an image's name without its ending")
        unknown = [math.nan] * width
        try:
            labels = [[_number(row.get("attributes", {}).get(name)) for name in attributes] for row in found]
            return cls(torch.tensor(labels), torch.tensor([row.get("params") or unknown for row in found]))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path} holds labels or parameters that are not numbers ({error}): correct it") from error


def build(config: AutoencoderTrainingConfig) -> AutoencoderTask:
    """The task of a config.

    Raises:
        InputError: the images cannot be opened.
        UsageError: keys do not fit the sizes of the model to start from, or the perceptual loss is not there.
        MissingPartError, BundleError: that model has no style transformer, or cannot be used.
    """
    if not config.init_from:
        return AutoencoderTask(config)
    networks = Model.from_pretrained(config.init_from, device="cpu").networks
    encoder, generator = networks.encoder, networks.generator.train().requires_grad_(True)
    config = config.with_sizes(generator.config)
    if not isinstance(encoder, StyleTransformer):
        raise MissingPartError(
            f"the model {config.init_from!r} has no style transformer encoder to train on: start from another"
        )
    encoder.config = replace(encoder.config, corrections=0)  # here it learns to encode in one pass
    return AutoencoderTask(config, encoder.train().requires_grad_(True), generator)


class AutoencoderTask:
    """The task: an autoencoder, with a discriminator if `adversarial_weight` is above 0."""

    def __init__(
        self,
        config: AutoencoderTrainingConfig,
        encoder: StyleTransformer | None = None,
        generator: Generator | None = None,
    ) -> None:
        """`encoder` and `generator` are networks to train on, if there are any."""
        self.config = config
        everything = ImageSet.open(config.data, config.resolution, cache=config.cache_images)
        self.data, self.held_out = everything.split(config.val_images)
        self.data = self.data.repeated(config.repeat)
        self.targets = Targets.read(config.labels, self.data.ids)
        self._batches = ImageBatches(self.data)
        sizes = config.generator_config()
        self.model = Autoencoder(
            encoder or StyleTransformer(config.encoder_config(sizes.style_count, sizes.style_dim)),
            generator or Generator(sizes),
            labels=self.targets.labels.shape[1],
            parameters=self.targets.parameters.shape[1],
        )
        for block in self.model.generator.blocks:
            for layer in block.layers:  # type: ignore[union-attr]
                layer.noise_strength.requires_grad_(False)  # without noise, an autoencoder reconstructs more
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.scalars: dict[str, float] = {}
        self.networks: Mapping[str, nn.Module] = {"model": self.model, "average": self.average}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {"model": _adam(self.model, config.learning_rate)}
        self.discriminator: DiscriminatorTrainer | None = None
        network: Discriminator | None = None
        if config.adversarial_weight:
            network = Discriminator(config.discriminator_channels or sizes.channels)
            rate = DISCRIMINATOR_RATE * config.learning_rate
            self.discriminator = DiscriminatorTrainer(config, self.scalars, rate, network)
            self.networks = {**self.networks, "discriminator": network}
            self.optimizers = {**self.optimizers, "discriminator": self.discriminator.optimizer}
        self.perceptual = choose_perceptual(config, judge=None, discriminator=network)
        self._logged = False

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One step of the autoencoder and, once its loss has set in, one of the discriminator."""
        self._log_once(run)
        index, images = self._batches.take(run)
        flip = torch.rand(len(images)).to(run.device) < (0.5 if self.config.flip else 0.0)
        images = jitter(torch.where(flip[:, None, None, None], images.flip(-1), images), self.config.jitter)
        adversarial = run.step >= max(self.config.adversarial_start, self.config.half_resolution_steps)
        discriminator = self.discriminator if adversarial else None
        with frozen(self.discriminator.network) if self.discriminator else nullcontext(), run.autocast():
            losses, fake = self._losses(run, images, flip, index, discriminator)
        weights = {
            "image": self.config.image_weight,
            "labels": self.config.supervision_weight,
            "parameters": self.config.supervision_weight,
            "adversarial": self.config.adversarial_weight,
        }
        if self.perceptual is not None:
            weights[self.perceptual.name] = self.config.perceptual_weight
        total = weighted_sum(losses, weights)
        run.update(self.optimizers["model"], total, clip=CLIP)
        decay = ema_decay(self.config.batch_size, self.config.ema_images, run.step)
        update_ema(self.average, self.model, decay)
        if discriminator is not None:
            losses |= discriminator.step(run, images, fake.detach())
        return losses

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Reconstruction of held-out images, if there are any."""
        self.data.log_unreadable(run)
        return measure(self.average.reconstruct, self.held_out, run) if len(self.held_out) else {}

    def sample(self) -> Pixels | None:
        """Images above their reconstructions."""
        device = self.average.generator.constant.device
        return reconstruction_sheet(self.average.reconstruct, self.held_out or self.data, device)

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """A bundle of the averaged encoder and generator. Raises OutputError."""
        encoder, generator = self.average.encoder, self.average.generator
        mean = generator.mapping.estimate_mean() if self._mapping_learns else self._mean_code()
        generator.mapping.mean.copy_(mean)
        return Bundle.save(
            path,
            name=self.config.name,
            domain=self.config.domain,
            license=self.config.license,
            alignment=self.config.alignment,
            description=f"An encoder and a generator, trained together on images of {self.config.resolution} px.",
            parts={
                "generator": (generator.config, generator.state_dict()),
                "encoder": (encoder.config, encoder.state_dict()),
            },
            training=provenance(self.config, images=len(self.data), **started_from(self.config.init_from)),
            readme=training_card(
                self.config, self.config.name, self.config.license, len(self.data), self.config.domain
            ),
            overwrite=overwrite,
        )

    @property
    def _mapping_learns(self) -> bool:
        return self.discriminator is not None and self.config.synthetic_fraction > 0

    def _log_once(self, run: Run) -> None:
        if not self._logged:
            run.log(self.perceptual.description if self.perceptual else "there is no perceptual loss")
            if not self._mapping_learns:
                run.log("the mapping network is not trained: random codes will mean nothing, codes of images will")
            self._logged = True

    def _losses(
        self, run: Run, images: Tensor, flip: Tensor, index: Tensor, discriminator: DiscriminatorTrainer | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Each loss without its weight, and the fakes for the discriminator."""
        config, model, count = self.config, self.model, len(images)
        codes = model.encode(images)
        strength = 2 * config.code_noise * torch.rand(count, 1, 1, device=run.device)
        noisy = codes + strength * torch.randn_like(codes)
        losses = self._supervision(noisy, flip, index)
        collapsed = torch.rand(count, 1, 1, device=run.device) < config.w_collapse_prob
        rendered = torch.where(collapsed, noisy.mean(dim=1, keepdim=True), noisy)
        resolution = config.resolution // (2 if run.step < config.half_resolution_steps else 1)
        output = model.generator(rendered, noise="none", resolution=resolution).float()
        target = F.adaptive_avg_pool2d(images, resolution)
        losses["image"] = multiscale_l1(output, target)
        if self.perceptual is not None and (self.perceptual.name != "discriminator" or resolution == config.resolution):
            self.perceptual.network.to(run.device)
            losses[self.perceptual.name] = self.perceptual.distance(output, target)
        fake = output
        if discriminator is not None:
            random = round(config.synthetic_fraction * count)
            if random:
                z = torch.randn(random, config.style_dim, device=run.device)
                fake = torch.cat(
                    [output[random:], model.generator(model.generator.style_mix([z]), noise="none").float()]
                )
            losses["adversarial"] = generator_loss(discriminator(fake))
        return losses, fake

    def _supervision(self, codes: Tensor, flip: Tensor, index: Tensor) -> dict[str, Tensor]:
        losses = {}
        if self.targets.labels.shape[1]:
            labels = self.targets.labels[index].to(codes.device)
            logits = self.model.label_head(codes.flatten(1)).float()
            errors = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
            losses["labels"] = _mean_where(errors, ~labels.isnan())
        if self.targets.parameters.shape[1]:
            parameters = self.targets.parameters[index].to(codes.device)
            errors = (self.model.parameter_head(codes.mean(dim=1)).float() - parameters.nan_to_num()).square()
            # they describe the image as it was, so not where it is mirrored
            losses["parameters"] = _mean_where(errors, ~parameters.isnan() & ~flip[:, None])
        return losses

    def _mean_code(self) -> Tensor:
        device = self.average.generator.constant.device
        total = torch.zeros(self.config.style_dim, device=device)
        chosen = range(min(len(self.data), MEAN_SAMPLES))
        with torch.no_grad():
            for one in chosen:
                total += self.average.encode(self.data.images([one]).to(device)).mean(dim=(0, 1))
        return total / len(chosen)


def _adam(model: Autoencoder, learning_rate: float) -> torch.optim.Adam:
    """Adam with a learning rate for equalised layers, for attention and heads, and for all others."""
    encoder = model.encoder
    attention = nn.ModuleList([encoder.coarse, encoder.medium, encoder.fine, model.label_head, model.parameter_head])
    slow = {id(parameter) for parameter in attention.parameters()}
    fast = {id(parameter) for parameter in model.generator.parameters()}
    groups: dict[float, list[nn.Parameter]] = {EQUALISED_RATE: [], 1.0: [], SLOW_RATE: []}
    for parameter in model.parameters():
        rate = SLOW_RATE if id(parameter) in slow else EQUALISED_RATE if id(parameter) in fast else 1.0
        groups[rate].append(parameter)
    return torch.optim.Adam(
        [{"params": group, "lr": learning_rate * scale} for scale, group in groups.items() if group], betas=(0.9, 0.99)
    )


def _mean_where(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values, 0.0).sum() / known.sum().clamp_min(1)


def _number(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]
