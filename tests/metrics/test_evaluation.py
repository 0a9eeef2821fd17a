"""A whole evaluation of a small model, against what its parts give one by one."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photo.scenes import backdrop, place

from stedit.batch.request import PhotoOptions
from stedit.editing.attributes import related
from stedit.engine import Engine
from stedit.errors import ImageError, MissingPartError, UsageError
from stedit.imaging.files import Pixels, fit_image, read_image, write_image
from stedit.imaging.sources import ImageReader, ImageRef
from stedit.metrics.distortion import l2
from stedit.metrics.evaluation import evaluate
from stedit.metrics.ground_truth import Pair
from stedit.metrics.identity import Identity, similarity
from stedit.metrics.inputs import EvaluationData
from stedit.metrics.results import Results, Settings
from stedit.models.attribute_network import Judge
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import BackboneConfig, JudgeConfig
from stedit.models.style_transformer import StyleTransformer
from stedit.photo.photograph import FaceSearch, Photo, crop_for, detector_for
from stedit.storage.labels import Label

COUNT = 7
FACES = Path(__file__).parents[1] / "data" / "faces"
EDITED = ("Smiling", "Blond_Hair", "No_Beard")


def seeing_judge() -> Judge:
    """A judge of 32 px that sees red, green, blue, all together, and their lack, where they are above the middle.

    Its only convolution passes the middle pixel of every other one on, its head takes the mean.
    """
    network = Judge(JudgeConfig(attributes=5, widths=(3,), input_height=32, input_width=32))
    state = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    state["stem.0.weight"][range(3), range(3), 2, 2] = 1
    state["stem.1.weight"] += 1
    state["stem.1.bias"] += 1  # from [-1, 1] to [0, 2], which the ReLU lets pass
    state["stem.1.running_var"] += 1
    weights = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [-1, -1, -1]])
    state["head.weight"] += weights.repeat_interleave(16, dim=1) / 16
    state["head.bias"] -= weights.sum(dim=1)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    """The small model with the judge that sees colours; its edits and pictures vary more than at random weights."""
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    engine = Engine(engine.model.with_networks(judge=seeing_judge()))
    with torch.no_grad():
        torch.manual_seed(1)
        for name, parameter in engine.networks.generator.named_parameters():
            if "rgb" in name and parameter.ndim == 4:
                parameter.mul_(3)
        engine.networks.editors["editor"].output.weight.normal_(std=0.3)
    return engine


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[ImageRef]:
    """Plain pictures of several colours and sizes, with a little texture."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for i in range(COUNT):
        picture = draw.integers(0, 200, 3) + draw.integers(0, 56, (40 + i, 36, 3))
        write_image(folder / f"{i}.png", picture.astype(np.uint8))
    return [ImageRef(folder / f"{i}.png") for i in range(COUNT)]


def run(engine: Engine, entries: list[ImageRef], settings: Settings, **options: Any) -> Results:
    with ImageReader() as reader:
        return evaluate(engine, entries, settings, reader=reader, **options)


def comparable(results: Results) -> dict[str, Any]:
    """All but times and memory."""
    told = json.loads(json.dumps(results.to_json()))
    del told["peak_memory"]
    for row in (*told["reconstructions"], *told["edits"]):
        del row["seconds"]
    return dict(told)


def by_hand(engine: Engine, entries: list[ImageRef]) -> tuple[Pixels, Pixels, np.ndarray]:
    """Pictures of the output's size, their reconstructions, and their codes, one at a time."""
    pictures = [read_image(entry.path) for entry in entries]
    codes = np.concatenate([engine.invert(fit_image(picture, engine.input_size)) for picture in pictures])
    shown = np.stack([fit_image(picture, engine.output_size) for picture in pictures])
    return shown, engine.synthesise(codes), codes


