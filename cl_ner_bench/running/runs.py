"""The runs of a grid: their values, their stored results, and the steps that several runs share.

Runs share a step if its key (``running.keys``) is equal. One run learns the step, the other runs reuse its predictions.
Runs whose steps build on each other continue from its model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.running.options import Options
from cl_ner_bench.running.schedule import Item
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_folder import FinishedStep, RunFolder
from cl_ner_bench.storage.run_record import RunRecord

IN_USE = 6  # models per run at a time: the last, the new one, and a checkpoint of four times a model's size
PREDICTION_BYTES = 60  # for a test sentence after a step, compressed


@dataclass(frozen=True)
class Run:
    """A run of a grid: its planned record, its task split, its folder, and the ``start`` of its method's card."""

    record: RunRecord
    split: TaskSplit
    folder: RunFolder
    start: str

    @property
    def id(self) -> str:
        return self.record.run_id

    def key(self, step: int) -> str:
        return self.record.step_keys[str(step)]

    def finished(self, step: int) -> FinishedStep | None:
        """Return a stored step, or None if it is not finished."""
        return self.folder.step(step, self.key(step))

    def done(self) -> list[int]:
        """Return the finished steps."""
        return [k for k in self.record.steps if self.finished(k)]

    def damaged(self) -> dict[int, str]:
        """Return the finished steps with a file that is not as stored, each with the name of that file."""
        found = ((k, self.finished(k)) for k in self.record.steps)
        return {k: wrong for k, step in found if step and (wrong := step.damage())}

    def missing(self) -> list[int]:
        """Return the unfinished steps."""
        done = self.done()
        return [k for k in self.record.steps if k not in done]

    def pending(self) -> list[int]:
        """Return the unfinished steps that this run itself learns."""
        return [k for k in self.missing() if not self.record.is_shared(k)]

    def is_complete(self) -> bool:
        """Return True if all steps and the requested check of the training are finished."""
        checked = not self.record.settings["training_check"] or self.folder.training_check() is not None
        return checked and self.done() == self.record.steps

    def cost(self, step: int) -> int:
        """Return the sentences that pass the model for ``step``, or 0 if another run learns it."""
        return 0 if self.record.is_shared(step) else self.size(step)

    def size(self, step: int) -> int:
        """Return the sentences that pass the model during ``step``. The time is about proportional."""
        return self.record.sizes[step - 1]


@dataclass(frozen=True)
class Plan:
    """All runs of one grid. ``options`` are fully resolved, so they give the same runs again."""

    options: Options
    runs: list[Run]
    corpus: Corpus
    origins: Mapping[str, str]
    added: list[str] = field(default_factory=list)  # names of the bounds that ``--bounds auto`` added

    @property
    def splits(self) -> list[TaskSplit]:
        """The task split of each order."""
        return list({run.split.hash: run.split for run in self.runs}.values())


@dataclass(frozen=True)
class Prepared:
    """The planned grids of a command, before anything is written.

    ``todo`` are the ``runs`` with work left. ``damaged`` are finished steps that are not as stored, each with its run
    and the file's name. ``superseded`` are stored runs without finished steps, now planned with other settings.
    ``replaced`` are stored runs that `--replace` sets aside. ``warnings`` name those not learned again.
    """

    folder: ResultsFolder
    plans: list[Plan]
    runs: list[Run]
    todo: list[Run]
    damaged: list[tuple[Run, int, str]]
    superseded: list[RunRecord]
    replaced: list[RunRecord]
    warnings: list[str]
    jobs: int

    @property
    def out(self) -> Path:
        return self.folder.path

    @property
    def options(self) -> Options:
        return self.plans[0].options


# Steps that several runs have in common


@dataclass(frozen=True)
class Work:
    """An amount of work: the number of ``steps``, and the number of ``sentences`` that pass the model."""

    steps: int
    sentences: int


def work(runs: Iterable[Run], shared: bool = True) -> Work:
    """Return the work of all steps of ``runs``, finished or not. Without ``shared``, count each step per run."""
    sizes = {
        run.key(step) if shared else f"{run.id}/{step}": run.size(step) for run in runs for step in run.record.steps
    }
    return Work(len(sizes), sum(sizes.values()))


def share(runs: Sequence[Run], folder: ResultsFolder, leaving: Collection[str] = ()) -> list[Run]:
    """Return ``runs`` with ``shared`` in their records: for each step that another run learns, the id of that run.

    It is a run in the grid or in ``folder`` that has finished the step, else the first run of the grid.
    ``leaving`` are runs that will leave the folder.
    """
    everyone = {run.id: run.record.step_keys for run in runs}
    everyone |= {record.run_id: record.step_keys for record in _others(runs, folder) if record.run_id not in leaving}
    planned: dict[str, str] = {}  # step key -> first run that has planned, reused or learned it
    reused: dict[str, str] = {}
    learned: dict[str, str] = {}
    known: dict[tuple[str, str], str] = {}  # run and finished step -> the run that learned it
    for run_id, keys in everyone.items():
        for step, key in keys.items():
            planned.setdefault(key, run_id)
            if finished := folder.run(run_id).step(int(step), key):
                known[run_id, step] = finished.shared_with or run_id
                (reused if finished.shared_with else learned).setdefault(key, run_id)
    learned_by = planned | reused | learned

    def shared(run: Run) -> dict[str, str]:
        by = {step: known.get((run.id, step), learned_by[key]) for step, key in run.record.step_keys.items()}
        return {step: run_id for step, run_id in by.items() if run_id != run.id}

    return [replace(run, record=structs.replace(run.record, shared=shared(run))) for run in runs]


