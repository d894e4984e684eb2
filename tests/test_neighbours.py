"""Session-kNN and popularity within the session, against answers by hand and against plain loops."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_manifest, write_shop
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recbole_hiersrec import register, resources
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import read_yaml
from recbole_hiersrec.settings import NEIGHBOUR_SETTINGS, neighbour_settings

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.data.interaction import Interaction  # noqa: E402
from recbole.quick_start import run_recbole  # noqa: E402
from recbole.utils import get_model  # noqa: E402

from recbole_hiersrec.baselines.neighbourhood import Pairs, nearest  # noqa: E402
from recbole_hiersrec.baselines.past_sessions import past_sessions_of  # noqa: E402
from recbole_hiersrec.baselines.places import in_order, rounded  # noqa: E402

DAY = 86_400.0
MODELS = tuple(NEIGHBOUR_SETTINGS)


@dataclass(frozen=True)
class Log:
    """A session: its items as letters, and the day of its last click."""

    items: str
    day: float


def write_log(data_path: Path, sessions: Mapping[str, Log], name: str = "log") -> Path:
    """A temporal split whose training part is ``sessions``, all clicks of one at one time; returns ``data_path``."""
    folder = data_path / name
    folder.mkdir(parents=True)
    every = {**sessions, "valid": Log("AB", 1000), "test": Log("AB", 2000)}
    rows = [f"{user}\t{item}\t{log.day * DAY}" for user, log in every.items() for item in log.items]
    (folder / f"{name}.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows, ""]), encoding="utf-8"
    )
    parts = [f"{user}\t{user if user in ('valid', 'test') else 'train'}" for user in every]
    (folder / f"{name}.user").write_text(
        "\n".join(["user_id:token\tpart:token", *parts, ""]), encoding="utf-8"
    )
    return data_path


def build(data_path: Path, name: str, dataset: str = "log", **settings: Any) -> tuple[Any, list[Any]]:
    """(model, the three parts)."""
    split = {} if "prepared_split" in settings or dataset == "shop" else {"prepared_split": "every-prefix"}
    values = {**SMALL, "train_neg_sample_args": None, "data_path": str(data_path), **split, **settings}
    config = Config(model=name, dataset=dataset, config_dict=values)
    parts = [loader._dataset for loader in data_preparation(config, create_dataset(config))]
    return get_model(name)(config, parts[0]).eval(), parts


def batch(model: Any, part: Any, current: Sequence[tuple[str, float]], user: str | None = None) -> Any:
    """Rows of letters and days as RecBole gives them; ``user`` None: no column of user ids."""
    ids = part.field2token_id["item_id"]
    history = torch.zeros(len(current), model.max_seq_length, dtype=torch.long)
    times = torch.zeros(history.shape)
    for row, (items, day) in enumerate(current):
        history[row, : len(items)] = torch.tensor([ids[item] for item in items])
        times[row, : len(items)] = day * DAY
    columns = {"item_id_list": history, "item_length": (history > 0).sum(1), "timestamp_list": times}
    if user is not None:
        columns["user_id"] = torch.full((len(current),), part.field2token_id["user_id"][user])
    return Interaction(columns)


def scores(
    model: Any, part: Any, items: str, day: float = 100.0, user: str | None = None
) -> dict[str, float]:
    """What the neighbours say of each item that they hold, by letter."""
    rows = batch(model, part, [(items, day)], user)
    table = model.neighbour_scores(rows["item_id_list"], rows["item_length"], rows)
    letters = part.field2id_token["item_id"]
    return {str(letters[item]): float(value) for item, value in zip(table.indices, table.data, strict=True)}


def ranking(model: Any, part: Any, items: str, day: float = 100.0) -> str:
    """All letters, the highest score first; equal ones by letter."""
    (row,) = model.full_sort_predict(batch(model, part, [(items, day)])).tolist()
    letters = part.field2id_token["item_id"]
    return "".join(
        str(letters[item]) for item in sorted(range(1, len(row)), key=lambda i: (-row[i], letters[i]))
    )


PUBLISHED = {"position_decay": "linear", "match_decay": "linear"}
THREE = {"n1": Log("ABC", 1), "n2": Log("BD", 2), "n3": Log("AED", 3)}


# --- rules by hand ---------------------------------------------------------------------------------------------


def test_sknn_by_hand(tmp_path: Path) -> None:
    """Cosines of AB with ABC, BD and AED: 2 / sqrt(6), 1 / 2, 1 / sqrt(6)."""
    model, (train, *_) = build(write_log(tmp_path, THREE), "SKNN")
    one, two, three = 2 / math.sqrt(6), 1 / 2, 1 / math.sqrt(6)
    wanted = {"A": one + three, "B": one + two, "C": one, "D": two + three, "E": three}
    assert scores(model, train, "AB") == pytest.approx(wanted)
    assert ranking(model, train, "AB") == "BADCE"


def test_an_item_that_comes_again_is_one_item_in_sknn(tmp_path: Path) -> None:
    model, (train, *_) = build(write_log(tmp_path, {"n1": Log("ABAAC", 1)}), "SKNN")
    assert scores(model, train, "ABB") == pytest.approx(dict.fromkeys("ABC", 2 / math.sqrt(6)))


def test_vsknn_by_hand(tmp_path: Path) -> None:
    """A weighs 1/2, B 1. ABC shares both, and B last: 3/2 * 1; BD: 1 * 1; AED only A: 1/2 * 1/2."""
    data_path = write_log(tmp_path, THREE)
    model, (train, *_) = build(data_path, "VSKNN", **PUBLISHED)
    wanted = {"A": 7 / 4, "B": 5 / 2, "C": 3 / 2, "D": 5 / 4, "E": 1 / 4}
    assert scores(model, train, "AB") == pytest.approx(wanted)
    # Two of three sessions hold A, B and D; one holds C and E.
    common, rare = 1 + 2 * math.log(3 / 2), 1 + 2 * math.log(3)
    model, (train, *_) = build(data_path, "VSKNN", **PUBLISHED, idf_weight=2.0)
    factors = {"A": common, "B": common, "C": rare, "D": common, "E": rare}
    assert scores(model, train, "AB") == pytest.approx(
        {item: wanted[item] * factors[item] for item in wanted}
    )


def test_the_last_click_on_an_item_counts_in_vsknn(tmp_path: Path) -> None:
    """Of ABA, A is click 3 of 3, B click 2: BD has 2/3 * 2/3, AED 1 * 1, ABC 5/3 * 1."""
    model, (train, *_) = build(write_log(tmp_path, THREE), "VSKNN", **PUBLISHED)
    found = scores(model, train, "ABA")
    assert found == pytest.approx({"A": 8 / 3, "B": 5 / 3 + 4 / 9, "C": 5 / 3, "D": 13 / 9, "E": 1})


@pytest.mark.parametrize(
    ("position", "match", "wanted"),
    [
        ("none", "none", {"C": 2, "E": 1}),  # V-SKNN without its decay: the number of shared items
        ("linear", "none", {"C": 5 / 3, "E": 2 / 3}),
        ("quadratic", "none", {"C": 4 / 9 + 1, "E": 4 / 9}),
        ("reciprocal", "none", {"C": 1 / 2 + 1, "E": 1 / 2}),
        ("none", "linear", {"C": 2, "E": 2 / 3}),
        ("none", "quadratic", {"C": 2, "E": 4 / 9}),
        ("none", "reciprocal", {"C": 2, "E": 1 / 2}),
    ],
)
def test_decays_of_vsknn(tmp_path: Path, position: str, match: str, wanted: dict[str, float]) -> None:
    """Of FAB, ABC shares clicks 2 and 3, AED click 2."""
    log = write_log(tmp_path, {**THREE, "n4": Log("FG", 4)})
    model, (train, *_) = build(log, "VSKNN", position_decay=position, match_decay=match)
    found = scores(model, train, "FAB")
    assert {item: found[item] for item in wanted} == pytest.approx(wanted)


def test_stan_by_hand(tmp_path: Path) -> None:
    """AB on day 5 beside ABC of day 1, BD of day 2 and AED of day 3; w_2 is relative to that of day 3."""
    model, (train, *_) = build(write_log(tmp_path, THREE), "STAN", lambda1=1.0, lambda2=4.0, lambda3=2.0)
    a = math.exp(-1)  # A stands one click before the end of AB
    abc = (a + 1) / math.sqrt(2 * 3) * math.exp(-2 / 4)
    bd = 1 / math.sqrt(2 * 2) * math.exp(-1 / 4)
    aed = a / math.sqrt(2 * 3)
    one, two = math.exp(-1 / 2), math.exp(-2 / 2)  # so many clicks from the last one that is in AB
    wanted = {
        "A": abc * one + aed,
        "B": abc + bd,
        "C": abc * one,
        "D": bd * one + aed * two,
        "E": aed * one,
    }
    assert scores(model, train, "AB", day=5) == pytest.approx(wanted)


def test_stan_counts_from_the_last_shared_click_of_the_neighbour(tmp_path: Path) -> None:
    """BXA and AB: from A, the last of both in BXA, although B is the latest click. Of P the last one."""
    data_path = write_log(tmp_path, {"n1": Log("BXAY", 1), "n2": Log("PQPRSR", 1)})
    model, (train, *_) = build(data_path, "STAN", lambda3=1.0)
    found = scores(model, train, "AB", day=1)
    assert found["B"] / found["A"] == pytest.approx(math.exp(-2))
    assert found["Y"] / found["A"] == found["X"] / found["A"] == pytest.approx(math.exp(-1))
    found = scores(model, train, "P", day=1)
    assert [found[item] / found["P"] for item in "QRS"] == pytest.approx([math.exp(-d) for d in (1, 3, 2)])


def test_age_counts_to_either_side_in_stan(tmp_path: Path) -> None:
    """Leave-one-out has neighbours that come later: so far after as another is before, they count the same."""
    data_path = write_log(tmp_path, {"n1": Log("AB", 10), "n2": Log("AC", 30), "n3": Log("AD", 50)})
    model, (train, *_) = build(data_path, "STAN", lambda2=5.0)
    found = scores(model, train, "A", day=30)
    assert found["B"] == found["D"] == pytest.approx(found["C"] * math.exp(-4))


def test_the_time_of_a_session_is_that_of_its_last_click(tmp_path: Path) -> None:
    data_path = write_log(tmp_path, {"n1": Log("AB", 10), "n2": Log("AC", 30)})
    model, (train, *_) = build(data_path, "STAN", lambda2=5.0)
    rows = batch(model, train, [("AA", 10), ("AA", 30)])
    rows["timestamp_list"][:, 0] = rows["timestamp_list"][:, 0].flip(0)
    ids = train.field2token_id["item_id"]
    ordered = model.full_sort_predict(rows)
    assert ordered[0, ids["B"]] > ordered[0, ids["C"]]
    assert ordered[1, ids["B"]] < ordered[1, ids["C"]]


def test_neighbours_that_are_all_old_still_count(tmp_path: Path) -> None:
    data_path = write_log(tmp_path, {"n1": Log("AB", 1), "n2": Log("AC", 2)})
    model, (train, *_) = build(data_path, "STAN", lambda2=0.5)
    found = scores(model, train, "A", day=900)
    assert found["B"] / found["C"] == pytest.approx(math.exp(-2))
    assert found["C"] > 0.1


def test_session_pop_by_hand(tmp_path: Path) -> None:
    """Clicks in the session first, then training popularity: B 3 times, A and D twice, C and E once; F never."""
    logs = {**THREE, "n4": Log("FB", 4), "n5": Log("BBBBBB", 5)}
    model, (train, *_) = build(write_log(tmp_path, logs), "SessionPop")
    assert ranking(model, train, "FFEAE") == "EFABDC"
    (row,) = model.full_sort_predict(batch(model, train, [("EAE", 1)])).tolist()
    ids = train.field2token_id["item_id"]
    # R = 4 different numbers: 0 (the PAD's), 1, 2, 8.
    assert [row[ids[item]] for item in "EABCD"] == pytest.approx([2.2, 1.4, 0.6, 0.2, 0.4])


# --- neighbourhoods --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_session_is_no_neighbour_of_its_own(tmp_path: Path, name: str) -> None:
    model, (train, *_) = build(write_log(tmp_path, THREE), name)
    assert set(scores(model, train, "ABC")) == set("ABCDE")
    assert set(scores(model, train, "ABC", user="n1")) == set("BDAE")
    assert set(scores(model, train, "C", user="n1")) == set()


@pytest.mark.parametrize("name", MODELS)
def test_the_own_session_takes_no_place_in_the_sample(tmp_path: Path, name: str) -> None:
    """Of A's three sessions the latest is the session itself; the sample of one is the one before."""
    logs = {"n1": Log("AB", 1), "n2": Log("AC", 2), "n3": Log("AD", 3)}
    model, (train, *_) = build(write_log(tmp_path, logs), name, neighbours=1, sample_size=1)
    assert set(scores(model, train, "A")) == set("AD")
    assert set(scores(model, train, "A", user="n3")) == set("AC")
    assert set(scores(model, train, "A", user="n1")) == set("AD")


