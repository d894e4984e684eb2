"""One table, many views: what is best, what is escaped, what the figures say without being seen."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fake_suite import make_records

from recbole_hiersrec.report import tables
from recbole_hiersrec.report.alternatives import says, study_says
from recbole_hiersrec.report.comparison import Comparison
from recbole_hiersrec.report.document import Bullets, Code, Figure, Heading, Text
from recbole_hiersrec.report.escaping import latex, markdown
from recbole_hiersrec.report.figures import front
from recbole_hiersrec.report.html import strong, to_html
from recbole_hiersrec.report.latex import to_latex
from recbole_hiersrec.report.markdown import to_markdown
from recbole_hiersrec.report.page import document, write_report
from recbole_hiersrec.report.pictures import INK, LABEL, TITLE, inline, labelled, short, short_names, svg
from recbole_hiersrec.report.table import ABOVE, BELOW, Table, number_in

EVIL = "<script>alert('1')</script> \"a\", b|c_d & $x$ 50 % \\end{table} **"


def board(**changes: Any) -> Table:
    rows = [["a", "0.10 ± 0.01", "3"], ["b", "0.30", "1,200"], ["c ‡", "0.90", "0"], ["d", "0.20", "-"]]
    return Table("T", ["model", "M@1", "s"], rows, **({"higher": ["M@1"], "lower": ["s"]} | changes))


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("0.1 ± 0.2", 0.1),
        ("-0.5 to 1", -0.5),
        ("1,234.5 s", 1234.5),
        ("2.00x", 2),
        ("-", None),
        ("not run", None),
    ],
)
def test_the_number_of_a_cell(cell: str, number: float | None) -> None:
    assert number_in(cell) == number


def test_the_best_and_the_second_of_what_is_ranked() -> None:
    assert board().places() == {(1, 1): 1, (3, 1): 2, (0, 2): 1, (1, 2): 2}  # the highest, ‡, is not ranked
    level = Table("", ["model", "M@1"], [["a", "0.1"], ["b", "0.3"], ["c", "0.3"]], higher=["M@1"])
    assert level.places() == {(1, 1): 1, (2, 1): 1}  # two are best, so none is second
    alone = Table("", ["model", "M@1"], [["a", "0.1"], ["b", "-"]], higher=["M@1"])
    assert alone.places() == {}
    rows = [["cold", "3", "0.1", "0.2"], ["head", "9", "0.4", "0.3"]]
    assert Table("", ["slice", "cases", "a", "b"], rows, across=2).places() == {
        (0, 3): 1, (0, 2): 2, (1, 2): 1, (1, 3): 2,
    }  # fmt: skip


def test_latex_is_booktabs_with_bold_underline_and_arrows() -> None:
    text = board(marked={(3, 1): BELOW, (1, 1): ABOVE}, mark_note="▲ above", notes=["50 %"]).latex("toy: T.")
    lines = text.splitlines()
    assert r"\caption{toy: T.}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert body == [
        r"a & 0.10 $\pm$ 0.01 & \textbf{3} \\",
        r"b & \textbf{0.30}$^{\uparrow}$ & \underline{1,200} \\",
        r"c $\ddagger$ & 0.90 & 0 \\",
        r"d & \underline{0.20}$^{\downarrow}$ & - \\",
    ]
    assert lines[-3:] == [
        r"\par\medskip\raggedright\footnotesize $\uparrow$ above",
        r"\par\medskip\raggedright\footnotesize 50 \%",
        r"\end{table}",
    ]  # fmt: skip
    assert text.count("{") == text.count("}")


def test_latex_puts_below_what_is_too_wide_or_too_high() -> None:
    """Four columns of 40 characters and their space: of 110 less 10 two fit."""
    values = [f"{number:040}" for number in range(4)]
    table = Table("T", ["#", "model", "a", "b", "c", "d"], [["1", "m" * 5, *values]] * 60, ["n"])
    floats = table.latex("S: T.").split("\n\n")
    captions = [line for line in "\n".join(floats).splitlines() if line.startswith(r"\caption")]
    assert captions == [rf"\caption{{S: T. ({number} of 4)}}" for number in (1, 2, 3, 4)]
    for text, (heads, rows) in zip(
        floats, [("a & b", 42), ("a & b", 18), ("c & d", 42), ("c & d", 18)], strict=True
    ):
        assert rf"\# & model & {heads} \\" in text
        assert text.count("mmmmm") == rows
        assert text.count(r"\begin{table}") == 1
    assert ["footnotesize n" in text for text in floats] == [False, False, False, True]
    low = Table("T", table.headers, table.rows[:2]).latex("T.")  # both panels in one float
    assert (low.count(r"\begin{table}"), low.count(r"\begin{tabular}")) == (1, 2)
    assert r"\caption{T.}" in low


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
@pytest.mark.slow
def test_latex_compiles_and_nothing_overflows(evil: Path, tmp_path: Path) -> None:
    shutil.copy(evil / "report.tex", tmp_path)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\usepackage{graphicx}\begin{document}"
        r"\input{report}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout


@pytest.mark.parametrize("sign", list("&%$#_{}"))
def test_latex_escapes(sign: str) -> None:
    assert latex(f"a{sign}b") == rf"a\{sign}b"


def test_latex_escapes_the_rest_and_keeps_strong_words() -> None:
    assert latex("\\~^<>|") == (
        r"\textbackslash{}\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"
    )
    assert latex("**a_b**: [c]") == r"\textbf{a\_b}: {[}c{]}"


def test_csv_keeps_quotes_and_commas() -> None:
    table = Table("", ["model", 'say "x"'], [["a, b", 'c "d"'], ["e\nf", EVIL]])
    assert list(csv.reader(StringIO(table.csv(), newline=""))) == [table.headers, *table.rows]


def test_markdown_shows_no_tag_and_breaks_no_row() -> None:
    text = Table("", ["model", "a|b"], [[EVIL, "1 < 2"]], ["<b>"]).text("github")
    assert "<script" not in text
    assert "&lt;script>" in text
    assert "1 < 2" in text
    assert text.endswith("\n\n&lt;b>")
    assert re.split(r"(?<!\\)\|", text.splitlines()[2])[1].strip() == markdown(EVIL).replace("|", r"\|")


def test_strong_words_are_the_only_markup_of_a_paragraph() -> None:
    assert strong("**a<b>**: c & **d**") == "<strong>a&lt;b&gt;</strong>: c &amp; <strong>d</strong>"


def test_every_block_in_every_language() -> None:
    shown = Table("T", ["model", "M@1"], [["x", "0.5"]], ["n & m"])
    blocks = [
        Heading(1, "B & C"), Text("**lead** <i>", lead=True), Heading(2, "S"), Heading(3, "T"), shown,
        Figure("f.svg", "Seen.", "Says [1].", "of"), Bullets(["a: <1>", "b"]), Code(["x > y"]),
    ]  # fmt: skip
    assert to_markdown(blocks) == (
        "# B & C\n\n**lead** &lt;i>\n\n## S\n\n### T\n\n| model   |   M@1 |\n|---------|-------|\n| x       |   0.5 |"
        "\n\nn & m\n\n![Seen. Says (1).](figures/f.svg)\n\n*of: Seen.*\n\n- a: <1>\n- b\n\n```\nx > y\n```\n"
    )
    assert r"\caption{S: T.}" in to_latex(blocks)
    page = to_html(blocks, {"f.svg": b"<svg viewBox='0 0 1 1'></svg>"}, {"x": "#010203"})
    for part in (
        "<title>B &amp; C</title>",
        '<p class="lead"><strong>lead</strong> &lt;i&gt;</p>',
        '<a href="#part-3">S</a>',
        '<h2 id="part-3">S</h2>',
        "<caption>S: T</caption>",
        '<i class="swatch" style="background:#010203"></i>',
        '<p class="note">n &amp; m</p>',
        "<svg viewBox='0 0 1 1'></svg>",
        "<figcaption>of: Seen.<details><summary>In words</summary><p>Says [1].</p></details></figcaption>",
        "<li>a: &lt;1&gt;</li>",
        "<pre><code>x &gt; y</code></pre>",
    ):
        assert part in page, part


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which a model, a setting's reason, a version and a warning are called what nobody should be."""
    folder = tmp_path_factory.mktemp("evil")
    models = [
        {"model": "HierSRec", "name": EVIL, "candidates": True, "settings": {"category_fields": ["class"]}},
        "MarkovChain",
    ]
    jobs, records = make_records(folder, models=models)
    for record in records:
        record["warnings"] = [f"{EVIL} is old"]
        record["versions"] = {"torch": EVIL}
        record["job"]["reference"] = EVIL
    write_report(folder / "out", records, jobs[:1], [(jobs[1], EVIL)], formats=("md", "html", "csv", "latex"))
    return folder / "out"


