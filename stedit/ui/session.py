"""Photographs in memory with the codes of their faces, so that a slider costs an edit, a rendering and a carry only."""

from __future__ import annotations

import hashlib
import io
import shlex
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stedit import batch
from stedit.editing.attributes import NEGATED_ATTRIBUTES, friendly_name
from stedit.errors import InputError, OutputError
from stedit.faces import find_faces, invert_faces
from stedit.imaging.files import Pixels, decode_image, encode_image
from stedit.photo.alignment import Quad
from stedit.photo.photograph import Photo, carry_over
from stedit.storage.suffixes import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from stedit.engine import Engine
    from stedit.runtime.arrays import Latents

KEPT = 6  # photographs in memory
DRAFT_SIDE, DRAFT_FACE = 1024, 448  # the longest side in pixels, and that of the face, while a slider moves
SHARP_SIDE = 1600
STRIP = (-1.0, -0.5, 0.0, 0.5, 1.0)
TILE = 160


@dataclass(frozen=True)
class Edits:
    """What is asked for: strengths of attributes by their friendly names, by label or as a reference has them."""

    strengths: tuple[tuple[str, float], ...] = ()
    reference: str = ""
    """The id of a photograph, or "" to edit by label."""


@dataclass(frozen=True, eq=False)
class View:
    """A photograph in one size."""

    pixels: Pixels
    quad: Quad


@dataclass(frozen=True, eq=False)
class Held:
    """A photograph in memory."""

    name: str
    data: bytes
    code: Latents  # (1, N, D)
    before: Pixels  # (1, R, R, 3), the rendering of the code
    draft: View
    sharp: View
    face: View
    probabilities: dict[str, float]


