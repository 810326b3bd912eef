"""Leases: the right of one process to do a piece of work in a results folder that several machines share.

A process creates the file of a lease exclusively and touches the file every few seconds. Locks of the file system
(``flock``) are unreliable on network file systems and after an owner is killed. A lease only saves work: if two owners
finish the same work, the first to store it wins.

The lease of ``name`` is the file ``leases/<name>.<n>`` with the highest n. A process that finds it abandoned creates
n + 1. Only one process can, and a former owner that wakes up finds its own file gone.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from cl_ner_bench.storage import layout
from cl_ner_bench.storage.files import alive, create, host, temporary

HEARTBEAT = 10.0
"""Seconds after which an owner touches its lease again."""

ABANDONED = 45.0
"""Seconds without a touch after which a lease is void, so another process takes the work over within a minute."""


class LeaseFiles(Protocol):
    """The files of leases, in a folder or an object store. Methods raise OSError if they cannot reach it."""

    lag: float
    """Seconds for which an owner may not notice a lost lease, because a look into a remote store takes time."""

    def create(self, name: str, content: bytes) -> bool:
        """Make a file if it does not exist. If several processes try at once, one gets True."""

    def names(self) -> list[str]:
        """Return the names of all files."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it is gone."""

    def touch(self, name: str) -> None:
        """Show that the file's owner is alive."""

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def age(self, name: str) -> float:
        """Return the seconds since the last touch by the clock of the folder or store, or 0 if the file is gone."""


class LocalLeaseFiles:
    """Leases in a results folder."""

    lag = 0.0

    def __init__(self, home: Path) -> None:
        self._folder = home / layout.LEASES

    def create(self, name: str, content: bytes) -> bool:
        return create(self._folder / name, content)

    def names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def touch(self, name: str) -> None:
        os.utime(self._folder / name)

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def age(self, name: str) -> float:
        clock = temporary(self._folder / name)
        try:
            clock.touch()
            return clock.stat().st_mtime - (self._folder / name).stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            clock.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the folder if it is empty."""
        with suppress(OSError):
            self._folder.rmdir()


class Lease:
    """A lease that this process holds until ``release``, or until another process takes it over (``lost``).

    The lease calls ``on_touch`` after each touch.
    """

    def __init__(self, files: LeaseFiles, name: str, number: int, token: str) -> None:
        self._files, self._name, self._number, self._token = files, name, number, token
        self.on_touch: Callable[[], None] = lambda: None
        self._lost, self._looked = False, time.monotonic()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def _live(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with suppress(OSError):  # out of reach; if this lasts, another process takes over
                if self.lost:
                    return
                self._files.touch(self._file)
                self.on_touch()

    @property
    def _file(self) -> str:
        return f"{self._name}.{self._number}"

    @property
    def lost(self) -> bool:
        """True if another process has taken over because this process did not touch the lease in time."""
        if not self._lost and time.monotonic() - self._looked >= self._files.lag:
            with suppress(OSError):  # out of reach, so unknown
                last = _numbers(self._files, self._name)[-1:]
                self._lost = last != [self._number] or not self._is_own()
            self._looked = time.monotonic()
        return self._lost

    def _is_own(self) -> bool:
        return (_read(self._files, self._file) or {}).get("token") == self._token

    def release(self) -> None:
        """Give the lease back. A lost lease is no error."""
        self._released.set()
        self._thread.join()  # else a last touch could create the file again
        with suppress(OSError):  # out of reach; the lease expires by itself
            if self._is_own():
                self._files.remove(self._file)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def acquire(files: LeaseFiles, name: str) -> Lease | None:
    """Take the lease of ``name``. Return None while another process holds it."""
    held = _numbers(files, name)
    if held and not _is_abandoned(files, f"{name}.{held[-1]}"):
        return None
    number = held[-1] + 1 if held else 1
    token = uuid.uuid4().hex
    about = {"schema": 1, "token": token, "host": host(), "pid": os.getpid()}
    if not files.create(f"{name}.{number}", json.dumps(about).encode()):
        return None
    if _numbers(files, name)[-1:] != [number]:  # this process worked from an outdated list
        files.remove(f"{name}.{number}")
        return None
    for old in held:
        files.remove(f"{name}.{old}")
    return Lease(files, name, number, token)


def wait(files: LeaseFiles, name: str, seconds: float = 120.0) -> Lease:
    """Wait for the lease of a short piece of work, and take it.

    Raises:
        TimeoutError: the lease is not free after ``seconds``.
    """
    end = time.monotonic() + seconds
    while (lease := acquire(files, name)) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"another process has held the lease {name!r} for {seconds:g} s")
        time.sleep(0.05)
    return lease


def holder(files: LeaseFiles, name: str) -> dict[str, Any] | None:
    """Return ``host`` and ``pid`` of the holder of a lease, or None if the lease is free or abandoned."""
    held = _numbers(files, name)
    if not held or _is_abandoned(files, f"{name}.{held[-1]}"):
        return None
    return _read(files, f"{name}.{held[-1]}")


def _numbers(files: LeaseFiles, name: str) -> list[int]:
    """Return the numbers of a lease, sorted. The last is valid."""
    found = (file.rpartition(".") for file in files.names())
    return sorted(int(number) for whose, _, number in found if whose == name and number.isdigit())


def _read(files: LeaseFiles, file: str) -> dict[str, Any] | None:
    try:
        found = json.loads(files.read(file) or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_abandoned(files: LeaseFiles, file: str) -> bool:
    about = _read(files, file)
    if about is not None and about.get("host") == host() and not alive(int(about["pid"])):
        return True
    return files.age(file) > ABANDONED
