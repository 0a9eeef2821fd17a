"""Networks that see labels and the renderer's parameters: to compare pictures in the trainings, and to measure edits.

The parameters, known for rendered pictures alone, make them see more than the labels name: pose, light, shape.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stedit.errors import InputError
from stedit.imaging.files import read_picture
from stedit.models.attribute_network import AttributeNetwork
from stedit.storage.jsonl import read_records
from stedit.training.judge.train import varied


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures, in memory as bytes, with their labels and the parameters that made them."""

    pixels: NDArray[np.uint8]  # (M, H, W, 3)
    labels: NDArray[np.uint8]  # (M, K) in {0, 1}
    parameters: NDArray[np.float32]  # (M, P), each about N(0, 1)

    def images(self, index: Tensor) -> Tensor:
        """float32 (B, 3, H, W) in [-1, 1] of the chosen pictures."""
        return torch.from_numpy(self.pixels[index.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def join(self, other: LabelledPictures) -> LabelledPictures:
        """Both sets, this one first."""
        return LabelledPictures(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.parameters, other.parameters]),
        )


def load_labelled(records: Path, archives: Sequence[Path]) -> LabelledPictures:
    """Read `<id>.jpg` members of zip files, in the order of the records that label them.

    Args:
        records: JSONL with "id", "attributes" {CelebA name: 0/1} and "params".
        archives: zip files that hold all pictures, all of one size.

    Raises:
        InputError: a file cannot be read, or a picture is missing.
    """
    members: dict[str, tuple[zipfile.ZipFile, str]] = {}
    for archive in archives:
        try:
            opened = zipfile.ZipFile(archive)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"cannot read the pictures {archive} ({error}): give a zip file") from error
        members |= {Path(name).stem: (opened, name) for name in opened.namelist()}
    pixels, labels, parameters = [], [], []
    for row in read_records(records):
        if row["id"] not in members:
            raise InputError(f"{records} names the picture {row['id']}, which no archive holds: give all archives")
        opened, name = members[row["id"]]
        pixels.append(read_picture(BytesIO(opened.read(name)), name=name).pixels)
        labels.append(list(row["attributes"].values()))
        parameters.append(row["params"])
    return LabelledPictures(np.stack(pixels), np.array(labels, np.uint8), np.array(parameters, np.float32))


def train_eye(
    data: LabelledPictures, *, steps: int, batch_size: int, learning_rate: float, seed: int = 0
) -> AttributeNetwork:
    """Fit labels and parameters; its readings are the K labels' logits, then the P parameters."""
    torch.manual_seed(seed)
    labels, parameters = data.labels.shape[1], data.parameters.shape[1]
    network = AttributeNetwork(labels + parameters)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        index = torch.randint(len(data.pixels), (batch_size,))
        images, flip = data.images(index), torch.rand(batch_size) < 0.5
        images = varied(torch.where(flip[:, None, None, None], images.flip(-1), images), flip=False)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = network(images).float()
        wanted = torch.from_numpy(data.labels[index.numpy()]).float()
        missed = (seen[:, labels:] - torch.from_numpy(data.parameters[index.numpy()])).square().mean(dim=1)
        loss = F.binary_cross_entropy_with_logits(seen[:, :labels], wanted * 0.98 + 0.01)
        loss = loss + 0.5 * (missed * ~flip).mean()  # the parameters describe the picture as it was
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)
