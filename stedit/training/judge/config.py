"""The keys of `stedit train judge`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from stedit.models.config import MAX_RESOLUTION, JudgeConfig
from stedit.training.config import key
from stedit.training.image_config import ImageTrainingConfig


@dataclass(frozen=True, kw_only=True)
class JudgeTrainingConfig(ImageTrainingConfig):
    """A judge: images -> attributes, by which edits are measured, or codes labelled."""

    command: ClassVar[str] = "judge"

    steps: int = key(10_000, text="How many steps to train.", low=1, resumable=True)
    batch_size: int = key(64, text="Images in a step, of all processes together.", low=2)
    learning_rate: float = key(2e-3, text="AdamW's step size.", above=0)
    schedule: Literal["constant", "cosine"] = key(
        "cosine", text="How the learning rate goes on: constant, or cosine, down to zero at the last step."
    )
    warmup: int = key(200, text="Steps in which the learning rate rises from zero.", low=0)

    labels: str = key(
        "", text="CSV or JSONL of the images' attributes: 1, 0, a probability, or nothing where unknown.", local=True
    )
    attributes: tuple[str, ...] = key((), text="Attributes to learn, in this order; none: all that are labelled.")
    val_fraction: float = key(0.1, text="Share of the images kept from training, to measure on.", low=0, high=0.5)
    patience: int = key(
        0, text="Evaluations without a better held-out loss after which to stop; 0: do all steps.", low=0
    )
    balance: bool = key(False, text="Let images with and without an attribute count the same, however rare it is.")
    calibrate: bool = key(True, text="Scale the logits on held-out images, so that their probabilities are true.")

    model: str = key("", text="A model that gets this judge; none: the result is a judge alone.", local=True)
    name: str = key("judge", text="The name of a judge alone.")
    license: str = key("unknown", text="The licence of a judge alone, an SPDX name.")
    resolution: int = key(128, text="Side of its square input, in pixels.", low=16, high=MAX_RESOLUTION)
    widths: tuple[int, ...] = key((32, 64, 128, 192), text="Channels at 1/2, 1/4, 1/8, ... of the size.", low=1)
    weight_decay: float = key(0.01, text="AdamW's weight decay.", low=0)

    def judge_config(self, attributes: int) -> JudgeConfig:
        """The network's sizes. Raises ValueError if they are wrong."""
        side = self.resolution
        return JudgeConfig(attributes=attributes, widths=self.widths, input_height=side, input_width=side)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        if not self.data:
            raise ValueError("data is empty: name folders or zip files of images")
        if not self.labels:
            raise ValueError("labels is empty: name the CSV or JSONL file that labels the images")
        if not self.val_fraction and self.patience:
            raise ValueError("patience is given, but val_fraction is 0, so there is nothing to measure on")
        if self.calibrate and not self.val_fraction:
            raise ValueError(
                "calibrate is true, but val_fraction is 0: hold some images out, or set calibrate to false"
            )
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError("attributes names one twice: name each once")
        self.judge_config(1)
