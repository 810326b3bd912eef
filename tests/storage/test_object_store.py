"""Object stores: the parts on fsspec's own store in memory, the whole on a real S3 server in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from cl_ner_bench.cli import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.checkpoint import CheckpointFile
from cl_ner_bench.storage import layout, leases, object_store
from cl_ner_bench.storage.files import read_json, read_record, remove_folder, sealed, write_json, write_record
from cl_ner_bench.storage.folder import Checkpoints, Models, ResultsFolder
from cl_ner_bench.storage.object_store import BucketMirror
from cl_ner_bench.storage.run_folder import commit_step, finished_step
from cl_ner_bench.storage.shared import StoreError
from cl_ner_bench.testing.grids import (
    HASTE,
    METHODS,
    bench,
    finished,
    fresh_bench,
    records,
    start,
    stored,
    until,
    write_inputs,
)
from cl_ner_bench.testing.results import run_record
from cl_ner_bench.testing.s3 import BUCKET, s3_server

URL = "memory://grid"
NAME = "a-run"
LOOPBACK = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def one(tmp_path: Path) -> BucketMirror:
    return BucketMirror(tmp_path / "one", URL)


@pytest.fixture
def other(tmp_path: Path) -> BucketMirror:
    """Another machine's copy."""
    return BucketMirror(tmp_path / "other", URL)


def step(of: BucketMirror, key: str = "key", seconds: float = 1.0, name: str = "step-1") -> Path:
    """A finished step; what it cost is not the same on every machine."""
    folder = of.home / "runs" / "run" / name
    commit_step(folder, key, {"seconds": seconds}, {"counts.json": b"{}\n", "predictions.jsonl.gz": b"zipped"})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Steps and models


def test_what_is_published_is_had_by_others(one: BucketMirror, other: BucketMirror) -> None:
    folder = step(one)
    one.publish(folder)
    write_record(folder.parent / "run.json", {"schema": 1, "status": "done"})
    one.put(folder.parent / "run.json")
    other.pull()
    assert contents(other.home / "runs" / "run" / "step-1") == contents(folder)
    assert read_record(other.home / "runs" / "run" / "run.json") == {"schema": 1, "status": "done"}


def test_the_first_wins_and_a_late_owner_has_what_won(one: BucketMirror, other: BucketMirror) -> None:
    first, late = step(one, seconds=1), step(other, seconds=2)
    one.publish(first)
    other.publish(late)
    assert contents(late) == contents(first)
    found = finished_step(late, "key")
    assert found is not None
    assert found.learned == {"seconds": 1}


def test_nobody_has_a_part_of_what_was_not_finished(one: BucketMirror, other: BucketMirror, monkeypatch: Any) -> None:
    monkeypatch.setattr(one._client, "create", lambda *_: pytest.fail("killed before the record was put"))
    with pytest.raises(pytest.fail.Exception):
        one.publish(step(one))
    other.pull()
    assert not (other.home / "runs" / "run" / "step-1").exists()
    assert not other.holds(other.home / "runs" / "run" / "step-1")


@pytest.mark.parametrize("way", ["counts", "record"])
def test_what_was_damaged_in_the_store_is_replaced(way: str, one: BucketMirror, other: BucketMirror) -> None:
    folder = step(one)
    one.publish(folder)
    fs = fsspec.filesystem("memory")
    found = finished_step(folder, "key")
    assert found is not None
    (sha256,) = found.files.sums["counts.json"]
    name = sha256 if way == "counts" else "step.json"
    path = f"/grid/runs/run/step-1/{name}"
    fs.pipe_file(path, fs.cat_file(path)[:-2] + b" \n")
    other.fetch(other.home / "runs" / "run" / "step-1")
    assert not (other.home / "runs" / "run" / "step-1").exists()
    assert not list(other.home.rglob("*.tmp"))
    again = step(other, seconds=3)
    other.publish(again)
    third = BucketMirror(one.home.with_name("third"), URL)
    third.pull()
    assert contents(third.home / "runs" / "run" / "step-1") == contents(again)


