"""What becomes of results when processes are killed, paused, multiplied or run out of disk; docs/reliability.md.

    python -m benchmarks.faults                  # every fault at full count: an hour or two
    python -m benchmarks.faults kills --count 20
    python -m benchmarks.faults kills --minilm   # with the offline encoder instead of a two-layer BERT

Real processes, real signals, a real full disk. Each fault prints its figure and ends with exit code 1 where something
was lost, torn, learned twice or not the same to the bit. ``tests/system/test_faults.py`` runs them at a reduced count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cl_ner_bench import load_results
from cl_ner_bench.storage import layout, leases, manifest
from cl_ner_bench.storage.atomic import remove_folder, sweep
from cl_ner_bench.storage.json_files import is_changed
from cl_ner_bench.testing.grids import METHODS, bench, start, write_inputs
from cl_ner_bench.testing.s3 import BUCKET, s3_server

WORKER = "cl_ner_bench.running.worker"
LEAN = ("--bounds", "none", "--no-report")  # tables are compared as they would be written (`snapshot`)
COMPARED = ("runs/*/step-*/*.gz", "runs/*/step-*/counts.json", "*.csv", "*.csv.gz", "tables/*", "figures/*.csv")


def require(holds: object, what: str) -> None:
    """An assertion that stays when Python is asked to drop assertions."""
    if not holds:
        raise AssertionError(what)


def snapshot(out: Path) -> dict[str, bytes]:
    """Everything of a results folder that must be the same, by its path; what steps cost is not."""
    files = (path for pattern in COMPARED for path in out.glob(pattern) if not path.name.startswith("cost-"))
    found = {str(path.relative_to(out)): path.read_bytes() for path in files}
    results = load_results(out)
    return found | {name: getattr(results, name).to_csv().encode() for name in ("counts", "scores", "summary")}


def written(out: Path) -> Iterator[Path]:
    """The JSON files of runs and steps, but for a folder that is taken away while it is listed."""
    for folder in (*out.glob("runs/*"), *out.glob("runs/*/step-*")):
        with suppress(FileNotFoundError):
            yield from list(folder.glob("*.json"))


def torn(out: Path) -> list[str]:
    """Files under their final name that are not whole, or not what was written."""
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
            found = manifest.parse(record, path) if path.name == layout.STEP_SUMS else None
            if found and not found.is_whole() and path.exists():
                wrong.append(str(path.parent))
    return wrong


def finished(out: Path) -> dict[Path, int]:
    """When each finished step was stored."""
    return {path: path.stat().st_mtime_ns for path in out.glob(f"runs/*/step-*/{layout.STEP_SUMS}")}


@dataclass(frozen=True)
class Grid:
    """A command, and what it leaves in the folder ``expected`` when nothing disturbs it."""

    words: tuple[str, ...]
    expected: Path
    learning: float  # seconds until all steps were learned
    whole: float  # seconds with tables and figures

    @classmethod
    def learned(cls, words: Sequence[str], out: Path) -> Grid:
        begin = time.monotonic()
        seconds = []
        for more in [("--no-report",)] if "--no-report" in words else [("--no-report",), ()]:
            done = bench(*words, *more, "--out", str(out), timeout=1200)
            require(done.returncode == 0, done.stderr)
            seconds.append(time.monotonic() - begin)
        return cls(tuple(words), out, seconds[0], seconds[-1])

    def finish(self, out: Path) -> None:
        """The same command again, to its end: everything is as if nothing had happened."""
        done = bench(*self.words, "--out", str(out), timeout=1200)
        require(done.returncode == 0, done.stderr)
        self.check(out)

    def check(self, out: Path) -> None:
        expected, found = snapshot(self.expected), snapshot(out)
        differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        require(expected and not differ, f"{out}: differ from the uninterrupted run: {differ}")
        require(not torn(out), f"torn: {torn(out)}")
        left = [p for p in out.rglob("*") if p.suffix in (".tmp", ".checkpoint") or p.name.startswith(".")]
        require(not left, f"left behind: {left}")


def two_methods(folder: Path, minilm: bool = False) -> Grid:
    """Two methods, three steps each, that share nothing."""
    words = ["run", *write_inputs(folder / "inputs"), "--methods", "spankl,extendner", "--bounds", "none"]
    if minilm:
        words[words.index("--encoder") + 1] = "minilm"
    return Grid.learned([*words, "--jobs", "2", "--checkpoint-seconds", "0"], folder / "expected")


# Kills


def kills(folder: Path, count: int = 200, minilm: bool = False, at_most: int = 4) -> str:
    """SIGKILL at random moments of driver, worker or all, and the same command again; ``at_most`` in a folder."""
    grid, rng = two_methods(folder, minilm), random.Random(0)
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
            require(not torn(out), f"torn after a kill: {torn(out)}")
            unchanged = {path: at for path, at in finished(out).items() if path in known} == known
            require(unchanged, "a finished step was learned again")
            known = finished(out)
        grid.finish(out)
        require({p: at for p, at in finished(out).items() if p in known} == known, "a finished step was learned again")
        say(f"{done} of {count} kills")
    who = ", ".join(f"{n} of {name}" for name, n in hit.items())
    return f"{done} kills ({who}) in {folders} folders: all end byte-identical, 0 torn files, 0 steps learned again"


def kill(process: subprocess.Popen[str], whom: str) -> str:
    """SIGKILL; returns who was hit: a worker that is not there stands for all."""
    below = descendants(process)
    workers = [p for p in below if is_worker(p)]
    if whom == "worker" and not workers:
        whom = "all"
    victims = {"driver": [process], "worker": workers[:1], "all": [process, *below]}[whom]
    for victim in victims:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            victim.kill()
    if whom == "worker":  # the driver tells of it, and goes on with the other run
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
from cl_ner_bench.storage.json_files import write_record
from cl_ner_bench.storage.steps import commit_step
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
print("writing", flush=True)
for i in range(10**9):
    name = f"{seed}-{i}"
    write_record(folder / "run.json", {"schema": 1, "name": name, "filler": [name] * 20_000})
    counts, predictions = json.dumps({"filler": [name] * 50_000}).encode(), random.Random(name).randbytes(500_000)
    blobs = {"counts.json": counts, "predictions.jsonl.gz": predictions}
    commit_step(folder / f"step-{name}", name, {}, blobs)
"""


