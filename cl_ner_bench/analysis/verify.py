"""`bench verify`: check all seals and checksums of a results folder, and derive every number again.

Scores follow from counts, counts from predictions, and predictions are stored beside their gold mentions. A number that
was changed together with its checksum and seal still contradicts its source.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from cl_ner_bench.analysis.data import outcomes
from cl_ner_bench.analysis.forked import beside
from cl_ner_bench.analysis.scores.views import Views, count_views
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.checks import Damaged, DamagedError, learn_again
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.report_files import report_checksums
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import TEST, RunRecord

Say = Callable[[str], None]
Gold = dict[int, list[list[Any]]]  # sentence id -> [start, end, type]


@dataclass(frozen=True)
class Verification:
    """The outcome of ``verify``. ``checked``: the number of checked things by kind. ``unsealed``: the number of records
    of versions without seals; only their content is checked."""

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
        """Return a line for each fault, and a line with the numbers of checked things."""
        seen = ", ".join(f"{number} {name}" for name, number in self.checked.items())
        old = f" ({self.unsealed} records carry no seal: an earlier version wrote them)" if self.unsealed else ""
        n = len(self.faults)
        found = f"{n} fault{'s' * (n > 1)}" if n else "no fault"
        return "\n".join([*map(str, self.faults), f"{self.folder}: {found} in {seen}{old}"])


def verify(home: Path, say: Say = lambda _: None) -> Verification:
    """Check all of a results folder; ``say`` is called with the name of each thing before its check.

    Only missing outcomes are written, as by every report.

    Raises:
        UserError: ``home`` is no results folder, or a link outside of the runs leads out of it.
    """
    folder = ResultsFolder.open(home)
    # While runs are checked, a copy of this process derives the report's numbers and a thread reads the large models.
    # The process is copied first, because a copy of a process with threads is unsafe.
    with beside(partial(_derived, home)) as derived:
        reader = ThreadPoolExecutor(1)
        try:
            models = [reader.submit(check) for check in folder.checks_of_models()]
            return _verify(folder, say, models, derived)
        finally:
            reader.shutdown(cancel_futures=True)


def _verify(
    folder: ResultsFolder, say: Say, models: Sequence[Future[list[Damaged]]], derived: Callable[[], _Derived]
) -> Verification:
    faults: list[Damaged] = []
    checked = Counter(dict.fromkeys(("runs", "steps", "models", "derived files"), 0))
    unsealed = 0
    begun, linked = folder.begun()
    faults += [*folder.check_top(), *linked]
    runs = []
    for run in begun:
        try:
            runs.append((run, run.read()))
        except DamagedError as error:
            faults.append(error.damaged)
    # Sorted by split, finished runs first: the gold of each run is compared with that of the first run of its split.
    runs.sort(key=lambda pair: (_split_of(pair[1]), pair[1].status != "done", pair[0].path.name))
    known = _Known(b"", {}, Path())
    for number, (run, record) in enumerate(runs, 1):
        say(f"run {number} of {len(runs)}: {run.path.name}")
        if _split_of(record) != known.split:
            known = _Known(_split_of(record), {}, Path())
        checking = _Checking(run, record, known)
        faults += checking.faults()
        known = checking.known
        checked["steps"] += checking.steps
        unsealed += checking.unsealed
    checked["runs"] = len(begun)
    say("what is derived")
    wrong, checked["derived files"] = _check_derived(folder.path, None if faults else derived)
    for number, found in enumerate(models, 1):
        say(f"model {number} of {len(models)}")
        faults += found.result()
    checked["models"] = len(models)
    return Verification(folder.path, faults + wrong, checked, unsealed)


def _split_of(run: RunRecord) -> bytes:
    prints = run.fingerprints
    return msgspec.json.encode([prints.get("data"), prints.get("split"), run.tasks])


@dataclass(frozen=True)
class _Known:
    """The gold mentions of a split's test sentences after the last step, and the first file that held them."""

    split: bytes
    gold: Gold
    file: Path


