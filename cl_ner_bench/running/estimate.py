"""An estimate of the time of a grid, for `bench run`, `bench status`, `--dry-run` and `bench perf`.

A run starts, then learns and predicts its steps one by one. The command ends with a report. The estimate of a step is
its time at typical rates, times the ratio of measured to typical seconds of the finished steps of this grid.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cl_ner_bench.running.schedule import Item, Schedule
from cl_ner_bench.storage.run_record import RunRecord

RATES = {("cpu", "fp32"): 400.0, ("cpu", "bf16"): 600.0, ("cuda", "fp32"): 20e3, ("cuda", "bf16"): 30e3}
"""Words that a thread (CPU) or a device (CUDA) learns per second with MiniLM (6 layers, width 384)."""

FORWARD = 6.0
"""Words that are predicted in the time of learning one word."""

START, REPORT, ROW = 2.5, 15.0, 0.06
"""Seconds before a run's first step, seconds for the report, and further seconds for the report per run."""

SEEN = 10.0
"""A step that has learned for so many seconds gives a rate, if no step of its kind is finished."""

START_OF_RUN, CHECK = 0, -1
"""Numbers in a list of steps that stand for the start of a run and for the check of its training (step 1 for twice the
epochs)."""

KIND = ("method", "dataset", "scenario", "encoder")
"""Properties of a run that decide its speed."""

LEARNING, PREDICTING = PARTS = ("learning", "predicting")


@dataclass(frozen=True)
class UnfinishedRun:
    """A run with its finished steps, and its heartbeat (None if nobody learns it)."""

    record: RunRecord
    done: Collection[int]
    state: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        return self.record.run_id

    def pending(self) -> list[int]:
        """Return the unfinished steps that the run itself learns, and ``CHECK`` if that check is not done."""
        check = [CHECK] if self.record.settings["training_check"] and not self.record.step1_reference else []
        return [k for k in self.record.steps if k not in self.done and not self.record.is_shared(k)] + check

    def left(self, step: int) -> tuple[float, float]:
        """Return the unfinished shares (0..1) of a step's learning and predicting."""
        at = self.state or {}
        if at.get("step") != _learned_step(step) or (at["phase"] == "checking") != (step == CHECK):
            return 1.0, 1.0
        if at["phase"] == "predicting":
            return 0.0, 1 - at.get("predicted_words", 0) / max(1, self.record.words[step - 1][2])
        return 1 - at["update"] / at["updates"] if "updates" in at else 1.0, 1.0


def typical(record: RunRecord, step: int) -> tuple[float, float]:
    """Return the seconds for learning and for predicting a step at typical rates."""
    settings, shape = record.settings, record.encoder_identity
    train, dev, test = record.words[_learned_step(step) - 1]
    layers, width = (shape.layers or 6, shape.width or 384) if shape else (6, 384)
    scale = layers / 6 * (width / 384) ** 2
    rate = RATES[settings["device"], settings["precision"]] * settings["threads"] / scale
    epochs = settings["epochs"] * (2 if step == CHECK else 1)
    return epochs * (train + dev / FORWARD) / rate, test / FORWARD / rate


class Rates:
    """The ratios of measured to typical seconds of learning and predicting, for specific and general kinds of steps.

    The measured steps are the finished steps of all ``records``. A run whose kind has no finished step adds its updates
    so far.
    """

    def __init__(self, records: Iterable[RunRecord], runs: Iterable[UnfinishedRun] = (), start: float = START) -> None:
        self.start, self.report = start, REPORT
        self._sums: dict[Hashable, tuple[float, float]] = {}
        for record in records:
            self.report += ROW
            for row in record.learned:
                if not record.is_shared(row["step"]):
                    self._add(record, row["step"], row["seconds"], row.get("predict_seconds", 0.0))
        finished = set(self._sums)
        for run in runs:
            at, known = run.state or {}, (LEARNING, _kind(run.record)) in finished
            if not known and at.get("phase") == "learning" and at.get("seconds", 0.0) > SEEN:
                self._add(run.record, at["step"], at["seconds"], 0.0, at["update"] / at["updates"])

    def _add(self, record: RunRecord, step: int, learning: float, predicting: float, share: float = 1.0) -> None:
        for part, measured, usual in zip(PARTS, (learning, predicting), typical(record, step), strict=True):
            for key in _keys(record, step) if measured else ():
                a, b = self._sums.get((part, key), (0.0, 0.0))
                self._sums[part, key] = a + measured, b + share * usual

    def __bool__(self) -> bool:
        """Return True if anything was measured."""
        return bool(self._sums)

    def seconds(self, run: UnfinishedRun, step: int) -> float:
        """Return the seconds that a step still needs."""
        rows = zip(PARTS, typical(run.record, step), run.left(step), strict=True)
        return sum(left * usual * self._ratio(part, run.record, step) for part, usual, left in rows)

    def _ratio(self, part: str, record: RunRecord, step: int) -> float:
        sums = (self._sums.get((part, key)) for key in _keys(record, step))
        return next((measured / usual for measured, usual in filter(None, sums)), 1.0)


def _learned_step(step: int) -> int:
    """Return the number of the step that is learned, which is 1 for ``CHECK``."""
    return 1 if step == CHECK else step


def _keys(record: RunRecord, step: int) -> Iterator[Hashable]:
    """Yield the kinds of a step, from specific to general.

    Step 1 is a kind of its own, because later steps have a teacher or more data.
    """
    kind = _kind(record)
    yield from ((kind, _learned_step(step) == 1), kind, record.architecture, "")


def _kind(record: RunRecord) -> tuple[str, ...]:
    return tuple(getattr(record, key) for key in KIND)


def one_worker_seconds(runs: Sequence[UnfinishedRun], rates: Rates) -> float:
    """Return the seconds that one worker needs for all ``runs``, without the report."""
    return sum(seconds for run in runs for _, seconds in _own(run, rates))


def time_left(runs: Sequence[UnfinishedRun], rates: Rates, workers: int, report: bool = True) -> float:
    """Return the seconds until ``workers`` have finished all ``runs`` and the ``report`` is written.

    Runs start in the driver's order.
    """
    own = {run.id: _own(run, rates) for run in runs}
    makes = {(id, step) for id, steps in own.items() for step, _ in steps}
    items = []
    for run in runs:
        shared = [(owner, int(k)) for k, owner in run.record.shared.items() if run.state is None]
        size = sum(size for k, size in enumerate(run.record.sizes, 1) if (run.id, k) in makes)
        cost = math.inf if run.state is not None else size
        items.append(Item(run.id, cost, {step: step[0] for step in shared if step in makes}))
    schedule = Schedule(items)
    events: list[tuple[float, str, int, bool]] = []  # time, run, finished step, True for the run's last step
    now, active = 0.0, 0
    while True:
        while active < workers and (id := schedule.next(idle=not active)) is not None:
            active, at = active + 1, now
            for step, seconds in own[id]:
                at += seconds
                heapq.heappush(events, (at, id, step, step == own[id][-1][0]))
        if not events:
            return now + rates.report * report
        now, id, step, ends = heapq.heappop(events)
        schedule.provide((id, step))
        if ends:
            schedule.end(id)
            active -= 1


def _own(run: UnfinishedRun, rates: Rates) -> list[tuple[int, float]]:
    """Return the start of a run and its pending steps, each with the seconds that it still needs."""
    start = rates.start if run.state is None or not run.state.get("step") else 0.0
    return [(START_OF_RUN, start), *((k, rates.seconds(run, k)) for k in run.pending())]
