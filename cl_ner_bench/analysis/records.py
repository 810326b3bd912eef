"""The run records (``run.json``) of one or several results folders, joined; what does not fit is refused by name.

And how a file beside them is written.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.foreign import refuse_links_out, unpacked

SCHEMA = 1  # files of every earlier schema are read, too
RUN = ["run_id", "method", "dataset", "scenario", "order", "seed", "encoder", "config"]
IDENTITY = [key for key in RUN if key not in ("run_id", "config")]  # has one setting
_SHOWN = 6  # differences that a message lists


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


def is_name(value: Any) -> bool:
    """Whether a text names one thing in a folder and no way out of it."""
    return isinstance(value, str) and re.fullmatch(r"(?!\.\.?$)[^/\\\0]{1,255}", value) is not None


def _is_task(value: Any) -> bool:
    shapes = {"name": _is_text, "types": _is_list(_is_text), "learned_at": _is_whole}
    return (
        isinstance(value, dict)
        and all(key in value and fits(value[key]) for key, fits in shapes.items())
        and isinstance(value.get("domain", ""), str)
    )


_WHOLE = ("step", "updates", "warmup_updates", "epochs", "selected_epoch", "examples", "parameters", "carried_bytes")
_LEARNED: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys((*_WHOLE, "predicted", "peak_memory_bytes"), _is_whole),
    **dict.fromkeys(("seconds", "predict_seconds"), _is_number),
    "dev_scores": _is_list(lambda value: value is None or _is_number(value)),
    "losses": lambda value: _is_table(value) and all(map(_is_list(_is_number), value.values())),
    "remarks": _is_list(_is_text),
}
_CHECK: Mapping[str, Callable[[Any], bool]] = {"micro_f1": _is_number, "epochs": _is_whole, "updates": _is_whole}


def _is_like(shapes: Mapping[str, Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda value: _is_table(value) and all(fits(value[key]) for key, fits in shapes.items() if key in value)


_TEXTS = ("method", "registry_name", "label", "dataset", "scenario", "encoder", "config", "architecture", "group")
_NEEDED: Mapping[str, Callable[[Any], bool]] = {
    "run_id": is_name,
    **dict.fromkeys((*_TEXTS, "status", "setting"), _is_text),
    **dict.fromkeys(("order", "seed", "n_steps"), _is_whole),
    "steps": _is_list(_is_whole),
    "tasks": _is_list(_is_task),
    "settings": _is_table,
}
_OTHER: Mapping[str, Callable[[Any], bool]] = {  # where they are there
    **dict.fromkeys(("reason", "data", "order_of"), _is_text),
    **dict.fromkeys(("protocol", "by_hand", "inputs", "versions", "machine", "times"), _is_table),
    "fingerprints": lambda value: _is_table(value) and all(map(_is_text, value.values())),
    "documents": _is_list(_is_whole),
    "lost_mentions": _is_whole,
    "recall_ceiling": lambda value: value is None or _is_number(value),
    "uncased": lambda value: isinstance(value, bool),
    "undertrained_below": _is_number,
    "learned": _is_list(_is_like(_LEARNED)),
    "shared": lambda value: _is_table(value) and all(map(is_name, value.values())),
    "step1_reference": _is_like(_CHECK),
    "step_keys": lambda value: (
        _is_table(value)
        and all(map(str.isdecimal, value))
        and all(re.fullmatch("[0-9a-f]+", str(k)) for k in value.values())
    ),
}


def read_runs(dirs: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """Every run's record, sorted by ``run_id``, and each run's folder.

    A run that lies in several of the folders counts once; a finished one stands for an unfinished one. Raises
    UserError that names the files for a folder that is no results folder, for a torn, incomplete or newer
    file, and where the folders do not fit together (``_refuse_misfits``).
    """
    runs: dict[str, dict[str, Any]] = {}
    folders: dict[str, Path] = {}
    for home in dirs:
        if not (home / "runs").is_dir():
            raise UserError(f"{home} is no results folder (it holds no 'runs'): give what `bench run --out` wrote")
        refuse_links_out(home)
        for path in sorted(home.glob("runs/*/run.json")):
            run = _read_run(path)
            seen = runs.get(run["run_id"])
            if seen is not None and seen["status"] == run["status"] == "done":
                _refuse_other_content(run, folders[run["run_id"]], path.parent)
            elif seen is None or run["status"] == "done":
                runs[run["run_id"]], folders[run["run_id"]] = run, path.parent
    order = sorted(runs)
    _refuse_misfits([(folders[run_id], runs[run_id]) for run_id in order if runs[run_id]["status"] == "done"])
    return [runs[run_id] for run_id in order], {run_id: folders[run_id] for run_id in order}


def read_json(path: Path) -> dict[str, Any]:
    """A stored JSON file of a known schema; else UserError."""
    try:
        data = json.loads(path.read_bytes().decode())
        json.dumps(data, ensure_ascii=False).encode()  # refuses half a surrogate pair, which no output can hold
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing though its run is recorded as done: run again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove the run's folder and run again") from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
        raise UserError(f"{path} has no 'schema': it was not written by this suite")
    if data["schema"] > SCHEMA:
        raise UserError(f"{path} has schema {data['schema']}, this version reads up to {SCHEMA}: update cl-ner-bench")
    return data


def _read_run(path: Path) -> dict[str, Any]:
    run = read_json(path)
    check_run(run, path)
    return run


def check_run(run: Mapping[str, Any], path: Path) -> None:
    """Raises UserError, naming the file (``path``) and the key, where a run's record is not as docs/results.md says.

    A folder may be another's: what names files (ids, keys of steps) names none elsewhere, and all numbers are finite.
    """
    missing = [key for key in _NEEDED if key not in run]
    if missing:
        raise UserError(f"{path} lacks {', '.join(map(repr, missing))}: remove the run's folder and run again")
    for key, fits in {**_NEEDED, **_OTHER}.items():
        if key in run and not fits(run[key]):
            found = reprlib.repr(run[key])
            raise UserError(
                f"{path} has {key} {found}, unlike docs/results.md says: remove the run's folder and run again"
            )
    if run["run_id"] != path.parent.name:
        raise UserError(f"{path} is of the run {run['run_id']!a}: give its folder that name again, or remove it")
    steps, last = run["steps"], run["n_steps"]
    if not all(1 <= k <= last for k in steps):
        raise UserError(f"{path} has steps {steps!r}, not numbers of 1 to {last}: run again")
    if run["status"] == "done" and last not in steps:
        raise UserError(f"{path} says 'done' without its last step: remove the run's folder and run again")
    if [task["learned_at"] for task in run["tasks"]] != [*range(1, len(run["tasks"]) + 1)] or len(run["tasks"]) != last:
        raise UserError(f"{path} has tasks that are not learned in steps 1 to {last}: remove the run's folder")


def _refuse_other_content(run: Mapping[str, Any], first: Path, second: Path) -> None:
    """One run in two folders: a copy, or computed twice with the same result; else nobody knows which is right."""
    for step in run["steps"]:
        for name in ("counts.json", "predictions.jsonl.gz"):
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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
