"""A results folder as the union of grids: what it holds already, what a grid goes on with, and what contradicts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs

from cl_ner_bench.errors import UserError
from cl_ner_bench.running.plan import Run
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import IDENTITY, RunRecord


def merge(runs: Iterable[Run], folder: ResultsFolder) -> list[Run]:
    """Return the runs of several grids in one folder, each once.

    A run that the folder holds keeps the steps it has (a joint run may gain or keep steps).

    Raises:
        UserError: one (method, dataset, scenario, order, seed, encoder) would have two settings.
    """
    stored = [*folder.runs.values()]
    merged: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        identity = run.record.identity
        twin = merged.get(identity)
        if twin and twin.id != run.id:
            difference = _difference(twin.record, run.record)
            raise UserError(f"two grids give {run.record.method} two settings:\n{difference}")
        if twin:
            run = _with_steps(run, twin.record)
        for record in stored:
            if record.identity == identity:
                _check_conflict(record, run, folder)
                run = _with_steps(run, record) if record.run_id == run.id else run
        merged[identity] = run
    return list(merged.values())


def _with_steps(run: Run, other: RunRecord) -> Run:
    keys = {**other.step_keys, **run.record.step_keys}
    steps = sorted(int(k) for k in keys)
    check = run.record.settings["training_check"] or other.settings.get("training_check", False)
    settings = run.record.settings | {"training_check": check}  # what was checked once stays in the record
    return replace(run, record=structs.replace(run.record, steps=steps, step_keys=keys, settings=settings))


def superseded(runs: Iterable[Run], folder: ResultsFolder) -> list[str]:
    """Return the runs that finished no step and are now planned under the same name with other settings."""
    wanted = {run.record.identity: run.id for run in runs}
    return [
        run_id
        for run_id, record in folder.runs.items()
        if wanted.get(record.identity, run_id) != run_id and not folder.run(run_id).has_steps()
    ]


def _check_conflict(record: RunRecord, run: Run, folder: ResultsFolder) -> None:
    old, new = record.step_keys, run.record.step_keys
    same = record.run_id == run.id and all(old[k] == new[k] for k in old.keys() & new.keys())
    if not same and folder.run(record.run_id).has_steps():
        name = ", ".join(f"{key} {getattr(run.record, key)}" for key in IDENTITY)
        raise UserError(
            f"--out {folder.path} already holds this run with other settings ({name}):\n"
            f"{_difference(record, run.record)}\n"
            f"A results folder has one setting for each; pass --out {free_folder(folder.path)}"
        )


def _difference(old: RunRecord, new: RunRecord) -> str:
    parts = ("settings", "fingerprints", "versions")
    a, b = ({k: v for part in parts for k, v in _flat(getattr(side, part), part)} for side in (old, new))
    lines = [
        f"  {key}: {a.get(key)} there, {b.get(key)} now"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    ]
    return "\n".join(lines) or "  (the same settings under another version of the suite)"


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}")
    else:
        yield prefix, value


def free_folder(out: Path) -> Path:
    """Return the first of ``out-2``, ``out-3``, ... that does not exist."""
    n = 2
    while (free := out.with_name(f"{out.name}-{n}")).exists():
        n += 1
    return free
