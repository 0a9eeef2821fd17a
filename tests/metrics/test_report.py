"""The page: it holds all that it shows, and a browser that may fetch nothing shows it without complaint."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stedit.imaging.files import Pixels
from stedit.metrics.report import MAX_SIDE, render
from stedit.metrics.results import (
    EditResult,
    GroundTruthResult,
    GroundTruthSample,
    JudgeResult,
    ReconstructionResult,
    Results,
    Sample,
    SampleEdit,
    TransferResult,
)
from stedit.metrics.tables import tables_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>alert(1)</script>&\"'"


def picture(shade: int, size: int = 32) -> Pixels:
    return np.full((size, size, 3), shade, np.uint8)


def edit(attribute: str, strength: float = 1.0, *, added: float | None = 0.5, **changes: object) -> EditResult:
    values = {"by": "label", "method": "encoder", "direction": "preserving", "strength": strength, **changes}
    return EditResult(
        **values,  # type: ignore[arg-type]
        attribute=attribute,
        images=4,
        success=0.75,
        added_images=2,
        added=added,
        removed_images=2,
        removed=1.0,
        side_effects=0.03,
        identity=0.9,
        logit_drift=0.1,
        code_distance=0.2,
        seconds=0.05,
    )


@pytest.fixture
def results() -> Results:
    edits = {"Smiling": SampleEdit(picture(90), True, True), HOSTILE: SampleEdit(picture(120), False, False)}
    return Results(
        images=4,
        labelled=4,
        identity_measure="judge embedding",
        ms_ssim_scales=2,
        judge=JudgeResult(4, 0.875, {"Smiling": 1.0, "Bangs": 0.75}),
        reconstructions=[
            ReconstructionResult("encoder", 4, 0.005, 23.0, None, 0.8, 0.9, None, 0.97, 0.95, 0.85, None, 0.2, 0.04)
        ],
        edits=[edit("Smiling"), edit("Bangs", added=None), edit("Smiling", by="reference", direction=None)],
        attribute_transfer=[TransferResult("encoder", "Eyeglasses", "glasses_type", 3, 0.1, 0.6, 0.8)],
        ground_truth=[
            GroundTruthResult("encoder", "preserving", 1.0, "Smiling", 4, 0.5, 0.01, 0.02, 0.003, 0.75, 0.1, 0.05, 0.02)
        ],
        samples={
            ("encoder", "preserving", 1.0): [Sample(picture(30), picture(60), None, edits)],
            ("encoder", "reference", 1.0): [Sample(picture(30), picture(60), picture(200, 400), edits)],
        },
        ground_truth_samples={
            ("encoder", "preserving", 1.0): [
                GroundTruthSample("Smiling", True, picture(1), picture(2), picture(3), picture(4)),
            ]
        },
    )


@pytest.fixture
def page(results: Results) -> str:
    return render(f"model {HOSTILE}", {"model": "tiny", "from": HOSTILE}, results, note="20 November 2026")


class _Reader(HTMLParser):
    """Collects what a page refers to and says, and whether its tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.ids: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag not in {"meta", "link", "img"}:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        self.ids |= {values["id"] or ""} if "id" in values else set()
        for name in ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"):
            if name in values:
                self.references.append(values[name] or "")
        assert not any(name.startswith("on") for name in values)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_page_refers_to_nothing_outside_of_itself(page: str) -> None:
    reader = read(page)
    assert reader.open == []
    assert not {"script", "iframe", "object", "embed", "base", "form"} & set(reader.tags)
    for reference in reader.references:
        assert reference.startswith(("data:", "#s"))
        if reference.startswith("#"):
            assert reference[1:] in reader.ids
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "http:" not in page
    assert "https:" not in page


def test_page_contains_every_figure(page: str, results: Results) -> None:
    text = read(page).text
    for table in tables_of(results):
        assert table.title in text
        for row in (*table.rows, table.means):
            for cell in row:
                assert cell.text in text
    for expected in ("20 November 2026", HOSTILE, "87.5", "MS-SSIM (2 scales)", "50.0 % of 2"):
        assert expected in text


def test_page_contains_every_image_with_its_text(page: str) -> None:
    images = read(page).images
    assert len(images) == (2 + 2) + (3 + 2) + 4
    assert all(image["alt"] for image in images)
    shades = []
    for image in images:
        head, data = str(image["src"]).split(",", 1)
        assert head == "data:image/jpeg;base64"
        decoded = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        assert max(decoded.size) <= MAX_SIDE
        shades.append(round(float(np.asarray(decoded).mean())))
    assert shades == pytest.approx([30, 60, 90, 120, 30, 60, 200, 90, 120, 1, 2, 3, 4], abs=1)


def test_same_results_give_the_same_page(results: Results, page: str) -> None:
    again = render(f"model {HOSTILE}", {"model": "tiny", "from": HOSTILE}, results, note="20 November 2026")
    assert again == page
    assert "2026" not in render("model", {}, results)


def test_tables_leave_out_what_was_not_measured(results: Results) -> None:
    tables = {table.title: table for table in tables_of(results)}
    assert list(tables) == [
        "Reconstruction",
        "Label edits: encoder, preserving, strength 1",
        "Edits by reference: encoder, strength 1",
        "Fine-grained transfer",
        "Ground-truth edits: encoder, preserving, strength 1",
    ]
    assert "LPIPS" not in tables["Reconstruction"].columns
    assert "FID" not in tables["Reconstruction"].columns
    label = tables["Label edits: encoder, preserving, strength 1"]
    added = label.columns.index("added")
    assert [row[added].text for row in (*label.rows, label.means)] == ["50.0 % of 2", "–", "50.0 %"]
    assert tables_of(Results()) == []


def test_settings_are_compared_by_their_means() -> None:
    edits = [edit("Smiling"), edit("Bangs", added=1.0), edit("Smiling", 2.0), edit("Bangs", 2.0, added=None)]
    table = next(table for table in tables_of(Results(edits=edits)) if table.title == "Label edits compared")
    assert [[cell.text for cell in row[:3]] for row in table.rows] == [
        ["encoder, preserving, strength 1", "75.0 %", "75.0 %"],
        ["encoder, preserving, strength 2", "75.0 %", "50.0 %"],
    ]


def browse(page: str, folder: Path) -> tuple[list[str], Image.Image]:
    """What the browser complains of, and what it shows."""
    assert CHROMIUM is not None
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
    command += ["--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1300,2600"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={folder / 'shot.png'}"]
    done = subprocess.run(
        [*command, (folder / "page.html").as_uri()], capture_output=True, text=True, timeout=300, check=False
    )
    if not (folder / "shot.png").exists():
        pytest.skip(f"the browser does not start here: {done.stderr[-300:]}")
    complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return complaints, Image.open(folder / "shot.png").convert("RGB")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_browser_shows_the_page_and_has_nothing_to_fetch(page: str, tmp_path: Path) -> None:
    complaints, shot = browse(page, tmp_path)
    assert complaints == []
    colours = {colour for _, colour in shot.getcolors(2**24) or []}
    for shade in (30, 60, 90, 120, 200):  # every picture is drawn, to JPEG's precision
        assert any(max(abs(part - shade) for part in colour) <= 2 for colour in colours)
    outside = page.replace("<footer>", '<img src="http://127.0.0.1:9/x.png" alt="x"><footer>')
    complaints, _ = browse(outside, tmp_path)  # so that silence above means something
    assert len(complaints) == 1
    assert "http://127.0.0.1:9/x.png" in complaints[0]
