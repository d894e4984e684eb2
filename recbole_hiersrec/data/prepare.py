"""One preparation: read -> filter -> split -> catalogue -> files, made beside the old folder and renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recbole_hiersrec.atomic import locked, recover_folder, replace_folder, writable_folder
from recbole_hiersrec.data.files import PACKAGED
from recbole_hiersrec.data.log import BadRows, RawLog
from recbole_hiersrec.data.manifest import (
    MANIFEST,
    SCHEMA,
    changed_outputs,
    code_version,
    describe_inputs,
    is_current,
    read_manifest,
    write_manifest,
)
from recbole_hiersrec.data.options import PrepareSettings
from recbole_hiersrec.data.parts import PARTS, TRAIN
from recbole_hiersrec.data.sessions import Sessions
from recbole_hiersrec.data.split import check_leave_one_out, temporal_split
from recbole_hiersrec.data.steps import Count, apply_filters, count_ties, encode, size
from recbole_hiersrec.data.taxonomy import LEARNED
from recbole_hiersrec.data.writer import (
    SideInformation,
    clean,
    side_columns,
    write_inter,
    write_items,
    write_parts,
    write_rejected,
    write_settings,
    write_taxonomy,
)
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.resources import FIGURE_NAMES, FIGURES

PATIENCE = 5.0
"""Seconds to wait for another preparation of the same name."""


@dataclass(frozen=True)
class Request:
    """What to prepare.

    Attributes:
        name: of the data set, and so of its folder.
        source: name of the public data set, or "log".
        reader: what else the reader was told, as plain JSON values.
        inputs: the files that are read; their hashes identify the input.
        read: reads them.
        settings: filters, split, catalogue.
    """

    name: str
    source: str
    reader: Mapping[str, Any]
    inputs: tuple[Path, ...]
    read: Callable[[BadRows], RawLog]
    settings: PrepareSettings


@dataclass(frozen=True)
class Outcome:
    """A prepared folder.

    Attributes:
        folder: where the files are.
        manifest: what manifest.json says.
        changed: False if everything was there already.
    """

    folder: Path
    manifest: dict[str, Any]
    changed: bool


def prepare(request: Request, data_path: Path) -> Outcome:
    """Write ``data_path/NAME/``, or do nothing where it holds just what would be written.

    Raises:
        InputError: the input is at fault, nothing is left of it, the folder cannot be written, or holds files that
            this function did not write. What was there before is still there then.
    """
    if request.name == PACKAGED:
        raise InputError(
            f"name '{PACKAGED}': RecBole reads its own copy under this name; choose another with --as"
        )
    target = writable_folder(data_path) / request.name
    with locked(
        data_path / f".lock-{request.name}",
        PATIENCE,
        f"{target}: another preparation is at work here; wait for it to end",
    ):
        _check_place(target)
        recover_folder(target)
        _check_ours(target)
        for leftover in data_path.glob(_temporary(request.name) + "*"):
            shutil.rmtree(leftover)  # of a preparation that was killed: whoever has the lock is alone
        identity = {
            "schema": SCHEMA,
            "name": request.name,
            "source": request.source,
            "reader": dict(request.reader),
            "code": code_version(),
            "inputs": describe_inputs(request.inputs),
            "settings": request.settings.model_dump(mode="json"),
        }
        if is_current(target, identity):
            return Outcome(target, read_manifest(target) or {}, changed=False)
        with _writing(data_path, request.name) as folder:
            _write(folder, request, identity)
            replace_folder(folder, target)
    return Outcome(target, read_manifest(target) or {}, changed=True)


@contextmanager
def _writing(data_path: Path, name: str) -> Iterator[Path]:
    """A temporary folder beside the target; a full disk becomes one line."""
    folder = Path(tempfile.mkdtemp(prefix=_temporary(name), dir=data_path))
    folder.chmod(0o755)  # mkdtemp makes folders that only their owner may read
    try:
        yield folder
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {data_path / name}: {reason}; what was there is unchanged") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # renamed away when all went well


def _temporary(name: str) -> str:
    """How the names of temporary folders begin; "~" is in no data set's name, so shop-2 has others than shop."""
    return f".tmp-{name}~"


