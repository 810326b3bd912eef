"""Methods: cards read from source text, classes imported when a run needs them.

A method file begins with a literal ``CARD``: ``{name: {...}}``, or ``{..., "variants": {name: {...}}}`` with the keys
that all its methods share. It is read with :func:`ast.literal_eval`, so that listing methods runs nobody's code and
imports neither torch nor pandas. Methods come from the suite's
own ``methods/``, from installed packages (entry-point group ``cl_ner_bench.methods``, each naming a module)
and from a path that the user gives.

A card of the architecture ``any`` is a plug-in: its class changes hooks of any learner. The plug-in ``ewc`` gives the
methods ``ewc-span`` and ``ewc-token``, on the base learners, and ``ewc+METHOD`` on any other.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from cl_ner_bench import HOME
from cl_ner_bench.corpora.card import HyperParameters
from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.plugins import Entry, Registry, add_plug_ins, locate
from cl_ner_bench.source import BESIDE, Program, is_card, parse
from cl_ner_bench.validation import MisfitError, convert

ENTRY_POINTS = "cl_ner_bench.methods"
BASES = {"span": "SpanLearner", "token": "TagLearner"}
PLAIN = "Learner"
ARCHITECTURES: tuple[Literal["span", "token"], ...] = ("span", "token")
PAIRS = {"joint-warm": ("joint-span-warm", "joint-token-warm")}  # others: NAME-span and NAME-token
PLUG_IN = "any"
SHARING = ("memory-free", "closed-form", "exemplar", "reference")  # groups, by what they use beside a step's data
_SETTINGS = "a dict of hyper-parameters and their defaults: texts, numbers, true or false, None, lists of them"
_HELP = "a dict: name of a setting -> what it means, in a line"
_IDENTITIES = "a dict: name of a simpler method, or 'base' -> the settings with which this method equals it"
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


def _is_plain(value: Any) -> bool:
    """Return True for what JSON and TOML hold."""
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


class MethodCard(MethodTable, frozen=True, kw_only=True):
    """The facts that a method's file states about it.

    ``data`` is what a step is learned from: its own sentences (``task``) or those of all steps so far
    (``union``); ``start`` is where it begins: at the previous step's model or at the pretrained encoder.
    ``first_step`` is ``base`` where step 1 is the plain base learner's (``SpanLearner``, ``TagLearner``), whatever the
    settings: a grid learns it once for all such methods of an architecture.
    ``settings`` are the method's own hyper-parameters with their defaults, ``help`` says in a line what each means;
    ``recipes`` are values of the training
    hyper-parameters, by recipe, that differ from those of the recipe for this method. ``identities`` names simpler
    methods (``base``: the base learner, or what a plug-in is on) with the settings with which this one equals them.
    ``files`` are the settings that name a file which the user gives and the method reads: its content counts, not its
    path. A plug-in that does not compose (``composes``) goes on the base learners alone; no plug-in goes on another
    method that does not.
    ``year`` is the paper's, 0 without one.
    ``class_name`` is empty where the method is the base learner of its architecture.
    ``module`` is None for a file outside any package.
    ``plug_in`` is the plug-in's name where the class is one; it changes ``base``, the base learner if None.
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
    def is_bound(self) -> bool:
        """Joint training from the pretrained encoder: the upper bound that gaps are measured to."""
        return self.data == "union" and self.start == "pretrained"

    def to_json(self) -> dict[str, Any]:
        row = {key: getattr(self, key) for key in MethodTable.__struct_fields__ if key != "class_name"}
        row["recipes"] = {name: values.given() for name, values in self.recipes.items()}
        own = {"plug_in": self.plug_in, "class": self.class_name, "file": str(self.file)}
        return {"name": self.name} | row | own


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
    """Return the cards of one method file. Raises UserError, naming file and key, where ``CARD`` is wrong."""
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
            common, rows = _variant_rows(value, f"{file}:{node.lineno}: CARD")
            where = f"{file}:{node.lineno}: CARD"
            return [c for name, row in rows.items() for c in _cards(_card(file, module, where, name, row, common))]
    raise UserError(f"{file}: no CARD found; a method file begins with a literal CARD = {{name: {{...}}}}")


def _variant_rows(value: dict[Any, Any], where: str) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the keys that all methods of a ``CARD`` share, and each method's own."""
    if "variants" not in value:
        return {}, value
    rows = convert(value["variants"], dict[Any, Any], where, key="variants")
    return {key: shared for key, shared in value.items() if key != "variants"}, rows


