"""JSON of records: short, a line a row, and read back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec.records import as_text, read_text

VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
NAMES = st.text(max_size=5)
TABLES = st.lists(NAMES, unique=True, max_size=4).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, VALUES)), max_size=5)
)
ROWS = st.lists(st.dictionaries(NAMES, VALUES, max_size=3), max_size=4)
SECTIONS = VALUES | TABLES | ROWS | st.lists(VALUES, max_size=4)


@given(st.dictionaries(NAMES, SECTIONS, max_size=5))
def test_what_is_written_comes_back(sections: dict[str, Any]) -> None:
    back = read_text(as_text(sections))
    assert back == sections
    assert json.dumps(back) == json.dumps(sections)  # the order of names too, and 1 is not 1.0


def test_rows_that_are_alike_name_their_columns_once() -> None:
    record = {
        "schema": 1,
        "job": {"ks": [1, 2]},
        "accuracy": [{"k": 1, "value": 0.1}, {"k": 2, "value": 0.25}],
        "timing": [{"k": 1, "value": 0.1}, {"k": 2}],
        "ordered": [{"k": 1, "value": 0.1}, {"value": 0.1, "k": 2}],
        "names": ["a", "b"],
        "warnings": [],
    }
    lines = as_text(record).splitlines()
    assert lines == [
        "{",
        '"schema":1,',
        '"job":{"ks":[1,2]},',
        '"accuracy":{"columns":["k","value"],"rows":[',
        "[1,0.1],",
        "[2,0.25]",
        "]},",
        '"timing":[',
        '{"k":1,"value":0.1},',
        '{"k":2}',
        "],",
        '"ordered":[',
        '{"k":1,"value":0.1},',
        '{"value":0.1,"k":2}',
        "],",
        '"names":[',
        '"a",',
        '"b"',
        "],",
        '"warnings":[]',
        "}",
    ]
    assert read_text(as_text(record)) == record
    assert read_text(json.dumps(record)) == record  # as earlier versions wrote it


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_word_for_such_a_number(number: float) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        as_text({"accuracy": [{"value": number}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"timing":{"columns":["a"],"rows":[[1],[1,2]]}}',
            r"section 'timing', row 2: \[1, 2\], allowed: a list of 1",
        ),
        ('{"timing":{"columns":["a"],"rows":[3]}}', "section 'timing', row 1: 3, allowed: a list of 1"),
        ('{"timing":{"columns":["a"],"rows":7}}', "section 'timing': rows 7, allowed: a list"),
        (
            '{"timing":{"columns":[1],"rows":[]}}',
            r"section 'timing': columns \[1\], allowed: a list of names",
        ),
        ('{"timing":', "Expecting value"),
    ],
)
def test_damage_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_text(text)
