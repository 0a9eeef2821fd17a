"""Codes to learn from, and the logits that the labeller gives their images; kept in the run, some at a time.

RUN/samples/000000.safetensors    w (B, N, D), logits (B, K)
RUN/codes.safetensors             the codes that were given or inverted, see `LatentSet.save`
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stedit.engine import Engine
from stedit.errors import TrainingError, describe_cause
from stedit.models.config import resolutions
from stedit.runtime.arrays import to_array
from stedit.runtime.framing import centre_crop, content_size
from stedit.storage.atomic import write_file
from stedit.storage.tensor_file import encode_tensors, open_tensors
from stedit.training import checkpoint
from stedit.training.completion.config import CompletionConfig
from stedit.training.completion.labeller import Labeller
from stedit.training.data.latents import LatentSet
from stedit.training.run import Monitor, derive_seed

CHUNK = 64  # samples in a file
LOGGED = 10  # files between two lines of a log
AT_ONCE = 8  # rendered of 256 px or less; fewer of more, whose features fill gigabytes
COMPARED = 32  # samples that are rendered at full size too
SAME_LABELS = 0.95  # share of labels that are to be those of full size
MAX_CHUNK_BYTES = 2**28


@dataclass(frozen=True)
class Renderer:
    """Codes -> images for the labeller, at a reduced size."""

    engine: Engine
    labeller: Labeller
    resolution: int

    @torch.no_grad()
    def images(self, codes: Tensor, resolution: int = 0) -> Tensor:
        """(B, N, D) -> (B, 3, h, w) in [-1, 1], the part that shows the image; `resolution` in place of its own."""
        generator = self.engine.networks.generator
        side = resolution or self.resolution
        size = content_size(side, self.engine.input_size) if self.engine.networks.encoder else (side, side)
        rendered = [
            generator(part.to(self.engine.device), noise="const", resolution=side).float()
            for part in torch.split(codes, max(1, min(AT_ONCE, 256 * AT_ONCE // side)))
        ]
        return centre_crop(torch.cat(rendered).clamp(-1, 1), size)

    def logits(self, codes: Tensor, resolution: int = 0) -> Tensor:
        """(B, N, D) -> the labeller's (B, K), on the CPU."""
        parts = [self.labeller.logits(self.images(part, resolution)).cpu() for part in torch.split(codes, AT_ONCE)]
        return torch.cat(parts)


def choose_resolution(engine: Engine, labeller: Labeller, config: CompletionConfig) -> int:
    """The least side, at which the labeller's answers are those of full size; each block of StyleGAN2 ends in an image.

    What later blocks add is mostly detail, but in some generators colour too.
    """
    full = engine.output_size[0]
    if config.resolution:
        return min(config.resolution, full)
    candidates = [side for side in resolutions(full) if min(labeller.size, full) <= side < full]
    if not candidates:
        return full
    codes = sample_codes(engine, config, COMPARED, purpose="resolution", number=0)
    wanted = Renderer(engine, labeller, full).logits(codes) > 0
    for side in candidates:
        found = Renderer(engine, labeller, side).logits(codes) > 0
        if (found == wanted).float().mean() >= SAME_LABELS:
            return side
    return full


@torch.no_grad()
def sample_codes(engine: Engine, config: CompletionConfig, count: int, *, purpose: str, number: int) -> Tensor:
    """Codes (count, N, D) of random z, on the CPU: truncated, and some of them the styles of two."""
    mapping, styles = engine.networks.generator.mapping, engine.code_shape[0]
    source = torch.Generator().manual_seed(derive_seed(config.seed, purpose, number, 0))
    z = torch.randn(2, count, mapping.z_dim, generator=source)
    least, greatest = config.truncation
    truncation = least + (greatest - least) * torch.rand(count, 1, 1, generator=source)
    crossover = torch.randint(1, max(2, styles), (count, 1), generator=source)
    mixed = torch.rand(count, 1, generator=source) < config.style_mixing_prob
    first, second = mapping(z.to(engine.device)).float().cpu()[:, :, None]  # (count, 1, D) each
    other = mixed & (torch.arange(styles) >= crossover)  # (count, N)
    mean = mapping.mean.float().cpu()
    return mean + truncation * (torch.where(other[:, :, None], second, first) - mean)


def labelled_samples(
    renderer: Renderer, config: CompletionConfig, run: Path, monitor: Monitor
) -> tuple[Tensor, Tensor]:
    """All codes (M, N, D) and the labeller's logits (M, K): those that are given first.

    What is in the run already is read from it.
    """
    given = _given_codes(renderer.engine, config, run)
    total = len(given) + config.samples
    chunks, began, computed = [], time.monotonic(), 0
    for start in range(0, total, CHUNK):
        path, end = run / "samples" / f"{start:06d}.safetensors", min(start + CHUNK, total)
        chunk = _read(path, renderer)
        if chunk is None:
            codes = _codes(renderer, config, given, start, end)
            chunk = codes, renderer.logits(codes)
            checkpoint.make_folder(path.parent)
            write_file(path, encode_tensors({"w": chunk[0].numpy(), "logits": chunk[1].numpy()}, {}))
            computed += end - start
        chunks.append(chunk)
        rate = (time.monotonic() - began) / max(computed, 1)
        due = end == total or (start // CHUNK + 1) % LOGGED == 0
        monitor.advance(end, total, rate * (total - end), {"samples": end} if due else None)
    return torch.cat([codes for codes, _ in chunks]), torch.cat([logits for _, logits in chunks])


def _codes(renderer: Renderer, config: CompletionConfig, given: Tensor, start: int, end: int) -> Tensor:
    """Numbers `start` to `end` of the given codes and, after them, the samples."""
    first = given[start:end]
    count = end - start - len(first)
    if not count:
        return first
    sampled = sample_codes(renderer.engine, config, count, purpose="samples", number=start)
    inverted = round(config.inverted_fraction * count) if renderer.engine.networks.encoder else 0
    for begin in range(0, inverted, AT_ONCE):
        part = slice(begin, min(begin + AT_ONCE, inverted))
        images = to_array(renderer.images(sampled[part]))
        sampled[part] = torch.from_numpy(renderer.engine.invert(images))
    return torch.cat([first, sampled])


def _given_codes(engine: Engine, config: CompletionConfig, run: Path) -> Tensor:
    """The codes that are given, and of images that are; inverted once."""
    path = run / "codes.safetensors"
    if not config.codes:
        return torch.zeros(0, *engine.code_shape)
    if not path.is_file():
        LatentSet.read(config.codes, engine).save(path, engine.bundle)
    return LatentSet.read([str(path)], engine).codes


def _read(path: Path, renderer: Renderer) -> tuple[Tensor, Tensor] | None:
    """A chunk of the run, or None if it is not there. Raises TrainingError."""
    try:
        with open_tensors(path, "file of samples", max_bytes=MAX_CHUNK_BYTES, framework="pt") as file:
            codes, logits = file.get_tensor("w"), file.get_tensor("logits")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged ({describe_cause(error)}): delete it, and resume") from error
    if codes.shape[1:] != renderer.engine.code_shape or logits.shape[1:] != (len(renderer.labeller.attributes),):
        raise TrainingError(f"{path} is of another model or labeller: start another run")
    return codes, logits