def test_judge_of_the_tests_predicts_colours() -> None:
    colours = np.array([[255, 0, 0], [255, 200, 0], [0, 0, 0]], np.uint8)
    pictures = np.broadcast_to(colours[:, None, None], (3, 32, 32, 3)).copy()
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    assert (seeing_judge()(images) > 0).int().tolist() == [[1, 0, 0, 0, 1], [1, 1, 0, 1, 0], [0, 0, 0, 0, 1]]


def test_reconstruction_is_measured_over_all_pictures(engine: Engine, entries: list[ImageRef]) -> None:
    labels = {"0": Label({"Smiling": True}), "3": Label({"Smiling": False, "Bangs": True}), "none": Label({})}
    results = run(engine, entries, Settings(batch_size=3), labels=labels)
    shown, again, _ = by_hand(engine, entries)
    (row,) = results.reconstructions
    difference = (shown.astype(float) - again) / 255
    errors = np.square(difference).mean(axis=(1, 2, 3))
    assert (row.images, results.images, results.failed) == (COUNT, COUNT, 0)
    assert row.l2 == pytest.approx(errors.mean(), rel=1e-3)
    assert row.psnr == pytest.approx((-10 * np.log10(errors)).mean(), rel=1e-3)
    seen, seen_again = engine.predict_attributes(shown) > 0.5, engine.predict_attributes(again) > 0.5
    assert row.attribute_agreement == pytest.approx((seen == seen_again).mean())
    assert 0 < row.attribute_agreement < 1
    embeddings = engine.attribute_features(shown), engine.attribute_features(again)
    assert row.identity == pytest.approx(similarity(*embeddings).mean(), abs=1e-3)
    assert results.identity_measure == "judge embedding"
    told = [seen[0, 0], not seen[3, 0], seen[3, 2]]
    assert results.judge is not None
    assert (results.labelled, results.judge.label_agreement) == (2, pytest.approx(np.mean(told)))
    assert results.judge.by_attribute == {"Smiling": np.mean(told[:2]), "Bangs": told[2]}
    again_told = [seen_again[0, 0], not seen_again[3, 0], seen_again[3, 2]]
    assert row.label_agreement == pytest.approx(np.mean(again_told))
    assert row.fid is None
    assert row.judge_frechet is not None
    assert row.judge_frechet > 0
    assert row.seconds > 0


def test_label_edits_are_counted_both_ways(engine: Engine, entries: list[ImageRef]) -> None:
    results = run(engine, entries, Settings(attributes=EDITED, strengths=(1.0, 3.0), batch_size=4))
    _, again, codes = by_hand(engine, entries)
    before = engine.predict_attributes(again) > 0.5
    assert [(row.strength, row.attribute) for row in results.edits] == [(s, name) for s in (1, 3) for name in EDITED]
    changed = 0
    for row in results.edits:
        k = engine.attributes.index(row.attribute)
        ways = [-1 if has else 1 for has in before[:, k]]
        edited = [
            engine.edit_by_label(code[None], row.attribute, strength=way * row.strength)
            for code, way in zip(codes, ways, strict=True)
        ]
        after = engine.predict_attributes(engine.synthesise(np.concatenate(edited))) > 0.5
        others = [j for j, name in enumerate(engine.attributes) if name not in related(row.attribute)]
        lacking, having = ~before[:, k], before[:, k]
        assert (row.added_images, row.removed_images) == (lacking.sum(), having.sum())
        assert row.added == (pytest.approx(after[lacking, k].mean()) if lacking.any() else None)
        assert row.removed == (pytest.approx((~after[having, k]).mean()) if having.any() else None)
        assert row.success == pytest.approx((after[:, k] != before[:, k]).mean())
        assert row.side_effects == pytest.approx((after[:, others] != before[:, others]).mean())
        assert row.code_distance == pytest.approx(
            np.sqrt(np.square(np.concatenate(edited) - codes).mean(axis=(1, 2))).mean(), rel=1e-3
        )
        changed += int((after != before).sum())
    assert changed > 0  # something is counted at all


