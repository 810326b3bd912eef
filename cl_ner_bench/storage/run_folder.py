"""The folder of one run: its record, its steps, and the files beside them.

A finished step is a folder that appears with all its files at once. If several processes finish a step, the first
wins. ``step.json`` is sealed and holds the checksums of the other files.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import layout
from cl_ner_bench.storage.checks import (
    Damaged,
    DamagedError,
    LostError,
    Manifest,
    NewerError,
    is_sealed,
    learn_again,
    manifest_bytes,
    parse_manifest,
    read_manifest,
    read_sound,
    sums_of,
    wrong_sum,
)
from cl_ner_bench.storage.files import (
    SEAL,
    create_folder,
    newer_schema,
    ordered,
    read_json,
    read_record,
    remove_folder,
    split_digest,
    write_bytes,
    write_json,
    write_record,
)
from cl_ner_bench.storage.leases import Lease
from cl_ner_bench.storage.run_record import RunRecord, TrainingCheck, parse_record, to_training_check
from cl_ner_bench.storage.shared import SharedFolder
from cl_ner_bench.untrusted import is_name

_Sign = tuple[int, int, int]


@dataclass(frozen=True)
class FinishedStep:
    """A stored step."""

    files: Manifest

    @property
    def learned(self) -> dict[str, Any]:
        """The step's row of the record's ``learned``."""
        row: dict[str, Any] = self.files.about["learned"]
        return row

    @property
    def shared_with(self) -> str | None:
        """The run that learned the step, or None if it is this run."""
        return self.files.about.get("shared_with")

    @property
    def predictions(self) -> bytes | None:
        """The stored predictions, or None if they are not as stored."""
        return self.files.read(layout.PREDICTIONS)

    def damage(self) -> str:
        """Return the name of the first file that is not as stored, or ""."""
        return next((path.name for path, _ in self.files.faults()), "")


class RunFolder:
    """The folder of a run, which need not exist yet. A number and a key identify a step."""

    def __init__(self, shared: SharedFolder, run_id: str) -> None:
        self._shared = shared
        self.home, self.path = shared.home, shared.home / layout.RUNS / run_id
        self.record_file, self.split_file = self.path / layout.RECORD, self.path / layout.SPLIT
        self.log_file, self.outcomes_file = self.path / layout.LOG, self.path / layout.OUTCOMES
        self.training_check_file, self._progress_file = self.path / layout.TRAINING_CHECK, self.path / layout.PROGRESS
        self._known: tuple[_Sign, RunRecord | DamagedError] | None = None

    # The record

    def read(self) -> RunRecord:
        """Return the record.

        Raises:
            DamagedError: the record is missing, changed, of a later version, or not as docs/results.md says.
        """
        found = self._load()
        if isinstance(found, DamagedError):
            raise found
        if not found.is_sealed and any(map(is_sealed, self.path.glob(f"step-*/{layout.STEP_SUMS}"))):
            raise DamagedError(self.record_file, "carries no seal though its steps do", learn_again(self.record_file))
        return found

    @property
    def record(self) -> RunRecord | None:
        """The current record, or None if it is missing or not as written; such a run is learned again.

        Raises:
            UserError: a later version wrote the record, or it is not as docs/results.md says.
        """
        if not self.record_file.exists():  # a fast path: many runs of a new grid have no record
            return None
        found = self._load()
        if isinstance(found, NewerError):
            raise UserError(newer_schema(self.record_file, found.schema))
        if isinstance(found, LostError):
            return None
        if isinstance(found, DamagedError):
            raise found
        return found

    def _load(self) -> RunRecord | DamagedError:
        """Read the record if its file changed since the last read."""
        sign = _sign(self.record_file)
        if sign is None or self._known is None or self._known[0] != sign:
            try:
                found: RunRecord | DamagedError = parse_record(read_sound(self.record_file), self.record_file)
            except DamagedError as error:
                found = error
            if sign is None:
                return found
            self._known = sign, found
        return self._known[1]

    def is_lost(self) -> bool:
        """Return True if there is a record that is not as written."""
        return self.record_file.exists() and self.record is None

    @property
    def status(self) -> str:
        """The status of the record, or "" without a record."""
        return record.status if (record := self.record) else ""

    def save(self, record: RunRecord, lease: Lease | None = None) -> None:
        """Write the record unless ``lease`` is lost, because the new owner then owns the record."""
        wanted = (lambda: not lease.lost) if lease else None
        if write_record(self.record_file, record.to_builtins(), wanted):
            self._shared.put(self.record_file)

    def save_here(self, record: RunRecord) -> None:
        """Write the record on this machine only, for a process that has no time left to publish it."""
        write_record(self.record_file, record.to_builtins())

    def fetch_record(self) -> None:
        """Fetch the published record."""
        self._shared.get(self.record_file)

    @property
    def recorded_at(self) -> float:
        """The time of the last write of the record, in seconds."""
        return self.record_file.stat().st_mtime

    @property
    def changed_at(self) -> float | None:
        """The time at which a file of the run was last added or replaced, in seconds, or None without a folder."""
        try:
            return self.path.stat().st_mtime
        except FileNotFoundError:
            return None

    # Steps

    def step(self, step: int, key: str) -> FinishedStep | None:
        """Return a step, or None if it is not finished under this key."""
        return finished_step(self.step_folder(step), key)

    def fetch(self, step: int) -> None:
        """Fetch a missing step if others published it."""
        self._shared.fetch(self.step_folder(step))

    def commit(
        self,
        step: int,
        key: str,
        learned: Mapping[str, Any],
        counts: Mapping[str, Any],
        predictions: bytes,
        shared_with: str | None = None,
    ) -> None:
        """Store a finished step. If several processes finish a step, the first wins.

        ``counts`` are the views of counts.json. ``shared_with`` names the run that learned the step, if it is another
        run.
        """
        content = f"{ordered({'schema': 1, 'step': step, 'views': counts})}\n".encode()
        blobs = {layout.PREDICTIONS: predictions, layout.COUNTS: content}
        commit_step(self.step_folder(step), key, learned, blobs, shared_with)
        self._shared.publish(self.step_folder(step))

    def forget(self, step: int) -> None:
        """Remove this machine's copy of a step."""
        remove_folder(self.step_folder(step))

    def has_steps(self) -> bool:
        """Return True if a step was finished, under any key."""
        return any(self.path.glob(f"step-*/{layout.STEP_SUMS}"))

    def step_folder(self, step: int) -> Path:
        return self.path / f"step-{step}"

    def counts_file(self, step: int) -> Path:
        return self.step_folder(step) / layout.COUNTS

    def predictions_file(self, step: int) -> Path:
        return self.step_folder(step) / layout.PREDICTIONS

    def counts(self, step: int) -> dict[str, Any]:
        """Return the content of a step's ``counts.json``.

        Raises:
            DamagedError: the file is missing or cannot be read.
        """
        return read_sound(self.counts_file(step))

    def check_step(self, record: RunRecord, step: int) -> list[Damaged]:
        """Return the files of a finished step that are not as stored.

        Records without a seal come from versions that stored no checksums of steps.
        """
        file = self.step_folder(step) / layout.STEP_SUMS
        if not record.is_sealed and not file.is_file():
            return []
        try:
            found = parse_manifest(read_sound(file), file)
        except DamagedError as error:
            return [error.damaged]
        if found is None or found.about.get("key") != record.key(step):
            return [Damaged(file, "is not of this run's settings", learn_again(file))]
        files = {name: file.with_name(name) for name in layout.STEP_FILES}
        wrong = {path: wrong_sum(path, found.sums.get(name, ())) for name, path in files.items()}
        return [Damaged(path, said, learn_again(path)) for path, said in wrong.items() if said]

    def is_step_sealed(self, step: int) -> bool:
        """Return False for steps of early versions.

        Raises:
            DamagedError: the step's checksums are not as written.
        """
        file = self.step_folder(step) / layout.STEP_SUMS
        return file.exists() and SEAL in read_sound(file)

    # Beside the record

    def save_split(self, split: Mapping[str, Any]) -> None:
        """Store the task split if it is not already stored."""
        content = f"{ordered(split)}\n".encode()
        if not self.split_file.exists() or self.split_file.read_bytes() != content:
            write_bytes(self.split_file, content)
            self._shared.put(self.split_file)

    def split(self) -> Any:
        """Return the stored task split as JSON, or None if none can be read."""
        self._shared.get(self.split_file)
        return read_json(self.split_file)

    def check_split(self, record: RunRecord) -> Any:
        """Return the stored task split, or None if a run of an early version has none.

        Raises:
            DamagedError: the run followed another split.
        """
        if not record.is_sealed and not self.split_file.exists():
            return None
        split = read_sound(self.split_file)
        if split_digest(split) != record.fingerprints.get("split"):
            wrong = "is not the split that the run followed"
            raise DamagedError(self.split_file, wrong, learn_again(self.split_file))
        return split

    def check_training_check(self) -> bool | None:
        """Return True if the result of the check of the training is sealed, or None if there is no result.

        Raises:
            DamagedError: the result is not as written.
        """
        file = self.training_check_file
        return SEAL in read_sound(file) if file.exists() else None

    def training_check(self) -> TrainingCheck | None:
        """Return the result of the check of the training, or None."""
        return to_training_check(read_record(self.training_check_file))

    def fetch_training_check(self) -> TrainingCheck | None:
        """Fetch and return the result of the check of the training, or None."""
        self._shared.get(self.training_check_file)
        return self.training_check()

    def save_training_check(self, result: TrainingCheck) -> None:
        write_record(self.training_check_file, msgspec.to_builtins(result))
        self._shared.put(self.training_check_file)

    def progress(self) -> dict[str, Any] | None:
        """Return the progress of the run, or None if nobody is learning it."""
        found = read_json(self._progress_file)
        return found if isinstance(found, dict) else None

    def save_progress(self, state: Mapping[str, Any]) -> None:
        """Write the progress on this machine only, because it changes twice a second."""
        write_json(self._progress_file, {**state, "time": time.time()}, durable=False)

    def publish_progress(self) -> None:
        self._shared.put(self._progress_file)

    def clear_progress(self) -> None:
        self._shared.remove(self._progress_file)


