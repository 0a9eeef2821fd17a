"""Damaged files by the million: every reader answers with a value or one sentence, in little time and memory.

    python tests/fuzz.py [--count 100000] [--seed 1] [--seconds 600] [TARGET ...]

takes sound files, damages them (bits, lengths, tokens, instructions of pickles, whole pieces), and has them read. Any
exception but a SteditError, a sentence with control characters or of more than 1500 letters, more than 5 s or 500 MB
for a file is a finding, which is kept in fuzz-findings/. The same seed damages the same way. `make fuzz` runs it long,
`tests/test_fuzz.py` briefly.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pickle
import pickletools
import random
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stedit.checkpoints.formats import convert
from stedit.checkpoints.interchange import load_directions
from stedit.checkpoints.reader import load_file
from stedit.errors import SteditError
from stedit.imaging.files import decode_image, fit_image
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.runtime.networks import build_network
from stedit.storage.bundle import Bundle
from stedit.storage.directions import Directions
from stedit.storage.labels import LabelTable
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

MAX_SECONDS, MAX_GROWTH, MAX_SENTENCE = 5.0, 500_000, 1500  # s, kB, letters
NUMBERS = (0, 1, 2, 127, 128, 255, 32_767, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
WORDS = rb"NaN Infinity 1e999 -1 0 null true [] {} \"\" '' 1.5 -0.0 , ; \" ' # = inf yes no ../../x"
ODD = (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\t", b"\xe2\x80\xae", b'"\\ud800"', b'"\\u001b[2J"')
LONG = (b"1" + b"0" * 5000, b"[" * 200, b'{"a":' * 50, b"a" * 3000)
TOKENS = (*WORDS.split(b" "), *ODD, *LONG)
OPCODES = tuple(bytes([ord(operation.code)]) for operation in pickletools.opcodes)

Mutate = Callable[[random.Random, bytes], bytes]
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A reader, sound files for it, and how they are damaged; `suffix` is that of the file."""

    read: Read
    seeds: Sequence[tuple[str, bytes]]
    mutations: Sequence[Mutate]


