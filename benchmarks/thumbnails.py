"""Draw the thumbnails of docs/figures.md from the reference results: python -m benchmarks.thumbnails

The command writes ``docs/thumbnails/KIND.png`` for each kind of figure and prints the paths.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from cl_ner_bench import HOME, figures, load_results
from cl_ner_bench.analysis.figures.style import rc

REFERENCE = HOME / "results" / "reference"
OUT = HOME / "docs" / "thumbnails"
DPI = 62  # a figure as wide as a page gets 430 pixels
SOURCES = {  # folders -> kinds of figures; no reference results have the five datasets that `ranks` needs
    ("fewnerd-coarse",): ("steps", "orders", "types", "plane", "cost", "errors", "confusion", "mentions"),
    ("fewnerd", "fewnerd-coarse"): ("datasets",),
}


def main() -> list[Path]:
    """Draw the first figure of each kind, and return the paths of the thumbnails."""
    OUT.mkdir(exist_ok=True)
    written = []
    for folders, kinds in SOURCES.items():
        drawn = {p.kind: p.figure for p in reversed(figures(load_results(*(REFERENCE / name for name in folders))))}
        for kind in kinds:
            written.append(OUT / f"{kind}.png")
            with mpl.rc_context(rc()):
                drawn[kind].savefig(written[-1], dpi=DPI, metadata={"Software": "cl_ner_bench"})
    return written


if __name__ == "__main__":
    for path in main():
        print(path)
