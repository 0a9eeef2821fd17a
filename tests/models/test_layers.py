"""Building blocks, against plain formulas and PyTorch's own attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.layers import Attention, EqualizedConv2d, EqualizedLinear, TransformerLayer, blur, upsample


def filtered(signal: Tensor, *, gain: float) -> Tensor:
    """(H, W) through the FIR [1,3,3,1] on both axes, with zeros around: full size, H + 3."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 8
    kernel = gain * taps[:, None] * taps
    height, width = signal.shape
    result = torch.zeros(height + 3, width + 3).double()
    for row in range(4):
        for column in range(4):
            result[row : row + height, column : column + width] += kernel[row, column] * signal
    return result


@pytest.mark.parametrize("pad", [1, 2])
def test_blur(pad: int) -> None:
    x = torch.randn(2, 3, 9, 7).double()
    result = blur(x, pad=pad, gain=2.0)
    crop = slice(3 - pad, pad - 3 or None)
    for sample in range(2):
        for channel in range(3):
            wanted = filtered(x[sample, channel], gain=2.0)[crop, crop]
            torch.testing.assert_close(result[sample, channel], wanted)


def test_upsample_is_zero_insertion_and_the_filter() -> None:
    x = torch.randn(1, 1, 5, 6).double()
    spread = torch.zeros(10, 12).double()
    spread[::2, ::2] = x[0, 0]
    torch.testing.assert_close(upsample(x)[0, 0], filtered(spread, gain=4.0)[1:-2, 1:-2])


def test_equalized_layers_scale_at_run_time() -> None:
    linear = EqualizedLinear(64, 8, bias=0.5, lr_multiplier=0.01)
    assert 80 < linear.weight.std() < 120  # 1 / lr_multiplier
    x = torch.randn(3, 64)
    torch.testing.assert_close(linear(x), x @ (linear.weight.T * 0.01 / 8) + 0.5)
    conv = EqualizedConv2d(4, 8, 3, stride=2, bias=False)
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight / 6, stride=2, padding=1))


def test_attention_equals_pytorch() -> None:
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    output, weights = theirs(query, memory, memory, average_attn_weights=False)
    torch.testing.assert_close(ours(query, memory), output)
    torch.testing.assert_close(ours.weights(query, memory), weights)


def test_layer_equals_pytorch() -> None:
    ours = TransformerLayer(16, 4, 32)
    theirs = nn.TransformerDecoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    torch.testing.assert_close(ours(query, memory), theirs(query, memory))


def test_shared_queries_are_expanded() -> None:
    layer = TransformerLayer(16, 4, 32)
    query, memory = torch.randn(1, 5, 16), torch.randn(3, 7, 16)
    torch.testing.assert_close(layer(query, memory), layer(query.expand(3, -1, -1), memory))


def doubly_normalised() -> Attention:
    """Scores are the products of query and key times 3: no projection hides what the normalisation does."""
    attention = Attention(4, 1, doubly_normalised=True).requires_grad_(False)
    attention.in_proj_weight.copy_(torch.cat([6.0 * torch.eye(4), torch.eye(4), torch.eye(4)]))
    attention.out_proj.weight.copy_(torch.eye(4))
    return attention


def test_doubly_normalised_rows_sum_to_one() -> None:
    attention = Attention(16, 4, doubly_normalised=True)
    weights = attention.weights(torch.randn(2, 5, 16), torch.randn(2, 7, 16))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, 5))


def test_queries_compete_for_keys() -> None:
    """Raising one query's score of a key takes that key from the others; plain attention leaves them alone."""
    attention = doubly_normalised()
    query, memory = torch.eye(4)[None], torch.eye(4)[None]
    stronger = query.clone()
    stronger[0, 0, 1] += 2.0  # query 0 wants key 1 as well
    before, after = attention.weights(query, memory)[0, 0], attention.weights(stronger, memory)[0, 0]
    assert after[1, 1] < 0.6 * before[1, 1]
    attention.doubly_normalised = False
    before, after = attention.weights(query, memory)[0, 0], attention.weights(stronger, memory)[0, 0]
    assert torch.equal(before[1:], after[1:])


def test_a_query_that_wins_no_key_sees_the_mean() -> None:
    attention = doubly_normalised()
    memory = torch.eye(4)[None, :3]
    query = torch.cat([torch.eye(4)[:3], torch.full((1, 4), -9.0)])[None]  # the last one's scores are low and level
    weights = attention.weights(query, memory)[0, 0]
    assert (weights[:3].argmax(dim=-1) == torch.arange(3)).all()
    assert (weights[:3].amax(dim=-1) > 0.8).all()
    torch.testing.assert_close(weights[3], torch.full((3,), 1 / 3))
    torch.testing.assert_close(attention(query, memory)[0, 3, :3], torch.full((3,), 1 / 3))


def test_rows_of_hopeless_scores_sum_to_one() -> None:
    attention = doubly_normalised()
    query = torch.tensor([[[1e3, 0.0, 0.0, 0.0], [-1e3, 0.0, 0.0, 0.0]]])
    weights = attention.weights(query, torch.eye(4)[None])
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(1, 1, 2))
