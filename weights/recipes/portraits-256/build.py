"""Make portraits-256: render, train, put the parts into a bundle, measure it. `make weights` runs all of it.

    python build.py all      --photos PHOTOS --facekit facekit.npz --work WORK [--output weights/portraits-256]
    python build.py render   --facekit facekit.npz --work WORK        portraits and ground-truth edits of them
    python build.py train    --photos PHOTOS --work WORK              judge, perceptual networks, encoder and generator
    python build.py assemble --photos PHOTOS --work WORK              classifier, mapping network, editor, model
    python build.py evaluate --photos PHOTOS --work WORK              the tables of the model card

PHOTOS holds photographs (train-*.zip, train.jsonl.gz, test-*.zip, test.jsonl.gz), aligned and labelled. Renders lie in
WORK/small, WORK/data and WORK/edits. A step that was interrupted goes on when it is called again. Nothing of a test
split is read but by the last step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from calibration import calibrate, fit_transfer_weight, soft_labels
from card import write_card
from evaluation import evaluate as measure_model
from evaluation import find_measurer
from figure_tables import tables
from ground_truth_edits import ground_truth_edits
from grow import grow, grown_editor
from mapping_network import fit_mapping
from perceptual_network import train_network
from photograph_edits import photograph_edits
from reconstruction_limit import find_limit, reconstruction_errors, set_limit
from render_edits import render_edits
from renderer.head import FaceKitError
from renderer.pictures import Order, pair_orders, random_orders, render_orders, write_pictures
from safetensors.torch import save
from torch import Tensor

from stedit import Engine
from stedit.errors import BundleError, SteditError
from stedit.models.edit_transformer import EditTransformer
from stedit.storage.atomic import write_file, write_folder
from stedit.storage.bundle import Bundle
from stedit.storage.jsonl import read_records
from stedit.storage.labels import LabelTable
from stedit.training import checkpoint, loop
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.classifier.train import build as build_classifier
from stedit.training.config import TrainingConfig
from stedit.training.data.edits import GroundTruthEdits
from stedit.training.data.images import ImageSet
from stedit.training.data.latents import LatentSet, validation_mask
from stedit.training.editor.config import EditorFinetuneConfig, EditorTrainingConfig
from stedit.training.editor.finetune import build as build_editor_finetuning
from stedit.training.editor.train import build as build_editor
from stedit.training.generator.autoencoder import build as build_autoencoder
from stedit.training.generator.config import AutoencoderTrainingConfig
from stedit.training.judge.config import JudgeTrainingConfig
from stedit.training.judge.train import build as build_judge
from stedit.training.perceptual import load_attribute_network
from stedit.training.provenance import with_parts

HERE = Path(__file__).resolve().parent
NAME = "portraits-256"
TRAIN_SEED, TEST_SEED, PAIRS_SEED = 1, 2, 3  # of the rendered sets
PHOTOGRAPHS, RENDERS = 3, 2  # times that each is shown in a round
RELABELLED = 3  # one in so many renders is rendered from its code, for the classifier to learn what it looks like
PERCEPTUAL_NETWORKS = 1  # networks of the perceptual loss
SIZE, SMALL = 256, 128  # sides of rendered pictures, in pixels
NOT_BY_LABEL = {"Young"}  # lines of age are hardly seen, and the classifier's direction shows them better

HYBRID = 60  # photographs that are inverted by the hybrid method as well, of which each takes seconds

Config = TypeVar("Config", bound=TrainingConfig)


@dataclass(frozen=True)
class Paths:
    """Where things are, and the device that computes."""

    work: Path
    photos: Path
    device: str = "cpu"
    init_from: Path | None = None  # a model of SMALL px whose networks are the start
    configs: Path = HERE

    @property
    def small(self) -> Path:
        """Rendered portraits of SMALL px."""
        return self.work / "small"

    @property
    def data(self) -> Path:
        """The first of them at SIZE px."""
        return self.work / "data"

    @property
    def edits(self) -> Path:
        """Ground-truth edits of the portraits, at SMALL px, which is what the encoder reads."""
        return self.work / "edits"

    @property
    def perceptual_networks(self) -> list[Path]:
        """The networks of the perceptual loss."""
        return [self.work / f"perceptual-{number}.safetensors" for number in range(PERCEPTUAL_NETWORKS)]

    @property
    def calibration_network(self) -> Path:
        """A network like them that takes part in no training, to measure how far edits must go."""
        return self.work / "calibration.safetensors"

    @property
    def judge(self) -> Path:
        """A model of the judge alone, which measures edits and takes part in no training."""
        return self.work / "judge"

    @property
    def aligner(self) -> Path:
        """A model that has an aligner, which is trained apart; without it the model finds no faces."""
        return self.work / "aligner"

    @property
    def labels(self) -> Path:
        """Attributes of all pictures, and parameters of renders."""
        return self.work / "labels.jsonl"

    @property
    def ground_truth_edits(self) -> Path:
        """The table of ground-truth edits by names of pictures."""
        return self.work / "edits.jsonl"

    @property
    def codes(self) -> Path:
        """Codes of all pictures."""
        return self.work / "codes.safetensors"

    @property
    def edited_photographs(self) -> Path:
        """Codes of edited photographs, of which there are no pictures."""
        return self.work / "edited-photographs.safetensors"

    @property
    def photographs(self) -> list[Path]:
        """Zip files of photographs to learn from."""
        return sorted(self.photos.glob("train-*.zip"))

    @property
    def pictures(self) -> list[Path]:
        """Zip files of photographs, of small portraits, and of their edits."""
        return [*self.first_pictures, *sorted(self.edits.glob("edits-*.zip"))]

    @property
    def first_pictures(self) -> list[Path]:
        """Zip files of photographs and of small portraits."""
        return [*self.photographs, *sorted(self.small.glob("train-*.zip"))]

    def repeat(self, sources: Sequence[Path]) -> tuple[int, ...]:
        """How often the pictures of each source count."""
        return tuple(PHOTOGRAPHS if source in self.photographs else RENDERS for source in sources)

    def config(self, name: str, config_type: type[Config], **keys: object) -> Config:
        """The config of a training, with what depends on the place."""
        if "cache_images" in config_type.__dataclass_fields__:
            keys = {"cache_images": True, **keys}
        config = config_type.read(self.configs / f"{name}.toml", {"device": self.device, **keys})
        return replace(config, deterministic=self.device == "cpu")

    def pictured(self, sources: Sequence[Path]) -> dict[str, object]:
        """The keys of a training on pictures."""
        return {"data": tuple(map(str, sources)), "repeat": self.repeat(sources)}


@dataclass(frozen=True)
class Counts:
    """How many pictures are rendered."""

    small: int = 16_000
    train: int = 4000
    test: int = 1000
    pairs: int = 24  # identities
    edits: int = 20_000


class PrintMonitor:
    """Prints how a training goes on."""

    def __init__(self, name: str) -> None:
        self._name = name

    def advance(self, step: int, steps: int, seconds_left: float, metrics: Mapping[str, float] | None) -> None:
        """Print a line of the metrics."""
        if metrics:
            figures = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            print(f"{self._name}: step {step}/{steps}, {seconds_left / 60:.0f} min left: {figures}", flush=True)

    def note(self, text: str) -> None:
        """Print a sentence."""
        print(f"{self._name}: {text}", flush=True)


def render(facekit: Path, paths: Paths, counts: Counts, workers: int) -> None:
    """Render what is not there yet."""

    def made(orders: Iterable[Order], size: int) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
        return render_orders(orders, facekit, size=size, workers=workers)

    if not paths.data.exists():
        with write_folder(paths.data) as folder:
            write_pictures(made(random_orders("train", TRAIN_SEED, range(counts.train)), SIZE), folder, "train")
    if not paths.small.exists():
        with write_folder(paths.small) as folder:
            write_pictures(made(random_orders("train", TRAIN_SEED, range(counts.small)), SMALL), folder, "train")
            write_pictures(made(random_orders("test", TEST_SEED, range(counts.test)), SMALL), folder, "test")
            write_pictures(made(pair_orders("pairs", PAIRS_SEED, range(counts.pairs)), SMALL), folder, "pairs")
    if not paths.edits.exists():
        with write_folder(paths.edits) as folder:
            render_edits(facekit, paths.small, folder, count=counts.edits, size=SMALL, workers=workers)


def write_tables(paths: Paths) -> None:
    """Labels of all pictures, and ground-truth edits by names, from the records; of what is rendered by now."""
    photographs = list(read_records(paths.photos / "train.jsonl.gz"))
    small = list(read_records(paths.small / "train.jsonl.gz"))
    edits = [row for path in paths.edits.glob("edits.jsonl*") for row in read_records(path)]
    kept = ("id", "attributes", "params")
    labels = [{key: row[key] for key in kept if key in row} for row in (*small, *photographs, *edits)]
    tables = [(paths.labels, labels)]
    if edits:
        tables.append((paths.ground_truth_edits, ground_truth_edits(small, edits)))
    for path, rows in tables:
        write_file(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def train(paths: Paths) -> None:
    """Train the judge, the networks that compare images and calibrate edits, then encoder and generator together."""
    train_judge(paths)
    for seed in range(PERCEPTUAL_NETWORKS + 1):
        train_perceptual_network(paths, seed)
    train_autoencoder(paths)


def train_judge(paths: Paths) -> None:
    """Train the network that measures edits."""
    write_tables(paths)
    config = paths.config(
        "judge", JudgeTrainingConfig, labels=str(paths.labels), **paths.pictured(paths.first_pictures)
    )
    run(build_judge, config, paths.work / "judge.run", paths.judge)


def train_perceptual_network(paths: Paths, seed: int) -> None:
    """Train one of the networks that compare pictures, or the one that measures how far edits must go."""
    output = [*paths.perceptual_networks, paths.calibration_network][seed]
    if not output.exists():
        keys = tomllib.loads((paths.configs / "perceptual_network.toml").read_text())
        sources = paths.first_pictures
        network = train_network(
            [str(path) for path in sources],
            paths.labels,
            **{**keys, "repeat": paths.repeat(sources)},
            seed=seed,
            device=paths.device,
        )
        write_file(output, save(network.state_dict()))


def train_autoencoder(paths: Paths) -> None:
    """Train encoder and generator together: at SMALL px, from `init_from` if there is one, then grown, at SIZE px."""
    write_tables(paths)
    common = {"judge": tuple(map(str, paths.perceptual_networks)), "labels": str(paths.labels)}
    config = paths.config(
        "generator",
        AutoencoderTrainingConfig,
        init_from=str(paths.init_from or ""),
        **common,
        **paths.pictured(paths.first_pictures),
    )
    small = run(build_autoencoder, config, paths.work / "generator.run", paths.work / "generator")
    grown = grow(small.path, paths.work / "grown")
    config = paths.config(
        "generator-256",
        AutoencoderTrainingConfig,
        init_from=str(grown.path),
        **common,
        **paths.pictured([*paths.photographs, *sorted(paths.data.glob("train-*.zip"))]),
    )
    run(build_autoencoder, config, paths.work / "generator-256.run", paths.work / "autoencoder")


def assemble(paths: Paths, output: Path) -> None:
    """Train what learns from codes, and save the bundle."""
    edited, codes = learn_edits(paths)
    ready = measure_edits(paths, edited, codes)
    same = paths.work / "ready.safetensors"
    codes.save(same, ready)
    config = paths.config(
        "editor-finetune",
        EditorFinetuneConfig,
        model=str(ready.path),
        codes=(str(same),),
        judge=tuple(map(str, paths.perceptual_networks)),
    )
    finetuned = run(build_editor_finetuning, config, paths.work / "editor-finetune.run", paths.work / "finetuned")
    finish(paths, finetuned, codes, output)


def learn_edits(paths: Paths) -> tuple[Bundle, LatentSet]:
    """The model with a classifier and an editor that have learned from codes alone, and the codes."""
    write_tables(paths)
    base, codes = _with_codes(paths)
    edit_photographs(paths, base, codes)
    config: TrainingConfig = paths.config(
        "classifier",
        ClassifierTrainingConfig,
        model=str(base.path),
        labels=str(paths.labels),
        codes=(str(paths.codes),),
    )
    classified = run(build_classifier, config, paths.work / "classifier.run", paths.work / "classifier")
    start = with_grown_editor(paths, classified)
    config = editor_config(paths, start)
    return run(build_editor, config, paths.work / "editor.run", paths.work / "editor"), codes


def edit_photographs(paths: Paths, base: Bundle, codes: LatentSet) -> None:
    """Write codes of edited photographs, and add their rows to the table of ground-truth edits."""
    records = {str(row["id"]): row for row in read_records(paths.photos / "train.jsonl.gz")}
    unedited = photographed(paths, codes)
    names, edited, rows = photograph_edits([records[name] for name in unedited.names], unedited.codes)
    LatentSet(names, edited).save(paths.edited_photographs, base)
    table = paths.ground_truth_edits.read_text() + "".join(json.dumps(row) + "\n" for row in rows)
    write_file(paths.ground_truth_edits, table.encode())


def editor_config(paths: Paths, model: Bundle) -> EditorTrainingConfig:
    """The config of the training of the model's editor, or of a new one, on all edits."""
    return paths.config(
        "editor",
        EditorTrainingConfig,
        model=str(model.path),
        codes=(str(paths.codes), str(paths.edited_photographs)),
        edits=str(paths.ground_truth_edits),
        finetune="editor" in model.parts,
    )


