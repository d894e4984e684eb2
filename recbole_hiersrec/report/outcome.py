"""What `hiersrec data prepare` says when it is done: what each filter removed, the parts, leakage, levels, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from textwrap import fill
from typing import Any

from recbole_hiersrec.data.prepare import Outcome
from recbole_hiersrec.data.sessions import Leakage

WIDTH = 100
SIZES = ("sessions", "items", "interactions")


def outcome_text(outcome: Outcome, data_path: Path) -> str:
    """Everything the manifest says that a user should see at once; one line if nothing had to be done."""
    manifest, name = outcome.manifest, outcome.folder.name
    if not outcome.changed:
        return f"{outcome.folder}: nothing to do, input, settings and files are as they were"
    lines = [f"{outcome.folder}: prepared", "", _counts(manifest), ""]
    lines += [_wrapped(line) for line in _remarks(manifest)]
    where = "" if data_path == Path("dataset") else f" --data-path {quote(str(data_path))}"
    lines += ["", f"next: hiersrec data describe {name}{where}"]
    return "\n".join(lines)


def leakage_line(leakage: Mapping[str, Any]) -> str:
    """The sentence that stands in every report."""
    text = Leakage(leakage["training"], leakage["after"]).text()
    return f"training interactions after the earliest test interaction: {text}"


def _counts(manifest: Mapping[str, Any]) -> str:
    """A table: what was read, what each filter left, the parts."""
    from tabulate import tabulate

    rows: list[Sequence[str]] = [["", *SIZES], ["read", *_numbers(manifest["read"])]]
    effects: dict[str, dict[str, int]] = {}
    for count in manifest["counts"]:
        removed = effects.setdefault(count["step"], dict.fromkeys(SIZES, 0))
        for key in SIZES:
            removed[key] += count["after"][key] - count["before"][key]
    rows += [[f"  {step}", *(_change(removed[key]) for key in SIZES)] for step, removed in effects.items()]
    rows.append(["left", *_numbers(manifest["result"])])
    for part, found in manifest["parts"].items():
        rows.append([f"  {part}", f"{found['sessions']:,}", "", f"{found['interactions']:,}"])
    return tabulate(
        rows, tablefmt="plain", disable_numparse=True, colalign=["left", "right", "right", "right"]
    )


def _remarks(manifest: Mapping[str, Any]) -> list[str]:
    settings, levels = manifest["settings"], manifest["levels"]
    remarks = [f"split: {settings['split']}; {leakage_line(manifest['leakage'])}"]
    if manifest["ties_in_time"]:
        remarks.append(f"ties in time (clicks at the time of the one before): {manifest['ties_in_time']:,}")
    if levels:
        named = ", ".join(
            f"{level['name']} ({level['categories']:,}{', learned' if level['learned'] else ''})"
            for level in levels
        )
        remarks.append(f"category levels: {named}")
    else:
        remarks.append("category levels: none; --learn-taxonomy learns some from the training part")
    if manifest["items_without_a_row"]:
        remarks.append(f"items without a row in the catalogue: {manifest['items_without_a_row']:,}")
    if manifest["rejected_rows"]:
        remarks.append(f"rows rejected: {manifest['rejected_rows']:,}, see rejected.csv")
    return remarks + [f"note: {note}" for note in manifest["notes"]]


def _numbers(sizes: Mapping[str, int]) -> list[str]:
    return [f"{sizes[key]:,}" for key in SIZES]


def _change(number: int) -> str:
    return f"{number:+,}" if number else "0"


def _wrapped(line: str) -> str:
    return fill(line, WIDTH, subsequent_indent="  ")
