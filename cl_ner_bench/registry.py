"""Methods: cards read from source text, classes imported when a run needs them.

A method file begins with a literal ``CARD = {name: {...}}``; it is read with :func:`ast.literal_eval`,
so that listing methods runs nobody's code and imports neither torch nor pandas. Methods come from the suite's
own ``methods/``, from installed packages (entry-point group ``cl_ner_bench.methods``, each naming a module)
and from a path that the user gives.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from cl_ner_bench import HOME
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.plugins import Entry, Registry, add_plug_ins, locate
from cl_ner_bench.source import BESIDE, Program, is_card, parse

ENTRY_POINTS = "cl_ner_bench.methods"
BASES = {"span": "SpanLearner", "token": "TagLearner"}
ARCHITECTURES = tuple(BASES)
GROUPS = {
    "finetune": ("finetune-span", "finetune-token"),
    "joint": ("joint-span", "joint-token"),
    "joint-warm": ("joint-span-warm", "joint-token-warm"),
    "single-task": ("single-task-span", "single-task-token"),
}
_CHOICES = {
    "architecture": ARCHITECTURES,
    "data": ("task", "union"),
    "start": ("previous", "pretrained"),
    "first_step": ("own", "base"),
    "group": ("reference", "memory-free", "exemplar"),
}
_TEXTS = ("label", "status", "paper", "summary", "stores", "deviations")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class MethodCard:
    """What a method says of itself.

    ``data`` is what a step is learned from: its own sentences (``task``) or those of all steps so far
    (``union``); ``start`` is where it begins: at the previous step's model or at the pretrained encoder.
    ``first_step`` is ``base`` where step 1 is the plain base learner's (``SpanLearner``, ``TagLearner``), whatever the
    settings: a grid learns it once for all such methods of an architecture.
    ``settings`` are the method's own hyper-parameters with their defaults. ``module`` is None for a file
    outside any package.
    """

    name: str
    class_name: str
    architecture: str
    file: Path
    module: str | None = None
    label: str = ""
    data: str = "task"
    start: str = "previous"
    first_step: str = "own"
    settings: Mapping[str, Any] = field(default_factory=dict)
    group: str = "memory-free"
    status: str = ""
    paper: str = ""
    year: int | None = None
    summary: str = ""
    stores: str = ""
    deviations: str = ""

    @property
    def is_bound(self) -> bool:
        """Joint training from the pretrained encoder: the upper bound that gaps are measured to."""
        return self.data == "union" and self.start == "pretrained"

    def to_json(self) -> dict[str, Any]:
        row = {k: v for k, v in vars(self).items() if k not in ("file", "module", "class_name")}
        return row | {"class": self.class_name, "file": str(self.file), "settings": dict(self.settings)}


@dataclass(frozen=True)
class Variant:
    """A method under the name that it has in a grid."""

    label: str
    card: MethodCard
    spec: str  # what the user would type to get it again

    @property
    def title(self) -> str:
        """The printed name."""
        return self.card.label if self.label == self.card.name else self.label


def read_cards(file: Path, module: str | None = None) -> list[MethodCard]:
    """The cards of one method file. Raises UserError, naming file and key, where ``CARD`` is wrong."""
    for node in parse(file).body:
        if isinstance(node, ast.Assign) and is_card(node):
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):  # also a list as a key, brackets in brackets
                raise UserError(
                    f"{file}:{node.lineno}: CARD must be a literal (plain dicts, strings, numbers)"
                ) from None
            if not isinstance(value, dict) or not value:
                raise UserError(f"{file}:{node.lineno}: CARD must be a dict: method name -> its card")
            return [_card(file, node.lineno, module, name, row) for name, row in value.items()]
    raise UserError(f"{file}: no CARD found; a method file begins with a literal CARD = {{name: {{...}}}}")


def _card(file: Path, line: int, module: str | None, name: Any, row: Any) -> MethodCard:
    where = f"{file}:{line}: CARD[{name!r}]"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(row, dict):
        raise UserError(f"{where}: expected a name of letters, digits, '-', '_', '.' and a dict of its facts")
    known = [f for f in MethodCard.__dataclass_fields__ if f not in ("name", "file", "module", "class_name")]
    for key in row:
        if key not in [*known, "class"]:
            raise UserError(f"{where}: unknown key {key!r}.{did_you_mean(str(key), [*known, 'class'])}")
    for key in ("class", "architecture"):
        if key not in row:
            raise UserError(f"{where}: key {key!r} is missing")
    for key, choices in _CHOICES.items():
        if key in row and row[key] not in choices:
            raise UserError(f"{where}: {key} must be one of {', '.join(choices)}, not {row[key]!r}")
    for key in ("class", *_TEXTS):
        if not isinstance(row.get(key, ""), str):
            raise UserError(f"{where}: {key} must be a text, not {row[key]!r}")
    if type(row.get("year")) not in (int, type(None)):
        raise UserError(f"{where}: year must be a whole number, not {row['year']!r}")
    settings = row.get("settings", {})
    if not isinstance(settings, dict) or not all(isinstance(k, str) and _is_plain(v) for k, v in settings.items()):
        raise UserError(
            f"{where}: settings must be a dict of hyper-parameters and their defaults: texts, numbers, true or false, "
            "None, lists of them"
        )
    values = {"label": name} | {key: value for key, value in row.items() if key != "class"}
    card = MethodCard(name=name, class_name=row["class"], file=file, module=module, **values)
    if card.data == "union" and card.group == "memory-free":
        raise UserError(
            f"{where}: group is memory-free{'' if 'group' in row else ' by default'}, but with data 'union' a step is "
            'learned from the data of all steps so far; write "group": "reference", or "data": "task" for a '
            "method that sees the data of its own step alone"
        )
    return card


def _is_plain(value: Any) -> bool:
    """Return True for what JSON and TOML hold."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


