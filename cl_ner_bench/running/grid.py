"""One command's grid from start to end: plan it, learn what is missing, remake the tables. `bench run` and ``run``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import disk_usage
from typing import Any

from cl_ner_bench.corpora.load import find_card
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import backends, machine, trackers
from cl_ner_bench.running.driver import execute
from cl_ner_bench.running.folder import write_split, write_top
from cl_ner_bench.running.merge import check_folder, merge, obsolete
from cl_ner_bench.running.options import Layered, layer
from cl_ner_bench.running.plan import Prepared, Run, file_word, make_plan, manifest
from cl_ner_bench.running.progress import Display, Listener, Progress, followed
from cl_ner_bench.running.provenance import code
from cl_ner_bench.running.sharing import share
from cl_ner_bench.scenarios.statistics import corpus_notes
from cl_ner_bench.storage import leases
from cl_ner_bench.storage.atomic import sweep, temporary
from cl_ner_bench.storage.open import depot
from cl_ner_bench.storage.store import read_record, remove_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: ``code`` is the exit code, ``written`` what the user may look at."""

    code: int
    out: Path
    written: list[Path]


def prepare(
    given: Mapping[str, Any], config: str | Path | None = None, command: Sequence[str] | None = None
) -> Prepared:
    """Resolve flags and config into runs. Raises UserError for everything that can be known beforehand.

    ``command`` is what the runs' records give as the command; without one, the options that were given.
    """
    layers = layer(given, config)
    first = layers[0].options
    backends.check(first)
    if first.tracker:
        trackers.check(first.tracker)
    out = _folder(layers)
    check_folder(out)  # so that nothing is written through a link
    if first.store:
        depot(out, first.store).pull()
        check_folder(out)
    plans = [make_plan(one, out) for one in layers]
    about = {"command": _plain(given, config) if command is None else list(command), "code": code()}
    planned = share(merge([r for plan in plans for r in plan.runs], out), out)
    runs = [replace(run, record=run.record | about) for run in planned]
    if first.training_check and not any(r.record["settings"]["training_check"] for r in runs):
        raise UserError("--training-check is made with joint runs and this grid has none: add --methods joint")
    damaged = {r.folder / f"step-{step}": wrong for r in runs for step, wrong in r.damaged().items()}
    spoilt = {folder.parent for folder in damaged}
    todo = [r for r in runs if _status(r) != "done" or not r.is_complete() or r.folder in spoilt]
    options = plans[0].options
    if first.elsewhere:
        most = max(1, len(todo))  # in fact as many as there are workers
    else:
        most = machine.default_jobs(options.device, options.threads, options.gpus_per_run)
    return Prepared(out, plans, runs, todo, damaged, first.jobs or most)


def _plain(given: Mapping[str, Any], config: str | Path | None) -> dict[str, Any]:
    """Options as they were given from Python, as JSON holds them."""
    chosen = {key: value for key, value in {**given, "config": config}.items() if value is not None}
    plain: dict[str, Any] = json.loads(json.dumps(chosen, default=str))
    return plain


def _folder(layers: list[Layered]) -> Path:
    options = layers[0].options
    if options.out:
        return Path(options.out)
    card, _ = find_card(options.dataset, None if options.data is None else Path(options.data))
    scenario = options.scenario
    if options.split is not None:
        content = manifest(options.split)  # checked when the grid is planned
        scenario = str(content.get("scenario")) if isinstance(content, dict) else "split"
    names = (card.name, Path(scenario).stem if scenario.endswith(".toml") else scenario)
    return Path("results") / "-".join(map(file_word, names))


def carry_out(prepared: Prepared, display: Display | None = None) -> Outcome:
    """Learn what is missing, then write mentions, tables and report; ``display`` shows the progress.

    Raises UserError where the results folder can no longer be written.
    """
    try:
        return _carry_out(prepared, display)
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"--out {prepared.out}: cannot be written ({error.strerror or error}); nothing that was finished is lost, "
            "and the same command goes on from there"
        ) from None


def _carry_out(prepared: Prepared, display: Display | None) -> Outcome:
    out, options = prepared.out, prepared.options
    for plan in prepared.plans:
        if plan.added:
            log.info(
                f"--bounds auto adds {', '.join(plan.added)}: gaps are measured to joint training (--bounds none: off)"
            )
        for note in corpus_notes(plan.corpus, plan.runs[0].split):
            log.info(f"{plan.corpus.name}: {note}")
    shared = depot(out, options.store)
    _make(out)
    sweep(out)
    _check_space(prepared)
    shared.check()
    for folder in obsolete(prepared.runs, out):
        shared.drop(folder)
    for folder, wrong in prepared.damaged.items():
        log.info(f"{folder / wrong} is not what was stored: the step is learned again")
        remove_folder(folder)
    with leases.wait(leases.Folder(out), "grids"):  # others may add to the same files
        corpora = [(plan.corpus, [run.split for run in plan.runs]) for plan in prepared.plans]
        written = write_top(out, [plan.options for plan in prepared.plans], corpora)
    for run in prepared.runs:
        if (run.folder / "run.json").exists() and _status(run) == "None":
            log.info(f"{run.folder / 'run.json'} is not what was stored: the run is taken up again")
        write_split(run)
    shared.push()
    left = [str(step) in run.record["shared"] for run in prepared.todo for step in run.missing()]
    more = f" and {sum(left)} shared with them" if any(left) else ""
    at_once = min(prepared.jobs, max(1, len(prepared.todo)))
    log.info(f"{len(prepared.runs)} runs, {left.count(False)} steps to learn{more}, {at_once} at a time, into {out}")
    code = 0
    if prepared.todo:
        with ExitStack() as stack:
            places = stack.enter_context(closing(backends.pool(options, prepared.jobs, out)))
            progress = Progress(prepared.runs, prepared.todo, prepared.jobs, not options.no_report)
            listeners: list[Listener] = []
            if options.tracker:
                listeners.append(stack.enter_context(trackers.tracked(options.tracker, out)))
            if display:
                listeners.append(stack.enter_context(display(progress)))
            stack.enter_context(followed(progress, listeners))
            code = execute(
                prepared.todo,
                shared,
                places,
                keep_models=options.keep_models,
                checkpoint_seconds=options.checkpoint_seconds,
                timeout=options.timeout,
            )
        shared.pull()
    if code:
        return Outcome(code, out, written)
    failed = any(_status(run) != "done" for run in prepared.runs)
    if not options.no_report and any(
        (read_record(file) or {}).get("status") == "done" for file in out.glob("runs/*/run.json")
    ):
        from cl_ner_bench.analysis.report.files import write_report

        written += write_report([out], out)
    return Outcome(1 if failed else 0, out, list(dict.fromkeys(written)))


def _status(run: Run) -> str:
    return str((read_record(run.folder / "run.json") or {}).get("status"))


def _make(out: Path) -> None:
    """Make the results folder and see that it can be written, before anything is learned."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made a folder ({error.strerror}); pass another --out") from None
    probe = temporary(out / "probe")
    try:
        probe.write_bytes(b"?")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); pass another --out") from None
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _check_space(prepared: Prepared) -> None:
    from cl_ner_bench.running.demand import disk_bytes

    need, free = disk_bytes(prepared), disk_usage(prepared.out).free
    if need > free:
        raise UserError(
            f"--out {prepared.out}: about {need / 1e6:,.0f} MB will be needed and {free / 1e6:,.0f} MB are free; "
            "pass another --out, or --keep-models none"
        )
