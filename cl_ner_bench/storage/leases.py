"""Who works on what, when several processes on several machines share a results folder or an object store.

A lease is a file that is created exclusively and touched every few seconds. Locks of the file system (``flock``) play
no part: network file systems and killed owners make them unreliable. A lease only saves work; what two owners finish
at the same time is decided where it is stored, by the first.

The lease of ``name`` is the file ``leases/<name>.<n>`` with the highest n. Whoever finds it abandoned creates n + 1:
only one can, and the former owner, should it wake up, finds its own file gone.
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

from cl_ner_bench.storage.atomic import alive, create, host, temporary

HEARTBEAT = 10.0
"""Seconds after which an owner touches its lease again."""

ABANDONED = 45.0
"""Seconds without a touch after which a lease counts for nothing: the work is taken over within a minute."""


class Place(Protocol):
    """Where leases are kept. Raises OSError where it cannot be reached."""

    lag: float
    """Seconds for which the answer whether a lease was lost may be out of date: each costs a place far away."""

    def create(self, name: str, content: bytes) -> bool:
        """Make a file if it is not there; of several that try at once, one is told True."""

    def names(self) -> list[str]:
        """All files."""

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where it is gone."""

    def touch(self, name: str) -> None:
        """Tell that the file's owner lives."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def age(self, name: str) -> float:
        """Seconds since the last touch by the place's own clock, which all machines see alike; 0 where it is gone."""


class Folder:
    """Leases in a results folder."""

    lag = 0.0

    def __init__(self, out: Path) -> None:
        self._at = out / "leases"

    def create(self, name: str, content: bytes) -> bool:
        return create(self._at / name, content)

    def names(self) -> list[str]:
        try:
            return os.listdir(self._at)
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes | None:
        try:
            return (self._at / name).read_bytes()
        except FileNotFoundError:
            return None

    def touch(self, name: str) -> None:
        os.utime(self._at / name)

    def remove(self, name: str) -> None:
        (self._at / name).unlink(missing_ok=True)

    def age(self, name: str) -> float:
        clock = temporary(self._at / name)
        try:
            clock.touch()
            return clock.stat().st_mtime - (self._at / name).stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            clock.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the folder of leases if there are none."""
        with suppress(OSError):
            self._at.rmdir()


class Lease:
    """A lease that this process holds until ``release``, or until it was taken over (``lost``).

    ``beat`` is called whenever the lease is touched.
    """

    def __init__(self, place: Place, name: str, number: int, token: str) -> None:
        self._place, self._name, self._number, self._token = place, name, number, token
        self.beat: Callable[[], None] = lambda: None
        self._lost, self._looked = False, time.monotonic()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def _live(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with suppress(OSError):  # out of reach: others take the work over, should it last
                if self.lost:
                    return
                self._place.touch(self._file)
                self.beat()

    @property
    def _file(self) -> str:
        return f"{self._name}.{self._number}"

    @property
    def lost(self) -> bool:
        """Whether another process has taken the work over, because this one gave no sign of life."""
        if not self._lost and time.monotonic() - self._looked >= self._place.lag:
            with suppress(OSError):  # out of reach: nobody can tell
                last = _numbers(self._place, self._name)[-1:]
                self._lost = last != [self._number] or not self._is_own()
            self._looked = time.monotonic()
        return self._lost

    def _is_own(self) -> bool:
        return (_read(self._place, self._file) or {}).get("token") == self._token

    def release(self) -> None:
        """Give the work back; harmless where the lease was lost."""
        self._released.set()
        self._thread.join()  # or a last touch could bring it back
        with suppress(OSError):  # out of reach: it lapses
            if self._is_own():
                self._place.remove(self._file)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def acquire(place: Place, name: str) -> Lease | None:
    """The lease of ``name``, None while another process holds it."""
    held = _numbers(place, name)
    if held and not _is_abandoned(place, f"{name}.{held[-1]}"):
        return None
    number = held[-1] + 1 if held else 1
    token = uuid.uuid4().hex
    about = {"schema": 1, "token": token, "host": host(), "pid": os.getpid()}
    if not place.create(f"{name}.{number}", json.dumps(about).encode()):
        return None
    if _numbers(place, name)[-1:] != [number]:  # this process had seen an older state of the place
        place.remove(f"{name}.{number}")
        return None
    for old in held:
        place.remove(f"{name}.{old}")
    return Lease(place, name, number, token)


def wait(place: Place, name: str, seconds: float = 120.0) -> Lease:
    """The lease of something that is done quickly. Raises TimeoutError where it does not become free."""
    end = time.monotonic() + seconds
    while (lease := acquire(place, name)) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"another process has held the lease {name!r} for {seconds:g} s")
        time.sleep(0.05)
    return lease


def holder(place: Place, name: str) -> dict[str, Any] | None:
    """Who holds the lease of ``name``: ``host`` and ``pid``; None where it is free or abandoned."""
    held = _numbers(place, name)
    if not held or _is_abandoned(place, f"{name}.{held[-1]}"):
        return None
    return _read(place, f"{name}.{held[-1]}")


def _numbers(place: Place, name: str) -> list[int]:
    """The numbers of a lease, the one that counts last."""
    found = (file.rpartition(".") for file in place.names())
    return sorted(int(number) for of, _, number in found if of == name and number.isdigit())


def _read(place: Place, file: str) -> dict[str, Any] | None:
    try:
        found = json.loads(place.read(file) or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_abandoned(place: Place, file: str) -> bool:
    about = _read(place, file)
    if about is not None and about.get("host") == host() and not alive(int(about["pid"])):
        return True
    return place.age(file) > ABANDONED