@dataclass
class Outcome:
    """What became of a target's files."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, bytes] = field(default_factory=dict)
    """The first file of each."""


def fuzz(target: Target, count: int, seed: int, *, seconds: float = float("inf")) -> Outcome:
    """Damage and read `count` files, or as many as `seconds` allow."""
    chance, outcome, began = random.Random(seed), Outcome(), time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for _ in range(count):
            if time.monotonic() - began > seconds:
                break
            suffix, sound = chance.choice(target.seeds)
            damaged = chance.choice(target.mutations)(chance, sound)
            path = Path(folder) / f"file{suffix}"
            path.write_bytes(damaged)
            finding = _try(target.read, path)
            outcome.counts[finding.partition(":")[0]] += 1
            if finding not in ("read", "refused"):
                outcome.findings.setdefault(finding, damaged)
    return outcome


def _try(read: Read, path: Path) -> str:
    before, began = _peak(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        finding = "read"
    except SteditError as error:
        sentence = str(error)
        bad = len(sentence) > MAX_SENTENCE or not sentence.replace(str(path), "").isprintable()
        finding = f"sentence: {sentence[:80]!r}" if bad else "refused"
    except Exception as error:  # noqa: BLE001 - what this is looking for
        frame = [one for one in traceback.extract_tb(error.__traceback__) if "stedit" in one.filename][-1:]
        place = f"{Path(frame[0].filename).name}:{frame[0].lineno}" if frame else "?"
        finding = f"{type(error).__name__}: at {place}"
    if time.process_time() - began > MAX_SECONDS:
        return "slow: more than 5 s"
    return "memory: more than 500 MB" if _peak() - before > MAX_GROWTH else finding


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# Damage


def bits(chance: random.Random, sound: bytes) -> bytes:
    """Anywhere in the file, but in its beginning more often, where headers are."""
    data = bytearray(sound)
    for _ in range(chance.choice((1, 1, 2, 3, 6, 12))):
        size = len(data)
        if not size:
            break
        place = chance.randrange(min(size, 64)) if chance.random() < 0.3 else chance.randrange(size)
        match chance.randrange(8):
            case 0:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                data[place] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
            case 2:
                form = chance.choice(("<I", ">I", "<H", ">H"))
                number = chance.choice(NUMBERS) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
                data[place : place + struct.calcsize(form)] = struct.pack(form, number)
            case 3:
                del data[place : place + chance.choice((1, 2, 4, 16, 100))]
            case 4:
                data[place:place] = chance.randbytes(chance.choice((1, 2, 4, 16)))
            case 5:
                other, length = chance.randrange(size), chance.choice((1, 4, 16, 64))
                data[place : place + length] = data[other : other + length]
            case 6:
                data[place:place] = data[place : place + chance.choice((1, 8, 64))] * chance.choice((1, 2, 50))
            case 7:
                del data[place:]
    return bytes(data)


def tokens(chance: random.Random, sound: bytes) -> bytes:
    """Words, numbers and brackets of a text."""
    pieces = re.split(rb'("(?:[^"\\]|\\.)*"|[-+0-9.eE_]+|[A-Za-z_]+|[\[\]{}:,;=\n])', sound)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(pieces))
        match chance.randrange(5):
            case 0:
                pieces[place] = chance.choice(TOKENS)
            case 1:
                pieces[place] = b""
            case 2:
                pieces.insert(place, chance.choice(pieces))
            case 3:
                pieces[place] = chance.choice(pieces)
            case 4:
                pieces[place] *= chance.choice((2, 3, 100))
    return b"".join(pieces)


def instructions(chance: random.Random, sound: bytes) -> bytes:
    """Of a pickle."""
    try:
        places = [place for _, _, place in pickletools.genops(sound)] + [len(sound)]
    except ValueError:
        return bits(chance, sound)
    pieces = [sound[a:b] for a, b in pairwise(places)]
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(pieces))
        match chance.randrange(6):
            case 0:
                pieces[place] = chance.choice(pieces)
            case 1:
                pieces[place] = b""
            case 2:
                pieces.insert(place, chance.choice(pieces))
            case 3:
                pieces.insert(place, chance.choice(OPCODES))
            case 4:
                pieces[place] = bits(chance, pieces[place])
            case 5:
                other = chance.randrange(len(pieces))
                pieces[place], pieces[other] = pieces[other], pieces[place]
    return b"".join(pieces)


def pickle_in_zip(chance: random.Random, sound: bytes) -> bytes:
    """The pickle inside torch.save's container, which keeps true checksums."""
    if not sound.startswith(b"PK"):
        return instructions(chance, sound)
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sound)) as read, zipfile.ZipFile(written, "w") as write:
        for entry in read.infolist():
            data = read.read(entry)
            write.writestr(entry.filename, instructions(chance, data) if entry.filename.endswith("data.pkl") else data)
    return written.getvalue()


def tensor_header(chance: random.Random, sound: bytes) -> bytes:
    """The header of a safetensors file as text, with its true length; now and then the numbers."""
    if len(sound) < 8 or sound[8:9] != b"{":
        return bits(chance, sound)
    length = struct.unpack("<Q", sound[:8])[0]
    header, body = tokens(chance, sound[8 : 8 + length]), sound[8 + length :]
    return struct.pack("<Q", len(header)) + header + (bits(chance, body) if chance.random() < 0.2 and body else body)


