"""The order of runs. Of the runs whose awaited steps exist, the run for which most work waits starts next."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Item:
    """A run to schedule: its ``cost`` in any unit, and what it ``awaits``, with the id of each maker."""

    id: str
    cost: float
    awaits: Mapping[Hashable, str] = field(default_factory=dict)


class Schedule:
    """The runs of a grid that have not started. Of its operations, only ``next`` with ``idle`` visits all of them."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = {item.id: item for item in items}
        self._waiters: dict[Hashable, list[str]] = defaultdict(list)
        self._makes: dict[str, set[Hashable]] = defaultdict(set)
        self._left: dict[str, set[Hashable]] = {}
        for item in self._items.values():
            awaits = {what: maker for what, maker in item.awaits.items() if maker in self._items}
            for what, maker in awaits.items():
                self._waiters[what].append(item.id)
                self._makes[maker].add(what)
            if awaits:
                self._left[item.id] = set(awaits)
        self._priority = self._longest_paths()
        self._ready = [(-self._priority[id], id) for id in self._items if id not in self._left]
        heapq.heapify(self._ready)

    def _longest_paths(self) -> dict[str, float]:
        """Return the priority of each run: its cost plus the cost of the longest chain of runs that wait for it."""
        priority = {id: item.cost for id, item in self._items.items()}
        unseen = {id: sum(len(self._waiters[what]) for what in self._makes[id]) for id in self._items}
        leaves = [id for id, n in unseen.items() if n == 0]
        while leaves:  # backwards from the last runs; a run in a circle keeps its priority
            id = leaves.pop()
            for maker in self._items[id].awaits.values():
                if maker in priority:
                    priority[maker] = max(priority[maker], self._items[maker].cost + priority[id])
                    unseen[maker] -= 1
                    if unseen[maker] == 0:
                        leaves.append(maker)
        return priority

    def __bool__(self) -> bool:
        """Return True if any run is left to start."""
        return bool(self._ready or self._left)

    def next(self, idle: bool = False) -> str | None:
        """Return the run to start now, or None if all remaining runs wait for others.

        With ``idle``, no other run is in progress. Then return a waiting run, because no run provides what it awaits.
        """
        if not self._ready and self._left and idle:
            self._free(max(self._left, key=lambda id: (self._priority[id], id)))
        return heapq.heappop(self._ready)[1] if self._ready else None

    def awaited_from(self, id: str) -> list[Hashable]:
        """Return the things that this run makes and other runs still await."""
        return [what for what in self._makes.get(id, ()) if what in self._waiters]

    def provide(self, what: Hashable) -> None:
        """Note that an awaited thing exists."""
        for id in self._waiters.pop(what, ()):
            if left := self._left.get(id):
                left.discard(what)
                if not left:
                    self._free(id)

    def end(self, id: str) -> None:
        """Note that a run ended, so no run waits any longer for what it makes."""
        for what in self._makes.pop(id, ()):
            self.provide(what)

    def put_back(self, id: str) -> None:
        """Put a run back, to be started again."""
        heapq.heappush(self._ready, (-self._priority[id], id))

    def _free(self, id: str) -> None:
        del self._left[id]
        self.put_back(id)
