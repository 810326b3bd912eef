"""Checksums: sealed records that hold the sha256 of the files of a folder. All of them are written and checked here.

Each finished step, each model, the top of a results folder and each report has one. That several exist is part of how
they are written: a step's checksums appear together with the step, and no process has to change those of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cl_ner_bench.storage.json_files import pretty, read_record, sealed
from cl_ner_bench.untrusted import is_name, is_sha256

Sums = Mapping[str, Collection[str]]
"""The sha256 (hex) that each file may have, by its path below the folder."""


@dataclass(frozen=True)
class Manifest:
    """The checksums of the files beside ``file``; ``about`` is everything else that the record holds."""

    file: Path
    sums: Sums
    about: Mapping[str, Any] = field(default_factory=dict)

    def wrong(self, name: str) -> str:
        """Return what is wrong with a file, "" where nothing is or its checksum is not known."""
        return wrong_sum(self.file.parent / name, self.sums[name]) if name in self.sums else ""

    def faults(self) -> Iterator[tuple[Path, str]]:
        """Yield each file that is not what was stored, and what is wrong with it."""
        for name in self.sums:
            if wrong := self.wrong(name):
                yield self.file.parent / name, wrong

    def is_whole(self) -> bool:
        """Return True if there are files and all are what was stored."""
        return bool(self.sums) and not any(self.faults())

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None where it is not what was stored."""
        try:
            data = (self.file.parent / name).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() in self.sums.get(name, ()) else None


def sums_of(blobs: Mapping[str, bytes]) -> dict[str, str]:
    """Return the sha256 of each of ``blobs`` (path -> content)."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}


def sums_in(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file in ``folder``."""
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


def to_bytes(sums: Mapping[str, str | Collection[str]], **about: Any) -> bytes:
    """Return the content of a manifest."""
    return pretty(sealed({"schema": 1, **about, "sha256": sums}))


def parse(record: Any, file: Path, named: Callable[[Any], bool] = is_name) -> Manifest | None:
    """Return the manifest that ``record``, the content of ``file``, is; None where it is none.

    ``named`` says what the path of a file may be: a folder may come from others.
    """
    stored = record.get("sha256") if isinstance(record, dict) else None
    if not isinstance(stored, dict) or not all(map(named, stored)):
        return None
    sums = {name: value if isinstance(value, list) else [value] for name, value in stored.items()}
    if not all(is_sha256(value) for values in sums.values() for value in values):
        return None
    return Manifest(file, sums, {key: value for key, value in record.items() if key != "sha256"})


def read(file: Path, named: Callable[[Any], bool] = is_name) -> Manifest | None:
    """Return the manifest in ``file``, None where there is none or it is not what was written.

    Raises:
        UserError: a later version wrote it.
    """
    return parse(read_record(file), file, named)


def sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_sum(path: Path, expected: Collection[str]) -> str:
    """Return what is wrong with a file whose sha256 must be one of ``expected``, "" where nothing is."""
    try:
        known = sha256(path) in expected
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if known else "is not what was stored (another sha256)"
