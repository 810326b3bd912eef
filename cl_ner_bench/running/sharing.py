"""Steps that several runs of a results folder have in common: who learns each, in which order, which models wait.

Runs share the steps that have one key (``running.keys``): one of them learns the step, the others reuse its
predictions, and chains go on from its model. The scheduler (``running.schedule``) is given what each run waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.schedule import Item
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord


@dataclass(frozen=True)
class Step:
    """A step that a run learns and others reuse."""

    run_id: str
    step: int


@dataclass(frozen=True)
class Model:
    """The model of a step, known by the step's key."""

    key: str


@dataclass(frozen=True)
class Work:
    """How much there is to learn: ``steps``, and the ``sentences`` that pass the model meanwhile."""

    steps: int
    sentences: int


def work(runs: Iterable[Run], shared: bool = True) -> Work:
    """Return all steps of ``runs``, finished ones too; without ``shared`` as if each run learned all of its own."""
    sizes = {
        run.key(step) if shared else f"{run.id}/{step}": run.size(step) for run in runs for step in run.record.steps
    }
    return Work(len(sizes), sum(sizes.values()))


def share(runs: Sequence[Run], folder: ResultsFolder) -> list[Run]:
    """Return ``runs`` with ``shared`` in their records: for each step that another run learns, the id of that run.

    It is a run that has finished the step, of this grid or stored in ``folder`` before; else the first of the grid.
    """
    everyone = {run.id: run.record.step_keys for run in runs}
    everyone |= {record.run_id: record.step_keys for record in _others(runs, folder)}
    planned: dict[str, str] = {}  # key of a step: the first run that has it, has reused it, has learned it
    reused: dict[str, str] = {}
    learned: dict[str, str] = {}
    known: dict[tuple[str, str], str] = {}  # who learned a step that a run has finished
    for run_id, keys in everyone.items():
        for step, key in keys.items():
            planned.setdefault(key, run_id)
            if finished := folder.run(run_id).step(int(step), key):
                known[run_id, step] = finished.shared_with or run_id
                (reused if finished.shared_with else learned).setdefault(key, run_id)
    learners = planned | reused | learned

    def shared(run: Run) -> dict[str, str]:
        by = {step: known.get((run.id, step), learners[key]) for step, key in run.record.step_keys.items()}
        return {step: run_id for step, run_id in by.items() if run_id != run.id}

    return [replace(run, record=structs.replace(run.record, shared=shared(run))) for run in runs]


def items(todo: Sequence[Run], folder: ResultsFolder) -> list[Item]:
    """Return the runs for the scheduler: what each costs and waits for.

    A run waits for the steps that others learn for it (:class:`Step`). A step may be finished and its model gone:
    then one run learns it again for all that go on from it (:class:`Model`).
    """
    missing = {run.id: run.missing() for run in todo}
    awaits: dict[str, dict[Hashable, str]] = {run.id: {} for run in todo}
    makers: dict[str, str] = {}  # key of a step whose model is gone: the run that learns it again
    for run in todo:
        for step in missing[run.id]:
            other = run.record.learner(step)
            if other != run.id and step in missing.get(other, ()):
                awaits[run.id][Step(other, step)] = other
        base, key = _base(run)
        if base and base not in missing.get(run.record.learner(base), ()) and not folder.models.holds(key):
            maker = makers.setdefault(key, run.id)
            if maker != run.id:
                awaits[run.id][Model(key)] = maker
    costs = {run.id: sum(run.cost(step) for step in missing[run.id]) for run in todo}
    return [Item(run.id, costs[run.id], awaits[run.id]) for run in todo]


def pinned(todo: Sequence[Run], folder: ResultsFolder, keep_models: str) -> set[str]:
    """Return the steps whose models no run may drop while the grid is learned: others go on from them or keep them."""
    others = _others(todo, folder)
    keys = [record.step_keys for record in (*(run.record for run in todo), *others)]
    several = {key for key, n in Counter(key for row in keys for key in row.values()).items() if n > 1}
    gone_on_from = {run.key(k) for run in todo if run.start == "previous" for k in run.record.steps[:-1]}
    return several & (gone_on_from | _kept(todo, others, keep_models))


def drop(models: Iterable[str], todo: Sequence[Run], folder: ResultsFolder, keep_models: str) -> None:
    """Drop those of the pinned ``models`` that ``keep_models`` does not keep and no unfinished run goes on from."""
    if keep_models == "all":
        return
    wanted = _kept(todo, _others(todo, folder), keep_models) | {_base(run)[1] for run in todo}
    for key in set(models) - wanted:
        folder.models.drop(key)


def _kept(todo: Iterable[Run], others: Iterable[RunRecord], keep_models: str) -> set[str]:
    """Return the last steps of runs: of these where they are kept, of others in the folder wherever they are there."""
    records = [*others, *((run.record for run in todo) if keep_models == "last" else ())]
    return {record.step_keys[str(record.steps[-1])] for record in records}


def _base(run: Run) -> tuple[int, str]:
    """Return the step whose model the next pending step starts from, and its key; (0, "") if none."""
    own = [k for k in run.missing() if not run.record.is_shared(k)]
    step = own[0] - 1 if own and run.start == "previous" else 0
    return step, run.key(step) if step else ""


def _others(runs: Iterable[Run], folder: ResultsFolder) -> list[RunRecord]:
    """Return the records in the folder that are not of ``runs``."""
    ids = {run.id for run in runs}
    return [record for run_id, record in folder.runs.items() if run_id not in ids and record.step_keys]
