"""Measure a model on photographs and renders of the test splits, by a judge that had no part in its training.

    python evaluation.py MODEL --judge JUDGE --photos PHOTOS --renders RENDERS --json figures.json
    python evaluation.py MODEL --judge JUDGE --photos PHOTOS --renders RENDERS --sample 60 --carried 30

JUDGE is a model that has one, or a .safetensors file of an attribute network, whose first outputs are --attributes.
Each folder holds test-*.zip and test.jsonl.gz. Prints tables in Markdown; `card.py` puts them into the card.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figure_tables import TOLD_APART, look_up, percent, tables
from measures import Crops, Edits, Mask, Measurer, Reconstructions, evenly, groups_of, parts_of, records_of
from torch import nn

from stedit import Engine
from stedit.errors import SteditError
from stedit.hub.find import find_bundle
from stedit.imaging.files import Pixels
from stedit.metrics.attribute_transfer import Probe
from stedit.metrics.frechet import Moments, frechet_distance
from stedit.storage.atomic import write_file
from stedit.storage.bundle import Bundle
from stedit.storage.labels import Label
from stedit.training.perceptual import load_attribute_network

EVALUATED = (
    "Smiling",
    "Mouth_Slightly_Open",
    "Eyeglasses",
    "No_Beard",
    "Mustache",
    "Bangs",
    "Black_Hair",
    "Blond_Hair",
    "Gray_Hair",
    "Wearing_Lipstick",
    "Wearing_Hat",
    "Young",
)
KIND_OF = {"Eyeglasses": "glasses", "No_Beard": "beard"} | dict.fromkeys(
    ("Black_Hair", "Blond_Hair", "Gray_Hair"), "hair_colour"
)
KINDS = {
    "glasses": ("none", "clear", "dark"),
    "beard": ("none", "stubble", "moustache", "goatee", "full"),
    "hair_colour": ("hidden", "black", "brown", "blond", "grey", "red", "coloured"),
}  # the first is none of it
PEOPLE_AGREE = {  # of 240 photographs that two people labelled
    "Eyeglasses": 1.0,
    "Wearing_Hat": 1.0,
    "Male": 0.996,
    "Young": 1.0,
    "Mustache": 0.983,
    "Blond_Hair": 0.979,
    "Wearing_Lipstick": 0.975,
    "Wavy_Hair": 0.97,
    "No_Beard": 0.958,
    "Bangs": 0.958,
    "Gray_Hair": 0.958,
    "Mouth_Slightly_Open": 0.949,
    "Black_Hair": 0.945,
    "Smiling": 0.928,
    "Brown_Hair": 0.911,
}
PAIR = ("london_neutral", "london_smile")  # sources that show the same people without and with a smile
BEHIND = 0.05  # of a share, below that of all photographs, from which on the card names a group
LEAST = 10  # images, or people, of such a group


def evaluate(
    measurer: Measurer,
    photos: Path,
    renders: Path | None,
    *,
    sample: int | None = None,
    carried: int | None = None,
    hybrid: int = 0,
) -> dict[str, Any]:
    """All figures, by group of photographs, and of renders; what was not measured is left out.

    Args:
        measurer: the model, and the judge.
        photos: folder of photographs.
        renders: folder of renders.
        sample: how many of each to take, spread over the split; None for all.
        carried: of how many photographs to carry over each edit by label; None for all that are taken.
        hybrid: how many photographs to invert by the hybrid method as well.
    """
    crops = Crops.open(photos, "test", evenly(records_of(photos, "test"), sample))
    report(f"{len(crops)} photographs")
    before = measurer.reconstruct(crops.images)
    attributes = [name for name in EVALUATED if name in measurer.names and name in measurer.engine.attributes]
    chosen = np.isin(np.arange(len(crops)), evenly(range(len(crops)), carried))
    edits: dict[str, dict[str, Edits]] = {"rendered": {}, "carried": {}, "reference": {}}
    kinds = {}
    probes = fit_probes(measurer, photos)
    for number, name in enumerate(attributes):
        report(name)
        edits["rendered"][name], edits["carried"][name] = measurer.edit_by_label(crops, before, name, chosen)
        edits["reference"][name], references, after = measurer.edit_by_reference(crops, before, name, number)
        if probe := probes.get(KIND_OF.get(name, "")):
            kinds[name] = kinds_follow(probe, KIND_OF[name], crops, references, before, after.features)
    groups = groups_of(crops)
    figures = {
        "model": measurer.engine.bundle.name,
        "parts": {name: parameters_of(network) for name, network in measurer.engine.networks.parts().items()},
        "seconds": seconds_of(measurer.engine, crops.images[:1]),
        "judge": judge_accuracy(measurer, crops, before),
        "groups": {name: summary(crops, before, edits, mask, measurer) for name, mask in groups.items() if mask.any()},
        "kinds": kinds,
    }
    if "Smiling" in attributes and (pairs := smile_pairs(measurer, photos, sample)):
        for name, found in pairs.items():
            figures["groups"].setdefault(name, {})["smile_pairs"] = found
    if hybrid:
        report(f"hybrid inversion of {hybrid}")
        some = evenly(range(len(crops)), hybrid)
        found = measurer.reconstruct(crops.images[some], method="hybrid")
        figures["hybrid"] = {"images": len(some), "psnr": mean(found.psnr), "ssim": mean(found.ssim)}
    if renders is not None:
        figures["groups"]["renders"], accuracy = of_renders(measurer, renders, attributes, sample)
        for name, row in figures["judge"].items():
            row |= {f"{whose}, renders": accuracy.get(name, {}).get(whose) for whose in ("measuring", "own")}
    figures["behind"] = behind(figures["groups"])
    return figures


def parameters_of(network: nn.Module) -> float:
    """In millions."""
    return sum(one.numel() for one in network.parameters()) / 1e6


def seconds_of(engine: Engine, crop: Pixels) -> float | None:
    """Processor seconds, at best, of inverting and editing one crop (1, S, S, 3); None if it cannot be edited."""
    if "Smiling" not in engine.attributes:
        return None
    taken = []
    for _ in range(5):
        start = time.process_time()
        engine.synthesise(engine.edit_by_label(engine.invert(crop), "Smiling"))
        taken.append(time.process_time() - start)
    return min(taken)


def report(text: str) -> None:
    """Say on the way what is being done."""
    print(text, file=sys.stderr, flush=True)


def of_renders(
    measurer: Measurer, folder: Path, attributes: Sequence[str], sample: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reconstruction and edits by label of renders, and how often judges are right about them."""
    crops = Crops.open(folder, "test", evenly(records_of(folder, "test"), sample))
    report(f"{len(crops)} renders")
    before, nobody = measurer.reconstruct(crops.images), np.zeros(len(crops), bool)
    edits = {"rendered": {name: measurer.edit_by_label(crops, before, name, nobody)[0] for name in attributes}}
    return summary(crops, before, edits, ~nobody, measurer), judge_accuracy(measurer, crops, before)


