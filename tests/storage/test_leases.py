"""Leases: one owner at a time, a dead or silent one is followed by another, and a former owner harms nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cl_ner_bench.storage import leases
from cl_ner_bench.storage.files import host
from cl_ner_bench.storage.leases import LocalLeaseFiles

NAME = "a-run.v1+x"  # names of runs hold such letters


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def put(out: Path, n: int, age: float = 0, at: str = "elsewhere", pid: int = 1) -> Path:
    """A lease as another process on another machine left it ``age`` seconds ago."""
    path = out / "leases" / f"{NAME}.{n}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"schema": 1, "token": f"other-{n}", "host": at, "pid": pid}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_one_owner_until_it_gives_the_lease_back(tmp_path: Path) -> None:
    lease = leases.acquire(LocalLeaseFiles(tmp_path), NAME)
    assert lease is not None
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is None
    assert leases.acquire(LocalLeaseFiles(tmp_path), "a-run") is not None, (
        "another name, though this one begins with it"
    )
    owner = leases.holder(LocalLeaseFiles(tmp_path), NAME)
    assert owner is not None
    assert (owner["host"], owner["pid"]) == (host(), os.getpid())
    lease.release()
    assert leases.holder(LocalLeaseFiles(tmp_path), NAME) is None
    with leases.wait(LocalLeaseFiles(tmp_path), NAME) as again:
        assert not again.lost
    LocalLeaseFiles(tmp_path).tidy()


def test_the_folder_of_leases_goes_when_it_is_empty(tmp_path: Path) -> None:
    with leases.wait(LocalLeaseFiles(tmp_path), NAME):
        LocalLeaseFiles(tmp_path).tidy()
        assert (tmp_path / "leases").is_dir()
    LocalLeaseFiles(tmp_path).tidy()
    assert not (tmp_path / "leases").exists()
    LocalLeaseFiles(tmp_path).tidy()


def test_a_dead_owner_on_this_machine_is_followed_at_once(tmp_path: Path, dead: int) -> None:
    old = put(tmp_path, 3, at=host(), pid=dead)
    lease = leases.acquire(LocalLeaseFiles(tmp_path), NAME)
    assert lease is not None
    assert [path.name for path in old.parent.iterdir()] == [f"{NAME}.4"]


def test_a_silent_owner_is_followed_when_its_time_is_over(tmp_path: Path) -> None:
    put(tmp_path, 1, age=leases.ABANDONED - 20)
    assert leases.holder(LocalLeaseFiles(tmp_path), NAME) is not None
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is None
    put(tmp_path, 1, age=leases.ABANDONED + 5)
    assert leases.holder(LocalLeaseFiles(tmp_path), NAME) is None
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is not None


def test_a_paused_owner_on_this_machine_is_followed_too(tmp_path: Path) -> None:
    put(tmp_path, 1, age=leases.ABANDONED + 5, at=host(), pid=os.getpid())
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is not None


def test_an_owner_touches_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT", 0.02)
    with leases.wait(LocalLeaseFiles(tmp_path), NAME):
        (path,) = (tmp_path / "leases").iterdir()
        os.utime(path, (0, 0))
        end = time.monotonic() + 30
        while path.stat().st_mtime < 1:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_former_owner_knows_it_and_takes_nothing_away(tmp_path: Path) -> None:
    former = leases.acquire(LocalLeaseFiles(tmp_path), NAME)
    assert former is not None
    (path,) = (tmp_path / "leases").iterdir()
    os.utime(path, (0, 0))  # it was paused
    lease = leases.acquire(LocalLeaseFiles(tmp_path), NAME)
    assert lease is not None
    assert former.lost
    assert not lease.lost
    former.release()
    assert not lease.lost
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is None


def test_the_highest_number_counts(tmp_path: Path) -> None:
    """One that created a lower number saw an older state of the folder."""
    lease = leases.acquire(LocalLeaseFiles(tmp_path), NAME)
    assert lease is not None
    other = put(tmp_path, 2)
    assert lease.lost
    lease.release()
    assert other.exists()
    for n in (9, 10):
        put(tmp_path, n)
    assert (leases.holder(LocalLeaseFiles(tmp_path), NAME) or {})["token"] == "other-10", "numbers are no texts"


def test_an_older_state_of_the_folder_gives_no_second_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create: Callable[[Path, bytes], bool] = leases.create

    def late(path: Path, data: bytes) -> bool:
        put(tmp_path, 7)  # in the meantime
        return create(path, data)

    monkeypatch.setattr(leases, "create", late)
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is None
    assert [path.name for path in (tmp_path / "leases").iterdir()] == [f"{NAME}.7"]


def test_a_garbled_lease_counts_until_its_time_is_over(tmp_path: Path) -> None:
    path = put(tmp_path, 1)
    path.write_bytes(b"\x00{")
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is None
    os.utime(path, (0, 0))
    assert leases.acquire(LocalLeaseFiles(tmp_path), NAME) is not None


def test_of_many_one_gets_it(tmp_path: Path) -> None:
    got: list[leases.Lease] = []
    barrier = threading.Barrier(16)

    def take() -> None:
        barrier.wait()
        if (lease := leases.acquire(LocalLeaseFiles(tmp_path), NAME)) is not None:
            got.append(lease)

    for _ in range(20):
        threads = [threading.Thread(target=take) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        got.pop().release()


def test_waiting_ends(tmp_path: Path) -> None:
    with leases.wait(LocalLeaseFiles(tmp_path), NAME), pytest.raises(TimeoutError, match="another process"):
        leases.wait(LocalLeaseFiles(tmp_path), NAME, seconds=0.1)
