"""`bench list`: methods, datasets, scenarios, encoders and presets. Imports neither torch nor pandas."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import WIDTH, show, show_json, table
from cl_ner_bench.cli.parsing import add_command
from cl_ner_bench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from cl_ner_bench.analysis.literature.settings import Setting
    from cl_ner_bench.method_card import MethodCard

Row = Mapping[str, Any]
WIDE = 160
"""A terminal with at least so many columns shows ``WIDE_COLUMNS``."""


def list_methods() -> list[Row]:
    from cl_ner_bench.registry import methods

    return [_method(card) for card in methods().values()]


def _methods_of_table() -> list[Row]:
    """Return methods without their needs, which no table shows and which take as long as all the rest."""
    from cl_ner_bench.registry import methods

    return [card.to_json() for card in methods().values()]


def _method(card: MethodCard) -> Row:
    from cl_ner_bench.method_code import needs

    return {**card.to_json(), "needs": needs(card)}


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
        ("bert-base-cased", "12 layers, 768 wide; used by CFNER and later papers; from the Hugging Face hub"),
        ("bert-large-cased", "24 layers, 1024 wide; used by SpanKL; from the Hugging Face hub"),
        ("NAME[@REVISION]", "any Hugging Face encoder by its name"),
        ("./PATH or /PATH", "a folder written by save_pretrained; a name is never looked up as a folder"),
    ]
    return [{"name": name, "summary": summary} for name, summary in rows]


def list_presets() -> list[Row]:
    from cl_ner_bench.analysis.literature.settings import presets
    from cl_ner_bench.running.reproduce import preset_grid

    return [
        {
            "name": name,
            "dataset": setting.dataset,
            "scenario": setting.scenario,
            "encoder": setting.encoder,
            "methods": list(setting.methods),
            "orders": len(setting.orders),
            "recipe": setting.preset.recipe,
            "summary": f"{setting.cite}, {setting.evidence}{'; defective code' if setting.defects else ''}",
            "source": f"{setting.source}; {setting.place}",
            "sets": {key: list(value) if isinstance(value, tuple) else value for key, value in grid.items()},
            "training": _training(setting),
            "published": _published(setting),
            "margins": dict(setting.preset.margins),
            "deviations": list(setting.preset.deviations),
            "defects": setting.defects,
        }
        for name, setting in presets().items()
        if setting.preset
        for grid in (preset_grid(setting),)
    ]


def _training(setting: Setting) -> dict[str, Any]:
    """Return the hyper-parameters of a preset's recipe by architecture."""
    from cl_ner_bench.corpora.cards import list_cards, recipe
    from cl_ner_bench.registry import methods

    assert setting.preset is not None, "presets() holds settings with a preset only"
    card, known = list_cards()[setting.dataset], methods()
    architectures = sorted({known[name].architecture for name in setting.methods})
    return {a: recipe(card, setting.preset.recipe, a, setting.scenario) for a in architectures}


def _published(setting: Setting) -> dict[str, dict[str, float]]:
    """Return the published means after the last step by method, or by method and order."""
    found = {}
    for row in setting.rows:
        if row.method:
            name = row.method if row.order is None else f"{row.method}, order {row.order}"
            last = {measure: scores[-1] for measure, scores in row.steps.items()}
            found[name] = last | {measure: mean for measure, (mean, _) in row.values.items()}
    return found


