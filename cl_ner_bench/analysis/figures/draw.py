"""All figures of a report. What each shows: docs/figures.md."""

from __future__ import annotations

import matplotlib as mpl

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.figures.curves import KINDS, dataset_curves, order_curves, step_curves
from cl_ner_bench.analysis.figures.figure import Picture, Theme
from cl_ner_bench.analysis.figures.heatmaps import heat_maps
from cl_ner_bench.analysis.figures.ranks import rank_diagrams
from cl_ner_bench.analysis.figures.scatter import plane
from cl_ner_bench.analysis.figures.style import rc
from cl_ner_bench.analysis.table import VIEW_TITLES

__all__ = ["Picture", "figures"]


def figures(results: Results, style: str = "paper") -> list[Picture]:
    """The figures of each comparison and view, then those over all comparisons (their slug is ``overall``).

    Those of many panels, which take longest, are drawn for the view ``all`` only; the page draws them for both.
    What cannot be shown is left out: the plane with one step, a panel per order with one order. ``style``: ``paper`` or
    ``slides``; raises UserError for another.
    """
    compared = comparisons(results)
    theme = Theme.of(compared, style)
    drawn: list[Picture | None] = []
    with mpl.rc_context(rc(style)):
        for c in compared:
            for view in VIEW_TITLES:
                drawn += [step_curves(c, view, theme, measure) for measure in KINDS]
                drawn.append(plane(c, view, theme))
            drawn += [*order_curves(c, "all", theme), *heat_maps(c, "all", theme)]
        for view in VIEW_TITLES:
            drawn += [*dataset_curves(compared, view, theme), *rank_diagrams(results, compared, view, theme)]
    return [picture for picture in drawn if picture is not None]
