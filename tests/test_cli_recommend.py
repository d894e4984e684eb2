"""`hiersrec train | recommend`: from a data set to a folder, and from that alone to answers, files, one-line errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from atomic_files import SMALL, write_shop
from served_folder import make_folder
from typer.testing import CliRunner, Result

from recbole_hiersrec import checkpoint, register
from recbole_hiersrec.cli import app
from recbole_hiersrec.errors import harmless
from recbole_hiersrec.recommend import Recommender
from recbole_hiersrec.report import recommendation as report
from recbole_hiersrec.serving import session_files

SETTINGS = {key: SMALL[key] for key in ("gpu_id", "hidden_size", "inner_size", "n_layers", "n_heads")}
SETTINGS |= {"category_fields": ["department", "class"], "title_field": "title"}
LIMITS = ("--max-length", "5", "--epochs", "3", "--threads", "1", "--data-path", "dataset")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def fails(*arguments: str | Path) -> str:
    """The one line of a command that goes wrong."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("hiersrec: error: ")
    return lines[0]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set and settings, which is the current one."""
    monkeypatch.chdir(tmp_path)
    write_shop(tmp_path / "dataset")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    return tmp_path


def train(*more: str, out: str = "model") -> Result:
    return run("train", "HierSRec", "shop", "--out", out, "--settings", "settings.yaml", *LIMITS, *more)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("models") / "m")


# --- train -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_a_data_set_to_recommendations(shop: Path) -> None:
    """The folder alone recommends what the model that was trained scores."""
    done = train()
    assert done.exit_code == 0, done.output
    content = checkpoint.load(shop / "model")
    best = content.training
    assert done.stdout.splitlines() == [
        "HierSRec of shop: 10 items, 3 epochs, ended by epochs",
        f"validation NDCG@10 {best['best_valid']:.4f} (12 cases) chose epoch {best['best_epoch']};",
        "the test part was not looked at",
        "model: model",
        "next: hiersrec recommend model --session ITEM,ITEM --explain",
    ]
    assert sorted(path.name for path in shop.iterdir()) == ["dataset", "model", "settings.yaml"]
    assert content.serving is not None
    assert content.serving.titles == tuple(f"thing number {token[1:]}" for token in content.tokens)
    assert content.serving.counts.sum() == 12 * 4  # sessions of 6, less the clicks of validation and test

    register()
    from recbole_hiersrec.training import load_data_and_model

    _, whole, _, _, part, _ = load_data_and_model(shop / "model")
    rows = part._dataset.inter_feat
    with torch.no_grad():
        scores = whole.eval().full_sort_predict(rows)
    names = list(content.tokens)
    sessions = [[names[i - 1] for i in row.tolist() if i] for row in rows[whole.ITEM_SEQ]]
    answers = Recommender.load(shop / "model").recommend(sessions, 10, item_fraction=None)
    for row, answer in zip(scores.tolist(), answers, strict=True):
        wanted = {name: row[number] for number, name in enumerate(names, start=1)}
        assert {item.item: item.score for item in answer.items} == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_the_test_part_stays_closed(shop: Path) -> None:
    """Each session's last click, which would be tested, becomes another item: weights and temperatures stay."""
    assert train().exit_code == 0
    path = shop / "dataset" / "shop" / "shop.inter"
    head, *rows = path.read_text().splitlines()
    for place in range(35, len(rows), 6):  # of the first five sessions, so that items keep their numbers
        user, item, time = rows[place].split("\t")
        rows[place] = f"{user}\ti{(int(item[1:]) + 3) % 10}\t{time}"
    path.write_text("\n".join([head, *rows]) + "\n")
    assert train(out="other").exit_code == 0
    first, other = checkpoint.load(shop / "model"), checkpoint.load(shop / "other")
    assert all(torch.equal(values, other.state[name]) for name, values in first.state.items())
    assert first.serving is not None
    assert other.serving is not None
    assert first.serving.temperatures == other.serving.temperatures


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    from recbole_hiersrec.resuming import TrainingState
    from recbole_hiersrec.training import HierSRecTrainer

    assert train(out="whole").exit_code == 0
    monkeypatch.setattr(TrainingState, "every", 0.0)
    validate, epochs = HierSRecTrainer.validate, []

    def dying(self: Any, data: Any) -> float:
        epochs.append(self.report.epochs)
        if epochs == [1, 2]:
            raise KeyboardInterrupt
        return validate(self, data)

    monkeypatch.setattr(HierSRecTrainer, "validate", dying)
    stopped = train()
    assert stopped.exit_code == 130
    assert "the same command goes on from the last epoch" in stopped.stderr
    assert not (shop / "model").exists()
    assert train().exit_code == 0
    assert epochs == [1, 2, 2, 3]
    whole, again = (checkpoint.load(shop / name).state for name in ("whole", "model"))
    assert all(torch.equal(values, again[name]) for name, values in whole.items())
    assert not (shop / ".model.training").exists()


