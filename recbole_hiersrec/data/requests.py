"""What a user asked for -> a Request (data/prepare.py): a public data set, or a log of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from recbole_hiersrec.data.options import TEMPORAL_ONLY, PrepareSettings
from recbole_hiersrec.data.prepare import Request
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.registry import SOURCES, find_source
from recbole_hiersrec.data.sources.user_log import read_user_log, resolve_columns
from recbole_hiersrec.data.validate import TimeUnit
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import Settings, parse, short

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class LogOptions(Settings):
    """Where a user's log lies and what its columns mean."""

    events: Path | None = Field(None, description="The clicks.")
    items: Path | None = Field(None, description="The catalogue.")
    map: tuple[str, ...] = Field((), description="session=COLUMN, item=COLUMN, time=COLUMN.")
    levels: tuple[str, ...] = Field((), description="Category columns of the catalogue, coarse to fine.")
    title: str | None = Field(None, description="Title column of the catalogue.")
    metadata: tuple[str, ...] = Field((), description="Further columns of the catalogue.")
    item_column: str | None = Field(None, description="Item column of the catalogue, if named otherwise.")
    separator: str | None = Field(None, description="Of the text files; tab is a tab.")
    time_unit: TimeUnit = Field("auto", description="Of times that are numbers; auto: told by their size.")

    @model_validator(mode="after")
    def _catalogue_has_columns(self) -> LogOptions:
        if self.items is None and (self.levels or self.title or self.metadata or self.item_column):
            raise ValueError("levels, title, metadata and item_column are columns of items; items is missing")
        if self.items is not None and not (self.levels or self.title or self.metadata):
            raise ValueError("items needs levels, title or metadata: which of its columns to read")
        return self


def request_for(
    name: str, raw: Path | None, log: LogOptions, rename: str | None, given: Mapping[str, Any]
) -> Request:
    """Preparation of a public data set, or of the user's own log if ``log`` has events.

    Args:
        name: of the public data set, or of the user's.
        raw: folder of a public data set's files; not needed where a Python package ships them.
        log: the user's files.
        rename: name of the prepared data set; None: the source's own.
        given: settings of :class:`PrepareSettings` that the user changed.

    Raises:
        InputError: unknown name, missing files (the message says which to put where), or a wrong setting.
    """
    if log.events is not None:
        if raw is not None:
            raise InputError(
                "--raw is for public data sets, --events for a log of your own; give one of them"
            )
        if (rename or name) in {
            known for source in SOURCES.values() for known in (source.name, source.output)
        }:
            raise InputError(
                f"name '{rename or name}' is a public data set's; choose another for a log of your own"
            )
        return from_log(log.events, log, rename or name, given)
    for option, field in LogOptions.model_fields.items():
        if getattr(log, option) != field.default:
            raise InputError(
                f"--{option.replace('_', '-')} belongs to a log of your own; --events FILE is missing"
            )
    return from_source(find_source(name), raw, rename, given)


def from_source(source: Source, raw: Path | None, name: str | None, given: Mapping[str, Any]) -> Request:
    """Preparation of a public data set.

    Args:
        source: the data set.
        raw: folder of its files; not needed where a Python package ships them.
        name: of the prepared data set; None: the source's own.
        given: settings that the user changed.

    Raises:
        InputError: files are missing (the message says which to put where), or a setting is wrong.
    """
    if raw is None and source.locate is not None:
        folder = source.locate()
    elif raw is None:
        raise InputError(
            f"data set '{source.name}' cannot be downloaded: put {source.wanted} into one folder and pass it as "
            f"--raw FOLDER ({source.obtain})"
        )
    else:
        folder = raw
    leave_one_out = given.get("split", source.defaults.get("split")) == "leave-one-out"
    defaults = {
        key: value for key, value in source.defaults.items() if not (leave_one_out and key in TEMPORAL_ONLY)
    }
    settings = parse(PrepareSettings, {**defaults, **given}, f"settings of '{source.name}'")
    return Request(
        name=check_name(name or source.output or source.name),
        source=source.name,
        reader={},
        inputs=source.inputs(folder),
        read=partial(source.read, folder),
        settings=settings,
    )


def from_log(events: Path, log: LogOptions, name: str, given: Mapping[str, Any]) -> Request:
    """Preparation of a user's own log; before it is carried out, only the columns of ``events`` are looked at."""
    columns = resolve_columns(events, log.map, log.separator)
    defaults = {} if columns.time else {"split": "leave-one-out"}
    settings = parse(PrepareSettings, {**defaults, **given}, f"settings of '{name}'")
    read = partial(
        read_user_log,
        events,
        log.items,
        columns,
        log.levels,
        title=log.title,
        metadata=log.metadata,
        item_column=log.item_column,
        separator=log.separator,
        time_unit=log.time_unit,
    )
    return Request(
        name=check_name(name),
        source="log",
        reader=log.model_dump(mode="json", exclude={"events", "items"}) | {"map": columns.model_dump()},
        inputs=(events,) if log.items is None else (events, log.items),
        read=lambda bad_rows: read(bad_rows=bad_rows),
        settings=settings,
    )


def check_name(name: str) -> str:
    """Refuse a name that cannot be a folder's."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name of the data set: received {short(name)}; allowed: at most 100 letters, digits, '_', '-' and '.', "
            "a letter or digit first"
        )
    return name
