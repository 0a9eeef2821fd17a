"""Requests: what contradicts itself, what a model cannot do, what outputs are called, and that requests travel."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from stedit.batch import (
    Classification,
    InversionRequest,
    LabelEdit,
    Mix,
    Reconstruction,
    ReferenceEdit,
    Rendering,
    Request,
)
from stedit.errors import AttributeNameError, UsageError
from stedit.inversion.options import InversionOptions, TuningOptions
from stedit.storage.bundle import Bundle

REQUESTS = [
    (InversionRequest("hybrid", InversionOptions(steps=3, losses={"l2": 1.0}), TuningOptions(steps=2)), ""),
    (Reconstruction(sheet=True, rendering=Rendering("random", 3)), "reconstruct.sheet"),
    (LabelEdit("Smiling"), "smile"),
    (LabelEdit(["smile", "no-glasses"], [0.5], keep="bangs"), "smile+no-glasses-keep-bangs@0.5"),
    (LabelEdit("smile", direction="first-order", layers=[6, 0, 1]), "smile-along-first-order-layers-0-1+6"),
    (LabelEdit(direction="sefa:3", strengths=[-2, 0, 2], sheet=True), "along-sefa-3@-2to2x3.sheet"),
    (ReferenceEdit("glasses", ["jane.png", Path("x/joe.latent.safetensors")]), "glasses-from-jane+joe"),
    (ReferenceEdit(["smile"], ["a.png", "b.png"], [3, 1], [2]), "smile-from-a+b-weights-75-25@2"),
    (Mix(Path("jane.png")), "mix-jane"),
    (Mix(Path("jane.png"), layers=[0, 1, 2]), "mix-jane-layers-0-2"),
    (Mix(Path("jane.png"), [0, 0.5, 1]), "mix-jane@0to1x3"),
    (Classification(), ""),
]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


@pytest.mark.parametrize(("request_", "suffix"), REQUESTS, ids=[repr(request) for request, _ in REQUESTS])
def test_suffix_names_what_was_asked_for(request_: Request, suffix: str, bundle: Bundle) -> None:
    assert request_.suffix(bundle) == suffix
    request_.check(bundle, request_.formats[0] if request_.formats else "")


@pytest.mark.parametrize("request_", [request for request, _ in REQUESTS], ids=repr)
def test_request_is_pickled_whole(request_: Request) -> None:
    assert pickle.loads(pickle.dumps(request_)) == request_


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: InversionRequest("encoder", InversionOptions(steps=3)), "steps"),
        (lambda: InversionRequest("encoder", InversionOptions(losses={"l1": 1.0})), "loss"),
        (lambda: InversionRequest("iterative", InversionOptions(space="w")), r"w\+ only"),
        (LabelEdit, "nothing is named to be edited"),
        (lambda: LabelEdit("smile", []), "strengths"),
        (lambda: LabelEdit("smile", [float("nan")]), "strengths"),
        (lambda: ReferenceEdit("smile", []), "no reference"),
        (lambda: ReferenceEdit((), ["a.png"]), "nothing is named to take"),
        (lambda: ReferenceEdit("smile", ["a.png"], [1, 2]), "1 weights above 0"),
        (lambda: ReferenceEdit("smile", ["a.png"], [0]), "weights above 0"),
    ],
)
def test_request_that_contradicts_itself_is_refused(make: type[Request], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make()


@pytest.mark.parametrize(
    ("request_", "file_format", "error"),
    [
        (LabelEdit("moustache"), "png", AttributeNameError),
        (LabelEdit("smile", keep="moustache"), "png", AttributeNameError),
        (LabelEdit("smile", layers=[8]), "png", UsageError),
        (LabelEdit("smile", layers=[]), "png", UsageError),
        (LabelEdit("smile", sheet=True), "latent", UsageError),
        (LabelEdit("smile", [1, 2]), "latent", UsageError),
        (ReferenceEdit("no-smile", ["a.png"]), "png", UsageError),
        (Mix(Path("a.png")), "gif", UsageError),
        (Mix(Path("a.png"), [0, 1]), "latent", UsageError),
        (Mix(Path("a.png"), layers=[-1]), "png", UsageError),
    ],
)
def test_what_model_or_format_cannot_do_is_refused(
    request_: Request, file_format: str, error: type[Exception], bundle: Bundle
) -> None:
    with pytest.raises(error):
        request_.check(bundle, file_format)
