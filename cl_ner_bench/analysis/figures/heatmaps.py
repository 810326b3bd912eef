"""Heat maps: the F1 of each task, or of each type, after each step."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.notes import notes_of, sample_sizes
from cl_ner_bench.analysis.figures.figure import (
    Page,
    ReportFigure,
    Theme,
    canvas,
    label_edges,
    order_words,
    paginated,
    title_with_warnings,
)
from cl_ner_bench.analysis.figures.labels import shortened
from cl_ner_bench.analysis.scores.measures import Floats
from cl_ner_bench.analysis.table import VIEW_TITLES
from cl_ner_bench.analysis.tables.scores import with_f1

MANY_TYPES = 20  # above it, F1 is shown by task only
CELL = 0.2, 0.135  # width and height (inches in print) of a number
SMALLEST = 5.5  # points in print of a number; cells that are too small have only a colour
COLOURS = mpl.colormaps["cividis"].with_extremes(bad="#f2f2f2")


def heatmaps(c: Comparison, view: str, theme: Theme) -> list[ReportFigure]:
    """Draw F1 by task, and by type if there are at most ``MANY_TYPES``; a panel per method.

    If each type is a task, only one of the two is drawn. Methods that a page cannot hold continue in further figures
    (``tasks2``, ...).
    """
    types = {type_ for task in c.runs[0].tasks for type_ in task.types}
    alike = all(task.types == [task.name] for task in c.runs[0].tasks)
    units = [] if alike else ["task"]
    units += ["type"] if len(types) <= MANY_TYPES else []
    return [drawn for unit in units or ["task"] for drawn in _heatmaps_of(c, view, unit, theme)]


def draw_cells(
    ax: Axes, percent: Floats, rows: Sequence[str], columns: Sequence[str], points: float | None, every: int = 1,
    least: float = 0,
) -> None:  # fmt: skip
    """Draw a heat map of ``percent[rows, columns]`` (0..100; nan is blank), with a name at every ``every``-th column.

    ``points``: size of the numbers in the cells; None draws only colours. Values below ``least`` get no number.
    """
    # Not by seaborn's heatmap, which draws the whole figure at each call to see whether names overlap.
    ax.spines[:].set_visible(False)
    ax.pcolormesh(np.ma.masked_invalid(percent), vmin=0, vmax=100, cmap=COLOURS, rasterized=True)
    ax.set(xlim=(0, percent.shape[1]), ylim=(percent.shape[0], 0))
    for (y, x), value in np.ndenumerate(percent):
        if points is not None and value >= least:
            ax.text(
                x + 0.5, y + 0.5, f"{value:.0f}", color="w" if value < 50 else "k", ha="center", va="center",
                size=points, in_layout=False,  # the layout is faster without numbers
            )  # fmt: skip
    ax.set_xticks(np.arange(0, len(columns), every) + 0.5, columns[::every])
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
    ax.tick_params(length=0)


def _heatmaps_of(c: Comparison, view: str, unit: str, theme: Theme) -> list[ReportFigure]:
    order = c.first_order
    counts = c.counts[(c.counts["view"] == view) & (c.counts["order"] == order)]
    scores = with_f1(counts, unit)
    names = list(dict.fromkeys(n for t in c.tasks_of(order) for n in ([t.name] if unit == "task" else t.types)))
    grids = []
    for row in c.rows:
        means = row.of(scores).pivot_table(index=unit, columns="step", values="f1", aggfunc="mean", dropna=False)
        grid = means.reindex(index=names, columns=range(1, c.n_steps + 1)).to_numpy(dtype=float)
        if not np.isnan(grid).all():
            grids.append((row, grid))
    if not grids:
        return []
    panel = (_panel_width(c.n_steps), 0.33 + CELL[1] * len(names))
    pages = paginated(grids, theme.style, panel, margins=(_names_width(names), 0.8 if theme.style.annotated else 0.3))
    sizes = {row.label: row.of(counts)["run_id"].nunique() for row in c.rows}
    caption = (
        f"{c.title}: F1 of each {unit} (from above as learned{order_words(c, order)}) after each step, "
        f"{VIEW_TITLES[view]}; mean over seeds, {sample_sizes(sizes)}. Blank: not learned yet, not scored or undefined."
    )
    return [_page(c, view, unit, caption, page, names, order, panel, theme) for page in pages]


def _page(
    c: Comparison, view: str, unit: str, caption: str, page: Page[tuple[MethodRow, Floats]], names: Sequence[str],
    order: int, panel: tuple[float, float], theme: Theme,
) -> ReportFigure:  # fmt: skip
    style, grids = theme.style, page.items
    n_rows, n_columns = page.shape
    width = _names_width(names) + n_columns * panel[0]
    readable = width <= style.page / style.scale + 1e-6
    size = (min(style.page, max(style.column, width + 0.15)), n_rows * panel[1] + 0.3)
    figure, axes = canvas(title_with_warnings(c), notes_of(c), style, page.shape, size, len(grids), sharey=True)
    data: list[dict[str, Any]] = []
    for ax, (row, grid) in zip(axes.flat, grids, strict=False):
        points, every = (style.pt(SMALLEST), 1) if readable else (None, math.ceil(c.n_steps / 8))
        draw_cells(ax, grid, list(map(shortened, names)), list(map(str, range(1, c.n_steps + 1))), points, every)
        for (y, x), value in np.ndenumerate(grid):
            if not math.isnan(value):
                what = {"method": row.method, "label": row.label, "order": order, "step": x + 1}
                data.append(what | {unit: names[y], "f1_mean": value})
        ax.set_title(textwrap.fill(shortened(row.label), int(panel[0] / 0.062)), loc="left")
        ax.tick_params(labelsize=style.pt(6))
    label_edges(axes, len(grids), "step", "")
    figure.supylabel(f"{unit}s{order_words(c, order)}", size=style.pt(7))
    if not readable:
        figure.colorbar(ScalarMappable(Normalize(0, 100), COLOURS), ax=axes, label="F1", fraction=0.03, pad=0.02)
    return ReportFigure.of(f"{unit}s{page.suffix}-{view}-{c.slug}", caption, figure, data, notes_of(c))


def _names_width(names: Sequence[str]) -> float:
    return 0.3 + 0.052 * max(len(shortened(name)) for name in names)


def _panel_width(n_steps: int) -> float:
    return max(1.15, CELL[0] * n_steps) + 0.12
