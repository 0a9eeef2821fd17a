"""StyleGAN2 generator: against the paper's formulas, and what every size must do. Published weights: test_parity.py."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.models.config import GeneratorConfig, stylegan2_channels
from stedit.models.generator import Generator, MappingNetwork, ModulatedConv2d
from stedit.runtime.rounding import rounded_as_in_batches


def small_generator(resolution: int = 32) -> Generator:
    """Widths that differ from block to block, and noise that counts: a published one starts with none."""
    channels = tuple(4 * (10 - block) for block in range(int(math.log2(resolution)) - 1))
    network = Generator(GeneratorConfig(resolution=resolution, style_dim=16, mapping_layers=2, channels=channels))
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.3)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("resolution", [8, 16, 64, 128])
def test_any_power_of_two(resolution: int) -> None:
    generator = small_generator(resolution)
    styles = generator.config.style_count
    assert styles == 2 * math.log2(resolution) - 2
    image = generator(torch.randn(2, styles, 16))
    assert image.shape == (2, 3, resolution, resolution)
    assert image.isfinite().all()


@pytest.mark.parametrize(("resolution", "multiplier", "last"), [(1024, 2, 32), (1024, 1, 16), (256, 2, 128)])
def test_published_widths(resolution: int, multiplier: int, last: int) -> None:
    channels = stylegan2_channels(resolution, multiplier)
    assert channels[:4] == (512, 512, 512, 512)
    assert channels[-1] == last


def test_every_style_is_read_by_its_own_layers_only() -> None:
    """A block's RGB layer reads the first style of the next block; no style reaches further back."""
    generator = small_generator(32)
    w = torch.randn(1, 8, 16)
    for index in range(8):
        changed = w.clone()
        changed[:, index] += 1
        # the block of 4 px reads styles 0, 1; of 8 px 1, 2, 3; of 16 px 3, 4, 5; of 32 px 5, 6, 7
        for block, resolution in enumerate((4, 8, 16, 32)):
            same = torch.equal(generator(w, resolution=resolution), generator(changed, resolution=resolution))
            assert same == (index > 2 * block + 1)


