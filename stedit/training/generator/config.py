"""The keys of `stedit train generator`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stedit.models.config import GeneratorConfig, stylegan2_channels
from stedit.training.config import key
from stedit.training.reconstruction_config import ReconstructionTrainingConfig


@dataclass(frozen=True, kw_only=True)
class GeneratorTrainingConfig(ReconstructionTrainingConfig):
    """A StyleGAN2 generator, by itself, jointly with an encoder, or on codes; the encoder_ keys are for joint mode."""

    mode: Literal["adversarial", "joint", "codes"] = key(
        "adversarial",
        text="adversarial: StyleGAN2. joint: an autoencoder, for those without a GPU. codes: the generator of "
        "init_from alone, on codes.",
    )
    steps: int = key(100_000, text="How many steps to train.", low=1, resumable=True)
    learning_rate: float = key(2e-3, text="Adam's step size; in joint mode the encoder's, 1e-3 is good.", above=0)

    init_from: str = key(
        "", text="A model to train on: its weights are the start, and its sizes replace the keys of sizes.", local=True
    )

    codes: tuple[str, ...] = key(
        (),
        text="Codes: those of the pictures, as train editor takes them; none: the encoder of init_from finds them.",
        local=True,
    )
    edits: str = key(
        "",
        text="Codes: JSONL of ground-truth edits, as train editor takes it, to render what the editor makes.",
        local=True,
    )
    edited_fraction: float = key(0.5, text="Codes: share of the codes that the editor makes.", low=0, high=1)

    name: str = key("my-model", text="The name of the model.")
    domain: str = key("", text="What the pictures show, such as: portraits.")
    license: str = key("unknown", text="The licence of the model, an SPDX name.")

    resolution: int = key(256, text="Side of the generated square, a power of two, in pixels.", low=8)
    style_dim: int = key(512, text="Numbers in a style.", low=1)
    mapping_layers: int = key(8, text="Layers of the mapping network.", low=1)
    channels: tuple[int, ...] = key((), text="Channels at 4, 8, ... px; none: StyleGAN2's (config F).", low=1)
    discriminator_channels: tuple[int, ...] = key((), text="The same of the discriminator; none: as channels.", low=1)

    style_mixing_prob: float = key(0.9, text="Probability that a picture has the styles of two codes.", low=0, high=1)
    r1_gamma: float = key(10.0, text="Gamma, the weight of R1.", low=0)
    r1_interval: int = key(16, text="Steps between two computations of R1.", low=1)
    path_length_weight: float = key(2.0, text="Weight of the path length regularisation; 0: none.", low=0)
    path_length_interval: int = key(8, text="Steps between two computations of it.", low=1)
    augmentation: Literal["adaptive", "none"] = key(
        "adaptive", text="How the discriminator's pictures are changed: adaptive, more the more it overfits, or none."
    )
    ada_target: float = key(0.6, text="The overfitting aimed at, mean sign of its logits.", low=0, high=1)
    ada_images: int = key(500_000, text="Images in which the augmentation can go from none to all.", low=1)

    image_weight: float = key(1.0, text="Joint, codes: weight of the pixels' difference.", low=0)
    adversarial_weight: float = key(
        0.0, text="Joint, codes: weight of the adversarial loss; 0: no discriminator.", low=0
    )
    adversarial_start: int = key(0, text="Joint, codes: the step at which the adversarial loss sets in.", low=0)
    synthetic_fraction: float = key(
        0.5,
        text="Joint: share of the discriminator's pictures drawn from random codes, to train these too.",
        low=0,
        high=1,
    )
    half_resolution_steps: int = key(0, text="Joint: first steps in which pictures are compared at half size.", low=0)
    code_noise: float = key(0.15, text="Joint: mean standard deviation of noise on codes, against holes.", low=0)
    w_collapse_prob: float = key(0.2, text="Joint: share of codes replaced by the mean of their styles.", low=0, high=1)
    labels: str = key(
        "", text="Joint: JSONL of id, attributes and params to predict from codes, if there is one.", local=True
    )
    supervision_weight: float = key(0.15, text="Joint: weight of that prediction.", low=0)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if not self.data:
            raise ValueError("data is empty: name folders or zip files of pictures")
        if self.mode == "codes" and not self.init_from:
            raise ValueError("mode is codes, but init_from names no model whose codes are to be drawn")
        for name in ("codes", "edits"):
            if getattr(self, name) and self.mode != "codes":
                raise ValueError(f"{name} is for the mode codes, and mode is {self.mode}: leave one of them out")
        if self.mode == "codes" and self.perceptual == "discriminator":
            raise ValueError(
                "perceptual is discriminator, but that of the mode codes has no features to compare: choose another"
            )
        if self.mode == "joint" and self.perceptual == "discriminator" and not self.adversarial_weight:
            raise ValueError("perceptual is discriminator, but adversarial_weight is 0, so there is none")
        if not self.init_from:
            self.check_sizes()

    def check_sizes(self) -> None:
        """Raise ValueError if sizes contradict each other; known when the model to start from has been read."""
        generator = self.generator_config()
        if self.discriminator_channels and len(self.discriminator_channels) != len(generator.channels):
            raise ValueError(f"discriminator_channels needs {len(generator.channels)} widths, for 4 px and up")
        if self.mode == "joint" and not self.init_from:
            if self.resolution < 16:
                raise ValueError(f"resolution is {self.resolution}, but an encoder needs 16 or more")
            self.encoder_config(generator.style_count, generator.style_dim)

    def generator_config(self) -> GeneratorConfig:
        """The generator's sizes. Raises ValueError."""
        channels = self.channels
        if not channels and self.resolution.bit_length() < 13:
            channels = stylegan2_channels(self.resolution)
        return GeneratorConfig(self.resolution, self.style_dim, self.mapping_layers, channels)
