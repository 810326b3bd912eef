"""The records of a results folder, and what is damaged of it.

A damaged file costs its run, not the others: it is found, named, and told with what repairs it (:class:`Damaged`).
"""

from __future__ import annotations

import hashlib
import math
import re
import reprlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.atomic import SCHEMA, SEAL, from_json, is_changed
from cl_ner_bench.untrusted import is_name, is_sha256, is_sums, is_way, links_out

RUN = ["run_id", "method", "dataset", "scenario", "order", "seed", "encoder", "config"]
IDENTITY = [key for key in RUN if key not in ("run_id", "config")]  # has one setting
COUNTS_FILE, PREDICTIONS_FILE = STEP_FILES = ("counts.json", "predictions.jsonl.gz")
SUMS_FILE = "sums.json"  # of what `bench run` writes at the top of a results folder


@dataclass(frozen=True)
class Damaged:
    """A file of a results folder that is not what was written: what is ``wrong`` with it, and what repairs it."""

    path: Path
    wrong: str
    repair: str
    of_run: bool = True  # else of the folder as a whole

    @property
    def run(self) -> str:
        """The name of the run's folder, '' where the file is of no run."""
        places = (self.path, *self.path.parents) if self.of_run else ()
        return next((place.name for place in places if place.parent.name == "runs"), "")

    def __str__(self) -> str:
        return f"{self.path} {self.wrong}: {self.repair}"


class DamagedError(UserError):
    """Raised for the first damaged file of a run."""

    def __init__(self, path: Path, wrong: str, repair: str) -> None:
        self.damaged = Damaged(path, wrong, repair)
        super().__init__(str(self.damaged))


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


def _is_task(value: Any) -> bool:
    shapes = {"name": _is_text, "types": _is_list(_is_text), "learned_at": _is_whole}
    return _has(shapes)(value) and isinstance(value.get("domain", ""), str)


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


def _is_each(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_table(value) and all(map(fits, value.values()))


def _has(shapes: Mapping[str, Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda value: _is_table(value) and all(key in value and fits(value[key]) for key, fits in shapes.items())


_BY_PART = _has(dict.fromkeys(("train", "dev", "test"), _is_whole))
_CORPUS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("differences", "accepted"), _is_list(_is_text)),
    "n_mentions": _BY_PART,
    "without_task": _is_each(_BY_PART),
}
_ENCODER: Mapping[str, Callable[[Any], bool]] = {
    "source": _is_text,
    **dict.fromkeys(("layers", "width", "heads", "vocabulary"), lambda value: value is None or _is_whole(value)),
    "cased": lambda value: isinstance(value, bool),
}
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
    "corpus": _has(_CORPUS),
    "encoder_identity": lambda value: (
        _has(_ENCODER)(value)
        and (value["source"] != "hub" or all(_is_text(value.get(key)) for key in ("repository", "revision")))
    ),
    "undertrained_below": _is_number,
    "learned": _is_list(_is_like(_LEARNED)),
    "shared": lambda value: _is_table(value) and all(map(is_name, value.values())),
    "step1_reference": _is_like(_CHECK),
    "step_keys": lambda value: (
        _is_table(value)
        and all(map(str.isdecimal, value))
        and all(isinstance(k, str) and re.fullmatch("[0-9a-f]+", k) for k in value.values())
    ),
}


def run_folders(home: Path) -> tuple[list[Path], list[Damaged]]:
    """The folders of runs that were begun, and the links that lead out of one, whose runs are not among them.

    Raises UserError for a folder that is no results folder, and for a link out of it that is no run's.
    """
    if not (home / "runs").is_dir():
        raise UserError(f"{home} is no results folder (it holds no 'runs'): give what `bench run --out` wrote")
    damaged = []
    for path, wrong, remedy in links_out(home):
        if home / "runs" not in path.parents:
            raise UserError(f"{path} {wrong}: {remedy}")
        damaged.append(Damaged(path, wrong, remedy))
    found = (file.parent for name in ("run.json", "step-*") for file in home.glob(f"runs/*/{name}"))
    return sorted({*found} - {home / "runs" / fault.run for fault in damaged}), damaged


def learn_again(path: Path) -> str:
    """What repairs a file below ``runs`` or ``store``: the folder's grids again, which learn what is not there."""
    home = next(parent.parent for parent in path.parents if parent.name in ("runs", "store"))
    if not (home / "experiment.toml").is_file() or any(_wrong_at_top(home)):
        return "the same `bench run` command again repairs it"
    return f"`{shlex.join(['bench', 'run', '--config', f'{home}/experiment.toml', '--out', f'{home}'])}` repairs it"


