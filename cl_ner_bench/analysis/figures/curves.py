"""Scores after each step, as curves: by family of methods, by order, and by dataset."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cl_ner_bench.analysis.comparison.compare import LOWER_BOUNDS, Comparison, MethodRow
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.figures.families import Family, families, families_of_all, is_bound
from cl_ner_bench.analysis.figures.figure import (
    Axess,
    Page,
    ReportFigure,
    Theme,
    canvas,
    common_notes,
    label_edges,
    lay_out,
    paginated,
    title_with_warnings,
    widened,
)
from cl_ner_bench.analysis.figures.labels import LABEL, label_ends
from cl_ner_bench.analysis.figures.style import BEHIND
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.table import VIEW_TITLES

CURVE_KINDS = {"task_macro_f1": "steps", "macro_f1": "steps_macro", "micro_f1": "steps_micro"}  # the headline first
STACKED = 4  # up to so many panels stand above each other in one column of a page
ORDERS = 4  # panels of orders in a row; only the last panel has names beside it
Means = Mapping[MethodRow, pd.DataFrame]


@dataclass(frozen=True)
class _Panel:
    """The curves of a family: ``means`` over models per row, by step. ``columns`` identify its numbers in the CSV
    file."""

    title: str
    c: Comparison
    family: Family
    means: Means
    columns: Mapping[str, Any]
    tasks: str = ""  # under the title


def step_curves(c: Comparison, view: str, theme: Theme, measure: str = "task_macro_f1") -> list[ReportFigure]:
    """Draw a measure after each step, as mean over runs with a band of one standard deviation; a panel per family."""
    means = _means(c, c.scores[c.scores["view"] == view], measure)
    panels = [
        _Panel(f.title, c, f, means, {"architecture": f.rows[0].architecture})
        for f in families(c)
        if means.keys() & {*f.rows}
    ]
    if not panels:
        return []
    style = theme.style
    if style.fixed or len(panels) > STACKED:
        pages, width = _pages(panels, theme, 3 if style.fixed else 2), style.page
    else:
        pages, width = [Page("", panels, (len(panels), 1))], style.column
    caption = (
        f"{c.title}: {_meaning(measure)} after each step, {VIEW_TITLES[view]}.{_of_runs(c)}"
        f"{_lines(c.rows, means, c.n_steps)}{_grey(panels)}{_bands(c, 'runs (order, seed)')}"
    )
    found = []
    for page in pages:
        figure, data = _draw(page, title_with_warnings(c), notes_of(c), width, measure, theme)
        name = f"{CURVE_KINDS[measure]}{page.suffix}-{view}-{c.slug}"
        found.append(ReportFigure.of(name, caption, figure, data, notes_of(c)))
    return found


def order_curves(c: Comparison, view: str, theme: Theme) -> list[ReportFigure]:
    """Draw mean task F1 after each step, with a panel per order, and per family if there are many methods.

    With one order there is no figure.
    """
    if len(c.orders) < 2:
        return []
    frame, measure = c.scores[c.scores["view"] == view], "task_macro_f1"
    by_order = {order: _means(c, frame[frame["order"] == order], measure) for order in c.orders}
    pages = _order_pages(c, by_order, theme)
    panels = [panel for page in pages for panel in page.items]
    caption = (
        f"{c.title}: {_meaning(measure)} after each step, {VIEW_TITLES[view]}, for each of {len(c.orders)} orders of "
        f"the tasks; mean over seeds.{_lines(c.rows, by_order[c.orders[0]], c.n_steps)}{_grey(panels)}"
        f"{_bands(c, 'the seeds of an order')}"
    )
    found = []
    for page in pages:
        figure, data = _draw(page, title_with_warnings(c), notes_of(c), theme.style.page, measure, theme, shared=True)
        name = f"orders{page.suffix}-{view}-{c.slug}"
        found.append(ReportFigure.of(name, caption, figure, data, notes_of(c)))
    return found


def _order_pages(c: Comparison, by_order: Mapping[int, Means], theme: Theme) -> list[Page[_Panel]]:
    """Return pages with a panel per order. With several families each family has its own rows of panels."""

    def panel(family: Family, order: int) -> _Panel:
        title = f"order {order}{family.title and f', {family.title}'}"
        tasks = " › ".join(task.name for task in c.tasks_of(order))
        return _Panel(title, c, family, by_order[order], {"order": order}, tasks)

    all_of = families_of_all(c)
    if len(all_of) == 1:
        return _pages([panel(all_of[0], order) for order in c.orders], theme, ORDERS)
    found: list[Page[_Panel]] = []
    for start in range(0, len(c.orders), ORDERS):
        orders = c.orders[start : start + ORDERS]
        for page in _pages([panel(family, orders[0]) for family in all_of], theme, 1):
            items = [panel(first.family, order) for first in page.items for order in orders]
            found.append(Page(str(len(found) + 1) if found else "", items, (len(page.items), len(orders))))
    return found


def dataset_curves(compared: Sequence[Comparison], view: str, theme: Theme) -> list[ReportFigure]:
    """Draw mean task F1 after each step, with a panel per comparison. With one comparison there is no figure."""
    if len(compared) < 2:
        return []
    measure = "task_macro_f1"
    panels: list[_Panel] = []
    for c in compared:
        means = _means(c, c.scores[c.scores["view"] == view], measure)
        columns = {"dataset": c.dataset, "scenario": c.scenario, "encoder": c.encoder}
        for f in families_of_all(c):
            if means.keys() & {*f.rows}:
                title = f"{title_with_warnings(c) if theme.style.annotated else c.title}{f.title and f', {f.title}'}"
                panels.append(_Panel(title, c, f, means, columns))
    rows = [row for panel in panels for row in panel.family.rows]
    caption = (
        f"{NAMES[measure].title} over the tasks learned so far after each step, {VIEW_TITLES[view]}, for each dataset "
        f"and scenario.{_lines(rows, {}, 0)}{_grey(panels)} Bands, where there are several runs: one standard "
        "deviation over runs, within 0 and 100."
    )
    found = []
    for page in _pages(panels, theme, 3 if theme.style.fixed else 2):  # names stand beside every panel
        notes = common_notes(list(dict.fromkeys(panel.c for panel in page.items)))
        figure, data = _draw(page, "Datasets and scenarios", notes, theme.style.page, measure, theme)
        found.append(ReportFigure.of(f"datasets{page.suffix}-{view}-overall", caption, figure, data, notes))
    return found


def _draw(
    page: Page[_Panel], title: str, notes: Sequence[str], width: float, measure: str, theme: Theme, shared: bool = False
) -> tuple[Any, list[dict[str, Any]]]:
    """Draw the panels of a page with one scale, and return the figure and its numbers.

    ``shared``: the panels of a row have the same methods, whose names stand beside the last panel.
    """
    style, (n_rows, n_columns) = theme.style, page.shape
    rows_of = [page.items[i * n_columns : (i + 1) * n_columns] for i in range(n_rows)]
    heights = [_height(panels) for panels in rows_of]
    figure, axes = canvas(
        title, notes, style, page.shape, (width, sum(heights) + 0.2), len(page.items), sharey=True,
        height_ratios=heights,
    )  # fmt: skip
    data, ends = [], []
    for ax, panel in zip(axes.flat, page.items, strict=False):
        room = width / style.scale / n_columns - 0.45
        ax.set_title(textwrap.fill(panel.title, int(room / 0.062)), loc="left", pad=style.pt(10 if panel.tasks else 4))
        if panel.tasks:
            ax.annotate(
                textwrap.shorten(panel.tasks, int(room / 0.038), placeholder=" …"), (0, 1), (0, style.pt(3)),
                xycoords="axes fraction", textcoords="offset points", size=style.pt(5.5), color="#555555",
            )  # fmt: skip
        found, numbers = _curves(ax, panel, measure, theme)
        ends.append(found)
        data += numbers
    _finish(axes, page.items, ends, measure, theme, shared)
    return figure, data


def _curves(
    ax: Axes, panel: _Panel, measure: str, theme: Theme
) -> tuple[list[tuple[float, MethodRow]], list[dict[str, Any]]]:
    """Draw a line for each row with scores, over the steps that were scored. Return the ends and numbers of the
    lines."""
    for row in panel.family.behind:
        if row in panel.means:
            behind = panel.means[row]
            ax.plot(behind.index, behind["mean"], color=BEHIND, linewidth=theme.style.pt(0.6), zorder=1)
    ends = []
    data = []
    for row in panel.family.rows:
        if row not in panel.means:
            continue
        stats, line = panel.means[row], theme.line(row)
        steps, mean = stats.index.to_numpy(), stats["mean"].to_numpy()
        order = 3 if is_bound(row) else 4
        (curve,) = ax.plot(steps, mean, **line, markevery=_every(len(steps)), clip_on=False, zorder=order)
        curve.set_in_layout(False)
        if len(steps) == 1 < panel.c.n_steps:  # a single point needs a stub to show its line style
            stub = min(0.5, 0.08 * (panel.c.n_steps - 1))
            ax.plot([steps[0] - stub, steps[0]], [mean[0], mean[0]], **line | {"marker": ""}, zorder=order)
        if (stats["size"] > 1).any():
            spread = stats["std"].fillna(0).to_numpy()
            low, high = (mean - spread).clip(0, 100), (mean + spread).clip(0, 100)
            ax.fill_between(steps, low, high, color=line["color"], alpha=0.15, linewidth=0)
        ends.append((float(mean[-1]), row))
        data += [
            {**panel.columns, "method": row.method, "label": row.label, "step": step}
            | {f"{measure}_mean": s["mean"], f"{measure}_std": s["std"], "n": int(s["size"])}
            for step, s in stats.iterrows()
        ]
    return ends, data


def _means(c: Comparison, frame: pd.DataFrame, measure: str) -> Means:
    """Return mean, deviation and number of models at each step, for each row with scores in ``frame``."""
    scored = c.per_model(frame, measure, by=["step"]).groupby(["method", "config", "step"])[measure]
    stats = scored.agg(["mean", "std", "size"])
    of = dict(tuple(stats.groupby(level=["method", "config"])))
    return {
        row: of[row.method, row.config].droplevel(["method", "config"])
        for row in c.rows
        if (row.method, row.config) in of
    }


def _every(n: int) -> list[int]:
    """Return the points that get a marker: at most about 12 with the last, because overlapping markers look alike."""
    return list(range(n - 1, -1, -math.ceil(n / 12)))


def _pages(panels: Sequence[_Panel], theme: Theme, n_columns: int) -> list[Page[_Panel]]:
    width = theme.style.page / theme.style.scale / n_columns
    return paginated(panels, theme.style, (width, _height(panels)), margins=(0, 0.7 if theme.style.annotated else 0.2))


def _height(panels: Sequence[_Panel]) -> float:
    """Return the inches in print that a row of panels needs for its names."""
    return max(1.3, LABEL * max(len(panel.family.rows) for panel in panels)) + 0.4


def _finish(
    axes: Axess, panels: Sequence[_Panel], ends: Sequence[list[tuple[float, MethodRow]]], measure: str, theme: Theme,
    shared: bool,
) -> None:  # fmt: skip
    """Set one scale for all panels, and write names beside the lines of each panel (or the last of a row)."""
    low, high = axes.flat[0].get_ylim()
    low, high = widened(10, max(low, 0), min(high, 102))
    shift = max(0.0, -low) - max(0.0, high - 102)  # scores lie in 0..100
    axes.flat[0].set_ylim(low + shift, high + shift)
    n_columns = axes.shape[1]
    label_edges(axes, len(panels), "step", NAMES[measure].title)
    for ax, panel in zip(axes.flat, panels, strict=False):
        for line in ax.lines:
            line.set_clip_on(False)  # whole markers at 0
        margin = min(0.04 * max(panel.c.n_steps - 1, 1), 0.6)  # no step 0
        ax.set_xlim(1 - margin, panel.c.n_steps + margin)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=min(panel.c.n_steps, 11), min_n_ticks=1))
        if len({other.c.n_steps for other in panels}) > 1:
            ax.tick_params(labelbottom=True)
    lay_out(axes.flat[0].figure)
    for i, (ax, panel, found) in enumerate(zip(axes.flat, panels, ends, strict=False)):
        last = (i + 1) % n_columns == 0
        if not shared or last or i + 1 == len(panels):
            label_ends(ax, found, panel.c.n_steps, theme, room=not shared or last)


def _meaning(measure: str) -> str:
    return f"{NAMES[measure].name} over the {'tasks' if measure == 'task_macro_f1' else 'types'} learned so far"


def _of_runs(c: Comparison) -> str:
    """Return a sentence on the number of orders in a mean; '' with one order."""
    return f" Mean over runs of {len(c.orders)} orders of the tasks." if len(c.orders) > 1 else ""


def _lines(rows: Sequence[MethodRow], means: Means, n_steps: int) -> str:
    """Return a sentence on the lines of bounds; '' without bounds."""
    kinds = []
    if any(row.group == "reference" for row in rows):
        last = any(list(means[row].index) == [n_steps] for row in rows if row.group == "reference" and row in means)
        kinds.append(f"dashed: joint training{', a point: at the last step only' if last and n_steps > 1 else ''}")
    if any(row.method in LOWER_BOUNDS for row in rows):
        kinds.append("dotted: fine-tuning, the lower bound")
    return f" Grey and hollow, {'; '.join(kinds)}." if kinds else ""


def _grey(panels: Sequence[_Panel]) -> str:
    return " Light grey: the methods of the other panels." if any(panel.family.behind for panel in panels) else ""


def _bands(c: Comparison, over: str) -> str:
    several = len(c.runs) > len(c.rows)
    return f" Bands: one standard deviation over {over}, within 0 and 100." if several else ""
