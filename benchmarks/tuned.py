"""Tables of docs/findings.md on tuned hyper-parameters.

    python -m benchmarks.tuned search    the best trial of each method in results/reference/tuning
    python -m benchmarks.tuned gain      the tuned runs (results/reference/tuned) against those of the comparison

``python -m benchmarks.comparison questions --results results/reference/tuned`` has the pairs of tuned methods.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from benchmarks.comparison import END, MICRO, RESULTS, Stored, cell, estimate_of, markdown
from cl_ner_bench import load_results
from cl_ner_bench.analysis.data.trials import best_of, scored_trials

TUNING, TUNED = RESULTS.parent / "tuning", RESULTS.parent / "tuned"


def search() -> str:
    """Return the score on dev of each method's first trial, which has the recipe's values, and of its best one."""
    results = load_results(TUNING)
    trials = scored_trials(results.trials, results.folders)
    rows = []
    for method in dict.fromkeys(t.trial.method for t in trials):
        own = [t for t in trials if t.trial.method == method]
        best = best_of(own)
        values = ", ".join(f"`{key}` {value:g}" for key, value in best.trial.values.items())
        rows.append((f"`{method}`", len(own), f"{own[0].score:.1f}", f"{best.score:.1f}", best.trial.number, values))
    return markdown(("method", "trials", "dev, first", "dev, best", "best trial", "its values "), rows)


def gain() -> str:
    """Return F1 on test with the recipe and with tuned values, and the difference over orders."""
    recipe, tuned = Stored(RESULTS), Stored(TUNED)
    rows = []
    for method in sorted(tuned.methods, key=lambda method: -tuned.values(method, END).mean()):
        dagger = " †" if method in tuned.undertrained else ""
        cells = [cell(stored.estimate(method, END)) for stored in (recipe, tuned)]
        for measure in (END, MICRO):
            values: list[pd.Series] = [stored.values(method, measure) for stored in (tuned, recipe)]
            cells.append(cell(estimate_of((values[0] - values[1]).dropna()), "+"))
        rows.append((f"`{method}`{dagger}", *cells))
    header = ("method", "F1 in the end, recipe", "F1 in the end, tuned", "F1, difference", "micro-F1, difference")
    return markdown(header, rows)


TABLES: Mapping[str, Callable[[], str]] = {"search": search, "gain": gain}


def printed(arguments: Sequence[str] | None = None) -> str:
    """Return what the command prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    return TABLES[parser.parse_args(arguments).table]()


def main() -> None:
    print(printed())


if __name__ == "__main__":
    main()
