"""The Style Transformer's latent classifier LCNet; its logits are in CelebA's order of attributes."""

from __future__ import annotations

import torch

from stedit.checkpoints.state_dicts import Checkpoint, Part, count, remap, require_tensor, size
from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier

STYLE_DIM = 512  # the flattened code's length does not tell

# What the logits stand for, in CelebA's order, by which the classifier was trained (Liu et al. 2015).
# fmt: off
CELEBA_ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)
# fmt: on

# ours -> theirs, one small tensor for each attribute, which ours stacks
STACKED = {
    "embedding_weight": "indep_fcs.{}.weight",
    "embedding_bias": "indep_fcs.{}.bias",
    "logit_weight": "output_fcs.{}.weight",
    "logit_bias": "output_fcs.{}.bias",
}


def build(checkpoint: Checkpoint) -> dict[str, Part]:
    """A classifier of flattened W+ codes."""
    tensors = checkpoint.tensors
    layers = count(tensors, "fcs.{}.weight")
    code_length = size(tensors, "fcs.0.weight", 1)
    if code_length % STYLE_DIM:
        raise ValueError(f"its input of {code_length} values is no whole number of styles of size {STYLE_DIM}")
    config = ClassifierConfig(
        style_count=code_length // STYLE_DIM,
        style_dim=STYLE_DIM,
        attributes=count(tensors, "output_fcs.{}.weight"),
        hidden=tuple(size(tensors, f"fcs.{layer}.weight", 0) for layer in range(layers)),
        embedding=size(tensors, "indep_fcs.0.weight", 0),
    )
    stacked = {
        ours: torch.stack([require_tensor(tensors, theirs.format(index)) for index in range(config.attributes)])
        for ours, theirs in STACKED.items()
    }
    state = remap(lambda: LatentClassifier(config), lambda name: name.replace("trunk.", "fcs."), {**tensors, **stacked})
    return {"classifier": (config, state)}
