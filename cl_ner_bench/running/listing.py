"""`bench list`: methods, datasets, scenarios, encoders and presets, as rows; imports neither torch nor pandas."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from cl_ner_bench.errors import UserError, did_you_mean

Row = dict[str, Any]
WIDTH = 100
WIDE = 160  # columns of a terminal from which on tables have all of WIDE_COLUMNS


def list_methods() -> list[Row]:
    from cl_ner_bench.registry import methods

    return [card.to_json() for card in methods().values()]


def list_datasets() -> list[Row]:
    from cl_ner_bench.corpora.cards import list_cards, recipe_names

    return [
        {
            "name": card.name,
            "title": card.title,
            "types": len(card.types),
            "tasks": {task: list(types) for task, types in card.tasks.items()},
            "orders": len(card.orders),
            "recipes": list(recipe_names(card)),
            "source": "generated" if card.reader == "synthetic" else "hub or --data" if card.hub else "--data",
            "licence": card.licence,
            "how_to_get": card.how_to_get,
        }
        for card in list_cards().values()
    ]


def list_scenarios() -> list[Row]:
    from cl_ner_bench.corpora.cards import list_cards
    from cl_ner_bench.scenarios.protocol import SCENARIOS

    of_cards = {name: f"of the dataset {card.name}" for card in list_cards().values() for name in card.scenarios}
    return [{"name": name, "summary": summary} for name, summary in (SCENARIOS | of_cards).items()]


def list_encoders() -> list[Row]:
    rows = [
        ("minilm", "all-MiniLM-L6-v2: 6 layers, 384 wide, uncased, sentence-tuned; comes with the package, offline"),
        ("bert-base-cased", "12 layers, 768 wide; of CFNER and later papers; from the Hugging Face hub"),
        ("bert-large-cased", "24 layers, 1024 wide; of SpanKL; from the Hugging Face hub"),
        ("NAME[@REVISION]", "any Hugging Face encoder by its name"),
        ("./PATH or /PATH", "a folder written by save_pretrained; a name is never looked up as a folder"),
    ]
    return [{"name": name, "summary": summary} for name, summary in rows]


def list_presets() -> list[Row]:
    from cl_ner_bench.analysis.literature.settings import presets

    return [
        {
            "name": name,
            "dataset": setting.dataset,
            "scenario": setting.scenario,
            "encoder": setting.encoder,
            "methods": list(setting.methods),
            "orders": len(setting.orders),
            "summary": f"{setting.cite}, {setting.evidence}{'; defective code' if setting.defects else ''}",
        }
        for name, setting in presets().items()
    ]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "methods": list_methods,
    "datasets": list_datasets,
    "scenarios": list_scenarios,
    "encoders": list_encoders,
    "presets": list_presets,
}
COLUMNS = {
    "methods": ("name", "architecture", "group", "year", "summary"),
    "datasets": ("name", "types", "orders", "source", "title"),
    "scenarios": ("name", "summary"),
    "encoders": ("name", "summary"),
    "presets": ("name", "orders", "encoder", "summary"),
}
WIDE_COLUMNS = COLUMNS | {
    "methods": ("name", "architecture", "group", "status", "year", "summary", "paper", "deviations")
}
_WRAPPED = {"summary", "title", "paper", "deviations"}


def broken(kind: str) -> Mapping[str, str]:
    """Return the entries of a kind that cannot be read: name -> why."""
    if kind == "methods":
        from cl_ner_bench.registry import methods

        return methods().broken
    if kind == "datasets":
        from cl_ner_bench.corpora.cards import list_cards

        return list_cards().broken
    return {}


def named(kind: str, name: str) -> list[Row]:
    """Return the row of one name. Raises UserError where there is none, or where it is broken."""
    rows, wrong = KINDS[kind](), broken(kind)
    if name in wrong:
        raise UserError(wrong[name])
    names = [row["name"] for row in rows]
    if name not in names:
        raise UserError(f"`bench list {kind}` has no {name!r}.{did_you_mean(name, names)}")
    return [rows[names.index(name)]]


def table(kind: str, rows: Sequence[Row], width: int = WIDTH) -> str:
    """Return rows as aligned text of at most ``width`` columns; a terminal that is wide shows more of them."""
    columns = (WIDE_COLUMNS if width >= WIDE else COLUMNS)[kind]
    cells = [list(columns)] + [[_cell(row[column]) for column in columns] for row in rows]
    widths = [0 if name in _WRAPPED else max(len(line[i]) for line in cells) for i, name in enumerate(columns)]
    share = (width - sum(widths) - 2 * (len(columns) - 1)) // widths.count(0)
    widths = [natural or share for natural in widths]
    lines = []
    for line in cells:
        parts = [textwrap.wrap(cell, size) for cell, size in zip(line, widths, strict=True)]
        for texts in zip_longest(*parts, fillvalue=""):
            lines.append("  ".join(map(str.ljust, texts, widths)).rstrip())
    return "\n".join(lines)


def details(rows: Sequence[Row], width: int = WIDTH) -> str:
    """Return all that is known of each row, a fact a line."""
    lines = []
    for row in rows:
        facts = {key: _cell(value) for key, value in row.items() if key != "name" and value not in (None, "", [], {})}
        indent = 4 + max(map(len, facts))
        lines.append(row["name"])
        for key, text in facts.items():
            wrapped = textwrap.wrap(text, width - indent)
            lines += [f"{f'  {key if i == 0 else str()}':<{indent}}{part}" for i, part in enumerate(wrapped)]
        lines.append("")
    return "\n".join(lines[:-1])


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key} = {_cell(part)}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "-")
