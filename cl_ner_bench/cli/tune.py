"""`bench tune`: run equally many trials for each method, and write the best values as a recipe file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import note, show, table, wrapped
from cl_ner_bench.cli.parsing import add_command, add_options, given
from cl_ner_bench.errors import counted

if TYPE_CHECKING:
    from cl_ner_bench.running.progress import Display, Listener, Progress, RunEvent
    from cl_ner_bench.running.tuning import Tuning

OPTIONS = (
    *("methods", "bounds", "set", "dataset", "data", "parts", "tasks", "scenario", "max_sentences"),
    *("encoder", "recipe", "epochs", "batch_size", "lr", "head_lr", "max_length", "max_span_width", "nested"),
    *("device", "precision", "exact", "threads", "jobs", "gpus_per_run", "timeout", "checkpoint_seconds", "out"),
)
EXAMPLES = """\
examples:
  bench tune --methods spankl,extendner,seqstar --dataset fewnerd --data PATH --max-sentences 4000
  bench tune --methods my_method.py,extendner --trials 40 --objective label-free
  bench tune --methods extendner --dry-run              show what is searched, in how many runs
  bench run --methods extendner --recipe results/tune-synthetic-split/recipe.toml

Each method gets equally many trials, and so does each joint reference. Values that you give (--lr,
--set) are fixed, not searched. After a stop, run the same command again. A larger --trials adds
trials.

The objective `all` is the dev micro-F1 over all learned types after the last step. It uses dev
labels of old types, which a deployed learner does not have. `label-free` uses each step's labels of
new types and, for old types, the agreement with the previous model. The search never reads test
sentences.
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "tune",
        _execute,
        "choose hyper-parameters, with equally many trials for each method",
        usage="bench tune --methods A,B --dataset NAME|PATH [options]",
        description="Choose the hyper-parameters of each method, with equally many trials (Optuna's TPE) on a task\n"
        "split and an order that no report uses. Write them as a recipe file for `bench run --recipe`.",
        epilog=EXAMPLES,
    )
    group = parser.add_argument_group("search")
    group.add_argument("--trials", metavar="N", default=20, help="trials of each method (default: 20)")
    group.add_argument(
        "--objective",
        metavar="NAME",
        default="all",
        help="all: dev micro-F1 over all learned types; label-free: over new types, and agreement on old ones "
        "(default: all)",
    )
    group.add_argument("--seed", metavar="N", default=0, help="random seed of the sampler (default: 0)")
    add_options(parser, OPTIONS)
    output = parser.add_argument_group("output")
    output.add_argument("--dry-run", action="store_true", help="print what is searched and train nothing")
    output.add_argument("-q", "--quiet", action="store_true", help="print only the result, warnings and errors")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.tuning import Tuning

    tuning = Tuning(given(parsed, OPTIONS), parsed.trials, parsed.objective, parsed.seed, parsed.words)
    if parsed.dry_run:
        show("\n".join(plan_lines(tuning)))
        return 0
    if not parsed.quiet:
        note("\n".join(plan_lines(tuning)))
    outcome = tuning.run(None if parsed.quiet else progress_of)
    if outcome.code >= 128:
        note(f"stopped; run the same command again to go on ({outcome.out})")
        return outcome.code
    show("\n".join(result_lines(tuning)))
    if not parsed.quiet:
        for path in (tuning.folder.tuned_file, tuning.folder.report_file):
            note(str(path))
    return outcome.code


def plan_lines(tuning: Tuning) -> Iterator[str]:
    """Yield the plan of the search, and the statement about it."""
    known = len([t for t in tuning.known() if t.record.status == "done"])
    runs = sum(t.trials(tuning.trials) for t in tuning.tuned)
    methods = counted(len(tuning.tuned), "method")
    yield f"{counted(tuning.trials, 'trial')} for each of {methods}: {counted(runs, 'run')}, {known} done"
    for tuned in tuning.tuned:
        space = ", ".join(_bounds(key, search) for key, search in tuned.space.items())
        yield from wrapped(f"  {tuned.label}: {space or 'nothing to search, one trial'}", 4)
    for line in tuning.statement:
        yield from wrapped(f"! {line}", 2)


def _bounds(key: str, search: Any) -> str:
    if search.choices:
        return f"{key} {{{', '.join(map(str, search.choices))}}}"
    return f"{key} {search.low:g}..{search.high:g}" + (" (log)" if search.log else "")


def result_lines(tuning: Tuning) -> Iterator[str]:
    """Yield the best trial of each method, the statement about the search, and the command that uses the recipe."""
    from cl_ner_bench.analysis.data.trials import best_of
    from cl_ner_bench.analysis.tables.trials import values_text

    known, rows = tuning.known(), []
    for label in (t.label for t in tuning.tuned):
        own = [t for t in known if t.trial.method == label]
        best = best_of(own)
        first = next((f"{t.score:.1f}" for t in own if t.trial.number == 1 and t.score is not None), "–")
        failed = sum(t.record.status == "failed" for t in own)
        rows.append(
            (label, len(own), failed, first, f"{best.score:.1f}", best.trial.number, values_text(best.trial.values))
        )
    yield table(("method", "trials", "failed", "start", "best", "trial", "values"), rows, wrap=(6,))
    yield ""
    for line in tuning.statement:
        yield from wrapped(f"! {line}", 2)
    for t in known:
        if t.record.status == "failed":
            yield from wrapped(f"! {t.record.run_id}: failed. {t.record.reason}", 2)
    yield from wrapped(
        "! one order and one seed decide: a lead of a few points may not last in other orders. Compare the recipe file "
        "with the start in several (--orders)",
        2,
    )
    yield f"bench run --recipe {tuning.folder.tuned_file} takes each method's own values"


def progress_of(tuning: Tuning, number: int) -> Display:
    """Return the display of a round's progress: method, trial, score, best score so far and time left."""
    from cl_ner_bench.cli.live import about, progress_on_stderr, run_name

    best: dict[str, tuple[float, int]] = {}
    for known in tuning.known():
        if known.score is not None:
            keep_best(best, known.trial.method, known.score, known.trial.number)

    def line(event: RunEvent, progress: Progress) -> str:
        trial = event.record.trial
        if trial is None or not event.ended:
            return ""
        score = tuning.score(event)
        if score is None:
            return run_name(event.record)
        keep_best(best, trial.method, score, trial.number)
        top, at = best[trial.method]
        left = progress.seconds_left()
        later = None if left is None else left + tuning.seconds_left(number, progress.jobs)
        how = f"failed ({event.reason})" if event.status == "failed" else f"{score:.1f}"
        n = next(t.trials(tuning.trials) for t in tuning.tuned if t.label == trial.method)
        return f"{trial.method}: trial {trial.number} of {n}: {how}, best so far {top:.1f} (trial {at}){about(later)}"

    @contextmanager
    def display(progress: Progress) -> Iterator[Listener]:
        with progress_on_stderr(progress, line) as listener:
            yield listener

    return display


def keep_best(best: dict[str, tuple[float, int]], method: str, score: float, number: int) -> None:
    """Update the best score of a method; of equal scores the first trial's stays."""
    best[method] = max(best.get(method, (score, number)), (score, number), key=lambda pair: (pair[0], -pair[1]))
