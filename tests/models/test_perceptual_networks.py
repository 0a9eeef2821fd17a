"""Networks whose weights users bring: their names and sizes are those of the published files, their sums are right."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from stedit.models.lpips import Backbone, Lpips
from stedit.models.resnet import ResNet50


@pytest.mark.parametrize(("backbone", "numbers"), [("alex", 2_469_696), ("vgg", 14_714_688)])
def test_lpips_backbones_have_the_published_sizes(backbone: Backbone, numbers: int) -> None:
    with torch.device("meta"):
        network = Lpips(backbone, heads=True)
    assert sum(value.numel() for key, value in network.state_dict().items() if key.startswith("features")) == numbers
    assert len(network.taps) == len(network.heads) == 5


def test_lpips_is_the_weighted_difference_of_unit_features() -> None:
    network = Lpips("alex", heads=True).requires_grad_(False)
    for head in network.heads:
        head.weight.abs_()  # type: ignore[operator]
    a, b = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    wanted = 0.0
    levels = []
    for x in (a, b):
        x = (x - torch.tensor((-0.030, -0.088, -0.188)).view(3, 1, 1)) / torch.tensor((0.458, 0.448, 0.450)).view(
            3, 1, 1
        )
        found = []
        for layer in network.features:
            x = layer(x)
            if isinstance(layer, torch.nn.ReLU):
                found.append(F.normalize(x, dim=1))
        levels.append(found)
    for one, other, head in zip(*levels, network.heads, strict=True):
        wanted += F.conv2d((one - other) ** 2, head.weight).mean().item()  # type: ignore[arg-type]
    assert network(a, b).item() == pytest.approx(wanted, rel=1e-4)
    assert network(a, a).item() == 0
    assert Lpips("alex", heads=False)(a, b).item() > 0
    assert network(a[:, :, :8, :8], b[:, :, :8, :8]).item() > 0


def test_resnet_has_the_published_names_and_size() -> None:
    network = ResNet50().eval()
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == 23_508_032  # 25,557,032 less the head's 2048 x 1000 + 1000
    assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert not any(key.startswith(("mean", "deviation", "fc")) for key in state)
    with torch.no_grad():
        seen = network.embed(torch.rand(1, 3, 32, 32))
    assert seen.shape == (1, 2048)
    assert seen.norm().item() == pytest.approx(1)
