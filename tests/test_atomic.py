"""A lock file that its holder removes keeps others out all the same."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from recbole_hiersrec import atomic
from recbole_hiersrec.errors import InputError


def test_who_waited_for_a_lock_that_was_removed_holds_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, inside, let_go = tmp_path / "out", threading.Event(), threading.Event()
    refused = threading.Event()
    real = atomic.try_lock

    def noting(descriptor: int) -> bool:
        got = real(descriptor)
        if not got:
            refused.set()
        return got

    monkeypatch.setattr(atomic, "try_lock", noting)

    def wait_and_work() -> None:
        with atomic.alone_with(target, "publication", patience=60.0):
            inside.set()
            assert let_go.wait(60)

    waiting = threading.Thread(target=wait_and_work)
    try:
        with atomic.alone_with(target, "publication", patience=0.0):
            waiting.start()
            assert refused.wait(60)  # its descriptor is of the file that is about to go
        assert inside.wait(60)
        with (
            pytest.raises(InputError, match=r"out: another publication is at work here; wait for it to end"),
            atomic.alone_with(target, "publication", patience=0.0),
        ):
            pass
    finally:
        let_go.set()
        waiting.join(60)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_between_opening_and_locking_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "lock", atomic.try_lock

    def just_removed(descriptor: int) -> bool:
        monkeypatch.setattr(atomic, "try_lock", real)
        path.unlink()
        return real(descriptor)

    monkeypatch.setattr(atomic, "try_lock", just_removed)
    with (
        atomic.locked(path, 0.0, "busy"),
        pytest.raises(InputError, match="busy"),
        atomic.locked(path, 0.0, "busy"),
    ):
        pass
