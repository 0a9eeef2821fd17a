"""Between the colours of a file, by its ICC profile, and sRGB; 8 bits a channel, both ways."""

from __future__ import annotations

import io
from functools import cached_property

import numpy as np
from PIL import Image, ImageCms

from stedit.imaging.samples import Pixels

MAX_PROFILE_BYTES = 2**24  # printers' profiles have 1 to 3 MB

# Colour space of an ICC profile -> modes that it can describe.
_PROFILE_MODES = {"RGB ": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",)}


class ColourSpace:
    """The colours of a file: those of its profile, or sRGB, its greys, and the plain complement for CMYK.

    `mode` is "L", "RGB" or "CMYK". A profile that cannot be used is ignored, and `unusable` says so.
    """

    def __init__(self, mode: str, profile: bytes | None) -> None:
        self.mode = mode
        self.unusable = False
        self._profile: ImageCms.ImageCmsProfile | None = None
        self._profile_mode = mode
        if not profile:
            return
        try:
            self._use(profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            self._profile, self.unusable = None, True

    def _use(self, profile: bytes) -> None:
        if len(profile) > MAX_PROFILE_BYTES:
            raise ValueError("too large")
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(opened).startswith("sRGB"):
            return  # converting would only add rounding errors
        space = opened.profile.xcolor_space
        if self.mode not in _PROFILE_MODES.get(space, ()):
            raise ValueError("of pictures of another mode")
        self._profile, self._profile_mode = opened, "RGB" if space == "RGB " else self.mode
        self._to_srgb  # noqa: B018 - whether it can be built is seen only now

    @property
    def is_srgb(self) -> bool:
        """Whether its numbers are those of the view."""
        return self.mode == "RGB" and self._profile is None

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """An image of this mode as sRGB."""
        if self._profile is None:
            return image if image.mode == "RGB" else image.convert("RGB")
        image = image if image.mode == self._profile_mode else image.convert(self._profile_mode)
        converted = ImageCms.applyTransform(image, self._to_srgb)
        assert converted is not None  # it is None only when converting in place
        return converted

    def from_srgb(self, pixels: Pixels, own: Pixels) -> Pixels:
        """Uint8 (H, W, 3) sRGB as this mode: (H, W), (H, W, 3) or (H, W, 4).

        `own` are pixels of that shape and mode in the same place. Ink can be mixed in many ways, so the black of the
        result is theirs where no profile says how, as far as the colour allows.
        """
        if self._profile is not None:
            image = Image.fromarray(pixels)
            converted = ImageCms.applyTransform(image, self._from_srgb)
            assert converted is not None
            return np.asarray(converted if converted.mode == self.mode else converted.convert(self.mode))
        if self.mode == "CMYK":
            return _with_black(pixels, own[..., 3])
        return pixels if self.mode == "RGB" else np.asarray(Image.fromarray(pixels).convert("L"))

    @cached_property
    def _to_srgb(self) -> ImageCms.ImageCmsTransform:
        assert self._profile is not None
        return ImageCms.buildTransform(self._profile, ImageCms.createProfile("sRGB"), self._profile_mode, "RGB")

    @cached_property
    def _from_srgb(self) -> ImageCms.ImageCmsTransform:
        assert self._profile is not None
        return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), self._profile, "RGB", self._profile_mode)


def _with_black(pixels: Pixels, black: Pixels) -> Pixels:
    """CMYK whose plain complement is `pixels`, with at most the `black` that is there."""
    light = np.maximum(255 - black.astype(np.float32), pixels.max(axis=2))
    inks = 255 * (1 - pixels / np.maximum(light, 1)[..., None])
    return np.dstack([np.round(np.clip(inks, 0, 255)), 255 - light]).astype(np.uint8)