def _card(file: Path, module: str | None, where: str, name: Any, own: Any, common: dict[Any, Any]) -> MethodCard:
    where = f"{where}[{name!r}]"
    if not isinstance(name, str) or not NAME.fullmatch(name) or not isinstance(own, dict):
        raise UserError(f"{where}: expected a name of letters, digits, '-', '_', '.' and a dict of its facts")
    row = common | own
    if "help" in common and isinstance(row.get("settings", {}), dict):  # variants may have some of the settings
        row["help"] = {key: line for key, line in row["help"].items() if key in row.get("settings", {})}
    table = convert(row, MethodTable, where)
    values = msgspec.structs.asdict(table) | {"label": row.get("label", name)}
    card = MethodCard(**values, name=name, file=file, module=module)
    if card.data == "union" and card.group == "memory-free":
        raise UserError(
            f"{where}: group is memory-free{'' if 'group' in row else ' by default'}, but with data 'union' a step is "
            'learned from the data of all steps so far; write "group": "reference", or "data": "task" for a '
            "method that sees the data of its own step alone"
        )
    if card.architecture == PLUG_IN and not card.class_name:
        raise UserError(f'{where}: a plug-in (architecture "any") needs the key class: a class derived from Learner')
    return card


def _cards(card: MethodCard) -> list[MethodCard]:
    """Return a card, or the two of a plug-in: its class on each of the base learners."""
    if card.architecture != PLUG_IN:
        return [card]
    return [
        replace(card, name=f"{card.name}-{arch}", label=f"{card.label} ({arch})", architecture=arch, plug_in=card.name)
        for arch in ARCHITECTURES
    ]


def plug(plug_in: MethodCard, base: MethodCard) -> MethodCard:
    """Return the card of a plug-in on a method of its architecture. Raises UserError where they do not fit."""
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
        identities={name: values for name, values in plug_in.identities.items() if name == "base"},
        group=max(plug_in.group, base.group, key=SHARING.index),
        year=max(plug_in.year, base.year),
        **joined,
    )


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
    """Return the methods that names stand for: a method, a group, ``FILE.py``, ``FILE.py:NAME``, or one of these
    behind a plug-in and ``+``, each with an optional ``LABEL=`` before it.

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
    if label and not NAME.fullmatch(label):
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
        yield Variant(label or card.name, card, f"{label}={card.spec}" if label else card.spec)


def _lookup(spec: str, known: Registry[MethodCard]) -> list[MethodCard]:
    plugged = re.fullmatch(r"([^+/\\:]+|.+?\.py(?::[^+/\\]+)?)\+(.+)", spec)
    if plugged and spec not in known and not Path(spec).exists():
        return [plug(_plug_in(plugged[1], card, known), card) for card in _lookup(plugged[2], known)]
    path = re.fullmatch(r"(.+\.py)(?::([^/\\]+))?", spec)
    if path:
        file = Path(path[1]).expanduser().resolve()
        if not file.exists():
            beside = [path.name for path in file.parent.glob("*.py")]
            raise UserError(f"--methods {spec}: there is no file {path[1]}.{did_you_mean(file.name, beside)}")
        cards = [card for card in known.values() if card.file.resolve() == file] or read_cards(file)
        names = [card.name for card in cards]
        if not path[2]:
            return cards
        cards = [card for card in cards if path[2] in (card.name, card.plug_in)]
        if not cards:
            raise UserError(f"{path[1]} has no method {path[2]!r}, only {', '.join(names)}")
        return cards
    both = PAIRS.get(spec, (f"{spec}-span", f"{spec}-token"))
    choices = (spec,) if spec in known else both
    if not all(name in known for name in choices):
        hint = did_you_mean(spec, _names(known))
        if Path(f"{spec}.py").is_file():
            hint = f" For the file write {f'{spec}.py'!r}."
        raise UserError(f"--methods: no method is called {spec!r}.{hint} `bench list methods` shows all{known.unread}")
    return [known[name] for name in choices]


def _names(known: Registry[MethodCard]) -> dict[str, str]:
    """Return all that a user may write for a method, and the names that tables print, each with what to write."""
    pairs = [name.removesuffix("-token") for name in known if name.endswith("-token")]
    names = {name: name for name in (*known, *PAIRS, *pairs)}
    printed = {card.label.removesuffix(f" ({card.architecture})"): card.plug_in or name for name, card in known.items()}
    return {**printed, **names}


def _plug_in(spec: str, base: MethodCard, known: Registry[MethodCard]) -> MethodCard:
    """Return the only plug-in of a file, or the one that is called ``spec``."""
    of_file = ".py" in spec
    cards = _lookup(spec, known) if of_file else known.values()
    plug_ins = {card.plug_in: card for card in cards if card.plug_in and card.architecture == base.architecture}
    if of_file and not plug_ins:
        raise UserError(
            f'--methods {spec}+{base.name}: {spec} holds no plug-in: its card must say "architecture": "{PLUG_IN}", '
            f"and its class derive from {PLAIN}"
        )
    if of_file and len(plug_ins) > 1:
        names = [*plug_ins]
        raise UserError(
            f"--methods {spec}+{base.name}: {spec} holds several plug-ins ({', '.join(names)}); write "
            f"{spec}:{names[0]}+{base.name}"
        )
    if of_file:
        return next(iter(plug_ins.values()))
    if spec not in plug_ins:
        hint = did_you_mean(spec, [*plug_ins])
        raise UserError(f"--methods: {spec!r} is no plug-in.{hint} Plug-ins: {', '.join(plug_ins) or 'none'}")
    return plug_ins[spec]


def check_class(card: MethodCard) -> None:
    """Raise UserError where a card's class is missing or is no learner of its architecture, as far as can be read.

    Runs nothing. What the class derives from may be known only once the file is run: ``load_class`` checks it then.
    """
    if card.base:
        check_class(card.base)
    if not card.class_name:
        return
    bases = Program(card.file, card.module).bases(card.class_name)
    if None not in bases:
        learners = {base for base in (*BASES.values(), PLAIN) for name in bases if _is_learner(str(name), base)}
        _check_learner(card, bool(bases), learners)


def _is_learner(name: str, learner: str) -> bool:
    return name.startswith("cl_ner_bench.") and name.endswith(f".{learner}")


def _check_learner(card: MethodCard, is_defined: bool, learners: Collection[str]) -> None:
    """Raise UserError unless the card's class is there and derives from what its architecture asks for.

    ``learners``: those of ``SpanLearner``, ``TagLearner`` and ``Learner`` that it derives from.
    """
    where = f"{card.file}: CARD[{card.plug_in or card.name!r}]"
    if not is_defined:
        raise UserError(f"{where} names the class {card.class_name!r}, but the file does not define it")
    whole = [arch for arch, base in BASES.items() if base in learners]
    if not (whole or (card.plug_in and learners)):
        what = f"it does not derive from {PLAIN if card.plug_in else ' or '.join(BASES.values())}"
        raise UserError(f"{where} names the class {card.class_name!r}, but {what}")
    if whole != ([] if card.plug_in else [card.architecture]):
        written, base = (PLUG_IN, PLAIN) if card.plug_in else (card.architecture, BASES[card.architecture])
        raise UserError(
            f"{where}: architecture is {written!r}, but the class {card.class_name!r} derives from "
            f"{BASES[whole[0]]}; write {whole[0]!r}, or derive it from {base}"
        )


def needs(card: MethodCard) -> list[str]:
    """Return what a method asks for beside a batch (``Learner.needs``), as far as its source tells; runs nothing."""
    own = (
        Program(card.file, card.module).texts(card.class_name, "needs") - card.settings.keys()
        if card.class_name
        else ()
    )
    return sorted({*own, *(needs(card.base) if card.base else ())})


def load_class(card: MethodCard) -> type:
    """Return the learner class of a card. Runs the method's file.

    Raises UserError where the class is missing or is no learner of the card's architecture.
    """
    from cl_ner_bench.learning import learner

    base = load_class(card.base) if card.base else getattr(learner, BASES[card.architecture])
    if not card.class_name:
        return base
    found = getattr(_module(card), card.class_name, None)
    bases = found.__mro__ if isinstance(found, type) else ()
    learners = [name for name in (*BASES.values(), PLAIN) if getattr(learner, name) in bases]
    _check_learner(card, found is not None, learners)
    assert isinstance(found, type)
    return learner.plugged(found, base) if card.plug_in else found


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


def method_fingerprint(card: MethodCard) -> str:
    """Return the sha256 (hex) of a method's code; for a plug-in on another method, of the code of both."""
    own = code_fingerprint(card.file, card.module)
    return hashlib.sha256(f"{own}+{method_fingerprint(card.base)}".encode()).hexdigest() if card.base else own