def test_a_step_of_other_settings_gives_way(one: BucketMirror, other: BucketMirror) -> None:
    one.publish(step(one, key="old"))
    other.publish(step(other, key="new"))
    assert finished_step(other.home / "runs" / "run" / "step-1", "new")


def test_models_are_had_where_they_are_needed_and_dropped_for_all(one: BucketMirror, other: BucketMirror) -> None:
    Models(one).save("aa", lambda folder: (folder / "model.safetensors").write_bytes(b"weights") and None)
    there = Models(other).path("aa")
    assert other.holds(there)
    assert not there.exists(), "a model is large: it is fetched where it is needed"
    models = Models(other)
    assert models.load("aa", lambda folder: (folder / "model.safetensors").read_bytes()) == b"weights"
    models.pin(["aa"])
    models.drop("aa")
    assert there.exists(), "another run starts from it"
    Models(other).drop("aa")
    assert not there.exists()
    assert not Models(BucketMirror(one.home.with_name("third"), URL)).holds("aa")
    assert not fsspec.filesystem("memory").find("/grid/store")


def test_a_run_that_is_set_aside_stays_here_and_is_gone_for_others(tmp_path: Path) -> None:
    """Of its models those that another run has stay."""
    one, other = (ResultsFolder(tmp_path / name, URL) for name in ("one", "other"))

    def write_model(folder: Path) -> None:
        (folder / "model.json").write_text("{}")

    old = run_record(1, run_id="old", step_keys={"1": "aa"})
    for record in (
        old,
        run_record(1, run_id="twin", seed=1, step_keys={"1": "aa"}),
        run_record(1, step_keys={"1": "bb"}),
    ):
        run = one.run(record.run_id)
        run.commit(1, record.step_keys["1"], {}, {}, b"")
        run.save(record)
        one.models.save(record.step_keys["1"], write_model)
    one.set_aside(old)
    other.pull()
    assert {*one.runs} == {*other.runs} == {"twin", "x"}
    assert (one.replaced / "old" / "step-1" / "step.json").is_file()
    assert one.models.holds("aa")
    one.set_aside(one.runs["twin"])
    assert not one.models.holds("aa"), "nobody has it any more"
    assert one.models.holds("bb")


def test_a_checkpoint_is_gone_on_from_elsewhere(one: BucketMirror, other: BucketMirror) -> None:
    state: dict[str, Any] = {"epoch": 3}
    CheckpointFile(Checkpoints(one), "aa", 0).save({"w": torch.ones(3)}, state)
    kept = CheckpointFile(Checkpoints(other), "aa", 0)
    found = kept.load()
    assert found is not None
    assert found[0]["w"].tolist() == [1, 1, 1]
    assert found[1] == state
    kept.drop()
    assert not fsspec.filesystem("memory").find("/grid/store")


def test_what_a_folder_had_before_is_published(one: BucketMirror, other: BucketMirror) -> None:
    step(one)
    damaged = step(one, name="step-2")
    (damaged / "counts.json").write_bytes(b"{")
    write_record(one.home / "runs" / "run" / "run.json", {"schema": 1, "status": "failed"})
    one.push()
    other.pull()
    assert (other.home / "runs" / "run" / "run.json").exists()
    assert [path.name for path in sorted(other.home.glob("runs/run/step-*"))] == ["step-1"], "a damaged one is not told"


def test_records_of_running_runs_are_left_alone(one: BucketMirror, other: BucketMirror) -> None:
    for state, machine in (("old", one), ("new", other)):
        write_record(machine.home / "runs" / "run" / "run.json", {"schema": 1, "status": state})
    one.put(one.home / "runs" / "run" / "run.json")
    other.pull(leave=["run"])
    assert (read_record(other.home / "runs" / "run" / "run.json") or {})["status"] == "new"
    other.pull()
    assert (read_record(other.home / "runs" / "run" / "run.json") or {})["status"] == "old"


