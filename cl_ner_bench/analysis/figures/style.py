"""The style of figures: one colour and marker per method in every figure, and the sizes of a column and a slide."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cl_ner_bench.errors import UserError, did_you_mean

Appearance = tuple[str, str]  # colour and marker
Dashes = str | tuple[float, tuple[float, ...]]  # a line style of matplotlib

COLUMN, PAGE = 3.35, 6.9  # widths in inches: one column, and both
FORMATS = ("pdf", "png", "svg")

# Six colours of Okabe and Ito and two dark ones. They differ under every common colour blindness
# (tests/analysis/test_figures.py simulates it). In grey print the markers differ.
BLUE, SKY, GREEN, ORANGE, RED, PINK = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
INDIGO, BROWN = "#332288", "#6B3E00"
GREY = "#4D4D4D"  # bounds only
BEHIND = "#CFCFCF"  # methods that another panel names
COLOURS = (BLUE, RED, GREEN, PINK, INDIGO, ORANGE, BROWN, SKY)
MARKERS = tuple("osD^vP*X<>pdh8H")
_KNOWN: dict[str, Appearance] = {
    "spankl": (BLUE, "o"),
    "spankl-nokd": (SKY, "v"),
    "extendner": (RED, "s"),
    "extendner-paper": (ORANGE, "D"),
    "finetune-span": (GREY, "^"),
    "finetune-token": (GREY, "<"),
    "frozen-span": (GREEN, "P"),
    "seqstar": (INDIGO, "X"),
    "joint-span": (GREY, "*"),
    "joint-token": (GREY, "p"),
    "joint-span-warm": (GREY, "h"),
    "joint-token-warm": (GREY, "d"),
}
_OTHERS = [(c, m) for m in MARKERS for c in COLOURS if (c, m) not in _KNOWN.values()]
_OTHER_BOUNDS = [(GREY, m) for m in MARKERS if (GREY, m) not in _KNOWN.values()]
_DASHES: dict[str, Dashes] = {  # of bounds
    "joint-span": (0, (2, 1)),
    "joint-token": (0, (4, 1.5)),
    "joint-span-warm": (0, (2, 1, 1, 1)),
    "joint-token-warm": (0, (4, 1.5, 1, 1.5)),
    "finetune-span": (0, (1, 2.2)),
    "finetune-token": (0, (1, 1)),
}


@dataclass(frozen=True)
class Style:
    """The page for which figures are drawn. Sizes are given for print and multiplied by ``scale``.

    ``column`` and ``page``: widths of a narrow and a wide figure in inches. ``height``: the greatest height in inches.
    ``fixed``: every figure has the size ``page`` x ``height``, like a slide. ``annotated``: the figure contains title
    and notes; otherwise only its caption does, as in a paper.
    """

    name: str
    scale: float
    column: float
    page: float
    height: float
    fixed: bool
    annotated: bool
    dpi: int

    def pt(self, size: float) -> float:
        """Return a print size (points or inches) in this style."""
        return size * self.scale


STYLES = {
    "paper": Style("paper", 1.0, COLUMN, PAGE, 9.0, fixed=False, annotated=False, dpi=220),
    "slides": Style("slides", 2.0, 40 / 3, 40 / 3, 7.5, fixed=True, annotated=True, dpi=144),  # 1920 x 1080 pixels
}


def style_of(name: str) -> Style:
    """Return the style of that name. Raises UserError for an unknown name."""
    if name not in STYLES:
        raise UserError(f"--style {name}: expected {' or '.join(STYLES)}.{did_you_mean(name, list(STYLES))}")
    return STYLES[name]


def formats_of(text: str) -> tuple[str, ...]:
    """Return the file formats of ``--format pdf,png``, each once. Raises UserError for an unknown format."""
    names = tuple(dict.fromkeys(name for word in text.split(",") if (name := word.strip().lower())))
    for name in names or ("",):
        if name not in FORMATS:
            known = ", ".join(FORMATS)
            raise UserError(f"--format {name or text!r}: expected some of {known}.{did_you_mean(name, list(FORMATS))}")
    return names


def rc(style: str = "paper") -> Any:  # matplotlib types its keys one by one
    """Return matplotlib's settings of a style, for ``matplotlib.rc_context``."""
    page = style_of(style)
    sizes = {
        "font.size": 7,
        "axes.labelsize": 7,
        "axes.titlesize": 7.5,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "axes.linewidth": 0.6,
        "axes.titlepad": 4,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "lines.linewidth": 1.2,
        "lines.markersize": 4,
        "hatch.linewidth": 0.35,
        "figure.constrained_layout.w_pad": 0.04,
        "figure.constrained_layout.h_pad": 0.04,
    }
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are the same everywhere
        "figure.autolayout": False,
        "figure.constrained_layout.use": False,
        "axes.titley": 1.0,  # else matplotlib looks for ticks above the axes at each drawing
        "text.usetex": False,  # overrides a matplotlibrc in the current folder: names are not TeX
        "text.parse_math": False,  # a method may be called $x_1$
        "axes.spines.top": False,
        "axes.spines.right": False,
        "pdf.fonttype": 42,  # text stays text
        "svg.hashsalt": "cl_ner_bench",  # else ids are random
        "figure.dpi": page.dpi,
        "savefig.dpi": "figure",
        **{key: page.pt(size) for key, size in sizes.items()},
    }


