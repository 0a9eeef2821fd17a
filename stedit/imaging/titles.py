"""Titles in any script: with the font that comes with Pillow, with one of the system, or in other letters."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow looks for these in the folders of fonts of Linux, macOS and Windows
_SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf", "Arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "wqy-microhei.ttc", "unifont.ttf"),
    *("Arial Unicode.ttf", "PingFang.ttc", "AppleSDGothicNeo.ttc", "msyh.ttc", "msgothic.ttc", "malgun.ttf"),
    *("NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "Nirmala.ttf"),
    *("NotoSansThai-Regular.ttf", "FreeSans.ttf", "segoeui.ttf"),
)
_NO_CHARACTER = "\U0010fffe"  # which no font can have, so that it shows as a missing one does

# LATIN SMALL LETTER O WITH STROKE, HANGUL SYLLABLE HAN, KATAKANA LETTER SMALL TU
_SOUND = re.compile(r"(?:LATIN (SMALL|CAPITAL) LETTER|HANGUL SYLLABLE|(?:HIRAGANA|KATAKANA) LETTER(?: SMALL)?) (\w+)")


@dataclass(frozen=True)
class Title:
    """A title as it can be written here."""

    text: str
    font: Font

    @classmethod
    def of(cls, text: str, size: int) -> Title:
        """Find a font, in pixels of `size`, that has all letters of `text`; else replace what none has."""
        usual = ImageFont.load_default(size)
        if _has_all(usual, text):
            return cls(text, usual)
        for name in _SYSTEM_FONTS:
            font = _system_font(name, size)
            if font and _has_all(font, text):
                return cls(text, font)
        return cls("".join(letter if _has_all(usual, letter) else _transliterate(letter) for letter in text), usual)


def _transliterate(letter: str) -> str:
    """`e` for `é`, `o` for `ø`, `han` for `한`; `?` where the letter does not say how it sounds."""
    plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if part.isascii())
    if plain:
        return plain
    if unicodedata.combining(letter):
        return ""
    found = _SOUND.match(unicodedata.name(letter, ""))
    if not found:
        return "?"
    return found[2] if found[1] == "CAPITAL" else found[2].lower()


@cache
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:  # it is not here
        return None


def _has_all(font: Font, text: str) -> bool:
    if text.isascii():
        return True
    missing = _shape(font, _NO_CHARACTER)
    return all(letter.isascii() or letter.isspace() or _shape(font, letter) != missing for letter in set(text))


def _shape(font: Font, letter: str) -> bytes:
    return bytes(font.getmask(letter))
