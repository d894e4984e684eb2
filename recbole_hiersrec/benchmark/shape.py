"""The shape of a record: what reports read of it without asking.

Sections and keys beside these are let through: records of other versions have fewer or more.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0)]
Text = Annotated[str, Field(strict=True)]


class Protocol(TypedDict):
    """How cases are made of sessions."""

    split: Text
    history: Text


class Job(TypedDict):
    """What was asked for."""

    dataset: Text
    model: Text
    name: Text
    seed: Annotated[int, Field(strict=True)]
    protocol: Protocol
    limits: dict[str, Any]
    settings: dict[str, Any]
    candidates: dict[str, Any] | None
    metrics: Annotated[list[Text], Field(min_length=1)]
    ks: Annotated[list[Count], Field(min_length=1)]
    threads: Count
    data_hash: Text


class Level(TypedDict):
    """A category level of the data."""

    name: Text
    categories: Count


class Data(TypedDict):
    """What was trained and tested on."""

    n_items: Count
    n_sessions: Count
    n_train_targets: Count
    n_valid: Count
    n_test: Count
    n_test_sessions: NotRequired[Count]
    universe: Text
    cases: Text
    levels: list[Level]
    leakage: NotRequired[dict[str, Count | None]]
    slices: NotRequired[dict[str, Any]]


class Point(TypedDict):
    """One epoch; "valid" is None where it was not measured."""

    seconds: Number
    valid: NotRequired[Number | None]


class Training(TypedDict):
    """How the weights came about."""

    seconds: Number
    epochs: Count
    stopped_by: Text
    way: Text
    curve: list[Point]


class Measured(TypedDict):
    """A row of accuracy."""

    variant: Text
    slice: Text
    metric: Text
    k: Count | None
    value: Number


class Timed(TypedDict):
    """A row of timing."""

    variant: Text
    stage: Text
    quantity: Text
    unit: Text
    value: Number


class Bin(TypedDict):
    """Cases of like confidence."""

    bin: Count
    confidence: Number
    accuracy: Number
    count: Count


class Calibration(TypedDict):
    """One category level."""

    level: Text
    error: Number
    bins: list[Bin]


class Machine(TypedDict):
    """Where the job ran."""

    processor: Text
    cores: Count


class Shape(TypedDict):
    """A record."""

    status: Text
    suite: Text
    job: Job
    data: Data
    training: Training
    accuracy: list[Measured]
    timing: list[Timed]
    calibration: NotRequired[list[Calibration]]
    machine: Machine
    versions: dict[str, Any]


_SHAPE = TypeAdapter(Shape)


def misshapen(record: Any) -> str:
    """What is wrong with a record, in a few words: where, what was received, what is allowed; "" where nothing is."""
    try:
        _SHAPE.validate_python(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ", ".join(f"row {part + 1}" if isinstance(part, int) else str(part) for part in first["loc"])
        section, _, rest = place.partition(", ")
        received = "nothing" if first["type"] == "missing" else repr(first["input"])[:60]
        return f"section '{section}'{', ' * bool(rest)}{rest}: received {received}, {first['msg'].lower()}"
    return ""
