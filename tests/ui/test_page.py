"""The page in a real browser without a window: load, drop, slide, compare, take from another, download."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stedit.engine import Engine
from stedit.ui.session import Session

DATA = Path(__file__).parents[1] / "data"
SPEC = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
assert SPEC
assert SPEC.loader
browser_module = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(browser_module)
PROGRAM = browser_module.find()

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium: set STEDIT_TEST_BROWSER to one")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    opened = browser_module.Browser(PROGRAM, tmp_path / "profile")
    yield opened
    opened.close()


def shown(*edits: tuple[str, float]) -> str:
    """JavaScript: whether the page shows these edits, and rests."""
    text = "[" + ",".join(f'["{name}",{strength:g}]' for name, strength in edits) + "]"
    return f"document.body.dataset.shown === '{text}' && !running"


def colours(browser: Any, path: Path) -> np.ndarray:
    browser.screenshot(path)
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def test_a_person_drops_slides_compares_and_downloads(
    engine: Engine, serve: Callable[..., Any], browser: Any, tmp_path: Path
) -> None:
    downloads = tmp_path / "downloads"
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    with serve(Session(engine)) as address:
        browser.go(address)
        browser.wait_for("document.body.dataset.ready === '1'")
        assert browser.evaluate("document.querySelectorAll('#sliders input:disabled').length") == 32
        assert browser.evaluate("$('download').disabled")

        browser.drop(DATA / "scenes/room.jpg", 500, 300)
        browser.wait_for("!$('stage').hidden && " + shown())
        untouched = colours(browser, tmp_path / "untouched.png")

        start = browser.middle("#slider-smile")
        browser.drag(start, (start[0] + 40, start[1]))
        browser.wait_for("document.body.dataset.shown !== '[]' && !running")
        strength = float(browser.evaluate("$('slider-smile').value"))
        assert 0.5 < strength < 1.5
        assert f"--attr smile --strength {strength:g} room.jpg" in browser.evaluate("$('command').textContent")
        browser.wait_for("!$('strip').hidden && $('strip-image').complete && $('strip-image').naturalWidth === 800")

        left, top, width, height = browser.evaluate(
            "(b => [b.x, b.y, b.width, b.height])($('stage').getBoundingClientRect())"
        )
        middle = browser.middle("#divider")
        assert abs(middle[0] - (left + width / 2)) < 2  # both halves are seen once there is something to compare
        browser.drag(middle, (left + width - 2, middle[1]))
        face = np.s_[
            round(top + 0.3 * height) : round(top + 0.8 * height),
            round(left + 0.3 * width) : round(left + 0.48 * width),
        ]
        before = colours(browser, tmp_path / "before.png")
        assert np.abs(before - untouched)[face].mean() < 1
        browser.drag(browser.middle("#divider"), (left + 2, middle[1]))
        assert np.abs(colours(browser, tmp_path / "after.png") - untouched)[face].max() > 25

        browser.click("#strip button:nth-of-type(5)")
        browser.wait_for(shown(("smile", 1)))
        browser.drop(DATA / "faces/glasses.jpg", *browser.middle("#slot"))
        browser.wait_for("$('reference-text').textContent === 'as in glasses.jpg' && !running")
        browser.evaluate("set('smile', 0), set('glasses', 1)")
        browser.wait_for("document.body.dataset.shown.includes('glasses') && !running")
        assert browser.evaluate("$('command').textContent") == "stedit edit --attr glasses --ref glasses.jpg room.jpg"

        browser.click("#download")
        browser.wait_for("$('status').textContent.startsWith('room.glasses')")
        while not (files := [path for path in downloads.glob("*.jpg") if path.stat().st_size]):
            time.sleep(0.05)
        with Image.open(files[0]) as image:
            assert image.size == (1280, 960)

        broken = tmp_path / "broken.jpg"
        broken.write_bytes(b"no picture")
        browser.drop(broken, 500, 300)
        browser.wait_for("$('status').classList.contains('bad')")
        assert "broken.jpg is not a picture" in browser.evaluate("$('status').textContent")
        assert browser.errors == []