def _sign(file: Path) -> _Sign | None:
    """Return a value that changes when the file is replaced, or None without a file."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def finished_step(folder: Path, key: str) -> FinishedStep | None:
    """Return the step in ``folder``, or None if it is not finished under this key.

    Others may have written the folder. So ignore a manifest that names a file outside the folder, or whose
    ``shared_with`` is no name of a run.
    """
    found = read_manifest(folder / layout.STEP_SUMS)
    if found is None or found.about.get("key") != key or not is_name(found.about.get("shared_with", "itself")):
        return None
    return FinishedStep(found) if all((folder / name).is_file() for name in found.sums) else None


def commit_step(
    folder: Path, key: str, learned: Mapping[str, Any], blobs: Mapping[str, bytes], shared_with: str | None = None
) -> bool:
    """Store a finished step with ``blobs`` (file name -> content). Return False if it was there already.

    ``shared_with`` names the run that learned the step, if it is another run.
    """
    about = {"key": key, "learned": learned} | ({"shared_with": shared_with} if shared_with else {})
    content = {**blobs, layout.STEP_SUMS: manifest_bytes(sums_of(blobs), **about)}
    while not create_folder(folder, content):
        known = finished_step(folder, key)
        if known and not known.damage():
            return False
        remove_folder(folder)  # a step of other settings, or damaged
    return True
