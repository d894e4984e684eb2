"""A table of text, and its views: Markdown, terminal, CSV, LaTeX; the HTML view is templates/blocks.html.j2."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from math import ceil

from recbole_hiersrec.report.escaping import latex, markdown

MARK = "†"
FEWER = "‡"
TEXT_COLUMNS = (
    "model", "items", "level", "slice", "stopped by", "training data", "rule", "settings", "chosen on", "sampler",
    "differs in", "data set", "protocol", "verdict", "side information", "suite",
)  # fmt: skip
ABOVE, BELOW = "▲", "▼"
LATEX_WIDTH, LATEX_HEIGHT = 110, 42
"""Characters beside each other, which LaTeX's article has in about 7 points; rows of a page."""
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Table:
    """A title, headers, and rows of text.

    Attributes:
        title: what it shows.
        headers: of the columns.
        rows: cells, as many a row as there are headers.
        notes: below it, in every view.
        higher: columns in which the highest number is the best.
        lower: columns in which the lowest is.
        across: first of the columns that compete within each row, the highest number being the best; 0: none.
        marked: (row, column) -> :data:`ABOVE` or :data:`BELOW`, shown in HTML and LaTeX.
        mark_note: what these marks mean.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    higher: Sequence[str] = ()
    lower: Sequence[str] = ()
    across: int = 0
    marked: Mapping[tuple[int, int], str] = field(default_factory=dict)
    mark_note: str = ""

    def text(self, style: str) -> str:
        """The table in a style of tabulate, with its footnotes."""
        from tabulate import tabulate

        rows, headers = self.rows, self.headers
        if style == "github":
            rows = [[markdown(cell).replace("|", r"\|") for cell in row] for row in rows]
            headers = [markdown(header).replace("|", r"\|") for header in headers]
        align = ["left" if is_text(header) else "right" for header in self.headers]
        body = tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align)
        notes = map(markdown, self.notes) if style == "github" else self.notes
        return "\n\n".join([body, *notes])

    def csv(self) -> str:
        """Headers and cells, quoted where they need it."""
        found = StringIO(newline="")
        csv.writer(found, lineterminator="\n").writerows([self.headers, *self.rows])
        return found.getvalue()

    def latex(self, caption: str) -> str:
        """Floats with booktabs: best bold, second underlined, marks as arrows; what is too wide or high goes below."""
        floats: list[list[str]] = []
        height = LATEX_HEIGHT
        for columns in self._panels():
            for first in range(0, max(1, len(self.rows)), LATEX_HEIGHT):
                rows = range(first, min(first + LATEX_HEIGHT, len(self.rows)))
                if height + len(rows) > LATEX_HEIGHT:
                    floats, height = [*floats, []], 0
                floats[-1] += self._tabular(columns, rows)
                height += len(rows) + 3
        notes = [rf"\par\medskip\raggedright\footnotesize {latex(note)}" for note in self.all_notes]
        texts = []
        for number, found in enumerate(floats, start=1):
            part = f" ({number} of {len(floats)})" if len(floats) > 1 else ""
            head = [r"\begin{table}", r"\centering\footnotesize", rf"\caption{{{latex(caption + part)}}}"]
            texts.append(
                "\n".join([*head, *found, *(notes if number == len(floats) else ()), r"\end{table}"])
            )
        return "\n\n".join(texts)

    def _tabular(self, columns: Sequence[int], rows: Sequence[int]) -> list[str]:
        """Some columns of some rows, never wider than a line."""
        places = self.places()
        arrows = {ABOVE: r"$^{\uparrow}$", BELOW: r"$^{\downarrow}$"}
        styles = {1: r"\textbf{%s}", 2: r"\underline{%s}"}
        lines = [" & ".join(latex(self.headers[column]) for column in columns) + r" \\", r"\midrule"]
        for row in rows:
            cells = [
                styles.get(places.get((row, column), 0), "%s") % latex(self.rows[row][column])
                + arrows.get(self.marked.get((row, column), ""), "")
                for column in columns
            ]
            lines.append(" & ".join(cells) + r" \\")
        kinds = "".join("l" if is_text(self.headers[column]) else "r" for column in columns)
        return [
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            *(rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", *lines, r"\bottomrule"),
            r"\end{tabular}}\par\smallskip",
        ]

    def _panels(self) -> list[list[int]]:
        """Columns that fit beside each other, about as many a panel, each after those that say what a row is."""
        cells = [self.headers, *self.rows]
        widths = [max(len(row[column]) for row in cells) + 2 for column in range(len(self.headers))]
        names = self.headers.index("model") if "model" in self.headers else 0
        while names + 1 < len(self.headers) and is_text(self.headers[names + 1]):
            names += 1
        first, others = [*range(names + 1)], [*range(names + 1, len(self.headers))]
        room = max(LATEX_WIDTH - sum(widths[: names + 1]), 1)
        count = ceil(sum(widths[names + 1 :]) / room)
        size = ceil(len(others) / count) if count else 1
        return [first + others[at : at + size] for at in range(0, max(1, len(others)), size)]

    @property
    def all_notes(self) -> list[str]:
        """Footnotes of the views that show marks."""
        return [*([self.mark_note] if self.marked else []), *self.notes]

    def places(self) -> dict[tuple[int, int], int]:
        """(row, column) of the best (1) and second best (2) of their competitors, as shown; of equals, all are.

        Lines that are not ranked (:data:`MARK`, :data:`FEWER`) do not compete, nor does anything without a rival.
        """
        ranked = [
            number
            for number, row in enumerate(self.rows)
            if not any(sign in cell for cell in row for sign in (MARK, FEWER))
        ]
        found: dict[tuple[int, int], int] = {}
        for column, header in enumerate(self.headers):
            if header in self.higher or header in self.lower:
                sign = 1 if header in self.higher else -1
                found |= self._best([(row, column) for row in ranked], sign)
        if self.across:
            for row in range(len(self.rows)):
                found |= self._best([(row, column) for column in range(self.across, len(self.headers))], 1)
        return found

    def _best(self, cells: Sequence[tuple[int, int]], sign: int) -> dict[tuple[int, int], int]:
        values = {
            at: sign * value for at in cells if (value := number_in(self.rows[at[0]][at[1]])) is not None
        }
        order = sorted(set(values.values()), reverse=True)
        if len(values) < 2 or len(order) < 2:
            return {}
        best = [at for at in values if values[at] == order[0]]
        # With two that are best there is no second, as in a race.
        second = [at for at in values if values[at] == order[1]] if len(best) == 1 else []
        return dict.fromkeys(best, 1) | dict.fromkeys(second, 2)


def is_text(header: str) -> bool:
    """Whether a column holds words, which are aligned left and sorted as such."""
    return header in TEXT_COLUMNS


def number_in(cell: str) -> float | None:
    """The number that a cell begins with, None where it begins with none."""
    found = NUMBER.match(cell)
    return float(found.group().replace(",", "")) if found else None
