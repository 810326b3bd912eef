"""The tables of `bench tune`: every trial of every method, its values and its score."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.data.trials import MEANING, ScoredTrial, best_of, scored_trials
from cl_ner_bench.analysis.table import Cell, Table

_LONGEST = 160  # characters of a name, because file names are limited
NOTHING = "nothing to search"
HEADER = ("Trial", "Score", "State", "Values", "Run")


def trial_tables(results: Results) -> list[Table]:
    """Return a table for each search."""
    trials = scored_trials(results.trials, results.folders)
    studies = dict.fromkeys(t.trial.study for t in trials)
    return [_table([t for t in trials if t.trial.study == study]) for study in studies]


def best_lines(results: Results) -> list[str]:
    """Return a title and a line on the best trial of each method; nothing without a finished trial."""
    trials = scored_trials(results.trials, results.folders)
    lines = []
    for study, method in dict.fromkeys((t.trial.study, t.trial.method) for t in trials):
        own = [t for t in trials if (t.trial.study, t.trial.method) == (study, method)]
        if any(t.record.status == "done" for t in own):
            best = best_of(own)
            of = f"trial {best.trial.number} of {len(own)}"
            lines.append(f"  {method}: {best.score:.1f} in {of}: {values_text(best.trial.values) or NOTHING}")
    return ["best trials of bench tune, by a score on dev that is no result:", *lines] if lines else []


def values_text(values: dict[str, object]) -> str:
    """Return the values of a trial in a line."""
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )


def _table(trials: Sequence[ScoredTrial]) -> Table:
    run, trial = trials[0].record, trials[0].trial
    sections, data = [], []
    for method in dict.fromkeys(t.trial.method for t in trials):
        own = [t for t in trials if t.trial.method == method]
        best = max((t.score for t in own if t.score is not None), default=None)
        lines = []
        for t in own:
            is_best = t.score is not None and t.score == best
            score = Cell(math.nan if t.score is None else t.score, math.nan, bold=is_best)
            values = values_text(t.trial.values) or NOTHING
            lines.append((str(t.trial.number), score, t.record.status, values, t.record.run_id))
            about = {"method": method, "trial": t.trial.number, "score": score.mean, "best": is_best}
            about |= {"status": t.record.status, "run_id": t.record.run_id}
            data.append({**about, **t.trial.values, **about})  # a setting may have the name of a column
        sections.append((method, tuple(lines)))
    settings = run.settings
    caption = (
        f"{run.dataset}, {run.scenario}, {run.encoder}: trials of bench tune. Score (0 to 100), objective "
        f"{trial.objective}: {MEANING[trial.objective]}. A trial that failed scores 0."
    )
    notes = [
        "scores of the dev part, by which values were chosen: no result, and not comparable with scores on test",
        f"order {run.order}, task split seed {settings.get('split_seed')}: no grid uses them",
        f"start: recipe {settings.get('recipe')}; sampler: TPE of Optuna, seed {trial.seed}",
    ]
    if limit := settings.get("max_sentences"):
        notes.append(f"a sample of {limit:,} training sentences")
    name = re.sub(r"[^\w.+-]+", "_", f"trials-{run.dataset}-{run.scenario}-{run.encoder}")[:_LONGEST]
    name += f"-{trial.study[:4]}"
    return Table.of(name, caption, HEADER, sections, notes, data)
