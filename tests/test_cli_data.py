"""`hiersrec data`: what is printed, what is written, and that every fault is one line and exit status 2."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from recbole_hiersrec.cli import app
from recbole_hiersrec.data.manifest import read_manifest
from recbole_hiersrec.data.sources.registry import SOURCES
from recbole_hiersrec.errors import InputError

MAP = ("--map", "session=visit_id", "--map", "item=sku", "--map", "time=ts")
SMALL = ("--item-core", "1", "--valid", "0.2", "--test", "0.2")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def fails(*arguments: str | Path) -> str:
    """The one line of a command that goes wrong."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("hiersrec: error: ")
    return lines[0]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """clicks.parquet, clicks.csv and products.csv of a small shop; ten visits, one after the other."""
    rows = [(f"v{v}", f"p{(v + step) % 5}", 1.6e9 + 100 * v + step) for v in range(10) for step in range(4)]
    clicks = pl.DataFrame(rows, schema=["visit_id", "sku", "ts"], orient="row")
    clicks.write_parquet(tmp_path / "clicks.parquet")
    clicks.write_csv(tmp_path / "clicks.csv", float_scientific=False)
    products = ["sku,dept,category,type,label", *(f"p{n},D{n % 2},C{n % 3},T{n},thing {n}" for n in range(6))]
    (tmp_path / "products.csv").write_text("\n".join(products) + "\n")
    return tmp_path


def own(shop: Path, *more: str | Path, events: str = "clicks.parquet") -> tuple[str | Path, ...]:
    """A preparation of the shop's log."""
    items = ("--items", shop / "products.csv", "--levels", "dept,category,type", "--title", "label")
    return (
        "prepare",
        "my-shop",
        "--events",
        shop / events,
        *items,
        *MAP,
        *SMALL,
        "--data-path",
        shop / "d",
        *more,
    )


def test_a_log_of_your_own_from_the_first_command_to_the_last(shop: Path) -> None:
    result = run(*own(shop))
    assert result.exit_code == 0, result.output
    assert (
        "split: temporal; training interactions after the earliest test interaction: 0 of 24 (0.0 %)"
        in result.stdout
    )
    assert "category levels: dept (2), category (5), type (5)" in result.stdout
    folder = shop / "d" / "my-shop"
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json", "my-shop.inter", "my-shop.item", "my-shop.user", "my-shop.yaml", "taxonomy.npz",
    ]  # fmt: skip
    again = run(*own(shop))
    assert again.stdout == f"{folder}: nothing to do, input, settings and files are as they were\n"
    described = run("describe", "my-shop", "--data-path", shop / "d")
    assert described.exit_code == 0, described.output
    assert "training interactions after the earliest test interaction: 0 of 24 (0.0 %)" in described.stdout
    assert len(list((folder / "figures").glob("*.png"))) == 3
    assert run(*own(shop)).stdout == again.stdout  # the figures are no reason to refuse, or to prepare again
    assert run(*own(shop, "--last", "3")).exit_code == 0
    assert "my-shop" in run("list", "--data-path", shop / "d").stdout


