"""Losses on images and on codes."""

from __future__ import annotations

import torch

from stedit.models.attribute_network import AttributeNetwork
from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier
from stedit.training.editor.train import reference_edit_loss
from stedit.training.losses import FeatureLoss, multiscale_l1, shifted


def test_multiscale_l1_of_a_constant_offset_is_the_offset() -> None:
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(multiscale_l1(image + 0.25, image), torch.tensor(0.25))


def test_multiscale_l1_counts_fine_and_coarse_errors() -> None:
    """A checkerboard vanishes in the halved pictures, so its share is that of the full size, and its gradients."""
    zero = torch.zeros(1, 3, 32, 32)
    checkers = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1).expand(1, 3, 32, 32)
    torch.testing.assert_close(multiscale_l1(checkers, zero), torch.tensor(0.25 + 2 + 2))


def test_feature_loss_of_equal_images_is_zero_and_trains_the_image_alone() -> None:
    loss = FeatureLoss(AttributeNetwork(3, widths=(4, 8)))
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    assert loss(image, image.detach()).item() < 1e-10
    distance = loss(image, torch.rand(2, 3, 32, 32))
    distance.backward()
    assert distance.item() > 0.01
    assert image.grad is not None
    assert image.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_feature_loss_with_logit_weight_counts_logits() -> None:
    """A logit moves by its weight on the features, and what is beyond sure hardly counts."""
    network = AttributeNetwork(3, widths=(4, 8)).eval()
    image, target = torch.rand(2, 2, 3, 32, 32)
    features = FeatureLoss(network)(image, target)
    logits, target_logits = (torch.tanh(network(x) / 4) for x in (image, target))
    expected = features + 2 * (logits - target_logits).abs().mean()
    torch.testing.assert_close(FeatureLoss(network, logit_weight=2.0)(image, target), expected)


def test_feature_loss_uses_one_of_the_networks_at_a_time() -> None:
    networks = [AttributeNetwork(3, widths=(4, 8)) for _ in range(3)]
    image, target = torch.rand(2, 2, 3, 32, 32)
    alone = [FeatureLoss(network)(image, target).item() for network in networks]
    loss = FeatureLoss(*networks)
    values = [loss(image, target).item() for _ in range(300)]
    assert set(values) == set(alone)
    assert min(values.count(one) for one in alone) > 60
    before = torch.get_rng_state()
    FeatureLoss(networks[0])(image, target)
    assert torch.equal(before, torch.get_rng_state())  # a single network leaves nothing to chance


def test_shifted_batches_move_by_the_same_few_pixels() -> None:
    y, x = torch.meshgrid(torch.arange(10.0, 26), torch.arange(10.0, 26), indexing="ij")
    image = torch.stack([y, x, x * y]).expand(2, 3, 16, 16)
    moves: set[tuple[int, int]] = set()
    for _ in range(200):
        one, other = shifted((image, image + 1), 2)
        assert one.shape == image.shape
        assert torch.equal((one + 1)[..., 2:-2, 2:-2], other[..., 2:-2, 2:-2])  # around them is a border
        moves.add((int(one[0, 0, 8, 8]) - 18, int(one[0, 1, 8, 8]) - 18))
    assert moves == {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)}
    before = torch.get_rng_state()
    assert all(torch.equal(image, one) for one in shifted((image, image), 0))
    assert torch.equal(before, torch.get_rng_state())


def test_reference_edit_loss_follows_the_attribute_and_keeps_the_others() -> None:
    classifier = LatentClassifier(ClassifierConfig(style_count=2, style_dim=4, attributes=3, hidden=(8,), embedding=2))
    source, reference = torch.randn(2, 5, 2, 4)
    taken = torch.tensor([[True, False, False]]).expand(5, 3)
    unchanged = reference_edit_loss(classifier, source, source, reference, taken)
    assert unchanged.code.item() == 0
    assert unchanged.source.item() == 0
    expected = (classifier.embed(source)[:, 0] - classifier.embed(reference)[:, 0]).square().mean()
    torch.testing.assert_close(unchanged.reference, expected)
    copied = reference_edit_loss(classifier, reference, source, reference, taken)
    assert copied.reference.item() == 0
    torch.testing.assert_close(copied.total((0.5, 2.0, 3.0)), 0.5 * copied.code + 3 * copied.source)