def summary(
    crops: Crops,
    before: Reconstructions,
    edits: Mapping[str, Mapping[str, Edits]],
    mask: Mask,
    measurer: Measurer,
) -> dict[str, Any]:
    """The figures of the crops of a group."""
    known = ~np.isnan(crops.labels(measurer.names)[mask])
    alike = before.seen.attributes[mask] == before.seen_in_crops.attributes[mask]
    figures: dict[str, Any] = {
        "images": int(mask.sum()),
        "reconstruction": {
            "psnr": mean(before.psnr[mask]),
            "ssim": mean(before.ssim[mask]),
            "agreement": mean(alike[known]),
            "frechet": frechet(before.seen_in_crops.summary[mask], before.seen.summary[mask]),
        },
    }
    for way, by_attribute in edits.items():
        rows = {name: shares(edit, mask) for name, edit in by_attribute.items()}
        whole = {key: mean([row[key] for row in rows.values()]) for key in ("shown", "side_effects")}
        figures[way] = {**rows, "mean": whole} if rows else {}
    return figures


def shares(edit: Edits, mask: Mask) -> dict[str, Any]:
    """In how many of those asked an edit shows, and what else changes in them."""
    asked = edit.asked & mask
    added, removed = asked & edit.wanted, asked & ~edit.wanted
    return {
        "added": mean(edit.shown[added]),
        "added_of": int(added.sum()),
        "removed": mean(edit.shown[removed]),
        "removed_of": int(removed.sum()),
        "shown": mean(edit.shown[asked]),
        "side_effects": mean(edit.side_effects[asked]),
    }


