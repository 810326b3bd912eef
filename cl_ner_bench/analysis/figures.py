"""The figures: score per step, F1 per type over steps, and forgetting against plasticity."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cl_ner_bench.analysis.compare import Comparison, Row, comparisons
from cl_ner_bench.analysis.frames import Results
from cl_ner_bench.analysis.notes import notes_of, undertrained
from cl_ner_bench.analysis.style import COLUMN, PAGE, RC, look
from cl_ner_bench.analysis.tables import VIEW_TITLES, with_f1

MANY_TYPES = 20  # more are shown by task
_FADE = {"reference": {"linestyle": "--", "linewidth": 0.9}}


@dataclass(frozen=True)
class Picture:
    """A figure and the numbers in it (unrounded), with its caption."""

    name: str
    caption: str
    figure: Figure
    frame: pd.DataFrame

    def to_bytes(self, suffix: str) -> bytes:
        """The file's content for ``pdf`` or ``png``; the same figure gives the same bytes."""
        buffer = io.BytesIO()
        metadata = {"CreationDate": None} if suffix == "pdf" else {"Software": "cl_ner_bench"}
        with mpl.rc_context(RC):
            self.figure.savefig(buffer, format=suffix, metadata=metadata)
        return buffer.getvalue()


def figures(results: Results) -> list[Picture]:
    """All figures of a report. Without a second step nothing can be forgotten: then the plane is left out."""
    draw: tuple[Callable[[Comparison, str], Picture | None], ...] = (step_curves, heat_map, plane)
    with mpl.rc_context(RC):
        drawn = [make(c, view) for c in comparisons(results) for view in VIEW_TITLES for make in draw]
    return [picture for picture in drawn if picture is not None]


def step_curves(c: Comparison, view: str) -> Picture:
    """Macro-F1 over tasks after each step; a panel per architecture with its joint training dashed."""
    frame = c.scores[c.scores["view"] == view]
    architectures = sorted({row.architecture for row in c.rows})
    figure, axes = _canvas(c, 1, len(architectures), 2.5, PAGE if len(architectures) > 1 else COLUMN)
    data, panels = [], []
    for ax, architecture in zip(axes.flat, architectures, strict=True):
        ax.set_title(f"{architecture} methods", loc="left")
        ax.set_xlabel("step")
        ax.set_xticks(range(1, c.n_steps + 1))
        ax.margins(x=0.04)
        ends: list[tuple[float, Row]] = []
        for row in (r for r in c.rows if r.architecture == architecture):
            stats = row.of(frame).groupby("step")["task_macro_f1"].agg(["mean", "std", "size"])
            _curve(ax, row, stats, c.n_steps)
            ends.append((float(stats["mean"].iloc[-1]), row))
            data += [
                {"method": row.method, "label": row.label, "architecture": architecture, "step": step}
                | {"task_macro_f1_mean": s["mean"], "task_macro_f1_std": s["std"], "n": int(s["size"])}
                for step, s in stats.iterrows()
            ]
        panels.append((ax, ends))
    axes.flat[0].set_ylim(_at_least(10, *axes.flat[0].get_ylim()))
    for ax, ends in panels:
        _label_ends(figure, ax, ends, c.n_steps)
    axes.flat[0].set_ylabel("macro-F1 over tasks")
    caption = (
        f"{c.title}: macro-F1 over the tasks learned so far, after each step, {VIEW_TITLES[view]}. Dashed: joint "
        f"training of the same architecture, a level line where it was run at the last step only{_band(c)}."
    )
    return _picture(c, "steps", view, caption, figure, data)


