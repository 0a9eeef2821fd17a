"""ArcFace's `model_ir_se50.pth`; its IR-SE body, under the same names, is in every pSp-like encoder."""

from __future__ import annotations

from itertools import groupby

from stedit.checkpoints.state_dicts import Checkpoint, Part, Tensors, count, remap, size
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """An identity network; our names are theirs."""
    config = backbone_config(checkpoint.tensors)
    return {"identity": (config, remap(lambda: IdentityNetwork(config), lambda name: name, checkpoint.tensors))}


def backbone_config(tensors: Tensors) -> BackboneConfig:
    """Sizes from shapes: a stage is a run of units of one width."""
    units = range(count(tensors, "body.{}.res_layer.1.weight"))
    widths = [size(tensors, f"body.{unit}.res_layer.1.weight", 0) for unit in units]
    stages = [(width, len(list(run))) for width, run in groupby(widths)]
    bottleneck = size(tensors, "body.0.res_layer.5.fc1.weight", 0)
    return BackboneConfig(
        stem_width=size(tensors, "input_layer.0.weight", 0),
        widths=tuple(width for width, _ in stages),
        blocks=tuple(length for _, length in stages),
        reduction=widths[0] // bottleneck,
    )
