"""The parts that all figures share: a figure with its numbers and caption, the theme, the canvas and the pages."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from fontTools import subset
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.learning import starved_rows
from cl_ner_bench.analysis.comparison.naming import few
from cl_ner_bench.analysis.comparison.notes import UNDERTRAINED, notes_of
from cl_ner_bench.analysis.comparison.undertrained import undertrained
from cl_ner_bench.analysis.figures.families import families_of_all, is_bound
from cl_ner_bench.analysis.figures.style import RC, Appearance, Style, appearances, dashes, ink, style_of
from cl_ner_bench.analysis.table import noted

Item = TypeVar("Item")
Axess = np.ndarray[Any, Any]  # of Axes


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its numbers (unrounded), its caption and the notes on its limits.

    ``name`` is ``KIND-VIEW-SLUG``.
    """

    name: str
    caption: str
    figure: Figure
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: str, caption: str, figure: Figure, data: Sequence[Mapping[str, Any]], notes: Sequence[str]
    ) -> ReportFigure:
        """Return a finished figure. Its layout is fixed, so every format looks the same."""
        frame = pd.DataFrame(data).drop_duplicates(ignore_index=True)  # bounds stand in several panels
        fix_layout(figure)
        return cls(name, caption, figure, noted(frame, notes), tuple(notes))

    @property
    def kind(self) -> str:
        """Return the figure's kind without the number of its page."""
        return self.name.split("-")[0].rstrip("0123456789")

    @property
    def text(self) -> str:
        """Return the caption with every note, for the ``.txt`` file beside the figure."""
        notes = f"\n\nNotes: {'; '.join(self.notes)}." if self.notes else ""
        return f"{self.caption}{notes}\n"

    def to_bytes(self, suffix: str) -> bytes:
        """Return the figure as ``pdf``, ``png`` or ``svg``. The same figure gives the same bytes."""
        buffer = io.BytesIO()
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": "cl_ner_bench"}}
        with mpl.rc_context(RC), _lean_fonts():
            self.figure.savefig(buffer, format=suffix, metadata=metadata[suffix])
        return buffer.getvalue()


@contextmanager
def _lean_fonts() -> Iterator[None]:
    """Drop the tables that place letters from a PDF's fonts. A PDF stores the place of every letter itself.

    Reducing these tables to the letters in use takes half of the time of a report.
    """
    before = subset.Options._drop_tables_default
    subset.Options._drop_tables_default = [*before, "GDEF", "GPOS", "GSUB"]
    try:
        yield
    finally:
        subset.Options._drop_tables_default = before


@dataclass(frozen=True)
class Theme:
    """The style of a report's figures, and the colour and marker of every row in all of them."""

    style: Style
    appearances: Mapping[tuple[str, str], Appearance]  # by method and config

    @classmethod
    def of(cls, compared: Iterable[Comparison], style: str) -> Theme:
        """Return the theme of a report. Raises UserError for an unknown style."""
        names: dict[tuple[str, str], str] = {}
        bounds: set[str] = set()
        panels: list[list[MethodRow]] = []
        for c in compared:
            seen: set[str] = set()
            for row in c.rows:  # two settings of a method are two lines
                names[row.method, row.config] = f"{row.method} {row.config}" if row.method in seen else row.method
                seen.add(row.method)
            bounds |= {names[row.method, row.config] for row in c.rows if is_bound(row)}
            panels += [[row for row in panel.rows if not is_bound(row)] for panel in families_of_all(c)]
        found = appearances([[names[row.method, row.config] for row in panel] for panel in panels], bounds)
        return cls(style_of(style), {key: found[name] for key, name in names.items()})

    def name(self, row: MethodRow) -> dict[str, Any]:
        """Return matplotlib's settings of a row's name: colour, size and a white edge that covers lines behind it."""
        edge = withStroke(linewidth=self.style.pt(2), foreground="white")
        return {
            "color": ink(self.appearances[row.method, row.config][0]),
            "size": self.style.pt(6.5),
            "path_effects": [edge],
        }

    def line(self, row: MethodRow) -> dict[str, Any]:
        """Return matplotlib's settings of a row's line. Bounds are thin and dashed, with hollow markers."""
        colour, marker = self.appearances[row.method, row.config]
        if not is_bound(row):
            return {"color": colour, "marker": marker}
        thin = {"linestyle": dashes(row.method), "linewidth": self.style.pt(0.9), "markerfacecolor": "white"}
        return {"color": colour, "marker": marker, **thin}


@dataclass(frozen=True)
class Page(Generic[Item]):
    """The items of one figure, each in a panel. ``suffix`` follows the figure's kind: nothing, ``2``, ``3``, ..."""

    suffix: str
    items: Sequence[Item]
    shape: tuple[int, int]  # rows and columns of panels


