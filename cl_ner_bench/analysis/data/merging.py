"""The merging of results folders: each run counts once. An error names the folders that do not fit together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.checks import Damaged, DamagedError
from cl_ner_bench.storage.differences import differences
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import IDENTITY, RunRecord
from cl_ner_bench.untrusted import unpacked


def merge_folders(dirs: Sequence[Path]) -> tuple[list[RunRecord], dict[str, RunFolder], list[Damaged]]:
    """Return every run's record, sorted by ``run_id``, each run's folder, and the damaged files.

    Runs with a damaged file are left out. If several folders hold a run, it counts once: a finished copy, if there is
    one.

    Raises:
        UserError: a folder is no results folder, or the folders do not fit together (``_refuse_misfits``). The message
            names the files.
    """
    runs: dict[str, RunRecord] = {}
    folders: dict[str, RunFolder] = {}
    damaged: list[Damaged] = []
    for home in map(ResultsFolder.open, dirs):
        begun, linked = home.begun()
        damaged += [*home.check_top(), *linked]
        for folder in begun:
            try:
                run = folder.read()
            except DamagedError as error:
                damaged.append(error.damaged)
                continue
            steps = run.steps if run.status == "done" else []
            if found := [fault for step in steps for fault in folder.check_step(run, step)]:
                damaged += found
                continue
            seen = runs.get(run.run_id)
            if seen is not None and seen.status == run.status == "done":
                _refuse_other_content(run, folders[run.run_id], folder)
            elif seen is None or run.status == "done":
                runs[run.run_id], folders[run.run_id] = run, folder
    order = sorted(runs)
    _refuse_misfits([(folders[run_id], runs[run_id]) for run_id in order if runs[run_id].status == "done"])
    return [runs[run_id] for run_id in order], {run_id: folders[run_id] for run_id in order}, damaged


def _refuse_other_content(run: RunRecord, first: RunFolder, second: RunFolder) -> None:
    """Raise UserError if two folders hold different content for one run, because either may be wrong."""
    for step in run.steps:
        for a, b in zip(_files(first, step), _files(second, step), strict=True):
            if a.is_file() and b.is_file() and not _same(a, b):
                raise UserError(
                    f"{a} and {b} differ though they belong to one run ({run.run_id}): "
                    "leave one of the folders out, or remove the run from one of them"
                )


def _files(folder: RunFolder, step: int) -> tuple[Path, Path]:
    return folder.counts_file(step), folder.predictions_file(step)


def _same(a: Path, b: Path) -> bool:
    """Return True if two files have the same content. Two machines may compress the same content differently."""
    x, y = a.read_bytes(), b.read_bytes()
    if x == y:
        return True
    try:
        return a.suffix == ".gz" and unpacked(x) == unpacked(y)
    except ValueError:
        return False


def _refuse_misfits(found: Sequence[tuple[RunFolder, RunRecord]]) -> None:
    """Raise UserError for joined folders that hold what `bench run` refuses or keeps apart within one folder.

    This is either two settings of the same (method, dataset, scenario, order, seed, encoder), or the same order of a
    dataset, scenario and encoder with different data, task splits or weights although the settings do not say so.
    """
    settings: dict[tuple[Any, ...], tuple[RunFolder, RunRecord]] = {}
    splits: dict[tuple[Any, ...], tuple[RunFolder, RunRecord]] = {}
    for folder, run in found:
        one = tuple(str(getattr(run, key)) for key in IDENTITY)
        other_folder, other = settings.setdefault(one, (folder, run))
        if _are_apart(other_folder, folder) and other.config != run.config:
            raise UserError(
                f"{other_folder.path} and {folder.path} hold {', '.join(one)} with two settings "
                f"({'; '.join(differences(other, run, 'in the first', 'in the second'))}): "
                "report them apart, or give one of the two a label (`bench run --methods LABEL=METHOD`)"
            )
        asked = [run.settings.get(key) for key in ("split_seed", "max_sentences")]
        tasks = sorted([task.name, *sorted(task.types)] for task in run.tasks)
        where = "imported" if run.imported else run.encoder  # the weights of imported results are unknown
        what = (run.dataset, run.scenario, str(run.order), where, str(asked), str(tasks))
        other_folder, other = splits.setdefault(what, (folder, run))
        if _are_apart(other_folder, folder) and _other_inputs(other, run):
            raise UserError(
                f"{other_folder.path} and {folder.path} learned order {run.order} of {run.dataset}, {run.scenario}, "
                f"from other inputs ({' and '.join(_other_inputs(other, run))}): their scores cannot be compared; "
                "report the folders apart, or run one of them again with the data, split and encoder of the other "
                "(`bench run --split FILE.json`)"
            )


def _are_apart(a: RunFolder, b: RunFolder) -> bool:
    return a.home.resolve() != b.home.resolve()


def _other_inputs(a: RunRecord, b: RunRecord) -> list[str]:
    """Return the inputs that differ between two runs."""
    inputs = {"data": "another corpus", "split": "another task split", "encoder": "other weights of the encoder"}
    return [said for key, said in inputs.items() if a.fingerprints.get(key) != b.fingerprints.get(key)]
