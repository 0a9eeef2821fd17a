"""Rewrite the tables of config keys in training.md from the configs: run it after a key is added or renamed.

python docs/update_key_tables.py
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from stedit.training.aligner.config import AlignerTrainingConfig
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.completion.config import CompletionConfig
from stedit.training.config import Config, TrainingConfig
from stedit.training.editor.config import EditorFinetuneConfig, EditorTrainingConfig
from stedit.training.encoder.config import EncoderTrainingConfig
from stedit.training.generator.config import (
    AutoencoderTrainingConfig,
    DiscriminatorConfig,
    GeneratorFinetuneConfig,
    GeneratorTrainingConfig,
    NewGeneratorConfig,
)
from stedit.training.image_config import EncoderSizesConfig, ImageTrainingConfig, ReconstructionTrainingConfig
from stedit.training.judge.config import JudgeTrainingConfig
from stedit.training.latent_config import LatentTrainingConfig

# in the order of their tables
CONFIGS: tuple[type[Config], ...] = (
    TrainingConfig,
    ImageTrainingConfig,
    ReconstructionTrainingConfig,
    EncoderSizesConfig,
    DiscriminatorConfig,
    NewGeneratorConfig,
    GeneratorTrainingConfig,
    AutoencoderTrainingConfig,
    GeneratorFinetuneConfig,
    EncoderTrainingConfig,
    LatentTrainingConfig,
    ClassifierTrainingConfig,
    EditorTrainingConfig,
    EditorFinetuneConfig,
    JudgeTrainingConfig,
    AlignerTrainingConfig,
    CompletionConfig,
)
PAGE = Path(__file__).with_name("training.md")
TABLE = re.compile(r"(\| key \| default \| meaning \|\n\|---\|---\|---\|\n)(?:\|.*\n)+")


def rows_of(config: type[Config]) -> list[str]:
    """A row for each key that the config declares, or gives a default of its own."""
    return [
        f"| `{field.name}` | `{json.dumps(field.default)}` | {field.metadata['text']} |\n"
        for field in fields(config)
        if field.name in config.__annotations__
    ]


def updated(page: str) -> str:
    """The page with all its tables rewritten."""
    configs = iter(CONFIGS)
    return TABLE.sub(lambda match: match[1] + "".join(rows_of(next(configs))), page)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
