"""The child process that learns the missing steps of one run: ``python -m cl_ner_bench.running.worker`` < job

``running.job`` starts it with the number of threads in its environment and the job on its standard input. The worker
holds the run's lease, reuses the steps that other runs have learned, learns and commits the other steps, and stops when
its heartbeat tells it to.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from cl_ner_bench.method_faults import describe
from cl_ner_bench.running import environment
from cl_ner_bench.running.heartbeat import Heartbeat, Interrupted
from cl_ner_bench.running.job import BUSY, INTERRUPTED, RESUMES, Job
from cl_ner_bench.running.steps import Steps
from cl_ner_bench.storage.leases import Lease
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.storage.shared import StoreError, tolerate_outage


def main() -> int:
    job = Job.from_json(sys.stdin.buffer.read())
    folder, _ = job.open()
    try:
        lease = folder.lease(job.record.run_id)
    except StoreError:  # the owner of the lease is unknown
        return BUSY
    if lease is None:
        return BUSY
    with lease:
        os.ftruncate(sys.stdout.fileno(), 0)  # empty the log of an earlier attempt
        return _work(job, lease)


def _work(job: Job, lease: Lease) -> int:
    _, run = job.open()
    heartbeat = Heartbeat(run, Path(job.stop), lease)
    started, card = time.perf_counter(), None
    record = structs.replace(job.record, times={"started": now()})
    try:
        _save(run, record, lease)
        heartbeat.begin(0, "loading")
        steps = Steps(structs.replace(job, record=record))
        card = steps.card
        try:
            _learn(steps, job.awaited, heartbeat, lease)
        finally:
            record = steps.record
        status, reason, code = "done", "", 0
    except Interrupted:
        status, reason, code = "interrupted", RESUMES, INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        status, reason, code = "failed", f"{describe(error, card)} (log: {run.log_file})", 1
    times = {"finished": now(), "seconds": time.perf_counter() - started, **environment.resource_usage()}
    record = structs.replace(record, status=status, reason=reason, times=record.times | times)
    if not lease.lost:
        _save(run, record, lease)
        heartbeat.end()
    if status == "done":
        from cl_ner_bench.analysis.data.outcomes import outcomes_in

        outcomes_in(run, record)  # here, where workers run in parallel, not later in the report
    return code


def _learn(steps: Steps, awaited: Collection[int], heartbeat: Heartbeat, lease: Lease) -> None:
    if steps.card.first_step == "base" and 1 in steps.record.steps and steps.is_missing(1):
        steps.check_first_step(heartbeat)
    for step in steps.record.steps:
        if steps.is_missing(step):
            steps.reuse(step)
    for step in steps.to_learn(awaited):
        heartbeat.begin(step, "learning")
        learned = steps.learn(step, heartbeat)
        heartbeat({"phase": "predicting", "predicted_words": 0}, now=True)
        steps.finish(step, learned, heartbeat)
        steps.record_learned()
        _save(steps.run, steps.record, lease)
        heartbeat.check()
    steps.record_learned()
    if steps.record.settings["training_check"]:
        steps.check_training(heartbeat)
    steps.clean_up()


def _save(run: RunFolder, record: RunRecord, lease: Lease) -> None:
    with tolerate_outage():  # if a paused process lost its lease, the new owner's record stays
        run.save(record, lease)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
