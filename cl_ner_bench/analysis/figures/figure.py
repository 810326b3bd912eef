"""What all figures share: the figure with its numbers, its canvas with title and notes, and places for names."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

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
from cl_ner_bench.analysis.comparison.notes import notes_of, undertrained
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
        """The file's content for ``pdf``, ``png`` or ``svg``; the same figure gives the same bytes."""
        buffer = io.BytesIO()
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": "cl_ner_bench"}}
        with mpl.rc_context(RC), _lean_fonts():
            self.figure.savefig(buffer, format=suffix, metadata=metadata[suffix])
        return buffer.getvalue()


@contextmanager
def _lean_fonts() -> Iterator[None]:
    """Fonts go into a PDF without the tables that place letters: there, every letter has its place already.

    To reduce them to the letters in use takes half of the time of a report.
    """
    before = subset.Options._drop_tables_default
    subset.Options._drop_tables_default = [*before, "GDEF", "GPOS", "GSUB"]
    try:
        yield
    finally:
        subset.Options._drop_tables_default = before


@dataclass(frozen=True)
class Theme:
    """A style, and the look of every row of the results: the same in all figures of a report."""

    style: Style
    appearances: Mapping[tuple[str, str], Appearance]  # by method and config

    @classmethod
    def of(cls, compared: Iterable[Comparison], style: str) -> Theme:
        """Raises UserError for an unknown style."""
        names: dict[tuple[str, str], str] = {}
        for c in compared:
            seen: set[str] = set()
            for row in c.rows:  # a second setting of a method is another line
                names[row.method, row.config] = f"{row.method} {row.config}" if row.method in seen else row.method
                seen.add(row.method)
        found = appearances(names.values())
        return cls(style_of(style), {key: found[name] for key, name in names.items()})

    def name(self, row: MethodRow) -> dict[str, Any]:
        """How a row's name is written: in its colour, with a white edge that keeps lines out of it."""
        edge = withStroke(linewidth=self.style.pt(1.5), foreground="white")
        return {
            "color": ink(self.appearances[row.method, row.config][0]),
            "size": self.style.pt(6.5),
            "path_effects": [edge],
        }

    def line(self, row: MethodRow) -> dict[str, Any]:
        """How matplotlib draws a row's line: references thin, dashed and hollow."""
        colour, marker = self.appearances[row.method, row.config]
        if row.group != "reference":
            return {"color": colour, "marker": marker}
        thin = {"linestyle": "--", "linewidth": self.style.pt(0.9), "markerfacecolor": "white"}
        return {"color": colour, "marker": marker, **thin}


def canvas(
    title: str, notes: Sequence[str], style: Style, shape: tuple[int, int], size: tuple[float, float], **options: Any
) -> tuple[Figure, Axess]:
    """A figure with its title above and the notes below, and its axes ``[rows, columns]`` as ``shape`` says.

    ``size`` is width (inches) and height (inches in print, without the notes); a style with a fixed size overrides it.
    """
    width, height = style.page if style.fixed else size[0], size[1]
    characters = width / style.scale * 23
    lines = textwrap.wrap("; ".join(notes), int(characters))
    height = style.height if style.fixed else height + 0.105 * len(lines)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False, **options)
    for ax in axes.flat:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], nbins=7))
    figure.suptitle(
        textwrap.fill(title, int(characters * 0.68)), x=0.01, ha="left", size=style.pt(7.5), weight="bold"
    )  # fmt: skip
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", size=style.pt(5.5), color="#444444")
    return figure, axes


def title_with_warnings(c: Comparison) -> str:
    """A comparison's title, with the warnings that must not be missed."""
    starved = starved_rows(c)
    warnings = ["undertrained: do not compare"] * bool(undertrained(c))
    warnings += [f"starved by this recipe: {', '.join(starved)}"] * bool(starved)
    return c.title + (f"  ({'; '.join(warnings)})" if warnings else "")


def common_notes(compared: Sequence[Comparison]) -> list[str]:
    """The notes of all comparisons, each once, with the comparisons that it is true of where that is not all."""
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