def test_the_page_is_whole_and_alone(evil: Path) -> None:
    page = Elements((evil / "report.html").read_text())
    assert page.open == []
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 1
    assert not {"img", "link", "iframe", "object", "base"} & set(tags)
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids)) > 5
    for _, attributes in page.found:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    (policy,) = [a["content"] for _, a in page.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    pictures = [attributes for tag, attributes in page.found if tag == "svg"]
    assert len(pictures) == 5
    assert all(one["role"] == "img" and one["aria-label"] for one in pictures)


def test_names_are_shown_as_they_are_and_never_as_markup(evil: Path) -> None:
    page = (evil / "report.html").read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") > 10
    assert "<script" not in (evil / "report.md").read_text()
    names = {row["model"] for row in csv.DictReader((evil / "accuracy.csv").open(newline=""))}
    assert names == {EVIL, "MarkovChain"}
    text = (evil / "report.tex").read_text()
    assert latex(EVIL) in text
    assert r"\textbackslash{}end\{table\}" in text
    for picture in (evil / "figures").iterdir():
        root = ElementTree.fromstring(picture.read_text())
        space = "{http://www.w3.org/2000/svg}"
        assert root.attrib["role"] == "img"
        assert root.find(f"{space}title") is not None
        assert not [one for one in root.iter() if one.tag in (f"{space}script", f"{space}foreignObject")]
    drawn = ElementTree.fromstring((evil / "figures" / "accuracy-toy.svg").read_text())
    assert short(EVIL) in [text.strip() for text in drawn.itertext()]


def test_drawings_are_the_same_bytes_without_a_date(evil: Path) -> None:
    def draw(axes: Any) -> None:
        axes.plot([1, 2, 3], [0.123456, 0.2, 0.3], label="$bad$")
        axes.legend()

    first = svg(draw, "t")
    assert first == svg(draw, "t")
    assert b"<metadata" not in first
    assert b"<dc:date" not in first
    assert b">$bad$<" in first  # text, and no formula
    assert not re.search(rb' d="[^"]*\.\d{3}', first)


def test_a_drawing_takes_the_colours_of_its_page() -> None:
    picture = labelled(svg(lambda axes: axes.plot([1, 2], marker="o"), INK), 'A "title"', "1 < 2.")
    root = ElementTree.fromstring(picture)
    assert root.attrib["aria-label"] == 'A "title" 1 < 2.'
    assert [child.text for child in list(root)[:2]] == ['A "title"', "1 < 2."]
    page = inline(picture, "a")
    assert "var(--ink)" in page
    assert "var(--paper)" in page
    assert f">{INK}</text>" in page  # a title that is called like a colour
    assert not re.search(rf'style="[^"]*{INK}', page)
    names = set(re.findall(r' id="([^"]+)"', page))
    assert names
    assert all(name.startswith("a-") for name in names)
    assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page)) <= {(n, "") for n in names} | {
        ("", n) for n in names
    }
    assert " width=" not in page.split(">")[0]
    assert "viewBox" in page.split(">")[0]
    assert 'aria-label="A &quot;title&quot;' in page.split(">")[0]


