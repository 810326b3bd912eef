"""Files that are written whole or not at all, by many processes on many machines, and records that tell of a change.

A file or folder is made beside its place under a name of its own and moved there when it is complete. What a killed
process left is known by its name and swept up later.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

SEAL = "seal"
SCHEMA = 1  # of records; those of every earlier schema are read, too
FORGOTTEN = 24 * 3600
"""Seconds after which what another machine left unfinished is taken for abandoned."""

_DIGITS = 64  # of a sha256
_TEMPORARY = re.compile(r"\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.[0-9a-f]{32}\.tmp")


@cache
def host() -> str:
    """What tells where a process number means a process: the machine, and the container in it."""
    space = Path("/proc/self/ns/pid")
    inside = os.readlink(space) if space.is_symlink() else ""
    return re.sub(r"[^\w-]+", "_", f"{socket.gethostname()}-{inside.strip('pid:[]')}").strip("-") or "unknown"


def temporary(path: Path) -> Path:
    """A name beside ``path`` that no other process uses, and that tells whose it is."""
    return path.with_name(f".{host()}.{os.getpid()}.{uuid.uuid4().hex}.tmp")


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write ``path`` so that a reader, or a crash, sees the old content or the new and never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    try:
        _write(made, data, durable)
        os.replace(made, path)
        if durable:
            sync_folder(path.parent)
    finally:
        made.unlink(missing_ok=True)


def create(path: Path, data: bytes) -> bool:
    """Write ``path`` whole if it is not there; of several that try at once, one is told True."""
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
    """Make the folder ``path`` with files ``blobs``, all at once, if it is not there; of several, one is told True."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    made.mkdir()
    try:
        for name, data in blobs.items():
            _write(made / name, data)
        sync_folder(made)
        try:
            made.rename(path)  # fails where a folder with files stands
        except OSError:
            if path.is_dir():
                return False
            raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return True


def remove_folder(path: Path) -> None:
    """Remove a folder so that no reader finds a part of it."""
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
    """Have the names in a folder survive a loss of power, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no such thing
            os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> list[Path]:
    """Remove what processes that are gone left unfinished in ``folder`` and below; returns what that was."""
    gone = []
    for place, folders, names in os.walk(folder):  # what others take away meanwhile is passed over
        for name in sorted([*folders, *names]):
            match, path = _TEMPORARY.fullmatch(name), Path(place, name)
            if match and _abandoned(match["host"], int(match["pid"]), path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                gone.append(path)
    return gone


def _abandoned(at: str, pid: int, path: Path) -> bool:
    if at == host():
        return not alive(pid)
    try:
        return time.time() - path.lstat().st_mtime > FORGOTTEN
    except FileNotFoundError:
        return False


def alive(pid: int) -> bool:
    """Whether a process of this machine lives; one that ended and was not waited for does not."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# Records


def from_json(data: bytes) -> Any:
    """The value of a JSON file. Raises ValueError for what is none, or holds half a surrogate pair, which no output
    can hold; RecursionError for brackets in brackets."""
    value = json.loads(data.decode())
    json.dumps(value, ensure_ascii=False).encode()
    return value


def canonical(value: Any) -> str:
    """JSON text that equal values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` with the digest of everything else in it, as JSON gives it back."""
    plain = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL}))
    return {**plain, SEAL: digest(plain)}


def is_changed(record: Mapping[str, Any]) -> bool:
    """Whether a sealed record was changed since; what no seal was put on is not known to be.

    What its whitespace looks like, and in which order its keys stand, is no part of a record.
    """
    if SEAL in record:
        return bool(record[SEAL] != _digest_without(record, SEAL))
    # One flipped bit in the word "seal" must not make a sealed record one that never was.
    names = [key for key, value in record.items() if isinstance(value, str) and len(value) == _DIGITS]
    return any(record[name] == _digest_without(record, name) for name in names)


def _digest_without(record: Mapping[str, Any], name: str) -> str:
    return digest({key: value for key, value in record.items() if key != name})
