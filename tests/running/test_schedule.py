"""The order of runs: awaited runs first, the longest chain first, and never a standstill."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.running.schedule import Item, Schedule


def order(items: Mapping[str, tuple[float, Mapping[str, str]]]) -> list[str]:
    """All runs one after the other, each making at its end what others await."""
    schedule = Schedule(Item(id, cost, awaits) for id, (cost, awaits) in items.items())
    found = []
    while schedule:
        id = schedule.next(idle=True)
        assert id is not None
        found.append(id)
        for what in schedule.awaited_from(id):
            schedule.provide(what)
        schedule.end(id)
    return found


def test_the_longest_run_is_first_and_equals_go_by_name() -> None:
    assert order({"b": (1, {}), "a": (1, {}), "c": (5, {})}) == ["c", "a", "b"]


def test_what_a_long_way_hangs_on_is_first() -> None:
    """x is short, but y and behind it z wait for it: 1 + 4 + 4 is more than 6."""
    items = {"long": (6.0, {}), "x": (1.0, {}), "y": (4.0, {"x/1": "x"}), "z": (4.0, {"y/1": "y"})}
    assert order(items) == ["x", "y", "long", "z"]


def test_a_run_is_free_as_soon_as_all_that_it_awaits_is_there() -> None:
    schedule = Schedule([Item("a", 3), Item("b", 2), Item("c", 9, {"a/1": "a", "b/1": "b"})])
    assert [schedule.next(), schedule.next(), schedule.next()] == ["a", "b", None]
    schedule.provide("a/1")
    assert schedule.next() is None
    assert schedule.awaited_from("a") == []
    assert schedule.awaited_from("b") == ["b/1"]
    schedule.provide("b/1")
    assert schedule.next() == "c"
    assert not schedule


def test_nobody_waits_for_a_run_that_ended_or_is_not_of_the_grid() -> None:
    schedule = Schedule([Item("a", 1), Item("b", 1, {"a/1": "a"}), Item("c", 0, {"x/1": "someone else"})])
    assert [schedule.next(), schedule.next(), schedule.next()] == ["a", "c", None]
    schedule.end("a")
    assert schedule.next() == "b"


def test_two_that_wait_for_one_another_are_no_standstill() -> None:
    schedule = Schedule([Item("a", 1, {"b/1": "b"}), Item("b", 2, {"a/1": "a"})])
    assert schedule.next() is None
    assert schedule.next(idle=True) == "b"
    schedule.end("b")
    assert schedule.next() == "a"


def test_what_is_put_back_comes_again_in_its_place() -> None:
    schedule = Schedule([Item("a", 3), Item("b", 2)])
    first = schedule.next()
    assert first == "a"
    schedule.put_back(first)
    assert [schedule.next(), schedule.next()] == ["a", "b"]


@given(st.lists(st.tuples(st.floats(0, 100), st.sets(st.integers(0, 30))), max_size=31))
def test_every_run_comes_once_and_behind_what_it_awaits(rows: list[tuple[float, set[int]]]) -> None:
    makers = [{j for j in awaits if j < i} for i, (_, awaits) in enumerate(rows)]
    items = {str(i): (cost, {f"{j}/1": str(j) for j in makers[i]}) for i, (cost, _) in enumerate(rows)}
    found = order(items)
    assert sorted(found) == sorted(items)
    for i, awaits in enumerate(makers):
        assert all(found.index(str(j)) < found.index(str(i)) for j in awaits)


@pytest.mark.slow
def test_the_cost_of_a_run_does_not_grow_with_their_number() -> None:
    def seconds(n: int) -> float:
        rng = random.Random(0)
        awaits = ({f"{i - 1}/1": str(i - 1)} if i % 5 else {} for i in range(n))
        items = [Item(str(i), rng.random(), given) for i, given in enumerate(awaits)]
        begin = time.process_time()
        schedule = Schedule(items)
        while schedule:
            id = schedule.next(idle=True)
            assert id is not None
            schedule.end(id)
        return (time.process_time() - begin) / n

    # Both in a round, as a busy machine slows down both; what grows with their number would be 50 times in each.
    assert min(seconds(50_000) / seconds(1_000) for _ in range(5)) < 4
