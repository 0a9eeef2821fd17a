"""`stedit train editor`: the task of a config, whose `mode` says what edits are judged by: codes or pictures."""

from __future__ import annotations

from typing import cast

from stedit.editing.attributes import resolve_attribute
from stedit.engine import Engine
from stedit.errors import MissingPartError
from stedit.models.edit_transformer import EditTransformer
from stedit.models.latent_classifier import LatentClassifier
from stedit.training.data.edits import TrueEdits
from stedit.training.data.latents import CodeSet
from stedit.training.editor.config import EditorTraining
from stedit.training.editor.finetune import Watched
from stedit.training.editor.latent import Editing
from stedit.training.run import Task


def build(config: EditorTraining) -> Task:
    """The task of a config: reads, inverts and samples the codes.

    Raises:
        InputError: codes or edits cannot be used.
        AttributeNameError, MissingPartError: the model lacks the attribute, or a classifier.
        BundleError: the model cannot be used.
    """
    engine = Engine.from_pretrained(config.model, device=config.device)
    if "classifier" not in engine.networks:
        raise MissingPartError(
            f"the model {engine.bundle.name!r} has no classifier, by which edits are learned: give it one with "
            "stedit train classifier"
        )
    if config.mode == "pictures":
        return Watched(config, engine)
    only = resolve_attribute(config.attribute, engine.attributes)[0] if config.attribute else ""
    codes = CodeSet.read(config.codes, engine)
    edits = TrueEdits.read(config.edits, codes.names, engine.attributes, only)
    if config.sampled:
        codes = codes.join(CodeSet.sample(config.sampled, engine, seed=config.seed))
    classifier = cast(LatentClassifier, engine.networks["classifier"])
    start = cast("EditTransformer | None", engine.networks.get("editor")) if config.keep_editor else None
    if config.keep_editor and start is None:
        raise MissingPartError(f"the model {engine.bundle.name!r} has no editor to train on: leave keep_editor out")
    return Editing(config, engine.bundle, classifier, codes.codes, edits, only, start)
