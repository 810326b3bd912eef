"""Cost figure: mean task F1 against training time and memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from cl_ner_bench.analysis.comparison.compare import Comparison, comparisons
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.comparison.statistics import may_rank
from cl_ner_bench.analysis.comparison.undertrained import undertrained_rows
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.figures.families import families_of_all
from cl_ner_bench.analysis.figures.figure import Page, ReportFigure, Theme, canvas, paginated, title_with_warnings
from cl_ner_bench.analysis.figures.scatter import PANEL, Cloud, Points, bars_caption, scatter
from cl_ner_bench.analysis.figures.style import GREY, rc
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.tables.cost import COSTS, QUALITY, cost_frame, machine_notes

_AXES = {"train_seconds": "training time (seconds)", "peak_memory_bytes": "peak memory (MiB)"}
_DRAWN = {"peak_memory_bytes": "peak_memory_mib"}  # costs that figures show in another unit
_WIDE = 10  # an axis is logarithmic above this ratio of largest to smallest value


def cost_figures(results: Results, style: str = "paper") -> list[ReportFigure]:
    """Draw ``task_macro_f1`` (view ``all``) against training seconds and (if recorded) memory, for each comparison.

    A comparison without times or without scores has no figure. Raises UserError for an unknown style.
    """
    compared = comparisons(results)
    theme = Theme.of(compared, style)
    with mpl.rc_context(rc(style)):
        return [figure for c in compared for figure in _cost_figures(c, theme)]


def _cost_figures(c: Comparison, theme: Theme) -> list[ReportFigure]:
    frame = c.per_model(cost_frame(c), *COSTS, QUALITY)
    shown = [name for name in _AXES if frame[name].notna().any()]
    if "train_seconds" not in shown or frame[QUALITY].isna().all():
        return []
    style, n = theme.style, len(shown)
    families = [
        family for family in families_of_all(c) if not all(row.of(frame)[QUALITY].isna().all() for row in family.rows)
    ]
    if len(families) > 1:
        pages = paginated(families, style, (style.page / style.scale, PANEL), margins=(0, 0.8 * style.annotated))
        pages = [Page(page.suffix, page.items, (len(page.items), n)) for page in pages]
    else:
        pages = [Page("", families, (1, n) if style.fixed else (n, 1))]
    notes = (*notes_of(c), *machine_notes(c))
    ranked = may_rank(c) and not c.left_out
    stairs = " Grey stairs: none of its group reaches more for less." if ranked else ""
    grey = " Light grey: the methods of the other panels." if len(families) > 1 else ""
    caption = (
        f"{c.title}: {NAMES[QUALITY].name} after the last step (all test sentences) against what learning cost. A step "
        "that several runs share was learned once and counts in each of them. Grey and hollow, with a line at its "
        f"level: joint training.{stairs}{grey}{bars_caption(c)}"
    )
    found = []
    for page in pages:
        size = (style.column if len(families) == 1 else style.page, PANEL * page.shape[0])
        figure, axes = canvas(title_with_warnings(c), notes, style, page.shape, size, sharey=True)
        data: dict[str, dict[str, Any]] = {}
        clouds = []
        for i, ax in enumerate(axes.flat):
            family = page.items[i // n if len(families) > 1 else 0]
            cloud = Cloud(ax, family, _points(c, frame, shown[i % n]))
            ax.set_title(family.title, loc="left")
            _prepare(cloud, shown[i % n], theme)
            if ranked:
                means = {row: own.mean() for row, own in cloud.points.items()}
                sound = means.keys() - undertrained_rows(c)
                for group, rows in c.groups:
                    if group != "reference" and {*rows} & {*family.rows}:
                        _front(ax, (tuple(means[row]) for row in rows if row in sound), theme)
            clouds.append(cloud)
        for ax in axes[:, 0]:
            ax.set_ylabel(NAMES[QUALITY].title)
        for line in scatter(clouds, theme):
            data.setdefault(line["label"], {}).update(line)
        found.append(ReportFigure.of(f"cost{page.suffix}-all-{c.slug}", caption, figure, list(data.values()), notes))
    return found


def _points(c: Comparison, frame: pd.DataFrame, name: str) -> Points:
    """Return a cost (in the unit of its axis) and the quality of each row that has both."""
    found = {}
    for row in c.rows:
        own = row.of(frame)[[name, QUALITY]].dropna()
        if len(own):
            found[row] = own.assign(**{name: own[name] / COSTS[name][1]}).rename(columns=_DRAWN)
    return found


def _prepare(cloud: Cloud, name: str, theme: Theme) -> None:
    """Scale and name the axis of a cost; draw the level of joint training."""
    ax = cloud.ax
    values = [own.mean().iloc[0] for own in cloud.points.values()]
    if max(values) > _WIDE * min(values) > 0:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:,.5g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"{_AXES[name]}, {'log scale' if ax.get_xscale() == 'log' else 'lower is better'}")
    for row in cloud.family.rows:
        if row.group == "reference" and row in cloud.points:
            level = theme.line(row) | {"linewidth": theme.style.pt(0.5), "marker": ""}
            ax.axhline(cloud.points[row].mean()[QUALITY], zorder=1, **level)


def _front(ax: Axes, points: Iterable[tuple[float, float]], theme: Theme) -> None:
    """Draw stairs through the points that no other point beats in both cost (lower) and quality (higher)."""
    best: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or quality > best[-1][1]:
            best.append((cost, quality))
    if not best:
        return
    x, y = zip(*best, strict=True)
    ax.plot(x, y, color=GREY, alpha=0.45, linewidth=theme.style.pt(0.9), drawstyle="steps-post", zorder=2)
