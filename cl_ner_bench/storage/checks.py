"""Checks of stored files: checksums, and damaged files with the command that repairs them.

A manifest is a sealed record that holds the sha256 of the files of a folder. Each finished step, each model, the top of
a results folder and each report has a manifest of its own. So a step's checksums appear together with the step, and no
process changes the checksums of another.

A damaged file costs its own run, no other.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import layout
from cl_ner_bench.storage.files import SCHEMA, SEAL, from_json, is_changed, pretty, read_json, read_record, sealed
from cl_ner_bench.untrusted import is_name, is_path_below, is_sha256

# Checksums

Sums = Mapping[str, Collection[str]]
"""Maps the path of each file below the folder to the sha256 (hex) that the file may have."""


@dataclass(frozen=True)
class Manifest:
    """The checksums of the files beside ``file``. ``about`` holds the other keys of the record, but its seal."""

    file: Path
    sums: Sums
    about: Mapping[str, Any] = field(default_factory=dict)

    def wrong(self, name: str) -> str:
        """Return the fault of a file, or "" if it is sound or its checksum is unknown."""
        return wrong_sum(self.file.parent / name, self.sums[name]) if name in self.sums else ""

    def faults(self) -> Iterator[tuple[Path, str]]:
        """Yield each file that is not as stored, with its fault."""
        for name in self.sums:
            if wrong := self.wrong(name):
                yield self.file.parent / name, wrong

    def is_whole(self) -> bool:
        """Return True if there are files and all are as stored."""
        return bool(self.sums) and not any(self.faults())

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it is not as stored."""
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


def manifest_bytes(sums: Mapping[str, str | Collection[str]], **about: Any) -> bytes:
    """Return the content of a manifest."""
    return pretty(sealed({"schema": 1, **about, "sha256": sums}))


def parse_manifest(record: Any, file: Path, named: Callable[[Any], bool] = is_name) -> Manifest | None:
    """Return the manifest in ``record``, the content of ``file``, or None if it holds no manifest.

    ``named`` says if a path of a file is allowed, because others may have written the folder.
    """
    stored = record.get("sha256") if isinstance(record, dict) else None
    if not isinstance(stored, dict) or not all(map(named, stored)):
        return None
    sums = {name: value if isinstance(value, list) else [value] for name, value in stored.items()}
    if not all(is_sha256(value) for values in sums.values() for value in values):
        return None
    return Manifest(file, sums, {key: value for key, value in record.items() if key not in (SEAL, "sha256")})


def read_manifest(file: Path, named: Callable[[Any], bool] = is_name) -> Manifest | None:
    """Return the manifest in ``file``, or None if it does not exist or is not as written.

    Raises:
        UserError: a later version wrote it.
    """
    return parse_manifest(read_record(file), file, named)


def sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_sum(path: Path, expected: Collection[str]) -> str:
    """Return the fault of a file whose sha256 must be one of ``expected``, or "" if it is sound."""
    try:
        known = sha256(path) in expected
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if known else "is not what was stored (another sha256)"


# Damage


@dataclass(frozen=True)
class Damaged:
    """A file of a results folder that is not as written, with its fault (``wrong``) and its ``repair``."""

    path: Path
    wrong: str
    repair: str
    of_run: bool = True  # False: a file of the whole folder

    @property
    def run(self) -> str:
        """The name of the run's folder, or "" if the file belongs to no run."""
        places = (self.path, *self.path.parents) if self.of_run else ()
        return next((place.name for place in places if place.parent.name == layout.RUNS), "")

    def __str__(self) -> str:
        return f"{self.path} {self.wrong}: {self.repair}"


class DamagedError(UserError):
    """Error for the first damaged file of a run."""

    def __init__(self, path: Path, wrong: str, repair: str) -> None:
        self.damaged = Damaged(path, wrong, repair)
        super().__init__(str(self.damaged))


class LostError(DamagedError):
    """Error for a file that is missing or not as written. Replacing it loses nothing."""


class NewerError(DamagedError):
    """Error for a file that a later version wrote."""

    def __init__(self, path: Path, wrong: str, repair: str, schema: int) -> None:
        super().__init__(path, wrong, repair)
        self.schema = schema


def learn_again(path: Path) -> str:
    """Return the repair of a file of a run or a model, as part of a message.

    Repeating the folder's grids learns the missing steps. Imported runs must be imported again.
    """
    inside, above = next((a, b) for a, b in pairwise((path, *path.parents)) if b.name in (layout.RUNS, layout.STORE))
    record = read_json(inside / layout.RECORD)
    if isinstance(record, dict) and record.get("imported"):
        return "`bench import` of the same files again repairs it"
    if isinstance(record, dict) and record.get("trial"):
        return "the same `bench tune` command again repairs it"
    home = above.parent
    if not (home / layout.EXPERIMENT).is_file() or check_top(home):
        return "the same `bench run` command again repairs it"
    return f"`{shlex.join(['bench', 'run', '--config', f'{home}/{layout.EXPERIMENT}', '--out', f'{home}'])}` repairs it"


def check_top(home: Path) -> list[Damaged]:
    """Return the files at the top of a results folder that are not as stored.

    A folder without sealed runs comes from a version that stored no checksums of these files.
    """
    sums, repair = home / layout.SUMS, "the same `bench run` command again rewrites it"
    if not sums.is_file() and not any(map(is_sealed, home.glob(f"{layout.RUNS}/*/{layout.RECORD}"))):
        return []
    try:
        found = read_sealed_manifest(sums, repair, is_path_below)
    except DamagedError as error:
        return [replace(error.damaged, of_run=False)]
    return [Damaged(path, wrong, repair, of_run=False) for path, wrong in found.faults()]


def is_sealed(path: Path) -> bool:
    """Return True if a file is a record that carries a seal."""
    try:
        record = from_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and SEAL in record


def read_sound(path: Path, repair: str = "") -> dict[str, Any]:
    """Return the content of a stored JSON file with its seal, after checking schema and seal.

    ``repair`` says how to repair the file; the default is ``learn_again``.

    Raises:
        DamagedError: the file is not as written.
    """

    def lost(wrong: str) -> LostError:
        return LostError(path, wrong, repair or learn_again(path))

    try:
        data = from_json(path.read_bytes())
    except FileNotFoundError as error:
        raise lost("is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise lost(f"cannot be read ({error})") from error
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise lost("has no 'schema': it was not written by this suite")
    if data["schema"] > SCHEMA:
        wrong = f"has schema {data['schema']}, this version reads up to {SCHEMA}"
        then = f"update cl-ner-bench; if no later version wrote it, {repair or learn_again(path)}"
        raise NewerError(path, wrong, then, data["schema"])
    if is_changed(data):
        raise lost("was changed after it was written (its seal is broken)")
    return data


def read_sealed_manifest(file: Path, repair: str, named: Callable[[Any], bool] = is_name) -> Manifest:
    """Return the manifest in ``file``, which must carry a seal. See :func:`parse_manifest`.

    Raises:
        DamagedError: the file is not as written; ``repair`` says how to repair it.
    """
    record = read_sound(file, repair)
    if SEAL not in record:
        raise DamagedError(file, "carries no seal", repair)
    if (found := parse_manifest(record, file, named)) is None:
        raise DamagedError(file, "holds no valid checksums", repair)
    return found
