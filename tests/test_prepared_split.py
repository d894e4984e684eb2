"""The key prepared_split, and NAME.yaml of a data set's folder, in RecBole's Config and data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from atomic_files import SMALL, write_shop, write_split

from recbole_hiersrec import register
from recbole_hiersrec.errors import InputError

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.quick_start import run_recbole  # noqa: E402


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    data_path = write_shop(tmp_path)
    write_split(data_path)
    return data_path


def config(model: str, data_path: Path, **given: Any) -> Any:
    values = {**SMALL, "train_neg_sample_args": None, "data_path": str(data_path), **given}
    return Config(model=model, dataset="shop", config_dict=values)


def sizes(model: str, data_path: Path, **given: Any) -> list[int]:
    return [len(part) for part in create_dataset(config(model, data_path, **given)).build()]


@pytest.mark.parametrize(
    ("cases", "wanted"), [("every-prefix", [40, 10, 10]), ("last-item", [40, 2, 2]), (None, [36, 12, 12])]
)
def test_number_of_cases(shop: Path, cases: str | None, wanted: list[int]) -> None:
    assert sizes("SASRec", shop, prepared_split=cases) == wanted  # sessions of 6: 5 targets each


def test_every_position_of_a_training_session_is_learned_from(shop: Path) -> None:
    assert sizes("HierSRec", shop, prepared_split="every-prefix") == [8, 10, 10]


def test_a_model_trains_on_a_prepared_split(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    given = {**SMALL, "train_neg_sample_args": None, "data_path": str(shop), "prepared_split": "last-item"}
    result = run_recbole(model="SASRec", dataset="shop", config_dict=given, saved=False)
    assert 0 <= result["test_result"]["recall@3"] <= 1


def test_fields_of_other_names(shop: Path) -> None:
    for suffix in ("inter", "user", "item"):
        path = shop / "shop" / f"shop.{suffix}"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("user_id:", "visit:").replace("\t", "|"), encoding="utf-8")
    given = {"USER_ID_FIELD": "visit", "field_separator": "|", "prepared_split": "last-item"}
    assert sizes("SASRec", shop, **given) == [40, 2, 2]


def test_parts_do_not_depend_on_what_recbole_loads(shop: Path) -> None:
    columns = {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id", "part"]}
    assert sizes("SASRec", shop, prepared_split="every-prefix", load_col=columns) == [40, 10, 10]


def test_a_wrong_value_names_the_allowed_ones(shop: Path) -> None:
    message = "prepared_split: received 'last-itm'; did you mean 'last-item'.*every-prefix, last-item"
    with pytest.raises(InputError, match=message):
        sizes("SASRec", shop, prepared_split="last-itm")


def test_models_without_sequences_are_refused(shop: Path) -> None:
    values = {"data_path": str(shop), "prepared_split": "last-item", "gpu_id": ""}
    with pytest.raises(InputError, match="last-item needs a sequential model.*received BPR"):
        create_dataset(Config(model="BPR", dataset="shop", config_dict=values)).build()


def test_two_splits_are_refused(shop: Path) -> None:
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    for part in ("a", "b", "c"):
        (shop / "shop" / f"shop.{part}.inter").write_text(head + "u1\ti1 i2\ti3\n", encoding="utf-8")
    given = {"benchmark_filename": ["a", "b", "c"], "load_col": None, "alias_of_item_id": ["item_id_list"]}
    with pytest.raises(InputError, match="prepared_split and benchmark_filename are two splits"):
        sizes("SASRec", shop, prepared_split="last-item", **given)


@pytest.mark.parametrize("model", ["SASRec", "HierSRec"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("part:token", "half:token", "has no column 'part'.*hiersrec data prepare shop --split temporal"),
        ("u9\tvalid", "u9\tvalidation", "line 11: part is 'validation'; allowed: train, valid, test"),
        ("u9\tvalid\n", "", "session 'u9' has no row, so no part"),
        ("u9\tvalid", "u9\tvalid\nu9\ttest", "line 12: session 'u9' has a row already"),
        ("\tvalid", "\ttrain", "no session of part 'valid' in .*shop.user has 2 or more interactions"),
    ],
)
def test_faulty_parts(shop: Path, model: str, old: str, new: str, message: str) -> None:
    path = shop / "shop" / "shop.user"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        sizes(model, shop, prepared_split="every-prefix")


def test_without_a_user_file(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"shop\.user does not exist: .*hiersrec data prepare shop --split temporal"
    ):
        sizes("SASRec", write_shop(tmp_path), prepared_split="every-prefix")


def test_saved_data_loaders_of_another_split_are_not_taken_up(shop: Path, tmp_path: Path) -> None:
    def n_test(cases: str) -> int:
        given = {"save_dataloaders": True, "checkpoint_dir": str(tmp_path / "saved"), "prepared_split": cases}
        found = config("SASRec", shop, **given)
        return len(data_preparation(found, create_dataset(found))[2]._dataset)

    assert [n_test(cases) for cases in ("every-prefix", "last-item")] == [10, 2]


def folder_settings(data_path: Path, text: str) -> None:
    (data_path / "shop" / "shop.yaml").write_text(text, encoding="utf-8")


def test_settings_in_the_folder_are_defaults_of_our_models(shop: Path, tmp_path: Path) -> None:
    folder_settings(shop, "category_fields: [department, class]\ntitle_field: title\n")
    assert config("HierSRec", shop)["category_fields"] == ["department", "class"]
    assert create_dataset(config("HierSRec", shop)).catalogue.taxonomy.levels == ("department", "class")
    assert config("HierSRec", shop, category_fields=["class"])["category_fields"] == ["class"]
    assert config("SASRec", shop)["category_fields"] is None
    file = tmp_path / "config.yaml"
    file.write_text(f"data_path: {shop}\ngpu_id: ''\n", encoding="utf-8")
    assert Config("HierSRec", "shop", config_file_list=[str(file)])["title_field"] == "title"


def test_settings_in_the_folder_are_found_below_the_default_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_settings(write_shop(tmp_path / "dataset"), "title_field: title\n")
    monkeypatch.chdir(tmp_path)
    assert Config("HierSRec", "shop", config_dict={"gpu_id": ""})["title_field"] == "title"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "categry_fields: [a]\n",
            r"shop\.yaml: unknown key 'categry_fields'; did you mean 'category_fields'",
        ),
        ("[category_fields\n", r"shop\.yaml, line 2: not YAML"),
        ("- category_fields\n", r"shop\.yaml: expected settings as 'key: value'"),
    ],
)
def test_faulty_settings_in_the_folder(shop: Path, text: str, message: str) -> None:
    folder_settings(shop, text)
    with pytest.raises(InputError, match=message):
        config("HierSRec", shop)
