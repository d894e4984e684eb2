"""The data sets of S3-Rec (Amazon Beauty, Sports and Toys, Yelp, LastFM), which DuoRec, FMLP-Rec and BSARec use too.

Raw format, two files a data set:

- ``NAME.txt``: one user a line, ``user item item ...`` in the order of time, whole numbers from 1; no time stamps, so a
  session is a user's whole history and the split is leave-one-out. All users and items have five interactions or more.
- ``NAME_item2attributes.json``: one object, ``{"item": [attribute, ...], ...}``; attributes are numbers without names.

An Amazon list is the item's brand (if it is frequent; unmarked) and then its category paths, coarse to fine, one path
after another. Frequency below means the number of items that have an attribute. Levels are derived so:

1. **Brand.** The first attribute of a list is a brand if, in most of the lists of two or more that it begins, it is
   rarer than the second: a parent must be more frequent than its child, so it is no parent. It becomes the column
   ``brand``.
2. **Paths.** What is left (an attribute that repeats the one before it is left out) is cut before every attribute that
   begins other lists. Of several paths the one counts whose first attribute begins most lists; of equals the first.
3. **End of a path.** A list that names an attribute twice holds several paths, for no path does. There the path ends
   before the first attribute that is more frequent than the one before it. In a list without repeats such an attribute
   is a name that several parents share, and the path goes on.
4. **Levels.** An attribute that every item has says nothing and is left out. ``level_1`` to ``level_3`` are the path's
   first three attributes, unknown where it ends earlier; ``attributes`` is the set of all attributes of the item.

The last level is there because few paths go deeper than three and their ends are coarse: the items of a category still
differ in brand and further paths, and a set of attributes is the finest thing that the files say of an item. Leave it
out with ``category_fields`` where that is too fine.

Counted in these files. Beauty: 3,120 different lists (3,116 sets); 7,494 of 12,101 items have a brand; 747 items name
an attribute after a rarer one, each time a shared name. Sports: 6,090 lists (6,047 sets), those of 957 items with
repeats; every list begins with a brand, but one "brand" has 7,263 of 18,357 items, most likely the empty name (as has
number 1 of Toys). It is kept as it is.

The lists of Yelp and LastFM have neither brand nor paths: Yelp's are unordered labels, LastFM's are tags, once for each
time they were given. There an item's attributes are ordered by how often its list names them, then by frequency, then
by number; the first three are ``level_1`` to ``level_3``.

Licence: none stated. Source: https://github.com/aHuiWang/CIKM2020-S3Rec; K. Zhou et al., S3-Rec: Self-supervised
learning for sequential recommendation with mutual information maximization, CIKM 2020, whose counts are given below.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from recbole_hiersrec.data.content import open_content
from recbole_hiersrec.data.log import ROW, BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.raw import read_lines
from recbole_hiersrec.data.validate import one_row_an_item
from recbole_hiersrec.errors import InputError

PATH_LEVELS = ("level_1", "level_2", "level_3")
ATTRIBUTES = "attributes"
BRAND = "brand"
_NUMBER = "[1-9][0-9]{0,17}"  # fits Int64; S3-Rec keeps 0 for padding


def read(folder: Path, bad_rows: BadRows, *, name: str, paths: bool) -> RawLog:
    """Read ``NAME.txt`` and ``NAME_item2attributes.json``.

    Args:
        folder: where they lie.
        bad_rows: what to do with bad lines and bad entries of the JSON file.
        name: NAME.
        paths: whether the lists are brands and category paths (Amazon) or unordered (Yelp, LastFM).

    Raises:
        InputError: a file is missing, cut short or malformed, or a row is bad and ``bad_rows`` is "stop".
    """
    users = _users(folder / f"{name}.txt", bad_rows)
    clicks = _clicks(users.frame)
    lists = _lists(folder / f"{name}_item2attributes.json", clicks["item"], f"{name}.txt", bad_rows)
    notes = ["The files have no time stamps: the order of each user's items is all that is known."]
    rule = "brand first, then category paths" if paths else "by frequency, as the lists have no order"
    notes.append(f"Levels are derived from unnamed attributes ({rule}); a category's name is its number.")
    return RawLog(
        clicks=clicks,
        items=(_branded_items if paths else _ranked_items)(lists.frame),
        levels=(*PATH_LEVELS, ATTRIBUTES) if paths else PATH_LEVELS,
        metadata=(BRAND,) if paths else (),
        time="order",
        rejected=pl.concat([users.rejected, lists.rejected]),
        notes=tuple(notes),
    )


def _users(path: Path, bad_rows: BadRows) -> Table:
    """One row a user, the line as text."""
    table = read_lines(path, bad_rows)
    line = pl.col("line").str.strip_chars_end()
    table = table.refuse(
        "line",
        ~line.str.contains(f"^{_NUMBER}( {_NUMBER})+$"),
        "allowed: a user and one item or more, whole numbers from 1 with a space between them",
    )
    user = pl.col("line").str.extract(f"^({_NUMBER})", 1)
    return table.refuse(
        "line", ~user.is_first_distinct(), "the user has an earlier line; allowed: one line a user"
    )


def _clicks(users: pl.DataFrame) -> pl.DataFrame:
    numbers = users.select(
        pl.col("line").str.strip_chars_end().str.split(" ").cast(pl.List(pl.Int64)).alias("all")
    )
    return (
        numbers.select(session=pl.col("all").list.first(), item=pl.col("all").list.slice(1))
        .with_columns(time=pl.int_ranges(0, pl.col("item").list.len()).cast(pl.List(pl.Float64)))
        .explode("item", "time")
    )


def _lists(path: Path, known: pl.Series, other: str, bad_rows: BadRows) -> Table:
    """One row an item of the JSON file: ``item`` and ``list``."""
    entries = _entries(path)
    frame = pl.DataFrame(
        {
            ROW: pl.Series(range(1, len(entries) + 1), dtype=pl.UInt32),
            "item": pl.Series([item for item, _ in entries], dtype=pl.String),
            ATTRIBUTES: pl.Series([json.dumps(value) for _, value in entries], dtype=pl.String),
            "list": pl.Series(
                [value if _is_list(value) else None for _, value in entries], dtype=pl.List(pl.Int64)
            ),
        }
    )
    table = Table(path, frame, bad_rows)
    table = table.refuse(
        "item", ~pl.col("item").str.contains(f"^{_NUMBER}$"), "allowed: a whole number from 1"
    )
    table = table.refuse(ATTRIBUTES, pl.col("list").is_null(), "allowed: a list of whole numbers from 1")
    missing = ~pl.col("item").is_in(known.unique().cast(pl.String).implode())
    table = table.refuse("item", missing, f"{other} has no such item; allowed: its items")
    return one_row_an_item(table, "item", [ATTRIBUTES])


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its keys, repeated ones as well."""


