"""Scores after each step, as curves: by architecture, by order, and by dataset."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.figures.figure import (
    LABEL,
    Axess,
    Item,
    Page,
    ReportFigure,
    Theme,
    canvas,
    common_notes,
    label_ends,
    lay_out,
    paginated,
    title_with_warnings,
    widened,
    with_fixed_layout,
)
from cl_ner_bench.analysis.figures.style import Style
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.table import VIEW_TITLES

CURVE_KINDS = {"task_macro_f1": "steps", "macro_f1": "steps_macro", "micro_f1": "steps_micro"}  # the headline first
_BOUNDS = "Dashed: joint training of the same architecture, a point at the last step where it was run there only"
Ends = list[tuple[float, MethodRow]]


def step_curves(c: Comparison, view: str, theme: Theme, measure: str = "task_macro_f1") -> ReportFigure:
    """Draw a measure after each step, mean over runs and one standard deviation as a band; a panel per architecture."""
    frame = c.scores[c.scores["view"] == view]
    panels = [(a, [r for r in c.rows if r.architecture == a]) for a in sorted({row.architecture for row in c.rows})]
    style = theme.style
    heights = [max(1.55, LABEL * len(rows) + 0.25) for _, rows in panels]
    shape = (1, len(panels)) if style.fixed else (len(panels), 1)
    ratios: dict[str, Any] = {} if style.fixed else {"height_ratios": heights}
    figure, axes = canvas(
        title_with_warnings(c),
        notes_of(c),
        style,
        shape,
        (style.column, sum(heights) + 0.75),
        sharey=True,
        sharex=True,
        **ratios,
    )
    data, ends = [], []
    for ax, (architecture, rows) in zip(axes.flat, panels, strict=True):
        found, numbers = _curves(ax, c, rows, frame, measure, theme)
        ends.append(found)
        data += [{"architecture": architecture} | line for line in numbers]
        ax.set_title(f"{architecture} methods", loc="left")
        ax.set_ylabel(NAMES[measure].title)
    _finish(axes, ends, [c.n_steps] * len(panels), theme)
    caption = f"{c.title}: {_meaning(measure)} after each step, {VIEW_TITLES[view]}. {_BOUNDS}{_band(c)}."
    return ReportFigure.of(c, CURVE_KINDS[measure], view, caption, figure, data)


def order_curves(c: Comparison, view: str, theme: Theme) -> list[ReportFigure]:
    """Draw mean task F1 after each step, a panel per order; none where there is one order."""
    if len(c.orders) < 2:
        return []
    return [_orders(c, view, page, theme) for page in _pages(c.orders, len(c.rows), theme.style, 4)]


def _orders(c: Comparison, view: str, page: Page[int], theme: Theme) -> ReportFigure:
    frame = c.scores[c.scores["view"] == view]
    figure, axes = _panels(title_with_warnings(c), notes_of(c), page, len(c.rows), theme.style)
    data, ends = [], []
    for ax, order in zip(axes.flat, page.items, strict=False):
        found, numbers = _curves(ax, c, c.rows, frame[frame["order"] == order], "task_macro_f1", theme)
        ends.append(found)
        data += [{"order": order} | line for line in numbers]
        names = " › ".join(task.name for task in c.tasks_of(order))
        ax.set_title(f"order {order}", loc="left", pad=theme.style.pt(10))
        width = theme.style.page / theme.style.scale / axes.shape[1] - 0.45
        ax.annotate(
            textwrap.shorten(names, int(width / 0.038), placeholder=" …"), (0, 1), (0, theme.style.pt(3)),
            xycoords="axes fraction", textcoords="offset points", size=theme.style.pt(5.5), color="#555555",
        )  # fmt: skip
    _finish(axes, ends, [c.n_steps] * len(page.items), theme, last_of_row=True)
    caption = (
        f"{c.title}: {_meaning('task_macro_f1')} after each step, {VIEW_TITLES[view]}, for each order of the tasks. "
        f"{_BOUNDS}{_band(c, 'the seeds of an order')}."
    )
    return ReportFigure.of(c, f"orders{page.suffix}", view, caption, figure, data)


def dataset_curves(compared: Sequence[Comparison], view: str, theme: Theme) -> list[ReportFigure]:
    """Draw mean task F1 after each step, a panel per comparison; none where there is one comparison."""
    if len(compared) < 2:
        return []
    n_names = max(len(c.rows) for c in compared)
    n_columns = 3 if theme.style.fixed else 2  # names stand beside every panel
    return [_datasets(view, page, n_names, theme) for page in _pages(compared, n_names, theme.style, n_columns)]


def _datasets(view: str, page: Page[Comparison], n_names: int, theme: Theme) -> ReportFigure:
    notes = common_notes(page.items)
    figure, axes = _panels("Datasets and scenarios", notes, page, n_names, theme.style)
    data, ends = [], []
    for ax, c in zip(axes.flat, page.items, strict=False):
        scores = c.scores[c.scores["view"] == view]
        found, numbers = _curves(ax, c, c.rows, scores, "task_macro_f1", theme)
        ends.append(found)
        what = {"dataset": c.dataset, "scenario": c.scenario, "encoder": c.encoder}
        data += [what | line for line in numbers]
        ax.set_title(textwrap.fill(title_with_warnings(c), 34), loc="left")
    _finish(axes, ends, [c.n_steps for c in page.items], theme)
    caption = (
        f"{_meaning('task_macro_f1')[0].upper()}{_meaning('task_macro_f1')[1:]} after each step, {VIEW_TITLES[view]}, "
        f"for each dataset and scenario. {_BOUNDS}; bands, where there are several runs: standard deviation over runs."
    )
    frame = pd.DataFrame(data)
    frame["notes"] = "; ".join(notes)
    return with_fixed_layout(ReportFigure(f"datasets{page.suffix}-{view}-overall", caption, figure, frame))


def _curves(
    ax: Axes, c: Comparison, rows: Iterable[MethodRow], frame: pd.DataFrame, measure: str, theme: Theme
) -> tuple[Ends, list[dict[str, Any]]]:
    """Draw a line for each row that has scores, over the steps at which it was scored; return the lines' ends and the
    numbers in them."""
    ends: Ends = []
    data = []
    for row in rows:
        stats = row.of(c.per_model(frame, measure, by=["step"])).groupby("step")[measure].agg(["mean", "std", "size"])
        if stats.empty:
            continue
        line = theme.line(row)
        steps, mean = stats.index.to_numpy(), stats["mean"].to_numpy()
        order = 3 if row.group == "reference" else 4
        ax.plot(steps, mean, **line, markevery=_every(len(steps)), clip_on=False, zorder=order)
        if len(steps) == 1 < c.n_steps:  # a point has no line to know it by
            stub = min(0.5, 0.08 * (c.n_steps - 1))
            ax.plot([steps[0] - stub, steps[0]], [mean[0], mean[0]], **line | {"marker": ""}, zorder=order)
        if (stats["size"] > 1).any():
            spread = stats["std"].fillna(0).to_numpy()
            ax.fill_between(steps, mean - spread, mean + spread, color=line["color"], alpha=0.15, linewidth=0)
        ends.append((float(mean[-1]), row))
        data += [
            {"method": row.method, "label": row.label, "step": step}
            | {f"{measure}_mean": s["mean"], f"{measure}_std": s["std"], "n": int(s["size"])}
            for step, s in stats.iterrows()
        ]
    return ends, data


def _every(n: int) -> list[int]:
    """Return the points that get a marker: of many some, the last among them, as overlapping ones look alike."""
    return list(range(n - 1, -1, -math.ceil(n / 12)))


def _pages(items: Sequence[Item], n_names: int, style: Style, n_columns: int) -> list[Page[Item]]:
    panel = (style.page / style.scale / n_columns, _panel_height(n_names))
    return paginated(items, style, panel, margins=(0, 0.7))


def _panels(title: str, notes: Sequence[str], page: Page[Any], n_names: int, style: Style) -> tuple[Figure, Axess]:
    """Return small multiples with one scale; each row is as high as its names need."""
    size = (style.page, page.shape[0] * _panel_height(n_names) + 0.5)
    return canvas(title, notes, style, page.shape, size, len(page.items), sharey=True)


def _panel_height(n_names: int) -> float:
    return max(1.3, LABEL * n_names) + 0.4


def _finish(axes: Axess, ends: Sequence[Ends], n_steps: Sequence[int], theme: Theme, last_of_row: bool = False) -> None:
    """Set one scale for all panels; write names beside the lines of each, or of the last panel of a row."""
    low, high = axes.flat[0].get_ylim()
    axes.flat[0].set_ylim(widened(10, max(low, -2), min(high, 102)))
    n_columns = axes.shape[1]
    lay_out(axes.flat[0].figure)
    for i, (ax, found, last) in enumerate(zip(axes.flat, ends, n_steps, strict=False)):
        margin = min(0.04 * max(last - 1, 1), 0.6)  # no step 0
        ax.set_xlim(1 - margin, last + margin)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=min(last, 11), min_n_ticks=1))
        if i + n_columns >= len(ends):
            ax.set_xlabel("step")
        if i % n_columns == 0 and not ax.get_ylabel():
            ax.set_ylabel(NAMES["task_macro_f1"].title)
        if not last_of_row or (i + 1) % n_columns == 0 or i + 1 == len(ends):
            label_ends(ax, found, last, theme, room=not last_of_row or (i + 1) % n_columns == 0)
    if n_columns > 1:
        for ax in axes.flat[1:]:
            if ax.get_subplotspec().colspan.start:
                ax.set_ylabel("")


def _meaning(measure: str) -> str:
    return f"{NAMES[measure].name} over the {'tasks' if measure == 'task_macro_f1' else 'types'} learned so far"


def _band(c: Comparison, over: str = "runs (order, seed)") -> str:
    return f"; bands: standard deviation over {over}" if len(c.runs) > len(c.rows) else ""
