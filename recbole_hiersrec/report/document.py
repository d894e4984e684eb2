"""What a report consists of, whatever it is written in: a list of blocks. Tables are blocks, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_hiersrec.report.table import Table


@dataclass(frozen=True)
class Heading:
    """A heading of a level, 1 being the title's."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; words between ** are strong. ``lead``: one of those that say what was found."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Bullets:
    """Facts, a line each."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Commands, a line each."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A picture that lies in figures/.

    Attributes:
        file: its name there.
        caption: what it shows.
        says: the same in words and numbers, for those who do not see it.
        of: what the caption is preceded by.
    """

    file: str
    caption: str
    says: str
    of: str = ""

    @property
    def full_caption(self) -> str:
        """The caption, with what it is of."""
        return f"{self.of}: {self.caption}" if self.of else self.caption


Block = Heading | Text | Bullets | Code | Figure | Table


def facts(values: Mapping[str, Any]) -> Bullets:
    """Names and values."""
    return Bullets([f"{name.replace('_', ' ')}: {value}" for name, value in values.items()])


def titled(table: Table) -> list[Block]:
    """A table below its title; nothing of one without rows."""
    return [Heading(3, table.title), table] if table.rows else []
