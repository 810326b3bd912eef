"""The speed of a grid on this machine, measured on a sample.

A child process like a worker (``profiling.profile_worker``) measures one run of each kind. It trains no run to the end
and keeps nothing.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from msgspec import structs

from cl_ner_bench.errors import UserError
from cl_ner_bench.running import environment
from cl_ner_bench.running.estimate import KIND, Rates, UnfinishedRun, time_left
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.merge import free_folder
from cl_ner_bench.running.runs import Prepared, Run, work
from cl_ner_bench.storage.files import canonical

log = logging.getLogger(__name__)
Report = dict[str, Any]
Row = Mapping[str, Any]


def perf(given: Mapping[str, Any], config: str | Path | None) -> Report:
    """Return the report that `bench perf --json` prints (docs/performance.md). ``given`` holds options of `bench run`.

    Raise UserError if `bench run` would, or if a measurement fails.
    """
    nowhere = free_folder(Path("perf"))  # finished steps of a results folder must not shorten the grid
    prepared = prepare({**given, "out": str(nowhere)}, config)
    runs = prepared.runs
    first: dict[tuple[str, ...], Run] = {}
    for run in runs:
        first.setdefault(_kind(run), run)
    rows: dict[tuple[str, ...], Report] = {}
    for kind, run in first.items():
        differ = [own for own, *all_ in zip(kind, *first, strict=True) if len(set(all_)) > 1]
        name = " ".join(dict.fromkeys([kind[0], *differ]))
        log.info(f"measuring {name} ({len(rows) + 1} of {len(first)})")
        rows[kind] = {"name": name, **_measure(run, prepared.options.device)}
    learned = {kind: as_finished(run, rows[kind]) for kind, run in first.items()}
    measured = [structs.replace(run.record, shared={}, learned=learned[kind]) for kind, run in first.items()]
    rates = Rates(measured, start=fmean(row["start_seconds"] for row in rows.values()))
    jobs = min(prepared.jobs, len(runs))
    return {
        "schema": 1,
        "machine": environment.hardware(),
        "versions": environment.versions(),
        "device": prepared.options.device,
        "methods": list(rows.values()),
        "grid": {
            "runs": len(runs),
            "steps": work(runs).steps,
            "steps_shared": work(runs, shared=False).steps - work(runs).steps,
            "sentences": work(runs).sentences,
            "jobs": jobs,
            "seconds": time_left(
                [UnfinishedRun(run.record, ()) for run in runs], rates, jobs, not prepared.options.no_report
            ),
            "memory_bytes": jobs * max(row["memory_bytes"] for row in rows.values()),
        },
    }


def quick_rates(prepared: Prepared) -> Rates:
    """Measure one run that learns by gradient, and return the rates of its grid.

    All runs that learn by gradient get the measured rates per word and epoch. With a frozen encoder, each sentence
    counts as one pass per epoch at the rate of predictions; a closed form needs less. Raise UserError if the
    measurement fails.
    """
    frozen = {run.id: run.record.group == "closed-form" for run in prepared.runs}
    first = next(run for run in prepared.runs if not frozen[run.id] and run.record.data == "task")
    log.info(f"measuring how fast {first.record.method} learns here, which takes about half a minute")
    row = _measure(first, prepared.options.device)
    word = 1 / (row["prediction"]["sentences_per_second"] * row["prediction"]["words"] / row["prediction"]["sentences"])

    def learned(run: Run) -> list[Report]:
        if not frozen[run.id]:
            return as_finished(run, row)
        passes = word * run.record.settings["epochs"]
        return [
            {"step": step, "seconds": passes * (train + dev), "predict_seconds": word * test}
            for step, (train, dev, test) in enumerate(run.record.words, 1)
        ]

    records = [structs.replace(run.record, shared={}, learned=learned(run)) for run in prepared.runs]
    return Rates(records, start=row["start_seconds"])


def _kind(run: Run) -> tuple[str, ...]:
    return tuple(getattr(run.record, key) for key in KIND)


def _measure(run: Run, device: str) -> Report:
    """Measure a run in a child process, which Ctrl-C also ends. The row begins with the run's kind and settings."""
    record = run.record
    about = {key: getattr(record, key) for key in (*KIND, "architecture", "settings")}
    late = record.steps[-1] if record.data == "union" else min(2, run.split.n_steps)
    request = {
        "record": record.to_builtins(),
        "split": run.split.to_json(),
        "device": environment.devices(device)[0],
        "steps": sorted({1, late}),
        "started": time.time(),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "cl_ner_bench.profiling.profile_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment.child_environment(record.settings["threads"]),
    ) as child:
        try:
            printed, said = child.communicate(canonical(request))
        finally:  # after Ctrl-C, `subprocess` would return before the child has ended
            child.kill()
            child.wait()
    if child.returncode:
        last = said.strip().splitlines()[-1:]
        raise UserError(": ".join([f"{record.method} cannot be measured, exit code {child.returncode}", *last]))
    found: Report = json.loads(printed)
    if "error" in found:
        raise UserError(found["error"])
    return {**about, **found}


def as_finished(run: Run, row: Row) -> list[Report]:
    """Return the record's rows for the measured steps of ``run`` as if these steps were finished.

    A step of n train, m dev and t test sentences takes n * setup + epochs * (n / learned + m / predicted) seconds, and
    t / predicted seconds more for its predictions.
    """
    learned, predicted = [], row["prediction"]
    per_word = predicted["sentences"] / predicted["words"] / predicted["sentences_per_second"]
    for rates in row["training"]:
        train, dev, test = run.record.words[rates["step"] - 1]
        n = train * rates["sentences"] / rates["words"]
        epoch = n / rates["sentences_per_second"] + dev * per_word
        seconds = n * rates["setup_seconds_per_sentence"] + row["settings"]["epochs"] * epoch
        learned.append({"step": rates["step"], "seconds": seconds, "predict_seconds": test * per_word})
    return learned