@pytest.mark.slow
def test_an_older_model_is_replaced(shop: Path, model: Path) -> None:
    make_folder(shop / "model")
    assert train("--epochs", "1", "--history", "masked").exit_code == 0
    assert checkpoint.load(shop / "model").dataset == "shop"
    assert Recommender.load(shop / "model").masked


@pytest.mark.slow
def test_a_training_that_fails_is_one_line_and_leaves_nothing(shop: Path) -> None:
    (shop / "settings.yaml").write_text(
        yaml.safe_dump(SETTINGS | {"learning_rate": 1e30, "train_batch_size": 6})
    )
    result = train()
    assert result.exit_code == 2
    assert "training of shop HierSRec seed 2026 failed: training loss is nan" in result.stderr
    assert sorted(path.name for path in shop.iterdir()) == ["dataset", "settings.yaml"]


@pytest.mark.slow
def test_a_model_that_cannot_be_written_leaves_nothing(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    make_folder(shop / "model")
    before = sorted(shop.rglob("*"))
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    assert "No space left on device" in train("--epochs", "1").stderr
    assert sorted(shop.rglob("*")) == before
    assert checkpoint.load(shop / "model").dataset != "shop"


@pytest.mark.slow
def test_two_trainings_to_one_folder(shop: Path) -> None:
    from recbole_hiersrec.atomic import locked

    (shop / ".model.training").mkdir()
    with locked(shop / ".model.training" / "lock", 0.0, "nobody else"):
        assert "--out: model is being trained by another process" in train().stderr
    assert train().exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("SASRec", "shop"), "model 'SASRec' cannot be served: recommend needs"),
        (("HierSrec", "shop"), "unknown model 'HierSrec'; did you mean 'HierSRec'"),
        (("HierSRec", "shopp"), "shopp"),
        (("HierSRec", "shop", "--settings", "none.yaml"), "none.yaml: no such file"),
        (
            ("HierSRec", "shop", "--settings", "wrong.yaml"),
            "unknown key 'hidden_siz'; did you mean 'hidden_size'",
        ),
        (("HierSRec", "shop", "--tuned", "nothing"), "tuned: no settings 'nothing'"),
        (("HierSRec", "shop", "--split", "temporal"), "shop.user"),
        (("HierSRec", "shop", "--epochs", "0"), "limits.epochs"),
        (("HierSRec", "shop", "--seed", "-1"), "seeds"),
        (("HierSRec", "shop", "--out", "none/model"), "--out: there is no folder none"),
        (
            ("HierSRec", "shop", "--out", "dataset"),
            "--out: dataset exists and is no model; nothing was written",
        ),
        (("HierSRec", "shop", "--out", "settings.yaml"), "--out: settings.yaml exists and is no model"),
        (("HierSRec", "shop", "--out", "/"), "--out: received '/'"),
    ],
)
def test_what_cannot_be_trained(shop: Path, arguments: tuple[str, ...], message: str) -> None:
    (shop / "wrong.yaml").write_text("hidden_siz: 8\n")
    before = sorted(shop.rglob("*"))
    out = () if "--out" in arguments else ("--out", "model")
    assert message in fails("train", *arguments, *out, "--data-path", "dataset")
    assert sorted(shop.rglob("*")) == before


# --- one session -------------------------------------------------------------------------------------------------


def test_one_session_in_80_columns(model: Path) -> None:
    done = run("recommend", model, "--session", "i7,i3", "--k", "3", "--explain")
    assert done.exit_code == 0, done.output
    answer = Recommender.load(model).recommend([["i7", "i3"]], 3, explain=True)[0]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("next category: a")
    assert max(map(len, lines)) <= 80
    for rank, item in enumerate(answer.items, start=1):
        line = next(line for line in lines if line.startswith(f"  {rank}  "))
        assert line.split()[:3] == [str(rank), f"{item.score:.2f}", item.item]
        assert line.endswith(" > ".join(item.category))
        assert f"{item.title}  " in line
    assert sum(line.strip().startswith("why: ") for line in lines) == 3
    assert sum(line.strip().startswith("session: ") for line in lines) == 3
    told = f"scored {answer.n_scored} of 240 items ({100 * answer.n_scored / 240:.1f} %; "
    assert lines[-1].startswith(f"{told}scanned {100 * answer.scanned_fraction:.1f} %) in ")


