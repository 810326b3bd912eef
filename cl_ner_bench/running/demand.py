"""The time, memory and disk that a prepared grid needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import structs

from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.running.environment import MEMORY_PER_RUN
from cl_ner_bench.running.estimate import Job, Rates, time_left
from cl_ner_bench.running.plan import Prepared, Run
from cl_ner_bench.running.sharing import work

IN_USE = 6  # models that a run has at a time: the last, the new one, and four times as much in a checkpoint
PREDICTION_BYTES = 60  # of a test sentence after a step, compressed


@dataclass(frozen=True)
class Demand:
    """The resources that a grid still needs.

    ``seconds`` and ``memory_bytes`` are rough guesses unless they are measured on finished steps of the results folder
    (``seconds_measured``, ``memory_measured``).
    """

    seconds: float
    seconds_measured: bool
    memory_bytes: float
    memory_measured: bool
    disk_bytes: float


def demand(prepared: Prepared) -> Demand:
    """Estimate what a grid needs from now to its end, the report included."""
    learned = {run.id: _learned(run) for run in prepared.runs}
    rates = Rates(structs.replace(run.record, learned=learned[run.id]) for run in prepared.runs)
    jobs = [Job(run.record, run.done()) for run in prepared.todo]
    seconds = time_left(jobs, rates, prepared.jobs, not prepared.options.no_report)
    peaks = [row["peak_memory_bytes"] for rows in learned.values() for row in rows if "peak_memory_bytes" in row]
    memory = min(prepared.jobs, len(prepared.todo)) * max(peaks, default=MEMORY_PER_RUN)
    return Demand(seconds, bool(rates), memory, bool(peaks), disk_bytes(prepared))


def disk_bytes(prepared: Prepared) -> float:
    """Return the most that a grid will have written: models that are kept, models and checkpoints in use,
    predictions."""
    if not prepared.todo:
        return 0.0
    last = {run.key(run.record.steps[-1]) for run in prepared.todo}
    kept = {"none": 0, "last": len(last), "all": work(prepared.todo).steps}[prepared.options.keep_models]
    in_use = min(prepared.jobs, len(prepared.todo)) * IN_USE
    sentences = sum(len(run.split.test) * len(run.missing()) for run in prepared.todo)
    model = encoder_info(prepared.options.encoder).weight_bytes
    return (kept + in_use) * model + sentences * PREDICTION_BYTES


def _learned(run: Run) -> list[dict[str, Any]]:
    return record.learned if (record := run.folder.record) else []
