"""Kills, crowds, pauses, full disks: nothing is lost, torn, learned twice or not the same to the bit.

Real processes, real signals, a real full disk. With ``--full`` at the counts of docs/reliability.md (an hour or two).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import fsspec
import psutil
import pytest

from cl_ner_bench import load_results
from cl_ner_bench.storage import layout, leases
from cl_ner_bench.storage.checks import parse_manifest
from cl_ner_bench.storage.files import is_changed, remove_folder, sweep, write_record
from cl_ner_bench.storage.run_folder import commit_step
from cl_ner_bench.testing.grids import HASTE, METHODS, bench, finished, fresh_bench, start, until, write_inputs
from cl_ner_bench.testing.s3 import BUCKET, s3_server

pytestmark = pytest.mark.slow

Tell = Callable[[str], None]
Bench = Callable[..., subprocess.CompletedProcess[str]]

WORKER = "cl_ner_bench.running.worker"
LEAN = ("--bounds", "none", "--no-report")  # tables are compared as they would be written (`snapshot`)
COMPARED = ("runs/*/step-*/*.gz", "runs/*/step-*/counts.json", "*.csv", "*.csv.gz", "tables/*", "figures/*.csv")


def snapshot(out: Path) -> dict[str, bytes]:
    """Return all that must be the same in a results folder, by path; the costs of steps need not be."""
    files = (path for pattern in COMPARED for path in out.glob(pattern) if not path.name.startswith("cost-"))
    found = {str(path.relative_to(out)): path.read_bytes() for path in files}
    results = load_results(out)
    return found | {name: getattr(results, name).to_csv().encode() for name in ("counts", "scores", "summary")}


def written(out: Path) -> Iterator[Path]:
    """Yield the JSON files of runs and steps; a folder may be taken away while it is listed."""
    for folder in (*out.glob("runs/*"), *out.glob("runs/*/step-*")):
        with suppress(FileNotFoundError):
            yield from list(folder.glob("*.json"))


def torn(out: Path) -> list[str]:
    """Return the files under their final names that are incomplete or changed."""
    wrong = []
    for path in written(out):
        with suppress(FileNotFoundError):  # taken away while looking
            try:
                record = json.loads(path.read_bytes())
            except ValueError:
                wrong.append(str(path))
                continue
            if is_changed(record):
                wrong.append(str(path))
            found = parse_manifest(record, path) if path.name == layout.STEP_SUMS else None
            if found and not found.is_whole() and path.exists():
                wrong.append(str(path.parent))
    return wrong


@dataclass(frozen=True)
class Grid:
    """A command, and the folder ``expected`` that it leaves when nothing disturbs it."""

    words: tuple[str, ...]
    expected: Path
    learning: float  # seconds until all steps were learned
    whole: float  # seconds with tables and figures

    @classmethod
    def learned(cls, words: Sequence[str], out: Path, bench: Bench = bench) -> Grid:
        begin = time.monotonic()
        seconds = []
        for more in [("--no-report",)] if "--no-report" in words else [("--no-report",), ()]:
            done = bench(*words, *more, "--out", str(out), timeout=1200, extra=HASTE)
            assert done.returncode == 0, done.stderr
            seconds.append(time.monotonic() - begin)
        return cls(tuple(words), out, seconds[0], seconds[-1])

    def finish(self, out: Path) -> None:
        """Run the same command to its end: the folder is as if nothing had happened."""
        done = bench(*self.words, "--out", str(out), timeout=1200, extra=HASTE)
        assert done.returncode == 0, done.stderr
        self.check(out)

    def check(self, out: Path) -> None:
        expected, found = snapshot(self.expected), snapshot(out)
        differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        assert expected
        assert not differ, f"{out}: differ from the uninterrupted run"
        assert not torn(out), f"torn: {torn(out)}"
        left = [p for p in out.rglob("*") if p.suffix in (".tmp", ".checkpoint") or p.name.startswith(".")]
        assert not left, f"left behind: {left}"


# Kills


@pytest.mark.parametrize("encoder", ["tiny", pytest.param("minilm", marks=pytest.mark.full)])
def test_kills_at_random_moments_lose_nothing(encoder: str, tmp_path: Path, full: bool, figure: Tell) -> None:
    """SIGKILL at random moments of driver, worker or both, and the same command again, some times in a folder."""
    folder, (count, at_most) = tmp_path, ((20 if encoder == "minilm" else 200, 4) if full else (4, 4))
    words = ["run", *write_inputs(folder / "inputs"), "--methods", "spankl,extendner", "--bounds", "none"]
    if encoder == "minilm":
        words[words.index("--encoder") + 1] = encoder
    grid = Grid.learned([*words, "--jobs", "2", "--checkpoint-seconds", "0"], folder / "expected", fresh_bench)
    rng = random.Random(0 if full else 739)  # 739 aims at a worker, the driver and all
    done, hit, folders = 0, {"driver": 0, "worker": 0, "all": 0}, 0
    while done < count:
        out, known = folder / f"killed-{folders}", dict[Path, int]()
        folders += 1
        for _ in range(min(at_most, count - done)):
            short = rng.random() < 0.75  # most kills shall meet a step, some the report
            words = [*grid.words, *(["--no-report"] if short else []), "--out", str(out)]
            process = start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, grid.learning if short else grid.whole))
            hit[kill(process, rng.choice(list(hit)))] += 1
            process.wait()
            done += 1
            assert not torn(out), f"torn after a kill: {torn(out)}"
            unchanged = {path: at for path, at in finished(out).items() if path in known} == known
            assert unchanged, "a finished step was learned again"
            known = finished(out)
        grid.finish(out)
        assert {p: at for p, at in finished(out).items() if p in known} == known, "a finished step was learned again"
    who = ", ".join(f"{n} of {name}" for name, n in hit.items())
    figure(f"{done} kills ({who}) in {folders} folders")


def kill(process: subprocess.Popen[str], whom: str) -> str:
    """Send SIGKILL and return who was hit: all, where there is no worker to hit."""
    below = descendants(process)
    workers = [p for p in below if is_worker(p)]
    if whom == "worker" and not workers:
        whom = "all"
    victims = {"driver": [process], "worker": workers[:1], "all": [process, *below]}[whom]
    for victim in victims:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            victim.kill()
    if whom == "worker":  # the driver reports it and continues with the other run
        process.wait()
    return whom


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return WORKER in process.cmdline()
    return False


# Kills inside the writer

WRITER = """
import json, random, sys
from pathlib import Path
from cl_ner_bench.storage.files import write_record
from cl_ner_bench.storage.run_folder import commit_step
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
print("writing", flush=True)
for i in range(10**9):
    name = f"{seed}-{i}"
    write_record(folder / "run.json", {"schema": 1, "name": name, "filler": [name] * 20_000})
    counts, predictions = json.dumps({"filler": [name] * 50_000}).encode(), random.Random(name).randbytes(500_000)
    blobs = {"counts.json": counts, "predictions.jsonl.gz": predictions}
    commit_step(folder / f"step-{name}", name, {}, blobs)
