"""The keys of the trainings of a generator: StyleGAN2, an autoencoder, and fine-tuning on fixed codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from stedit.errors import UsageError
from stedit.models.config import GeneratorConfig, stylegan2_channels
from stedit.training.config import TrainingConfig, key
from stedit.training.image_config import EncoderSizesConfig, ImageTrainingConfig, ReconstructionTrainingConfig


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(TrainingConfig):
    """A training with a discriminator."""

    r1_gamma: float = key(10.0, text="Gamma, the weight of R1.", low=0)
    r1_interval: int = key(16, text="Steps between two computations of R1.", low=1)
    augmentation: Literal["adaptive", "none"] = key(
        "adaptive", text="How the discriminator's images are changed: adaptive, more the more it overfits, or none."
    )
    ada_target: float = key(0.6, text="The overfitting aimed at, mean sign of its logits.", low=0, high=1)
    ada_images: int = key(500_000, text="Images in which the augmentation can go from none to all.", low=1)


@dataclass(frozen=True, kw_only=True)
class NewGeneratorConfig(DiscriminatorConfig, ImageTrainingConfig):
    """A training whose result is a model of its own."""

    init_from: str = key(
        "", text="A model to train on: its weights are the start, and its sizes replace the keys of sizes.", local=True
    )

    name: str = key("my-model", text="The name of the model.")
    domain: str = key("", text="What the images show, such as: portraits.")
    license: str = key("unknown", text="The licence of the model, an SPDX name.")
    alignment: Literal["none", "ffhq"] = key(
        "none", text="How photographs are cropped for the model: ffhq, as `stedit align` does it, or none: not at all."
    )

    resolution: int = key(256, text="Side of the generated square, a power of two, in pixels.", low=8)
    style_dim: int = key(512, text="Numbers in a style.", low=1)
    mapping_layers: int = key(8, text="Layers of the mapping network.", low=1)
    channels: tuple[int, ...] = key((), text="Channels at 4, 8, ... px; none: StyleGAN2's (config F).", low=1)
    discriminator_channels: tuple[int, ...] = key((), text="The same of the discriminator; none: as channels.", low=1)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if not self.data:
            raise ValueError("data is empty: name folders or zip files of images")
        if not self.init_from:
            self.check_sizes()

    def check_sizes(self) -> None:
        """Raise ValueError if sizes contradict each other; known when the model to start from has been read."""
        generator = self.generator_config()
        if self.discriminator_channels and len(self.discriminator_channels) != len(generator.channels):
            raise ValueError(f"discriminator_channels needs {len(generator.channels)} widths, for 4 px and up")

    def with_sizes(self, sizes: GeneratorConfig) -> Self:
        """The config with the sizes of the model to start from. Raises UsageError."""
        config = replace(
            self,
            resolution=sizes.resolution,
            style_dim=sizes.style_dim,
            mapping_layers=sizes.mapping_layers,
            channels=sizes.channels,
        )
        try:
            config.check_sizes()
        except ValueError as error:
            raise UsageError(f"starting from {self.init_from}: {error}") from error
        return config

    def generator_config(self) -> GeneratorConfig:
        """The generator's sizes. Raises ValueError."""
        channels = self.channels
        if not channels and self.resolution.bit_length() < 13:
            channels = stylegan2_channels(self.resolution)
        return GeneratorConfig(self.resolution, self.style_dim, self.mapping_layers, channels)


@dataclass(frozen=True, kw_only=True)
class GeneratorTrainingConfig(NewGeneratorConfig):
    """A StyleGAN2 generator (Karras et al. 2020)."""

    command: ClassVar[str] = "generator"

    steps: int = key(100_000, text="How many steps to train.", low=1, resumable=True)
    learning_rate: float = key(2e-3, text="Adam's step size.", above=0)
    ema_images: int = key(10_000, text="Images in which the moving average of weights halves.", low=1)
    style_mixing_prob: float = key(0.9, text="Probability that an image has the styles of two codes.", low=0, high=1)
    path_length_weight: float = key(2.0, text="Weight of the path length regularisation; 0: none.", low=0)
    path_length_interval: int = key(8, text="Steps between two computations of it.", low=1)


