"""The aligner network: its size, what it gives, and where it says that things are."""

import pytest
import torch

from stedit.models.aligner import STRIDE, Aligner, cell_centres
from stedit.models.config import AlignerConfig


def test_it_is_small() -> None:
    tensors = Aligner(AlignerConfig()).state_dict().values()
    assert sum(2 * tensor.numel() for tensor in tensors) < 2**20


def test_it_gives_a_logit_and_seven_points_for_each_cell() -> None:
    network = Aligner(AlignerConfig(widths=(4, 4, 8, 8, 8))).eval()
    logits, shapes = network(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 8, 12)
    assert shapes.shape == (2, 8, 12, 7, 2)
    assert logits.sigmoid().max() < 0.2  # untrained, it sees no face


def test_points_are_counted_from_the_top_left_corner() -> None:
    network = Aligner(AlignerConfig(widths=(4, 4, 8, 8, 8))).eval()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    with torch.no_grad():
        network.head.bias[1 + 2 * 2] = 0.5  # x of the nose: half a cell to the right
        _, shapes = network(torch.rand(1, 3, 32, 64))
    assert shapes[0, 1, 2, 0].tolist() == [2.5 * STRIDE, 1.5 * STRIDE]
    assert shapes[0, 1, 2, 2].tolist() == [3.0 * STRIDE, 1.5 * STRIDE]
    assert cell_centres(4, 8, torch.device("cpu"))[1, 2].tolist() == [20.0, 12.0]


def test_what_it_says_moves_with_the_picture() -> None:
    torch.manual_seed(1)
    network = Aligner(AlignerConfig(widths=(4, 4, 8, 8, 8))).eval()
    picture = torch.zeros(1, 3, 384, 384)
    patch = torch.rand(1, 3, 32, 32)
    moved = picture.clone()
    picture[..., 160:192, 160:192] = patch
    moved[..., 160:192, 192:224] = patch
    with torch.no_grad():
        (logits, shapes), (other, there) = network(picture), network(moved)
    assert torch.allclose(logits[:, 18:26, 18:26], other[:, 18:26, 22:30], atol=1e-5)
    difference = there[:, 18:26, 22:30] - shapes[:, 18:26, 18:26]
    assert torch.allclose(difference, torch.tensor([32.0, 0.0]).expand_as(difference), atol=1e-3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"widths": [8, 8]}, "widths needs one entry"),
        ({"widths": [8, 8, 8, 8, 10**6]}, "widths is 1000000"),
        ({"smallest": 2}, "smallest is 2"),
        ({"smallest": 40, "largest": 60}, "largest is 60"),
        ({"stride": 4}, "unknown field 'stride'"),
    ],
)
def test_wrong_sizes_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AlignerConfig.from_dict(values)
