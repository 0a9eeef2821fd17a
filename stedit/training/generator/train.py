"""`stedit train generator`: the task of a config, whose `mode` says which."""

from __future__ import annotations

from dataclasses import replace

from stedit.engine import Engine
from stedit.errors import UsageError
from stedit.training.generator.autoencoder import AutoencoderTask
from stedit.training.generator.config import GeneratorTrainingConfig
from stedit.training.generator.finetune import GeneratorFinetuneTask
from stedit.training.generator.stylegan2 import StyleGan2Task
from stedit.training.run import Task


def build(config: GeneratorTrainingConfig) -> Task:
    """The task of a config.

    Raises:
        InputError: the pictures cannot be opened.
        UsageError: keys do not fit the sizes of the model to start from.
        MissingPartError, BundleError: that model lacks a part, or cannot be used.
    """
    device = config.device if config.mode == "codes" else "cpu"  # there the model inverts and edits
    engine = Engine.from_pretrained(config.init_from, device=device) if config.init_from else None
    if engine is not None:
        sizes = engine.networks.generator.config
        config = replace(
            config,
            resolution=sizes.resolution,
            style_dim=sizes.style_dim,
            mapping_layers=sizes.mapping_layers,
            channels=sizes.channels,
        )
        try:
            config.check_sizes()
        except ValueError as error:
            raise UsageError(f"starting from {config.init_from}: {error}") from error
    if engine is not None and config.mode == "codes":
        return GeneratorFinetuneTask(config, engine)
    networks = engine.networks.parts() if engine is not None else {}
    started = {name: network.train().requires_grad_(True) for name, network in networks.items()}
    if config.mode == "joint":
        return AutoencoderTask(config, started)
    return StyleGan2Task(config, started)
