"""Models and checkpoints by step key: ``store/<key>/`` and ``store/<key>.checkpoint``."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from cl_ner_bench.storage import layout
from cl_ner_bench.storage.checks import (
    Damaged,
    DamagedError,
    manifest_bytes,
    parse_manifest,
    read_manifest,
    read_sound,
    sums_in,
)
from cl_ner_bench.storage.files import SEAL, remove_folder, sync_folder, temporary, write_bytes
from cl_ner_bench.storage.shared import SharedFolder, tolerate_outage

T = TypeVar("T")

_DIGEST = 32  # bytes of a sha256


class Models:
    """The stored models of a results folder."""

    def __init__(self, shared: SharedFolder) -> None:
        self._shared = shared
        self._pinned: frozenset[str] = frozenset()

    def path(self, key: str) -> Path:
        return self._shared.home / layout.STORE / key

    def save(self, key: str, write: Callable[[Path], None]) -> None:
        """Store the model of step ``key``: ``write`` fills a folder, which appears when it is complete.

        A model that is there already was computed from the same things, by this run or by one of another name: it
        stays.
        """
        folder = self.path(key)
        if not folder.is_dir():
            self._create(folder, key, write)
        self._shared.publish(folder)

    def _create(self, folder: Path, key: str, write: Callable[[Path], None]) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = temporary(folder)
        made.mkdir()
        try:
            write(made)
            write_bytes(made / layout.MODEL_SUMS, manifest_bytes(sums_in(made), key=key))
            with suppress(OSError):  # the other run was quicker
                made.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def load(self, key: str, read: Callable[[Path], T]) -> T | None:
        """Return what ``read`` makes of a model's folder, None where there is none or it is dropped meanwhile."""
        self._shared.fetch(self.path(key))
        if not self._is_sound(key):
            return None
        try:
            return read(self.path(key))
        except FileNotFoundError:  # dropped just now by a run of another name that computes the same
            return None

    def _is_sound(self, key: str) -> bool:
        """Return True if a model is there as it was saved; remove it where it is not."""
        folder = self.path(key)
        if not folder.is_dir():
            return False
        found = read_manifest(folder / layout.MODEL_SUMS)
        if found and found.about.get("key") == key and found.is_whole():
            return True
        remove_folder(folder)
        return False

    def holds(self, key: str) -> bool:
        """Return True if a model is here or can be fetched."""
        return self._shared.holds(self.path(key))

    def pin(self, keys: Iterable[str]) -> None:
        """Keep these models from ``drop``: other runs start from them."""
        self._pinned |= {*keys}

    def drop(self, key: str) -> None:
        """Remove a model on all machines, unless it is pinned."""
        if key not in self._pinned:
            self._shared.drop(self.path(key))


class Checkpoints:
    """The states that stopped steps go on from. A file is a sha256 (32 bytes) and behind it the content."""

    def __init__(self, shared: SharedFolder) -> None:
        self._shared = shared

    def _file(self, key: str) -> Path:
        return self._shared.home / layout.STORE / f"{key}.checkpoint"

    def save(self, key: str, content: bytes) -> None:
        """Replace the state of step ``key``.

        Raises:
            OSError: it cannot be written; the last one stays.
        """
        write_bytes(self._file(key), hashlib.sha256(content).digest() + content)
        with tolerate_outage():
            self._shared.put(self._file(key))

    def load(self, key: str) -> bytes | None:
        """Return the state that was saved last, None where there is none; a damaged one is removed."""
        self._shared.get(self._file(key))
        try:
            with self._file(key).open("rb") as file:
                expected, content = file.read(_DIGEST), file.read()
        except OSError:
            return None
        if hashlib.sha256(content).digest() == expected:
            return content
        self.drop(key)
        return None

    def drop(self, key: str) -> None:
        self._shared.remove(self._file(key))


def check_model(folder: Path) -> list[Damaged]:
    """Return the files of a stored model that are not what was stored. `bench run` removes a damaged model where it
    would go on from it."""
    again = f"remove the folder {folder}: the model alone is lost, and `bench run` with another --out learns it again"
    file = folder / layout.MODEL_SUMS
    try:
        record = read_sound(file, again)
    except DamagedError as error:
        return [error.damaged]
    found = parse_manifest(record, file)
    if SEAL not in record or found is None or found.about.get("key") != folder.name:
        return [Damaged(file, "is not of this model", again, of_run=False)]
    return [Damaged(path, wrong, again, of_run=False) for path, wrong in found.faults()]
