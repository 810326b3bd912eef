"""The form of a check, and the fault that it finds."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_ner_bench.registry import MethodCard
from cl_ner_bench.testing.conformance.lab import Lab


class Fault(Exception):  # noqa: N818  of a method, not of the suite
    """A break of the contract; the message says what to change."""


Check = Callable[[Lab], str]
"""Returns a remark (mostly ''), or raises ``Fault``."""


def where(error: BaseException, card: MethodCard) -> str:
    """Return file and line of the method's last frame in an error, else of the last frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == card.file]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def as_text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def some(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