"""


def test_kills_inside_the_writer_tear_nothing(tmp_path: Path, full: bool, figure: Tell) -> None:
    """SIGKILL while records and steps are written, with a reader beside it all the time."""
    folder, count = tmp_path, 500 if full else 20
    rng, steps, over = random.Random(0), 0, threading.Event()
    target = folder / "runs" / "run"
    seen: list[str] = []
    looks = 0

    def read() -> None:
        nonlocal looks
        while not over.is_set():
            try:
                seen.extend(torn(folder))
            except Exception as error:
                seen.append(f"a file that cannot be read: {error!r}")
            looks += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(count):
            process = subprocess.Popen([sys.executable, "-c", WRITER, str(target), str(n)], stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.3))
            process.kill()
            process.communicate()
            sweep(folder)
            assert not list(folder.rglob("*.tmp")), "a temporary stayed"
            assert not torn(folder), f"torn: {torn(folder)}"
            written = list(target.glob("step-*"))
            steps += len(written)
            for step in written:
                remove_folder(step)
    finally:
        over.set()
        reader.join()
    assert not seen, f"a reader met {seen}"
    assert steps > 0, "no step was written: the kills came too early"
    figure(f"{count} kills inside the writer, {steps} steps written, {looks} looks of the reader")


def test_what_is_lost_or_torn_would_be_found(tmp_path: Path) -> None:
    step = tmp_path / "runs" / "run" / "step-1"
    write_record(step.parent / "run.json", {"schema": 1, "status": "done"})
    commit_step(step, "key", {}, {"counts.json": b"{}"})
    assert torn(tmp_path) == []
    (step / "counts.json").write_bytes(b"{")
    assert {Path(found) for found in torn(tmp_path)} == {step / "counts.json", step}
    (step / "counts.json").write_bytes(b"{}")
    record = step.parent / "run.json"
    record.write_bytes(record.read_bytes().replace(b"done", b"gone"))
    assert torn(tmp_path) == [str(record)]


# Many drivers on one folder


def test_a_crowd_of_drivers_learns_every_step_once(
    tmp_path: Path, full: bool, figure: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several drivers run one grid in one folder at the same time."""
    folder, (processes, orders, seeds) = tmp_path, (8, "0,1", 40) if full else (3, "0", 1)
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:counted,a={METHODS}:counted"]
    words += ["--set", "a.weight=2", *LEAN, "--orders", orders, "--jobs", "1", "--quiet"]
    words += ["--seeds", ",".join(map(str, range(seeds)))]
    monkeypatch.setenv("LEARNED", str(folder / "expected.log"))
    grid = Grid.learned([*words, "--jobs", "2"], folder / "expected")
    steps = len(finished(grid.expected))
    monkeypatch.setenv("LEARNED", str(folder / "learned.log"))
    out = folder / "out"
    drivers = [start(*words, "--out", str(out), stdout=subprocess.DEVNULL) for _ in range(processes)]
    for driver in drivers:
        said = driver.communicate(timeout=3600)[1]
        assert driver.returncode == 0, said
    grid.check(out)
    learned = (folder / "learned.log").read_text().splitlines()
    assert len(learned) == steps, f"{len(learned)} times a step was learned; there are {steps}"
    assert steps == (12 if full else 6) * seeds
    figure(f"{processes} processes, one folder, {steps} steps")


