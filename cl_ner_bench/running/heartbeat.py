"""The heartbeat of a run that is being learned: its progress, and a check if it must stop."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from cl_ner_bench.storage.files import host
from cl_ner_bench.storage.leases import Lease
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.shared import tolerate_outage

EVERY = 0.5  # seconds between two writes


class Interrupted(Exception):  # noqa: N818  a stop is no error
    """Exception that stops a run."""


class Heartbeat:
    """The heartbeat of a run. It writes the progress at most twice a second, and checks if the run must stop.

    A run stops if the stop file exists, its parent process has ended or its lease is lost. Each touch of the lease
    publishes the progress for machines without a common file system.
    """

    def __init__(self, run: RunFolder, stop: Path, lease: Lease) -> None:
        self.run, self.stop, self.lease, self.parent = run, stop, lease, os.getppid()
        self.state: dict[str, Any] = {}
        self.next = 0.0
        self.publishing = threading.Lock()
        lease.on_touch = self._publish

    def begin(self, step: int, phase: str) -> None:
        """Write that a step begins, without the counts of the last step. Raise Interrupted as a call does."""
        self.state = {"schema": 1, "host": host(), "pid": os.getpid()}
        self({"step": step, "step_started": time.time(), "phase": phase}, now=True)

    def __call__(self, state: dict[str, Any], now: bool = False) -> None:
        """Add to the state. Write the state with ``now``, or if enough time has passed.

        Raises:
            Interrupted: the run must stop.
        """
        self.state |= state
        if not now and time.monotonic() < self.next:
            return
        self.next = time.monotonic() + EVERY
        self.check()
        self.run.save_progress(self.state)

    def check(self) -> None:
        """Raise Interrupted if the run must stop."""
        if self.stop.exists() or os.getppid() != self.parent or self.lease.lost:
            raise Interrupted

    def _publish(self) -> None:
        with self.publishing:
            self.run.publish_progress()

    def end(self) -> None:
        """Remove the state for good."""
        with self.publishing, tolerate_outage():
            self.run.clear_progress()
