"""Measure edits carried over to photographs: on renders, whose true edits are known, and on pairs of photographs.

    python carry.py renders --facekit facekit.npz --people 6
    python carry.py renders --facekit facekit.npz --people 6 --model-free
    python carry.py pairs --photos FOLDER

Renders of 512 px stand for photographs; the model sees them at its own size. `--model-free` takes the scene and its
true edit, shrunk, for the model's renderings: what is lost then is lost by carrying over alone. `pairs` wants a folder
of people/neutral.jpg and people/smile.jpg, faces aligned as FFHQ's. Needs the renderer's packages for renders.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stedit.engine import Engine
from stedit.photo.compositing import composite
from stedit.photo.transfer import estimate_change
from stedit.storage.embedded import DEFAULT_MODEL

Pixels = NDArray[np.uint8]
SIZE, SEED = 512, 4242
PLAIN: dict[str, int] = {
    **dict.fromkeys(("smile_on", "open_on", "glasses_on", "beard", "bangs_on", "lipstick_on"), 0),
    **dict.fromkeys(("hat_on", "old_on", "sun_on"), 0),
    "hair_color": 1,
}
SHOWN = {
    "smile": ("smile_on", 1),
    "mouth-open": ("open_on", 1),
    "glasses": ("glasses_on", 1),
    "beard": ("beard", 4),
    "bangs": ("bangs_on", 1),
    "black-hair": ("hair_color", 0),
    "blond-hair": ("hair_color", 2),
    "gray-hair": ("hair_color", 3),
    "lipstick": ("lipstick_on", 1),
    "hat": ("hat_on", 1),
    "no-young": ("old_on", 1),
}
UNDONE = {"no-" + name: name for name in ("smile", "mouth-open", "glasses", "beard", "bangs")} | {"young": "no-young"}


def scenes(facekit: Path, people: int) -> Iterator[tuple[dict[str, Pixels], NDArray[np.bool_]]]:
    """For each person the plain scene, "", and one with each of SHOWN, in one crop; and where the face is."""
    from renderer import portrait
    from renderer.parameters import CODES, INDEX, sample_parameters

    renderer = portrait.Renderer(facekit, SIZE)
    crop_around = portrait.crop_around
    for number in range(people):
        z = sample_parameters(SEED, number)
        hair = int(np.random.default_rng(number).integers(2, 5))
        for name, case in {**PLAIN, "hair_style": hair}.items():
            z[INDEX[name]] = CODES[name][case]
        crops: list[Any] = []

        def same_crop(points: Any, crops: list[Any] = crops) -> Any:
            crops.append(crops[0] if crops else crop_around(points))
            return crops[0]

        portrait.crop_around = same_crop  # a smile must not move the crop
        made: dict[str, Pixels] = {}
        made[""], record = renderer.render(z)
        for name, (parameter, case) in SHOWN.items():
            changed = z.copy()
            changed[INDEX[parameter]] = CODES[parameter][case]
            made[name], _ = renderer.render(changed)
        portrait.crop_around = crop_around
        yield made, face_of(np.array(record["landmarks"]))


def face_of(landmarks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The box (SIZE, SIZE) of 68 landmarks, with the forehead and some hair."""
    (left, top), (right, bottom) = landmarks.min(axis=0), landmarks.max(axis=0)
    height = bottom - top
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    across = (columns > left - 0.15 * height) & (columns < right + 0.15 * height)
    return across & (rows > top - 0.55 * height) & (rows < bottom + 0.1 * height)


