"""The folder that all processes of a grid share: the results folder, or the object store that it mirrors."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import leases
from cl_ner_bench.storage.files import remove_folder

log = logging.getLogger(__name__)


class StoreError(UserError, OSError):
    """Error of a store that does not answer, or refuses."""


@contextmanager
def tolerate_outage() -> Iterator[None]:
    """Log a StoreError and continue. The next change or command publishes what this machine wrote."""
    try:
        yield
    except StoreError as error:
        log.warning(f"{error}; going on, and telling others later")


class SharedFolder:
    """A results folder that all machines see, so each write is published.

    With an object store (``storage.object_store``) the folder is this machine's copy. Methods raise
    :class:`StoreError` if they cannot reach the store.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.leases: leases.LeaseFiles = leases.LocalLeaseFiles(home)

    def check(self) -> None:
        """Raise UserError if the store could lose published results."""

    def pull(self, leave: Collection[str] = ()) -> None:
        """Fetch all steps and records that others published.

        This command is learning the runs ``leave``: for these, fetch only their progress on other machines.
        """

    def push(self) -> None:
        """Publish everything that the store lacks."""

    def publish(self, folder: Path) -> None:
        """Publish a finished step or a model. If another process was first, fetch its version instead."""

    def fetch(self, folder: Path) -> None:
        """Fetch a missing step or model if others published it."""

    def holds(self, folder: Path) -> bool:
        """Return True if a finished step or a model is here or can be fetched."""
        return folder.is_dir()

    def drop(self, folder: Path) -> None:
        """Remove a folder on all machines."""
        remove_folder(folder)

    def put(self, file: Path) -> None:
        """Publish a file."""

    def get(self, file: Path) -> None:
        """Fetch the published version of a file, if any."""

    def remove(self, file: Path) -> None:
        """Remove a file on all machines."""
        file.unlink(missing_ok=True)


class Poll:
    """Repeated pulls that take at most a tenth of the time. Of failures in a row, only the first is logged."""

    def __init__(self, shared: SharedFolder) -> None:
        self._shared, self._silent = shared, False
        self._next = time.monotonic() + shared.leases.lag

    def __call__(self, leave: Collection[str] = ()) -> None:
        begin = time.monotonic()
        if begin < self._next:
            return
        try:
            self._shared.pull(leave)
            self._silent = False
        except StoreError as error:
            if not self._silent:
                log.warning(f"{error}; trying again")
            self._silent = True
        end = time.monotonic()
        self._next = end + max(self._shared.leases.lag, 10 * (end - begin))
