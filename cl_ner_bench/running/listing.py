"""`bench list`: methods, datasets, scenarios, encoders and presets, as rows; imports neither torch nor pandas."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
WIDTH = 100


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
        ("NAME or PATH", "any Hugging Face encoder by its name, or a folder written by save_pretrained"),
    ]
    return [{"name": name, "summary": summary} for name, summary in rows]


def list_presets() -> list[Row]:
    from cl_ner_bench.analysis.literature import presets

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


def table(kind: str, rows: Sequence[Row]) -> str:
    """Rows as aligned text of 100 columns; the last column is wrapped."""
    columns = COLUMNS[kind]
    cells = [list(columns)] + [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    indent = sum(widths[:-1]) + 2 * (len(columns) - 1)
    lines = []
    for *first, last in cells:
        for part in textwrap.wrap(last, WIDTH - indent):
            lines.append("  ".join(map(str.ljust, [*first, part], widths)).rstrip())
            first = [""] * len(first)
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "-")
