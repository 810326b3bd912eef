"""All figures of a report. Their contents: docs/figures.md."""

from __future__ import annotations

import matplotlib as mpl

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.figures.cost import cost_figures
from cl_ner_bench.analysis.figures.curves import CURVE_KINDS, dataset_curves, order_curves, step_curves
from cl_ner_bench.analysis.figures.errors import error_figures
from cl_ner_bench.analysis.figures.figure import ReportFigure, Theme
from cl_ner_bench.analysis.figures.heatmaps import heatmaps
from cl_ner_bench.analysis.figures.ranks import rank_diagrams
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
    compared = comparisons(results)
    theme = Theme.of(compared, style)
    drawn: list[ReportFigure] = []
    with mpl.rc_context(rc(style)):
        for c in compared:
            for view in VIEW_TITLES:
                for measure in CURVE_KINDS:
                    drawn += step_curves(c, view, theme, measure)
                drawn += forgetting_scatter(c, view, theme)
            drawn += [*new_type_scatter(c, theme), *order_curves(c, "all", theme), *heatmaps(c, "all", theme)]
        for view in VIEW_TITLES:
            drawn += [*dataset_curves(compared, view, theme), *rank_diagrams(results, compared, view, theme)]
    return [*drawn, *error_figures(results, style), *cost_figures(results, style)]
