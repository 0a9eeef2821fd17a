"""The keys of `stedit train complete`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stedit.models.config import MAX_RESOLUTION, NAME
from stedit.training.config import Config, key

CLIP = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K@1a25a446712ba5ee05982a381eed697ef9b435cf"
"""ViT-B/32 of OpenCLIP (Ilharco et al. 2021), MIT licence, 605 MB of safetensors."""


@dataclass(frozen=True, kw_only=True)
class CompletionConfig(Config):
    """A classifier and an editor for a model that lacks them: samples, labels, two trainings, calibration, figures."""

    command: ClassVar[str] = "complete"

    model: str = key(
        "", text="The model to complete: a folder, the name of an embedded one, or OWNER/NAME.", local=True
    )
    labeller: str = key(
        "",
        text="What labels: a model with a judge, or a folder or zip file of images that labels describes; none: the "
        "model's own judge, or for faces the embedded model's.",
        local=True,
    )
    labels: str = key(
        "", text="CSV or JSONL of the labeller's images' attributes, as train judge takes it.", local=True
    )
    attr: tuple[str, ...] = key(
        (),
        text="An attribute that the labeller knows; or a name, a colon, words for images with it, a bar, and words for "
        "images without it, for CLIP; none: all that the labeller knows.",
    )
    clip: str = key(CLIP, text="The CLIP model for words: a folder, or OWNER/NAME@COMMIT on the Hub.", local=True)

    samples: int = key(6000, text="Codes to sample.", low=16)
    style_mixing_prob: float = key(0.5, text="Share of the samples with the styles of two codes.", low=0, high=1)
    truncation: tuple[float, ...] = key(
        (0.5, 1.0), text="Least and greatest truncation of a sample, 1: none.", low=0, high=1
    )
    inverted_fraction: float = key(
        0.5,
        text="Share of the samples replaced by what the encoder, if there is one, makes of their images: as edits "
        "begin with.",
        low=0,
        high=1,
    )
    codes: tuple[str, ...] = key(
        (), text="More codes, or folders and zip files of images to invert, as train classifier takes them.", local=True
    )
    resolution: int = key(
        0,
        text="Side at which samples are rendered for the labeller, a power of two; 0: the least at which its labels "
        "are those of full size.",
        low=0,
        high=MAX_RESOLUTION,
    )
    val_fraction: float = key(0.1, text="Share of the codes kept from training.", above=0, high=0.5)

    judge_steps: int = key(4000, text="Steps of the judge, where labelled images are the labeller.", low=1)
    classifier_steps: int = key(3000, text="Steps of the classifier.", low=1)
    editor_steps: int = key(3000, text="Steps of the editor.", low=1)
    measured_edits: int = key(
        32, text="Edits of held-out codes by which each goal of each attribute is set, and measured.", low=8
    )

    seed: int = key(0, text="Seed of all random numbers.", low=0, high=2**63 - 1)
    device: str = key("auto", text="What computes: auto, cpu, cuda, cuda:N or mps.", resumable=True, local=True)

    @property
    def words(self) -> dict[str, tuple[str, str]]:
        """What CLIP labels: the words with an attribute and without it. Raises ValueError."""
        return dict(_words(item) for item in self.attr if ":" in item)

    @property
    def names(self) -> tuple[str, ...]:
        """Attributes to choose of those that the labeller knows."""
        return tuple(item for item in self.attr if ":" not in item)

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        if not self.model:
            raise ValueError("model is empty: name the model to complete")
        if len(self.truncation) != 2 or self.truncation[0] > self.truncation[1]:
            raise ValueError("truncation is two numbers, the smaller one first: give such as [0.5, 1.0]")
        if self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}, no power of two: give such as 256")
        if len({item.partition(":")[0].strip() for item in self.attr}) < len(self.attr):
            raise ValueError("attr names one twice: name each once")
        if self.labels and not self.labeller:
            raise ValueError("labels is given without labeller: name the folder or zip file of the images there")
        if self.words and not self.names and self.labeller:
            raise ValueError(
                "attr gives words for all attributes, so the labeller has nothing to label: leave it out, or name "
                "attributes that it knows too"
            )


def _words(item: str) -> tuple[str, tuple[str, str]]:
    name, _, words = item.partition(":")
    present, _, absent = (part.strip() for part in words.partition("|"))
    if not NAME.fullmatch(name.strip()):
        raise ValueError(f"attr names {name.strip()!r:.40}: use letters, digits, '.', '_' and '-' only")
    if not present or not absent:
        raise ValueError(
            f"attr lacks words for {name.strip()}: write such as 'sunglasses: a face with sunglasses | a face without'"
        )
    return name.strip(), (present, absent)
