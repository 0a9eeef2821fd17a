"""What labels the images of codes: an attribute predictor, words by CLIP, or both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor

from stedit.editing.attributes import resolve_attribute
from stedit.errors import MissingPartError, UsageError
from stedit.hub.find import find_bundle
from stedit.models.attribute_network import Judge
from stedit.runtime.framing import resize
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import CONFIG_NAME
from stedit.storage.embedded import DEFAULT_MODEL
from stedit.training.completion.clip import ClipLabeller
from stedit.training.completion.config import CompletionConfig


class Labeller(Protocol):
    """Images -> logits of attributes."""

    attributes: tuple[str, ...]
    size: int
    """The longer side of the images that it sees, in pixels."""
    description: str
    """For the card, such as "the judge of portraits-256"."""

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], of any size, on its device -> (B, K)."""


class JudgeLabeller:
    """A judge, of all or some of its attributes."""

    def __init__(self, judge: Judge, known: Sequence[str], wanted: Sequence[str], description: str) -> None:
        """`known` are the judge's attributes; `wanted` some of them as people call them, or none for all.

        Raises AttributeNameError, UsageError.
        """
        chosen = []
        for name in wanted:
            attribute, sign = resolve_attribute(name, known)
            if sign < 0:
                raise UsageError(f"attr names {name!r}, which is learned as its opposite: say {attribute}")
            if attribute in chosen:
                raise UsageError(f"attr names {attribute} twice, as {name!r} too: name each once")
            chosen.append(attribute)
        self.attributes = tuple(chosen or known)
        self.description = description
        self._judge = judge
        self._columns = [known.index(name) for name in self.attributes]
        self._input = judge.config.input_height, judge.config.input_width
        self.size = max(self._input)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K)."""
        logits: Tensor = self._judge(resize(images, self._input))
        return logits[:, self._columns].float()


class JoinedLabeller:
    """Several, one after the other."""

    def __init__(self, parts: Sequence[Labeller]) -> None:
        self._parts = parts
        self.attributes = tuple(name for part in parts for name in part.attributes)
        self.size = max(part.size for part in parts)
        self.description = "; ".join(part.description for part in parts)

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K)."""
        return torch.cat([part.logits(images) for part in self._parts], dim=1)


class ChosenLabeller:
    """Some of the attributes of another, by their numbers."""

    def __init__(self, labeller: Labeller, chosen: Sequence[int]) -> None:
        self._labeller, self._chosen = labeller, list(chosen)
        self.attributes = tuple(labeller.attributes[k] for k in chosen)
        self.size, self.description = labeller.size, labeller.description

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K)."""
        return self._labeller.logits(images)[:, self._chosen]


def load_labeller(config: CompletionConfig, bundle: Bundle, judged: Bundle | None, device: torch.device) -> Labeller:
    """The labeller of a config.

    Args:
        config: its keys `labeller`, `attr` and `clip`.
        bundle: the model to complete.
        judged: a judge alone that labelled images have trained, if they are the labeller.
        device: where it computes.

    Raises:
        UsageError, AttributeNameError: the config asks for what is not there.
        BundleError, MissingPartError, InputError: a model cannot be used.
    """
    parts: list[Labeller] = []
    if config.names or not config.words:
        source = judged or _judge_of(config.labeller, bundle)
        judge = cast(Judge, load_network(source, "judge").to(device))
        text = f"a judge trained on labelled images of {Path(config.labeller).name}" if judged else ""
        known = [item.name for item in source.attributes]
        parts.append(JudgeLabeller(judge, known, config.names, text or f"the judge of {source.name}"))
    if config.words:
        parts.append(ClipLabeller(config.clip, config.words, device))
    labeller: Labeller = parts[0] if len(parts) == 1 else JoinedLabeller(parts)
    if len(set(labeller.attributes)) < len(labeller.attributes):
        twice = next(name for name in labeller.attributes if labeller.attributes.count(name) > 1)
        raise UsageError(f"attr gives words for {twice}, which the judge labels too: leave one of them out")
    return labeller


def _judge_of(labeller: str, bundle: Bundle) -> Bundle:
    """The model whose judge labels."""
    if labeller:
        path = Path(labeller)
        if path.is_file() or (path.is_dir() and not (path / CONFIG_NAME).is_file()):
            raise UsageError(
                f"the labeller {labeller} is no model: if it holds labelled images, name their CSV or JSONL with labels"
            )
        bundle = Bundle.load(find_bundle(labeller))
        if "judge" not in bundle.parts:
            raise MissingPartError(f"the model {labeller!r} has no judge to label samples: name one that has")
        return bundle
    if "judge" in bundle.parts:
        return bundle
    if bundle.alignment == "ffhq":
        return Bundle.load(find_bundle(DEFAULT_MODEL))
    raise UsageError(
        f"the model {bundle.name!r} has no judge, and nothing says what labels its samples: name a model with a judge "
        "or labelled images with labeller, or attributes in words with attr"
    )
