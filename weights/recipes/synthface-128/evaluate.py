"""Measure a bundle on the test split: reconstruction and edits by label and reference, as a network sees them.

    python evaluate.py --data DATA [--model weights/synthface-128] [--count 200] [--judge FILE]

The network is the one that served as the perceptual loss (attribute_network.safetensors, kept here): it was trained on
the training split's pictures alone, but it is no independent judge.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from stedit import Engine
from stedit.editing.attributes import related
from stedit.models.attribute_network import AttributeNetwork
from stedit.training.data import LabelledPictures, load_labelled

EDITED = (
    "Smiling",
    "Mouth_Slightly_Open",
    "Eyeglasses",
    "No_Beard",
    "Bangs",
    "Blond_Hair",
    "Black_Hair",
    "Gray_Hair",
    "Wearing_Lipstick",
    "Pale_Skin",
    "Wearing_Hat",
    "Young",
)


class Judge:
    """Attributes of pictures, as the image-space network sees them."""

    def __init__(self, weights: Path, attributes: int) -> None:
        state = load_file(weights)
        self.attributes = attributes
        self.network = AttributeNetwork(len(state["head.bias"])).eval()
        self.network.load_state_dict(state)

    def see(self, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Pictures (B, H, W, 3) -> which attributes they have, (B, K)."""
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            seen = torch.cat([self.network(part) for part in images.split(50)])
        result: NDArray[np.bool_] = (seen[:, : self.attributes] > 0).numpy()
        return result


def main() -> None:
    """Read the arguments, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--judge", type=Path, default=Path(__file__).with_name("attribute_network.safetensors"))
    parser.add_argument("--model", default="weights/synthface-128")
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    engine = Engine.from_pretrained(arguments.model)
    test = load_labelled(arguments.data / "test.jsonl.gz", sorted(arguments.data.glob("test-*.zip")))
    judge = Judge(arguments.judge, len(test.attributes))
    pixels = test.pixels[: arguments.count]
    codes = np.concatenate([engine.invert(part) for part in np.array_split(pixels, max(1, len(pixels) // 50))])
    rendered = engine.synthesise(codes)
    _report_reconstruction(test, pixels, rendered, judge)
    print("| attribute | label: asked | label: others | reference: follows | reference: others |")
    print("|---|---|---|---|---|")
    rows = [_edits(engine, judge, test.attributes, codes, rendered, name) for name in EDITED]
    for name, row in zip((*EDITED, "mean"), (*rows, np.mean(rows, axis=0)), strict=True):
        print(f"| {name} | " + " | ".join(f"{100 * value:.1f} %" for value in row) + " |")


def _report_reconstruction(
    test: LabelledPictures, pixels: NDArray[np.uint8], rendered: NDArray[np.uint8], judge: Judge
) -> None:
    error = ((pixels.astype(float) - rendered) ** 2).mean(axis=(1, 2, 3)) / 255**2
    labels = test.labels[: len(pixels)].astype(bool)
    print(f"{len(pixels)} pictures, PSNR {(-10 * np.log10(error)).mean():.2f} dB, L2 {error.mean():.5f}")
    seen, seen_again = judge.see(pixels), judge.see(rendered)
    print(f"judge against the labels {100 * (seen == labels).mean():.1f} %", end=", ")
    print(f"reconstruction against source {100 * (seen == seen_again).mean():.1f} %")


def _edits(
    engine: Engine,
    judge: Judge,
    attributes: tuple[str, ...],
    codes: NDArray[np.float32],
    rendered: NDArray[np.uint8],
    name: str,
) -> tuple[float, float, float, float]:
    """Shares of pictures: edit seen, unrelated attributes changed; by label both ways, by reference."""
    index = attributes.index(name)
    others = [k for k, other in enumerate(attributes) if other not in related(name)]
    before = judge.see(rendered)
    edited = codes.copy()
    for strength in (1.0, -1.0):
        chosen = before[:, index] == (strength < 0)
        edited[chosen] = engine.edit_by_label(codes[chosen], name, strength=strength)
    after = judge.see(engine.synthesise(edited))
    references = np.roll(np.arange(len(codes)), 7)
    followed = judge.see(engine.synthesise(engine.edit_by_reference(codes, codes[references], name)))
    return (
        float((after[:, index] != before[:, index]).mean()),
        float((after[:, others] != before[:, others]).mean()),
        float((followed[:, index] == before[references, index]).mean()),
        float((followed[:, others] != before[:, others]).mean()),
    )


if __name__ == "__main__":
    main()
