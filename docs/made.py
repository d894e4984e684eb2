"""Tables of the documentation that are made from the code, so that they say what the code says.

A page says ``<!-- made: NAME ARGUMENT -->`` on a line of its own where the table of a function of :data:`TABLES`
belongs. Neither torch nor RecBole is imported: what is told of compat/ is read from its text.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
import yaml

from recbole_hiersrec import cli, names, resources
from recbole_hiersrec.benchmark.checks import OWNED
from recbole_hiersrec.data.sources.registry import SOURCES
from recbole_hiersrec.reading import Settings, parse, read_yaml
from recbole_hiersrec.records import read_text
from recbole_hiersrec.retrieval.needs import RULES
from recbole_hiersrec.settings import NEIGHBOUR_SETTINGS, HierSRecSettings, SuiteSettings
from recbole_hiersrec.tuning.task import slug

ROOT = resources.root()
PACKAGE = ROOT / "recbole_hiersrec"
MODULES = ("settings", "data.options", "data.requests", "data.generator", "tuning.space")
"""Where the settings are that users write."""

HIDDEN = ("install_completion", "show_completion", "help")
"""Options that every command line has."""

_MARKER = re.compile(r"^<!-- made: (\S+)(?: (.+))? -->$", re.MULTILINE)


def filled(markdown: str) -> str:
    """A page's text with the table of each marker in its place."""
    return _MARKER.sub(lambda marker: TABLES[marker[1]](*filter(None, [marker[2]])), markdown)


def settings_classes() -> dict[str, type[Settings]]:
    """Every class of settings by its name."""
    modules = [importlib.import_module(f"recbole_hiersrec.{name}") for name in MODULES]
    return {
        name: found
        for module in modules
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, Settings) and found is not Settings
    }


def settings(name: str) -> str:
    """The settings of a class: name, type, default, what is allowed, what they mean."""
    cls = settings_classes()[name]
    schema = cls.model_json_schema()
    rows = []
    for key, said in schema["properties"].items():
        default = "needed" if key in schema.get("required", ()) else code(_yaml(said.get("default", {})))
        kind, allowed = _type(said), _allowed(said)
        rows.append([code(key), kind, default, allowed, said.get("description", "")])
    return table(["setting", "type", "default", "allowed", "meaning"], rows)


def _type(said: Mapping[str, Any]) -> str:
    """A JSON schema's type in the words of somebody who writes YAML."""
    if "anyOf" in said:
        kinds = [_type(one) for one in said["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in said:
        return "block"
    if "prefixItems" in said:
        return f"list of {len(said['prefixItems'])}: {_type(said['prefixItems'][0])}"
    if said.get("type") == "array":
        return f"list of: {_type(said.get('items', {}))}"
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
        "object": "block",
        "null": "nothing",
    }
    return words.get(said.get("type", ""), "anything")


def _allowed(said: Mapping[str, Any]) -> str:
    """The limits of a JSON schema."""
    if "anyOf" in said:
        return "; ".join(filter(None, dict.fromkeys(_allowed(one) for one in said["anyOf"])))
    if "enum" in said:
        return ", ".join(code(str(value)) for value in said["enum"])
    if "const" in said:
        return code(str(said["const"]))
    limits = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
        "pattern": "{}",
    }
    found = [
        text.format(code(said[key]) if key == "pattern" else _number(said[key]))
        for key, text in limits.items()
        if key in said
    ]
    if said.get("type") == "array":
        least = ["at least one"] if said.get("minItems") == 1 and "prefixItems" not in said else []
        inner = _allowed(said.get("items", {}))
        found += least + ([f"each {inner}"] if inner else [])
    return ", ".join(found)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else str(value)


def _yaml(value: Any) -> str:
    """A value as YAML writes it on one line; a block is shown as empty, its own table has its defaults."""
    if isinstance(value, dict):
        return "{}" if not value else "{...}"
    return yaml.safe_dump(value, default_flow_style=True, width=200).removesuffix("\n...\n").strip()


def models() -> str:
    """The models of this package: what they are, and which settings they have."""
    rows = []
    for name, module in names.MODELS.items():
        source = _source(module)
        alone = list(names.MODELS.values()).count(module) == 1
        said = _sentence((ast.get_docstring(source) or "") if alone else _docstring(source, name))
        rows.append([code(name), said, code(_settings_of(name)), properties_link(name)])
    return table(["model", "what it is", "settings", "defaults"], rows)


