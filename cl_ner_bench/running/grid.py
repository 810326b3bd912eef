"""The grid of one command from start to end: its plan, its learning and its report."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import disk_usage
from typing import Any

from msgspec import structs

from cl_ner_bench.caches import cache_folder
from cl_ner_bench.corpora.find import find_card
from cl_ner_bench.errors import UserError, counted
from cl_ner_bench.method_faults import check_import
from cl_ner_bench.registry import resolve
from cl_ner_bench.running import backends, environment, trackers
from cl_ner_bench.running.driver import execute
from cl_ner_bench.running.environment import code
from cl_ner_bench.running.experiment import write_experiment
from cl_ner_bench.running.grid_data import read_split_file
from cl_ner_bench.running.layers import Layered, layer
from cl_ner_bench.running.merge import merge, not_learned_again, replaced, superseded
from cl_ner_bench.running.options import Options
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.running.planned_runs import file_word
from cl_ner_bench.running.progress import Display, Listener, Progress, followed
from cl_ner_bench.running.runs import Prepared, Run, disk_bytes, share
from cl_ner_bench.scenarios.statistics import corpus_notes
from cl_ner_bench.storage.files import digest, write_bytes
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import Trial
from cl_ner_bench.untrusted import refuse_links_out

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The end of a command: its exit ``code`` and the files ``written`` for the user."""

    code: int
    out: Path
    written: list[Path]


def prepare(
    given: Mapping[str, Any],
    config: str | Path | None = None,
    command: Sequence[str] | None = None,
    preset: Mapping[str, Any] | None = None,
    trials: Mapping[str, Trial] | None = None,
) -> Prepared:
    """Resolve flags and config into runs. Find every error that can be known before the first run.

    Args:
        command: the command for the runs' records, by default the given options.
        preset: the options that a published experiment sets.
        trials: the trials of `bench tune` by label.

    Raises:
        UserError: something cannot be run as the user asks.
    """
    layers = layer(given, config, preset)
    first = layers[0].options
    backends.check(first)
    if first.tracker:
        trackers.check(first.tracker)
    folder = _open_folder(results_path(layers), first.store)
    plans = [make_plan(one, folder, trials is not None) for one in layers]
    planned = [run for plan in plans for run in plan.runs]
    set_aside = replaced(planned, folder, first.replace)
    leaving = {record.run_id for record in set_aside}
    runs = share(merge(planned, folder, leaving, first.replace), folder, leaving)
    runs = _with_origin(runs, _plain(given, config) if command is None else list(command), trials or {})
    if first.training_check and not any(run.record.settings["training_check"] for run in runs):
        raise UserError("--training-check is made with joint runs and this grid has none: add --methods joint")
    damaged = [(run, step, wrong) for run in runs for step, wrong in run.damaged().items()]
    with_damage = {run.id for run, _, _ in damaged}
    todo = [run for run in runs if run.folder.status != "done" or not run.is_complete() or run.id in with_damage]
    return Prepared(
        folder=folder,
        plans=plans,
        runs=runs,
        todo=todo,
        damaged=damaged,
        superseded=superseded(runs, folder),
        replaced=set_aside,
        warnings=not_learned_again(set_aside, runs),
        jobs=first.jobs or _default_jobs(plans[0].options, todo),
    )


def _open_folder(path: Path, store: str | None) -> ResultsFolder:
    folder = ResultsFolder.open(path, store)
    check_folder(folder)  # else a write could go through a link
    if store:
        folder.pull()
        check_folder(folder)
    return folder


def _with_origin(runs: Iterable[Run], command: Any, trials: Mapping[str, Trial]) -> list[Run]:
    """Return ``runs`` with their command, code and trial in their records."""
    origin = {"command": command, "code": code()}
    return [
        replace(run, record=structs.replace(run.record, **origin, trial=trials.get(run.record.method))) for run in runs
    ]


def _default_jobs(options: Options, todo: Sequence[Run]) -> int:
    if options.elsewhere:
        return max(1, len(todo))  # the number of workers is not known here
    return environment.default_jobs(options.device, options.threads, options.gpus_per_run)


def check_folder(folder: ResultsFolder) -> None:
    """Raise UserError if a link in a results folder, or a name in a run's record, leads out of the folder.

    Ignore a record that is not as stored, because its run is learned again.
    """
    refuse_links_out(folder.path)
    _ = folder.runs


def _plain(given: Mapping[str, Any], config: str | Path | None) -> dict[str, Any]:
    """Return options given from Python as plain JSON values."""
    chosen = {key: value for key, value in {**given, "config": config}.items() if value is not None}
    plain: dict[str, Any] = json.loads(json.dumps(chosen, default=str))
    return plain


def results_path(layers: list[Layered]) -> Path:
    """Return the results folder of ``--out``, else the default folder of dataset and scenario."""
    options = layers[0].options
    if options.out:
        return Path(options.out)
    card, _ = find_card(options.dataset, None if options.data is None else Path(options.data))
    scenario = options.scenario
    if options.split is not None:
        content = read_split_file(options.split)  # the plan checks it later
        scenario = str(content.get("scenario")) if isinstance(content, dict) else "split"
    names = (card.name, Path(scenario).stem if scenario.endswith(".toml") else scenario)
    return Path("results") / "-".join(map(file_word, names))


