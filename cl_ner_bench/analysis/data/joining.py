"""Several results folders as one: their runs, each once; what does not fit together is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.records import (
    IDENTITY,
    STEP_FILES,
    Damaged,
    DamagedError,
    check_step,
    check_top,
    read_run,
    run_folders,
)
from cl_ner_bench.untrusted import unpacked

_SHOWN = 6  # differences that a message lists


def read_runs(dirs: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, Path], list[Damaged]]:
    """Every run's record, sorted by ``run_id``, each run's folder, and the damaged files, whose runs are left out.

    A run that lies in several of the folders counts once; a finished one stands for an unfinished one. Raises
    UserError that names the files for a folder that is no results folder, and where the folders do not fit together
    (``_refuse_misfits``).
    """
    runs: dict[str, dict[str, Any]] = {}
    folders: dict[str, Path] = {}
    damaged: list[Damaged] = []
    for home in dirs:
        folders_here, found_here = run_folders(home)
        damaged += [*check_top(home), *found_here]
        for folder in folders_here:
            try:
                run = read_run(folder)
            except DamagedError as error:
                damaged.append(error.damaged)
                continue
            steps = run["steps"] if run["status"] == "done" else []
            if found := [fault for step in steps for fault in check_step(folder, run, step)]:
                damaged += found
                continue
            seen = runs.get(run["run_id"])
            if seen is not None and seen["status"] == run["status"] == "done":
                _refuse_other_content(run, folders[run["run_id"]], folder)
            elif seen is None or run["status"] == "done":
                runs[run["run_id"]], folders[run["run_id"]] = run, folder
    order = sorted(runs)
    _refuse_misfits([(folders[run_id], runs[run_id]) for run_id in order if runs[run_id]["status"] == "done"])
    return [runs[run_id] for run_id in order], {run_id: folders[run_id] for run_id in order}, damaged


def _refuse_other_content(run: Mapping[str, Any], first: Path, second: Path) -> None:
    """One run in two folders: a copy, or computed twice with the same result; else nobody knows which is right."""
    for step in run["steps"]:
        for name in STEP_FILES:
            a, b = (folder / f"step-{step}" / name for folder in (first, second))
            if a.is_file() and b.is_file() and not _same(a, b):
                raise UserError(
                    f"{a} and {b} differ though they belong to one run ({run['run_id']}): "
                    "leave one of the folders out, or remove the run from one of them"
                )


def _same(a: Path, b: Path) -> bool:
    """Equal in what they say; gzip files of two machines may differ in how they are packed."""
    x, y = a.read_bytes(), b.read_bytes()
    if x == y:
        return True
    try:
        return a.suffix == ".gz" and unpacked(x) == unpacked(y)
    except ValueError:
        return False


def _refuse_misfits(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """What `bench run` refuses within a folder (or keeps apart there) must not come together by joining folders.

    Refused are two settings of one (method, dataset, scenario, order, seed, encoder), and one order of one
    dataset, scenario and encoder with other data, another task split or other weights, although nothing was set
    to ask for that.
    """
    settings: dict[tuple[Any, ...], tuple[Path, Mapping[str, Any]]] = {}
    splits: dict[tuple[Any, ...], tuple[Path, Mapping[str, Any]]] = {}
    for folder, run in found:
        one = tuple(str(run[key]) for key in IDENTITY)
        other_folder, other = settings.setdefault(one, (folder, run))
        if _home(other_folder) != _home(folder) and other["config"] != run["config"]:
            raise UserError(
                f"{other_folder} and {folder} hold {', '.join(one)} with two settings ({_differences(other, run)}): "
                "report them apart, or give one of the two a label (`bench run --methods LABEL=METHOD`)"
            )
        asked = [run["settings"].get(key) for key in ("split_seed", "max_sentences")]
        tasks = sorted([task["name"], *sorted(task["types"])] for task in run["tasks"])
        what = (*(str(run[key]) for key in ("dataset", "scenario", "order", "encoder")), str(asked), str(tasks))
        other_folder, other = splits.setdefault(what, (folder, run))
        if _home(other_folder) != _home(folder) and _data(other) != _data(run):
            raise UserError(
                f"{other_folder} and {folder} learned order {run['order']} of {run['dataset']}, {run['scenario']}, "
                f"from other inputs (fingerprints {_data(other)}, and {_data(run)}): their scores cannot be compared; "
                "report the folders apart, or run one of them again with the data, split and encoder of the other "
                "(`bench run --split FILE.json`)"
            )


def _home(folder: Path) -> Path:
    return folder.parent.parent.resolve()


def _data(run: Mapping[str, Any]) -> str:
    fingerprints = run.get("fingerprints", {})
    return ", ".join(f"{key} {str(fingerprints.get(key))[:12]}" for key in ("data", "split", "encoder"))


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """``lr: 5e-05 and 0.0001`` for each setting, fingerprint and version that is not the same."""
    found = [*_diff("settings", a, b), *_diff("fingerprints", a, b)] or [*_diff("versions", a, b)]
    shown = [f"{name}: {x} and {y}" for name, x, y in found[:_SHOWN]] or [f"config: {a['config']} and {b['config']}"]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(shown) + more


def _diff(key: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    x, y = a.get(key), b.get(key)
    if isinstance(x, dict) and isinstance(y, dict):
        for name in sorted({*x, *y}):
            yield from _diff(name, x, y)
    elif x != y:
        yield key, str(x)[:60], str(y)[:60]
