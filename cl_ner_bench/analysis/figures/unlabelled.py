"""The figure of the unlabelled mentions in each step of a task split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cl_ner_bench.analysis.figures.figure import ReportFigure
from cl_ner_bench.analysis.figures.heatmaps import MANY_TYPES
from cl_ner_bench.analysis.figures.style import BLUE, GREY, ORANGE, PAGE, RC

STATES = {"labelled": BLUE, "hidden, learned before": ORANGE, "hidden, learned later": "#BBBBBB"}


def unlabelled_figure(facts: Mapping[str, Any]) -> ReportFigure:
    """Draw train mentions by step (labelled, of types learned before, of types learned later) and by type (or task).

    ``facts`` come from ``scenarios.statistics.overview``; `bench data show --json` prints them. The frame has a row for
    each step and type.
    """
    rows = []
    for step in facts["steps"]:
        for type_, at in facts["labelled_at"].items():
            kind = next(iter(STATES))
            if type_ not in step["labelled"]:
                kind = list(STATES)[1 if at[0] < step["step"] else 2]
            n = step["labelled"].get(type_, step["hidden"].get(type_))
            rows.append((step["step"], step["task"], type_, facts["types"][type_]["task"], kind, n))
    frame = pd.DataFrame(rows, columns=["step", "task", "type", "task_of_type", "kind", "mentions"])
    title = f"{facts['dataset']}, {facts['scenario']}, order {facts['order']}"
    with mpl.rc_context(RC):
        figure = _draw(frame)
    caption = (
        f"{title}: mentions in the train sentences of each step. Labelled: mentions of the step's types; the others "
        "have no label."
    )
    return ReportFigure("hidden", caption, figure, frame)


def _draw(frame: pd.DataFrame) -> Figure:
    import seaborn as sns  # slow to import

    unit = "type" if frame["type"].nunique() <= MANY_TYPES else "task_of_type"
    names = list(dict.fromkeys(frame[unit]))
    steps = sorted(set(frame["step"]))
    figure = Figure(figsize=(PAGE, 1.1 + 0.16 * max(len(names), 7)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1 + 0.06 * len(steps)))
    bottom = np.zeros(len(steps))
    for kind, colour in STATES.items():
        heights = frame[frame["kind"] == kind].groupby("step")["mentions"].sum().reindex(steps, fill_value=0)
        left.bar(steps, heights, bottom=bottom, color=colour, label=kind, width=0.75)
        bottom += heights.to_numpy()
    left.set(xlabel="step", ylabel="train mentions", xticks=steps)
    left.legend(
        frameon=False, fontsize=6, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, handlelength=1, columnspacing=1
    )
    counts = frame.pivot_table(index=unit, columns="step", values="mentions", aggfunc="sum").loc[names]
    shades = np.log1p(counts.to_numpy())
    sns.heatmap(
        shades, ax=right, vmin=0, vmax=3 * shades.max(), cmap="Greys", cbar=False, annot=counts, fmt=",",
        annot_kws={"size": 5.5, "color": GREY}, xticklabels=steps, yticklabels=names,
    )  # fmt: skip
    labelled = frame[frame["kind"] == "labelled"]
    own = set(zip(labelled["step"], labelled[unit], strict=True))
    for text in right.texts:
        x, y = (int(place) for place in text.get_position())
        if (steps[x], names[y]) in own:
            text.set(color=BLUE, weight="bold")
    right.set(xlabel="step", ylabel="")
    right.set_title("by type (bold: labelled)" if unit == "type" else "by task (bold: labelled)")
    right.tick_params(length=0)
    return figure