def carry_out(prepared: Prepared, display: Display | None = None, announce: bool = True) -> Outcome:
    """Learn the missing steps, then write tables and report. ``display`` shows the progress.

    With ``announce``, log the notes on the corpus and the amount of work.

    Raises:
        UserError: the results folder can no longer be written.
    """
    try:
        return _carry_out(prepared, display, announce)
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"--out {prepared.out}: cannot be written ({error.strerror or error}); finished steps are kept, "
            "and the same command resumes after them"
        ) from None


def _carry_out(prepared: Prepared, display: Display | None, announce: bool) -> Outcome:
    folder, options = prepared.folder, prepared.options
    _check_methods(prepared)
    if announce:
        _log_notes(prepared)
    folder.make()
    _check_space(prepared)
    folder.check_store()
    _clear_away(prepared)
    for line in prepared.warnings:
        log.warning(line)
    written = write_experiment(folder, prepared.plans, [*prepared.replaced, *prepared.superseded])
    for record in prepared.replaced:
        folder.set_aside(record)
        log.info(f"--replace {record.method}: {record.run_id} is in {folder.replaced} now")
    for run in prepared.runs:
        if run.folder.is_lost():
            log.info(f"{run.folder.record_file} is not what was stored: the run is taken up again")
        run.folder.save_split(run.split.to_json())
    folder.push()
    if announce:
        _log_work(prepared)
    code = _learn(prepared, display) if prepared.todo else 0
    if code:
        return Outcome(code, folder.path, written)
    failed = any(run.folder.status != "done" for run in prepared.runs)
    if not options.no_report and any(record.status == "done" for record in folder.runs.values()):
        from cl_ner_bench.analysis.report.files import write_report

        written += write_report([folder.path], folder.path)
    return Outcome(int(failed), folder.path, list(dict.fromkeys(written)))


def _check_methods(prepared: Prepared) -> None:
    """Raise UserError if a user's own method cannot be imported, before any run starts.

    Note each success in the cache. Only this check makes the driver import torch, which takes over a second.
    """
    for run in {run.record.inputs["method"]: run for run in prepared.todo if "source" in run.record.inputs}.values():
        (variant,) = resolve([run.record.inputs["method"]])
        checked = [repr(variant.card), run.record.fingerprints["method"], code()["digest"], environment.versions()]
        passed = cache_folder() / "imported" / digest(checked)
        if not os.path.exists(passed):  # also False if the cache cannot be read
            check_import(variant.card)
            with suppress(OSError):  # a cache that cannot be written
                write_bytes(passed, b"", durable=False)


def _log_notes(prepared: Prepared) -> None:
    for plan in prepared.plans:
        if plan.added:
            added = ", ".join(plan.added)
            log.info(f"--bounds auto adds {added}: gaps are measured to joint training (--bounds none: off)")
        for note in corpus_notes(plan.corpus, *plan.splits):
            log.info(f"{plan.corpus.name}: {note}")


def _clear_away(prepared: Prepared) -> None:
    """Remove superseded runs and damaged steps."""
    for record in prepared.superseded:
        log.info(f"{record.run_id}: removed, because no step was finished and the settings or the code are others now")
        prepared.folder.drop_run(record.run_id)
    for run, step, wrong in prepared.damaged:
        log.info(f"{run.folder.step_folder(step) / wrong} is not what was stored: the step is learned again")
        run.folder.forget(step)


def _log_work(prepared: Prepared) -> None:
    pending = sum(len(run.pending()) for run in prepared.todo)
    shared = sum(len(run.missing()) for run in prepared.todo) - pending
    more = f" and {shared} shared with them" if shared else ""
    at_once = min(prepared.jobs, max(1, len(prepared.todo)))
    to_learn = f"{counted(len(prepared.runs), 'run')}, {counted(pending, 'step')} to learn{more}"
    log.info(f"{to_learn}, {at_once} at a time, into {prepared.out}")


def _learn(prepared: Prepared, display: Display | None) -> int:
    """Learn the missing steps. Return 0, or 130 / 143 if Ctrl-C / SIGTERM stopped the grid."""
    options, out = prepared.options, prepared.out
    with ExitStack() as stack:
        pool = stack.enter_context(closing(backends.pool(options, prepared.jobs, out)))
        progress = Progress(prepared.runs, prepared.todo, prepared.jobs, not options.no_report)
        listeners: list[Listener] = []
        if options.tracker:
            listeners.append(stack.enter_context(trackers.tracked(options.tracker, out)))
        if display:
            listeners.append(stack.enter_context(display(progress)))
        stack.enter_context(followed(progress, listeners))
        code = execute(prepared, pool)
    prepared.folder.pull()
    return code


def _check_space(prepared: Prepared) -> None:
    (need, _), free = disk_bytes(prepared), disk_usage(prepared.out).free
    if need > free:
        raise UserError(
            f"--out {prepared.out}: about {need / 1e6:,.0f} MB will be needed and {free / 1e6:,.0f} MB are free; "
            "pass another --out, or --keep-models none"
        )
