"""The parts that all figures share: the figure with its numbers, canvas, pages of panels, and places for names."""

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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from cl_ner_bench.analysis.comparison.compare import Comparison, MethodRow
from cl_ner_bench.analysis.comparison.learning import starved_rows
from cl_ner_bench.analysis.comparison.naming import few
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.comparison.undertrained import undertrained
from cl_ner_bench.analysis.figures.style import RC, Appearance, Style, appearances, ink, style_of

Item = TypeVar("Item")
Axess = np.ndarray[Any, Any]  # of Axes
_LEADER = {"arrowstyle": "-", "color": "#999999", "shrinkA": 0}
_LONGEST = 26  # characters of a name
LABEL = 0.122  # inches (in print) that a name needs from the one below


@dataclass(frozen=True)
class ReportFigure:
    """A figure and the numbers in it (unrounded), with its caption; ``name`` is ``KIND-VIEW-SLUG``."""

    name: str
    caption: str
    figure: Figure
    frame: pd.DataFrame

    @classmethod
    def of(
        cls, c: Comparison, kind: str, view: str, caption: str, figure: Figure, data: Sequence[Mapping[str, Any]]
    ) -> ReportFigure:
        """Return a comparison's finished figure, its layout fixed, so that every format shows the same."""
        frame = pd.DataFrame(data)
        frame["notes"] = "; ".join(notes_of(c))
        return with_fixed_layout(cls(f"{kind}-{view}-{c.slug}", caption, figure, frame))

    def to_bytes(self, suffix: str) -> bytes:
        """Return the file's content for ``pdf``, ``png`` or ``svg``; the same figure gives the same bytes."""
        buffer = io.BytesIO()
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": "cl_ner_bench"}}
        with mpl.rc_context(RC), _lean_fonts():
            self.figure.savefig(buffer, format=suffix, metadata=metadata[suffix])
        return buffer.getvalue()


@contextmanager
def _lean_fonts() -> Iterator[None]:
    """Leave out of a PDF's fonts the tables that place letters: in a PDF every letter has its place already.

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
    """A style, and colour and marker of every row of the results: the same in all figures of a report."""

    style: Style
    appearances: Mapping[tuple[str, str], Appearance]  # by method and config

    @classmethod
    def of(cls, compared: Iterable[Comparison], style: str) -> Theme:
        """Return the theme of a report. Raises UserError for an unknown style."""
        names: dict[tuple[str, str], str] = {}
        for c in compared:
            seen: set[str] = set()
            for row in c.rows:  # a second setting of a method is another line
                names[row.method, row.config] = f"{row.method} {row.config}" if row.method in seen else row.method
                seen.add(row.method)
        found = appearances(names.values())
        return cls(style_of(style), {key: found[name] for key, name in names.items()})

    def name(self, row: MethodRow) -> dict[str, Any]:
        """Return matplotlib's settings of a row's name: its colour, and a white edge that keeps lines out of it."""
        edge = withStroke(linewidth=self.style.pt(1.5), foreground="white")
        return {
            "color": ink(self.appearances[row.method, row.config][0]),
            "size": self.style.pt(6.5),
            "path_effects": [edge],
        }

    def line(self, row: MethodRow) -> dict[str, Any]:
        """Return matplotlib's settings of a row's line: references thin, dashed and hollow."""
        colour, marker = self.appearances[row.method, row.config]
        if row.group != "reference":
            return {"color": colour, "marker": marker}
        thin = {"linestyle": "--", "linewidth": self.style.pt(0.9), "markerfacecolor": "white"}
        return {"color": colour, "marker": marker, **thin}


@dataclass(frozen=True)
class Page(Generic[Item]):
    """The items that share a figure, a panel each. ``suffix`` of the figure's kind: nothing, ``2``, ``3``, ..."""

    suffix: str
    items: Sequence[Item]
    shape: tuple[int, int]  # rows and columns of panels