def test_references_are_chosen_by_the_seed_and_followed(engine: Engine, entries: list[ImageRef]) -> None:
    settings = Settings(attributes=("Smiling", "Eyeglasses"), references=True, batch_size=2, samples=COUNT)
    results = run(engine, entries, settings)
    rows = [row for row in results.edits if row.by == "reference"]
    samples = results.samples["encoder", "reference", 1.0]
    assert [(row.attribute, row.direction, row.images) for row in rows] == [
        ("Smiling", None, COUNT),
        ("Eyeglasses", None, COUNT),
    ]
    references = np.stack([sample.reference for sample in samples if sample.reference is not None])
    for sample in samples:
        assert sample.reference is not None
        assert not np.array_equal(sample.reference, sample.reconstruction)  # nobody is their own
    for row in rows:
        k = engine.attributes.index(row.attribute)
        wanted = engine.predict_attributes(references)[:, k] > 0.5
        after = (
            engine.predict_attributes(np.stack([sample.edits[row.attribute].image for sample in samples]))[:, k] > 0.5
        )
        assert [sample.edits[row.attribute].added for sample in samples] == wanted.tolist()
        assert row.success == pytest.approx((after == wanted).mean())
        assert row.success == pytest.approx(np.mean([sample.edits[row.attribute].success for sample in samples]))
    again = run(engine, entries, settings)
    assert comparable(again) == comparable(results)
    other = run(engine, entries, replace(settings, seed=1)).samples["encoder", "reference", 1.0]
    assert any(not np.array_equal(a.reference, b.reference) for a, b in zip(samples, other, strict=True))


def test_batches_change_nothing_but_rounding(engine: Engine, entries: list[ImageRef]) -> None:
    settings = Settings(attributes=("Smiling",), references=True)
    one, all_ = (comparable(run(engine, entries, replace(settings, batch_size=size))) for size in (1, 50))
    for key in ("success", "added_images", "removed_images", "side_effects"):
        assert [row[key] for row in one["edits"]] == [row[key] for row in all_["edits"]]
    for key in ("l2", "psnr", "identity", "attribute_agreement", "judge_frechet"):
        assert one["reconstructions"][0][key] == pytest.approx(all_["reconstructions"][0][key], rel=0.01)


def test_lpips_is_measured_with_the_given_network(engine: Engine, entries: list[ImageRef]) -> None:
    shown, again, _ = by_hand(engine, entries)
    results = run(
        engine, entries, Settings(batch_size=3), lpips=lambda a, b: np.abs(a / 255 - b / 255).max(axis=(1, 2, 3))
    )
    expected = np.abs(shown / 255 - again / 255).max(axis=(1, 2, 3)).mean()
    assert results.reconstructions[0].lpips == pytest.approx(expected, abs=0.01)
    assert run(engine, entries, Settings()).reconstructions[0].lpips is None


def test_pairs_are_edited_towards_each_other(engine: Engine, entries: list[ImageRef]) -> None:
    pairs = [Pair("0", "Smiling", entries[0], entries[1]), Pair("1", "Smiling", entries[2], entries[3])]
    twice = run(engine, [], Settings(batch_size=4), pairs=[pairs[0], pairs[0]]).ground_truth[0]
    assert twice.images == 4
    results = run(engine, [], Settings(batch_size=2), pairs=[*pairs, Pair("0", "Eyeglasses", entries[4], entries[5])])
    assert [(row.attribute, row.images) for row in results.ground_truth] == [("Smiling", 4), ("Eyeglasses", 2)]
    shown, again, codes = by_hand(engine, entries[:4])
    edited = np.concatenate([engine.edit_by_label(codes[[i]], "smile", strength=(1, -1)[i % 2]) for i in range(4)])
    edits, truth, best = engine.synthesise(edited), shown[[1, 0, 3, 2]], again[[1, 0, 3, 2]]

    def l2(pictures: Pixels) -> np.ndarray:
        return np.asarray(np.square((pictures.astype(float) - truth) / 255).mean(axis=(1, 2, 3)))

    row = results.ground_truth[0]
    assert (row.l2_before, row.l2_after, row.l2_best) == pytest.approx(
        (l2(again).mean(), l2(edits).mean(), l2(best).mean()), rel=1e-3
    )
    assert row.l2_closer == np.mean(l2(edits) < l2(again))
    embeddings = engine.attribute_features(truth)
    distance = 1 - similarity(engine.attribute_features(edits), embeddings)
    assert row.judge_after == pytest.approx(distance.mean(), rel=1e-2)
    assert row.judge_closer == np.mean(distance < 1 - similarity(engine.attribute_features(again), embeddings))
    assert results.reconstructions == results.edits == []


