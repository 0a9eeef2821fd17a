"""Titles of sheets in any script."""

from __future__ import annotations

import pytest
from PIL import ImageFont

from stedit.imaging import titles
from stedit.imaging.titles import Title


@pytest.fixture
def _no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(titles, "_SYSTEM_FONTS", ())


def test_ascii_title_is_written_in_pillows_font() -> None:
    title = Title.of("before 1", 20)
    assert title.text == "before 1"
    assert title.font.getname() == ImageFont.load_default(20).getname()


@pytest.mark.usefixtures("_no_system_fonts")
@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Zoë", "Zoe"),
        ("Łódź", "Lodz"),
        ("Ørsted", "Orsted"),
        ("한글", "hangeul"),
        ("さくら", "sakura"),
        ("a 顔 b", "a ? b"),
    ],
)
def test_title_without_a_font_is_transliterated(text: str, written: str) -> None:
    assert Title.of(text, 20).text == written


def test_title_takes_a_font_of_the_system_that_has_its_letters() -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 20)
    except OSError:
        pytest.skip("DejaVu Sans is not installed")
    title = Title.of("лицо", 20)
    assert title.text == "лицо"
    assert title.font.getname()[0] != ImageFont.load_default(20).getname()[0]