def _settings_of(model: str) -> str:
    if model in NEIGHBOUR_SETTINGS:
        return NEIGHBOUR_SETTINGS[model].__name__
    return HierSRecSettings.__name__ if model in names.INNER_PRODUCT else ""


def recbole_models() -> str:
    """RecBole's models with settings here: where these come from, and the settings."""
    blocks = []
    for path in sorted((ROOT / "properties" / "model").glob("*.yaml")):
        if path.stem in names.MODELS or path.with_suffix(".json").is_file():  # ours; or what a study chose
            continue
        blocks.append(f"### {path.stem}\n\n```yaml\n{path.read_text(encoding='utf-8').strip()}\n```")
    return "\n\n".join(blocks)


def defaults(model: str) -> str:
    """The settings file of a model."""
    return f"```yaml\n{resources.model_defaults(model).read_text(encoding='utf-8').strip()}\n```"


def owned() -> str:
    """RecBole's keys that a suite sets itself, and where."""
    return table(
        ["RecBole's key", "a suite says it under"], [[code(key), said] for key, said in OWNED.items()]
    )


def rules() -> str:
    """The candidate rules: what they are, and what they need."""
    rows = []
    for name, needs in RULES.items():
        path = PACKAGE / "retrieval" / f"{'cells' if name == 'k-means' else name.replace('-', '_')}.py"
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        wants = [
            text
            for text, needed in (
                ("an inner product", needs.inner_product),
                ("categories", needs.categories),
                ("category heads", needs.heads),
            )
            if needed
        ]
        rows.append([code(name), ", ".join(wants) or "nothing", _sentence(said)])
    return table(["rule", "needs", "what its file says"], rows)


def fixes() -> str:
    """Every function that `apply_fixes` calls, in its order: what it says of itself, by its file."""
    blocks, last = [], ""
    for module, function in applied():
        source = _source(f"recbole_hiersrec.compat.{module}")
        if module != last:
            blocks.append(f"## {module}\n\n{_rst(ast.get_docstring(source) or '')}")
            last = module
        blocks.append(f"### `{function}`\n\n{_rst(_docstring(source, function))}")
    return "\n\n".join(blocks)


def applied() -> list[tuple[str, str]]:
    """(module, function) of compat/ in the order of ``apply_fixes``, and at last what ``register`` adds."""
    tree = _source("recbole_hiersrec.compat")
    order: list[tuple[str, str]] = []
    for node in (node for name in ("apply_fixes", "register") for node in ast.walk(_function(tree, name))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert isinstance(node.func.value, ast.Name)
            order.append((node.func.value.id, node.func.attr))
        elif isinstance(node, ast.ImportFrom) and node.module == "recbole_hiersrec.compat.extensions":
            order += [("extensions", alias.name) for alias in node.names]
    return order


def commands() -> str:
    """Every command with its arguments and options."""
    blocks = []
    for path, command in all_commands():
        known = [one for one in command.params if one.name not in HIDDEN]
        usage = " ".join(["hiersrec", *path, *filter(None, map(_in_usage, known))])
        text = "\n\n".join(inspect.cleandoc(command.help or "").split("\n\n"))
        rows = table(["", "", "meaning"], [_parameter(one) for one in known])
        blocks.append(f"## hiersrec {' '.join(path)}\n\n    {usage}\n\n{text}\n\n{rows}")
    return "\n\n".join(blocks)


def all_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, command) of each command that does something, in the order of `--help`."""
    return _below((), typer.main.get_command(cli.app))


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from _below((*path, name), inner)


def _in_usage(one: Any) -> str:
    """An argument, or an option that is needed, as the first line shows it."""
    if one.param_type_name != "argument":
        return f"{one.opts[0]} {one.name.upper()}" if one.required else ""
    return one.name.upper() if one.required else f"[{one.name.upper()}]"


def _parameter(one: Any) -> list[str]:
    """Its names, what holds without it, what it means."""
    argument = one.param_type_name == "argument"
    called = one.name.upper() if argument else ", ".join([*one.opts, *one.secondary_opts])
    kinds = ["needed"] if one.required else []
    if one.default not in (None, "", False) and not callable(one.default):
        kinds.append(f"default {code(one.default)}")
    if one.nargs == -1 or getattr(one, "multiple", False):
        kinds.append("may be repeated")
    return [code(called), ", ".join(kinds), one.help or ""]


def sources() -> str:
    """The public data sets: what they are, their licence, which files they need, and where these are."""
    rows = [
        [
            code(source.name),
            source.domain,
            ", ".join(source.levels) or "none",
            source.licence,
            f"{source.wanted}: {source.obtain}",
        ]
        for source in SOURCES.values()
    ]
    return table(["name", "domain", "levels", "licence", "files, and where they are"], rows)


def suites() -> str:
    """Every suite that ships: what it is for, and the commands from nothing to its published tables."""
    blocks = []
    for path in sorted((ROOT / "benchmarks").glob("*.yaml")):
        if "models" not in read_yaml(path):
            continue
        suite = parse(SuiteSettings, read_yaml(path), str(path))
        published = ROOT / "results" / suite.name
        steps = [*preparations(path), f"hiersrec bench {path.stem}", f"hiersrec results publish {suite.name}"]
        steps += [f"hiersrec results verify results/{suite.name}"] if published.is_dir() else []
        of = f"[results](../results/{suite.name}/report.md)" if published.is_dir() else "not published"
        said = [
            f"### {path.stem}",
            f"{about(path)}",
            f"Data: {', '.join(code(entry.name) for entry in suite.datasets)}. Models: {len(suite.models)}, "
            f"{_count(len(suite.seeds), 'seed')}. Protocol: {suite.protocol.label()}. "
            f"Settings: [{path.name}](../benchmarks/{path.name}). Tables: {of}.",
            shell(steps),
            made_with(published) if published.is_dir() else "",
        ]
        blocks.append("\n\n".join(filter(None, said)))
    return "\n\n".join(blocks)


def about(path: Path) -> str:
    """What a suite's first comment says of it, without its commands."""
    text = " ".join(_first_comment(path))
    return re.split(r"(?<=[.:;]) (?:[^.:;]*[Pp]repare|hiersrec data prepare)\b", text)[0].rstrip(" .:;") + "."


