"""What comes back of edited codes as images: photographs, faces or renderings, and these side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stedit.batch.code_batch import CodeBatch, Latents
from stedit.batch.photographs import EditedPhoto, write_options
from stedit.batch.request import LabelEdit, Mix, ReferenceEdit, Rendering
from stedit.imaging.files import Pixels
from stedit.imaging.sheets import enlarged, sheet
from stedit.runtime.framing import frame
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine


@dataclass(frozen=True)
class Results:
    """What is made of each input of a batch from the renderings of its codes, as the request asks for it."""

    engine: Engine
    request: LabelEdit | ReferenceEdit | Mix
    batch: CodeBatch
    before: Sequence[Pixels]  # of each code
    """The renderings of the codes as they are."""

    def finished(self, after: Sequence[Pixels]) -> list[Pixels | EditedPhoto]:
        """For each input the photograph, the face or the rendering, from the renderings `after` of its edited codes."""
        made: list[Pixels | EditedPhoto] = []
        options, bundle = self.request.photo, self.engine.bundle
        result = options.result_of(bundle)
        writing = write_options(options, bundle.name, self.request.suffix(bundle))
        for rows, faces in zip(self.batch.rows, self.batch.photos, strict=True):
            if faces is None or result == "render":
                made.append(after[rows.start])
                continue
            pixels = faces.edited(self.before[rows], after[rows])
            made.append(EditedPhoto(faces.photo, pixels, writing) if result == "photo" else faces.face(pixels))
        return made

    def tiles(self, after: Sequence[Pixels]) -> list[Pixels]:
        """The same as squares of one size for each input, for strips and sheets."""
        made = []
        rendered = self.request.photo.result_of(self.engine.bundle) == "render"
        for rows, faces in zip(self.batch.rows, self.batch.photos, strict=True):
            if faces is None or rendered:
                made.append(after[rows.start])
            else:
                made.append(faces.tile(faces.edited(self.before[rows], after[rows]), len(after[rows.start])))
        return made


def render_unedited(
    engine: Engine, batch: CodeBatch, tunings: Sequence[Tuning | None], rendering: Rendering
) -> Sequence[Pixels]:
    """What `render` gives of the codes of `batch`; kept there, if it is what they are judged by."""
    if rendering.noise != "const" or any(tunings):
        return render(engine, batch.codes, tunings, rendering)
    if not batch.renderings:
        batch.renderings[:] = render(engine, batch.codes, (), rendering)
    return batch.renderings


def render(engine: Engine, codes: Latents, tunings: Sequence[Tuning | None], rendering: Rendering) -> Sequence[Pixels]:
    """The images of codes (B, N, D), each by the generator that was tuned for it, if one was.

    They are of the engine's `target_size`: what a square rendering of something wider is padded with is left out.
    """
    images = engine.synthesise(codes, noise=rendering.noise, seed=rendering.seed, tunings=tunings)
    return list(frame(images, engine.target_size))


def side_by_side(columns: Sequence[tuple[str, Pixels | None]]) -> Pixels:
    """One image of titled images, or the only one as it is; the source of a latent file, None, is left out."""
    shown = [(title, image) for title, image in columns if image is not None]
    if len(columns) == 1:
        return shown[0][1]
    size = max(len(image) for _, image in shown)
    return sheet([[enlarged(image, size) for _, image in shown]], titles=[title for title, _ in shown])
