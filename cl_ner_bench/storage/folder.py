"""Results folders: the one object through which everything in them is read and written.

Whatever is written through a :class:`ResultsFolder` is published where other machines see it: at once in a folder that
they share, else in the object store that the folder is a copy of.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import layout, leases
from cl_ner_bench.storage.checks import Damaged, Manifest, check_top, manifest_bytes, read_manifest, sums_of
from cl_ner_bench.storage.files import alive, host, sweep, temporary, write_bytes
from cl_ner_bench.storage.leases import Lease
from cl_ner_bench.storage.models import Checkpoints, Models, check_model
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.storage.shared import Poll, SharedFolder
from cl_ner_bench.untrusted import is_path_below, links_out

_GRIDS = "grids"  # lease of the files at the top


class ResultsFolder:
    """A results folder, and with ``url`` the object store that it is a copy of.

    Where the store cannot be reached, methods that read or write there raise StoreError (a UserError).
    """

    def __init__(self, path: Path, url: str | None = None) -> None:
        self.path, self.url = path, url
        self._shared = _shared(path, url)
        self._poll = Poll(self._shared)
        self._runs: dict[str, RunFolder] = {}
        self.models, self.checkpoints = Models(self._shared), Checkpoints(self._shared)
        self.experiment_file, self.mentions_file = path / layout.EXPERIMENT, path / layout.MENTIONS

    @classmethod
    def open(cls, path: Path, url: str | None = None) -> ResultsFolder:
        """Return the results folder ``path``; what was read of it is kept, and read again where it changed.

        Raises:
            UserError: the URL names no object store.
        """
        return _open(path, url)

    # Runs

    def run(self, run_id: str) -> RunFolder:
        """Return a run's folder, whether it exists or not."""
        if run_id not in self._runs:
            self._runs[run_id] = RunFolder(self._shared, run_id)
        return self._runs[run_id]

    def recorded(self) -> list[RunFolder]:
        """Return the folders that hold a record, sound or not, sorted.

        Raises:
            UserError: this is no results folder.
        """
        self._check_kind()
        return self._recorded()

    def _recorded(self) -> list[RunFolder]:
        return [self.run(file.parent.name) for file in sorted(self.path.glob(f"{layout.RUNS}/*/{layout.RECORD}"))]

    def _check_kind(self) -> None:
        if not (self.path / layout.RUNS).is_dir():
            raise UserError(f"{self.path} is no results folder (it holds no 'runs'): give what `bench run --out` wrote")

    @property
    def runs(self) -> Mapping[str, RunRecord]:
        """The records of all runs by id, as they are now. A record that is not what was written is left out.

        Raises:
            UserError: a later version wrote a record, or it is not as docs/results.md says.
        """
        found = ((run.path.name, run.record) for run in self._recorded())
        return {run_id: record for run_id, record in found if record is not None}

    def begun(self) -> tuple[list[RunFolder], list[Damaged]]:
        """Return the folders of runs that were begun, and the links that lead out of one, whose runs are left out.

        Raises:
            UserError: this is no results folder, or a link leads out of it that is no run's.
        """
        self._check_kind()
        runs, damaged = self.path / layout.RUNS, []
        for path, wrong, remedy in links_out(self.path):
            if runs not in path.parents:
                raise UserError(f"{path} {wrong}: {remedy}")
            damaged.append(Damaged(path, wrong, remedy))
        names = {file.parent.name for name in (layout.RECORD, "step-*") for file in runs.glob(f"*/{name}")}
        return [self.run(name) for name in sorted(names - {fault.run for fault in damaged})], damaged

    def drop_run(self, run_id: str) -> None:
        """Remove a run on all machines."""
        self._shared.drop(self.run(run_id).path)

    def check_models(self) -> Iterator[list[Damaged]]:
        """Yield for each stored model the files of it that are not what was stored."""
        for folder in sorted((self.path / layout.STORE).glob("*")):
            if folder.is_dir() and not folder.name.startswith("."):
                yield check_model(folder)

    # The files at the top that `bench run` writes: grids, test mentions, scenarios

    def scenario_file(self, file: Path) -> Path:
        """Return where a copy of a scenario's file is kept."""
        return self.path / layout.SCENARIOS / file.name

    def wrong_at_top(self, file: Path) -> str:
        """Return what is wrong with a file, "" where nothing is or its checksum is not known."""
        found = self._sums_at_top()
        return found.wrong(self._name(file)) if found else ""

    def write_top(self, contents: Mapping[Path, bytes]) -> None:
        """Write files at the top and their checksums.

        While a file is replaced, both the old checksum and the new are stored: a process that is killed in between
        leaves a file that is known either way.
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
        """Return the files at the top that are not what was stored."""
        return check_top(self.path)

    def lease_of_top(self) -> Lease:
        """Take the lease of the files at the top, which several commands on this machine may add to."""
        return leases.wait(leases.LocalLeaseFiles(self.path), _GRIDS)

    def _sums_at_top(self) -> Manifest | None:
        return read_manifest(self.path / layout.SUMS, is_path_below)

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()

    # Sharing

    def check_store(self) -> None:
        """Raise UserError where published results could be lost."""
        self._shared.check()

    def pull(self, leave: Collection[str] = ()) -> None:
        """Fetch everything that others published. Of the runs ``leave``, which this command is learning, only fetch
        how far they are on other machines."""
        self._shared.pull(leave)

    def poll(self, leave: Collection[str] = ()) -> None:
        """Pull if it is time to; log the first failure of several."""
        self._poll(leave)

    def push(self) -> None:
        """Publish everything that others do not have."""
        self._shared.push()

    def lease(self, name: str) -> Lease | None:
        """Take the lease of ``name``. Return None while another process holds it."""
        return leases.acquire(self._shared.leases, name)

    def wait_for_lease(self, name: str) -> Lease:
        """Take the lease of something that is done quickly, once it is free."""
        return leases.wait(self._shared.leases, name)

    def is_leased(self, name: str) -> bool:
        """Return True while a process holds the lease of ``name``."""
        return leases.holder(self._shared.leases, name) is not None

    @property
    def lag(self) -> float:
        """Seconds for which the holder of a lease may be out of date."""
        return self._shared.leases.lag

    # The folder itself

    def make(self) -> None:
        """Make the folder, see that it can be written and remove what killed processes left.

        Raises:
            UserError: it cannot be written.
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
        """Remove what was needed only while runs were learned."""
        leases.LocalLeaseFiles(self.path).tidy()

    def stop_file(self) -> Path:
        """Return the file by which this process asks its workers to stop."""
        return self.path.absolute() / f".stop-{host()}-{os.getpid()}"

    def remove_old_stop_files(self) -> None:
        for stale in self.path.glob(f".stop-{host()}-*"):
            if not alive(int(stale.name.rpartition("-")[2])):
                stale.unlink(missing_ok=True)


@cache
def _open(path: Path, url: str | None) -> ResultsFolder:
    return ResultsFolder(path, url)


def _shared(path: Path, url: str | None) -> SharedFolder:
    if url is None:
        return SharedFolder(path)
    from cl_ner_bench.storage.object_store import BucketMirror  # imports fsspec

    return BucketMirror(path, url)
