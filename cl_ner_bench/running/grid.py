"""One command's grid from start to end: plan it, learn what is missing, remake the tables. `bench run` and ``run``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from cl_ner_bench.corpora.load import find_card
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.running import machine
from cl_ner_bench.running.board import shown
from cl_ner_bench.running.execute import BACKENDS, execute
from cl_ner_bench.running.folder import write_experiment, write_mentions
from cl_ner_bench.running.options import Layered, layer
from cl_ner_bench.running.plan import (
    Plan,
    Run,
    check_folder,
    check_shared,
    file_word,
    make_plan,
    manifest,
    merge,
    obsolete,
)
from cl_ner_bench.running.sharing import share
from cl_ner_bench.running.store import read_json

if TYPE_CHECKING:
    from cl_ner_bench.analysis.frames import Results

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """A command's grids, planned: ``todo`` of ``runs`` have unfinished steps. Nothing is written yet."""

    out: Path
    plans: list[Plan]
    runs: list[Run]
    todo: list[Run]
    jobs: int

    @property
    def options(self) -> Any:
        return self.plans[0].options


@dataclass(frozen=True)
class Outcome:
    """How a command ended: ``code`` is the exit code, ``written`` what the user may look at."""

    code: int
    out: Path
    written: list[Path]


def run(**options: Any) -> Results:
    """`bench run` as a function: the same options with underscores (``config`` too), the same results folder.

    Returns the folder's results. ``quiet=True`` shows no progress. Raises UserError where the command would end
    with exit code 2, KeyboardInterrupt where it was stopped by Ctrl-C; failed runs stand in ``Results.runs``.
    """
    from cl_ner_bench.analysis.frames import load_results

    quiet, config = bool(options.pop("quiet", False)), options.pop("config", None)
    prepared = prepare(options, config)
    outcome = carry_out(prepared, quiet=quiet, say=lambda _: None)
    if outcome.code >= 128:
        raise KeyboardInterrupt
    return load_results(outcome.out)


def prepare(given: Mapping[str, Any], config: str | Path | None = None) -> Prepared:
    """Resolve flags and config into runs. Raises UserError for everything that can be known beforehand."""
    layers = layer(given, config)
    first = layers[0].options
    if first.backend not in BACKENDS:
        known = list(BACKENDS)
        raise UserError(
            f"--backend {first.backend}: this version knows {', '.join(known)}.{did_you_mean(first.backend, known)}"
        )
    out = _folder(layers)
    check_folder(out)
    plans = [make_plan(one, out) for one in layers]
    runs = share(merge([r for plan in plans for r in plan.runs], out), out)
    if first.training_check and not any(r.record["settings"]["training_check"] for r in runs):
        raise UserError("--training-check is made with joint runs and this grid has none: add --methods joint")
    check_shared(runs)
    todo = [r for r in runs if _status(r) != "done" or not r.is_complete()]
    options = plans[0].options
    jobs = first.jobs or machine.default_jobs(options.device, options.threads)
    return Prepared(out, plans, runs, todo, jobs)


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


def carry_out(prepared: Prepared, quiet: bool, say: Say) -> Outcome:
    """Learn what is missing, then write mentions, tables and report. ``say`` is told what matters beforehand."""
    out, options = prepared.out, prepared.options
    for plan in prepared.plans:
        if plan.added:
            say(f"--bounds auto adds {', '.join(plan.added)}: gaps are measured to joint training (--bounds none: off)")
        for remark in plan.corpus.remarks:
            say(f"{plan.corpus.name}: {remark}")
    _make(out)
    for folder in obsolete(prepared.runs, out):
        rmtree(folder)
    written = [write_experiment(out, [plan.options for plan in prepared.plans])]
    written += [write_mentions(out, plan.corpus, [r.split for r in plan.runs]) for plan in prepared.plans]
    left = [str(step) in run.record["shared"] for run in prepared.todo for step in run.missing()]
    more = f" and {sum(left)} shared with them" if any(left) else ""
    at_once = min(prepared.jobs, max(1, len(prepared.todo)))
    say(f"{len(prepared.runs)} runs, {left.count(False)} steps to learn{more}, {at_once} at a time, into {out}")
    code = 0
    if prepared.todo:
        with shown(prepared.runs, prepared.todo, quiet):
            code = execute(
                prepared.todo,
                out,
                jobs=prepared.jobs,
                backend=options.backend,
                device=options.device,
                keep_models=options.keep_models,
                timeout=options.timeout,
            )
    if code:
        return Outcome(code, out, written)
    failed = any(_status(run) != "done" for run in prepared.runs)
    if any((read_json(file) or {}).get("status") == "done" for file in out.glob("runs/*/run.json")):
        from cl_ner_bench.analysis.report import write_report

        written += write_report([out], out)
    return Outcome(1 if failed else 0, out, list(dict.fromkeys(written)))


def _status(run: Run) -> str:
    return str((read_json(run.folder / "run.json") or {}).get("status"))


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made a folder ({error.strerror}); pass another --out") from None


def warn(text: str) -> None:
    """A line for the user, beside the results."""
    print(text, file=sys.stderr)