class Session:
    """What the page has been given, and edits of it."""

    def __init__(self, engine: Engine, model_name: str = "") -> None:
        """`model_name` is what the command line calls the model, "" for the default one."""
        self.engine, self.model_name = engine, model_name
        self._held: OrderedDict[str, Held] = OrderedDict()

    @property
    def attributes(self) -> list[str]:
        """The names that sliders have, those that the model has learned to edit first."""
        names = {name: _slider_name(name) for name in self.engine.attributes}
        return sorted(names.values(), key=lambda name: not self.engine.has_learned_edit(name))

    def add(self, data: bytes, name: str) -> str:
        """Take a photograph, find its largest face and the face's code; gives its id. Raises InputError."""
        key = hashlib.sha256(name.encode() + b"\0" + data).hexdigest()[:16]
        if key not in self._held:
            self._held[key] = self._invert(data, name)
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return key

    def get(self, key: str) -> Held:
        """A photograph by its id. Raises InputError if it is not here any more."""
        if key not in self._held:
            raise InputError("this photograph is not here any more: drop it again")
        return self._held[key]

    def preview(self, key: str, edits: Edits, *, sharp: bool = False) -> bytes:
        """The photograph in the size of a screen, edited, as JPEG. Raises InputError, AttributeNameError."""
        held = self.get(key)
        view = held.sharp if sharp else held.draft
        return encode_image(self._carried(held, view, self._edited(held, edits)), "jpg", quality=90)

    def strip(self, key: str, attribute: str, edits: Edits) -> bytes:
        """The face with one attribute at the strengths of STRIP, the other edits as they are, side by side, as JPEG."""
        held = self.get(key)
        others = tuple((name, strength) for name, strength in edits.strengths if name != attribute)
        tiles = []
        for strength in STRIP:
            asked = Edits((*others, *([(attribute, strength)] if strength else [])), edits.reference)
            tiles.append(self._carried(held, held.face, self._edited(held, asked)))
        return encode_image(np.hstack(tiles), "jpg", quality=88)

    def download(self, key: str, edits: Edits) -> tuple[str, bytes]:
        """The name and the bytes of the file that the command writes of the file that was dropped.

        Raises what the command ends with: InputError, OutputError, UsageError.
        """
        held = self.get(key)
        if not edits.strengths:
            return held.name, held.data
        with tempfile.TemporaryDirectory() as folder:
            source = _write(Path(folder) / "in", held)
            request = self._request(edits, Path(folder) / "ref")
            made = _Made()
            batch.run(request, [source], output=Path(folder) / "out", model=self.engine, batch_size=1, reporter=made)
            if made.error:
                raise made.error
            if not made.output:
                raise OutputError("nothing was written: drop the photograph again")
            return Path(made.output).name, Path(made.output).read_bytes()

    def command(self, key: str, edits: Edits) -> str:
        """The command line that does the same. Raises InputError."""
        words = ["stedit", "edit"]
        different = len({strength for _, strength in edits.strengths}) > 1
        for name, strength in edits.strengths:
            words += ["--attr", name, *(["--strength", f"{strength:g}"] if different else [])]
        if edits.strengths and not different and edits.strengths[0][1] != 1:
            words += ["--strength", f"{edits.strengths[0][1]:g}"]
        if edits.reference:
            words += ["--ref", self.get(edits.reference).name]
        if self.model_name:
            words += ["--model", self.model_name]
        return shlex.join([*words, self.get(key).name])

    def _invert(self, data: bytes, name: str) -> Held:
        photo = Photo(decode_image(io.BytesIO(data), name=name), name)
        ((_, quad),) = find_faces(self.engine.model, photo, None)
        (code,) = invert_faces(self.engine.model, [(photo, quad)], method="encoder")
        w = code.w[None]
        probabilities = {}
        if self.engine.attributes:
            for attribute, value in zip(self.engine.attributes, self.engine.classify(w)[0], strict=True):
                shown = 1 - float(value) if attribute in NEGATED_ATTRIBUTES else float(value)
                probabilities[_slider_name(attribute)] = round(shown, 3)
        height, width = photo.pixels.shape[:2]
        draft = min(1.0, DRAFT_SIDE / max(height, width), DRAFT_FACE / quad.side)
        sharp = min(1.0, SHARP_SIDE / max(height, width))
        face = quad.crop(photo.pixels, TILE)
        return Held(
            name,
            data,
            w,
            self.engine.synthesise(w),
            _scaled(photo.pixels, quad, draft),
            _scaled(photo.pixels, quad, sharp),
            View(face, Quad.of_picture(TILE, TILE)),
            probabilities,
        )

    def _edited(self, held: Held, edits: Edits) -> Latents:
        """The code, edited as `batch` does it: together where strengths are alike, else one after the other."""
        names = [name for name, _ in edits.strengths]
        strengths = {strength for _, strength in edits.strengths}
        code = held.code
        if not names:
            return code
        groups = [(names, strengths.pop())] if len(strengths) == 1 else [([n], s) for n, s in edits.strengths]
        for group, strength in groups:
            if edits.reference:
                reference = self.get(edits.reference).code
                code = self.engine.edit_by_reference(code, reference, group, strength=strength)
            else:
                code = self.engine.edit_by_label(code, group, strength=strength)
        return code

    def _carried(self, held: Held, view: View, edited: Latents) -> Pixels:
        if edited is held.code:
            return view.pixels
        return carry_over(view.pixels, [view.quad], held.before, self.engine.synthesise(edited))

    def _request(self, edits: Edits, folder: Path) -> batch.Request:
        names = [name for name, _ in edits.strengths]
        different = len({strength for _, strength in edits.strengths}) > 1
        strengths: Any = (tuple(s for _, s in edits.strengths) if different else edits.strengths[0][1],)
        if not edits.reference:
            return batch.LabelEdit(names, strengths)
        return batch.ReferenceEdit(names, [_write(folder, self.get(edits.reference))], strengths=strengths)


class _Made(batch.SilentReporter):
    """Keeps what became of the one input."""

    output: str | None = None
    error: Exception | None = None

    def record(self, record: batch.Record) -> None:
        """Note it."""
        self.output, self.error = record.output, record.error


def safe_name(name: str) -> str:
    """What a file that a browser sends is called here: no folder, no control characters, an image's ending."""
    plain = "".join(letter for letter in PurePath(name.replace("\\", "/")).name if letter.isprintable()).strip(". ")
    stem, suffix = PurePath(plain).stem[:100], PurePath(plain).suffix
    return f"{stem or 'photo'}{suffix if suffix.lower() in IMAGE_SUFFIXES else '.png'}"


def _slider_name(attribute: str) -> str:
    """The friendly name of there being something: "beard" for No_Beard."""
    return friendly_name(attribute, -1 if attribute in NEGATED_ATTRIBUTES else 1)


def _scaled(pixels: Pixels, quad: Quad, scale: float) -> View:
    if scale == 1:
        return View(pixels.copy(), quad)
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    small = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    return View(small, Quad.of_values([value * scale for value in quad.values]))


def _write(folder: Path, held: Held) -> Path:
    folder.mkdir()
    (folder / held.name).write_bytes(held.data)
    return folder / held.name