def test_a_paused_owner_is_followed_and_harms_nothing_when_it_wakes_up(
    tmp_path: Path, full: bool, figure: Tell
) -> None:
    """An owner is paused (SIGSTOP), its run is taken over, and it wakes up when that is finished.

    Unless ``full``, its leases are made as old as they would become: nobody waits.
    """
    folder = tmp_path
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:slow", *LEAN]
    grid = Grid.learned([*words, "--jobs", "1", "--checkpoint-seconds", "0"], folder / "expected")
    out = folder / "out"
    first = start(*grid.words, "--out", str(out), start_new_session=True)
    until(lambda: finished(out))
    sleepers = [psutil.Process(first.pid), *descendants(first)]
    for sleeper in sleepers:
        sleeper.suspend()
    if not full:
        for lease in out.glob("leases/*"):
            os.utime(lease, (time.time() - leases.ABANDONED,) * 2)
    before, begin = finished(out), time.monotonic()
    second = start(*grid.words, "--out", str(out), extra=HASTE)
    until(lambda: len(finished(out)) > len(before), 300)
    taken = time.monotonic() - begin
    said = second.communicate(timeout=300)[1]
    assert second.returncode == 0, said
    stored = finished(out)
    for sleeper in sleepers:
        sleeper.resume()
    said = first.communicate(timeout=300)[1]
    assert first.returncode == 0, said
    assert finished(out) == stored, "the owner that woke up stored a step again"
    grid.check(out)
    assert taken < leases.ABANDONED + 60, f"taken over only after {taken:.0f} s"
    figure(f"a paused owner's run was taken over and had its next step after {taken:.0f} s")


