"""Scatter plots of two measures, a point per method: forgetting against plasticity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.figures.figure import (
    ReportFigure,
    Theme,
    canvas,
    label_points,
    lay_out,
    title_with_warnings,
    widened,
)
from cl_ner_bench.analysis.table import VIEW_TITLES

Points = Sequence[tuple[MethodRow, pd.DataFrame]]  # per row a column for x and one for y, a line per trained model


def forgetting_scatter(c: Comparison, view: str, theme: Theme) -> ReportFigure | None:
    """Draw forgetting against plasticity (F1 right after learning), both over tasks; best is the upper left.

    None where no method forgets or learns over steps.
    """
    frame = c.measures[c.measures["view"] == view].dropna(subset=["forgetting", "learning"])
    frame = c.per_model(frame, "forgetting", "learning")
    points = [(row, own[["forgetting", "learning"]]) for row in c.rows if not (own := row.of(frame)).empty]
    if not points:
        return None
    size = (theme.style.column, 2.6 + 0.06 * max(0, len(points) - 8))
    figure, axes = canvas(title_with_warnings(c), notes_of(c), theme.style, (1, 1), size)
    ax = axes.flat[0]
    ax.set_xlabel("forgetting (lower is better)")
    ax.set_ylabel("learning: F1 right after (higher is better)")
    data = scatter(ax, points, theme, span=5)
    caption = (
        f"{c.title}: forgetting (mean drop of a task's F1 from its best earlier step) against plasticity (its F1 "
        f"right after learning), {VIEW_TITLES[view]}. Hollow: joint training{bars_caption(c)}."
    )
    return ReportFigure.of(c, "plane", view, caption, figure, data)


def scatter(ax: Axes, points: Points, theme: Theme, span: float = 0) -> list[dict[str, Any]]:
    """Draw a named point per row at the means over its models, with bars of one standard deviation; return the numbers.

    No value may be nan. ``span``: the least range of both axes. A log scale is to be set before.
    """
    data, places, spreads = [], [], []
    for row, values in points:
        (x, y), (dx, dy) = values.mean(), values.std(ddof=1)
        line = theme.line(row) | {"linestyle": "none"}
        error = {} if len(values) < 2 else {"xerr": dx, "yerr": dy, "elinewidth": theme.style.pt(0.7)}
        spreads.append((dx, dy) if error else (0.0, 0.0))
        ax.errorbar(x, y, markersize=theme.style.pt(5.5), zorder=4, **line, **error)
        places.append((float(x), float(y), row))
        x_name, y_name = values.columns
        numbers = {f"{x_name}_mean": x, f"{x_name}_std": dx, f"{y_name}_mean": y, f"{y_name}_std": dy}
        data.append({"method": row.method, "label": row.label, "n": len(values), **numbers})
    ax.margins(0.16)
    if ax.get_xscale() == "linear":
        ax.set_xlim(widened(span, *ax.get_xlim()))
    ax.set_ylim(widened(span, *ax.get_ylim()))
    ax.grid(linewidth=theme.style.pt(0.3), alpha=0.5)
    lay_out(ax.figure.figure)
    label_points(ax, places, spreads, theme)
    return data


def bars_caption(c: Comparison) -> str:
    return "; bars: standard deviation over runs (order, seed)" if len(c.runs) > len(c.rows) else ""
