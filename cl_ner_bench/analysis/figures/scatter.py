"""Scatter plots of two measures with a point per method: forgetting against learning, gain against loss by one type."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.intervals import ALPHA, t_quantile
from cl_ner_bench.analysis.comparison.newcomers import newcomers, per_newcomer, units
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.figures.families import Family, families_of_all, is_bound
from cl_ner_bench.analysis.figures.figure import (
    Page,
    ReportFigure,
    Theme,
    canvas,
    fix_layout,
    label_edges,
    paginated,
    title_with_warnings,
    widened,
)
from cl_ner_bench.analysis.figures.labels import label_points
from cl_ner_bench.analysis.figures.style import BEHIND, GREY
from cl_ner_bench.analysis.table import VIEW_TITLES

PANEL = 2.2  # height (inches in print) of a panel among several

Points = Mapping[MethodRow, pd.DataFrame]  # per row a column for x and one for y, a line per trained model


@dataclass(frozen=True)
class Cloud:
    """A panel of points: the rows of a family with names, the rows behind it in grey."""

    ax: Axes
    family: Family
    points: Points


def forgetting_scatter(c: Comparison, view: str, theme: Theme) -> list[ReportFigure]:
    """Draw forgetting against learning (F1 right after learning), both over tasks. The upper left is best.

    There is a panel for all methods, or per family if there are many. Without both measures there is no figure.
    """
    frame = c.measures[c.measures["view"] == view].dropna(subset=["forgetting", "learning"])
    frame = c.per_model(frame, "forgetting", "learning")
    points = {row: own[["forgetting", "learning"]] for row in c.rows if not (own := row.of(frame)).empty}
    plane = Plane(
        f"plane-{view}",
        points,
        f"{c.title}: forgetting (mean drop of a task's F1 from its best earlier step) against learning (its F1 right "
        f"after it was learned), {VIEW_TITLES[view]}.",
        bars_caption(c),
        ("forgetting (lower is better)", "learning (higher is better)"),
        STD,
    )
    return _planes(c, plane, families_of_all(c), theme)


def new_type_scatter(c: Comparison, theme: Theme) -> list[ReportFigure]:
    """Draw F1 of one new type against the loss of the old types. The upper left is best.

    Only scenario `add-one` with a defined F1 has a figure.
    """
    if not c.adds_one or not (found := per_newcomer(c)):
        return []
    points = {row: lines[["lost", "new"]].dropna() for row, lines in found.items()}
    points = {row: lines for row, lines in points.items() if not lines.empty}
    nothing = MethodRow("doing nothing", "", "Doing nothing", "reference", "")
    points[nothing] = pd.DataFrame({"lost": [0.0], "new": [0.0]})
    theme = replace(theme, appearances={**theme.appearances, (nothing.method, nothing.config): (GREY, "x")})
    several = len(newcomers(c)) > 1
    bars = f" Bars: 95 % t interval over {units(c)}." if max(map(len, points.values())) > 1 else ""
    plane = Plane(
        "new_type-all",
        points,
        f"{c.title}: F1 of a new type against what the old types lost by it (micro-F1 before minus after), "
        f"{VIEW_TITLES['all']}{', mean over newcomers' * several}. The upper left is best. Doing nothing: the model of "
        "step 1 as it is; joint training: retraining on everything.",
        bars,
        ("what old types lost (lower is better)", "F1 of the new type"),
        INTERVAL,
    )
    families = [replace(family, rows=(*family.rows, nothing)) for family in families_of_all(c)]
    return _planes(c, plane, families, theme)


@dataclass(frozen=True)
class Bar:
    """The bars of points: ``half`` gives half their length for each column, ``name`` is its name in the CSV file."""

    name: str
    half: Callable[[pd.DataFrame], pd.Series]


def _half_interval(values: pd.DataFrame) -> pd.Series:
    """Return half the 95 % t interval of the mean of each column."""
    n = len(values)
    return values.std(ddof=1) * (t_quantile(n - 1, 1 - ALPHA / 2) / n**0.5 if n > 1 else 1)


STD = Bar("std", lambda values: values.std(ddof=1))
INTERVAL = Bar("half", _half_interval)


@dataclass(frozen=True)
class Plane:
    """The points of a figure with its name ``KIND-VIEW``, caption, the caption's sentence on bars, and axis labels."""

    name: str
    points: Points
    caption: str
    bars: str
    labels: tuple[str, str]
    bar: Bar


