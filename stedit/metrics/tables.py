"""Results as tables: the same ones for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from stedit.editing.attributes import friendly_name
from stedit.metrics.results import EditResult, GroundTruthResult, ReconstructionResult, Results, TransferResult

Row = TypeVar("Row", EditResult, GroundTruthResult)

FINE_ATTRIBUTE_TITLES = {"glasses_type": "type of glasses", "beard_type": "type of beard", "hair_rgb": "hair colour"}


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table."""

    text: str
    share: float | None = None
    """In [0, 1], where the number is one that a bar can show."""
    bad: bool = False
    """Whether the share should be small."""


@dataclass(frozen=True)
class Table:
    """Titled columns of cells; the first column names the rows."""

    title: str
    explanation: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    means: Sequence[Cell] = ()
    """A last row over all others."""


def tables_of(results: Results) -> list[Table]:
    """All tables, those that hold nothing left out."""
    tables = [
        *_reconstructions(results),
        *_comparison(results.edits),
        *_edits(results),
        *_transfer(results.attribute_transfer),
        *_ground_truth(results.ground_truth),
    ]
    return [table for table in tables if table.rows]


def percent(share: float | None, *, bad: bool = False, of: int | None = None) -> Cell:
    """`97.5 %`, or `97.5 % of 40`."""
    if share is None:
        return Cell("–")
    return Cell(f"{100 * share:.1f} %" + (f" of {of}" if of is not None else ""), share, bad)


def number(value: float | None, digits: int) -> Cell:
    """A number, or a dash."""
    return Cell("–" if value is None else f"{value:.{digits}f}")


def setting(method: str, direction: str | None, strength: float) -> str:
    """`hybrid, first-order, strength 1`."""
    return ", ".join([method, *([direction] if direction else []), f"strength {strength:g}"])


def _reconstructions(results: Results) -> Iterator[Table]:
    scales = f" ({results.ms_ssim_scales} scales)" if results.ms_ssim_scales else ""
    columns: list[tuple[str, Callable[[ReconstructionResult], Cell]]] = [
        ("method", lambda row: Cell(row.method)),
        ("PSNR, dB", lambda row: number(row.psnr, 2)),
        ("min PSNR gain, dB", lambda row: number(row.min_psnr_gain, 2)),
        ("SSIM", lambda row: number(row.ssim, 4)),
        (f"MS-SSIM{scales}", lambda row: number(row.ms_ssim, 4)),
        ("L2", lambda row: number(row.l2, 5)),
        ("LPIPS", lambda row: number(row.lpips, 4)),
        (f"identity ({results.identity_measure})", lambda row: number(row.identity, 4)),
        ("attribute agreement", lambda row: percent(row.attribute_agreement)),
        ("labels confirmed", lambda row: percent(row.label_agreement)),
        ("FID", lambda row: number(row.fid, 2)),
        ("Fréchet distance (judge)", lambda row: number(row.judge_frechet, 4)),
        ("s/image", lambda row: number(row.seconds, 3)),
    ]
    rows = [[make(row) for _, make in columns] for row in results.reconstructions]
    shown = [i for i in range(len(columns)) if any(row[i].text != "–" for row in rows)]
    text = (
        f"{results.images} images and their reconstructions{_left_out(results)}. Attribute agreement: attributes "
        "that the judge predicts alike for both. Labels confirmed: labels that it predicts for the reconstruction"
    )
    if results.judge:
        text += f"; for the images themselves it predicts {percent(results.judge.label_agreement).text} of them"
    yield Table("Reconstruction", text + ".", [columns[i][0] for i in shown], [[row[i] for i in shown] for row in rows])


def _left_out(results: Results) -> str:
    """`; 3 without a face are left out`."""
    if not results.without_face:
        return ""
    return f"; {results.without_face} without a face {'is' if results.without_face == 1 else 'are'} left out"


def _comparison(edits: Sequence[EditResult]) -> Iterator[Table]:
    """Means over attributes, where several settings are compared."""
    groups = _grouped([edit for edit in edits if edit.by == "label"])
    if len(groups) < 2:
        return
    rows = [[Cell(setting(*key)), *_mean_cells(group)] for key, group in groups]
    text = "Means over the attributes, each of which counts the same; the tables below tell them apart."
    yield Table("Label edits compared", text, ["setting", *_EDIT_COLUMNS], rows)


