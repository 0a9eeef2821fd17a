"""The edit transformer. Published weights: test_parity.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stedit.models.config import EditorConfig
from stedit.models.edit_transformer import EditTransformer

PUBLISHED = EditorConfig(style_count=6, style_dim=16, heads=4, feedforward=32, doubly_normalised=False, residual=False)
VARIANTS = {
    "published": PUBLISHED,
    "doubly_normalised": replace(PUBLISHED, doubly_normalised=True),
    "residual": replace(PUBLISHED, residual=True, layers=2),
    "conditional": replace(PUBLISHED, attributes=3),
}
BY_LABEL = replace(PUBLISHED, attributes=3, labels=(2, 0), residual=True)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_batch_equals_singles_and_gradients_reach_everything(config: EditorConfig) -> None:
    editor = EditTransformer(config)
    if config.residual:
        torch.nn.init.normal_(editor.output.weight)
    codes = [torch.randn(3, 6, 16, requires_grad=True) for _ in range(2)]
    attribute = torch.tensor([2, 0, 1]) if config.attributes else None
    edited = editor(*codes, attribute)
    singles = [
        editor(source[None], reference[None], None if attribute is None else attribute[index : index + 1])
        for index, (source, reference) in enumerate(zip(*codes, strict=True))
    ]
    torch.testing.assert_close(edited, torch.cat(singles))
    (edited * torch.randn(3, 6, 16)).sum().backward()
    for name, parameter in [("source", codes[0]), ("reference", codes[1]), *editor.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_forward_residual_editor_starts_as_identity() -> None:
    editor = EditTransformer(VARIANTS["residual"])
    source = torch.randn(2, 6, 16)
    assert torch.equal(editor(source, torch.randn(2, 6, 16)), source)


def test_by_label_tokens_replace_the_reference() -> None:
    """With and without the attribute, each a row of its own for each label, in whatever order these are listed."""
    editor = EditTransformer(BY_LABEL)
    torch.nn.init.normal_(editor.output.weight)
    source, attribute = torch.randn(2, 6, 16), torch.tensor([0, 2])
    edited = editor.by_label(source, torch.tensor([True, False]), attribute)
    tokens = torch.stack([editor.label_tokens[1, 1], editor.label_tokens[0, 0]])
    torch.testing.assert_close(edited, editor(source, tokens[:, None].expand(-1, 6, -1), attribute))
    other = editor.by_label(source, torch.tensor([False, True]), attribute)
    assert (other - edited).abs().amax(dim=(1, 2)).min() > 1e-3
    edited.square().sum().backward()
    grad = editor.label_tokens.grad
    assert grad is not None
    assert (grad.abs().amax(dim=2) > 0).tolist() == [[True, False], [False, True]]


def test_by_label_unconditional_editor_has_one_edit() -> None:
    editor = EditTransformer(replace(BY_LABEL, attributes=0, labels=(0,)))
    torch.nn.init.normal_(editor.output.weight)
    source = torch.randn(3, 6, 16)
    given, taken = (editor.by_label(source, torch.full((3,), present)) for present in (True, False))
    assert (given - taken).abs().amax(dim=(1, 2)).min() > 1e-3


@pytest.mark.parametrize(("attributes", "labels"), [(3, (3,)), (3, (-1,)), (3, (1, 1)), (0, (1,))])
def test_config_labels_out_of_range_raise(attributes: int, labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="labels"):
        replace(PUBLISHED, attributes=attributes, labels=labels)


def test_forward_conditional_editor_without_attribute_raises() -> None:
    editor = EditTransformer(VARIANTS["conditional"])
    source, reference = torch.randn(2, 1, 6, 16)
    first, second = (editor(source, reference, torch.tensor([k])) for k in (0, 1))
    assert (first - second).abs().max() > 1e-3
    with pytest.raises(ValueError, match="index of the edited attribute"):
        editor(source, reference)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_attention_is_that_of_forward(config: EditorConfig) -> None:
    editor = EditTransformer(config).requires_grad_(False)
    source, reference = torch.randn(2, 3, 6, 16)
    attribute = torch.tensor([2, 0, 1]) if config.attributes else None
    weights = editor.attention(source, reference, attribute)
    assert weights.shape == (config.layers, 3, config.heads, 6, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    # the same as seen from outside: what the first layer's cross-attention gives is these shares of its values
    seen = []
    first = editor.layers[0].multihead_attn  # type: ignore[union-attr]
    first.register_forward_hook(lambda _module, inputs, output: seen.append((*inputs, output)))
    editor(source, reference, attribute)
    ((_, memory, output),) = seen
    values = torch.nn.functional.linear(memory, first.in_proj_weight[32:], first.in_proj_bias[32:])
    mixed = weights[0] @ values.view(3, 6, config.heads, -1).transpose(1, 2)
    torch.testing.assert_close(first.out_proj(mixed.transpose(1, 2).flatten(2)), output, atol=1e-5, rtol=1e-4)
