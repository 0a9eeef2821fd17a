"""The settings and results of an evaluation. Shares are in [0, 1]; None stands where nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from stedit.imaging.files import Pixels


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    methods: tuple[str, ...] = ("encoder",)
    """Of inversion."""
    attributes: tuple[str, ...] = ()
    """CelebA names of the attributes to edit."""
    directions: tuple[str, ...] = ("auto",)
    """Of label edits."""
    strengths: tuple[float, ...] = (1.0,)
    references: bool = False
    """Whether to edit by reference as well."""
    seed: int = 0
    """Of the choice of references."""
    batch_size: int = 8
    samples: int = 6
    """Images to keep for the report."""


@dataclass(frozen=True)
class ReconstructionResult:
    """How near the reconstructions are to their images: means over all of them."""

    method: str
    images: int
    l2: float
    psnr: float
    min_psnr_gain: float | None
    """In dB: the least gain of PSNR over the first method, of all images; None for the first."""
    ssim: float | None
    ms_ssim: float | None
    lpips: float | None
    identity: float | None
    """Cosine similarity of image and reconstruction, see `Identity`."""
    attribute_agreement: float | None
    """Share of attributes that the judge predicts alike for both."""
    label_agreement: float | None
    """Share of the labels that the judge confirms in the reconstruction."""
    fid: float | None
    judge_frechet: float | None
    """Fréchet distance over the judge's features, comparable with nothing but itself."""
    seconds: float
    """To invert and render one image."""


@dataclass(frozen=True)
class JudgeResult:
    """How often the judge confirms the labels of the images themselves."""

    images: int
    label_agreement: float
    by_attribute: Mapping[str, float]


@dataclass(frozen=True)
class EditResult:
    """What one edit did to all images."""

    by: Literal["label", "reference"]
    method: str
    direction: str | None
    """Of a label edit."""
    strength: float
    attribute: str
    images: int
    success: float | None
    """Share of images for which the target state is predicted: the opposite of before, or that of the reference."""
    added_images: int
    """Images without the attribute that were asked to have it."""
    added: float | None
    removed_images: int
    removed: float | None
    side_effects: float | None
    """Share of the unrelated attributes whose prediction changes, less what a related one that changed excludes."""
    identity: float | None
    """Cosine similarity of the edit and the unedited reconstruction, see `Identity`."""
    logit_drift: float | None
    """Mean absolute change of the latent classifier's logits of the unrelated attributes."""
    code_distance: float | None
    """Root mean square change of the numbers in the code."""
    seconds: float | None
    """To edit one code, without rendering."""


@dataclass(frozen=True)
class TransferResult:
    """Whether an edit by reference transfers a fine attribute, as a probe on the judge's features predicts it.

    Of glasses and beards the share of images with the reference's type. Of hair the distance in sRGB, each channel in
    [0, 1], from the predicted colour to the reference's true one.
    """

    method: str
    attribute: str
    fine_attribute: Literal["glasses_type", "beard_type", "hair_rgb"]
    images: int
    before: float
    """Of the source's reconstruction."""
    after: float
    """Of the edit."""
    reference: float
    """Of the reference's own reconstruction: as well as the probe can do."""


@dataclass(frozen=True)
class GroundTruthResult:
    """Whether edits come nearer to the true edited images than the unedited reconstructions are."""

    method: str
    direction: str
    strength: float
    attribute: str
    images: int
    l2_closer: float
    """Share of images."""
    l2_before: float
    l2_after: float
    l2_best: float
    """Of the true image's own reconstruction."""
    judge_closer: float
    """The same by the judge's embedding: 1 - cosine."""
    judge_before: float
    judge_after: float
    judge_best: float


@dataclass(frozen=True)
class SampleEdit:
    """An image of the report, and what it should show."""

    image: Pixels
    added: bool
    """Whether the attribute was to be predicted afterwards."""
    success: bool


@dataclass(frozen=True)
class Sample:
    """A row of images (R, R, 3) for the report."""

    source: Pixels
    reconstruction: Pixels
    reference: Pixels | None
    edits: dict[str, SampleEdit] = field(default_factory=dict)
    """By attribute."""


@dataclass(frozen=True)
class GroundTruthSample:
    """A pair's edit for the report, beside the true one."""

    attribute: str
    added: bool
    """Whether the true image has the attribute."""
    source: Pixels
    reconstruction: Pixels
    edit: Pixels
    truth: Pixels


Gallery = tuple[str, str, float]
"""MethodEvaluator, direction ("reference" of edits by reference) and strength of the edits in a row of samples."""


@dataclass
class Results:
    """All that was measured."""

    images: int = 0
    """Faces, or images that are taken whole."""
    failed: int = 0
    """Images, or pairs, that could not be read."""
    without_face: int = 0
    """Images, or pairs, in which no such face was found; they are left out."""
    labelled: int = 0
    identity_measure: str | None = None
    ms_ssim_scales: int | None = None
    peak_memory: int | None = None
    """Of the process, or of the GPU's memory where one computed, in bytes."""
    judge: JudgeResult | None = None
    reconstructions: list[ReconstructionResult] = field(default_factory=list)
    edits: list[EditResult] = field(default_factory=list)
    attribute_transfer: list[TransferResult] = field(default_factory=list)
    ground_truth: list[GroundTruthResult] = field(default_factory=list)
    samples: dict[Gallery, list[Sample]] = field(default_factory=dict)
    ground_truth_samples: dict[Gallery, list[GroundTruthSample]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All but the samples, ready for JSON."""
        left_out = ("samples", "ground_truth_samples")
        return {name: _plain(value) for name, value in vars(self).items() if name not in left_out}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [asdict(item) for item in value]
    return asdict(value) if isinstance(value, JudgeResult) else value
