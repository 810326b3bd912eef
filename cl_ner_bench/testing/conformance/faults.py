"""The type of a check, and the fault that it raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cl_ner_bench.testing.conformance.lab import Lab


class Fault(Exception):  # noqa: N818  of a method, not of the suite
    """A breach of the contract; the message says what to change."""


Check = Callable[[Lab], str]
"""Returns a remark (mostly ''), or raises ``Fault``."""


def as_text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
