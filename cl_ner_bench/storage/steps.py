"""Finished steps: folders that appear with all their files at once. Of several that finish one step, the first wins.

``step.json`` holds the checksums of the other files and is sealed itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ner_bench.storage import layout, manifest
from cl_ner_bench.storage.atomic import create_folder, remove_folder
from cl_ner_bench.untrusted import is_name


@dataclass(frozen=True)
class FinishedStep:
    """A step as it was stored."""

    files: manifest.Manifest

    @property
    def learned(self) -> dict[str, Any]:
        """The step's row of the record's ``learned``."""
        row: dict[str, Any] = self.files.about["learned"]
        return row

    @property
    def shared_with(self) -> str | None:
        """The run that learned the step, where it is another one."""
        return self.files.about.get("shared_with")

    @property
    def predictions(self) -> bytes | None:
        """The stored predictions, None where they are not what was stored."""
        return self.files.read(layout.PREDICTIONS)

    def damage(self) -> str:
        """Return the name of a file that is not what was stored, "" where all are."""
        return next((path.name for path, _ in self.files.faults()), "")


def finished_step(folder: Path, key: str) -> FinishedStep | None:
    """Return the step in ``folder``, None where it is not finished under this key.

    A record that names files outside of the folder, or no run that learned the step, is none: it may be another's.
    """
    found = manifest.read(folder / layout.STEP_SUMS)
    if found is None or found.about.get("key") != key or not is_name(found.about.get("shared_with", "itself")):
        return None
    return FinishedStep(found) if all((folder / name).is_file() for name in found.sums) else None


def commit_step(
    folder: Path, key: str, learned: Mapping[str, Any], blobs: Mapping[str, bytes], shared_with: str | None = None
) -> bool:
    """Store a finished step with ``blobs`` (file name -> content). Return False where it was there already.

    ``shared_with`` names the run that learned it, where it is another one.
    """
    about = {"key": key, "learned": learned} | ({"shared_with": shared_with} if shared_with else {})
    content = {**blobs, layout.STEP_SUMS: manifest.to_bytes(manifest.sums_of(blobs), **about)}
    while not create_folder(folder, content):
        known = finished_step(folder, key)
        if known and not known.damage():
            return False
        remove_folder(folder)  # of other settings, or damaged
    return True