RC: Any = rc("paper")


def appearances(panels: Iterable[Iterable[str]], bounds: Iterable[str] = ()) -> dict[str, Appearance]:
    """Return colour and marker of each method of a report, no two equal.

    Built-in methods have fixed pairs. The search for another method's pair begins at a place that its name gives. It
    prefers a colour that no other method in its ``panels`` has, then an unused marker (there are 15). ``bounds`` are
    grey.
    """
    shared = [sorted(set(panel)) for panel in panels]
    grey = set(bounds)
    found = {name: _KNOWN[name] for name in sorted({*grey, *(n for panel in shared for n in panel)}) if name in _KNOWN}
    for name in sorted(grey - found.keys()):
        found[name] = _first_free(_OTHER_BOUNDS, found.values(), ())
    for name in dict.fromkeys(name for panel in shared for name in panel if name not in found):
        beside = {other for panel in shared if name in panel for other in panel} & found.keys()
        start = _start(name)
        found[name] = _first_free([*_OTHERS[start:], *_OTHERS[:start]], found.values(), [found[n] for n in beside])
    return found


def dashes(method: str) -> Dashes:
    """Return the line style of a bound."""
    return _DASHES.get(method, (0, (6, 1.5, 1, 1.5, 1, 1.5)))


def luminance(colour: str) -> float:
    """Return the relative luminance 0..1 of ``#RRGGBB`` (WCAG 2), the grey of the colour."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def ink(colour: str) -> str:
    """Return the colour for text, darkened to a contrast of 4.5 to 1 with white (WCAG's rule for small text)."""
    share = 1.0
    while 1.05 / (luminance(_darker(colour, share)) + 0.05) < 4.5:
        share -= 0.02
    return _darker(colour, share)


def _darker(colour: str, share: float) -> str:
    return "#" + "".join(f"{round(int(colour[i : i + 2], 16) * share):02X}" for i in (1, 3, 5))


def _first_free(
    candidates: Sequence[Appearance], taken: Iterable[Appearance], beside: Iterable[Appearance]
) -> Appearance:
    """Return the first free pair with the rarest colour among ``beside``, then the rarest marker, then colour."""
    taken = set(taken)
    near = Counter(colour for colour, _ in beside)
    colours, markers = (Counter(pair[i] for pair in taken) for i in (0, 1))
    free = [pair for pair in candidates if pair not in taken] or list(candidates)
    return min(free, key=lambda pair: (near[pair[0]], markers[pair[1]], colours[pair[0]]))


def _start(method: str) -> int:
    return zlib.crc32(method.encode()) % len(_OTHERS)
