"""How models and candidate rules look: the same on every page, and never like each other."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from fake_suite import make_records

from recbole_hiersrec.report.looks import KNOWN, MARKERS, model_looks, rule_looks
from recbole_hiersrec.report.page import write_report
from recbole_hiersrec.retrieval.needs import RULES

ROOT = Path(__file__).resolve().parents[1]


def test_hiersrec_is_first_and_known_models_look_the_same_on_every_page() -> None:
    every = model_looks(KNOWN)
    assert every["HierSRec"].colour == "#0173b2"
    for names in (["HierSRec"], ["no memory", "HierSRec", "flat"], ["a", "b", *KNOWN[::3]]):
        assert {name: look for name, look in model_looks(names).items() if name in KNOWN} == {
            name: every[name] for name in names if name in KNOWN
        }


def test_every_model_of_suites_and_results_is_known() -> None:
    shipped = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "benchmarks").glob("*.yaml"))]
    entries = [model for suite in shipped for model in suite.get("models", ())]
    names = {one if isinstance(one, str) else one.get("name", one["model"]) for one in entries}
    for path in (ROOT / "results").glob("*/jobs.json"):
        names |= {job["name"] for job in json.loads(path.read_text())}
    assert len(names) > 30
    assert names <= set(KNOWN)
    assert len(set(KNOWN)) == len(KNOWN)


def test_no_two_models_of_a_page_look_the_same() -> None:
    names = [*KNOWN, *(f"model {number}" for number in range(30))]
    looks = model_looks(names)
    assert len({look.colour for look in looks.values()}) == len(names)
    for one, other in combinations(KNOWN, 2):  # of like hue, darker: another marker as well
        if KNOWN.index(one) % 10 == KNOWN.index(other) % 10:
            assert looks[one].marker != looks[other].marker


def test_other_models_keep_their_look_and_never_take_that_of_the_page() -> None:
    names = [f"model {number}" for number in range(40)]
    alone = {name: model_looks([name])[name] for name in names}
    assert model_looks(names) == model_looks(names[::-1])
    hiersrec = model_looks(["HierSRec"])["HierSRec"]
    for name in names:
        assert model_looks(["HierSRec", name]) == {"HierSRec": hiersrec, name: alone[name]}
    for one, other in combinations(names, 2):
        assert len(set(model_looks([one, other]).values())) == 2
    assert model_looks(["\ud800"])  # as JSON may say


def test_rules_look_like_no_model_and_not_like_each_other() -> None:
    rules = rule_looks(RULES)
    models = {look.colour for look in model_looks([*KNOWN, *map(str, range(30))]).values()}
    assert len({look.colour for look in rules.values()}) == len({look.marker for look in rules.values()}) == 8
    assert MARKERS[0] not in {look.marker for look in rules.values()}  # that of all items
    assert not models & {look.colour for look in rules.values()}
    assert all(rule_looks([rule, "own"])[rule] == rules[rule] for rule in RULES)
    assert len(set(rule_looks([*RULES, "own"]).values())) == 9


@pytest.mark.parametrize("others", [["SequentialPop"], ["GRU4Rec", "MarkovChain", "SKNN"]])
def test_figures_have_these_colours(tmp_path: Path, others: list[str]) -> None:
    models = [{"model": "HierSRec", "candidates": True, "settings": {"category_fields": ["class"]}}]
    write_report(tmp_path, make_records(tmp_path, models=[*models, *others])[1])
    figures = {path.name: path.read_text() for path in (tmp_path / "figures").iterdir()}
    blue, cells = model_looks(["HierSRec"])["HierSRec"].colour, rule_looks(["cells"])["cells"].colour
    assert {name.split("-")[0] for name, text in figures.items() if blue in text} >= {"accuracy", "learning"}
    looks = model_looks(["HierSRec", *others])
    for name in ("candidates-toy.svg", "scanned-toy.svg"):
        assert cells in figures[name]
        assert not [look for look in looks.values() if look.colour in figures[name]]
    swatch = re.search(r'style="background:(#\w+)"></i>\s*HierSRec', (tmp_path / "report.html").read_text())
    assert swatch
    assert swatch[1] == blue