def _entries(path: Path) -> _Object:
    try:
        value = json.loads(bytes(open_content(path).data), object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        place = f"row {error.lineno}, character {error.colno}"
        raise InputError(f"{path}, {place}: is not JSON, or is cut short ({error.msg})") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(f"{path}: is not UTF-8: byte {byte:#04x} at position {error.start}") from None
    except RecursionError:
        raise InputError(f"{path}: brackets are nested too deeply; allowed: one object of lists") from None
    if not isinstance(value, _Object) or not value:
        raise InputError(f'{path}: allowed: one JSON object {{"item": [attribute, ...], ...}}, not empty')
    return value


def _is_list(value: object) -> bool:
    return type(value) is list and all(type(entry) is int and 0 < entry < 2**63 for entry in value)


def _branded_items(lists: pl.DataFrame) -> pl.DataFrame:
    derived = brands_and_paths(lists["list"].to_list())
    return _items(lists, [path for _, path in derived]).with_columns(
        pl.Series(ATTRIBUTES, [" ".join(map(str, sorted(set(a)))) for a in lists["list"].to_list()]),
        pl.Series(BRAND, [None if brand is None else str(brand) for brand, _ in derived], dtype=pl.String),
    )


def _ranked_items(lists: pl.DataFrame) -> pl.DataFrame:
    return _items(lists, ranked(lists["list"].to_list()))


def _items(lists: pl.DataFrame, paths: Sequence[Sequence[int]]) -> pl.DataFrame:
    columns = {
        level: pl.Series([str(path[depth]) if depth < len(path) else None for path in paths], dtype=pl.String)
        for depth, level in enumerate(PATH_LEVELS)
    }
    return lists.select(pl.col("item").cast(pl.Int64)).with_columns(**columns)


def brands_and_paths(lists: Sequence[Sequence[int]]) -> list[tuple[int | None, list[int]]]:
    """Brand (None: unknown) and category path of each list of attributes, by the rules of this module."""
    frequency = _frequency(lists)
    brands = _brands(lists, frequency)
    bodies = [_without_repeats(a[1:] if a and a[0] in brands else a) for a in lists]
    starts = Counter(body[0] for body in bodies if body)
    filled = sum(bool(attributes) for attributes in lists)
    return [
        (
            attributes[0] if attributes and attributes[0] in brands else None,
            [a for a in _path(body, starts, frequency) if frequency[a] < filled],
        )
        for attributes, body in zip(lists, bodies, strict=True)
    ]


def ranked(lists: Sequence[Sequence[int]]) -> list[list[int]]:
    """Different attributes of each list: most often named in it first, then more frequent, then smaller number."""
    frequency = _frequency(lists)
    named = map(Counter, lists)
    return [sorted(times, key=lambda a: (-times[a], -frequency[a], a)) for times in named]


def _frequency(lists: Sequence[Sequence[int]]) -> Counter[int]:
    return Counter(a for attributes in lists for a in set(attributes))


def _brands(lists: Sequence[Sequence[int]], frequency: Mapping[int, int]) -> set[int]:
    votes: Counter[int] = Counter()
    for first, second in (attributes[:2] for attributes in lists if len(attributes) >= 2):
        votes[first] += 1 if frequency[first] < frequency[second] else -1
    return {first for first, vote in votes.items() if vote > 0}


def _without_repeats(attributes: Sequence[int]) -> list[int]:
    return [a for place, a in enumerate(attributes) if not place or a != attributes[place - 1]]


def _path(body: list[int], starts: Mapping[int, int], frequency: Mapping[int, int]) -> list[int]:
    if not body:
        return []
    cuts = [place for place, a in enumerate(body) if not place or a in starts]
    paths = [body[start:end] for start, end in pairwise([*cuts, len(body)])]
    path = max(paths, key=lambda p: starts[p[0]])  # the first of equals
    if len(set(body)) == len(body):
        return path
    rises = (place for place in range(1, len(path)) if frequency[path[place]] > frequency[path[place - 1]])
    return path[: next(rises, len(path))]


def _source(
    name: str, file: str, domain: str, published: tuple[int, int, int], *, paths: bool = True
) -> Source:
    return Source(
        name=name,
        domain=domain,
        licence="none stated",
        obtain="folder data/ of https://github.com/aHuiWang/CIKM2020-S3Rec",
        files=(f"{file}.txt", f"{file}_item2attributes.json"),
        published=published,
        levels=(*PATH_LEVELS, ATTRIBUTES) if paths else PATH_LEVELS,
        read=partial(read, name=file, paths=paths),
        defaults={"split": "leave-one-out", "item_core": 1, "collapse_repeats": False},
    )


SOURCES = (
    _source("amazon-beauty", "Beauty", "online shop: beauty products reviewed", (22_363, 12_101, 198_502)),
    _source(
        "amazon-sports",
        "Sports_and_Outdoors",
        "online shop: sports products reviewed",
        (35_598, 18_357, 296_337),
    ),
    _source("amazon-toys", "Toys_and_Games", "online shop: toys reviewed", (19_412, 11_924, 167_597)),
    _source("yelp", "Yelp", "businesses reviewed in 2019", (30_431, 20_033, 316_354), paths=False),
    _source("lastfm", "LastFM", "artists listened to", (1_090, 3_646, 52_551), paths=False),
)
