"""Printing and writing: results to stdout, messages to stderr, and files that the user names.

Control characters in foreign names are printed as escapes.
"""

from __future__ import annotations

import json
import logging
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from cl_ner_bench.errors import UserError, printable

WIDTH = 100
"""The most columns of printed text that can be wrapped."""


def show(text: str) -> None:
    """Print text to stdout."""
    print(printable(text), flush=True)


def show_json(value: Any, ascii: bool = False) -> None:
    """Print a value as JSON to stdout; ``ascii`` escapes all other characters."""
    print(json.dumps(value, indent=1, ensure_ascii=ascii))


def note(text: str) -> None:
    """Print a line to stderr."""
    print(printable(text), file=sys.stderr)


def transient(text: str) -> None:
    """Show one line on a terminal in place of the last transient line ('' clears it)."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{printable(text)}", end="", file=sys.stderr, flush=True)


class _Lines(logging.Handler):
    """A log handler that prints each message as a plain line to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


def write_file(flag: str, path: Path, content: bytes) -> None:
    """Write a file that the user named by ``flag``.

    Raises:
        UserError: the file cannot be written.
    """
    from cl_ner_bench.storage.files import write_bytes

    try:
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"{flag} {path}: cannot be written ({error.strerror}); pass another name") from None


@contextmanager
def log_lines(quiet: bool = False) -> Iterator[None]:
    """Print the package's log while the block runs: INFO and above; with ``quiet``, warnings only."""
    logger, handler = logging.getLogger("cl_ner_bench"), _Lines()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False  # else a library that sets up the root logger shows each line twice
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: bool = False,
    wrap: Collection[int] = (),
    gap: int = 2,
    width: int = WIDTH,
) -> str:
    """Return rows as aligned columns.

    Args:
        header: the titles of the columns. Without titles all rows must have the length of the first.
        right: align all columns but the first to the right, not only columns of integers.
        wrap: places of columns whose texts are wrapped to fit ``width``.
        gap: blanks between two columns.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    body = [list(row) for row in rows]
    titles = list(header) or [""] * len(body[0])
    grid = Table(box=None, show_header=bool(header), header_style="", padding=(0, gap, 0, 0), pad_edge=False)
    for i, title in enumerate(titles):
        whole_numbers = bool(body) and all(isinstance(row[i], int) for row in body)
        justify: Literal["left", "right"] = "right" if whole_numbers or (right and i) else "left"
        grid.add_column(Text(_one_line(title)), justify=justify, no_wrap=i not in wrap, overflow="fold")
    for row in body:
        cells = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row)
        grid.add_row(*(Text(_one_line(cell)) for cell in cells))
    file = StringIO()
    console = Console(file=file, width=sys.maxsize, color_system=None, force_terminal=False, legacy_windows=False)
    size = console.measure(grid)
    console.width = min(size.maximum, max(width, size.minimum))
    console.print(grid)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def wrapped(text: str, indent: int = 2) -> list[str]:
    """Return text as lines of at most ``WIDTH`` columns, all but the first indented."""
    # Paths and URLs stay whole.
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def duration(seconds: float) -> str:
    """Return seconds in readable form: ``1 h 05 min``, ``5 min 07 s``, ``7 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n")
