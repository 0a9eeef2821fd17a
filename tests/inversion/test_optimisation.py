"""Descent on the code: it finds what can be found, keeps the best, stops in time, and treats each picture alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from stedit.engine import Engine
from stedit.errors import MissingPartError, UsageError
from stedit.imaging.files import Pixels
from stedit.inversion.objective import Objective
from stedit.inversion.optimisation import code_statistics, optimise_latents
from stedit.inversion.options import DEFAULT_WEIGHTS, InversionOptions, InversionProgress, parse_losses
from stedit.runtime.arrays import to_input
from stedit.runtime.networks import Networks

from .conftest import psnr

ONLY_L2 = {"l2": 1.0}


def optimise(engine: Engine, images: Pixels, **options: object) -> np.ndarray:
    return engine.invert(images, method="optimise", options=InversionOptions(losses=ONLY_L2, **options))  # type: ignore[arg-type]


def without_encoder(engine: Engine) -> Engine:
    return Engine(replace(engine.model, networks=Networks(engine.networks.generator)))


# What it finds


def test_optimise_without_encoder_recovers_renderings(tiny: Engine) -> None:
    alone = without_encoder(tiny)
    generator = tiny.networks.generator
    targets = tiny.synthesise(generator.style_mix([torch.randn(3, 16)]).detach()).clamp(-1, 1)
    mean = code_statistics(generator, None).mean
    at_start = (tiny.synthesise(mean[None]).clamp(-1, 1) - targets).square().mean(dim=(1, 2, 3))
    codes = alone.invert(targets, method="optimise", options=InversionOptions(steps=200, losses=ONLY_L2))
    error = (tiny.synthesise(codes).clamp(-1, 1) - targets).square().mean(dim=(1, 2, 3))
    assert (error < 0.2 * at_start).all()


def test_optimise_w_has_one_style_and_w_plus_fits_better(tiny: Engine, face_image: Pixels) -> None:
    codes = {space: optimise(tiny, face_image, steps=60, space=space) for space in ("w", "w+")}
    assert np.ptp(codes["w"], axis=1).max() == 0
    assert np.ptp(codes["w+"], axis=1).max() > 0.1
    target = to_input(face_image, (32, 32), "images")
    error = {
        space: float((tiny.synthesise(torch.from_numpy(code)) - target).square().mean())
        for space, code in codes.items()
    }
    assert error["w+"] < 0.95 * error["w"]


def test_code_statistics_mean_is_stored_or_the_encoders_or_sampled(tiny: Engine) -> None:
    generator, encoder = tiny.networks.generator, tiny.networks.encoder
    assert not generator.mapping.mean.any()  # type: ignore[union-attr,operator]
    drawn = code_statistics(generator, encoder)  # type: ignore[arg-type]
    w = generator.mapping(torch.randn(4000, 16))  # type: ignore[union-attr,operator]
    torch.testing.assert_close(drawn.mean[3], w.mean(dim=0), atol=0.05, rtol=0)
    assert drawn.w_std == pytest.approx(float((w - w.mean(dim=0)).norm(dim=1).square().mean().sqrt()), rel=0.05)
    encoder.mean.fill_(2)  # type: ignore[union-attr,operator]
    try:
        assert code_statistics(generator, encoder).mean.unique().tolist() == [2]  # type: ignore[arg-type]
        generator.mapping.mean.fill_(3)  # type: ignore[union-attr,operator]
        assert code_statistics(generator, encoder).mean.unique().tolist() == [3]  # type: ignore[arg-type]
    finally:
        encoder.mean.zero_()  # type: ignore[union-attr,operator]
        generator.mapping.mean.zero_()  # type: ignore[union-attr,operator]


def test_optimise_real_faces_reaches_psnr(embedded: Engine, faces: Pixels) -> None:
    mean = code_statistics(embedded.networks.generator, None).mean  # type: ignore[arg-type]
    at_start = psnr(faces[:1], embedded.synthesise(mean.numpy()))
    codes = embedded.invert(faces[:1], method="optimise", options=InversionOptions(steps=30))
    assert psnr(faces[:1], embedded.synthesise(codes))[0] > at_start[0] + 4


# Determinism


def test_optimise_same_seed_gives_the_same_bytes(tiny: Engine, pictures: Pixels) -> None:
    one, two = (optimise(tiny, pictures, steps=20, seed=1) for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert optimise(tiny, pictures, steps=20, seed=2).tobytes() != one.tobytes()


def test_invert_result_is_independent_of_the_batch(tiny: Engine, pictures: Pixels, face_image: Pixels) -> None:
    face = to_input(face_image, (32, 32), "images")
    known = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    options = InversionOptions(steps=20, losses=ONLY_L2, patience=3)  # so that pictures leave the batch
    for method in ("optimise", "hybrid"):
        together = tiny.invert(torch.cat([known, face]), method=method, options=options)  # type: ignore[call-overload]
        for i, image in enumerate(torch.cat([known, face])):
            alone = tiny.invert(image[None], method=method, options=options)  # type: ignore[call-overload]
            torch.testing.assert_close(together[i : i + 1], alone, atol=0.01, rtol=0)


def test_invert_arrays_and_tensors_agree(tiny: Engine, pictures: Pixels) -> None:
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    options = InversionOptions(steps=5)
    by_array = tiny.invert(pictures, method="hybrid", options=options)
    torch.testing.assert_close(
        torch.from_numpy(by_array), tiny.invert(tensor, method="hybrid", options=options), atol=1e-5, rtol=0
    )


# The loop


class Bowl:
    """In place of an objective: the squared distance of codes, which it takes for pictures, from a point."""

    weights = ONLY_L2

    def terms(self, codes: Tensor, kept: Tensor) -> dict[str, Tensor]:
        del kept
        error = (codes - 1).square().mean(dim=(1, 2))
        return {"l2": error, "mse": error.detach()}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        return terms["l2"]


def run(
    start: Tensor, *, steps: int, learning_rate: float = 0.1, **options: int
) -> tuple[Tensor, list[InversionProgress]]:
    told: list[InversionProgress] = []
    codes = optimise_latents(
        lambda w: w,
        Bowl(),  # type: ignore[arg-type]
        start,
        InversionOptions(**options),  # type: ignore[arg-type]
        steps=steps,
        learning_rate=learning_rate,
        on_step=told.append,
    )
    return codes, told


def test_optimise_latents_reaches_the_minimum() -> None:
    codes, told = run(torch.tensor([0.0, 3.0]).reshape(2, 1, 1).expand(2, 4, 3), steps=200)
    torch.testing.assert_close(codes, torch.ones(2, 4, 3), atol=0.03, rtol=0)
    assert [step.step for step in told] == list(range(1, len(told) + 1))
    for i in range(2):
        losses = [step.losses[i] for step in told]
        assert losses == sorted(losses, reverse=True)


def test_optimise_latents_done_images_stop_and_others_go_on() -> None:
    start = torch.tensor([1.0, 4.0]).reshape(2, 1, 1).expand(2, 4, 3)
    codes, told = run(start, steps=40, patience=7)
    assert told[-1].steps_taken == (7, 40)
    assert torch.equal(codes[0], torch.ones(4, 3))
    assert told[-1].losses[1] < 0.3 * told[0].losses[1]


def test_optimise_latents_stops_when_all_are_done() -> None:
    _, told = run(torch.ones(2, 4, 3), steps=1000, patience=5)
    assert told[-1].step == 5
    assert told[-1].steps_taken == (5, 5)


@pytest.mark.parametrize("learning_rate", [1.0, 100.0])
def test_optimise_latents_keeps_the_best_code_even_the_start(learning_rate: float) -> None:
    start = torch.full((1, 2, 3), 1.2)
    codes, told = run(start, steps=12, learning_rate=learning_rate)
    error = (codes - 1).square().mean()
    assert error == pytest.approx(told[-1].losses[0])
    assert error <= 0.2**2 + 1e-6
    if learning_rate == 100:
        assert torch.equal(codes, start)


def test_optimise_latents_nan_loss_leaves_the_start() -> None:
    codes, _ = run(torch.full((1, 2, 3), torch.nan), steps=30)
    assert codes.isnan().all()


def test_invert_leaves_no_gradient_on_the_generator(tiny: Engine, pictures: Pixels) -> None:
    before = {name: tensor.clone() for name, tensor in tiny.networks.generator.state_dict().items()}
    optimise(tiny, pictures, steps=2)
    for name, parameter in tiny.networks.generator.named_parameters():
        assert parameter.grad is None
        assert not parameter.requires_grad
        assert torch.equal(parameter, before[name])


# Refusals


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"steps": 0}, "0 steps are too few"),
        ({"space": "z"}, "no space 'z'"),
        ({"losses": {"ssim": 1.0}}, "no loss 'ssim'"),
        ({"losses": {"l2": -1.0}}, "has the weight -1"),
        ({"prior_weight": float("nan")}, "is nan"),
        ({"patience": 0}, "patience is 0"),
    ],
)
def test_inversion_options_out_of_bounds_raise(options: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        InversionOptions(**options)  # type: ignore[arg-type]


def test_invert_unknown_method_or_wrong_target_size_raises(tiny: Engine, pictures: Pixels) -> None:
    with pytest.raises(UsageError, match="no method 'magic': choose from encoder, optimise, hybrid, iterative"):
        tiny.invert(pictures, method="magic")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"\(3, 32, 32\), not \(3, 16, 16\)"):
        tiny.invert(torch.full((1, 3, 16, 16), -0.5), method="optimise")


def test_objective_loss_without_its_network_raises(tiny: Engine, pictures: Pixels) -> None:
    alone = without_encoder(tiny)
    for name, part in (("perceptual", "neither judge nor encoder"), ("identity", "no identity network")):
        with pytest.raises(MissingPartError, match=part):
            alone.invert(pictures, method="optimise", options=InversionOptions(losses={name: 1.0}))
    assert Objective(torch.zeros(1, 3, 32, 32), {}, alone.networks).weights == ONLY_L2


def test_hybrid_without_encoder_raises(tiny: Engine, pictures: Pixels) -> None:
    with pytest.raises(MissingPartError, match="has no encoder"):
        without_encoder(tiny).invert(pictures, method="hybrid")


def test_parse_losses_reads_names_and_weights() -> None:
    assert parse_losses("l2") == ONLY_L2
    assert parse_losses("l2, perceptual") == {name: DEFAULT_WEIGHTS[name] for name in ("l2", "perceptual")}
    assert parse_losses("l1=2,identity=0.5") == {"l1": 2, "identity": 0.5}


@pytest.mark.parametrize("text", ["", "ssim", "l2,l2", "l2=", "l2=x", "l2=0", "l2=-1", "l2=nan", "l2=inf", "l2;l1"])
def test_parse_losses_bad_text_raises(text: str) -> None:
    with pytest.raises(UsageError, match=r"^the losses "):
        parse_losses(text)