def paginated(
    items: Sequence[Item], style: Style, panel: tuple[float, float], margins: tuple[float, float]
) -> list[Page[Item]]:
    """Return the items on pages, and within a page in rows, of about equal length.

    ``panel``: width and height of one, ``margins``: of what a page holds besides panels; inches in print.
    """
    most_columns = max(1, int((style.page / style.scale - margins[0]) / panel[0] + 1e-6))
    most_rows = max(1, int((style.height / style.scale - margins[1]) / panel[1]))
    n_pages = math.ceil(math.ceil(len(items) / most_columns) / most_rows)
    size = math.ceil(len(items) / n_pages)
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
    """Return a figure with its title above and the notes below, and its axes ``[rows, columns]`` as ``shape`` says.

    ``size``: width (inches) and height (inches in print, without the notes); a style with a fixed size overrides it.
    Axes after the first ``n_panels`` are blank.
    """
    width, height = style.page if style.fixed else size[0], size[1]
    characters = width / style.scale * 23
    lines = textwrap.wrap("; ".join(notes), int(characters))
    height = style.height if style.fixed else height + 0.105 * len(lines)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False, **options)
    for ax in axes.flat:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], nbins=7))
    for ax in axes.flat[n_panels or axes.size :]:
        ax.set_axis_off()
    heading = textwrap.fill(title, int(characters * 0.68))
    figure.suptitle(heading, x=0.01, ha="left", size=style.pt(7.5), weight="bold")
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", size=style.pt(5.5), color="#444444")
    return figure, axes


def title_with_warnings(c: Comparison) -> str:
    """Return a comparison's title with the warnings that must not be missed."""
    starved, low = starved_rows(c), [found.row.label for found in undertrained(c)]
    warnings = [f"undertrained: do not compare {few(low)}"] * bool(low)
    warnings += [f"starved by this recipe: {few(starved)}"] * bool(starved)
    return c.title + (f"  ({'; '.join(warnings)})" if warnings else "")


def common_notes(compared: Sequence[Comparison]) -> list[str]:
    """Return the notes of all comparisons, each once; before a note that not all share, those that it applies to."""
    titles: dict[str, list[str]] = {}
    for c in compared:
        for note in notes_of(c):
            titles.setdefault(note, []).append(c.title)
    return [note if len(of) == len(compared) else f"{' and '.join(of)}: {note}" for note, of in titles.items()]


def with_fixed_layout(drawn: ReportFigure) -> ReportFigure:
    """Compute the layout and keep it as it is."""
    lay_out(drawn.figure)
    drawn.figure.set_layout_engine("none")
    return drawn


def lay_out(figure: Figure) -> None:
    """Compute where everything stands, without drawing it."""
    engine = figure.get_layout_engine()
    assert engine is not None  # ``canvas`` gave it one
    engine.execute(figure)


def shortened(label: str) -> str:
    """Return a name that fits beside a line: a longer one loses its middle (the end tells settings apart)."""
    return label if len(label) <= _LONGEST else f"{label[:13]}…{label[-12:]}"


def widened(span: float, low: float, high: float) -> tuple[float, float]:
    """Return the range, widened to ``span`` points: a narrower one would make noise look like a result."""
    room = max(0.0, span - (high - low)) / 2
    return low - room, high + room


