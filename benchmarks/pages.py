"""The tables in README.md and docs/ that follow from stored results, written again.

    python -m benchmarks.pages            write them
    python -m benchmarks.pages --check    write nothing; exit code 1 if a page holds another table

Such a table stands between ``<!-- table of: python -m benchmarks.MODULE ARGUMENTS -->`` and ``<!-- end -->``, and
is what this command prints.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import comparison, epoch_choice, tuned

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MODULES: Mapping[str, Callable[[Sequence[str]], str]] = {
    "comparison": comparison.printed,
    "epoch_choice": epoch_choice.printed,
    "tuned": tuned.printed,
}
TABLE = re.compile(
    rf"(<!-- table of: python -m benchmarks\.({'|'.join(MODULES)})((?: \S+)*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL
)


def written_again(text: str) -> str:
    """Return a page with the tables that the stored results give today."""
    return TABLE.sub(lambda found: f"{found[1]}\n{MODULES[found[2]](found[3].split())}\n\n{found[5]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parsed = parser.parse_args()
    stale = False
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        with contextlib.chdir(ROOT):  # where the commands are meant to run
            new = written_again(text)
        if new != text:
            stale = True
            print(f"{page.relative_to(ROOT)}: {'stale' if parsed.check else 'written'}")
            if not parsed.check:
                page.write_text(new, encoding="utf-8")
    sys.exit(stale and parsed.check)


if __name__ == "__main__":
    main()
