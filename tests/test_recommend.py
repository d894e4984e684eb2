"""The recommender: equal to naive scoring, batch = single, filters, explanations by leaving out, what it refuses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from served_folder import (
    LEVELS,
    MAX_LENGTH,
    N_ITEMS,
    TEMPERATURES,
    catalogue,
    change_arrays,
    change_head,
    make_folder,
)

from recbole_hiersrec.errors import CheckpointError, InputError
from recbole_hiersrec.recommend import Recommender
from recbole_hiersrec.serving.answers import Recommendation

ROOT = Path(__file__).resolve().parents[1]
KINDS: dict[str, dict[str, Any]] = {
    "everything": {},
    "items alone": {
        "levels": False,
        "titles": False,
        "metadata_fields": (),
        "followers": 0,
        "repeat_term": False,
    },
    "no ids": {"use_item_id": False, "follower_fields": ()},
    "no memory": {"followers": 0},
    "joint": {"category_score": "joint", "category_encoder": "shared"},
    "no task": {"category_task": False},
}
SESSIONS = [["i3"], ["i7", "i3", "i7", "i200"], [f"i{n}" for n in range(20, 30)], ["i240", "i1"]]


@pytest.fixture(scope="module")
def recommenders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recommender]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: Recommender.load(make_folder(folder / kind, **made)) for kind, made in KINDS.items()}


@pytest.fixture
def model(recommenders: dict[str, Recommender]) -> Recommender:
    return recommenders["everything"]


def naive_scores(recommender: Recommender, session: list[str]) -> np.ndarray:
    """Score of every item, term by term: the product, and the bonus of those that are scored apart."""
    ids = [int(token[1:]) for token in session][-MAX_LENGTH:]
    network = recommender.model.network
    with torch.no_grad():
        queries = network.encode(torch.tensor([ids]), torch.tensor([len(ids)]), len(ids))
        scores = [float(queries.vectors[0] @ vector) for vector in network.item_vectors()]
    if queries.apart is not None:
        for item, bonus in zip(queries.apart.ids[0].tolist(), queries.apart.bonus[0].tolist(), strict=True):
            scores[item] += bonus
    return np.array(scores)


def naive_best(scores: np.ndarray, k: int, allowed: set[int]) -> list[int]:
    return sorted(allowed, key=lambda item: (-scores[item], item))[:k]


def ids_of(answer: Recommendation) -> list[int]:
    return [int(item.item[1:]) for item in answer.items]


def allowed_items(allow: list[str] | None, deny: list[str] | None, items: list[str] | None) -> set[int]:
    """Filters by hand: item n is of category a{(n - 1) % 3} > b{(n - 1) // 3 % 4}."""

    def names(item: int) -> set[str]:
        a, b = f"a{(item - 1) % 3}", f"b{(item - 1) // 3 % 4}"
        return {a, b, f"{a} > {b}"}

    return {
        item
        for item in range(1, N_ITEMS + 1)
        if (allow is None or names(item) & set(allow))
        and not (deny and names(item) & set(deny))
        and (items is None or f"i{item}" in items)
    }


CATEGORY = st.lists(st.sampled_from(["a0", "a1", "b0", "b2", "a2 > b1", "a1 > b3"]), min_size=1, max_size=3)
ITEMS = st.lists(st.integers(1, N_ITEMS).map(lambda number: f"i{number}"), min_size=1, max_size=9)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["everything", "no memory", "joint"]),
    session=ITEMS,
    k=st.integers(1, 12),
    item_fraction=st.sampled_from([1.0, None, 0.03, 0.1, 0.4]),
    allow=st.none() | CATEGORY,
    deny=st.none() | CATEGORY,
    items=st.none() | ITEMS,
    seen=st.booleans(),
)
def test_the_best_allowed_items_by_naive_scores(
    recommenders: dict[str, Recommender],
    kind: str,
    session: list[str],
    k: int,
    item_fraction: float | None,
    allow: list[str] | None,
    deny: list[str] | None,
    items: list[str] | None,
    seen: bool,
) -> None:
    """All items: those of plain loops. A few: allowed ones with their true scores, k of them if there are k."""
    recommender = recommenders[kind]
    filters: dict[str, Any] = {
        "allow_categories": allow,
        "deny_categories": deny,
        "items": items,
        "seen": seen,
    }
    answer = recommender.recommend([session], k, item_fraction=item_fraction, **filters)[0]
    scores, found = naive_scores(recommender, session), ids_of(answer)
    listed = allowed_items(allow, deny, items)
    may = listed if seen else listed - {int(item[1:]) for item in session[-MAX_LENGTH:]}
    assert len(found) == len(set(found)) == min(k, len(may))
    assert set(found) <= may
    assert [item.score for item in answer.items] == pytest.approx([scores[item] for item in found], abs=1e-4)
    assert found == naive_best(scores, k, set(found))
    if item_fraction in (1.0, None):
        wanted = naive_best(scores, k, may)
        assert [scores[item] for item in found] == pytest.approx([scores[item] for item in wanted], abs=1e-4)
        assert answer.n_scored == len(listed)
        assert answer.n_compared == 0
    assert (answer.note == "") == (len(found) == k)


