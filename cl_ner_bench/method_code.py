"""The code behind a card: its class (checked before and during its import), its files and its fingerprints."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.method_card import PLUG_IN, MethodCard
from cl_ner_bench.source import BESIDE, Program

BASES = {"span": "SpanLearner", "token": "TagLearner"}
PLAIN = "Learner"


def check_class(card: MethodCard) -> None:
    """Raise UserError if the source shows that a card's class is missing or is no learner of its architecture.

    Run no code. The bases of a class may be known only after its file has run; ``load_class`` checks them then.
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
    """Raise UserError unless the card's class exists and derives from the learner of its architecture.

    ``learners`` are the bases of the class among ``SpanLearner``, ``TagLearner`` and ``Learner``.
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
    """Return the names in a method's ``needs`` (see ``Learner.needs``), as far as its source shows. Run no code."""
    own = (
        Program(card.file, card.module).texts(card.class_name, "needs") - card.settings.keys()
        if card.class_name
        else ()
    )
    return sorted({*own, *(needs(card.base) if card.base else ())})


def load_class(card: MethodCard) -> type:
    """Run the method's file and return the learner class of its card.

    Raise UserError if the class is missing or is no learner of the card's architecture.
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
        beside.__path__ = [str(card.file.parent)]  # `from . import helper` finds modules beside the file
        spec = importlib.util.spec_from_file_location(name, card.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and typing look up their module while it runs
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder belongs to the user
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        finally:
            sys.dont_write_bytecode = writes
    return sys.modules[name]


def method_fingerprint(card: MethodCard) -> str:
    """Return the sha256 (hex) of a method's code; a plug-in on another method includes that method's code."""
    own = code_fingerprint(card.file, card.module)
    return hashlib.sha256(f"{own}+{method_fingerprint(card.base)}".encode()).hexdigest() if card.base else own


def method_files(card: MethodCard) -> set[Path]:
    """Return the files of a method's code; a plug-in on another method includes that method's files."""
    own = Program(card.file, card.module).files()
    return own | method_files(card.base) if card.base else own


def method_sources(card: MethodCard) -> dict[str, Path]:
    """Return the Python files of a user's own method by their names in ``methods/``; leave out the suite's files.

    A plug-in on another method includes that method's files. The first part of each name holds the stem of the method
    file and the start of its code's fingerprint.
    """
    found = method_sources(card.base) if card.base else {}
    if card.module is None or not card.module.startswith("cl_ner_bench."):
        folder = f"{card.file.stem}-{code_fingerprint(card.file, card.module)[:8]}"
        sources = Program(card.file, card.module).sources()
        found |= {f"{folder}/{place}": file for place, file in sources.items()}
    return found


def files_fingerprint(card: MethodCard, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 (hex) of the content of a method's files under ``files``, or {} if the method reads no file."""
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
    """Return the sha256 (hex) of the code of a method file and of the local modules that it imports.

    Comments, docstrings and cards do not count. ``module`` is the file's dotted name, None outside any package.
    """
    return Program(file, module).fingerprint()
