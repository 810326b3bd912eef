"""Cards of methods: the facts that a method's file states, read from its source text.

A method file begins with a literal ``CARD``: ``{name: {...}}``, or ``{..., "variants": {name: {...}}}`` with the keys
that all its methods share. :func:`ast.literal_eval` reads it, so listing methods runs no method's code and imports
neither torch nor pandas.

A card of the architecture ``any`` is a plug-in: its class changes hooks of any learner. The plug-in ``ewc`` gives the
methods ``ewc-span`` and ``ewc-token`` (on the base learners) and ``ewc+METHOD`` (on another method).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from cl_ner_bench.corpora.card import HyperParameters
from cl_ner_bench.errors import UserError, short
from cl_ner_bench.search_space import Search, check_search
from cl_ner_bench.source import is_card, parse
from cl_ner_bench.validation import MisfitError, convert

ARCHITECTURES: tuple[Literal["span", "token"], ...] = ("span", "token")
PLUG_IN = "any"
SHARING = ("memory-free", "closed-form", "exemplar", "reference")  # in order of the data used besides a step's
_SETTINGS = "a dict of hyper-parameters and their defaults: texts, numbers, true or false, None, lists of them"
_HELP = "a dict: name of a setting -> what it means, in a line"
_IDENTITIES = "a dict: name of a simpler method, or 'base' -> the settings with which this method equals it"
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


def _is_plain(value: Any) -> bool:
    """Return True for a value that JSON and TOML can hold."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


class MethodTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a method's card. Docs: :class:`MethodCard`."""

    architecture: Literal["span", "token", "any"]
    class_name: str = msgspec.field(name="class", default="")
    label: str = ""
    data: Literal["task", "union"] = "task"
    start: Literal["previous", "pretrained"] = "previous"
    first_step: Literal["own", "base"] = "own"
    settings: Annotated[Mapping[str, Any], Meta(description=_SETTINGS)] = {}
    help: Annotated[Mapping[str, str], Meta(description=_HELP)] = {}
    recipes: Mapping[str, HyperParameters] = {}
    group: Literal["memory-free", "exemplar", "closed-form", "reference"] = "memory-free"
    identities: Annotated[Mapping[str, dict[str, Any]], Meta(description=_IDENTITIES)] = {}
    files: tuple[str, ...] = ()
    search: Mapping[str, Search | None] = {}
    composes: bool = True
    status: str = ""
    paper: str = ""
    year: int = 0
    summary: str = ""
    stores: str = ""
    deviations: str = ""

    def __post_init__(self) -> None:
        if not all(map(_is_plain, self.settings.values())):
            raise MisfitError("settings", _SETTINGS, short(dict(self.settings)))
        if unknown := [key for key in self.help if key not in self.settings]:
            raise MisfitError("help", f"lines on {', '.join(self.settings) or 'no settings'}", short(unknown))
        if unknown := [key for key in self.files if self.settings.get(key) != ""]:
            raise MisfitError("files", "names of settings whose default is ''", short(unknown))
        check_search(self.search, self.settings, self.files)


class MethodCard(MethodTable, frozen=True, kw_only=True):
    """The facts that a method's file states about it.

    Attributes:
        data: the sentences that a step learns from: its own (``task``) or those of all steps so far (``union``, the
            historic word for cumulative data, which step keys hold).
        start: the model that a step starts from: the previous step's model or the pretrained encoder.
        first_step: ``base`` if step 1 equals step 1 of the base learner (``SpanLearner``, ``TagLearner``) under all
            settings. A grid learns this step once for all such methods of an architecture.
        settings: the method's own hyper-parameters with their defaults; ``help`` explains each in a line.
        recipes: for each recipe, the training hyper-parameters whose values for this method differ from the recipe's.
        identities: simpler methods (``base``: the base learner, or the method under a plug-in), each with the settings
            that make this method equal to it.
        files: the settings that name a file of the user. The file's content counts, not its path.
        search: the values of a setting or hyper-parameter that `bench tune` tries (``search_space``), or None.
        composes: False for a plug-in that works on the base learners only, and for a method that takes no plug-in.
        year: the year of the paper, 0 without a paper.
        class_name: empty if the method is the base learner of its architecture.
        module: None for a file outside any package.
        plug_in: the name of the plug-in, if the class is one.
        base: the method that the plug-in changes, None for the base learner.
    """

    name: str
    file: Path
    module: str | None = None
    plug_in: str = ""
    base: MethodCard | None = None

    @property
    def spec(self) -> str:
        """The text that the user would type to get the method."""
        name = self.plug_in if self.base else self.name
        own = f"{self.file}:{name}" if self.module is None else name
        return f"{own}+{self.base.spec}" if self.base else own

    @property
    def is_cumulative(self) -> bool:
        """True if a step learns from the sentences of all steps so far."""
        return self.data == "union"

    @property
    def is_bound(self) -> bool:
        """True for joint training from the pretrained encoder: the upper bound for gaps."""
        return self.is_cumulative and self.start == "pretrained"

    def to_json(self) -> dict[str, Any]:
        row = {key: getattr(self, key) for key in MethodTable.__struct_fields__ if key != "class_name"}
        row["recipes"] = {name: values.given() for name, values in self.recipes.items()}
        row["search"] = msgspec.to_builtins(self.search)
        own = {"plug_in": self.plug_in, "class": self.class_name, "file": str(self.file)}
        return {"name": self.name} | row | own


