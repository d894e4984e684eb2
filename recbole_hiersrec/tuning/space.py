"""Search spaces as YAML: which settings of a model are searched, in what range, under which conditions.

A space is a mapping of a setting's name to one of::

    learning_rate: {float: [1.0e-4, 2.0e-2], log: true}
    hidden_size:   {int: [32, 128], step: 32}
    loss:          {choice: [sampled, full]}
    n_negatives:   {int: [128, 2048], log: true, when: {loss: sampled}}

``when`` compares with the trial's settings, those that are searched (above it) and those that are not: with one value,
a list of allowed values, or ``{not: ...}`` of either. An empty list counts as null, a setting that was not given. All
that it names must be so; of a list of such mappings, one.
Imports neither torch nor Optuna.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.checks import OWNED, check_owned
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.names import MODELS, recbole_folder
from recbole_hiersrec.reading import Settings, parse, read_yaml, short
from recbole_hiersrec.settings import NEIGHBOUR_SETTINGS, HierSRecSettings, TrainingSettings

Number = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
PositiveNumber = Annotated[float, Field(gt=0, strict=True)]
PositiveWhole = Annotated[int, Field(ge=1, strict=True)]
When = dict[str, Any] | tuple[dict[str, Any], ...]
MOST_POINTS = 100_000
"""Largest grid that the grid sampler is given: it holds all of it in memory."""

LOG = "Draw evenly by the logarithm; with no step."
WHEN = (
    "Search it only where another setting is so: {setting: value}, or {setting: {not: value}}; where several "
    "are named, all must be; of a list of such blocks, one."
)


class FloatRange(Settings):
    """Numbers between two ends, both included."""

    float: tuple[Number, Number] = Field(description="Lowest and highest value.")
    log: bool = Field(False, description=LOG)
    step: PositiveNumber | None = Field(None, description="Between values, from the lowest on; nothing: any.")
    when: When = Field(default_factory=dict, description=WHEN)

    @model_validator(mode="after")
    def _in_order(self) -> FloatRange:
        _check_range(self.float, self.log, self.step)
        return self

    def ends(self) -> tuple[Any, ...]:
        """Lowest and highest value."""
        return self.float

    def contains(self, value: Any) -> bool:
        """Whether a search can come upon ``value``."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.float
        return low <= value <= high and (self.step is None or _is_whole((value - low) / self.step))

    def points(self) -> list[Any] | None:
        """Every value; None where there are infinitely many."""
        low, high = self.float
        if low == high:
            return [low]
        if self.step is None:
            return None
        return [min(low + place * self.step, high) for place in range(round((high - low) / self.step) + 1)]


class IntRange(Settings):
    """Whole numbers between two ends, both included."""

    int: tuple[Whole, Whole] = Field(description="Lowest and highest value.")
    log: bool = Field(False, description=LOG)
    step: PositiveWhole = Field(1, description="Between values, from the lowest on.")
    when: When = Field(default_factory=dict, description=WHEN)

    @model_validator(mode="after")
    def _in_order(self) -> IntRange:
        _check_range(self.int, self.log, None if self.step == 1 else self.step)
        return self

    def ends(self) -> tuple[Any, ...]:
        """Lowest and highest value."""
        return self.int

    def contains(self, value: Any) -> bool:
        """Whether a search can come upon ``value``."""
        return not isinstance(value, bool) and value in range(self.int[0], self.int[1] + 1, self.step)

    def points(self) -> list[Any] | None:
        """Every value."""
        return list(range(self.int[0], self.int[1] + 1, self.step))


class Choice(Settings):
    """One of a few values, of any kind that YAML knows."""

    choice: tuple[Any, ...] = Field(min_length=1, description="The values.")
    when: When = Field(default_factory=dict, description=WHEN)

    @model_validator(mode="after")
    def _each_once(self) -> Choice:
        texts = [_text(value) for value in self.choice]
        if len(set(texts)) < len(texts):
            raise ValueError(f"choice: each value once; received {short(list(self.choice))}")
        return self

    def ends(self) -> tuple[Any, ...]:
        """Every value."""
        return self.choice

    def contains(self, value: Any) -> bool:
        """Whether a search can come upon ``value``."""
        return _text(value) in map(_text, self.choice)

    def points(self) -> list[Any] | None:
        """Every value."""
        return list(self.choice)


Parameter = FloatRange | IntRange | Choice
KINDS: Mapping[str, type[Settings]] = {"float": FloatRange, "int": IntRange, "choice": Choice}


