"""Measuring of time: ratios of CPU times, measured by turns in one process."""

from __future__ import annotations

import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from cl_ner_bench.running.environment import child_environment


def as_a_worker() -> None:
    """Start this command again in the environment of the suite's workers: one thread, their allocator settings.

    These must be set before a process begins. The code that the suite is compared with gets them, too.
    """
    wanted = child_environment(1)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | wanted)


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU seconds that this process needs for ``call``."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def by_turns(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> list[float]:
    """Return the ratio of CPU times, slow to fast, in each round. The order within a round is random. A first round
    does not count."""
    rng, ratios = random.Random(0), []
    for _ in range(rounds + 1):
        spent = {}
        for call in rng.sample((slow, fast), 2):
            spent[call] = cpu_seconds(call)
        ratios.append(spent[slow] / spent[fast])
    return ratios[1:]


def per_round(slow: Sequence[float], fast: Sequence[float], rounds: int) -> list[float]:
    """Return the ratios of sums over ``rounds`` parts of equal length; the remainder is left out."""
    size = len(slow) // rounds
    runs = [slice(size * n, size * (n + 1)) for n in range(rounds)]
    return [sum(slow[run]) / sum(fast[run]) for run in runs]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the smallest value, the median and the largest value."""
    return min(values), statistics.median(values), max(values)


def growth_per_tenfold(sizes: Sequence[int], rounds: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return the relative growth of a cost with ten times the sentences: mean over rounds, and its 95 % interval."""
    slopes = [np.polyfit(np.log(sizes), np.log(costs), 1)[0] for costs in rounds]
    centre, half = statistics.mean(slopes), math.nan
    if len(slopes) > 1:
        half = stats.t.ppf(0.975, len(slopes) - 1) * statistics.stdev(slopes) / math.sqrt(len(slopes))
    return 10**centre - 1, 10 ** (centre - half) - 1, 10 ** (centre + half) - 1


def peak_bytes(call: Callable[[], object]) -> int:
    """Return the most bytes that torch's CPU allocator held at once during ``call``, beyond what it held before.

    The profiler records each allocation, also temporary ones inside operations. A first call does not count, because it
    may fill caches.
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
