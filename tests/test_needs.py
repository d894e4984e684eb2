"""What models need of data and split is known before any job starts; what they lack is said in a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_suite import make_suite, write_data, write_parts

from recbole_hiersrec.benchmark.needs import ATTRIBUTE, ATTRIBUTE_VALUES, FEATURES, USER_VECTORS, lacking
from recbole_hiersrec.benchmark.suite import Job, expand, reason_to_skip
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.names import recbole_folder

OWN = {"category_fields": ["class"], "metadata_fields": ["brand"]}


def write_items(folder: Path, rows: list[str]) -> None:
    """An .item file with the columns class (a list) and brand beside the sessions of the fake suite."""
    write_data(folder)
    text = "item_id:token\tclass:token_seq\tbrand:token\n" + "\n".join(rows) + "\n"
    (folder / "dataset" / "toy" / "toy.item").write_text(text)


def only_job(folder: Path, model: str, **settings: Any) -> Job:
    return expand(make_suite(folder, models=[{"model": model, "settings": settings}]))[0]


def test_the_models_with_vectors_of_users_are_those_that_embed_them() -> None:
    folder = recbole_folder() / "model" / "sequential_recommender"
    marks = ("user_embedding = nn.Embedding", "user_lambda = nn.Embedding", "UI_emb = nn.Embedding")
    found = {
        line.split()[1].split("(")[0]
        for path in folder.glob("*.py")
        if any(mark in (text := path.read_text(encoding="utf-8")) for mark in marks)
        for line in text.splitlines()
        if line.startswith("class ") and "(SequentialRecommender)" in line
    }
    assert found == USER_VECTORS


@pytest.mark.parametrize("model", sorted(FEATURES))
def test_features_are_category_and_metadata_fields(tmp_path: Path, model: str) -> None:
    write_items(tmp_path, [f"{item}\tgroup{item % 3} sub{item}\tb{item}" for item in range(1, 31)])
    assert only_job(tmp_path, model, **OWN).settings["selected_features"] == ["class", "brand"]
    assert only_job(tmp_path, model, category_fields="class").settings["selected_features"] == ["class"]
    given = only_job(tmp_path, model, **OWN, selected_features=["brand"])
    assert given.settings["selected_features"] == ["brand"]
    assert reason_to_skip(given) == ""


@pytest.mark.parametrize(
    ("n_classes", "n_brands", "expected"),
    [
        (ATTRIBUTE_VALUES - 1, 1, "class"),  # and the group makes as many as are allowed
        (ATTRIBUTE_VALUES, 2, "brand"),
        (ATTRIBUTE_VALUES, ATTRIBUTE_VALUES + 1, None),
    ],
)
def test_the_attribute_is_the_finest_that_is_not_too_fine(
    tmp_path: Path, n_classes: int, n_brands: int, expected: str | None
) -> None:
    rows = [f"{n}\tgroup sub{n % n_classes}\tb{n % n_brands}" for n in range(1, 2 * ATTRIBUTE_VALUES)]
    write_items(tmp_path, rows)
    job = only_job(tmp_path, "S3Rec", **OWN)
    assert job.settings.get("item_attribute") == expected
    few = f"; item_attribute, category_fields and metadata_fields name no column with at most {ATTRIBUTE_VALUES} values"
    assert reason_to_skip(job) == ("" if expected else f"needs side information{few}")
    assert reason_to_skip(only_job(tmp_path, "S3Rec", item_attribute="class")) == ""


@pytest.mark.parametrize("model", sorted(FEATURES | ATTRIBUTE))
def test_no_side_information(tmp_path: Path, model: str) -> None:
    write_data(tmp_path)
    assert "category_fields and metadata_fields name no column" in reason_to_skip(only_job(tmp_path, model))
    (tmp_path / "dataset" / "toy" / "toy.item").unlink()
    job = only_job(tmp_path, model, **OWN)
    assert reason_to_skip(job) == "needs side information; the data set has no .item file"
    assert reason_to_skip(only_job(tmp_path, "SASRec", **OWN)) == ""


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (
            "SASRecF",
            {"selected_features": ["brnd"]},
            r"selected_features: .*no column 'brnd'; did you mean 'brand'",
        ),
        ("SASRecF", {"category_fields": ["brnd"]}, r"selected_features: .*no column 'brnd'"),
        ("S3Rec", {"item_attribute": "brnd"}, r"item_attribute: .*no column 'brnd'"),
    ],
)
def test_columns_that_do_not_exist(
    tmp_path: Path, model: str, settings: dict[str, Any], message: str
) -> None:
    write_items(tmp_path, ["1\tgroup\tb1"])
    with pytest.raises(InputError, match=message):
        only_job(tmp_path, model, **settings)


def test_an_item_with_two_rows(tmp_path: Path) -> None:
    write_items(tmp_path, ["1\tgroup\tb1", "1\tgroup\tb2"])
    with pytest.raises(InputError, match="item '1' has a row already"):
        only_job(tmp_path, "SASRecF", **OWN)


@pytest.mark.parametrize("model", sorted(USER_VECTORS))
def test_users_of_a_temporal_split_are_new(tmp_path: Path, model: str) -> None:
    write_data(tmp_path)
    assert reason_to_skip(only_job(tmp_path, model)) == ""
    write_parts(tmp_path)
    jobs = expand(make_suite(tmp_path, models=[model, "SASRec"], protocol={"split": "temporal"}))
    assert [reason_to_skip(job) for job in jobs] == [
        "needs users seen in training; every test session of a temporal split is new",
        "",
    ]


@pytest.mark.parametrize(
    ("settings", "max_length", "reason"),
    [
        ({"dual_domain": True}, 5, "with dual_domain it needs an even max_length; received 5"),
        ({"dual_domain": True}, 4, ""),
        ({}, 5, ""),
        ({}, 3, "needs max_length 4 or more; received 3"),
        ({"n_layers": 1}, 4, "needs n_layers 2 or more; received 1"),
    ],
)
def test_frequencies_of_fearec(settings: dict[str, Any], max_length: int, reason: str) -> None:
    protocol = {"split": "leave-one-out", "max_length": max_length}
    assert lacking("FEARec", settings, protocol, None) == reason
    assert lacking("SASRec", settings, protocol, None) == ""