def label_ends(ax: Axes, ends: Sequence[tuple[float, MethodRow]], at: float, theme: Theme, room: bool = True) -> None:
    """Write names beside the lines' ends (at x = ``at``), moved apart as little as possible, with a thin line to them.

    The figure must have been laid out. ``room``: make room for the names in the layout (false where the place
    beside ``ax`` is empty).
    """
    from sklearn.isotonic import isotonic_regression  # slow to import

    style = theme.style
    known = sorted((end for end in ends if not math.isnan(end[0])), key=lambda end: end[0])
    if not known:
        return
    low, high = ax.get_ylim()
    points = ax.get_window_extent().height * 72 / ax.figure.dpi
    gap = (high - low) * min(style.pt(8.2) / points, 1 / len(known))
    shifts = gap * np.arange(len(known))
    ordered = np.array([y for y, _ in known]) - shifts
    # Least squares under "not closer than the gap", and inside of the axes.
    places = isotonic_regression(ordered, y_min=low, y_max=max(low, high - shifts[-1])) + shifts
    for (y, row), place in zip(known, places, strict=True):
        name = ax.annotate(
            shortened(row.label), (at, y), (style.pt(12), place), textcoords=("offset points", "data"), va="center",
            annotation_clip=False, **theme.name(row),
            arrowprops=_LEADER | {"linewidth": style.pt(0.4), "shrinkB": style.pt(3), "relpos": (0, 0.5)},
        )  # fmt: skip
        name.set_in_layout(room)


def label_points(
    ax: Axes, points: Sequence[tuple[float, float, MethodRow]], bars: Sequence[tuple[float, float]], theme: Theme
) -> None:
    """Write each name at the nearest place around its point where it covers no point, no bar and no other name.

    The figure must have been laid out. ``bars``: half the width and height of each point's bars, 0 for none.
    (adjustText pushes names apart by forces: with 17 methods some still covered each other, or it took half a minute.)
    """
    pt, pixels = theme.style.pt, ax.figure.dpi / 72
    window = ax.get_window_extent()
    centres = ax.transData.transform([(x, y) for x, y, _ in points])
    half = pt(3.6) * pixels
    taken = [Bbox.from_extents(px - half, py - half, px + half, py + half) for px, py in centres]
    for (x, y, _), (dx, dy) in zip(points, bars, strict=True):
        for across, up in ((dx, 0.0), (0.0, dy)):
            left, right = np.clip([x - across, x + across], *ax.get_xlim())  # a log axis has no zero
            ends = ax.transData.transform([(left, y - up), (right, y + up)])
            taken.append(Bbox(ends).padded(pt(0.5) * pixels))
    for (x, y, row), (px, py) in zip(points, centres, strict=True):
        name = ax.annotate(shortened(row.label), (x, y), (0, 0), textcoords="offset points", **theme.name(row))
        size = name.get_window_extent()
        distance, box = 0, Bbox.from_bounds(px, py, size.width, size.height)  # where there is no free place
        for further, place in _places(px, py, size.width, size.height, pt(1) * pixels):
            inside = window.containsx(place.x0) and window.containsx(place.x1)
            inside = inside and window.containsy(place.y0) and window.containsy(place.y1)
            if inside and not any(place.overlaps(other) for other in taken):
                distance, box = further, place
                break
        taken.append(box)
        name.remove()
        leader = _LEADER | {"linewidth": pt(0.4), "shrinkB": pt(2)}
        ax.annotate(
            shortened(row.label), (x, y), ((box.x0 - px) / pixels, (box.y0 - py) / pixels), textcoords="offset points",
            arrowprops=leader if distance > 10 else None, ha="left", va="bottom", **theme.name(row),
        )  # fmt: skip


def _places(x: float, y: float, width: float, height: float, point: float) -> Iterable[tuple[int, Bbox]]:
    """Return boxes around ``x, y`` (pixels) in the order to try them, each with its distance (points in print).

    A box lies on the side that its direction names. ``point``: pixels of a point.
    """
    for distance in (5, 9, 14, 20, 27, 35, 45, 60, 80, 110):
        for turn in (0, 8, 4, 12, 2, 6, 14, 10, 1, 15, 7, 9, 3, 5, 11, 13):
            across, up = math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)
            left = x + distance * point * across - width * (0.5 - 0.5 * np.sign(round(across, 6)))
            low = y + distance * point * up - height * (0.5 - 0.5 * np.sign(round(up, 6)))
            yield distance, Bbox.from_bounds(left, low, width, height)
