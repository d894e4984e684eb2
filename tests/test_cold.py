"""Cold start: who is held out, what is left of the data, and what an index does with items added later."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import write_shop, write_split
from test_model import N_ITEMS, network

from recbole_hiersrec.data.catalogue import read_catalogue
from recbole_hiersrec.data.files import column
from recbole_hiersrec.data.taxonomy import UNKNOWN
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.cold import (
    ADDED,
    ALL_ITEMS,
    RANDOM,
    cold_recall,
    forget_unseen,
    hold_out,
    index_with_added,
    rows_left,
)
from recbole_hiersrec.evaluation.ranks import rank_cases
from recbole_hiersrec.evaluation.scorer import Cases, score
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import build_lists
from recbole_hiersrec.settings import HierSRecSettings

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "cold_start.py"


def rows_of(folder: Path) -> list[tuple[str, str]]:
    path = folder / "shop" / "shop.inter"
    return list(zip(column(path, "user_id"), column(path, "item_id"), strict=True))


def test_rows_left_by_hand() -> None:
    """Session 0 keeps its held-out last item alone; session 1 falls below four interactions and goes."""
    sessions = np.array([0, 0, 1, 0, 1, 0, 1, 0, 1, 0])
    times = np.array([5, 1, 1, 2, 2, 3, 3, 4, 4, 0.0])
    held = np.array([True, False, True, True, False, False, False, False, False, False])
    kept = rows_left(sessions, times, held)
    assert kept.tolist() == [True, True, False, False, False, True, False, True, False, True]


def test_leave_one_out_keeps_the_targets(tmp_path: Path) -> None:
    source = write_shop(tmp_path / "data")
    held = hold_out("shop", source, tmp_path / "copy", share=0.2, seed=1)
    assert len(held) == 2
    before, after = rows_of(source), rows_of(tmp_path / "copy")
    assert set(after) < set(before)
    last_of = dict(before)  # rows are in time order: the last one of a session wins
    for number, (session, item) in enumerate(after):
        is_last = number + 1 == len(after) or after[number + 1][0] != session
        assert item not in held or is_last
        assert not is_last or item == last_of[session]
    assert (tmp_path / "copy" / "shop" / "shop.item").is_file()


def test_temporal_split_keeps_test_sessions(tmp_path: Path) -> None:
    source = write_shop(tmp_path / "data")
    write_split(source)
    held = hold_out("shop", source, tmp_path / "copy", share=0.3, seed=1)
    before, after = rows_of(source), rows_of(tmp_path / "copy")
    wanted = [(user, item) for user, item in before if item not in held or user in ("u10", "u11")]
    assert after == wanted
    assert any(item in held for _, item in after)
    assert (tmp_path / "copy" / "shop" / "shop.user").is_file()


LINE_SEPARATOR = "\u2028"


@pytest.mark.parametrize("blank", [-1, 30], ids=["last", "within"])
def test_lines_are_those_of_the_reader(tmp_path: Path, blank: int) -> None:
    """A blank line is no row, and a line separator within a token ends no line."""
    source = write_shop(tmp_path / "data")
    path = source / "shop" / "shop.inter"
    lines = path.read_text(encoding="utf-8").replace("i3\t", f"i3{LINE_SEPARATOR}\t").split("\n")
    lines.insert(blank, "")
    path.write_text("\n".join(lines), encoding="utf-8")
    write_split(source)
    held = hold_out("shop", source, tmp_path / "copy", share=0.3, seed=1)
    before, after = rows_of(source), rows_of(tmp_path / "copy")
    assert f"i3{LINE_SEPARATOR}" in {item for _, item in before}
    assert after == [(user, item) for user, item in before if item not in held or user in ("u10", "u11")]


def test_learned_levels_of_held_out_items_are_blank(tmp_path: Path) -> None:
    """They were clustered from the clicks that the copy leaves out; the other columns and items are as they were."""
    source = write_shop(tmp_path / "data")
    path = source / "shop" / "shop.item"
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    for number, cells in enumerate(rows):
        cells[3:3] = ["learned_1:token", "learned_2:token"] if number == 0 else [f"{number % 2}", f"{number}"]
    path.write_text("".join("\t".join(cells) + "\n" for cells in rows), encoding="utf-8")
    held = hold_out("shop", source, tmp_path / "copy", share=0.3, seed=1)
    copy = tmp_path / "copy" / "shop" / "shop.item"
    wanted = [
        "\t".join([*cells[:3], "", "", *cells[5:]] if cells[0] in held else cells) + "\n" for cells in rows
    ]
    assert copy.read_text(encoding="utf-8") == "".join(wanted)
    settings = HierSRecSettings(category_fields=("department", "learned_1", "learned_2"))
    names = sorted(column(copy, "item_id"))
    taxonomy = read_catalogue(copy, names, settings).taxonomy
    assert taxonomy is not None
    for number, name in enumerate(names, start=1):
        label = taxonomy.labels[2][taxonomy.item_category[number, 2]]
        assert (label[1:] == (UNKNOWN, UNKNOWN)) == (name in held)
        assert label[0] != UNKNOWN


def test_the_seed_decides_who_is_held_out(tmp_path: Path) -> None:
    source = write_shop(tmp_path / "data")
    drawn = [
        hold_out("shop", source, tmp_path / str(n), share=0.2, seed=seed) for n, seed in enumerate([1, 1, 2])
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_share_out_of_range(tmp_path: Path, share: float) -> None:
    with pytest.raises(InputError, match=f"share: received {share}, allowed: above 0, below 1"):
        hold_out("shop", write_shop(tmp_path / "data"), tmp_path / "copy", share=share, seed=1)


def test_never_seen_items_are_their_metadata_alone() -> None:
    net = network()
    counts = torch.ones(N_ITEMS + 1, dtype=torch.long)
    counts[[4, 30]] = 0
    assert net.items.id is not None
    before = net.items.id.weight.clone()
    assert forget_unseen(net, counts).tolist() == [4, 30]
    assert not net.items.id.weight[[4, 30]].any()
    assert not net.item_bias.weight[[4, 30]].any()
    assert torch.equal(net.items.id.weight[1:4], before[1:4])
    ids = torch.tensor([4, 16])  # of one category on every level
    with torch.no_grad():
        assert net.item_vectors(ids)[0].any()


class Line:
    """Items 1 to 40 on a line; each session asks for a place on it, and its target is the nearest item."""

    n_items = 40

    def __init__(self) -> None:
        places = torch.arange(41, dtype=torch.float32)
        self.table = torch.stack([places, -(places**2) / 2, torch.ones(41)], 1)  # q . a = q x - x^2 / 2
        self.table[0] = 0
        targets = torch.arange(1, 41)
        self.cases = Cases(torch.ones(40, 3, dtype=torch.long), torch.full((40,), 3), targets)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        return index

    def queries(self, batch: torch.Tensor) -> Queries:
        places = self.cases.target[batch].float()
        vectors = torch.stack([places, torch.ones(len(batch)), torch.zeros(len(batch))], 1)
        return Queries(vectors, self.cases.history[batch])

    def item_vectors(self) -> torch.Tensor:
        return self.table

    def scores(self, batch: torch.Tensor) -> torch.Tensor:
        return score(self.queries(batch), self.table)


def recalls(**changes: Any) -> dict[tuple[str, int], Any]:
    line = Line()
    given = {"history": "unmasked", "ks": (1, 10), "item_fraction": 0.25, "seed": 1} | changes
    found = cold_recall(line, line.cases, np.arange(40) // 2, np.array([5, 6, 20, 33]), **given)
    return {(one.variant, one.k): one.recall for one in found}


def test_cold_items_are_found_among_all_and_in_the_index() -> None:
    found = recalls()
    assert found[ALL_ITEMS, 1].mean == 1.0  # the target is the nearest item
    assert found[ADDED, 10].mean == 1.0
    assert found[RANDOM, 1].mean == 1 / 40
    assert found[RANDOM, 10].mean == 0.25


def test_an_index_they_were_not_added_to_misses_them() -> None:
    line, held = Line(), np.array([5, 6, 20, 33])
    others = np.setdiff1d(np.arange(1, 41), held)
    built = Cells(build_lists(line.table, None, 2, 1, others), line.table, "k-means")
    rules = {"without": (built, 0.5), "with": (index_with_added(line, held, 1), 0.5)}
    ranks = rank_cases(line, line.cases, history="unmasked", rules=rules)
    assert np.isinf(ranks.by_rule["without"][held - 1]).all()
    assert np.isfinite(ranks.by_rule["with"][held - 1]).all()


def test_no_cold_case_is_one_line() -> None:
    line = Line()
    with pytest.raises(InputError, match="received none whose target is one of the 1 held-out items"):
        cold_recall(
            line,
            line.cases,
            np.arange(40),
            np.array([99]),
            history="unmasked",
            ks=(1,),
            item_fraction=1,
            seed=1,
        )


@pytest.mark.slow
def test_the_script(tmp_path: Path) -> None:
    source = write_shop(tmp_path / "data")
    settings = {"category_fields": "[department, class]", "follower_fields": "[class]"}
    settings |= {"hidden_size": "8", "n_heads": "1", "n_layers": "1"}
    changes = [word for key, value in settings.items() for word in ("--set", key, value)]
    out = tmp_path / "out.json"
    command = [sys.executable, str(SCRIPT), "shop", "--data-path", str(source), "--share", "0.2"]
    command += [
        "--epochs",
        "2",
        "--threads",
        "1",
        "--item-fraction",
        "0.5",
        "--ks",
        "2",
        "5",
        "--out",
        str(out),
        *changes,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [model["model"] for model in found["models"]] == ["HierSRec", "HierSRec, ids alone"]
    for model in found["models"]:
        assert (model["items"], model["held_out"]) == (10, 2)
        assert model["cases"] > 0
        assert {row["variant"] for row in model["recall"]} == {ALL_ITEMS, ADDED, RANDOM}