def test_json_is_the_answer(model: Path) -> None:
    done = run("recommend", model, "--item", "i7", "--item", "i3", "--k", "2", "--explain", "--json")
    told = json.loads(done.stdout)
    wanted = Recommender.load(model).recommend([["i7", "i3"]], 2, explain=True)[0].to_dict()
    assert told.pop("seconds") > 0
    del wanted["seconds"]
    assert told == json.loads(json.dumps(wanted))


@pytest.mark.parametrize(
    ("given", "items"),
    [
        ("i1,i2", ["i1", "i2"]),
        (' i1 , "a,b"', ["i1", "a,b"]),
        ('"say ""x"""', ['say "x"']),
        ("", []),
        ("i1,,", ["i1"]),
    ],
)
def test_sessions_as_text(given: str, items: list[str]) -> None:
    from recbole_hiersrec.cli_recommend import _one_session

    assert _one_session(given, None) == items


def test_unknown_items_warn_and_a_wholly_unknown_session_gets_popularity(model: Path) -> None:
    done = run("recommend", model, "--session", "i3,x\x1b[2J", "--k", "2")
    assert done.stderr == "hiersrec: warning: skipped unknown items (1): x\\x1b[2J\n"
    assert done.exit_code == 0
    done = run("recommend", model, "--session", "", "--k", "2")
    assert done.stdout.startswith("no item of the session is known: the most popular items of training\n")
    assert "scored 0 of 240 items" in done.stdout