def _check_place(target: Path) -> None:
    """Refuse a target that cannot be replaced by renaming."""
    if target.is_symlink():
        raise InputError(
            f"{target} is a symbolic link; name the folder it points to with --data-path and --as"
        )
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; move it, or choose another name with --as")
    if target.exists() and not os.access(target, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(
            f"{target} may not be written; change its permissions, or choose another name with --as"
        )


def _check_ours(target: Path) -> None:
    """Refuse to replace files that preparation did not write, or that were changed since."""
    if not target.exists():
        return
    manifest = read_manifest(target)
    if manifest is None:
        raise InputError(
            f"{target} exists and has no {MANIFEST}, so it was not made by hiersrec; choose another name with --as"
        )
    ours = {*manifest["outputs"], MANIFEST, *(f"{FIGURES}/{name}" for name in FIGURE_NAMES)}
    files = (path for path in target.rglob("*") if not path.is_dir())
    others = sorted({path.relative_to(target).as_posix() for path in files} - ours)
    if others:
        raise InputError(
            f"{target} holds what hiersrec did not write: {', '.join(others[:5])}; move it, or use --as NAME"
        )
    changed = changed_outputs(target, manifest)
    if changed:
        raise InputError(
            f"{target} holds files that were changed since hiersrec wrote them: {', '.join(changed)}; "
            "delete them to have them written anew, or use --as NAME"
        )


def _write(folder: Path, request: Request, identity: dict[str, Any]) -> None:
    """Everything from reading to the manifest."""
    settings, name = request.settings, request.name
    raw = request.read(settings.bad_rows)
    _check_stamps(raw, request)
    counts: list[Count] = []
    log, ties, read = _encoded(raw)
    log = apply_filters(log, settings, counts)
    cut = None
    if settings.split == "temporal":
        log, cut = temporal_split(log, settings, counts)
    else:
        check_leave_one_out(log)
    if log.part is not None:
        write_parts(folder / f"{name}.user", log.session_tokens, log.part)
    write_inter(folder / f"{name}.inter", log)
    items, without_row = side_information(raw, log, settings, cut)
    write_items(folder / f"{name}.item", items)
    write_settings(folder / f"{name}.yaml", items, name)
    levels = []
    if items.levels:
        taxonomy = write_taxonomy(folder / "taxonomy.npz", items)
        levels = [
            {"name": level, "categories": number, "learned": level.startswith(LEARNED)}
            for level, number in zip(taxonomy.levels, taxonomy.sizes, strict=True)
        ]
    if len(raw.rejected):
        write_rejected(folder / "rejected.csv", raw.rejected)
    leakage = log.leakage()
    facts = {
        "time": raw.time,
        "read": asdict(read),
        "rejected_rows": len(raw.rejected),
        "ties_in_time": ties,
        "counts": [asdict(count) for count in counts],
        "result": asdict(size(log)),
        "parts": _parts(log),
        "items_without_a_row": without_row,
        "leakage": asdict(leakage),
        "levels": levels,
        "notes": list(raw.notes),
    }
    write_manifest(folder, identity | facts)


def _encoded(raw: RawLog) -> tuple[Sessions, int | None, Any]:
    if not len(raw.clicks):
        raise InputError(f"nothing is left: all rows were rejected ({len(raw.rejected)})")
    log = encode(raw)
    return log, count_ties(log) if raw.time == "click" else None, size(log)


def _check_stamps(raw: RawLog, request: Request) -> None:
    """Refuse settings that need a time the log does not have."""
    if raw.time == "order" and request.settings.split == "temporal":
        raise InputError(
            f"split: temporal needs time stamps, and {request.source} has none; allowed: leave-one-out"
        )
    if raw.time != "click" and request.settings.gap_minutes:
        raise InputError(
            f"gap_minutes: {request.source} has no time of each click, so there are no pauses; leave it out"
        )


def _parts(log: Sessions) -> dict[str, dict[str, int]]:
    """Sessions and interactions of each part."""
    part = log.part_of_rows()
    return {
        name: {
            "sessions": log.sessions_in(number),
            "interactions": int((part == number).sum()),
        }
        for number, name in enumerate(PARTS)
    }


def side_information(
    raw: RawLog, log: Sessions, settings: PrepareSettings, cut: float | None
) -> tuple[SideInformation, int]:
    """The items' side information as known at ``cut``, learned levels included.

    Returns:
        the table, and the number of interacted items that the catalogue has no row for.
    """
    table = raw.items(cut) if callable(raw.items) else raw.items
    columns = side_columns(raw.levels, raw.title, raw.metadata)
    frame = log.item_tokens.to_frame("item")
    without_row = log.n_items if table is not None else 0
    if table is not None:
        known = table.select(pl.col("item").cast(pl.String), *(clean(name) for name in columns))
        without_row = log.n_items - frame.join(known, on="item", how="semi").height
        if settings.catalogue == "all":
            others = known.select("item").join(frame, on="item", how="anti").sort("item")
            frame = pl.concat([frame, others])
        frame = frame.join(known, on="item", how="left", maintain_order="left", validate="1:1")
        frame = frame.with_columns(pl.col(columns).fill_null("")) if columns else frame
    items = SideInformation(frame, raw.levels, raw.title, raw.metadata)
    return (_with_learned(items, log, settings.seed) if settings.learn_taxonomy else items), without_row


def _with_learned(items: SideInformation, log: Sessions, seed: int) -> SideInformation:
    """Learned levels below the ones there are, from the training part alone."""
    from recbole_hiersrec.data.learned import learn_levels  # loads FAISS

    training = log.part_of_rows() == TRAIN
    groups = None
    if items.levels:
        path = items.frame.head(log.n_items).select(
            pl.concat_str(items.levels, separator="\x1f").rank("dense")
        )
        groups = path.to_series().to_numpy().astype(np.int64) - 1
    levels = learn_levels(log.session[training], log.item[training], log.n_items, groups, seed)
    rest = [""] * (items.frame.height - log.n_items)
    names = tuple(f"{LEARNED}{number}" for number in range(1, len(levels) + 1))
    columns = [
        pl.Series(name, ["" if cluster < 0 else str(cluster) for cluster in level.tolist()] + rest)
        for name, level in zip(names, levels, strict=True)
    ]
    return replace(items, frame=items.frame.with_columns(columns), levels=(*items.levels, *names))
