"""Cost figure: mean task F1 against training time and memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow, comparisons
from cl_ner_bench.analysis.comparison.notes import FEW, notes_of
from cl_ner_bench.analysis.comparison.statistics import may_rank
from cl_ner_bench.analysis.comparison.undertrained import undertrained_rows
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.figures.figure import ReportFigure, Theme, canvas, title_with_warnings
from cl_ner_bench.analysis.figures.scatter import bars_caption, scatter
from cl_ner_bench.analysis.figures.style import GREY, rc
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.tables.cost import COSTS, QUALITY, cost_frame, machine_notes

_DRAWN = {"peak_memory_bytes": "peak_memory_mib"}  # what a figure shows in another unit
_WIDE = 10  # a ratio of largest to smallest from which an axis is logarithmic


def cost_figures(results: Results, style: str = "paper") -> list[ReportFigure]:
    """Draw ``task_macro_f1`` (view ``all``) against training seconds and, where recorded, memory, per comparison.

    None for a comparison whose records hold no times, or whose runs no scores. Raises UserError for an unknown style.
    """
    compared = comparisons(results)
    theme = Theme.of(compared, style)
    with mpl.rc_context(rc(style)):
        drawn = [_cost_figure(c, theme) for c in compared]
    return [figure for figure in drawn if figure is not None]


def _cost_figure(c: Comparison, theme: Theme) -> ReportFigure | None:
    frame = c.per_model(cost_frame(c), *COSTS, QUALITY)
    axis_of = {"train_seconds": "training time (seconds)", "peak_memory_bytes": "peak memory (MiB)"}
    panels = {name: title for name, title in axis_of.items() if frame[name].notna().any()}
    if "train_seconds" not in panels or frame[QUALITY].isna().all():
        return None
    style, n = theme.style, len(panels)
    shape = (1, n) if style.fixed else (n, 1)
    notes = (*notes_of(c), *machine_notes(c))
    figure, axes = canvas(title_with_warnings(c), notes, style, shape, (style.column, 0.35 + 2.3 * n), sharey=True)
    data: dict[str, dict[str, Any]] = {}
    for ax, (name, title) in zip(axes.flat, panels.items(), strict=True):
        points: list[tuple[MethodRow, pd.DataFrame]] = []
        for row in c.rows:
            own = row.of(frame)[[name, QUALITY]].dropna()
            if len(own):
                points.append((row, own.assign(**{name: own[name] / COSTS[name][1]}).rename(columns=_DRAWN)))
        means = {row: own.mean() for row, own in points}
        drawn = _DRAWN.get(name, name)
        values = [mean[drawn] for mean in means.values()]
        if max(values) > _WIDE * min(values) > 0:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:,.5g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(f"{title}, {'log scale' if ax.get_xscale() == 'log' else 'lower is better'}")
        for row, mean in means.items():
            if row.group == "reference":
                level = theme.line(row) | {"linewidth": style.pt(0.5), "marker": ""}
                ax.axhline(mean[QUALITY], zorder=1, **level)
        sound = means.keys() - undertrained_rows(c)
        if may_rank(c) and not c.left_out:
            for group, rows in c.groups:
                if group != "reference":
                    _front(ax, ((means[row][drawn], means[row][QUALITY]) for row in rows if row in sound), theme)
        for line in scatter(ax, points, theme):
            data.setdefault(line["label"], {}).update(line)
    for ax in axes[:, 0]:
        ax.set_ylabel(NAMES[QUALITY].title)
    caption = (
        f"{c.title}: {NAMES[QUALITY].name} after the last step (all test sentences) against what learning cost. A step "
        "that several runs share was learned once and counts in each of them. Hollow, and dashed: joint training; "
        f"grey stairs, where all methods have the same {FEW} or more runs: none of its group reaches more for less"
        f"{bars_caption(c)}."
    )
    return ReportFigure.of(c, "cost", "all", caption, figure, list(data.values()))


def _front(ax: Axes, points: Iterable[tuple[float, float]], theme: Theme) -> None:
    """Draw stairs through the points that no other beats in both cost (lower) and quality (higher)."""
    best: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or quality > best[-1][1]:
            best.append((cost, quality))
    x, y = zip(*best, strict=True) if best else ((), ())
    ax.plot(x, y, color=GREY, alpha=0.45, linewidth=theme.style.pt(0.9), drawstyle="steps-post", zorder=2)
