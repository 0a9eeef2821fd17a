"""`stedit train editor`: the task of a config, whose `mode` says what edits are judged by: codes or pictures."""

from __future__ import annotations

from stedit.editing.attributes import resolve_attribute
from stedit.engine import Engine
from stedit.errors import MissingPartError
from stedit.training.data.edits import GroundTruthEdits
from stedit.training.data.latents import LatentSet
from stedit.training.editor.config import EditorTrainingConfig
from stedit.training.editor.finetune import EditorFinetuneTask
from stedit.training.editor.latent import EditorTask
from stedit.training.run import Task


def build(config: EditorTrainingConfig) -> Task:
    """The task of a config: reads, inverts and samples the codes.

    Raises:
        InputError: codes or edits cannot be used.
        AttributeNameError, MissingPartError: the model lacks the attribute, or a classifier.
        BundleError: the model cannot be used.
    """
    engine = Engine.from_pretrained(config.model, device=config.device)
    if engine.networks.classifier is None:
        raise MissingPartError(
            f"the model {engine.bundle.name!r} has no classifier, by which edits are learned: train one first",
            action="train a classifier",
        )
    if config.mode == "pictures":
        return EditorFinetuneTask(config, engine)
    only = resolve_attribute(config.attribute, engine.attributes)[0] if config.attribute else ""
    codes = LatentSet.read(config.codes, engine)
    edits = GroundTruthEdits.read(config.edits, codes.names, engine.attributes, only)
    if config.synthetic_latents:
        codes = codes.join(LatentSet.sample(config.synthetic_latents, engine, seed=config.seed))
    classifier = engine.model.require_classifier()
    pretrained = engine.networks.editors.get("editor") if config.finetune else None
    if config.finetune and pretrained is None:
        raise MissingPartError(f"the model {engine.bundle.name!r} has no editor to train on: leave finetune out")
    return EditorTask(config, engine.bundle, classifier, codes.codes, edits, only, pretrained)