def paged(kind: str, items: Sequence[Item], most: int) -> list[tuple[str, Sequence[Item]]]:
    """The items in pages of at most ``most``, each with its kind for the figure's name: ``kind``, ``kind2``, ..."""
    n_pages = math.ceil(len(items) / most)
    size = math.ceil(len(items) / max(n_pages, 1))
    return [(f"{kind}{n + 1 if n else ''}", items[n * size : (n + 1) * size]) for n in range(n_pages)]


def shortened(label: str) -> str:
    """A name that fits beside a line: what is longer loses its middle (its end tells settings apart)."""
    return label if len(label) <= _LONGEST else f"{label[:13]}…{label[-12:]}"


def widened(span: float, low: float, high: float) -> tuple[float, float]:
    """The range, widened to ``span`` points: a narrower one would make noise look like a result."""
    room = max(0.0, span - (high - low)) / 2
    return low - room, high + room


def label_ends(ax: Axes, ends: Sequence[tuple[float, MethodRow]], at: float, theme: Theme, room: bool = True) -> None:
    """Names beside the lines' ends (at x = ``at``), moved apart as little as need be, with a thin line to them.

    The figure must have been laid out. ``room``: whether its layout shall make room for the names (false where the
    place beside ``ax`` is empty).
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
    """Each name at the nearest place around its point where it covers neither a point, a bar nor another name.

    The figure must have been laid out. ``bars``: half the width and height of each point's bars, 0 for none.
    """
    pt, scale = theme.style.pt, ax.figure.dpi / 72
    window = ax.get_window_extent()
    where = ax.transData.transform([(x, y) for x, y, _ in points])
    half = pt(3.6) * scale
    taken = [Bbox.from_extents(px - half, py - half, px + half, py + half) for px, py in where]
    for (x, y, _), (dx, dy) in zip(points, bars, strict=True):
        for across, up in ((dx, 0.0), (0.0, dy)):
            left, right = np.clip([x - across, x + across], *ax.get_xlim())  # a log axis has no zero
            ends = ax.transData.transform([(left, y - up), (right, y + up)])
            taken.append(Bbox(ends).padded(pt(0.5) * scale))
    for (x, y, row), (px, py) in zip(points, where, strict=True):
        text = ax.text(x, y, shortened(row.label), size=pt(6.5))
        size = text.get_window_extent()
        text.remove()
        best = None
        for distance, dx, dy in _around(pt(1) * scale):
            # The box lies on the side of its point that the direction names.
            x0 = px + dx - size.width * (0.5 - 0.5 * np.sign(round(dx, 6)))
            y0 = py + dy - size.height * (0.5 - 0.5 * np.sign(round(dy, 6)))
            box = Bbox.from_bounds(x0, y0, size.width, size.height)
            inside = window.x0 <= box.x0 and box.x1 <= window.x1 and window.y0 <= box.y0 and box.y1 <= window.y1
            if inside and not any(box.overlaps(other) for other in taken):
                best = (box, distance)
                break
        box, distance = best or (size, 0)
        taken.append(box)
        leader = _LEADER | {"linewidth": pt(0.4), "shrinkB": pt(2)}
        ax.annotate(
            shortened(row.label), (x, y), ((box.x0 - px) / scale, (box.y0 - py) / scale), textcoords="offset points",
            arrowprops=leader if distance > 10 else None, ha="left", va="bottom", **theme.name(row),
        )  # fmt: skip


def _around(unit: float) -> Iterable[tuple[float, float, float]]:
    """Distances (points in print) and offsets (pixels; ``unit`` is a point) to try, the nearest first."""
    for distance in (5, 9, 14, 20, 27, 35, 45, 60, 80, 110):
        for turn in (0, 8, 4, 12, 2, 6, 14, 10, 1, 15, 7, 9, 3, 5, 11, 13):
            angle = turn * math.pi / 8
            yield distance, distance * unit * math.cos(angle), distance * unit * math.sin(angle)
