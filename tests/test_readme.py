"""The README: its code runs, and its table is that of the published records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_hiersrec.records import read_text
from recbole_hiersrec.report.comparison import compare
from recbole_hiersrec.report.page import terminal_lines

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CODE)))
def test_code_runs(number: int, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(CODE[number], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "ndcg" in done.stdout.lower()


def test_the_table_is_that_of_the_published_records() -> None:
    published = ROOT / "results" / "quickstart"
    jobs = json.loads((published / "jobs.json").read_text(encoding="utf-8"))
    records = [
        read_text((published / "jobs" / job["key"] / "record.json").read_text(encoding="utf-8"))
        for job in jobs
    ]
    shown = README.split("<!-- quickstart -->")[1].split("<!-- /quickstart -->")[0]
    lines = terminal_lines(records, compare(published, records))
    wanted = [line.rstrip() for line in lines.strip().splitlines()]
    assert [line[4:].rstrip() for line in shown.strip("\n").splitlines()] == wanted


def test_the_larger_table_is_that_of_the_published_reports() -> None:
    rows = README.split("<!-- larger -->")[1].split("<!-- /larger -->")[0].strip().splitlines()[2:]
    assert len(rows) == 9
    report = ""
    for row in rows:
        data, model, ndcg, recall, suite = (cell.strip() for cell in row.strip("|").split("|"))
        if suite:
            name = data.split(",")[0].lower().replace(" ", "-")
            page = (ROOT / re.findall(r"\((.*)\)", suite)[0]).read_text(encoding="utf-8")
            report = page.split(f"\n## {name}\n")[1]
            cases = re.findall(r"([\d,]+) cases", data)[0].replace(",", "")
            assert f"of {cases} test cases" in report
        found = re.findall(
            rf"^\| +\d+ \| {model} \(every position\) +\|([^|]*)\|([^|]*)\|", report, re.MULTILINE
        )
        assert [cell.strip() for cell in found[0]] == [ndcg, recall]
