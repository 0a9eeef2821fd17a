"""What is measured: a piece of work, who does it, how large, in which numbers, and with which allocator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from bench.textbook import Textbook
from torch import Tensor, nn

from stedit.inversion.encoder import encode
from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import optimise_latents
from stedit.inversion.options import InversionOptions, TuningOptions
from stedit.inversion.tuning import tune
from stedit.models.config import EncoderConfig, GeneratorConfig, stylegan2_channels
from stedit.models.generator import Generator, ModulatedConv2d
from stedit.models.style_transformer import StyleTransformer
from stedit.runtime.devices import Precision
from stedit.runtime.model import Model
from stedit.runtime.networks import Networks
from stedit.runtime.rounding import rounded_as_in_batches
from stedit.runtime.synthesis import synthesise
from stedit.storage.bundle import Bundle

NetworkT = TypeVar("NetworkT", bound=nn.Module)

CONVOLUTIONS = {64: 512, 128: 256, 256: 128}
"""By size in pixels, the channels of the 3x3 convolutions of which the fastest is the machine's peak."""


@dataclass(frozen=True)
class Case:
    """One row of the tables."""

    work: str
    """convolution, generator, inversion (encoder and rendering), or a step, forward and backward, of hybrid or tune."""
    side: str
    """stedit, or textbook: the generator by the paper's formulas, everything else as in stedit."""
    size: int
    """Of the renderings, in pixels."""
    batch: int = 1
    precision: str = "float32"
    allocator: str = "kept"
    """kept: big blocks stay in the process, as stedit does; default: as the C library does."""

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.work} {self.size} px, batch {self.batch}"

    @property
    def doer(self) -> str:
        """Who does it, and how."""
        numbers = "" if self.precision == "float32" else f", {self.precision}"
        return self.side + numbers + ("" if self.allocator == "kept" else ", default allocator")


def _compared(work: str, size: int, batch: int = 1) -> list[Case]:
    ours = [Case(work, "stedit", size, batch), Case(work, "stedit", size, batch, "bfloat16")]
    theirs = [Case(work, "textbook", size, batch)]
    if batch == 1:  # of larger batches, two at 1024 px would take 30 GB
        theirs.append(Case(work, "textbook", size, allocator="default"))
    return ours + theirs


GROUPS = {
    "convolution": [
        Case("convolution", "stedit", size, 4, precision)
        for size in CONVOLUTIONS
        for precision in ("float32", "bfloat16")
    ],
    "generator": [
        *_compared("generator", 256),
        *_compared("generator", 256, 4),
        *_compared("generator", 1024),
        *_compared("generator", 1024, 4),
    ],
    "inversion": [*_compared("inversion", 1024), Case("inversion", "stedit", 1024, 4)],
    "steps": [
        Case(work, side, size) for work in ("hybrid", "tune") for size in (256, 1024) for side in ("stedit", "textbook")
    ],
    "growth": [
        Case("generator", "stedit", size, batch) for size in (64, 128, 256, 512, 1024) for batch in (1, 2, 4, 8, 16)
    ],
}


def prepare(case: Case) -> tuple[Callable[[], object], float]:
    """What does the work once, and its floating-point operations, 0 where they are not counted."""
    torch.manual_seed(0)
    if case.work == "convolution":
        return _convolution(case)
    sizes = GeneratorConfig(case.size, channels=stylegan2_channels(case.size))
    generator = _frozen(Generator(sizes))
    textbook = _frozen(Textbook(generator))
    encoder = None
    if case.work != "generator":
        encoder = _frozen(StyleTransformer(EncoderConfig(style_count=sizes.style_count)))
    networks = Networks(generator, encoder)
    model = Model(cast(Bundle, None), networks, torch.device("cpu"), cast(Precision, case.precision))
    w = generator.mapping(torch.randn(case.batch, sizes.z_width))[:, None].repeat(1, sizes.style_count, 1)
    ours = case.side == "stedit"

    def render(codes: Tensor) -> Tensor:
        return synthesise(model, codes) if ours else cast(Tensor, textbook(codes))

    if case.work == "generator":
        return lambda: render(w), operations(generator) * case.batch
    assert encoder
    if case.work == "inversion":
        images = torch.rand(case.batch, 3, 256, 256) * 2 - 1

        def invert() -> Tensor:
            with model.autocast(), rounded_as_in_batches(model.device):
                codes = encode(encoder, generator, images)
            return render(codes.float())

        return invert, 0
    objective = Objective(torch.rand(case.batch, 3, case.size, case.size) * 2 - 1, {}, networks)
    if case.work == "hybrid":
        by = generator if ours else textbook
        return lambda: optimise_latents(by, objective, w, InversionOptions(), steps=1), 0  # the steps 0 and 1
    by = generator if ours else cast(Generator, textbook)
    return lambda: tune(by, w, objective, TuningOptions(steps=1)), 0


STEPS = 2
"""That a call of hybrid or tune takes."""


def operations(generator: Generator) -> float:
    """Of the convolutions, for one image: a multiplication and an addition for each weight and place."""
    total, resolution = 0.0, 4
    for module in generator.modules():
        if isinstance(module, ModulatedConv2d):
            total += 2 * module.weight.numel() * resolution**2  # zeros in between the pixels are not multiplied
            resolution *= 2 if module.up else 1
    return total


def _convolution(case: Case) -> tuple[Callable[[], object], float]:
    channels = CONVOLUTIONS[case.size]
    dtype = getattr(torch, case.precision)
    x = torch.randn(case.batch, channels, case.size, case.size, dtype=dtype).to(memory_format=torch.channels_last)
    conv = _frozen(nn.Conv2d(channels, channels, 3, padding=1).to(dtype))
    return lambda: conv(x), 2 * 9 * channels**2 * case.batch * case.size**2


def _frozen(network: NetworkT) -> NetworkT:
    network.eval().requires_grad_(False)
    return cast(NetworkT, cast(Any, network).to(memory_format=torch.channels_last))
