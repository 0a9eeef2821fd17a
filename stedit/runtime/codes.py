"""Latent codes as a program holds them - arrays, tensors, `LatentCode`s - to what networks take, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stedit._version import __version__
from stedit.errors import UsageError
from stedit.imaging.files import Pixels, encode_image
from stedit.runtime.arrays import Latents, as_given, to_array
from stedit.runtime.framing import centre_crop
from stedit.runtime.model import Model
from stedit.runtime.synthesis import synthesise
from stedit.storage.latents import LatentCode

Codes = Latents | Tensor | LatentCode | Sequence[LatentCode]
OutputType = Literal["pil", "np", "pt"]
CodesT = TypeVar("CodesT", Latents, Tensor, LatentCode, list[LatentCode])


def is_code(given: object) -> bool:
    """Whether these are one or several `LatentCode`s."""
    return isinstance(given, LatentCode) or (
        isinstance(given, list | tuple) and bool(given) and all(isinstance(one, LatentCode) for one in given)
    )


def to_latents(model: Model, codes: Codes) -> Tensor:
    """Codes as float32 (B, N, D) on the model's device.

    Args:
        model: that the codes are of.
        codes: numbers (B, N, D) or (N, D); one or several LatentCodes.

    Raises:
        LatentError: a LatentCode is of another model.
        UsageError: no codes, of another shape, or not finite.
    """
    if is_code(codes):
        return torch.cat([_checked(model, one) for one in _as_list(cast("LatentCode | Sequence[LatentCode]", codes))])
    if isinstance(codes, np.ndarray) and codes.dtype.kind == "f":
        w = torch.from_numpy(np.require(codes, np.float32, ["C", "W"]))
    elif isinstance(codes, Tensor) and codes.is_floating_point():
        w = codes
    else:
        what = f"{codes.dtype} {tuple(codes.shape)}" if isinstance(codes, np.ndarray | Tensor) else type(codes).__name__
        raise UsageError(f"codes are float32 (B, N, D) or LatentCodes, and this is {what}: invert images first")
    w = (w[None] if w.ndim == 2 else w).to(model.device, torch.float32)
    if tuple(w.shape[1:]) != model.code_shape:
        raise UsageError(f"a code of this model is {model.code_shape}, not {tuple(w.shape[1:])}")
    if not torch.isfinite(w).all():
        raise UsageError("a code holds numbers that are not finite: look at what made it")
    return w


def as_codes(model: Model, w: Tensor, given: CodesT, method: str) -> CodesT:
    """Codes (B, N, D) made of those given, as what was given: `method` is what a LatentCode then says of itself."""
    if isinstance(given, np.ndarray | Tensor):
        return cast(CodesT, as_given(w, cast(Any, given)))
    before = _as_list(cast(Any, given))
    after = [_remade(model, code, one, method) for code, one in zip(before, w, strict=True)]
    same: Any = after[0] if isinstance(given, LatentCode) else after
    return cast(CodesT, same)


def require_pairs(count: int, others: int) -> None:
    """Raises UsageError unless `others` codes go with `count` of them: one, or as many."""
    if others not in (1, count):
        raise UsageError(f"there are {count} codes, and {others} to go with them: give one, or as many")


def edit_name(attributes: str | Sequence[str]) -> str:
    """What a LatentCode says of the edit that made it."""
    return f"edit {attributes if isinstance(attributes, str) else ' + '.join(attributes)}".rstrip()


def as_images(
    model: Model, images: Tensor, codes: Codes, output_type: OutputType | None = None
) -> Pixels | Tensor | Image.Image | list[Image.Image]:
    """Renderings (B, 3, R, R) of codes, as what the codes are, or as `output_type`: see `Engine.synthesise`."""
    given = "np" if isinstance(codes, np.ndarray) else "pt" if isinstance(codes, Tensor) else "pil"
    match output_type or given:
        case "np":
            return to_array(images)
        case "pt":
            return images.to(codes.device) if isinstance(codes, Tensor) else images
        case "pil":
            shown = [Image.fromarray(one) for one in to_array(centre_crop(images, model.target_size))]
            return shown[0] if isinstance(codes, LatentCode) else shown
    raise UsageError(f"there is no output type {output_type!r}: choose pil, np or pt")


def latent_code(model: Model, w: Tensor, *, method: str = "", source: str = "", crop: str = "") -> LatentCode:
    """A code (N, D) that can show itself. `method`, `source` and `crop` are fields of LatentCode."""
    bundle, numbers = model.bundle, cast(Latents, w.detach().cpu().numpy())
    return LatentCode(
        numbers, bundle.name, bundle.fingerprint, method, source, crop, renderer=partial(_render_png, model)
    )


def render(model: Model, code: LatentCode) -> Pixels:
    """What a code stands for, (H, W, 3) of the model's `target_size`."""
    pixels: Pixels = to_array(centre_crop(synthesise(model, to_latents(model, code)), model.target_size))[0]
    return pixels


def bound(model: Model, code: LatentCode) -> LatentCode:
    """A code, such as one from a file, that can show itself. Raises LatentError if it is of another model."""
    to_latents(model, code)
    return replace(code, renderer=partial(_render_png, model))


def _render_png(model: Model, code: LatentCode) -> bytes:
    return encode_image(render(model, code), "png")


def _as_list(codes: LatentCode | Sequence[LatentCode]) -> list[LatentCode]:
    return [codes] if isinstance(codes, LatentCode) else list(codes)


def _checked(model: Model, code: LatentCode) -> Tensor:
    name = f"the code of {code.source}" if code.source else "the code"
    bundle = model.bundle
    code.require(
        model=bundle.name,
        fingerprint=bundle.fingerprint,
        shape=model.code_shape,
        path=name,
        derived_from=bundle.derived_from,
    )
    return torch.from_numpy(np.require(code.w, np.float32, ["C", "W"]))[None].to(model.device)


def _remade(model: Model, code: LatentCode, w: Tensor, method: str) -> LatentCode:
    numbers = cast(Latents, w.detach().cpu().numpy())
    renderer = partial(_render_png, model)
    return replace(code, w=numbers, method=method, stedit_version=__version__, renderer=renderer)
