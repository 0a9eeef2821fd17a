"""Reference editing: several references, several attributes, editors of single attributes, and attention."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from stedit.editing.attributes import resolve_reference_attribute
from stedit.engine import Engine
from stedit.errors import AttributeNameError, BundleError, MissingPartError, UsageError
from stedit.models.config import EditorConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.runtime.arrays import Latents
from stedit.storage.bundle import Bundle

KNOWN = ("Smiling", "Eyeglasses", "No_Beard", "Young")


@pytest.fixture
def engine(tiny_bundle: Path) -> Engine:
    """The small model, with an editor that does something."""
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    engine.networks.editors["editor"].output.weight.normal_(std=0.1)
    return engine


@pytest.fixture
def codes() -> Latents:
    return np.random.default_rng(0).standard_normal((4, 8, 16)).astype(np.float32)


@pytest.fixture
def knowing(engine: Engine) -> Engine:
    """The small model, whose editor knows by label what its second and first attribute are: glasses and a smile."""
    editor = engine.networks.editors["editor"]
    config = dataclasses.replace(editor.config, labels=(1, 0))
    taught = EditTransformer(config).requires_grad_(False)
    taught.load_state_dict(editor.state_dict(), strict=False)
    return Engine(engine.model.with_networks(editors={"editor": taught}))


def with_logits(engine: Engine, **logits: float) -> Engine:
    """The same, whose attributes have other logits."""
    attributes = tuple(dataclasses.replace(spec, **logits) for spec in engine.bundle.attributes)
    return Engine(dataclasses.replace(engine.model, bundle=dataclasses.replace(engine.bundle, attributes=attributes)))


def logits_of(engine: Engine, codes: Latents) -> Latents:
    """(B, K) of codes (B, N, D)."""
    return cast(Latents, engine.networks.classifier(torch.from_numpy(codes)).numpy())


def test_transformer_edit_is_proportional_to_strength(knowing: Engine, codes: Latents) -> None:
    editor = knowing.networks.editors["editor"]
    index = knowing.attributes.index("Eyeglasses")
    change = {
        present: editor.by_label(torch.from_numpy(codes), torch.full((4,), present), torch.full((4,), index)).numpy()
        - codes
        for present in (True, False)
    }
    for name, strength, expected in (
        ("glasses", 1.0, change[True]),
        ("glasses", -2.0, 2.0 * change[False]),
        ("no-glasses", 1.0, change[False]),
        ("no-glasses", -0.5, 0.5 * change[True]),
        ("glasses", 0.0, 0 * codes),
    ):
        edited = knowing.edit_by_label(codes, name, strength=strength)
        given = (strength > 0) != name.startswith("no-")
        lacking = (knowing.classify(codes)[:, index, None, None] > 0.5) != given
        assert lacking.any()
        np.testing.assert_allclose(edited - codes, lacking * expected, atol=1e-5, err_msg=f"{name} {strength}")
        np.testing.assert_array_equal(
            knowing.edit_by_label(codes, name, strength=strength, direction="transformer"), edited
        )


def test_transformer_edits_in_sequence_hold_kept_attributes(knowing: Engine, codes: Latents) -> None:
    one = knowing.edit_by_label(codes, "glasses")
    both = knowing.edit_by_label(codes, ["glasses", "smile"])
    np.testing.assert_allclose(both, knowing.edit_by_label(one, "smile"), atol=1e-6)
    some = knowing.edit_by_label(codes, "glasses", layers=[2, 3])
    np.testing.assert_array_equal(some[:, [0, 1, 4, 5, 6, 7]], codes[:, [0, 1, 4, 5, 6, 7]])
    np.testing.assert_allclose(some[:, 2:4], one[:, 2:4], atol=1e-6)
    kept = knowing.edit_by_label(codes, "glasses", keep=["Smiling"])
    smile = knowing.attributes.index("Smiling")
    drift = [np.abs(knowing.classify(w) - knowing.classify(codes))[:, smile].max() for w in (one, kept)]
    assert drift[1] < 0.1 * drift[0]


def test_auto_without_learned_edit_is_preserving_and_transformer_raises(knowing: Engine, codes: Latents) -> None:
    assert knowing.has_learned_edit(["glasses", "no-smile"])
    assert not knowing.has_learned_edit(["glasses", "bangs"])
    for names in ("bangs", ["glasses", "bangs"]):
        preserving = knowing.edit_by_label(codes, names, direction="preserving")
        np.testing.assert_array_equal(knowing.edit_by_label(codes, names), preserving)
    with pytest.raises(MissingPartError, match="has learned no edit of Bangs by label: choose the direction auto"):
        knowing.edit_by_label(codes, "bangs", direction="transformer")


def test_edit_by_reference_several_references_average_their_changes(engine: Engine, codes: Latents) -> None:
    source, first, second = codes[:2], codes[2:3], codes[3:]
    answers = [engine.edit_by_reference(source, one, "glasses") for one in (first, second)]
    mixed = engine.edit_by_reference(source, [first, second], "glasses", weights=[7, 3])
    np.testing.assert_allclose(mixed, 0.7 * answers[0] + 0.3 * answers[1], atol=1e-5)
    even = engine.edit_by_reference(source, [first, second], "glasses", strength=0.5)
    np.testing.assert_allclose(even, (source + (answers[0] + answers[1]) / 2) / 2, atol=1e-5)
    np.testing.assert_allclose(engine.edit_by_reference(source, [first], "glasses"), answers[0], atol=1e-6)


@pytest.mark.parametrize("present", [True, False])
def test_transformer_edit_goes_on_to_the_target_logit(knowing: Engine, present: bool) -> None:
    index, asked, side = knowing.attributes.index("Eyeglasses"), "glasses" if present else "no-glasses", 2 * present - 1
    codes = np.random.default_rng(1).standard_normal((32, 8, 16)).astype(np.float32)
    once = knowing.edit_by_label(codes, asked)
    before, after = (side * logits_of(knowing, w) for w in (codes, once))
    lacking = before[:, index] <= 0
    goal = float(after[lacking, index].max()) / 2
    assert goal > 0
    sure = with_logits(knowing, learned_target_logit=goal)
    more = sure.edit_by_label(codes, asked)
    missed = lacking & (after[:, index] < goal)
    assert 4 < missed.sum() < lacking.sum() < 32
    np.testing.assert_array_equal(more[~missed], once[~missed])  # who has it, or was given enough of it
    further = side * logits_of(knowing, more)
    np.testing.assert_allclose(further[missed, index], goal, rtol=0.1)
    drift = np.abs(further - after)[missed]
    assert np.delete(drift, index, axis=1).mean() < 0.2 * drift[:, index].mean()
    for strength in (0.5, 2.0):
        part = sure.edit_by_label(codes, asked, strength=strength)
        np.testing.assert_allclose(part, codes + strength * (more - codes), atol=1e-5)
    opposite = sure.edit_by_label(codes, "no-glasses" if present else "glasses", strength=-1.0)
    np.testing.assert_allclose(opposite, more, atol=1e-5)


def test_push_to_logit_changes_related_attributes_alone(knowing: Engine) -> None:
    """It leaves other layers alone, and unrelated attributes that were edited before."""
    smile, glasses = (knowing.attributes.index(name) for name in ("Smiling", "Eyeglasses"))
    codes = np.random.default_rng(1).standard_normal((32, 8, 16)).astype(np.float32)
    sure = with_logits(knowing, learned_target_logit=0.5)
    lacking = logits_of(knowing, codes)[:, glasses] <= 0
    few = sure.edit_by_label(codes, "glasses", layers=[2, 3])
    np.testing.assert_array_equal(np.delete(few, [2, 3], axis=1), np.delete(codes, [2, 3], axis=1))
    np.testing.assert_allclose(logits_of(knowing, few)[lacking, glasses], 0.5, rtol=0.2)
    smiling, given = (sure.edit_by_label(codes, names) for names in ("smile", ["smile", "glasses"]))
    both = (logits_of(knowing, codes)[:, smile] <= 0) & (logits_of(knowing, smiling)[:, glasses] <= 0)
    assert both.sum() > 4
    np.testing.assert_allclose(logits_of(knowing, given)[both][:, [smile, glasses]], 0.5, rtol=0.2)


def test_push_to_logit_holds_attributes_edited_before(model: Engine) -> None:
    """On the embedded model: a goatee beside the moustache that is to be kept, or that was shaved before."""
    codes = model.sample_latents(24)
    goatee, moustache = (model.attributes.index(name) for name in ("Goatee", "Mustache"))
    before = logits_of(model, codes)
    lacking = before[:, goatee] <= 0
    kept = logits_of(model, model.edit_by_label(codes, "goatee", keep="mustache"))[lacking]
    goal = model.bundle.attributes[goatee].learned_target_logit
    assert np.median(kept[:, goatee]) > 0.75 * goal  # half of it, if holding came last
    assert np.abs(kept - before[lacking])[:, moustache].max() < 0.05
    shaved = logits_of(model, model.edit_by_label(codes, ["no-mustache", "goatee"]))
    assert (shaved[:, goatee] > 0).mean() > 0.9
    assert (shaved[:, moustache] < 0).mean() > 0.25  # in none, if it were not held


def test_edit_by_reference_goes_on_to_the_target_logit(knowing: Engine) -> None:
    index = knowing.attributes.index("Eyeglasses")
    codes = np.random.default_rng(1).standard_normal((32, 8, 16)).astype(np.float32)
    references = np.roll(codes, 1, axis=0)
    goal = 0.05  # of logits that are about 0.1
    sure = with_logits(knowing, reference_target_logit=goal)
    once, more = (one.edit_by_reference(codes, references, "glasses") for one in (knowing, sure))
    before, asked, after, further = (logits_of(knowing, w)[:, index] for w in (codes, references, once, more))
    side = np.where(asked > 0, 1, -1)
    missed = ((before > 0) != (asked > 0)) & (side * after < goal)
    assert 4 < missed.sum() < 28
    np.testing.assert_array_equal(more[~missed], once[~missed])  # from one pair to the other: as it was learned
    np.testing.assert_allclose((side * further)[missed], goal, rtol=0.1)
    other = sure.edit_by_reference(codes, references[:1], "glasses")
    both = sure.edit_by_reference(codes, [references, references[:1]], "glasses", weights=[0.7, 0.3])
    np.testing.assert_allclose(both, 0.7 * more + 0.3 * other, atol=1e-5)
    one = sure.edit_by_reference(codes[5:6], references[5:6], "glasses")
    np.testing.assert_allclose(one, more[5:6], atol=1e-5)
    blind = Engine(sure.model.with_networks(classifier=None)).edit_by_reference(codes[:1], codes[1:2], "glasses")
    np.testing.assert_array_equal(blind, knowing.edit_by_reference(codes[:1], codes[1:2], "glasses"))


def test_edit_by_reference_transfer_weight_carries_the_reference_trait(knowing: Engine, codes: Latents) -> None:
    """What taking the glasses off the reference changes is put on, and the source's own are taken off."""
    source, references = codes[:2], codes[2:]
    bare = [knowing.edit_by_label(one, "no-glasses") for one in (source, references)]
    carried = source + (references - bare[1]) - (source - bare[0])
    drawn = knowing.edit_by_reference(source, references, "glasses")
    for share in (0.25, 1.0):
        mixed = with_logits(knowing, transfer_weight=share).edit_by_reference(source, references, "glasses")
        np.testing.assert_allclose(mixed, (1 - share) * drawn + share * carried, atol=1e-5)
    several = [one[None] for one in references]
    mixed = with_logits(knowing, transfer_weight=1.0).edit_by_reference(source, several, "glasses", weights=[1, 3])
    mean = (references - bare[1])[0] / 4 + (references - bare[1])[1] * 0.75
    np.testing.assert_allclose(mixed, bare[0] + mean, atol=1e-5)
    # where no edit by label is learned, nothing is carried
    full = with_logits(knowing, transfer_weight=1.0)
    bangs = [one.edit_by_reference(source, references, "bangs") for one in (knowing, full)]
    np.testing.assert_array_equal(*bangs)


