"""The keys of `stedit train editor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stedit.training.config import key
from stedit.training.latent_config import LatentTrainingConfig


@dataclass(frozen=True, kw_only=True)
class EditorTrainingConfig(LatentTrainingConfig):
    """The edit transformer: source and reference code -> edited code (Hu et al. 2022, section 3.3)."""

    mode: Literal["codes", "pictures"] = key(
        "codes",
        text="codes: learn edits from codes. pictures: train the model's own editor on by what judges see of its edits "
        "by label.",
    )
    steps: int = key(5000, text="How many steps to train at most.", low=1, resumable=True)
    batch_size: int = key(
        64,
        text="Pairs in a step, of all processes together; and as many ground-truth edits. Pictures: edits in a step.",
        low=1,
    )
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
        text="Weight of the asked attribute's squared distance from the reference, as the classifier embeds it.",
        low=0,
    )
    source_weight: float = key(1.0, text="Weight of the other attributes' squared distance from the source.", low=0)
    edit_weight: float = key(
        1.0, text="Weight of the squared distance from ground-truth edits, in units of their change.", low=0
    )
    embedding_weight: float = key(
        0.3,
        text="Weight of the asked attribute's distance from the ground-truth edit's, as the classifier embeds it.",
        low=0,
    )

    judge: tuple[str, ...] = key(
        (),
        text="Pictures: models whose judges look at edits, each time one of them by chance; none: the model's own.",
        local=True,
    )
    target_weight: float = key(4.0, text="Pictures: weight of what is asked for and a judge does not see.", low=0)
    preservation_weight: float = key(
        1.0, text="Pictures: weight of what has nothing to do with that and a judge sees change.", low=0
    )
    proximity_weight: float = key(
        6.0, text="Pictures: weight of the squared distance from the codes of the edits made before.", low=0
    )

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        super().check()
        if self.mode == "pictures":
            for name in ("attribute", "edits", "labels", "finetune"):
                if getattr(self, name):
                    raise ValueError(f"{name} is for the mode codes, and mode is pictures: leave one of them out")
        elif self.judge:
            raise ValueError('judge is for the mode pictures: give mode = "pictures", or leave judge out')
        if self.finetune and self.attribute:
            raise ValueError("finetune trains the editor of all attributes on: leave attribute out")
        if self.labels and not self.edits:
            raise ValueError("labels is given, but edits names no ground-truth edits to learn them from")