@pytest.mark.parametrize("up", [False, True])
def test_modulation_equals_that_of_the_weights(up: bool) -> None:
    conv = ModulatedConv2d(6, 5, 3, 16, up=up).double()
    x, w = torch.randn(3, 6, 8, 8).double(), torch.randn(3, 16).double()
    features, demodulation = conv(x, w)

    style = F.linear(w, conv.affine.weight / math.sqrt(16), conv.affine.bias)
    for sample in range(3):
        weight = conv.weight / math.sqrt(6 * 9) * style[sample][None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:  # zeros between the pixels, then the kernel of a transposed convolution, then the FIR
            spread = torch.zeros(6, 17, 17).double()
            spread[:, 1:16:2, 1:16:2] = x[sample]
            wanted = F.conv2d(spread[None], weight.flip(2, 3), padding=1)
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 4
            fir = (taps[:, None] * taps).expand(5, 1, 4, 4)
            wanted = F.conv2d(wanted, fir, groups=5, padding=1)
        else:
            wanted = F.conv2d(x[sample : sample + 1], weight, padding=1)
        torch.testing.assert_close((features * demodulation)[sample : sample + 1], wanted)


@pytest.mark.parametrize("noise", ["const", "none", "given"])
@pytest.mark.parametrize("clamp", [0.0, 0.5])
def test_without_gradients_large_blocks_render_the_same_one_by_one(noise: str, clamp: float) -> None:
    """Their weights are modulated there, in place of features; what gradients are made of is untouched."""
    generator = small_generator(512)
    for module in generator.modules():
        if hasattr(module, "clamp"):
            module.clamp = clamp
    for name, parameter in generator.named_parameters():
        if name.endswith("bias") and "mapping" not in name:
            parameter.data.add_(torch.randn_like(parameter))
    w = torch.randn(2, generator.config.style_count, 16)
    maps = [torch.randn(2, *layer.noise.shape[1:]) for block in generator.blocks for layer in block.layers]
    for resolution in (None, 256):
        with torch.no_grad():
            found = generator(w, noise=maps if noise == "given" else noise, resolution=resolution)
        with torch.enable_grad():
            expected = generator(w, noise=maps if noise == "given" else noise, resolution=resolution)
        assert found.shape == (2, 3, resolution or 512, resolution or 512)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_large_images_are_the_same_bytes_in_any_batch() -> None:
    generator = small_generator(256)
    w = torch.randn(3, generator.config.style_count, 16)
    with torch.no_grad(), rounded_as_in_batches(torch.device("cpu")):
        together = generator(w)
        alone = torch.cat([generator(one) for one in torch.split(w, 1)])
    assert torch.equal(together, alone)


def test_batch_equals_singles() -> None:
    generator = small_generator(32)
    w = torch.randn(3, 8, 16)
    singles = torch.cat([generator(one) for one in w.split(1)])
    torch.testing.assert_close(generator(w), singles, rtol=0, atol=2e-5)


def test_memory_format_does_not_matter() -> None:
    generator = small_generator(32)
    w = torch.randn(2, 8, 16)
    image = generator(w)
    torch.testing.assert_close(generator.to(memory_format=torch.channels_last)(w), image, rtol=0, atol=2e-5)


def test_one_w_serves_all_styles() -> None:
    generator = small_generator(32)
    w = torch.randn(2, 16)
    assert torch.equal(generator(w), generator(w[:, None].expand(-1, 8, -1)))


def test_noise() -> None:
    generator = small_generator(32)
    w = torch.randn(2, 8, 16)
    const, none = generator(w), generator(w, noise="none")
    random = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        random.append(generator(w, noise="random"))
    assert torch.equal(const, generator(w, noise="const"))
    assert torch.equal(none, generator(w, noise="none"))
    assert torch.equal(random[0], random[1])
    assert (random[0] - random[2]).abs().mean() > 0.01
    assert (random[0] - const).abs().mean() > 0.01
    assert (none - const).abs().mean() > 0.01
    same_code = generator(w[:1].expand(2, -1, -1), noise="random")
    assert (same_code[0] - same_code[1]).abs().mean() > 0.01, "one draw of noise served the whole batch"


def test_given_noise() -> None:
    generator = small_generator(16)
    w = torch.randn(2, 6, 16)
    stored = [layer.noise for block in generator.blocks for layer in block.layers]
    assert torch.equal(generator(w, noise=stored), generator(w))
    zeros = [torch.zeros_like(noise) for noise in stored]
    assert torch.equal(generator(w, noise=zeros), generator(w, noise="none"))


def test_mapping_ignores_the_length_of_z() -> None:
    mapping = small_generator().mapping
    z = torch.randn(4, 16)
    torch.testing.assert_close(mapping(10 * z), mapping(z))


def test_mean_of_w() -> None:
    mapping = MappingNetwork(16, 2).requires_grad_(False)
    mean = mapping.estimate_mean()
    assert torch.equal(mean, mapping.estimate_mean())
    deviation = mapping(torch.randn(10_000, 16)).std(dim=0)
    other = mapping.estimate_mean(seed=1)
    assert ((mean - other).abs() < 5 * deviation * math.sqrt(2 / 10_000)).all()


def test_style_mixing() -> None:
    generator = small_generator(32)
    z = torch.randn(2, 3, 16)
    first, second = (generator.mapping(one) for one in z)
    mixed = generator.style_mix([z[0], z[1]], 3)
    assert torch.equal(mixed, torch.stack([first] * 3 + [second] * 5, dim=1))
    assert torch.equal(generator.style_mix([z[0]]), torch.stack([first] * 8, dim=1))


def test_gradients_reach_everything() -> None:
    generator = small_generator(16).requires_grad_()
    z = torch.randn(2, 16, requires_grad=True)
    generator(generator.mapping(z)).square().mean().backward()
    for name, parameter in [("z", z), *generator.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_second_order_gradients() -> None:
    """The path-length penalty and exact Hessian-vector products need them."""
    generator = small_generator(8).double()

    def energy(w: Tensor) -> Tensor:
        return generator(w).square().sum(dim=(1, 2, 3))

    w = torch.randn(1, 4, 16).double().requires_grad_()
    assert torch.autograd.gradcheck(energy, w)
    assert torch.autograd.gradgradcheck(energy, w)
