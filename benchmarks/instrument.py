"""The effect of each knob of the generated corpus on forgetting: an experiment that changes one knob at a time.

    python -m benchmarks.instrument                 train the missing runs (9 settings, hours on two cores) and draw
    python -m benchmarks.instrument --seeds 0,1,2   the same with more seeds
    python -m benchmarks.instrument --draw --results results/reference/instrument    only draw the stored runs

The printed table and the figure show forgetting, learning and final task F1 by knob, value and method. Runs are stored
in ``results/instrument/SETTING`` (``--results`` names another folder). The figure goes to ``docs/instrument.png`` and
its numbers to ``docs/instrument.csv`` (``--out``), for ``docs/synthetic.md``.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from cl_ner_bench import load_results, run
from cl_ner_bench.analysis.figures.style import PAGE, RC, appearances

ROOT = Path(__file__).parents[1]
METHODS = ("spankl", "extendner", "finetune-token")
SHOWN = {"forgetting": "forgetting", "learning": "learning", "task_macro_f1": "final mean task F1"}
TASKS = {
    2: {"first": ["DATE", "CARDINAL", "PERSON"], "second": ["ORG", "GPE", "NORP"]},
    3: {"numbers": ["DATE", "CARDINAL"], "names": ["PERSON", "ORG"], "places": ["GPE", "NORP"]},
    6: {type_: [type_] for type_ in ("DATE", "CARDINAL", "PERSON", "ORG", "GPE", "NORP")},
}
BASE = {"co_occurrence": 0.5, "ambiguity": 0.5, "unseen_rate": 0.4, "tasks": 3}
KNOBS = {
    "co_occurrence": ("sentences with two or more types (share)", (0.0, 0.8)),
    "ambiguity": ("names that several types share (how often)", (0.0, 1.0)),
    "unseen_rate": ("test names never seen in training (how often)", (0.0, 0.8)),
    "tasks": ("tasks (500 train sentences each)", (2, 6)),
}


def settings() -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the name and the knob values of each setting: the base, then the base with one knob changed."""
    yield "base", BASE
    for knob, (_, values) in KNOBS.items():
        for value in values:
            yield f"{knob.replace('_', '-')}-{value}", {**BASE, knob: value}


def card(name: str, values: dict[str, float]) -> str:
    """Return the TOML card of a setting. It has 500 train sentences per task, so the updates per task stay equal."""
    tasks = TASKS[int(values["tasks"])]
    knobs = "\n".join(f"{knob} = {values[knob]}" for knob in KNOBS if knob != "tasks")
    rows = "\n".join(f"{task} = {types}".replace("'", '"') for task, types in tasks.items())
    return f"""name = "synthetic-{name}"
title = "Synthetic, {name}"
reader = "synthetic"
undertrained_below = 85

[reader_options]
size = {{ train = {500 * len(tasks)}, dev = 150, test = 600 }}
{knobs}

[tasks]
{rows}

[recipes.minilm]
epochs = 4

[recipes.minilm.span]
epochs = 8
"""


def train(results: Path, seeds: str) -> None:
    """Train the missing runs. The card of each setting is stored beside its results."""
    for name, values in settings():
        file = results / "cards" / f"{name}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(card(name, values), encoding="utf-8")
        methods = ",".join(METHODS)
        # Stored records must not hold absolute paths of this machine.
        dataset, out = os.path.relpath(file), os.path.relpath(results / name)
        grid = {"methods": methods, "bounds": "none", "seeds": seeds, "precision": "bf16"}
        run(dataset=dataset, **grid, keep_models="none", out=out)


def measured(results: Path) -> pd.DataFrame:
    """Return a row per changed knob, value, method and seed, with the measures. The base has rows for every knob."""
    rows = []
    for name, values in settings():
        if not (results / name / "runs").is_dir():
            continue
        frame = load_results(results / name).measures
        for _, row in frame[frame["view"] == "all"].iterrows():
            turned = [knob for knob in KNOBS if name == "base" or values[knob] != BASE[knob]]
            for knob in turned:
                scores = {measure: row[measure] for measure in SHOWN}
                rows.append(
                    {"knob": knob, "value": values[knob], "method": row["method"], "seed": row["seed"], **scores}
                )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    """Draw a panel per knob (columns) and measure (rows), with a point per seed and lines through the means."""
    figure = Figure(figsize=(PAGE, 4.6), layout="constrained")
    axes = figure.subplots(len(SHOWN), len(KNOBS), sharey="row")
    for column, (knob, (title, _)) in enumerate(KNOBS.items()):
        for row, (measure, label) in enumerate(SHOWN.items()):
            ax = axes[row, column]
            for method in METHODS:
                own = frame[(frame["knob"] == knob) & (frame["method"] == method)]
                colour, marker = appearances([METHODS])[method]
                means = own.groupby("value")[measure].mean()
                ax.plot(means.index, means, color=colour, marker=marker, label=method)
                ax.plot(
                    own["value"],
                    own[measure],
                    color=colour,
                    marker=marker,
                    alpha=0.35,
                    linestyle="none",
                    markersize=2.5,
                )
            ax.set_xticks(sorted({BASE[knob], *KNOBS[knob][1]}))
            ax.set_ylim(min(0.0, math.floor(frame[measure].min())), 100)
            if column == 0:
                ax.set_ylabel(label)
            if row == len(SHOWN) - 1:
                ax.set_xlabel(title.replace(" (", "\n("))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def as_markdown(frame: pd.DataFrame) -> str:
    """Return a Markdown table with a row per knob, value and method. A cell has a measure's value for each seed."""
    lines = ["| knob | value | method | " + " | ".join(SHOWN.values()) + " |", "|---|---|---|" + "---:|" * len(SHOWN)]
    for (knob, value, method), own in frame.groupby(["knob", "value", "method"]):
        cells = [" / ".join(f"{score:.1f}" for score in own.sort_values("seed")[measure]) for measure in SHOWN]
        lines.append(f"| `{knob}` | {value:g} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "instrument")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--draw", action="store_true", help="draw the stored runs and train nothing")
    parser.add_argument(
        "--knobs", default=",".join(KNOBS), help="knobs to draw and print, separated by commas (default: all)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "docs" / "instrument",
        help="path of the figure and its numbers, without .png and .csv",
    )
    arguments = parser.parse_args()
    results = arguments.results.resolve()
    if not arguments.draw:
        train(results, arguments.seeds)
    frame = measured(results)
    frame = frame[frame["knob"].isin(arguments.knobs.split(","))]
    with mpl.rc_context(RC):
        draw(frame).savefig(arguments.out.with_suffix(".png"))
    frame.to_csv(arguments.out.with_suffix(".csv"), index=False)
    print(as_markdown(frame))


if __name__ == "__main__":
    main()