def test_unreadable_images_are_left_out(engine: Engine, entries: list[ImageRef], tmp_path: Path) -> None:
    (tmp_path / "junk.png").write_bytes(b"junk")
    bad = [ImageRef(tmp_path / "junk.png"), ImageRef(tmp_path / "nobody.png")]
    told: list[str] = []
    steps: list[None] = []

    def fail(name: str, error: ImageError) -> None:
        assert str(error)
        told.append(name)

    settings = Settings(attributes=("Smiling",), batch_size=2)
    mixed = [bad[0], *entries[:3], bad[1], *entries[3:]]
    pairs = [Pair("5", "Smiling", entries[0], bad[0])]
    results = run(engine, mixed, settings, pairs=pairs, failed=fail, advance=lambda: steps.append(None))
    assert told == [bad[0].name, bad[1].name, "the pair 5 of Smiling"]
    assert (results.images, results.failed, len(steps)) == (COUNT, 3, COUNT + 3)
    whole = run(engine, entries, settings)
    assert results.edits[0].success == whole.edits[0].success
    assert results.reconstructions[0].l2 == pytest.approx(whole.reconstructions[0].l2, rel=1e-3)


class _Told(Engine):
    """An engine that takes other methods and directions, and keeps which."""

    asked: list[Any]

    def invert(self, images: Any, **options: Any) -> Any:
        self.asked.append((images.shape[1:], options))
        return super().invert(images)

    def edit_by_label(self, codes: Any, attributes: Any, *, strength: float = 1.0, **options: Any) -> Any:
        self.asked.append(options)
        return super().edit_by_label(codes, attributes, strength=strength)


def test_methods_and_directions_are_compared(engine: Engine, entries: list[ImageRef]) -> None:
    told = _Told(engine.model)
    told.asked = []
    settings = Settings(
        methods=("encoder", "hybrid"), attributes=("Smiling",), directions=("preserving", "first-order")
    )
    results = run(told, entries[:1], settings)
    encoder, hybrid = results.reconstructions
    assert (encoder.method, encoder.min_psnr_gain, hybrid.method) == ("encoder", None, "hybrid")
    assert hybrid.min_psnr_gain == pytest.approx(hybrid.psnr - encoder.psnr)  # of one picture
    assert [(row.method, row.direction) for row in results.edits] == [
        (method, direction) for method in settings.methods for direction in settings.directions
    ]
    edits = [{"direction": name} for name in settings.directions]
    assert told.asked == [((32, 32, 3), {}), *edits, ((32, 32, 3), {"method": "hybrid"}), *edits]


def test_identity_uses_arcface_where_the_bundle_has_it(engine: Engine, entries: list[ImageRef]) -> None:
    config = BackboneConfig(stem_width=4, widths=(4, 4, 8, 8), blocks=(1, 1, 1, 1), reduction=2)
    network = IdentityNetwork(config).eval().requires_grad_(False)
    with_identity = Engine(engine.model.with_networks(identity=network))
    results = run(with_identity, entries[:2], Settings())
    shown, again, _ = by_hand(engine, entries[:2])
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1 for x in (shown, again)]
    expected = torch.stack([network.embed(network.crop(x)) for x in tensors]).prod(dim=0).sum(dim=1).mean()
    assert results.identity_measure == "ArcFace"
    assert results.reconstructions[0].identity == pytest.approx(float(expected), abs=1e-3)


