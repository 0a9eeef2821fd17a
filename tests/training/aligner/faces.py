"""Labelled pictures of drawn faces that are learnt in seconds: scenes, crops and renders as zips with records."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stedit.imaging.files import Pixels

# Of an aligned crop, in its sides: the five points, and eyes, nose and mouth are drawn there.
POINTS = np.array([[0.38, 0.48], [0.62, 0.48], [0.5, 0.6], [0.4, 0.72], [0.6, 0.72]])


def draw_face(picture: Pixels, left: float, top: float, side: float, random: np.random.Generator) -> np.ndarray:
    """Draw a face, in place, into the square of an aligned crop; gives its points (5, 2) in pixels."""
    points = POINTS * side + [left, top]

    def oval(centre: np.ndarray, width: float, height: float, colour: list[int]) -> None:
        axes = (max(1, round(width * side)), max(1, round(height * side)))
        cv2.ellipse(picture, np.rint(centre).astype(int).tolist(), axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    skin = [int(value) for value in random.integers((150, 110, 80), (240, 190, 150))]
    oval(points.mean(axis=0), 0.24, 0.32, skin)
    for eye in points[:2]:
        oval(eye, 0.06, 0.035, [250, 250, 250])
        oval(eye, 0.025, 0.03, [20, 20, 40])
    oval(points[2], 0.03, 0.04, [value // 2 for value in skin])
    oval(points[3:].mean(axis=0), 0.1, 0.02, [150, 20, 30])
    return points


def clutter(height: int, width: int, random: np.random.Generator) -> Pixels:
    coarse = random.uniform(0, 255, (5, 5, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def write_faces(folder: Path, scenes: int, crops: int, renders: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Zip files and JSONL files of drawn faces."""
    random = np.random.default_rng(seed)
    files: dict[str, list[tuple[dict[str, object], Pixels]]] = {"scenes": [], "crops": [], "renders": []}
    for number in range(scenes):
        picture = clutter(144, 200, random)
        faces = []
        if number % 3:  # one scene in three has no face
            side = random.uniform(60, 130)
            left, top = random.uniform(0, 200 - side), random.uniform(0, 144 - side)
            points = draw_face(picture, left, top, side, random)
            centre, half = points.mean(axis=0), np.array([0.26, 0.36]) * side
            faces.append({"box": [*(centre - half), *(2 * half)], "points": points.tolist(), "score": 0.95})
        files["scenes"].append(({"id": f"scene_{number}", "size": [200, 144], "faces": faces}, picture))
    for number in range(crops):
        picture = clutter(256, 256, random)
        points = draw_face(picture, 0, 0, 256, random)
        files["crops"].append(({"id": f"crop_{number}", "points": points.tolist()}, picture))
    for number in range(renders):
        picture = clutter(128, 128, random)
        points = draw_face(picture, 0, 0, 128, random)
        landmarks = np.zeros((68, 2))
        landmarks[36:42], landmarks[42:48] = points[0], points[1]
        landmarks[[30, 48, 54]] = points[2:]
        files["renders"].append(({"id": f"render_{number}", "landmarks": landmarks.tolist()}, picture))
    data, labels = [], []
    for name, members in files.items():
        if not members:
            continue
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for record, picture in members:
                encoded = io.BytesIO()
                Image.fromarray(picture).save(encoded, "PNG")
                archive.writestr(f"{record['id']}.png", encoded.getvalue())
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record, _ in members))
        data.append(str(folder / f"{name}.zip"))
        labels.append(str(folder / f"{name}.jsonl"))
    return data, labels
