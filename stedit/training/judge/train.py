"""`stedit train judge`: the attribute network that measures edits and labels samples, on images and their labels.

Nothing that it measures takes part: it learns from no code and no reconstruction.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stedit.errors import InputError
from stedit.hub.find import find_bundle
from stedit.imaging.files import Pixels
from stedit.models.attribute_network import Judge
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec
from stedit.storage.labels import LabelTable
from stedit.training.attributes import attributes_to_learn, calibrate_and_score, class_weights, cross_entropy, measure
from stedit.training.data.augmentation import jitter, perturb
from stedit.training.data.images import ImageBatches, ImageSet
from stedit.training.early_stopping import BEST, EarlyStopping
from stedit.training.judge.config import JudgeTrainingConfig
from stedit.training.provenance import provenance, training_card, with_parts
from stedit.training.run import Run

LEAST_HELD_OUT = 8  # images; one half of them calibrates, the other measures


def build(config: JudgeTrainingConfig) -> JudgeTask:
    """The task of a config: finds the images and their labels.

    Raises:
        InputError: images or labels cannot be used.
        UsageError, AttributeNameError: the config asks for what is not there.
        BundleError: the model cannot be used.
    """
    bundle = Bundle.load(find_bundle(config.model)) if config.model else None
    table = LabelTable.read(Path(config.labels))
    attributes = attributes_to_learn(bundle, "judge", table.attributes, config.attributes)
    everything = ImageSet.open(config.data, config.resolution, cache=config.cache_images)
    labels = torch.from_numpy(table.of(everything.ids, attributes, "images"))
    known = ~labels.isnan().all(dim=1)
    labelled = [member for member, use in zip(everything.members, known.tolist(), strict=True) if use]
    if not labelled:
        raise InputError(f"{config.labels} labels no image with {attributes[0]}: give labels, or others")
    images = everything.subset(labelled)
    return JudgeTask(config, bundle, images, labels[known], attributes)


class JudgeTask:
    """The task: binary cross-entropy of each attribute that is known."""

    def __init__(
        self,
        config: JudgeTrainingConfig,
        bundle: Bundle | None,
        images: ImageSet,
        labels: Tensor,
        attributes: tuple[str, ...],
    ) -> None:
        """Images and their labels (M, K), probabilities or NaN.

        Raises InputError if an attribute has no two classes, or too few images are held out for what is asked.
        """
        self.config, self.bundle, self.attributes = config, bundle, attributes
        count = round(config.val_fraction * len(images))
        if count < LEAST_HELD_OUT and (config.calibrate or config.patience):
            raise InputError(
                f"{count} of {len(images)} images are too few to hold out for calibrate or patience: raise "
                "val_fraction, add images, or leave those two out"
            )
        self.data, self.held_out = images.split(count)
        self.data = self.data.repeated(config.repeat)
        rows = dict(zip(images.members, labels, strict=True))
        self._labels, self._held_out_labels = (
            torch.stack([rows[member] for member in part.members]) if len(part) else labels[:0]
            for part in (self.data, self.held_out)
        )
        self._weights = class_weights(self._labels, balance=config.balance, attributes=attributes, examples="images")
        self._batches = ImageBatches(self.data)
        self.judge = Judge(config.judge_config(len(attributes)))
        self.scalars: dict[str, float] = {}
        self.best = EarlyStopping(self.judge, self.scalars, config.patience)
        self.networks: Mapping[str, nn.Module] = {"judge": self.judge, BEST: self.best.network}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "adam": torch.optim.AdamW(
                self.judge.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
        }

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One batch of perturbed images."""
        index, images = self._batches.take(run)
        images = perturb(jitter(images, self.config.jitter), flip=self.config.flip)
        with run.autocast():
            logits = self.judge.train()(images).float()
        loss = cross_entropy(logits, self._labels[index].to(run.device), self._weights.to(run.device))
        run.update(self.optimizers["adam"], loss)
        return {"loss": loss}

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Means over the attributes; keeps the best weights."""
        self.data.log_unreadable(run)
        if not len(self.held_out):
            self.best.update(self.judge, math.inf, run)
            return {}
        with run.autocast():
            logits, labels = self._answers(self.judge)
        figures = measure(logits, labels, self._weights)
        self.best.update(self.judge, figures["val/loss"], run)
        return figures

    def sample(self) -> Pixels | None:
        """None: it renders no images."""
        return None

    def result(self) -> tuple[Judge, dict[str, dict[str, float]]]:
        """The judge, on the CPU, its logits calibrated, and figures of each attribute on held-out images."""
        network = copy.deepcopy(self.best.network).cpu()
        if not len(self.held_out):
            return network, {}
        with torch.no_grad():
            logits, labels = self._answers(network)
        scale, shift, figures = calibrate_and_score(logits, labels, self.attributes, calibrate=self.config.calibrate)
        network.head.weight.mul_(scale[:, None])
        network.head.bias.mul_(scale).add_(shift)
        return network, figures

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """The model with this judge, or a judge alone. Raises OutputError, BundleError."""
        config = self.config
        network, figures = self.result()
        parts = {"judge": (network.config, network.state_dict())}
        training: dict[str, Any] = {"judge": provenance(config, images=len(self.data), validation=figures)}
        named = {item.name: item for item in self.bundle.attributes} if self.bundle else {}
        attributes = tuple(named.get(name, AttributeSpec(name)) for name in self.attributes)
        if self.bundle is not None:
            return with_parts(self.bundle, path, parts, training, attributes=attributes, overwrite=overwrite)
        return Bundle.save(
            path,
            name=config.name,
            domain="",
            license=config.license,
            description="A judge, which predicts attributes from images.",
            attributes=attributes,
            training=training,
            parts=parts,
            readme=training_card(config, config.name, config.license, len(self.data)),
            overwrite=overwrite,
        )

    def _answers(self, network: Judge) -> tuple[Tensor, Tensor]:
        """Logits and labels (M, K), on the CPU, of the held-out images, or of the next ones where one is damaged."""
        network.eval()
        device = network.head.weight.device
        parts = torch.split(torch.arange(len(self.held_out)), self.config.batch_size)
        logits = [network(self.held_out.images(part.tolist()).to(device)).float().cpu() for part in parts]
        return torch.cat(logits), self._held_out_labels[
            [self.held_out.readable_index(k) for k in range(len(self.held_out))]
        ]
