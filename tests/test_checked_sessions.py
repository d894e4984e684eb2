"""Sessions and items that cannot be are one clear error, whichever model is asked and however."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import torch
from test_scoring import ModelContract

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.names import INNER_PRODUCT, MODELS

WAYS = [
    *((name, f"model.{method}") for name in MODELS for method in ("predict", "full_sort_predict")),
    *((name, "model.encode") for name in sorted(INNER_PRODUCT)),
    ("HierSRec", "model.category_logits"),
    *((name, way) for name in ("SASRec", "GRU4Rec") for way in ("queries", "scores")),
    *((name, "scores") for name in ("CORE", "DIN")),
]
"""Models, and the methods of theirs or of their scorer that read sessions."""

WIDTH = 8
ROW = "session in row 2 of the batch"
WRONG = {
    "negative item": ([3, -1, 5], 3, f"{ROW}: received item id -1, allowed 0..10"),
    "unknown item": ([3, 11, 5], 3, f"{ROW}: received item id 11, allowed 0..10"),
    "unknown item after the end": ([3, 4, 11], 2, f"{ROW}: received item id 11, allowed 0..10"),
    "gap": ([3, 0, 5], 3, f"{ROW}: received item id 0 before the end of its 3 items, allowed 1..10"),
    "item after the end": (
        [3, 4, 5],
        2,
        f"{ROW}: received item id 5 after the end of its 2 items, allowed 0",
    ),
    "too few items": ([3, 5], 3, f"{ROW}: received item id 0 before the end of its 3 items, allowed 1..10"),
    "no items": ([0], 0, f"length of the {ROW}: received 0, allowed 1..8"),
    "negative length": ([3, 5], -2, f"length of the {ROW}: received -2, allowed 1..8"),
    "too long": ([3] * 8, 9, f"length of the {ROW}: received 9, allowed 1..8"),
}
"""The last row of a batch, its length, and the error."""


@cache
def scorer(name: str) -> Any:
    contract = ModelContract()
    contract.model = name
    return contract.make(contract.cases(), 3)


def ask(name: str, way: str, rows: Any) -> Any:
    """What the model or its scorer makes of the rows."""
    asked = scorer(name)
    for part in way.split("."):
        asked = getattr(asked, part)
    with torch.no_grad():
        return asked(rows)


def batch(name: str, session: list[int], length: int) -> Any:
    """Three rows; the last is that session."""
    rows = scorer(name).batch(torch.arange(3))
    rows["item_id_list"][2] = torch.tensor(session + [0] * (WIDTH - len(session)))
    rows["item_length"][2] = length
    return rows


@pytest.mark.parametrize(("name", "way"), WAYS)
@pytest.mark.parametrize("wrong", WRONG)
def test_sessions_out_of_range_are_refused(name: str, way: str, wrong: str) -> None:
    """One such session in a batch, in the last place; with -1 for an item another one would be read."""
    session, length, message = WRONG[wrong]
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        ask(name, way, batch(name, session, length))


@pytest.mark.parametrize(("name", "way"), WAYS)
@pytest.mark.parametrize(("session", "length"), [([10, 1, 10, 10, 10, 10, 10, 10], 8), ([10], 1)])
def test_sessions_at_the_borders_are_not_refused(
    name: str, way: str, session: list[int], length: int
) -> None:
    found = ask(name, way, batch(name, session, length))
    for values in found if isinstance(found, list) else [getattr(found, "vectors", found)]:
        assert torch.isfinite(values).all()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("item", [-1, 0, 11])
def test_items_out_of_range_are_refused(name: str, item: int) -> None:
    rows = batch(name, [3, 5], 2)
    rows["item_id"][2] = item
    message = rf"^item in row 2 of the batch: received item id {item}, allowed 1\.\.10$"
    with pytest.raises(InputError, match=message):
        ask(name, "model.predict", rows)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("item", [1, 10])
def test_items_at_the_borders_are_not_refused(name: str, item: int) -> None:
    rows = batch(name, [3, 5], 2)
    rows["item_id"][2] = item
    scores = ask(name, "model.full_sort_predict", rows)
    assert ask(name, "model.predict", rows)[2].item() == pytest.approx(scores[2, item].item(), abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_no_sessions_have_no_scores(name: str) -> None:
    assert ask(name, "model.full_sort_predict", scorer(name).batch(torch.arange(0))).shape == (0, 11)
