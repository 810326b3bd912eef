"""Steps that several runs of a results folder have in common: who learns each, in which order, which models wait.

Runs share the steps that have one key (``running.keys``): one of them learns it, the others take its predictions, and
chains go on from its model. What a run waits for is told to the scheduler (``running.schedule``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.schedule import Item
from cl_ner_bench.storage.shared import Depot
from cl_ner_bench.storage.store import model_folder, read_record, step_record


@dataclass(frozen=True)
class Step:
    """A step that a run learns and others take."""

    run_id: str
    step: int


@dataclass(frozen=True)
class Model:
    """The model of a step, known by the step's key."""

    key: str


@dataclass(frozen=True)
class Work:
    """What there is to learn: ``steps``, and the ``sentences`` that pass the model meanwhile."""

    steps: int
    sentences: int


def work(runs: Iterable[Run], shared: bool = True) -> Work:
    """All steps of ``runs``, finished ones too; without ``shared`` as if each run learned all of its own."""
    sizes = {
        run.record["step_keys"][str(step)] if shared else f"{run.id}/{step}": run.size(step)
        for run in runs
        for step in run.record["steps"]
    }
    return Work(len(sizes), sum(sizes.values()))


def share(runs: Sequence[Run], out: Path) -> list[Run]:
    """``runs`` with ``shared`` in their records: the id of the run that learns a step, where it is another one.

    That is a run that has finished the step, of this grid or stored in ``out`` before; else the first of the grid.
    """
    everyone = {run.id: run.record["step_keys"] for run in runs}
    everyone |= {record["run_id"]: record["step_keys"] for record in _others(runs, out)}
    planned: dict[str, str] = {}  # key of a step: the first run that has it, has taken it, has learned it
    taken: dict[str, str] = {}
    learned: dict[str, str] = {}
    known: dict[tuple[str, str], str] = {}  # who learned a step that a run has finished
    for run_id, keys in everyone.items():
        for step, key in keys.items():
            planned.setdefault(key, run_id)
            if record := step_record(out / "runs" / run_id / f"step-{step}", key):
                known[run_id, step] = record.get("shared_with", run_id)
                (taken if "shared_with" in record else learned).setdefault(key, run_id)
    learners = planned | taken | learned

    def shared(run: Run) -> dict[str, str]:
        by = {step: known.get((run.id, step), learners[key]) for step, key in run.record["step_keys"].items()}
        return {step: run_id for step, run_id in by.items() if run_id != run.id}

    return [replace(run, record=run.record | {"shared": shared(run)}) for run in runs]


def items(todo: Sequence[Run], shared: Depot) -> list[Item]:
    """The runs for the scheduler: what each costs and waits for.

    A run waits for the steps that others learn for it (:class:`Step`). A step may be finished and its model gone:
    then one run learns it again for all that go on from it (:class:`Model`).
    """
    missing = {run.id: run.missing() for run in todo}
    awaits: dict[str, dict[Hashable, str]] = {run.id: {} for run in todo}
    again: dict[str, str] = {}  # key of a step whose model is gone: the run that learns it again
    for run in todo:
        for step in missing[run.id]:
            other = run.record["shared"].get(str(step), run.id)
            if other != run.id and step in missing.get(other, ()):
                awaits[run.id][Step(other, step)] = other
        base, key = _base(run)
        learner = run.record["shared"].get(str(base), run.id)
        if base and base not in missing.get(learner, ()) and not shared.holds(model_folder(shared.out, key)):
            maker = again.setdefault(key, run.id)
            if maker != run.id:
                awaits[run.id][Model(key)] = maker
    costs = {run.id: sum(run.cost(step) for step in missing[run.id]) for run in todo}
    return [Item(run.id, costs[run.id], awaits[run.id]) for run in todo]


def held(todo: Sequence[Run], out: Path, keep_models: str) -> set[str]:
    """The steps whose models no run may drop while the grid is learned: others go on from them, or keep them."""
    others = _others(todo, out)
    keys = [run.record["step_keys"] for run in todo] + [record["step_keys"] for record in others]
    several = {key for key, n in Counter(key for row in keys for key in row.values()).items() if n > 1}
    gone_on_from = {run.key(k) for run in todo if run.start == "previous" for k in run.record["steps"][:-1]}
    return several & (gone_on_from | _kept(todo, others, keep_models))


def drop(models: Iterable[str], todo: Sequence[Run], shared: Depot, keep_models: str) -> None:
    """Drop those of the held ``models`` that ``keep_models`` does not keep and no unfinished run goes on from."""
    if keep_models == "all":
        return
    wanted = _kept(todo, _others(todo, shared.out), keep_models) | {_base(run)[1] for run in todo}
    for key in set(models) - wanted:
        shared.drop(model_folder(shared.out, key))


def _kept(todo: Iterable[Run], others: Iterable[dict[str, Any]], keep_models: str) -> set[str]:
    """The last steps of runs: of these where they are kept, of others in the folder wherever they are there."""
    records = [*others, *((run.record for run in todo) if keep_models == "last" else ())]
    return {record["step_keys"][str(record["steps"][-1])] for record in records}


def _base(run: Run) -> tuple[int, str]:
    """The step (and its key) from whose model a chain goes on to what it learns itself; 0 where there is none."""
    own = [k for k in run.missing() if str(k) not in run.record["shared"]]
    step = own[0] - 1 if own and run.start == "previous" else 0
    return step, run.key(step) if step else ""


def _others(runs: Iterable[Run], out: Path) -> list[dict[str, Any]]:
    """The records of the runs in ``out`` that are not among ``runs``."""
    ids = {run.id for run in runs}
    records = [read_record(file) for file in sorted(out.glob("runs/*/run.json"))]
    return [r for r in records if r and r.get("run_id") not in ids and r.get("step_keys")]
