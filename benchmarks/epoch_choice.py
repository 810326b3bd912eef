"""The epoch that is kept, an experiment: the best on dev, where only the new types are labelled, or the last.

    python -m benchmarks.epoch_choice --data PATH    learn what is missing (16 runs, an hour on two cores), and print
    python -m benchmarks.epoch_choice                print the table of what is stored

``PATH`` holds Few-NERD. Results are in ``results/reference/epoch-choice`` (``--results``); a run of each pair, of equal
method, order and seed, keeps the best epoch on dev, the other one the last.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cl_ner_bench import load_results, run
from cl_ner_bench.analysis.comparison.intervals import estimate
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.scorer import f1

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "reference" / "epoch-choice"
METHODS = ("spankl", "extendner")
RULES = {"epoch-macro": "macro", "epoch-last": "last"}  # scenario -> the epoch that is kept
TYPES = ("location", "organization", "other", "person")
SETTINGS = {
    "max_sentences": 1600,
    "batch_size": 8,
    "epochs": 4,
    "orders": [0, 1, 2, 4],
    "seeds": [0],
}  # order 3 is order 1 again
COLLAPSE = 20  # points of F1 that a type loses within a step


def learn(data: Path, folder: Path) -> None:
    """Learn the missing runs."""
    for name, rule in RULES.items():
        scenario = folder / "scenarios" / f"{name}.toml"
        if not scenario.exists():
            scenario.parent.mkdir(parents=True, exist_ok=True)
            tasks = "".join(f'[[tasks]]\ntypes = ["{type_}"]\n' for type_ in TYPES)
            scenario.write_text(f'like = "split"\nselection = "{rule}"\n{tasks}')
        run(
            list(METHODS), dataset="fewnerd-coarse", data=data, scenario=scenario, bounds="none", out=folder,
            keep_models="none", no_report=True, **SETTINGS,
        )  # fmt: skip


class Ends(NamedTuple):
    """The ends of a method's runs under one rule for the kept epoch: final micro-F1 by order, the number of steps that
    kept an epoch before the last, and the points of F1 that each old type lost in each step."""

    micro_f1: dict[int, float]
    earlier: int
    lost: list[float]


def ends(results: Results, method: str, scenario: str) -> Ends:
    """Return the ends of the finished runs of a method under a rule."""
    runs = [run for run in results.finished if (run.method, run.scenario) == (method, scenario)]
    found = Ends({}, sum(s["selected_epoch"] < s["epochs"] for run in runs for s in run.learned), [])
    for record in runs:
        of_run = f"run_id == {record.run_id!r} and view == 'all'"
        scores, counts = (frame.query(of_run) for frame in (results.scores, results.counts))
        found.micro_f1[record.order] = float(scores.set_index("step")["micro_f1"].loc[record.n_steps])
        of = {(row.type, row.step): f1(row.tp, row.fp, row.fn) for row in counts.itertuples()}
        found.lost.extend(of[type_, step - 1] - score for (type_, step), score in of.items() if (type_, step - 1) in of)
    return found


def table(folder: Path) -> str:
    """Return the results of the stored runs as a Markdown table with a row per method."""
    results = load_results(folder)
    lines = [
        "| method | orders | steps that kept an earlier epoch | micro-F1, best on dev | micro-F1, last epoch | "
        f"last minus best on dev (95 %) | old types that lost {COLLAPSE} points in a step, best on dev | last epoch |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for method in METHODS:
        dev, last = (ends(results, method, scenario) for scenario in RULES)
        orders = sorted(dev.micro_f1.keys() & last.micro_f1.keys())
        one, other = (np.array([e.micro_f1[order] for order in orders]) for e in (dev, last))
        difference = estimate((other - one)[:, None])
        collapsed = (f"{sum(loss >= COLLAPSE for loss in e.lost)} of {len(e.lost)}" for e in (dev, last))
        cells = (
            f"`{method}`", len(orders), f"{dev.earlier} of {len(dev.micro_f1) * len(TYPES)}", f"{one.mean():.1f}",
            f"{other.mean():.1f}",
            f"{difference.mean[0]:+.1f} ({difference.low[0]:+.1f} to {difference.high[0]:+.1f})", *collapsed,
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a copy of Few-NERD: learn what is missing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parsed = parser.parse_args()
    if parsed.data:
        learn(parsed.data, parsed.results)
    print(table(parsed.results))


if __name__ == "__main__":
    main()
