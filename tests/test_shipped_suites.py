"""Suites for files that are not public: small files of the same format are prepared as the suite says, and it runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recbole_hiersrec.benchmark.suite import expand, load_suite
from recbole_hiersrec.cli import app

N_ITEMS = 120
PER_SESSION = 6


def sessions() -> list[tuple[int, int, int]]:
    """(session, day, item), rising; 400 sessions in 40 days, items of all kinds in each part."""
    chance = random.Random(1)
    return [
        (number, number // 10, chance.randint(1, N_ITEMS))
        for number in range(400)
        for _ in range(PER_SESSION)
    ]


def write_diginetica(folder: Path) -> None:
    views = [
        f"{session};NA;{item};{place % PER_SESSION * 1000};{date(2016, 4, 1) + timedelta(days=day)}"
        for place, (session, day, item) in enumerate(sessions())
    ]
    (folder / "train-item-views.csv").write_text(
        "\n".join(["sessionId;userId;itemId;timeframe;eventdate", *views, ""])
    )
    products = [f"{item};{item % 5};{item},7" for item in range(1, N_ITEMS + 1)]
    (folder / "products.csv").write_text("\n".join(["itemId;pricelog2;product.name.tokens", *products, ""]))
    categories = [f"{item};{item % 3}" for item in range(1, N_ITEMS + 1)]
    (folder / "product-categories.csv").write_text("\n".join(["itemId;categoryId", *categories, ""]))


def write_retailrocket(folder: Path) -> None:
    start = 1_430_000_000_000
    events = [
        f"{start + day * 86_400_000 + place * 1000},{session},view,{item},"
        for place, (session, day, item) in enumerate(sessions())
    ]
    (folder / "events.csv").write_text(
        "\n".join(["timestamp,visitorid,event,itemid,transactionid", *events, ""])
    )
    # Category 10 * d + i of depth d; those of depth 5 have items.
    described = [f"{start - 1},{item},categoryid,{50 + item % 3}" for item in range(1, N_ITEMS + 1)]
    for number, rows in ((1, described[::2]), (2, described[1::2])):
        path = folder / f"item_properties_part{number}.csv"
        path.write_text("\n".join(["timestamp,itemid,property,value", *rows, ""]))
    tree = [f"{10 * d + i},{10 * (d - 1) + i if d > 1 else ''}" for d in range(1, 6) for i in range(3)]
    (folder / "category_tree.csv").write_text("\n".join(["categoryid,parentid", *tree, ""]))


@pytest.mark.parametrize(
    ("name", "write"), [("diginetica", write_diginetica), ("retailrocket", write_retailrocket)]
)
def test_a_suite_of_files_that_a_user_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    write(tmp_path / "raw")
    made = CliRunner().invoke(app, ["data", "prepare", name, "--raw", "raw"])
    assert made.exit_code == 0, made.output
    jobs = expand(load_suite(name))
    assert {job.dataset for job in jobs} == {name}
    assert {"HierSRec", "item-only", "flat", "SASRec", "SASRecF", "STAN"} <= {job.name for job in jobs}
    assert len(jobs) == len({job.name for job in jobs}) * 3
