"""Weights that users bring are recognised by their tensors, and what is missing or wrong is said in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stedit.checkpoints.perceptual import load_lpips
from stedit.errors import BundleError, InputError, MissingPartError, UsageError
from stedit.models.attribute_network import AttributeNetwork
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig, GeneratorConfig
from stedit.models.discriminator import Discriminator
from stedit.models.generator import Generator
from stedit.models.lpips import Lpips
from stedit.models.resnet import ResNet50
from stedit.storage.bundle import Bundle
from stedit.training.image_config import ReconstructionTrainingConfig
from stedit.training.losses import FeatureLoss
from stedit.training.perceptual import choose_perceptual, load_attribute_network, load_identity

IMAGES = torch.rand(2, 3, 64, 64) * 2 - 1


@pytest.fixture
def alex(tmp_path: Path) -> tuple[str, str]:
    """Files like torchvision's AlexNet, head included, and LPIPS's heads."""
    network = Lpips("alex", heads=True)
    state = {key: value for key, value in network.state_dict().items() if key.startswith("features")}
    torch.save({**state, "classifier.1.weight": torch.zeros(3, 3)}, tmp_path / "alex.pth")
    heads = {f"lin{level}.model.1.weight": head.weight.abs() for level, head in enumerate(network.heads)}  # type: ignore[operator]
    torch.save(heads, tmp_path / "heads.pth")
    return str(tmp_path / "alex.pth"), str(tmp_path / "heads.pth")


def test_lpips_from_files(alex: tuple[str, str]) -> None:
    loss = load_lpips(*alex)
    assert loss(IMAGES, IMAGES).item() == 0
    noisy = (IMAGES + 0.5 * torch.randn_like(IMAGES)).requires_grad_(True)
    distance = loss(noisy, IMAGES)
    distance.backward()
    assert distance.item() > 0
    assert noisy.grad is not None
    assert noisy.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert len(load_lpips(alex[0], "").heads) == 0
    each = loss.distances(noisy, IMAGES)
    assert each.shape == (2,)
    torch.testing.assert_close(each.mean(), distance)
    torch.testing.assert_close(each[1:], loss.distances(noisy[1:], IMAGES[1:]))


def test_load_lpips_refuses_other_files(alex: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"heads\.pth is neither AlexNet nor VGG16: give .*download\.pytorch\.org"):
        load_lpips(alex[1], "")
    with pytest.raises(InputError, match=r"alex\.pth holds no LPIPS heads"):
        load_lpips(alex[0], alex[0])
    with pytest.raises(InputError, match="nowhere does not exist: check the spelling"):
        load_lpips("nowhere", "")
    (tmp_path / "bad.pth").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match=r"bad\.pth cannot be used as a checkpoint: it would run os\.system"):
        load_lpips(str(tmp_path / "bad.pth"), "")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no weights by name"):
        load_lpips(str(tmp_path / "list.pth"), "")
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"part\.pth does not fit"):
        load_lpips(str(tmp_path / "part.pth"), "")


def test_load_identity_recognises_networks_by_tensor_names(tmp_path: Path) -> None:
    config = BackboneConfig(stem_width=8, widths=(8, 12, 16, 20), blocks=(1, 1, 1, 1), reduction=4)
    save_file(IdentityNetwork(config).state_dict(), tmp_path / "arcface.safetensors")
    moco = {f"module.encoder_q.{key}": value for key, value in ResNet50().state_dict().items()}
    extra = {"module.encoder_q.fc.0.weight": torch.zeros(2, 2), "module.queue": torch.zeros(2)}
    torch.save({"epoch": 1, "state_dict": moco | extra}, tmp_path / "moco.pth.tar")
    for name in ("arcface.safetensors", "moco.pth.tar"):
        loss = load_identity(str(tmp_path / name))
        image = IMAGES.clone().requires_grad_(True)
        assert loss(IMAGES, IMAGES).item() == pytest.approx(0, abs=1e-5)
        distance = loss(image, IMAGES.flip(0))
        distance.backward()
        assert 0 < distance.item() <= 2
        assert image.grad is not None
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"neither ArcFace nor MoCo: give model_ir_se50\.pth"):
        load_identity(str(tmp_path / "other.safetensors"))


def test_choose_perceptual_takes_the_first_with_weights(alex: tuple[str, str]) -> None:
    judge, discriminator = AttributeNetwork(2, widths=(4, 8)), Discriminator((4, 4, 4, 4, 4))
    auto = ReconstructionTrainingConfig()
    everything = replace(auto, lpips_backbone=alex[0], lpips_heads=alex[1])
    chosen = [
        choose_perceptual(config, judge=own, discriminator=discriminator)
        for config, own, discriminator in (
            (everything, judge, discriminator),
            (auto, judge, discriminator),
            (auto, None, discriminator),
            (replace(everything, perceptual="discriminator"), judge, discriminator),
            (auto, None, None),
            (replace(everything, perceptual="none"), judge, None),
        )
    ]
    assert [one.name if one else None for one in chosen] == [
        "lpips", "judge", "discriminator", "discriminator", None, None,
    ]  # fmt: skip
    for one in chosen[:4]:
        assert one is not None
        assert isinstance(one.network, nn.Module)
        assert one.distance(IMAGES, IMAGES).item() < 1e-6
        assert one.distance(IMAGES, IMAGES.flip(0)).item() > 1e-3
    shifted = choose_perceptual(replace(auto, perceptual_shift=3), judge=judge, discriminator=None)
    assert shifted is not None
    assert len({shifted.distance(IMAGES, IMAGES.flip(0)).item() for _ in range(8)}) > 1
    for wanted in ("lpips", "judge", "discriminator"):
        with pytest.raises(UsageError, match=f"perceptual is {wanted}, but"):
            choose_perceptual(replace(auto, perceptual=wanted), judge=None, discriminator=None)  # type: ignore[arg-type]


def test_load_attribute_network_reads_a_file_or_a_model(tmp_path: Path) -> None:
    network = AttributeNetwork(5, widths=(4, 8, 12))
    save_file(network.state_dict(), tmp_path / "first.safetensors")
    loaded = load_attribute_network(str(tmp_path / "first.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), loaded.parameters(), strict=True))
    save_file({"head.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is no attribute network"):
        load_attribute_network(str(tmp_path / "other.safetensors"))
    other = AttributeNetwork(2, widths=(4, 8))
    save_file(other.state_dict(), tmp_path / "second.safetensors")
    names = tuple(str(tmp_path / f"{name}.safetensors") for name in ("first", "second"))
    both = choose_perceptual(ReconstructionTrainingConfig(judge=names), judge=None, discriminator=None)
    assert both is not None
    assert both.description == "the perceptual loss is that of 2 judges' features"
    values = {both.distance(IMAGES, IMAGES.flip(0)).item() for _ in range(20)}
    assert values == {FeatureLoss(one)(IMAGES, IMAGES.flip(0)).item() for one in (network, other)}
    with pytest.raises(BundleError, match="nowhere"):
        load_attribute_network("nowhere")
    config = GeneratorConfig(resolution=8, style_dim=8, mapping_layers=1, channels=(8, 8))
    parts = {"generator": (config, Generator(config).state_dict())}
    Bundle.save(tmp_path / "bare", name="bare", domain="noise", license="MIT", parts=parts, readme="")
    with pytest.raises(MissingPartError, match="has no judge: name one that has"):
        load_attribute_network(str(tmp_path / "bare"))
