"""HEIC photographs, as phones take them, where the extra `heic` (pillow-heif) is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

# Brands that ISO/IEC 23008-12 gives to still pictures in HEVC; others that start alike are videos.
_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx"})

ADVICE = "install `pip install 'stedit[heic]'`, or convert it to JPEG or PNG first"


def is_heic(data: bytes) -> bool:
    """Whether the bytes begin as a HEIC file does, and no AVIF or video."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS and b"avif" not in data[16 : int.from_bytes(data[:4], "big")]


def can_read() -> bool:
    """Whether the extra is installed; it is not loaded."""
    return find_spec("pillow_heif") is not None


@cache
def can_write() -> bool:
    """Whether the extra is installed, with an encoder."""
    if not can_read():
        return False
    import pillow_heif

    return bool(pillow_heif.libheif_info()["HEIF"])


@cache
def register() -> None:
    """Let Pillow read and write HEIC; `can_read` says whether it can."""
    import pillow_heif

    pillow_heif.register_heif_opener()