def with_grown_editor(paths: Paths, classified: Bundle) -> Bundle:
    """The model with the editor of `init_from`, grown, to learn from; without it, as it is.

    Raises BundleError if the attributes of both do not begin alike.
    """
    if paths.init_from is None:
        return classified
    former = Engine.from_pretrained(paths.init_from, device="cpu")
    names = [item.name for item in classified.attributes]
    if names[: len(former.attributes)] != list(former.attributes):
        raise BundleError(f"{paths.init_from} knows other attributes than the labels: train without it")
    editor = grown_editor(former.networks.editors["editor"], len(names))
    parts = {"editor": (editor.config, editor.state_dict())}
    return with_parts(classified, paths.work / "with-editor", parts, {}, overwrite=True)


def measure_edits(paths: Paths, edited: Bundle, codes: LatentSet) -> Bundle:
    """The model with its transfer weights, its classifier trained on soft labels, and its target logits."""
    engine = Engine.from_pretrained(edited.path, device=paths.device)
    known = without_labels(engine.networks.editors["editor"], engine.attributes, NOT_BY_LABEL)
    engine = Engine(engine.model.with_networks(editors={"editor": known}))
    config = editor_config(paths, edited)
    every = LatentSet.read(config.codes, engine)
    edits = GroundTruthEdits.read(config.edits, every.names, engine.attributes)
    _, unseen = edits.split(~validation_mask(len(every), config.val_fraction))  # from which it has not learned
    engine = fit_transfer_weight(engine, every.codes, unseen)
    parts = {"editor": (known.config, known.state_dict())}
    with_transfer = with_parts(
        edited, paths.work / "with-transfer", parts, {}, attributes=engine.bundle.attributes, overwrite=True
    )
    relabelled = relabel(paths, with_transfer, codes)
    engine = Engine.from_pretrained(relabelled.path, device=paths.device)
    specs = calibrate(engine, load_attribute_network(str(paths.calibration_network)), photographed(paths, codes).codes)
    return with_parts(relabelled, paths.work / "ready", {}, {}, attributes=tuple(specs), overwrite=True)


