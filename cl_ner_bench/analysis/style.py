"""How figures look: one colour and marker per method wherever it appears, and sizes of a printed column."""

from __future__ import annotations

import zlib
from typing import Any

COLUMN, PAGE = 3.35, 6.9  # widths in inches: one column, and both

# Okabe and Ito's palette, told apart with every common colour blindness; markers tell in grey.
BLUE, SKY, GREEN, ORANGE, RED, PINK = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
GREY = "#4D4D4D"
_KNOWN = {
    "spankl": (BLUE, "o"),
    "spankl-nokd": (SKY, "v"),
    "extendner": (RED, "s"),
    "extendner-paper": (ORANGE, "D"),
    "finetune-span": (PINK, "^"),
    "finetune-token": (PINK, "<"),
    "frozen-span": (GREEN, "P"),
    "seqstar": (GREEN, "X"),
    "joint-span": (GREY, "*"),
    "joint-token": (GREY, "p"),
    "joint-span-warm": (GREY, "h"),
    "joint-token-warm": (GREY, "d"),
}
_OTHERS = [(colour, marker) for marker in ">8HdphD" for colour in (BLUE, RED, GREEN, ORANGE, PINK, SKY)]

RC: Any = {  # matplotlib types its keys one by one
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # text stays text
    "savefig.dpi": 220,
}


def look(method: str) -> tuple[str, str]:
    """Colour and marker of a method, by its name alone: the same in every figure of every folder."""
    return _KNOWN.get(method) or _OTHERS[zlib.crc32(method.encode()) % len(_OTHERS)]
