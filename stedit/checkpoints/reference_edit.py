"""The Style Transformer's reference-edit checkpoints: edit transformer and generator.

Their classifier is left out: the published training restored all but it, so it may hold random numbers.
"""

from __future__ import annotations

from stedit.checkpoints import rosinality
from stedit.checkpoints.state_dicts import Checkpoint, Part, remap, size, subtree
from stedit.checkpoints.style_transformer import HEADS
from stedit.models.config import EditorConfig
from stedit.models.edit_transformer import EditTransformer


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """Editor and generator; the released layer uses plain attention and gives the edited code itself."""
    generator = rosinality.generator(checkpoint, "decoder.")
    tensors = subtree(checkpoint.tensors, "encoder.transformerlayer.")
    config = EditorConfig(
        style_count=generator[0].style_count,
        style_dim=size(tensors, "linear1.weight", 1),
        layers=1,
        heads=HEADS,
        feedforward=size(tensors, "linear1.weight", 0),
        doubly_normalised=False,
        residual=False,
    )
    if "classifier.fcs.0.weight" in checkpoint.tensors:
        checkpoint.notes.append("its classifier was left out: the published training never restored it")
    state = remap(lambda: EditTransformer(config), lambda name: name.removeprefix("layers.0."), tensors)
    return {"editor": (config, state), "generator": generator}
