"""Where the processes that learn a grid meet: the results folder, or an object store that folders are copies of."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import leases
from cl_ner_bench.storage.atomic import remove_folder

log = logging.getLogger(__name__)


class StoreError(UserError, OSError):
    """A store does not answer, or refuses."""


@contextmanager
def told_later() -> Iterator[None]:
    """What may wait until the store answers again."""
    try:
        yield
    except StoreError as error:
        log.warning(f"{error}; going on, and telling others later")


class Depot:
    """A results folder that everybody sees: what is written there is published.

    Of an object store (``storage.object_store``) the folder is this machine's copy. Files and folders are named by
    their place in the folder. Where a store cannot be reached, methods raise :class:`StoreError`.
    """

    url: str | None = None
    """Of the object store."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.leases: leases.Place = leases.Folder(out)

    def check(self) -> None:
        """Raises UserError where what is published could be lost."""

    def pull(self, leave: Collection[str] = ()) -> None:
        """Have all steps and records that others published; of the runs ``leave``, which this command has learned just
        now, no records but how far they are elsewhere."""

    def push(self) -> None:
        """Publish what the folder has and others do not."""

    def publish(self, folder: Path) -> None:
        """Tell others of a finished step or a model; where another has published it before, have that in its place."""

    def fetch(self, folder: Path) -> None:
        """Have a finished step or a model, where others published it."""

    def holds(self, folder: Path) -> bool:
        """Whether a finished step or a model is here, or can be fetched."""
        return folder.is_dir()

    def drop(self, folder: Path) -> None:
        """Remove a folder for everybody."""
        remove_folder(folder)

    def put(self, file: Path) -> None:
        """Tell others of a file as it is now."""

    def get(self, file: Path) -> None:
        """Have a file as others know it, if they do."""

    def remove(self, file: Path) -> None:
        """Remove a file for everybody."""
        file.unlink(missing_ok=True)


class Look:
    """Has what others published since the last ``pull``, as often as it costs little of the time, and says once when a
    store falls silent."""

    def __init__(self, shared: Depot) -> None:
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
