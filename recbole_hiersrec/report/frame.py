"""Records -> tidy frames. The same records, in whatever order, give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from recbole_hiersrec.benchmark.suite import NO_PART_OF_THE_KEY
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import parse
from recbole_hiersrec.settings import ProtocolSettings

if TYPE_CHECKING:
    import pandas as pd

Record = Mapping[str, Any]

ACCURACY_COLUMNS = (
    "dataset", "protocol", "model", "variant", "seed", "candidate_rule", "item_fraction",
    "slice", "metric", "k", "value", "n_cases", "status",
)  # fmt: skip
TIMING_COLUMNS = (
    "dataset", "protocol", "model", "variant", "seed", "stage", "threads", "quantity", "unit", "value",
)  # fmt: skip
SAME = (
    ("data", "universe", "item universe"),
    ("data", "cases", "test cases"),
    ("job", "data_hash", "files of the data set"),
    ("job", "metrics", "metrics"),
    ("job", "ks", "ks"),
)
"""What all records of a table share: (section of the record, field, how it is called)."""
TRAINING_QUANTITIES = (("seconds", "s"), ("epochs", ""), ("steps", ""), ("parameters", ""))


def protocol_label(record: Record) -> str:
    """Short form of the record's protocol."""
    return parse(ProtocolSettings, record["job"]["protocol"], f"protocol of job {record['key']}").label()


def table_groups(records: Iterable[Record]) -> list[tuple[tuple[str, str], list[Record]]]:
    """Records by (data set, protocol), the borders within which they may be compared; sorted.

    Raises:
        InputError: two records of one group differ in their data, item universe, test cases, metrics or ks, or two
            of one model in anything but the seed.
    """

    def border(record: Record) -> tuple[str, str]:
        return record["job"]["dataset"], protocol_label(record)

    ordered = sorted(
        records, key=lambda record: (*border(record), record["job"]["name"], record["job"]["seed"])
    )
    groups = [(key, list(members)) for key, members in groupby(ordered, key=border)]
    for (dataset, _), members in groups:
        _check_same(dataset, members)
    return groups


def accuracy_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record, variant, slice, metric and k; columns :data:`ACCURACY_COLUMNS`."""
    rows = [
        _identity(record) | row | {"status": record["status"]}
        for record in records
        for row in record["accuracy"]
    ]
    return _frame(rows, ACCURACY_COLUMNS, {"k": "Int64", "n_cases": "Int64", "item_fraction": "float64"})


def timing_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record, variant, stage and quantity; columns :data:`TIMING_COLUMNS`.

    The stage "training" also says, as 1 or 0, whether the clock stopped it.
    """
    rows = [
        _identity(record) | row for record in records for row in (*record["timing"], *_training_rows(record))
    ]
    return _frame(rows, TIMING_COLUMNS, {})


def to_csv(frame: pd.DataFrame) -> str:
    """CSV text; numbers in their shortest form that reads back as the same number."""
    return frame.to_csv(index=False, lineterminator="\n")


def _identity(record: Record) -> dict[str, Any]:
    job = record["job"]
    return {
        "dataset": job["dataset"],
        "protocol": protocol_label(record),
        "model": job["name"],
        "seed": job["seed"],
    }


def _training_rows(record: Record) -> list[dict[str, Any]]:
    training = record["training"]
    base = {"variant": "", "stage": "training", "threads": record["job"]["threads"]}
    rows = [
        base | {"quantity": name, "unit": unit, "value": training[name]} for name, unit in TRAINING_QUANTITIES
    ]
    clock = {"quantity": "stopped by the clock", "unit": "", "value": int(record["status"] != "ok")}
    return [*rows, base | clock]


def _frame(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], types: Mapping[str, str]
) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns)).astype(
        {**types, "value": "float64", "seed": "int64"}
    )
    order = [column for column in columns if column not in ("value", "n_cases", "status", "unit")]
    return frame.sort_values(order, kind="stable", na_position="first", ignore_index=True)


def _check_same(dataset: str, records: Sequence[Record]) -> None:
    """One table is of the same cases and figures, and one of its lines of one configuration."""
    first = records[0]
    lines: dict[str, Record] = {}
    for other in records[1:]:
        for section, field, what in SAME:
            a, b = (record[section][field] for record in (first, other))
            if a != b:
                shown = [one[:8] if isinstance(one, str) else ", ".join(map(str, one)) for one in (a, b)]
                raise InputError(
                    f"{dataset}: {_pair(first, other)} cannot stand in one table: their {what} differ "
                    f"({section}.{field} {shown[0]} and {shown[1]}, jobs {first['key']} and {other['key']})"
                )
    for record in records:
        known = lines.setdefault(record["job"]["name"], record)
        if different := [key for key in _settled(record) if _settled(record)[key] != _settled(known)[key]]:
            raise InputError(
                f"{dataset}: {_pair(known, record)} cannot be seeds of one line: their {', '.join(different)} differ "
                f"(jobs {known['key']} and {record['key']}); give one of them another name"
            )


def _settled(record: Record) -> dict[str, Any]:
    """What is the same for all seeds of a line."""
    return {key: value for key, value in record["job"].items() if key not in (*NO_PART_OF_THE_KEY, "seed")}


def _pair(first: Record, second: Record) -> str:
    return " and ".join(
        f"'{record['job']['name']} seed {record['job']['seed']}'" for record in (first, second)
    )
