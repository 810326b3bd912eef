"""How long large grids take, and where the scheduler would stop scaling: the real scheduler with simulated workers.

    python -m benchmarks.planning paper      # the published grids on 1, 8 and 64 GPUs
    python -m benchmarks.planning scale      # up to 1,000,000 steps on 10,000 workers
    python -m benchmarks.planning plan       # what planning costs per step
    python -m benchmarks.planning looks      # what a look at the files of waiting runs costs

The grids are planned by `bench run`'s own code on generated corpora with the cards' types, tasks and orders, so
that what is shared is what would be shared. Times follow from a stated rate (``RATE``); nothing is trained.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import tempfile
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.plan import Run
from cl_ner_bench.running.progress import SETTLED, Progress
from cl_ner_bench.running.schedule import Item, Schedule
from cl_ner_bench.running.sharing import Step, items, work
from cl_ner_bench.storage.folder import ResultsFolder

RATE = 32 / 0.0144
"""Sentences a second that BERT-large learns on one H100, batches of 32: arithmetic (4.1 ms of products at 40 % of the
peak, 3.1 ms of AdamW, 7.2 ms of launches, one after the other), not measured."""

MODEL_GB = 1.34  # of BERT-large in fp32
SENTENCES = 720  # of each part of a generated corpus
METHODS = "spankl,spankl-nokd,extendner,extendner-paper,finetune,joint,seqstar,frozen-span"
SEEDS = 5


@dataclass(frozen=True)
class Chain:
    """A run as the simulation sees it: the cost of each of its steps, and what it waits for."""

    item: Item
    steps: Sequence[tuple[int, float]]


def simulate(chains: Iterable[Chain], workers: int) -> tuple[float, float]:
    """Time until all is done, and the work in it, with ``workers`` that are given what ``Schedule`` says is next."""
    by_id = {chain.item.id: chain for chain in chains}
    schedule = Schedule(chain.item for chain in by_id.values())
    now, free = 0.0, workers
    events: list[tuple[float, int, str, Step | None]] = []  # a step is there, or a run has ended
    n = 0
    while True:
        while free and (id := schedule.next(idle=free == workers)) is not None:
            free, at = free - 1, now
            awaited = set(schedule.awaited_from(id))
            for step, cost in by_id[id].steps:
                at += cost
                if Step(id, step) in awaited:
                    heapq.heappush(events, (at, n, id, Step(id, step)))
                    n += 1
            heapq.heappush(events, (at, n, id, None))
            n += 1
        if not events:
            break
        now, _, id, there = heapq.heappop(events)
        if there is None:
            schedule.end(id)
            free += 1
        else:
            schedule.provide(there)
    return now, sum(cost for chain in by_id.values() for _, cost in chain.steps)


# The published grids


def grids(home: Path) -> Iterator[tuple[str, list[Run], float]]:
    """Each published grid: its name, its runs, and the seconds that a unit of their cost takes."""
    for name, sentences, epochs in (("ontonotes", 59_924, 10), ("fewnerd", 131_767, 5)):
        card = list_cards()[name]
        for scenario in ("split", "filter"):
            runs = planned(home, card.tasks, card.orders, {"scenario": scenario, "orders": "all", "epochs": epochs})
            yield f"SpanKL, {name}, {scenario}", runs, sentences / SENTENCES / RATE
    for name, sentences, scenarios in (
        ("conll2003", 14_041, ("fg1-pg1", "fg2-pg1")),
        ("i2b2-2014", 59_376, ("fg1-pg1", "fg2-pg2", "fg8-pg1", "fg8-pg2")),
        ("ontonotes18", 59_924, ("fg1-pg1", "fg2-pg2", "fg8-pg1", "fg8-pg2")),
    ):
        types = {type: (type,) for type in list_cards()[name].types}
        for scenario in scenarios:
            runs = planned(home, types, (), {"scenario": scenario, "epochs": 10})
            yield f"CFNER, {name}, {scenario}", runs, sentences / SENTENCES / RATE


def planned(
    home: Path, tasks: Mapping[str, Sequence[str]], orders: Sequence[Sequence[int]], options: Mapping[str, Any]
) -> list[Run]:
    """The runs of a grid with the tasks and orders of a card, on sentences of one mention each."""
    types = [type for own in tasks.values() for type in own]
    for part in PARTS:
        rows = (
            json.dumps({"words": ["a", "b"], "mentions": [[0, 1, types[i % len(types)]]]}) for i in range(SENTENCES)
        )
        (home / f"{part}.jsonl").write_text("\n".join(rows) + "\n")
    card = [f'name = "planned"\norders = {json.dumps(orders)}\n[tasks]']
    card += [f"{json.dumps(name)} = {json.dumps(list(own))}" for name, own in tasks.items()]
    (home / "planned.toml").write_text("\n".join(card) + "\n")
    given = {"dataset": str(home / "planned.toml"), "data": str(home), "methods": METHODS, "out": str(home / "out")}
    return prepare({**given, **options, "seeds": ",".join(map(str, range(SEEDS)))}).runs


def chains(runs: Sequence[Run], seconds: float, out: Path) -> list[Chain]:
    """``runs`` for the simulation, with ``seconds`` for a unit of cost."""
    costs = {run.id: [(step, run.cost(step) * seconds) for step in run.record.steps] for run in runs}
    return [Chain(item, costs[item.id]) for item in items(runs, ResultsFolder.open(out))]


def paper(home: Path) -> None:
    """A row for each published grid, as Markdown."""
    gpus = (1, 8, 64)
    print(
        "| grid | runs | steps | shared | "
        + " | ".join(f"{n} GPU, h" for n in gpus)
        + " | longest run, h | models, GB |"
    )
    print("|---|" + "---:|" * (6 + len(gpus)))
    totals = [0.0] * len(gpus)
    for name, runs, seconds in grids(home):
        found = chains(runs, seconds, Path("nowhere"))
        hours = [simulate(found, n)[0] / 3600 for n in gpus]
        totals = [total + own for total, own in zip(totals, hours, strict=True)]
        longest = max(sum(cost for _, cost in chain.steps) for chain in found) / 3600
        together, alone = work(runs), work(runs, shared=False)
        kept = len({run.key(run.record.steps[-1]) for run in runs}) * MODEL_GB
        cells = [len(runs), together.steps, alone.steps - together.steps, *(f"{h:.1f}" for h in hours)]
        print(f"| {name} | " + " | ".join(map(str, [*cells, f"{longest:.2f}", f"{kept:.0f}"])) + " |", flush=True)
    print("| all, one grid after the other | | | | " + " | ".join(f"{h:.1f}" for h in totals) + " | | |")


# Scaling


def large(steps: int) -> list[Chain]:
    """Ten methods of two families with ten steps of about 100 s; a family's first step is learned once."""
    rng, found = random.Random(0), []
    for group in range(max(1, steps // 100)):
        for method in range(10):
            first = f"{group}-{method // 5 * 5}"
            id = f"{group}-{method}"
            own = [(k, rng.uniform(50, 150)) for k in range(1 if id == first else 2, 11)]
            awaits: dict[Hashable, str] = {} if id == first else {Step(first, 1): first}
            found.append(Chain(Item(id, sum(cost for _, cost in own), awaits), own))
    return found


def scale(home: Path) -> None:
    """Steps, workers, how busy these are, and what the scheduler itself takes."""
    print("| steps | workers | hours | workers busy | scheduler, ms a step |")
    print("|---:|---:|---:|---:|---:|")
    for steps, workers in ((10_000, 100), (100_000, 1_000), *((1_000_000, n) for n in (1_000, 10_000, 100_000))):
        found = large(steps)
        begin = time.process_time()
        end, spent = simulate(found, workers)
        own = 1000 * (time.process_time() - begin) / steps
        print(f"| {steps:,} | {workers:,} | {end / 3600:.1f} | {spent / end / workers:.0%} | {own:.4f} |", flush=True)


def plan(home: Path) -> None:
    """What planning costs, per step, as a grid grows."""
    print("| runs | steps | planning, ms a step |")
    print("|---:|---:|---:|")
    tasks = {name: (name,) for name in "abcdef"}
    for orders in (1, 10, 100):
        begin = time.process_time()
        options = {"orders": ",".join(map(str, range(orders))), "epochs": 10}
        runs = planned(home, tasks, (), options)
        steps = sum(len(run.record.steps) for run in runs)
        print(f"| {len(runs):,} | {steps:,} | {1000 * (time.process_time() - begin) / steps:.2f} |", flush=True)


def looks(home: Path) -> None:
    """What a look at all runs of a grid costs while they wait, which happens twice a second."""
    print("| runs | first look, ms a run | each further look, ms a run |")
    print("|---:|---:|---:|")
    for orders in (1, 10, 100):
        runs = planned(home, {name: (name,) for name in "abcdef"}, (), {"orders": ",".join(map(str, range(orders)))})
        for run in runs:
            run.folder.save(structs.replace(run.record, status="waiting"))
        time.sleep(1.5 * SETTLED)
        found = Progress(runs, runs)
        seconds = []
        for _ in range(2):
            begin = time.perf_counter()
            list(found.poll())
            seconds.append(1000 * (time.perf_counter() - begin) / len(runs))
        print(f"| {len(runs):,} | {seconds[0]:.3f} | {seconds[1]:.4f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"paper": paper, "scale": scale, "plan": plan, "looks": looks}
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"some of {', '.join(kinds)} (default: all)")
    for kind in parser.parse_args().kinds or kinds:
        with tempfile.TemporaryDirectory() as home:
            kinds[kind](Path(home))
    return 0


if __name__ == "__main__":
    sys.exit(main())
