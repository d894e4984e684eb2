"""The same preparation in plain pandas, as one would write it in a notebook: what the package is compared with.

Clicks -> sorted by session and time -> repeats, rare items and short sessions removed until nothing changes -> temporal
split by session end; sessions that straddle a cut, and items unseen in training, dropped -> .inter and .user. The rows
are those of ``hiersrec data prepare``; a test holds that.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pandas as pd


def filtered(clicks: pd.DataFrame, item_core: int, min_length: int, collapse: bool = True) -> pd.DataFrame:
    """Clicks (session, item, time; sorted) without repeats, rare items and short sessions, until stable."""
    rows = -1
    while rows != len(clicks):
        rows = len(clicks)
        if collapse:
            clicks = clicks[clicks["item"] != clicks.groupby("session")["item"].shift()]
        clicks = clicks[clicks.groupby("item")["item"].transform("size") >= item_core]
        clicks = clicks[clicks.groupby("session")["session"].transform("size") >= min_length]
    return clicks


def split(
    clicks: pd.DataFrame, valid: Fraction, test: Fraction, min_length: int, collapse: bool = True
) -> tuple[pd.DataFrame, pd.Series]:
    """Clicks without those on items unseen in training, and the part of each session."""
    ends = clicks.groupby("session")["time"].max()
    n_sessions = len(ends)
    latest = ends.sort_values().to_numpy()
    first_test = latest[n_sessions - max(1, int(test * n_sessions))]
    earlier = latest[latest < first_test]
    first_valid = earlier[max(0, len(earlier) - max(1, int(valid * n_sessions)))]
    part = pd.Series("train", index=ends.index)
    part[ends >= first_valid] = "valid"
    part[ends >= first_test] = "test"
    starts = clicks.groupby("session")["time"].min()
    late = (part == "valid") & (starts < ends[part == "train"].max())
    late |= (part == "test") & (starts < ends[part != "test"].max())
    clicks = clicks[~clicks["session"].isin(part.index[late])]  # they begin before an earlier part has ended
    training = clicks["session"].map(part) == "train"
    clicks = clicks[training | clicks["item"].isin(clicks.loc[training, "item"].unique())]
    if collapse:
        clicks = clicks[clicks["item"] != clicks.groupby("session")["item"].shift()]
    clicks = clicks[clicks.groupby("session")["session"].transform("size") >= min_length]
    return clicks, part.loc[clicks["session"].unique()]


def write(clicks: pd.DataFrame, part: pd.Series, folder: Path, name: str) -> None:
    """Write NAME.inter and NAME.user."""
    time = clicks["time"]
    if (time == time.round()).all():
        time = time.astype("int64")
    out = pd.DataFrame(
        {"user_id:token": clicks["session"], "item_id:token": clicks["item"], "timestamp:float": time}
    )
    out.to_csv(folder / f"{name}.inter", sep="\t", index=False)
    users = pd.DataFrame({"user_id:token": part.index, "part:token": part.to_numpy()})
    users.to_csv(folder / f"{name}.user", sep="\t", index=False)


def prepare(
    clicks: pd.DataFrame,
    folder: Path,
    name: str,
    *,
    item_core: int = 5,
    min_length: int = 2,
    valid: str = "0.1",
    test: str = "0.1",
    collapse: bool = True,
) -> None:
    """Write the two files from clicks (session, item, time in seconds) in the order of their file."""
    clicks = clicks.sort_values(["session", "time"], kind="stable")
    clicks = filtered(clicks, item_core, min_length, collapse)
    write(*split(clicks, Fraction(valid), Fraction(test), min_length, collapse), folder, name)


def main(clicks_parquet: Path, folder: Path) -> None:
    """Globo's clicks.parquet to globo.inter and globo.user with the defaults of ``hiersrec data prepare globo``."""
    raw = pd.read_parquet(clicks_parquet, columns=["session_id", "click_article_id", "click_timestamp"])
    clicks = pd.DataFrame(
        {"session": raw["session_id"], "item": raw["click_article_id"], "time": raw["click_timestamp"] / 1000}
    )
    prepare(clicks, folder, "globo", valid="0.02", test="0.02")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
