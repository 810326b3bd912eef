"""Descriptions of errors in a method's own code, with hook, file and line."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Collection
from pathlib import Path
from types import FunctionType

from cl_ner_bench.errors import UserError
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.method_code import BASES, load_class, method_files

_LEARNER = Path(__file__).with_name("learning") / "learner.py"


def describe(error: BaseException, card: MethodCard | None) -> str:
    """Return an error in one line, with its place in the method's code. ``card`` is None if there is no method yet."""
    first = next(iter(str(error).strip().splitlines()), "")
    said = first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"
    place = _place(error, method_files(card)) if card else ""
    return f"{said}, in {place}" if place else said


def hook_of(error: BaseException, card: MethodCard) -> str:
    """Return the first function of the method's own code in the traceback of an error, or ""."""
    files = method_files(card)
    codes = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((code.co_name for code in codes if Path(code.co_filename).resolve() in files), "")


def where(error: BaseException, card: MethodCard) -> str:
    """Return file and line of the last frame of an error in the method's code, else of the last frame."""
    frames = traceback.extract_tb(error.__traceback__)
    files = method_files(card)
    frame = [frame for frame in frames if Path(frame.filename).resolve() in files][-1:] or frames[-1:]
    return f"{frame[0].filename}:{frame[0].lineno}"


def check_import(card: MethodCard) -> None:
    """Run a method's file and check its class and hooks.

    Raise UserError with file and line if the file fails, the class does not fit the card, or a hook does not take the
    arguments that the suite passes.
    """
    try:
        found = load_class(card)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the file of {card.name} cannot be imported: {describe(error, card)}") from error
    from cl_ner_bench.learning import learner

    base = getattr(learner, BASES[card.architecture])
    for name, hook in inspect.getmembers(base, inspect.isfunction):
        own = getattr(found, name)
        if inspect.getmodule(hook) is learner and not name.startswith("_") and inspect.isfunction(own):
            _check_arguments(own, hook)


def _check_arguments(own: FunctionType, hook: FunctionType) -> None:
    """Raise UserError if a method's function does not take the arguments of the hook that it overrides."""
    expected = inspect.signature(hook).parameters
    try:
        inspect.signature(own).bind(*expected)
    except TypeError:
        code = own.__code__
        where, taken = f"{code.co_filename}:{code.co_firstlineno}", ", ".join(inspect.signature(own).parameters)
        called = f"but the hook is called with ({', '.join(expected)})"
        raise UserError(f"{where}: {own.__qualname__} takes ({taken}), {called}") from None


def _place(error: BaseException, files: Collection[Path]) -> str:
    """Return the method's hook in the traceback of an error, with the method's last line in the traceback.

    If the traceback has no frame of the method, return the hook of the base learner alone, or "" without a hook.
    """
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(code, line) for code, line in frames if Path(code.co_filename).resolve() in files]
    if not own:
        return next((code.co_qualname for code, _ in frames if Path(code.co_filename) == _LEARNER), "")
    hook, (code, line) = own[0][0].co_qualname, own[-1]
    text = linecache.getline(code.co_filename, line).strip()
    at = f"{code.co_filename}:{line}: {text}"
    return at if hook == "<module>" else f"{hook}, {at}"
