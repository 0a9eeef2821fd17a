"""An evaluation as one HTML page that holds all it shows: no script, and nothing is fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from stedit.editing.attributes import friendly_name
from stedit.imaging.files import Pixels, encode_image, fit_image
from stedit.metrics.results import GroundTruthSample, Results, Sample, SampleEdit
from stedit.metrics.tables import Cell, Table, percent, setting, tables_of

MAX_SIDE = 256  # of the images in the page, in px

_STYLE = """
:root { color-scheme: light dark; --paper: #fcfbf8; --card: #fff; --ink: #1d1c1a; --soft: #6d6860; --line: #e5e1d8;
  --good: #4f86b8; --bad: #d0704e; --head: #f4f1ea; }
@media (prefers-color-scheme: dark) { :root { --paper: #161719; --card: #1d1f22; --ink: #e9e6df; --soft: #9d988e;
  --line: #33363a; --good: #6ea5d6; --bad: #e08a69; --head: #24272a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "Noto Sans", "Liberation Sans", sans-serif; }
main { max-width: 82rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1, h2 { font-family: Charter, "Bitstream Charter", "Iowan Old Style", Georgia, "Noto Serif", "Liberation Serif", serif;
  font-weight: 600; line-height: 1.2; letter-spacing: -0.01em; }
h1 { font-size: 2.4rem; margin: 0 0 .4rem; }
h2 { font-size: 1.45rem; margin: 3.2rem 0 .4rem; }
p { max-width: 52rem; margin: 0 0 1rem; color: var(--soft); }
header p { font-size: 1.1rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .9rem 2rem; margin: 1.8rem 0 0;
  padding: 1.2rem 0; border: solid var(--line); border-width: 1px 0; }
dt { font-size: .78rem; color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
nav { margin: 1.2rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; font-size: .95rem; }
a { color: var(--good); text-decoration: none; }
a:hover { text-decoration: underline; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .9rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { background: var(--head); font-weight: 600; font-size: .82rem; color: var(--soft); vertical-align: bottom;
  white-space: normal; line-height: 1.3; }
tbody th { font-weight: 500; }
tbody tr + tr > *, tfoot tr > * { border-top: 1px solid var(--line); }
tfoot { font-weight: 650; }
.share { background: linear-gradient(to right, var(--bar) var(--part), var(--line) 0) right .9rem bottom 4px / 4rem 3px
  no-repeat; --bar: var(--good); min-width: 6rem; padding-bottom: .7rem; }
.share.bad { --bar: var(--bad); }
.faces { width: auto; }
.faces th, .faces td { padding: .3rem .25rem; text-align: center; vertical-align: top; border: 0 !important; }
.faces tbody th { padding: .8rem; text-align: left; vertical-align: middle; }
.faces thead th { padding: .6rem .2rem; font-size: .72rem; vertical-align: bottom; }
.faces img { display: block; margin: 0 auto; width: 80px; border-radius: 6px; }
.faces .missed img { outline: 2px solid var(--bad); outline-offset: 1px; }
.faces small { display: block; margin-top: .15rem; color: var(--soft); font-size: .74rem; line-height: 1.2; }
.faces .missed small { color: var(--bad); }
.known { columns: 15rem; column-gap: 2rem; padding: 1rem 1.2rem; margin: 0; list-style: none; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
.known li { display: flex; justify-content: space-between; break-inside: avoid; padding: .12rem 0; }
footer { margin-top: 3.5rem; font-size: .88rem; color: var(--soft); }
@media print { .wide { overflow: visible; border: 0; } nav { display: none; } }
"""


def render(title: str, facts: Mapping[str, str], results: Results, *, note: str = "") -> str:
    """The page.

    Args:
        title: its heading.
        facts: what was run, in the order of the page.
        results: of `evaluate`.
        note: stands under the heading, such as a date.
    """
    sections = [(table.title, _explained(table) + _table(table)) for table in tables_of(results)]
    for gallery, samples in results.samples.items():
        text = _BY_REFERENCE_TEXT if samples[0].reference is not None else _BY_LABEL_TEXT
        sections.append((f"Images: {setting(*gallery)}", text + _gallery(samples)))
    for gallery, pairs in results.ground_truth_samples.items():
        sections.append((f"Images of ground-truth edits: {setting(*gallery)}", _PAIRS_TEXT + _pair_gallery(pairs)))
    if results.judge:
        sections.append(("The judge", _judge(results)))
    contents = "".join(f'<a href="#s{i}">{escape(name)}</a>' for i, (name, _) in enumerate(sections))
    body = "".join(
        f'<section id="s{i}"><h2>{escape(name)}</h2>{text}</section>' for i, (name, text) in enumerate(sections)
    )
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>\n<body><main>'
        f"<header><h1>{escape(title)}</h1><p>{escape(note)}</p><dl>{listed}</dl><nav>{contents}</nav></header>\n"
        f"{body}\n<footer>Made by stedit evaluate; its page in the documentation says what each number means.</footer>"
        "</main></body></html>\n"
    )


_BY_LABEL_TEXT = (
    "<p>The first images, each edited towards the opposite of what it shows. Under an edit stands what was asked "
    "for; a frame marks those for which the judge does not predict it.</p>"
)
_BY_REFERENCE_TEXT = (
    "<p>The first images, each taking one attribute after the other from its reference. Under an edit stands what "
    "the reference has; a frame marks those for which the judge does not predict it.</p>"
)
_PAIRS_TEXT = (
    "<p>Of each attribute the first pair, both ways: the image, its reconstruction, the edit, and the true image "
    "that the edit should come near to.</p>"
)


def _explained(table: Table) -> str:
    return f"<p>{escape(table.explanation).replace(' %', '&nbsp;%')}</p>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "".join(_row(row) for row in table.rows)
    foot = f"<tfoot>{_row(table.means)}</tfoot>" if table.means else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table></div>'


def _row(cells: Sequence[Cell]) -> str:
    first, *others = cells
    return f'<tr><th scope="row">{escape(first.text)}</th>{"".join(map(_cell, others))}</tr>'


def _cell(cell: Cell) -> str:
    if cell.share is None:
        return f"<td>{escape(cell.text)}</td>"
    css_class = "share bad" if cell.bad else "share"
    return f'<td class="{css_class}" style="--part:{100 * cell.share:.1f}%">{escape(cell.text)}</td>'


def _gallery(samples: Sequence[Sample]) -> str:
    attributes = list(samples[0].edits)
    by_reference = samples[0].reference is not None
    columns = [
        "source",
        "reconstruction",
        *(["reference"] if by_reference else []),
        *(friendly_name(name, 1) for name in attributes),
    ]
    rows = []
    for number, sample in enumerate(samples, start=1):
        cells = [_face(sample.source, f"source {number}"), _face(sample.reconstruction, f"reconstruction {number}")]
        if sample.reference is not None:
            cells.append(_face(sample.reference, f"reference {number}"))
        cells += [_edit(name, edit, number) for name, edit in sample.edits.items()]
        rows.append(cells)
    return _faces(columns, rows)


def _edit(name: str, edit: SampleEdit, number: int) -> str:
    asked = f"{'with' if edit.added else 'without'}"
    return _face(edit.image, f"{number} {asked} {name}", asked, missed=not edit.success)


def _pair_gallery(samples: Sequence[GroundTruthSample]) -> str:
    columns = ["asked for", "source", "reconstruction", "edit", "truth"]
    rows = []
    for sample in samples:
        asked = f"{friendly_name(sample.attribute, 1)}: {'with' if sample.added else 'without'}"
        cells = [f'<th scope="row">{escape(asked)}</th>']
        cells += [_face(getattr(sample, name), f"{asked}, {name}") for name in columns[1:]]
        rows.append(cells)
    return _faces(columns, rows)


def _faces(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table class="faces"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _face(image: Pixels, text: str, caption: str = "", *, missed: bool = False) -> str:
    height, width = image.shape[:2]
    shrink = min(MAX_SIDE / max(height, width), 1)
    data = encode_image(fit_image(image, (round(height * shrink), round(width * shrink))), "jpg", quality=90)
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    small = f"<small>{escape(caption)}</small>" if caption else ""
    return f'<td{" class=missed" if missed else ""}><img src="{source}" alt="{escape(text)}">{small}</td>'


def _judge(results: Results) -> str:
    assert results.judge is not None
    items = "".join(
        f"<li><span>{escape(friendly_name(name, 1))}</span><span>{percent(share).text}</span></li>"
        for name, share in results.judge.by_attribute.items()
    )
    text = (
        f"What the judge predicts for the {results.judge.images} labelled images themselves agrees with "
        f"{percent(results.judge.label_agreement).text} of their labels. Where it agrees little, it says little of "
        "edits."
    )
    return f'<p>{escape(text)}</p><div class="wide"><ul class="known">{items}</ul></div>'