def test_without_a_judge_only_distortion_is_measured(engine: Engine, entries: list[ImageRef]) -> None:
    blind = Engine(engine.model.with_networks(judge=None))
    assert Identity.of(blind) is None
    (row,) = run(blind, entries, Settings()).reconstructions
    assert row.l2 > 0
    assert (row.identity, row.attribute_agreement, row.label_agreement, row.judge_frechet) == (None, None, None, None)
    with pytest.raises(MissingPartError, match="has no judge to see edits"):
        run(blind, entries, Settings(attributes=("Smiling",)))


def test_references_of_one_image_are_refused(engine: Engine, entries: list[ImageRef]) -> None:
    with pytest.raises(UsageError, match="give two images at least"):
        run(engine, entries[:1], Settings(attributes=("Smiling",), references=True))


def test_probes_are_fitted_on_other_images(engine: Engine, entries: list[ImageRef], tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    others, labels = [], {}
    for i in range(120):
        kind = 1 + i % 2  # red or blue
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[:, :, (0, 2)[kind - 1]] = draw.integers(100, 255)
        write_image(tmp_path / f"other{i}.png", picture)
        others.append(ImageRef(tmp_path / f"other{i}.png"))
        labels[f"other{i}"] = Label({"Eyeglasses": True}, {"glasses_type": kind})
    labels |= {str(i): Label({"Eyeglasses": i > 0}, {"glasses_type": i % 3}) for i in range(COUNT)}
    settings = Settings(attributes=("Eyeglasses", "Smiling"), references=True)
    (row,) = run(engine, entries, settings, labels=labels, others=others).attribute_transfer
    assert (row.attribute, row.fine_attribute) == ("Eyeglasses", "glasses_type")
    assert 0 < row.images <= COUNT
    assert {round(share * row.images, 6) % 1 for share in (row.before, row.after, row.reference)} == {0}
    assert (
        run(engine, entries, settings, labels=labels, others=others[:50]).attribute_transfer == []
    )  # too few to learn from


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[ImageRef]:
    """A tilted face in a scene, two faces, nobody, and a crop."""
    folder = tmp_path_factory.mktemp("photographs")
    one, two, nobody = (backdrop(240, 320, seed=seed) for seed in (7, 8, 9))
    serious, smiling = read_image(FACES / "serious.jpg"), read_image(FACES / "smile.jpg")
    place(one, serious, (150, 120), 100, angle=-15)
    place(two, serious, (90, 120), 80)
    place(two, smiling, (230, 120), 70)
    images = {"a_one": one, "b_two": two, "c_nobody": nobody, "d_crop": smiling}
    for name, image in images.items():
        write_image(folder / f"{name}.png", image)
    return [ImageRef(folder / f"{name}.png") for name in images]


@pytest.fixture(scope="module")
def of_faces(engine: Engine) -> Engine:
    """The small model, if its images were aligned faces."""
    return Engine(replace(engine.model, bundle=replace(engine.bundle, alignment="ffhq")))


def test_faces_of_photographs_are_cropped_first(of_faces: Engine, photographs: list[ImageRef]) -> None:
    left_out: list[tuple[str, str]] = []
    steps: list[None] = []
    results = run(
        of_faces,
        photographs,
        Settings(batch_size=2),
        left_out=lambda name, error: left_out.append((name, str(error))),
        advance=lambda: steps.append(None),
    )
    assert (results.images, results.without_face, results.failed, len(steps)) == (3, 1, 0, 4)
    ((name, reason),) = left_out
    assert name == photographs[2].name
    assert "no face was found" in reason
    errors = []
    for image in (photographs[0], photographs[1], photographs[3]):
        photo = Photo.open(image.path)
        (quad,) = photo.find_quads(FaceSearch(), detector_for(of_faces.model))
        crop = crop_for(photo.pixels, quad, (32, 32))
        errors.append(l2(crop[None], of_faces.reconstruct(crop))[0])
    assert results.reconstructions[0].l2 == pytest.approx(np.mean(errors), rel=1e-3)
    whole = run(of_faces, photographs, Settings(), photo=PhotoOptions(align="never"))
    assert (whole.images, whole.without_face) == (4, 0)
    assert whole.reconstructions[0].l2 != pytest.approx(results.reconstructions[0].l2, rel=0.05)


def test_all_faces_are_measured_where_all_are_asked_for(of_faces: Engine, photographs: list[ImageRef]) -> None:
    settings = Settings(attributes=("Smiling",), references=True, batch_size=3, samples=10)
    steps: list[None] = []
    both = PhotoOptions(face="all")
    results = run(of_faces, photographs, settings, photo=both, advance=lambda: steps.append(None))
    assert (results.images, results.without_face, len(steps)) == (4, 1, 4)
    samples = results.samples["encoder", "reference", 1.0]
    assert len(samples) == 4
    for sample in samples:
        assert sample.reference is not None
        assert not np.array_equal(sample.reference, sample.reconstruction)  # nobody is their own
    second = run(of_faces, photographs, Settings(), photo=PhotoOptions(face=2))
    assert (second.images, second.without_face) == (2, 2)  # a crop is taken whole, whichever face is asked for
    pair = Pair("0", "Smiling", photographs[0], photographs[1])
    with pytest.raises(UsageError, match="choose the largest or a number"):
        run(of_faces, [], Settings(), pairs=[pair], photo=both)
    assert run(of_faces, [], Settings(), pairs=[pair]).ground_truth[0].images == 2
    nobody = Pair("1", "Smiling", photographs[0], photographs[2])
    assert run(of_faces, [], Settings(), pairs=[pair, nobody]).without_face == 1


def test_of_wider_images_the_frame_is_measured_and_never_its_padding(engine: Engine, entries: list[ImageRef]) -> None:
    torch.manual_seed(0)
    assert engine.networks.encoder is not None
    encoder = StyleTransformer(replace(engine.networks.encoder.config, input_height=16)).eval()
    wide = Engine(engine.model.with_networks(encoder=encoder))
    assert (wide.target_size, wide.output_size) == ((16, 32), (32, 32))
    settings = Settings(attributes=("Smiling",), references=True, samples=2)
    results = run(wide, entries, settings, pairs=[Pair("0", "Smiling", entries[0], entries[1])])
    shown = np.stack([fit_image(read_image(entry.path), (16, 32)) for entry in entries])
    again = wide.synthesise(wide.invert(shown))[:, 8:24]
    assert results.reconstructions[0].l2 == pytest.approx(l2(shown, again).mean(), rel=1e-3)
    sample = results.samples["encoder", "reference", 1.0][0]
    assert sample.reference is not None
    shapes = {
        image.shape for image in (sample.source, sample.reconstruction, sample.reference, sample.edits["Smiling"].image)
    }
    assert shapes == {(16, 32, 3)}
    assert results.ground_truth_samples["encoder", "auto", 1.0][0].edit.shape == (16, 32, 3)


def test_what_names_stand_for_is_found_once_and_limited(entries: list[ImageRef], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for entry in entries[:3]:
            file.write(entry.path, entry.path.name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.jsonl").write_text('{"id": "1", "attributes": {"Smiling": 1}}')
    records = [{"id": str(i), "identity": "x", "attribute": "Smiling", "value": i} for i in (0, 1)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, records)))
    folder = entries[0].path.parent
    with ImageReader() as reader:
        data = EvaluationData.find(
            [folder, entries[0].path, tmp_path / "set.zip", tmp_path / "empty"],
            reader,
            labels=tmp_path / "labels.jsonl",
            ground_truth=[tmp_path / "pairs.jsonl", tmp_path / "set.zip"],
            limit=2,
        )
    assert data.images == tuple(entries[:2])
    assert [image.name for image in data.others[COUNT - 2 :]] == [f"{tmp_path}/set.zip:{i}.png" for i in range(3)]
    assert data.labels["1"].attributes == {"Smiling": True}
    assert [(pair.without.id, pair.with_it.id) for pair in data.pairs] == [("0", "1")]
    assert data.found.empty == (tmp_path / "empty",)