def heat_map(c: Comparison, view: str) -> Picture:
    """F1 of each type (of each task where there are many types) after each step, a panel per method."""
    order = min(run["order"] for run in c.runs)
    used = [run for run in c.runs if run["order"] == order]
    counts = c.counts[(c.counts["view"] == view) & (c.counts["order"] == order)]
    unit = "type" if counts["type"].nunique() <= MANY_TYPES else "task"
    scores = with_f1(counts, unit)
    tasks = sorted(used[0]["tasks"], key=lambda t: t["learned_at"])
    names = list(dict.fromkeys(n for t in tasks for n in ([t["name"]] if unit == "task" else t["types"])))
    n_columns = min(4, len(c.rows))
    n_rows = math.ceil(len(c.rows) / n_columns)
    height = n_rows * (0.45 + 0.15 * len(names)) + 0.5
    width = min(PAGE, 0.9 + n_columns * max(1.15, 0.18 * c.n_steps))
    figure, axes = _canvas(c, n_rows, n_columns, height, max(width, COLUMN))
    colours = mpl.colormaps["cividis"].with_extremes(bad="#eeeeee")
    data = []
    for ax, row in zip(axes.flat, c.rows, strict=False):
        means = row.of(scores).pivot_table(index=unit, columns="step", values="f1", aggfunc="mean", dropna=False)
        grid = means.reindex(index=names, columns=range(1, c.n_steps + 1)).to_numpy(dtype=float)
        ax.imshow(grid, vmin=0, vmax=100, cmap=colours, aspect="auto")
        for (y, x), value in np.ndenumerate(grid):
            if not math.isnan(value):
                dark = value < 45
                ax.text(x, y, f"{value:.0f}", ha="center", va="center", size=4.8, color="w" if dark else "k")
                data.append({"method": row.method, "label": row.label, "order": order, "step": x + 1})
                data[-1] |= {unit: names[y], "f1_mean": value}
        ax.set_title(textwrap.fill(row.label, 22), loc="left")
        ax.set_xticks(range(c.n_steps), [str(k + 1) for k in range(c.n_steps)])
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(length=0, labelsize=5.5)
        ax.spines[:].set_visible(False)
    for i, ax in enumerate(axes.flat):
        ax.set_axis_off() if i >= len(c.rows) else ax.label_outer()
        if i < len(c.rows) <= i + n_columns:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("step", labelpad=1)
    of = f", order {order}" if c.n_orders > 1 else ""
    caption = (
        f"{c.title}: F1 of each {unit} (in learning order{of}) after each step, {VIEW_TITLES[view]}; mean over "
        f"n = {len({run['seed'] for run in used})} run(s). Grey: not scored or undefined."
    )
    return _picture(c, f"{unit}s", view, caption, figure, data)


def plane(c: Comparison, view: str) -> Picture | None:
    """Forgetting against plasticity (F1 right after learning), both over tasks; best is the upper left."""
    frame = c.measures[c.measures["view"] == view].dropna(subset=["forgetting", "learning"])
    rows = [row for row in c.rows if not row.of(frame).empty]
    if not rows:
        return None
    figure, axes = _canvas(c, 1, 1, 2.9, COLUMN)
    ax = axes.flat[0]
    data, points = [], []
    for row in rows:
        own = row.of(frame)[["forgetting", "learning"]]
        (x, y), (dx, dy) = own.mean(), own.std(ddof=1)
        colour, marker = look(row.method)
        hollow = {"markerfacecolor": "none"} if row.group == "reference" else {}
        error = {} if len(own) < 2 else {"xerr": dx, "yerr": dy, "elinewidth": 0.7}
        ax.errorbar(x, y, fmt=marker, color=colour, markersize=5.5, **hollow, **error)
        points.append((x, y, row))
        values = {"forgetting_mean": x, "forgetting_std": dx, "learning_mean": y, "learning_std": dy}
        data.append({"method": row.method, "label": row.label, "n": len(own), **values})
    ax.margins(0.18)
    ax.set_xlim(_at_least(5, *ax.get_xlim()))
    ax.set_ylim(_at_least(5, *ax.get_ylim()))
    ax.set_xlabel("forgetting (lower is better)")
    ax.set_ylabel("learning: F1 right after (higher is better)")
    ax.grid(linewidth=0.3, alpha=0.5)
    _label_points(figure, ax, points)
    caption = (
        f"{c.title}: forgetting (mean drop of a task's F1 from its best earlier step) against plasticity (its F1 "
        f"right after learning), {VIEW_TITLES[view]}. Hollow: joint training{_band(c, 'bars')}."
    )
    return _picture(c, "plane", view, caption, figure, data)


def _curve(ax: Axes, row: Row, stats: pd.DataFrame, n_steps: int) -> None:
    colour, marker = look(row.method)
    style: dict[str, Any] = _FADE.get(row.group, {})
    steps, mean = stats.index.to_numpy(), stats["mean"].to_numpy()
    ax.plot(steps, mean, color=colour, marker=marker, **style)
    if len(steps) < n_steps:  # joint training at the last step only: its level, as a line to read against
        ax.axhline(mean[-1], color=colour, **style)
    if (stats["size"] > 1).any():
        spread = stats["std"].fillna(0).to_numpy()
        ax.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)


