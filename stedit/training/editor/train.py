"""`stedit train editor`: the edit transformer, on codes alone (Hu et al. 2022, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.editing.attributes import related, resolve_attribute
from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError
from stedit.imaging.files import Pixels
from stedit.models.config import EditorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.latent_classifier import LatentClassifier
from stedit.storage.bundle import Bundle
from stedit.training.data.edits import GroundTruthEdits
from stedit.training.data.latents import LatentSet, validation_mask
from stedit.training.early_stopping import BEST, EarlyStopping
from stedit.training.editor.config import EditorTrainingConfig
from stedit.training.provenance import provenance, with_parts
from stedit.training.run import Run

BETAS = (0.9, 0.99)
CLASSIFIED = 1024  # codes at a time
PAIRS_HELD_OUT = 512  # source and reference pairs that are measured on, always the same
SMALL_CHANGE = 0.05  # of the mean squared true change: added, so that an invisible one does not count too much
SECOND_ORDER, EDIT_ORDER = 1, 2  # streams of `Run.indices`: references, ground-truth edits


@dataclass(frozen=True)
class ReferenceEditLosses:
    """The three parts, each a mean of squares."""

    code: Tensor
    reference: Tensor
    source: Tensor

    def total(self, weights: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Tensor:
        """Their weighted sum, in the order of the fields."""
        return weights[0] * self.code + weights[1] * self.reference + weights[2] * self.source


def reference_edit_loss(
    classifier: LatentClassifier, edited: Tensor, source: Tensor, reference: Tensor, taken: Tensor
) -> ReferenceEditLosses:
    """Stay near the source, with the reference's embedding of the wanted attribute and the source's of all others.

    Args:
        classifier: frozen; its embeddings e describe each attribute of a code.
        edited: (B, N, D), the edit transformer's answer w'.
        source: (B, N, D), w_s.
        reference: (B, N, D), w_r.
        taken: (B, K) bool, the attributes that follow the reference.

    Returns:
        ||w' - w_s||^2, the wanted attributes' ||e(w') - e(w_r)||^2, and the others' ||e(w') - e(w_s)||^2.
    """
    with torch.no_grad():
        wanted = torch.where(taken[:, :, None], classifier.embed(reference), classifier.embed(source))
    difference = (classifier.embed(edited) - wanted).square().mean(dim=2)  # (B, K)
    others = torch.where(taken, 0.0, difference).sum() / (~taken).sum().clamp_min(1)  # a model may have but one
    return ReferenceEditLosses(F.mse_loss(edited, source), difference[taken].mean(), others)


def build(config: EditorTrainingConfig) -> EditorTask:
    """The task of a config: reads, inverts and samples the codes.

    Raises:
        InputError: codes or edits cannot be used.
        AttributeNameError, MissingPartError: the model lacks the attribute, or a classifier.
        BundleError: the model cannot be used.
    """
    engine = Engine.from_pretrained(config.model, device=config.device)
    if (classifier := engine.networks.classifier) is None:
        raise MissingPartError(
            f"the model {engine.bundle.name!r} has no classifier, by which edits are learned: train one first",
            action="train a classifier",
        )
    only = resolve_attribute(config.attribute, engine.attributes)[0] if config.attribute else ""
    codes = LatentSet.read(config.codes, engine)
    edits = GroundTruthEdits.read(config.edits, codes.names, engine.attributes, only)
    if config.synthetic_latents:
        codes = codes.join(LatentSet.sample(config.synthetic_latents, engine, seed=config.seed))
    pretrained = engine.networks.editors.get("editor") if config.finetune else None
    if config.finetune and pretrained is None:
        raise MissingPartError(f"the model {engine.bundle.name!r} has no editor to train on: leave finetune out")
    return EditorTask(config, engine.bundle, classifier, codes.codes, edits, only, pretrained)


class EditorTask:
    """The task: the three losses on random pairs of codes and, where there are ground-truth edits, on these."""

    def __init__(
        self,
        config: EditorTrainingConfig,
        bundle: Bundle,
        classifier: LatentClassifier,
        codes: Tensor,
        edits: GroundTruthEdits,
        only: str = "",
        pretrained: EditTransformer | None = None,
    ) -> None:
        """Codes (M, N, D) of the bundle's model, whose `classifier` is frozen; `only` one attribute, or all.

        `pretrained` is an editor to fine-tune, if there is one.
        """
        self.config, self.bundle, self.classifier = config, bundle, classifier
        self.codes = codes
        self.attributes = tuple(item.name for item in bundle.attributes)
        self.wanted = torch.tensor([k for k, name in enumerate(self.attributes) if only in ("", name)])
        self._groups = torch.tensor([[other in related(name) for other in self.attributes] for name in self.attributes])
        kept = ~validation_mask(len(codes), config.val_fraction)
        edits = self._with_presence(edits, codes)
        self.edits, self.edits_held_out = edits.split(kept)
        change = (codes[edits.edited] - codes[edits.source]).square().mean(dim=(1, 2))
        self._small_change = SMALL_CHANGE * change.mean().item() if len(edits) else 0.0
        self.by_pairs = self.wanted[~torch.isin(self.wanted, edits.attribute)]  # of which no ground-truth edit is known
        self.training = torch.arange(len(codes))[kept]
        self._pairs = self._held_out_pairs(torch.arange(len(codes))[~kept])
        if len(self.training) < 2:
            raise InputError(
                f"{len(codes)} codes are too few to learn from: give more, or sample some with synthetic_latents"
            )
        self.editor = (
            _pretrained(pretrained, self._labels(only))
            if pretrained
            else EditTransformer(
                EditorConfig(
                    style_count=codes.shape[1],
                    style_dim=codes.shape[2],
                    layers=config.layers,
                    heads=config.heads,
                    feedforward=config.feedforward,
                    attributes=0 if only else len(self.attributes),
                    labels=self._labels(only),
                    doubly_normalised=config.doubly_normalised,
                    residual=config.residual,
                )
            )
        )
        self.scalars: dict[str, float] = {}
        self.best = EarlyStopping(self.editor, self.scalars, config.patience)
        self.networks: Mapping[str, nn.Module] = {"editor": self.editor, BEST: self.best.network}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(self.editor.parameters(), lr=config.learning_rate, betas=BETAS)
        }

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One batch of random pairs, for attributes without ground-truth edits, and one of ground-truth edits."""
        self.classifier.to(run.device)
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=run.device)
        if count := math.ceil(run.share * len(self.by_pairs) / len(self.wanted)):
            source = self.training[run.indices(len(self.training))][:count]
            reference = self.training[run.indices(len(self.training), stream=SECOND_ORDER)][:count]
            attribute = self.by_pairs[torch.randint(len(self.by_pairs), (count,))]
            losses, total = self._losses(run, source, reference, attribute)
        if len(self.edits):
            pick = run.indices(len(self.edits), stream=EDIT_ORDER)
            column = torch.randint(self.edits.references.shape[1], (len(pick),))
            learned, loss = self._edit_losses(run, self.edits, pick, column)
            losses, total = losses | learned, total + loss
        run.update(self.optimizers["adam"], total)
        return losses

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Losses on held-out pairs and edits, success and side effects by the classifier; keeps the best weights."""
        self.classifier.to(run.device)
        source, reference, attribute = self._pairs
        if not len(source):
            self.best.update(self.editor, math.inf, run)
            return {}
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=run.device)
        if len(self.by_pairs):
            chosen = torch.isin(attribute, self.by_pairs)
            losses, total = self._losses(run, source[chosen], reference[chosen], attribute[chosen])
        if len(self.edits_held_out):
            every = torch.arange(len(self.edits_held_out))
            learned, loss = self._edit_losses(run, self.edits_held_out, every, torch.zeros_like(every))
            losses, total = losses | learned, total + loss
        self.best.update(self.editor, total.item(), run)
        figures = {f"val/{name}": loss.item() for name, loss in losses.items()}
        return {"val/loss": total.item(), **figures, **self._success(run, source, reference, attribute)}

    def sample(self) -> Pixels | None:
        """None: codes are trained on, not images."""
        return None

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """The model with this editor. Raises OutputError, BundleError."""
        network = self.best.network
        facts: dict[str, Any] = {"codes": len(self.training), "ground_truth_edits": len(self.edits)}
        return with_parts(
            self.bundle,
            path,
            {"editor": (network.config, network.state_dict())},
            {"editor": provenance(self.config, **facts)},
            overwrite=overwrite,
        )

    def _held_out_pairs(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Source, reference and attribute of the pairs that are measured on, (P,) each; the same for every run."""
        if not len(indices):
            return indices, indices, indices
        source = torch.Generator().manual_seed(0)
        first, second = indices[torch.randint(len(indices), (2, PAIRS_HELD_OUT), generator=source)]
        return first, second, self.wanted[torch.arange(PAIRS_HELD_OUT) % len(self.wanted)]

    def _edit(self, run: Run, source: Tensor, reference: Tensor, attribute: Tensor) -> Tensor:
        condition = attribute.to(run.device) if self.editor.config.attributes else None
        with run.autocast():
            answer: Tensor = self.editor(self._code(run, source), self._code(run, reference), condition)
        return answer.float()

    def _losses(
        self, run: Run, source: Tensor, reference: Tensor, attribute: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Each of the three losses, and their weighted sum."""
        edited = self._edit(run, source, reference, attribute)
        taken = self._groups[attribute].to(run.device)
        losses = reference_edit_loss(
            self.classifier, edited, self._code(run, source), self._code(run, reference), taken
        )
        weights = (self.config.code_weight, self.config.reference_weight, self.config.source_weight)
        parts = {"code": losses.code, "reference": losses.reference, "source": losses.source}
        return parts, losses.total(weights)

    def _edit_losses(
        self, run: Run, edits: GroundTruthEdits, pick: Tensor, column: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Distances to ground-truth edits, by reference, by label and in the classifier's embedding, and their sum.

        Distances are in units of the squared change, so that an age counts like a haircut. `pick` (B,) are indices of
        edits, `column` (B,) those of the references of each.
        """
        source, truth = self._code(run, edits.source[pick]), self._code(run, edits.edited[pick])
        change = (truth - source).square().mean(dim=(1, 2))
        attribute = edits.attribute[pick]
        answers = {"edit": self._edit(run, edits.source[pick], edits.references[pick, column], attribute)}
        if self.config.labels:
            condition = attribute.to(run.device) if self.editor.config.attributes else None
            with run.autocast():
                answers["label"] = self.editor.by_label(source, edits.present[pick].to(run.device), condition).float()
        rows, target = torch.arange(len(pick)), attribute.to(run.device)
        wanted = self.classifier.embed(truth)[rows, target]  # (B, E)
        counts = {
            "edit": torch.ones_like(change),
            "label": (change > 0).float(),
        }  # no change, no label to learn
        losses, embedding = {}, []
        for name, answer in answers.items():
            share = counts[name] / counts[name].sum().clamp_min(1)  # (B,)
            error = (answer - truth).square().mean(dim=(1, 2))
            losses[name] = (share * error / (change + self._small_change)).sum()
            error = (self.classifier.embed(answer)[rows, target] - wanted).square().mean(dim=1)
            embedding.append((share * error / (1 + wanted.square().mean(dim=1))).sum())
        weighted = self.config.edit_weight * torch.stack(list(losses.values())).sum()
        losses["embedding"] = torch.stack(embedding).sum()
        return losses, weighted + self.config.embedding_weight * losses["embedding"]

    def _labels(self, only: str) -> tuple[int, ...]:
        """Attributes whose edits are learned by label: those with ground-truth edits."""
        if not self.config.labels:
            return ()
        return (0,) if only else tuple(sorted(set(self.edits.attribute.tolist())))

    def _with_presence(self, edits: GroundTruthEdits, codes: Tensor) -> GroundTruthEdits:
        """The edits, with the classifier's prediction for the edited codes where `present` is unknown."""
        if not len(edits):
            return edits
        parts = torch.split(codes[edits.edited], CLASSIFIED)
        device = next(self.classifier.parameters()).device
        with torch.no_grad():
            logits = torch.cat([self.classifier(part.to(device)).cpu() for part in parts])
        predicted = logits.gather(1, edits.attribute[:, None])[:, 0] > 0
        return replace(edits, present=torch.where(edits.present < 0, predicted.long(), edits.present))

    def _success(self, run: Run, source: Tensor, reference: Tensor, attribute: Tensor) -> dict[str, float]:
        """Shares of pairs whose edited attribute is as in the reference, and of unrelated attributes that changed."""
        after = self.classifier(self._edit(run, source, reference, attribute)).cpu() > 0
        before, wanted = (self.classifier(self._code(run, index)).cpu() > 0 for index in (source, reference))
        rows = torch.arange(len(source))
        others = ~self._groups[attribute]
        changed = ((after != before) & others).sum() / others.sum().clamp_min(1)
        follows = after[rows, attribute] == wanted[rows, attribute]
        return {"val/success": follows.float().mean().item(), "val/side_effects": changed.item()}

    def _code(self, run: Run, index: Tensor) -> Tensor:
        return self.codes[index].to(run.device)


def _pretrained(editor: EditTransformer, labels: tuple[int, ...]) -> EditTransformer:
    """An edit transformer to fine-tune, with tokens for these `labels` beside those that it has."""
    known = editor.config.labels
    network = EditTransformer(replace(editor.config, labels=tuple(sorted({*known, *labels}))))
    state = editor.state_dict()
    if network.config.labels:
        state["label_tokens"] = network.label_tokens.detach().clone()
        for row, label in enumerate(known):
            state["label_tokens"][network.config.labels.index(label)] = editor.label_tokens[row]
    network.load_state_dict(state)
    return network