def writer_kills(folder: Path, count: int = 500) -> str:
    """SIGKILL while records and steps are written, with a reader beside it all the time."""
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
            require(not list(folder.rglob("*.tmp")), "a temporary stayed")
            require(not torn(folder), f"torn: {torn(folder)}")
            written = list(target.glob("step-*"))
            steps += len(written)
            for step in written:
                remove_folder(step)
            if n % 50 == 49:
                say(f"{n + 1} of {count} writer kills")
    finally:
        over.set()
        reader.join()
    require(not seen, f"a reader met {seen}")
    require(steps > 0, "no step was written: the kills came too early")
    return f"{count} kills inside the writer ({steps} steps written): 0 torn files, 0 torn states in {looks} looks"


# Many drivers on one folder


def crowd(folder: Path, processes: int = 8, seeds: int = 40) -> str:
    """Several drivers run one grid in one folder at the same time; every step is learned and stored once."""
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:counted,a={METHODS}:counted"]
    words += ["--set", "a.weight=2", *LEAN, "--orders", "0,1", "--jobs", "1", "--quiet"]
    words += ["--seeds", ",".join(map(str, range(seeds)))]
    os.environ["LEARNED"] = str(folder / "expected.log")
    grid = Grid.learned([*words, "--jobs", "2"], folder / "expected")
    steps = len(finished(grid.expected))
    os.environ["LEARNED"] = str(folder / "learned.log")
    out = folder / "out"
    drivers = [start(*words, "--out", str(out), stdout=subprocess.DEVNULL) for _ in range(processes)]
    for driver in drivers:
        said = driver.communicate(timeout=3600)[1]
        require(driver.returncode == 0, said)
    grid.check(out)
    learned = (folder / "learned.log").read_text().splitlines()
    require(len(learned) == steps, f"{len(learned)} times a step was learned; there are {steps}")
    return f"{processes} processes, one folder: each of {steps} steps learned and stored once, 0 records lost"


def paused(folder: Path) -> str:
    """An owner is paused (SIGSTOP), its run is taken over, and it wakes up when that is finished."""
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:slow", *LEAN]
    grid = Grid.learned([*words, "--jobs", "1", "--checkpoint-seconds", "0"], folder / "expected")
    out = folder / "out"
    first = start(*grid.words, "--out", str(out), start_new_session=True)
    until(lambda: finished(out))
    sleepers = [psutil.Process(first.pid), *descendants(first)]
    for sleeper in sleepers:
        sleeper.suspend()
    before, begin = finished(out), time.monotonic()
    second = start(*grid.words, "--out", str(out))
    until(lambda: len(finished(out)) > len(before), 300)
    taken = time.monotonic() - begin
    said = second.communicate(timeout=300)[1]
    require(second.returncode == 0, said)
    stored = finished(out)
    for sleeper in sleepers:
        sleeper.resume()
    said = first.communicate(timeout=300)[1]
    require(first.returncode == 0, said)
    require(finished(out) == stored, "the owner that woke up stored a step again")
    grid.check(out)
    require(taken < leases.ABANDONED + 60, f"taken over only after {taken:.0f} s")
    return f"a paused owner's run was taken over and had its next step after {taken:.0f} s; waking up harmed nothing"


