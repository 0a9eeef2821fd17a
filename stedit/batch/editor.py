"""What edits by label and by reference make of a batch: images, strips, animations, sheets or codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stedit.batch.code_batch import CodeBatch, Latents, latent_of, one_by_one
from stedit.batch.naming import strength_text
from stedit.batch.output import Output
from stedit.batch.photographs import EditedPhoto
from stedit.batch.remarks import remark_on_edits
from stedit.batch.request import CODE_FORMATS, LabelEdit, ReferenceEdit, Strength
from stedit.batch.results import Results, render, render_unedited, side_by_side
from stedit.editing.attributes import friendly_name
from stedit.imaging.animation import FORMATS as ANIMATION_FORMATS
from stedit.imaging.animation import Animation
from stedit.imaging.files import Pixels, write_image
from stedit.imaging.heatmap import heatmap
from stedit.imaging.sheets import sheet
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

if TYPE_CHECKING:
    from stedit.engine import Engine


@dataclass(frozen=True)
class Editor:
    """Turns a batch into its edits: images, strips or animations of several strengths, sheets, or codes."""

    engine: Engine
    request: LabelEdit | ReferenceEdit
    file_format: str
    details: bool
    references: CodeBatch | None = None  # of a ReferenceEdit

    @property
    def latent(self) -> bool:
        """Whether codes are asked for."""
        return self.file_format in CODE_FORMATS

    def __call__(self, batch: CodeBatch) -> list[Output]:
        """Edit every code of `batch` at every strength."""
        edits = [
            one_by_one(self.engine, partial(self._edit, strength), batch.codes) for strength in self.request.strengths
        ]
        if isinstance(self.request, ReferenceEdit) and self.request.attention:
            write_image(self.request.attention, self._plot_attention(batch.codes))
        made: Sequence[Pixels | LatentCode | Animation | EditedPhoto]
        if self.latent:
            method = f"edit {self.request.name(self.engine.bundle)}"
            edited = replace(batch, codes=edits[0])
            made = [latent_of(self.engine, edited, i, method) for i in range(len(batch.sources))]
        else:
            made = self._finish(batch, edits)
        first = [rows.start for rows in batch.rows]
        details = self._details(batch.first_codes, [codes[first] for codes in edits])
        tunings = [batch.tunings[k] if self.latent else None for k in first]
        notes = remark_on_edits(self.engine, self.request, batch.codes, edits, batch.rows)
        return [
            Output(one, detail, _summarise_edit(detail), tuning, note)
            for one, detail, tuning, note in zip(made, details, tunings, notes, strict=True)
        ]

    def _finish(self, batch: CodeBatch, edits: Sequence[Latents]) -> Sequence[Pixels | Animation | EditedPhoto]:
        before = render_unedited(self.engine, batch, batch.tunings, self.request.rendering)
        results = Results(self.engine, self.request, batch, before)
        renders = [self._render(codes, batch.tunings) for codes in edits]
        if len(edits) == 1 and not self.request.sheet:
            return results.finished(renders[0])
        if self.file_format in ANIMATION_FORMATS and not self.request.sheet:
            return [Animation(frames) for frames in zip(*(results.tiles(column) for column in renders), strict=True)]
        first = [rows.start for rows in batch.rows]
        columns = [*self._columns_before(batch, [before[k] for k in first])]
        for title, column in zip(self._titles(), renders, strict=True):
            if self.request.sheet and any(batch.photos) and not self._gives_renders:
                columns.append((f"{title}, rendered", [column[k] for k in first]))
            columns.append((title, results.tiles(column)))
        return [side_by_side([(title, column[i]) for title, column in columns]) for i in range(len(batch.sources))]

    def _edit(self, strength: Strength, codes: Latents) -> Latents:
        """Edit codes (B, N, D)."""
        request, bundle = self.request, self.engine.bundle
        names = request.names(bundle) if isinstance(request, LabelEdit) else request.celeba_names(bundle)
        if not isinstance(strength, Sequence):
            return self._edit_together(codes, names, strength)
        for name, one in zip(names, strength, strict=True):
            codes = self._edit_together(codes, [name], one)
        return codes

    def _edit_together(self, codes: Latents, names: Sequence[str], strength: float) -> Latents:
        request = self.request
        if isinstance(request, LabelEdit):
            return self.engine.edit_by_label(
                codes,
                names,
                strength=strength,
                direction=request.direction,
                keep=request.keep,
                layers=request.layers,
                strength_unit=request.strength_unit,
            )
        return self.engine.edit_by_reference(
            codes, self._reference_codes, names, strength=strength, weights=request.weights
        )

    @property
    def _reference_codes(self) -> list[Latents]:
        assert self.references is not None
        return [code[None] for code in self.references.codes]

    def _plot_attention(self, codes: Latents) -> Pixels:
        """Which styles of a code (1, N, D) take from which of the references, as the mean over the heads.

        A row for each attribute and reference, a column for each layer of the edit transformer.
        """
        assert self.references is not None
        attributes = self.request.celeba_names(self.engine.bundle)
        maps = self.engine.attention(codes, self._reference_codes, attributes)
        rows = [
            [
                heatmap(layer[0].mean(axis=0), rows=f"{attribute}: source style", columns=f"style of {source.stem}")
                for layer in weights
            ]
            for attribute, of_references in zip(attributes, maps, strict=True)
            for source, weights in zip(self.references.sources, of_references, strict=True)
        ]
        return sheet(rows, titles=[f"layer {number}" for number in range(len(rows[0]))])

    def _columns_before(
        self, batch: CodeBatch, reconstructions: Sequence[Pixels]
    ) -> Iterator[tuple[str, Sequence[Pixels | None]]]:
        """What a sheet shows on the left of the edits."""
        if not self.request.sheet:
            return
        resolution = self.engine.output_size[0]
        if self._gives_renders:
            yield "source", batch.originals
        else:
            yield "source", [faces.tile(faces.photo.pixels, resolution) if faces else None for faces in batch.photos]
        yield "reconstruction", reconstructions
        if self.references:
            for i, image in enumerate(self.references.originals):
                if image is None:  # it is a latent file
                    image = self._render(self.references.codes[i : i + 1], self.references.tunings[i : i + 1])[0]
                yield "reference", [image] * len(batch.sources)

    @property
    def _gives_renders(self) -> bool:
        return self.request.photo.result_of(self.engine.bundle) == "render"

    def _titles(self) -> list[str]:
        """Of each edit."""
        bundle, strengths = self.engine.bundle, self.request.strengths
        title = " + ".join(self.request.names(bundle)) or self.request.name(bundle)
        return [strength_text(strength) if len(strengths) > 1 else title for strength in strengths]

    def _render(self, codes: Latents, tunings: Sequence[Tuning | None]) -> Sequence[Pixels]:
        return render(self.engine, codes, tunings, self.request.rendering)

    def _details(self, codes: Latents, edits: Sequence[Latents]) -> list[dict[str, Any]]:
        """For each input, the probability of the edited attributes to the classifier, before and at each strength."""
        if not (self.details and self.engine.attributes):
            return [{} for _ in codes]
        before = one_by_one(self.engine, self.engine.classify, codes)  # (B, K)
        after = [one_by_one(self.engine, self.engine.classify, edit) for edit in edits]
        names = self.request.celeba_names(self.engine.bundle)
        places = {name: self.engine.attributes.index(name) for name in names}
        return [
            {
                "strength": list(self.request.strengths),
                "before": {name: round(float(before[i, k]), 4) for name, k in places.items()},
                "after": {name: [round(float(edit[i, k]), 4) for edit in after] for name, k in places.items()},
            }
            for i in range(len(codes))
        ]


def _summarise_edit(details: dict[str, Any]) -> str:
    """`smile 0.02 -> 0.97`; "" without details."""
    changes = [
        f"{friendly_name(name, 1)} {before:.2f} -> {', '.join(f'{after:.2f}' for after in details['after'][name])}"
        for name, before in details.get("before", {}).items()
    ]
    return "; ".join(changes)