def _planes(c: Comparison, plane: Plane, families: Sequence[Family], theme: Theme) -> list[ReportFigure]:
    """Draw a panel for each family with a point, on as many pages as needed."""
    points, (kind, _, view) = plane.points, plane.name.partition("-")
    panels = [family for family in families if points.keys() & {*family.rows}]
    style = theme.style
    grey = " Light grey: the methods of the other panels." if len(panels) > 1 else ""
    bounds = " Grey and hollow: bounds." if any(map(is_bound, points)) else ""
    caption = f"{plane.caption}{bounds}{grey}{plane.bars}"
    if len(panels) > 1:
        pages = paginated(panels, style, (style.page / style.scale / 3, PANEL), margins=(0, 0.8 * style.annotated))
        width = style.page
    else:
        pages, width = [Page("", panels, (1, 1))] if panels else [], style.column
    found = []
    for page in pages:
        height = PANEL * page.shape[0] if len(panels) > 1 else 2.3 + 0.06 * max(0, len(points) - 8)
        figure, axes = canvas(
            title_with_warnings(c), notes_of(c), style, page.shape, (width, height), len(page.items), sharex=True,
            sharey=True,
        )  # fmt: skip
        clouds = [Cloud(ax, family, points) for ax, family in zip(axes.flat, page.items, strict=False)]
        for cloud in clouds:
            cloud.ax.set_title(textwrap.fill(cloud.family.title, 32), loc="left")
        label_edges(axes, len(clouds), *plane.labels)
        data = scatter(clouds, theme, span=5, bar=plane.bar)
        found.append(ReportFigure.of(f"{kind}{page.suffix}-{view}-{c.slug}", caption, figure, data, notes_of(c)))
    return found


def scatter(clouds: Sequence[Cloud], theme: Theme, span: float = 0, bar: Bar = STD) -> list[dict[str, Any]]:
    """Draw a named point per row at the means over its models, with bars, and return the numbers.

    No value may be nan. y is a score of 0..100. ``span``: the smallest range of both axes. The panels belong to one
    figure; only their points are missing, so a log scale is already set.
    """
    pt, data, named = theme.style.pt, [], []
    for cloud in clouds:
        behind = [cloud.points[row].mean() for row in cloud.family.behind if row in cloud.points]
        if behind:
            x, y = zip(*behind, strict=True)
            cloud.ax.plot(x, y, marker="o", linestyle="none", color=BEHIND, markersize=pt(2.5), zorder=1)
        places, spreads = [], []
        for row in cloud.family.rows:
            if row not in cloud.points:
                continue
            values = cloud.points[row]
            (x, y), (dx, dy) = values.mean(), bar.half(values)
            line = theme.line(row) | {"linestyle": "none"}
            several = len(values) > 1
            error = {"xerr": dx, "yerr": [[min(dy, y)], [min(dy, 100 - y)]], "elinewidth": pt(0.7)} if several else {}
            spreads.append((dx, dy) if several else (0.0, 0.0))
            cloud.ax.errorbar(x, y, markersize=pt(5.5), zorder=4, clip_on=False, **line, **error)
            places.append((float(x), float(y), row))
            x_name, y_name = values.columns
            numbers = {f"{x_name}_mean": x, f"{x_name}_{bar.name}": dx}
            numbers |= {f"{y_name}_mean": y, f"{y_name}_{bar.name}": dy}
            data.append({"method": row.method, "label": row.label, "n": len(values), **numbers})
        named.append((cloud.ax, places, spreads))
    for cloud in clouds:
        cloud.ax.margins(0.16)
        cloud.ax.grid(linewidth=pt(0.3), alpha=0.5)
    for cloud in clouds:
        if cloud.ax.get_xscale() == "linear":
            cloud.ax.set_xlim(widened(span, *cloud.ax.get_xlim()))
        low, high = widened(span, *cloud.ax.get_ylim())
        cloud.ax.set_ylim(max(low, 0), high)  # no score is below 0
    fix_layout(clouds[0].ax.figure.figure)  # before the names, which stay inside the panels
    for ax, places, spreads in named:
        label_points(ax, places, spreads, theme)
    return data


def bars_caption(c: Comparison) -> str:
    """Return a sentence on the bars; '' if no method has several runs."""
    return " Bars: one standard deviation over runs (order, seed)." if len(c.runs) > len(c.rows) else ""