@dataclass(frozen=True, kw_only=True)
class AutoencoderTrainingConfig(NewGeneratorConfig, ReconstructionTrainingConfig, EncoderSizesConfig):
    """An encoder and a generator, trained together."""

    command: ClassVar[str] = "autoencoder"

    steps: int = key(100_000, text="How many steps to train.", low=1, resumable=True)
    learning_rate: float = key(
        1e-3, text="Adam's step size, of the encoder; the generator's is ten times that.", above=0
    )
    image_weight: float = key(1.0, text="Weight of the pixels' L1 over scales and gradients.", low=0)
    adversarial_weight: float = key(0.0, text="Weight of the adversarial loss; 0: no discriminator.", low=0)
    adversarial_start: int = key(0, text="The step at which the adversarial loss sets in.", low=0)
    synthetic_fraction: float = key(
        0.5,
        text="Share of the discriminator's images rendered from random codes, to train these too.",
        low=0,
        high=1,
    )
    half_resolution_steps: int = key(0, text="First steps, in which images are compared at half size.", low=0)
    code_noise: float = key(0.15, text="Mean standard deviation of noise on codes, against holes.", low=0)
    w_collapse_prob: float = key(0.2, text="Share of codes replaced by the mean of their styles.", low=0, high=1)
    labels: str = key("", text="JSONL of id, attributes and params to predict from codes.", local=True)
    supervision_weight: float = key(0.15, text="Weight of that prediction.", low=0)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if self.perceptual == "discriminator" and not self.adversarial_weight:
            raise ValueError("perceptual is discriminator, but adversarial_weight is 0, so there is none")

    def check_sizes(self) -> None:
        """Raise ValueError if sizes contradict each other."""
        super().check_sizes()
        if not self.init_from:
            if self.resolution < 16:
                raise ValueError(f"resolution is {self.resolution}, but an encoder needs 16 or more")
            generator = self.generator_config()
            self.encoder_config(generator.style_count, generator.style_dim)


@dataclass(frozen=True, kw_only=True)
class GeneratorFinetuneConfig(ReconstructionTrainingConfig, DiscriminatorConfig):
    """The generator of a model, trained on alone, on fixed codes and their images."""

    command: ClassVar[str] = "finetune-generator"

    init_from: str = key("", text="The model whose generator is trained on.", local=True)
    data: tuple[str, ...] = key((), text="Folders and zip files of the images.", local=True)
    codes: tuple[str, ...] = key(
        (),
        text="Codes of the images, as train editor takes them; none: the encoder of init_from finds them.",
        local=True,
    )
    edits: str = key(
        "",
        text="JSONL of ground-truth edits, as train editor takes it, to render what the editor makes.",
        local=True,
    )
    edited_fraction: float = key(0.5, text="Share of the codes that the editor makes.", low=0, high=1)

    steps: int = key(100_000, text="How many steps to train.", low=1, resumable=True)
    learning_rate: float = key(2e-3, text="Adam's step size.", above=0)
    image_weight: float = key(1.0, text="Weight of the pixels' L1 over scales and gradients.", low=0)
    adversarial_weight: float = key(0.0, text="Weight of the adversarial loss; 0: no discriminator.", low=0)
    adversarial_start: int = key(0, text="The step at which the adversarial loss sets in.", low=0)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if not self.data:
            raise ValueError("data is empty: name folders or zip files of images")
        if not self.init_from:
            raise ValueError("init_from is empty: name the model whose generator is trained on")
        if self.perceptual == "discriminator":
            raise ValueError(
                "perceptual is discriminator, but that of patches has no features to compare: choose another"
            )


TrainingConfig.join_modes(
    adversarial=GeneratorTrainingConfig, joint=AutoencoderTrainingConfig, codes=GeneratorFinetuneConfig
)
