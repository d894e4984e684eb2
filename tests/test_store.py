"""The store: done means whole; a damaged record is told, not overwritten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_job import write_result
from fake_suite import make_records

from recbole_hiersrec import atomic
from recbole_hiersrec.atomic import backup_of, recover_folder, replace_folder, writable_folder, write_text
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.errors import InputError


def full_disk(*_: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    return make_records(tmp_path)[1][0]


def begin(store: JobStore, key: str) -> int:
    with store.open():
        lock = store.begin(key)
    assert lock is not None
    return lock


def commit(store: JobStore, record: dict[str, Any], key: str) -> None:
    lock = begin(store, key)
    write_result(store.work(key), record)
    store.commit(key, lock)


def test_commit_then_done_and_loaded(tmp_path: Path, record: dict[str, Any]) -> None:
    store, key = JobStore(tmp_path / "runs" / "s"), record["key"]
    assert not store.is_done(key)
    commit(store, record, key)
    assert store.is_done(key)
    assert store.load(key) == record
    assert sorted(path.name for path in store.path(key).iterdir()) == ["model", "ranks.npz", "record.json"]
    assert [path.name for path in store.jobs.iterdir()] == [key]


def test_what_a_stopped_job_wrote_is_gone_but_for_its_state(tmp_path: Path, record: dict[str, Any]) -> None:
    store, key = JobStore(tmp_path), record["key"]
    lock = begin(store, key)
    (store.work(key) / "ranks.npz").write_text("half")
    assert not store.is_done(key)
    store.abandon(key, lock)
    assert not list(store.jobs.iterdir())
    lock = begin(store, key)
    (store.work(key) / "ranks.npz").write_text("half")
    (store.work(key) / "state").mkdir()
    (store.work(key) / "state" / "epoch").write_text("3")
    store.abandon(key, lock)
    lock = begin(store, key)
    assert sorted(path.name for path in store.work(key).iterdir()) == ["lock", "state"]
    assert (store.work(key) / "state" / "epoch").read_text() == "3"
    write_result(store.work(key), record)
    store.commit(key, lock)
    assert sorted(path.name for path in store.path(key).iterdir()) == ["model", "ranks.npz", "record.json"]


def test_a_job_has_one_holder(tmp_path: Path, record: dict[str, Any]) -> None:
    mine, others, key = JobStore(tmp_path), JobStore(tmp_path), record["key"]
    lock = begin(mine, key)
    assert others.begin(key) is None
    write_result(mine.work(key), record)
    with others.open():
        others.tidy()
    assert (mine.work(key) / "record.json").exists()  # whose job is under way, it is not tidied up
    mine.commit(key, lock)
    assert others.is_done(key)
    again = others.begin(key)
    assert again is not None
    others.abandon(key, again)
    assert [path.name for path in mine.jobs.iterdir()] == [key]


def test_a_lock_lives_as_long_as_any_process_that_has_it(tmp_path: Path, record: dict[str, Any]) -> None:
    store, key = JobStore(tmp_path), record["key"]
    lock = begin(store, key)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(lock,)) as child:
        os.close(lock)
        assert store.begin(key) is None
        child.communicate()
    os.close(begin(store, key))


def test_what_dead_runners_left_is_tidied_up(tmp_path: Path, record: dict[str, Any]) -> None:
    store, key = JobStore(tmp_path), record["key"]
    for name in (key, "f" * 16, f"{key}-x1y2z3"):  # also of older versions
        (store.jobs / f".tmp-{name}").mkdir(parents=True)
    (store.jobs / f".tmp-{'e' * 16}" / "state").mkdir(
        parents=True
    )  # of another suite of the same name: goes on
    (store.jobs / ".gone-1" / "model").mkdir(parents=True)
    for path in (store.folder / ".tmp-report.md-1", store.jobs / f".tmp-{key}.error-1"):
        path.write_text("half")
    with store.open():
        store.tidy()
    assert [path.name for path in store.jobs.iterdir()] == [f".tmp-{'e' * 16}"]
    assert not list(store.folder.glob(".tmp-*"))


def test_what_was_finished_and_not_taken_is_taken(tmp_path: Path, record: dict[str, Any]) -> None:
    """Its runner was killed before it could, or while it did; what was there before is replaced."""
    store, key = JobStore(tmp_path), record["key"]
    lock = begin(store, key)
    write_result(store.work(key), record)
    (store.work(key) / "state").mkdir()
    store.path(key).mkdir()
    store.abandon(key, lock)  # as a runner does that is stopped right after the job has ended
    with store.open():
        store.tidy()
    assert not store.is_done(key)
    store.abandon(key, begin(store, key))
    assert store.is_done(key)
    assert sorted(path.name for path in store.path(key).iterdir()) == ["model", "ranks.npz", "record.json"]
    assert [path.name for path in store.jobs.iterdir()] == [key]


def test_what_is_not_whole_is_not_taken(tmp_path: Path, record: dict[str, Any]) -> None:
    store, key = JobStore(tmp_path), record["key"]
    for lacking in ("record.json", "ranks.npz", "model/weights"):
        os.close(begin(store, key))
        write_result(store.work(key), record)
        (store.work(key) / lacking).unlink()
        if lacking == "model/weights":
            (store.work(key) / "model").rmdir()
        store.abandon(key, begin(store, key))
        assert not list(store.jobs.iterdir()), lacking


def test_the_folder_is_removed_while_a_runner_waits(tmp_path: Path, record: dict[str, Any]) -> None:
    store = JobStore(tmp_path)
    with store.open():
        pass
    store.jobs.rmdir()
    with pytest.raises(InputError, match="jobs: was removed while hiersrec bench ran"):
        store.begin(record["key"])


def test_a_failure_is_told_to_others_and_what_was_kept_stays(tmp_path: Path, record: dict[str, Any]) -> None:
    store, key = JobStore(tmp_path), record["key"]
    assert store.failure(key) == (None, "")
    lock = begin(store, key)
    (store.work(key) / "state").mkdir()
    (store.work(key) / "record.json").write_text("half")
    store.fail(key, lock, "killed by SIGKILL")
    mark, line = store.failure(key)
    assert line == "killed by SIGKILL"
    assert sorted(path.name for path in store.work(key).iterdir()) == ["lock", "state"]
    lock = begin(store, key)
    (store.work(key) / "state").rmdir()
    store.fail(key, lock, "killed by SIGKILL")  # the same line of another failure
    assert store.failure(key)[0] not in (None, mark)
    assert [path.name for path in store.jobs.iterdir()] == [f"{key}.error"]
    commit(store, record, key)
    assert [path.name for path in store.jobs.iterdir()] == [key]


def test_a_disk_that_is_full_keeps_no_job_locked(
    tmp_path: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key = JobStore(tmp_path), record["key"]
    lock = begin(store, key)
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", full_disk)
        with pytest.raises(InputError, match="No space left on device"):
            store.fail(key, lock, "too few sessions")
    assert not list(store.jobs.iterdir())
    os.close(begin(store, key))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "truncated or not a record"),
        (lambda text: "", "truncated or not a record"),
        (lambda text: "[]", "record schema 'list', this version reads 1"),
        (lambda text: json.dumps(json.loads(text) | {"schema": 9}), "record schema 9, this version reads 1"),
        (
            lambda text: json.dumps(json.loads(text) | {"key": "f" * 16}),
            "is the record of job 'ffffffffffffffff'",
        ),
        (
            lambda text: json.dumps(json.loads(text) | {"accuracy": None}),
            "section 'accuracy': received None, input should be a valid list",
        ),
    ],
)
def test_damaged_record_is_one_line_with_a_remedy(
    tmp_path: Path, record: dict[str, Any], damage: Any, message: str
) -> None:
    store, key = JobStore(tmp_path), record["key"]
    commit(store, record, key)
    path = store.path(key) / "record.json"
    path.write_text(damage(path.read_text()))
    for look in (store.is_done, store.load):
        with pytest.raises(InputError, match=message) as caught:
            look(key)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
        assert f"delete the folder {store.path(key)} to run this job again" in str(caught.value)


def test_ranks_must_be_there_and_whole(tmp_path: Path, record: dict[str, Any]) -> None:
    store, key = JobStore(tmp_path), record["key"]
    commit(store, record, key)
    ranks = store.path(key) / "ranks.npz"
    whole = ranks.read_bytes()
    middle = len(whole) // 3
    for damaged in (whole[:-30], whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]):
        ranks.write_bytes(damaged)
        with pytest.raises(InputError, match=r"ranks\.npz is damaged: .*; delete the folder"):
            store.is_done(key)
    ranks.unlink()
    assert not store.is_done(key)
    commit(store, record, key)  # runs again and takes the place of the incomplete folder
    assert store.is_done(key)


@pytest.mark.parametrize("absent", ["record.json", "ranks.npz", "model"])
def test_incomplete_result_is_not_committed(tmp_path: Path, record: dict[str, Any], absent: str) -> None:
    store = JobStore(tmp_path)
    lock = begin(store, record["key"])
    write_result(store.work(record["key"]), record)
    path = store.work(record["key"]) / absent
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=f"{absent} is missing"):
        store.commit(record["key"], lock)
    assert not store.path(record["key"]).exists()


def test_one_writes_the_tables_at_a_time(tmp_path: Path) -> None:
    with (
        JobStore(tmp_path).open(),
        pytest.raises(InputError, match=r"another hiersrec bench has been writing here for 0\.1 s"),
        JobStore(tmp_path).open(patience=0.1),
    ):
        pass
    with JobStore(tmp_path).open(patience=0.1):
        pass


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"folder .*file/x cannot be written: Not a directory"):
        writable_folder(tmp_path / "file" / "x")
    with pytest.raises(InputError, match=r"cannot write .*absent/a\.csv: No such file"):
        write_text(tmp_path / "absent" / "a.csv", "x")


def test_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    write_text(path, "old")
    monkeypatch.setattr(atomic.os, "replace", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.csv"]


def make_folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "a").write_text(content)
    return path


def test_replace_folder_that_fails_half_way_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, new = make_folder(tmp_path / "target", "old"), make_folder(tmp_path / "new", "new")
    rename = atomic.os.rename

    def refuse_new(source: Path, goal: Path) -> None:
        if source == new:
            raise OSError("no")
        rename(source, goal)

    monkeypatch.setattr(atomic.os, "rename", refuse_new)
    with pytest.raises(OSError, match="no"):
        replace_folder(new, target)
    assert (target / "a").read_text() == "old"
    monkeypatch.undo()
    replace_folder(new, target)
    assert (target / "a").read_text() == "new"
    assert not backup_of(target).exists()


def test_recover_folder_after_a_kill_between_the_renames(tmp_path: Path) -> None:
    target = tmp_path / "target"
    make_folder(backup_of(target), "old")
    recover_folder(target)
    assert (target / "a").read_text() == "old"
    make_folder(backup_of(target), "older")
    recover_folder(target)
    assert (target / "a").read_text() == "old"
    assert not backup_of(target).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_damaged_note_of_what_was_skipped(tmp_path: Path, text: str) -> None:
    store = JobStore(tmp_path)
    assert store.skipped() == {}
    store.write_skipped({"a": "needs more"})
    assert store.skipped() == {"a": "needs more"}
    (tmp_path / "skipped.json").write_text(text)
    with pytest.raises(InputError, match=r"skipped\.json is damaged .*; run hiersrec bench again"):
        store.skipped()