@pytest.mark.parametrize("name", MODELS)
def test_several_sessions_of_one_user_take_no_place_in_the_sample(made: dict[str, Any], name: str) -> None:
    """User 1 has the three latest sessions of item 1; the sample of one is that of user 2."""
    model = made[name]
    past = [(2, [1, 2], 1.0), (1, [1, 3], 2.0), (1, [1, 4], 3.0), (1, [1, 5], 4.0)]
    put(model, neighbour_settings({"neighbours": 1, "sample_size": 1}, name, "test"), past, [0] * 11)
    history = torch.tensor([[1, 0, 0, 0, 0]])
    rows = Interaction(
        {"item_id_list": history, "item_length": torch.tensor([1]), "user_id": torch.tensor([1])}
    )
    assert model.neighbour_scores(history, rows["item_length"], rows).indices.tolist() == [1, 2]


@pytest.mark.parametrize("name", MODELS)
def test_the_latest_sessions_are_compared(tmp_path: Path, name: str) -> None:
    """AB is like the oldest one, which a sample of two does not hold. Equal times: further behind is later."""
    logs = {"old": Log("ABC", 1), "new": Log("AD", 5), "mid": Log("BE", 3)}
    data_path = write_log(tmp_path, logs)
    model, (train, *_) = build(data_path, name, neighbours=2, sample_size=2)
    assert set(scores(model, train, "AB", day=6)) == set("ADBE")
    model, (train, *_) = build(data_path, name, neighbours=1, sample_size=3, lambda2=1e6)
    assert set(scores(model, train, "AB", day=6)) == set("ABC")
    same = {user: Log(log.items, 1) for user, log in logs.items()}
    model, (train, *_) = build(write_log(tmp_path / "same", same), name, neighbours=2, sample_size=2)
    assert set(scores(model, train, "AB", day=6)) == set("ADBE")


