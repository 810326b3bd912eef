"""Files that appear whole or not at all, on all machines; JSON; sealed records.

A file or folder is written under a temporary name beside its place and moves there when it is complete. The temporary
name identifies the process, so a later process can sweep up the files of a killed one. A sealed record holds the digest
of its other keys.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError

ABANDONED = 24 * 3600
"""Seconds after which a temporary file of another machine counts as abandoned."""

SEAL = "seal"
SCHEMA = 1  # of records; the suite reads every earlier schema, too
_DIGITS = 64  # length of a sha256 in hex
_TEMPORARY = re.compile(r"\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.[0-9a-f]{32}\.tmp")


@cache
def host() -> str:
    """Return a name for the space in which process numbers are unique: the machine and its container."""
    space = Path("/proc/self/ns/pid")
    inside = os.readlink(space) if space.is_symlink() else ""
    return re.sub(r"[^\w-]+", "_", f"{socket.gethostname()}-{inside.strip('pid:[]')}").strip("-") or "unknown"


def temporary(path: Path) -> Path:
    """Return an unused temporary path beside ``path`` whose name holds this machine and process."""
    return path.with_name(f".{host()}.{os.getpid()}.{uuid.uuid4().hex}.tmp")


def write_bytes(path: Path, data: bytes, durable: bool = True, wanted: Callable[[], bool] | None = None) -> bool:
    """Write ``path`` at once: readers see the old or the new content, never a part, even after a crash.

    Call ``wanted`` just before the file takes its place; if it returns False, write nothing. Return True if the file
    was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    try:
        _write(made, data, durable)
        if wanted and not wanted():
            return False
        os.replace(made, path)
        if durable:
            sync_folder(path.parent)
    finally:
        made.unlink(missing_ok=True)
    return True


def create(path: Path, data: bytes) -> bool:
    """Write ``path`` whole if it does not exist. If several processes try at once, one gets True."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    try:
        _write(made, data)
        os.link(made, path)
        sync_folder(path.parent)
    except FileExistsError:
        return False
    finally:
        made.unlink(missing_ok=True)
    return True


def create_folder(path: Path, blobs: Mapping[str, bytes]) -> bool:
    """Make the folder ``path`` with all files ``blobs`` at once, if it does not exist.

    If several processes try at once, one gets True.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    made.mkdir()
    try:
        for name, data in blobs.items():
            _write(made / name, data)
        sync_folder(made)
        try:
            made.rename(path)  # fails if a folder with files exists
        except OSError:
            if path.is_dir():
                return False
            raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return True


def remove_folder(path: Path) -> None:
    """Remove a folder at once, so no reader finds a part of it."""
    gone = temporary(path)
    with suppress(FileNotFoundError):
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _write(path: Path, data: bytes, durable: bool = True) -> None:
    with path.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a loss of power, if the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot sync folders
            os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files of ended processes in ``folder`` and below. Return the removed paths."""
    gone = []
    for place, folders, names in os.walk(folder):  # entries that others remove meanwhile are skipped
        for name in sorted([*folders, *names]):
            match, path = _TEMPORARY.fullmatch(name), Path(place, name)
            if match and _abandoned(match["host"], int(match["pid"]), path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                gone.append(path)
    return gone


def _abandoned(machine: str, pid: int, path: Path) -> bool:
    if machine == host():
        return not alive(pid)
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False


def alive(pid: int) -> bool:
    """Return True if a process of this machine runs and is no zombie."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# JSON


def from_json(data: bytes) -> Any:
    """Return the value of a JSON file.

    Raises:
        ValueError: the data are no JSON, or hold half a surrogate pair, which no output can hold.
        RecursionError: the data are nested too deeply.
    """
    value = json.loads(data.decode())
    json.dumps(value, ensure_ascii=False).encode()
    return value


def canonical(value: Any) -> str:
    """Return the same compact JSON text for equal values: keys are sorted."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ordered(value: Any) -> str:
    """Return compact JSON text that keeps the order of keys, because learning order is information."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def pretty(value: Any) -> bytes:
    """Return JSON as it is stored: sorted, one key a line."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def gzipped(lines: Iterable[str]) -> bytes:
    """Return text lines as gzip without a time stamp, so equal lines give equal bytes."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def split_digest(split: Any) -> str:
    """Return the sha256 (hex) that names a task split, from its JSON form.

    Its text has ASCII escapes, unlike that of ``digest``: stored results hold hashes of this form.
    """
    return hashlib.sha256(json.dumps(split, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``record`` as plain JSON values, with the digest of these values as its seal."""
    plain = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL}))
    return {**plain, SEAL: digest(plain)}


def is_changed(record: Mapping[str, Any]) -> bool:
    """Return True if a sealed record was changed after it was sealed. A record that never had a seal is unchanged.

    Whitespace and the order of keys do not count.
    """
    if SEAL in record:
        return bool(record[SEAL] != _digest_without(record, SEAL))
    # One flipped bit in the key "seal" must not turn a sealed record into an unsealed one.
    names = [key for key, value in record.items() if isinstance(value, str) and len(value) == _DIGITS]
    return any(record[name] == _digest_without(record, name) for name in names)


def _digest_without(record: Mapping[str, Any], name: str) -> str:
    return digest({key: value for key, value in record.items() if key != name})


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    write_bytes(path, pretty(value), durable)


def write_record(path: Path, record: Mapping[str, Any], wanted: Callable[[], bool] | None = None) -> bool:
    """Write a record, sealed, if it is ``wanted`` (see :func:`write_bytes`). Return True if it was written."""
    return write_bytes(path, pretty(sealed(record)), wanted=wanted)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, or None if it does not exist or cannot be read."""
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record without its seal, or None if it does not exist or is not as written.

    Raises:
        UserError: a later version wrote the record, which must not be replaced.
    """
    record = read_json(path)
    if not isinstance(record, dict) or is_changed(record):
        return None
    if type(record.get("schema")) is int and record["schema"] > SCHEMA:
        raise UserError(newer_schema(path, record["schema"]))
    return {key: value for key, value in record.items() if key != SEAL}


def newer_schema(path: Path, schema: int) -> str:
    """Return the message of a command that would have to replace a file of a later version."""
    known = f"has schema {schema}, this version reads up to {SCHEMA}"
    return f"{path} {known}: update cl-ner-bench, or pass another --out"
