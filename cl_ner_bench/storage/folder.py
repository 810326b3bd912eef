"""Results folders, through which all reads and writes go, and their stored models.

A :class:`ResultsFolder` publishes its writes to other machines: through the folder itself if they share it, else
through the object store that the folder is a copy of. Models and checkpoints are named by step key: ``store/<key>/``
and ``store/<key>.checkpoint``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import layout, leases
from cl_ner_bench.storage.checks import (
    Damaged,
    DamagedError,
    Manifest,
    check_top,
    manifest_bytes,
    read_manifest,
    read_sealed_manifest,
    sums_in,
    sums_of,
)
from cl_ner_bench.storage.files import (
    alive,
    host,
    remove_folder,
    sweep,
    sync_folder,
    temporary,
    write_bytes,
)
from cl_ner_bench.storage.leases import Lease
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.storage.shared import Poll, SharedFolder, tolerate_outage
from cl_ner_bench.untrusted import is_path_below, links_out

T = TypeVar("T")

_GRIDS = "grids"  # name of the lease of the files at the top
_DIGEST = 32  # bytes of a sha256


class ResultsFolder:
    """A results folder. With ``url`` it is a copy of an object store.

    Methods that read or write in the store raise StoreError (a UserError) if they cannot reach it.
    """

    def __init__(self, path: Path, url: str | None = None) -> None:
        self.path, self.url = path, url
        self._shared = _shared(path, url)
        self._poll = Poll(self._shared)
        self._runs: dict[str, RunFolder] = {}
        self.models, self.checkpoints = Models(self._shared), Checkpoints(self._shared)
        self.runs_path, self.replaced = path / layout.RUNS, path / layout.REPLACED
        self.experiment_file, self.mentions_file = path / layout.EXPERIMENT, path / layout.MENTIONS
        self.tuned_file, self.report_file = path / layout.TUNED, path / layout.REPORT

    @classmethod
    def open(cls, path: Path, url: str | None = None) -> ResultsFolder:
        """Return the results folder ``path``. It keeps records in memory and reads a changed record again.

        Raises:
            UserError: the URL names no object store.
        """
        return _open(path, url)

    # Runs

    @staticmethod
    def is_run_folder(path: Path) -> bool:
        """Return True if a path is that of a run in a results folder."""
        return path.parent.name == layout.RUNS

    def run(self, run_id: str) -> RunFolder:
        """Return the folder of a run, which need not exist."""
        if run_id not in self._runs:
            self._runs[run_id] = RunFolder(self._shared, run_id)
        return self._runs[run_id]

    def recorded(self) -> list[RunFolder]:
        """Return the run folders with a record, sound or damaged, sorted."""
        return [self.run(file.parent.name) for file in sorted(self.runs_path.glob(f"*/{layout.RECORD}"))]

    def check_kind(self) -> None:
        """Raise UserError if the path is no results folder."""
        if not self.runs_path.is_dir():
            raise UserError(f"{self.path} is no results folder (it holds no 'runs'): give what `bench run --out` wrote")

    @property
    def runs(self) -> Mapping[str, RunRecord]:
        """The current records of all runs by id, without records that are not as written.

        Raises:
            UserError: a later version wrote a record, or it is not as docs/results.md says.
        """
        found = ((run.path.name, run.record) for run in self.recorded())
        return {run_id: record for run_id, record in found if record is not None}

    def begun(self) -> tuple[list[RunFolder], list[Damaged]]:
        """Return the folders of begun runs, and the links that lead out of run folders.

        Leave out the runs with such links.

        Raises:
            UserError: the path is no results folder, or a link outside the run folders leads out of it.
        """
        self.check_kind()
        damaged = []
        for path, wrong, remedy in links_out(self.path):
            if self.runs_path not in path.parents:
                raise UserError(f"{path} {wrong}: {remedy}")
            damaged.append(Damaged(path, wrong, remedy))
        names = {file.parent.name for name in (layout.RECORD, "step-*") for file in self.runs_path.glob(f"*/{name}")}
        return [self.run(name) for name in sorted(names - {fault.run for fault in damaged})], damaged

    def record_status(self, record: RunRecord, status: str, reason: str = "") -> bool:
        """Write the record of a run with a new status. Remove its progress unless the run waits.

        Return False if another process is learning the run, because that process owns the record.
        """
        if (lease := self.lease(record.run_id)) is None:
            return False
        with lease:
            run = self.run(record.run_id)
            if status != "waiting":
                run.clear_progress()
            run.save(structs.replace(record, status=status, reason=reason))
        return True

    def drop_run(self, run_id: str) -> None:
        """Remove a run on all machines."""
        self._shared.drop(self.run(run_id).path)

    def set_aside(self, record: RunRecord) -> None:
        """Move a run to ``replaced`` and remove it on other machines. Drop the models that no other run shares.

        Raises:
            UserError: another process is learning the run.
        """
        run = self.run(record.run_id)
        if (lease := self.lease(record.run_id)) is None:
            raise UserError(f"{run.path} is being learned by another process: stop that first")
        with lease:
            self.replaced.mkdir(exist_ok=True)
            n, aside = 1, self.replaced / record.run_id
            while aside.exists():
                n, aside = n + 1, self.replaced / f"{record.run_id}-{n + 1}"
            run.path.rename(aside)
            sync_folder(self.replaced)
            self._shared.drop(run.path)
        kept = {key for other in self.runs.values() for key in other.step_keys.values()}
        for key in {*record.step_keys.values()} - kept:
            self.models.remove(key)
            self.checkpoints.drop(key)

    def checks_of_models(self) -> Iterator[Callable[[], list[Damaged]]]:
        """Yield a function for each stored model that returns the model's files that are not as stored."""
        for folder in sorted((self.path / layout.STORE).glob("*")):
            if folder.is_dir() and not folder.name.startswith("."):
                yield partial(_check_model, folder)

    # The files at the top that `bench run` writes: grids, test mentions, scenarios, code of users' methods

    def scenario_file(self, file: Path) -> Path:
        """Return the path for the copy of a scenario's file."""
        return self.path / layout.SCENARIOS / file.name

    def recipe_file(self, file: Path) -> Path:
        """Return the path for the copy of a recipe's file. Its name holds the digest of the content."""
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        return self.path / layout.RECIPES / f"{file.stem.removesuffix(f'-{sha256[:8]}')}-{sha256[:8]}{file.suffix}"

    def method_file(self, name: str) -> Path:
        """Return the path for the copy of a file of a user's method; ``name`` is a key of ``method_sources``."""
        return self.path / layout.METHODS / name

    def wrong_at_top(self, file: Path) -> str:
        """Return the fault of a file at the top, or "" if it is sound or its checksum is unknown."""
        found = self._sums_at_top()
        return found.wrong(self._name(file)) if found else ""

    def write_top(self, contents: Mapping[Path, bytes]) -> None:
        """Write files at the top and their checksums.

        Store the old and the new checksum while replacing a file. So the file matches a checksum even if the process is
        killed in between.
        """
        blobs = {self._name(file): content for file, content in contents.items()}
        known = dict(found.sums) if (found := self._sums_at_top()) else {}
        sums, file_of_sums = sums_of(blobs), self.path / layout.SUMS
        changed = {file: c for file, c in contents.items() if not file.is_file() or file.read_bytes() != c}
        if changed:
            both = {name: [*known.get(name, ()), sums[name]] for name in blobs}
            write_bytes(file_of_sums, manifest_bytes(known | both))
            for file, content in changed.items():
                write_bytes(file, content)
        record = manifest_bytes(known | {name: [value] for name, value in sums.items()})
        if not file_of_sums.is_file() or file_of_sums.read_bytes() != record:
            write_bytes(file_of_sums, record)

    def check_top(self) -> list[Damaged]:
        """Return the files at the top that are not as stored."""
        return check_top(self.path)

    def lease_of_top(self) -> Lease:
        """Take the lease of the files at the top: several commands on this machine may add to them."""
        return leases.wait(leases.LocalLeaseFiles(self.path), _GRIDS)

    def _sums_at_top(self) -> Manifest | None:
        return read_manifest(self.path / layout.SUMS, is_path_below)

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()

    # Sharing

    def check_store(self) -> None:
        """Raise UserError if the store could lose published results."""
        self._shared.check()

    def pull(self, leave: Collection[str] = ()) -> None:
        """Fetch everything that others published.

        This command is learning the runs ``leave``: for these, fetch only their progress on other machines.
        """
        self._shared.pull(leave)

    def poll(self, leave: Collection[str] = ()) -> None:
        """Pull if enough time has passed. Log only the first failure in a row."""
        self._poll(leave)

    def push(self) -> None:
        """Publish everything that the store lacks."""
        self._shared.push()

    def lease(self, name: str) -> Lease | None:
        """Take the lease of ``name``. Return None while another process holds it."""
        return leases.acquire(self._shared.leases, name)

    def wait_for_lease(self, name: str) -> Lease:
        """Wait for the lease of a short piece of work, and take it."""
        return leases.wait(self._shared.leases, name)

    def is_leased(self, name: str) -> bool:
        """Return True while a process holds the lease of ``name``."""
        return leases.holder(self._shared.leases, name) is not None

    @property
    def lag(self) -> float:
        """Seconds for which the known holder of a lease may be out of date."""
        return self._shared.leases.lag

    # The folder itself

    def make(self) -> None:
        """Make the folder, check that it can be written, and remove temporary files of killed processes.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"cannot be made a folder ({error.strerror}); pass another --out"
            raise UserError(f"--out {self.path}: {why}") from None
        probe = temporary(self.path / "probe")
        try:
            probe.write_bytes(b"?")
        except OSError as error:
            raise UserError(f"--out {self.path}: cannot be written ({error.strerror}); pass another --out") from None
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        sweep(self.path)

    def tidy(self) -> None:
        """Remove the folder of leases if it is empty."""
        leases.LocalLeaseFiles(self.path).tidy()

    def stop_file(self) -> Path:
        """Return the path of the file with which this process asks its workers to stop."""
        return self.path.absolute() / f".stop-{host()}-{os.getpid()}"

    def remove_old_stop_files(self) -> None:
        for stale in self.path.glob(f".stop-{host()}-*"):
            if not alive(int(stale.name.rpartition("-")[2])):
                stale.unlink(missing_ok=True)


class Models:
    """The stored models of a results folder."""

    def __init__(self, shared: SharedFolder) -> None:
        self._shared = shared
        self._pinned: frozenset[str] = frozenset()

    def path(self, key: str) -> Path:
        return self._shared.home / layout.STORE / key

    def save(self, key: str, write: Callable[[Path], None], lasting: bool = False) -> None:
        """Store the model of step ``key``. ``write`` fills a folder, which appears when it is complete.

        Keep a model that is already there: it was computed from the same inputs. ``drop`` keeps a ``lasting`` model.
        """
        folder = self.path(key)
        if not folder.is_dir():
            self._create(folder, write, {"key": key, "lasting": True} if lasting else {"key": key})
        self._shared.publish(folder)

    def _create(self, folder: Path, write: Callable[[Path], None], about: Mapping[str, object]) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = temporary(folder)
        made.mkdir()
        try:
            write(made)
            write_bytes(made / layout.MODEL_SUMS, manifest_bytes(sums_in(made), **about))
            with suppress(OSError):  # the other run was quicker
                made.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def load(self, key: str, read: Callable[[Path], T]) -> T | None:
        """Return the result of ``read`` on a model's folder, or None if there is no sound model."""
        self._shared.fetch(self.path(key))
        if not self._is_sound(key):
            return None
        try:
            return read(self.path(key))
        except FileNotFoundError:  # another run with this step dropped it just now
            return None

    def check(self, key: str) -> None:
        """Raise DamagedError if a model is there, but not as saved. Unlike ``load``, do not remove it."""
        self._shared.fetch(self.path(key))
        for damaged in _check_model(self.path(key)) if self.path(key).is_dir() else ():
            raise DamagedError(damaged.path, damaged.wrong, damaged.repair)

    def _is_sound(self, key: str) -> bool:
        """Return True if a model is there as saved. Remove a damaged model."""
        folder = self.path(key)
        if not folder.is_dir():
            return False
        found = read_manifest(folder / layout.MODEL_SUMS)
        if found and found.about.get("key") == key and found.is_whole():
            return True
        remove_folder(folder)
        return False

    def holds(self, key: str) -> bool:
        """Return True if a model is here or can be fetched."""
        return self._shared.holds(self.path(key))

    def pin(self, keys: Iterable[str]) -> None:
        """Protect models from ``drop``, because other runs start from them."""
        self._pinned |= {*keys}

    def drop(self, key: str) -> None:
        """Remove a model on all machines, unless it is pinned or lasting."""
        found = read_manifest(self.path(key) / layout.MODEL_SUMS)
        if key not in self._pinned and not (found and found.about.get("lasting")):
            self.remove(key)

    def remove(self, key: str) -> None:
        """Remove a model on all machines."""
        self._shared.drop(self.path(key))