def test_names_are_shortened_in_the_middle_and_never_alike() -> None:
    assert short("HierSRec") == "HierSRec"
    assert short("HierSRec with a name that is very, very long") == "HierSRec wit…, very long"
    assert len(short("m" * 300)) == LABEL
    assert short("a\x00b\nc\u202ed\ud800") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    names = short_names(["m" * 40, "m" * 41, "m" * 42, "_a", "b"])
    assert len(set(names.values())) == 5
    assert max(map(len, names.values())) <= LABEL
    assert (names["_a"], names["b"]) == (" _a", "b")


@pytest.mark.filterwarnings("error::UserWarning")
def test_hostile_names_of_models_draw_without_a_warning(tmp_path: Path) -> None:
    names = ["m" * 200, "m" * 201, "a\x00b\x1b\n\u202ec", "_hidden", "\u6a21\u578b $x_1$", "<b>&\"'"]
    one = {"model": "HierSRec", "candidates": True}
    models = [
        one | {"name": name, "settings": {"category_fields": ["class"], "hidden_size": 64 + 2 * number}}
        for number, name in enumerate(names)
    ]
    records = make_records(tmp_path, models=models, seeds=[1, 2])[1]
    for record in records:
        record["job"]["dataset"] = "d" * 180
    write_report(tmp_path / "out", records)
    found = {path.name.split("-")[0]: path.read_text() for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"accuracy", "candidates", "latency", "learning"} <= found.keys()
    for picture in found.values():
        root = ElementTree.fromstring(picture)
        shown = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert max(map(len, shown)) <= TITLE
    learning = ElementTree.fromstring(found["learning"])
    assert {name.strip() for name in short_names(names).values()} <= {
        text.strip() for text in learning.itertext()
    }


