"""`bench status`: show the progress of a grid that any process or machine learns."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import duration, show, show_json
from cl_ner_bench.cli.parsing import add_command

if TYPE_CHECKING:
    from rich.console import Group

    from cl_ner_bench.running.status import GridStatus, RunStatus, StatusReader

SHOWN = 12  # runs of a state that a snapshot lists


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "status",
        _execute,
        "show the progress of a grid, wherever it runs",
        description="Show which runs are done, running (and where), failed or waiting, and the estimated time left.\n"
        "Other processes or machines may be training the runs.",
        epilog="examples:\n  bench status results/synthetic-split --watch\n"
        "  bench status results/synthetic-split --json\n"
        "  bench status results/synthetic-split --store s3://bucket/grid",
    )
    parser.add_argument("folder", type=Path, metavar="RESULTS_DIR", help="results of `bench run`")
    parser.add_argument("--store", metavar="URL", help="first update RESULTS_DIR from the object store of the grid")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="continue until nothing runs: live on a terminal, else lines")
    how.add_argument("--json", action="store_true", help="print JSON with every run")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.status import StatusReader

    reader = StatusReader(parsed.folder, parsed.store)
    status = reader.read()
    if parsed.watch:
        _watch(reader, status)
    elif parsed.json:
        show_json(status.to_json())
    else:
        show("\n".join(lines(status)))
    return 0


def _watch(reader: StatusReader, status: GridStatus) -> None:
    """Show the progress of a grid until no run of it is running: live on a terminal, else a line for each event."""
    from rich.console import Console
    from rich.live import Live

    from cl_ner_bench.cli.live import status_line, step_line

    console = Console(highlight=False)
    if console.is_terminal:
        with Live(on_screen(status), console=console, auto_refresh=False, transient=True) as live:
            live.refresh()
            for now in reader.follow(status):
                live.update(on_screen(now), refresh=True)
                status = now
        show("\n".join(lines(status)))
        return
    show("\n".join(lines(status)))
    for now in reader.follow(status):
        for event in now.events_since(status):
            show(status_line(event) if event.step is None else step_line(event, now.seconds_left))
        status = now
    show(head(status))


def on_screen(status: GridStatus) -> Group:
    """Return the live screen of a watched grid."""
    from cl_ner_bench.cli.live import screen

    running = [(run.record, run.progress) for run in status.of("running") if run.progress]
    return screen(head(status), running, where=True)


def head(status: GridStatus) -> str:
    """Return the state of a grid in one line."""
    runs = status.runs
    states = ", ".join(f"{n} {state}" for state, n in status.counts.items()) or "no runs"
    done, every = sum(len(run.done) for run in runs), sum(len(run.record.steps) for run in runs)
    text = f"{status.folder}: {states}; {done} of {every} steps done"
    if pending := sum(len(run.pending()) for run in status.of("running", "lost", "interrupted", "waiting")):
        text += f", {pending} left to learn"
    if status.seconds_left is not None:
        return f"{text}, about {duration(status.seconds_left)} left"
    return text + (
        f", about {duration(status.computing_seconds_left)} of one worker" if status.computing_seconds_left else ""
    )


def lines(status: GridStatus) -> Iterator[str]:
    """Yield the state of a grid, line by line."""
    from cl_ner_bench.cli.live import run_name

    yield head(status)
    for state in ("running", "lost", "failed", "interrupted"):
        found = status.of(state)
        if found:
            yield state
        for run in found[:SHOWN]:
            yield f"  {run_name(run.record)}: {_position(run) if state == 'running' else run.reason()}"
        if len(found) > SHOWN:
            yield f"  and {len(found) - SHOWN} more (--json lists all)"
    for file in status.unreadable:
        yield f"{file}: cannot be read; remove the run's folder, the same command learns it again"


def _position(run: RunStatus) -> str:
    at, since = run.progress, run.record.times.get("started", "")
    if not at:
        return f"starts, since {since}"
    parts = [f"step {at['step']} of {run.record.n_steps}"] if at["step"] else []
    if at.get("epochs"):
        parts += [f"epoch {at['epoch']} of {at['epochs']}", f"update {at['update']} of {at['updates']}"]
        parts += [f"loss {at['loss']:.3g}"] if "loss" in at else []
    where = f"{at['host']}, " if "host" in at else ""
    return f"{', '.join([*parts, at['phase']])} ({where}process {at['pid']}, since {since})"
