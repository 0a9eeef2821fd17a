"""Training of the edit transformer on codes alone (Hu et al. 2022, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.editing.attributes import related
from stedit.models.edit_transformer import EditTransformer
from stedit.models.latent_classifier import LatentClassifier


@dataclass(frozen=True)
class ReferenceEditLosses:
    """The three parts, each a mean of squares, and their weighted sum."""

    code: Tensor
    reference: Tensor
    source: Tensor
    total: Tensor


def reference_edit_loss(
    classifier: LatentClassifier,
    edited: Tensor,
    source: Tensor,
    reference: Tensor,
    taken: Tensor,
    *,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> ReferenceEditLosses:
    """Stay near the source, with the reference's embedding of the wanted attribute and the source's of all others.

    Args:
        classifier: frozen; its embeddings e describe each attribute of a code.
        edited: (B, N, D), the edit transformer's answer w'.
        source: (B, N, D), w_s.
        reference: (B, N, D), w_r.
        taken: (B, K) bool, the attributes that shall follow the reference.
        weights: of ||w' - w_s||^2, of the wanted attributes' ||e(w') - e(w_r)||^2, of the others' ||e(w') - e(w_s)||^2.
    """
    with torch.no_grad():
        wanted = torch.where(taken[:, :, None], classifier.embed(reference), classifier.embed(source))
    difference = (classifier.embed(edited) - wanted).square().mean(dim=2)  # (B, K)
    parts = (
        F.mse_loss(edited, source),
        difference[taken].mean(),
        difference[~taken].mean(),
    )
    return ReferenceEditLosses(*parts, total=sum(w * part for w, part in zip(weights, parts, strict=True)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Counterfactuals:
    """Codes of true edits: pictures whose source differs in one attribute alone, taken from the reference."""

    source: Tensor  # (M,) indices into the codes
    reference: Tensor  # (M,)
    edited: Tensor  # (M,)
    attribute: Tensor  # (M,) index of the attribute that was taken


def train_editor(
    editor: EditTransformer,
    classifier: LatentClassifier,
    codes: Tensor,
    attributes: Sequence[str],
    counterfactuals: Counterfactuals | None = None,
    *,
    steps: int = 2000,
    batch_size: int = 64,
    learning_rate: float = 3e-4,
    weights: tuple[float, float, float] = (0.1, 1.0, 1.0),
    seed: int = 0,
) -> EditTransformer:
    """Fit the edit transformer to random pairs of codes and, where true edits are known, to their codes as well.

    Args:
        editor: to be trained; conditional, on the index of the attribute, if its config says so.
        classifier: frozen judge of what an edit did.
        codes: (M, N, D) in W+.
        attributes: the classifier's attributes; those related to the wanted one may follow the reference too.
        counterfactuals: true edits among the codes, when the data can show them.
        steps: of Adam, with a cosine schedule.
        batch_size: pairs per step, and as many true edits.
        learning_rate: at the start.
        weights: of `reference_edit_loss`.
        seed: of pairs and attributes.
    """
    torch.manual_seed(seed)
    groups = torch.tensor([[other in related(name) for other in attributes] for name in attributes])  # (K, K)
    optimizer = torch.optim.Adam(editor.train().parameters(), lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        source, reference = codes[torch.randint(len(codes), (2, batch_size))]
        attribute = torch.randint(len(attributes), (batch_size,))
        edited = editor(source, reference, attribute)
        loss = reference_edit_loss(classifier, edited, source, reference, groups[attribute], weights=weights).total
        if counterfactuals is not None:
            pick = torch.randint(len(counterfactuals.source), (batch_size,))
            answer = editor(
                codes[counterfactuals.source[pick]],
                codes[counterfactuals.reference[pick]],
                counterfactuals.attribute[pick],
            )
            loss = loss + F.mse_loss(answer, codes[counterfactuals.edited[pick]])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return editor.eval()
