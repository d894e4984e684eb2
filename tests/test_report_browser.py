"""The HTML report in a browser: sorting, filtering, keyboard, phone, print, dark, and without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest
from fake_suite import make_records

from recbole_hiersrec.report.page import write_report

pytestmark = pytest.mark.skipif(
    chromium.PATH is None, reason="no Chromium on this machine: pages are not looked at"
)
NAMES = ("HierSRec", "SASRecAllPositions", "SequentialPop", "MarkovChain", "GRU4RecAllPositions", "SKNN")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six models, so that tables are filtered; one without training time, whose cell is a dash."""
    folder = tmp_path_factory.mktemp("report")
    models = [
        {"model": "HierSRec", "candidates": True, "settings": {"category_fields": ["class"]}},
        *NAMES[1:],
    ]
    records = make_records(folder, models=models)[1]
    records[2]["training"] |= {"best_valid": None}
    write_report(folder / "out", records, formats=("html",))
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: chromium.Page, report: Path) -> Iterator[chromium.Page]:
    browser.open(report)
    yield browser
    assert browser.errors == []


def table(title: str) -> str:
    return f'[...document.querySelectorAll("table")].find((t) => t.caption.textContent.endsWith({json.dumps(title)}))'


def column(page: chromium.Page, title: str, number: int, shown: bool = True) -> Any:
    rows = f"[...{table(title)}.tBodies[0].rows]" + (
        ".filter((r) => r.offsetParent !== null)" if shown else ""
    )
    return page.run(f"{rows}.map((r) => r.cells[{number}].textContent.trim())")


def click(page: chromium.Page, title: str, number: int) -> None:
    page.run(f"{table(title)}.tHead.rows[0].cells[{number}].querySelector('button').click()")


def sorted_by(page: chromium.Page, title: str) -> Any:
    return page.run(
        f"[...{table(title)}.tHead.rows[0].cells].map((c) => c.getAttribute('aria-sort')).filter(Boolean)"
    )


def test_numbers_are_sorted_from_the_highest_and_back(page: chromium.Page) -> None:
    before = column(page, "Leaderboard", 2)
    assert before == sorted(before, reverse=True)
    click(page, "Leaderboard", 2)
    assert column(page, "Leaderboard", 2) == before
    assert sorted_by(page, "Leaderboard") == ["descending"]
    click(page, "Leaderboard", 2)
    assert column(page, "Leaderboard", 2) == before[::-1]
    assert sorted_by(page, "Leaderboard") == ["ascending"]


def test_words_are_sorted_from_a_to_z(page: chromium.Page) -> None:
    click(page, "Leaderboard", 1)
    names = [cell.split(" (")[0] for cell in column(page, "Leaderboard", 1)]
    assert names == sorted(NAMES, key=str.lower)
    assert sorted_by(page, "Leaderboard") == ["ascending"]


def test_cells_without_a_number_are_last_in_both_orders(page: chromium.Page) -> None:
    headers = page.run(f"[...{table('Training')}.tHead.rows[0].cells].map((c) => c.textContent)")
    number = headers.index("best validation NDCG@10")
    for _ in range(2):
        click(page, "Training", number)
        cells = column(page, "Training", number)
        assert cells[-1] == "-"
        assert "-" not in cells[:-1]


def test_a_filter_leaves_the_rows_with_all_words(page: chromium.Page) -> None:
    box = f"{table('Leaderboard')}.closest('.table')"
    page.run(f"{box}.querySelector('input').focus()")
    for key in "POSITION sas":
        page.press(key)
    assert [cell.split(" (")[0] for cell in column(page, "Leaderboard", 1)] == ["SASRecAllPositions"]
    assert len(column(page, "Leaderboard", 1, shown=False)) == 6
    assert page.run(f"{box}.querySelector('[role=status]').textContent") == "1 of 6"
    assert page.run(f"{box}.querySelector('label').textContent").startswith("Rows with")
    click(page, "Leaderboard", 2)  # sorting keeps what is filtered
    assert len(column(page, "Leaderboard", 1)) == 1


@pytest.mark.parametrize("key", ["Enter", " "])
def test_the_keyboard_sorts(page: chromium.Page, key: str) -> None:
    page.run(f"{table('Leaderboard')}.tHead.rows[0].cells[0].querySelector('button').focus()")
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "model"
    page.press(key)
    assert sorted_by(page, "Leaderboard") == ["ascending"]
    assert page.run("document.activeElement.textContent") == "model"


def test_nothing_is_asked_of_the_network(page: chromium.Page, report: Path) -> None:
    assert page.asked == [report.resolve().as_uri()]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_window(
    browser: chromium.Page, report: Path, width: int, dark: bool
) -> None:
    browser.open(report, width, dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    ink = "getComputedStyle(document.querySelector('figure svg text')).fill"
    assert browser.run(ink) == ("rgb(230, 233, 236)" if dark else "rgb(31, 35, 40)")
    assert browser.errors == []


FIGURES = """[...document.querySelectorAll('figure')].map((figure) => {
  const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map((text) => {
    const at = text.getBoundingClientRect();
    return {
      size: parseFloat(getComputedStyle(text).fontSize) * box.width / svg.viewBox.baseVal.width,
      over: Math.max(at.right - box.right, box.left - at.left, at.bottom - box.bottom, box.top - at.top),
      text: text.textContent,
    };
  });
  return {wide: box.width, room: figure.clientWidth, texts};
})"""


def test_figures_fit_a_phone_and_can_be_read(browser: chromium.Page, report: Path) -> None:
    browser.open(report, 390)
    figures = browser.run(FIGURES)
    assert len(figures) >= 5
    for figure in figures:
        assert figure["room"] - 1 <= figure["wide"] <= figure["room"]
        assert len(figure["texts"]) > 5
        assert [text for text in figure["texts"] if text["size"] < 9] == []
        assert [
            text for text in figure["texts"] if text["over"] > 4
        ] == []  # the browser's font is not matplotlib's


def test_figures_are_no_wider_than_their_text_needs(browser: chromium.Page, report: Path) -> None:
    browser.open(report, 1280)
    assert {figure["wide"] for figure in browser.run(FIGURES)} == {34 * 16}


def test_without_scripts_the_tables_are_plain(browser: chromium.Page, report: Path) -> None:
    browser.open(report, scripts=False)
    assert browser.run("document.querySelectorAll('button, input').length") == 0
    assert len(column(browser, "Leaderboard", 1)) == 6


def test_print_has_no_controls_and_is_black_on_white(browser: chromium.Page, report: Path) -> None:
    browser.open(report, dark=True, media="print")
    hidden = "[...document.querySelectorAll('.filter, .filters, nav')].every((e) => e.offsetParent === null)"
    assert browser.run(hidden)
    assert browser.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_names_of_models_run_no_script(browser: chromium.Page, tmp_path: Path) -> None:
    evil = "</script><script>console.error('ran')</script><img src=x onerror=console.error('ran')>"
    records = make_records(tmp_path, models=[{"model": "SequentialPop", "name": evil}, "MarkovChain"])[1]
    write_report(tmp_path / "out", records, formats=("html",))
    browser.open(tmp_path / "out" / "report.html")
    assert browser.errors == []
    assert browser.run("document.scripts.length") == 1
    assert evil in browser.run("document.querySelector('tbody th, td.text, tbody').textContent")
