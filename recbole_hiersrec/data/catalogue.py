"""What the .item file says of each item, as arrays indexed by item id: taxonomy, title tokens, other metadata.

RecBole puts every item of a loaded .item file into its item universe. So we read the file ourselves and join it
by token: the universe stays what the interactions (or RecBole's own loading) made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from recbole_hiersrec.data.files import SEPARATOR, column, header
from recbole_hiersrec.data.taxonomy import IntArray, Taxonomy
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.settings import HierSRecSettings

_TITLES_AT_ONCE = 10_000
"""An encoded title takes about a kilobyte until its ids are taken out of it."""


@dataclass(frozen=True)
class Catalogue:
    """Side information of N items, ids 1..N; row 0 is the PAD.

    Attributes:
        tokens: item token (the name in the files) of ids 1..N, at positions 0..N - 1.
        taxonomy: None when no category field was named.
        title_tokens: [N + 1, T] BPE ids, 0-padded; T = 0 without a title field.
        metadata: [N + 1, F] value ids of the further fields, 0 = missing.
        titles: title as it stands in the file, of ids 1..N, "" where there is none; empty without a title field.
    """

    tokens: tuple[str, ...]
    taxonomy: Taxonomy | None
    title_tokens: IntArray
    metadata: IntArray
    titles: tuple[str, ...] = ()

    @property
    def n_items(self) -> int:
        """Number of real items N."""
        return len(self.tokens)


def read_catalogue(
    path: Path,
    tokens: Sequence[str],
    settings: HierSRecSettings,
    *,
    item_field: str = "item_id",
    separator: str = SEPARATOR,
    seq_separator: str = " ",
) -> Catalogue:
    """Read the columns that ``settings`` names for the items ``tokens`` (ids 1..N in this order).

    An item without a row gets the category "(unknown)", no title and no metadata.

    Raises:
        InputError: a named column does not exist or has the wrong type, or an item has two rows.
    """
    wanted = wanted_fields(settings)
    n_items = len(tokens)
    if not wanted:
        nothing = np.zeros((n_items + 1, 0), dtype=np.int64)
        return Catalogue(tuple(tokens), None, nothing, nothing)
    types = check_fields(path, settings, separator)
    row_of = item_rows(path, item_field, separator)
    rows = [row_of.get(token) for token in tokens]
    columns = {
        field: _pick(column(path, field, separator), rows) for fields in wanted.values() for field in fields
    }
    taxonomy = None
    if settings.category_fields:
        taxonomy = _taxonomy(settings.category_fields, types, columns, seq_separator)
    titles = columns[settings.title_field] if settings.title_field else None
    return Catalogue(
        tuple(tokens),
        taxonomy,
        encode_titles(titles, settings.title_vocab_size, settings.title_max_tokens)
        if titles
        else np.zeros((n_items + 1, 0), dtype=np.int64),
        _value_ids([columns[field] for field in settings.metadata_fields], n_items),
        tuple(titles or ()),
    )


def encode_titles(titles: Sequence[str], vocab_size: int, max_tokens: int) -> IntArray:
    """Train BPE (Sennrich et al., 2016, arXiv 1508.07909) on the titles and encode them.

    Returns:
        [len(titles) + 1, T] token ids from 1, 0-padded, T <= max_tokens; row 0 is the PAD item.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(titles, trainer=trainer)
    encoded: dict[str, list[int]] = {}
    different = list(dict.fromkeys(titles))
    for start in range(0, len(different), _TITLES_AT_ONCE):
        batch = different[start : start + _TITLES_AT_ONCE]
        found = (encoding.ids[:max_tokens] for encoding in tokenizer.encode_batch(batch))
        encoded.update(zip(batch, found, strict=True))
    width = max((len(ids) for ids in encoded.values()), default=0)
    table = np.zeros((len(titles) + 1, width), dtype=np.int64)
    for item, title in enumerate(titles, start=1):
        table[item, : len(encoded[title])] = encoded[title]
    return table


def wanted_fields(settings: HierSRecSettings) -> dict[str, tuple[str, ...]]:
    """Setting -> columns of the .item file that it names; settings that name none are left out."""
    named = {
        "category_fields": settings.category_fields,
        "metadata_fields": settings.metadata_fields,
        "title_field": (settings.title_field,) if settings.title_field else (),
    }
    return {key: fields for key, fields in named.items() if fields}


def check_fields(path: Path, settings: HierSRecSettings, separator: str = SEPARATOR) -> dict[str, str]:
    """Column -> type of the .item file ``path``, once every column that the settings name is known to be usable.

    Raises:
        InputError: there is no such file, a named column does not exist, or is neither token nor token_seq.
    """
    wanted = wanted_fields(settings)
    if not path.is_file():
        raise InputError(f"{', '.join(wanted)}: need an .item file; there is no {path}")
    types = dict(header(path, separator))
    for key, field in ((key, field) for key, fields in wanted.items() for field in fields):
        if field not in types:
            raise InputError(
                f"{key}: {path} has no column '{field}'{nearest(field, types)} (columns: {', '.join(types)})"
            )
        if types[field] not in ("token", "token_seq"):
            raise InputError(
                f"{key}: column '{field}' of {path} is of type {types[field]}; allowed: token, token_seq"
            )
    return types


def item_rows(path: Path, item_field: str = "item_id", separator: str = SEPARATOR) -> dict[str, int]:
    """Item token -> its row in the .item file, from 0; raises :class:`InputError` if an item has two rows."""
    rows: dict[str, int] = {}
    for number, token in enumerate(column(path, item_field, separator)):
        if token in rows:
            raise InputError(
                f"{path}, line {number + 2}: item '{token}' has a row already, at line {rows[token] + 2}"
            )
        rows[token] = number
    return rows


def _pick(values: Sequence[str], rows: Sequence[int | None]) -> list[str]:
    return ["" if row is None else values[row] for row in rows]


def _taxonomy(
    fields: Sequence[str], types: dict[str, str], columns: dict[str, list[str]], seq_separator: str
) -> Taxonomy:
    """A token column is one level; a token_seq column two: its first entry, then the whole entry."""
    levels: list[str] = []
    parts: list[list[str]] = []
    for field in fields:
        if types[field] == "token_seq":
            levels += [f"{field}.first", field]
            parts += [[value.split(seq_separator)[0] for value in columns[field]], columns[field]]
        else:
            levels.append(field)
            parts.append(columns[field])
    return Taxonomy.from_paths(list(zip(*parts, strict=True)), levels)


def _value_ids(columns: Sequence[Sequence[str]], n_items: int) -> IntArray:
    table = np.zeros((n_items + 1, len(columns)), dtype=np.int64)
    for position, values in enumerate(columns):
        ids = {value: number for number, value in enumerate(sorted(set(values) - {""}), start=1)}
        table[1:, position] = [ids.get(value, 0) for value in values]
    return table