@cache
def methods() -> Registry[MethodCard]:
    """Return all methods by name: the suite's own and those of installed packages."""
    found: Registry[MethodCard] = Registry("method")
    for file in sorted((HOME / "methods").glob("*.py")):
        try:
            for card in read_cards(file, f"cl_ner_bench.methods.{file.stem}"):
                found.add(card.name, str(file), card)
        except UserError as error:
            found.add(file.stem, str(file), error)
    add_plug_ins(found, ENTRY_POINTS, _of_plug_in)
    return found


def _of_plug_in(point: EntryPoint) -> Iterator[Entry[MethodCard]]:
    file = locate(point).origin
    if file is None or not file.endswith(".py"):
        raise UserError(f"expected the module of a method file, found {point.value!r}")
    for card in read_cards(Path(file), point.module):
        yield card.name, file, card


def resolve(names: Iterable[str]) -> list[Variant]:
    """What each name stands for: a method, a group, ``FILE.py`` or ``FILE.py:NAME``, ``LABEL=`` before it.

    Names given twice count once. Raises UserError for unknown names and for two methods under one label.
    """
    known = methods()
    found: dict[str, Variant] = {}
    for name in names:
        for variant in _variants(name.strip(), known):
            other = found.setdefault(variant.label, variant)
            if other.card != variant.card:
                raise UserError(
                    f"--methods: {variant.label!r} would stand for two methods ({other.card.name} of "
                    f"{other.card.file}, {variant.card.name} of {variant.card.file}); label one"
                )
    if not found:
        raise UserError("--methods: name at least one method; `bench list methods` shows them")
    return list(found.values())


def _variants(text: str, known: Registry[MethodCard]) -> Iterator[Variant]:
    label, _, spec = text.rpartition("=")
    if label and not _NAME.fullmatch(label):
        raise UserError(f"--methods {text}: the label {label!r} may hold letters, digits, '-', '_' and '.' only")
    cards = _lookup(spec, known)
    if label and len(cards) > 1:
        raise UserError(f"--methods {text}: {spec!r} stands for {', '.join(c.name for c in cards)}; label them singly")
    for card in cards:
        if card.module is None and not label and card.name in known:
            raise UserError(
                f"two methods are called {card.name!r}: {known.origins[card.name]} and {card.file}; "
                f"rename yours or label it: LABEL={spec}"
            )
        one = f"{card.file}:{card.name}" if card.module is None else card.name
        yield Variant(label or card.name, card, f"{label}={one}" if label else one)


