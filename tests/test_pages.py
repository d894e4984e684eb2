"""README and docs/: every block of code is run, or read by what reads it; commands exist, and links lead somewhere.

The pages of :data:`STORIES` are followed from top to bottom in an empty folder, as a reader would. So are the README
and what goes on from it (:data:`README_STORY`), with the files of a made-up shop. Only parsed are commands that want
what cannot be brought along (:data:`WANTED`) and docs/reproduce.md, whose suites and scripts take hours on data to
fetch: the scripts have tests of their own.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import made
import polars as pl
import pytest
import typer
import yaml
from pages import PAGES, ROOT, Block, blocks, inline_commands, of_language, shell_lines, text_of
from scripts import load_script
from typer.exceptions import TyperException

from recbole_hiersrec.benchmark.checks import check_values
from recbole_hiersrec.cli import app
from recbole_hiersrec.reading import Settings, parse, read_yaml
from recbole_hiersrec.settings import SuiteSettings
from recbole_hiersrec.tuning.space import KINDS, read_space

STORIES = (
    "docs/tutorial.md",
    "docs/own-data.md",
    "docs/add-a-model.md",
    "docs/add-a-source.md",
    "docs/add-a-rule.md",
    "docs/report.md",
    "docs/recommend.md",
)
README_STORY = ("README.md", "docs/tune.md")
WANTED = {
    "FOLDER": "a public data set's files",
    "make": "what runs these tests",
    "optuna-dashboard": "a server",
}
"""Words of commands that are not run, and what stands in the way."""
GIVEN = {"docs/report.md": ("runs/quickstart", "results/quickstart")}
"""Folders that a page takes for granted: copies of the published quickstart."""
LANGUAGES = {"python", "yaml", "sh", "csv"}
PATIENCE = 1800
"""Seconds; the tutorial starts some twenty processes, which take a minute or two of a processor."""
SHORTEST = str(ROOT / "tests" / "shortest.py")
COMMAND = typer.main.get_command(app)


def test_blocks_are_of_languages_that_are_tried() -> None:
    assert {block.language for page in PAGES for block in blocks(page)} == LANGUAGES


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", of_language("python", *(page for page in PAGES if page not in (*STORIES, "README.md"))), ids=str
)
def test_python_runs(block: Block, tmp_path: Path) -> None:
    run([sys.executable, "-c", block.text], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("page", STORIES)
def test_a_story_can_be_followed(page: str, tmp_path: Path) -> None:
    for folder in GIVEN.get(page, ()):
        shutil.copytree(ROOT / "results" / "quickstart", tmp_path / folder)
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            (tmp_path / "block.py").write_text(block.text, encoding="utf-8")
            run([sys.executable, "block.py"], tmp_path)
        elif block.language == "sh":
            for line in block.text.splitlines():
                follow(line, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
def test_the_readme_can_be_followed(tmp_path: Path) -> None:
    make_shop(tmp_path)
    (suite,) = (block.text for block in blocks("README.md") if "models:" in block.text)
    (tmp_path / "my-suite.yaml").write_text(suite, encoding="utf-8")
    lines = [line for page in README_STORY for line in shell_lines(page)]
    left = [line for line in lines if WANTED.keys() & set(line.split())]
    assert len(left) <= 5
    for line in lines:
        if line not in left:
            if "other-machine/my-suite" in line:
                shutil.copytree(tmp_path / "runs/my-suite", tmp_path / "other-machine/my-suite")
            follow(line.replace("results/*", "results/my-suite"), tmp_path, tmp_path)
    assert {"my-shop", "my-suite"} <= {path.name for path in tmp_path.glob("*/*")}
    wanted = (
        "results/my-suite/report.html",
        "both/my-suite/accuracy.csv",
        "paper/report.tex",
        "site/index.html",
        "properties/model/HierSRec.my-shop.yaml",
        "model/checkpoint.json",
        "recs.parquet",
    )
    assert [name for name in wanted if not (tmp_path / name).is_file()] == []


def make_shop(folder: Path) -> None:
    """clicks.parquet and products.csv, with the columns that the README's commands name."""
    run(
        [sys.executable, SHORTEST, "data", "generate", "raw", "--clicks", "6000", "--items", "200",
         "--level-sizes", "3,8,20"], folder,
    )  # fmt: skip
    clicks = pl.read_parquet(folder / "raw/events.parquet")
    items = pl.read_csv(folder / "raw/items.csv", infer_schema=False)
    sku = {item: f"B{number:03}" for number, item in enumerate(items["item"], start=1)}
    renamed = pl.col("item").cast(pl.String).replace_strict(sku).alias("sku")
    clicks.select(renamed, visit_id="session", ts="time").write_parquet(folder / "clicks.parquet")
    items.select(renamed, dept="level_1", category="level_2", type="level_3").write_csv(
        folder / "products.csv"
    )


