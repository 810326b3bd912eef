"""The figures of the error analysis: lost F1 over steps, confusion of types, forgetting by attributes of mentions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow, comparisons
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.errors.breakdown import VIEW, ErrorAnalysis, error_analyses
from cl_ner_bench.analysis.figures.families import Family, families_of_all
from cl_ner_bench.analysis.figures.figure import (
    ReportFigure,
    Theme,
    canvas,
    label_edges,
    order_words,
    paginated,
    title_with_warnings,
)
from cl_ner_bench.analysis.figures.heatmaps import COLOURS, draw_cells
from cl_ner_bench.analysis.figures.labels import shortened
from cl_ner_bench.analysis.figures.style import BEHIND, BLUE, GREEN, ORANGE, PINK, RED, SKY, rc

# Kinds, colour and hatch from the bottom up. For grey print, neighbours differ in lightness and hatch.
LAYERS = {
    "micro-F1": (("micro_f1",), "#e4e4e4", ""),
    "old as O (E2O)": (("old-as-O",), BLUE, "///"),
    "old as a new type": (("old-as-new",), SKY, "----"),
    "old as another old type": (("old-as-old",), "#1b4f3a", ""),
    "new, lost": (("new-as-O", "new-as-new", "new-as-old"), "#9bd6c0", "\\\\\\"),
    "wrong boundary": (("old-boundary", "new-boundary", "false-boundary"), GREEN, "|||"),
    "O or old as new (O2E)": (("false-O-as-new", "false-old-as-new"), RED, "xxx"),
    "other wrong type": (("false-type",), ORANGE, "..."),
    "O as an old type": (("false-spurious",), PINK, "++"),
}
LEGEND = 1.45  # inches in print
CELL = 0.19, 0.14  # width and height (inches in print) of a number in the heat map


ERROR_KINDS = ("errors", "confusion", "mentions")


def error_figures(results: Results, style: str = "paper", kinds: Sequence[str] = ERROR_KINDS) -> list[ReportFigure]:
    """Draw the figures of ``kinds``. A figure that needs several pages continues as ``confusion2``, ..."""
    draws = dict(zip(ERROR_KINDS, (lost_f1, confusions, attributes), strict=True))
    theme = Theme.of(comparisons(results), style)
    found: list[ReportFigure] = []
    with mpl.rc_context(rc(style)):
        for a in error_analyses(results):
            found += [figure for kind in kinds for figure in draws[kind](a, theme)]
    return found


def lost_f1(a: ErrorAnalysis, theme: Theme) -> list[ReportFigure]:
    """Draw micro-F1 and the points lost to each kind of error after each step, stacked to 100; a panel per method."""
    style, n_steps = theme.style, a.c.n_steps
    width, height = max(1.35, 0.13 * n_steps), 1.35
    found = []
    measured = [row for row in a.c.rows if len(row.of(a.steps))]
    for page in paginated(measured, style, (width, height), margins=(LEGEND, 0.9 if style.annotated else 0.3)):
        (n_rows, n_columns), rows = page.shape, page.items
        size = (min(style.page, max(style.column, n_columns * width + LEGEND)), n_rows * height + 0.25)
        figure, axes = canvas(
            title_with_warnings(a.c), notes_of(a.c), style, page.shape, size, len(rows), sharex=True, sharey=True
        )
        data: list[dict[str, Any]] = []
        for ax, row in zip(axes.flat, rows, strict=False):
            means = row.of(a.steps).groupby("step").mean(numeric_only=True)
            base = np.zeros(len(means))
            for name, (kinds, colour, hatch) in LAYERS.items():
                values = means[list(kinds)].sum(axis=1).to_numpy()
                bars = ax.bar(
                    means.index, values, bottom=base, width=0.86, color=colour, label=name, linewidth=0, hatch=hatch,
                    edgecolor="white",
                )  # fmt: skip
                for bar in bars:
                    bar.set_in_layout(False)  # the layout is faster without bars, which stay inside the panel
                base = base + values
                data += [
                    {"method": row.method, "label": row.label, "step": int(step), "layer": name, "points_mean": value}
                    for step, value in zip(means.index, values, strict=True)
                ]
            _title_panel(ax, row, width)
            ax.set_xlim(0.4, n_steps + 0.6)
            ax.set_ylim(0, 100)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        label_edges(axes, len(rows), "step", "points of micro-F1")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False, fontsize=style.pt(6.2))
        caption = (
            f"{a.c.title}: micro-F1 after each step and where the rest of the 100 points went, all test sentences; "
            "mean over runs. Old: learned in an earlier step; new: in this one."
        )
        name = f"errors{page.suffix}-{VIEW}-{a.c.slug}"
        found.append(ReportFigure.of(name, caption, figure, data, (*notes_of(a.c), *a.notes)))
    return found


def confusions(a: ErrorAnalysis, theme: Theme) -> list[ReportFigure]:
    """Draw the confusion of types (or tasks) after the last step; a panel per method."""
    style, rows = theme.style, [row for row, found in a.confusion.items() if not np.isnan(found.share).all()]
    if not rows:
        return []
    order = order_words(a.c, a.order)
    names = [shortened(name) for name in (*a.confusion[rows[0]].names, "O")]
    longest = 0.05 * max(map(len, names)) + 0.3
    bar = 0.45  # inches in print of the colour bar
    width, height = max(1.15, CELL[0] * len(names)) + 0.1, CELL[1] * len(names) + 0.35
    found = []
    for page in paginated(rows, style, (width, height), margins=(longest + bar, longest + 0.5 * style.annotated)):
        (n_rows, n_columns), chosen = page.shape, page.items
        needed = n_columns * width + longest + bar
        size = (min(style.page, max(style.column, needed)), n_rows * height + longest + 0.15)
        figure, axes = canvas(title_with_warnings(a.c), notes_of(a.c), style, page.shape, size, len(chosen))
        readable = style.page / style.scale >= needed - 1e-6
        data: list[dict[str, Any]] = []
        for ax, row in zip(axes.flat, chosen, strict=False):
            share = a.confusion[row].share
            draw_cells(ax, share, names, names, style.pt(5.3) if readable else None, least=0.5)
            for (y, x), value in np.ndenumerate(share):
                what = {"method": row.method, "label": row.label, "order": a.order, "gold": names[y]}
                data.append(what | {"predicted": names[x], "share_mean": value})
            _title_panel(ax, row, width)
            ax.tick_params(axis="x", labelrotation=90)
            ax.tick_params(labelsize=style.pt(5.5))
        label_edges(axes, len(chosen), "predicted", "")
        figure.supylabel(f"gold{order}", size=style.pt(7))
        figure.colorbar(
            ScalarMappable(Normalize(0, 100), COLOURS), ax=axes, label="% of the row", fraction=0.03, pad=0.02
        )
        caption = (
            f"{a.c.title}: percent of the gold mentions of each {a.unit} (rows, as learned{order}) that were "
            f"predicted as each {a.unit} (columns) after the last step; wrong boundaries stand on the diagonal. Last "
            "row: false positives where no gold mention was lost. Less than 0.5 has no number."
        )
        name = f"confusion{page.suffix}-{VIEW}-{a.c.slug}"
        found.append(ReportFigure.of(name, caption, figure, data, (*notes_of(a.c), *a.notes)))
    return found


def attributes(a: ErrorAnalysis, theme: Theme) -> list[ReportFigure]:
    """Draw the recall lost since a mention's type was learned, by attributes of the mention; no figure without data."""
    if a.bins.empty or a.bins["learned"].isna().all():
        return []
    families = families_of_all(a.c)
    frame = a.bins.assign(drop=a.bins["learned"] - a.bins["end"]).dropna(subset=["drop"])
    # An attribute with a single bin shows nothing.
    attributes = [(name, of) for name, of in frame.groupby("attribute", sort=False) if of["bin"].nunique() > 1]
    spread = " Bands: one standard deviation over runs." if len(a.c.runs) > len(a.c.rows) else ""
    grey = " Light grey: the methods of the other figures." if len(families) > 1 else ""
    caption = (
        f"{a.c.title}: recall right after learning minus recall after the last step (points), of test mentions of "
        "types learned before the last step, by attributes of the mention and of its type. Negative: found later."
        f"{grey}{spread}"
    )
    notes = (*notes_of(a.c), *a.notes)
    found: list[ReportFigure] = []
    for family in families:
        if attributes and any(len(row.of(frame)) for row in family.rows):
            figure, data = _attributes_of(a.c, family, attributes, theme, notes)
            name = f"mentions{len(found) + 1 if found else ''}-{VIEW}-{a.c.slug}"
            found.append(ReportFigure.of(name, caption, figure, data, notes))
    return found