@pytest.mark.parametrize("name", MODELS)
def test_of_equally_similar_sessions_the_latest_are_asked(tmp_path: Path, name: str) -> None:
    logs = {"a": Log("AB", 2), "b": Log("AC", 3), "c": Log("AD", 3), "d": Log("AE", 1)}
    model, (train, *_) = build(write_log(tmp_path, logs), name, neighbours=2, lambda2=1e9)
    assert set(scores(model, train, "A", day=4)) == set("ACD")
    model, (train, *_) = build(tmp_path, name, neighbours=1, lambda2=1e9)
    assert set(scores(model, train, "A", day=4)) == set("AD")


@pytest.mark.parametrize("name", MODELS)
def test_nobody_shares_an_item(tmp_path: Path, name: str) -> None:
    """X is known, from the validation part; no training session holds it. All items in the order of popularity."""
    folder = write_log(tmp_path, THREE) / "log" / "log.inter"
    folder.write_text(folder.read_text(encoding="utf-8") + f"valid\tX\t{1000 * DAY}\n", encoding="utf-8")
    model, (train, *_) = build(tmp_path, name)
    rows = batch(model, train, [("X", 9), ("AX", 9)])
    both = model.full_sort_predict(rows)
    assert scores(model, train, "X") == {}
    assert both[0].tolist() == model.popularity.tolist()
    assert ranking(model, train, "X") == "ABDCEX"
    assert both[1].max() > model.popularity.max()