def test_what_figures_say(tmp_path: Path) -> None:
    lines = tables.entries(make_records(tmp_path)[1])
    assert says("accuracy", lines) == (
        "NDCG@10: HierSRec (every position) 0.0806; SASRecAllPositions (every position) 0.0606; "
        "SequentialPop (counted) 0.0106."
    )
    assert says("candidates", lines) == (
        "NDCG@10 kept. HierSRec (every position), cells: 88.0 % at 4 % of the items, 100.0 % at 10 % of the items."
    )
    assert "88.0 % for 6.0 % of the items scanned" in says("scanned", lines)
    # Five ways, of which candidates take .4 ms and the best of them keeps all
    assert says("latency", lines) == (
        "Of 5 ways to answer, none is both faster and better in NDCG@10 than these, fastest first: "
        "HierSRec (every position), cells (0.400 ms, 0.0806)."
    )
    assert "SequentialPop (counted) 0.0106 after 60.0 s" in says("learning", lines)


def test_what_figures_of_studies_say() -> None:
    trials = [
        {"number": 0, "values": [0.1, 3.0], "params": {"a": 1}},
        {"number": 1, "values": [0.3, 4.0], "params": {"a": 2}},
        {"number": 2, "values": None, "params": {}},
    ]
    study = {"trials": trials, "importance": {"a": 0.75, "b": 0.25}, "front": [0, 1]}
    assert study_says("history", study) == "Best: 0.3000, trial 1 of 3 (a 2)."
    assert study_says("importance", study) == "a 0.75; b 0.25."
    assert study_says("front", study) == "0.1 and 3; 0.3 and 4."


def test_the_front_is_what_none_beats_in_both() -> None:
    rows = [
        {"ms": ms, "value": value}
        for ms, value in ((3, 0.3), (1, 0.1), (2, 0.05), (1, 0.2), (4, 0.3), (5, 0.4))
    ]
    assert [(row["ms"], row["value"]) for row in front(rows)] == [(1, 0.2), (3, 0.3), (5, 0.4)]


def test_an_overview_where_there_are_several_data_sets(tmp_path: Path) -> None:
    records = make_records(tmp_path, models=["MarkovChain", "SequentialPop"])[1]
    other = [
        record | {"job": record["job"] | {"dataset": "b"}} for record in make_records(tmp_path / "2")[1][1:2]
    ]
    blocks = document([*records, *other], [], [])
    (table,) = [block for block in blocks if isinstance(block, Table) and block.title == "All data sets"]
    assert table.headers == ["model", "b, NDCG@10", "toy, NDCG@10"]
    assert table.rows == [
        ["SASRecAllPositions", "0.0606", "not run"],
        ["MarkovChain", "not run", "0.0406"],
        ["SequentialPop", "not run", "0.0106"],
    ]
    assert not [block for block in document(records, [], []) if isinstance(block, Table) and "All" in block.title[:9]
                and block.title == "All data sets"]  # fmt: skip


def compared(*differences: tuple[str, float, float], base: float = 0.1) -> Comparison:
    rows = [
        {"model": model, "label": model, "quantity": "difference", "mean": mean, "low": mean - 0.01,
         "high": mean + 0.01, "p_holm": p, "relative": mean / base, "relative_low": mean / base - 0.1,
         "relative_high": mean / base + 0.1}
        for model, mean, p in differences
    ]  # fmt: skip
    return Comparison("ref", "NDCG@10", rows)


def test_how_sure_the_first_place_is() -> None:
    found = compared(("a", 0.02, 0.05), ("b", -0.03, 0.049), ("c", -0.01, 0.2))
    assert found.sentence("a") == (
        "a against ref: +20.0 % (95 %: +10.0 to +30.0 %), not significant (p after Holm 0.0500)"
    )
    # Where the reference is the best, beside the runner-up
    assert (
        compared(("b", -0.03, 0.049), ("c", -0.01, 0.2)).sentence("ref").startswith("c against ref: -10.0 %")
    )
    # Nothing is a share of 0
    assert compared(("a", 0.02, 0.01), base=float("nan")).sentence("a") == (
        "a against ref: +0.0200 (95 %: +0.0100 to +0.0300), significant (p after Holm 0.0100)"
    )
    assert found.signs() == {"b": BELOW}
    assert compared().sentence("ref") == ""
