"""What comes back of an edit of a photograph: the photograph, its face, or a tile of a strip or sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stedit.batch.request import PhotoOptions
from stedit.imaging.edited import EncodedImage, WriteOptions, encode_edited
from stedit.imaging.files import Pixels
from stedit.imaging.provenance import Provenance
from stedit.photo.alignment import Quad
from stedit.photo.photograph import Photo, carry_over
from stedit.storage.origin import Origin

LARGEST_TILE = 512  # px, of faces in sheets and strips


@dataclass(frozen=True, eq=False)
class EditedPhoto:
    """A photograph, and what was made of it, which is written as the kind of file that it is."""

    photo: Photo
    pixels: Pixels
    options: WriteOptions

    def encode(self, suffix: str | None = None, origin: Origin | None = None) -> EncodedImage:
        """The bytes of a file with that suffix, by default of the photograph's own kind. Raises OutputError."""
        changed = (self.pixels != self.photo.pixels).any(axis=2)
        mark = self.options.provenance and replace(self.options.provenance, origin=origin)
        options = WriteOptions(suffix, self.options.quality, self.options.keep_gps, mark)
        return encode_edited(self.photo.image, self.pixels, changed, options)


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of one photograph whose codes are edited."""

    photo: Photo
    quads: Sequence[Quad]

    def edited(self, before: Sequence[Pixels], after: Sequence[Pixels]) -> Pixels:
        """The photograph with edits carried over, from the renderings of each face before and after."""
        return carry_over(self.photo.pixels, self.quads, before, after)

    def tile(self, pixels: Pixels, resolution: int) -> Pixels:
        """The first face in `pixels`, the photograph or what was made of it, as a square for a sheet."""
        quad = self.quads[0]
        return quad.crop(pixels, min(max(round(quad.side), resolution), LARGEST_TILE))

    def face(self, pixels: Pixels) -> Pixels:
        """The first face in `pixels` in the photograph's own resolution."""
        return self.quads[0].crop(pixels, max(1, round(self.quads[0].side)))


def write_options(options: PhotoOptions, model: str, edit: str) -> WriteOptions:
    """How photographs are written of which a `model` made an `edit`."""
    mark = Provenance(model, edit) if options.provenance else None
    return WriteOptions(quality=options.quality, keep_gps=options.keep_gps, provenance=mark)