# An object store


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_machines_without_a_shared_folder_lose_nothing(tmp_path: Path, full: bool, figure: Tell) -> None:
    """Machines meet in an S3 server: one dies for good, the server is silent for a while and refuses connections for
    another, and a machine that comes last finds everything."""
    folder, (machines, seeds, silent, refused) = tmp_path, (3, 4, 20, 40) if full else (2, 1, 3, 8)
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:slow", *LEAN]
    words += ["--orders", "0,1", "--seeds", ",".join(map(str, range(seeds))), "--jobs", "1"]
    grid = Grid.learned([*words, "--checkpoint-seconds", "0"], folder / "expected")
    with s3_server() as server:
        environment = server.environment

        def join(name: str) -> subprocess.Popen[str]:
            more = ["--store", f"s3://{BUCKET}/grid", "--out", str(folder / name)]
            return start(*grid.words, *more, extra=environment, start_new_session=True)

        drivers = [join(f"machine-{n}") for n in range(machines)]
        dies, *others = drivers
        until(lambda: len(finished(folder / "machine-0")) >= 2 and any(folder.glob("machine-0/store/*.checkpoint")))
        for process in [*descendants(dies), psutil.Process(dies.pid)]:
            process.kill()
        dies.communicate()
        before = published(environment)
        server.process.suspend()
        time.sleep(silent)
        server.process.resume()
        until(lambda: len(published(environment)) > len(before))
        server.shut()
        time.sleep(refused)
        server.open()
        for driver in others:
            said = driver.communicate(timeout=1200)[1]
            assert driver.returncode == 0, said
        after = published(environment)
        lost = {way for way, told in before.items() if after.get(way) != told}
        assert not lost, f"finished steps were replaced: {lost}"
        late = join("late")
        said = late.communicate(timeout=300)[1]
        assert (late.returncode, " 0 steps to learn" in said) == (0, True), said
    for name in (*(f"machine-{n}" for n in range(1, machines)), "late"):
        grid.check(folder / name)
    assert len(after) == 6 * seeds
    figure(f"{machines} machines, {silent:g} s without an answer, {refused:g} s refused, {len(after)} steps")


def published(environment: dict[str, str]) -> dict[str, str]:
    """Return the sha256 of each finished step's record in the store."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        store = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        steps = [way for way in store.find(BUCKET) if way.endswith("/step.json")]
        return {way: hashlib.sha256(store.cat_file(way)).hexdigest() for way in steps}


# Disks


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small file system (needs root)."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def assert_refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_reported_and_harms_nothing(tmp_path: Path) -> None:
    """A disk too small from the start, one that fills up in the middle, and one that cannot be written."""
    folder = tmp_path
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:slow", *LEAN]
    grid = Grid.learned([*words, "--jobs", "1"], folder / "expected")
    with disk(folder / "small", "2m") as small:
        done = bench(*words, "--out", str(small / "out"))
        assert_refused(done, "are free")
        assert not list(small.rglob("run.json")), "something was learned"
    with disk(folder / "filling", "80m") as filling:
        out = filling / "out"
        process = start(*grid.words, "--out", str(out))
        until(lambda: finished(out))
        with suppress(OSError), (filling / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        said = "".join(process.communicate(timeout=300))
        assert process.returncode in (1, 2), said
        assert "No space left" in said
        assert "Traceback" not in said
        assert not torn(out), f"torn: {torn(out)}"
        before = finished(out)
        assert before, "what was finished is gone"
        (filling / "filler").unlink()
        grid.finish(out)
        assert {p: at for p, at in finished(out).items() if p in before} == before, "a step was learned again"
        subprocess.run(["mount", "-o", "remount,ro", str(filling)], check=True)
        done = bench(*words, "--seeds", "1", "--out", str(out))
        assert_refused(done, "Read-only")
    (folder / "file").write_text("")
    done = bench(*words, "--out", str(folder / "file"))
    assert_refused(done, "pass another --out")
