"""`hiersrec doctor`: what is installed, what is missing, and the one command that gets it.

Versions come from the packages' metadata, which tell them even where a package cannot be imported. What cannot be known
without importing (whether RecBole runs here, which GPU torch sees) is asked last.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from shlex import quote
from tempfile import TemporaryFile
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from recbole_hiersrec import __version__, resources
from recbole_hiersrec.benchmark.environment import processor
from recbole_hiersrec.errors import HierSRecError
from recbole_hiersrec.names import INSTALL, RECBOLE_VERSION

DISTRIBUTION = "recbole-hiersrec"
RECBOLE = "recbole"


class Wanted(NamedTuple):
    """What the package asks for.

    Attributes:
        python: allowed versions of Python.
        needed: packages it does not work without, RecBole among them whatever pip could resolve.
        extras: name of an extra -> its packages.
    """

    python: SpecifierSet
    needed: list[Requirement]
    extras: dict[str, list[Requirement]]


@dataclass(frozen=True)
class Package:
    """A requirement and what is there of it; ``found`` is empty where nothing is."""

    wanted: Requirement
    found: str

    @property
    def fits(self) -> bool:
        """Whether it is installed in an allowed version."""
        return bool(self.found) and self.wanted.specifier.contains(self.found, prereleases=True)

    def row(self) -> list[str]:
        """Name, version, and what is wrong with it."""
        allowed = f"wanted: {self.wanted.specifier}" if self.wanted.specifier else ""
        state = "" if self.fits else "outside the range" if self.found else "missing"
        return [self.wanted.name, self.found or "-", allowed, state]


@dataclass(frozen=True)
class Examination:
    """All that was found; ``faults`` is empty where everything needed is there."""

    packages: list[Package]
    extras: dict[str, list[Package]]
    machine: list[list[str]]
    folders: list[list[str]]
    faults: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Tables, then what is wrong and how to get it right."""
        blocks = [
            f"hiersrec {__version__}, {sys.executable}",
            _table(self.machine),
            _table(package.row() for package in self.packages),
            "extras, not needed:\n" + _table(self._extra_rows()),
            _table(self.folders),
        ]
        wrong = [f"wrong: {fault}" for fault in self.faults]
        command = install_command([package.wanted for package in self.packages if not package.fits])
        remedy = [f"run: {command}"] if command else []
        return "\n\n".join([*blocks, "\n".join([*wrong, *remedy]) or "Everything that is needed is there."])

    def _extra_rows(self) -> Iterable[list[str]]:
        for name, packages in self.extras.items():
            lacking = [package.wanted for package in packages if not package.fits]
            yield [name, f"run: {install_command(lacking)}" if lacking else "there"]


def examine(folders: Sequence[Path]) -> Examination:
    """Look at packages, machine and ``folders``; imports torch and RecBole if they can be."""
    wanted = requirements()
    packages = [Package(requirement, installed(requirement.name)) for requirement in wanted.needed]
    extras = {
        name: [Package(requirement, installed(requirement.name)) for requirement in asked]
        for name, asked in wanted.extras.items()
    }
    faults = [
        f"{package.wanted}: {f'found {package.found}' if package.found else 'not installed'}"
        for package in packages
        if not package.fits
    ]
    python = platform.python_version()
    if not wanted.python.contains(python, prereleases=True):
        faults.insert(0, f"Python {wanted.python}: found {python}")
    unusable = recbole_fault()
    machine = [
        ["python", f"{python} ({wanted.python} is wanted)"],
        ["platform", platform.platform()],
        ["processor", f"{processor()}, {_cores()}"],
        ["threads", _threads()],
        ["gpu", gpu()],
        ["RecBole", unusable or "imported and mended"],
    ]
    if unusable and not faults:  # otherwise it follows from what is missing
        faults = [unusable]
    return Examination(packages, extras, machine, [folder_row(folder) for folder in folders], faults)


def requirements() -> Wanted:
    """What this package asks for here: of a checkout its pyproject.toml, which an installation may lag behind."""
    pyproject = resources.root() / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        python, needed = project["requires-python"], [Requirement(text) for text in project["dependencies"]]
        extras = {
            name: [Requirement(text) for text in asked]
            for name, asked in project["optional-dependencies"].items()
        }
    else:
        told = metadata.metadata(DISTRIBUTION)
        every = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
        python, needed = told["Requires-Python"], [asked for asked in every if _of_extra(asked, "")]
        extras = {
            name: [asked for asked in every if _of_extra(asked, name) and asked not in needed]
            for name in told.get_all("Provides-Extra") or ()
        }
    needed = [asked for asked in needed if _of_extra(asked, "") and asked.name != RECBOLE]
    return Wanted(SpecifierSet(python), [Requirement(f"{RECBOLE}=={RECBOLE_VERSION}"), *needed], extras)


def installed(name: str) -> str:
    """Version of a package by its metadata; empty where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def install_command(lacking: Sequence[Requirement]) -> str:
    """The one line for a shell that installs them; empty where nothing lacks.

    Where pip cannot resolve RecBole, whose ray has no wheel for Python >= 3.12, it comes without its dependencies.
    """
    apart = sys.version_info >= (3, 12)
    together = [asked for asked in lacking if not (apart and asked.name == RECBOLE)]
    names = " ".join(quote(f"{asked.name}{asked.specifier}") for asked in together)
    commands = [f"{quote(sys.executable)} -m pip install {names}"] if together else []
    if len(together) < len(lacking):
        commands.append(f"{quote(sys.executable)} -m {INSTALL}")
    return " && ".join(commands)


def recbole_fault() -> str:
    """Why RecBole cannot be used here with this package's changes, in one line; empty if it can."""
    from recbole_hiersrec.compat import register

    try:
        register()
    except HierSRecError as error:
        return str(error)
    except Exception as error:  # whatever the import of a broken package raises is what was asked for
        return f"RecBole cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def gpu() -> str:
    """The GPUs that torch sees, or why it is not known."""
    try:
        import torch
    except Exception as error:  # as above; a missing library of a GPU build is an OSError
        return f"unknown, torch cannot be imported: {' '.join(str(error).split())}"
    if not torch.cuda.is_available():
        return "none"
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return ", ".join(f"{one.name}, {one.total_memory / 2**30:.0f} GiB" for one in found)


def folder_row(folder: Path) -> list[str]:
    """Whether files can be written to a folder that is there, or could be made, and how much room there is."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with TemporaryFile(dir=there):
            state = "writable"
    except OSError as error:
        state = f"not writable: {there}: {error.strerror}"
    if there != folder.absolute():
        state += ", not there yet"
    return [f"{folder}/", state, f"{shutil.disk_usage(there).free / 2**30:,.1f} GiB free"]


def _of_extra(asked: Requirement, extra: str) -> bool:
    return asked.marker is None or asked.marker.evaluate({"extra": extra})


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} of {os.cpu_count()} cores for this process"


def _threads() -> str:
    given = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={given}" if given else "OMP_NUM_THREADS is not set; suites set it for their jobs"


def _table(rows: Iterable[list[str]]) -> str:
    """Columns of text, which needs no package: this one may be read where tabulate is missing."""
    lines = [list(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    shown = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in shown)