def _at_least(span: float, low: float, high: float) -> tuple[float, float]:
    """The range, widened to ``span`` points: a narrower one would make noise look like a result."""
    room = max(0.0, span - (high - low)) / 2
    return low - room, high + room


def _label_ends(figure: Figure, ax: Axes, ends: Sequence[tuple[float, Row]], at: int) -> None:
    """Names beside the lines' ends, moved apart where they would overlap, with a thin line to their own."""
    figure.draw_without_rendering()
    low, high = ax.get_ylim()
    gap = (high - low) * 8.5 * figure.dpi / 72 / ax.get_window_extent().height
    known = sorted((e for e in ends if not math.isnan(e[0])), key=lambda e: e[0])
    places: list[float] = []
    for y, _ in known:
        places.append(max(y, places[-1] + gap) if places else y)
    for i in reversed(range(len(places))):  # what stands too high goes down, and pushes what is below it
        places[i] = min(places[i], high if i == len(places) - 1 else places[i + 1] - gap)
    start, end = ax.get_xlim()
    x = at + (end - start) * 13 * figure.dpi / 72 / ax.get_window_extent().width
    for (y, row), place in zip(known, places, strict=True):
        ax.annotate(
            row.label, (at, y), (x, place), va="center", color=look(row.method)[0], size=6.5, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#999999", "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
    ax.set_xlim(start, end)


def _label_points(figure: Figure, ax: Axes, points: Sequence[tuple[float, float, Row]]) -> None:
    """Each name at the nearest place around its point where it covers neither a point nor another name."""
    figure.draw_without_rendering()
    frame = ax.get_window_extent()
    taken = [mpl.transforms.Bbox.from_bounds(px - 7, py - 7, 14, 14) for px, py in _pixels(ax, points)]
    for x, y, row in points:
        for distance, turn in ((d, t) for d in (7, 14, 22, 32, 44) for t in (0, 4, 1, 7, 3, 5, 2, 6)):
            dx, dy = distance * math.cos(turn * math.pi / 4), distance * math.sin(turn * math.pi / 4)
            text = ax.annotate(
                row.label, (x, y), (dx, dy), textcoords="offset points", size=6.5, color=look(row.method)[0],
                ha="center" if turn in (2, 6) else "left" if turn in (0, 1, 7) else "right", va="center",
                arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#999999"} if distance > 10 else None,
            )  # fmt: skip
            text.get_window_extent()  # puts the name in its place; the name's own box leaves its line out
            box = mpl.text.Text.get_window_extent(text)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            box = mpl.text.Text.get_window_extent(ax.annotate(row.label, (x, y), size=6.5))
        taken.append(box)


def _pixels(ax: Axes, points: Sequence[tuple[float, float, Row]]) -> np.ndarray[Any, Any]:
    return ax.transData.transform([(x, y) for x, y, _ in points])


def _canvas(
    c: Comparison, n_rows: int, n_columns: int, height: float, width: float
) -> tuple[Figure, np.ndarray[Any, Any]]:
    """A figure (sizes in inches) with its title above and the notes below."""
    notes = textwrap.wrap("; ".join(notes_of(c)), int(width * 25))
    figure = Figure(figsize=(width, height + 0.1 * len(notes)), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    for ax in axes.flat:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    warning = "  (undertrained: do not compare)" if undertrained(c) else ""
    title = textwrap.fill(c.title + warning, int(width * 16))
    figure.suptitle(title, x=0.01, ha="left", size=7.5, weight="bold")
    if notes:
        figure.supxlabel("\n".join(notes), x=0.01, ha="left", size=5.2, color="#444444")
    return figure, axes


def _picture(c: Comparison, kind: str, view: str, caption: str, figure: Figure, data: list[dict[str, Any]]) -> Picture:
    frame = pd.DataFrame(data)
    frame["notes"] = "; ".join(notes_of(c))
    return Picture(f"{kind}-{view}-{c.slug}", caption, figure, frame)


def _band(c: Comparison, what: str = "bands") -> str:
    return f"; {what}: standard deviation over runs" if len(c.runs) > len(c.rows) else ""
