"""The attribute-preserving step against its closed form, and the gradients against autograd's own."""

from __future__ import annotations

import torch

from stedit.editing.label import _preserving_step, edit_by_label, logits_and_gradients
from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier


def small_classifier(rank: int = 0) -> LatentClassifier:
    classifier = LatentClassifier(
        ClassifierConfig(style_count=3, style_dim=4, attributes=5, hidden=(64, 32), embedding=4, covariance_rank=rank)
    ).double()
    if rank:
        classifier.covariance_factor.normal_()
        classifier.covariance_rest.fill_(0.3)
    return classifier.requires_grad_(False)


def test_gradients_are_those_of_each_logit() -> None:
    classifier = small_classifier()
    w = torch.randn(2, 3, 4, dtype=torch.float64)
    _, gradients = logits_and_gradients(classifier, w)
    for k in range(5):
        given = w.clone().requires_grad_()
        (expected,) = torch.autograd.grad(classifier(given)[:, k].sum(), given)
        torch.testing.assert_close(gradients[:, k], expected.flatten(1))


def test_the_step_is_the_closed_form() -> None:
    """d is proportional to (sum_j g_j g_j' + lambda * S^-1)^-1 g_k, and moves logit k by what was asked (DESIGN 2)."""
    classifier = small_classifier(rank=6)
    gradients = torch.randn(5, 12, dtype=torch.float64)
    factor = classifier.covariance_factor
    covariance = factor.T @ factor + 0.3 * torch.eye(12, dtype=torch.float64)
    kept = gradients[1:]
    matrix = kept.T @ kept + 0.1 * torch.linalg.inv(covariance)
    direction = torch.linalg.solve(matrix, gradients[0])
    expected = 2.5 * direction / (gradients[0] @ direction)
    no_drift = torch.zeros(1, 4, dtype=torch.float64)
    wanted, step = gradients[None, :1], torch.tensor([[2.5]], dtype=torch.float64)
    change = _preserving_step(
        classifier, wanted=wanted, kept=kept[None], step=step, drift=no_drift, weight=torch.tensor([0.1])
    )
    torch.testing.assert_close(change[0], expected)


def test_drift_is_undone_while_the_goal_is_met() -> None:
    classifier = small_classifier(rank=6)
    gradients = torch.randn(1, 5, 12, dtype=torch.float64)
    wanted, kept = gradients[:, :1], gradients[:, 1:]
    step, drift = torch.tensor([[2.5]], dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    change = _preserving_step(classifier, wanted=wanted, kept=kept, step=step, drift=drift, weight=torch.tensor([1e-6]))
    torch.testing.assert_close(wanted[0] @ change[0], step[0])
    torch.testing.assert_close(kept[0] @ change[0], -drift[0], atol=1e-3, rtol=0)


def test_two_goals_are_reached_and_a_small_ridge_holds_the_rest() -> None:
    classifier = small_classifier(rank=6)
    for layer in classifier.trunk:
        layer.bias.fill_(9)  # every unit on: the classifier is linear, and the answer exact
    w = torch.randn(4, 3, 4, dtype=torch.float64)
    before = classifier(w)
    goals = {0: before[:, 0] + 1, 3: before[:, 3] - 1}
    after = classifier(edit_by_label(classifier, w, goals, keep=torch.ones(5, dtype=torch.bool), ridge=1e-6))
    torch.testing.assert_close(after[:, 0], goals[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(after[:, 3], goals[3], atol=1e-6, rtol=0)
    others = [1, 2, 4]
    torch.testing.assert_close(after[:, others], before[:, others], atol=1e-3, rtol=0)
    loose = edit_by_label(classifier, w, goals, keep=torch.zeros(5, dtype=torch.bool), ridge=1e-6)
    assert (classifier(loose) - before)[:, others].abs().max() > 0.2
