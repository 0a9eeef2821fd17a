"""The keys of `stedit train aligner`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from stedit.models.config import AlignerConfig
from stedit.training.config import TrainingConfig, key


@dataclass(frozen=True, kw_only=True)
class AlignerTrainingConfig(TrainingConfig):
    """An aligner: photographs -> faces, each with its box and five points."""

    command: ClassVar[str] = "aligner"

    steps: int = key(4_000, text="How many steps to train.", low=1, resumable=True)
    batch_size: int = key(256, text="Composed pictures in a step, of all processes together.", low=1)
    learning_rate: float = key(3e-3, text="AdamW's step size.", above=0)
    schedule: Literal["constant", "cosine"] = key(
        "cosine", text="How the learning rate goes on: constant, or cosine, down to zero at the last step."
    )
    warmup: int = key(200, text="Steps in which the learning rate rises from zero.", low=0)

    data: tuple[str, ...] = key(
        (), text="Folders and zip files of whole scenes, of crops aligned as FFHQ's, and of renders.", local=True
    )
    labels: tuple[str, ...] = key(
        (),
        text="JSONL files (.gz too) whose records name a picture by id and hold faces, points or landmarks.",
        local=True,
    )
    val_fraction: float = key(0.05, text="Share of the scenes kept from training, to measure on.", low=0, high=0.5)
    canvas: int = key(192, text="Side of the pictures composed for training, in pixels.", low=64, high=512)
    tilt: float = key(45.0, text="How far faces are turned in the plane, in degrees.", low=0, high=180)
    clutter_fraction: float = key(
        0.4, text="Share of the backdrops that are synthetic clutter, which has no face.", low=0, high=1
    )
    ema_images: int = key(
        80_000, text="Composed pictures in which the moving average of the weights, the result, forgets half.", low=1
    )
    weight_decay: float = key(0.01, text="AdamW's weight decay.", low=0)

    init_from: str = key("", text="A model from whose aligner the training goes on; none: from nothing.", local=True)
    model: str = key("", text="A model that gets this aligner; none: the result is an aligner alone.", local=True)
    name: str = key("aligner", text="The name of an aligner alone.")
    license: str = key("unknown", text="The licence of an aligner alone, an SPDX name.")
    widths: tuple[int, ...] = key((16, 32, 64, 96, 96), text="Channels at 1/2, 1/4, ... 1/32 of the size.", low=1)
    smallest: int = key(18, text="Size of the smallest faces to learn, in pixels.", low=8, high=64)
    largest: int = key(100, text="Size of the largest faces to learn, in pixels.", low=24, high=512)

    def aligner_config(self) -> AlignerConfig:
        """The network's sizes. Raises ValueError if they are wrong."""
        return AlignerConfig(widths=self.widths, smallest=self.smallest, largest=self.largest)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        if not self.data:
            raise ValueError("data is empty: name folders or zip files of scenes, crops and renders")
        if not self.labels:
            raise ValueError("labels is empty: name the JSONL files that hold the faces of the pictures")
        if self.canvas % 32:
            raise ValueError(f"canvas is {self.canvas}: set it to a multiple of 32")
        self.aligner_config()
