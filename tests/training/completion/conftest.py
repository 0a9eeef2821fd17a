"""A model without classifier and editor, a judge of colours, and how often edits show, measured by the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.metrics.editing import set_attribute
from stedit.models.attribute_network import Judge
from stedit.models.config import JudgeConfig
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec

COLOURS = ("Bright", "Reddish")


def colours(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> how bright, and how much redder than blue, (B, 2)."""
    mean = images.clamp(-1, 1).mean(dim=(2, 3))
    return torch.stack([mean.mean(dim=1), mean[:, 0] - mean[:, 2]], dim=1)


@pytest.fixture(scope="session")
def bare_model(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with generator and encoder alone."""
    whole = Bundle.load(tiny_bundle)
    parts = {name: part for name, part in whole.stored_parts().items() if name in ("generator", "encoder")}
    folder = tmp_path_factory.mktemp("bare") / "bare"
    Bundle.save(folder, name="bare", domain="noise", license="MIT", parts=parts, readme="# bare\n\nBare indeed.\n")
    return folder


@pytest.fixture(scope="session")
def colour_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge alone, of COLOURS, that has learned from noise of random colours."""
    torch.manual_seed(0)
    judge = Judge(JudgeConfig(attributes=2, widths=(8, 16), input_height=32, input_width=32))
    optimizer = torch.optim.Adam(judge.parameters(), lr=0.01)
    for _ in range(120):
        images = (torch.randn(64, 3, 1, 1) * 0.6 + torch.randn(64, 3, 32, 32) * 0.5).clamp(-1, 1)
        loss = F.binary_cross_entropy_with_logits(judge(images), (colours(images) > 0).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("judges") / "colour-judge"
    Bundle.save(
        folder,
        name="colour-judge",
        domain="",
        license="MIT",
        attributes=[AttributeSpec(name) for name in COLOURS],
        parts={"judge": (judge.config, judge.eval().state_dict())},
        readme="# colour-judge\n",
    )
    return folder


@pytest.fixture
def shown() -> Callable[..., float]:
    """The share of edits by label, or by reference, that the pixels show, among codes that the model never saw."""

    def measure(model: Path, attribute: str, *, by: str = "label", value: Callable[[Tensor], Tensor]) -> float:
        engine = Engine.from_pretrained(model, device="cpu")
        codes = torch.from_numpy(engine.sample_latents(64, seed=77))
        with torch.no_grad():
            present = value(engine.networks.generator(codes)) > 0
            if by == "label":
                wanted = ~present
                edited = set_attribute(engine, codes, attribute, wanted, 1.0, "auto")
            else:
                order = present.int().argsort()
                codes, references = codes[order], codes[order].flip(0)
                wanted = present[order].flip(0)
                edited = engine.edit_by_reference(codes, references, attribute)
            after = value(engine.networks.generator(edited)) > 0
        lacking = wanted != value(engine.networks.generator(codes)).gt(0)
        return (after == wanted)[lacking].float().mean().item()

    return measure


class Stages:
    """Records the parts of the work and what is noted, and presses Ctrl-C when `stop_after` steps of one are done."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.notes: list[str] = []
        self.stop_in = ""
        self.stop_after = 0

    @contextmanager
    def __call__(self, title: str, steps: int) -> Iterator[Stages]:
        assert steps > 0
        self.titles.append(title)
        yield self

    def advance(self, step: int, steps: int, seconds_left: float, _metrics: object) -> None:
        assert 0 < step <= steps
        assert seconds_left >= 0
        if self.stop_in and self.stop_in in self.titles[-1] and step >= self.stop_after:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def stages() -> Stages:
    return Stages()
