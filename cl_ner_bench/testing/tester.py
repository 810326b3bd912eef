"""A base class of pytest tests: name a method, and its class holds each conformance check as one test."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from cl_ner_bench import registry
from cl_ner_bench.testing.conformance import Check, checks, run_check
from cl_ner_bench.testing.conformance_lab import Lab


class MethodTester:
    """Tests that a method keeps the contract::

        class TestMine(MethodTester):
            method = "mine.py"

    Attributes:
        method: a name of `bench list methods`, ``FILE.py`` or ``FILE.py:NAME``.
        full: also make the checks that take longer.
    """

    method: ClassVar[str]
    full: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "method" not in vars(cls):
            return
        (variant,) = registry.resolve([cls.method])
        lab = cache(lambda: Lab(variant.card))
        for check in checks(variant.card, cls.full):
            setattr(cls, f"test_{check.__name__}", _test(check, lab))


def _test(check: Check, lab: Callable[[], Lab]) -> Callable[[MethodTester], None]:
    def test(self: MethodTester) -> None:
        result = run_check(check, lab())
        assert not result.fault, f"{lab().card.name}: {result.fault}"

    test.__doc__ = check.__doc__
    return test
