"""The critical-difference diagram: mean ranks of methods over datasets (Demšar, JMLR 7, 2006)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator

from cl_ner_bench.analysis.comparison.compare import Comparison
from cl_ner_bench.analysis.comparison.statistics import ALPHA, DATASETS, DatasetRanks, dataset_ranks
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.figures.figure import (
    ReportFigure,
    Theme,
    canvas,
    common_notes,
)
from cl_ner_bench.analysis.figures.labels import LABEL, shortened
from cl_ner_bench.analysis.table import VIEW_TITLES
from cl_ner_bench.errors import UserError, require

log = logging.getLogger(__name__)


def rank_diagrams(results: Results, compared: Sequence[Comparison], view: str, theme: Theme) -> list[ReportFigure]:
    """Draw a diagram for each scenario, encoder and group with enough datasets (``statistics.dataset_ranks``).

    Without the package that draws it only a warning is logged, because a missing figure must not stop a report.
    """
    if len({c.dataset for c in compared}) < DATASETS:
        return []
    try:
        require("scikit_posthocs", "ranks", f"figure ranks-{view}-overall is not drawn")
    except UserError as error:
        log.warning(error)
        return []
    found = dataset_ranks(results, view)
    return [_diagram(ranks, compared, view, f"ranks{i if i > 1 else ''}", theme) for i, ranks in enumerate(found, 1)]


def _diagram(found: DatasetRanks, compared: Sequence[Comparison], view: str, kind: str, theme: Theme) -> ReportFigure:
    from scikit_posthocs import critical_difference_diagram

    pt = theme.style.pt
    rows = {row.label: row for c in compared for row in c.rows}
    lines = {label: theme.line(rows[label]) for label in found.ranks.index}
    room = 0.015 * (found.ranks.max() - found.ranks.min())
    notes = common_notes([c for c in compared if c.dataset in found.datasets])
    height = 0.7 + LABEL * len(found.ranks)
    figure, axes = canvas(
        f"Mean ranks over {len(found.datasets)} datasets: {found.title}", notes, theme.style, (1, 1),
        (theme.style.page, height),
    )  # fmt: skip
    ax = axes.flat[0]
    drawn = critical_difference_diagram(
        found.ranks, found.p_values, ax=ax, alpha=ALPHA, text_h_margin=room,
        label_fmt_left="{label}", label_fmt_right="{label}", label_props={"size": pt(6.5)},
        color_palette={label: line["color"] for label, line in lines.items()},
        crossbar_props={"linewidth": pt(1.5), "color": "#1A1A1A", "solid_capstyle": "butt"},
        elbow_props={"linewidth": pt(0.7)}, marker_props={"s": pt(4.5) ** 2},
    )  # fmt: skip
    for text, point in zip(drawn["labels"], drawn["markers"], strict=True):
        label = text.get_text()
        marker = MarkerStyle(lines[label]["marker"])
        point.set_paths([marker.get_path().transformed(marker.get_transform())])
        shown, rank = shortened(label), f"{found.ranks[label]:.2f}"
        text.set(text=f"{shown}  {rank}" if text.get_ha() == "right" else f"{rank}  {shown}", **theme.name(rows[label]))
    ax.spines["top"].set_visible(True)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    caption = (
        f"Mean ranks (1 = best, left) of mean task F1 over {len(found.datasets)} datasets "
        f"({', '.join(found.datasets)}; {found.title}), {VIEW_TITLES[view]}. Methods that a bar joins do not differ by "
        f"Nemenyi's test at {ALPHA:.0%} (critical difference {found.critical_difference:.2f}); Friedman's test: "
        f"p = {found.p:.2g}. References are not ranked."
    )
    data = [{"label": label, "mean_rank": rank, "n": len(found.datasets)} for label, rank in found.ranks.items()]
    return ReportFigure.of(f"{kind}-{view}-overall", caption, figure, data, notes)
