"""The progress of a grid on the screen: live on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cl_ner_bench.cli.output import duration
from cl_ner_bench.errors import printable
from cl_ner_bench.running.progress import Listener, Progress, RunEvent, State
from cl_ner_bench.storage.run_record import RunRecord

ESTIMATED = 2.0  # seconds between two estimates on a terminal, because each looks at all runs
SHOWN = 12  # running runs that fit a terminal


@contextmanager
def progress_on_stderr(
    progress: Progress, line_of: Callable[[RunEvent, Progress], str] | None = None
) -> Iterator[Listener]:
    """Show the progress of a command on stderr while the block runs, and yield the listener for its events.

    ``line_of`` returns the line of an event, or '' (default: ``progress_line``).
    """
    console = Console(stderr=True, highlight=False)

    def print_event(event: RunEvent) -> None:
        if line := (line_of or progress_line)(event, progress):
            console.print(Text(printable(line)), soft_wrap=True)

    if not console.is_terminal:
        yield print_event
        return
    with Live(_Screen(progress), console=console, refresh_per_second=2, transient=True):
        yield print_event


class _Screen:
    """The content of a live terminal, rendered at each refresh."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._started = progress, time.monotonic()
        self._left, self._estimated = "", 0.0

    def __rich__(self) -> Group:
        progress, now = self._progress, time.monotonic()
        if now - self._estimated > ESTIMATED:
            self._left, self._estimated = about(progress.seconds_left()), now
        failed = progress.ended_as("failed")
        head = f"{progress.finished} of {len(progress.runs)} runs done" + (f", {failed} failed" if failed else "")
        return screen(f"{head}, {duration(now - self._started)}{self._left}", progress.running())


def screen(head: str, running: Iterable[tuple[RunRecord, State]], where: bool = False) -> Group:
    """Return a line above a table of the running runs; ``where`` adds their machine and process."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("run", *(["where"] if where else []), "step", "epoch", "loss", "phase"):
        table.add_column(column, no_wrap=True)
    for record, state in running:
        if table.row_count < SHOWN:
            epoch = f"{state['epoch']}/{state['epochs']}" if state.get("epochs") else ""
            step = f"{state['step']}/{record.n_steps}" if state["step"] else ""
            loss = f"{state['loss']:.3g}" if "loss" in state else ""
            place = [f"{state.get('host', '')}:{state['pid']}"] if where else []
            cells = (run_name(record), *place, step, epoch, loss, state["phase"])
            table.add_row(*(Text(printable(cell)) for cell in cells))
    return Group(Text(head, style="bold"), *([table] if table.row_count else []))


def progress_line(event: RunEvent, progress: Progress) -> str:
    """Return the line that a command prints for an event, or ''."""
    if event.step is not None:
        return step_line(event, progress.seconds_left()) if event.new else ""
    return f"{status_line(event)} ({len(progress.ended)} of {len(progress.todo)} runs)" if event.ended else ""


def step_line(event: RunEvent, seconds_left: float | None) -> str:
    """Return a line with the finished step of a run, its score, and the time left (if known)."""
    record = event.record
    how = "shared" if event.step and record.is_shared(event.step) else "finished"
    text = f"{run_name(record)}: step {event.step} of {record.n_steps} {how}, micro-F1 {event.micro_f1():.1f}"
    return text + about(seconds_left)


def status_line(event: RunEvent) -> str:
    return f"{run_name(event.record)}: {event.status}" + (f": {event.reason}" if event.reason else "")


def run_name(record: RunRecord) -> str:
    return f"{record.method} order {record.order} seed {record.seed}"


def about(seconds_left: float | None) -> str:
    """Return an estimate for the end of a line, or '' if there is none."""
    return "" if seconds_left is None else f", about {duration(seconds_left)} left"
