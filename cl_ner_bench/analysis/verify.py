"""Whether a results folder is what was written: seals, checksums, and every number derived again. `bench verify`.

Scores follow from counts, counts from predictions, and what was predicted stands beside its gold mentions: a number
that was changed together with its checksum and its seal still contradicts what it is derived from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ner_bench.analysis.data import outcomes
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.report import files
from cl_ner_bench.analysis.scores.measures import TEST
from cl_ner_bench.analysis.scores.scorer import match
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.atomic import SEAL
from cl_ner_bench.storage.records import (
    COUNTS_FILE,
    PREDICTIONS_FILE,
    SUMS_FILE,
    Damaged,
    DamagedError,
    check_step,
    check_top,
    learn_again,
    read_json,
    read_run,
    run_folders,
    wrong_sum,
)
from cl_ner_bench.untrusted import is_sums, is_way

MODEL_SUMS = "model-sums.json"
Say = Callable[[str], None]
Gold = dict[int, list[list[Any]]]  # sentence id -> [start, end, type]


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found. ``checked``: how many of each thing it looked at; ``unsealed``: records from before there
    were seals, which are checked by their content alone."""

    folder: Path
    faults: list[Damaged]
    checked: Mapping[str, int]
    unsealed: int

    def to_json(self) -> dict[str, Any]:
        faults = [{"path": str(f.path), "wrong": f.wrong, "repair": f.repair} for f in self.faults]
        return {
            "schema": 1,
            "folder": str(self.folder),
            "faults": faults,
            "checked": dict(self.checked),
            "unsealed": self.unsealed,
        }

    def as_text(self) -> str:
        """A line for each fault, and one that says what was looked at."""
        seen = ", ".join(f"{number} {name}" for name, number in self.checked.items())
        old = f" ({self.unsealed} records carry no seal: an earlier version wrote them)" if self.unsealed else ""
        n = len(self.faults)
        found = f"{n} fault{'s' * (n > 1)}" if n else "no fault"
        return "\n".join([*map(str, self.faults), f"{self.folder}: {found} in {seen}{old}"])


def verify(home: Path, say: Say = lambda _: None) -> Verification:
    """Check all of a results folder; ``say`` is told how far it is.

    Nothing is written but a ``reduced.json.gz`` that is not there, as by every report.

    Raises UserError for a folder that is no results folder, and for links out of it that are of no run.
    """
    faults: list[Damaged] = []
    checked = Counter(dict.fromkeys(("runs", "steps", "models", "derived files"), 0))
    unsealed = 0
    runs = []
    folders, linked = run_folders(home)
    faults += [*check_top(home), *linked]
    for folder in folders:
        try:
            runs.append((folder, read_run(folder)))
        except DamagedError as error:
            faults.append(error.damaged)
    # Runs of one split follow each other, finished ones first: their gold is compared with the first one's.
    runs.sort(key=lambda pair: (_split_of(pair[1]), pair[1]["status"] != "done", pair[0].name))
    known = _Known("", {}, Path())
    for number, (folder, run) in enumerate(runs, 1):
        say(f"run {number} of {len(runs)}: {folder.name}")
        if _split_of(run) != known.split:
            known = _Known(_split_of(run), {}, Path())
        checking = _Checking(folder, run, known)
        faults += checking.faults()
        known = checking.known
        checked["steps"] += checking.steps
        unsealed += checking.unsealed
    checked["runs"] = len(folders)
    models = sorted(path for path in home.glob("store/*") if path.is_dir() and not path.name.startswith("."))
    for number, model in enumerate(models, 1):
        say(f"model {number} of {len(models)}")
        faults += _check_model(model)
    checked["models"] = len(models)
    say("what is derived")
    found, number = _check_derived(home, afresh=not faults)
    checked["derived files"] = number
    return Verification(home, faults + found, checked, unsealed)


def _split_of(run: Mapping[str, Any]) -> str:
    prints = run.get("fingerprints")
    prints = prints if isinstance(prints, dict) else {}
    return json.dumps([prints.get("data"), prints.get("split"), run["tasks"]])


@dataclass(frozen=True)
class _Known:
    """The gold mentions of a split's test sentences after its last step, and the file they were first seen in."""

    split: str
    gold: Gold
    file: Path