@pytest.mark.parametrize("name", MODELS)
def test_what_no_neighbour_holds_stands_below_by_popularity(tmp_path: Path, name: str) -> None:
    logs = {"a": Log("AB", 1), "b": Log("CDE", 1), "c": Log("DE", 1), "d": Log("FE", 1)}
    model, (train, *_) = build(write_log(tmp_path, logs), name)
    assert ranking(model, train, "A")[2:] == "EDCF"


def test_equal_scores_are_ordered_by_popularity(tmp_path: Path) -> None:
    logs = {"a": Log("ABC", 1), "b": Log("CD", 1)}
    model, (train, *_) = build(write_log(tmp_path, logs), "SKNN")
    assert ranking(model, train, "A") == "CABD"


# --- against plain loops ---------------------------------------------------------------------------------------

Session = list[int]


def position_weight(name: str, settings: Any, place: int, length: int) -> float:
    if name == "STAN":
        return math.exp((place - length) / settings.lambda1)
    return 1.0 if name == "SKNN" else decay(settings.position_decay, place, length)


def decay(kind: str, place: int, length: int) -> float:
    return {
        "none": 1.0,
        "linear": place / length,
        "quadratic": (place / length) ** 2,
        "reciprocal": 1 / (length + 1 - place),
    }[kind]


