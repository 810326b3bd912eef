"""Everything that a command prints."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cl_ner_bench.errors import printable


class _Lines(logging.Handler):
    """Prints each message of the package's loggers as a plain line on stderr, control characters as escapes."""

    def emit(self, record: logging.LogRecord) -> None:
        print(
            printable(self.format(record)), file=sys.stderr
        )  # looked up anew: a live display puts itself in its place


@contextmanager
def log_lines(quiet: bool = False) -> Iterator[None]:
    """Show what the package logs on stderr while the block runs: INFO and above, with ``quiet`` warnings only."""
    logger, handler = logging.getLogger("cl_ner_bench"), _Lines()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False  # a library that sets up the root logger would show each line twice
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
