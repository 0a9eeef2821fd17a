"""One pass over images that measures a model: reconstructions, edits by label and by reference, and true pairs.

Images are read a batch at a time and only sums are kept, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stedit.batch.request import PhotoOptions
from stedit.engine import Engine
from stedit.errors import ImageError, InputError, MissingPartError, UsageError
from stedit.imaging.sources import ImageReader, ImageRef
from stedit.metrics.attribute_transfer import FINE_ATTRIBUTE_OF, FineAttribute, Probe
from stedit.metrics.distortion import Measure
from stedit.metrics.frechet import Inception
from stedit.metrics.ground_truth import Pair
from stedit.metrics.methods import FrechetAccumulator, MethodEvaluator, References
from stedit.metrics.predictions import Evaluation
from stedit.metrics.results import Results, Settings
from stedit.storage.labels import Label

PROBE_IMAGES = 2000
"""That a probe is fitted on, at most; their features are held in memory."""


def evaluate(
    engine: Engine,
    images: Sequence[ImageRef],
    settings: Settings,
    *,
    reader: ImageReader,
    photo: PhotoOptions | None = None,
    labels: Mapping[str, Label] | None = None,
    pairs: Sequence[Pair] = (),
    others: Sequence[ImageRef] = (),
    inception: Inception | None = None,
    lpips: Measure | None = None,
    advance: Callable[[], None] = lambda: None,
    failed: Callable[[str, ImageError], None] = lambda _name, _error: None,
    left_out: Callable[[str, InputError], None] = lambda _name, _error: None,
) -> Results:
    """Measure a model.

    Args:
        engine: the model. Edits need its judge.
        images: photographs or aligned crops, whose faces are reconstructed and edited.
        settings: what to measure.
        reader: reads the images.
        photo: which faces, and how they are found; by default the largest of what is no crop already.
        labels: by image id, where known.
        pairs: images with their true edits; each is edited both ways.
        others: further images, none of the `images`; probes of glasses, beards and hair are fitted on the labelled.
        inception: measures the FID.
        lpips: gives the distance (B,) of images (B, H, W, 3).
        advance: called after each image and pair.
        failed: called with the name of each image or pair that cannot be read; the others are measured.
        left_out: called with the name of each in which no such face is found, and the reason.

    Raises:
        MissingPartError: edits are asked for and the model has no judge, classifier or editor.
        InputError: landmarks or a detector cannot be read.
        UsageError: references are to be chosen from fewer than two faces, or all faces are asked for of pairs.
    """
    if (settings.attributes or pairs) and engine.networks.judge is None:
        raise MissingPartError(
            f"the model {engine.bundle.name!r} has no judge to see edits: choose a model that has one"
        )
    photo = photo or PhotoOptions()
    if pairs and photo.face == "all":
        raise UsageError("a true edit is of one face: choose the largest or a number", argument="face")
    evaluation = Evaluation(engine, settings, reader, labels or {}, photo, advance, failed, left_out)
    methods: list[MethodEvaluator] = []
    for name in settings.methods:
        methods.append(MethodEvaluator(evaluation, name, inception, lpips, methods[0] if methods else None))
    sources = FrechetAccumulator(inception)
    references = References.choose(evaluation, methods, images) if settings.references and settings.attributes else None
    probes = _fit_probes(evaluation, others) if references else {}
    for batch in evaluation.read(images):
        predictions = evaluation.predict(batch.shown)
        evaluation.compare_with_labels(batch, predictions)
        sources.add(batch.shown, predictions)
        for method in methods:
            method.measure(batch, predictions, references, probes)
        evaluation.out.images += len(batch.entries)
    for batch, attribute in evaluation.read_pairs(pairs):
        for method in methods:
            method.measure_pairs(batch, attribute)
    for method in methods:
        method.finish(sources)
    return evaluation.finish()


def _fit_probes(evaluation: Evaluation, images: Sequence[ImageRef]) -> dict[FineAttribute, Probe]:
    """Fit a probe for each fine attribute that enough labelled images have."""
    wanted = {FINE_ATTRIBUTE_OF[name] for name in evaluation.settings.attributes if name in FINE_ATTRIBUTE_OF}
    known = [image for image in images if image.id in evaluation.labels and evaluation.labels[image.id].details]
    if not wanted or not known:
        return {}
    embeddings, labels = [], []
    for batch in evaluation.read(known[:PROBE_IMAGES], report=False):
        embeddings.append(evaluation.engine.attribute_features(batch.shown))
        labels += [evaluation.labels[entry.id] for entry in batch.entries]
    fitted = {fine: Probe.fit(fine, np.concatenate(embeddings), labels) for fine in sorted(wanted)}
    return {fine: probe for fine, probe in fitted.items() if probe}
