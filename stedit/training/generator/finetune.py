"""`stedit train finetune-generator`: a model's generator alone, on the codes of images and those an editor makes.

Encoder, classifier and editor stay, and codes keep their meaning; the generator learns to render more of what is in
them. The codes that an editor makes are not quite those that an encoder finds, so the generator learns to render the
images of ground-truth edits from the editor's codes.

No code holds where each hair lies, and the mean of all ways it could lie is a blur. With `adversarial_weight`, a
discriminator of patches and codes makes the generator render hair nonetheless, of the type that the code holds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stedit.editing.transformer import editor_for
from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError
from stedit.imaging.files import Pixels
from stedit.models.discriminator import PatchDiscriminator
from stedit.storage.bundle import Bundle
from stedit.training.data.edits import GroundTruthEdits
from stedit.training.data.images import ImageSet, Member
from stedit.training.data.latents import LatentSet, validation_mask
from stedit.training.ema import ema_decay, update_ema
from stedit.training.generator.adversarial import generator_loss
from stedit.training.generator.autoencoder import CLIP
from stedit.training.generator.config import GeneratorFinetuneConfig
from stedit.training.generator.discriminator import DiscriminatorTrainer, frozen
from stedit.training.generator.reconstruction import measure, reconstruction_sheet
from stedit.training.losses import multiscale_l1, shifted, weighted_sum
from stedit.training.perceptual import choose_perceptual
from stedit.training.provenance import provenance, started_from, with_parts
from stedit.training.run import Run

BETAS = (0.9, 0.99)
DISCRIMINATOR_RATE = 0.25  # times the learning rate, for the discriminator, whose convolutions are not equalised
EDIT_ORDER = 1  # stream of `Run.indices`
LABELLED = 0.75  # share of edits that are made by label, where that comes near to the truth
NEAR = 0.5  # of the squared change


def build(config: GeneratorFinetuneConfig) -> GeneratorFinetuneTask:
    """The task of a config. Raises what `GeneratorFinetuneTask` does, and BundleError."""
    return GeneratorFinetuneTask(config, Engine.from_pretrained(config.init_from, device=config.device))


class GeneratorFinetuneTask:
    """The task: images from their codes and, of ground-truth edits, from the codes that the editor makes."""

    def __init__(self, config: GeneratorFinetuneConfig, engine: Engine) -> None:
        """Find images and their codes; `engine` is the model to start from.

        Raises:
            InputError: images, codes or edits cannot be used; LatentError for codes of another model.
            UsageError: the perceptual loss is not there.
            MissingPartError: there are edits, but no editor or classifier, or no editor of an attribute.
        """
        self.config, self.engine = config, engine
        if config.edits and engine.networks.classifier is None:
            raise MissingPartError(
                f"the model {engine.bundle.name!r} has no classifier, which names attributes: leave edits out"
            )
        codes = LatentSet.read(config.codes or config.data, engine)
        self.codes = codes.codes
        self.data = _images_of(codes.names, ImageSet.open(config.data, engine.networks.generator.config.resolution))
        if config.val_images >= len(codes):
            raise InputError(
                f"{config.val_images} of {len(codes)} codes cannot be held out: lower val_images or add images"
            )
        kept = ~validation_mask(len(codes), config.val_images / len(codes))
        self.training, self.held_out = (torch.arange(len(codes))[mask] for mask in (kept, ~kept))
        self._shown = self.held_out if len(self.held_out) else self.training
        self._shown_data = self.data.subset([self.data.members[k] for k in self._shown])
        self.edits, _ = GroundTruthEdits.read(config.edits, codes.names, engine.attributes).split(kept)
        editors = engine.networks.editors
        for index in set(self.edits.attribute.tolist()):
            editor_for(editors, engine.attributes[index], engine.bundle.name)
        self.generator = copy.deepcopy(engine.networks.generator).cpu().train().requires_grad_(True)
        self.generator.mapping.requires_grad_(False)
        for block in self.generator.blocks:
            for layer in block.layers:  # type: ignore[union-attr]
                layer.noise_strength.requires_grad_(False)  # noise is not in the code
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.scalars: dict[str, float] = {}
        self.networks: Mapping[str, nn.Module] = {"generator": self.generator, "average": self.average}
        learning = [parameter for parameter in self.generator.parameters() if parameter.requires_grad]
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(learning, lr=config.learning_rate, betas=BETAS)
        }
        self.discriminator: DiscriminatorTrainer | None = None
        if config.adversarial_weight:
            patches = PatchDiscriminator(self.codes[0].numel())
            self.discriminator = DiscriminatorTrainer(
                config, self.scalars, DISCRIMINATOR_RATE * config.learning_rate, patches
            )
            self.networks = {**self.networks, "discriminator": self.discriminator.network}
            self.optimizers = {**self.optimizers, "discriminator": self.discriminator.optimizer}
        judge = engine.networks.judge
        self.perceptual = choose_perceptual(config, judge=judge, discriminator=None)
        self._logged = False

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One batch, of which `edited_fraction` are codes that the editor makes."""
        self._log_once(run)
        made = self._count_edited(run)
        chosen = self.training[run.indices(len(self.training))][: run.share - made]
        pick = run.indices(len(self.edits), stream=EDIT_ORDER)[:made] if made else chosen[:0]
        shown = torch.cat([chosen, self.edits.edited[pick]])
        target = self.data.images(shown.tolist()).to(run.device)
        sound = torch.tensor([self.data.readable_index(index) for index in shown.tolist()])
        codes = self.codes[sound]
        if made:
            intact = (sound == shown)[-made:, None, None]  # a neighbour stands in for an image that cannot be read
            codes[-made:] = torch.where(intact, self._edited(pick), codes[-made:])
        codes = codes.to(run.device)
        discriminator = self.discriminator if run.step >= self.config.adversarial_start else None
        with frozen(discriminator.network) if discriminator else nullcontext(), run.autocast():
            output = self.generator(codes, noise="const").float()
            losses = {"image": multiscale_l1(output, target)}
            if self.perceptual is not None:
                self.perceptual.network.to(run.device)
                losses[self.perceptual.name] = self.perceptual.distance(output, target)
            if discriminator is not None:
                fake, real = shifted((output, target), self.config.perceptual_shift)
                losses["adversarial"] = generator_loss(discriminator(fake, codes))
        weights = {"image": self.config.image_weight, "adversarial": self.config.adversarial_weight}
        if self.perceptual is not None:
            weights[self.perceptual.name] = self.config.perceptual_weight
        total = weighted_sum(losses, weights)
        run.update(self.optimizers["adam"], total, clip=CLIP)
        decay = ema_decay(self.config.batch_size, self.config.ema_images, run.step)
        update_ema(self.average, self.generator, decay)
        if discriminator is not None:
            losses |= discriminator.step(run, real, fake.detach(), codes)
        return losses

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Reconstruction of held-out images, if there are any."""
        self.data.log_unreadable(run)
        return measure(self._reconstruct_in_order(), self._shown_data, run) if len(self.held_out) else {}

    def sample(self) -> Pixels | None:
        """Images above their reconstructions."""
        return reconstruction_sheet(self._reconstruct_in_order(), self._shown_data, self.average.constant.device)

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """The model with this generator. Raises OutputError, BundleError."""
        bundle = self.engine.bundle
        facts: dict[str, Any] = {"codes": len(self.training), "ground_truth_edits": len(self.edits)}
        if "generator" in bundle.training:
            facts["before"] = bundle.training["generator"]
        made = provenance(self.config, **facts, **started_from(self.config.init_from))
        parts = {"generator": (self.average.config, self.average.state_dict())}
        return with_parts(bundle, path, parts, {"generator": made}, overwrite=overwrite)

    def _log_once(self, run: Run) -> None:
        if not self._logged:
            run.log(self.perceptual.description if self.perceptual else "there is no perceptual loss")
            self._logged = True

    def _count_edited(self, run: Run) -> int:
        """How many examples of this process's share are edits: the first of the whole batch are."""
        if not len(self.edits):
            return 0
        whole = round(self.config.edited_fraction * self.config.batch_size)
        return min(max(whole - run.process * run.share, 0), run.share)

    def _edited(self, pick: Tensor) -> Tensor:
        """Codes (B, N, D) that the editor makes of the sources of edits, by a random one of the references or by label.

        A label does not define which glasses are meant. It replaces the reference only where its edit comes near to the
        true one, or the generator would learn to render the mean of all glasses.
        """
        edits = self.edits.rows(pick)
        column = torch.randint(edits.references.shape[1], (len(pick), 1))
        reference = edits.references.gather(1, column)[:, 0]
        labelled = torch.rand(len(pick), 1, 1) < LABELLED
        edited = self.codes[edits.source]
        for index in set(edits.attribute.tolist()):
            rows, name = edits.attribute == index, self.engine.attributes[index]
            source, truth = edited[rows], self.codes[edits.edited[rows]]
            made = self.engine.edit_by_reference(source, self.codes[reference[rows]], name)
            if self.engine.has_learned_edit(name):
                without, given = (
                    self.engine.edit_by_label(source, name, strength=strength, direction="transformer")
                    for strength in (-1.0, 1.0)
                )
                present = edits.present[rows][:, None, None]
                by_label = torch.where(present < 0, source, torch.where(present > 0, given, without))
                error, change = ((w - truth).square().mean(dim=(1, 2), keepdim=True) for w in (by_label, source))
                made = torch.where(labelled[rows] & (error < NEAR * change), by_label, made)
            edited[rows] = made
        return edited

    def _reconstruct_in_order(self) -> Callable[[Tensor], Tensor]:
        """A function that renders the codes of the shown images in their order, each time as many as it is given."""
        place = 0

        def reconstruct(images: Tensor) -> Tensor:
            nonlocal place
            read = [self._shown_data.readable_index(k) for k in range(place, place + len(images))]
            place += len(images)
            rendered: Tensor = self.average(self.codes[self._shown[read]].to(images.device), noise="const")
            return rendered

        return reconstruct


def _images_of(names: Sequence[str], images: ImageSet) -> ImageSet:
    """The images that codes are called after, in their order. Raises InputError."""
    if names == images.ids:
        return images  # as they were inverted; some may share a name then
    members: dict[str, Member] = {}
    for member in images.members:
        if (before := members.setdefault(member.image.id, member)) is not member:
            raise InputError(
                f"{before.image.name} and {member.image.name} share a name, by which codes are known: rename one"
            )
    missing = [name for name in names if name not in members]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(names)} codes have no image in data, such as {missing[0]}: give the images "
            "that the codes are of"
        )
    return images.subset([members[name] for name in names])
