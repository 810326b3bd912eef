"""All figures of a report. Their contents: docs/figures.md."""

from __future__ import annotations

from functools import partial
from typing import Any

import matplotlib as mpl

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.errors.breakdown import error_analyses
from cl_ner_bench.analysis.figures.cost import cost_figures
from cl_ner_bench.analysis.figures.curves import CURVE_KINDS, dataset_curves, order_curves, step_curves
from cl_ner_bench.analysis.figures.errors import ERROR_KINDS, error_figures
from cl_ner_bench.analysis.figures.figure import ReportFigure, Theme
from cl_ner_bench.analysis.figures.heatmaps import heatmaps
from cl_ner_bench.analysis.figures.ranks import rank_diagrams
from cl_ner_bench.analysis.figures.rendering import Draw
from cl_ner_bench.analysis.figures.scatter import forgetting_scatter, new_type_scatter
from cl_ner_bench.analysis.figures.style import rc
from cl_ner_bench.analysis.table import VIEW_TITLES

__all__ = ["ReportFigure", "figures"]


def figures(results: Results, style: str = "paper") -> list[ReportFigure]:
    """Draw the figures of each comparison and view, then those over all comparisons (their slug is ``overall``).

    All that `bench report` draws: scores, errors and cost. Figures of many panels, which take longest, are drawn for
    view ``all`` only; the page draws them for both views. Figures without content are left out: forgetting with one
    step, a panel per order with one order. ``style``: ``paper`` or ``slides``; raises UserError for another.
    """
    return [figure for draw in drawings(results, style) for figure in draw()]


def drawings(results: Results, style: str = "paper") -> list[Draw]:
    """Return what draws the figures of ``figures``, some at each call; any of the calls may be made anywhere."""
    compared = comparisons(results)
    theme = Theme.of(compared, style)
    found: list[Draw] = []

    def add(draw: Any, *given: Any) -> None:
        found.append(partial(_draw, style, draw, *given))

    for c in compared:
        for view in VIEW_TITLES:
            for measure in CURVE_KINDS:
                add(step_curves, c, view, theme, measure)
            add(forgetting_scatter, c, view, theme)
        add(new_type_scatter, c, theme)
        add(order_curves, c, "all", theme)
        add(heatmaps, c, "all", theme)
    for view in VIEW_TITLES:
        add(dataset_curves, compared, view, theme)
        add(rank_diagrams, results, compared, view, theme)
    error_analyses(results)  # which all processes that draw, and tables, need
    found += [partial(error_figures, results, style, (kind,)) for kind in ERROR_KINDS]
    return [*found, partial(cost_figures, results, style)]


def _draw(style: str, draw: Any, *given: Any) -> list[ReportFigure]:
    with mpl.rc_context(rc(style)):
        return [*draw(*given)]