def preparations(path: Path) -> list[str]:
    """The commands of data preparation that a suite's first comment names."""
    lines = [line for line in _first_comment(path) if "hiersrec data prepare" in line]
    return [
        f"hiersrec data prepare{end}"
        for line in lines
        for end in re.findall(r"hiersrec data prepare([^,;()]*)", line)
    ]


def _first_comment(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        line.lstrip("# ").rstrip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)
    ]


def studies() -> str:
    """The settings in properties/model/ that studies chose, and the commands behind them."""
    paths = sorted((ROOT / "properties" / "model").glob("*.json"))
    if not paths:
        return "No study is published."
    found = [read_text(path.read_text(encoding="utf-8")) for path in paths]
    rows = [
        [
            f"[{path.stem}.yaml](../properties/model/{path.stem}.yaml), [study](../properties/model/{path.name})",
            *(str(study["counts"][state]) for state in ("complete", "pruned", "failed")),
            str(study["cut_short"]),
            f"{study['objectives'][0]} {study['value']:.4f}",
        ]
        for path, study in zip(paths, found, strict=True)
    ]
    runs = dict.fromkeys(_tune("run", study) + _how(study) for study in found)
    exports = dict.fromkeys(_tune("export", study) for study in found)
    facts = {_machine(one): None for study in found for one in study["made_on"]}
    facts |= {_commit(one): None for study in found for one in study["made_on"]}
    head = ["settings", "complete", "pruned", "failed", "cut short", "validation"]
    return "\n\n".join([table(head, rows), shell([*runs, *exports]), f"Made on: {'; '.join(facts)}."])


def _tune(command: str, study: Mapping[str, Any]) -> str:
    """A command about a study; those of one suite have one."""
    if study["study"] == slug(f"{study['suite']}.{study['dataset']}.{study['line']}"):
        return f"hiersrec tune {command} --suite {study['suite']}"
    name = shlex.quote(study["study"])
    searched = f"{study['model']} {study['dataset']} --study {name}"
    return f"hiersrec tune {command} {searched if command == 'run' else name}"


def _how(study: Mapping[str, Any]) -> str:
    """The options that a study was searched with."""
    words = [f"--trials {study['counts']['complete'] + study['counts']['pruned']}"]
    words += [f"--sampler {name}" for name in study["samplers"]]
    words += [f"--pruner {name}" for name in study["pruners"]]
    return " ".join(["", *words, f"--trial-seconds {study['limits']['seconds']:g}"])