def last_place(session: Session, item: int) -> int:
    return max(place for place, other in enumerate(session, start=1) if other == item)


def naive_scores(
    name: str, settings: Any, past: list[tuple[int, Session, float]], session: Session, user: int, day: float
) -> dict[int, float]:
    """The published formulas, a session and an item at a time."""
    latest = sorted(range(len(past)), key=lambda n: (past[n][2], n), reverse=True)
    sample = [n for n in latest if set(past[n][1]) & set(session) and past[n][0] != user][
        : settings.sample_size
    ]
    least = min((abs(day - past[n][2]) for n in sample), default=0.0)
    similar = []
    for order, n in enumerate(sample):
        items = set(past[n][1])
        shared = items & set(session)
        value = sum(
            position_weight(name, settings, last_place(session, item), len(session))
            for item in sorted(shared)
        )
        if name != "VSKNN":
            value /= math.sqrt(len(set(session)) * len(items))
        if name == "STAN":
            value *= math.exp(-(abs(day - past[n][2]) - least) / settings.lambda2)
        similar.append((-round(value, 9), order, value, n))
    found: Counter[int] = Counter()
    for _, _, value, n in sorted(similar)[: settings.neighbours]:
        items = past[n][1]
        shared = set(items) & set(session)
        for item in set(items):
            weight = 1.0
            if name == "VSKNN":
                weight = decay(
                    settings.match_decay, max(last_place(session, i) for i in shared), len(session)
                )
                holding = sum(item in other for _, other, _ in past)
                weight *= 1 + settings.idf_weight * math.log(len(past) / holding)
            elif name == "STAN":
                star = max(last_place(items, i) for i in shared)
                weight = math.exp(-abs(last_place(items, item) - star) / settings.lambda3)
            found[item] += value * weight
    return dict(found)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def test_times_that_are_no_seconds_are_refused(tmp_path: Path) -> None:
    """They would make every session of the past age at once."""
    path = write_shop(tmp_path / "data") / "shop" / "shop.inter"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    column = [name.partition(":")[0] for name in header.split("\t")].index("timestamp")
    cells = [row.split("\t") for row in rows]
    later = [[*row[:column], str(float(row[column]) + 1.6e12), *row[column + 1 :]] for row in cells]
    path.write_text("\n".join([header, *("\t".join(row) for row in later), ""]), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"column timestamp: received 16\d+, allowed: seconds up to 100000000000"
    ):
        build(tmp_path / "data", "STAN", "shop")


@pytest.fixture(scope="module")
def made(shop: Path) -> dict[str, Any]:
    """A model of each kind over ten items; tests put other sessions into it."""
    return {name: build(shop, name, "shop")[0] for name in MODELS}


def put(model: Any, settings: Any, past: list[tuple[int, Session, float]], popularity: list[int]) -> None:
    """Let the model know of these sessions instead of those that it was made with."""
    model.settings = settings
    model.items = torch.tensor([item for _, items, _ in past for item in items])
    model.sizes = torch.tensor([len(items) for _, items, _ in past])
    model.users = torch.tensor([user for user, _, _ in past])
    model.ends = torch.tensor([day * DAY for _, _, day in past])
    model.popularity = torch.tensor(popularity)
    model.load_state_dict(model.state_dict())


