"""A file can say how its picture was made, in every format in the same words, and other programs can read it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from stedit import __version__
from stedit.imaging import heic
from stedit.imaging.edited import WriteOptions, encode_edited
from stedit.imaging.files import decode_image, encode_image, write_image
from stedit.imaging.provenance import NAMESPACE, Provenance, read_provenance

PIXELS = np.full((32, 48, 3), 90, np.uint8)
MARK = Provenance("my-model", 'smile at strength 1.5, "no glasses" <& more>')
SUFFIXES = [".png", ".jpg", ".webp", ".avif", ".tif", *([".heic"] if heic.can_write() else [])]


def edited(source: bytes, mark: Provenance | None, suffix: str | None = None) -> bytes:
    image = decode_image(io.BytesIO(source))
    return encode_edited(image, image.pixels // 2, options=WriteOptions(suffix=suffix, provenance=mark)).data


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_provenance_mark_is_written_into_an_edited_photograph(suffix: str, tmp_path: Path) -> None:
    data = edited(encode_image(PIXELS, "png"), MARK, suffix)
    assert read_provenance(data) == MARK
    assert MARK.version == __version__
    (tmp_path / "file").write_bytes(data)
    assert read_provenance(tmp_path / "file") == read_provenance(str(tmp_path / "file")) == MARK
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[ExifTags.Base.Software] == f"stedit {__version__}"
        assert b"compositeWithTrainedAlgorithmicMedia" in image.info["xmp"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_provenance_none_writes_no_mark(suffix: str) -> None:
    data = edited(encode_image(PIXELS, "png"), None, suffix)
    assert read_provenance(data) is None
    assert b"stedit" not in data


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "avif", "tif"])
def test_provenance_mark_is_written_into_a_rendering(kind: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"a.{kind}", PIXELS, provenance=MARK)
    assert read_provenance(tmp_path / f"a.{kind}") == MARK
    plain = encode_image(PIXELS, kind)
    assert read_provenance(plain) is None
    np.testing.assert_array_equal(decode_image(io.BytesIO(plain)).pixels, decode_image(tmp_path / f"a.{kind}").pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_provenance_mark_is_replaced_by_a_second_edit(suffix: str) -> None:
    first = edited(encode_image(PIXELS, "png"), MARK, suffix)
    second = Provenance("ffhq-1024", "older")
    data = edited(first, second)
    assert read_provenance(data) == second
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["xmp"].count(b"stedit:Version") == 1
        assert image.info["xmp"].count(b"DigitalSourceType=") == 1
    assert read_provenance(edited(first, None)) is None


def test_provenance_mark_joins_the_xmp_that_is_there() -> None:
    file = io.BytesIO()
    xmp = (
        b'<?xpacket begin="" id="x"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
        b'22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>'
        b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    Image.fromarray(PIXELS).save(file, "JPEG", xmp=xmp)
    data = edited(file.getvalue(), MARK)
    assert read_provenance(data) == MARK
    with Image.open(io.BytesIO(data)) as image:
        assert b'xmp:Rating="4"' in image.info["xmp"]


def test_provenance_mark_rewritten_by_other_programs_is_read() -> None:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:ns1="{NAMESPACE}"><ns1:Version>0.1</ns1:Version><ns1:Model>a</ns1:Model>'
        "<ns1:Edit>b</ns1:Edit></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    assert Provenance.from_xmp(xmp.encode()) == Provenance("a", "b", "0.1")


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"<",
        b"<a></b>",
        b"\xff\xfe<\0",
        b"<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a>&b;</a>",
        b"<a>" * 200_000,
        b"<a>" * 100_000 + b"</a>" * 100_000,
        bytes(5_000_000),
    ],
)
def test_provenance_damaged_xmp_is_replaced(xmp: bytes) -> None:
    assert Provenance.from_xmp(xmp) is None
    if len(xmp) != 700_000:  # that one is sound, if deep
        assert Provenance.from_xmp(MARK.add_to(xmp)) == MARK


def test_provenance_mark_survives_control_characters() -> None:
    mark = Provenance("a\0b\x1b[2J", "c\nd\ud800")
    found = Provenance.from_xmp(mark.add_to(b""))
    assert found == Provenance("a b [2J", "c d ")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_provenance_of_a_file_that_is_no_image_is_none(data: bytes) -> None:
    assert read_provenance(data) is None


def test_provenance_of_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_provenance(tmp_path / "none.png") is None
    assert read_provenance(tmp_path) is None


def test_provenance_mark_survives_xmp_that_jpeg_cannot_hold() -> None:
    block = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    block += b"<!--" + b"a" * 80_000 + b"--></rdf:RDF></x:xmpmeta>"
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "WEBP", xmp=block)
    image = decode_image(io.BytesIO(file.getvalue()))
    result = encode_edited(image, image.pixels, options=WriteOptions(suffix=".jpg", provenance=MARK))
    assert read_provenance(result.data) == MARK
    assert result.notes[0].startswith("its XMP data are left out: JPEG holds no ")