def checksums(chance: random.Random, sound: bytes) -> bytes:
    """Bits of a PNG whose checksums are made true again, so that what is behind them is reached."""
    damaged = bits(chance, sound)
    if not damaged.startswith(b"\x89PNG"):
        return damaged
    out, place = bytearray(damaged[:8]), 8
    while place + 8 <= len(damaged):
        length = struct.unpack(">I", damaged[place : place + 4])[0]
        if length > len(damaged):
            return damaged
        body = damaged[place + 4 : place + 8 + length]
        out += damaged[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(out)


def array_header(chance: random.Random, sound: bytes) -> bytes:
    """The header of a .npy file as text."""
    return sound[:10] + tokens(chance, sound[10:]) if sound.startswith(b"\x93NUMPY") else bits(chance, sound)


def packed(chance: random.Random, sound: bytes) -> bytes:
    """Text, gzipped or not; `.gz` is in the name in any case."""
    data = gzip.compress(tokens(chance, sound), mtime=0)
    return bits(chance, data) if chance.random() < 0.7 else data


# Targets


def _checkpoints() -> Target:
    lcnet = {"fcs.0.weight": (8, 1024), "fcs.0.bias": (8,), "indep_fcs.0.weight": (2, 8), "indep_fcs.0.bias": (2,)}
    lcnet |= {"output_fcs.0.weight": (1, 2), "output_fcs.0.bias": (1,)}
    tensors = {key: torch.zeros(shape, dtype=torch.float16) for key, shape in lcnet.items()}
    opts = argparse.Namespace(encoder_type="Encoder4Editing", lr=1e-4, ids=[0, 1], start=None, path=Path("x"))
    full = {"state_dict": tensors, "opts": opts, "latent_avg": np.ones(4), "best": np.float64(1.5), "names": {1, 2}}
    seeds = []
    for content in (full, {"comp": torch.ones(2, 1, 8), "std": torch.ones(2)}, torch.ones(8)):
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=zipped)
            seeds.append((".pt", stream.getvalue()))
    network = {"G_ema": {"class_name": "G", "state": {"_parameters": {"a": 1}, "_modules": {}}}, "l": [1, (2.5, b"y")]}
    arrays = {"variables": [("lod", np.float32(0)), ("x", np.ones((2, 3), "f4"))], "components": {}}
    seeds += [
        (".pkl", pickle.dumps(one, protocol)) for one in (network, arrays, full["opts"]) for protocol in (0, 2, 4, 5)
    ]
    from safetensors.torch import save

    seeds.append((".safetensors", save({key: value.float() for key, value in tensors.items()}, {"a": "b"})))
    stream = io.BytesIO()
    np.save(stream, np.ones((1, 8), "f4"))
    seeds.append((".npy", stream.getvalue()))

    def read(path: Path) -> None:
        convert(load_file(path).content)

    return Target(read, seeds, (bits, pickle_in_zip, pickle_in_zip, tensor_header, array_header))


def _directions() -> Target:
    seeds = [(".safetensors", Directions({"a": np.ones((1, 8), "f4"), "b": np.ones((4, 8), "f4")}).encode())]
    for content in (torch.ones(8), {"comp": torch.ones(3, 1, 8), "std": torch.ones(3)}, {"a": np.ones(8, "f4")}):
        stream = io.BytesIO()
        torch.save(content, stream)
        seeds.append((".pt", stream.getvalue()))
    stream = io.BytesIO()
    np.save(stream, np.ones((1, 8), "f4"))
    return Target(
        load_directions, [*seeds, (".npy", stream.getvalue())], (bits, pickle_in_zip, tensor_header, array_header)
    )


def _images() -> Target:
    scene = np.add.outer(np.arange(48), np.arange(40))[..., None] * np.array([1, 2, 3])
    face = Image.fromarray((scene % 256).astype(np.uint8))
    grey, alpha, palette = face.convert("L"), face.convert("RGBA"), face.quantize(16)
    alpha.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "hello"
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (face, "PNG", {"exif": exif}), (alpha, "PNG", {}), (palette, "PNG", {"transparency": 3}), (deep, "PNG", {}),
        (face, "PNG", {"save_all": True, "append_images": [face.rotate(90)]}),
        (face, "JPEG", {"exif": exif}), (face, "JPEG", {"progressive": True}), (face.convert("CMYK"), "JPEG", {}),
        (face, "MPO", {"save_all": True, "append_images": [face]}), (face, "WEBP", {"exif": exif}),
        (alpha, "WEBP", {"lossless": True}), (palette, "GIF", {}), (face, "TIFF", {}), (deep, "TIFF", {}),
        (face, "TIFF", {"compression": "tiff_lzw"}), (face, "TIFF", {"compression": "jpeg"}),
        (face.convert("1"), "TIFF", {"compression": "group4"}), (face, "BMP", {}), (palette, "BMP", {}),
        (face, "PPM", {}), (face, "AVIF", {"quality": 40}),
    ]  # fmt: skip
    seeds = [("", b"P3 4 4 255 " + b"1 2 3 " * 16), ("", b"P2 4 4 65535 " + b"1000 " * 16)]
    for image, kind, options in kinds:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        seeds.append(("", stream.getvalue()))

    def read(path: Path) -> None:
        fit_image(decode_image(path).pixels, (16, 16))

    return Target(read, seeds, (bits, checksums))


