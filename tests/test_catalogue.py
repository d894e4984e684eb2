"""Side information by item id: levels, title tokens, metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from atomic_files import write_shop

from recbole_hiersrec.data.catalogue import encode_titles, read_catalogue
from recbole_hiersrec.data.files import atomic_files, column
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.settings import HierSRecSettings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_shop(tmp_path) / "shop" / "shop.item"


def test_levels_of_ml_100k_are_first_genre_and_genre_set() -> None:
    files = atomic_files("ml-100k")
    tokens = sorted(set(column(files["inter"], "item_id")), key=int)
    catalogue = read_catalogue(files["item"], tokens, HierSRecSettings(category_fields=("class",)))
    taxonomy = catalogue.taxonomy
    assert taxonomy is not None
    assert taxonomy.levels == ("class.first", "class")
    assert taxonomy.sizes == (19, 216)
    toy_story = taxonomy.item_category[tokens.index("1") + 1]
    assert taxonomy.labels[1][toy_story[1]] == ("Animation", "Animation Children's Comedy")


def test_rows_are_joined_by_token_in_id_order(path: Path) -> None:
    settings = HierSRecSettings(category_fields=("department", "class"), metadata_fields=("class",))
    catalogue = read_catalogue(path, ["i9", "i0", "i4"], settings)
    assert catalogue.taxonomy is not None
    assert [catalogue.taxonomy.labels[1][c] for c in catalogue.taxonomy.item_category[1:, 1]] == [
        ("d1", "c4"),
        ("d0", "c0"),
        ("d0", "c2"),
    ]
    assert catalogue.metadata.tolist() == [[0], [3], [1], [2]]


def test_an_item_without_a_row_is_unknown(path: Path) -> None:
    settings = HierSRecSettings(
        category_fields=("class",), title_field="title", metadata_fields=("department",)
    )
    catalogue = read_catalogue(path, ["i1", "new"], settings)
    assert catalogue.taxonomy is not None
    assert catalogue.taxonomy.labels[0][catalogue.taxonomy.item_category[2, 0]] == ("(unknown)",)
    assert not catalogue.title_tokens[2].any()
    assert catalogue.metadata[2, 0] == 0


def test_no_fields_need_no_file() -> None:
    catalogue = read_catalogue(Path("nowhere"), ["a", "b"], HierSRecSettings())
    assert catalogue.taxonomy is None
    assert catalogue.title_tokens.shape == (3, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"category_fields": ("clas",)}, "has no column 'clas'; did you mean 'class'"),
        ({"title_field": "name"}, r"no column 'name'.*columns: item_id, department, class, title, price"),
        ({"category_fields": ("price",)}, "category_fields: column 'price' of .* is of type float; allowed"),
    ],
)
def test_faulty_fields(path: Path, settings: dict[str, object], message: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    priced = [lines[0] + "\tprice:float", *[line + "\t1.5" for line in lines[1:]]]
    path.write_text("\n".join(priced) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_catalogue(path, ["i1"], HierSRecSettings(**settings))  # type: ignore[arg-type]


def test_an_item_with_two_rows_is_refused(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("i3\td0\tc0\tagain\n")
    with pytest.raises(InputError, match="line 12: item 'i3' has a row already, at line 5"):
        read_catalogue(path, ["i3"], HierSRecSettings(category_fields=("class",)))


def test_missing_item_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"category_fields: need an \.item file"):
        read_catalogue(tmp_path / "shop.item", ["i3"], HierSRecSettings(category_fields=("class",)))


def test_titles_share_tokens_and_are_the_same_every_time() -> None:
    titles = ["the red shoe", "the red boot", "", "the red shoe"]
    table = encode_titles(titles, 60, 4)
    assert table.shape[0] == 5
    assert table.shape[1] <= 4
    assert not table[0].any()
    assert not table[3].any()
    assert (table[1] == table[4]).all()
    assert table[1, 0] == table[2, 0] != 0
    assert np.array_equal(table, encode_titles(titles, 60, 4))