def mean(values: Any) -> float | None:
    """Of those that are known; None of nothing."""
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None


def frechet(first: Any, second: Any) -> float | None:
    """The Fréchet distance between two sets of features (M, F); None of a single one."""
    if len(first) < 2:
        return None
    moments = (Moments(), Moments())
    for one, features in zip(moments, (first, second), strict=True):
        one.add(features)
    return frechet_distance(*moments)


def judge_accuracy(measurer: Measurer, crops: Crops, before: Reconstructions) -> dict[str, Any]:
    """How often the judges predict the labels: the measuring one, the model's own, and a second person."""
    engine, names = measurer.engine, measurer.names
    predicted = {"measuring": dict(zip(names, before.seen_in_crops.attributes.T, strict=True))}
    if "judge" in engine.bundle.parts:
        own = np.concatenate([engine.predict_attributes(part) for part in parts_of(crops.images)]) > 0.5
        predicted["own"] = dict(zip(engine.attributes, own.T, strict=True))
    labels = dict(zip(names, crops.labels(names).T, strict=True))
    known = {name: ~np.isnan(values) for name, values in labels.items()}

    def right(whose: str, name: str) -> float | None:
        if name not in predicted.get(whose, {}):
            return None
        return mean(predicted[whose][name][known[name]] == labels[name][known[name]])

    return {
        name: {"measuring": right("measuring", name), "own": right("own", name), "people": PEOPLE_AGREE.get(name)}
        for name in names
        if known[name].any()
    }


def fit_probes(measurer: Measurer, photos: Path) -> dict[str, Probe]:
    """What tells kinds of glasses, beards and hair colours by the judge's features, learned from the train split."""
    if not (photos / "train.jsonl.gz").is_file():
        return {}
    crops = Crops.open(photos, "train", records_of(photos, "train"))
    report(f"kinds of {len(crops)} photographs of the train split")
    features = measurer.see(crops.images).features
    probes = {kind: Probe.fit(kind, features, as_labels(kind, crops)) for kind in KINDS}
    return {kind: probe for kind, probe in probes.items() if probe}


def as_labels(kind: str, crops: Crops) -> list[Label]:
    """The kinds of crops as numbers, which probes learn; 0 where there is none."""
    numbers = {name: number for number, name in enumerate(KINDS[kind])}
    return [Label({}, {kind: numbers.get(one or "", 0)}) for one in crops.kinds(kind)]


def kinds_follow(
    probe: Probe, kind: str, crops: Crops, references: Any, before: Reconstructions, after: Any
) -> dict[str, Any]:
    """In how many of those that differ from their reference its kind is seen; and in the references themselves."""
    labels = as_labels(kind, crops)
    number = np.array([label.details[kind] for label in labels])
    rows = np.flatnonzero((number[references] > 0) & (number[references] != number))
    if not len(rows):
        return {"of": 0, "follow": None, "reference": None}
    wanted = [labels[k] for k in references[rows]]
    return {
        "of": len(rows),
        "follow": mean(1 - probe.errors(after[rows], wanted)),
        "reference": mean(1 - probe.errors(before.seen.features[references[rows]], wanted)),
    }