def _latents() -> Target:
    seeds = [("", LatentCode(np.ones((12, 16), "f4"), "m", "0" * 16, crop='{"quad": [[0, 0]]}').encode())]
    return Target(LatentCode.load, seeds, (bits, tensor_header))


def _tunings() -> Target:
    factors = {"blocks.0.layers.0.conv.weight": (np.ones((8, 2), "f2"), np.ones((2, 72), "f2"))}
    return Target(Tuning.load, [("", Tuning(factors, "m", "0" * 16).encode())], (bits, tensor_header))


def _models() -> Target:
    """config.json; the parts beside it are sound."""
    generator = GeneratorConfig(resolution=8, style_dim=8, mapping_layers=2, channels=(4, 4))
    encoder = EncoderConfig(
        stem_width=4, widths=(4, 4, 4, 8), blocks=(1, 1, 1, 1), reduction=1, input_height=32, input_width=32,
        style_count=4, style_dim=8, heads=2, feedforward=8,
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp()) / "model"
    torch.manual_seed(0)
    parts = {
        name: (sizes, build_network(name, sizes).state_dict())
        for name, sizes in (("generator", generator), ("encoder", encoder))
    }
    Bundle.save(folder, name="tiny", domain="d", license="MIT", parts=parts, readme="x", training={"a": [1.5, "x"]})  # type: ignore[arg-type]
    config = folder / "config.json"
    sound = config.read_bytes()

    def read(path: Path) -> None:
        config.write_bytes(path.read_bytes())
        json.dumps(Bundle.load(folder).training, allow_nan=False)

    return Target(read, [("", sound), ("", json.dumps(json.loads(sound)).encode())], (bits, tokens, tokens))


def _labels() -> Target:
    table = b'id,Smiling,Bangs\na.png,1,0\nb.png,,0.5\n"c,d.png",yes,-1\n'
    celeba = b"3\nSmiling Bangs\na.jpg 1 -1\nb.jpg -1 1\nc.jpg  1  1\n"
    records = b'{"id":"a.png","attributes":{"Smiling":1,"x":null},"continuous":{"hair_rgb":[0.1,0.2,0.3]}}\n'
    records += b'{"file":"b","Smiling":"yes"}\n{"input":"c.png","status":"failed","error":"x"}\n'
    seeds = [(".csv", table), (".csv", b"\xef\xbb\xbf" + table), (".txt", celeba), (".jsonl", records)]
    seeds += [(".csv.gz", gzip.compress(table)), (".jsonl.gz", gzip.compress(records))]

    def mutate(chance: random.Random, sound: bytes) -> bytes:
        if sound.startswith(b"\x1f\x8b"):
            return packed(chance, gzip.decompress(sound))
        return tokens(chance, sound) if chance.random() < 0.7 else bits(chance, sound)

    def read(path: Path) -> None:
        found = LabelTable.read(path)
        found.of([next(iter(found.rows), "a"), "b"], found.attributes)

    return Target(read, seeds, (mutate,))


TARGETS: dict[str, Callable[[], Target]] = {
    "checkpoints": _checkpoints,
    "directions": _directions,
    "images": _images,
    "latents": _latents,
    "tunings": _tunings,
    "models": _models,
    "labels": _labels,
}


def main() -> int:
    """Run the targets, print what became of their files, keep what was found; 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--count", type=int, default=150_000, help="files of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most for each")
    options = parser.parse_args()
    total = found = 0
    for name in options.targets or TARGETS:
        began = time.monotonic()
        outcome = fuzz(TARGETS[name](), options.count, options.seed, seconds=options.seconds)
        total, found = total + outcome.counts.total(), found + len(outcome.findings)
        print(
            f"{name}: {outcome.counts.total()} files in {time.monotonic() - began:.0f} s, {dict(outcome.counts)}",
            flush=True,
        )
        for number, (finding, data) in enumerate(outcome.findings.items()):
            kept = Path("fuzz-findings") / f"{name}-{options.seed}-{number}"
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(data)
            print(f"   {finding}  ({kept})", flush=True)
    print(f"{total} files, {found} findings")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
