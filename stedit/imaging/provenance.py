"""The mark in a file of how its picture was made, of one form in all formats: an XMP block (ISO 16684-1).

It carries IPTC's digital source type too, by which other programs know a picture that a model has had a hand in.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

from PIL import Image

from stedit._version import __version__
from stedit.storage.origin import Origin

NAMESPACE = "urn:stedit:provenance:1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="w"?>'
).encode()

# What a camera or an earlier edit said of where the picture comes from: a property stands but once.
_OLD_SOURCE_TYPE = re.compile(
    rb"\sIptc4xmpExt:DigitalSourceType\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    rb"|<Iptc4xmpExt:DigitalSourceType>[^<]*</Iptc4xmpExt:DigitalSourceType>"
)

MAX_XMP_BYTES = 2**22


@dataclass(frozen=True)
class Provenance:
    """How a picture was made."""

    model: str
    """The model's name."""
    edit: str
    """What was done, in words, such as "smile at strength 1"."""
    version: str = __version__
    """Of stedit."""
    origin: Origin | None = None
    """The digests of what it was made of; only written, since `stedit.storage.origin` reads it of a whole file."""

    @property
    def software(self) -> str:
        """What stands in EXIF's Software."""
        return f"stedit {self.version}"

    def add_to(self, xmp: bytes) -> bytes:
        """Put the mark into an XMP packet, or into a new one if there is none that it fits in."""
        origin = f'stedit:Origin="{self.origin.text}" ' if self.origin else ""
        block = (
            f'<rdf:Description rdf:about="" xmlns:rdf="{_RDF}" xmlns:stedit="{NAMESPACE}" '
            'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
            f"stedit:Version={_attribute(self.version)} stedit:Model={_attribute(self.model)} "
            f"stedit:Edit={_attribute(self.edit)} {origin}"
            f'Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPE}"/>'
        ).encode()
        if _parse(xmp) is None or b"</rdf:RDF>" not in xmp:
            xmp = _EMPTY
        xmp = _OLD_SOURCE_TYPE.sub(b"", xmp)
        before, _, after = xmp.rpartition(b"</rdf:RDF>")
        return before + block + b"</rdf:RDF>" + after

    @classmethod
    def from_xmp(cls, xmp: bytes) -> Self | None:
        """The mark in an XMP packet; None if there is none. Other programs may have written it in another way."""
        root = _parse(xmp)
        if root is None:
            return None
        found: dict[str, str] = {}
        for element in root.iter():
            found |= element.attrib
            found[element.tag] = element.text or ""
        version, model, edit = (found.get(f"{{{NAMESPACE}}}{name}") for name in ("Version", "Model", "Edit"))
        return None if version is None else cls(model or "", edit or "", version)


def read_provenance(source: str | Path | bytes) -> Provenance | None:
    """The mark in a picture file, or in its bytes; None if there is none, or the file cannot be read.

    Only the header is read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                xmp = image.info.get("xmp")
        except Exception:  # noqa: BLE001 - a file that cannot be read has no mark
            return None
    return Provenance.from_xmp(xmp) if isinstance(xmp, bytes) else None


def _parse(xmp: bytes) -> ET.Element | None:
    # Entities are how a small document becomes a large one, and no XMP has a use for them.
    if not xmp or len(xmp) > MAX_XMP_BYTES or b"<!" in xmp.replace(b"<!--", b""):
        return None
    try:
        return ET.fromstring(xmp.rstrip(b"\0 \n"))  # noqa: S314 - see above
    except (ET.ParseError, ValueError):
        return None


def _attribute(text: str) -> str:
    """Quoted, without what XML cannot hold."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return f'"{html.escape(printable)}"'
