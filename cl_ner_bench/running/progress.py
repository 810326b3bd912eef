"""What a user sees while a grid runs, from the heartbeat files: a live board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cl_ner_bench.running.estimate import Job, Rates, time_left
from cl_ner_bench.storage import store
from cl_ner_bench.storage.store import PROGRESS

if TYPE_CHECKING:
    from cl_ner_bench.running.plan import Run

SETTLED = 2.0  # seconds after a change in which another one may bear the same time
ESTIMATED = 2.0  # seconds between two estimates on a live board: they look at all runs
SHOWN = 12  # running runs that fit a terminal
State = Mapping[str, Any]  # what a heartbeat file holds
Record = Mapping[str, Any]  # what a run.json holds


@dataclass(frozen=True)
class News:
    """What a run has done: begun, finished ``step``, or ended with the status of ``record``, its run.json now."""

    run: Run
    record: Record
    line: str = ""  # for a user, '' where there is nothing to say
    step: int | None = None
    ended: bool = False


class Board:
    """The state of all runs of a command, from their files.

    Args:
        jobs: runs that are learned at a time.
        report: the command ends with a report.
    """

    def __init__(self, runs: Sequence[Run], todo: Sequence[Run], jobs: int = 1, report: bool = True) -> None:
        self.runs, self.todo, self.jobs, self.report = runs, todo, jobs, report
        self.done: dict[str, list[int]] = {r.id: r.done() for r in todo}
        self.old = {r.id: store.read_record(r.folder / "run.json") for r in runs}
        self.learned = {run_id: record.get("learned", []) for run_id, record in self.old.items() if record}
        self.started = time.monotonic()
        self.states: dict[str, dict[str, Any]] = {}
        self.begun: set[str] = set()
        self.ended: dict[str, str] = {}
        self._changed: dict[str, float] = {}  # when the folders of runs were changed that were read since
        self._left, self._estimated = "", 0.0

    def poll(self) -> Iterator[News]:
        """Read the files again; yields what each run has begun, finished and ended since."""
        for run in self.todo:
            if run.id in self.ended or not self._may_be_new(run):
                continue
            state = store.read_json(run.folder / PROGRESS)
            self.states.pop(run.id, None)
            if state:
                self.states[run.id] = state
            done = run.done()
            new = [step for step in done if step not in self.done[run.id]]
            self.done[run.id] = done
            record = store.read_record(run.folder / "run.json") or run.record
            self.learned[run.id] = record.get("learned", [])
            told = new
            if run.id not in self.begun and (state or new):
                self.begun.add(run.id)
                yield News(run, record)
                told = done  # with what was finished before this command, of which a user has heard
            for step in told:
                line = step_line(record, run.folder, step, self.time_left()) if step in new else ""
                yield News(run, record, line, step)
            # A retried run still shows its old record until it starts, one that others waited for goes on later.
            if state is None and record != self.old[run.id] and record["status"] in ("done", "failed"):
                self.ended[run.id] = record["status"]
                line = f"{end_line(record)} ({len(self.ended)} of {len(self.todo)} runs)"
                yield News(run, record, line, ended=True)

    def _may_be_new(self, run: Run) -> bool:
        """Whether files of a run were replaced, or may have been, since they were read: a grid has thousands of runs,
        most of them waiting."""
        try:
            changed = run.folder.stat().st_mtime
        except FileNotFoundError:
            return False
        if self._changed.get(run.id) == changed:
            return False
        if time.time() - changed > SETTLED:
            self._changed[run.id] = changed
        return True

    def time_left(self) -> str:
        """Return the time until the command ends; '' before anything was measured."""
        records = [run.record | {"learned": self.learned.get(run.id, [])} for run in self.runs]
        going = [run for run in self.todo if run.id not in self.ended]
        jobs = [Job(run.record, self.done[run.id], self.states.get(run.id)) for run in going]
        if not (rates := Rates(records, jobs)):
            return ""
        return duration(time_left(jobs, rates, self.jobs, self.report))

    def __rich__(self) -> Group:
        if (now := time.monotonic()) - self._estimated > ESTIMATED:
            self._left, self._estimated = self.time_left(), now
        left = self._left
        finished = len(self.runs) - len(self.todo) + sum(s == "done" for s in self.ended.values())
        failed = sum(s == "failed" for s in self.ended.values())
        head = f"{finished} of {len(self.runs)} runs done" + (f", {failed} failed" if failed else "")
        head += f", {duration(time.monotonic() - self.started)}" + (f", about {left} left" if left else "")
        running = [(run.record, self.states[run.id]) for run in self.todo if run.id in self.states]
        return headed(head, progress_table(running))


def headed(head: str, table: Table) -> Group:
    """One line over a table, where it has rows."""
    return Group(Text(head, style="bold"), *([table] if table.row_count else []))


def progress_table(running: Iterable[tuple[Record, State]], where: bool = False) -> Table:
    """How far runs are that are being learned; ``where`` names their machine and process."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("run", *(["where"] if where else []), "step", "epoch", "loss", "phase"):
        table.add_column(column, no_wrap=True)
    for record, state in running:
        if table.row_count < SHOWN:
            epoch = f"{state['epoch']}/{state['epochs']}" if state.get("epochs") else ""
            step = f"{state['step']}/{record['n_steps']}" if state["step"] else ""
            loss = f"{state['loss']:.3g}" if "loss" in state else ""
            place = [f"{state.get('host', '')}:{state['pid']}"] if where else []
            table.add_row(*map(Text, (name(record), *place, step, epoch, loss, state["phase"])))
    return table


def name(record: Record) -> str:
    return f"{record['method']} order {record['order']} seed {record['seed']}"


def step_line(record: Record, folder: Path, step: int, left: str) -> str:
    """That a step of the run in ``folder`` is finished, how well, and how much time is ``left`` ('': unknown)."""
    how = "shared" if str(step) in record["shared"] else "finished"
    score = micro_f1(store.read_json(folder / f"step-{step}" / "counts.json"))
    text = f"{name(record)}: step {step} of {record['n_steps']} {how}, micro-F1 {score:.1f}"
    return text + (f", about {left} left" if left else "")


def end_line(record: Record) -> str:
    return f"{name(record)}: {record['status']}" + (f": {record['reason']}" if record["reason"] else "")


def micro_f1(counts: Mapping[str, Any]) -> float:
    """Over all learned types on the whole test set (or all test sets)."""
    triples = [triple for types in counts["views"]["all"].values() for triple in types.values()]
    tp, fp, fn = (sum(triple[i] for triple in triples) for i in range(3))
    return 200 * tp / max(1, 2 * tp + fp + fn)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


@contextmanager
def shown(
    runs: Sequence[Run],
    todo: Sequence[Run],
    quiet: bool = False,
    tell: Callable[[News], None] | None = None,
    jobs: int = 1,
    report: bool = True,
) -> Iterator[None]:
    """Show progress on stderr while the block runs, and ``tell`` of all news."""
    if not todo or (quiet and tell is None):
        yield
        return
    console = Console(stderr=True, highlight=False, quiet=quiet)
    board, ended = Board(runs, todo, jobs, report), threading.Event()

    def follow() -> None:
        over = False
        while not over:
            over = ended.wait(0.5)
            for news in board.poll():
                if news.line:
                    console.print(Text(news.line), soft_wrap=True)
                if tell is not None:
                    tell(news)

    thread = threading.Thread(target=follow, daemon=True)
    live = (
        Live(board, console=console, refresh_per_second=2, transient=True)
        if console.is_terminal and not quiet
        else None
    )
    if live:
        live.start()
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if live:
            live.stop()
