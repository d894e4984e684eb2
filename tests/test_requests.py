"""What a user asked for becomes a preparation: defaults of the source, what the user changed, and the inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_hiersrec.data.requests import LogOptions, from_source, request_for
from recbole_hiersrec.data.sources.registry import SOURCES
from recbole_hiersrec.errors import InputError


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "yoochoose-clicks.dat").write_text("1,2014-04-07T10:51:09.277Z,214536502,0\n")
    return tmp_path


def test_the_source_has_its_own_defaults_and_the_user_the_last_word(raw: Path) -> None:
    request = from_source(SOURCES["yoochoose-64"], raw, None, {"test": "2d", "last": 20})
    assert request.name == request.source == "yoochoose-64"
    assert request.inputs == (raw / "yoochoose-clicks.dat",)
    chosen = request.settings
    assert (chosen.train_fraction, chosen.valid, chosen.test, chosen.last) == ("1/64", "1d", "2d", 20)


def test_defaults_of_a_temporal_split_do_not_stand_in_the_way_of_leave_one_out(raw: Path) -> None:
    request = from_source(SOURCES["yoochoose-64"], raw, "mine", {"split": "leave-one-out"})
    assert (request.name, request.settings.split, request.settings.shortest) == ("mine", "leave-one-out", 4)
    with pytest.raises(InputError, match="test needs split temporal; received 0.2 for leave-one-out"):
        from_source(SOURCES["yoochoose-64"], raw, None, {"split": "leave-one-out", "test": "0.2"})


def test_every_source_has_settings_that_are_right() -> None:
    from recbole_hiersrec.data.options import PrepareSettings
    from recbole_hiersrec.reading import parse

    for source in SOURCES.values():
        parse(PrepareSettings, source.defaults, source.name)


def test_a_log_of_your_own_is_identified_by_all_that_was_said_of_it(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("visit,sku,timestamp\n1,a,5\n")
    log = LogOptions(events=tmp_path / "e.csv", map=("session=visit", "item=sku"))
    request = request_for("mine", None, log, None, {})
    assert request.settings.split == "temporal"  # the default column of times is there
    assert request.reader["map"] == {"session": "visit", "item": "sku", "time": "timestamp"}
    other = LogOptions(events=tmp_path / "e.csv", map=("session=visit", "item=sku", "time="))
    assert request_for("mine", None, other, None, {}).settings.split == "leave-one-out"
    assert request_for("mine", None, other, None, {}).reader != request.reader


def test_the_catalogue_is_an_input_and_what_was_said_reaches_the_reader(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("session_id|sku|timestamp\n1|a|1600000000\n")
    (tmp_path / "i.csv").write_text("code|kind|name|maker\na|tools|hammer|x\n")
    log = LogOptions(
        events=tmp_path / "e.csv",
        items=tmp_path / "i.csv",
        map=("item=sku",),
        levels=("kind",),
        title="name",
        metadata=("maker",),
        item_column="code",
        separator="|",
        time_unit="ms",
    )
    request = request_for("mine", None, log, None, {})
    assert request.inputs == (tmp_path / "e.csv", tmp_path / "i.csv")
    assert request.reader["item_column"] == "code"
    read = request.read("stop")
    assert read.clicks["time"].to_list() == [1_600_000.0]
    assert (read.levels, read.title, read.metadata) == (("kind",), "title", ("maker",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": "e.csv", "levels": ("a",)}, "are columns of items; items is missing"),
        ({"events": "e.csv", "items": "i.csv"}, "items needs levels, title or metadata"),
    ],
)
def test_a_catalogue_and_its_columns_go_together(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogOptions.model_validate(options)


def test_a_folder_of_raw_files_is_not_for_a_log_of_your_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--raw is for public data sets, --events for a log of your own"):
        request_for("mine", tmp_path, LogOptions(events=tmp_path / "e.csv"), None, {})
