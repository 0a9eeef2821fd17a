"""How well faces are found and aligned: python tests/photo/measure.py synthface-128 yunet.onnx, say.

Prints what it measures on ../shared/photos (hand-placed pupils, whole scenes, crops) and on renders placed in scenes.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from scenes import backdrop, place

from stedit.hub.find import find_bundle
from stedit.imaging.files import read_image
from stedit.photo.alignment import Quad
from stedit.photo.detection import AlignerFinder, FaceDetector, YuNetFinder, is_aligned_crop
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT.parent / "shared" / "photos"
RENDERS = ROOT.parent / "shared" / "faces" / "dataset"


def archived(path: Path):
    """Records and pictures of a zip file and the JSONL beside it."""
    labels = path.with_name(path.name.replace("-000", "").replace(".zip", ".jsonl.gz"))
    with gzip.open(labels, "rt") as lines, zipfile.ZipFile(path) as archive:
        for line in lines:
            record = json.loads(line)
            picture = Image.open(io.BytesIO(archive.read(f"{record['id']}.jpg"))).convert("RGB")
            yield record, np.asarray(picture)


def overlap(a, b):
    """Intersection over union of boxes x, y, w, h."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(np.add(a[:2], a[2:]), np.add(b[:2], b[2:]))
    shared = np.maximum(high - low, 0).prod()
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def pupils(detector):
    errors, shifts, missed = [], [], []
    for record in json.loads((PHOTOS / "full" / "index.json").read_text()):
        true = np.array(record.get("pupils", ()))
        if not len(true) or np.linalg.norm(true[1] - true[0]) < 0.05 * record["size"][0]:
            continue  # the first two points of the pictures zoom-* are no pupils
        faces = detector.detect(read_image(PHOTOS / "full" / record["file"]))
        if not faces:
            missed.append(record["file"])
            continue
        away = (np.array(faces[0].points)[:2] - true) / np.linalg.norm(true[1] - true[0])
        errors.append((np.linalg.norm(away, axis=1).mean(), record["file"]))
        shifts.append(away)
    values = np.array([error for error, _ in errors])
    print(
        f"  pupils, {len(errors)} photographs: mean {values.mean():.2%}, worst {values.max():.2%} of the eye distance "
        f"({max(errors)[1]}); mean shift {np.round(100 * np.mean(shifts, axis=0), 1).tolist()} %; missed {missed}"
    )


def whole(detector):
    counts = []
    for path in sorted((PHOTOS / "full").glob("*.jpg")):
        faces = detector.detect(read_image(path))
        counts.append((path.stem, len(faces), round(min((face.score for face in faces), default=0), 2)))
    print("  whole photographs, not one face:", [one for one in counts if one[1] != 1])
    print("  least sure:", sorted(counts, key=lambda one: one[2])[:5])


def scenes(detector):
    wanted = found = right = several = several_found = 0
    errors, false, lost = [], [], []
    began, pictures = time.perf_counter(), 0
    for record, picture in archived(PHOTOS / "scenes-test.zip"):
        faces = detector.detect(picture)
        pictures += 1
        true = [face for face in record["faces"] if np.sqrt(face["box"][2] * face["box"][3]) >= 16]
        hits = [max(faces, key=lambda face: overlap(face.box, one["box"]), default=None) for one in true]
        hits = [
            hit if hit and overlap(hit.box, one["box"]) > 0.35 else None for hit, one in zip(hits, true, strict=True)
        ]
        wanted, found = wanted + len(true), found + sum(hit is not None for hit in hits)
        if len(true) > 1:
            several, several_found = several + len(true), several_found + sum(hit is not None for hit in hits)
        for face in faces:
            if any(overlap(face.box, one["box"]) > 0.35 for one in record["faces"]):
                right += 1
            else:
                false.append((record["id"], [round(value) for value in face.box], round(face.score, 2)))
        for hit, one in zip(hits, true, strict=True):
            if hit is None:
                lost.append((record["id"], [round(value) for value in one["box"]], one["score"]))
            else:
                points = np.array(one["points"])
                away = np.linalg.norm(np.array(hit.points) - points, axis=1).mean()
                errors.append(away / Quad.of_points(points).side)
    print(
        f"  scenes-test: recall {found}/{wanted} = {found / wanted:.2%} (several faces: {several_found}/{several}), "
        f"precision {right / max(right + len(false), 1):.2%}, points {np.mean(errors):.2%} of the side from YuNet's, "
        f"{(time.perf_counter() - began) / pictures * 1000:.0f} ms each"
    )
    print("    lost", lost)
    print("    not labelled", false)