class _Checking:
    """One run: its files, and its numbers derived again."""

    def __init__(self, folder: Path, run: Mapping[str, Any], known: _Known) -> None:
        self.folder, self.run, self.known = folder, run, known
        self.steps, self.unsealed = 0, int(SEAL not in run)
        self.test_sets: dict[str, list[int]] | None = None  # ids by test set; None where no split.json tells

    def faults(self) -> Iterator[Damaged]:
        yield from self._split()
        yield from self._training_check()
        rows: dict[int, list[Any]] = {}
        whole = True
        for step in sorted(self.run["steps"], reverse=True):  # the last one holds the gold of all
            if self.run["status"] != "done" and not (self.folder / f"step-{step}").exists():
                continue
            self.steps += 1
            found = check_step(self.folder, self.run, step) or [*self._derive(step, rows)]
            yield from found
            whole = whole and not found
        reduced = self.folder / outcomes.FILE
        if not whole or self.run["status"] != "done" or not reduced.exists():
            return
        if not outcomes.is_as_stored(self.folder, self.run, dict(sorted(rows.items()))):
            repair = f"remove it, `bench report {self.folder.parent.parent}` makes it again"
            yield Damaged(reduced, "is not what the predictions give", repair)

    def _split(self) -> Iterator[Damaged]:
        path = self.folder / "split.json"
        if SEAL not in self.run and not path.exists():
            return
        try:
            split = read_json(path)
            text = json.dumps(split, sort_keys=True, separators=(",", ":"))
            if hashlib.sha256(text.encode()).hexdigest() != self.run["fingerprints"]["split"]:
                raise DamagedError(path, "is not the split that the run followed", learn_again(path))
            self.test_sets = split.get("domains") or {TEST: split["test"]}
        except DamagedError as error:
            yield error.damaged

    def _training_check(self) -> Iterator[Damaged]:
        path = self.folder / "training-check.json"
        try:
            told = read_json(path) if path.exists() else {}
            if told and SEAL not in told:
                self.unsealed += 1
        except DamagedError as error:
            yield error.damaged

    def _derive(self, step: int, rows: dict[int, list[Any]]) -> Iterator[Damaged]:
        """The counts of a step from its predictions, and its gold from that of the last step."""
        place = self.folder / f"step-{step}"
        commit = place / "step.json"
        self.unsealed += int(not commit.exists() or SEAL not in read_json(commit))
        predictions, counts = place / PREDICTIONS_FILE, place / COUNTS_FILE
        try:
            found = outcomes.parse(predictions.read_bytes(), predictions)
            stored = read_json(counts)
        except DamagedError as error:
            yield error.damaged
            return
        except (OSError, UserError) as error:
            yield Damaged(predictions, f"cannot be read ({error})", learn_again(predictions))
            return
        try:
            gold = {row["id"]: row["gold"] for row in found}
            if wrong := self._wrong_gold(step, gold, len(found)):
                yield Damaged(predictions, wrong, learn_again(predictions))
                return
            views = self._views(step, found)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            wrong = f"is not as docs/results.md says ({error!r})"
            yield Damaged(predictions, wrong, learn_again(predictions))
            return
        rows[step] = found
        told = stored.get("views") if stored.get("step", step) == step else None
        known = isinstance(told, dict) and all(told.get(view) == counted for view, counted in views.items())
        if not known:
            yield Damaged(counts, "is not what the predictions give", learn_again(counts))

    def _wrong_gold(self, step: int, gold: Gold, n_rows: int) -> str:
        """What is wrong with the sentences of a step and their gold mentions, '' where nothing is."""
        taught = self._taught(step)
        if self.test_sets is not None:
            expected = [i for name in sorted(taught) for i in self.test_sets[name]]
            if list(gold) != expected or n_rows != len(expected):
                return "has other sentences than the split's test part"
        if step == self.run["n_steps"] and not self.known.gold:
            self.known = _Known(self.known.split, gold, self.folder / f"step-{step}" / PREDICTIONS_FILE)
        every = self.known.gold
        types = {i: set(types) for name, types in taught.items() for i in self._ids(name, gold)}
        for i, mentions in gold.items() if every else ():
            if [m for m in every.get(i, ()) if m[2] in types[i]] != mentions:
                return f"has other gold mentions in sentence {i} than {self.known.file}"
        return ""

    def _views(self, step: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, list[int]]]]:
        """The counts, as docs/results.md describes the views; raises ValueError where a prediction is none."""
        for row in rows:
            for start, end, _, score in row["pred"]:
                if not 0 <= start < end or not math.isfinite(score):
                    raise ValueError(f"sentence {row['id']}: a prediction that is none")
        at = {row["id"]: place for place, row in enumerate(rows)}
        matches = match([row["gold"] for row in rows], [row["pred"] for row in rows], self._types(step))
        ever = {i for i, mentions in self.known.gold.items() if mentions}
        views: dict[str, dict[str, dict[str, list[int]]]] = {"all": {}, "filter": {}}
        views |= {"filter_last": {}} if ever else {}  # unknown before any run of the split is at its end
        for test_set, types in self._taught(step).items():
            ids = self._ids(test_set, at)
            chosen = {"all": ids, "filter": [i for i in ids if rows[at[i]]["gold"]]}
            chosen["filter_last"] = [i for i in ids if i in ever]
            for view in views:
                views[view][test_set] = matches.count(types, [at[i] for i in chosen[view]])
        return views

    def _ids(self, test_set: str, those: Mapping[int, Any]) -> Sequence[int]:
        return self.test_sets[test_set] if self.test_sets is not None else list(those)

    def _types(self, step: int) -> list[str]:
        return [*dict.fromkeys(type_ for task in self.run["tasks"][:step] for type_ in task["types"])]

    def _taught(self, step: int) -> dict[str, list[str]]:
        """The types of each test set that are scored after ``step``."""
        taught: dict[str, list[str]] = {}
        for task in self.run["tasks"][:step]:
            own = taught.setdefault(task.get("domain", TEST), [])
            own += [type_ for type_ in task["types"] if type_ not in own]
        return taught


