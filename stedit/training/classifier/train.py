"""`stedit train classifier`: the latent classifier, on codes and labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from math import inf, nan
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stedit.engine import Engine
from stedit.errors import MissingPartError, UsageError
from stedit.hub.find import find_bundle
from stedit.imaging.files import Pixels
from stedit.models.attribute_network import Judge
from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.arrays import to_array, to_input
from stedit.runtime.model import Model
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec
from stedit.storage.labels import LabelTable
from stedit.training.attributes import attributes_to_learn, calibrate_and_score, class_weights, cross_entropy, measure
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.data.latents import BATCH, LatentSet, validation_mask
from stedit.training.early_stopping import BEST, EarlyStopping
from stedit.training.provenance import provenance, with_parts
from stedit.training.run import Run

OVERSAMPLING = 16  # more axes than are kept make the kept ones accurate (Halko et al. 2011)
POWER_ITERATIONS = 4


def build(config: ClassifierTrainingConfig) -> ClassifierTask:
    """The task of a config: reads, inverts, samples and labels the codes.

    Raises:
        InputError: codes or labels cannot be used.
        UsageError, AttributeNameError, MissingPartError: the config asks for what is not there.
        BundleError: the model cannot be used.
    """
    engine = Engine.from_pretrained(config.model, device=config.device)
    table = LabelTable.read(Path(config.labels)) if config.labels else None
    judge, judged = _load_judge(config, engine.model) if config.synthetic_latents else (None, ())
    labelled = tuple(dict.fromkeys((*(table.attributes if table else ()), *judged)))
    attributes = attributes_to_learn(engine.bundle, "classifier", labelled, config.attributes)
    if judge is not None and (unknown := [name for name in attributes if name not in judged]):
        raise UsageError(
            f"the judge does not know {unknown[0]}: leave it out of attributes, or set synthetic_latents to 0"
        )
    codes, labels = LatentSet.read(config.codes, engine), torch.zeros(0, len(attributes))
    if table is not None:
        labels = torch.from_numpy(table.of(codes.names, attributes))
    if judge is not None:
        sampled = LatentSet.sample(config.synthetic_latents, engine, seed=config.seed)
        columns = [judged.index(name) for name in attributes]
        guessed = pseudo_label(sampled.codes, engine.model, judge, columns, threshold=config.pseudo_label_threshold)
        codes, labels = codes.join(sampled), torch.cat([labels, guessed])
    known = ~labels.isnan().all(dim=1)
    return ClassifierTask(config, engine.bundle, codes.codes[known], labels[known], attributes)


class ClassifierTask:
    """The task: binary cross-entropy of each attribute that is known."""

    def __init__(
        self, config: ClassifierTrainingConfig, bundle: Bundle, codes: Tensor, labels: Tensor, attributes: Sequence[str]
    ) -> None:
        """Codes (M, N, D) and labels (M, K), probabilities or NaN.

        Raises InputError if an attribute has no two classes.
        """
        self.config, self.bundle, self.attributes = config, bundle, tuple(attributes)
        kept = validation_mask(len(codes), config.val_fraction)
        self.codes, self.labels = codes[~kept], labels[~kept]
        self.held_out = codes[kept], labels[kept]
        self._weights = class_weights(self.labels, balance=config.balance, attributes=self.attributes, examples="codes")
        self._spread = self.codes.std(dim=0)
        self.classifier = LatentClassifier(
            ClassifierConfig(
                style_count=codes.shape[1],
                style_dim=codes.shape[2],
                attributes=len(self.attributes),
                hidden=config.hidden,
                embedding=config.embedding,
                covariance_rank=min(config.covariance_rank, len(self.codes) - 1, codes[0].numel() - 1),
            )
        )
        if self.classifier.config.covariance_rank:
            fit_covariance(self.classifier, self.codes)
        self.scalars: dict[str, float] = {}
        self.best = EarlyStopping(self.classifier, self.scalars, config.patience)
        self.networks: Mapping[str, nn.Module] = {"classifier": self.classifier, BEST: self.best.network}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "adam": torch.optim.AdamW(
                self.classifier.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
        }

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One batch; noise keeps the gradient out of directions in which codes hardly vary."""
        index = run.indices(len(self.codes))
        w, labels = self.codes[index], self.labels[index].to(run.device)
        w = w + self.config.noise * self._spread * torch.randn_like(w)
        with run.autocast():
            logits = self.classifier(w.to(run.device)).float()
        loss = cross_entropy(logits, labels, self._weights.to(run.device))
        run.update(self.optimizers["adam"], loss)
        return {"loss": loss}

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Means over the attributes; keeps the best weights."""
        codes, labels = self.held_out
        if not len(codes):
            self.best.update(self.classifier, inf, run)
            return {}
        with run.autocast():
            logits = self.classifier(codes.to(run.device)).float().cpu()
        figures = measure(logits, labels, self._weights)
        self.best.update(self.classifier, figures["val/loss"], run)
        return figures

    def sample(self) -> Pixels | None:
        """None: codes are trained on, not images."""
        return None

    def result(self) -> tuple[LatentClassifier, dict[str, dict[str, float]]]:
        """The classifier, on the CPU, its logits calibrated, and figures of each attribute on held-out codes."""
        network = copy.deepcopy(self.best.network).cpu()
        codes, labels = self.held_out
        if not len(codes):
            return network, {}
        with torch.no_grad():
            logits = network(codes)
        scale, shift, figures = calibrate_and_score(logits, labels, self.attributes, calibrate=self.config.calibrate)
        network.logit_weight.mul_(scale[:, None])
        network.logit_bias.mul_(scale).add_(shift)
        return network, figures

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """The model with this classifier. Raises OutputError, BundleError."""
        network, figures = self.result()
        facts: dict[str, Any] = {"codes": len(self.codes), "validation": figures}
        known = {item.name: item for item in self.bundle.attributes}
        if self.config.calibrate:  # edits aim at logits, which are on another scale now
            known = {name: AttributeSpec(name, transfer_weight=item.transfer_weight) for name, item in known.items()}
        return with_parts(
            self.bundle,
            path,
            {"classifier": (network.config, network.state_dict())},
            {"classifier": provenance(self.config, **facts)},
            attributes=tuple(known.get(name, AttributeSpec(name)) for name in self.attributes),
            overwrite=overwrite,
        )


def fit_covariance(classifier: LatentClassifier, codes: Tensor) -> None:
    """Keep the leading principal axes of codes and the mean variance of the rest (Tipping and Bishop 1999).

    Found by randomised subspace iteration (Halko et al. 2011), for the covariance itself may not fit into memory.
    """
    flat = codes.flatten(1)
    centred = flat - flat.mean(dim=0)
    rank = classifier.config.covariance_rank
    wanted = min(rank + OVERSAMPLING, *centred.shape)
    _, singular, axes = torch.svd_lowrank(centred, q=wanted, niter=POWER_ITERATIONS)
    values = singular[:rank].square() / len(flat)
    rest = (centred.square().sum() / len(flat) - values.sum()) / (flat.shape[1] - rank)
    leading = axes[:, :rank] * (values - rest).clamp_min(0).sqrt()
    classifier.covariance_factor.copy_(leading.T)
    classifier.covariance_rest.copy_(rest.clamp_min(0))


@torch.no_grad()
def pseudo_label(codes: Tensor, model: Model, judge: Judge, columns: Sequence[int], *, threshold: float) -> Tensor:
    """Labels of codes (M, N, D) by a judge of their images: 1, 0, or NaN where neither has the probability `threshold`.

    `columns` (K,) are the attributes to label, among the judge's logits. Gives (M, K).
    """
    size = (judge.config.input_height, judge.config.input_width)
    labels = []
    for w in torch.split(codes, BATCH):
        images = to_array(model.networks.generator(w.to(model.device), noise="const").float())
        logits: Tensor = judge(to_input(images, size, "images for the judge").to(model.device))
        probability = logits.float().sigmoid().cpu()[:, columns]
        labels.append(torch.where(probability >= threshold, 1.0, torch.where(probability <= 1 - threshold, 0.0, nan)))
    return torch.cat(labels)


def _load_judge(config: ClassifierTrainingConfig, model: Model) -> tuple[Judge, tuple[str, ...]]:
    """The judge that labels sampled codes, and its attributes. Raises MissingPartError, BundleError."""
    bundle = Bundle.load(find_bundle(config.judge)) if config.judge else model.bundle
    if "judge" not in bundle.parts:
        raise MissingPartError(
            f"the model {bundle.name!r} has no judge to label sampled codes: name a model that has one with judge"
        )
    judge = cast(Judge, load_network(bundle, "judge").to(model.device))
    return judge, tuple(item.name for item in bundle.attributes)
