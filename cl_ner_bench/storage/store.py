"""Files of a results folder: written whole or not at all, and checked when they count as finished.

A finished step is a folder that appears with all its files at once. Its ``step.json`` holds the sha256 of the others
and is sealed itself. Of several that finish one step, the first wins.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.atomic import (
    SCHEMA,
    SEAL,
    canonical,
    create_folder,
    digest,
    from_json,
    is_changed,
    remove_folder,
    sealed,
    sync_folder,
    temporary,
    write_bytes,
)
from cl_ner_bench.untrusted import is_name, is_sums

__all__ = ["canonical", "digest", "write_bytes"]

COMMIT = "step.json"
SUMS = "model-sums.json"
TRAINING_CHECK = "training-check.json"
PROGRESS = "progress.json"


def ordered(value: Any) -> str:
    """JSON text that keeps the order of keys (learning order is information)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    write_bytes(path, _pretty(value), durable)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, sealed."""
    write_json(path, sealed(record))


def read_json(path: Path) -> Any:
    """The value of a JSON file, None where there is none or it cannot be read."""
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def read_record(path: Path) -> dict[str, Any] | None:
    """A sealed record without its seal, None where there is none or it is not what was written.

    Raises UserError for what a later version wrote: it is nobody's to replace.
    """
    record = read_json(path)
    if not isinstance(record, dict) or is_changed(record):
        return None
    if type(record.get("schema")) is int and record["schema"] > SCHEMA:
        known = f"has schema {record['schema']}, this version reads up to {SCHEMA}"
        raise UserError(f"{path} {known}: update cl-ner-bench, or pass another --out")
    return {key: value for key, value in record.items() if key != SEAL}


def gzipped(lines: Iterable[str]) -> bytes:
    """Text lines as gzip, without the time: equal lines give equal bytes."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def commit_step(
    folder: Path, key: str, learned: Mapping[str, Any], blobs: Mapping[str, bytes], shared_with: str | None = None
) -> bool:
    """Store a finished step with ``blobs`` (file name -> content). False where it was there already.

    ``shared_with`` names the run that learned it, where that is another.
    """
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}
    record = {"schema": 1, "key": key, "sha256": sums, "learned": learned}
    record |= {"shared_with": shared_with} if shared_with else {}
    content = {**blobs, COMMIT: _pretty(sealed(record))}
    while not create_folder(folder, content):
        known = step_record(folder, key)
        if known and not damage(folder, known):
            return False
        remove_folder(folder)  # of other settings, or damaged
    return True


def step_record(folder: Path, key: str) -> dict[str, Any] | None:
    """What was recorded of a finished step, None where it is not finished under this key.

    A record that names no files of the folder, or no run that learned the step, is none: it may be another's.
    """
    record = read_record(folder / COMMIT)
    if record is None or record.get("key") != key or not is_name(record.get("shared_with", "itself")):
        return None
    sums = record.get("sha256")
    return record if is_sums(sums) and all((folder / name).is_file() for name in sums) else None


def damage(folder: Path, record: Mapping[str, Any]) -> str:
    """The file of a finished step that is not what ``record`` holds the sha256 of; '' where all are."""
    return next((name for name in record["sha256"] if read_blob(folder, record, name) is None), "")


def read_blob(folder: Path, record: Mapping[str, Any], name: str) -> bytes | None:
    """A file of a finished step, None where it is not what ``record`` holds the sha256 of."""
    try:
        data = (folder / name).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == record["sha256"].get(name) else None


def save_model(out: Path, key: str, save: Callable[[Path], None]) -> None:
    """Keep the model of step ``key``: ``save`` is given a folder that takes its place when complete.

    One that is there already was computed from the same things, by this run or by one of another name: it stays.
    """
    folder = model_folder(out, key)
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(folder)
    made.mkdir()
    try:
        save(made)
        sums = {path.name: _sha256(path) for path in sorted(made.iterdir())}
        write_record(made / SUMS, {"schema": 1, "key": key, "sha256": sums})
        with suppress(OSError):  # the other run was quicker
            made.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def has_model(out: Path, key: str) -> bool:
    """Whether the model of a step is there as it was saved; one that is not is removed."""
    folder = model_folder(out, key)
    if not folder.is_dir():
        return False
    if (read_record(folder / SUMS) or {}).get("key") == key and is_whole(folder, SUMS):
        return True
    remove_folder(folder)
    return False


def is_whole(folder: Path, name: str) -> bool:
    """Whether the record ``name`` in ``folder`` is as written, and the files are that it holds the sha256 of."""
    sums = (read_record(folder / name) or {}).get("sha256")
    return is_sums(sums) and bool(sums) and all(_is_told(folder / file, told) for file, told in sums.items())


def _is_told(path: Path, told: str) -> bool:
    return path.is_file() and _sha256(path) == told


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_folder(out: Path, key: str) -> Path:
    return out / "store" / key
