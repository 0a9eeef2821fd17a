"""The latent classifier. Published weights: test_parity.py."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier

SMALL = ClassifierConfig(style_count=6, style_dim=8, attributes=5, hidden=(32, 16), embedding=4)


def test_each_attribute_has_its_own_embedding_and_logit() -> None:
    classifier = LatentClassifier(SMALL).requires_grad_(False)
    classifier.embedding_bias.normal_()
    classifier.logit_bias.normal_()
    w = torch.randn(3, 6, 8)
    x = w.flatten(1)
    for layer in classifier.trunk:
        x = F.leaky_relu(F.linear(x, layer.weight, layer.bias), 0.2)
    embeddings, logits = classifier.embed(w), classifier(w)
    assert embeddings.shape == (3, 5, 4)
    for k in range(5):
        embedding = x @ classifier.embedding_weight[k].T + classifier.embedding_bias[k]
        torch.testing.assert_close(embeddings[:, k], embedding)
        torch.testing.assert_close(logits[:, k], embedding @ classifier.logit_weight[k] + classifier.logit_bias[k])


def test_batch_equals_singles() -> None:
    classifier = LatentClassifier(SMALL).eval()
    w = torch.randn(3, 6, 8)
    torch.testing.assert_close(classifier(w), torch.cat([classifier(one) for one in w.split(1)]))


def test_gradients_reach_everything() -> None:
    classifier = LatentClassifier(SMALL)
    w = torch.randn(2, 6, 8, requires_grad=True)
    classifier(w).square().sum().backward()
    for name, parameter in [("w", w), *classifier.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_second_order_gradients() -> None:
    """The curvature of an attribute's loss: through the sigmoid, since the network itself is piecewise linear."""
    classifier = LatentClassifier(SMALL).double().requires_grad_(False)
    w = torch.randn(1, 6, 8).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda w: F.softplus(classifier(w)), w)
    (hessian,) = torch.autograd.functional.hessian(lambda w: F.softplus(classifier(w)[0, 0]), (w,))[0]
    assert hessian.abs().max() > 1e-6
