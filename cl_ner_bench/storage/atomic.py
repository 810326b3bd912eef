"""Atomic writes: a file or folder appears whole or not at all, whichever process on whichever machine writes it.

It is made beside its place under a temporary name and moved there when it is complete. The name tells which process
made it, so that what a killed process left is recognised and swept up later.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

ABANDONED = 24 * 3600
"""Seconds after which a temporary file of another machine counts as abandoned."""

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


def write_bytes(path: Path, data: bytes, durable: bool = True, wanted: Callable[[], bool] = lambda: True) -> bool:
    """Write ``path`` so that a reader, or a crash, sees the old content or the new and never a part of it.

    ``wanted`` is asked just before the file takes its place; if it returns False, nothing is written. Return True if
    the file was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary(path)
    try:
        _write(made, data, durable)
        if not wanted():
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