def finish(paths: Paths, finetuned: Bundle, codes: LatentSet, output: Path) -> None:
    """Calibrate again, since edits by label show more after their fine-tuning, and save the model with its judge."""
    engine = Engine.from_pretrained(finetuned.path, device=paths.device)
    specs = calibrate(engine, load_attribute_network(str(paths.calibration_network)), photographed(paths, codes).codes)
    for spec in specs:
        print(", ".join(f"{key} {value}" for key, value in asdict(spec).items()))
    judging = Bundle.load(paths.judge)
    if [item.name for item in judging.attributes] != [item.name for item in specs]:
        raise BundleError(f"the judge {paths.judge} knows other attributes than the classifier: train both anew")
    network = engine.networks.parts()
    aligner = {"aligner": Bundle.load(paths.aligner).stored_parts()["aligner"]} if paths.aligner.exists() else {}
    Bundle.save(
        output,
        name=NAME,
        domain=finetuned.domain,
        license=finetuned.license,
        description="Encoder, generator, classifier, editor and judge for photographs and renders of faces.",
        alignment="ffhq",
        training={
            "data": f"{len(codes)} pictures: photographs, rendered portraits and ground-truth edits of these",
            "recipe": f"weights/recipes/{NAME}",
            **finetuned.training,
            **judging.training,
        },
        attributes=specs,
        parts={
            **{
                name: (cast(Any, network[name]).config, network[name].state_dict())
                for name in ("generator", "encoder", "classifier", "editor")
            },
            "judge": judging.stored_parts()["judge"],
            **aligner,
        },
        readme=f"# {NAME}\n",  # until it is measured
        overwrite=True,
    )
    engine = Engine.from_pretrained(output, device=paths.device)
    kinds = [paths.photographs, sorted(paths.data.glob("train-*.zip"))]
    set_limit(output, find_limit([reconstruction_errors(engine, files) for files in kinds]))