def test_edit_by_reference_several_attributes_go_in_sequence(engine: Engine, codes: Latents) -> None:
    one = engine.edit_by_reference(codes[:1], codes[1:2], "glasses")
    both = engine.edit_by_reference(codes[:1], codes[1:2], ["glasses", "smile"])
    np.testing.assert_allclose(both, engine.edit_by_reference(one, codes[1:2], "smile"), atol=1e-6)


def test_edit_by_reference_predicted_attribute_follows_the_reference(model: Engine, faces: Latents) -> None:
    """On the embedded model: somebody with glasses gives them, and the mean with somebody without gives some."""
    index = model.attributes.index("Eyeglasses")
    wearing = model.edit_by_label(faces[:1], "glasses")
    before, full, half = (
        np.asarray(model.networks.classifier(torch.from_numpy(codes)))[:, index]
        for codes in (
            faces[1:],
            model.edit_by_reference(faces[1:], wearing, "glasses"),
            model.edit_by_reference(faces[1:], [wearing, faces[:1]], "glasses"),
        )
    )
    assert (before < 0).all()
    assert (full > 0).all()
    assert ((before < half) & (half < full)).all()


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, float("nan")], [1, 2, 3]])
def test_edit_by_reference_bad_weights_raise(engine: Engine, codes: Latents, weights: list[float]) -> None:
    with pytest.raises(UsageError, match="weights"):
        engine.edit_by_reference(codes[:1], [codes[1:2], codes[2:3]], "glasses", weights=weights)


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("glasses", "Eyeglasses"),
        ("beard", "No_Beard"),
        ("No_Beard", "No_Beard"),
        ("old", "Young"),
        ("smile", "Smiling"),
    ],
)
def test_resolve_reference_attribute_takes_friendly_names(name: str, attribute: str) -> None:
    assert resolve_reference_attribute(name, KNOWN) == attribute


