"""All figures of a report. docs/figures.md describes them."""

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
    """Draw all figures of `bench report`: scores, errors and cost.

    Figures of each comparison and view come first, then figures over all comparisons (slug ``overall``). Figures of
    many panels take longest and are drawn for view ``all`` only; the page draws them for both views. Figures without
    content are left out, such as forgetting with one step. ``style`` is ``paper`` or ``slides``; raises UserError for
    another.
    """
    return [figure for draw in drawings(results, style) for figure in draw()]


def drawings(results: Results, style: str = "paper") -> list[Draw]:
    """Return functions that each draw some of ``figures``. Any process may call them, in any order."""
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
    error_analyses(results)  # cached here for all drawing processes and for the tables
    found += [partial(error_figures, results, style, (kind,)) for kind in ERROR_KINDS]
    return [*found, partial(cost_figures, results, style)]


def _draw(style: str, draw: Any, *given: Any) -> list[ReportFigure]:
    with mpl.rc_context(rc(style)):
        return [*draw(*given)]