def shrunk(picture: Pixels, size: int) -> Pixels:
    """(n, n, 3) -> (size, size, 3)."""
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def luma(picture: Pixels) -> NDArray[np.float32]:
    """(n, n, 3) -> (n, n), 0 to 255."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def psnr(a: Pixels, b: Pixels, where: NDArray[np.bool_]) -> float:
    """In dB."""
    error = ((a.astype(float) - b) ** 2)[where].mean()
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def ssim(a: Pixels, b: Pixels, where: NDArray[np.bool_]) -> float:
    """Of luma, in Gaussian windows of 1.5 pixels (Wang et al. 2004)."""
    x, y = luma(a), luma(b)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    values = (2 * mx * my + 6.5) * (2 * both + 58.5) / ((mx * mx + my * my + 6.5) * (vx + vy + 58.5))
    return float(values[where].mean())


def seam(photo: Pixels, result: Pixels, mask: NDArray[np.float32]) -> float:
    """The 95th percentile of steps of luma along the mask's border, over that of the source's on the same line."""
    border = (cv2.resize(mask, photo.shape[:2]) > 0) & (cv2.resize(mask, photo.shape[:2]) < 0.3)
    steps = (
        [np.quantile(np.hypot(*np.gradient(luma(x)))[border], 0.95) for x in (result, photo)] if border.any() else []
    )
    return float((steps[0] + 1) / (steps[1] + 1)) if steps else 1.0


def measure_renders(engine: Engine, facekit: Path, people: int, *, model_free: bool) -> None:
    """Print a row for each edit: source, the model's rendering pasted, and the carried edit, against the true one."""
    rows: dict[str, list[list[float]]] = {}
    size = engine.output_size[0]
    for made, face in scenes(facekit, people):
        for name in (*SHOWN, *UNDONE):
            photo, true = (made[UNDONE[name]], made[""]) if name in UNDONE else (made[""], made[name])
            if model_free:
                before, after = shrunk(photo, size), shrunk(true, size)
            else:
                code = engine.invert(photo)
                before, after = (engine.synthesise(w)[0] for w in (code, engine.edit_by_label(code, name)))
            change = estimate_change(photo, before, after)
            result = composite(photo, change)
            pasted = np.asarray(cv2.resize(after, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)
            seen = engine.attribute_features(np.stack([shrunk(x, size) for x in (true, photo, pasted, result)]))
            others = (photo, pasted, result)
            rows.setdefault(name, []).append(
                [psnr(x, true, face) for x in others]
                + [ssim(x, true, face) for x in others]
                + [float(np.linalg.norm(seen[0] - seen[k])) for k in (1, 2, 3)]
                + [seam(photo, result, change.mask)]
            )
    groups = [f"{what}: source | pasted | carried" for what in ("PSNR, dB", "SSIM", "judge")]
    print(f"| edit | {' | '.join(groups)} | seam |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    means = {name: np.mean(values, axis=0) for name, values in rows.items()}
    for name, row in {**means, "mean": np.mean(list(means.values()), axis=0)}.items():
        cells = [f"{x:.1f}" for x in row[:3]] + [f"{x:.3f}" for x in row[3:6]] + [f"{x:.1f}" for x in row[6:9]]
        print(f"| {name} | {' | '.join(cells)} | {row[9]:.2f} |")


def measure_pairs(engine: Engine, photos: Path) -> None:
    """Print the share of people whose carried smile is nearer to their true one than their neutral face is."""
    features, pixels = [], []
    size = engine.output_size[0]
    for neutral_file in sorted(photos.glob("*/neutral.jpg")):
        neutral, smile = (
            np.asarray(Image.open(neutral_file.with_name(name)).convert("RGB")) for name in ("neutral.jpg", "smile.jpg")
        )
        code = engine.invert(neutral)
        before, after = (engine.synthesise(w)[0] for w in (code, engine.edit_by_label(code, "smile")))
        result = composite(neutral, estimate_change(neutral, before, after))
        seen = engine.attribute_features(np.stack([shrunk(x, size) for x in (smile, neutral, result)]))
        features.append(np.linalg.norm(seen[0] - seen[2]) < np.linalg.norm(seen[0] - seen[1]))
        side = neutral.shape[0]
        mouth = np.s_[round(0.57 * side) : round(0.89 * side), round(0.34 * side) : round(0.66 * side)]
        low = [cv2.GaussianBlur(x.astype(np.float32), (0, 0), side / 64)[mouth] for x in (smile, neutral, result)]
        pixels.append(np.abs(low[0] - low[2]).mean() < np.abs(low[0] - low[1]).mean())
    shares = f"in the judge's features {np.mean(features):.1%}, around the mouth {np.mean(pixels):.1%}"
    print(f"{len(features)} people; nearer {shares}")


def main() -> None:
    """Read the arguments, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("renders", "pairs"))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--model-free", action="store_true", help="take the true edit, shrunk, for the model's")
    parser.add_argument("--photos", type=Path, help="folder of pairs")
    arguments = parser.parse_args()
    engine = Engine.from_pretrained(arguments.model)
    if arguments.what == "renders":
        measure_renders(engine, arguments.facekit, arguments.people, model_free=arguments.model_free)
    else:
        measure_pairs(engine, arguments.photos)


if __name__ == "__main__":
    main()