class Checkpoints:
    """The states from which stopped steps resume. A file holds a sha256 (32 bytes) and then the content."""

    def __init__(self, shared: SharedFolder) -> None:
        self._shared = shared

    def _file(self, key: str) -> Path:
        return self._shared.home / layout.STORE / f"{key}.checkpoint"

    def save(self, key: str, content: bytes) -> None:
        """Replace the state of step ``key``.

        Raises:
            OSError: the file cannot be written. The previous state stays.
        """
        write_bytes(self._file(key), hashlib.sha256(content).digest() + content)
        with tolerate_outage():
            self._shared.put(self._file(key))

    def load(self, key: str) -> bytes | None:
        """Return the last saved state, or None if there is none. Remove a damaged state."""
        self._shared.get(self._file(key))
        try:
            with self._file(key).open("rb") as file:
                expected, content = file.read(_DIGEST), file.read()
        except OSError:
            return None
        if hashlib.sha256(content).digest() == expected:
            return content
        self.drop(key)
        return None

    def drop(self, key: str) -> None:
        self._shared.remove(self._file(key))


def _check_model(folder: Path) -> list[Damaged]:
    """Return the files of a stored model that are not as stored.

    `bench run` removes a damaged model when it would continue from that model.
    """
    again = f"remove the folder {folder}: the model alone is lost, and `bench run` with another --out learns it again"
    file = folder / layout.MODEL_SUMS
    try:
        found = read_sealed_manifest(file, again)
        if found.about.get("key") != folder.name:
            raise DamagedError(file, "is not of this model", again)
    except DamagedError as error:
        return [replace(error.damaged, of_run=False)]
    return [Damaged(path, wrong, again, of_run=False) for path, wrong in found.faults()]


@cache
def _open(path: Path, url: str | None) -> ResultsFolder:
    return ResultsFolder(path, url)


def _shared(path: Path, url: str | None) -> SharedFolder:
    if url is None:
        return SharedFolder(path)
    from cl_ner_bench.storage.object_store import BucketMirror  # imports fsspec

    return BucketMirror(path, url)