KINDS: dict[str, Callable[[], list[Row]]] = {
    "methods": list_methods,
    "datasets": list_datasets,
    "scenarios": list_scenarios,
    "encoders": list_encoders,
    "presets": list_presets,
}
COLUMNS = {
    "methods": ("name", "architecture", "group", "status", "summary"),
    "datasets": ("name", "types", "orders", "source", "title"),
    "scenarios": ("name", "summary"),
    "encoders": ("name", "summary"),
    "presets": ("name", "orders", "encoder", "summary"),
}
WIDE_COLUMNS = COLUMNS | {
    "methods": ("name", "architecture", "group", "status", "year", "summary", "paper", "deviations")
}
NARROW_TITLES = {"architecture": "arch."}
SHORT = {"re-implementation": "re-impl.", "from the paper": "paper"}
"""Short titles and states of methods for a narrow table."""
METHODS_HELP = """
group
  memory-free: a step uses only its own data
  exemplar: keeps sentences of earlier steps
  closed-form: solves in closed form, or keeps the encoder frozen
  reference: no continual method
status (what you may claim)
  faithful: the method of the paper
  paper (from the paper): the formulas of a paper without published code
  re-impl. (re-implementation): the paper's idea on this suite's models, not the paper's system
  baseline: no method of a paper
`bench list methods NAME` shows what differs from the paper. A plug-in NAME (arch. any) gives the
methods NAME-span and NAME-token, and NAME+METHOD for other methods."""
LONG = ("summary", "title", "paper", "deviations")
"""Columns whose texts may be wrapped."""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "list",
        _execute,
        "list methods, datasets, scenarios, encoders or presets",
        usage="bench list KIND [NAME] [options]",
        description="List methods, datasets, scenarios, encoders or presets. With NAME or -v, print all that is known\n"
        "about an entry.",
        epilog="examples:\n  bench list methods\n"
        "  bench list methods spankl      show its paper, status, deviations and settings\n"
        "  bench list methods mine.py     show those of a file; also FILE.py:NAME and PLUG+METHOD\n"
        "  bench list methods -v\n  bench list datasets --json\n\n"
        f"On a terminal of {WIDE} columns or more, the table of methods also shows papers and deviations.",
    )
    parser.add_argument("kind", choices=[*KINDS], metavar=" | ".join(KINDS), help="what to list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="one entry (default: all)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-v", "--verbose", action="store_true", help="print all that is known about each entry")
    how.add_argument("--json", action="store_true", help="print JSON")


def _execute(parsed: argparse.Namespace) -> int:
    if parsed.name is not None:
        rows = rows_of(parsed.kind, parsed.name)
    elif parsed.kind == "methods" and not (parsed.verbose or parsed.json):
        rows = _methods_of_table()
    else:
        rows = KINDS[parsed.kind]()
    broken = _broken(parsed.kind) if parsed.name is None else {}
    if parsed.json:
        more = {"broken": [{"name": name, "error": error} for name, error in broken.items()]} if broken else {}
        show_json({"schema": 1, parsed.kind: rows, **more})
        return 0
    if parsed.verbose or parsed.name is not None:
        show("\n\n".join(details(rows)))
    else:
        show(as_table(parsed.kind, _plug_ins_once(rows) if parsed.kind == "methods" else rows))
        if parsed.kind == "methods":
            show(METHODS_HELP)
    for name, error in broken.items():
        show(f"broken: {name}: {error}")
    return 0


def _plug_ins_once(rows: Sequence[Row]) -> list[Row]:
    """Return methods by name, with one row for the two methods of a plug-in."""
    named = {row["plug_in"] or row["name"]: row for row in rows}
    once = (
        {**row, "name": name, "label": row["label"].rpartition(" (")[0], "architecture": "any"}
        if row["plug_in"]
        else row
        for name, row in named.items()
    )
    return sorted(once, key=lambda row: row["name"])


def as_table(kind: str, rows: Sequence[Row]) -> str:
    """Return rows of a kind as a table. A wide terminal shows more columns."""
    width = _width()
    columns = (WIDE_COLUMNS if width >= WIDE else COLUMNS)[kind]
    titles, words = (NARROW_TITLES, SHORT) if width < WIDE and kind == "methods" else ({}, {})
    wrap = [i for i, column in enumerate(columns) if column in LONG]
    cells = [[words.get(text := _text(row[column]), text) for column in columns] for row in rows]
    return table([titles.get(column, column) for column in columns], cells, wrap=wrap, width=width)


def details(rows: Sequence[Row]) -> Iterator[str]:
    """Yield all facts about each row, one per line. A method's settings and their meanings come last."""
    for row in rows:
        shown = _with_measures(row) if "published" in row else row
        hidden = ("name", "settings", "help")
        facts = {
            key: _text(value) for key, value in shown.items() if key not in hidden and value not in (None, "", [], {})
        }
        text = f"{row['name']}\n" + _block((f"  {key}", fact) for key, fact in facts.items())
        if settings := row.get("settings"):
            meanings = ((f"    {_text({key: value})}", row["help"].get(key, "")) for key, value in settings.items())
            both = [f"{row['name']}-span", f"{row['name']}-token"] if row["architecture"] == "any" else [row["name"]]
            text += f"\n  settings ({', '.join(f'--set {name}.KEY=VALUE' for name in both)})\n{_block(meanings)}"
        yield text


def _block(lines: Iterable[tuple[str, str]]) -> str:
    return table([], lines, wrap=[1], width=_width())


def _with_measures(row: Row) -> Row:
    """Return a preset's row with the printed names of its measures."""
    from cl_ner_bench.analysis.scores.names import NAMES

    def named(values: Mapping[str, float]) -> str:
        return ", ".join(f"{NAMES[key].name} {value:g}" for key, value in values.items())

    published = [f"{name}: {named(values)}" for name, values in row["published"].items()]
    texts = {"published": "; ".join(published), "deviations": "; ".join(row["deviations"])}
    return {**row, **texts, "margins": named(row["margins"])}


def _broken(kind: str) -> Mapping[str, str]:
    """Return the entries of a kind that cannot be read: name -> reason."""
    if kind == "methods":
        from cl_ner_bench.registry import methods

        return methods().broken
    if kind == "datasets":
        from cl_ner_bench.corpora.cards import list_cards

        return list_cards().broken
    return {}


def rows_of(kind: str, name: str) -> list[Row]:
    """Return the rows of one name.

    Raises:
        UserError: the name is unknown, or its entry is broken.
    """
    listed, broken = KINDS[kind](), _broken(kind)
    rows = {row["name"]: row for row in (*listed, *(_plug_ins_once(listed) if kind == "methods" else ()))}
    if name in broken:
        raise UserError(broken[name])
    if name in rows:
        return [rows[name]]
    if kind == "methods" and (".py" in name or "+" in name or f"{name}-token" in rows):
        from cl_ner_bench.registry import resolve

        return [_method(variant.card) for variant in resolve([name])]
    raise UserError(f"`bench list {kind}` has no {name!r}.{did_you_mean(name, _printed(rows))}")


def _printed(rows: Mapping[str, Row]) -> dict[str, str]:
    """Map names and printed names of rows to the names that the command takes."""
    return {row.get("label") or row.get("title", name): name for name, row in rows.items()} | {n: n for n in rows}


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        nested = (Mapping, list)  # numbers are shown as they are, because 0 is a value
        return "; ".join(f"{k} = {_text(v) if isinstance(v, nested) or v is None else v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "-")


def _width() -> int:
    return max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
