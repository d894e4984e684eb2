"""Settings of preparation: filters, split, catalogue. Every one is recorded in the manifest with its effect."""

from __future__ import annotations

import re
from fractions import Fraction as Exact
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from recbole_hiersrec.reading import Settings
from recbole_hiersrec.settings import PositiveInt, Seed

_DAYS = re.compile(r"^[0-9]+(\.[0-9]+)?d$")


class PrepareSettings(Settings):
    """How a log becomes a data set. The order of the fields is the order of the steps."""

    bad_rows: Literal["stop", "skip"] = Field(
        "stop", description="stop at the first bad row, or skip: write bad rows to rejected.csv and go on."
    )
    gap_minutes: Annotated[float, Field(gt=0)] | None = Field(
        None, description="A pause longer than this begins a new session; none: sessions stay as they are."
    )
    collapse_repeats: bool = Field(
        True, description="Keep the first of several clicks on the same item that follow each other."
    )
    item_core: PositiveInt = Field(
        5,
        description="Items with fewer clicks are removed; repeated, with min_length, until nothing changes.",
    )
    min_length: Annotated[int, Field(ge=2, strict=True)] | None = Field(
        None, description="Shorter sessions are removed; none: 2, or 4 for leave-one-out."
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

    @model_validator(mode="after")
    def _parts_leave_training(self) -> PrepareSettings:
        shares = [Exact(value) for value in (self.valid, self.test) if not value.endswith("d")]
        if sum(shares) >= 1:
            raise ValueError(
                f"valid and test together must be less than 1; received {self.valid} and {self.test}"
            )
        if self.split == "leave-one-out" and self.train_fraction != "1":
            raise ValueError(f"train_fraction needs split temporal; received {self.train_fraction}")
        return self

    @property
    def shortest(self) -> int:
        """The minimum session length in force."""
        if self.min_length is not None:
            return self.min_length
        return 4 if self.split == "leave-one-out" else 2


def days(value: str) -> float | None:
    """7.0 of "7d"; None of a fraction."""
    return float(value[:-1]) if value.endswith("d") else None


def _share(value: str, allowed: str, *, below_one: bool) -> str:
    try:
        share = Exact(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"received {value!r}; allowed: {allowed}") from None
    if not 0 < share <= 1 or (below_one and share == 1):
        raise ValueError(f"received {value!r}; allowed: {allowed}, more than 0 and less than 1")
    return value