item_ids = st.integers(1, 10)
days = st.integers(0, 6).map(float)
pasts = st.lists(
    st.tuples(st.integers(1, 9), st.lists(item_ids, min_size=2, max_size=7), days), min_size=1, max_size=12
)
currents = st.lists(
    st.tuples(st.lists(item_ids, min_size=1, max_size=5), st.integers(1, 11), days), min_size=1, max_size=6
)
decays = st.sampled_from(["none", "linear", "quadratic", "reciprocal"])
scales = st.sampled_from([0.5, 1.0, 3.0, 50.0])
choices = st.fixed_dictionaries(
    {
        "neighbours": st.integers(1, 6),
        "sample_size": st.integers(6, 12),
        "idf_weight": st.sampled_from([0.0, 1.5]),
    }
    | dict.fromkeys(("position_decay", "match_decay"), decays)
    | dict.fromkeys(("lambda1", "lambda2", "lambda3"), scales)
)


@given(
    st.sampled_from(MODELS), pasts, currents, choices, st.lists(st.integers(0, 4), min_size=11, max_size=11)
)
def test_scores_and_order_are_those_of_plain_loops(
    made: dict[str, Any], name: str, past: Any, current: Any, chosen: Any, popularity: list[int]
) -> None:
    model, settings = made[name], neighbour_settings(chosen, name, "test")
    put(model, settings, past, popularity)
    history = torch.tensor([session + [0] * (5 - len(session)) for session, _, _ in current])
    times = torch.tensor([[day * DAY] * len(row) + [0.0] * (5 - len(row)) for row, _, day in current])
    rows = Interaction(
        {
            "item_id_list": history,
            "item_length": (history > 0).sum(1),
            "user_id": torch.tensor([user for _, user, _ in current]),
            "timestamp_list": times,
        }
    )
    table = model.neighbour_scores(history, rows["item_length"], rows)
    ordered = model.full_sort_predict(rows)
    assert ordered.dtype == torch.float32
    for row, (session, user, day) in enumerate(current):
        wanted = naive_scores(name, settings, past, session, user, day)
        own = slice(table.indptr[row], table.indptr[row + 1])
        found = {int(i): float(v) for i, v in zip(table.indices[own], table.data[own], strict=True)}
        assert found == pytest.approx(wanted, rel=1e-9)
        assert torch.equal(ordered[row], model.full_sort_predict(rows[row : row + 1])[0])
        keys = [(i in wanted, round(wanted.get(i, 0.0), 9), popularity[i]) for i in range(11)]
        different = sorted(set(keys[1:]))
        places = torch.tensor([different.index(key) for key in keys[1:]])
        assert torch.equal(ordered[row, 1:].unique(return_inverse=True)[1], places)


@pytest.mark.parametrize("name", MODELS)
def test_test_cases_of_leave_one_out(shop: Path, name: str) -> None:
    """From RecBole's rows: training sessions without their last two items, histories without the last one."""
    model, (train, _, test) = build(shop, name, "shop", MAX_ITEM_LIST_LENGTH=3)
    sessions = past_sessions_of(train)
    cuts = np.cumsum(sessions.sizes)
    past = [
        (int(user), items.tolist(), float(end) / DAY)
        for user, items, end in zip(
            sessions.users, np.split(sessions.items, cuts[:-1]), sessions.ends, strict=True
        )
    ]
    rows = test.inter_feat
    table = model.neighbour_scores(rows["item_id_list"], rows["item_length"], rows)
    for row in range(len(rows)):
        length = int(rows["item_length"][row])
        session, day = (
            rows["item_id_list"][row, :length].tolist(),
            float(rows["timestamp_list"][row, length - 1]),
        )
        wanted = naive_scores(name, model.settings, past, session, int(rows["user_id"][row]), day / DAY)
        own = slice(table.indptr[row], table.indptr[row + 1])
        found = {int(i): float(v) for i, v in zip(table.indices[own], table.data[own], strict=True)}
        assert found == pytest.approx(wanted)
    assert len({tuple(items) for _, items, _ in past}) > 5
    assert (
        model.full_sort_predict(rows).gather(1, rows["item_id"].unsqueeze(1))[:, 0] == model.predict(rows)
    ).all()


# --- sessions put together again -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 4, 5, 9])
def test_training_sessions_are_whole(tmp_path: Path, length: int) -> None:
    words = ["AB", "ABC", "ABAB", "AAAAA", "ABCDEF", "ABCDEFG", "GFEDCBAAB", "BA"]
    logs = {f"u{number}": Log(word, 10 - number) for number, word in enumerate(words)}
    _, (train, *_) = build(write_log(tmp_path, logs), "SKNN", MAX_ITEM_LIST_LENGTH=length)
    past = past_sessions_of(train)
    letters = train.field2id_token["item_id"][past.items]
    cuts = np.cumsum(past.sizes)[:-1]
    assert ["".join(part) for part in np.split(letters, cuts)] == words
    assert train.field2id_token["user_id"][past.users].tolist() == list(logs)
    assert past.ends is not None
    assert past.ends.tolist() == [log.day * DAY for log in logs.values()]