def _attributes_of(
    c: Comparison, family: Family, attributes: Sequence[tuple[Any, pd.DataFrame]], theme: Theme, notes: Sequence[str]
) -> tuple[Figure, list[dict[str, Any]]]:
    """Draw a panel per attribute with the methods of a family, and return the figure and its numbers."""
    style = theme.style
    shape = (math.ceil(len(attributes) / 3), min(3, len(attributes)))
    size = (style.page, shape[0] * 1.75 + 0.1)
    figure, axes = canvas(title_with_warnings(c), notes, style, shape, size, len(attributes), sharey=True)
    data: list[dict[str, Any]] = []
    handles: dict[str, Any] = {}
    for ax, (attribute, of) in zip(axes.flat, attributes, strict=False):
        bins = list(dict.fromkeys(of["bin"]))
        drops = of.groupby(["method", "config", "bin"], sort=False)["drop"].agg(["mean", "std", "size"])
        by_row = {key: own.droplevel(["method", "config"]) for key, own in drops.groupby(level=["method", "config"])}
        ax.axhline(0, color="#999999", linewidth=style.pt(0.5), zorder=1.5)
        for row in family.behind:
            if (row.method, row.config) in by_row:
                behind = by_row[row.method, row.config]["mean"].reindex(bins)
                ax.plot(range(len(bins)), behind, color=BEHIND, linewidth=style.pt(0.6), zorder=1)
        for row in family.rows:
            if (row.method, row.config) not in by_row:
                continue
            own = by_row[row.method, row.config].reindex(bins)
            (handles[row.label],) = ax.plot(range(len(bins)), own["mean"], **theme.line(row))
            if (own["size"] > 1).any():
                low, high = own["mean"] - own["std"].fillna(0), own["mean"] + own["std"].fillna(0)
                low, high = low.clip(-100, 100), high.clip(-100, 100)
                ax.fill_between(range(len(bins)), low, high, color=theme.line(row)["color"], alpha=0.15, linewidth=0)
            data += [
                {"method": row.method, "label": row.label, "attribute": attribute, "bin": name}
                | {"drop_mean": s["mean"], "drop_std": s["std"], "n": s["size"]}
                for name, s in own.iterrows()
            ]
        ax.set_xticks(range(len(bins)), bins)
        ax.set_xlim(-0.3, len(bins) - 0.7)
        ax.set_xlabel(textwrap.fill(str(attribute), 34))
    for ax in axes[:, 0]:
        ax.set_ylabel("recall lost")
    figure.legend(
        list(handles.values()), list(map(shortened, handles)), loc="outside right center", frameon=False,
        fontsize=style.pt(6.2), title=family.title or None, title_fontsize=style.pt(6.2), handlelength=3,
    )  # fmt: skip
    return figure, data


def _title_panel(ax: Axes, row: MethodRow, width: float) -> None:
    """Write the method's name, in lines that fit a panel of ``width`` inches in print."""
    ax.set_title(textwrap.fill(shortened(row.label), int(width * 14)), loc="left")
