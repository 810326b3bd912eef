"""The resolved plan as text (`bench run --dry-run`): runs, what is done, where values come from, time and disk."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.running.estimate import Job, Rates, time_left
from cl_ner_bench.running.machine import MEMORY_PER_RUN
from cl_ner_bench.running.options import DEFAULT, NOT_OF_THE_GRID, OPTIONS
from cl_ner_bench.running.plan import Plan, Prepared, Run
from cl_ner_bench.running.progress import duration
from cl_ner_bench.running.sharing import work
from cl_ner_bench.scenarios.statistics import corpus_notes

IN_USE = 6  # models that a run has at a time: the last, the new one, and four times as much in a checkpoint
PREDICTION_BYTES = 60  # of a test sentence after a step, compressed


def preview(prepared: Prepared) -> str:
    """What `bench run` would do now."""
    lines = [f"out  {prepared.out}", ""]
    for plan in prepared.plans:
        lines += _values(plan)
    lines += [f"runs ({len(prepared.runs)}; {len(prepared.todo)} to do, {prepared.jobs} at a time)"]
    lines += [f"  {_steps(prepared.runs)}"]
    lines += [f"  {run.id}: {_state(run)}" for run in prepared.runs]
    return "\n".join([*lines, "", *_estimate(prepared)])


def _values(plan: Plan) -> Iterator[str]:
    """Every value and where it came from. What all methods of an architecture share is shown once."""
    yield "values"
    for key in OPTIONS:
        value = getattr(plan.options, key)
        if key not in ("set", "bounds", *NOT_OF_THE_GRID) and value is not None:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            origin = plan.origins[key]
            resolved = " (resolved)" if origin == DEFAULT and value != OPTIONS[key].default else ""
            line, source = f"  {key:<16}{shown}", f"[{origin}{resolved}]"
            yield f"{line}  {source}" if len(line) + len(source) <= 98 else f"{line}\n{' ' * 18}{source}"
    for note in corpus_notes(plan.corpus, plan.runs[0].split):
        yield textwrap.fill(f"  {'note':<16}{note}", 98, subsequent_indent=" " * 18, break_on_hyphens=False)
    yield f"  bounds added: {', '.join(plan.added) or 'none'}  [{plan.origins['bounds']}]"
    shared: dict[str, list[str]] = {}
    for record in {run.record["method"]: run.record for run in plan.runs}.values():
        method = record["settings"]["method"]
        training = [_line(plan, record, k) for k in record["settings"] if k not in method]
        training = [line for line in training if line]
        if shared.setdefault(record["architecture"], training) is training:
            yield f"training, {record['architecture']} methods"
            yield from training
        yield f"{record['method']} ({record['registry_name']}, {record['architecture']})"
        yield from (line for line in training if line not in shared[record["architecture"]])
        yield from (_line(plan, record, k) for k in method)
    yield ""


def _line(plan: Plan, record: Mapping[str, Any], key: str) -> str:
    settings = record["settings"] | record["settings"]["method"]
    origin = plan.origins.get(f"{record['method']}.{key}")
    return f"  {key:<16}{settings[key]}  [{origin}]" if origin else ""


def _steps(runs: Sequence[Run]) -> str:
    """How many steps there are, and how many of them are learned."""
    missing = [str(step) in run.record["shared"] for run in runs for step in run.missing()]
    done = sum(len(run.record["steps"]) for run in runs) - len(missing)
    counts = [(missing.count(False), "to learn"), (missing.count(True), "shared with them"), (done, "done")]
    return f"{done + len(missing)} steps: {', '.join(f'{n} {what}' for n, what in counts if n)}"


def _state(run: Run) -> str:
    if not (missing := run.missing()):
        return "done"
    shared = [k for k in missing if str(k) in run.record["shared"]]
    counts = [([k for k in missing if k not in shared], "to learn"), (shared, "shared"), (run.done(), "done")]
    return ", ".join(
        f"{'step' if len(steps) == 1 else 'steps'} {_span(steps)} {what}" for steps, what in counts if steps
    )


def _span(steps: Sequence[int]) -> str:
    whole = len(steps) > 1 and list(steps) == list(range(steps[0], steps[-1] + 1))
    return f"{steps[0]}-{steps[-1]}" if whole else ",".join(map(str, steps))


def _estimate(prepared: Prepared) -> list[str]:
    if not prepared.todo:
        return ["nothing to learn; tables and report are remade"]
    rates = Rates(run.record | {"learned": _learned(run)} for run in prepared.runs)
    source = "from the finished steps in this folder" if rates else "rough: nothing is measured yet in this folder"
    jobs, options = [Job(run.record, run.done()) for run in prepared.todo], prepared.options
    seconds = time_left(jobs, rates, prepared.jobs, not options.no_report)
    disk, kept = math.ceil(disk_bytes(prepared) / 1e6), options.keep_models
    memory, measured = _memory(prepared)
    return [
        f"estimate: about {duration(seconds)} ({source})",
        f"          {disk:,} MB of disk (--keep-models {kept})",
        f"          {memory / 1e9:.1f} GB of memory ({measured})",
    ]


def _memory(prepared: Prepared) -> tuple[float, str]:
    """Of all runs at a time, by the most that a step in this folder has held where there is one."""
    at_once = min(prepared.jobs, len(prepared.todo))
    peaks = [row["peak_memory_bytes"] for r in prepared.runs for row in _learned(r) if "peak_memory_bytes" in row]
    known = "from the finished steps in this folder" if peaks else "rough: nothing is measured yet in this folder"
    return at_once * max(peaks, default=MEMORY_PER_RUN), known


def disk_bytes(prepared: Prepared) -> float:
    """What a grid will have written at most: models that are kept, models and checkpoints in use, predictions."""
    if not prepared.todo:
        return 0.0
    last = {r.key(r.record["steps"][-1]) for r in prepared.todo}
    kept = {"none": 0, "last": len(last), "all": work(prepared.todo).steps}[prepared.options.keep_models]
    in_use = min(prepared.jobs, len(prepared.todo)) * IN_USE
    sentences = sum(len(r.split.test) * len(r.missing()) for r in prepared.todo)
    model = encoder_info(prepared.options.encoder).weight_bytes
    return (kept + in_use) * model + sentences * PREDICTION_BYTES


def _learned(run: Run) -> list[dict[str, Any]]:
    from cl_ner_bench.storage.store import read_record

    return (read_record(run.folder / "run.json") or {}).get("learned", [])
