"""Keys that trainings on images share: the images, the losses on their reconstructions, the sizes of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stedit.models.config import EncoderConfig
from stedit.training.config import TrainingConfig, key


@dataclass(frozen=True, kw_only=True)
class ImageTrainingConfig(TrainingConfig):
    """A network that learns from images."""

    data: tuple[str, ...] = key((), text="Folders and zip files of images.", local=True)
    flip: bool = key(True, text="Mirror images half of the time.")
    repeat: tuple[int, ...] = key(
        (), text="How often the images of each source of data come in one pass; none: once.", low=1
    )
    jitter: float = key(
        0.0, text="How much images are turned, scaled, shifted and recoloured at random; 1: a little.", low=0, high=4
    )
    cache_images: bool = key(
        False, text="Keep decoded images in memory, which GPUs need to be busy.", resumable=True, local=True
    )


@dataclass(frozen=True, kw_only=True)
class ReconstructionTrainingConfig(TrainingConfig):
    """A training that compares images with their reconstructions."""

    val_images: int = key(0, text="Images kept from training, to measure reconstructions on.", low=0)
    ema_images: int = key(10_000, text="Images in which the moving average of weights halves.", low=1)

    perceptual: Literal["auto", "lpips", "judge", "discriminator", "none"] = key(
        "auto",
        text="Which perceptual loss: lpips, judge, discriminator or none; auto: the first for which there are weights.",
    )
    perceptual_weight: float = key(0.8, text="Weight of the perceptual loss.", low=0)
    lpips_backbone: str = key("", text="AlexNet's or VGG16's weights, torchvision's file, for LPIPS.", local=True)
    lpips_heads: str = key(
        "", text="The heads of LPIPS for that network; none: all channels count the same.", local=True
    )
    judge: tuple[str, ...] = key(
        (), text="Models whose judges give the perceptual loss, a random one of them each time.", local=True
    )
    logit_weight: float = key(0.0, text="Weight, within the judge's loss, of its logits beside its features.", low=0)
    perceptual_shift: int = key(
        0,
        text="Maximum random shift, in pixels, of images before networks compare them; it prevents grid artefacts.",
        low=0,
        high=64,
    )

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if self.lpips_heads and not self.lpips_backbone:
            raise ValueError("lpips_heads is given without lpips_backbone: give both")


@dataclass(frozen=True, kw_only=True)
class EncoderSizesConfig(TrainingConfig):
    """A training of a new encoder."""

    encoder_size: int = key(256, text="Side of the encoder's square input, in pixels.", low=16)
    encoder_unshuffle: int = key(
        1,
        text="Squares of as many pixels a side become one pixel of more channels before the encoder.",
        low=1,
    )
    encoder_stem: int = key(64, text="Channels of the encoder's first convolution.", low=1)
    encoder_widths: tuple[int, ...] = key(
        (), text="Channels of the encoder's four stages, the last one style_dim; none: its 1/8, 1/4, 1/2 and 1.", low=1
    )
    encoder_blocks: tuple[int, ...] = key((3, 4, 14, 3), text="Residual units of the four stages; IR-SE50's.", low=1)
    encoder_reduction: int = key(16, text="Bottleneck of the squeeze-excitation.", low=1)
    encoder_heads: int = key(4, text="Attention heads.", low=1)
    encoder_feedforward: int = key(1024, text="Hidden units of the transformer.", low=1)
    encoder_positions: bool = key(False, text="Learn a position embedding; it helps training from scratch.")
    encoder_query_rank: int = key(
        0,
        text="Rank of a linear start from the coarse features, which speeds up training from scratch; 0: none.",
        low=0,
    )

    def encoder_config(self, style_count: int, style_dim: int) -> EncoderConfig:
        """The encoder's sizes. Raises ValueError."""
        config = EncoderConfig(
            stem_width=self.encoder_stem,
            widths=self.encoder_widths or tuple(max(1, style_dim // part) for part in (8, 4, 2, 1)),
            blocks=self.encoder_blocks,
            reduction=self.encoder_reduction,
            input_height=self.encoder_size,
            input_width=self.encoder_size,
            unshuffle=self.encoder_unshuffle,
            style_count=style_count,
            style_dim=style_dim,
            heads=self.encoder_heads,
            feedforward=self.encoder_feedforward,
            position_embedding=self.encoder_positions,
            query_rank=self.encoder_query_rank,
        )
        if config.widths[-1] != style_dim:
            raise ValueError(f"encoder_widths ends in {config.widths[-1]}, not in the style dimension {style_dim}")
        return config
