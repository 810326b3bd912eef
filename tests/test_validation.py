"""Plain values become typed ones, or one message names the file, the key, what was found and what was expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from cl_ner_bench.errors import UserError
from cl_ner_bench.validation import (
    Above0,
    AtLeast0,
    Count,
    FilePath,
    MisfitError,
    PathBelow,
    Positive,
    Share,
    Text,
    Whole,
    convert,
    fits,
)


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    name: Text
    size: Count = 0
    pair: Annotated[tuple[Whole, ...], Meta(min_length=2, description="a list of two numbers")] = (1, 2)

    def __post_init__(self) -> None:
        if self.size == 5:
            raise MisfitError("size", "any number but 5", "5")


class Outer(Struct, frozen=True):
    table: Mapping[str, tuple[Inner, ...]] = {}
    kind: Literal["fast", "slow"] = "fast"
    share: Share | None = None
    on: bool = False


def test_what_fits_becomes_typed() -> None:
    found = convert({"table": {"a": [{"name": "x", "pair": [3, 4]}]}, "share": 1, "other": 3}, Outer, "f")
    assert found == Outer({"a": (Inner("x", 0, (3, 4)),)}, "fast", 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "f: key 'top': expected a table, found 3."),
        ({"kind": "fasst"}, "f: key 'top.kind': expected one of fast, slow, found 'fasst'. Did you mean 'fast'?"),
        ({"kind": ["fast"]}, "f: key 'top.kind': expected one of fast, slow, found ['fast']."),
        ({"share": 1.5}, "f: key 'top.share': expected a number from 0 to 1, found 1.5."),
        ({"on": 1}, "f: key 'top.on': expected true or false, found 1."),
        ({"table": []}, "f: key 'top.table': expected a table, found []."),
        ({"table": {3: []}}, "f: key 'top.table': expected texts as keys, found 3."),
        ({"table": {"a b": 3}}, "f: key 'top.table.a b': expected a list, found 3."),
        (
            {"table": {"a": [{"name": ""}]}},
            "f: key 'top.table.a[0].name': expected a text that is not empty, found ''.",
        ),
        ({"table": {"a": [{}]}}, "f: key 'top.table.a[0].name' is missing: expected a text that is not empty."),
        (
            {"table": {"a": [{"name": "x", "sise": 3}]}},
            "f: unknown key 'top.table.a[0].sise'; known are name, size, pair. Did you mean 'size'?",
        ),
        (
            {"table": {"a": [{"name": "x", "pair": [3]}]}},
            "f: key 'top.table.a[0].pair': expected a list of two numbers",
        ),
        (
            {"table": {"a": [{"name": "x", "size": 5}]}},
            "f: key 'top.table.a[0].size': expected any number but 5, found 5",
        ),
    ],
)
def test_what_does_not_fit_is_named(value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        convert(value, Outer, "f", key="top")
    assert str(caught.value).startswith(said)


class Listed(Struct, frozen=True):
    rows: Annotated[tuple[Inner, ...], Meta(min_length=1, description="a list of rows that is not empty")]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "key 'rows': expected a list of rows that is not empty, found []."),
        (3, "key 'rows': expected a list of rows that is not empty, found 3."),
        ([{"name": "x"}, {"name": 3}], "key 'rows[1].name': expected a text that is not empty, found 3."),
    ],
)
def test_structs_in_a_list_are_looked_into(value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        convert({"rows": value}, Listed)
    assert str(caught.value) == said


def test_the_caller_chooses_the_error() -> None:
    with pytest.raises(KeyError, match=r"key 'on': expected true or false, found 3\."):
        convert({"on": 3}, Outer, fail=KeyError)


@pytest.mark.parametrize("kind", [Whole, Count, Positive, Share, AtLeast0, Above0])
def test_numbers_are_finite_and_can_be_printed(kind: Any) -> None:
    assert fits(1, kind)
    for value in (True, "1", math.inf, -math.inf, math.nan, 10**5000, -(10**400), None, [1]):
        assert not fits(value, kind)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Count, [0], [-1, 0.0]),
        (Positive, [1], [0]),
        (Share, [0, 0.0, 0.5, 1.0], [-1, -0.1, 1.1, 2]),
        (AtLeast0, [0, 0.0, 7.5], [-1, -0.5]),
        (Above0, [1, 0.1], [0, 0.0, -1, -0.5]),
    ],
)
def test_bounds_of_numbers(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert all(fits(value, kind) and fits([value], list[kind]) for value in good)
    assert not any(fits(value, kind) for value in bad)


@pytest.mark.parametrize("path", ["a", "a/b.txt", "a\\b", "a/", ".", "a..b", "*/*.tsv", "ä ö/ü"])
def test_paths_below_a_folder(path: str) -> None:
    assert fits(path, PathBelow)
    assert fits(path, FilePath)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/a", "..", "../a", "a/../b", "a/..", "a/..//", "a//b", "C:a", "\\a", "a\0", "a" * 1000, "a\n/..", 3],
)
def test_paths_that_lead_out(path: Any) -> None:
    assert not fits(path, PathBelow)
