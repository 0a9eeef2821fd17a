"""What is done with images before anything else: their codes are found, by the method asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stedit.batch.reporter import Reporter
from stedit.batch.request import InversionRequest
from stedit.imaging.files import Pixels
from stedit.inversion.encoder import require_iterative
from stedit.inversion.objective import describe_losses
from stedit.inversion.options import InversionProgress
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine


@dataclass
class Inverted:
    """The code of one image, and how it was found."""

    code: npt.NDArray[np.float32]  # (N, D)
    tuning: Tuning | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Inverter:
    """Finds the codes of images, and reports how far it is."""

    def __init__(
        self, engine: Engine, request: InversionRequest, reporter: Reporter, *, faces_alone: bool = False
    ) -> None:
        """Note what is going to be done. Raises MissingPartError if the model has no network for it.

        Where `faces_alone` are wanted, no network is asked, and codes are zero.
        """
        self._engine = engine
        self._request = request
        self._reporter = reporter
        self._faces_alone = faces_alone
        if request.method == "encoder" and not request.tuning:
            return
        losses = describe_losses(request.options.losses, engine.networks)
        if request.method == "iterative":
            require_iterative(engine.model)
        if request.method != "encoder":
            reporter.note(f"{request.method}: at most {request.steps} steps in {request.options.space}, on {losses}")
        if request.tuning:
            reporter.note(f"tuning: at most {request.tuning.steps} steps of rank {request.tuning.rank}, on {losses}")

    @property
    def takes_one_pass(self) -> bool:
        """Whether it finds codes without steps to report."""
        return self._request.method == "encoder" and not self._request.tuning

    def fit(self, cut: Callable[[tuple[int, int]], Pixels]) -> tuple[Pixels, Pixels | None]:
        """A face in the sizes that `__call__` needs: for the encoder, and to compare renderings with.

        `cut` gives it in a size (height, width).
        """
        if self._faces_alone:
            return np.zeros((0, 0, 3), np.uint8), None
        if self._request.method == "optimise":  # which does without an encoder and its size
            target = cut(self._engine.target_size)
            return target, target
        compared = self._request.method != "encoder" or self._request.tuning
        target_size = self._engine.target_size
        return cut(self._engine.input_size), cut(target_size) if compared else None

    def __call__(self, images: Sequence[tuple[Pixels, Pixels | None]]) -> list[Inverted]:
        """Invert images, each as `fit` gives it, and tune the generator to them if the request says so."""
        if not images:
            return []
        if self._faces_alone:
            return [Inverted(np.zeros(self._engine.code_shape, np.float32)) for _ in images]
        fitted = np.stack([image for image, _ in images])
        if self._request.method == "encoder":
            inverted = [Inverted(code) for code in self._engine.invert(fitted)]
        else:
            inverted = self._optimise(fitted, _targets(images))
        if self._request.tuning:
            self._tune(inverted, _targets(images))
        return inverted

    def _optimise(self, images: Pixels, targets: Pixels) -> list[Inverted]:
        last: list[InversionProgress] = []

        def on_step(step: InversionProgress) -> None:
            last[:] = [step]
            mean = sum(step.losses) / len(step.losses)
            done = len(images) * step.step / step.steps / (2 if self._request.tuning else 1)
            self._reporter.progress(f"step {step.step} of {step.steps}, loss {mean:.4f}", done)

        method = self._request.method
        codes = self._engine.invert(
            images, method=method, options=self._request.options, targets=targets, on_step=on_step
        )
        return [
            Inverted(code, details={"method": method, **_details(last[0], i)} if last else {})
            for i, code in enumerate(codes)
        ]

    def _tune(self, inverted: Sequence[Inverted], targets: Pixels) -> None:
        steps: dict[int, InversionProgress] = {}

        def on_step(index: int, step: InversionProgress) -> None:
            steps[index] = step
            tuned = index + step.step / step.steps
            done = tuned if self._request.method == "encoder" else (len(inverted) + tuned) / 2
            self._reporter.progress(f"tuning, step {step.step} of {step.steps}, loss {step.losses[0]:.4f}", done)

        codes = np.stack([one.code for one in inverted])
        tunings = self._engine.tune_generator(targets, codes, options=self._request.tuning, on_step=on_step)
        for i, (one, tuning) in enumerate(zip(inverted, tunings, strict=True)):
            one.tuning = tuning
            one.details["tuning"] = _details(steps[i], 0)


def summarise(details: dict[str, Any]) -> str:
    """`hybrid: 100 steps, loss 0.0071, 28.31 dB`, and the same of the tuning; "" for the encoder alone."""
    parts = [(details.get("method"), details), ("tuning", details.get("tuning"))]
    return "; ".join(
        f"{name}: {part['steps']} steps, loss {part['loss']:.4f}, {part['psnr']:.2f} dB"
        for name, part in parts
        if name and part
    )


def _details(step: InversionProgress, i: int) -> dict[str, Any]:
    return {
        "steps": step.steps_taken[i],
        "loss": round(step.losses[i], 6),
        "losses": {name: round(value, 6) for name, value in step.terms[i].items()},
        "psnr": round(step.psnr[i], 3),
    }


def _targets(images: Sequence[tuple[Pixels, Pixels | None]]) -> Pixels:
    return np.stack([target for _, target in images if target is not None])
