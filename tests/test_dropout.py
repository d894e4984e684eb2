"""Masks drawn from 16 random bits: as many zeros as asked for, independent, with an exact expectation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recbole_hiersrec.model.dropout import STEPS, Dropout
from recbole_hiersrec.model.encoder import SessionEncoder

N = 400_000


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_share_of_zeros_and_scale(p: float) -> None:
    torch.manual_seed(1)
    made = Dropout(p)(torch.ones(N))
    zeros = int((made == 0).sum())
    assert abs(zeros - N * p) < 5 * (N * p * (1 - p)) ** 0.5
    rounded = round(p * STEPS) / STEPS
    assert made.unique().tolist() == [0.0, pytest.approx(1 / (1 - rounded), rel=1e-6)]


def test_elements_of_one_draw_are_independent() -> None:
    """Four neighbours share 64 bits: the sixteen patterns of four are equally frequent, and those of eight."""
    torch.manual_seed(2)
    kept = (Dropout(0.5)(torch.ones(N)) > 0).long().view(-1, 4)
    patterns = (kept * torch.tensor([1, 2, 4, 8])).sum(1)
    for codes, size in ((patterns, 16), (patterns[:-1:2] * 16 + patterns[1::2], 256)):
        counts = torch.bincount(codes, minlength=size).double()
        expected = len(codes) / size
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert abs(chi_square - (size - 1)) < 5 * (2 * (size - 1)) ** 0.5


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 3, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_shape_and_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    made = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert (made.shape, made.dtype) == (torch.Size(shape), dtype)
    assert set(made.flatten().tolist()) <= {0.0, 2.0}


def test_gradients_go_where_values_went() -> None:
    values = torch.randn(1000, requires_grad=True)
    made = Dropout(0.3)(values)
    made.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad * values, made)


def test_nothing_is_dropped_outside_training_or_with_probability_0() -> None:
    values = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values)
    assert not Dropout(1.0)(values).any()


def test_a_seed_gives_one_mask() -> None:
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(Dropout(0.5)(torch.ones(1000)))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_every_dropout_of_the_encoder_is_this_one() -> None:
    """Input, attention's output, inside the feed-forward layers and after them."""
    encoder = SessionEncoder(
        hidden_size=8,
        max_length=4,
        n_layers=2,
        n_heads=1,
        inner_size=8,
        hidden_dropout=0.25,
        attn_dropout=0.1,
    )
    found = [module for module in encoder.modules() if isinstance(module, nn.Dropout)]
    assert [(type(module), module.p) for module in found] == [(Dropout, 0.25)] * 7
    assert [block.self_attn.dropout for block in encoder.blocks.layers] == [0.1, 0.1]