def cold_start() -> str:
    """The command behind results/cold_start, from what its record was asked for."""
    record = json.loads((ROOT / "results" / "cold_start" / "amazon-beauty.json").read_text(encoding="utf-8"))
    words = ["python benchmarks/cold_start.py", record["dataset"]]
    for key in ("share", "seed", "epochs", "patience", "history", "item_fraction", "ks", "threads"):
        value = record[key]
        words += [f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    words += [f"--set {key} {shlex.quote(value)}" for key, value in record["set"]]
    return shell([*preparations(ROOT / "benchmarks" / "ablation.yaml"), " ".join(words)])


def faithfulness() -> str:
    """The commands behind results/faithfulness: the checkpoint is that of the published job with the same settings."""
    record = json.loads(
        (ROOT / "results" / "faithfulness" / "amazon-beauty.json").read_text(encoding="utf-8")
    )
    jobs = json.loads((ROOT / "results" / "candidates" / "jobs.json").read_text(encoding="utf-8"))
    wanted = ("HierSRec", record["dataset"], record["model"]["seed"])
    key = next(job["key"] for job in jobs if (job["name"], job["dataset"], job["seed"]) == wanted)
    script = f"python benchmarks/faithfulness.py runs/candidates/jobs/{key}/model"
    script += f" --cases {record['cases']} --seed {record['seed']} --out results/faithfulness/{record['dataset']}.json"
    return shell(["hiersrec bench candidates", script])


def shell(lines: Iterable[str]) -> str:
    """Lines as a block for a shell."""
    return "\n".join(["```sh", *lines, "```"])


def made_with(published: Path) -> str:
    """Where a publication's jobs ran: machines, versions, commits; and the hash of each data set."""
    paths = sorted(published.glob("jobs/*/record.json"))
    records = [read_text(path.read_text(encoding="utf-8")) for path in paths]
    facts = {_machine(record): None for record in records} | {_commit(record): None for record in records}
    hashes = {record["job"]["dataset"]: record["job"]["data_hash"][:16] for record in records}
    rows = [[code(name), code(begin)] for name, begin in hashes.items()]
    return f"Made on: {'; '.join(facts)}.\n\n" + table(["data set", "its hash begins with"], rows)


def _machine(record: Mapping[str, Any]) -> str:
    machine, versions = record["machine"], record["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "numpy", "recbole"))
    return f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {named}"


def _commit(record: Mapping[str, Any]) -> str:
    commit, edited, _ = (record["commit"] or "unknown").partition("+")
    return f"commit `{commit[:12]}`{' with changes' if edited else ''}"


def code(text: Any) -> str:
    """Text as code; nothing of nothing."""
    return f"`{text}`" if str(text) else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def properties_link(model: str) -> str:
    """Link to the settings file of a model."""
    return f"[{model}.yaml](../properties/model/{model}.yaml)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _source(module: str) -> ast.Module:
    path = ROOT / (module.replace(".", "/") + ".py")
    return ast.parse(
        (path if path.is_file() else path.with_suffix("") / "__init__.py").read_text(encoding="utf-8")
    )


def _function(tree: ast.Module, name: str) -> Any:
    kinds = ast.FunctionDef | ast.ClassDef
    return next(node for node in tree.body if isinstance(node, kinds) and node.name == name)


def _docstring(tree: ast.Module, name: str) -> str:
    return ast.get_docstring(_function(tree, name)) or ""


def _sentence(text: str) -> str:
    """Its first paragraph on one line."""
    return " ".join(_rst(text.partition("\n\n")[0]).split())


def _rst(text: str) -> str:
    """A docstring as Markdown: roles and double backticks become code, a section its heading's text."""
    text = re.sub(r":\w+:`[~.]?([^`]+)`", lambda role: f"`{role[1].rpartition('.')[2]}`", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    return re.sub(r"\n+(Upstream|Raises):\s*", r"\n\n*\1*: ", text)


TABLES: dict[str, Callable[..., str]] = {
    made.__name__: made
    for made in (
        settings,
        models,
        recbole_models,
        defaults,
        owned,
        rules,
        fixes,
        commands,
        sources,
        suites,
        studies,
        cold_start,
        faithfulness,
    )
}
"""What a page can name."""
