"""What is done with pictures before anything else: their codes are found, by the method asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stedit.imaging.files import Pixels, fit_picture
from stedit.inversion.encoder import require_iterative
from stedit.inversion.objective import describe_losses
from stedit.inversion.options import DEFAULT_STEPS, InversionOptions, Method, Step, TuningOptions
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine

Codes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Search:
    """What `--method` and the options beside it ask for, understood."""

    method: Method
    inversion: InversionOptions
    tuning: TuningOptions | None

    @property
    def steps(self) -> int:
        """At most as many for each picture."""
        return self.inversion.steps or DEFAULT_STEPS[self.method]


@dataclass
class Found:
    """The code of one picture, and how it was found."""

    code: Codes  # (N, D)
    tuning: Tuning | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Inverter:
    """Finds the codes of pictures, and says how it goes."""

    def __init__(
        self, engine: Engine, search: Search, note: Callable[[str], None], show: Callable[[str], None]
    ) -> None:
        """`note` is given a sentence on what is asked for; `show` how the pictures in work stand, step by step."""
        self._engine = engine
        self._search = search
        self._show = show
        losses = describe_losses(search.inversion.losses, engine.networks)
        if search.method == "iterative":
            require_iterative(engine.model)
        if search.method != "encoder":
            note(f"{search.method}: at most {search.steps} steps in {search.inversion.space}, on {losses}")
        if search.tuning:
            note(f"tuning: at most {search.tuning.steps} steps of rank {search.tuning.rank}, on {losses}")

    def fit(self, picture: Pixels) -> tuple[Pixels, Pixels | None]:
        """A picture (H, W, 3) in the sizes that `__call__` needs: for the encoder, and to compare renderings with."""
        if self._search.method == "optimise":  # which does without an encoder and its size
            target = fit_picture(picture, self._engine.target_size)
            return target, target
        searched = self._search.method != "encoder" or self._search.tuning
        target_size = self._engine.target_size
        return fit_picture(picture, self._engine.input_size), fit_picture(picture, target_size) if searched else None

    def __call__(self, pictures: Sequence[tuple[Pixels, Pixels | None]]) -> list[Found]:
        """Invert pictures, each as `fit` gives it, and tune the generator to them if that was asked for."""
        if not pictures:
            return []
        images = np.stack([picture for picture, _ in pictures])
        if self._search.method == "encoder":
            found = [Found(code) for code in self._engine.invert(images)]
        else:
            found = self._descend(images, _stacked(pictures))
        if self._search.tuning:
            self._tune(found, _stacked(pictures))
        return found

    def _descend(self, images: Pixels, targets: Pixels) -> list[Found]:
        last: list[Step] = []

        def report(step: Step) -> None:
            last[:] = [step]
            self._show(f"step {step.step} of {step.steps}, loss {sum(step.losses) / len(step.losses):.4f}")

        method = self._search.method
        codes = self._engine.invert(
            images, method=method, options=self._search.inversion, targets=targets, report=report
        )
        return [
            Found(code, details={"method": method, **_details(last[0], i)} if last else {})
            for i, code in enumerate(codes)
        ]

    def _tune(self, found: Sequence[Found], targets: Pixels) -> None:
        steps: dict[int, Step] = {}

        def report(index: int, step: Step) -> None:
            steps[index] = step
            self._show(f"tuning, step {step.step} of {step.steps}, loss {step.losses[0]:.4f}")

        codes = np.stack([one.code for one in found])
        tunings = self._engine.tune_generator(targets, codes, options=self._search.tuning, report=report)
        for i, (one, tuning) in enumerate(zip(found, tunings, strict=True)):
            one.tuning = tuning
            one.details["tuning"] = _details(steps[i], 0)


def in_words(details: dict[str, Any]) -> str:
    """`hybrid: 100 steps, loss 0.0071, 28.31 dB`, and the same of the tuning; "" where there is nothing to tell."""
    parts = [(details.get("method"), details), ("tuning", details.get("tuning"))]
    return "; ".join(
        f"{name}: {told['steps']} steps, loss {told['loss']:.4f}, {told['psnr']:.2f} dB"
        for name, told in parts
        if name and told
    )


def _details(step: Step, i: int) -> dict[str, Any]:
    return {
        "steps": step.taken[i],
        "loss": round(step.losses[i], 6),
        "losses": {name: round(value, 6) for name, value in step.terms[i].items()},
        "psnr": round(step.psnr[i], 3),
    }


def _stacked(pictures: Sequence[tuple[Pixels, Pixels | None]]) -> Pixels:
    return np.stack([target for _, target in pictures if target is not None])
