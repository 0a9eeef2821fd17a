"""The keys of `stedit train generator`."""

from __future__ import annotations

from dataclasses import dataclass

from stedit.training.config import TrainingConfig, key


@dataclass(frozen=True, kw_only=True)
class GeneratorTraining(TrainingConfig):
    """A StyleGAN2 generator from pictures."""

    data: tuple[str, ...] = key((), text="Folders and zip files of pictures.")

    def check(self) -> None:
        """Raise ValueError if values contradict each other."""
        if not self.data:
            raise ValueError("data is empty: name folders or zip files of pictures")
