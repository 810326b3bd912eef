"""What a user sees while a grid runs, from the heartbeat files: a live board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cl_ner_bench.running import store
from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.worker import PROGRESS

SHOWN = 12  # running runs that fit a terminal


class Board:
    """The state of all runs of a command, from their files."""

    def __init__(self, runs: Sequence[Run], todo: Sequence[Run]) -> None:
        self.runs, self.todo = runs, todo
        self.costs = {r.id: {k: r.cost(k) for k in r.record["steps"]} for r in todo}
        self.done: dict[str, list[int]] = {r.id: r.done() for r in todo}
        self.old = {r.id: store.read_record(r.folder / "run.json") for r in todo}
        self.before = self._finished_cost()
        self.total = sum(sum(c.values()) for c in self.costs.values())
        self.started = time.monotonic()
        self.states: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, str] = {}

    def poll(self) -> Iterator[str]:
        """Read the files again; yields a line for each step and each run that has ended since."""
        for run in self.todo:
            if run.id in self.ended:
                continue
            state = store.read_json(run.folder / PROGRESS)
            self.states.pop(run.id, None)
            if state:
                self.states[run.id] = state
            done = run.done()
            for step in done:
                if step not in self.done[run.id]:
                    how = "shared" if str(step) in run.record["shared"] else "finished"
                    score = micro_f1(store.read_json(run.folder / f"step-{step}" / "counts.json"))
                    left = self.time_left()
                    yield (
                        f"{name(run)}: step {step} of {run.record['n_steps']} {how}, micro-F1 {score:.1f}"
                        + (f", about {left} left" if left else "")
                    )
            self.done[run.id] = done
            record = store.read_record(run.folder / "run.json")
            # A retried run still shows its old record until it starts, one that others waited for goes on later.
            over = record is not None and record["status"] in ("done", "failed")
            if state is None and record is not None and over and record != self.old[run.id]:
                self.ended[run.id] = record["status"]
                why = f": {record['reason']}" if record["reason"] else ""
                yield f"{name(run)}: {record['status']}{why} ({len(self.ended)} of {len(self.todo)} runs)"

    def _finished_cost(self) -> float:
        return sum(self.costs[r.id][k] for r in self.todo for k in self.done[r.id])

    def time_left(self) -> str:
        """At the rate since the start; '' before there is one."""
        partial = 0.0
        for run_id, state in self.states.items():
            if state.get("updates") and state["phase"] == "learning":
                partial += self.costs[run_id].get(state["step"], 0) * state["update"] / state["updates"]
        finished = self._finished_cost() + partial
        gained, elapsed = finished - self.before, time.monotonic() - self.started
        if gained <= 0 or elapsed < 5:
            return ""
        return duration((self.total - finished) * elapsed / gained)

    def __rich__(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("run", "step", "epoch", "loss", "phase"):
            table.add_column(column, no_wrap=True)
        for run in self.todo:
            state = self.states.get(run.id)
            if state and table.row_count < SHOWN:
                epoch = f"{state['epoch']}/{state['epochs']}" if state.get("epochs") else ""
                step = f"{state['step']}/{run.record['n_steps']}" if state["step"] else ""
                loss = f"{state['loss']:.3g}" if "loss" in state else ""
                table.add_row(name(run), step, epoch, loss, state["phase"])
        left = self.time_left()
        finished = len(self.runs) - len(self.todo) + sum(s == "done" for s in self.ended.values())
        failed = sum(s == "failed" for s in self.ended.values())
        head = f"{finished} of {len(self.runs)} runs done" + (f", {failed} failed" if failed else "")
        head += f", {duration(time.monotonic() - self.started)}" + (f", about {left} left" if left else "")
        return Group(Text(head, style="bold"), *([table] if table.row_count else []))


def name(run: Run) -> str:
    return f"{run.record['method']} order {run.record['order']} seed {run.record['seed']}"


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
def shown(runs: Sequence[Run], todo: Sequence[Run], quiet: bool = False) -> Iterator[None]:
    """Show progress on stderr while the block runs."""
    if quiet or not todo:
        yield
        return
    console = Console(stderr=True, highlight=False)
    board, ended = Board(runs, todo), threading.Event()

    def follow() -> None:
        over = False
        while not over:
            over = ended.wait(0.5)
            for line in board.poll():
                console.print(Text(line), soft_wrap=True)

    thread = threading.Thread(target=follow, daemon=True)
    live = Live(board, console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
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
