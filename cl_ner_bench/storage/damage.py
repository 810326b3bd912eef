"""Damaged files of a results folder. A damaged file costs its run, not the others: it is found and named, with the
command that repairs it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage import layout
from cl_ner_bench.storage.json_files import SCHEMA, from_json, is_changed
from cl_ner_bench.storage.top import TopFiles


@dataclass(frozen=True)
class Damaged:
    """A file of a results folder that is not what was written: what is ``wrong`` with it, and what repairs it."""

    path: Path
    wrong: str
    repair: str
    of_run: bool = True  # else of the folder as a whole

    @property
    def run(self) -> str:
        """The name of the run's folder, "" where the file is of no run."""
        places = (self.path, *self.path.parents) if self.of_run else ()
        return next((place.name for place in places if place.parent.name == layout.RUNS), "")

    def __str__(self) -> str:
        return f"{self.path} {self.wrong}: {self.repair}"


class DamagedError(UserError):
    """Raised for the first damaged file of a run."""

    def __init__(self, path: Path, wrong: str, repair: str) -> None:
        self.damaged = Damaged(path, wrong, repair)
        super().__init__(str(self.damaged))


class LostError(DamagedError):
    """Raised for a file that is missing or not what was written: nothing is lost where it is replaced."""


class NewerError(DamagedError):
    """Raised for a file that a later version wrote."""

    def __init__(self, path: Path, wrong: str, repair: str, schema: int) -> None:
        super().__init__(path, wrong, repair)
        self.schema = schema


def learn_again(path: Path) -> str:
    """Return what repairs a file of a run or a model: the folder's grids again, which learn what is not there."""
    home = layout.results_folder_of(path)
    top = TopFiles(home)
    if not top.experiment.is_file() or any(top.faults()):
        return "the same `bench run` command again repairs it"
    return f"`{shlex.join(['bench', 'run', '--config', f'{home}/{layout.EXPERIMENT}', '--out', f'{home}'])}` repairs it"


def check_top(home: Path) -> list[Damaged]:
    """Return the files at the top of a results folder that are not what was stored."""
    repair = "the same `bench run` command again writes it anew"
    return [Damaged(path, wrong, repair, of_run=False) for path, wrong in TopFiles(home).faults()]


def read_sound(path: Path, repair: str = "") -> dict[str, Any]:
    """Return a stored JSON file of a known schema that is what was written, with its seal.

    ``repair`` is what repairs it, where that is not ``learn_again``.

    Raises:
        DamagedError: it is not what was written.
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