def _check_model(folder: Path) -> Iterator[Damaged]:
    """The files of a stored model. `bench run` removes a damaged one where it would go on from it."""
    again = f"remove the folder {folder}: the model alone is lost, and `bench run` with another --out learns it again"
    try:
        record = read_json(folder / MODEL_SUMS, again)
    except DamagedError as error:
        yield error.damaged
        return
    if SEAL not in record or record.get("key") != folder.name or not is_sums(record.get("sha256")):
        yield Damaged(folder / MODEL_SUMS, "is not of this model", again, of_run=False)
        return
    for name, told in record["sha256"].items():
        if wrong := wrong_sum(folder / name, (told,)):
            yield Damaged(folder / name, wrong, again, of_run=False)


def _check_derived(home: Path, afresh: bool) -> tuple[list[Damaged], int]:
    """The files of the report, and how many there are; ``afresh``: all runs are as they were, derive again."""
    repair = f"`bench report {home}` makes it again"
    file = home / files.SUMS_FILE
    sums: dict[str, Any] = {}
    wrong: dict[Path, str] = {}
    reported: set[str] | None = None
    if file.exists():
        try:
            record = read_json(file, repair)
            if SEAL not in record:
                raise DamagedError(file, "carries no seal", repair)
            told, runs = record.get("sha256"), record.get("runs")
            if not is_sums(told, named=is_way) or not isinstance(runs, list):
                raise DamagedError(file, "is not as docs/results.md says", repair)
            sums, reported = told, {*map(str, runs)}
        except DamagedError as error:
            wrong[file] = error.damaged.wrong
    elif (home / SUMS_FILE).exists() and (home / "report.html").exists():
        wrong[file] = "is missing"
    for name, told in sums.items():
        if said := wrong_sum(home / name, (told,)):
            wrong[home / name] = said
    derived = _derived(home, reported) if afresh and not wrong else {}
    derived = {name: content for name, content in derived.items() if (home / name).exists()}
    for name, content in derived.items():
        if home / name not in wrong and (home / name).read_bytes() != content:
            wrong[home / name] = "is not what the runs give"
    return [Damaged(path, said, repair, of_run=False) for path, said in wrong.items()], len({*sums, *derived})


def _derived(home: Path, reported: set[str] | None) -> dict[str, bytes]:
    """What a report of this folder alone holds; empty where the one that is there is of other folders' runs, too."""
    results = load_results(home)
    finished = {run["run_id"] for run in results.finished}
    return files.numbers(results) if finished and (reported is None or reported <= finished) else {}