def paginated(
    items: Sequence[Item], style: Style, panel: tuple[float, float], margins: tuple[float, float]
) -> list[Page[Item]]:
    """Divide the items into pages of about equal length, and each page into rows of about equal length.

    ``panel``: width and height of a panel. ``margins``: width and height on a page beside the panels. Both are inches
    in print.
    """
    most_columns = max(1, int((style.page / style.scale - margins[0]) / panel[0] + 1e-6))
    most_rows = max(1, int((style.height / style.scale - margins[1]) / panel[1]))
    n_pages = math.ceil(math.ceil(len(items) / most_columns) / most_rows)
    size = math.ceil(len(items) / n_pages)
    if n_pages > 1:
        size = math.ceil(size / most_columns) * most_columns  # whole rows
    found = []
    for n in range(n_pages):
        own = items[n * size : (n + 1) * size]
        n_rows = math.ceil(len(own) / most_columns)
        found.append(Page(str(n + 1) if n else "", own, (n_rows, math.ceil(len(own) / n_rows))))
    return found


def canvas(
    title: str,
    notes: Sequence[str],
    style: Style,
    shape: tuple[int, int],
    size: tuple[float, float],
    n_panels: int | None = None,
    **options: Any,
) -> tuple[Figure, Axess]:
    """Return a figure and its axes, ``[rows, columns]`` of ``shape``.

    An annotated style has the title above and the notes below; other styles have only the notes on undertrained runs.
    ``size``: width (inches) and height (inches in print) of the panels; a style with a fixed size overrides it.
    Axes after the first ``n_panels`` are blank.
    """
    width, height = style.page if style.fixed else size[0], size[1]
    figure = Figure(figsize=(width, style.height if style.fixed else height), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False, **options)
    for ax in axes.flat:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], nbins=7))
    for ax in axes.flat[n_panels or axes.size :]:
        ax.set_axis_off()
    characters = width / style.scale * 23
    if style.annotated:
        heading = textwrap.fill(title, int(characters * 0.68))
        figure.suptitle(heading, x=0.01, ha="left", size=style.pt(7.5), weight="bold")
    else:  # a figure may be shown without its caption, but never without this note
        notes = [note for note in notes if UNDERTRAINED in note]  # with several datasets a name stands before it
    if notes:
        lines = textwrap.wrap("; ".join(notes), int(characters))
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", size=style.pt(5.5), color="#444444")
    return figure, axes


def label_edges(axes: Axess, n_panels: int, x: str, y: str) -> None:
    """Label only the edges: x and its ticks at the last panel of each column, y and its ticks at the first of each
    row."""
    n_columns = axes.shape[1]
    for i, ax in enumerate(axes.flat[:n_panels]):
        first, last = i % n_columns == 0, i + n_columns >= n_panels
        ax.tick_params(labelbottom=last, labelleft=first)
        ax.set_xlabel(x if last else "")
        ax.set_ylabel(y if first else "")


def order_words(c: Comparison, order: int) -> str:
    """Return ``, order 0 of 3`` if there are several orders, else ''."""
    return f", order {order} of {len(c.orders)}" if len(c.orders) > 1 else ""


def title_with_warnings(c: Comparison) -> str:
    """Return a comparison's title with warnings on undertrained and starved rows."""
    starved, low = starved_rows(c), [found.row.label for found in undertrained(c)]
    warnings = [f"{UNDERTRAINED} {few(low)}"] * bool(low)
    warnings += [f"starved by this recipe: {few(starved)}"] * bool(starved)
    return c.title + (f"  ({'; '.join(warnings)})" if warnings else "")


def common_notes(compared: Sequence[Comparison]) -> list[str]:
    """Return the notes of all comparisons, each once; the titles of its comparisons precede a note not all share."""
    titles: dict[str, list[str]] = {}
    for c in compared:
        for note in notes_of(c):
            titles.setdefault(note, []).append(c.title)
    return [note if len(of) == len(compared) else f"{' and '.join(of)}: {note}" for note, of in titles.items()]


def lay_out(figure: Figure) -> None:
    """Compute the layout of a figure without drawing it."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)


def fix_layout(figure: Figure) -> None:
    """Compute the layout of a figure, and keep it.

    With a layout engine (even ``none``) matplotlib draws the figure twice for each file. At each drawing it also places
    axis labels, even empty ones.
    """
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if not axis.get_label_text():
            axis.set_label_coords(0, 0)
    lay_out(figure)
    figure.set_layout_engine(None)


def widened(span: float, low: float, high: float) -> tuple[float, float]:
    """Return the range, widened to at least ``span`` points. In a narrower range noise would look like a result."""
    room = max(0.0, span - (high - low)) / 2
    return low - room, high + room
