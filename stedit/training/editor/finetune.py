"""`stedit train finetune-editor`: the edit transformer, by what judges predict of its edits by label.

An editor that learned on codes alone changes more in the image than the edited attribute: hair made blond gets waves,
brows change below bangs. Here judges compare the image of the edited code with that of the source: the edited attribute
is to change, and unrelated ones are to stay. No ground-truth edits are needed: the editor stays near its former edits,
by label and by reference.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.editing.attributes import related
from stedit.editing.transformer import editor_for, learned_editor
from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError
from stedit.hub.find import find_bundle
from stedit.imaging.files import Pixels
from stedit.metrics.editing import set_attribute
from stedit.models.attribute_network import AttributeNetwork, Judge
from stedit.models.config import resolutions
from stedit.runtime.framing import centre_crop, resize
from stedit.storage.bundle import Bundle
from stedit.training.data.latents import LatentSet, validation_mask
from stedit.training.early_stopping import BEST, EarlyStopping
from stedit.training.editor.config import EditorFinetuneConfig
from stedit.training.losses import weighted_sum
from stedit.training.perceptual import load_attribute_network
from stedit.training.provenance import provenance, with_parts
from stedit.training.run import Run

BETAS = (0.9, 0.99)
CLIP = 1.0
SECOND_ORDER = 1  # stream of `Run.indices`: references
MEASURED = 96  # edits by label of held-out codes, always the same
TARGET_PROBABILITY = 0.98  # of the edited state: more would make edits stronger without end
MEASURED_AT_ONCE = 32  # of these
ATTRIBUTES = 2  # of a step: the correction after the editor is computed for one after the other


def build(config: EditorFinetuneConfig) -> EditorFinetuneTask:
    """The task of a config. Raises what `EditorFinetuneTask` does, and BundleError."""
    return EditorFinetuneTask(config, Engine.from_pretrained(config.model, device=config.device))


class EditorFinetuneTask:
    """The task: the model's edit transformer, trained on by what judges predict of its edits by label."""

    def __init__(self, config: EditorFinetuneConfig, engine: Engine) -> None:
        """Read, invert or sample codes; `engine` is the model whose editor is trained on.

        Raises:
            InputError: codes or judges cannot be used; LatentError for codes of another model.
            MissingPartError: the model lacks a part, or has learned no edits by label.
        """
        self.config, self.before, self.bundle = config, engine, engine.bundle
        self.attributes = engine.attributes
        editors = engine.networks.editors
        known = editors.get("editor")
        labels = [k for k, name in enumerate(self.attributes) if known and learned_editor(editors, name, k) is known]
        if known is None or not labels:
            raise MissingPartError(
                f"the model {engine.bundle.name!r} has no editor that has learned edits by label: train one with labels"
            )
        judge = engine.networks.judge
        self.judges = [self._judge(name) for name in config.judge] or ([] if judge is None else [judge])
        if not self.judges:
            raise MissingPartError(f"the model {engine.bundle.name!r} has no judge to predict attributes: name one")
        if config.resolution and config.resolution not in resolutions(engine.networks.generator.config.resolution):
            raise InputError(
                f"the model {engine.bundle.name!r} does not render {config.resolution} px: choose a power of two up to"
                f" {engine.networks.generator.config.resolution}"
            )
        codes = LatentSet.read(config.codes, engine)
        if config.synthetic_latents:
            codes = codes.join(LatentSet.sample(config.synthetic_latents, engine, seed=config.seed))
        self.codes = codes.codes
        kept = ~validation_mask(len(codes), config.val_fraction)
        self.training, self.held_out = (torch.arange(len(codes))[mask] for mask in (kept, ~kept))
        if len(self.training) < 2:
            raise InputError(
                f"{len(codes)} codes are too few to learn from: give more, or sample some with synthetic_latents"
            )
        self.editor = copy.deepcopy(known).train().requires_grad_(True)
        self.engine = Engine(engine.model.with_networks(editors={**editors, "editor": self.editor}))
        self.by_label = torch.tensor(labels)
        self.by_reference = torch.tensor(
            [k for k, name in enumerate(self.attributes) if editor_for(editors, name, self.bundle.name) is known]
        )
        self._groups = torch.tensor([[other in related(name) for other in self.attributes] for name in self.attributes])
        self._first: dict[str, float] = {}
        self.scalars: dict[str, float] = {}
        self.best = EarlyStopping(self.editor, self.scalars, config.patience)
        self.networks: Mapping[str, nn.Module] = {
            "editor": self.editor,
            BEST: self.best.network,
            "before": known,  # held to in a resumed run too, though its result has replaced the model's editor
        }
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(self.editor.parameters(), lr=config.learning_rate, betas=BETAS)
        }

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One batch of edits by label, which a judge measures, and one of edits by reference, which are to stay."""
        self._move(run)
        first = self.training[run.indices(len(self.training))]
        second = self.training[run.indices(len(self.training), stream=SECOND_ORDER)]
        attribute = self.by_label[torch.randint(len(self.by_label), (ATTRIBUTES,))]
        attribute = attribute[torch.arange(len(first)) * ATTRIBUTES // len(first)]
        judge = self.judges[int(torch.randint(len(self.judges), ()))]
        losses, _ = self._losses(run, self.engine, judge, first, attribute)
        attribute = self.by_reference[torch.randint(len(self.by_reference), (len(first),))]
        losses["reference"] = self._reference_loss(run, self.engine, first, second, attribute)
        run.update(self.optimizers["adam"], self._total(losses), clip=CLIP)
        return losses

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """The losses on edits of held-out codes, success and side effects by the judges; keeps the best weights."""
        self._move(run)
        if not len(self.held_out):
            self.best.update(self.editor, math.inf, run)
            return {}
        if not self._first:
            self._first = self._measure(run, self.before)
            if self.config.patience and self.scalars["best"] == math.inf:
                self.best.update(self.before.networks.editors["editor"], self._first["loss"], run)
        figures = self._measure(run, self.engine)
        self.best.update(self.editor, figures["loss"], run)
        figures |= {f"{name}_before": self._first[name] for name in ("success", "side_effects")}
        return {f"val/{name}": figure for name, figure in figures.items()}

    def sample(self) -> Pixels | None:
        """None: codes are trained on, not images."""
        return None

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """The model with this editor. Raises OutputError, BundleError."""
        facts: dict[str, Any] = {"codes": len(self.training)}
        if "editor" in self.bundle.training:
            facts["before"] = self.bundle.training["editor"]
        network = self.best.network
        made = provenance(self.config, **facts)
        parts = {"editor": (network.config, network.state_dict())}
        return with_parts(self.bundle, path, parts, {"editor": made}, overwrite=overwrite)

    @torch.no_grad()
    def _measure(self, run: Run, engine: Engine) -> dict[str, float]:
        """Losses, success and side effects of MEASURED edits, means over the judges."""
        source = self.held_out[torch.arange(MEASURED) % len(self.held_out)]
        attribute = self.by_label[torch.arange(MEASURED) * len(self.by_label) // MEASURED]
        by_reference = self.by_reference[torch.arange(MEASURED) * len(self.by_reference) // MEASURED]
        reference = self._reference_loss(run, engine, source, source.roll(1), by_reference)
        found: list[dict[str, Tensor]] = []
        for judge in self.judges:
            for codes, attributes in zip(
                torch.split(source, MEASURED_AT_ONCE), torch.split(attribute, MEASURED_AT_ONCE), strict=True
            ):
                losses, figures = self._losses(run, engine, judge, codes, attributes)
                losses["reference"] = reference
                found.append({**losses, "loss": self._total(losses), **figures})
        return {name: torch.stack([one[name] for one in found]).mean().item() for name in found[0]}

    def _losses(
        self, run: Run, engine: Engine, judge: AttributeNetwork, index: Tensor, attribute: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses, success and side effects of adding an attribute to each code, or removing it where it is there."""
        source, target = self._codes(run, index), attribute.to(run.device)
        rows = torch.arange(len(index), device=run.device)
        editor = engine.networks.editors["editor"]
        with torch.no_grad():
            classifier = engine.model.require_classifier()
            present = classifier(source)[rows, target] <= 0
            former = self._edit(self.before, source, target, present)
            correction = self._edit(engine, source, target, present) - editor.by_label(source, present, target)
            with run.autocast():
                before = self._predict(judge, source)
        with run.autocast():
            edited = editor.by_label(source, present, target).float() + correction
            after = self._predict(judge, edited)
        others = ~self._groups.to(run.device)[target]  # (B, K)
        probability = torch.where(present, TARGET_PROBABILITY, 1 - TARGET_PROBABILITY)
        entropy, least = (
            F.binary_cross_entropy_with_logits(x, before.sigmoid(), reduction="none") for x in (after, before)
        )
        count = len(self.attributes)
        losses = {
            "target": F.binary_cross_entropy_with_logits(after[rows, target], probability) / count,
            "preservation": torch.where(others, entropy - least, 0.0).sum(dim=1).mean() / count,
            "code": F.mse_loss(edited, former),
        }
        changed = (((after > 0) != (before > 0)) & others).sum() / others.sum().clamp_min(1)
        success = ((after[rows, target] > 0) == present).float().mean()
        return losses, {"success": success, "side_effects": changed}

    def _reference_loss(self, run: Run, engine: Engine, first: Tensor, second: Tensor, attribute: Tensor) -> Tensor:
        """The squared distance of edits by reference from the former ones."""
        given = self._codes(run, first), self._codes(run, second), attribute.to(run.device)
        with torch.no_grad(), run.autocast():
            wanted = self.before.networks.editors["editor"](*given).float()
        with run.autocast():
            return F.mse_loss(engine.networks.editors["editor"](*given).float(), wanted)

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum."""
        config = self.config
        weights = {
            "target": config.target_weight,
            "preservation": config.preservation_weight,
            "code": config.proximity_weight,
            "reference": config.proximity_weight,
        }
        return weighted_sum(losses, weights)

    def _edit(self, engine: Engine, source: Tensor, attribute: Tensor, present: Tensor) -> Tensor:
        """The whole edit by label of each code (B, N, D), with the correction after the editor."""
        edited = source.clone()
        for index in set(attribute.tolist()):
            rows = attribute == index
            edited[rows] = set_attribute(
                engine, source[rows], self.attributes[index], present[rows], 1.0, "transformer"
            )
        return edited

    def _predict(self, judge: AttributeNetwork, codes: Tensor) -> Tensor:
        """The judge's logits (B, K) of the model's attributes in the images of codes (B, N, D)."""
        full, (height, width) = self.engine.networks.generator.config.resolution, self.engine.target_size
        side = self.config.resolution or full
        rendered: Tensor = self.engine.networks.generator(codes, noise="const", resolution=side)
        images = centre_crop(rendered.clamp(-1, 1), (height * side // full, width * side // full))
        if isinstance(judge, Judge):
            images = resize(images, (judge.config.input_height, judge.config.input_width))
        logits: Tensor = judge(images)
        return logits[:, : len(self.attributes)].float()

    def _judge(self, name: str) -> AttributeNetwork:
        """A judge of the model's attributes: of a file, the first targets are taken for them."""
        judge = load_attribute_network(name)
        same = not isinstance(judge, Judge) or self.attributes == tuple(
            item.name for item in Bundle.load(find_bundle(name)).attributes
        )
        if judge.head.out_features < len(self.attributes) or not same:
            raise InputError(f"the judge {name} predicts other attributes than the model knows: train one on the same")
        return judge

    def _codes(self, run: Run, index: Tensor) -> Tensor:
        return self.codes[index].to(run.device)

    def _move(self, run: Run) -> None:
        for engine in (self.before, self.engine):
            engine.to(run.device)
        for judge in self.judges:
            judge.to(run.device)
