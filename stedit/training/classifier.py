"""Training of the latent classifier on codes and labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.models.config import ClassifierConfig
from stedit.models.latent_classifier import LatentClassifier


def train_classifier(
    config: ClassifierConfig,
    codes: Tensor,
    labels: Tensor,
    *,
    steps: int = 3000,
    batch_size: int = 256,
    noise: float = 0.3,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> LatentClassifier:
    """Fit a classifier with binary cross-entropy, and the codes' covariance if the config keeps one.

    Args:
        config: sizes.
        codes: (M, N, D) in W+.
        labels: (M, K) in {0, 1}.
        steps: of AdamW, with a cosine schedule.
        batch_size: codes per step.
        noise: standard deviation added to the codes, in units of each coordinate's own, so that the classifier's
            gradient ignores directions in which codes hardly vary.
        learning_rate: at the start.
        seed: of initialisation, batches and noise.
    """
    torch.manual_seed(seed)
    classifier = LatentClassifier(config).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    spread = codes.std(dim=0)
    for _ in range(steps):
        index = torch.randint(len(codes), (batch_size,))
        w = codes[index]
        logits = classifier(w + noise * spread * torch.randn_like(w))
        loss = F.binary_cross_entropy_with_logits(logits, labels[index].float())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    if config.covariance_rank:
        _fit_covariance(classifier, codes)
    return classifier.eval()


def accuracy(classifier: LatentClassifier, codes: Tensor, labels: Tensor) -> Tensor:
    """Share of right answers for each attribute, (K,)."""
    with torch.inference_mode():
        right: Tensor = (classifier(codes) > 0) == labels.bool()
    return right.float().mean(dim=0)


def _fit_covariance(classifier: LatentClassifier, codes: Tensor) -> None:
    """Leading principal axes and the mean variance of the rest (Tipping and Bishop 1999, probabilistic PCA)."""
    flat = codes.flatten(1)
    centred = flat - flat.mean(dim=0)
    rank = classifier.config.covariance_rank
    covariance = centred.T @ centred / len(flat)
    values, axes = torch.linalg.eigh(covariance)  # ascending
    rest = values[:-rank].mean()
    leading = axes[:, -rank:] * (values[-rank:] - rest).clamp_min(0).sqrt()
    classifier.covariance_factor.copy_(leading.T)
    classifier.covariance_rest.copy_(rest)
