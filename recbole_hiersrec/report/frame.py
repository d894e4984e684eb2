"""Records -> tidy frames. The same records, in whatever order, give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

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
TIMING_COLUMNS = ("dataset", "model", "variant", "seed", "stage", "threads", "quantity", "unit", "value")
TRAINING_QUANTITIES = (("seconds", "s"), ("epochs", ""), ("steps", ""), ("parameters", ""))


def protocol_label(record: Record) -> str:
    """Short form of the record's protocol."""
    return parse(ProtocolSettings, record["job"]["protocol"], f"protocol of job {record['key']}").label()


def table_groups(records: Iterable[Record]) -> list[tuple[tuple[str, str], list[Record]]]:
    """Records by (data set, protocol), the borders within which they may be compared; sorted.

    Raises:
        InputError: two records of one group differ in their item universe or their test cases.
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
    first = records[0]
    for other in records[1:]:
        for field, what in (("universe", "item universe"), ("cases", "test cases")):
            if other["data"][field] != first["data"][field]:
                a, b = (f"{record['job']['name']} seed {record['job']['seed']}" for record in (first, other))
                raise InputError(
                    f"{dataset}: '{a}' and '{b}' cannot stand in one table: their {what} differ "
                    f"(data.{field} {first['data'][field][:8]} and {other['data'][field][:8]}, "
                    f"jobs {first['key']} and {other['key']})"
                )