def test_the_last_click_is_the_end_of_a_session(shop: Path) -> None:
    """Leave-one-out keeps four of six clicks, 500 s apart; the rows are those of a length of 2."""
    past = past_sessions_of(build(shop, "SKNN", "shop", MAX_ITEM_LIST_LENGTH=2)[1][0])
    assert past.sizes.tolist() == [4] * 12
    assert past.ends is not None
    assert past.ends.tolist() == [1_000_000 + 3 * 500] * 12


def test_sessions_of_ready_made_rows(tmp_path: Path) -> None:
    """The longest prefix first, two sessions longer than the maximum by turns; such files have no times."""
    folder = tmp_path / "split"
    folder.mkdir()
    words = {"s1": "abcd", "s2": "abcdabcdd", "s3": "dc", "s4": "ccbbaaddc"}
    ends = [("s1", 3), ("s1", 2), ("s1", 1), ("s3", 1)]
    ends += [(session, end) for end in range(1, 9) for session in ("s4", "s2")]
    rows = [
        f"{session}\t{' '.join(words[session][max(0, end - 3) : end])}\t{words[session][end]}"
        for session, end in ends
    ]
    texts = {"train": "\n".join(rows), "valid": "s5\ta b\tc", "test": "s6\tb c\td"}
    for name, text in texts.items():
        head = "session_id:token\titem_id_list:token_seq\titem_id:token"
        (folder / f"split.{name}.inter").write_text(f"{head}\n{text}\n", encoding="utf-8")
    settings = {
        "benchmark_filename": ["train", "valid", "test"],
        "USER_ID_FIELD": "session_id",
        "load_col": None,
        "alias_of_item_id": ["item_id_list"],
        "MAX_ITEM_LIST_LENGTH": 3,
        "prepared_split": None,
    }
    model, (train, _, test) = build(tmp_path, "STAN", "split", **settings)
    past = past_sessions_of(train)
    found = np.split(train.field2id_token["item_id"][past.items], np.cumsum(past.sizes)[:-1])
    users = train.field2id_token["session_id"][past.users]
    assert dict(zip(users, map("".join, found), strict=True)) == words
    assert past.ends is None
    assert torch.isfinite(model.full_sort_predict(test.inter_feat)).all()


def test_made_up_times_are_none(tmp_path: Path) -> None:
    """An order as time: the longest session would be the latest. Nothing ages, and the file's order stands in."""
    logs = {"first": Log("ABCDE", 900), "last": Log("AF", 1)}
    data_path = write_log(tmp_path, logs)
    chosen = {"neighbours": 1, "sample_size": 1}
    model, (train, *_) = build(data_path, "STAN", **chosen)
    assert set(scores(model, train, "A")) == set("ABCDE")
    write_manifest(data_path / "log", time="order")
    model, (train, *_) = build(data_path, "STAN", **chosen)
    assert set(scores(model, train, "A")) == set("AF")
    model, (train, *_) = build(data_path, "STAN", lambda2=0.01)
    assert scores(model, train, "A", day=0) == scores(model, train, "A", day=99)


def test_a_batch_without_times_follows_on_the_last_training_click(tmp_path: Path) -> None:
    model, (train, *_) = build(write_log(tmp_path, THREE), "STAN", lambda2=1.0)
    rows = batch(model, train, [("AB", 3)])
    timed = model.full_sort_predict(rows)
    table = model.neighbour_scores(rows["item_id_list"], rows["item_length"], rows)
    untimed = Interaction({name: rows[name] for name in rows if name != "timestamp_list"})
    assert torch.equal(model.full_sort_predict(untimed), timed)
    other = batch(model, train, [("AB", 1)])
    assert not np.allclose(
        model.neighbour_scores(other["item_id_list"], other["item_length"], other).data, table.data
    )


