"""The resolved plan of a grid as text (`bench run --dry-run`): values and their origins, runs, time, memory, disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cl_ner_bench.cli.output import duration, wrapped
from cl_ner_bench.errors import counted
from cl_ner_bench.learning.updates import count_updates
from cl_ner_bench.running.demand import demand
from cl_ner_bench.running.layers import DEFAULT
from cl_ner_bench.running.options import NOT_OF_THE_GRID, OPTIONS
from cl_ner_bench.running.runs import Plan, Prepared, Run
from cl_ner_bench.scenarios.statistics import corpus_notes
from cl_ner_bench.storage.run_record import RunRecord


def preview(prepared: Prepared) -> str:
    """Return the plan of `bench run`."""
    lines = [f"out  {prepared.out}", ""]
    for plan in prepared.plans:
        lines += _values(plan)
    lines += [f"runs ({len(prepared.runs)}; {len(prepared.todo)} to do, {prepared.jobs} at a time)"]
    lines += [f"  {_steps(prepared.runs)}"]
    lines += [f"  {run.id}: {_state(run)}" for run in prepared.runs]
    if prepared.replaced:
        lines += [f"replaced ({counted(len(prepared.replaced), 'run')}, to be moved to {prepared.folder.replaced})"]
        lines += [f"  {record.run_id}" for record in prepared.replaced]
        lines += [f"warning: {line}" for line in prepared.warnings]
    return "\n".join([*lines, "", *_demand(prepared)])


def _values(plan: Plan) -> Iterator[str]:
    """Yield every value and its origin. Values that all methods of an architecture share are shown once."""
    yield "values"
    for key in OPTIONS:
        value = getattr(plan.options, key)
        if key not in ("set", "bounds", *NOT_OF_THE_GRID) and value is not None:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            origin = plan.origins[key]
            resolved = " (resolved)" if origin == DEFAULT and value != OPTIONS[key].default else ""
            line, source = f"  {key:<16}{shown}", f"[{origin}{resolved}]"
            yield f"{line}  {source}" if len(line) + len(source) <= 98 else f"{line}\n{' ' * 18}{source}"
    for note in corpus_notes(plan.corpus, *plan.splits):
        yield from wrapped(f"  {'note':<16}{note}", 18)
    tasks = {run.record.order: "; ".join(task.name for task in run.record.tasks) for run in plan.runs}
    for order, names in tasks.items():
        yield from wrapped(f"  {f'order {order}':<16}{names}", 18)
    yield f"  bounds added: {', '.join(plan.added) or 'none'}  [{plan.origins['bounds']}]"
    shared: dict[str, list[str]] = {}
    firsts: dict[str, Run] = {}
    for run in plan.runs:
        firsts.setdefault(run.record.method, run)
    for run in firsts.values():
        record = run.record
        method = record.settings["method"]
        training = [_line(plan, record, k) for k in record.settings if k not in method]
        training = [*filter(None, training), *_updates(run)]
        if shared.setdefault(record.architecture, training) is training:
            yield f"training, {record.architecture} methods"
            yield from training
        yield f"{record.method} ({record.registry_name}, {record.architecture})"
        yield from (line for line in training if line not in shared[record.architecture])
        yield from (_line(plan, record, k) for k in method)
    yield ""


def _line(plan: Plan, record: RunRecord, key: str) -> str:
    settings = record.settings | record.settings["method"]
    origin = plan.origins.get(f"{record.method}.{key}")
    return f"  {key + ' ':<16}{settings[key]}  [{origin}]" if origin else ""


def _updates(run: Run) -> list[str]:
    """Return lines with the updates of each step and of its warm-up, computed from the sizes of train."""
    record = run.record
    alone = [len(task.train) for task in run.split.tasks]
    sizes = alone if record.data == "task" else [train for train, _ in run.split.cumulative_sizes]
    counts = [count_updates(sizes[step - 1], record.settings) for step in record.steps]
    updates, warmup = (", ".join(map(str, column)) for column in zip(*counts, strict=True))
    steps = f"{'step' if len(counts) == 1 else 'steps'} {_span(record.steps)} of order {record.order}"
    gradient = ", where it learns by gradient" * (record.group == "closed-form")
    return wrapped(f"  {'updates':<16}{updates} in {steps}{gradient}; of them warm-up {warmup}", 18)


def _steps(runs: Sequence[Run]) -> str:
    """Return a text with the number of steps, and how many are to learn, shared and done."""
    missing = [run.record.is_shared(step) for run in runs for step in run.missing()]
    done = sum(len(run.record.steps) for run in runs) - len(missing)
    counts = [(missing.count(False), "to learn"), (missing.count(True), "shared with them"), (done, "done")]
    return f"{counted(done + len(missing), 'step')}: {', '.join(f'{n} {what}' for n, what in counts if n)}"


def _state(run: Run) -> str:
    if not (missing := run.missing()):
        return "done"
    shared = [k for k in missing if run.record.is_shared(k)]
    counts = [([k for k in missing if k not in shared], "to learn"), (shared, "shared"), (run.done(), "done")]
    return ", ".join(
        f"{'step' if len(steps) == 1 else 'steps'} {_span(steps)} {what}" for steps, what in counts if steps
    )


def _span(steps: Sequence[int]) -> str:
    whole = len(steps) > 1 and list(steps) == list(range(steps[0], steps[-1] + 1))
    return f"{steps[0]}-{steps[-1]}" if whole else ",".join(map(str, steps))


def _demand(prepared: Prepared) -> list[str]:
    if not prepared.todo:
        return ["nothing to learn; tables and report are remade"]
    need = demand(prepared)
    known, rough = "from the finished steps in this folder", "rough: nothing is measured yet in this folder"
    return [
        f"estimate: about {duration(need.seconds)} ({known if need.seconds_measured else rough})",
        f"          at most {math.ceil(need.disk_bytes / 1e6):,} MB of disk at a time; "
        f"{math.ceil(need.kept_bytes / 1e6):,} MB stay, and the report (--keep-models {prepared.options.keep_models})",
        f"          {need.memory_bytes / 1e9:.1f} GB of memory ({known if need.memory_measured else rough})",
    ]
