"""docs/methods.md has one table of all methods, which says what their cards and classes say."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from cl_ner_bench import method_code, registry
from cl_ner_bench.method_card import MethodCard

TEXT = (registry.HOME / "docs" / "methods.md").read_text()


def table() -> dict[str, list[str]]:
    """Return the cells of each method's row, by the method's name."""
    lines = TEXT.split("| method | idea |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    named: dict[str, list[str]] = {}
    for row in rows:
        names = re.findall(r"`([^`]+)`", row[0])
        warm = [f"{name}-warm" for name in names] if "`-warm`" in row[0] else []
        for name in (*names, *warm):
            if not name.startswith("-"):
                named |= {variant.card.name: row for variant in registry.resolve([name])}
    return named


def needs(card: MethodCard) -> set[str]:
    """Return what a method needs with its card's settings."""
    found: Any = method_code.load_class(card).needs
    if isinstance(found, property):
        assert found.fget
        found = found.fget(SimpleNamespace(settings=card.settings))
    return {need.replace("_", " ") for need in found}


def test_each_method_has_a_row_with_what_its_card_and_class_say() -> None:
    rows, cards = table(), registry.methods()
    assert sorted(rows) == sorted(cards)
    for name, card in cards.items():
        _, _, needed, carried, status, *_ = rows[name]
        assert needs(card) <= set(needed.split(", ")) | {""}, name
        assert needs(card) <= {need.replace("_", " ") for need in method_code.needs(card)}, (
            "what the list says of it, which runs nothing"
        )
        assert card.stores in carried, name
        assert card.status in status, name
    named = {need for row in rows.values() for need in row[2].split(", ") if need}
    assert named == {need for card in cards.values() for need in needs(card)}
