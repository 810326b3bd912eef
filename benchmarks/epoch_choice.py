"""The epoch that is kept, an experiment: three rules on the stored comparison of methods.

    python -m benchmarks.epoch_choice --data PATH    learn what is missing (12 runs, 40 minutes of one core), and print
    python -m benchmarks.epoch_choice                print the table of what is stored

``PATH`` holds Few-NERD. The rules: the best epoch on dev, where only the new types are labelled (the runs of
``results/reference/comparison``); the last epoch; the best harmonic mean of the dev score and of the agreement with the
previous model on old types (``agreement.py``). Runs of one method, order and seed differ in the rule alone. The runs of
the last two are in ``results/reference/epoch-choice``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cl_ner_bench import load_results, run
from cl_ner_bench.analysis.comparison.intervals import estimate
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.scores.scorer import f1

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "results" / "reference"
COMPARISON, RESULTS = REFERENCE / "comparison", REFERENCE / "epoch-choice"
METHODS = ("extendner", "spankl")
LAST_EPOCH = "last-epoch"  # the scenario, and the name of its file
COLLAPSE = 20  # points of F1 that a type loses within a step


class Rule(NamedTuple):
    """A rule for the kept epoch, and the runs that follow it: a prefix of their method, and their scenario."""

    title: str
    prefix: str
    scenario: str


DEV = Rule("best on dev", "", "split")
RULES = (DEV, Rule("last", "", LAST_EPOCH), Rule("agreement", "agreement-", "split"))


def learn(data: Path, folder: Path) -> None:
    """Learn the missing runs with the settings of the comparison."""
    scenario = folder / "scenarios" / f"{LAST_EPOCH}.toml"
    scenario.parent.mkdir(parents=True, exist_ok=True)
    scenario.write_text('like = "split"\nselection = "last"\n')
    file = os.path.relpath(HERE / "agreement.py")  # records hold the path as given
    agreeing = [f"agreement-{method}={file}+{method}" for method in METHODS]
    for methods, of in (([*METHODS], scenario), (agreeing, "split")):
        run(
            methods, dataset="fewnerd-coarse", data=data, scenario=of, orders=[0, 1, 2], bounds="none", out=folder,
            recipe="comparison", max_sentences=4000, precision="fp32", keep_models="none", no_report=True,
        )  # fmt: skip


class Ends(NamedTuple):
    """The ends of a method's runs under one rule.

    Attributes:
        micro_f1: final micro-F1 by order.
        earlier: of each step, whether it kept an epoch before the last.
        lost: points of F1 that each old type lost in each step.
    """

    micro_f1: dict[int, float]
    earlier: list[bool]
    lost: list[float]


def ends(results: Results, method: str, scenario: str) -> Ends:
    """Return the ends of the finished runs of a method in a scenario."""
    found = Ends({}, [], [])
    for record in results.finished:
        if (record.method, record.scenario) != (method, scenario):
            continue
        found.earlier.extend(step["selected_epoch"] < step["epochs"] for step in record.learned)
        of_run = f"run_id == {record.run_id!r} and view == 'all'"
        scores, counts = (frame.query(of_run) for frame in (results.scores, results.counts))
        found.micro_f1[record.order] = float(scores.set_index("step")["micro_f1"].loc[record.n_steps])
        of = {(row.type, row.step): f1(row.tp, row.fp, row.fn) for row in counts.itertuples()}
        found.lost.extend(of[type_, step - 1] - score for (type_, step), score in of.items() if (type_, step - 1) in of)
    return found


def table(folder: Path) -> str:
    """Return the results of the stored runs as a Markdown table with a row per method and rule."""
    stored, compared = load_results(folder), load_results(COMPARISON)
    lines = [
        "| method | epoch that is kept | micro-F1 in the end | minus best on dev (95 %) | steps that kept an earlier "
        f"epoch | old types that lost {COLLAPSE} points in a step |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for method in METHODS:
        base = ends(compared, method, DEV.scenario).micro_f1
        for rule in RULES:
            found = ends(compared if rule is DEV else stored, rule.prefix + method, rule.scenario)
            orders = sorted(found.micro_f1)
            difference = estimate(np.array([[found.micro_f1[order] - base[order]] for order in orders]))
            mean, low, high = (float(values[0]) for values in (difference.mean, difference.low, difference.high))
            cells = (
                f"`{method}`", rule.title, f"{np.mean([*found.micro_f1.values()]):.1f}",
                "" if rule is DEV else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})",
                f"{sum(found.earlier)} of {len(found.earlier)}",
                f"{sum(loss >= COLLAPSE for loss in found.lost)} of {len(found.lost)}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def printed(arguments: Sequence[str] | None = None) -> str:
    """Learn, if data are given, and return the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a copy of Few-NERD: learn what is missing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parsed = parser.parse_args(arguments)
    if parsed.data:
        learn(parsed.data, parsed.results)
    return table(parsed.results)


def main() -> None:
    print(printed())


if __name__ == "__main__":
    main()
