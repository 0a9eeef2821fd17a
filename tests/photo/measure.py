"""How well faces are found and aligned.

    python tests/photo/measure.py MODEL yunet.onnx        on photographs, and renders placed in scenes
    python tests/photo/measure.py --validation MODEL      for thresholds, on what was held out of training
    python tests/photo/measure.py --unfamiliar MODEL      which images the model notes as unlike anything it has seen

The photographs are those of ../shared/photos: hand-placed pupils, whole scenes, crops. Nothing of them that the first
command reads is read by the second, and no seed of clutter is common to training and either.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import time
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scenes import backdrop, place

from stedit.engine import Engine
from stedit.hub.find import find_bundle
from stedit.imaging.files import fit_image, read_image
from stedit.photo import detection
from stedit.photo.alignment import Quad
from stedit.photo.detection import AlignerFinder, FaceDetector, YuNetFinder, is_aligned_crop
from stedit.runtime.networks import load_network
from stedit.storage.bundle import Bundle
from stedit.training.aligner.compose import clutter
from stedit.training.aligner.data import rank

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT.parent / "shared" / "photos"
RENDERS = ROOT.parent / "shared" / "faces" / "dataset"
LEAST, SAME = 16, 0.35  # pixels of a face to find; intersection over union with a label's box


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


def match(faces, record):
    """The face found for each label of at least 16 px, or None, and the faces that no label has."""
    true = [face for face in record["faces"] if np.sqrt(face["box"][2] * face["box"][3]) >= LEAST]
    best = [max(faces, key=lambda face: overlap(face.box, one["box"]), default=None) for one in true]
    hits = [
        (one, hit if hit and overlap(hit.box, one["box"]) > SAME else None) for hit, one in zip(best, true, strict=True)
    ]
    false = [face for face in faces if not any(overlap(face.box, one["box"]) > SAME for one in record["faces"])]
    return hits, false


def scenes(detector):
    hits, errors, several, false, lost = [], [], [], [], []
    began, pictures = time.perf_counter(), 0
    for record, picture in archived(PHOTOS / "scenes-test.zip"):
        some, more = match(detector.detect(picture), record)
        pictures += 1
        hits += [hit is not None for _, hit in some]
        several += [hit is not None for _, hit in some] if len(some) > 1 else []
        false += [(record["id"], [round(value) for value in face.box], round(face.score, 2)) for face in more]
        for one, hit in some:
            if hit is None:
                lost.append((record["id"], [round(value) for value in one["box"]], one["score"]))
            else:
                points = np.array(one["points"])
                away = np.linalg.norm(np.array(hit.points) - points, axis=1).mean()
                errors.append(away / Quad.of_points(points).side)
    print(
        f"  scenes-test: recall {sum(hits)}/{len(hits)} = {np.mean(hits):.2%} (several faces: {sum(several)}/"
        f"{len(several)}), {len(false)} not labelled, points {np.mean(errors):.2%} of the side from YuNet's, "
        f"{(time.perf_counter() - began) / pictures * 1000:.0f} ms each"
    )
    print("    lost", lost)
    print("    not labelled", false)


def without_faces(detector, seed=7_000, count=100):
    """Clutter of two kinds: that of the training, by other seeds, and that of the tests, which no training has."""
    for name, pictures in (
        ("of the training's kind", drawn(count, seed)),
        ("of another kind", (backdrop(480, 640, seed + number) for number in range(count))),
    ):
        found = [detector.detect(picture) for picture in pictures]
        print(f"  clutter {name}: {sum(map(len, found))} faces in {sum(map(bool, found))} of {count} pictures")


def drawn(count, seed, side=480):
    """Clutter, a picture after the other."""
    for number in range(count):
        torch.manual_seed(seed + number)
        yield clutter(1, side, torch.device("cpu"))[0].round().byte().permute(1, 2, 0).numpy()


def validation(finder, share=0.08, seed=900_000, count=200):
    """What each threshold of doubtful faces would give on scenes and clutter that are held out of training.

    The scenes held out are those of which stedit train keeps this share, and those whose source allows no training.
    """
    allowed = json.loads((PHOTOS / "sources.json").read_text())
    detection.DOUBTFUL = 0.3
    detector = FaceDetector(finder)
    hits, errors, false = [], [], []
    for record, picture in archived(PHOTOS / "scenes-train.zip"):
        if len(record["faces"]) > 8 or (rank(record["id"]) >= share and allowed[record["source"]]["train"]):
            continue
        some, more = match(detector.detect(picture), record)
        hits += [0 if hit is None else hit.score for _, hit in some]
        false += [face.score for face in more]
        errors += [
            np.linalg.norm(np.array(hit.points) - one["points"], axis=1).mean() / Quad.of_points(one["points"]).side
            for one, hit in some
            if hit
        ]
    scores = [face.score for picture in drawn(count, seed) for face in detector.detect(picture)]
    print(f"  points off by {np.mean(errors):.2%} of the side from YuNet's")
    for threshold in np.arange(0.3, 0.96, 0.05):
        found, more, in_clutter = (int((np.array(one) >= threshold).sum()) for one in (hits, false, scores))
        print(
            f"  from {threshold:.2f}: recall {found}/{len(hits)} = {found / len(hits):.2%}, {more} not labelled, "
            f"{in_clutter} in {count} pictures of clutter"
        )


def crops(detector):
    for path in (PHOTOS / "test-000.zip", RENDERS / "test-000.zip"):
        crops_of(detector, path)


def crops_of(detector, path):
    count = found = aligned = 0
    errors = []
    for number, (_, picture) in enumerate(archived(path)):
        if number % 3:
            continue
        faces = detector.detect(picture)
        count += 1
        if not faces:
            continue
        found += 1
        corners = Quad.of_picture(*picture.shape[:2]).corners
        errors.append(np.linalg.norm(faces[0].quad.corners - corners, axis=1).mean() / len(picture))
        aligned += is_aligned_crop(picture, faces[0])
    print(
        f"  {path.parent.name}/{path.name}, every third: found {found}/{count}, taken for aligned {aligned}, corners "
        f"off by {np.mean(errors):.2%} of the side (95 %: {np.quantile(errors, 0.95):.2%}, 99 %: "
        f"{np.quantile(errors, 0.99):.2%})"
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
        for number in range(6 if size > 400 else 24):
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


def unfamiliar(name, count=60):
    """The share of images of each kind whose reconstruction error is above the model's limit."""
    engine = Engine.from_pretrained(name)
    size = engine.input_size[0]
    photographs = [picture for _, picture in archived(PHOTOS / "test-000.zip")][::3]
    random = np.random.default_rng(0)
    kinds = {
        "photographs": photographs,
        "renders": [picture for _, picture in archived(RENDERS / "test-000.zip")][: 2 * count],
        "faces on their side": [np.rot90(picture) for picture in photographs[:count]],
        "faces upside down": [np.rot90(picture, 2) for picture in photographs[:count]],
        "backgrounds": list(islice(backgrounds(), count)),
        "clutter of the training's kind": list(drawn(count, 7_000, size)),
        "clutter of another kind": [backdrop(size, size, number) for number in range(count)],
        "noise": [random.integers(0, 256, (size, size, 3)).astype(np.uint8) for _ in range(count)],
        "one colour": [np.full((size, size, 3), random.integers(0, 256, 3), np.uint8) for _ in range(count)],
    }
    print(f"  limit {engine.bundle.reconstruction_limit}")
    for kind, pictures in kinds.items():
        errors = []
        for picture in pictures:
            batch = fit_image(np.ascontiguousarray(picture), engine.input_size)[None]
            errors.append(float(engine.reconstruction_error(batch, engine.invert(batch))[0]))
        noted = np.mean(np.array(errors) > engine.bundle.reconstruction_limit)
        print(f"  {kind}: {noted:.1%} of {len(errors)} noted, median error {np.median(errors):.3f}", flush=True)


def backgrounds(side=96):
    """Squares at the border of whole photographs in which no face is labelled."""
    for record, picture in archived(PHOTOS / "scenes-test.zip"):
        for left in (0, picture.shape[1] - side):
            corner = (left, 0, side, side)
            if not any(overlap(corner, face["box"]) > 0 for face in record["faces"]):
                yield picture[:side, left : left + side]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detectors", nargs="+", help="models with an aligner, and YuNet's ONNX files")
    parser.add_argument("--validation", action="store_true", help="measure thresholds on what was held out of training")
    parser.add_argument("--unfamiliar", action="store_true", help="measure what models say of images unlike their own")
    arguments = parser.parse_args()
    for name in arguments.detectors:
        if arguments.unfamiliar:
            print(name, flush=True)
            unfamiliar(name)
            continue
        finder = YuNetFinder(name) if name.endswith(".onnx") else aligner(name)
        print(name, flush=True)
        if arguments.validation:
            validation(finder)
            continue
        for measure in (pupils, whole, scenes, without_faces, crops, placed):
            measure(FaceDetector(finder))


def aligner(name):
    return AlignerFinder(load_network(Bundle.load(find_bundle(name)), "aligner"))


if __name__ == "__main__":
    main()
