"""`bench perf`: how fast a grid would be on this machine, measured on a sample of it.

One run of each kind is measured in a child process of its own (``profiling.profile_worker``), as a worker would learn
it. Nothing is learned to the end, and nothing is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.running import machine
from cl_ner_bench.running.estimate import KIND, Job, Rates, time_left
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.merge import free_folder
from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.progress import duration
from cl_ner_bench.running.sharing import work
from cl_ner_bench.storage import store

BUSY = 0.9
"""A process that gets less of its core shares it with something else."""

SPEEDS = ("sentences_per_second", "slowest", "fastest", "sub_tokens_per_second")
WIDTH = 100
Report = dict[str, Any]
Row = Mapping[str, Any]


def perf(given: Mapping[str, Any], config: str | Path | None, say: Callable[[str], None]) -> Report:
    """What `bench perf --json` prints (docs/performance.md). ``given`` are options of `bench run`.

    ``say`` is told of the progress. Raises UserError where `bench run` would, and where a measurement fails.
    """
    nowhere = free_folder(Path("perf"))  # what a results folder holds already is no part of the question
    prepared = prepare({**given, "out": str(nowhere)}, config)
    runs = prepared.runs
    first: dict[tuple[str, ...], Run] = {}
    for run in runs:
        first.setdefault(_kind(run), run)
    rows: dict[tuple[str, ...], Report] = {}
    for kind, run in first.items():
        differ = [own for own, *all_ in zip(kind, *first, strict=True) if len(set(all_)) > 1]
        name = " ".join(dict.fromkeys([kind[0], *differ]))
        say(f"measuring {name} ({len(rows) + 1} of {len(first)})")
        about = {key: run.record[key] for key in (*KIND, "architecture", "settings")}
        rows[kind] = {"name": name, **about, **_measure(run, prepared.options.device)}
    measured = [run.record | {"shared": {}, "learned": as_finished(run, rows[kind])} for kind, run in first.items()]
    rates = Rates(measured, start=fmean(row["start_seconds"] for row in rows.values()))
    jobs = min(prepared.jobs, len(runs))
    return {
        "schema": 1,
        "machine": machine.facts(),
        "versions": machine.versions(),
        "device": prepared.options.device,
        "methods": list(rows.values()),
        "grid": {
            "runs": len(runs),
            "steps": work(runs).steps,
            "steps_shared": work(runs, shared=False).steps - work(runs).steps,
            "sentences": work(runs).sentences,
            "jobs": jobs,
            "seconds": time_left([Job(run.record, ()) for run in runs], rates, jobs, not prepared.options.no_report),
            "memory_bytes": jobs * max(row["memory_bytes"] for row in rows.values()),
        },
    }


def _kind(run: Run) -> tuple[str, ...]:
    return tuple(run.record[key] for key in KIND)


def _measure(run: Run, device: str) -> Report:
    """What the child process finds of a run. Ctrl-C ends it too."""
    record = run.record
    late = record["steps"][-1] if record["data"] == "union" else min(2, run.split.n_steps)
    request = {
        "record": record,
        "split": run.split.to_json(),
        "device": machine.devices(device)[0],
        "steps": sorted({1, late}),
        "started": time.time(),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "cl_ner_bench.profiling.profile_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | machine.child_environment(record["settings"]["threads"]),
    ) as child:
        try:
            printed, said = child.communicate(store.canonical(request))
        finally:  # after Ctrl-C, `subprocess` itself would leave before the child is gone
            child.kill()
            child.wait()
    if child.returncode:
        last = said.strip().splitlines()[-1:]
        raise UserError(": ".join([f"{record['method']} cannot be measured, exit code {child.returncode}", *last]))
    found: Report = json.loads(printed)
    if "error" in found:
        raise UserError(found["error"])
    return found


def as_finished(run: Run, row: Row) -> list[Report]:
    """Return what the record of ``run`` would say of the steps of which a sample was measured, had they been finished.

    A step of n train, m dev and t test sentences takes n * setup + epochs * (n / learned + m / predicted) seconds, and
    t / predicted seconds more for its predictions.
    """
    learned, predicted = [], row["prediction"]
    per_word = predicted["sentences"] / predicted["words"] / predicted["sentences_per_second"]
    for rates in row["training"]:
        train, dev, test = run.record["words"][rates["step"] - 1]
        n = train * rates["sentences"] / rates["words"]
        epoch = n / rates["sentences_per_second"] + dev * per_word
        seconds = n * rates["setup_seconds_per_sentence"] + row["settings"]["epochs"] * epoch
        learned.append({"step": rates["step"], "seconds": seconds, "predict_seconds": test * per_word})
    return learned


def as_text(report: Report) -> str:
    """The report for a reader, of at most 100 columns."""
    rows, facts, grid = report["methods"], report["machine"], report["grid"]
    how = {f"{row['settings']['precision']}, {_count(row['settings']['threads'], 'thread')} a run" for row in rows}
    shared = f" and {grid['steps_shared']} shared with them" if grid["steps_shared"] else ""
    lines = [
        f"{facts['processor']}, {_count(facts['cores'], 'core')}, {facts['memory_gb']} GB; "
        f"{report['device']}, {'; '.join(sorted(how))}",
        "",
        "A second: sentences learned (slowest and fastest update), their sub-tokens, sentences predicted",
        *_table([["", "step", "learned", "from-to", "sub-tokens", "predicted", "limit", "memory"], *_rates(rows)]),
        "",
        "Where the time of an update goes, in %",
        *_table([["", *rows[0]["profile"]["shares"]], *_profiles(rows)]),
        "",
        f"The grid: {_count(grid['runs'], 'run')}, {_count(grid['steps'], 'step')} to learn{shared}; "
        f"{grid['sentences']:,} sentences pass the model",
        f"About {duration(grid['seconds'])}, {grid['jobs']} at a time; {_gb(grid['memory_bytes'])} of memory in all",
        "",
    ]
    return "\n".join(lines + [part for note in _notes(report) for part in textwrap.wrap(note, WIDTH)])


def _rates(rows: Iterable[Row]) -> Iterator[list[str]]:
    for row in rows:
        for rates in row["training"]:
            speed, *ends, sub_tokens = (rates[key] for key in SPEEDS)
            cells = [row["name"], str(rates["step"]), _three(speed), "-".join(map(_three, ends)), _three(sub_tokens)]
            predicted, share = row["prediction"]["sentences_per_second"], row["limit"]["share"]
            whole = [_three(predicted), "-" if share is None else f"{100 * share:.0f} %", _gb(row["memory_bytes"])]
            yield cells + (whole if rates is row["training"][-1] else [""] * len(whole))


def _profiles(rows: Iterable[Row]) -> Iterator[list[str]]:
    for row in rows:
        shares = [f"{100 * share:.0f}" for share in row["profile"]["shares"].values()]
        yield [row["name"], *shares]


def _notes(report: Report) -> Iterator[str]:
    """What a reader has to know of how it was measured."""
    rows = report["methods"]
    updates = [rates["updates"] for row in rows for rates in row["training"]]
    learned = [rates["sentences"] for row in rows for rates in row["training"]]
    predicted = [row["prediction"]["sentences"] for row in rows]
    yield (
        f"A sample: {_range(updates)} updates of each step, {_range(learned)} sentences in all, after "
        f"{rows[0]['training'][0]['left_out']} that do not count; {_range(predicted)} sentences predicted; "
        f"{rows[0]['profile']['updates']} updates profiled, which slows small operations down. One process ran at a "
        "time: several at once share the memory's bandwidth and are slower each."
    )
    yield (
        "limit: the time that the matrix products of an update would take alone, at the rate of torch's matmul here, "
        "over the time of the update. memory: the most that a run's process held; a whole step may need more."
    )
    for row in rows:
        if "unknown" in row["limit"]:
            yield f"limit of {row['name']}: not known, {row['limit']['unknown']}."
    own = min(rates["own_share"] for row in rows for rates in row["training"])
    if own < BUSY:
        yield (
            f"BUSY: while it was measured, a process had only {100 * own:.0f} % of a core. Something else runs here: "
            "the rates are too low, the hours too many, and where the time goes is blurred."
        )
    total = report["machine"]["memory_gb"] * machine.GB
    if report["grid"]["memory_bytes"] > total:
        yield "MEMORY: that many runs at a time need more than there is; pass fewer --jobs."


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned lines: the first column to the left, the others to the right."""
    cells = list(rows)
    first, *widths = (max(map(len, column)) for column in zip(*cells, strict=True))
    return ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], widths)]).rstrip() for row in cells]


def _three(value: float) -> str:
    """Three digits that count, or more before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def _range(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least} to {most}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