def photographed(paths: Paths, codes: LatentSet) -> LatentSet:
    """The codes of photographs among them."""
    names = {str(row["id"]) for row in read_records(paths.photos / "train.jsonl.gz")}
    kept = [k for k, name in enumerate(codes.names) if name in names]
    return LatentSet(tuple(codes.names[k] for k in kept), codes.codes[kept])


def relabel(paths: Paths, model: Bundle, codes: LatentSet) -> Bundle:
    """The model with a classifier that has also learned what is predicted of the images rendered from codes."""
    engine = Engine.from_pretrained(model.path, device=paths.device)
    edits = {str(row["id"]) for path in paths.edits.glob("edits.jsonl*") for row in read_records(path)}
    kept = [k for k, name in enumerate(codes.names) if name not in edits]  # which are of the same people
    people = set(photographed(paths, codes).names)
    kept = [k for k in kept if codes.names[k] in people or k % RELABELLED == 0]
    portraits = LatentSet(tuple(codes.names[k] for k in kept), codes.codes[kept])
    portraits.save(paths.work / "portraits.safetensors", model)
    labels = torch.from_numpy(LabelTable.read(paths.labels).of(portraits.names, engine.attributes))
    soft = soft_labels(
        engine, [load_attribute_network(str(path)) for path in paths.perceptual_networks], portraits.codes, labels
    )
    soft_table = paths.work / "soft-labels.jsonl"
    with soft_table.open("w") as file:
        for name, row in zip(portraits.names, soft.tolist(), strict=True):
            file.write(json.dumps({"id": name, "attributes": dict(zip(engine.attributes, row, strict=True))}) + "\n")
    config = paths.config(
        "classifier",
        ClassifierTrainingConfig,
        model=str(model.path),
        labels=str(soft_table),
        codes=(str(paths.work / "portraits.safetensors"),),
    )
    return run(build_classifier, config, paths.work / "relabelled.run", paths.work / "relabelled")


