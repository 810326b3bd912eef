"""The files at the top of a results folder that `bench run` writes: grids, test mentions, scenarios.

``sums.json`` holds their checksums. While a file is replaced it holds two for it, the old one and the new: a process
that is killed in between leaves a file that is known either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cl_ner_bench.storage import layout, manifest
from cl_ner_bench.storage.atomic import write_bytes
from cl_ner_bench.storage.json_files import SEAL, from_json, is_changed, read_record
from cl_ner_bench.untrusted import is_path_below


class TopFiles:
    """The files at the top of the results folder ``home``."""

    def __init__(self, home: Path) -> None:
        self.experiment, self.mentions = home / layout.EXPERIMENT, home / layout.MENTIONS
        self._home, self._sums = home, home / layout.SUMS

    def scenario(self, file: Path) -> Path:
        """Return where a copy of a scenario's file is kept."""
        return self._home / layout.SCENARIOS / file.name

    def wrong(self, file: Path) -> str:
        """Return what is wrong with a file, "" where nothing is or its checksum is not known."""
        found = self._manifest()
        return found.wrong(self._name(file)) if found else ""

    def write(self, contents: Mapping[Path, bytes]) -> None:
        """Write files and their checksums."""
        blobs = {self._name(file): content for file, content in contents.items()}
        known = dict(found.sums) if (found := self._manifest()) else {}
        sums = manifest.sums_of(blobs)
        changed = {file: c for file, c in contents.items() if not file.is_file() or file.read_bytes() != c}
        if changed:
            both = {name: [*known.get(name, ()), sums[name]] for name in blobs}
            write_bytes(self._sums, manifest.to_bytes(known | both))
            for file, content in changed.items():
                write_bytes(file, content)
        record = manifest.to_bytes(known | {name: [value] for name, value in sums.items()})
        if not self._sums.is_file() or self._sums.read_bytes() != record:
            write_bytes(self._sums, record)

    def faults(self) -> Iterator[tuple[Path, str]]:
        """Yield each file that is not what was stored, and what is wrong with it.

        A folder without sealed runs is of a version that stored no checksums of these files.
        """
        if not self._sums.is_file():
            if any(map(is_sealed, self._home.glob(f"{layout.RUNS}/*/{layout.RECORD}"))):
                yield self._sums, "is missing"
            return
        try:
            record = from_json(self._sums.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            yield self._sums, f"cannot be read ({error})"
            return
        if not isinstance(record, dict) or SEAL not in record or is_changed(record):
            yield self._sums, "was changed after it was written (its seal is broken)"
        elif (found := manifest.parse(record, self._sums, is_path_below)) is None:
            yield self._sums, "is not as docs/results.md says"
        else:
            yield from found.faults()

    def _manifest(self) -> manifest.Manifest | None:
        return manifest.parse(read_record(self._sums), self._sums, is_path_below)

    def _name(self, file: Path) -> str:
        return file.relative_to(self._home).as_posix()


def is_sealed(path: Path) -> bool:
    """Return True if a file is a record that carries a seal."""
    try:
        record = from_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and SEAL in record
