"""An evaluation from a model's name to its results: networks are loaded, images measured, and the run described."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stedit._version import __version__
from stedit.batch.request import PhotoOptions
from stedit.engine import Engine
from stedit.errors import ImageError, InputError
from stedit.imaging.sources import ImageReader
from stedit.metrics import distortion
from stedit.metrics.evaluation import evaluate
from stedit.metrics.frechet import Inception
from stedit.metrics.inputs import EvaluationData
from stedit.metrics.results import Results, Settings
from stedit.runtime.devices import Precision


@dataclass(frozen=True)
class MeasuringNetworks:
    """Files of networks that measure, which come with no model; what has none is left out."""

    fid: Path | None = None
    """Inception's weights."""
    lpips: Path | None = None
    """AlexNet's or VGG16's."""
    lpips_heads: Path | None = None


def run(
    model: str | Path,
    data: EvaluationData,
    settings: Settings,
    *,
    reader: ImageReader,
    photo: PhotoOptions | None = None,
    networks: MeasuringNetworks | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    loaded: Callable[[Engine], None] = lambda _engine: None,
    advance: Callable[[], None] = lambda: None,
    failed: Callable[[str, ImageError], None] = lambda _name, _error: None,
    left_out: Callable[[str, InputError], None] = lambda _name, _error: None,
) -> tuple[Results, dict[str, str]]:
    """Load a model and measure it.

    Args:
        model: its name, folder or id on the Hub.
        data: what it is measured on.
        settings: what to measure.
        reader: reads the images.
        photo: as of `evaluate`.
        networks: that measure.
        device: as of `Engine.from_pretrained`.
        precision: as of `Engine.from_pretrained`.
        loaded: called with the engine, before anything is measured.
        advance: as of `evaluate`, and so are `failed` and `left_out`.
        failed: see there.
        left_out: see there.

    Returns:
        The results, and the facts of the run, for people. Raises as `Engine.from_pretrained` and `evaluate`.
    """
    engine = Engine.from_pretrained(model, device=device, precision=precision)
    networks = networks or MeasuringNetworks()
    inception = Inception(networks.fid, engine.device) if networks.fid else None
    lpips = None
    if networks.lpips:
        lpips = distortion.lpips_measure(networks.lpips, networks.lpips_heads, engine.device)
    loaded(engine)
    results = evaluate(
        engine,
        data.images,
        settings,
        reader=reader,
        photo=photo,
        labels=data.labels,
        pairs=data.pairs,
        others=data.others,
        inception=inception,
        lpips=lpips,
        advance=advance,
        failed=failed,
        left_out=left_out,
    )
    return results, describe(engine, data, settings, results)


def describe(engine: Engine, data: EvaluationData, settings: Settings, results: Results) -> dict[str, str]:
    """The settings of a run, for people, in the order of a page; what does not apply is left out."""
    edited = settings.attributes or data.ground_truth
    facts = {
        "model": engine.bundle.name,
        "fingerprint": engine.bundle.fingerprint,
        "images": f"{results.images}"
        + (f", {results.failed} failed" if results.failed else "")
        + (f", {results.without_face} left out without a face" if results.without_face else ""),
        "from": ", ".join(data.names),
        "labels": f"{data.labels_file} ({results.labelled} images)" if data.labels_file else "",
        "ground truth": ", ".join(map(str, data.ground_truth)),
        "methods": ", ".join(settings.methods),
        "attributes edited": str(len(settings.attributes)) if settings.attributes else "",
        "directions": ", ".join(settings.directions) if edited else "",
        "strengths": ", ".join(f"{value:g}" for value in settings.strengths) if edited else "",
        "seed": str(settings.seed) if settings.references else "",
        "device": f"{engine.device}, {engine.precision}, {settings.batch_size} at a time",
        "peak memory": f"{results.peak_memory / 1e6:.0f} MB" if results.peak_memory else "",
        "versions": f"stedit {__version__}, PyTorch {version('torch')}",
    }
    return {name: value for name, value in facts.items() if value}
