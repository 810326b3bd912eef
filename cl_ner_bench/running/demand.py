"""The time, the memory and the disk space that a grid still needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import structs

from cl_ner_bench.running import environment
from cl_ner_bench.running.estimate import Rates, UnfinishedRun, time_left
from cl_ner_bench.running.runs import Prepared, Run, disk_bytes


@dataclass(frozen=True)
class Demand:
    """The resources that a grid still needs.

    ``seconds`` and ``memory_bytes`` are rough guesses unless finished steps of the results folder give measurements
    (``seconds_measured``, ``memory_measured``). ``disk_bytes`` is the peak of disk space during learning,
    ``kept_bytes`` the space of the models and predictions that stay.
    """

    seconds: float
    seconds_measured: bool
    memory_bytes: float
    memory_measured: bool
    disk_bytes: float
    kept_bytes: float


def demand(prepared: Prepared) -> Demand:
    """Estimate the resources that a grid needs from now to its end, with the report."""
    learned = {run.id: _learned(run) for run in prepared.runs}
    rates = Rates(structs.replace(run.record, learned=learned[run.id]) for run in prepared.runs)
    unfinished = [UnfinishedRun(run.record, run.done()) for run in prepared.todo]
    seconds = time_left(unfinished, rates, prepared.jobs, not prepared.options.no_report)
    peaks = [row["peak_memory_bytes"] for rows in learned.values() for row in rows if "peak_memory_bytes" in row]
    memory = min(prepared.jobs, len(prepared.todo)) * max(peaks, default=environment.MEMORY_PER_RUN)
    return Demand(seconds, bool(rates), memory, bool(peaks), *disk_bytes(prepared))


def _learned(run: Run) -> list[dict[str, Any]]:
    return record.learned if (record := run.folder.record) else []