@pytest.mark.parametrize("name", ["no-glasses", "no-beard", "NO_smile", "no-no-beard"])
def test_resolve_reference_attribute_negation_raises(name: str, engine: Engine, codes: Latents) -> None:
    with pytest.raises(UsageError, match="contradicts a reference"):
        resolve_reference_attribute(name, KNOWN)
    with pytest.raises(UsageError, match="contradicts a reference"):
        engine.edit_by_reference(codes[:1], codes[1:2], "no-glasses")
    with pytest.raises(AttributeNameError):
        resolve_reference_attribute("no-such-thing", KNOWN)


def with_editors(tiny_bundle: Path, path: Path, names: list[str]) -> Bundle:
    """The small model with an unconditional editor for each of these parts."""
    whole = Bundle.load(tiny_bundle)
    config = dataclasses.replace(EditorConfig.from_dict(whole.parts["editor"].config), attributes=0)
    generator = GeneratorConfig.from_dict(whole.parts["generator"].config)
    parts: dict[str, tuple[GeneratorConfig | EditorConfig, dict[str, torch.Tensor]]] = {
        "generator": (generator, whole.read_part("generator"))
    }
    for name in names:
        editor = EditTransformer(config)
        torch.nn.init.normal_(editor.output.weight)
        parts[name] = (config, editor.state_dict())
    return Bundle.save(
        path,
        name="several",
        domain="noise",
        license="MIT",
        parts=parts,
        attributes=whole.attributes,
        readme="",
        dtype="float32",
        overwrite=True,
    )