# Order of runs, models, and disk space, during the grid


class AwaitedStep(NamedTuple):
    """A step that one run learns and other runs reuse."""

    run_id: str
    step: int


class AwaitedModel(NamedTuple):
    """The model of a step, named by the step key."""

    key: str


def schedule_items(todo: Sequence[Run], folder: ResultsFolder) -> list[Item]:
    """Return the runs for the schedule, each with its cost and the steps and models that it awaits.

    A run awaits the steps that others learn for it (:class:`AwaitedStep`). If a step is finished but its model is gone,
    one run learns the step again for all runs that continue from it (:class:`AwaitedModel`).
    """
    missing = {run.id: run.missing() for run in todo}
    awaits: dict[str, dict[Hashable, str]] = {run.id: {} for run in todo}
    makers: dict[str, str] = {}  # key of a step whose model is gone: the run that learns it again
    for run in todo:
        for step in missing[run.id]:
            other = run.record.learned_by(step)
            if other != run.id and step in missing.get(other, ()):
                awaits[run.id][AwaitedStep(other, step)] = other
        base, key = _base(run)
        if base and base not in missing.get(run.record.learned_by(base), ()) and not folder.models.holds(key):
            maker = makers.setdefault(key, run.id)
            if maker != run.id:
                awaits[run.id][AwaitedModel(key)] = maker
    costs = {run.id: sum(run.cost(step) for step in missing[run.id]) for run in todo}
    return [Item(run.id, costs[run.id], awaits[run.id]) for run in todo]


def pinned_models(todo: Sequence[Run], folder: ResultsFolder, keep_models: str) -> set[str]:
    """Return the step keys whose models no run may drop during the grid, because other runs need or keep them."""
    others = _others(todo, folder)
    keys = [record.step_keys for record in (*(run.record for run in todo), *others)]
    several = {key for key, n in Counter(key for row in keys for key in row.values()).items() if n > 1}
    gone_on_from = {run.key(k) for run in todo if run.start == "previous" for k in run.record.steps[:-1]}
    return several & (gone_on_from | _kept(todo, others, keep_models))


def drop_models(models: Iterable[str], todo: Sequence[Run], folder: ResultsFolder, keep_models: str) -> None:
    """Drop the pinned ``models`` that ``keep_models`` does not keep and from which no unfinished run continues."""
    if keep_models == "all":
        return
    wanted = _kept(todo, _others(todo, folder), keep_models) | {_base(run)[1] for run in todo}
    for key in set(models) - wanted:
        folder.models.drop(key)


def disk_bytes(prepared: Prepared) -> tuple[float, float]:
    """Return two numbers of bytes: the peak of disk space with models and checkpoints in use, and the space that kept
    models and predictions need at the end."""
    if not prepared.todo:
        return 0.0, 0.0
    last = {run.key(run.record.steps[-1]) for run in prepared.todo}
    kept = {"none": 0, "last": len(last), "all": work(prepared.todo).steps}[prepared.options.keep_models]
    in_use = min(prepared.jobs, len(prepared.todo)) * IN_USE
    sentences = sum(len(run.split.test) * len(run.missing()) for run in prepared.todo)
    model = encoder_info(prepared.options.encoder).weight_bytes
    stays = kept * model + sentences * PREDICTION_BYTES
    return stays + in_use * model, stays


def _kept(todo: Iterable[Run], others: Iterable[RunRecord], keep_models: str) -> set[str]:
    """Return the keys of the last steps of ``others`` and, if ``keep_models`` is "last", of the runs in ``todo``."""
    records = [*others, *((run.record for run in todo) if keep_models == "last" else ())]
    return {record.step_keys[str(record.steps[-1])] for record in records}


def _base(run: Run) -> tuple[int, str]:
    """Return number and key of the step whose model the next pending step starts from, or (0, "")."""
    own = run.pending()
    step = own[0] - 1 if own and run.start == "previous" else 0
    return step, run.key(step) if step else ""


def _others(runs: Iterable[Run], folder: ResultsFolder) -> list[RunRecord]:
    """Return the records in the folder that do not belong to ``runs``."""
    ids = {run.id for run in runs}
    return [record for run_id, record in folder.runs.items() if run_id not in ids and record.step_keys]
