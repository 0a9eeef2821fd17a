"""The keys of `stedit train inversion`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stedit.models.config import MAX_CORRECTIONS
from stedit.training.config import key
from stedit.training.image_config import EncoderSizesConfig, ImageTrainingConfig, ReconstructionTrainingConfig


@dataclass(frozen=True, kw_only=True)
class EncoderTrainingConfig(ImageTrainingConfig, ReconstructionTrainingConfig, EncoderSizesConfig):
    """A style transformer that inverts images into the codes of a given generator (Hu et al. 2022, section 3.2)."""

    command: ClassVar[str] = "inversion"

    model: str = key(
        "", text="The model whose generator is inverted: a folder, or the name of an embedded one.", local=True
    )
    steps: int = key(100_000, text="How many steps to train.", low=1, resumable=True)
    batch_size: int = key(8, text="Examples in a step, of all processes together.", low=1)
    learning_rate: float = key(1e-4, text="Adam's step size.", above=0)

    finetune: bool = key(
        False, text="Train the model's own encoder on, whose sizes stay, instead of a new one of the encoder_ sizes."
    )
    corrections: int = key(
        0,
        text="Corrections of a code by how the encoder answers to the code's rendering, in training and ever after.",
        low=0,
        high=MAX_CORRECTIONS,
    )
    loss_resolution: int = key(
        256,
        text="Side at which larger images are compared, in pixels; not by a discriminator, whose size is fixed.",
        low=8,
    )
    l2_weight: float = key(1.0, text="Weight of the pixels' mean squared difference.", low=0)
    image_weight: float = key(
        0.0, text="Weight of the pixels' L1 over scales and gradients, as of an autoencoder.", low=0
    )
    identity_weight: float = key(0.1, text="Weight of the identity loss, if there are weights for it.", low=0)
    identity: str = key(
        "", text="ArcFace's IR-SE50 weights, for faces, or MoCo's ResNet-50 weights, for anything else.", local=True
    )
    w_norm_weight: float = key(0.005, text="Weight of the codes' distance from the mean code.", low=0)
    synthetic_fraction: float = key(
        0.0,
        text="Share of each batch rendered from random codes, which are known; all without data.",
        low=0,
        high=1,
    )
    code_weight: float = key(1.0, text="Weight of the squared difference from known codes.", low=0)
    discriminator: str = key(
        "", text="The run folder of the generator's training, for its discriminator's features.", local=True
    )

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if not self.model:
            raise ValueError("model is empty: name the model whose generator is to be inverted")
        if self.val_images and not self.data:
            raise ValueError("val_images is given without data: name folders or zip files of images")
