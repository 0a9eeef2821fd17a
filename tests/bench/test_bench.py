"""The benchmark measures the same function on both sides, and writes what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import torch
from bench.cases import operations
from bench.textbook import Textbook

from stedit.models.config import GeneratorConfig
from stedit.models.generator import Generator

TESTS = Path(__file__).parents[1]


def small_generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(32, style_dim=16, channels=(24, 24, 16, 8))).eval()
    for block in generator.blocks:
        for layer in block.layers:
            torch.nn.init.normal_(layer.noise_strength)
            torch.nn.init.normal_(layer.bias)
        torch.nn.init.normal_(block.to_rgb.bias)
    return generator


def test_textbook_renders_what_the_generator_does_and_has_its_gradients() -> None:
    generator = small_generator().double()
    w = torch.randn(3, generator.config.style_count, 16, dtype=torch.float64, requires_grad=True)
    ours, theirs = generator(w), Textbook(generator)(w)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7 * float(ours.detach().abs().max()))
    for parameter in (w, generator.blocks[2].layers[0].conv.weight):
        ours_by, theirs_by = (
            torch.autograd.grad(images.square().sum(), parameter, retain_graph=True)[0] for images in (ours, theirs)
        )
        torch.testing.assert_close(ours_by, theirs_by, rtol=1e-5, atol=1e-6 * float(ours_by.abs().max()))


def test_operations_of_the_official_generator() -> None:
    """Of the 18 convolutions and 9 RGB layers at 1024 px, as added up by hand from the channels of the paper."""
    with torch.device("meta"):
        generator = Generator(GeneratorConfig())
    widths = generator.config.channels
    total = 0
    for level, width in enumerate(widths):
        pixels = (4 * 2**level) ** 2
        total += 9 * width * width * pixels + 3 * width * pixels
        if level:
            total += 9 * widths[level - 1] * width * pixels // 4
    assert operations(generator) == 2 * total


def test_the_benchmark_writes_figures_and_a_plot(tmp_path: Path) -> None:
    sizes = ["--rounds", "2", "--threads", "1", "--largest", "64", "--most", "2"]
    command = [sys.executable, "-m", "bench", "growth", *sizes]
    files = ["--json", str(tmp_path / "all.json"), "--svg", str(tmp_path / "all.svg")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    done = subprocess.run([*command, *files], capture_output=True, text=True, env=environment, check=True)
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["machine"]["threads"] == 1
    assert "allocator" in done.stdout
    growth = found["groups"]["growth"]
    assert [(row["size"], row["batch"]) for row in growth] == [(64, 1), (64, 2)]
    for row in growth:
        assert 0 < row["wall"]["min"] <= row["wall"]["median"] <= row["wall"]["max"]
        assert row["peak_mb"] > 100  # torch alone takes more
        assert row["gflops"] > 0
    assert ET.fromstring((tmp_path / "all.svg").read_text()).tag.endswith("svg")
