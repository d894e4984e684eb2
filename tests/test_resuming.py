"""A training that was killed goes on as if nothing had happened: the same weights, to the bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from recbole_hiersrec import register, resuming

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.benchmark.runner import load_jobs, load_record  # noqa: E402
from recbole_hiersrec.benchmark.store import JobStore  # noqa: E402
from recbole_hiersrec.report.frame import accuracy_frame, to_csv  # noqa: E402
from recbole_hiersrec.resuming import TrainingState, random_state, set_random_state  # noqa: E402
from recbole_hiersrec.training import HierSRecTrainer  # noqa: E402

SAME = {"code": "1"}


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingState, "every", 0.0)
    monkeypatch.setattr(resuming, "SHARE", 0)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers()
TREES = st.recursive(PLAIN, lambda t: st.lists(t) | st.dictionaries(KEYS, t) | st.lists(t).map(tuple))


@given(TREES)
def test_a_tree_comes_back_as_it_was(tree: Any) -> None:
    tensors: dict[str, torch.Tensor] = {}
    packed = json.loads(json.dumps(resuming._packed(tree, tensors)))
    assert not tensors
    assert resuming._unpacked(packed, {}) == tree


def test_tensors_and_arrays_come_back_from_disk(tmp_path: Path) -> None:
    kept = TrainingState(tmp_path / "state", SAME)
    table = torch.arange(12.0).reshape(3, 4)
    tree = {
        "shared": [table, table.T],  # one storage, and not contiguous
        0: (
            torch.tensor(float("inf")),
            torch.tensor([], dtype=torch.int64),
            np.array([1, 2], dtype=np.uint32),
        ),
    }
    kept.save(tree)
    back = TrainingState(tmp_path / "state", SAME).load()
    assert torch.equal(back["shared"][0], table)
    assert torch.equal(back["shared"][1], table.T)
    assert back[0][0] == float("inf")
    assert (back[0][1].dtype, back[0][2].dtype, back[0][2].tolist()) == (torch.int64, np.uint32, [1, 2])
    with pytest.raises(TypeError, match="cannot hold a set"):
        kept.save({1, 2})


def test_the_newest_whole_state_of_the_same_training_counts(tmp_path: Path) -> None:
    kept = TrainingState(tmp_path / "state", SAME)
    assert kept.load() is None
    for number in (1, 2):
        kept.save({"epoch": number})
    assert [path.name for path in kept.folder.iterdir()] == ["2"]
    assert kept.load() == {"epoch": 2}
    assert TrainingState(kept.folder, {"code": "2"}).load() is None
    (kept.folder / ".3").mkdir()  # under way when it was killed
    (kept.folder / "7").mkdir()
    (kept.folder / "7" / "state.json").write_text('{"identity"')  # cut off by a power cut
    assert kept.load() == {"epoch": 2}
    kept.save({"epoch": 8})
    assert sorted(path.name for path in kept.folder.iterdir()) == [".3", "8"]
    assert kept.load() == {"epoch": 8}


def test_a_save_is_due_after_some_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(TrainingState, "every", 5.0)
    kept = TrainingState(tmp_path / "state", SAME)
    due = []
    for now[0] in (104.9, 105.0):
        due.append(kept.due())
    kept.save(1)
    for now[0] in (109.9, 110.0):
        due.append(kept.due())
    assert due == [False, True, False, True]


def test_all_global_generators_go_on() -> None:
    def draw() -> list[float]:
        return [random.random(), np.random.random(), float(torch.rand(1))]  # noqa: NPY002

    state = random_state()
    first = draw()
    assert draw() != first
    set_random_state(state)
    assert draw() == first


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "sampled": ("HierSRec", {"loss": "sampled", "n_negatives": 5, "weight_average": 0.9}),
    "full": ("HierSRec", {"category_fields": ["department", "class"], "weight_average": 0.0}),
    "every position": ("GRU4RecAllPositions", {"num_layers": 1, "embedding_size": 8, "hidden_size": 8}),
    "prefix rows, drawn negatives": (
        "SASRec",
        {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}},
    ),
    "a validation every two epochs": ("SASRecAllPositions", {"eval_step": 2, "n_layers": 1}),
    "a limit of steps": ("SASRecAllPositions", {"max_steps": 17, "n_layers": 1}),
    "a generator of Python's": (
        "BERT4Rec",
        {"mask_ratio": 0.8, "train_batch_size": 12, "hidden_size": 8, "n_heads": 1},
    ),
}


def train(
    shop: Path, folder: Path, form: str, kept: TrainingState | None, die_at: int = 0
) -> HierSRecTrainer:
    """Train for seven epochs of several steps, or until the step ``die_at``."""
    model, settings = FORMS[form]
    values = {
        **SMALL,
        "data_path": str(shop),
        "checkpoint_dir": str(folder / "saved"),
        "train_batch_size": 4,
        "train_neg_sample_args": None,
        "epochs": 7,
        "stopping_step": 50,
        "metrics": ["NDCG"],
        "hidden_dropout_prob": 0.3,
        **settings,
    }
    config = Config(model=model, dataset="shop", config_dict=values)
    init_seed(3, True)
    parts = data_preparation(config, create_dataset(config))
    init_seed(3, True)
    made = HierSRecTrainer(config, get_model(model)(config, parts[0]._dataset))
    made.kept, made.recboles = kept, False
    loss, left = made.model.calculate_loss, die_at

    def counted(interaction: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return loss(interaction)

    made.model.calculate_loss = counted
    made.fit(parts[0], parts[1], saved=False)
    return made


@pytest.mark.parametrize("form", FORMS)
def test_a_training_killed_twice_ends_with_the_same_weights(shop: Path, tmp_path: Path, form: str) -> None:
    whole = train(shop, tmp_path, form, None)
    steps = 3 if form == "a limit of steps" else whole.report.steps // 7
    assert steps >= 2
    for die_at in (3 * steps, 2 * steps + 1):  # in the middle of the third epoch, then in that of the fifth
        with pytest.raises(Killed):
            train(shop, tmp_path, form, TrainingState(tmp_path / "state", SAME), die_at)
    torch.rand(5)  # another process has drawn other numbers
    made = train(shop, tmp_path, form, TrainingState(tmp_path / "state", SAME))
    assert (made.report.epochs, made.report.steps, made.report.stopped_by) == (
        whole.report.epochs,
        whole.report.steps,
        whole.report.stopped_by,
    )
    assert made.report.best_epoch == whole.report.best_epoch
    assert len(made.report.curve) == len(whole.report.curve) >= 3
    for point, other in zip(made.report.curve, whole.report.curve, strict=True):
        assert (point["epoch"], point["loss"], point["valid"]) == (
            other["epoch"],
            other["loss"],
            other["valid"],
        )
    ours, theirs = made.model.state_dict(), whole.model.state_dict()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    before, after = (one.report.curve[0]["seconds"] for one in (made, whole))
    assert before is not None
    assert after is not None
    assert made.report.curve[-1]["seconds"] > before  # type: ignore[operator]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("no space")])
def test_a_state_that_cannot_be_kept_ends_no_training(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = train(shop, tmp_path, "full", None)
    kept, older = (TrainingState(tmp_path / name, SAME) for name in ("state", "older"))
    older.save({"epoch": 1})

    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(resuming, "save_file", full)
    made = train(shop, tmp_path, "full", kept)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(made.model.state_dict()[name], tensor), name
    assert kept.load() is None
    with pytest.raises(type(error)):
        older.save({"epoch": 2})
    assert older.load() == {"epoch": 1}


def test_what_was_kept_of_something_else_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    TrainingState(tmp_path / "state", {"key": "a", "threads": 1}).save(1)
    assert TrainingState(tmp_path / "state", {"key": "a", "threads": 2}).load() is None
    assert "begins anew: what was kept is of other threads" in caplog.text


def test_a_save_that_takes_long_is_made_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 4.0, 63.9, 64.1])  # made; save begins, and ends 3 s later; due?
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    monkeypatch.setattr(resuming, "SHARE", 20)
    kept = TrainingState(tmp_path / "state", SAME)
    kept.save(1)
    assert [kept.due(), kept.due()] == [False, True]


def test_what_had_ended_does_not_go_on(shop: Path, tmp_path: Path) -> None:
    kept = TrainingState(tmp_path / "state", SAME)
    first = train(shop, tmp_path, "full", kept)
    again = train(shop, tmp_path, "full", TrainingState(kept.folder, SAME), die_at=1)  # no step is made
    assert (again.report.stopped_by, again.report.steps) == ("epochs", first.report.steps)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


SCRIPT = """
import sys; from pathlib import Path
sys.path.insert(0, sys.argv[1]); folder = Path(sys.argv[2])
from fake_suite import make_suite
from recbole_hiersrec.benchmark.runner import run_suite
job = "import sys; from recbole_hiersrec import resuming; resuming.TrainingState.every = resuming.SHARE = 0"
job += "; from recbole_hiersrec.benchmark.job import main; sys.exit(main(sys.argv[1:]))"
small = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "train_batch_size": 2}
models = [{"model": "HierSRec", "settings": small | {"category_fields": ["class"], "loss": "sampled"}}]
limits = {"epochs": 24, "patience": 24, "steps": 100000}
suite = make_suite(folder, models=models, limits=limits, speed={"repeats": 1, "warmup": 0})
run_suite(suite, Path(sys.argv[3]), command=[sys.executable, "-c", job])
"""


def test_a_real_job_killed_three_times_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    def start(runs: str) -> subprocess.Popen[bytes]:
        arguments = [
            sys.executable,
            "-c",
            SCRIPT,
            str(Path(__file__).parent),
            str(tmp_path),
            str(tmp_path / runs),
        ]
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True)

    def table(runs: str) -> str:
        store = JobStore(tmp_path / runs / "trial")
        return to_csv(accuracy_frame([load_record(store, job) for job in load_jobs(store.folder)]))

    assert start("whole").wait() == 0
    reached: list[int] = []
    for _ in range(3):
        process = start("killed")
        give_up = time.monotonic() + 120
        while not (saved := numbers(tmp_path / "killed")) or saved[-1] < 4 + (reached[-1] if reached else 0):
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)  # its job ends with it
        process.wait()
        time.sleep(0.3)
        reached.append(numbers(tmp_path / "killed")[-1])
    assert reached[-1] < 24
    assert reached == sorted(set(reached))
    assert start("killed").wait() == 0
    assert not numbers(tmp_path / "killed")
    assert table("killed") == table("whole")


def numbers(runs: Path) -> list[int]:
    """States that a job under way has kept."""
    return sorted(int(path.name) for path in runs.glob("trial/jobs/.tmp-*/state/*") if path.name.isdigit())
