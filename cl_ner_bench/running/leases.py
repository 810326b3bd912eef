"""Who works on what, when several processes on several machines share a results folder.

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
from contextlib import suppress
from pathlib import Path
from typing import Any

from cl_ner_bench.files import alive, create, host, temporary

HEARTBEAT = 10.0
"""Seconds after which an owner touches its lease again."""

ABANDONED = 45.0
"""Seconds without a touch after which a lease counts for nothing: the work is taken over within a minute."""


class Lease:
    """A lease that this process holds until ``release``, or until it was taken over (``lost``)."""

    def __init__(self, path: Path, token: str) -> None:
        self._path, self._token = path, token
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with suppress(OSError):
                os.utime(self._path)

    @property
    def lost(self) -> bool:
        """Whether another process has taken the work over, because this one gave no sign of life."""
        return (_read(self._path) or {}).get("token") != self._token or bool(_above(self._path))

    def release(self) -> None:
        """Give the work back; harmless where the lease was lost."""
        self._released.set()
        if not self.lost:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def acquire(out: Path, name: str) -> Lease | None:
    """The lease of ``name`` in a results folder, None while another process holds it."""
    held = _files(out, name)
    if held and not _is_abandoned(held[-1]):
        return None
    path = out / "leases" / f"{name}.{_number(held[-1]) + 1 if held else 1}"
    token = uuid.uuid4().hex
    about = {"schema": 1, "token": token, "host": host(), "pid": os.getpid()}
    if not create(path, json.dumps(about).encode()):
        return None
    if _above(path):  # this process had seen an older state of the folder
        path.unlink(missing_ok=True)
        return None
    for old in held:
        old.unlink(missing_ok=True)
    return Lease(path, token)


def wait(out: Path, name: str, seconds: float = 120.0) -> Lease:
    """The lease of something that is done quickly. Raises TimeoutError where it does not become free."""
    end = time.monotonic() + seconds
    while (lease := acquire(out, name)) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"{out / 'leases'}: another process has held {name} for {seconds:g} s")
        time.sleep(0.05)
    return lease


def holder(out: Path, name: str) -> dict[str, Any] | None:
    """Who holds the lease of ``name``: ``host`` and ``pid``; None where it is free or abandoned."""
    held = _files(out, name)
    return None if not held or _is_abandoned(held[-1]) else _read(held[-1])


def tidy(out: Path) -> None:
    """Remove the folder of leases if there are none."""
    with suppress(OSError):
        (out / "leases").rmdir()


def _files(out: Path, name: str) -> list[Path]:
    """The files of a lease, the one that counts last."""
    found = (p for p in (out / "leases").glob(f"{name}.*") if p.stem == name and p.suffix[1:].isdigit())
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _above(path: Path) -> list[Path]:
    return [p for p in _files(path.parent.parent, path.stem) if _number(p) > _number(path)]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_abandoned(path: Path) -> bool:
    about = _read(path)
    gone = about is not None and about.get("host") == host() and not alive(int(about["pid"]))
    return gone or not path.exists() or _age(path) > ABANDONED


def _age(path: Path) -> float:
    """Seconds since the last touch, by the clock of the file system, which all machines see alike."""
    clock = temporary(path)
    try:
        clock.touch()
        return clock.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        clock.unlink(missing_ok=True)
