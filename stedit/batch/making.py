"""What each request but an edit makes of a batch: codes, reconstructions, mixes, probabilities, crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stedit.batch.code_batch import CodeBatch, Latents, latent_of, one_by_one
from stedit.batch.inverter import summarise
from stedit.batch.output import Output
from stedit.batch.photographs import EditedPhoto, Faces
from stedit.batch.request import CODE_FORMATS, AlignedCrop, InversionRequest, Mix, Reconstruction
from stedit.batch.results import Results, render, render_unedited, side_by_side
from stedit.editing.attributes import friendly_name
from stedit.errors import InputError
from stedit.imaging.animation import FORMATS as ANIMATION_FORMATS
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels
from stedit.photo.alignment import Quad
from stedit.photo.photograph import crop_for
from stedit.storage.latents import LatentCode

if TYPE_CHECKING:
    from stedit.engine import Engine

TUNING_UNUSED = "its tuning is left out: a mix is rendered by the model's own generator"


def make_latents(engine: Engine, request: InversionRequest, batch: CodeBatch) -> list[Output]:
    """The code of each input and its tuning, or the codes of all of its faces."""
    outputs = []
    for i, (rows, details) in enumerate(zip(batch.rows, batch.details, strict=True)):
        faces = range(rows.stop - rows.start)
        first, *further = (latent_of(engine, batch, i, request.method, face) for face in faces)
        outputs.append(Output(first, details, summarise(details), batch.tunings[rows.start], further=tuple(further)))
    return outputs


def make_reconstructions(engine: Engine, request: Reconstruction, batch: CodeBatch) -> list[Output]:
    """The rendering of each code, of all faces of an input; or a sheet of each source and its reconstruction."""
    images = render_unedited(engine, batch, batch.tunings, request.rendering)
    outputs = []
    for i, rows in enumerate(batch.rows):
        made = list(images[rows])
        if request.sheet:
            sources = [batch.originals[i], *_further_faces(engine, batch.photos[i])]
            pairs = zip(sources, made, strict=True)
            made = [side_by_side([("source", source), ("reconstruction", image)]) for source, image in pairs]
        details = batch.details[i]
        outputs.append(Output(made[0], details, summarise(details), further=tuple(made[1:])))
    return outputs


def _further_faces(engine: Engine, faces: Faces | None) -> list[Pixels]:
    """All but the first, in the size of the results."""
    return [crop_for(faces.photo.pixels, quad, engine.target_size) for quad in faces.quads[1:]] if faces else []


def make_mixes(engine: Engine, request: Mix, file_format: str, other: Latents, batch: CodeBatch) -> list[Output]:
    """`other` is the code (1, N, D) of the face to mix in."""
    mixed = [engine.mix(batch.codes, other, strength=amount, layers=request.layers) for amount in request.strengths]
    made: Sequence[Pixels | LatentCode | Animation | EditedPhoto]
    if file_format in CODE_FORMATS:
        method = request.suffix(engine.bundle)
        made = [latent_of(engine, replace(batch, codes=mixed[0]), i, method) for i in range(len(batch.sources))]
    else:
        results = Results(engine, request, batch, render_unedited(engine, batch, (), request.rendering))
        columns = [render(engine, codes, (), request.rendering) for codes in mixed]
        made = _strip(request, results, columns, file_format)
    notes = [(TUNING_UNUSED,) if any(batch.tunings[rows]) else () for rows in batch.rows]
    return [Output(one, notes=note) for one, note in zip(made, notes, strict=True)]


def _strip(
    request: Mix, results: Results, columns: Sequence[Sequence[Pixels]], file_format: str
) -> Sequence[Pixels | Animation | EditedPhoto]:
    """What is made of each input, from the renderings of the codes at each strength."""
    if len(columns) == 1:
        return results.finished(columns[0])
    rows = list(zip(*(results.tiles(column) for column in columns), strict=True))  # one for each input
    if file_format in ANIMATION_FORMATS:
        return [Animation(row) for row in rows]
    titles = [f"{amount:.3g}" for amount in request.strengths]
    return [side_by_side(list(zip(titles, row, strict=True))) for row in rows]


def make_crops(request: AlignedCrop, batch: CodeBatch) -> list[Output]:
    """The squares of the faces in each photograph. Raises InputError for a latent code."""
    outputs = []
    for source, faces in zip(batch.sources, batch.photos, strict=True):
        if faces is None:
            raise InputError(f"{source.name} is a latent code, of which there is nothing to crop: give a photograph")
        first, *further = (
            quad.crop(faces.photo.pixels, request.size or max(1, round(quad.side))) for quad in faces.quads
        )
        places = [_corners(quad) for quad in faces.quads]
        details = {"quad": places[0], **({"quads": places} if further else {})}
        outputs.append(Output(first, details, further=tuple(further)))
    return outputs


def make_classifications(engine: Engine, batch: CodeBatch) -> list[Output]:
    """No image, but the probability of each attribute; where several faces are meant, of each of them."""
    probabilities = one_by_one(engine, engine.classify, batch.codes)
    outputs = []
    for source, rows, faces in zip(batch.sources, batch.rows, batch.photos, strict=True):
        found = [
            dict(sorted(zip(engine.attributes, map(float, row), strict=True), key=lambda pair: -pair[1]))
            for row in probabilities[rows]
        ]
        rounded = [{name: round(value, 6) for name, value in one.items()} for one in found]
        titles = [source.name, *(f"{source.name}, face {number}" for number in range(2, len(found) + 1))]
        listing = "\n".join(_listing(title, one) for title, one in zip(titles, found, strict=True))
        details: dict[str, Any] = {"attributes": rounded[0]}
        if faces and len(found) > 1:
            details["faces"] = [
                {"quad": _corners(quad), "attributes": one} for quad, one in zip(faces.quads, rounded, strict=True)
            ]
        outputs.append(Output(None, details, listing))
    return outputs


def _listing(title: str, found: dict[str, float]) -> str:
    return "\n".join([title, *(f"  {value:.3f}  {friendly_name(name, 1)}" for name, value in found.items())])


def _corners(quad: Quad) -> list[float]:
    return [round(value, 2) for value in quad.values]