def test_plain_data_sets_are_refused(shop: Path) -> None:
    model, (train, *_) = build(shop, "SKNN", "shop")
    with pytest.raises(InputError, match="needs a HierSRecDataset, received Namespace"):
        past_sessions_of(type("Namespace", (), {})())
    del train.kept
    with pytest.raises(
        InputError, match="needs the training part of a data set; received one that was not split"
    ):
        past_sessions_of(train)
    assert model.way == "counted"


# --- order -----------------------------------------------------------------------------------------------------


def test_sums_in_another_order_are_equal() -> None:
    numbers = np.random.default_rng(5).random((200, 30))
    assert (rounded(numbers.sum(1)) == rounded(numbers[:, ::-1].copy().cumsum(1)[:, -1])).mean() > 0.99
    assert rounded(np.array([1.0, 1 + 1e-12, 1 + 1e-9, 0.0])).tolist()[:2] == [1.0, 1.0]
    assert len(set(rounded(np.array([1e-200, 1.1e-200, 1 + 1e-9, 1.0])).tolist())) == 4


def test_scores_that_differ_in_the_last_bits_are_equal() -> None:
    less, more = 0.3, 0.1 + 0.2
    assert less < more
    pairs = Pairs(np.zeros(3, int), np.array([7, 8, 9]), np.array([less, more, 0.1]))
    assert nearest(pairs, 1).session.tolist() == [7]
    table = csr_array((np.array([less, more]), ([0, 0], [1, 2])), shape=(1, 4))
    assert in_order(table, np.array([0, 1, 1, 2])).tolist() == [[0, 3, 3, 2]]
    assert in_order(table, np.array([0, 2, 1, 1])).tolist() == [[0, 4, 3, 1]]


def test_places_are_exact_beside_many_items() -> None:
    """More items than float32 has fractions between two counts: all stay apart."""
    n_items = 300_000
    scored = np.arange(1, 200_001)
    table = csr_array((1 + scored * 1e-9, (np.zeros(len(scored), int), scored)), shape=(1, n_items + 1))
    found = in_order(table, np.arange(n_items + 1))[0]
    assert (np.diff(found[scored]) > 0).all()
    assert found[scored].min() > found[len(scored) + 1 :].max()
    assert (np.diff(found[len(scored) + 1 :]) > 0).all()


# --- settings and RecBole --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("SKNN", {"neighbours": 0}, "SKNN: neighbours: .*greater than or equal to 1; received 0"),
        ("SKNN", {"neighbours": 2.5}, r"SKNN: neighbours: .*integer.*; received 2\.5"),
        ("SKNN", {"sample_size": "all"}, "SKNN: sample_size: .*integer.*; received 'all'"),
        ("STAN", {"neighbours": 9, "sample_size": 8}, "at most sample_size; received 9 and 8"),
        ("VSKNN", {"position_decay": "liner"}, "position_decay: .*received 'liner'; did you mean 'linear'"),
        ("VSKNN", {"match_decay": "log"}, "match_decay: .*'reciprocal'; received 'log'"),
        ("VSKNN", {"idf_weight": -1}, "idf_weight: .*greater than or equal to 0; received -1"),
        ("STAN", {"lambda1": 0}, "lambda1: .*greater than 0; received 0"),
        ("STAN", {"lambda2": float("inf")}, "lambda2: .*finite number; received inf"),
        ("STAN", {"lambda3": "far"}, "lambda3: .*number.*; received 'far'"),
        ("STAN", {"lamda1": 2}, "unknown key 'lamda1'; did you mean 'lambda1'"),
        ("SKNN", {"neighbors": 2}, "unknown key 'neighbors'; did you mean 'neighbours'"),
    ],
)
def test_wrong_settings_are_one_line(shop: Path, name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(shop, name, "shop", **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_default_files_hold_every_setting(name: str) -> None:
    values = read_yaml(resources.model_defaults(name))
    fields = NEIGHBOUR_SETTINGS[name].model_fields
    assert {key: values[key] for key in fields} == {key: field.default for key, field in fields.items()}


@pytest.mark.parametrize("name", ["SessionPop", "STAN"])
def test_run_recbole(shop: Path, tmp_path: Path, name: str) -> None:
    settings = {**SMALL, "data_path": str(shop), "checkpoint_dir": str(tmp_path), "log_dir": str(tmp_path)}
    found = run_recbole(model=name, dataset="shop", config_dict=settings, saved=False)
    assert 0 < found["test_result"]["recall@3"] <= 1
