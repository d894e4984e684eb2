"""The leaderboard: every line of every suite, what a row opens, in a browser as well, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest
from fake_suite import write_data
from true_suite import finish
from typer.testing import CliRunner

from recbole_hiersrec.cli import app
from recbole_hiersrec.report.leaderboard import side_information

EVIL = "<script>console.error('ran')</script>"
needs_browser = pytest.mark.skipif(
    chromium.PATH is None, reason="no Chromium here: the page is not looked at"
)


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two suites: three models with candidates of one of them; two other models, masked, with two seeds."""
    folder = tmp_path_factory.mktemp("suites")
    write_data(folder)
    finish(folder / "first", folder)
    models = ["MarkovChain", {"model": "SequentialPop", "name": EVIL}]
    finish(folder / "second", folder, models=models, seeds=[1, 2], protocol={"history": "masked"})
    return [folder / "first", folder / "second"]


@pytest.fixture(scope="module")
def site(suites: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "site"
    found = build(*suites, "--out", out)
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout == f"leaderboard: {out / 'index.html'}\n"
    return out


def build(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["leaderboard", "build", *map(str, arguments)])


def test_every_line_and_candidate_set_has_a_row(site: Path) -> None:
    page = (site / "index.html").read_text()
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in body.split("</tr>")[:-1]]
    shown = [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in rows]
    assert len(shown) == 3 + 2 + 2
    assert {tuple(row[-7:]) for row in shown} == {
        (items, rule, "toy", f"leave-one-out, history {history}, length 50", side, seeds, suite)
        for items, rule, history, side, seeds, suite in (
            ("all items", "", "unmasked", "used", "1", "first"),
            ("candidates", "cells, 4 %", "unmasked", "used", "1", "first"),
            ("candidates", "cells, 10 %", "unmasked", "used", "1", "first"),
            ("all items", "", "unmasked", "not used", "1", "first"),
            ("all items", "", "masked", "not used", "2", "second"),
        )
    }
    assert [row[-6:-5] + row[-7:-6] for row in shown][:2] == [["", "all items"]] * 2  # masked comes first
    values = [float(row[1].split()[0]) for row in shown]
    assert values[2:5] == sorted(values[2:5], reverse=True)


def test_all_items_come_before_candidates_and_then_the_best(suites: list[Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(suites[0], tmp_path / "other"))
    for path in (other / "jobs").glob("*/record.json"):
        record = json.loads(path.read_text())
        for row in record["accuracy"]:
            row["value"] += row["item_fraction"] or 0.0  # candidates above everything
            if row["variant"] == "all items":  # the last one in the suite is the best, by what is not shown
                row["value"] = 0.5 + {"HierSRec": 1e-6, "SASRecAllPositions": 2e-6}.get(
                    record["job"]["name"], 3e-6
                )
        path.write_text(json.dumps(record))
    assert build(other, "--out", tmp_path / "site").exit_code == 0
    body = (tmp_path / "site" / "index.html").read_text().split("<tbody>")[1].split("</tbody>")[0]
    names = re.findall(r'#entry-\d+">(\w+) ', body)
    assert names[:3] == ["SequentialPop", "SASRecAllPositions", "HierSRec"]
    items = re.findall(r">(all items|candidates)<", body)
    assert items == ["all items"] * 3 + ["candidates"] * 2
    assert re.findall(r">cells, (\d+) %<", body) == ["10", "4"]


def test_a_row_leads_to_settings_command_curve_and_records(site: Path, suites: list[Path]) -> None:
    page = (site / "index.html").read_text()
    dialogs = page.split("<dialog ")[1:]
    assert len(dialogs) == 5
    links = set(re.findall(r'<a href="#(entry-\d+)">', page))
    assert links == {re.findall(r'id="(entry-\d+)"', dialog)[0] for dialog in dialogs}
    (dialog,) = [one for one in dialogs if "MarkovChain" in one]
    assert "hiersrec bench FILE    # FILE: the YAML file of suite trial" in dialog
    assert "<dt>seconds</dt>" in dialog
    assert "seed 1: best 0.0401 after 60.0 s of 60.0 s" in dialog  # a third of it at 20 s, two thirds at 40 s
    first = re.findall(r'<polyline points="([^"]*)"', dialog)[0]
    x, y = first.split()[0].split(",")
    assert float(x) == pytest.approx(320 / 3, abs=0.1)
    assert 66 < float(y) < 68
    records = re.findall(r'href="(records/[^"]+)"', page)
    assert len(records) == 3 + 2 * 2
    for path in records:
        _, suite, name = path.split("/")
        original = next(one for one in suites if one.name == suite) / "jobs" / name.removesuffix(".json")
        assert (site / path).read_bytes() == (original / "record.json").read_bytes()


def test_names_are_escaped_and_the_bytes_the_same_again(
    site: Path, suites: list[Path], tmp_path: Path
) -> None:
    page = (site / "index.html").read_text()
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 2
    assert build(*suites, "--out", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again" / "index.html").read_text() == page


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        ({"model": "HierSRec", "settings": {"category_fields": [], "title_field": None}}, "not used"),
        ({"model": "HierSRec", "settings": {"title_field": "title"}}, "used"),
        ({"model": "SASRecAllPositions", "settings": {"category_fields": ["a"]}}, "not used"),
        ({"model": "FDSA", "settings": {}}, "used"),
        ({"model": "S3Rec", "settings": {}}, "used"),
        ({"model": "my.module:Mine", "settings": {}}, "unknown"),
    ],
)  # fmt: skip
def test_side_information(job: dict[str, Any], wanted: str) -> None:
    assert side_information(job) == wanted


