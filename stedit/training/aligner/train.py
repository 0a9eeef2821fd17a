"""`stedit train aligner`: the network that finds faces and their five points, on scenes, crops and renders."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.errors import UsageError
from stedit.hub.find import find_bundle
from stedit.imaging.files import Pixels
from stedit.models.aligner import POINTS, Aligner, cell_centres
from stedit.photo.search import search
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.training.aligner.compose import Canvases, clutter, compose
from stedit.training.aligner.config import AlignerTrainingConfig
from stedit.training.aligner.data import ABSENT, LEARNT, Faces, read_faces
from stedit.training.ema import ema_decay, update_ema
from stedit.training.provenance import provenance, started_from, training_card, with_parts
from stedit.training.run import Run

THRESHOLD = 0.5  # of the probability, where it is measured
SAME_FACE = 0.4  # intersection over union of a true box and a found one
CHUNK = 32  # held-out pictures at a time
CLUTTER_PICTURES, CLUTTER_SIDE = 64, 288  # pictures without a face
POINTS_WEIGHT, BOX_WEIGHT = 10.0, 2.0
MAX_IGNORED = 24.0  # pixels around the centre of a face that is too large to be learnt, or of which nobody is sure
MINED = 0.8  # decay of how hard a scene was


def build(config: AlignerTrainingConfig) -> AlignerTask:
    """The task of a config: reads and decodes all the pictures.

    Raises:
        InputError: pictures or labels cannot be used.
        BundleError: a model cannot be used.
        UsageError: the aligner to start from has other sizes.
    """
    bundle = Bundle.load(find_bundle(config.model)) if config.model else None
    start = (
        cast(Aligner, load_network(Bundle.load(find_bundle(config.init_from)), "aligner")) if config.init_from else None
    )
    if start is not None and start.config != config.aligner_config():
        raise UsageError(
            f"the aligner of {config.init_from} has other sizes: set widths, smallest and largest to its own"
        )
    return AlignerTask(config, bundle, start, read_faces(config.data, config.labels))


class Hardness(nn.Module):
    """How surely the network found faces where a scene has none: harder scenes are shown more often."""

    def __init__(self, scenes: int) -> None:
        super().__init__()
        self.register_buffer("scenes", torch.full((scenes,), 0.5))
        self.scenes: Tensor

    def choose(self, count: int) -> Tensor:
        """Indices of scenes (count,), on the device."""
        return torch.multinomial(self.scenes + 0.1, count, replacement=True)

    def learn(self, index: Tensor, faults: Tensor) -> None:
        """Take in the greatest probability (B,) of a face where there is none."""
        hardest = torch.full_like(self.scenes, -1).scatter_reduce(0, index, faults.float(), "amax")
        self.scenes.copy_(torch.where(hardest < 0, self.scenes, torch.lerp(hardest, self.scenes, MINED)))


class AlignerTask:
    """The task: a heat map by quality focal loss (Li et al. 2020), points and boxes by the distance in face sizes."""

    def __init__(
        self, config: AlignerTrainingConfig, bundle: Bundle | None, start: Aligner | None, sets: Mapping[str, Faces]
    ) -> None:
        self.config, self.bundle = config, bundle
        self._sets, self._held_out = _split(sets, config.val_fraction)
        self.pictures = sum(map(len, self._sets.values()))
        self.aligner = Aligner(config.aligner_config())
        if start is not None:
            self.aligner.load_state_dict(start.state_dict())
        self.average = copy.deepcopy(self.aligner)
        self.hardness = Hardness(len(next(iter(self._sets.values()))))
        self.scalars: dict[str, float] = {}
        self.figures: dict[str, float] = {}
        self.networks: Mapping[str, nn.Module] = {
            "aligner": self.aligner,
            "average": self.average,
            "hardness": self.hardness,
        }
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "adam": torch.optim.AdamW(
                self.aligner.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
        }

    def step(self, run: Run) -> Mapping[str, Tensor]:
        """One composed batch."""
        self._to(run.device)
        config = self.config
        with torch.no_grad():
            canvases = compose(
                self._sets,
                self.hardness.choose(run.share),
                config.canvas,
                tilt=config.tilt,
                smallest=config.smallest,
                largest=config.largest,
                clutter_fraction=config.clutter_fraction,
            )
        with run.autocast():
            logits, shapes = self.aligner.train()(canvases.images)
        losses, faults = aligner_losses(logits, shapes, canvases)
        self.hardness.learn(canvases.scenes, faults)
        total = losses["heat"] + POINTS_WEIGHT * losses["points"] + BOX_WEIGHT * losses["box"]
        run.update(self.optimizers["adam"], total, clip=5.0)
        update_ema(self.average, self.aligner, ema_decay(config.batch_size, config.ema_images, run.step))
        return {"loss": total, **losses}

    def evaluate(self, run: Run) -> Mapping[str, float]:
        """Recall, precision and error of the points on scenes held out, and faces in clutter; of the moving average."""
        network = self.average.eval()
        with run.autocast():
            self.figures = {} if self._held_out is None else measure(network, self._held_out.to(run.device))
            self.figures["val/faces_in_clutter"] = faces_in_clutter(network, run.device)
        return self.figures

    def sample(self) -> Pixels | None:
        """There is none."""
        return None

    def save(self, path: Path, *, overwrite: bool) -> Bundle:
        """The model with this aligner, or an aligner alone. Raises OutputError, BundleError."""
        config = self.config
        network = copy.deepcopy(self.average).cpu()
        parts = {"aligner": (network.config, network.state_dict())}
        training: dict[str, Any] = {
            "aligner": provenance(
                config, images=self.pictures, validation=self.figures, **started_from(config.init_from)
            )
        }
        if self.bundle is not None:
            return with_parts(self.bundle, path, parts, training, overwrite=overwrite)
        return Bundle.save(
            path,
            name=config.name,
            domain="",
            license=config.license,
            description="An aligner, which finds faces and their five points.",
            training=training,
            parts=parts,
            readme=training_card(config, config.name, config.license, self.pictures),
            overwrite=overwrite,
        )

    def _to(self, device: torch.device) -> None:
        """Move the pictures to the device, once."""
        if next(iter(self._sets.values())).pixels.device != device:
            self._sets = {name: faces.to(device) for name, faces in self._sets.items()}


def aligner_losses(logits: Tensor, shapes: Tensor, canvases: Canvases) -> tuple[dict[str, Tensor], Tensor]:
    """The losses, scalars, of answers (B, h, w) and (B, h, w, 7, 2), and each canvas's surest fault (B,)."""
    goal, counted, owner = targets(canvases, logits.shape[1], logits.shape[2])
    probability = logits.sigmoid()
    every = (goal - probability).square() * F.binary_cross_entropy_with_logits(logits, goal, reduction="none")
    faces = (goal == 1).sum().clamp(min=1)
    rows = torch.arange(len(logits), device=logits.device)[:, None, None]
    size = canvases.sizes[rows, owner]
    near = torch.where(goal > 0.4, goal, 0.0)
    distance = (shapes - canvases.shapes[rows, owner]).norm(dim=-1) / size.clamp(min=1)[..., None]  # (B, h, w, 7)
    weight = near / near.sum().clamp(min=1)
    losses = {
        "heat": (every * counted).sum() / faces,
        "points": (distance[..., :POINTS].mean(-1) * weight).sum(),
        "box": (distance[..., POINTS:].mean(-1) * weight).sum(),
    }
    faults = (probability.detach() * (counted * (goal < 0.05))).amax(dim=(1, 2))
    return losses, faults


