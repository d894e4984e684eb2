"""What is known of a public data set before it is read: where it comes from, and which files it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_hiersrec.data.log import BadRows, RawLog
from recbole_hiersrec.errors import InputError


@dataclass(frozen=True)
class Source:
    """A public data set.

    Attributes:
        name: as in ``hiersrec data prepare NAME``.
        domain: what is clicked or bought.
        licence: as its publisher states it.
        obtain: one sentence: where to get it, and how.
        files: file names that must lie in the raw folder. ``a|b``: the first of the alternatives that is there;
            an empty alternative, as in ``a|``, makes it optional. A name may be a pattern (``hour_*.csv``): all
            files that match, in the order of their names.
        published: sessions, items and interactions as published, for comparison; None where unknown.
        levels: names of the category levels, coarse to fine; empty: none, they can be learned.
        read: (raw folder, what to do with bad rows) -> the log.
        defaults: settings of preparation that differ from the general ones.
        output: folder of the prepared data set, where it cannot be ``name``.
        locate: folder of the files that a package ships; raises :class:`InputError` naming the pip command.
    """

    name: str
    domain: str
    licence: str
    obtain: str
    files: tuple[str, ...]
    published: tuple[int | None, int | None, int | None]
    levels: tuple[str, ...]
    read: Callable[[Path, BadRows], RawLog]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    output: str | None = None
    locate: Callable[[], Path] | None = None

    @property
    def wanted(self) -> str:
        """The names of its files, for messages."""
        return ", ".join(
            entry[:-1] + " (optional)" if entry.endswith("|") else entry.replace("|", " or ")
            for entry in self.files
        )

    def inputs(self, folder: Path) -> tuple[Path, ...]:
        """The files of this source in ``folder``, in a fixed order; their hashes identify the input.

        Raises:
            InputError: one of them is not there; the message says exactly which files to put where.
        """
        found: list[Path] = []
        for entry in self.files:
            names = entry.split("|")
            matches = (sorted(path for path in folder.glob(name) if path.is_file()) for name in names if name)
            present = next((paths for paths in matches if paths), [])
            if not present and "" not in names:
                raise InputError(
                    f"data set '{self.name}': {folder / names[0]} is missing; put {self.wanted} "
                    f"into one folder and pass it as --raw FOLDER ({self.obtain})"
                )
            found += present
        return tuple(found)
