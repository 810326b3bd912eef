"""Families of methods: the panels among which the methods of a comparison are divided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cl_ner_bench.analysis.comparison.compare import LOWER_BOUNDS, Comparison, MethodRow

PANEL = 8  # most methods that a panel names beside the bounds: the number of colours
MANY = 14  # most rows that a single panel may name
_WORDS = {"memory-free": "memory-free", "exemplar": "stored examples", "closed-form": "closed form or frozen"}


@dataclass(frozen=True)
class Family:
    """The rows that a panel names: methods and the bounds of their architecture. ``behind``: all other methods, in grey
    for comparison; empty if the comparison has at most MANY rows."""

    title: str
    rows: tuple[MethodRow, ...]
    behind: tuple[MethodRow, ...] = ()


def is_bound(row: MethodRow) -> bool:
    """Return True for fine-tuning and for references such as joint training."""
    return row.group == "reference" or row.method in LOWER_BOUNDS


def families(c: Comparison) -> list[Family]:
    """Return a family for each architecture; an architecture with over PANEL methods is divided by groups."""
    parts: list[tuple[str, list[MethodRow]]] = []
    imported = {row.architecture for row in c.rows if row.group == "imported"}
    for architecture in [*sorted({row.architecture for row in c.rows} - imported), *imported]:
        own = [row for row in c.rows if row.architecture == architecture]
        methods, bounds = [r for r in own if not is_bound(r)], [r for r in own if is_bound(r)]
        if len(methods) <= PANEL:
            parts.append((f"{architecture} {'results' if architecture in imported else 'methods'}", own))
        else:
            parts += [(f"{architecture}: {title}", [*rows, *bounds]) for title, rows in _divided(methods)]
    many = len(c.rows) > MANY
    return [
        Family(title, tuple(rows), tuple(r for r in c.rows if many and not is_bound(r) and r not in rows))
        for title, rows in parts
    ]


def families_of_all(c: Comparison) -> list[Family]:
    """Return one family of all rows, or ``families`` if one panel cannot hold all rows."""
    return families(c) if len(c.rows) > MANY else [Family("", c.rows)]


def _divided(methods: Sequence[MethodRow]) -> list[tuple[str, Sequence[MethodRow]]]:
    """Return the methods by group with titles. Small groups are joined, large groups are cut into equal parts."""
    blocks: list[tuple[list[str], list[MethodRow]]] = []
    for group in dict.fromkeys(row.group for row in methods):
        own = [row for row in methods if row.group == group]
        if blocks and len(blocks[-1][1]) + len(own) <= PANEL:
            blocks[-1][0].append(group)
            blocks[-1][1].extend(own)
        else:
            blocks.append(([group], own))
    found: list[tuple[str, Sequence[MethodRow]]] = []
    for groups, rows in blocks:
        n = math.ceil(len(rows) / PANEL)
        title = ", ".join(_WORDS.get(group, group) for group in groups)
        for i in range(n):
            part = rows[i * len(rows) // n : (i + 1) * len(rows) // n]
            found.append((f"{title} ({i + 1} of {n})" if n > 1 else title, part))
    return found