def test_progress_is_gone_when_it_is_gone_in_the_store(one: BucketMirror, other: BucketMirror) -> None:
    file = one.home / "runs" / "run" / layout.PROGRESS
    write_json(file, {"step": 1})
    one.put(file)
    other.pull()
    assert read_json(other.home / "runs" / "run" / layout.PROGRESS) == {"step": 1}
    one.remove(file)
    other.pull()
    assert not (other.home / "runs" / "run" / layout.PROGRESS).exists()


def test_nothing_in_a_store_leads_out_of_the_folder(one: BucketMirror, other: BucketMirror, monkeypatch: Any) -> None:
    """Not the names of objects, and not the names in records."""
    record = sealed({"schema": 1, "key": "k", "sha256": {"../../../escaped": "a" * 64}, "learned": {}})
    folder = one.home / "runs" / "run" / "step-1"
    write_json(folder / "step.json", record)
    one._client.upload(folder / "step.json", "runs/run/step-1/step.json")
    one._client.write("runs/run/step-1/" + "a" * 64, b"evil")
    ways = ["runs/../../escaped/run.json", "runs/x/../../../escaped/step-1/step.json", "runs/run/step-1/step.json"]
    monkeypatch.setattr(other._client, "list", lambda _: {way: {} for way in ways})
    monkeypatch.setattr(other._client, "read_all", lambda found: dict.fromkeys(found, one._client.read(ways[-1])))
    other.pull()
    assert [path.relative_to(other.home.parent) for path in other.home.parent.rglob("*escaped*")] == []
    assert not (other.home / "runs" / "run" / "step-1").exists()


# Leases


def test_one_owner_until_it_gives_the_lease_back(one: BucketMirror, other: BucketMirror) -> None:
    lease = leases.acquire(one.leases, NAME)
    assert lease is not None
    assert leases.acquire(other.leases, NAME) is None
    assert (leases.holder(other.leases, NAME) or {})["pid"] == os.getpid()
    assert not lease.lost
    lease.release()
    assert leases.holder(other.leases, NAME) is None
    assert not fsspec.filesystem("memory").find("/grid"), "nothing is left, no clock either"


def test_a_silent_owner_is_followed_and_knows_it(one: BucketMirror, other: BucketMirror, monkeypatch: Any) -> None:
    former = leases.acquire(one.leases, NAME)
    assert former is not None
    monkeypatch.setattr(leases, "ABANDONED", 0.2)
    time.sleep(0.3)
    lease = leases.acquire(other.leases, NAME)
    assert lease is not None
    monkeypatch.setattr(object_store.BucketLeaseFiles, "lag", 0.0)
    assert former.lost
    assert not lease.lost
    former.release()
    assert not lease.lost
    lease.release()


@pytest.mark.slow
def test_an_owner_touches_its_lease_and_tells_how_far_it_is(one: BucketMirror, monkeypatch: Any) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT", 0.05)
    told = threading.Event()
    with leases.wait(one.leases, NAME) as lease:
        lease.on_touch = told.set
        written = one._client.written(f"leases/{NAME}.1")
        assert written is not None
        assert told.wait(30)
        assert (one._client.written(f"leases/{NAME}.1") or 0) > written


def test_an_owner_elsewhere_counts_while_its_lease_is_young(one: BucketMirror, other: BucketMirror) -> None:
    one.leases.create(f"{NAME}.1", b'{"schema": 1, "token": "t", "host": "far", "pid": 1}')
    assert leases.acquire(other.leases, NAME) is None
    assert (leases.holder(other.leases, NAME) or {})["host"] == "far"


# What a store must be


class Careless(MemoryFileSystem):
    """Knows no conditional writes, like old S3 servers."""

    protocol = "careless"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> Any:
        return super().pipe_file(path, value, mode="overwrite", **options)


