"""The keys of `stedit train classifier`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stedit.training.config import key
from stedit.training.latent_config import LatentTrainingConfig


@dataclass(frozen=True, kw_only=True)
class ClassifierTrainingConfig(LatentTrainingConfig):
    """A latent classifier: codes -> attributes (Hu et al. 2022, section 3.3)."""

    command: ClassVar[str] = "classifier"

    steps: int = key(3000, text="How many steps to train.", low=1, resumable=True)
    batch_size: int = key(256, text="Codes in a step, of all processes together.", low=1)
    learning_rate: float = key(1e-3, text="AdamW's step size.", above=0)

    labels: str = key(
        "", text="CSV or JSONL of the codes' attributes: 1, 0, a probability, or nothing where unknown.", local=True
    )
    attributes: tuple[str, ...] = key((), text="Attributes to learn, in this order; none: all that are labelled.")
    judge: str = key(
        "", text="The model whose judge labels sampled codes, by their images; none: the model itself.", local=True
    )
    pseudo_label_threshold: float = key(
        0.8, text="Least probability at which the judge's prediction becomes a label, 0.5 to 1.", low=0.5, high=1
    )
    balance: bool = key(True, text="Let codes with and without an attribute count the same, however rare it is.")
    calibrate: bool = key(True, text="Scale the logits on held-out codes, so that their probabilities are true.")

    hidden: tuple[int, ...] = key((256, 256), text="Widths of the hidden layers; published: 2048 and 512.", low=1)
    embedding: int = key(32, text="Size of an attribute's embedding.", low=1)
    covariance_rank: int = key(
        64, text="Principal axes of the codes to keep, which hold edits plausible; 0: none, as published.", low=0
    )
    noise: float = key(
        0.3, text="Standard deviation of noise on codes, in units of each coordinate's own deviation.", low=0
    )
    weight_decay: float = key(0.02, text="AdamW's weight decay.", low=0)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if self.codes and not self.labels:
            raise ValueError("labels is empty: name the CSV or JSONL file that labels the codes")
        if self.labels and not self.codes:
            raise ValueError("labels is given without codes: name folders or files of codes")
        if self.calibrate and not self.val_fraction:
            raise ValueError("calibrate is true, but val_fraction is 0: hold some codes out, or set calibrate to false")
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError("attributes names one twice: name each once")
