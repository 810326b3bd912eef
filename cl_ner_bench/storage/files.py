"""Files that appear whole or not at all, whichever process on whichever machine writes them; JSON, and sealed records.

A file or folder is made beside its place under a temporary name and moved there when it is complete. The name tells
which process made it, so that what a killed process left is recognised and swept up later. A sealed record holds the
digest of everything else in it.
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
SCHEMA = 1  # of records; those of every earlier schema are read, too
_DIGITS = 64  # of a sha256
_TEMPORARY = re.compile(r"\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.[0-9a-f]{32}\.tmp")


@cache
def host() -> str:
    """Return a name for the space in which a process number is unique: the machine, and the container on it."""
    space = Path("/proc/self/ns/pid")
    inside = os.readlink(space) if space.is_symlink() else ""
    return re.sub(r"[^\w-]+", "_", f"{socket.gethostname()}-{inside.strip('pid:[]')}").strip("-") or "unknown"


def temporary(path: Path) -> Path:
    """Return a name beside ``path`` that no other process uses and that names this one."""
    return path.with_name(f".{host()}.{os.getpid()}.{uuid.uuid4().hex}.tmp")


def write_bytes(path: Path, data: bytes, durable: bool = True, wanted: Callable[[], bool] | None = None) -> bool:
    """Write ``path`` so that a reader, or a crash, sees the old content or the new and never a part of it.

    ``wanted`` is asked just before the file takes its place; if it returns False, nothing is written. Return True if
    the file was written.
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
    """Write ``path`` whole if it does not exist. Of several processes that try at once, one gets True."""
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
    """Make the folder ``path`` with the files ``blobs``, all at once, if it does not exist. Of several processes that
    try at once, one gets True."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    made.mkdir()
    try:
        for name, data in blobs.items():
            _write(made / name, data)
        sync_folder(made)
        try:
            made.rename(path)  # fails where a folder with files exists
        except OSError:
            if path.is_dir():
                return False
            raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return True


def remove_folder(path: Path) -> None:
    """Remove a folder at once: no reader finds a part of it."""
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
    """Make the names in a folder survive a loss of power, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no such thing
            os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files of processes that are gone, in ``folder`` and below; return their paths."""
    gone = []
    for place, folders, names in os.walk(folder):  # others may remove entries meanwhile: they are skipped
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
    """Return True if a process of this machine runs; a zombie does not."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# JSON


def from_json(data: bytes) -> Any:
    """Return the value of a JSON file.

    Raises:
        ValueError: it is no JSON, or holds half a surrogate pair, which no output can hold.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(data.decode())
    json.dumps(value, ensure_ascii=False).encode()
    return value


def canonical(value: Any) -> str:
    """Return the JSON text that equal values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ordered(value: Any) -> str:
    """Return compact JSON text that keeps the order of keys (learning order is information)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def pretty(value: Any) -> bytes:
    """Return JSON as stored: a line per key, sorted."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def gzipped(lines: Iterable[str]) -> bytes:
    """Return text lines as gzip without the time: equal lines give equal bytes."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``record`` as JSON gives it back, with the digest of everything else in it."""
    plain = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL}))
    return {**plain, SEAL: digest(plain)}


def is_changed(record: Mapping[str, Any]) -> bool:
    """Return True if a sealed record was changed since; a record without a seal is not known to be.

    Whitespace and the order of keys are no part of a record.
    """
    if SEAL in record:
        return bool(record[SEAL] != _digest_without(record, SEAL))
    # One flipped bit in the word "seal" must not make a sealed record one that never was.
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
    """Return the value of a JSON file, None where there is none or it cannot be read."""
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record without its seal, None where there is none or it is not what was written.

    Raises:
        UserError: a later version wrote it; it must not be replaced.
    """
    record = read_json(path)
    if not isinstance(record, dict) or is_changed(record):
        return None
    if type(record.get("schema")) is int and record["schema"] > SCHEMA:
        raise UserError(newer_schema(path, record["schema"]))
    return {key: value for key, value in record.items() if key != SEAL}


def newer_schema(path: Path, schema: int) -> str:
    """Return what a command says that would have to replace a file of a later version."""
    known = f"has schema {schema}, this version reads up to {SCHEMA}"
    return f"{path} {known}: update cl-ner-bench, or pass another --out"