@dataclass(frozen=True)
class Space:
    """What is searched, in the order of the file.

    Attributes:
        parameters: name of a setting -> its range.
        where: the file, for messages.
    """

    parameters: Mapping[str, Parameter]
    where: str

    def values(self, pick: Callable[[str, Parameter], Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Ask ``pick`` for a value of every setting whose condition holds, in order.

        Args:
            pick: gives the value, from name and range.
            settings: those that are not searched, and what the searched ones are where they are not asked for.
        """
        merged, found = dict(settings), {}
        for name, parameter in self.parameters.items():
            if any(_met(block, merged) for block in _blocks(parameter.when)):
                merged[name] = found[name] = pick(name, parameter)
        return found

    def without(self, fixed: Collection[str]) -> Space:
        """The space less the settings that are fixed."""
        return Space({name: one for name, one in self.parameters.items() if name not in fixed}, self.where)

    def described(self) -> dict[str, Any]:
        """Plain values, as in the file."""
        return {
            name: one.model_dump(mode="json", exclude_defaults=True) for name, one in self.parameters.items()
        }

    def hash(self) -> str:
        """First 16 hex digits of SHA-256 over what is searched."""
        text = json.dumps(self.described(), separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def grid(self) -> dict[str, list[Any]]:
        """Every value of every setting.

        Raises:
            InputError: a range has infinitely many, or their combinations are too many.
        """
        found = {}
        for name, parameter in self.parameters.items():
            points = parameter.points()
            if points is None:
                raise InputError(
                    f"{self.where}: sampler grid needs finite ranges; '{name}' is a float without step"
                )
            found[name] = points
        size = math.prod(map(len, found.values()))
        if size > MOST_POINTS:
            raise InputError(
                f"{self.where}: the grid has {size:,} points; allowed: {MOST_POINTS:,} (larger steps, fewer choices)"
            )
        return found


def read_space(path: Path, model: str) -> Space:
    """Read the space of ``model`` from a YAML file, and check names, ranges and conditions.

    Raises:
        InputError: the file cannot be read, a setting is unknown, a range is wrong or none that the model allows, or a
            condition names what is unknown or stands further down.
    """
    values, known = read_yaml(path), allowed_settings(model)
    if not values:
        raise InputError(f"{path}: expected settings to search, received none")
    check_owned(values, str(path))
    parameters: dict[str, Parameter] = {}
    for name, given in values.items():
        _check_name(str(name), known, f"{path}")
        parameters[name] = _parameter(given, f"{path}: {name}")
        _check_values(name, parameters[name], model, f"{path}: {name}")
    for place, (name, parameter) in enumerate(parameters.items()):
        later = list(itertools.islice(parameters, place, None))
        for condition in itertools.chain.from_iterable(_blocks(parameter.when)):
            _check_name(condition, known, f"{path}: {name}: when")
            if condition in later:
                raise InputError(f"{path}: {name}: when: '{condition}' must stand above '{name}'")
    return Space(parameters, str(path))


def shipped_space(model: str) -> Path | None:
    """The file of the space that ships for ``model``; None where nothing of it is searched."""
    path = resources.model_space(model)
    return path if path.is_file() else None


def allowed_settings(model: str) -> set[str] | None:
    """Settings of ``model`` that a space may name; None where anything goes, for an importable class."""
    if ":" in model:
        return None
    known = set(TrainingSettings.model_fields)
    for path in (
        resources.model_defaults(model),
        recbole_folder() / "properties" / "model" / f"{model}.yaml",
    ):
        known |= set(read_yaml(path)) if path.is_file() else set()
    if model == "HierSRec":
        known |= set(HierSRecSettings.model_fields)
    if model in NEIGHBOUR_SETTINGS:
        known |= set(NEIGHBOUR_SETTINGS[model].model_fields)
    return known - set(OWNED) - {"valid_metric"}


def recbole_defaults(model: str) -> dict[str, Any]:
    """RecBole's own defaults of ``model``, and of everything else."""
    found: dict[str, Any] = {}
    for path in ("overall.yaml", f"model/{model}.yaml"):
        file = recbole_folder() / "properties" / path
        found |= read_yaml(file) if file.is_file() else {}
    return found


def _check_name(name: str, known: set[str] | None, where: str) -> None:
    if known is not None and name not in known:
        raise InputError(f"{where}: unknown setting '{name}'{nearest(name, sorted(known))}")


def _check_values(name: str, parameter: Parameter, model: str, where: str) -> None:
    """Refuse ends and choices that the model's settings do not allow, each on its own."""
    classes: list[type[Settings]] = [TrainingSettings, *([HierSRecSettings] if model in MODELS else [])]
    classes += [NEIGHBOUR_SETTINGS[model]] if model in NEIGHBOUR_SETTINGS else []
    fields = [cls.model_fields[name] for cls in classes if name in cls.model_fields]
    for field, value in itertools.product(fields, parameter.ends()):
        try:
            TypeAdapter(field.rebuild_annotation()).validate_python(value)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            raise InputError(f"{where}: {message[0].lower()}{message[1:]}; received {short(value)}") from None


def _parameter(given: Any, where: str) -> Any:
    kinds = [kind for kind in KINDS if isinstance(given, Mapping) and kind in given]
    if len(kinds) != 1:
        raise InputError(f"{where}: expected one of float, int, choice; received {short(given)}")
    return parse(KINDS[kinds[0]], given, where)


def _check_range(ends: tuple[float, float], log: bool, step: float | None) -> None:
    low, high = ends
    if low > high:
        raise ValueError(f"the first end must not be above the second; received {list(ends)}")
    if log and low <= 0:
        raise ValueError(f"log needs ends above 0; received {list(ends)}")
    if log and step is not None:
        raise ValueError(f"log and step do not go together; received step {step:g}")
    if step is not None and not _is_whole((high - low) / step):
        raise ValueError(f"the ends must be whole steps apart; received {list(ends)} and step {step:g}")


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-8


def _blocks(when: When) -> Sequence[Mapping[str, Any]]:
    """The blocks of a condition, of which one must be met."""
    return [when] if isinstance(when, dict) else when


def _met(block: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(_holds(wanted, settings.get(key)) for key, wanted in block.items())


def _holds(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, Mapping) and set(wanted) == {"not"}:
        return not _holds(wanted["not"], value)
    allowed = wanted if isinstance(wanted, list) and wanted else [wanted]
    return _text(value) in [_text(one) for one in allowed]


def _text(value: Any) -> str:
    """What makes two values the same: 1 and 1.0 are, 1 and true are not, an empty list is none."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]" if value else "null"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))
    return json.dumps(value, default=str)
