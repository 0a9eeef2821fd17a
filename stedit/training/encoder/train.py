"""`stedit train inversion`: a style transformer for the generator of a model (Hu et al. 2022, section 3.2).

The generator stays as it is but for its mapping network, of which a copy learns: it maps N learned tokens to the
encoder's queries. These are constants when training ends, and stored as such, so that the model's own generator, and
with it the meaning of every code, does not change. An encoder that is trained on has its queries already.

With `corrections`, the encoder learns to correct its codes too (see `stedit.inversion.encoder`): losses compare
the first code of some images of a batch, and the last correction of the others. Gradients go through the encoder's
two passes that make the correction, not through the rendering before it, as in ReStyle (Alaluf et al. 2021, section
3.2).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from stedit.checkpoints.state_dicts import count, size
from stedit.engine import Engine
from stedit.errors import MissingPartError, TrainingError, UsageError, describe_cause
from stedit.imaging.files import Pixels
from stedit.inversion.encoder import encode, rendering_to_input
from stedit.models.discriminator import Discriminator
from stedit.models.generator import Generator
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import Bundle
from stedit.training import checkpoint
from stedit.training.data.augmentation import jitter, random_flip
from stedit.training.data.images import ImageBatches, ImageSet
from stedit.training.ema import ema_decay, update_ema
from stedit.training.encoder.config import EncoderTrainingConfig
from stedit.training.generator.reconstruction import measure, reconstruction_sheet
from stedit.training.losses import multiscale_l1, weighted_sum
from stedit.training.perceptual import ARCFACE_SOURCE, MOCO_SOURCE, choose_perceptual, load_identity
from stedit.training.provenance import provenance, with_parts
from stedit.training.run import Run, Task

CLIP = 5.0  # of the gradient's norm


def build(config: EncoderTrainingConfig) -> Task:
    """The task of a config. Raises InputError, BundleError, UsageError."""
    return EncoderTask(config)


class Tokens(nn.Module):
    """N learned z (N, D), and the mapping network that makes queries of them."""

    def __init__(self, mapping: nn.Module, count: int, width: int) -> None:
        super().__init__()
        self.z = nn.Parameter(torch.randn(count, width))
        self.mapping = mapping

    def forward(self) -> Tensor:
        """The queries (N, D)."""
        return cast(Tensor, self.mapping(self.z))


class EncoderTask:
    """The task."""

    def __init__(self, config: EncoderTrainingConfig) -> None:
        self.config = config
        engine = Engine.from_pretrained(config.model, device="cpu")
        self.base = engine.bundle
        self.generator = engine.networks.generator
        sizes = self.generator.config
        discriminator = load_discriminator(Path(config.discriminator)) if config.discriminator else None
        judge = engine.networks.judge
        self.perceptual = choose_perceptual(config, judge=judge, discriminator=discriminator)
        fixed = self.perceptual is not None and self.perceptual.name == "discriminator"
        self._size = sizes.resolution if fixed else min(sizes.resolution, config.loss_resolution)
        self.data: ImageSet | None = None
        self.held_out: ImageSet | None = None
        if config.data:
            everything = ImageSet.open(config.data, self._size, cache=config.cache_images)
            self.data, self.held_out = everything.split(config.val_images)
            self.data = self.data.repeated(config.repeat)
            self._batches = ImageBatches(self.data)
        self.encoder = _pretrained(engine, config) if config.finetune else _new(self.generator, config)
        self.tokens: Tokens | None = None
        if not config.finetune:
            mapping = copy.deepcopy(self.generator.mapping).requires_grad_(True)
            self.tokens = Tokens(mapping, sizes.style_count, sizes.style_dim)
            self.encoder.queries.requires_grad_(False)  # they follow the tokens
            self._take_queries()
        self.average = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        self.networks: Mapping[str, nn.Module] = {
            "encoder": self.encoder,
            **({} if self.tokens is None else {"tokens": self.tokens}),
            "average": self.average,
        }
        learned = [p for network in self.networks.values() for p in network.parameters() if p.requires_grad]
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "encoder": torch.optim.Adam(learned, lr=config.learning_rate)
        }
        self.scalars: dict[str, float] = {}
        self.identity = load_identity(config.identity) if config.identity and config.identity_weight else None
        self._logged = False

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One step on images and on samples of the generator."""
        self._prepare(run)
        synthetic = run.share if self.data is None else round(self.config.synthetic_fraction * run.share)
        images, known = self._samples(run, synthetic) if synthetic else (None, None)
        if self.data is not None:
            real = self._batches.take(run)[1][: run.share - synthetic]
            real = jitter(random_flip(real) if self.config.flip else real, self.config.jitter)
            images = real if images is None else torch.cat([images, real])
        assert images is not None
        with run.autocast():
            codes = self._codes(images)
            losses = self._losses(images, codes, known)
        weights = {
            "l2": self.config.l2_weight,
            "image": self.config.image_weight,
            "identity": self.config.identity_weight,
            "w_norm": self.config.w_norm_weight,
            "codes": self.config.code_weight,
        }
        if self.perceptual is not None:
            weights[self.perceptual.name] = self.config.perceptual_weight
        total = weighted_sum(losses, weights)
        run.update(self.optimizers["encoder"], total, clip=CLIP)
        self._take_queries()
        decay = ema_decay(self.config.batch_size, self.config.ema_images, run.step)
        update_ema(self.average, self.encoder, decay)
        return {**losses, "total": total}

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Reconstruction of held-out images, if there are any."""
        if self.data is not None:
            self.data.log_unreadable(run)
        return measure(self._reconstruct, self.held_out, run) if self.held_out else {}

    def sample(self) -> Pixels | None:
        """Images above their reconstructions."""
        data = self.held_out or self.data
        device = self.encoder.mean.device
        return None if data is None else reconstruction_sheet(self._reconstruct, data, device)

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """The model with the averaged encoder. Raises OutputError."""
        facts = provenance(self.config, images=len(self.data or ()), losses=self._loss_names())
        parts = {"encoder": (self.average.config, self.average.state_dict())}
        return with_parts(self.base, path, parts, {"encoder": facts}, overwrite=overwrite)

    def _codes(self, images: Tensor) -> Tensor:
        """Codes (B, N, D) of images, of which some are corrected; they have gradients of the last pass alone."""
        queries = {} if self.tokens is None else {"queries": self.tokens()}
        inputs, corrections = self._to_input(images), self.encoder.config.corrections

        def answer(images: Tensor) -> Tensor:
            codes: Tensor = functional_call(self.encoder, queries, (images,)).float()
            return codes

        chosen = (torch.rand(len(images)) < corrections / (corrections + 1)).to(images.device)  # to be corrected
        if not chosen.any():
            return answer(inputs)
        with torch.no_grad():
            before = int(torch.randint(corrections, ()).item())  # corrections that are not learned from
            base = encode(self.encoder, self.generator, inputs[chosen], corrections=before).float()
            rendered = rendering_to_input(self.encoder, self.generator(base).clamp(-1, 1))
        torch.clear_autocast_cache()  # before torch 2.11, the weights in it have no gradients
        codes = answer(torch.cat([inputs, rendered]))
        corrected = codes[: len(images)].clone()
        corrected[chosen] = base + codes[: len(images)][chosen] - codes[len(images) :]
        return corrected

    def _losses(self, images: Tensor, codes: Tensor, known: Tensor | None) -> dict[str, Tensor]:
        """Each loss without its weight."""
        output = self._render(codes)
        losses = {"l2": F.mse_loss(output, images)}
        if self.config.image_weight:
            losses["image"] = multiscale_l1(output, images)
        if self.perceptual is not None:
            losses[self.perceptual.name] = self.perceptual.distance(output, images)
        if self.identity is not None:
            losses["identity"] = self.identity(output, images)
        losses["w_norm"] = (codes - self.encoder.mean).flatten(1).norm(dim=1).mean()  # as pSp regularises (section 3.2)
        if known is not None:
            losses["codes"] = F.mse_loss(codes[: len(known)], known)
        return losses

    def _samples(self, run: Run, count: int) -> tuple[Tensor, Tensor]:
        """Images of random codes, at the size at which they are compared, and the codes (count, N, D)."""
        z = torch.randn(2, count, self.generator.config.z_width, device=run.device)
        crossover = int(torch.randint(1, self.generator.config.style_count + 1, ()).item())
        with torch.no_grad(), run.autocast():
            codes = self.generator.style_mix([z[0], z[1]], crossover)
            return self._render(codes).clamp(-1, 1), codes.float()

    def _reconstruct(self, images: Tensor) -> Tensor:
        return self._render(encode(self.average, self.generator, self._to_input(images)).float())

    def _render(self, codes: Tensor) -> Tensor:
        """Codes -> images of the size at which they are compared."""
        output: Tensor = self.generator(codes, noise="const").float()
        return output if output.shape[-1] == self._size else F.adaptive_avg_pool2d(output, self._size)

    def _to_input(self, images: Tensor) -> Tensor:
        """Images at the input size of the encoder."""
        size = (self.encoder.config.input_height, self.encoder.config.input_width)
        if images.shape[-2:] == size:
            return images
        if images.shape[-1] > size[1]:
            return F.adaptive_avg_pool2d(images, size)
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False)

    def _take_queries(self) -> None:
        if self.tokens is not None:
            with torch.no_grad():
                self.encoder.queries.copy_(self.tokens())

    def _loss_names(self) -> list[str]:
        names = ["l2", "w_norm"] + (["image"] if self.config.image_weight else [])
        names += [self.perceptual.name] if self.perceptual else []
        return names + (["identity"] if self.identity else [])

    def _prepare(self, run: Run) -> None:
        if self._logged:
            return
        self._logged = True
        self.generator.to(run.device)
        if self.perceptual is not None:
            self.perceptual.network.to(run.device)
            run.log(self.perceptual.description)
        else:
            run.log("there is no perceptual loss: give lpips_backbone, judge or discriminator")
        if self.identity is not None:
            self.identity.to(run.device)
        elif self.config.identity_weight:
            run.log(f"there is no identity loss: for faces give {ARCFACE_SOURCE}; for other things {MOCO_SOURCE}")
        if self.data is None:
            run.log("there is no data, so all images are samples of the generator")


def _new(generator: Generator, config: EncoderTrainingConfig) -> StyleTransformer:
    """An encoder of the config's sizes, whose mean is the generator's. Raises UsageError."""
    try:
        sizes = config.encoder_config(generator.config.style_count, generator.config.style_dim)
    except ValueError as error:
        raise UsageError(f"the encoder's sizes are wrong: {error}") from error
    encoder = StyleTransformer(replace(sizes, corrections=config.corrections))
    encoder.mean.copy_(generator.mapping.mean.expand_as(encoder.mean))
    return encoder


def _pretrained(engine: Engine, config: EncoderTrainingConfig) -> StyleTransformer:
    """The model's encoder, to be fine-tuned. Raises MissingPartError."""
    old = engine.networks.encoder
    square = isinstance(old, StyleTransformer) and old.config.input_height == old.config.input_width
    if not isinstance(old, StyleTransformer) or old.config.iterative or not square:
        raise MissingPartError(
            f"the model {config.model!r} has no style transformer of one pass over squares to train on: leave "
            "finetune out"
        )
    encoder = StyleTransformer(replace(old.config, corrections=config.corrections or old.config.corrections))
    encoder.load_state_dict(old.state_dict())
    return encoder


def load_discriminator(run: Path) -> Discriminator:
    """The discriminator of a generator's training. Raises UsageError and TrainingError."""
    if not (found := checkpoint.checkpoints(run)):
        raise UsageError(f"{run} holds no checkpoint with a discriminator: name the run of a generator's training")
    try:
        tensors = checkpoint.select(load_file(found[-1] / "networks.safetensors"), "discriminator")
        blocks = range(count(tensors, "blocks.{}.skip.weight"))
        widths = [size(tensors, "from_rgb.weight", 0), *(size(tensors, f"blocks.{k}.skip.weight", 0) for k in blocks)]
        network = Discriminator(tuple(reversed(widths)))
        network.load_state_dict(tensors)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"{found[-1]} holds no usable discriminator ({describe_cause(error)}): name another run"
        ) from error
    return network.eval().requires_grad_(False)