def test_text_and_parquet_give_the_same_files(shop: Path) -> None:
    assert run(*own(shop)).exit_code == 0
    assert run(*own(shop, "--as", "other", events="clicks.csv")).exit_code == 0
    for suffix in ("inter", "user", "item"):
        first, second = (shop / "d" / name / f"{name}.{suffix}" for name in ("my-shop", "other"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("installed", [True, False])
def test_list_names_every_source_with_its_files_and_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    def locate() -> Path:
        if not installed:
            raise InputError("not installed")
        return tmp_path

    monkeypatch.chdir(tmp_path)
    source = SOURCES["completejourney"]
    monkeypatch.setitem(SOURCES, "completejourney", replace(source, locate=locate))
    shown = run("list").stdout
    for source in SOURCES.values():
        assert source.name in shown
        assert " ".join(source.licence.split()[:2]) in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.count("needs pip\n") == (0 if installed else 1)


def test_what_cannot_be_downloaded_says_which_files_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for source in SOURCES.values():
        if source.locate is None:
            message = fails("prepare", source.name)
            assert "cannot be downloaded: put " in message
            assert "--raw FOLDER" in message
            message = fails("prepare", source.name, "--raw", tmp_path)
            assert f"{tmp_path}" in message
            assert "is missing" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prepare", "amazon-beaty"), "unknown data set 'amazon-beaty'; did you mean 'amazon-beauty'?"),
        (
            ("prepare", "x", "--items", "a.csv", "--levels", "a"),
            "--items belongs to a log of your own; --events FILE is",
        ),
        (("prepare", "ml-100k", "--split", "random"), "split: input should be 'temporal' or 'leave-one-out'"),
        (
            ("prepare", "ml-100k", "--test", "7days"),
            "test: received '7days'; allowed: a fraction as 0.1 or days as 7d",
        ),
        (
            ("prepare", "ml-100k", "--test", "0.6", "--valid", "0.4"),
            "valid and test together must be less than 1",
        ),
        (("prepare", "ml-100k", "--item-core", "0"), "item_core: input should be greater than or equal to 1"),
        (
            ("prepare", "ml-100k", "--as", "a/b"),
            "name of the data set: received 'a/b'; allowed: at most 100 letters, digits",
        ),
        (("prepare", "ml-100k", "--as", "ml-100k"), "RecBole reads its own copy under this name"),
        (("prepare", "ml-100k", "--as", "a" * 101), "allowed: at most 100 letters, digits"),
        (("prepare", "ml-100k", "--as", "a\n"), "allowed: at most 100 letters, digits"),
        (("prepare", "ml-100k", "--time-unit", "ms"), "--time-unit belongs to a log of your own"),
        (("prepare", "globo", "--events", "x.csv"), "name 'globo' is a public data set's; choose another"),
        (("describe", "nothing"), "unknown data set 'nothing'"),
        (("generate", "x", "--set", "repaet=0.1"), "unknown key 'repaet'; did you mean 'repeat'?"),
        (("generate", "x", "--set", "repeat"), "--set: received 'repeat'; allowed: KEY=VALUE"),
        (("generate", "x", "--level-sizes", "20,x"), "level_sizes"),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(*arguments)


def test_bad_rows_stop_or_are_left_out_and_listed(shop: Path) -> None:
    path = shop / "clicks.csv"
    path.write_text(path.read_text() + "v9,NA,1600000904\nv9,p1,soon\n")
    message = fails(*own(shop, events="clicks.csv"))
    assert f"{path}, row 42, column 'sku': received 'NA'" in message
    assert not (shop / "d" / "my-shop").exists()
    result = run(*own(shop, "--bad-rows", "skip", events="clicks.csv"))
    assert "rows rejected: 2, see rejected.csv" in result.stdout
    rejected = (shop / "d" / "my-shop" / "rejected.csv").read_text().splitlines()
    assert [line.split(",")[:4] for line in rejected[1:]] == [
        ["clicks.csv", "42", "sku", "NA"],
        ["clicks.csv", "43", "ts", "soon"],
    ]
    assert (read_manifest(shop / "d" / "my-shop") or {})["rejected_rows"] == 2


def test_faults_of_files_are_one_line(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    (shop / "cut.csv.gz").write_bytes(gzip.compress((shop / "clicks.csv").read_bytes())[:-20])
    (shop / "empty.csv").touch()
    (shop / "semicolons.csv").write_text((shop / "clicks.csv").read_text().replace(",", ";"))
    for name, message in {
        "gone.csv": "no such file",
        "cut.csv.gz": "cut short",
        "empty.csv": "is empty",
    }.items():
        line = fails(*own(shop, events=name))
        assert str(shop / name) in line
        assert message in line
    line = fails(*own(shop, "--separator", ",", events="semicolons.csv"))
    assert "semicolon" in line
    assert "separator" in line
    assert run(*own(shop, "--as", "found", events="semicolons.csv")).exit_code == 0  # without being told
    assert "'skuu'" in fails(
        "prepare", "x", "--events", shop / "clicks.csv", "--map", "session=visit_id", "--map", "item=skuu"
    )
    assert "nothing is left after filtering; of 40 interactions" in fails(*own(shop, "--min-length", "9"))


def test_describe_misses_the_parts_that_a_manifest_speaks_of(shop: Path) -> None:
    run(*own(shop))
    (shop / "d" / "my-shop" / "my-shop.user").unlink()
    assert "my-shop.user is missing; prepare the data set again" in fails(
        "describe", "my-shop", "--data-path", shop / "d"
    )


def test_list_goes_on_where_a_manifest_is_damaged(shop: Path) -> None:
    run(*own(shop))
    (shop / "d" / "foreign").mkdir()
    (shop / "d" / "foreign" / "manifest.json").write_text('{"hello": 1}')
    (shop / "d" / "half").mkdir()
    (shop / "d" / "half" / "manifest.json").write_text('{"schema": 1}')
    shown = run("list", "--data-path", shop / "d").stdout
    assert shown.count("not read: manifest.json is damaged or not hiersrec's") == 2
    assert "my-shop" in shown


def test_generate_replaces_no_file(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("mine")
    assert f"{tmp_path / 'items.csv'} exists" in fails("generate", tmp_path, "--clicks", "10")
    assert (tmp_path / "items.csv").read_text() == "mine"


def test_generated_logs_are_prepared_like_any_other(tmp_path: Path) -> None:
    made = run(
        "generate",
        tmp_path,
        "--clicks",
        "4000",
        "--items",
        "60",
        "--level-sizes",
        "3,12",
        "--set",
        "repeat=0.1",
    )
    assert made.exit_code == 0, made.output
    command = made.stdout.strip().splitlines()[-1]
    arguments = command.removeprefix("next: hiersrec data ").replace("NAME", "made").split()
    prepared = run(*arguments, "--data-path", tmp_path / "d")
    assert prepared.exit_code == 0, prepared.output
    manifest = read_manifest(tmp_path / "d" / "made") or {}
    assert manifest["read"]["interactions"] == 4000
    assert [level["categories"] for level in manifest["levels"]] == [3, 12]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "prepare"], "Missing argument 'name'."),
        (["data", "prepare", "x", "--item-core", "1.5"], "Invalid value for '--item-core'"),
        (["data", "prepare", "x", "--bogus"], "No such option: --bogus"),
        (["dota"], "No such command 'dota'"),
    ],
)
def test_a_wrong_option_is_one_line_too(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "recbole_hiersrec", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hiersrec: error: {message}")
    assert len(done.stderr.splitlines()) == 1
