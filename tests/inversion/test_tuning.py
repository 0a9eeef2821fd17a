"""A tuned generator draws its picture better, through a small file that fits no other model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stedit.engine import Engine
from stedit.errors import LatentError, UsageError
from stedit.imaging.files import Pixels
from stedit.inversion.options import InversionProgress, TuningOptions
from stedit.storage.tunings import Tuning

from .conftest import psnr

ONLY_L2 = {"l2": 1.0}


@pytest.fixture(scope="module")
def codes(tiny: Engine) -> np.ndarray:
    torch.manual_seed(1)
    with torch.no_grad():
        return tiny.networks.generator.style_mix([torch.randn(3, 16)]).numpy()  # type: ignore[operator]


def test_tuning_file_improves_psnr_of_a_real_face(embedded: Engine, faces: Pixels, tmp_path: Path) -> None:
    code = embedded.invert(faces[:1])
    told: list[InversionProgress] = []
    options = TuningOptions(steps=15)
    (tuning,) = embedded.tune_generator(faces[:1], code, options=options, on_step=lambda _, step: told.append(step))
    tuning.save(tmp_path / "face.tuning.safetensors")
    assert (tmp_path / "face.tuning.safetensors").stat().st_size < 2**20
    again = Tuning.load(tmp_path / "face.tuning.safetensors")
    drawn = embedded.synthesise(code, tunings=[again])
    assert psnr(faces[:1], drawn)[0] > psnr(faces[:1], embedded.synthesise(code))[0] + 0.5
    assert psnr(faces[:1], drawn)[0] == pytest.approx(told[-1].psnr[0], abs=0.05)  # float16 loses next to nothing
    edits = [embedded.edit_by_label(code, name) for name in ("smile", "no-smile")]  # one of them changes the face
    assert max(np.abs(embedded.synthesise(one, tunings=[again]).astype(int) - drawn).mean() for one in edits) > 1


def test_synthesise_tunings_apply_to_their_own_code(tiny: Engine, pictures: Pixels, codes: np.ndarray) -> None:
    tunings = tiny.tune_generator(pictures, codes, options=TuningOptions(steps=40, rank=2, losses=ONLY_L2))
    plain, tuned = tiny.synthesise(codes), tiny.synthesise(codes, tunings=tunings)
    assert (psnr(pictures, tuned) > psnr(pictures, plain) + 0.5).all()
    mixed = tiny.synthesise(codes, tunings=[None, tunings[1], None])
    assert np.abs(mixed[[0, 2]].astype(int) - plain[[0, 2]]).max() <= 1
    assert np.array_equal(mixed[1], tuned[1])
    assert np.array_equal(tiny.synthesise(codes), plain), "the engine's own generator is as it was"
    alone = tiny.tune_generator(pictures[1:2], codes[1:2], options=TuningOptions(steps=40, rank=2, losses=ONLY_L2))
    assert alone[0].encode() == tunings[1].encode()


def test_tuning_rank_bounds_the_file_size(tiny: Engine, pictures: Pixels, codes: np.ndarray) -> None:
    (tuning,) = tiny.tune_generator(pictures[:1], codes[:1], options=TuningOptions(steps=1, rank=3))
    weights = dict(tiny.networks.generator.named_parameters())
    assert len(tuning.factors) == 7  # the 3x3 convolutions of 4 blocks
    for name, (up, down) in tuning.factors.items():
        assert (up.shape, down.shape) == ((weights[name].shape[0], 3), (3, weights[name][0].numel()))


def test_synthesise_tuned_uses_noise(tiny: Engine, pictures: Pixels, codes: np.ndarray) -> None:
    tunings = tiny.tune_generator(pictures[:1], codes[:1], options=TuningOptions(steps=1))
    for noise in ("none", "random"):
        assert tiny.synthesise(codes[:1], noise=noise, seed=1, tunings=tunings).shape == (1, 32, 32, 3)  # type: ignore[call-overload]


def test_synthesise_tuning_of_another_model_raises(tiny: Engine, codes: np.ndarray) -> None:
    half = np.zeros((8, 1), np.float16)
    foreign = Tuning({"blocks.0.layers.0.conv.weight": (half, half.T)}, "other", "0" * 16)
    with pytest.raises(LatentError, match=r"'other'.*'tiny-32'"):
        tiny.synthesise(codes[:1], tunings=[foreign])
    forged = replace(foreign, fingerprint=tiny.bundle.fingerprint)
    with pytest.raises(LatentError, match=r"does not fit the generator"):
        tiny.synthesise(codes[:1], tunings=[forged])


def test_synthesise_and_tune_counts_that_differ_raise(tiny: Engine, pictures: Pixels, codes: np.ndarray) -> None:
    with pytest.raises(UsageError, match="3 images and 2 codes"):
        tiny.tune_generator(pictures, codes[:2])
    (tuning,) = tiny.tune_generator(pictures[:1], codes[:1], options=TuningOptions(steps=1))
    with pytest.raises(UsageError, match="3 codes and 1 tunings"):
        tiny.synthesise(codes, tunings=[tuning])


@pytest.mark.parametrize("options", [{"steps": 0}, {"rank": 0}, {"rank": 65}, {"losses": {"ssim": 1.0}}])
def test_tuning_options_out_of_bounds_raise(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        TuningOptions(**options)  # type: ignore[arg-type]
