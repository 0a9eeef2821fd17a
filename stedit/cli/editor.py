"""What the edit commands do with a batch: edit its codes, and show or keep the result as it was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stedit.batch.pipeline import Batch, Codes, Product, draw, side_by_side, to_latent
from stedit.cli.options import RenderOptions
from stedit.imaging.files import Pixels, write_image
from stedit.imaging.heatmap import matrix
from stedit.imaging.sheets import sheet
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine


@dataclass(frozen=True)
class ByLabel:
    """Edits by the names of attributes."""

    names: Sequence[str]  # as in "no-glasses"
    direction: str
    keep: Sequence[str]
    layers: Sequence[int] | None

    def edit(self, engine: Engine, codes: Codes, strength: float) -> Codes:
        """Edit codes (B, N, D)."""
        return engine.edit_by_label(
            codes, self.names, strength=strength, direction=self.direction, keep=self.keep, layers=self.layers
        )


@dataclass(frozen=True)
class ByReference:
    """Edits after other people."""

    attributes: Sequence[str]  # in CelebA's words
    references: Batch
    weights: Sequence[float] | None
    attention: Path | None  # where to draw it

    def edit(self, engine: Engine, codes: Codes, strength: float) -> Codes:
        """Edit codes (B, N, D)."""
        return engine.edit_by_reference(codes, self._codes, self.attributes, strength=strength, weights=self.weights)

    def draw_attention(self, engine: Engine, codes: Codes) -> Pixels:
        """Which styles of a code (1, N, D) take from which of the references, as the mean over the heads.

        A row for each attribute and reference, a column for each layer of the edit transformer.
        """
        rows = [
            [
                matrix(layer[0].mean(axis=0), rows=f"{attribute}: source style", columns=f"style of {source.stem}")
                for layer in weights
            ]
            for attribute, maps in zip(
                self.attributes, engine.attention(codes, self._codes, self.attributes), strict=True
            )
            for source, weights in zip(self.references.sources, maps, strict=True)
        ]
        return sheet(rows, titles=[f"layer {number}" for number in range(len(rows[0]))])

    @property
    def _codes(self) -> list[Codes]:
        return [code[None] for code in self.references.codes]


@dataclass(frozen=True)
class Editor:
    """Turns a batch into its edits: pictures, strips of several strengths, sheets, or codes."""

    engine: Engine
    render: RenderOptions
    by: ByLabel | ByReference
    name: str  # of the edit, as in file names
    title: str  # the same above a picture
    attributes: Sequence[str]  # in CelebA's words
    strengths: Sequence[float]
    latent: bool
    sheet: bool
    tell: bool  # somebody wants to know what the classifier makes of it

    def __call__(self, batch: Batch) -> Sequence[Product]:
        """Edit every code of `batch` at every strength. Raises SteditError for a request that the model cannot do."""
        edits = [self.by.edit(self.engine, batch.codes, strength) for strength in self.strengths]
        if isinstance(self.by, ByReference) and self.by.attention:
            write_image(self.by.attention, self.by.draw_attention(self.engine, batch.codes))
        made: Sequence[Pixels | LatentCode]
        if self.latent:
            made = [
                to_latent(self.engine, code, source, f"edit {self.name}", tuning)
                for code, source, tuning in zip(edits[0], batch.sources, batch.tunings, strict=True)
            ]
        else:
            columns = [*self._columns_before(batch), *self._columns(batch, edits)]
            made = [side_by_side([(title, column[i]) for title, column in columns]) for i in range(len(batch.sources))]
        details = self._details(batch.codes, edits)
        return [
            Product(one, detail, _in_words(detail), tuning)
            for one, detail, tuning in zip(made, details, batch.tunings, strict=True)
        ]

    def _columns_before(self, batch: Batch) -> Iterator[tuple[str, Sequence[Pixels | None]]]:
        """What a sheet shows on the left of the edits."""
        if not self.sheet:
            return
        yield "source", batch.shown
        yield "reconstruction", self._draw(batch.codes, batch.tunings)
        if isinstance(self.by, ByReference):
            references = self.by.references
            for place, picture in enumerate(references.shown):
                if picture is None:  # it is a latent file
                    tunings = references.tunings[place : place + 1]
                    picture = self._draw(references.codes[place : place + 1], tunings)[0]
                yield "reference", [picture] * len(batch.sources)

    def _columns(self, batch: Batch, edits: Sequence[Codes]) -> Iterator[tuple[str, Sequence[Pixels]]]:
        for strength, codes in zip(self.strengths, edits, strict=True):
            title = f"{strength:g}" if len(self.strengths) > 1 else self.title
            yield title, self._draw(codes, batch.tunings)

    def _draw(self, codes: Codes, tunings: Sequence[Tuning | None]) -> Sequence[Pixels]:
        return draw(self.engine, codes, tunings, noise=self.render.noise, seed=self.render.seed)

    def _details(self, codes: Codes, edits: Sequence[Codes]) -> list[dict[str, Any]]:
        """For each image, how probable the edited attributes were to the classifier, and are at each strength."""
        if not (self.tell and self.engine.attributes):
            return [{} for _ in codes]
        before = self.engine.classify(codes)  # (B, K)
        after = [self.engine.classify(edit) for edit in edits]
        places = {name: self.engine.attributes.index(name) for name in self.attributes}
        return [
            {
                "strength": list(self.strengths),
                "before": {name: round(float(before[i, k]), 4) for name, k in places.items()},
                "after": {name: [round(float(edit[i, k]), 4) for edit in after] for name, k in places.items()},
            }
            for i in range(len(codes))
        ]


def _in_words(detail: dict[str, Any]) -> str:
    """`Smiling 0.02 -> 0.97`, or nothing if nobody asked."""
    changes = [
        f"{name} {before:.2f} -> {', '.join(f'{after:.2f}' for after in detail['after'][name])}"
        for name, before in detail.get("before", {}).items()
    ]
    return "; ".join(changes)
