"""A results folder is a union of grids: what it holds already, what of it a grid goes on with, and what contradicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.running.plan import Run
from cl_ner_bench.storage.records import check_run
from cl_ner_bench.storage.store import COMMIT, read_record
from cl_ner_bench.untrusted import refuse_links_out

IDENTITY = ("method", "dataset", "scenario", "order", "seed", "encoder")


def check_folder(out: Path) -> None:
    """Raises UserError where something in a results folder leads out of it: a link, or a name in a run's record.

    A record that is not what was stored is passed over: its run is learned again.
    """
    refuse_links_out(out)
    for file in sorted(out.glob("runs/*/run.json")):
        if (record := read_record(file)) is not None:
            check_run(record, file)


def merge(runs: Iterable[Run], out: Path) -> list[Run]:
    """The runs of several grids in one folder, each once.

    A run that the folder holds keeps the steps it has (a joint run may gain or keep steps).
    Raises UserError where one (method, dataset, scenario, order, seed, encoder) would have two settings.
    """
    stored = [r for f in sorted(out.glob("runs/*/run.json")) if (r := read_record(f))]
    merged: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        identity = tuple(run.record[key] for key in IDENTITY)
        twin = merged.get(identity)
        if twin and twin.id != run.id:
            difference = _difference(twin.record, run.record)
            raise UserError(f"two grids give {run.record['method']} two settings:\n{difference}")
        if twin:
            run = _with_steps(run, twin.record)
        for record in stored:
            if tuple(record.get(key) for key in IDENTITY) == identity:
                _check_conflict(record, run, out)
                run = _with_steps(run, record) if record["run_id"] == run.id else run
        merged[identity] = run
    return list(merged.values())


def _with_steps(run: Run, other: Mapping[str, Any]) -> Run:
    keys = {**other.get("step_keys", {}), **run.record["step_keys"]}
    steps = sorted(int(k) for k in keys)
    check = run.record["settings"]["training_check"] or other["settings"].get("training_check", False)
    settings = run.record["settings"] | {"training_check": check}  # what was checked once stays told
    return replace(run, record=run.record | {"steps": steps, "step_keys": keys, "settings": settings})


def obsolete(runs: Iterable[Run], out: Path) -> list[Path]:
    """Folders of runs that finished no step and were superseded by a run of the same name with other settings."""
    wanted = {tuple(run.record[key] for key in IDENTITY): run.id for run in runs}
    found = []
    for file in sorted(out.glob("runs/*/run.json")):
        record = read_record(file) or {}
        ours = wanted.get(tuple(record.get(key) for key in IDENTITY))
        if ours not in (None, record.get("run_id")) and not _has_steps(file.parent):
            found.append(file.parent)
    return found


def _has_steps(folder: Path) -> bool:
    return any(folder.glob(f"step-*/{COMMIT}"))


def _check_conflict(record: Mapping[str, Any], run: Run, out: Path) -> None:
    folder = out / "runs" / record["run_id"]
    old, new = record.get("step_keys", {}), run.record["step_keys"]
    same = record["run_id"] == run.id and all(old[k] == new[k] for k in old.keys() & new.keys())
    if not same and _has_steps(folder):
        name = ", ".join(f"{key} {run.record[key]}" for key in IDENTITY)
        raise UserError(
            f"--out {out} already holds this run with other settings ({name}):\n"
            f"{_difference(record, run.record)}\n"
            f"A results folder has one setting for each; pass --out {free_folder(out)}"
        )


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    parts = ("settings", "fingerprints", "versions")
    a, b = ({k: v for part in parts for k, v in _flat(side.get(part, {}), part)} for side in (old, new))
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
    """The first of ``out-2``, ``out-3``, ... that does not exist."""
    n = 2
    while (free := out.with_name(f"{out.name}-{n}")).exists():
        n += 1
    return free
