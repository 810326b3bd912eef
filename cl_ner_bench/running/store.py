"""Files of a results folder: written whole or not at all, and checked when they count as finished.

A step is committed by ``step.json``, created after the files whose sha256 it holds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

COMMIT = "step.json"
TRAINING_CHECK = "training-check.json"


def canonical(value: Any) -> str:
    """JSON text that equal values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ordered(value: Any) -> str:
    """JSON text that keeps the order of keys (learning order is information)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write ``path`` so that a reader, or a crash, sees the old content or the new and never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    write_bytes(path, (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode(), durable)


def read_json(path: Path) -> Any:
    """The value of a JSON file, None where there is none or it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def gzipped(lines: Iterable[str]) -> bytes:
    """Text lines as gzip, without the time: equal lines give equal bytes."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def commit_step(
    folder: Path, key: str, learned: Mapping[str, Any], blobs: Mapping[str, bytes], shared_with: str | None = None
) -> None:
    """Store a finished step: ``blobs`` (file name -> content), then the record that makes it count.

    ``shared_with`` names the run that learned it, where that is another.
    """
    for name, data in blobs.items():
        write_bytes(folder / name, data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}
    record = {"schema": 1, "key": key, "sha256": sums, "learned": learned}
    write_json(folder / COMMIT, record | ({"shared_with": shared_with} if shared_with else {}))


def step_record(folder: Path, key: str) -> dict[str, Any] | None:
    """What was recorded of a finished step, None where it is not finished under this key."""
    record = read_json(folder / COMMIT)
    if isinstance(record, dict) and record.get("key") == key and all((folder / n).is_file() for n in record["sha256"]):
        return record
    return None


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
    temporary = folder.with_name(f".{key}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir(parents=True)
    try:
        save(temporary)
        with suppress(OSError):  # the other run was quicker
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def model_folder(out: Path, key: str) -> Path:
    return out / "store" / key


def drop_model(out: Path, key: str) -> None:
    shutil.rmtree(model_folder(out, key), ignore_errors=True)