def smile_pairs(measurer: Measurer, photos: Path, sample: int | None) -> dict[str, dict[str, Any]]:
    """By group: how many people are photographed without and with a smile, and for how many an edit comes nearer."""
    people: dict[str, dict[str, Any]] = {}
    for row in records_of(photos, "test"):
        people.setdefault(str(row.get("person")), {})[str(row.get("source"))] = row
    pairs = evenly([one for one in people.values() if {*PAIR} <= one.keys()], sample)
    if not pairs:
        return {}
    neutral, smiling = (Crops.open(photos, "test", [one[source] for one in pairs]) for source in PAIR)
    report(f"{len(neutral)} people without and with a smile")
    found = measurer.smile_pairs(neutral, smiling)
    return {
        group: {"people": int(mask.sum()), **{name: mean(nearer[mask]) for name, nearer in found.items()}}
        for group, mask in groups_of(neutral).items()
        if mask.any() and not group.startswith("source")
    }


def behind(groups: Mapping[str, Any]) -> list[str]:
    """Sentences that name each group of which a share is more than BEHIND lower than that of all photographs."""
    found = []
    for what, keys in (
        ("attributes seen alike", ("reconstruction", "agreement")),
        ("edits by label, rendered", ("rendered", "mean", "shown")),
        ("edits by label, carried over", ("carried", "mean", "shown")),
        ("edits by reference", ("reference", "mean", "shown")),
        ("smiles nearer to the true one", ("smile_pairs", "rendered, features")),
    ):
        whole = look_up(groups["photographs"], keys)
        for name in TOLD_APART:
            share = look_up(groups.get(name, {}), keys) if size_of(groups.get(name, {}), keys[0]) >= LEAST else None
            if whole is not None and share is not None and share < whole - BEHIND:
                found.append(f"{name}: {what} {percent(share)} (all {percent(whole)})")
    return found


def size_of(figures: Mapping[str, Any], what: str) -> int:
    """How many images, or people, figures are of."""
    return int(look_up(figures, ("smile_pairs", "people") if what == "smile_pairs" else ("images",)) or 0)


def find_measurer(model: str, judge: str, attributes: str | None, device: str) -> Measurer:
    """The model, and the judge that measures it, by what the command line says. Raises SteditError."""
    engine = Engine.from_pretrained(model, device=device)
    if attributes and "," in attributes:
        names: Sequence[str] = attributes.split(",")
    elif attributes or not judge.endswith(".safetensors"):
        names = [item.name for item in Bundle.load(find_bundle(attributes or judge)).attributes]
    else:
        names = engine.attributes
    return Measurer(engine, load_attribute_network(judge), names)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--judge", required=True, help="a model with a judge, or a .safetensors file")
    parser.add_argument("--attributes", help="a model, or names with commas: the judge's, in their order")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--renders", type=Path)
    parser.add_argument("--sample", type=int, help="images of each split, spread over it; all by default")
    parser.add_argument("--carried", type=int, help="photographs to which edits are carried over; by default the same")
    parser.add_argument("--hybrid", type=int, default=0, help="photographs to invert by the hybrid method too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    given = parser.parse_args(arguments)
    try:
        measurer = find_measurer(given.model, given.judge, given.attributes, given.device)
        figures = evaluate(
            measurer, given.photos, given.renders, sample=given.sample, carried=given.carried, hybrid=given.hybrid
        )
        if given.json:
            write_file(given.json, (json.dumps(figures, indent=1) + "\n").encode())
    except SteditError as error:
        raise SystemExit(f"error: {error}") from error
    print(*filter(None, tables(figures).values()), sep="\n\n", end="\n\n")
    print("\n".join(figures["behind"]))


if __name__ == "__main__":
    main()