def test_filters_of_the_command(model: Path, tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("i3\ni7\n\ni8\n")
    arguments = ("--allow-category", "a0", "--allow-category", "a1", "--deny-category", "a1 > b2")
    done = run(
        "recommend",
        model,
        "--session",
        "i3,i1",
        "--json",
        "--not-seen",
        *arguments,
        "--only",
        tmp_path / "only.txt",
    )
    told = json.loads(done.stdout)
    wanted = Recommender.load(model).recommend(
        [["i3", "i1"]],
        allow_categories=["a0", "a1"],
        deny_categories=["a1 > b2"],
        seen=False,
        items=["i3", "i7", "i8"],
    )
    assert [item["item"] for item in told["items"]] == [item.item for item in wanted[0].items] == ["i7"]
    assert told["note"] == "1 of 10 items: no more are allowed"
    every = json.loads(run("recommend", model, "--session", "i3", "--json", "--all-items").stdout)
    assert (every["n_scored"], every["n_compared"]) == (240, 0)
    some = json.loads(run("recommend", model, "--session", "i3", "--json", "--item-fraction", "0.5").stdout)
    assert 60 < some["n_scored"] <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected one session"),
        (("--session", "i1", "--item", "i2"), "--session and --item: received both"),
        (("--session", "i1", "--sessions", "s.csv", "--out", "r.csv"), "expected one session"),
        (("--session", 'i1,"'), "--session: received"),
        (("--session", "i1", "--out", "r.csv"), "--sessions and --out belong together"),
        (("--sessions", "s.csv"), "--sessions and --out belong together"),
        (("--session", "i1", "--map", "item=sku"), "--map: received without --sessions"),
        (("--sessions", "s.csv", "--out", "r.csv", "--json"), "--json: received with --sessions"),
        (("--session", "i1", "--all-items", "--item-fraction", "0.1"), "received both"),
        (("--session", "i1", "--k", "0"), "k: received 0, allowed: whole numbers from 1 to 240"),
        (("--session", "i1", "--item-fraction", "2"), "item_fraction: received 2.0"),
        (("--session", "i1", "--allow-category", "a0>b1"), "did you mean 'a0 > b1'"),
        (("--session", "i1", "--only", "none.txt"), "--only: none.txt cannot be read"),
        (("--session", "i1", "--only", "unknown.txt"), "items: unknown item 'nope'"),
        (("--sessions", "s.csv", "--out", "r.xlsx"), "--out: received 'r.xlsx'"),
        (("--sessions", "s.csv", "--out", "r.csv", "--explain"), "an explanation fits no table"),
        (("--sessions", "s.csv", "--out", "none/r.csv"), "--out: there is no folder none"),
        (("--sessions", "s.csv", "--out", "s.csv"), "s.csv is the file of the sessions"),
        (("--sessions", "s.csv", "--out", "folder.csv"), "folder.csv is a folder"),
        (("--sessions", "none.csv", "--out", "r.csv"), "none.csv: no such file"),
        (("--sessions", "empty.csv", "--out", "r.csv"), "empty.csv: is empty"),
        (("--sessions", "head.csv", "--out", "r.csv"), "head.csv: holds no rows"),
        (("--sessions", "other.csv", "--out", "r.csv"), "other.csv: no column 'session_id'"),
        (("--sessions", "s.csv", "--out", "r.csv", "--map", "thing=x"), "--map: unknown key 'thing'"),
    ],
)
def test_what_cannot_be_recommended(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"s.csv": "session_id,item_id\n1,i1\n", "empty.csv": "", "head.csv": "session_id,item_id\n"}
    files |= {"other.csv": "visit,sku\n1,i1\n", "unknown.txt": "nope\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.iterdir())
    assert message in fails("recommend", model, *arguments)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    assert "not a checkpoint of recbole_hiersrec" in fails("recommend", tmp_path, "--session", "i1")


# --- files -------------------------------------------------------------------------------------------------------

CLICKS = [
    ("s2", "i7", 5.0),
    ("s1", "i3", 9.0),
    ("s2", "i9", 4.0),
    ("s3", "gone", 1.0),
    ("s1", "i1", 9.0),
    ("s1", "i4", 2.0),
]
"""Sessions in the order s2, s1, s3; by time s2 is i9 i7, s1 is i4 i3 i1."""
SESSIONS = {"s2": ["i9", "i7"], "s1": ["i4", "i3", "i1"], "s3": ["gone"]}


@pytest.fixture
def clicks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame(CLICKS, schema=["session_id", "item_id", "timestamp"], orient="row")
    frame.write_parquet(tmp_path / "s.parquet")
    frame.write_csv(tmp_path / "s.csv")
    frame.write_ndjson(tmp_path / "s.jsonl")
    frame.rename({"session_id": "visit", "item_id": "sku", "timestamp": "ts"}).write_csv(
        tmp_path / "named.csv"
    )
    return tmp_path


@pytest.mark.filterwarnings("ignore::UserWarning")
def wanted_rows(model: Path, k: int = 3) -> list[dict[str, Any]]:
    answers = Recommender.load(model).recommend(list(SESSIONS.values()), k)
    return [
        {
            "session_id": session,
            "rank": rank,
            "item_id": item.item,
            "score": item.score if item.score is None else pytest.approx(item.score, abs=1e-4),
            "by": answer.by,
            "title": item.title,
            "category": " > ".join(item.category),
        }
        for session, answer in zip(SESSIONS, answers, strict=True)
        for rank, item in enumerate(answer.items, start=1)
    ]


READERS = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("at_once", [2, 1024])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sessions_of_a_file(
    model: Path, clicks: Path, monkeypatch: pytest.MonkeyPatch, kind: str, at_once: int
) -> None:
    """In parts or at once; a part of a Parquet file here takes 5 rows."""
    monkeypatch.setattr("recbole_hiersrec.cli_recommend.BATCH", at_once)
    monkeypatch.setattr(session_files, "_ROWS", 5)
    (clicks / f"r.{kind}").write_text("what was there before")
    done = run("recommend", model, "--sessions", f"s.{kind}", "--out", f"r.{kind}", "--k", "3")
    assert done.exit_code == 0, done.output
    assert READERS[kind](clicks / f"r.{kind}").to_dicts() == wanted_rows(model)
    assert done.stdout.splitlines()[0] == f"r.{kind}: 3 sessions, 9 items"
    assert done.stderr.splitlines() == [
        "hiersrec: warning: skipped 1 clicks on unknown items",
        "hiersrec: warning: 1 sessions without a known item got the most popular items",
    ]
    assert not [path for path in clicks.iterdir() if path.name.startswith(".")]


def test_columns_of_other_names(model: Path, clicks: Path) -> None:
    named = ("--map", "session=visit", "--map", "item=sku", "--map", "time=ts")
    assert run("recommend", model, "--sessions", "named.csv", "--out", "a.csv", *named).exit_code == 0
    assert run("recommend", model, "--sessions", "s.csv", "--out", "b.csv").exit_code == 0
    assert (clicks / "a.csv").read_text() == (clicks / "b.csv").read_text()


def test_without_times_the_rows_are_in_order(clicks: Path) -> None:
    found = session_files.read_sessions(clicks / "s.csv", ["time="])
    assert found.rows() == [("s2", ["i7", "i9"]), ("s1", ["i3", "i1", "i4"]), ("s3", ["gone"])]
    timed = session_files.read_sessions(clicks / "s.csv")
    assert dict(timed.rows()) == SESSIONS


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_explained_sessions_are_json_lines(model: Path, clicks: Path) -> None:
    done = run("recommend", model, "--sessions", "s.csv", "--out", "r.jsonl", "--k", "2", "--explain")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (clicks / "r.jsonl").read_text().splitlines()]
    answers = Recommender.load(model).recommend(list(SESSIONS.values()), 2, explain=True)
    for line, session, answer in zip(lines, SESSIONS, answers, strict=True):
        assert line.pop("session_id") == session
        assert [item["item"] for item in line["items"]] == [item.item for item in answer.items]
        assert line["by"] == answer.by
        assert (line["items"][0]["contributions"] is None) == (answer.by == "popularity")


