"""Methods by name.

Methods come from the suite's own ``methods/``, from installed packages (modules in the entry-point group
``cl_ner_bench.methods``) and from a path that the user gives. A plug-in and a method make a further method. This module
reads the cards of methods and runs none of their code.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

from cl_ner_bench import HOME
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.method_card import NAME, PLUG_IN, MethodCard, plug, read_cards
from cl_ner_bench.plugins import Entry, Registry, add_plug_ins, locate

ENTRY_POINTS = "cl_ner_bench.methods"
PAIRS = {"joint-warm": ("joint-span-warm", "joint-token-warm")}  # every other pair NAME: NAME-span, NAME-token


@dataclass(frozen=True)
class Variant:
    """A method and its name in a grid."""

    label: str
    card: MethodCard
    spec: str  # the text that a user would type to get the method again

    @property
    def title(self) -> str:
        """The printed name."""
        return self.card.label if self.label == self.card.name else self.label


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
    """Return the methods that ``names`` stand for.

    A name is a method, a pair (``ewc`` for ``ewc-span`` and ``ewc-token``), a pattern (``*-token``), ``FILE.py`` or
    ``FILE.py:NAME``. A plug-in and ``+`` may stand before it, and ``LABEL=`` before all. Repeated names count once.
    Raise UserError for unknown names and for two methods under one label.
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
    if "*" in spec:
        if not (fitting := fnmatch.filter(known, spec)):
            raise UserError(f"--methods: no method's name fits {spec!r}; `bench list methods` shows all{known.unread}")
        return [known[name] for name in fitting]
    both = PAIRS.get(spec, (f"{spec}-span", f"{spec}-token"))
    choices = (spec,) if spec in known else both
    if not all(name in known for name in choices):
        hint = did_you_mean(spec, _names(known))
        if Path(f"{spec}.py").is_file():
            hint = f" For the file write {f'{spec}.py'!r}."
        raise UserError(f"--methods: no method is called {spec!r}.{hint} `bench list methods` shows all{known.unread}")
    return [known[name] for name in choices]


def _names(known: Registry[MethodCard]) -> dict[str, str]:
    """Map each name that a user may write, and each name that tables print, to the name to write."""
    pairs = [name.removesuffix("-token") for name in known if name.endswith("-token")]
    names = {name: name for name in (*known, *PAIRS, *pairs)}
    printed = {card.label.removesuffix(f" ({card.architecture})"): card.plug_in or name for name, card in known.items()}
    return {**printed, **names}


def _plug_in(spec: str, base: MethodCard, known: Registry[MethodCard]) -> MethodCard:
    """Return the plug-in named ``spec``, or the only plug-in of the file ``spec``."""
    of_file = ".py" in spec
    cards = _lookup(spec, known) if of_file else known.values()
    plug_ins = {card.plug_in: card for card in cards if card.plug_in and card.architecture == base.architecture}
    if of_file and not plug_ins:
        raise UserError(
            f'--methods {spec}+{base.name}: {spec} holds no plug-in: its card must say "architecture": "{PLUG_IN}", '
            f"and its class derive from Learner"
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