def read_cards(file: Path, module: str | None = None) -> list[MethodCard]:
    """Return the cards of one method file. Raise UserError with file and key if ``CARD`` is wrong."""
    for node in parse(file).body:
        if isinstance(node, ast.Assign) and is_card(node):
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):  # such as a list as a key, or deep brackets
                raise UserError(
                    f"{file}:{node.lineno}: CARD must be a literal (plain dicts, strings, numbers)"
                ) from None
            if not isinstance(value, dict) or not value:
                raise UserError(f"{file}:{node.lineno}: CARD must be a dict: method name -> its card")
            common, rows = _variant_rows(value, f"{file}:{node.lineno}: CARD")
            where = f"{file}:{node.lineno}: CARD"
            all_settings = [(common | row).get("settings") for row in rows.values() if isinstance(row, dict)]
            known = {key for settings in all_settings if isinstance(settings, dict) for key in settings}
            found = [_card(file, module, where, name, row, common, known) for name, row in rows.items()]
            return [each for card in found for each in _cards(card)]
    raise UserError(f"{file}: no CARD found; a method file begins with a literal CARD = {{name: {{...}}}}")


def _variant_rows(value: dict[Any, Any], where: str) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the keys that all methods of a ``CARD`` share, and the keys of each method."""
    if "variants" not in value:
        return {}, value
    rows = convert(value["variants"], dict[Any, Any], where, key="variants")
    return {key: shared for key, shared in value.items() if key != "variants"}, rows


def _card(
    file: Path, module: str | None, where: str, name: Any, own: Any, common: dict[Any, Any], of_others: set[Any]
) -> MethodCard:
    where = f"{where}[{name!r}]"
    if not isinstance(name, str) or not NAME.fullmatch(name) or not isinstance(own, dict):
        raise UserError(f"{where}: expected a name of letters, digits, '-', '_', '.' and a dict of its facts")
    row = common | own
    if isinstance(settings := row.get("settings", {}), dict):  # a variant may have only some of the shared settings
        if isinstance(row.get("help"), dict) and "help" in common:
            row["help"] = {key: line for key, line in row["help"].items() if key in settings}
        if isinstance(row.get("search"), dict) and "search" in common:
            unlike = of_others - settings.keys()
            row["search"] = {key: values for key, values in row["search"].items() if key not in unlike}
    table = convert(row, MethodTable, where)
    values = msgspec.structs.asdict(table) | {"label": row.get("label", name)}
    card = MethodCard(**values, name=name, file=file, module=module)
    if card.is_cumulative and card.group == "memory-free":
        raise UserError(
            f"{where}: group is memory-free{'' if 'group' in row else ' by default'}, but with data 'union' a step is "
            'learned from the data of all steps so far; write "group": "reference", or "data": "task" for a '
            "method that sees the data of its own step alone"
        )
    if card.architecture == PLUG_IN and not card.class_name:
        raise UserError(f'{where}: a plug-in (architecture "any") needs the key class: a class derived from Learner')
    return card


def _cards(card: MethodCard) -> list[MethodCard]:
    """Return the card; for a plug-in two cards, one on each base learner."""
    if card.architecture != PLUG_IN:
        return [card]
    return [
        replace(card, name=f"{card.name}-{arch}", label=f"{card.label} ({arch})", architecture=arch, plug_in=card.name)
        for arch in ARCHITECTURES
    ]


def plug(plug_in: MethodCard, base: MethodCard) -> MethodCard:
    """Return the card of a plug-in on a method of its architecture. Raise UserError if they do not fit."""
    name = f"{plug_in.plug_in}+{base.name}"
    for card in (plug_in, base):
        if (card.data, card.start) != ("task", "previous"):
            raise UserError(
                f"--methods {name}: {card.name} does not go on from the previous step's model with the data of its "
                "own step; plug-ins are for methods that do"
            )
    if not plug_in.composes:
        raise UserError(
            f"--methods {name}: {plug_in.plug_in} puts its own loss in place of any other, so nothing would be left "
            f"of {base.name}; use {plug_in.plug_in}-{plug_in.architecture}"
        )
    if not base.composes and not base.plug_in:
        raise UserError(
            f"--methods {name}: {base.name} solves in closed form, so {plug_in.plug_in} would change nothing"
        )
    if both := sorted(plug_in.settings.keys() & base.settings.keys()):
        raise UserError(f"--methods {name}: both have the setting {both[0]!r}; rename it in one of the two")
    separators = {"paper": "; ", "status": "; ", "stores": "; ", "summary": " ", "deviations": " "}
    joined = {
        key: between.join(dict.fromkeys(filter(None, (getattr(plug_in, key), getattr(base, key)))))
        for key, between in separators.items()
    }
    return replace(
        plug_in,
        name=name,
        base=base,
        label=f"{plug_in.label.removesuffix(f' ({plug_in.architecture})')} + {base.label}",
        first_step="base" if plug_in.first_step == base.first_step == "base" else "own",
        settings={**base.settings, **plug_in.settings},
        help={**base.help, **plug_in.help},
        recipes={**base.recipes, **plug_in.recipes},
        files=plug_in.files + base.files,
        search={**base.search, **plug_in.search},
        identities={name: values for name, values in plug_in.identities.items() if name == "base"},
        group=max(plug_in.group, base.group, key=SHARING.index),
        year=max(plug_in.year, base.year),
        **joined,
    )