class _Checking:
    """The check of one run: of its files, and of its numbers, which are derived again."""

    def __init__(self, folder: RunFolder, run: RunRecord, known: _Known) -> None:
        self.folder, self.run, self.known = folder, run, known
        self.steps, self.unsealed = 0, int(not run.is_sealed)
        self.test_sets: dict[str, list[int]] | None = None  # ids by test set; None without a stored split

    def faults(self) -> Iterator[Damaged]:
        yield from self._split()
        yield from self._training_check()
        rows: dict[int, list[Any]] = {}
        whole = True
        for step in sorted(self.run.steps, reverse=True):  # the last step holds the gold of all types
            if self.run.status != "done" and not self.folder.step_folder(step).exists():
                continue
            self.steps += 1
            found = self.folder.check_step(self.run, step) or [*self._derive(step, rows)]
            yield from found
            whole = whole and not found
        stored = self.folder.outcomes_file
        if not whole or self.run.status != "done" or not stored.exists():
            return
        if not outcomes.is_as_stored(self.folder, self.run, dict(sorted(rows.items()))):
            repair = f"remove it, `bench report {self.folder.home}` makes it again"
            yield Damaged(stored, "is not what the predictions give", repair)

    def _split(self) -> Iterator[Damaged]:
        try:
            split = self.folder.check_split(self.run)
        except DamagedError as error:
            yield error.damaged
        else:
            if split is not None:
                self.test_sets = split.get("domains") or {TEST: split["test"]}

    def _training_check(self) -> Iterator[Damaged]:
        try:
            self.unsealed += self.folder.check_training_check() is False
        except DamagedError as error:
            yield error.damaged

    def _derive(self, step: int, rows: dict[int, list[Any]]) -> Iterator[Damaged]:
        """Check the counts of a step against its predictions, and its gold mentions against those of the last step."""
        self.unsealed += not self.folder.is_step_sealed(step)
        predictions, counts = self.folder.predictions_file(step), self.folder.counts_file(step)
        try:
            found = outcomes.parse(predictions.read_bytes(), predictions)
            stored = self.folder.counts(step)
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
            views = self._views(step, gold, found)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            wrong = f"is not as docs/results.md says ({error!r})"
            yield Damaged(predictions, wrong, learn_again(predictions))
            return
        rows[step] = found
        recorded = stored.get("views") if stored.get("step", step) == step else None
        known = isinstance(recorded, dict) and all(recorded.get(view) == counted for view, counted in views.items())
        if not known:
            yield Damaged(counts, "is not what the predictions give", learn_again(counts))

    def _wrong_gold(self, step: int, gold: Gold, n_rows: int) -> str:
        """Return a text on wrong sentences or gold mentions of a step, or ''."""
        scored = self._scored_types(step)
        if self.test_sets is not None:
            expected = [i for name in sorted(scored) for i in self.test_sets[name]]
            if list(gold) != expected or n_rows != len(expected):
                return "has other sentences than the split's test part"
        if step == self.run.n_steps and not self.known.gold:
            self.known = _Known(self.known.split, gold, self.folder.predictions_file(step))
        every = self.known.gold
        types = {i: set(types) for name, types in scored.items() for i in self._ids(name, gold)}
        for i, mentions in gold.items() if every else ():
            if [m for m in every.get(i, ()) if m[2] in types[i]] != mentions:
                return f"has other gold mentions in sentence {i} than {self.known.file}"
        return ""

    def _views(self, step: int, gold: Gold, rows: Sequence[Mapping[str, Any]]) -> Views:
        """Return the counts by view. Raises ValueError for an invalid prediction."""
        for row in rows:
            for start, end, _, score in row["pred"]:
                if not 0 <= start < end or not (math.isfinite(score) if score is not None else self.run.imported):
                    raise ValueError(f"sentence {row['id']}: a prediction that is none")
        scored = self._scored_types(step)
        ever = {i for i, mentions in self.known.gold.items() if mentions}
        test_sets = {name: self._ids(name, gold) for name in scored}
        views = count_views(gold, [row["pred"] for row in rows], scored, test_sets, ever)
        if not ever:  # unknown until a run of the split has its last step
            del views["filter_last"]
        return views

    def _ids(self, test_set: str, those: Mapping[int, Any]) -> Sequence[int]:
        return self.test_sets[test_set] if self.test_sets is not None else list(those)

    def _scored_types(self, step: int) -> dict[str, list[str]]:
        """Return the types of each test set that are scored after ``step``."""
        scored: dict[str, list[str]] = {}
        for task in self.run.tasks[:step]:
            own = scored.setdefault(task.domain or TEST, [])
            own += [type_ for type_ in task.types if type_ not in own]
        return scored


@dataclass(frozen=True)
class _Derived:
    """The numbers of a report of one folder, by file; empty if no run is finished. ``runs``: the finished runs."""

    runs: set[str]
    files: Mapping[str, bytes]


def _derived(home: Path) -> _Derived:
    # These import pandas, which takes as long as reading some models.
    from cl_ner_bench.analysis.data.frames import load_results
    from cl_ner_bench.analysis.report.numbers import numbers

    results = load_results(home)
    finished = {run.run_id for run in results.finished}
    return _Derived(finished, numbers(results) if finished else {})


def _check_derived(home: Path, derived: Callable[[], _Derived] | None) -> tuple[list[Damaged], int]:
    """Return the wrong files of the report, and the number of checked files.

    ``derived`` returns the numbers that the runs give now; it is None if the runs have faults.
    """
    repair = f"`bench report {home}` makes it again"
    wrong: dict[Path, str] = {}
    sums: set[str] = set()
    reported: set[str] | None = None
    try:
        if (found := report_checksums(home, repair)) is not None:
            sums, reported = {*found.sums}, {*map(str, found.about["runs"])}
            wrong |= dict(found.faults())
    except DamagedError as error:
        wrong[error.damaged.path] = error.damaged.wrong
    compared: dict[str, bytes] = {}
    if derived is not None and not wrong:
        today = derived()
        if reported is None or reported <= today.runs:  # else the report also covers runs of other folders
            compared = {name: content for name, content in today.files.items() if (home / name).exists()}
    for name, content in compared.items():
        if (home / name).read_bytes() != content:
            wrong[home / name] = "is not what the runs give"
    return [Damaged(path, said, repair, of_run=False) for path, said in wrong.items()], len({*sums, *compared})
