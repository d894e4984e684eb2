"""The part of each session of a temporal split, as NAME.user holds it.

RecBole reads no part from there: ``compat/prepared_split`` does. S sessions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recbole_hiersrec.data.files import LINE, SEPARATOR, SHORTEST, header, read_columns
from recbole_hiersrec.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

TRAIN, VALID, TEST = 0, 1, 2
PARTS = ("train", "valid", "test")
"""Names of the parts of a temporal split, as NAME.user holds them."""


def parts_of(
    path: Path, sessions: pl.Series, user: str = "user_id", separator: str = SEPARATOR
) -> NDArray[np.uint8]:
    """Part of each session of a temporal split: TRAIN, VALID or TEST, [S].

    Args:
        path: the .user file with the columns ``user`` and ``part``.
        sessions: names of the sessions, [S].
        user: column that names the session.
        separator: between cells.

    Raises:
        InputError: there is no such file or column, a session has no row or two, or its part is none of
            :data:`PARTS`.
    """
    import polars as pl

    if not path.is_file() or "part" not in dict(header(path, separator)):
        what = "has no column 'part'" if path.is_file() else "does not exist"
        raise InputError(
            f"{path} {what}: a temporal split reads each session's part there; "
            f"prepare it with: hiersrec data prepare {path.stem} --split temporal"
        )
    frame = read_columns(path, [user, "part"], separator)
    for row in frame.filter(~pl.col("part").is_in(PARTS)).head(1).iter_rows(named=True):
        raise InputError(f"{path}, line {row[LINE]}: part is {row['part']!r}; allowed: {', '.join(PARTS)}")
    for row in frame.filter(~pl.col(user).is_first_distinct()).head(1).iter_rows(named=True):
        raise InputError(f"{path}, line {row[LINE]}: session '{row[user]}' has a row already")
    joined = sessions.alias(user).to_frame().join(frame, on=user, how="left", maintain_order="left")
    for row in joined.filter(pl.col("part").is_null()).head(1).iter_rows(named=True):
        raise InputError(f"{path}: session '{row[user]}' has no row, so no part")
    return joined["part"].replace_strict(PARTS, [TRAIN, VALID, TEST], return_dtype=pl.UInt8).to_numpy()


def check_parts(inter: Path, user: str = "user_id", separator: str = SEPARATOR) -> None:
    """Make sure that every session of an .inter file has a part, and that every part has a target.

    Raises:
        InputError: what :func:`parts_of` raises for the .user file beside ``inter``, or no session of a part has two
            interactions.
    """
    path = inter.with_suffix(".user")
    sessions = read_columns(inter, [user], separator).group_by(user).len()
    part = parts_of(path, sessions[user], user, separator)
    with_target = part[(sessions["len"] >= SHORTEST["temporal"]).to_numpy()]
    for number, name in enumerate(PARTS):
        if not (with_target == number).any():
            raise InputError(f"{path}: no session of part '{name}' has 2 or more interactions in {inter}")