def read_json(path: Path, repair: str = "") -> dict[str, Any]:
    """A stored JSON file of a known schema that is what was written; else DamagedError.

    ``repair`` is what repairs it, where that is not ``learn_again``.
    """

    def damaged(wrong: str, first: str = "") -> DamagedError:
        return DamagedError(path, wrong, first + (repair or learn_again(path)))

    try:
        data = from_json(path.read_bytes())
    except FileNotFoundError as error:
        raise damaged("is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(f"cannot be read ({error})") from error
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise damaged("has no 'schema': it was not written by this suite")
    if data["schema"] > SCHEMA:
        wrong = f"has schema {data['schema']}, this version reads up to {SCHEMA}"
        raise damaged(wrong, "update cl-ner-bench; if no later version wrote it, ")
    if is_changed(data):
        raise damaged("was changed after it was written (its seal is broken)")
    return data


def read_run(folder: Path) -> dict[str, Any]:
    """The record of the run in ``folder``; DamagedError where it is not what a run's record is."""
    path = folder / "run.json"
    run = read_json(path)
    check_run(run, path)
    if SEAL not in run and any(_is_sealed(file) for file in folder.glob("step-*/step.json")):
        raise DamagedError(path, "carries no seal though its steps do", learn_again(path))
    return run


def check_run(run: Mapping[str, Any], path: Path) -> None:
    """Raises DamagedError, naming the file (``path``) and the key, where a run's record is not as docs/results.md says.

    A folder may be another's: what names files (ids, keys of steps) names none elsewhere, and all numbers are finite.
    """

    def refuse(wrong: str) -> NoReturn:
        raise DamagedError(path, wrong, f"remove the run's folder, then {learn_again(path)}")

    if missing := [key for key in _NEEDED if key not in run]:
        refuse(f"lacks {', '.join(map(repr, missing))}")
    for key, fits in {**_NEEDED, **_OTHER}.items():
        if key in run and not fits(run[key]):
            refuse(f"has {key} {reprlib.repr(run[key])}, unlike docs/results.md says")
    if run["run_id"] != path.parent.name:
        wrong = f"is of the run {run['run_id']!a}"
        raise DamagedError(path, wrong, "give its folder that name again, or remove the folder")
    steps, last = run["steps"], run["n_steps"]
    if not steps or not all(1 <= k <= last for k in steps):
        refuse(f"has steps {reprlib.repr(steps)}, not numbers of 1 to {last}")
    if run["status"] == "done" and last not in steps:
        refuse("says 'done' without its last step")
    if not {*map(str, steps)} <= {*run.get("step_keys", map(str, steps))}:
        refuse("has steps without a key")
    if [task["learned_at"] for task in run["tasks"]] != [*range(1, len(run["tasks"]) + 1)] or len(run["tasks"]) != last:
        refuse(f"has tasks that are not learned in steps 1 to {last}")


def _is_sealed(path: Path) -> bool:
    with suppress(OSError, ValueError, RecursionError):
        record = from_json(path.read_bytes())
        return isinstance(record, dict) and SEAL in record
    return False


def check_step(folder: Path, run: Mapping[str, Any], step: int) -> list[Damaged]:
    """The files of a finished step that are not what was stored. Of runs that carry no seal ``step.json`` may be gone:
    they come from before there was one."""
    place = folder / f"step-{step}"
    if SEAL not in run and not (place / "step.json").is_file():
        return []
    try:
        record = read_json(place / "step.json")
    except DamagedError as error:
        return [error.damaged]
    sums, key = record.get("sha256"), run.get("step_keys", {}).get(str(step))
    if not is_sums(sums) or record.get("key") != key:
        return [Damaged(place / "step.json", "is not of this run's settings", learn_again(place))]
    return [fault for name in STEP_FILES for fault in check_sum(place / name, (sums.get(name),))]


def check_sum(path: Path, told: Sequence[Any]) -> list[Damaged]:
    """The file as damaged where its sha256 is none of those that were ``told``."""
    wrong = wrong_sum(path, told)
    return [Damaged(path, wrong, learn_again(path))] if wrong else []


def wrong_sum(path: Path, told: Sequence[Any]) -> str:
    """What is wrong with a file whose sha256 is to be one of ``told``, '' where nothing is."""
    try:
        with path.open("rb") as file:
            known = hashlib.file_digest(file, "sha256").hexdigest() in told
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if known else "is not what was stored (another sha256)"


def check_top(home: Path) -> list[Damaged]:
    """The files at the top of a results folder (grids, mentions, scenarios) that are not what was stored.

    A folder without sealed runs comes from before there were sums of them.
    """
    repair = "the same `bench run` command again writes it anew"
    return [Damaged(path, wrong, repair, of_run=False) for path, wrong in _wrong_at_top(home)]


def _wrong_at_top(home: Path) -> Iterator[tuple[Path, str]]:
    file = home / SUMS_FILE
    if not file.is_file():
        if any(map(_is_sealed, home.glob("runs/*/run.json"))):
            yield file, "is missing"
        return
    try:
        sums = from_json(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        yield file, f"cannot be read ({error})"
        return
    if not isinstance(sums, dict) or SEAL not in sums or is_changed(sums):
        yield file, "was changed after it was written (its seal is broken)"
        return
    told = sums_at_top(sums)
    if told is None:
        yield file, "is not as docs/results.md says"
        return
    for name, known in told.items():
        if wrong := wrong_sum(home / name, known):
            yield home / name, wrong


def sums_at_top(record: Any) -> dict[str, list[str]] | None:
    """What ``sums.json`` tells: the sha256 that each file may have. None where it is no such record."""
    told = record.get("sha256") if isinstance(record, dict) else None
    fits = isinstance(told, dict) and all(map(is_way, told)) and all(map(_is_list(is_sha256), told.values()))
    return told if fits else None