def _edits(results: Results) -> Iterator[Table]:
    label = (
        "Each image is edited towards the opposite of what the judge predicts for its reconstruction. Added, "
        "removed: share of images for which it then predicts the change; side effects: share of the attributes that "
        "change, of those that are unrelated by definition."
    )
    reference = (
        "Each image takes the attribute from another one, chosen by the seed. Success: the judge predicts the "
        "attribute as in the reference; added and removed count only the images that differ from their reference."
    )
    for by, title, text in (("label", "Label edits", label), ("reference", "Edits by reference", reference)):
        for key, group in _grouped([edit for edit in results.edits if edit.by == by]):
            rows = [[Cell(friendly_name(edit.attribute, 1)), *_edit_cells(edit)] for edit in group]
            means = [Cell("mean"), *_mean_cells(group)] if len(group) > 1 else []
            yield Table(f"{title}: {setting(*key)}", text, ["attribute", *_EDIT_COLUMNS], rows, means)


_EDIT_COLUMNS = (
    "success",
    "added",
    "removed",
    "side effects",
    "identity similarity",
    "logit drift",
    "code distance",
    "s/edit",
)


def _edit_cells(edit: EditResult) -> list[Cell]:
    return [
        percent(edit.success),
        percent(edit.added, of=edit.added_images),
        percent(edit.removed, of=edit.removed_images),
        percent(edit.side_effects, bad=True),
        number(edit.identity, 4),
        number(edit.logit_drift, 2),
        number(edit.code_distance, 3),
        number(edit.seconds, 4),
    ]


def _mean_cells(edits: Sequence[EditResult]) -> list[Cell]:
    return [
        percent(_mean([edit.success for edit in edits])),
        percent(_mean([edit.added for edit in edits])),
        percent(_mean([edit.removed for edit in edits])),
        percent(_mean([edit.side_effects for edit in edits]), bad=True),
        number(_mean([edit.identity for edit in edits]), 4),
        number(_mean([edit.logit_drift for edit in edits]), 2),
        number(_mean([edit.code_distance for edit in edits]), 3),
        number(_mean([edit.seconds for edit in edits]), 4),
    ]


def _transfer(results: Sequence[TransferResult]) -> Iterator[Table]:
    text = (
        "Whether edits by reference transfer the type of glasses or beard, or the hair colour, where source and "
        "reference differ in it, as a linear probe on the judge's features predicts: share of images with the "
        "reference's type, or distance from its colour in sRGB. The last column is that of the references themselves."
    )
    rows = []
    for row in results:
        colour = row.fine_attribute == "hair_rgb"
        values = [number(x, 3) if colour else percent(x) for x in (row.before, row.after, row.reference)]
        rows.append(
            [
                Cell(friendly_name(row.attribute, 1)),
                Cell(FINE_ATTRIBUTE_TITLES[row.fine_attribute]),
                Cell(row.method),
                Cell(str(row.images)),
                *values,
            ]
        )
    columns = ["attribute", "fine attribute", "method", "images", "before", "after", "of the reference"]
    yield Table("Fine-grained transfer", text, columns, rows)


def _ground_truth(pairs: Sequence[GroundTruthResult]) -> Iterator[Table]:
    text = (
        "Images whose true edit is known, both ways. Closer: share of edits that are closer to the true image than "
        "the unedited reconstruction is. Then the distance itself: before, after, and that of the true image's own "
        "reconstruction, by L2 and by the judge's embedding (1 - cosine)."
    )
    columns = [
        "attribute",
        "images",
        "closer, L2",
        "before",
        "after",
        "best",
        "closer, judge",
        "before",
        "after",
        "best",
    ]
    for key, members in _grouped(pairs):
        rows = [[Cell(friendly_name(row.attribute, 1)), Cell(str(row.images)), *_pair_cells([row])] for row in members]
        means = [Cell("mean"), Cell(""), *_pair_cells(members)] if len(members) > 1 else []
        yield Table(f"Ground-truth edits: {setting(*key)}", text, columns, rows, means)


def _pair_cells(rows: Sequence[GroundTruthResult]) -> list[Cell]:
    return [
        percent(fmean(row.l2_closer for row in rows)),
        number(fmean(row.l2_before for row in rows), 5),
        number(fmean(row.l2_after for row in rows), 5),
        number(fmean(row.l2_best for row in rows), 5),
        percent(fmean(row.judge_closer for row in rows)),
        number(fmean(row.judge_before for row in rows), 4),
        number(fmean(row.judge_after for row in rows), 4),
        number(fmean(row.judge_best for row in rows), 4),
    ]


def _grouped(rows: Sequence[Row]) -> list[tuple[tuple[str, str | None, float], list[Row]]]:
    """Results by method, direction and strength, in their order."""
    groups: dict[tuple[str, str | None, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.method, row.direction, row.strength), []).append(row)
    return list(groups.items())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