def evaluate(paths: Paths, output: Path) -> None:
    """Measure the model by a judge that took no part in its training, print the figures, put them into the card."""
    measurer = find_measurer(str(output), str(paths.judge), None, paths.device)
    figures = measure_model(measurer, paths.photos, paths.small, hybrid=HYBRID)
    write_file(paths.work / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    write_card(output, figures)
    print(*filter(None, tables(figures).values()), sep="\n\n", flush=True)
    pairs = [item for path in sorted(paths.small.glob("pairs*")) for item in ("--ground-truth", str(path))]
    command = [sys.executable, "-m", "stedit", "evaluate", "--model", str(output), "--align", "never", *pairs]
    subprocess.run(command, check=True)  # noqa: S603 - our own command


def run(build: Callable[[Any], loop.Task], config: TrainingConfig, folder: Path, output: Path) -> Bundle:
    """Train what a config says, or go on with it, and save the model."""
    resume = bool(checkpoint.checkpoints(folder))
    task, outcome = loop.train(lambda: build(config), config, folder, resume=resume, monitor=PrintMonitor(folder.stem))
    if outcome.reason == "interrupted":
        raise SystemExit("interrupted: the same command goes on")
    return task.save(output, overwrite=True)


def without_labels(network: EditTransformer, attributes: Sequence[str], names: Collection[str]) -> EditTransformer:
    """An edit transformer that leaves edits by label of these attributes to the classifier's directions."""
    kept = [row for row, index in enumerate(network.config.labels) if attributes[index] not in names]
    state = network.state_dict()
    state["label_tokens"] = state["label_tokens"][kept]
    fewer = EditTransformer(replace(network.config, labels=tuple(network.config.labels[row] for row in kept)))
    fewer.load_state_dict(state)
    return fewer.eval().requires_grad_(False)


def _with_codes(paths: Paths) -> tuple[Bundle, LatentSet]:
    """The model with a mapping network, and codes of all pictures: those found before, if they are of this encoder."""
    trained = Bundle.load(paths.work / "autoencoder")
    if paths.codes.exists():
        base = Bundle.load(paths.work / "base")
        if base.parts["encoder"].sha256 == trained.parts["encoder"].sha256:
            found = LatentSet.read([str(paths.codes)], Engine.from_pretrained(base.path, device="cpu"))
            if len(found) == len(ImageSet.open(paths.pictures, 1)):
                return base, found
    engine = Engine.from_pretrained(trained.path, device=paths.device, precision="bfloat16")
    codes = LatentSet.read([str(path) for path in paths.pictures], engine)
    base = _with_mapping(trained, codes, paths)
    codes.save(paths.codes, base)
    return base, codes


def _with_mapping(base: Bundle, codes: LatentSet, paths: Paths) -> Bundle:
    """The model with a mapping network that gives codes as those of the pictures are distributed."""
    network = Engine.from_pretrained(base.path, device=paths.device).networks.generator
    network.mapping.requires_grad_(True)
    explained = fit_mapping(network.mapping, _sampler(codes.codes.mean(dim=1).to(paths.device)), steps=2000)
    print(f"mapping network: {explained:.2f} of the variance of w explained")
    parts = {"generator": (network.config, network.state_dict())}
    return with_parts(base, paths.work / "base", parts, {}, overwrite=True)


def _sampler(w: Tensor) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Pairs of z and w: z is w (M, D), whitened, so that random z give codes with the mean and covariance of these."""
    centred = w - w.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(w))
    scale = values.clamp_min(1e-6 * values.max()).rsqrt()
    white = centred @ vectors * scale

    def sample(count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(w), (count,), device=w.device)
        return white[index], w[index]

    return sample


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["all", "render", "train", "assemble", "evaluate"])
    parser.add_argument("--facekit", type=Path, default=Path("facekit.npz"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=Path, default=Path("photos"), help="labelled, aligned photographs")
    parser.add_argument("--init-from", type=Path, help="a model of 128 px whose networks are the start")
    parser.add_argument("--device", default="cpu", help="what trains: cpu, or cuda")
    parser.add_argument("--output", type=Path, default=Path("weights") / NAME)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that render")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    paths = Paths(given.work, given.photos, given.device, given.init_from)
    steps: dict[str, Callable[[], None]] = {
        "render": lambda: render(given.facekit, paths, Counts(), given.workers),
        "train": lambda: train(paths),
        "assemble": lambda: assemble(paths, given.output),
        "evaluate": lambda: evaluate(paths, given.output),
    }
    try:
        for name, step in steps.items():
            if given.step in (name, "all"):
                step()
    except (FaceKitError, SteditError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
