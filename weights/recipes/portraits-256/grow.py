"""Give an encoder and a generator of 128 px another block: the start of a training at 256 px.

    python grow.py weights/synthface-128 grown --channels 32

The new block adds nothing at first: its RGB layer is zero, so what the model renders is the old rendering, enlarged.
The encoder keeps its input size; the styles of the new block start as the last one of the old.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stedit import Engine
from stedit.errors import SteditError
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.bundle import Bundle

ADDED = 2  # styles that a block reads
CHANNELS = 32  # feature maps of the new block


def grown_generator(generator: Generator, channels: int) -> Generator:
    """A generator of twice the resolution, whose last block has `channels` feature maps and adds nothing yet."""
    config = generator.config
    torch.manual_seed(0)
    larger = Generator(
        replace(config, resolution=2 * config.resolution, channels=(*config.channels, channels))
    ).requires_grad_(False)
    larger.load_state_dict({**larger.state_dict(), **generator.state_dict()})
    larger.blocks[-1].to_rgb.conv.weight.zero_()  # type: ignore[union-attr,operator]
    return larger


def grown_encoder(encoder: StyleTransformer) -> StyleTransformer:
    """An encoder of the same input with two more styles, which start as its last one."""
    config = replace(encoder.config, style_count=encoder.config.style_count + ADDED, corrections=0)
    width, state = config.style_dim, encoder.state_dict()

    def repeated(rows: Tensor, unit: int) -> Tensor:
        return torch.cat([rows, *[rows[-unit:]] * ADDED])

    for name, unit in (("queries", 1), ("mean", 1), ("summary.3.weight", width), ("summary.3.bias", width)):
        if name in state:
            state[name] = repeated(state[name], unit)
    larger = StyleTransformer(config)
    larger.load_state_dict(state)
    return larger


def grown_editor(editor: EditTransformer, attributes: int) -> EditTransformer:
    """An edit transformer for two more styles, which are conditioned as its last one, and for further attributes."""
    config = replace(editor.config, style_count=editor.config.style_count + ADDED, attributes=attributes)
    torch.manual_seed(0)
    larger, state = EditTransformer(config).requires_grad_(False), editor.state_dict()
    for name in ("source_condition", "reference_condition"):
        known = state[name]  # (K, N, D)
        state[name] = larger.state_dict()[name].clone()
        state[name][: len(known)] = torch.cat([known, *[known[:, -1:]] * ADDED], dim=1)
    larger.load_state_dict(state)
    return larger


def grow(model: Path, output: Path, channels: int = CHANNELS) -> Bundle:
    """The bundle of the grown encoder and generator of a model."""
    networks = Engine.from_pretrained(model, device="cpu").networks
    encoder, generator = networks.encoder, grown_generator(networks.generator, channels)
    if not isinstance(encoder, StyleTransformer):
        raise SystemExit(f"error: the encoder of {model} is no style transformer")
    larger = grown_encoder(encoder)
    bundle = Bundle.load(model)
    return Bundle.save(
        output,
        name=bundle.name,
        domain=bundle.domain,
        license=bundle.license,
        description="Encoder and generator, grown by a block that is not trained yet.",
        alignment=bundle.alignment,
        training={"grown_from": bundle.name},
        parts={
            "generator": (generator.config, generator.state_dict()),
            "encoder": (larger.config, larger.state_dict()),
        },
        readme="",
        overwrite=True,
    )


def main() -> None:
    """Read the arguments, grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--channels", type=int, default=CHANNELS, help="of the new block")
    given = parser.parse_args()
    try:
        grow(given.model, given.output, given.channels)
    except SteditError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
