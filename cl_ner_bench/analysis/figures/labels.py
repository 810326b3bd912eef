"""The placing of methods' names beside the ends of lines and around points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from cl_ner_bench.analysis.comparison.compare import MethodRow
from cl_ner_bench.analysis.figures.figure import Theme
from cl_ner_bench.analysis.scores.measures import Floats

LABEL = 0.122  # inches (in print) from a name to the one below
_LEADER = {"arrowstyle": "-", "color": "#999999", "shrinkA": 0}
_LONGEST = 26  # characters of a name
_NEAR = 10  # up to this distance (points in print) a name needs no line to its point


def shortened(label: str) -> str:
    """Return a name that fits beside a line. A longer name loses its middle, because its end tells settings apart."""
    return label if len(label) <= _LONGEST else f"{label[:13]}…{label[-12:]}"


def label_ends(ax: Axes, ends: Sequence[tuple[float, MethodRow]], at: float, theme: Theme, room: bool = True) -> None:
    """Write names beside the lines' ends (at x = ``at``), moved apart as little as possible and joined by thin lines.

    The figure must have been laid out. ``room``: make room for the names in the layout (False if the place beside
    ``ax`` is empty).
    """
    style = theme.style
    known = sorted((end for end in ends if not math.isnan(end[0])), key=lambda end: end[0])
    if not known:
        return
    low, high = ax.get_ylim()
    points = ax.get_window_extent().height * 72 / ax.figure.dpi
    gap = (high - low) * min(style.pt(8.2) / points, 1 / len(known))
    shifts = gap * np.arange(len(known))
    ordered = np.array([y for y, _ in known]) - shifts
    # Least squares with at least ``gap`` between names, inside the axes.
    places = np.clip(rising(ordered), low, max(low, high - shifts[-1])) + shifts
    for (y, row), place in zip(known, places, strict=True):
        name = ax.annotate(
            shortened(row.label), (at, y), (style.pt(12), place), textcoords=("offset points", "data"), va="center",
            annotation_clip=False, **theme.name(row),
            arrowprops=_LEADER | {"linewidth": style.pt(0.4), "shrinkB": style.pt(3), "relpos": (0, 0.5)},
        )  # fmt: skip
        name.set_in_layout(room)


def rising(values: Iterable[float]) -> Floats:
    """Return the non-decreasing numbers that are nearest to ``values`` by least squares.

    (It pools falling neighbours, like ``scipy.optimize.isotonic_regression``, whose import takes half a second.)
    """
    pools: list[tuple[float, int]] = []  # sum and number
    for value in values:
        total, n = value, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / n:
            more, of = pools.pop()
            total, n = more + total, of + n
        pools.append((total, n))
    return np.repeat([total / n for total, n in pools], [n for _, n in pools])


def label_points(
    ax: Axes, points: Sequence[tuple[float, float, MethodRow]], bars: Sequence[tuple[float, float]], theme: Theme
) -> None:
    """Write each name at the nearest place around its point at which it covers no point, bar, line or other name.

    Names without a free place are left out; the lower right corner gives their number. The figure must have been laid
    out. ``bars``: half the width and height of each point's bars, 0 without bars. (adjustText pushes names apart by
    forces. With 17 methods names still covered each other, or it took half a minute.)
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
    taken += [box.padded(pt(0.8) * pixels) for line in ax.lines for box in _stretches(line)]
    names: list[Bbox] = []
    leaders: list[Path] = []
    for (x, y, row), (px, py) in zip(points, centres, strict=True):
        name = ax.annotate(shortened(row.label), (x, y), (0, 0), textcoords="offset points", **theme.name(row))
        size = name.get_window_extent()
        name.remove()
        distance, box = 0, Bbox.from_bounds(px, py, size.width, size.height)
        line_to = Path([(px, py), (px, py)])
        for further, place in _places(px, py, size.width, size.height, pt(1) * pixels):
            inside = window.containsx(place.x0) and window.containsx(place.x1)
            inside = inside and window.containsy(place.y0) and window.containsy(place.y1)
            if not inside or any(place.overlaps(other) for other in taken):
                continue
            leader = Path([(px, py), (min(max(px, place.x0), place.x1), min(max(py, place.y0), place.y1))])
            struck = any(other.intersects_bbox(place, filled=False) for other in leaders)
            struck = struck or any(leader.intersects_bbox(other, filled=False) for other in names)
            if not struck or not distance:  # without a better place the line may cross a name
                distance, box, line_to = further, place, leader
            if not struck:
                break
        if not distance:
            continue
        if distance > _NEAR:
            leaders.append(line_to)
        taken.append(box)
        names.append(box)
        line = _LEADER | {"linewidth": pt(0.4), "shrinkB": pt(2)}
        name = ax.annotate(
            shortened(row.label), (x, y), ((box.x0 - px) / pixels, (box.y0 - py) / pixels), textcoords="offset points",
            arrowprops=line if distance > _NEAR else None, ha="left", va="bottom", **theme.name(row),
        )  # fmt: skip
        name.set_in_layout(False)
    if left_out := len(points) - len(names):
        said = f"{left_out} more without room for a name"
        ax.text(0.99, 0.01, said, transform=ax.transAxes, ha="right", va="bottom", size=pt(5.5), color="#444444")


def _stretches(line: Line2D) -> Iterator[Bbox]:
    """Yield boxes (pixels) around the segments of a level line or of stairs; nothing for points."""
    if line.get_linestyle() == "None":
        return
    places = line.get_transform().transform(line.get_xydata())
    for (x, y), (next_x, next_y) in pairwise(places):
        yield Bbox([(x, y), (next_x, y)])
        yield Bbox([(next_x, y), (next_x, next_y)])


def _places(x: float, y: float, width: float, height: float, point: float) -> Iterable[tuple[int, Bbox]]:
    """Yield boxes around ``x, y`` (pixels) in the order to try them, each with its distance (points in print).

    ``point``: pixels per point.
    """
    for distance in (5, 9, 14, 20, 27, 35, 45, 60, 80, 110):
        for turn in (0, 8, 4, 12, 2, 6, 14, 10, 1, 15, 7, 9, 3, 5, 11, 13):
            across, up = math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)
            left = x + distance * point * across - width * (0.5 - 0.5 * np.sign(round(across, 6)))
            low = y + distance * point * up - height * (0.5 - 0.5 * np.sign(round(up, 6)))
            yield distance, Bbox.from_bounds(left, low, width, height)