# An object store


def objects(folder: Path, machines: int = 3, seeds: int = 4, silent: float = 20, refused: float = 40) -> str:
    """Machines without a shared folder meet in an S3 server: one dies for good, the server is silent for a while and
    refuses connections for another, and a machine that comes last finds everything."""
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
            require(driver.returncode == 0, said)
        after = published(environment)
        lost = {way for way, told in before.items() if after.get(way) != told}
        require(not lost, f"finished steps were replaced: {lost}")
        late = join("late")
        said = late.communicate(timeout=300)[1]
        require(late.returncode == 0 and " 0 steps to learn" in said, said)
    for name in (*(f"machine-{n}" for n in range(1, machines)), "late"):
        grid.check(folder / name)
    return (
        f"{machines} machines, one killed for good, {silent:g} s without an answer, {refused:g} s refused: "
        f"each of {len(after)} steps "
        f"published once, all folders byte-identical to one process, nothing left to do for a machine that comes late"
    )


def published(environment: dict[str, str]) -> dict[str, str]:
    """The finished steps of a store, and what their records hold."""
    code = """
import fsspec, hashlib, json, sys
fs = fsspec.filesystem("s3")
steps = [way for way in fs.find(sys.argv[1]) if way.endswith("/step.json")]
print(json.dumps({way: hashlib.sha256(fs.cat_file(way)).hexdigest() for way in steps}))
"""
    found = subprocess.run(
        [sys.executable, "-c", code, BUCKET], env=os.environ | environment, check=True, capture_output=True
    )
    steps: dict[str, str] = json.loads(found.stdout)
    return steps


# Disks


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A small file system of its own (needs the right to mount)."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(folder: Path) -> str:
    """A disk too small from the start, one that fills up in the middle, and one that cannot be written."""
    words = ["run", *write_inputs(folder / "inputs"), "--methods", f"{METHODS}:slow", *LEAN]
    grid = Grid.learned([*words, "--jobs", "1"], folder / "expected")
    with disk(folder / "small", "2m") as small:
        done = bench(*words, "--out", str(small / "out"))
        require(done.returncode == 2 and "are free" in done.stderr, done.stderr)
        require(not list(small.rglob("run.json")), "something was learned")
    with disk(folder / "filling", "80m") as filling:
        out = filling / "out"
        process = start(*grid.words, "--out", str(out))
        until(lambda: finished(out))
        with suppress(OSError), (filling / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        said = "".join(process.communicate(timeout=300))
        require(process.returncode in (1, 2) and "No space left" in said, said)
        require("Traceback" not in said, said)
        require(not torn(out), f"torn: {torn(out)}")
        before = finished(out)
        require(before, "what was finished is gone")
        (filling / "filler").unlink()
        grid.finish(out)
        require({p: at for p, at in finished(out).items() if p in before} == before, "a step was learned again")
        subprocess.run(["mount", "-o", "remount,ro", str(filling)], check=True)
        done = bench(*words, "--seeds", "1", "--out", str(out))
        require(done.returncode == 2 and "Read-only" in done.stderr and "Traceback" not in done.stderr, done.stderr)
    (folder / "file").write_text("")
    done = bench(*words, "--out", str(folder / "file"))
    require(done.returncode == 2 and "pass another --out" in done.stderr, done.stderr)
    return "disk too small, full in the middle, read-only, path is a file: told, exit code not 0, nothing finished lost"


# The command


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        require(time.monotonic() < end, f"did not happen within {seconds:g} s")
        time.sleep(0.05)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


FAULTS: dict[str, Callable[..., str]] = {
    "kills": kills,
    "writer-kills": writer_kills,
    "crowd": crowd,
    "paused": paused,
    "objects": objects,
    "full-disk": full_disk,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"some of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--count", type=int, help="how many kills")
    parser.add_argument("--minilm", action="store_true", help="kills: with the offline encoder")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 0
    for name in arguments.faults or FAULTS:
        given = {"count": arguments.count} if arguments.count and "kills" in name else {}
        given |= {"minilm": True} if arguments.minilm and name == "kills" else {}
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"{name}: {FAULTS[name](Path(folder), **given)} ({time.monotonic() - begin:.0f} s)", flush=True)
            except AssertionError as error:
                print(f"{name}: FAILED: {error}", flush=True)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
