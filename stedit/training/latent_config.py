"""Keys that the trainings on codes share: which model, which codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stedit.training.config import TrainingConfig, key


@dataclass(frozen=True, kw_only=True)
class LatentTrainingConfig(TrainingConfig):
    """A network that learns from codes."""

    schedule: Literal["constant", "cosine"] = key(
        "cosine", text="How the learning rate goes on: constant, or cosine, down to zero at the last step."
    )
    eval_interval: int = key(200, text="Steps between two evaluations on held-out codes.", low=1)
    patience: int = key(
        0, text="Evaluations without a better held-out loss after which to stop; 0: do all steps.", low=0
    )

    model: str = key(
        "", text="The model that the codes belong to: a folder, or the name of an embedded one.", local=True
    )
    codes: tuple[str, ...] = key(
        (),
        text="Folders of latent files, .safetensors files of codes, or folders and zip files of images to invert.",
        local=True,
    )
    synthetic_latents: int = key(0, text="Codes to sample from the model's mapping network, beside the others.", low=0)
    val_fraction: float = key(0.1, text="Share of the codes kept from training, to measure on.", low=0, high=0.5)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        if not self.model:
            raise ValueError("model is empty: name the model that the codes belong to")
        if not self.codes and not self.synthetic_latents:
            raise ValueError("codes is empty and synthetic_latents is 0: name folders or files of codes")
        if not self.val_fraction and self.patience:
            raise ValueError("patience is given, but val_fraction is 0, so there is nothing to measure on")
