"""How things are measured here: by turns in one process, in CPU time, as ratios."""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from cl_ner_bench.running.environment import child_environment


def as_a_worker() -> None:
    """Start this script again in the environment that the suite gives its workers: one thread, its allocator settings.

    Both have to stand before a process begins; what is measured against the suite gets them too.
    """
    wanted = child_environment(1)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def by_turns(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> list[float]:
    """Ratio of their CPU times in each round, after one that does not count; who begins is drawn."""
    rng, ratios = random.Random(0), []
    for _ in range(rounds + 1):
        spent = {}
        for call in rng.sample((slow, fast), 2):
            spent[call] = seconds(call)
        ratios.append(spent[slow] / spent[fast])
    return ratios[1:]


def per_round(slow: Sequence[float], fast: Sequence[float], rounds: int) -> list[float]:
    """Ratios of sums over ``rounds`` runs of equal length; what does not fill a run is left out."""
    size = len(slow) // rounds
    runs = [slice(size * n, size * (n + 1)) for n in range(rounds)]
    return [sum(slow[run]) / sum(fast[run]) for run in runs]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Smallest, median, largest."""
    return min(values), statistics.median(values), max(values)


def peak_bytes(call: Callable[[], object]) -> int:
    """Most bytes that torch's CPU allocator held at once during ``call``, beyond what it held before.

    Read from the profiler's record of each allocation, temporary ones inside of operations too. A first call, which may
    fill caches, does not count.
    """
    from torch.profiler import ProfilerActivity, profile

    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    inner: Any = profiler.profiler
    changes = [(e.start_ns(), e.nbytes()) for e in inner.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda c: c[0]):
        held += change
        peak = max(peak, held)
    return peak