@pytest.mark.parametrize("kind", KINDS)
def test_all_items_equal_naive_scores_whatever_the_model(
    recommenders: dict[str, Recommender], kind: str
) -> None:
    recommender = recommenders[kind]
    for session, answer in zip(
        SESSIONS, recommender.recommend(SESSIONS, 240, item_fraction=1.0), strict=True
    ):
        scores = naive_scores(recommender, session)
        given = {int(item.item[1:]): item.score for item in answer.items}
        assert given == pytest.approx({item: scores[item] for item in range(1, 241)}, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("item_fraction", [0.04, 0.3, None])
@pytest.mark.parametrize("filters", [{}, {"seen": False}, {"allow_categories": ["a1", "b2"]}])
def test_a_batch_is_its_sessions_one_by_one(
    recommenders: dict[str, Recommender], kind: str, item_fraction: float | None, filters: dict[str, Any]
) -> None:
    if "allow_categories" in filters and kind == "items alone":
        filters = {"items": [f"i{n}" for n in range(1, 120)]}
    told = {"item_fraction": item_fraction, **filters}
    recommender = recommenders[kind]
    together = recommender.recommend(SESSIONS * 3, 7, **told)
    for session, answer in zip(SESSIONS * 3, together, strict=True):
        alone = recommender.recommend([session], 7, **told)[0]
        scores = [item.score for item in alone.items]
        assert [item.score for item in answer.items] == pytest.approx(scores, abs=1e-5)
        assert answer.n_scored == alone.n_scored
        assert ids_of(answer) == ids_of(alone)


def test_of_equal_scores_the_lower_id_comes_first(tmp_path: Path) -> None:
    """Items that are their category alone have twelve different scores."""
    bare = {
        "titles": False,
        "metadata_fields": (),
        "follower_fields": (),
        "followers": 0,
        "repeat_term": False,
    }
    folder = make_folder(tmp_path / "m", use_item_id=False, **bare)
    change_arrays(folder, "weights.safetensors", lambda arrays: arrays["network.item_bias.weight"].fill(0))
    for item_fraction in (None, 0.3):
        answer = Recommender.load(folder).recommend([["i3"]], 40, item_fraction=item_fraction)[0]
        pairs = [(-(item.score or 0), int(item.item[1:])) for item in answer.items]
        assert pairs == sorted(pairs)
        assert len({score for score, _ in pairs}) <= 12


def test_more_sessions_than_are_encoded_at_once(model: Recommender) -> None:
    sessions = [[f"i{n % N_ITEMS + 1}", f"i{n * 7 % N_ITEMS + 1}"] for n in range(300)]
    answers = model.recommend(sessions, 3)
    assert len(answers) == 300
    assert ids_of(answers[299]) == ids_of(model.recommend([sessions[299]], 3)[0])


def test_the_budget_is_kept_unless_it_is_too_small(model: Recommender) -> None:
    """4 % of 240 items are 9: for 5 items at most 9 are scored; 12 items need the double, 18."""
    five, twelve = (model.recommend(SESSIONS, k, item_fraction=0.04) for k in (5, 12))
    assert all(5 <= answer.n_scored <= 9 for answer in five)
    assert all(9 < answer.n_scored <= 18 and len(answer.items) == 12 for answer in twelve)
    for answer in (*five, *twelve):
        assert answer.scanned_fraction == pytest.approx((answer.n_scored + answer.n_compared) / N_ITEMS)
        assert answer.n_compared > 0
        assert answer.seconds > 0


def test_a_fraction_of_less_than_an_item_scores_what_is_needed(model: Recommender) -> None:
    assert len(model.recommend([["i5"]], 2, item_fraction=0.0001)[0].items) == 2


def test_candidates_are_good_ones(model: Recommender) -> None:
    """With 30 % of the items most of the best of all are found: candidates follow the query."""
    found = kept = 0
    sessions = [[f"i{n}", f"i{n + 3}"] for n in range(1, 200, 5)]
    some, every = (model.recommend(sessions, 5, item_fraction=share) for share in (0.3, None))
    for few, whole in zip(some, every, strict=True):
        kept += len(set(ids_of(few)) & set(ids_of(whole)))
        found += 5
    assert kept > 0.8 * found


def test_seen_follows_the_protocol_unless_said(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m", repeat_term=True)
    session = [["i7", "i3", "i9"]]
    shown = Recommender.load(folder).recommend(session, N_ITEMS)[0]
    assert {"i7", "i3", "i9"} <= {item.item for item in shown.items}
    change_head(folder, lambda head: head["config"].update(history="masked"))
    masked = Recommender.load(folder)
    hidden = masked.recommend(session, N_ITEMS)[0]
    assert len(hidden.items) == N_ITEMS - 3
    assert not {"i7", "i3", "i9"} & {item.item for item in hidden.items}
    assert len(masked.recommend(session, N_ITEMS, seen=True)[0].items) == N_ITEMS


@pytest.mark.parametrize("filters", [{}, {"deny_categories": ["a2 > b3"]}])
def test_seen_items_are_left_out_of_candidates(model: Recommender, filters: dict[str, Any]) -> None:
    """Of 40 % of the items 60 are asked for, so that items of the session are among those that are scored."""
    sessions = [[f"i{n}", f"i{n + 1}", f"i{n + 5}"] for n in range(1, 200, 10)]
    shown, hidden = (
        model.recommend(sessions, 60, item_fraction=0.4, seen=seen, **filters) for seen in (True, False)
    )
    pairs = zip(sessions, shown, strict=True)
    assert sum(bool(set(session) & {item.item for item in answer.items}) for session, answer in pairs) > 10
    for session, without in zip(sessions, hidden, strict=True):
        assert not set(session) & {item.item for item in without.items}
        assert len(without.items) == 60


def test_only_the_last_items_of_a_long_session_count(model: Recommender) -> None:
    long = [f"i{n}" for n in range(1, 15)]
    with_all, last = model.recommend([long, long[-MAX_LENGTH:]], 5)
    assert ids_of(with_all) == ids_of(last)


def test_unknown_items_are_skipped_with_a_warning(model: Recommender) -> None:
    with pytest.warns(UserWarning, match="2 items of sessions are unknown and skipped, such as 'x'"):
        answers = model.recommend([["i3", "x"], ["y", "i7"], ["i9"]], 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = model.recommend([["i3"], ["i7"], ["i9"]], 4)
    assert [answer.unknown for answer in answers] == [("x",), ("y",), ()]
    assert [ids_of(answer) for answer in answers] == [ids_of(answer) for answer in known]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_without_a_known_item_popularity_answers_and_says_so(model: Recommender) -> None:
    order = model._popular.tolist()
    empty, wholly = model.recommend([[], ["x"]], 3, explain=True)
    for answer in (empty, wholly):
        assert ids_of(answer) == order[:3]
        assert (answer.by, answer.n_scored, answer.scanned_fraction) == ("popularity", 0, 0)
        assert answer.note == "no item of the session is known: the most popular items of training"
        assert [item.score for item in answer.items] == [None] * 3
    assert wholly.unknown == ("x",)
    filtered = model.recommend([[]], 300 - 60, deny_categories=["a0"])[0]
    assert set(ids_of(filtered)) == allowed_items(None, ["a0"], None)
    assert filtered.note.endswith("160 of 240 items: no more are allowed")


def test_popularity_is_the_training_count_of_equal_ones_the_lower_id(tmp_path: Path) -> None:
    def counts(arrays: dict[str, np.ndarray]) -> None:
        arrays["counts"][:] = 1
        arrays["counts"][[17, 4]] = [9, 5]

    folder = make_folder(tmp_path / "m")
    change_arrays(folder, "serving.safetensors", counts)
    assert ids_of(Recommender.load(folder).recommend([[]], 4)[0]) == [17, 4, 1, 2]


def test_titles_and_categories_come_with_the_items(recommenders: dict[str, Recommender]) -> None:
    first = recommenders["everything"].recommend([["i3"]], 1)[0].items[0]
    number = int(first.item[1:]) - 1
    assert first.title == f"Thing <b>{number + 1}</b>"
    assert first.category == (f"a{number % 3}", f"b{number // 3 % 4}")
    bare = recommenders["items alone"].recommend([["i3"]], 1)[0].items[0]
    assert (bare.title, bare.category) == (None, ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filters", [{}, {"items": ["i1", "i2", "i3"]}])
def test_explanations_by_hand(
    recommenders: dict[str, Recommender], kind: str, filters: dict[str, Any]
) -> None:
    """Contributions sum to the score less the mean of all; items of the session by asking again without them."""
    recommender = recommenders[kind]
    for session, answer in zip(
        SESSIONS, recommender.recommend(SESSIONS, 4, explain=True, **filters), strict=True
    ):
        read = session[-MAX_LENGTH:]
        whole = naive_scores(recommender, read)
        whole -= whole[1:].mean()
        without = {}
        for item in dict.fromkeys(reversed(read)):
            if rest := [other for other in read if other != item]:
                scores = naive_scores(recommender, rest)
                without[item] = scores - scores[1:].mean()
        for told in answer.items:
            number = int(told.item[1:])
            assert told.contributions is not None
            assert sum(told.contributions.values()) == pytest.approx(whole[number], abs=1e-4)
            lost = {item: whole[number] - scores[number] for item, scores in without.items()}
            assert told.session_items == pytest.approx(lost, abs=1e-4)
            assert list(told.session_items or {}) == list(lost)
    assert recommender.recommend([["i3"]], 1, explain=True)[0].items[0].session_items == {}


def test_predictions_have_the_temperature_of_their_level(model: Recommender) -> None:
    answer = model.recommend([["i7", "i3"]], 1, explain=True)[0]
    with torch.no_grad():
        logits = model.model.encode((torch.tensor([[7, 3]]), torch.tensor([2]))).category_logits
    assert answer.predicted is not None
    assert answer.predicted_path is not None
    assert list(answer.predicted) == list(LEVELS)
    taxonomy = catalogue().taxonomy
    assert taxonomy is not None
    chances = []
    for level, (raw, temperature) in enumerate(zip(logits, TEMPERATURES, strict=True)):
        powers = [math.exp(float(value) / temperature) for value in raw[0]]
        chances.append(
            {path: power / sum(powers) for path, power in zip(taxonomy.labels[level], powers, strict=True)}
        )
        best = sorted(chances[-1].items(), key=lambda pair: -pair[1])[:3]
        told = answer.predicted[LEVELS[level]]
        assert [path for path, _ in told] == [path for path, _ in best]
        assert [chance for _, chance in told] == pytest.approx([chance for _, chance in best])
    top = max(chances[0], key=lambda path: chances[0][path])
    below = max((path for path in chances[1] if path[:1] == top), key=lambda path: chances[1][path])
    assert [name for name, _ in answer.predicted_path] == [top[0], below[1]]
    assert [chance for _, chance in answer.predicted_path] == pytest.approx(
        [chances[0][top], chances[1][below]]
    )


def test_nothing_is_explained_unasked(model: Recommender) -> None:
    answer = model.recommend([["i7", "i3"]], 1)[0]
    assert (answer.predicted, answer.predicted_path) == (None, None)
    assert (answer.items[0].contributions, answer.items[0].session_items) == (None, None)


def test_to_dict_is_json(model: Recommender) -> None:
    answer = model.recommend([["i7", "i3"]], 2, explain=True)[0]
    kept = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert kept["items"][0]["item"] == answer.items[0].item
    assert set(kept["items"][0]["session_items"]) == {"i7", "i3"}
    assert kept["predicted"]["a"][0][0] == list(answer.predicted["a"][0][0])  # type: ignore[index]


def test_numbers_are_read_as_ids(model: Recommender) -> None:
    with pytest.warns(UserWarning, match="unknown"):
        assert model.recommend([[3, "i3"]], 1)[0].unknown == ("3",)


def test_no_sessions_get_no_answers(model: Recommender) -> None:
    assert model.recommend([]) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": 0}, "k: received 0, allowed: whole numbers from 1 to 240"),
        ({"k": 241}, "k: received 241, allowed: whole numbers from 1 to 240"),
        ({"k": 2.5}, "k: received 2.5"),
        ({"k": True}, "k: received True"),
        ({"item_fraction": 0}, r"item_fraction: received 0, allowed: a number in \(0, 1\]"),
        ({"item_fraction": 1.1}, "item_fraction: received 1.1"),
        ({"item_fraction": float("nan")}, "item_fraction: received nan"),
        ({"item_fraction": "4 %"}, "item_fraction: received '4 %'"),
        (
            {"allow_categories": ["A1>B2"]},
            "allow_categories: unknown category 'A1>B2'; did you mean 'a1 > b2'",
        ),
        ({"deny_categories": "x"}, r"deny_categories: unknown category 'x' \(levels: 'a', 'b'\)"),
        ({"allow_categories": []}, "allow_categories: received none, which allows nothing"),
        ({"items": ["i3", "nope"]}, "items: unknown item 'nope'; allowed: the 240 of the model"),
        ({"items": []}, "items: received none"),
        ({"sessions": "i1,i2"}, "sessions: received 'i1,i2', allowed: a list of sessions"),
        ({"sessions": None}, "sessions: received None"),
        ({"sessions": ["i1", "i2"]}, "sessions: session 0: received 'i1', allowed: a list of sessions"),
        ({"sessions": [["i1"], 242]}, "sessions: session 1: received 242"),
    ],
)
def test_what_cannot_be_asked(model: Recommender, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        model.recommend(**({"sessions": [["i1"]]} | wrong))
    assert "\n" not in str(raised.value)


def test_categories_need_a_model_that_has_them(recommenders: dict[str, Recommender]) -> None:
    with pytest.raises(InputError, match="deny_categories: this model was told of no categories"):
        recommenders["items alone"].recommend([["i1"]], deny_categories=["a1"])


def test_a_checkpoint_that_is_not_for_serving_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    for name in ("serving.safetensors", "titles.json"):
        (folder / name).unlink()
    change_head(folder, lambda head: head.update(version=1))
    with pytest.raises(CheckpointError, match="has no popularity, lists and titles to recommend with"):
        Recommender.load(folder)


def test_recommending_imports_neither_recbole_nor_a_data_set(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    code = (
        "import sys; from recbole_hiersrec.recommend import Recommender;"
        f"found = Recommender.load({str(folder)!r}).recommend([['i1', 'i2']], 3, explain=True);"
        "print(len(found[0].items), {'recbole', 'optuna', 'torch._dynamo'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.stdout.strip() == "3 set()", done.stderr