def targets(canvases: Canvases, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the heat map should say.

    Returns:
        The goal (B, h, w) in 0..1, a Gaussian around the centre of each face to learn that is 1 at the nearest cell;
        which cells count, not those near faces of which nobody is sure; and the face (B, h, w) that a cell belongs to.
    """
    cells = cell_centres(height, width, canvases.images.device)  # (h, w, 2)
    centres = canvases.shapes[:, :, POINTS:].mean(dim=2)  # (B, F, 2)
    size = canvases.sizes[..., None, None]
    away = (cells[None, None] - centres[:, :, None, None]).norm(dim=-1)  # (B, F, h, w)
    heat = torch.exp(-0.5 * (away / (0.12 * size + 1.5)).square())
    here = canvases.state == LEARNT
    inside = ((centres >= 0) & (centres < torch.tensor([8.0 * width, 8.0 * height], device=cells.device))).all(-1)
    peak = heat.amax(dim=(2, 3), keepdim=True)
    heat = torch.where((here & inside)[..., None, None], heat / peak.clamp(min=1e-6), 0.0)
    goal, owner = heat.max(dim=1)
    unsure = (canvases.state != LEARNT) & (canvases.state != ABSENT) | here & ~inside
    ignored = (unsure[..., None, None] & (away < (0.4 * size).clamp(max=MAX_IGNORED))).any(dim=1)
    return goal, (~ignored | (goal > 0.3)).float(), owner


def measure(network: Aligner, faces: Faces) -> dict[str, float]:
    """Recall and precision of the faces of scenes, and the mean error of their points in eye distances."""
    sure, found, right, errors = 0, 0, 0, []
    for start in range(0, len(faces), CHUNK):
        index = torch.arange(start, min(start + CHUNK, len(faces)), device=faces.pixels.device)
        some = faces.part(index)
        answers = search(network, some.pixels.float() / 127.5 - 1, THRESHOLD)
        for (_, shapes), points, boxes, state in zip(answers, some.points, some.boxes, some.state, strict=True):
            low, high = boxes[:, :2] - boxes[:, 2:], boxes[:, :2] + boxes[:, 2:]
            meet = torch.minimum(high, shapes[:, None, POINTS + 1]) - torch.maximum(low, shapes[:, None, POINTS])
            meet = meet.clamp(min=0).prod(-1)
            areas = (high - low).prod(-1) + (shapes[:, POINTS + 1] - shapes[:, POINTS]).prod(-1)[:, None]
            overlap = torch.where(state == ABSENT, 0.0, meet / (areas - meet))  # (found, true)
            sizes = (high - low).prod(-1).sqrt()
            wanted = (state == LEARNT) & (sizes >= network.config.smallest)
            sure += int(wanted.sum())
            found += len(shapes)
            right += int((overlap > SAME_FACE).any(1).sum())
            for true in wanted.nonzero()[:, 0].tolist():
                if len(shapes) and overlap[:, true].max() > SAME_FACE:
                    best = shapes[overlap[:, true].argmax(), :POINTS]
                    eyes = (points[true, 1] - points[true, 0]).norm()
                    if eyes > 0.15 * sizes[true]:  # a profile has no distance of the eyes to count in
                        errors.append(((best - points[true]).norm(dim=-1).mean() / eyes).item())
                    else:
                        errors.append(float("nan"))
    matched = [error for error in errors if error == error]
    return {
        "val/recall": len(errors) / max(sure, 1),
        "val/precision": right / max(found, 1),
        "val/points_error": sum(matched) / max(len(matched), 1),
    }


def faces_in_clutter(network: Aligner, device: torch.device) -> float:
    """How many faces are found in a picture without one, in the mean of synthetic ones."""
    pictures = clutter(CLUTTER_PICTURES, CLUTTER_SIDE, torch.device("cpu")) / 127.5 - 1
    found = [search(network, some.to(device), THRESHOLD) for some in torch.split(pictures, CHUNK)]
    return sum(len(scores) for some in found for scores, _ in some) / CLUTTER_PICTURES


def _split(sets: Mapping[str, Faces], share: float) -> tuple[dict[str, Faces], Faces | None]:
    """The first set without the pictures whose rank is below `share`, the other sets, and those pictures."""
    name, faces = next(iter(sets.items()))
    chosen = faces.rank < share
    if not chosen.any() or chosen.all():
        return dict(sets), None
    return {**sets, name: faces.part(~chosen)}, faces.part(chosen)