@pytest.mark.parametrize("kind", READERS)
def test_what_fails_half_way_leaves_the_file_as_it_was(
    model: Path, clicks: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("recbole_hiersrec.cli_recommend.BATCH", 1)
    recommend, calls = Recommender.recommend, []

    def dying(self: Recommender, *given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return recommend(self, *given, **named)

    monkeypatch.setattr(Recommender, "recommend", dying)
    (clicks / f"r.{kind}").write_text("what was there before")
    before = sorted(clicks.iterdir())
    done = run("recommend", model, "--sessions", "s.csv", "--out", f"r.{kind}")
    assert done.exit_code == 130
    assert "nothing was written" in done.stderr
    assert sorted(clicks.iterdir()) == before
    assert (clicks / f"r.{kind}").read_text() == "what was there before"


KILLED = """
import os, signal
from pathlib import Path
from recbole_hiersrec.serving.session_files import recommendation_file
with recommendation_file(Path("r.csv"), False):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_killed_one_left_goes_with_the_next(model: Path, clicks: Path) -> None:
    for name in (".old-r.csv", ".tmp-r.csv", ".tmp-other.csv~1"):
        (clicks / name).write_text("somebody's")
    before = sorted(clicks.iterdir())
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=clicks, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(clicks.glob(".tmp-r.csv~*"))) == 1
    assert run("recommend", model, "--sessions", "s.csv", "--out", "r.csv").exit_code == 0
    assert sorted(clicks.iterdir()) == sorted([*before, clicks / "r.csv"])


def test_two_writers_of_one_file(model: Path, clicks: Path) -> None:
    (clicks / "r.csv").write_text("what was there before")
    with session_files.recommendation_file(clicks / "r.csv", explain=False):
        message = fails("recommend", model, "--sessions", "s.csv", "--out", "r.csv")
        assert "r.csv: another recommendation is at work here; wait for it to end" in message
        assert (clicks / "r.csv").read_text() == "what was there before"


def test_sessions_without_an_answer_have_no_rows(model: Path, clicks: Path) -> None:
    (clicks / "only.txt").write_text("i9\n")
    arguments = ("--only", "only.txt", "--not-seen", "--out", "r.parquet")
    done = run("recommend", model, "--sessions", "s.csv", *arguments)
    assert done.exit_code == 0, done.output
    found = pl.read_parquet(clicks / "r.parquet")
    assert found["session_id"].to_list() == ["s1", "s3"]
    assert set(found["item_id"]) == {"i9"}


# --- text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("<b>plain & 'quoted'</b>", "<b>plain & 'quoted'</b>"),
        ("\x1b[31mred\x07\r\n", r"\x1b[31mred\x07\r\n"),
        ("a\u202eb\u200b", r"a\u202eb\u200b"),
        ("a\u00a0b\u3000c", "a b c"),
        ("Müller 日本 \U0001f600", "Müller 日本 \U0001f600"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
    ],
)
def test_what_files_say_is_harmless_in_a_terminal(given: str, told: str) -> None:
    assert harmless(given) == told


@pytest.mark.parametrize(
    ("given", "width", "told"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc..."),
        ("日本日本", 8, "日本日本"),
        ("日本日本日", 8, "日本..."),
        ("e\u0301" * 6, 6, "e\u0301" * 6),
    ],
)
def test_text_is_cut_to_columns(given: str, width: int, told: str) -> None:
    assert report.cut(given, width) == told


def columns(line: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line
    )


@pytest.mark.parametrize("name", ["日本語の品物" * 9, "\x1b[2J" * 20, "long " * 30])
def test_any_names_fit_80_columns(model: Path, name: str) -> None:
    answer = Recommender.load(model).recommend([["i7", "i3"]], 3, explain=True)[0]
    items = tuple(
        replace(
            item, item=name, title=name, category=(name, name), session_items={name: 1.0, "b": -123456.789}
        )
        for item in answer.items
    )
    path = ((name, 0.5), (name, 0.25))
    text = report.text(replace(answer, items=items, predicted_path=path, note=name), 1_000_000)
    assert all(columns(line) <= 80 for line in text.splitlines()), text
    assert "\x1b" not in text
