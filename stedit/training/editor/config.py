"""The keys of the trainings of an edit transformer: from codes, and fine-tuned by the images of its edits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stedit.training.config import TrainingConfig, key
from stedit.training.latent_config import LatentTrainingConfig


@dataclass(frozen=True, kw_only=True)
class EditorTrainingConfig(LatentTrainingConfig):
    """The edit transformer: source and reference code -> edited code (Hu et al. 2022, section 3.3)."""

    command: ClassVar[str] = "editor"

    steps: int = key(5000, text="How many steps to train at most.", low=1, resumable=True)
    batch_size: int = key(64, text="Pairs in a step, of all processes together; and as many ground-truth edits.", low=1)
    learning_rate: float = key(3e-4, text="Adam's step size.", above=0)
    patience: int = key(
        10, text="Evaluations without a better held-out loss after which to stop; 0: do all steps.", low=0
    )

    attribute: str = key("", text="The one attribute that is edited; none: all, by conditioning on the attribute.")
    edits: str = key(
        "",
        text="JSONL of ground-truth edits, if there are any: source, reference, edited, attribute, present.",
        local=True,
    )
    labels: bool = key(False, text="Learn to make the ground-truth edits without a reference too, for edits by label.")

    finetune: bool = key(
        False, text="Train the model's own editor on, whose sizes stay, instead of a new one of the sizes below."
    )
    layers: int = key(1, text="Transformer layers.", low=1)
    heads: int = key(4, text="Attention heads.", low=1)
    feedforward: int = key(1024, text="Hidden units of a layer.", low=1)
    doubly_normalised: bool = key(
        True, text="Normalise attention over the queries, then over the keys, as the paper does; else plain attention."
    )
    residual: bool = key(True, text="Predict the change of the code, not the code.")

    code_weight: float = key(0.1, text="Weight of the squared change of the code.", low=0)
    reference_weight: float = key(
        1.0,
        text="Weight of the edited attribute's squared distance from the reference, as the classifier embeds it.",
        low=0,
    )
    source_weight: float = key(1.0, text="Weight of the other attributes' squared distance from the source.", low=0)
    edit_weight: float = key(
        1.0, text="Weight of the squared distance from ground-truth edits, in units of their change.", low=0
    )
    embedding_weight: float = key(
        0.3,
        text="Weight of the edited attribute's distance from the ground-truth edit's, as the classifier embeds it.",
        low=0,
    )

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if self.finetune and self.attribute:
            raise ValueError("finetune trains the editor of all attributes on: leave attribute out")
        if self.labels and not self.edits:
            raise ValueError("labels is given, but edits names no ground-truth edits to learn them from")


@dataclass(frozen=True, kw_only=True)
class EditorFinetuneConfig(LatentTrainingConfig):
    """The model's own editor, trained on by what judges predict of the images of its edits by label."""

    command: ClassVar[str] = "finetune-editor"

    steps: int = key(5000, text="How many steps to train at most.", low=1, resumable=True)
    batch_size: int = key(64, text="Edits in a step, of all processes together.", low=1)
    learning_rate: float = key(3e-4, text="Adam's step size.", above=0)
    patience: int = key(
        10, text="Evaluations without a better held-out loss after which to stop; 0: do all steps.", low=0
    )

    judge: tuple[str, ...] = key(
        (),
        text="Models whose judges predict the edits' attributes, a random one each time; none: the model's own.",
        local=True,
    )
    resolution: int = key(
        0, text="Side of the images that judges see, a power of two, in pixels; 0: all that the model renders.", low=0
    )
    target_weight: float = key(
        4.0, text="Weight of the edited attribute's cross-entropy, as a judge predicts it.", low=0
    )
    preservation_weight: float = key(
        1.0, text="Weight of the change of unrelated attributes, as a judge predicts them.", low=0
    )
    proximity_weight: float = key(
        6.0, text="Weight of the squared distance from the codes that the editor made before.", low=0
    )


TrainingConfig.join_modes(codes=EditorTrainingConfig, pictures=EditorFinetuneConfig)