def follow(line: str, folder: Path, exports: Path | None = None) -> None:
    """Run a line for a shell if it is one of `hiersrec`; what installs is the tests' own environment here.

    ``exports`` gets what `tune export` would write beside the defaults of this checkout.
    """
    words = shlex.split(line, comments=True)
    given = dict(word.split("=", 1) for word in words if re.match(r"[A-Z]+=", word))
    words = words[len(given) :]
    if exports is not None:
        given["HIERSREC_TEST_EXPORTS"] = str(exports)
    if words[0] == "hiersrec":
        run([sys.executable, SHORTEST, *words[1:]], folder, given)


def run(command: list[str], folder: Path, given: dict[str, str] | None = None) -> None:
    given = given or {}
    if "PYTHONPATH" in given:
        given["PYTHONPATH"] = os.pathsep.join([given["PYTHONPATH"], os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=os.environ | given,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_yaml_is_read_by_what_reads_it(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "block.yaml"
    path.write_text(block.text, encoding="utf-8")
    values = read_yaml(path)
    if "models" in values:
        parse(SuiteSettings, values, "suite")
    elif all(isinstance(value, dict) and set(value) & set(KINDS) for value in values.values()):
        read_space(path, "HierSRec")
    else:
        check_values(_model_of(block), values, "settings")


def _model_of(block: Block) -> str:
    """The model whose settings a block has: the heading above it, HierSRec's otherwise."""
    above = text_of(block.page).partition(block.text)[0]
    heading = re.findall(r"^### (\w+)$", above, re.MULTILINE)
    return (
        heading[-1]
        if heading and (ROOT / "properties" / "model" / f"{heading[-1]}.yaml").is_file()
        else "HierSRec"
    )


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist_with_their_options(page: str) -> None:
    for line in shell_lines(page):
        words = shlex.split(line, comments=True)
        words = [word.strip("[]") for word in words if not re.match(r"[A-Z]+=", word)]
        if words[0] == "hiersrec":
            understood(words[1:])
        elif words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), line
        elif words[0] == "python":
            script_arguments(words[1:])
        else:
            assert words[0] in (".", "pip", "optuna-dashboard"), line


def understood(words: list[str]) -> None:
    """Parse a command line without running it."""
    command, rest = walk(words)
    if rest and rest[0] in options(command) and hasattr(command, "commands"):
        return  # an option of the top, such as --install-completion, does something as soon as it is parsed
    try:
        command.make_context("hiersrec", list(rest))
    except TyperException as error:
        pytest.fail(f"hiersrec {' '.join(words)}: {error.format_message()}")


def walk(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words behind its name."""
    command: Any = COMMAND
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options(command: Any) -> set[str]:
    return {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_the_text_exist_with_their_options(page: str) -> None:
    for words in inline_commands(page):
        if words[0] == "COMMAND" or "|" in words:
            continue
        command, rest = walk([word for word in words if word != "..."])
        assert {word.split("=")[0] for word in rest if word.startswith("--")} <= options(command), words


@pytest.mark.parametrize(
    "words", ["bench --wrokers 2", "data prepare", "results verify", "tune run --trials x"]
)
def test_a_wrong_command_would_be_seen(words: str) -> None:
    with pytest.raises(pytest.fail.Exception):
        understood(words.split())


def script_arguments(words: list[str]) -> argparse.Namespace:
    """What a script of benchmarks/ understands of its arguments; it is not run."""

    class UnderstoodError(Exception):
        pass

    def parse_args(parser: argparse.ArgumentParser) -> None:
        raise UnderstoodError(real(parser, words[1:]))

    real = argparse.ArgumentParser.parse_args
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(UnderstoodError) as caught:
            load_script(Path(words[0]).stem).main()
    return caught.value.args[0]


LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", [*PAGES, "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    text = text_of(page)
    for target in LINK.findall(text):
        assert (folder / target).resolve().exists(), f"{page}: {target}"
        assert (folder / target).resolve().is_relative_to(ROOT), target


def test_every_setting_stands_on_the_page_with_its_meaning() -> None:
    page = text_of("docs/settings.md")
    written = set(re.findall(r"<!-- made: settings (\w+) -->", (ROOT / "docs/settings.md").read_text()))
    assert written == set(made.settings_classes())
    for name, cls in made.settings_classes().items():
        for key, field in cls.model_fields.items():
            assert field.description, f"{name}.{key} says nothing of itself"
            assert f"| `{key}` | " in page


def test_classes_of_settings_are_all_known() -> None:
    """A new one is in a module that made.py looks at, but for what only the code itself fills in."""

    def below(cls: type[Settings]) -> set[type[Settings]]:
        return {cls}.union(*map(below, cls.__subclasses__()))

    own = {cls.__name__ for cls in below(Settings) if cls.__module__.startswith("recbole_hiersrec.")}
    assert own - set(made.settings_classes()) <= {"Settings", "LogColumns", "ExportedStudy", "ExportedTrial"}


def test_a_table_of_settings_says_what_the_class_says() -> None:
    rows = made.settings("CandidateSettings").splitlines()
    assert rows[0] == "| setting | type | default | allowed | meaning |"
    found = {row.split("`")[1]: [cell.strip() for cell in row.split(" | ")] for row in rows[2:]}
    assert found["item_fractions"][1:4] == [
        "list of: number",
        "`[0.01, 0.02, 0.04, 0.08]`",
        "at least one, each more than 0, at most 1",
    ]
    assert found["list_size"][1:4] == ["whole number or nothing", "`null`", "at least 1"]
    assert found["exact"][1:4] == ["true or false", "`false`", ""]
    assert made.settings("SuiteSettings").splitlines()[2].split(" | ")[2] == "needed"


def test_keys_of_this_package_stand_on_the_page() -> None:
    from recbole_hiersrec.keys import EXTRA_KEYS

    page = text_of("docs/settings.md")
    assert [key for key in sorted(EXTRA_KEYS) if f"`{key}`" not in page] == []


def test_every_trap_is_listed() -> None:
    """What says which line of RecBole it changes is called by register(), and so it stands on the page."""
    found = set()
    for path in (ROOT / "recbole_hiersrec" / "compat").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "Upstream:" in (ast.get_docstring(node) or ""):
                found.add((path.stem, node.name))
    assert len(found) > 30
    assert found == set(made.applied())
    page = text_of("docs/traps.md")
    assert all(f"### `{name}`\n" in page for _, name in found)


def test_every_suite_and_every_record_has_its_commands() -> None:
    page = text_of("docs/reproduce.md")
    for path in (ROOT / "benchmarks").glob("*.yaml"):
        assert "models" not in read_yaml(path) or f"\nhiersrec bench {path.stem}\n" in page
    for folder in (path.parent for path in (ROOT / "results").glob("*/jobs.json")):
        assert f"\nhiersrec results verify results/{folder.name}\n" in page
    single = [
        path for path in (ROOT / "results").rglob("*.json") if not (path.parent / "report.md").is_file()
    ]
    singles = [path for path in single if "jobs" not in path.parts]
    assert len(singles) > 10
    assert all(f"(../{path.relative_to(ROOT).as_posix()})" in page for path in singles)


def test_a_suite_s_data_are_prepared_before_it() -> None:
    """Each data set that RecBole does not ship is the NAME, or the --as, of a command above the suite's."""
    for path in (ROOT / "benchmarks").glob("*.yaml"):
        if "models" not in read_yaml(path):
            continue
        commands = [shlex.split(line) for line in made.preparations(path)]
        names = {words[words.index("--as") + 1] if "--as" in words else words[3] for words in commands}
        suite = parse(SuiteSettings, read_yaml(path), str(path))
        assert names == {entry.name for entry in suite.datasets} - {"ml-100k"}, path


def test_documented_scripts_ask_for_what_the_records_hold() -> None:
    lines = [shlex.split(line)[1:] for line in shell_lines("docs/reproduce.md") if line.startswith("python")]
    cold = next(script_arguments(words) for words in lines if "cold_start" in words[0])
    record = yaml.safe_load((ROOT / "results/cold_start/amazon-beauty.json").read_text(encoding="utf-8"))
    assert {key: record[key] for key in vars(cold) if key in record} == {
        key: value for key, value in vars(cold).items() if key in record
    }
    speeds = [script_arguments(words) for words in lines if "training_speed" in words[0]]
    assert len(speeds) == 4
    for given in speeds:
        path = ROOT / "results" / "training" / f"speed-{given.dataset}-{given.batch_size}.json"
        job = yaml.safe_load(path.read_text(encoding="utf-8"))["runs"][0]["job"]
        assert (job["limits"]["seconds"], job["limits"]["patience"]) == (given.ceiling, given.patience)
        assert (job["seed"], job["threads"]) == (given.seed, given.threads)
        assert job["settings"]["train_batch_size"] == given.batch_size


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    run(command, ROOT, {"NO_MKDOCS_2_WARNING": "1"})
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "tutorial.html", "settings.html", "ARCHITECTURE.html"} <= pages
    settings = (tmp_path / "site" / "settings.html").read_text(encoding="utf-8")
    assert "metadata_dropout_prob" in settings
    assert "<!-- made:" not in settings
    loaded = re.findall(
        r'<(?:script|img|iframe)[^>]* src="(https?:[^"]*)|<link[^>]* href="(https?:[^"]*)', settings
    )
    assert loaded == []  # a reader's browser asks nobody else
