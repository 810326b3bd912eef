"""A results folder that holds several grids: its stored runs, conflicts with planned runs, and replaced runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import filter as fitting
from pathlib import Path
from typing import Any

from msgspec import structs

from cl_ner_bench.errors import UserError, counted, did_you_mean
from cl_ner_bench.registry import resolve
from cl_ner_bench.running.runs import Run
from cl_ner_bench.storage.differences import differences
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord


def merge(
    runs: Iterable[Run], folder: ResultsFolder, leaving: Collection[str] = (), replacing: Sequence[str] = ()
) -> list[Run]:
    """Return the runs of several grids in one folder, each once.

    A stored run keeps its steps. A joint run may gain steps. ``leaving`` are the runs that will leave the folder, of
    the methods that the user named in ``replacing``.

    Raises:
        UserError: one (method, dataset, scenario, order, seed, encoder) would have two settings.
    """
    stored = [record for run_id, record in folder.runs.items() if run_id not in leaving]
    merged: dict[tuple[Any, ...], Run] = {}
    conflicts: list[tuple[RunRecord, RunRecord]] = []
    for run in runs:
        identity = run.record.identity
        twin = merged.get(identity)
        if twin and twin.id != run.id:
            lines = differences(twin.record, run.record, "in one", "in the other")
            raise UserError(f"two grids give {run.record.method} two settings:\n  {'; '.join(lines)}")
        if twin:
            run = _with_steps(run, twin.record)
        for record in stored:
            if record.identity == identity:
                if not _is_same(record, run.record) and folder.run(record.run_id).has_steps():
                    conflicts.append((record, run.record))
                run = _with_steps(run, record) if record.run_id == run.id else run
        merged[identity] = run
    if conflicts:
        raise UserError(_as_text(conflicts, folder, replacing))
    return list(merged.values())


def _is_same(record: RunRecord, planned: RunRecord) -> bool:
    """Return True if a stored run is the planned run: nothing that decides a number differs."""
    old, new = record.step_keys, planned.step_keys
    return record.run_id == planned.run_id and all(old[k] == new[k] for k in old.keys() & new.keys())


def _with_steps(run: Run, other: RunRecord) -> Run:
    keys = {**other.step_keys, **run.record.step_keys}
    steps = sorted(int(k) for k in keys)
    check = run.record.settings["training_check"] or other.settings.get("training_check", False)
    settings = run.record.settings | {"training_check": check}  # a check of the training stays in the record
    return replace(run, record=structs.replace(run.record, steps=steps, step_keys=keys, settings=settings))


def _as_text(conflicts: Iterable[tuple[RunRecord, RunRecord]], folder: ResultsFolder, replacing: Sequence[str]) -> str:
    """Return a message with the differences from the stored runs by method, and two ways to learn the planned runs."""
    methods: dict[str, dict[str, None]] = {}  # differences -> the methods that have them
    for old, new in conflicts:
        found = ["results that were imported under this name"] if old.imported else differences(old, new)
        found = found or [f"config: {old.config} there, {new.config} now"]
        methods.setdefault("; ".join(found), {})[new.method] = None
    wanted = ",".join(dict.fromkeys([*replacing, *(new.method for _, new in conflicts)]))
    lines = [f"  {', '.join(names)}: {found}" for found, names in methods.items()]
    return "\n".join(
        [
            f"--out {folder.path} already holds runs with other settings or code:",
            *lines,
            "A results folder has one setting for each run. To learn these again, add",
            f"  --replace {wanted}",
            f"which moves their old runs to {folder.replaced},",
            f"or keep both, with another folder: --out {free_folder(folder.path)}",
        ]
    )


def free_folder(out: Path) -> Path:
    """Return the first of ``out-2``, ``out-3``, ... that does not exist."""
    n = 2
    while (free := out.with_name(f"{out.name}-{n}")).exists():
        n += 1
    return free


def superseded(runs: Iterable[Run], folder: ResultsFolder) -> list[RunRecord]:
    """Return the stored runs without finished steps that are now planned with other settings."""
    wanted = {run.record.identity: run.id for run in runs}
    return [
        record
        for run_id, record in folder.runs.items()
        if wanted.get(record.identity, run_id) != run_id and not folder.run(run_id).has_steps()
    ]


def replaced(runs: Sequence[Run], folder: ResultsFolder, names: Iterable[str]) -> list[RunRecord]:
    """Return the stored runs of the methods ``names`` that the planned ``runs`` replace.

    These are all runs of the method with other settings or code on the same dataset, scenario and encoder, for any
    order and seed. Otherwise a table would show a method with two settings.

    Raises:
        UserError: a name is no method of this grid, or a run is being learned now.
    """
    methods = _methods(runs, names)
    planned = {run.id: run.record for run in runs}
    configs = {(_place(run.record), run.record.config) for run in runs}
    places = {place for place, _ in configs}
    found = []
    for run_id, record in folder.runs.items():
        if record.method not in methods or _place(record) not in places or not folder.run(run_id).has_steps():
            continue
        if (_place(record), record.config) in configs and _is_same(record, planned.get(run_id, record)):
            continue
        if folder.is_leased(run_id):
            raise UserError(f"--replace {record.method}: {run_id} is being learned by another process; stop that first")
        found.append(record)
    return found


def not_learned_again(aside: Sequence[RunRecord], runs: Sequence[Run]) -> list[str]:
    """Return a warning for each method with runs set ``aside`` whose orders or seeds ``runs`` do not learn."""
    planned = {run.record.identity for run in runs}
    lines = []
    for method in dict.fromkeys(record.method for record in aside if record.identity not in planned):
        old = [record for record in aside if record.method == method]
        lost = [record for record in old if record.identity not in planned]
        again = [run.record for run in runs if run.record.method == method]
        gone = {
            "orders": {record.order for record in lost} - {record.order for record in again},
            "seeds": {record.seed for record in lost} - {record.seed for record in again},
        }
        named = " and ".join(f"{key} {', '.join(map(str, sorted(values)))}" for key, values in gone.items() if values)
        lines.append(
            f"--replace {method} moves {counted(len(old), 'run')} aside and learns {len(again)} again: "
            f"{named or ', '.join(record.run_id for record in lost)} will be missing"
        )
    return lines


def _methods(runs: Iterable[Run], names: Iterable[str]) -> set[str]:
    """Return the methods of a grid that ``names`` stand for, as in `--methods`."""
    known = list(dict.fromkeys(run.record.method for run in runs))
    found: set[str] = set()
    for name in names:
        labels = fitting(known, name)  # the name itself, or all that a pattern fits
        with suppress(UserError):
            labels = labels or [variant.label for variant in resolve([name])]
        if not labels or not {*labels} <= {*known}:
            raise UserError(
                f"--replace {name}: no method of this grid is called so.{did_you_mean(name, known)} Its methods are "
                f"{', '.join(known)}"
            )
        found |= {*labels}
    return found


def _place(record: RunRecord) -> tuple[str, str, str, str]:
    return record.method, record.dataset, record.scenario, record.encoder