def _lookup(spec: str, known: Registry[MethodCard]) -> list[MethodCard]:
    path = re.fullmatch(r"(.+\.py)(?::([^/\\]+))?", spec)
    if path:
        cards = read_cards(Path(path[1]).expanduser().resolve())
        names = [card.name for card in cards]
        if path[2] and path[2] not in names:
            raise UserError(f"{path[1]} has no method {path[2]!r}, only {', '.join(names)}")
        return [card for card in cards if path[2] in (None, card.name)]
    choices = GROUPS.get(spec, (spec,))
    for name in choices:
        if name not in known:
            hint = did_you_mean(name, [*known, *GROUPS])
            raise UserError(
                f"--methods: no method is called {name!r}.{hint} `bench list methods` shows all{known.unread}"
            )
    return [known[name] for name in choices]


def check_class(card: MethodCard) -> None:
    """Raise UserError where a card's class is missing or is no learner of its architecture, as far as can be read.

    Runs nothing. What the class derives from may be known only once the file is run: ``load_class`` checks it then.
    """
    bases = Program(card.file, card.module).bases(card.class_name)
    if None not in bases:
        learners = {arch for arch, base in BASES.items() for name in bases if _names(str(name), base)}
        _check_learner(card, bool(bases), learners)


def _names(name: str, learner: str) -> bool:
    return name.startswith("cl_ner_bench.") and name.endswith(f".{learner}")


def _check_learner(card: MethodCard, is_defined: bool, learners: Collection[str]) -> None:
    """Raise UserError unless the card's class is there and a learner of its architecture, one of ``learners``."""
    if card.architecture in learners:
        return
    where = f"{card.file}: CARD[{card.name!r}]"
    if not is_defined:
        raise UserError(f"{where} names the class {card.class_name!r}, but the file does not define it")
    if not learners:
        what = f"it does not derive from {' or '.join(BASES.values())}"
        raise UserError(f"{where} names the class {card.class_name!r}, but {what}")
    (other,) = learners
    raise UserError(
        f"{where}: architecture is {card.architecture!r}, but the class {card.class_name!r} derives from "
        f"{BASES[other]}; write {other!r}, or derive it from {BASES[card.architecture]}"
    )


def load_class(card: MethodCard) -> type:
    """Return the learner class of a card. Runs the method's file.

    Raises UserError where the class is missing or is no learner of the card's architecture.
    """
    from cl_ner_bench.learning import learner

    found = getattr(_module(card), card.class_name, None)
    bases = found.__mro__ if isinstance(found, type) else ()
    learners = [name for name, base in BASES.items() if getattr(learner, base) in bases]
    _check_learner(card, found is not None, learners)
    assert isinstance(found, type)
    return found


def _module(card: MethodCard) -> Any:
    if card.module is not None:
        return importlib.import_module(card.module)
    package = f"{BESIDE}_{hashlib.sha256(str(card.file.parent).encode()).hexdigest()[:16]}"
    name = f"{package}.{card.file.stem}"
    if name not in sys.modules:
        beside = sys.modules.setdefault(package, ModuleType(package))
        beside.__path__ = [str(card.file.parent)]  # `from . import helper` finds what lies beside the file
        spec = importlib.util.spec_from_file_location(name, card.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and typing look their module up while it is being run
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder is the user's
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        finally:
            sys.dont_write_bytecode = writes
    return sys.modules[name]


def code_fingerprint(file: Path, module: str | None = None) -> str:
    """Return the sha256 (hex) of a method file's code and of the local modules that it imports.

    Comments, docstrings and cards do not count. ``module`` is the file's dotted name, None outside of any package.
    """
    return Program(file, module).fingerprint()
