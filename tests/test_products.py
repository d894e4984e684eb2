"""Inner products with a few rows a query: against the product written out, with gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec.model import products
from recbole_hiersrec.model.products import listed_products


def written_out(queries: torch.Tensor, table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (queries.unsqueeze(1) * table[rows]).sum(-1)


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**31))
def test_values_and_gradients(n_queries: int, n_rows: int, width: int, n_table: int, seed: int) -> None:
    """A row may be listed several times by one query, and by none."""
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(n_queries, width, generator=generator)
    table = torch.randn(n_table, width, generator=generator)
    rows = torch.randint(0, n_table, (n_queries, n_rows), generator=generator)
    weight = torch.randn(n_queries, n_rows, generator=generator)
    found = []
    for product in (listed_products, written_out):
        given = queries.clone().requires_grad_(), table.clone().requires_grad_()
        scores = product(*given, rows)
        gradients = torch.autograd.grad(
            (scores * weight).sum(), given, allow_unused=True, materialize_grads=True
        )
        found.append((scores.detach(), *gradients))
    for ours, plain in zip(*found, strict=True):
        assert torch.allclose(ours, plain, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_is_listed(shape: tuple[int, int]) -> None:
    rows = torch.zeros(shape, dtype=torch.long)
    assert listed_products(torch.randn(shape[0], 4), torch.randn(6, 4), rows).shape == shape


@pytest.mark.parametrize("at_once", [1, 24, 1 << 20])
def test_blocks_are_put_together(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_AT_ONCE", at_once)
    torch.manual_seed(1)
    queries, table, rows = torch.randn(10, 4), torch.randn(6, 4), torch.randint(0, 6, (10, 3))
    assert torch.allclose(listed_products(queries, table, rows), written_out(queries, table, rows), atol=1e-6)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    table, rows = torch.randn(3, 2, requires_grad=True), torch.tensor([[0, 2]])
    listed_products(torch.randn(1, 2), table, rows).sum().backward()
    assert table.grad is not None
    assert table.grad[1].tolist() == [0.0, 0.0]


def test_float32_in_autocast() -> None:
    queries, table, rows = torch.randn(2, 8), torch.randn(3, 8), torch.tensor([[0, 2], [1, 1]])
    with torch.autocast("cpu", torch.bfloat16):
        scores = listed_products(queries, table, rows)
    assert scores.dtype == torch.float32
    assert torch.allclose(scores, written_out(queries, table, rows), atol=1e-6)