def crops(detector):
    for path in (PHOTOS / "test-000.zip", RENDERS / "test-000.zip"):
        crops_of(detector, path)


def crops_of(detector, path):
    count = found = aligned = 0
    errors = []
    for _, picture in archived(path):
        faces = detector.detect(picture)
        count += 1
        if not faces:
            continue
        found += 1
        corners = Quad.of_picture(*picture.shape[:2]).corners
        errors.append(np.linalg.norm(faces[0].quad.corners - corners, axis=1).mean() / len(picture))
        aligned += is_aligned_crop(picture, faces[0])
        if count == 700:
            break
    print(
        f"  {path.parent.name}/{path.name}: found {found}/{count}, corners off by {np.mean(errors):.2%} of the side "
        f"(95 %: {np.quantile(errors, 0.95):.2%}, 99 %: {np.quantile(errors, 0.99):.2%}), taken for aligned {aligned}"
    )


def placed(detector):
    random = np.random.default_rng(0)
    renders = []
    for record, picture in archived(RENDERS / "test-000.zip"):
        renders.append((record, picture))
        if len(renders) == 300:
            break
    turned = [one for one in renders if abs(one[0]["continuous"]["yaw"]) > 24]
    cases = {f"{size} px": {"size": size} for size in (24, 40, 80, 160, 400, 1000, 2000)}
    cases |= {f"tilt {tilt}": {"angle": tilt} for tilt in (-40, -20, 20, 40)}
    cases |= {"mirrored": {"mirrored": True}, "dark": {"dark": 0.12}, "at the border": {"border": True}}
    cases |= {"turned": {"renders": turned}, "beyond the border": {"border": True, "cut": True}}
    for name, case in cases.items():
        errors, found, extra, count = [], 0, 0, 0
        size = case.get("size", 90)
        for number in range(10 if size > 400 else 40):
            side = max(640, int(2.2 * size))
            picture = backdrop(side, side * 4 // 3, number)
            half = size * 0.8
            low, high = np.array([half, half]), np.array([side * 4 / 3 - half, side - half])
            centre = random.uniform(low, high)
            if case.get("border"):
                edge = 0.35 * size if case.get("cut") else 0.5 * size
                centre[0] = edge if number % 2 else side * 4 / 3 - edge
            pool = case.get("renders", renders)
            quad = place(
                picture,
                pool[number % len(pool)][1],
                (centre[0], centre[1]),
                size,
                case.get("angle", random.uniform(-12, 12)),
                mirrored=case.get("mirrored", False),
            )
            picture = np.rint(picture * case.get("dark", 1)).astype(np.uint8)
            faces = detector.detect(picture)
            away = [np.linalg.norm(face.quad.corners - quad.corners, axis=1).mean() / quad.side for face in faces]
            count += 1
            if away and min(away) < 0.3:
                found += 1
                errors.append(min(away))
            extra += len(away) - bool(away and min(away) < 0.3)
        error = f"{np.mean(errors):.2%}, worst {np.max(errors):.2%}" if errors else "-"
        print(f"  placed, {name}: found {found}/{count}, corners off by {error} of the side, {extra} more")


def main() -> None:
    for name in sys.argv[1:]:
        finder = YuNetFinder(name) if name.endswith(".onnx") else aligner(name)
        print(name)
        for measure in (pupils, whole, scenes, crops, placed):
            measure(FaceDetector(finder))


def aligner(name):
    return AlignerFinder(load_network(Bundle.load(find_bundle(name)), "aligner"))


if __name__ == "__main__":
    main()
