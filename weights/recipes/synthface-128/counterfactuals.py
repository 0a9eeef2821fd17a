"""Render true edits: a picture's parameters with one attribute's taken from another picture.

    python counterfactuals.py --renderer FACES --data DATA --output EDITS --count 10468 --workers 2

FACES holds the data set's render_faces.py and facekit.npz, DATA its labels. Writes edits-<worker>.zip and edits.jsonl,
whose records name the group, source and reference beside the labels of the picture that was made.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from stedit.training.data import read_records

# group: (share, parameters that are taken together)
GROUPS: dict[str, tuple[int, tuple[str, ...]]] = {
    "Smiling": (10, ("smile_on", "smile_amt")),
    "Mouth_Slightly_Open": (8, ("open_on", "open_amt")),
    "Eyeglasses": (
        14,
        ("glasses_on", "glasses_shape", "glasses_size", "glasses_thick", "glasses_color", "sun_on", "lens_tint"),
    ),
    "No_Beard": (12, ("beard", "beard_len", "beard_dens")),
    "Bangs": (10, ("bangs_on", "bangs_len", "bangs_side")),
    "Hair_Color": (16, ("hair_color", "hair_light", "hair_warm")),
    "Wearing_Lipstick": (8, ("lipstick_on", "lipstick_hue", "lipstick_dark")),
    "Pale_Skin": (7, ("pale_on",)),
    "Wearing_Hat": (8, ("hat_on", "hat_type", "hat_h", "hat_s", "hat_v")),
    "Young": (8, ("old_on", "age_amt")),
    "Bald": (3, ("hair_style", "hair_len")),
    "Heavy_Makeup": (3, ("makeup_on", "shadow_hue")),
    "Wavy_Hair": (3, ("wavy_on", "curl_amt", "curl_freq")),
    "Rosy_Cheeks": (2, ("rosy_on", "rosy_amt")),
    "Bushy_Eyebrows": (2, ("bushy_on", "brow_thick")),
    "Arched_Eyebrows": (2, ("arch_on", "brow_arch")),
    "Bags_Under_Eyes": (2, ("bags_on", "bags_amt")),
    "Sideburns": (2, ("sideburns_on",)),
}

# the attributes by which an edit of the group may be asked for
ATTRIBUTES_OF: dict[str, tuple[str, ...]] = {name: (name,) for name in GROUPS} | {
    "Hair_Color": ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"),
    "No_Beard": ("No_Beard", "Mustache", "Goatee", "5_o_Clock_Shadow"),
    "Wavy_Hair": ("Wavy_Hair", "Straight_Hair"),
}


def choose(renderer: Any, parameters: np.ndarray, number: int) -> tuple[str, int, int]:
    """Group, source and reference of edit `number`: mostly pairs that differ in the group's first parameter."""
    random = np.random.default_rng([77, number])
    names = list(GROUPS)
    shares = np.array([share for share, _ in GROUPS.values()], float)
    group = names[random.choice(len(names), p=shares / shares.sum())]
    first = GROUPS[group][1][0]
    for _ in range(60):
        source, reference = (int(index) for index in random.integers(len(parameters), size=2))
        person = renderer.P(parameters[source])
        old, new = person.c(first), renderer.P(parameters[reference]).c(first)
        differ = random.random() < 0.85
        if group == "Bangs" and person.c("hair_style") < 2:
            continue
        if group in ("Hair_Color", "Wavy_Hair") and person.c("hair_style") == 0:
            continue
        if old != new or (not differ and old > 0):
            break
    return group, source, reference


def render(worker: int, workers: int, count: int, faces: Path, data: Path, output: Path) -> None:
    """Every `workers`-th edit from `worker` on, into a zip file and a record file of its own."""
    spec = importlib.util.spec_from_file_location("render_faces", faces / "render_faces.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"there is no render_faces.py in {faces}: give the folder of the data set's renderer")
    renderer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(renderer)
    parameters = np.array([row["params"] for row in read_records(data / "train.jsonl.gz")])
    scene = renderer.Renderer(str(faces / "facekit.npz"), 128)
    with (
        zipfile.ZipFile(output / f"edits-{worker}.zip", "w", zipfile.ZIP_STORED) as archive,
        (output / f"edits-{worker}.jsonl").open("w") as records,
    ):
        for number in range(worker, count, workers):
            group, source, reference = choose(renderer, parameters, number)
            z = parameters[source].copy()
            for name in GROUPS[group][1]:
                z[renderer.IDX[name]] = parameters[reference][renderer.IDX[name]]
            pixels, record = scene.render(z)
            name = f"{number:06d}"
            archive.writestr(f"{name}.jpg", renderer.encode(pixels, "jpg", 92))
            row = {"id": name, "group": group, "source": source, "reference": reference}
            row |= {"attributes": record["attributes"], "params": np.round(z, 4).tolist()}
            print(json.dumps(row), file=records)


def main() -> None:
    """Read the arguments, render with several processes, join their records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renderer", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_468)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    common = (arguments.workers, arguments.count, arguments.renderer, arguments.data, arguments.output)
    processes = [multiprocessing.Process(target=render, args=(worker, *common)) for worker in range(arguments.workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a renderer failed with exit code {process.exitcode}: see its message above")
    rows = [row for file in arguments.output.glob("edits-*.jsonl") for row in read_records(file)]
    rows.sort(key=lambda row: row["id"])
    (arguments.output / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
