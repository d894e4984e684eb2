"""Settings of preparation: filters, split, catalogue. Every one is recorded in the manifest with its effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction as Exact
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from recbole_hiersrec.reading import Settings
from recbole_hiersrec.settings import PositiveInt, Seed

_DAYS = re.compile(r"^[0-9]+(\.[0-9]+)?d$")


TEMPORAL_ONLY = ("valid", "test", "straddling", "train_fraction", "unseen")
"""Settings that mean nothing with leave-one-out."""


class PrepareSettings(Settings):
    """How a log becomes a data set. The order of the fields is the order of the steps."""

    bad_rows: Literal["stop", "skip"] = Field(
        "stop", description="stop at the first bad row, or skip: write bad rows to rejected.csv and go on."
    )
    gap_minutes: Annotated[float, Field(ge=0)] = Field(
        0, description="A pause longer than this begins a new session; 0: sessions stay as they are."
    )
    collapse_repeats: bool = Field(
        True, description="Keep the first of several clicks on the same item that follow each other."
    )
    item_core: PositiveInt = Field(
        5,
        description="Items with fewer clicks are removed; repeated, with min_length, until nothing changes.",
    )
    min_length: Annotated[int, Field(ge=2, strict=True)] | None = Field(
        None, description="Shorter sessions are removed; if not given 2, or 4 for leave-one-out."
    )
    last: Annotated[int, Field(ge=2, strict=True)] | None = Field(
        None, description="Keep the last so many clicks of a session; none: all."
    )
    split: Literal["temporal", "leave-one-out"] = Field(
        "temporal",
        description="temporal: whole sessions by their end; leave-one-out: the last two clicks of each.",
    )
    valid: str = Field("0.1", description="Validation sessions: a fraction of all, or days as in 7d.")
    test: str = Field("0.1", description="Test sessions: the latest, a fraction of all, or days as in 7d.")
    straddling: Literal["drop", "keep"] = Field(
        "drop",
        description="Validation and test sessions that begin before an earlier part has ended (temporal split).",
    )
    train_fraction: str = Field(
        "1", description="Keep this most recent share of the training sessions, as 0.25 or 1/64."
    )
    unseen: Literal["drop", "keep"] = Field(
        "drop",
        description="Clicks of validation and test on items that training does not have (temporal split).",
    )
    catalogue: Literal["interacted", "all"] = Field(
        "interacted", description="Items of the .item file: those that are left, or also those never clicked."
    )
    learn_taxonomy: bool = Field(
        False, description="Add category levels learned from the training part's co-occurrence."
    )
    seed: Seed = Field(2026, description="Of the learned taxonomy.")

    @field_validator("valid", "test")
    @classmethod
    def _part(cls, value: str) -> str:
        if _DAYS.match(value):
            if float(value[:-1]) <= 0:
                raise ValueError(f"days must be more than 0; received {value}")
            return value
        return _share(value, "a fraction as 0.1 or days as 7d", below_one=True)

    @field_validator("train_fraction")
    @classmethod
    def _most_recent(cls, value: str) -> str:
        return _share(value, "a fraction as 0.25 or 1/64", below_one=False)

    @model_validator(mode="before")
    @classmethod
    def _shortest(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("min_length") is not None:
            return values
        return {**values, "min_length": 4 if values.get("split") == "leave-one-out" else 2}

    @model_validator(mode="after")
    def _last_leaves_sessions(self) -> PrepareSettings:
        if self.last is not None and self.last < self.shortest:
            raise ValueError(f"last must be at least min_length ({self.shortest}); received {self.last}")
        return self

    @model_validator(mode="after")
    def _parts_leave_training(self) -> PrepareSettings:
        shares = [Exact(value) for value in (self.valid, self.test) if not value.endswith("d")]
        if sum(shares) >= 1:
            raise ValueError(
                f"valid and test together must be less than 1; received {self.valid} and {self.test}"
            )
        unused = [name for name in TEMPORAL_ONLY if name in self.model_fields_set]
        if self.split == "leave-one-out" and unused:
            raise ValueError(
                f"{unused[0]} needs split temporal; received {getattr(self, unused[0])} for leave-one-out"
            )
        return self

    @property
    def shortest(self) -> int:
        """The minimum session length, which is always set."""
        return self.min_length or 2


def days(value: str) -> float | None:
    """7.0 of "7d"; None of a fraction."""
    return float(value[:-1]) if value.endswith("d") else None


def _share(value: str, allowed: str, *, below_one: bool) -> str:
    try:
        share = Exact(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"received {value!r}; allowed: {allowed}") from None
    if not 0 < share <= 1 or (below_one and share == 1):
        most = "less than 1" if below_one else "at most 1"
        raise ValueError(f"received {value!r}; allowed: {allowed}, more than 0 and {most}")
    return value
