"""Many pictures, by several processes, into zip files with their records: the data set that everything learns from."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from renderer.parameters import CODES, NAMES, PAIRS, SHARES, pair_parameters, sample_parameters
from renderer.portrait import Pixels, Renderer

QUALITY = 92  # of the JPEGs, with full colour resolution
MEMBER_TIME = (2020, 1, 1, 0, 0, 0)  # of members of zip files, so that the same pictures give the same bytes
MEMBER_OVERHEAD = 120  # bytes that a zip file adds for each


@dataclass(frozen=True)
class Order:
    """A picture that is to be made."""

    name: str
    parameters: NDArray[np.float64]
    extra: dict[str, Any] = field(default_factory=dict)  # for its record


def random_orders(prefix: str, seed: int, numbers: Iterable[int]) -> Iterator[Order]:
    """Portraits of a data set."""
    for number in numbers:
        yield Order(f"{prefix}_{number:06d}", sample_parameters(seed, number))


def pair_orders(prefix: str, seed: int, identities: Iterable[int]) -> Iterator[Order]:
    """For each identity and each attribute of PAIRS, the portrait without and with it."""
    for identity in identities:
        for attribute in PAIRS:
            for present in (0, 1):
                yield Order(
                    f"{prefix}_{identity:03d}_{attribute}_{'on' if present else 'off'}",
                    pair_parameters(seed, identity, attribute, bool(present)),
                    {"identity": identity, "attribute": attribute, "value": present},
                )


def encode_jpeg(pixels: Pixels) -> bytes:
    """The bytes of a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def render_orders(
    orders: Iterable[Order], facekit: Path, *, size: int = 128, workers: int = 1
) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Name, JPEG and record of each, in order. Raises FaceKitError."""
    if workers == 1:
        renderer = Renderer(facekit, size)
        yield from (_render(renderer, order) for order in orders)
        return
    Renderer(facekit, size)  # compiles once, for all processes
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _start_worker, (facekit, size)) as pool:
        yield from pool.imap(_render_in_worker, orders, chunksize=8)


def write_pictures(
    made: Iterable[tuple[str, bytes, dict[str, Any]]], output: Path, prefix: str, *, shard_bytes: float = 58e6
) -> int:
    """Write <prefix>-<number>.zip, <prefix>.jsonl.gz and param_names.json into `output`; returns how many pictures."""
    output.mkdir(parents=True, exist_ok=True)
    count, shard, used = 0, -1, 0.0
    archive: zipfile.ZipFile | None = None
    with gzip.GzipFile(output / f"{prefix}.jsonl.gz", "wb", 9, mtime=0) as records:
        for name, data, record in made:
            if archive is None or used + len(data) > shard_bytes:
                if archive is not None:
                    archive.close()
                shard, used = shard + 1, 0.0
                archive = zipfile.ZipFile(output / f"{prefix}-{shard:03d}.zip", "w", zipfile.ZIP_STORED)
            archive.writestr(zipfile.ZipInfo(f"{name}.jpg", MEMBER_TIME), data)
            used += len(data) + MEMBER_OVERHEAD
            records.write((json.dumps(record, separators=(",", ":")) + "\n").encode())
            count += 1
    if archive is not None:
        archive.close()
    names = {"names": NAMES, "codes": CODES, "probs": SHARES}
    (output / "param_names.json").write_text(json.dumps(names))
    return count


def _render(renderer: Renderer, order: Order) -> tuple[str, bytes, dict[str, Any]]:
    pixels, record = renderer.render(order.parameters)
    return order.name, encode_jpeg(pixels), {"id": order.name, **order.extra, **record}


_renderers: list[Renderer] = []  # the one of a worker process


def _start_worker(facekit: Path, size: int) -> None:
    _renderers.append(Renderer(facekit, size))


def _render_in_worker(order: Order) -> tuple[str, bytes, dict[str, Any]]:
    return _render(_renderers[0], order)