def test_a_store_that_writes_over_what_is_there_is_refused(tmp_path: Path) -> None:
    fsspec.register_implementation("careless", Careless, clobber=True)
    with pytest.raises(UserError, match="overwrites an object that was to be created only if it does not exist"):
        BucketMirror(tmp_path, "careless://grid").check()
    BucketMirror(tmp_path, URL).check()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://bucket/grid", "the package gcsfs is not installed; pip install gcsfs"),
        ("sftp://me:secret@host/grid", "error: --store: holds a password"),
        ("s4://bucket/grid", "Protocol not known: s4; expected a URL as s3://bucket/name"),
    ],
)
def test_a_url_that_names_no_store_is_told(url: str, said: str, tmp_path: Path, capsys: Any) -> None:
    assert main.main(["run", "--store", url, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_error_of_the_store_is_told_as_one(one: BucketMirror, monkeypatch: Any) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("slow down")

    monkeypatch.setattr(one._client._fs, "find", refuse)
    with pytest.raises(StoreError, match=re.escape("--store memory://grid: slow down")):
        one.pull()
    assert isinstance(StoreError("x"), OSError), "leases go on where a place cannot be reached"


def test_without_a_store_the_folder_is_all_there_is(tmp_path: Path) -> None:
    folder = ResultsFolder.open(tmp_path)
    assert folder is ResultsFolder.open(tmp_path)
    assert not isinstance(folder._shared, BucketMirror)


# The whole, on a server that speaks S3


@pytest.mark.slow
@LOOPBACK
def test_of_many_at_once_one_wins_and_one_owns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        machines = [BucketMirror(tmp_path / str(n), f"s3://{BUCKET}/many") for n in range(8)]
        for _ in range(10):
            race(machines)


def race(machines: list[BucketMirror]) -> None:
    folders = [step(machine, seconds=n) for n, machine in enumerate(machines)]
    barrier = threading.Barrier(len(machines))

    owners: list[leases.Lease] = []

    def publish(machine: BucketMirror, folder: Path) -> None:
        barrier.wait()
        machine.publish(folder)
        barrier.wait()
        if (lease := leases.acquire(machine.leases, NAME)) is not None:
            owners.append(lease)

    threads = [threading.Thread(target=publish, args=pair) for pair in zip(machines, folders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(contents(folder) == contents(folders[0]) for folder in folders)
    assert len(owners) == 1
    owners[0].release()
    machines[0].drop(folders[0])
    for folder in folders:
        remove_folder(folder)


@pytest.mark.slow
@LOOPBACK
def test_a_grid_in_a_store_is_stopped_watched_and_gone_on_with(tmp_path: Path) -> None:
    words = ["run", *write_inputs(tmp_path / "inputs"), "--methods", f"{METHODS}:slow", "--bounds", "none"]
    words += ["--no-report", "--checkpoint-seconds", "0"]
    with s3_server() as server:
        environment = server.environment
        there = ["--store", f"s3://{BUCKET}/grid"]
        driver = start(*words, *there, "--out", str(tmp_path / "one"), extra=environment | {"PAUSE": "1.5"})
        until(lambda: len(finished(tmp_path / "one")) == 1)
        seen = bench("status", str(tmp_path / "watched"), *there, extra=environment)
        assert (seen.returncode, "1 running" in seen.stdout) == (0, True), seen
        driver.send_signal(signal.SIGINT)
        assert driver.wait(30) == 130
        assert "same command again" in driver.communicate()[1]
        done = fresh_bench(*words, *there, "--out", str(tmp_path / "two"), extra=environment | HASTE)
        assert done.returncode == 0, done.stderr
        assert re.search(r" [12] steps? to learn", done.stderr), "step 1 was published"
        assert records(tmp_path / "two")["slow"]["status"] == "done"
        wrong = bench(*words, "--store", "s3://nowhere/grid", "--out", str(tmp_path / "no"), extra=environment)
        assert (wrong.returncode, wrong.stderr) == (
            2,
            "error: --store s3://nowhere/grid: The specified bucket does not exist\n",
        )
        server.shut()
        gone = bench(*words, *there, "--out", str(tmp_path / "two"), extra=environment)
        assert gone.returncode == 2
        assert gone.stderr.startswith(f"error: --store s3://{BUCKET}/grid: ")
        assert gone.stderr.count("\n") == 1
    alone = bench(*words, "--out", str(tmp_path / "alone"), extra=HASTE)
    assert alone.returncode == 0, alone.stderr
    assert stored(tmp_path / "two") == stored(tmp_path / "alone")
