"""The files of a report and their checksums in ``report-sums.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cl_ner_bench.storage import layout
from cl_ner_bench.storage.checks import DamagedError, Manifest, manifest_bytes, read_sealed_manifest, sums_of
from cl_ner_bench.storage.files import write_bytes
from cl_ner_bench.untrusted import is_path_below


def write_report_files(out: Path, files: Mapping[str, bytes], runs: Sequence[str], made_from: str) -> list[Path]:
    """Write the files of a report (path below ``out`` -> content), then their checksums. Return the paths of all.

    ``made_from`` is the digest of all inputs of the report.
    """
    sums = manifest_bytes(sums_of(files), runs=list(runs), made_from=made_from)
    for name, content in {**files, layout.REPORT_SUMS: sums}.items():
        write_bytes(out / name, content, durable=False)
    return [out / name for name in (*files, layout.REPORT_SUMS)]


def same_report(out: Path, made_from: str) -> list[Path]:
    """Return the files of the report in ``out`` if its inputs are the same and no file was changed, else []."""
    try:
        found = report_checksums(out, "")
    except DamagedError:
        return []
    if found is None or found.about.get("made_from") != made_from or not found.is_whole():
        return []
    return [out / name for name in (*found.sums, layout.REPORT_SUMS)]


def report_checksums(home: Path, repair: str) -> Manifest | None:
    """Return the checksums of the report in ``home`` with its ``runs``.

    Return None if there is no report, or an early version wrote it. ``repair`` says how to repair a damaged report.

    Raises:
        DamagedError: the checksums are missing or not as written.
    """
    file = home / layout.REPORT_SUMS
    if not file.exists():
        if (home / layout.SUMS).exists() and (home / layout.REPORT).exists():
            raise DamagedError(file, "is missing", repair)
        return None
    found = read_sealed_manifest(file, repair, is_path_below)
    if not isinstance(found.about.get("runs"), list):
        raise DamagedError(file, "is not as docs/results.md says", repair)
    return found