def test_editor_of_one_attribute_serves_it_alone(tiny_bundle: Path, tmp_path: Path, codes: Latents) -> None:
    bundle = with_editors(tiny_bundle, tmp_path / "several", ["editor-Smiling", "editor-Eyeglasses"])
    with_editors(tiny_bundle, tmp_path / "several", ["editor-Smiling", "editor-Eyeglasses"])  # it may be replaced
    engine = Engine.from_pretrained(bundle.path, device="cpu")
    source, reference = codes[:1], codes[1:2]
    for name, attribute in (("smile", "Smiling"), ("glasses", "Eyeglasses")):
        editor = engine.networks.editors[f"editor-{attribute}"]
        with torch.no_grad():
            expected = editor(torch.from_numpy(source), torch.from_numpy(reference)).numpy()
        np.testing.assert_allclose(engine.edit_by_reference(source, reference, name), expected, atol=1e-6)
    with pytest.raises(MissingPartError, match="no editor for Bangs: it has those for Eyeglasses, Smiling"):
        engine.edit_by_reference(source, reference, "bangs")


def test_editor_of_an_unknown_attribute_raises(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="'editor-Winking' is for an attribute"):
        with_editors(tiny_bundle, tmp_path / "several", ["editor-Winking"])


def test_attention_rows_sum_to_one_by_attribute_and_reference(engine: Engine, codes: Latents) -> None:
    maps = engine.attention(codes[:1], [codes[1:2], codes[2:3]], ["glasses", "smile"])
    assert [len(row) for row in maps] == [2, 2]
    for weights in (one for row in maps for one in row):
        assert weights.shape == (1, 1, 2, 8, 8)  # layers, codes, heads, source styles, reference styles
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
        assert weights.min() >= 0
    assert not np.allclose(maps[0][0], maps[0][1])