def method_files(card: MethodCard) -> set[Path]:
    """Return the files of a method's code, of a plug-in and what it is on both."""
    own = Program(card.file, card.module).files()
    return own | method_files(card.base) if card.base else own


def method_sources(card: MethodCard) -> dict[str, Path]:
    """Return the Python files of a user's own method, of a plug-in and what it is on both; none for the suite's.

    The names are paths whose first part names the file and the state of its code.
    """
    found = method_sources(card.base) if card.base else {}
    if card.module is None or not card.module.startswith("cl_ner_bench."):
        folder = f"{card.file.stem}-{code_fingerprint(card.file, card.module)[:8]}"
        sources = Program(card.file, card.module).sources()
        found |= {f"{folder}/{place}": file for place, file in sources.items()}
    return found


def files_fingerprint(card: MethodCard, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return, under ``files``, the sha256 (hex) of the content of a method's files; nothing if it reads none."""
    if not card.files:
        return {}
    total = hashlib.sha256()
    for key in card.files:
        try:
            with Path(settings[key]).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UserError(f"{key} {settings[key]}: cannot be read ({error.strerror})") from None
    return {"files": total.hexdigest()}


def code_fingerprint(file: Path, module: str | None = None) -> str:
    """Return the sha256 (hex) of a method file's code and of the local modules that it imports.

    Comments, docstrings and cards do not count. ``module`` is the file's dotted name, None outside of any package.
    """
    return Program(file, module).fingerprint()
