"""Steps along the classifier's derivatives, against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.editing.directions import LabelDirection
from stedit.editing.gradient import (
    _combined_step,
    _preserving_step,
    curvature_directions,
    move_to_logits,
)
from stedit.editing.linear import scale_to_one_std
from stedit.engine import Engine
from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.arrays import Latents
from stedit.runtime.covariance import LatentCovariance, LowRankCovariance, MixingCovariance


def small_classifier(rank: int = 0) -> LatentClassifier:
    classifier = LatentClassifier(
        ClassifierConfig(style_count=3, style_dim=4, attributes=5, hidden=(64, 32), embedding=4, covariance_rank=rank)
    ).double()
    if rank:
        classifier.covariance_factor.normal_()
        classifier.covariance_rest.fill_(0.3)
    return classifier.requires_grad_(False)


def covariance_of(classifier: LatentClassifier) -> LatentCovariance:
    """What the classifier holds, else the identity."""
    identity = MixingCovariance(torch.eye(3, dtype=torch.float64), torch.eye(4, dtype=torch.float64))
    return LowRankCovariance.of(classifier) or identity


def gradient_of(classifier: LatentClassifier, w: Tensor, attribute: int = 0) -> Tensor:
    """The gradient of one logit, (B, N*D), by autograd."""
    w = w.clone().requires_grad_()
    return torch.autograd.grad(classifier(w)[:, attribute].sum(), w)[0].flatten(1)


def test_logits_and_gradients_match_autograd_of_each_logit() -> None:
    classifier = small_classifier()
    w = torch.randn(2, 3, 4, dtype=torch.float64)
    logits, gradients = classifier.logits_and_gradients(w)
    assert torch.equal(logits, classifier(w))
    for k in range(5):
        torch.testing.assert_close(gradients[:, k], gradient_of(classifier, w, k))


def test_preserving_step_is_the_closed_form() -> None:
    """d is proportional to (sum_j g_j g_j' + lambda * S^-1)^-1 g_k, and moves logit k by what was asked (DESIGN 2)."""
    classifier = small_classifier(rank=6)
    gradients = torch.randn(5, 12, dtype=torch.float64)
    factor = classifier.covariance_factor
    covariance = factor.T @ factor + 0.3 * torch.eye(12, dtype=torch.float64)
    preserved = gradients[1:]
    weight = 0.1 * gradients[0] @ covariance @ gradients[0]  # the ridge, in units of the logit's variance
    matrix = preserved.T @ preserved + weight * torch.linalg.inv(covariance)
    direction = torch.linalg.solve(matrix, gradients[0])
    expected = 2.5 * direction / (gradients[0] @ direction)
    no_drift = torch.zeros(1, 4, dtype=torch.float64)
    targets, step = gradients[None, :1], torch.tensor([[2.5]], dtype=torch.float64)
    change = _preserving_step(
        covariance_of(classifier).multiply,
        targets=targets,
        preserved=preserved[None],
        step=step,
        drift=no_drift,
        ridge=0.1,
    )
    torch.testing.assert_close(change[0], expected)


def test_steps_with_unreachable_goals_give_the_least_squares_solution() -> None:
    """Two logits that are one have goals apart, or a logit that nothing changes: no step, and none off to infinity."""
    preserved = torch.randn(1, 3, 12)
    gradient = torch.randn(12)
    no_drift = torch.zeros(1, 3)
    for targets, goals, reached in (
        ((gradient, gradient), (1.0, -1.0), (0.0, 0.0)),
        ((gradient, gradient), (1.0, 3.0), (2.0, 2.0)),
        ((torch.zeros(12),), (1.0,), (0.0,)),
    ):
        rows = torch.stack(targets)[None]
        step = torch.tensor([goals])
        for change in (
            _preserving_step(
                lambda vectors: vectors, targets=rows, preserved=preserved, step=step, drift=no_drift, ridge=0.1
            ),
            _combined_step(rows, rows, preserved, step, no_drift),
        ):
            assert (rows[0] @ change[0]).tolist() == pytest.approx(reached, abs=1e-4)
            assert change.norm() < 10


def test_preserving_step_with_drift_undoes_it_and_meets_the_goal() -> None:
    classifier = small_classifier(rank=6)
    gradients = torch.randn(1, 5, 12, dtype=torch.float64)
    targets, preserved = gradients[:, :1], gradients[:, 1:]
    step, drift = torch.tensor([[2.5]], dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    change = _preserving_step(
        covariance_of(classifier).multiply, targets=targets, preserved=preserved, step=step, drift=drift, ridge=1e-9
    )
    torch.testing.assert_close(targets[0] @ change[0], step[0])
    torch.testing.assert_close(preserved[0] @ change[0], -drift[0], atol=1e-3, rtol=0)


def test_move_to_logits_two_goals_small_ridge_holds_the_others() -> None:
    classifier = small_classifier(rank=6)
    for layer in classifier.trunk:
        layer.bias.fill_(9)  # every unit on: the classifier is linear, and the answer exact
    w = torch.randn(4, 3, 4, dtype=torch.float64)
    before = classifier(w)
    goals = {0: before[:, 0] + 1, 3: before[:, 3] - 1}
    after = classifier(
        move_to_logits(
            classifier, w, goals, keep=torch.ones(5, dtype=torch.bool), covariance=covariance_of(classifier), ridge=1e-6
        )
    )
    torch.testing.assert_close(after[:, 0], goals[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(after[:, 3], goals[3], atol=1e-6, rtol=0)
    others = [1, 2, 4]
    torch.testing.assert_close(after[:, others], before[:, others], atol=1e-3, rtol=0)
    loose = move_to_logits(
        classifier, w, goals, keep=torch.zeros(5, dtype=torch.bool), covariance=covariance_of(classifier), ridge=1e-6
    )
    assert (classifier(loose) - before)[:, others].abs().max() > 0.2


@pytest.mark.parametrize("direction", ["preserving", "first-order", "second-order"])
def test_move_to_logits_a_logit_that_no_code_moves_stays(direction: LabelDirection) -> None:
    classifier = small_classifier(rank=6).float()
    w = torch.randn(4, 3, 4)
    classifier.logit_weight[0] *= 1e-9
    keep = torch.ones(5, dtype=torch.bool)
    goals = {0: torch.full((4,), 3.0)}
    still = move_to_logits(classifier, w, goals, keep=keep, covariance=covariance_of(classifier), direction=direction)
    torch.testing.assert_close(still, w)


class SmoothClassifier(LatentClassifier):
    """The classifier with softplus for leaky ReLU, so that its logits are curved."""

    def embed(self, w: Tensor) -> Tensor:
        x = w.flatten(1)
        for layer in self.trunk:
            x = F.softplus(3 * layer(x)) / 3
        return torch.einsum("bh,keh->bke", x, self.embedding_weight) + self.embedding_bias


def cosines(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one, other, dim=-1)


def curvature(classifier: LatentClassifier, w: Tensor, seed: int = 0, sign: float = 1.0) -> Tensor:
    """The second-order directions of attribute 0, (B, N*D)."""
    touched = torch.ones(w[0].numel(), dtype=w.dtype)
    return curvature_directions(classifier, w, [0], torch.full((len(w), 1), sign), touched=touched, seed=seed)[:, 0]


def test_curvature_directions_are_first_eigenvectors_of_the_hessian_for_any_seed() -> None:
    classifier = SmoothClassifier(small_classifier().config).double().requires_grad_(False)
    w = 2 * torch.randn(3, 3, 4, dtype=torch.float64)
    for sign in (1.0, -1.0):
        found = curvature(classifier, w, sign=sign)
        assert cosines(found, curvature(classifier, w, seed=7, sign=sign)).min() > 0.999
        for code, direction in zip(w, found, strict=True):
            target = torch.tensor((sign + 1) / 2, dtype=torch.float64)

            def divergence(flat: Tensor, target: Tensor = target) -> Tensor:
                return F.binary_cross_entropy_with_logits(classifier(flat.view(1, 3, 4))[0, 0], target)

            values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(divergence, code.flatten()))
            assert cosines(vectors[:, values.abs().argmax()], direction).abs() > 0.999
        gradients = gradient_of(classifier, w)
        assert cosines(found, gradients).abs().min() < 0.99  # it is no gradient in disguise
        assert (sign * (found * gradients).sum(1)).min() > 0  # but it leads to the goal


def test_curvature_directions_piecewise_linear_classifier_gives_the_gradient() -> None:
    classifier = small_classifier().float()
    w = torch.randn(4, 3, 4)
    gradients = gradient_of(classifier, w)
    for bias in (0.0, 60.0, -60.0):  # where the divergence itself is flat to the last bit
        classifier.logit_bias[0] = bias
        for seed in (0, 1):
            assert cosines(curvature(classifier, w, seed), gradients).min() > 0.9999
        assert cosines(curvature(classifier, w, sign=-1.0), -gradients).min() > 0.9999


def test_finite_difference_from_random_start_is_dominated_by_the_start(model: Engine, faces: Latents) -> None:
    """The published code adds a difference of gradients, made a unit vector, to a start a ~ N(0, I) of length 55."""
    classifier, w = model.networks.classifier, torch.from_numpy(faces[:1])
    assert isinstance(classifier, LatentClassifier)

    def gradient(at: Tensor) -> Tensor:
        return gradient_of(classifier, at)[0]

    def published(start: Tensor) -> Tensor:
        step = 1e-4
        difference = step * gradient(w + step * start.view_as(w)) - gradient(w)  # one term alone has the factor
        return start + difference / difference.norm()

    starts = [torch.randn(w.numel(), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    theirs = [published(start) for start in starts]
    assert min(cosines(found, start) for found, start in zip(theirs, starts, strict=True)) > 0.999  # the start itself
    assert cosines(*theirs).abs() < 0.1  # so that two starts have nothing in common
    assert max(cosines(found, gradient(w)).abs() for found in theirs) < 0.1
    ours = [curvature(classifier, w, seed)[0] for seed in (1, 2)]
    assert cosines(*ours) > 0.999
    assert cosines(ours[0], gradient(w)) > 0.999


def test_scale_to_one_std_matches_the_spread_of_codes() -> None:
    classifier = small_classifier(rank=6)
    factor = classifier.covariance_factor
    codes = torch.randn(40_000, 6, dtype=torch.float64) @ factor
    codes += 0.3**0.5 * torch.randn(40_000, 12, dtype=torch.float64)
    direction = torch.randn(3, 4, dtype=torch.float64)
    found = scale_to_one_std(7 * direction, covariance_of(classifier))
    unit = direction.flatten() / direction.norm()
    assert float(found.norm()) == pytest.approx(float((codes @ unit).std()), rel=0.02)
    torch.testing.assert_close(found, scale_to_one_std(direction, covariance_of(classifier)))