def test_other_test_cases_are_said(suites: list[Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(suites[0], tmp_path / "other"))
    for path in (other / "jobs").glob("*/record.json"):
        record = json.loads(path.read_text())
        record["data"]["cases"] = "x" * 64
        path.write_text(json.dumps(record))
    assert build(suites[0], other, "--out", tmp_path / "site").exit_code == 0
    text = "toy: leave-one-out, history unmasked, length 50: suites first and other have other test cases, so their"
    assert text in (tmp_path / "site" / "index.html").read_text()


def test_wrong_folders_are_one_line(suites: list[Path], tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    copy = Path(shutil.copytree(suites[0], tmp_path / "first"))
    for folders, message in (
        ([tmp_path / "plain"], "received no suite's folder (one with jobs.json)"),
        ([tmp_path / "nowhere"], "no folder"),
        ([suites[0], copy], "suite first: received twice, allowed: folders of different names"),
    ):
        found = build(*folders, "--out", tmp_path / "site")
        assert found.exit_code == 2
        assert message in found.stderr
        assert len(found.stderr.splitlines()) == 1
        assert not (tmp_path / "site").exists()
    (tmp_path / "taken" / "index.html").mkdir(parents=True)
    found = build(suites[0], "--out", tmp_path / "taken")
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 1)
    assert "index.html: is no file" in found.stderr
    assert not (tmp_path / "taken" / "records").exists()
    found = build(suites[0], tmp_path / "plain", "--out", tmp_path / "site")
    assert found.stdout.splitlines()[0] == f"left out, no suite's folder: {tmp_path / 'plain'}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: chromium.Page, site: Path) -> Iterator[chromium.Page]:
    browser.open(site / "index.html")
    yield browser
    assert browser.errors == []


def shown(page: chromium.Page, header: str) -> Any:
    """Cells of a column in the rows that are seen."""
    return page.run(
        "(() => { const t = document.querySelector('table');"
        f"const at = [...t.tHead.rows[0].cells].findIndex((c) => c.textContent === {json.dumps(header)});"
        "return [...t.tBodies[0].rows].filter((r) => r.offsetParent).map((r) => r.cells[at].textContent.trim()); })()"
    )


def choose(page: chromium.Page, name: str, value: str) -> None:
    page.run(
        "(() => { const s = [...document.querySelectorAll('label')]"
        f".find((l) => l.firstChild.textContent === {json.dumps(name)}).querySelector('select');"
        f"s.value = {json.dumps(value)}; s.dispatchEvent(new Event('change')); }})()"
    )


@needs_browser
@pytest.mark.parametrize(
    ("name", "value", "n_rows"),
    [
        ("items", "candidates", 2),
        ("side information", "not used", 4),
        ("suite", "second", 2),
        ("protocol", "leave-one-out, history masked, length 50", 2),
        ("data set", "toy", 7),
    ],
)
def test_each_choice_leaves_its_rows(page: chromium.Page, name: str, value: str, n_rows: int) -> None:
    assert len(shown(page, name)) == 7
    choose(page, name, value)
    assert shown(page, name) == [value] * n_rows
    choose(page, name, "")
    assert len(shown(page, name)) == 7


@needs_browser
def test_choices_and_words_go_together(page: chromium.Page) -> None:
    choose(page, "suite", "first")
    choose(page, "items", "all items")
    page.run("document.querySelector('input').focus()")
    for key in "hier":
        page.press(key)
    assert shown(page, "rule") == [""]
    assert page.run("document.querySelector('[role=status]').textContent") == "1 of 7"


def click(page: chromium.Page, header: str) -> None:
    page.run(
        f"[...document.querySelectorAll('thead button')].find((b) => b.textContent === {json.dumps(header)}).click()"
    )


def numbers(page: chromium.Page, header: str) -> list[float]:
    return [float(cell.split()[0]) for cell in shown(page, header)]


SORTED = (
    "[...document.querySelectorAll('th[aria-sort]')].map((c) => [c.textContent, c.getAttribute('aria-sort'),"
    " c.offsetParent !== null, getComputedStyle(c.querySelector('button'), '::after').content])"
)


@needs_browser
def test_the_chosen_metric_is_shown_and_sorted_by(page: chromium.Page) -> None:
    heads = (
        "[...document.querySelectorAll('thead th')].filter((c) => c.offsetParent).map((c) => c.textContent)"
    )
    assert [name for name in page.run(heads) if "@" in name] == ["NDCG@10"]
    assert page.run(SORTED) == []  # by data set and protocol, as the page came
    before = numbers(page, "NDCG@10")
    assert before != sorted(before, reverse=True)
    choose(page, "metric", "MRR@5")
    assert [name for name in page.run(heads) if "@" in name] == ["MRR@5"]
    assert page.run(SORTED) == [["MRR@5", "descending", True, '"\u2193"']]
    values = numbers(page, "MRR@5")
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 2


@needs_browser
def test_a_click_still_sorts_after_a_metric_was_chosen(page: chromium.Page) -> None:
    choose(page, "metric", "MRR@5")
    click(page, "model")
    assert page.run(SORTED) == [["model", "ascending", True, '"\u2191"']]
    assert shown(page, "model") == sorted(shown(page, "model"), key=str.lower)
    choose(page, "metric", "Recall@5")
    assert page.run(SORTED) == [["Recall@5", "descending", True, '"\u2193"']]
    values = numbers(page, "Recall@5")
    assert values == sorted(values, reverse=True)
    click(page, "Recall@5")
    assert numbers(page, "Recall@5") == values[::-1]


@needs_browser
def test_a_row_is_opened_and_closed_by_the_keyboard(page: chromium.Page) -> None:
    page.run("document.querySelector('tbody a').focus()")
    name = page.run("document.activeElement.textContent")
    page.press("Enter")
    assert page.run("document.querySelector('dialog[open] h2').textContent") == name
    assert page.run("document.activeElement.textContent") == "Close"
    page.press("Enter")
    assert page.run("document.querySelectorAll('dialog[open]').length") == 0
    assert page.run("document.activeElement.textContent") == name
    page.press("Enter")
    page.press("Escape")
    assert page.run("document.querySelectorAll('dialog[open]').length") == 0


@needs_browser
def test_without_scripts_a_row_opens_by_its_address(browser: chromium.Page, site: Path) -> None:
    browser.open(site / "index.html", scripts=False)
    seen = "[...document.querySelectorAll('dialog')].filter((d) => d.offsetHeight > 0).map((d) => d.id)"
    assert browser.run(seen) == []
    browser.run("location.hash = 'entry-1'")
    assert browser.run(seen) == ["entry-1"]
    assert browser.run("document.querySelectorAll('select, button').length") == 0


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_no_wider_than_its_window(browser: chromium.Page, site: Path, width: int) -> None:
    browser.open(site / "index.html", width)
    assert browser.run("document.documentElement.scrollWidth") <= width
